//! Errors of token endpoints and of logins: AADSTS numbers, and names of RFC 6749 with what stands behind them.

use super::{
    Consequence, Explanation, Meaning, Unknown,
    paste::{MOST_OF_A_KIND, Paste, Said},
};
use crate::provider::{OAuthFault, Provider, fault};

/// Where Microsoft explains a number.
const LOOKUP: &str = "https://login.microsoftonline.com/error?code=";

/// How much of a text after an error's name may be its description.
const LONGEST_DESCRIPTION: usize = 600;

/// Adds what the errors in `paste` mean.
pub(super) fn read(paste: &Paste<'_>, provider: Option<Provider>, found: &mut Explanation) {
    let is_login = paste.errors.iter().any(|said| said.is_login);
    let numbers = numbers(paste);
    for number in &numbers {
        let said = format!("AADSTS{number}");
        match fault::numbered(*number, &paste.text) {
            Some(guess) => found.meanings.push(meaning(guess, said, is_login)),
            None => found.unknown.push(Unknown { code: said, lookup: Some(format!("{LOOKUP}{number}")) }),
        }
    }
    // A number that is known says more than the name beside it.
    if numbers.iter().any(|number| fault::numbered(*number, "").is_some()) {
        return;
    }
    let spoken;
    let errors = if paste.errors.is_empty() {
        spoken = in_text(&paste.text);
        &spoken
    } else {
        &paste.errors
    };
    for said in errors {
        let error = OAuthFault {
            status: 400,
            error: Some(&said.error),
            description: Some(&said.description),
            subtype: Some(&said.subtype),
            codes: &[],
        };
        let guesses = fault::guesses(provider, &error);
        if guesses.is_empty() && is_name(&said.error) {
            found.unknown.push(Unknown { code: said.error.clone(), lookup: None });
        }
        found.meanings.extend(guesses.into_iter().map(|guess| meaning(guess, said.error.clone(), said.is_login)));
    }
    found.meanings.extend(by_status(&paste.text));
}

fn meaning(guess: fault::Guess, said: String, is_login: bool) -> Meaning {
    let consequence = if is_login { Consequence::Login } else { Consequence::Token(guess.outcome) };
    let fault::Guess { advice, provider, weight, .. } = guess;
    Meaning { advice, said, provider, consequence: Some(consequence), if_text: None, weight }
}

/// Numbers in `error_codes`, behind `AADSTS`, in the address of Microsoft's page, or alone.
fn numbers(paste: &Paste<'_>) -> Vec<u64> {
    let mut all = paste.numbers.clone();
    let lower = paste.text.to_ascii_lowercase();
    for before in ["aadsts", "error?code=", "error_codes"] {
        all.extend(
            lower
                .split(before)
                .skip(1)
                .take(MOST_OF_A_KIND)
                .filter_map(|rest| leading(rest.trim_start_matches([' ', ':', '-', '[', '"']))),
        );
    }
    let is_label = |word: &str| {
        ["aadsts", "error", "code", "number", "aadsts:", "error:", "code:"].contains(&word.to_ascii_lowercase().as_str())
    };
    let mut words = paste.whole.split_whitespace().filter(|word| !is_label(word));
    if let (Some(only), None) = (words.next(), words.next())
        && (5..=8).contains(&only.len())
    {
        all.extend(only.parse::<u64>());
    }
    let mut seen = Vec::new();
    all.retain(|number| {
        !seen.contains(number) && {
            seen.push(*number);
            true
        }
    });
    all.truncate(MOST_OF_A_KIND);
    all
}

fn leading(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    // Longer ones are other numbers.
    text[..digits].parse().ok().filter(|_| (5..=8).contains(&digits))
}

/// Known names as whole words, with the rest of their line.
fn in_text(text: &str) -> Vec<Said> {
    let mut names: Vec<&str> = fault::error_names().collect();
    names.sort_unstable();
    names.dedup();
    let mut found = Vec::new();
    for line in text.lines() {
        for name in names.iter().filter(|name| line.contains(*name)) {
            let at = line.find(name).unwrap_or_default();
            let (before, after) = (&line[..at], &line[at + name.len()..]);
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if before.ends_with(is_word) || after.starts_with(is_word) || found.len() >= MOST_OF_A_KIND {
                continue;
            }
            let end = after.floor_char_boundary(LONGEST_DESCRIPTION);
            let (error, description) = ((*name).to_owned(), after[..end].to_owned());
            found.push(Said { error, description, ..Said::default() });
        }
    }
    found
}

/// An HTTP status with its words, where no error says more.
fn by_status(text: &str) -> Option<Meaning> {
    const PHRASES: [(u16, &str); 8] = [
        (429, "too many requests"),
        (500, "internal server error"),
        (502, "bad gateway"),
        (503, "service unavailable"),
        (504, "gateway timeout"),
        (504, "gateway time-out"),
        (404, "not found"),
        (407, "proxy authentication required"),
    ];
    let lower = text.to_ascii_lowercase();
    let told = |(status, phrase): &&(u16, &str)| lower.contains(&format!("{status} {phrase}"));
    let answered = || {
        let rest = &lower[..lower.find(" without an oauth error")?];
        rest.get(rest.len().checked_sub(3)?..)?.parse().ok()
    };
    // What a service says of itself while it is down needs no error that anybody knows.
    let down = || {
        let (_, rest) = lower.split_once("endpoint http")?.1.split_once(" answered ")?;
        rest.get(..3)?.parse().ok().filter(|status: &u16| *status == 429 || (500..600).contains(status))
    };
    let status = PHRASES.iter().find(told).map(|(status, _)| *status).or_else(answered).or_else(down)?;
    Some(meaning(fault::by_status(status)?, format!("HTTP {status}"), false))
}

/// What may be shown of a name that nobody knows.
fn is_name(error: &str) -> bool {
    (3..=40).contains(&error.len()) && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}
