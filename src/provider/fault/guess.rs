//! What an error may mean of which only parts are known: somebody pasted it without saying whose endpoint gave it.

use super::{AdviceEntry, OAuthFault, OAuthOutcome, Provider, Row, any, entra, google, numbered_row, stranger};
use crate::provider::NetworkFault;
use std::cmp::Reverse;

/// One thing that it may mean.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) struct Guess {
    pub(in crate::provider) advice: &'static AdviceEntry,
    pub(in crate::provider) outcome: OAuthOutcome,
    /// Whose table says so; nothing for the table of any provider.
    pub(in crate::provider) provider: Option<Provider>,
    pub(in crate::provider) weight: u16,
}

/// A number is unmistakable; a description that has to be there weighs more than a name, and a name of one provider alone more than
/// one that all use.
const NUMBER: u16 = 90;
const DETAIL: u16 = 80;
const OWN: u16 = 60;
const NAME: u16 = 40;
const STATUS: u16 = 35;

/// What an AADSTS number means, with the text around it.
pub(in crate::provider) fn numbered(code: u64, text: &str) -> Option<Guess> {
    let row = numbered_row(code, text)?;
    Some(Guess { advice: row.advice, outcome: row.outcome, provider: Some(Provider::Microsoft), weight: NUMBER })
}

/// Everything that an error by name may mean, the likeliest first, each advice once.
pub(in crate::provider) fn guesses(provider: Option<Provider>, fault: &OAuthFault<'_>) -> Vec<Guess> {
    let error = fault.error.unwrap_or_default();
    let lower = |text: Option<&str>| text.unwrap_or_default().to_ascii_lowercase();
    let (description, subtype) = (lower(fault.description), lower(fault.subtype));
    let fits = |row: &&Row| {
        let speaks_of = |fragment: &str| description.contains(fragment) || subtype.contains(fragment);
        row.error == error && (row.detail.is_empty() || row.detail.split('|').any(speaks_of))
    };
    let of = |row: &Row, provider, weight| Guess { advice: row.advice, outcome: row.outcome, provider, weight };
    let any = any::ROWS.iter().find(fits);
    let google = google::ROWS.iter().find(fits).filter(|_| provider.is_none_or(|known| known == Provider::Google)).map(|row| {
        let weight = match (row.detail, provider, any) {
            ("", None, Some(_)) => NAME - 1,
            ("", ..) => OWN,
            _ => DETAIL,
        };
        of(row, Some(Provider::Google), weight)
    });
    let any = any.filter(|_| google.is_none_or(|google| google.weight < NAME)).map(|row| of(row, None, NAME));
    let mut found: Vec<Guess> = google.into_iter().chain(any).collect();
    found.sort_by_key(|guess| Reverse(guess.weight));
    found.dedup_by_key(|guess| guess.advice.name);
    found
}

/// What the HTTP status alone says.
pub(in crate::provider) fn by_status(status: u16) -> Option<Guess> {
    let fault = OAuthFault { status, error: None, description: None, subtype: None, codes: &[] };
    let advice = match status {
        429 | 500.. => &super::advice::PROVIDER_BUSY,
        200..500 => stranger(&fault).map(NetworkFault::advice)?,
        _ => return None,
    };
    Some(Guess { advice, outcome: OAuthOutcome::Transient, provider: None, weight: STATUS })
}

/// What follows from an error with this advice, where only the advice is known.
pub(in crate::provider) fn outcome_of(advice: &AdviceEntry) -> Option<OAuthOutcome> {
    let named = google::ROWS.iter().chain(any::ROWS).map(|row| (row.advice, row.outcome));
    let numbered = entra::ROWS.iter().chain(entra::SPOKEN.iter().map(|(_, row)| row)).map(|row| (row.advice, row.outcome));
    named.chain(numbered).find(|(known, _)| std::ptr::eq(*known, advice)).map(|(_, outcome)| outcome)
}

/// The names of all errors that are known.
pub(in crate::provider) fn error_names() -> impl Iterator<Item = &'static str> {
    any::ROWS.iter().chain(google::ROWS).map(|row| row.error)
}
