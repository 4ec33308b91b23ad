//! One row for each reply that is known of Google and Microsoft, with the text as their servers send it, and the rules of any
//! server.

mod google_replies;
mod microsoft_replies;

use super::*;
use crate::smtp::Enhanced;
use Outcome::{Delivered, RefuseMessage, RefuseRecipient, Renew, RetryMailbox, RetryMessage, SplitRecipients};
use google_replies::GOOGLE_REPLIES;
use microsoft_replies::MICROSOFT_REPLIES;
use proptest::prelude::*;
use std::collections::HashSet;

const GOOGLE: Provider = Provider::Google;
const MICROSOFT: Provider = Provider::Microsoft;
const CUSTOM: Provider = Provider::Custom;
const HOLD: Outcome = Outcome::Hold(Hold::Mailbox);
const QUOTA: Outcome = Outcome::Hold(Hold::Quota);
const SENDER: Outcome = Outcome::Hold(Hold::Sender);

/// Provider, step, the reply as it comes over the wire (lines separated by `\n`), outcome, name of the advice.
type Example = (Provider, Step, &'static str, Outcome, &'static str);
const ANY_REPLIES: &[Example] = &[
    (CUSTOM, Step::Body, "250 2.0.0 queued as 1A2B", Delivered, ""),
    (CUSTOM, Step::Mail, "530 5.7.0 Must issue a STARTTLS command first", HOLD, "tls-mode"),
    (CUSTOM, Step::Mail, "530 Authentication required", HOLD, "login-skipped"),
    (CUSTOM, Step::Auth, "535 5.7.8 Error: authentication failed", Renew, "token-refused"),
    (CUSTOM, Step::Auth, "535 Incorrect authentication data", Renew, "token-refused"),
    (CUSTOM, Step::Auth, "554 5.7.8 authentication failed", Renew, "token-refused"),
    (CUSTOM, Step::Auth, "504 5.5.4 Unrecognized authentication type", HOLD, "no-xoauth2"),
    (CUSTOM, Step::Auth, "501 5.5.2 invalid base64", HOLD, "report-this"),
    (CUSTOM, Step::Auth, "550 5.7.1 account suspended", HOLD, "login-refused"),
    (CUSTOM, Step::Auth, "454 4.7.0 temporary authentication failure", RetryMailbox, "temporary-refusal"),
    (CUSTOM, Step::Mail, "535 5.7.8 not logged in", HOLD, "login-refused"),
    (CUSTOM, Step::Rcpt, "550 SMTP AUTH: authentication is required to relay", HOLD, "login-skipped"),
    (CUSTOM, Step::Greeting, "554 5.7.1 192.0.2.1 is on a block list", HOLD, "address-blocked"),
    (CUSTOM, Step::Greeting, "554 No SMTP service here", RetryMailbox, "no-service"),
    (CUSTOM, Step::Greeting, "421 too many connections", RetryMailbox, "temporary-refusal"),
    (CUSTOM, Step::Ehlo, "550 5.7.1 Helo command rejected: need fully-qualified hostname", HOLD, "ehlo-name"),
    (CUSTOM, Step::Ehlo, "502 Command not implemented", RetryMailbox, "no-service"),
    (CUSTOM, Step::Tls, "502 5.5.1 STARTTLS not available", HOLD, "tls-mode"),
    (CUSTOM, Step::Other, "500 5.5.2 RSET?", RetryMailbox, "no-service"),
    (
        CUSTOM,
        Step::Mail,
        "553 5.7.1 <boss@example.com>: Sender address rejected: not owned by user robot",
        SENDER,
        "sender-denied",
    ),
    (CUSTOM, Step::Rcpt, "554 5.7.1 <a@example.net>: Relay access denied", HOLD, "relay-denied"),
    (CUSTOM, Step::Body, "550 5.7.1 hourly limit of 500 messages reached", QUOTA, "quota"),
    (CUSTOM, Step::Rcpt, "452 4.5.3 Error: too many recipients", SplitRecipients, "too-many-recipients"),
    (CUSTOM, Step::Rcpt, "552 too many recipients", SplitRecipients, "too-many-recipients"),
    (CUSTOM, Step::Rcpt, "501 5.1.3 Bad recipient address syntax", RefuseRecipient, "address-syntax"),
    (CUSTOM, Step::Rcpt, "550 5.1.1 <a@example.net>: User unknown", RefuseRecipient, "no-such-recipient"),
    (CUSTOM, Step::Rcpt, "552 5.2.2 Mailbox full", RefuseRecipient, "recipient-full"),
    (CUSTOM, Step::Rcpt, "452 4.2.2 Mailbox full", RetryMessage, "recipient-full"),
    (CUSTOM, Step::Mail, "552 5.3.4 Message size exceeds fixed limit", RefuseMessage, "too-large"),
    (CUSTOM, Step::Body, "552 Message size exceeds maximum permitted", RefuseMessage, "too-large"),
    (CUSTOM, Step::Mail, "550 5.6.7 SMTPUTF8 required", RefuseMessage, "content-refused"),
    (CUSTOM, Step::Body, "554 5.4.6 Too many hops", RefuseMessage, "mail-loop"),
    (CUSTOM, Step::Data, "503 5.5.1 Error: need RCPT command", RetryMessage, "report-this"),
    (CUSTOM, Step::Mail, "555 5.5.4 Unsupported option: ENVID", RetryMessage, "report-this"),
    (CUSTOM, Step::Body, "554 5.5.1 sequence", RetryMessage, "report-this"),
    (CUSTOM, Step::Mail, "550 5.7.999 no", HOLD, "policy"),
    (CUSTOM, Step::Mail, "550 no", SENDER, "sender-denied"),
    (CUSTOM, Step::Rcpt, "550 no", RefuseRecipient, "recipient-refused"),
    (CUSTOM, Step::Data, "554 no", RefuseMessage, "message-refused"),
    (CUSTOM, Step::Body, "554 5.7.1 virus found", RefuseMessage, "message-refused"),
    (CUSTOM, Step::Body, "451 try later", RetryMessage, "temporary-refusal"),
    (CUSTOM, Step::Rcpt, "450 4.2.0 greylisted", RetryMessage, "temporary-refusal"),
    (CUSTOM, Step::Mail, "421 4.3.2 shutting down", RetryMessage, "temporary-refusal"),
    // No reply that makes sense here is still no reason to lose mail.
    (CUSTOM, Step::Body, "354 go on", RetryMessage, ""),
];

