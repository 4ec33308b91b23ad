//! What a pasted text means: a number, a reply with a log around it, an error of a token endpoint, the address that a browser shows,
//! the name of an advice.
//!
//! Nothing of the text is given back but codes, names that the tables know, and the ids by which Microsoft finds a request: people
//! paste tokens. What is given back is bounded, whatever came in.

mod consequence;
mod errors;
mod marks;
mod paste;
mod replies;
#[cfg(test)]
mod tests;

pub use consequence::Consequence;
pub use marks::Marks;

use super::{AdviceEntry, NetworkFault, Provider, all_advice, fault, network, reply};
use crate::{mail::Outcome, smtp::Step};
use paste::Paste;
use std::cmp::Reverse;

/// How much of a text is read, in octets.
pub const LONGEST: usize = 64 * 1024;

/// Most meanings that are given; a text with more has a log's worth of different troubles in it.
const MOST: usize = 8;

/// What the advice of a name is worth: somebody asked for just this one.
const NAMED: u16 = 120;
/// A failure of network or TLS, by its words.
const NETWORK: u16 = 65;
/// Google's challenge says only that the token was refused.
const CHALLENGE: u16 = 70;

/// What is known besides the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hints {
    /// Whose text it is.
    pub provider: Option<Provider>,
    /// Which command it answers.
    pub step: Option<Step>,
}

/// What a text means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The likeliest first, each advice once.
    pub meanings: Vec<Meaning>,
    /// Codes and error names that no table knows.
    pub unknown: Vec<Unknown>,
    /// By what Microsoft finds the request.
    pub marks: Marks,
    /// Something in the text looks like a token, a password or a key.
    pub holds_secret: bool,
}

/// One thing that it may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// What to do.
    pub advice: &'static AdviceEntry,
    /// By what it was recognised: a code, an error's name; never more of the text.
    pub said: String,
    /// Whose table knows it; nothing for what any server says.
    pub provider: Option<Provider>,
    /// What outlink does meanwhile, where it follows from a table.
    pub consequence: Option<Consequence>,
    /// It is meant only if the text has one of these words (separated by `|`), which it has not.
    pub if_text: Option<&'static str>,
    weight: u16,
}

/// A code that no table knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// `AADSTS999999`, `odd_error`.
    pub code: String,
    /// Where its owner explains it.
    pub lookup: Option<String>,
}

/// Explains `text`, of which the first [`LONGEST`] octets are read.
pub fn explain(text: &str, hints: Hints) -> Explanation {
    let paste = Paste::of(&text[..text.floor_char_boundary(LONGEST)]);
    let mut found = Explanation { marks: Marks::of(&paste), holds_secret: paste.holds_secret, ..Explanation::default() };
    let provider = hints.provider.or_else(|| whose(&paste.text));
    found.meanings.extend(paste.names.iter().map(|advice| by_name(advice)));
    errors::read(&paste, provider, &mut found);
    let before = found.meanings.len();
    replies::read(&paste, Hints { provider, ..hints }, &mut found);
    // `421 4.4.1 Connection timed out` came over a connection.
    let is_answered = found.meanings.len() > before && paste.text.to_ascii_lowercase().contains(" answered ");
    found.meanings.extend(challenge(&paste, provider));
    // The words of a page or a socket say nothing beside an answer that came after all.
    found.meanings.extend(NetworkFault::read(&paste.text).filter(|_| !is_answered).map(|fault| on_the_way(fault, NETWORK)));
    found.meanings.sort_by_key(|meaning| Reverse(meaning.weight));
    let mut names = Vec::new();
    found.meanings.retain(|meaning| {
        let is_new = !names.contains(&meaning.advice.name);
        names.push(meaning.advice.name);
        is_new
    });
    found.meanings.truncate(MOST);
    found
}

/// What the advice of a name says, and what follows from what it stands for.
fn by_name(advice: &'static AdviceEntry) -> Meaning {
    let mail = reply::outcome_of(advice).map(Consequence::Mail);
    let token = || fault::outcome_of(advice).map(Consequence::Token);
    let way = || network::ADVICE.contains(&advice).then_some(Consequence::Mail(Outcome::RetryMailbox));
    Meaning {
        advice,
        said: advice.name.to_owned(),
        provider: provider_of(advice),
        consequence: mail.or_else(token).or_else(way).or_else(|| Consequence::of_own(advice.name)),
        if_text: None,
        weight: NAMED,
    }
}

/// Whose advice it is, by its name.
fn provider_of(advice: &AdviceEntry) -> Option<Provider> {
    match advice.name.split('-').next() {
        Some("google") => Some(Provider::Google),
        Some("microsoft") => Some(Provider::Microsoft),
        _ => None,
    }
}

fn on_the_way(fault: NetworkFault, weight: u16) -> Meaning {
    let advice = fault.advice();
    let consequence = Some(Consequence::Mail(Outcome::RetryMailbox));
    Meaning { advice, said: "a failure on the way".to_owned(), provider: None, consequence, if_text: None, weight }
}

/// The JSON by which Gmail refuses a token before its `535`.
fn challenge(paste: &Paste<'_>, provider: Option<Provider>) -> Option<Meaning> {
    let status = paste.challenge?;
    let parts = reply::Parts {
        provider: provider.or(Some(Provider::Google)),
        step: Some(Step::Auth),
        code: Some(535),
        ..reply::Parts::default()
    };
    let guess = reply::guesses(parts).into_iter().next()?;
    Some(Meaning {
        advice: guess.advice,
        said: format!("334 challenge with status {status}"),
        provider: guess.provider,
        consequence: Some(Consequence::Mail(guess.outcome)),
        if_text: None,
        weight: CHALLENGE,
    })
}

/// Whose server speaks, by hosts and words that one of them alone uses; nothing where both are spoken of.
fn whose(text: &str) -> Option<Provider> {
    let text = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let google = has(&[
        "gsmtp",
        "- gcdp",
        "smtp.gmail.com",
        "smtp-relay.gmail.com",
        "support.google.com",
        "googleapis.com",
        "accounts.google.com",
        "mail.google.com",
        "username and password not accepted",
        "provider=google",
    ]);
    let microsoft = has(&[
        "aadsts",
        "office365",
        "outlook.com",
        "microsoftonline",
        "exchangelabs.com",
        "prod.outlook",
        "storedrv",
        "begindiagnosticdata",
        "smtpclientauthentication",
        "authentication unsuccessful",
        "provider=microsoft",
    ]);
    match (google, microsoft) {
        (true, false) => Some(Provider::Google),
        (false, true) => Some(Provider::Microsoft),
        _ => None,
    }
}

/// Advice whose name stands in a text where a name is expected.
fn advice_called(name: &str) -> Option<&'static AdviceEntry> {
    all_advice().find(|advice| advice.name == name)
}
