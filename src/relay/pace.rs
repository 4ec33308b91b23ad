//! What may be sent through a mailbox in a minute and a day. Pure: `now` is always an argument.
//!
//! The windows roll: within any 24 hours (a minute) no more than the limit goes out. They are counted in steps, and a step counts
//! until its end has left the window, so never more goes out than the provider allows.

use crate::{provider::Limits, queue::MinuteCount};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, SystemTime},
};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Steps of the window of a minute.
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A number over a rolling span of time.
#[derive(Debug, Clone)]
pub(super) struct Window {
    span: Duration,
    step: Duration,
    /// The beginning of each step with its number, oldest first.
    steps: VecDeque<(SystemTime, u64)>,
    sum: u64,
}

impl Window {
    pub(super) fn new(span: Duration, step: Duration) -> Self {
        Self { span, step, steps: VecDeque::new(), sum: 0 }
    }

    pub(super) fn add(&mut self, now: SystemTime, number: u64) {
        self.forget(now);
        let start = floor(now, self.step);
        self.sum += number;
        match self.steps.back_mut() {
            // A clock that was set back adds to the last step.
            Some((last, count)) if *last >= start => *count += number,
            _ => self.steps.push_back((start, number)),
        }
    }

    pub(super) fn remove(&mut self, at: SystemTime, number: u64) {
        let start = floor(at, self.step);
        if let Some((_, count)) = self.steps.iter_mut().rev().find(|(step, _)| *step == start) {
            let removed = number.min(*count);
            *count -= removed;
            self.sum -= removed;
        }
    }

    pub(super) fn forget(&mut self, now: SystemTime) {
        while let Some((start, number)) = self.steps.front()
            && *start + self.step + self.span <= now
        {
            self.sum -= number;
            self.steps.pop_front();
        }
    }

    /// The number of the step that begins at `start`.
    pub(super) fn at(&self, start: SystemTime) -> u32 {
        let step = self.steps.iter().rev().find(|(step, _)| *step == start);
        step.map_or(0, |(_, count)| u32::try_from(*count).unwrap_or(u32::MAX))
    }

    /// The number within the span.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// When `number` more are within `limit`; `now` or earlier: they are. More than the limit at once waits for an empty window.
    pub(super) fn fits_at(&self, limit: u32, number: u64, now: SystemTime) -> SystemTime {
        let limit = u64::from(limit);
        let (mut sum, number) = (self.sum, number.min(limit));
        let mut at = now;
        for (start, count) in &self.steps {
            let leaves = *start + self.step + self.span;
            if leaves > now && sum + number <= limit {
                break;
            }
            sum -= count;
            at = at.max(leaves);
        }
        at
    }
}

pub(super) fn floor(time: SystemTime, step: Duration) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since - since % step.as_secs().max(1))
}

/// The pace of one mailbox.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    minute: Window,
    messages: Window,
    recipients: Window,
    /// Minutes whose counts are not in the store yet: messages, recipients.
    unsaved: BTreeMap<SystemTime, (u32, u32)>,
}

/// Which limit keeps messages back, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMuch {
    pub(super) until: SystemTime,
    pub(super) limit: &'static str,
}

impl Pace {
    pub(super) fn new() -> Self {
        let day = || Window::new(DAY, MINUTE);
        Self { minute: Window::new(MINUTE, SECOND), messages: day(), recipients: day(), unsaved: BTreeMap::new() }
    }

    /// Takes up what an earlier process sent. What was sent in the last minutes may have been sent at their end.
    pub(super) fn restore(&mut self, count: &MinuteCount) {
        let end = count.start + MINUTE - SECOND;
        self.minute.add(end, count.messages.into());
        self.messages.add(count.start, count.messages.into());
        self.recipients.add(count.start, count.recipients.into());
    }

    /// Whether a message for so many recipients may go now.
    pub(super) fn check(&mut self, limits: &Limits, recipients: usize, now: SystemTime) -> Result<(), TooMuch> {
        [&mut self.minute, &mut self.messages, &mut self.recipients].into_iter().for_each(|window| window.forget(now));
        let rows = [
            (&self.minute, limits.messages_per_minute, 1, "messages-per-minute"),
            (&self.messages, limits.messages_per_day, 1, "messages-per-day"),
            (&self.recipients, limits.recipients_per_day, recipients as u64, "recipients-per-day"),
        ];
        let waits = rows
            .into_iter()
            .filter(|(_, limit, ..)| *limit > 0)
            .map(|(window, limit, number, name)| TooMuch { until: window.fits_at(limit, number, now), limit: name });
        match waits.max_by_key(|wait| wait.until) {
            Some(wait) if wait.until > now => Err(wait),
            _ => Ok(()),
        }
    }

    /// The limit that keeps the next message to one recipient back.
    pub(super) fn reached(&mut self, limits: &Limits, now: SystemTime) -> Option<TooMuch> {
        self.check(limits, 1, now).err()
    }

    /// Counts a message that goes now.
    pub(super) fn count(&mut self, recipients: usize, now: SystemTime) {
        self.minute.add(now, 1);
        self.messages.add(now, 1);
        self.recipients.add(now, recipients as u64);
        self.note(floor(now, MINUTE));
    }

    /// A message counted at `at` was not seen by the provider.
    pub(super) fn uncount(&mut self, recipients: usize, at: SystemTime) {
        self.minute.remove(at, 1);
        self.messages.remove(at, 1);
        self.recipients.remove(at, recipients as u64);
        self.note(floor(at, MINUTE));
    }

