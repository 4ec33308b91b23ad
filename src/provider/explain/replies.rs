//! SMTP replies with anything around them: alone, in a log of outlink, Postfix or another program, in a report, over several lines.

use super::{Consequence, Explanation, Hints, Meaning, paste::Paste};
use crate::{
    provider::{fault, reply},
    smtp::{Enhanced, Step},
};

/// Reply codes that servers give (RFC 5321 §4.2.3, RFC 4954 §6, Exchange's own 430 and 432).
const CODES: [u16; 35] = [
    421, 430, 432, 441, 450, 451, 452, 454, 455, 471, 500, 501, 502, 503, 504, 521, 523, 525, 530, 534, 535, 538, 541, 550, 551,
    552, 553, 554, 555, 556, 557, 571, 572, 573, 574,
];

/// What stands before a reply code that has no enhanced code behind it; other numbers are ports, times and statuses.
const BEFORE: [&str; 16] = [
    "said: ",
    "with ",
    "answered ",
    "reply=",
    "reply=\"",
    "reply: ",
    "code=",
    "code: ",
    "smtp; ",
    "smtp;",
    "error: ",
    "response: ",
    "returned: ",
    "returned '",
    "s: ",
    "< ",
];

/// What shows that a number is HTTP's.
const HTTP: [&str; 14] = [
    "without an oauth error",
    "with what is no token",
    "service unavailable",
    "bad gateway",
    "gateway time",
    "internal server error",
    "ok",
    "bad request",
    "unauthorized",
    "forbidden",
    "not found",
    "too many requests",
    "proxy auth",
    "see other",
];

/// Most replies that are looked at, most lines and octets of one.
const MOST: usize = 24;
const MOST_LINES: usize = 8;
const LONGEST: usize = 2000;

/// A reply in a text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    code: Option<u16>,
    enhanced: Option<Enhanced>,
    text: String,
    step: Option<Step>,
}

/// Adds what the replies in `paste` mean.
pub(super) fn read(paste: &Paste<'_>, hints: Hints, found: &mut Explanation) {
    for reply in find(paste) {
        let step = hints.step.or(reply.step);
        let parts =
            reply::Parts { provider: hints.provider, step, code: reply.code, enhanced: reply.enhanced, text: &reply.text };
        found.meanings.extend(reply::guesses(parts).into_iter().map(|guess| meaning(&reply, guess)));
    }
}

fn meaning(reply: &Found, guess: reply::Guess) -> Meaning {
    let mut said = reply.code.map_or_else(String::new, |code| code.to_string());
    if let Some(enhanced) = reply.enhanced {
        said = format!("{said} {enhanced}").trim_start().to_owned();
    }
    if let Some(step) = guess.step {
        said = format!("{said} after {step}");
    }
    let reply::Guess { advice, provider, if_text, weight, outcome, .. } = guess;
    Meaning { advice, said, provider, consequence: Some(Consequence::Mail(outcome)), if_text, weight }
}

/// Every reply, in the order of the text.
fn find(paste: &Paste<'_>) -> Vec<Found> {
    let lower = paste.text.to_ascii_lowercase();
    if let Ok(code) = paste.whole.parse::<u16>()
        && CODES.contains(&code)
    {
        return vec![Found { code: Some(code), ..Found::default() }];
    }
    let lines: Vec<&str> = lower.lines().collect();
    let mut found: Vec<Found> = Vec::new();
    let mut number = 0;
    while number < lines.len() && found.len() < MOST {
        let mut used = 1;
        for (at, code, enhanced) in starts(lines[number]) {
            let (text, more) = whole(&lines[number..], at, code);
            used = used.max(more);
            let step = step(lines[number], &text);
            let reply = Found { code, enhanced, text, step };
            if !found.contains(&reply) && found.len() < MOST {
                found.push(reply);
            }
        }
        number += used;
    }
    // `dsn=5.7.8` and `enhanced=5.7.8` beside the reply itself say nothing more.
    let coded: Vec<Enhanced> = found.iter().filter(|reply| reply.code.is_some()).filter_map(|reply| reply.enhanced).collect();
    found.retain(|reply| reply.code.is_some() || reply.enhanced.is_some_and(|enhanced| !coded.contains(&enhanced)));
    found
}

