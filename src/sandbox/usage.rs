//! What is counted: everything for `GET /stats`, and per mailbox what the provider limits.

use super::{
    clock::{Clock, unix_seconds},
    personality::Limits,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Most mailboxes counted; beyond it the others share one row.
const MAILBOXES: usize = 1000;

/// A sum over the last `span` seconds, kept in 60 parts.
struct Window {
    span: u64,
    parts: VecDeque<(u64, u64)>,
    sum: u64,
}

impl Window {
    fn of(span: u64) -> Self {
        Self { span, parts: VecDeque::new(), sum: 0 }
    }

    /// The sum at `now`, after `more` was added.
    fn add(&mut self, now: u64, more: u64) -> u64 {
        let part = now / (self.span / 60);
        while let Some(&(oldest, count)) = self.parts.front()
            && (oldest + 60 <= part || oldest > part)
        {
            self.sum -= count;
            self.parts.pop_front();
        }
        if more > 0 {
            match self.parts.back_mut() {
                Some((last, count)) if *last >= part => *count += more,
                _ => self.parts.push_back((part, more)),
            }
            self.sum += more;
        }
        self.sum
    }
}

/// One mailbox's row.
struct Row {
    connections: u64,
    most_connections: u64,
    minute: Window,
    most_in_minute: u64,
    messages: Window,
    recipients: Window,
    over: BTreeMap<&'static str, u64>,
}

impl Default for Row {
    fn default() -> Self {
        let (minute, day) = (60, 24 * 3600);
        Self {
            connections: 0,
            most_connections: 0,
            minute: Window::of(minute),
            most_in_minute: 0,
            messages: Window::of(day),
            recipients: Window::of(day),
            over: BTreeMap::new(),
        }
    }
}

/// A limit of the provider that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Messages in a minute.
    Rate,
    /// Messages or recipients in a day.
    Day,
}

/// All counters.
#[derive(Default)]
pub(super) struct Usage {
    pub(super) connections: AtomicU64,
    pub(super) open: AtomicU64,
    /// Of these, those that a fault keeps silent.
    pub(super) silent: AtomicU64,
    /// AUTH commands. Each ends as a login or a failure, unless the connection ends first.
    pub(super) login_attempts: AtomicU64,
    pub(super) logins: AtomicU64,
    pub(super) login_failures: AtomicU64,
    /// MAIL commands, refused ones too.
    pub(super) mail_commands: AtomicU64,
    pub(super) token_requests: AtomicU64,
    pub(super) token_refusals: AtomicU64,
    /// Of people, in a browser.
    pub(super) consents: AtomicU64,
    pub(super) denials: AtomicU64,
    pub(super) device_codes: AtomicU64,
    /// Assertions that proved a client or a service account.
    pub(super) assertions: AtomicU64,
    pub(super) revocations: AtomicU64,
    mailboxes: Mutex<BTreeMap<String, Row>>,
}

