//! What a reply of the upstream means, and what to do about it: tables of rows, one per provider and one for any server; the
//! first row that fits wins, the provider's own rows come first.
//!
//! The difference that matters is whom a reply speaks of. Before `MAIL` the server knows no message, so nothing it says there can
//! refuse one, whatever the table holds: [`Means::outcome`] sees to it. Most `5xx` of both providers speak of the account or of a
//! quota, and no mail may be lost for them. A `5xx` that no row knows is believed (RFC 5321 §4.2.1) at `RCPT` and after the
//! message, since otherwise the mail would come again for days; at `MAIL`, where the server has seen only login and sender, it
//! holds one or the other. What cannot be judged at all is temporary.

mod advice;
mod any;
mod google;
mod guess;
mod microsoft;
#[cfg(test)]
mod tests;

use super::{AdviceEntry, Provider};
use crate::{
    mail::{Hold, Outcome},
    smtp::{Reply, Step},
};

/// AdviceEntry about replies.
pub(super) use advice::ALL as ADVICE;
pub(super) use guess::{Guess, Parts, guesses, outcome_of};

/// The meaning of one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What follows from it.
    pub outcome: Outcome,
    /// What to tell the administrator.
    pub advice: Option<&'static AdviceEntry>,
}

/// Judges the reply that `provider` gave at `step`. Every `2xx` is [`Outcome::Delivered`]: the caller asks only where it matters.
///
/// [`Outcome::SplitRecipients`] is the answer to too many recipients also where there was only one; who cannot split waits.
pub fn classify(provider: Provider, step: Step, reply: &Reply) -> Verdict {
    if reply.is_positive() {
        return Verdict { outcome: Outcome::Delivered, advice: None };
    }
    let row = find(provider, step, reply);
    Verdict { outcome: row.map_or(Means::Retry, |row| row.means).outcome(step), advice: row.map(|row| row.advice) }
}

/// The first row that fits.
fn find(provider: Provider, step: Step, reply: &Reply) -> Option<&'static Row> {
    let own = match provider {
        Provider::Google => google::ROWS,
        Provider::Microsoft => microsoft::ROWS,
        Provider::Custom => &[],
    };
    let code = reply.code.to_string();
    let enhanced = reply.enhanced.map(|enhanced| enhanced.to_string());
    let text = reply.text().to_ascii_lowercase();
    own.iter().chain(any::ROWS).find(|row| {
        row.steps.contains(&step)
            && is_one_of(row.code, |pattern| fits(pattern, &code))
            && is_one_of(row.enhanced, |pattern| enhanced.as_deref().is_some_and(|enhanced| fits(pattern, enhanced)))
            && is_one_of(row.text, |fragment| text.contains(fragment))
    })
}

/// One row. In the three patterns `|` separates alternatives and an empty pattern fits everything.
struct Row {
    /// The commands that the reply may answer.
    steps: &'static [Step],
    /// Reply codes; `x` is any digit.
    code: &'static str,
    /// Enhanced codes; `x` is any digit, `*` at the end any rest.
    enhanced: &'static str,
    /// Fragments of the text, in lower case.
    text: &'static str,
    means: Means,
    advice: &'static AdviceEntry,
}

/// A row in one line.
const fn row(
    steps: &'static [Step],
    [code, enhanced, text]: [&'static str; 3],
    means: Means,
    advice: &'static AdviceEntry,
) -> Row {
    Row { steps, code, enhanced, text, means, advice }
}

const ANY: &[Step] = &[
    Step::Connect,
    Step::Greeting,
    Step::Ehlo,
    Step::Tls,
    Step::Auth,
    Step::Mail,
    Step::Rcpt,
    Step::Data,
    Step::Body,
    Step::Other,
];
const MESSAGE: &[Step] = &[Step::Mail, Step::Rcpt, Step::Data, Step::Body];
const CONTENT: &[Step] = &[Step::Mail, Step::Data, Step::Body];
const AUTH: &[Step] = &[Step::Auth];
const MAIL: &[Step] = &[Step::Mail];
const RCPT: &[Step] = &[Step::Rcpt];

/// What a row says. The step adds the rest, so that no row can refuse a message that the server has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// Later.
    Retry,
    /// The mailbox is to go slower.
    Slow,
    /// Fewer recipients at a time.
    Split,
    /// Another token.
    Renew,
    /// The mailbox needs a person.
    Hold,
    /// A quota must reset.
    Quota,
    /// This sender may not send here.
    Sender,
    /// Final, for the recipient at `RCPT`, else for the message.
    Refuse,
    /// We said something that we should not have said: wait for a release that does not, and lose nothing.
    Ours,
}

impl Means {
    fn outcome(self, step: Step) -> Outcome {
        let before = step.is_before_mail() || step == Step::Other;
        match self {
            Self::Hold => Outcome::Hold(Hold::Mailbox),
            Self::Quota => Outcome::Hold(Hold::Quota),
            Self::Renew if step == Step::Auth => Outcome::Renew,
            Self::Slow => Outcome::RetryMailbox,
            Self::Retry | Self::Split if before => Outcome::RetryMailbox,
            Self::Sender | Self::Refuse | Self::Ours if before => Outcome::Hold(Hold::Mailbox),
            Self::Renew => Outcome::Hold(Hold::Mailbox),
            Self::Retry | Self::Ours => Outcome::RetryMessage,
            Self::Split => Outcome::SplitRecipients,
            Self::Sender => Outcome::Hold(Hold::Sender),
            Self::Refuse if step == Step::Rcpt => Outcome::RefuseRecipient,
            Self::Refuse => Outcome::RefuseMessage,
        }
    }
}

fn is_one_of(patterns: &str, fits: impl FnMut(&str) -> bool) -> bool {
    patterns.is_empty() || patterns.split('|').any(fits)
}

fn fits(pattern: &str, value: &str) -> bool {
    let same = |(p, v): (u8, u8)| p == v || (p == b'x' && v.is_ascii_digit());
    let (fixed, length_fits) = match pattern.strip_suffix('*') {
        Some(fixed) => (fixed, value.len() >= fixed.len()),
        None => (pattern, value.len() == pattern.len()),
    };
    length_fits && fixed.bytes().zip(value.bytes()).all(same)
}