fn examples() -> impl Iterator<Item = Example> {
    [GOOGLE_REPLIES, MICROSOFT_REPLIES, ANY_REPLIES].into_iter().flatten().copied()
}

/// A reply as the client reads it.
fn read(wire: &str) -> Reply {
    let code = wire[..3].parse().unwrap();
    let mut enhanced = None;
    let line = |line: &str| {
        let (first, rest) = line[4..].split_once(' ').unwrap_or((&line[4..], ""));
        match Enhanced::parse(first) {
            Some(found) => {
                enhanced = enhanced.or(Some(found));
                rest.to_owned()
            }
            None => line[4..].to_owned(),
        }
    };
    let lines = wire.lines().map(line).collect();
    Reply { code, enhanced, lines }
}

#[test]
fn every_known_reply_is_judged_and_explained() {
    for (provider, step, wire, outcome, advice) in examples() {
        let verdict = classify(provider, step, &read(wire));
        let name = verdict.advice.map_or("", |advice| advice.name);
        assert_eq!((verdict.outcome, name), (outcome, advice), "{provider} after {step}: {wire}");
    }
}

#[test]
fn every_row_of_the_tables_has_its_example() {
    let met: Vec<&Row> = examples().filter_map(|(provider, step, wire, ..)| find(provider, step, &read(wire))).collect();
    for row in [google::ROWS, microsoft::ROWS, any::ROWS].into_iter().flatten() {
        let pattern = (row.code, row.enhanced, row.text);
        assert!(met.iter().any(|met| std::ptr::eq(*met, row)), "no example reaches {pattern:?} {:?}", row.steps);
        assert!(!row.text.bytes().any(|b| b.is_ascii_uppercase()), "{pattern:?} can never match");
    }
}

#[test]
fn every_advice_is_reached_by_a_reply() {
    let reached: HashSet<&str> = examples().map(|(.., advice)| advice).collect();
    for advice in ADVICE {
        assert!(reached.contains(advice.name), "{}", advice.name);
    }
}

/// The tables hold no such row today; the type sees to it that none can do harm.
#[test]
fn no_row_could_refuse_a_message_before_mail() {
    use Means::*;
    for means in [Retry, Slow, Split, Renew, Hold, Quota, Sender, Refuse, Ours] {
        for step in ANY.iter().filter(|step| step.is_before_mail() || **step == Step::Other) {
            let outcome = means.outcome(*step);
            assert!(!outcome.is_final_refusal() && outcome != RetryMessage && outcome != SplitRecipients, "{means:?} {step}");
        }
    }
}

#[test]
fn patterns_know_digits_and_rests() {
    for (pattern, value, expected) in [
        ("550", "550", true),
        ("5xx", "599", true),
        ("5xx", "5", false),
        ("5.7.*", "5.7.139", true),
        ("5.7.*", "5.71.1", false),
        ("4.7.5xx", "4.7.500", true),
        ("4.7.5xx", "4.7.50", false),
        ("5.7.1", "5.7.139", false),
    ] {
        assert_eq!(fits(pattern, value), expected, "{pattern} {value}");
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop::sample::select(ANY)
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let fragments: Vec<String> = [google::ROWS, microsoft::ROWS, any::ROWS]
        .into_iter()
        .flatten()
        .flat_map(|row| row.text.split('|'))
        .map(String::from)
        .collect();
    let text = prop_oneof![prop::sample::select(fragments), any::<String>()];
    let enhanced = prop::option::of((prop::sample::select(vec![2u8, 4, 5]), 0u16..9, 0u16..999));
    (200u16..600, enhanced, prop::collection::vec(text, 1..3)).prop_map(|(code, enhanced, lines)| {
        let enhanced = enhanced.map(|(class, subject, detail)| Enhanced { class, subject, detail });
        Reply { code, enhanced, lines }
    })
}

proptest! {
    #[test]
    fn nothing_before_mail_ever_refuses_a_message(
        provider in prop::sample::select(vec![GOOGLE, MICROSOFT, CUSTOM]),
        step in any_step(),
        reply in any_reply(),
    ) {
        let outcome = classify(provider, step, &reply).outcome;
        if step.is_before_mail() || step == Step::Other {
            prop_assert!(!outcome.is_final_refusal(), "{outcome:?}");
            prop_assert!(!matches!(outcome, RetryMessage | SplitRecipients), "{outcome:?}");
        }
        prop_assert!(outcome != Renew || step == Step::Auth);
        prop_assert_eq!(outcome == Delivered, reply.is_positive());
        if reply.is_transient() {
            prop_assert!(!outcome.is_final_refusal(), "{outcome:?}");
        }
    }
}