    /// The counts of this minute are to be saved.
    fn note(&mut self, start: SystemTime) {
        self.unsaved.insert(start, (self.messages.at(start), self.recipients.at(start)));
    }

    /// The minutes that changed since they were last asked for: beginning, messages, recipients.
    pub(super) fn take_unsaved(&mut self) -> Vec<(SystemTime, u32, u32)> {
        std::mem::take(&mut self.unsaved)
            .into_iter()
            .map(|(start, (messages, recipients))| (start, messages, recipients))
            .collect()
    }

    /// What was sent in the last day: messages, recipients.
    pub(super) fn today(&mut self, now: SystemTime) -> (u64, u64) {
        self.messages.forget(now);
        self.recipients.forget(now);
        (self.messages.sum, self.recipients.sum)
    }
}

/// How many connections a mailbox may use now: fewer for a while after the provider said that there are too many.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shrunk(Option<(u32, SystemTime)>);

impl Shrunk {
    /// After so long one more connection is tried.
    const STEP: Duration = Duration::from_secs(60);

    /// The connections allowed below `limit`.
    pub(super) fn allowed(&self, limit: u32, now: SystemTime) -> u32 {
        let Some((start, since)) = self.0 else { return limit };
        let steps = now.duration_since(since).unwrap_or_default().as_secs() / Self::STEP.as_secs();
        limit.min(start.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX)))
    }

    /// The provider said that `in_use` connections are too many.
    pub(super) fn shrink(&mut self, in_use: u32, limit: u32, now: SystemTime) {
        // What fails together counts once.
        if self.0.is_none_or(|(_, since)| now.duration_since(since).is_ok_and(|span| span >= Duration::from_secs(1))) {
            self.0 = Some(((in_use.min(self.allowed(limit, now)) / 2).max(1), now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 1000 + seconds)
    }

    fn limits(minute: u32, day: u32, recipients: u32) -> Limits {
        Limits {
            connections: 0,
            messages_per_connection: 0,
            messages_per_minute: minute,
            messages_per_day: day,
            recipients_per_day: recipients,
            recipients_per_message: 0,
        }
    }

    #[test]
    fn never_more_than_the_limit_goes_out_in_any_minute() {
        let (mut pace, limits) = (Pace::new(), limits(30, 0, 0));
        let (mut sent, mut now) = (Vec::new(), 0);
        while sent.len() < 300 {
            match pace.check(&limits, 1, at(now)) {
                Ok(()) => {
                    pace.count(1, at(now));
                    sent.push(now);
                }
                Err(wait) => {
                    assert_eq!(wait.limit, "messages-per-minute");
                    now = wait.until.duration_since(at(0)).unwrap().as_secs();
                }
            }
        }
        assert!(sent.windows(31).all(|thirty_one| thirty_one[30] - thirty_one[0] >= 60), "{sent:?}");
        assert!(now <= 61 * 9, "and not much less: {now} s for 300");
    }

    #[test]
    fn a_day_rolls_and_outlives_the_process() {
        let (mut pace, limits) = (Pace::new(), limits(0, 3, 0));
        for second in [0, 3600, 7200] {
            pace.check(&limits, 1, at(second)).unwrap();
            pace.count(1, at(second));
        }
        let mailbox = crate::mail::Name::parse("alerts").unwrap();
        let mut restored = Pace::new();
        for (start, messages, recipients) in pace.take_unsaved() {
            restored.restore(&MinuteCount { mailbox: mailbox.clone(), start, messages, recipients });
        }
        for pace in [&mut pace, &mut restored] {
            let wait = pace.check(&limits, 1, at(8000)).unwrap_err();
            assert_eq!(wait, TooMuch { until: at(86_400 + 60), limit: "messages-per-day" });
            pace.check(&limits, 1, at(86_400 + 60)).unwrap();
            assert_eq!(pace.today(at(86_400 + 60)), (2, 2));
        }
    }

    #[test]
    fn what_the_provider_never_saw_does_not_count() {
        let (mut pace, limits) = (Pace::new(), limits(1, 1, 0));
        pace.count(5, at(0));
        pace.check(&limits, 1, at(1)).unwrap_err();
        pace.uncount(5, at(0));
        pace.check(&limits, 1, at(1)).unwrap();
        assert_eq!((pace.today(at(1)), pace.take_unsaved()), ((0, 0), vec![(at(0), 0, 0)]));
    }

    #[test]
    fn recipients_are_counted_and_more_than_a_days_worth_waits_for_an_empty_window() {
        let (mut pace, limits) = (Pace::new(), limits(0, 0, 100));
        pace.count(60, at(0));
        pace.check(&limits, 40, at(1)).unwrap();
        assert_eq!(pace.check(&limits, 41, at(1)).unwrap_err().until, at(86_460));
        assert_eq!(pace.check(&limits, 500, at(1)).unwrap_err().until, at(86_460));
        pace.check(&limits, 500, at(86_460)).unwrap();
    }

    #[test]
    fn too_many_connections_halve_them_and_time_brings_them_back() {
        let mut shrunk = Shrunk::default();
        assert_eq!(shrunk.allowed(10, at(0)), 10);
        (0..10).for_each(|_| shrunk.shrink(10, 10, at(0)));
        assert_eq!([0, 59, 60, 300, 3600].map(|second| shrunk.allowed(10, at(second))), [5, 5, 6, 10, 10]);
        shrunk.shrink(1, 10, at(61));
        assert_eq!(shrunk.allowed(10, at(61)), 1);
    }
}
