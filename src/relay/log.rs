//! What the log says of a message's attempts: one line each, with the same fields in every contract.

use super::{judge::Judgement, settle::Tried};
use crate::{
    config::{App, Listener, Mailbox},
    mail::{Address, Envelope},
    queue::{Message, Next},
    smtp::Reply,
};
use std::time::Duration;

/// What an app was refused by its own rules, before a message of it was taken.
pub(super) fn refused(app: &App, listener: &Listener, reply: &Reply) {
    tracing::warn!(event = "app.refused", app = %app.name, listener = %listener.name, code = reply.code, reply = %reply.text(),
        "refused by the rules of the app");
}

/// One attempt on a kept message.
pub(super) struct Entry<'a> {
    pub(super) message: &'a Message,
    pub(super) mailbox: &'a Mailbox,
    pub(super) next: &'a Next,
    pub(super) took: Duration,
}

impl Entry<'_> {
    /// Writes it; `judgement` is the one that matters most.
    pub(super) fn write(&self, judgement: &Judgement, tried: &Tried) {
        let Self { message, mailbox, next, took } = self;
        let (id, app, client) = (message.id, &message.app, message.client.as_str());
        let (mailbox, link) = (&mailbox.name, &mailbox.link);
        let (from, to, bytes) = (sender(&message.envelope), recipients(&message.envelope), message.size);
        let code = judgement.said.as_ref().map(|reply| reply.code);
        let enhanced = judgement.said.as_ref().and_then(|reply| reply.enhanced).map(tracing::field::display);
        let advice_name = judgement.advice_name();
        let (reply, advice, ms) = (judgement.reason.as_str(), judgement.advice_text(), took.as_millis() as u64);
        let attempt = message.attempts + 1;
        match next {
            Next::Delivered => {
                tracing::info!(event = "message.delivered", %id, %app, %mailbox, %link, client, from, to, bytes, code,
                enhanced, reply, ms, attempt, "delivered")
            }
            Next::Failed { .. } => {
                tracing::warn!(event = "message.refused", %id, %app, %mailbox, %link, client, from, to, bytes, code,
                enhanced, reply, advice, advice_name, ms, attempt, "refused by the provider; kept as failed")
            }
            Next::Held { .. } => {
                tracing::warn!(event = "message.deferred", %id, %app, %mailbox, %link, client, from, to, bytes, code,
                enhanced, reply, advice, advice_name, ms, attempt, "held until its sender may use this mailbox")
            }
            // The mailbox's trouble was told once; its messages only wait.
            Next::Waits { .. } if tried.trouble.is_some() => {
                tracing::debug!(event = "message.deferred", %id, %app, %mailbox, %link, client, from, to, bytes, code, enhanced, reply,
                    ms, attempt, "waits for its mailbox");
            }
            Next::Waits { .. } if tried.reports.is_empty() => {
                tracing::warn!(event = "message.deferred", %id, %app, %mailbox, %link, client, from, to, bytes, code, enhanced, reply,
                    advice, advice_name, ms, attempt, "not delivered yet; tried again by itself");
            }
            Next::Waits { .. } => {
                tracing::info!(event = "message.deferred", %id, %app, %mailbox, %link, client, from, to, bytes, code,
                enhanced, reply, ms, attempt, settled = tried.reports.len(), "delivered in part; the others go next")
            }
        }
    }
}

/// The judgement that the log tells: a refusal before a delay, a delay before success.
pub(super) fn loudest(judgements: &[Judgement]) -> Option<&Judgement> {
    judgements.iter().rev().max_by_key(|judgement| match judgement.reply.code {
        500.. => 2,
        400.. => 1,
        _ => 0,
    })
}

/// The recipients for the log, the first twenty by name.
pub(super) fn recipients(envelope: &Envelope) -> String {
    const NAMED: usize = 20;
    let all = &envelope.recipients;
    let named: Vec<&str> = all.iter().take(NAMED).map(|recipient| recipient.address.as_str()).collect();
    match all.len() > NAMED {
        true => format!("{} and {} more", named.join(","), all.len() - NAMED),
        false => named.join(","),
    }
}

/// The envelope sender for the log; empty for the null sender.
pub(super) fn sender(envelope: &Envelope) -> &str {
    envelope.sender.as_ref().map_or("", Address::as_str)
}

/// A span of time for people, in its two largest units.
pub fn span(span: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut left = span.as_secs();
    let parts: Vec<String> = UNITS
        .into_iter()
        .filter_map(|(length, unit)| {
            let number = left / length;
            left %= length;
            (number > 0).then(|| format!("{number}{unit}"))
        })
        .take(2)
        .collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_two_largest_units() {
        for (seconds, expected) in [(0, "0s"), (59, "59s"), (3600, "1h"), (3661, "1h 1m"), (5 * 86_400, "5d"), (90_061, "1d 1h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }
}
