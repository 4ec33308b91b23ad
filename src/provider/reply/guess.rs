//! What a reply may mean of which only parts are known: somebody pasted it without the command that it answers, without its code,
//! or without saying whose server gave it. Each guess has a weight: what a row asks for and finds counts.

use super::{ANY, AdviceEntry, Provider, Row, any, fits, google, is_one_of, microsoft};
use crate::{
    mail::Outcome,
    smtp::{Enhanced, Step},
};
use std::cmp::Reverse;

/// What is known of a reply.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::provider) struct Parts<'a> {
    pub(in crate::provider) provider: Option<Provider>,
    pub(in crate::provider) step: Option<Step>,
    pub(in crate::provider) code: Option<u16>,
    pub(in crate::provider) enhanced: Option<Enhanced>,
    /// In lower case.
    pub(in crate::provider) text: &'a str,
}

/// One thing that it may mean.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) struct Guess {
    pub(in crate::provider) advice: &'static AdviceEntry,
    pub(in crate::provider) outcome: Outcome,
    /// Whose table says so; nothing for the table of any server.
    pub(in crate::provider) provider: Option<Provider>,
    /// After which command, where that makes the difference.
    pub(in crate::provider) step: Option<Step>,
    /// The words that would tell it from its like, where they are not there.
    pub(in crate::provider) if_text: Option<&'static str>,
    pub(in crate::provider) weight: u16,
}

/// Where a reply mostly comes from that says nothing of it: most are refused logins, recipients and messages.
const LIKELY: [Step; 10] = [
    Step::Auth,
    Step::Rcpt,
    Step::Body,
    Step::Mail,
    Step::Data,
    Step::Greeting,
    Step::Ehlo,
    Step::Tls,
    Step::Connect,
    Step::Other,
];

/// A text that has to be there weighs more than a code, and a code more than whose it is.
const TEXT: u16 = 40;
const ENHANCED: u16 = 20;
const ENHANCED_KIND: u16 = 10;
const OWN: u16 = 10;
const CODE: u16 = 5;
/// Every row fits something.
const LEAST: u16 = 20;
/// What a code alone is worth less, if it may be another provider's.
const STRANGER: u16 = 15;
/// An enhanced code without a reply code may be a report's.
const CODELESS: u16 = 10;

/// Everything that it may mean, the likeliest first, each advice once.
pub(in crate::provider) fn guesses(parts: Parts<'_>) -> Vec<Guess> {
    let is_given =
        |step: &Step| parts.step.map_or_else(|| !is_a_logins(parts.code) || *step == Step::Auth, |known| known == *step);
    let is_his = |provider: &Provider| parts.provider.is_none_or(|known| known == *provider);
    let mut found = Vec::new();
    for step in LIKELY.into_iter().filter(is_given) {
        for provider in [Provider::Google, Provider::Microsoft, Provider::Custom].into_iter().filter(is_his) {
            guess(provider, step, &parts, &mut found);
        }
    }
    // Stable: of equal weight the likelier step stays first.
    found.sort_by_key(|guess| Reverse(guess.weight));
    let best = found.first().map_or(0, |guess| guess.weight);
    let mut names = Vec::new();
    found.retain(|guess| {
        let is_likely = guess.weight * 3 >= best * 2 || (guess.if_text.is_some() && best < LEAST + TEXT);
        let is_new = is_likely && !names.contains(&guess.advice.name);
        names.extend(is_new.then_some(guess.advice.name));
        is_new
    });
    found
}

/// Whether only a login is answered so (RFC 4954 §6).
fn is_a_logins(code: Option<u16>) -> bool {
    matches!(code, Some(534 | 535 | 538))
}

fn guess(provider: Provider, step: Step, parts: &Parts<'_>, found: &mut Vec<Guess>) {
    let own = rows(provider);
    let coded = |row: &&Row| row.steps.contains(&step) && fits_codes(row, parts);
    let spoken = |row: &&Row| is_one_of(row.text, |fragment| parts.text.contains(fragment));
    let of = |row: &'static Row, weight: u16, if_text: Option<&'static str>| {
        let is_own = own.iter().any(|own| std::ptr::eq(own, row));
        Guess {
            advice: row.advice,
            outcome: row.means.outcome(step),
            provider: is_own.then_some(provider),
            step: (row.steps.len() < ANY.len()).then_some(step),
            if_text,
            weight,
        }
    };
    let Some(row) = own.iter().chain(any::ROWS).filter(coded).find(spoken) else { return };
    let is_own = own.iter().any(|own| std::ptr::eq(own, row));
    found.push(of(row, weight(row, parts, is_own), None));
    // The same code with other words: the text may have been left out.
    if row.text.is_empty() && !row.enhanced.is_empty() {
        let like = own.iter().filter(coded).filter(|like| !like.text.is_empty() && like.enhanced == row.enhanced);
        found.extend(like.map(|like| of(like, LEAST, Some(like.text))));
    }
}

fn weight(row: &Row, parts: &Parts<'_>, is_own: bool) -> u16 {
    let mut weight = LEAST;
    weight += if row.text.is_empty() { 0 } else { TEXT };
    weight += match row.enhanced {
        "" => 0,
        exact if !exact.contains(['*', 'x']) => ENHANCED,
        _ => ENHANCED_KIND,
    };
    weight += if row.code.contains('x') || row.code.is_empty() { 0 } else { CODE };
    weight += if is_own { OWN } else { 0 };
    if is_own && row.text.is_empty() && parts.provider.is_none() {
        weight -= STRANGER;
    }
    if parts.code.is_none() {
        weight -= CODELESS;
    }
    weight
}

/// Whether the codes that are known fit; a code that is not known fits what has the class of the enhanced one.
fn fits_codes(row: &Row, parts: &Parts<'_>) -> bool {
    let code = |pattern: &str| match (parts.code, parts.enhanced) {
        (Some(code), _) => fits(pattern, &code.to_string()),
        (None, Some(enhanced)) => pattern.starts_with(char::from(b'0' + enhanced.class % 10)),
        (None, None) => false,
    };
    let enhanced = |pattern: &str| parts.enhanced.is_some_and(|enhanced| fits(pattern, &enhanced.to_string()));
    // An enhanced code alone has to be what the row asks for; a row of codes would fit anything.
    let is_named = parts.code.is_some() || !row.enhanced.is_empty();
    is_named && is_one_of(row.code, code) && is_one_of(row.enhanced, enhanced)
}

fn rows(provider: Provider) -> &'static [Row] {
    match provider {
        Provider::Google => google::ROWS,
        Provider::Microsoft => microsoft::ROWS,
        Provider::Custom => &[],
    }
}

/// What follows from a reply with this advice, where only the advice is known.
pub(in crate::provider) fn outcome_of(advice: &AdviceEntry) -> Option<Outcome> {
    let mut rows = [google::ROWS, microsoft::ROWS, any::ROWS].into_iter().flatten();
    let row = rows.find(|row| std::ptr::eq(row.advice, advice))?;
    // Most speak of a message; a login's are the others.
    let steps = [Step::Body, Step::Rcpt, Step::Mail, Step::Auth].into_iter().chain(row.steps.iter().copied());
    let step = steps.into_iter().find(|step| row.steps.contains(step))?;
    Some(row.means.outcome(step))
}