impl Usage {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Row>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, user: &str, act: impl FnOnce(&mut Row) -> T) -> T {
        let mut rows = self.lock();
        let mut user = user.to_ascii_lowercase();
        if rows.len() >= MAILBOXES && !rows.contains_key(&user) {
            user = "others".into();
        }
        act(rows.entry(user).or_default())
    }

    /// Counts a message against `limits`; says which one it passes. With `enforced` such a message is not counted.
    pub(super) fn message(
        &self,
        user: &str,
        recipients: u64,
        (limits, enforced): (&Limits, bool),
        clock: &Clock,
    ) -> Option<Over> {
        let now = unix_seconds(clock.now());
        let passes = |count: u64, limit: u64| limit > 0 && count > limit;
        self.with(user, |row| {
            let minute = passes(row.minute.add(now, 0) + 1, limits.messages_per_minute);
            let day = passes(row.messages.add(now, 0) + 1, limits.messages_per_day)
                || passes(row.recipients.add(now, 0) + recipients, limits.recipients_per_day);
            if minute {
                *row.over.entry("messages-per-minute").or_default() += 1;
            }
            if day {
                *row.over.entry("per-day").or_default() += 1;
            }
            if !enforced || !(minute || day) {
                row.most_in_minute = row.most_in_minute.max(row.minute.add(now, 1));
                row.messages.add(now, 1);
                row.recipients.add(now, recipients);
            }
            day.then_some(Over::Day).or(minute.then_some(Over::Rate))
        })
    }

    /// Counts one more recipient than the provider takes.
    pub(super) fn too_many_recipients(&self, user: &str) {
        self.with(user, |row| *row.over.entry("recipients-per-message").or_default() += 1);
    }

    /// Everything, for `GET /stats`.
    pub(super) fn report(&self, clock: &Clock) -> Value {
        let now = unix_seconds(clock.now());
        let mut rows = self.lock();
        let rows = rows.iter_mut().map(|(user, row)| {
            let value = json!({
                "connections": row.connections, "most_connections": row.most_connections,
                "messages_last_minute": row.minute.add(now, 0), "most_messages_in_a_minute": row.most_in_minute,
                "messages_last_day": row.messages.add(now, 0), "recipients_last_day": row.recipients.add(now, 0),
                "over_limit": row.over,
            });
            (user.clone(), value)
        });
        let mailboxes: serde_json::Map<String, Value> = rows.collect();
        json!({
            "connections": self.connections.load(Relaxed), "open_connections": self.open.load(Relaxed),
            "silent_connections": self.silent.load(Relaxed),
            "login_attempts": self.login_attempts.load(Relaxed), "logins": self.logins.load(Relaxed),
            "login_failures": self.login_failures.load(Relaxed), "mail_commands": self.mail_commands.load(Relaxed),
            "token_requests": self.token_requests.load(Relaxed), "token_refusals": self.token_refusals.load(Relaxed),
            "consents": self.consents.load(Relaxed), "denials": self.denials.load(Relaxed),
            "device_codes": self.device_codes.load(Relaxed), "assertions": self.assertions.load(Relaxed),
            "revocations": self.revocations.load(Relaxed),
            "mailboxes": mailboxes,
        })
    }
}

/// One more in a count, until it is dropped: also when its task is cut.
pub(super) struct OneMore<'a>(&'a AtomicU64);

impl<'a> OneMore<'a> {
    pub(super) fn of(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for OneMore<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A logged-in connection, counted for its mailbox until it is dropped.
pub(super) struct Counted {
    usage: Arc<Usage>,
    user: String,
}

impl Counted {
    /// Counts one more; whether that is more than `most` (0: no limit).
    pub(super) fn new(usage: &Arc<Usage>, user: &str, most: u64) -> (Self, bool) {
        let over = usage.with(user, |row| {
            row.connections += 1;
            row.most_connections = row.most_connections.max(row.connections);
            let over = most > 0 && row.connections > most;
            if over {
                *row.over.entry("connections").or_default() += 1;
            }
            over
        });
        (Self { usage: usage.clone(), user: user.into() }, over)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.usage.with(&self.user, |row| row.connections = row.connections.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_forgets_what_is_older_than_its_span() {
        let mut window = Window::of(60);
        assert_eq!([window.add(100, 1), window.add(130, 2), window.add(159, 0), window.add(160, 0)], [1, 3, 3, 2]);
        assert_eq!(window.add(10, 1), 1, "a clock moved back starts anew");
    }

    #[test]
    fn limits_are_counted_and_enforced_only_when_asked() {
        let limits = &super::super::personality::personality(crate::provider::Provider::Microsoft).limits;
        let (usage, clock) = (Usage::default(), Clock::default());
        for enforced in [true, false] {
            let user = if enforced { "a" } else { "b" };
            let over: Vec<_> = (0..32).map(|_| usage.message(user, 1, (limits, enforced), &clock)).collect();
            assert_eq!(over.iter().flatten().count(), 2, "the 31st and the 32nd");
        }
        let report = usage.report(&clock);
        assert_eq!(report["mailboxes"]["a"]["messages_last_day"], 30);
        assert_eq!(report["mailboxes"]["b"]["messages_last_day"], 32);
        assert_eq!(usage.message("a", 10_000, (limits, true), &clock), Some(Over::Day));
    }
}
