//! How `outlink status` reads.

use super::out::{age, ahead, counted, plain, say, size};
use crate::admin::{Status, Tally};
use serde_json::Value;
use std::time::SystemTime;

/// Prints it for people.
pub(super) fn print(status: &Status) {
    let now = SystemTime::now();
    let Status { version, hostname, pid, under_way, .. } = status;
    say(format_args!("outlink {version} as {hostname}, process {pid}; {under_way} messages under way"));
    for listener in &status.listeners {
        say(format_args!("listener {}: {}", listener.name, listener.address));
        if let Some(certificate) = &listener.certificate {
            say(format_args!("  certificate until {}", certificate.until.format("%Y-%m-%d")));
            certificate.trouble.iter().for_each(|trouble| say(format_args!("  {}", plain(trouble))));
        }
    }
    match &status.queue {
        Some(queue) => say(format_args!("queue: {}", tallies([&queue.waiting, &queue.held, &queue.failed], now))),
        None => say("queue: the store cannot be read; the log says why"),
    }
    status.mailboxes.iter().for_each(|mailbox| print_mailbox(mailbox, now));
}

/// `3 waiting, 1 held, 0 failed; 1.2 MiB, the oldest for 2h 3m`.
pub(super) fn tallies([waiting, held, failed]: [&Tally; 3], now: SystemTime) -> String {
    let counts = format!("{} waiting, {} held, {} failed", waiting.messages, held.messages, failed.messages);
    let all = [waiting, held, failed];
    match all.iter().filter_map(|tally| tally.oldest.as_deref()).min() {
        Some(oldest) => {
            format!("{counts}; {}, the oldest for {}", size(all.iter().map(|tally| tally.size).sum()), age(oldest, now))
        }
        None => counts,
    }
}

fn print_mailbox(mailbox: &Value, now: SystemTime) {
    let text = |value: &Value| value.as_str().map(|text| plain(text).into_owned());
    let field = |name: &str| text(&mailbox[name]);
    let or_dash = |name: &str| field(name).unwrap_or_else(|| "-".to_owned());
    let (name, link, grant, state) = (or_dash("mailbox"), or_dash("link"), or_dash("grant"), or_dash("state"));
    say(format_args!("mailbox {name}: link {link}, grant {grant}, {state}"));
    let hold = &mailbox["hold"];
    if let Some(reason) = text(&hold["reason"]) {
        let kind = text(&hold["kind"]).unwrap_or_default();
        let since = text(&hold["since"]).unwrap_or_default();
        say(format_args!("  trouble: {reason}"));
        say(format_args!(
            "  held for {} since {since} ({kind}), {}",
            age(&since, now),
            next(text(&hold["next"]).as_deref(), now)
        ));
    }
    // What to do about the mailbox's hold; a token's own advice comes below.
    if let Some(advice) = text(&hold["advice"]) {
        say(format_args!("  to do: {advice}"));
    }
    for (key, word) in [("access_token_until", "access token until"), ("reason", "why"), ("advice", "to do")] {
        if let Some(value) = field(key).filter(|value| Some(value) != text(&hold["advice"]).as_ref()) {
            say(format_args!("  {word}: {value}"));
        }
    }
    let tally = |name: &str| serde_json::from_value::<Tally>(mailbox[name].clone()).unwrap_or_default();
    say(format_args!("  queue: {}", tallies([&tally("waiting"), &tally("held"), &tally("failed")], now)));
    say(format_args!("  {}", sent(mailbox)));
}

/// When a held mailbox is tried next.
pub(super) fn next(time: Option<&str>, now: SystemTime) -> String {
    time.map_or("not tried by itself".to_owned(), |time| format!("tried {}", ahead(time, now)))
}

fn sent(mailbox: &Value) -> String {
    let number = |object: &str, name: &str| mailbox[object][name].as_u64().unwrap_or(0);
    let of = |name: &str, limit: &str, one: &str, many: &str| {
        let sent = number("sent_in_24_hours", name);
        match number("limits", limit) {
            0 => counted(sent, one, many),
            limit => format!("{sent} of {}", counted(limit, one, many)),
        }
    };
    let messages = of("messages", "messages_per_day", "message", "messages");
    let recipients = of("recipients", "recipients_per_day", "recipient", "recipients");
    let reached = mailbox["limit_reached"].as_str().map(|limit| format!("; {limit} is reached")).unwrap_or_default();
    format!("sent in 24 hours: {messages}, {recipients}{reached}")
}
