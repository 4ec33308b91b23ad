//! How `outlink status` reads, and the lines on how something stands that other lists share.

use super::out::{age, ahead, counted, plain, say, size};
use crate::{
    admin::{DomainState, MailboxState, Standing, Status, Tally},
    mail::State,
};
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
    for link in &status.links {
        say(format_args!("link {}: {}", link.link, state(&link.standing, now)));
        print_why(&link.standing, "");
    }
    status.domains.iter().for_each(|domain| print_domain(domain, ""));
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

/// `ready`, or `needs-repair for 2h 3m, tried in 5m`.
pub(super) fn state(standing: &Standing, now: SystemTime) -> String {
    let Standing { state, since, until, next, .. } = standing;
    let lasted = since.as_ref().map(|since| format!(" for {}", age(since, now))).unwrap_or_default();
    match state {
        State::Ready => state.to_string(),
        State::Expiring => format!("{state}: ends on {}", until.as_deref().unwrap_or("-")),
        _ => format!("{state}{lasted}, {}", tried(next.as_deref(), now)),
    }
}

/// Why it stands so, and what to do.
pub(super) fn print_why(standing: &Standing, indent: &str) {
    for (word, text) in [("why", &standing.reason), ("to do", &standing.advice)] {
        text.iter().for_each(|text| say(format_args!("{indent}  {word}: {}", plain(text))));
    }
}

/// When it is tried next.
pub(super) fn tried(time: Option<&str>, now: SystemTime) -> String {
    time.map_or("not tried by itself".to_owned(), |time| format!("tried {}", ahead(time, now)))
}

/// `mailbox contoso <*@contoso.com>, link contoso: 3 of 1000 addresses in use`.
pub(super) fn print_domain(domain: &DomainState, indent: &str) {
    let DomainState { mailbox, link, address, addresses_in_use, addresses, .. } = domain;
    say(format_args!("{indent}mailbox {mailbox} <{address}>, link {link}: {addresses_in_use} of {addresses} addresses in use"));
}

fn print_mailbox(mailbox: &MailboxState, now: SystemTime) {
    let MailboxState { mailbox: name, link, grant, standing, .. } = mailbox;
    say(format_args!("mailbox {name}: link {link}, grant {grant}, {}", state(standing, now)));
    print_why(standing, "");
    let until = |word: &str, time: Option<&String>| {
        time.into_iter().for_each(|time| say(format_args!("  {word} until {time}")));
    };
    until("access token", mailbox.access_token_until.as_ref());
    until("refresh token", mailbox.refresh_token_expires.as_ref());
    say(format_args!("  queue: {}", tallies([&mailbox.waiting, &mailbox.held, &mailbox.failed], now)));
    say(format_args!("  {}", sent(mailbox)));
}

fn sent(mailbox: &MailboxState) -> String {
    let of = |sent: u64, limit: u64, one: &str, many: &str| match limit {
        0 => counted(sent, one, many),
        limit => format!("{sent} of {}", counted(limit, one, many)),
    };
    let MailboxState { sent_in_24_hours: sent, limits, .. } = mailbox;
    let messages = of(sent.messages, limits.messages_per_day, "message", "messages");
    let recipients = of(sent.recipients, limits.recipients_per_day, "recipient", "recipients");
    let reached = mailbox.limit_reached.as_ref().map(|limit| format!("; {limit} is reached")).unwrap_or_default();
    format!("sent in 24 hours: {messages}, {recipients}{reached}")
}
