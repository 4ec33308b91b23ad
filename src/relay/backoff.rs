//! How long a mailbox in trouble is left alone.
//!
//! A refused login repeated for every message is how other programs get accounts locked. So trouble of the mailbox makes apps
//! hear `451` at once, and only one message at a time finds out whether it is over, at growing intervals.

use crate::mail::Name;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// What kind of trouble it is; decides the intervals, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Connect, TLS, busy server: often over at once, so the first failure costs no wait.
    Passing,
    /// The provider counts logins (`454 4.7.0`): it asks for ten minutes.
    Logins,
    /// A person must act, or a quota reset.
    Held,
}

impl Trouble {
    fn intervals(self) -> &'static [u64] {
        match self {
            Self::Passing => &[0, 1, 2, 5, 10, 30],
            Self::Logins => &[60, 120, 300, 600],
            Self::Held => &[60, 120, 300, 600, 1800, 3600],
        }
    }
}

/// One mailbox's trouble.
#[derive(Debug, Clone)]
struct Backoff {
    trouble: Trouble,
    times: usize,
    until: Instant,
    reason: String,
}

/// The mailboxes in trouble, by name. `now` is always an argument.
#[derive(Debug, Default)]
pub(super) struct Backoffs(HashMap<Name, Backoff>);

impl Backoffs {
    /// Why `mailbox` takes no mail now; `None` when it does.
    pub(super) fn refuses(&self, mailbox: &Name, now: Instant) -> Option<&str> {
        self.0.get(mailbox).filter(|backoff| now < backoff.until).map(|backoff| backoff.reason.as_str())
    }

    /// Asks to try: the message that is let in as a probe keeps the others out for as long as it may take.
    pub(super) fn begin(&mut self, mailbox: &Name, now: Instant, probe: Duration) -> Result<(), String> {
        match self.0.get_mut(mailbox) {
            Some(backoff) if now < backoff.until => Err(backoff.reason.clone()),
            Some(backoff) if backoff.trouble != Trouble::Passing => {
                backoff.until = now + probe;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Notes a failure. Whether this is news: the mailbox was not in this trouble, for this reason, before.
    pub(super) fn failed(&mut self, mailbox: &Name, trouble: Trouble, reason: &str, now: Instant) -> bool {
        let known = self.0.get(mailbox).filter(|backoff| backoff.trouble == trouble);
        let times = known.map_or(0, |backoff| backoff.times + 1);
        let is_news = known.is_none_or(|backoff| backoff.reason != reason);
        let intervals = trouble.intervals();
        let wait = Duration::from_secs(intervals[times.min(intervals.len() - 1)]);
        let backoff = Backoff { trouble, times, until: now + wait, reason: reason.to_owned() };
        self.0.insert(mailbox.clone(), backoff);
        is_news
    }

    /// Notes that the mailbox works. Whether this is news.
    pub(super) fn worked(&mut self, mailbox: &Name) -> bool {
        self.0.remove(mailbox).is_some_and(|backoff| backoff.trouble != Trouble::Passing || backoff.times > 0)
    }

    /// Forgets the trouble of `mailbox`, or of all: what was wrong may have been mended.
    pub(super) fn forgive(&mut self, mailbox: Option<&Name>) {
        match mailbox {
            Some(mailbox) => drop(self.0.remove(mailbox)),
            None => self.0.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Duration = Duration::from_secs(30);

    fn alerts() -> Name {
        Name::parse("alerts").unwrap()
    }

    #[test]
    fn a_held_mailbox_is_probed_by_one_message_at_growing_intervals() {
        let (mut backoffs, mut now) = (Backoffs::default(), Instant::now());
        assert!(backoffs.failed(&alerts(), Trouble::Held, "no permission", now));
        for wait in [60, 120, 300, 600, 1800, 3600, 3600] {
            assert_eq!(backoffs.refuses(&alerts(), now), Some("no permission"));
            now += Duration::from_secs(wait - 1);
            assert_eq!(backoffs.begin(&alerts(), now, PROBE), Err("no permission".into()));
            now += Duration::from_secs(1);
            assert_eq!(backoffs.begin(&alerts(), now, PROBE), Ok(()));
            assert!(backoffs.refuses(&alerts(), now).is_some(), "others wait for the probe");
            assert!(!backoffs.failed(&alerts(), Trouble::Held, "no permission", now), "said once");
        }
        assert!(backoffs.worked(&alerts()));
        assert_eq!(backoffs.refuses(&alerts(), now), None);
    }

    #[test]
    fn a_first_passing_failure_costs_no_wait() {
        let (mut backoffs, now) = (Backoffs::default(), Instant::now());
        backoffs.failed(&alerts(), Trouble::Passing, "refused", now);
        assert_eq!(backoffs.refuses(&alerts(), now), None);
        backoffs.failed(&alerts(), Trouble::Passing, "refused", now);
        assert_eq!(backoffs.refuses(&alerts(), now), Some("refused"));
        backoffs.forgive(None);
        assert_eq!(backoffs.refuses(&alerts(), now), None);
    }
}