/// Where replies begin in a line: the place behind the codes, and the codes.
fn starts(line: &str) -> Vec<(usize, Option<u16>, Option<Enhanced>)> {
    let mut found = Vec::new();
    let mut code: Option<(usize, u16)> = None;
    for (at, word) in words(line) {
        if found.len() >= MOST {
            break;
        }
        let end = at + word.len();
        let trimmed = word.trim_end_matches('.');
        if let Some(enhanced) = Enhanced::parse(trimmed).filter(|enhanced| enhanced.class != 2) {
            // Python writes `(535, b'5.7.3 …')`.
            let is_between = |end: usize| end < at && line[end..at].chars().all(|c| " -,:'\"#(b".contains(c));
            let before = code.take().filter(|(end, _)| is_between(*end));
            found.push((end, before.map(|(_, code)| code), Some(enhanced)));
            continue;
        }
        found.extend(code.take().and_then(|(end, code)| alone(line, end, code)));
        let is_code = word.len() == 3 && line[end..].chars().next().is_none_or(|c| " -\"'),".contains(c));
        code = word.parse().ok().filter(|code| is_code && CODES.contains(code)).map(|code| (end, code));
    }
    found.extend(code.and_then(|(end, code)| alone(line, end, code)));
    found
}

/// A code without an enhanced one, if its place says that it is one.
fn alone(line: &str, end: usize, code: u16) -> Option<(usize, Option<u16>, Option<Enhanced>)> {
    let (before, after) = (&line[..end - 3], line[end..].trim_start_matches([' ', '-', ':', ',']));
    let is_http = HTTP.iter().any(|phrase| after.starts_with(phrase))
        || before.trim_end_matches(['1', '2', '.', '/', '0', ' ']).ends_with("http")
        // As outlink's own log has it: `token endpoint https://… answered 500 odd_error`.
        || before.ends_with(" answered ") && before.contains("endpoint http");
    let is_oauth = fault::error_names().any(|name| after.starts_with(name));
    let begins = before.chars().all(|c| !c.is_alphanumeric());
    let is_led = BEFORE.iter().any(|lead| before.ends_with(lead));
    (!is_http && !is_oauth && (begins || is_led)).then_some((end, Some(code), None))
}

/// Runs of letters, digits and points, with their place.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '.';
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + line[rest..].find(is_part)?;
        let end = line[start..].find(|c| !is_part(c)).map_or(line.len(), |length| start + length);
        rest = end;
        Some((start, &line[start..end]))
    })
}

/// The text of a reply that begins in the first of `lines`, and over how many of them it goes: further lines of the same code, and
/// what a terminal or a mail program wrapped.
fn whole(lines: &[&str], at: usize, code: Option<u16>) -> (String, usize) {
    let first = lines[0][at..].trim();
    let mut text = first[..first.floor_char_boundary(LONGEST)].to_owned();
    let mut used = 1;
    for line in lines.iter().skip(1).take(MOST_LINES) {
        let bare = line.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '[' && c != '{');
        let same = code.is_some_and(|code| bare.starts_with(&code.to_string()) && bare[3..].starts_with([' ', '-']));
        if bare.is_empty() || text.len() > LONGEST || (!same && begins_anew(bare)) {
            break;
        }
        let rest = if same { bare[4..].trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ') } else { bare };
        text.extend([" ", rest]);
        used += 1;
    }
    text.truncate(text.floor_char_boundary(LONGEST));
    (text, used)
}

/// Whether a line is a new reply, field or entry of a log.
fn begins_anew(line: &str) -> bool {
    let word = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').next().unwrap_or_default();
    let is_code = word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit());
    let is_year = word.len() == 4 && word.starts_with("20") && line[4..].starts_with('-');
    let is_month = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"].contains(&word)
        && line[3..].trim_start().starts_with(|c: char| c.is_ascii_digit());
    let is_field = line[word.len()..].starts_with(": ") && !word.is_empty();
    is_code || is_year || is_month || is_field || line.starts_with('{') || Enhanced::parse(word).is_some()
}

/// Which command the line says that the reply answers.
fn step(line: &str, text: &str) -> Option<Step> {
    const STEPS: [(&str, Step); 21] = [
        ("in reply to mail from", Step::Mail),
        ("in reply to rcpt to", Step::Rcpt),
        ("in reply to end of data", Step::Body),
        ("in reply to data", Step::Data),
        ("in reply to ehlo", Step::Ehlo),
        ("in reply to helo", Step::Ehlo),
        ("in reply to starttls", Step::Tls),
        ("sasl authentication failed", Step::Auth),
        ("refused to talk to me", Step::Greeting),
        ("answered greeting", Step::Greeting),
        ("answered ehlo", Step::Ehlo),
        ("answered tls", Step::Tls),
        ("answered auth", Step::Auth),
        ("answered mail", Step::Mail),
        ("answered rcpt", Step::Rcpt),
        ("answered data", Step::Data),
        ("answered end of message", Step::Body),
        ("auth at ", Step::Auth),
        ("greeting at ", Step::Greeting),
        ("ehlo at ", Step::Ehlo),
        ("tls at ", Step::Tls),
    ];
    STEPS.into_iter().find(|(words, _)| line.contains(words) || text.contains(words)).map(|(_, step)| step)
}
