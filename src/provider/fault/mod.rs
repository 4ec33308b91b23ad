//! What an error of the token endpoint means, and what to do about it (RFC 6749 §5.2): tables of rows, the first that fits wins.
//!
//! Entra says which of a hundred things happened by number; Google by `error`, `error_description` and `error_subtype`. Whatever
//! no row knows is temporary, so that a new kind of error costs a delay and never a grant.

mod advice;
mod any;
mod entra;
mod google;
mod guess;
#[cfg(test)]
mod tests;

use super::{AdviceEntry, NetworkFault, Provider};

/// AdviceEntry about OAuth errors.
pub(super) use advice::ALL as ADVICE;
pub(super) use guess::{Guess, by_status, error_names, guesses, numbered, outcome_of};

/// An error response, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OAuthFault<'a> {
    /// The HTTP status.
    pub status: u16,
    /// `error`.
    pub error: Option<&'a str>,
    /// `error_description`.
    pub description: Option<&'a str>,
    /// Google's `error_subtype` or Entra's `suberror`.
    pub subtype: Option<&'a str>,
    /// Entra's `error_codes`.
    pub codes: &'a [u64],
}

/// Who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OAuthOutcome {
    /// Time.
    Transient,
    /// A person's new consent, and nothing else: asking again with the same grant is pointless.
    NeedsConsent,
    /// An administrator at the provider; worth a probe now and then.
    NeedsAdministrator,
    /// Whoever owns the link's settings, here or at the provider (a new secret, a registered address); probed likewise.
    NeedsConfiguration,
}

/// The meaning of an error response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OAuthVerdict {
    /// Who can mend it.
    pub outcome: OAuthOutcome,
    /// What to tell the administrator.
    pub advice: Option<&'static AdviceEntry>,
}

/// Judges an error response of `provider`'s token endpoint (or of its authorization endpoint, with status 0).
pub fn classify_oauth(provider: Provider, fault: &OAuthFault<'_>) -> OAuthVerdict {
    // 429 and 5xx speak of the service, whatever the body says; a secret that ended is never told by them.
    if fault.status == 429 || fault.status >= 500 {
        return verdict(OAuthOutcome::Transient, Some(&advice::PROVIDER_BUSY));
    }
    // AADSTS numbers are unmistakable, so they are read where a custom link leads to Entra, too.
    if provider != Provider::Google
        && let Some(row) = entra_row(fault)
    {
        return verdict(row.outcome, Some(row.advice));
    }
    match find(provider, fault) {
        Some(row) => verdict(row.outcome, Some(row.advice)),
        None => verdict(OAuthOutcome::Transient, stranger(fault).map(NetworkFault::advice)),
    }
}

/// HTTP without an OAuth error is not from a token endpoint: a proxy or a network that wants a login answered in its place.
fn stranger(fault: &OAuthFault<'_>) -> Option<NetworkFault> {
    match fault.status {
        0 => None,
        _ if fault.error.is_some() || !fault.codes.is_empty() => None,
        407 => Some(NetworkFault::ProxyPassword),
        _ => Some(NetworkFault::NotAnEndpoint),
    }
}

fn verdict(outcome: OAuthOutcome, advice: Option<&'static AdviceEntry>) -> OAuthVerdict {
    OAuthVerdict { outcome, advice }
}

/// A row of Entra's numbers.
struct Codes {
    codes: &'static [u64],
    outcome: OAuthOutcome,
    advice: &'static AdviceEntry,
}

/// The row of the first number that the table knows: `error_codes` first, `AADSTSnnn` in the description where it knows none.
fn entra_row(fault: &OAuthFault<'_>) -> Option<&'static Codes> {
    let description = fault.description.unwrap_or_default();
    let known = |code: u64| numbered_row(code, description);
    let told = || fault.codes.iter().copied().find_map(known);
    told().or_else(|| entra_codes(description).find_map(known))
}

/// The row of a number, where the number has two meanings by the description.
fn numbered_row(code: u64, description: &str) -> Option<&'static Codes> {
    let has = |row: &&Codes| row.codes.contains(&code);
    let spoken =
        entra::SPOKEN.iter().filter(|(_, row)| has(&row)).find(|(part, _)| description.to_ascii_lowercase().contains(part));
    spoken.map(|(_, row)| row).or_else(|| entra::ROWS.iter().find(has))
}

/// Every `nnn` of an `AADSTSnnn` in `text`.
fn entra_codes(text: &str) -> impl Iterator<Item = u64> {
    text.split("AADSTS").skip(1).filter_map(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok()
    })
}

/// A row of errors by name.
struct Row {
    /// `error`.
    error: &'static str,
    /// Fragments of `error_description` or `error_subtype` in lower case, separated by `|`; empty fits everything.
    detail: &'static str,
    outcome: OAuthOutcome,
    advice: &'static AdviceEntry,
}

/// A row in one line.
const fn row(error: &'static str, detail: &'static str, outcome: OAuthOutcome, advice: &'static AdviceEntry) -> Row {
    Row { error, detail, outcome, advice }
}

/// The first row that fits.
fn find(provider: Provider, fault: &OAuthFault<'_>) -> Option<&'static Row> {
    let own = match provider {
        Provider::Google => google::ROWS,
        Provider::Microsoft | Provider::Custom => &[],
    };
    let error = fault.error?;
    let lower = |text: Option<&str>| text.unwrap_or_default().to_ascii_lowercase();
    let (description, subtype) = (lower(fault.description), lower(fault.subtype));
    let speaks_of = |fragment| description.contains(fragment) || subtype.contains(fragment);
    own.iter().chain(any::ROWS).find(|row| row.error == error && (row.detail.is_empty() || row.detail.split('|').any(speaks_of)))
}
