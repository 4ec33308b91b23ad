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
    /// A message was let in to find out, and has not said yet.
    probed: bool,
}

impl Backoff {
    fn new(trouble: Trouble, times: usize, reason: &str, now: Instant) -> Self {
        let intervals = trouble.intervals();
        let wait = Duration::from_secs(intervals[times.min(intervals.len() - 1)]);
        Self { trouble, times, until: now + wait, reason: reason.to_owned(), probed: false }
    }
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
                (backoff.until, backoff.probed) = (now + probe, true);
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Notes a failure. Whether this is news: the mailbox was not in this trouble, for this reason, before.
    pub(super) fn failed(&mut self, mailbox: &Name, trouble: Trouble, reason: &str, now: Instant) -> bool {
        // A probe that did not even get to the login does not say that a hold is over.
        let goes_on = |before: Trouble| before == trouble || trouble == Trouble::Passing;
        let known = self.0.get(mailbox).filter(|backoff| goes_on(backoff.trouble));
        let is_news = known.is_none_or(|backoff| backoff.trouble == trouble && backoff.reason != reason);
        let next = match known {
            // Messages that were under way together fail together: that is one failure.
            Some(backoff) if now < backoff.until && !backoff.probed => Backoff { reason: reason.to_owned(), ..backoff.clone() },
            Some(backoff) => {
                let times = backoff.times + usize::from(backoff.trouble == trouble);
                Backoff::new(backoff.trouble, times, reason, now)
            }
            None => Backoff::new(trouble, 0, reason, now),
        };
        self.0.insert(mailbox.clone(), next);
        is_news
    }

    /// Notes that a message was given up before it found out anything. As a probe it took its chance: the next one has to wait.
    pub(super) fn given_up(&mut self, mailbox: &Name, now: Instant) {
        if let Some(backoff) = self.0.get_mut(mailbox).filter(|backoff| backoff.probed) {
            *backoff = Backoff::new(backoff.trouble, backoff.times + 1, &backoff.reason, now);
        }
    }

    /// Notes that the provider said nothing for as long as an app waits. Unnoted, a server that takes connections and is silent would
    /// cost every app its whole wait.
    pub(super) fn silent(&mut self, mailbox: &Name, now: Instant) {
        match self.0.get(mailbox) {
            Some(backoff) if backoff.probed => self.given_up(mailbox, now),
            Some(_) | None => {
                self.failed(mailbox, Trouble::Passing, "no verdict from the provider within direct-wait", now);
            }
        }
    }

    /// Notes that the mailbox works. Whether this is news.
    pub(super) fn worked(&mut self, mailbox: &Name) -> bool {
        self.0.remove(mailbox).is_some_and(|backoff| backoff.trouble != Trouble::Passing || backoff.times > 0)
    }

    /// Lets `mailbox`, or all, try at once: what was wrong may have been mended. Remembered as passing trouble, so that the end of it
    /// is still news.
    pub(super) fn forgive(&mut self, mailbox: Option<&Name>, now: Instant) {
        for (name, backoff) in &mut self.0 {
            if mailbox.is_none_or(|mailbox| mailbox == name) {
                *backoff =
                    Backoff { until: now, times: 1, trouble: Trouble::Passing, probed: false, reason: backoff.reason.clone() };
            }
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
        backoffs.forgive(None, now);
        assert_eq!(backoffs.refuses(&alerts(), now), None);
        assert!(backoffs.worked(&alerts()), "the end of forgiven trouble is news");
    }

    #[test]
    fn messages_that_fail_together_count_as_one_failure() {
        let (mut backoffs, now) = (Backoffs::default(), Instant::now());
        for _ in 0..50 {
            backoffs.failed(&alerts(), Trouble::Held, "quota", now);
        }
        assert_eq!(backoffs.begin(&alerts(), now + Duration::from_secs(60), PROBE), Ok(()));
    }

    #[test]
    fn a_silent_server_does_not_cost_every_app_its_whole_wait() {
        let (mut backoffs, now) = (Backoffs::default(), Instant::now());
        backoffs.silent(&alerts(), now);
        assert_eq!(backoffs.refuses(&alerts(), now), None);
        backoffs.silent(&alerts(), now);
        assert!(backoffs.refuses(&alerts(), now).is_some());
    }

    #[test]
    fn a_probe_that_finds_out_nothing_does_not_end_a_hold() {
        let (mut backoffs, now) = (Backoffs::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        backoffs.failed(&alerts(), Trouble::Held, "no permission", now);
        assert_eq!(backoffs.begin(&alerts(), at(60), PROBE), Ok(()));
        backoffs.failed(&alerts(), Trouble::Passing, "no route", at(61));
        assert_eq!(backoffs.refuses(&alerts(), at(120)), Some("no route"), "held for the same interval again");
        assert_eq!(backoffs.begin(&alerts(), at(121), PROBE), Ok(()));
        backoffs.silent(&alerts(), at(130));
        assert!(backoffs.refuses(&alerts(), at(249)).is_some(), "the next interval, not the probe's patience");
        assert_eq!(backoffs.begin(&alerts(), at(250), PROBE), Ok(()));
    }
}
