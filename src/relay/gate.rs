//! The gate of a mailbox: so many at once, so many a minute and a day, for all contracts together; who waits with an app at the other
//! end goes before the backlog.

use super::pace::{Pace, Shrunk, TooMuch};
use crate::{config::Mailbox, mail::Name, provider::Limits, queue::MinuteCount};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{sync::Notify, time::Instant};

/// Connections of a mailbox whose configuration names no limit.
const CONNECTIONS: u32 = 50;

/// How long the learned number of recipients a message counts.
const LEARNED: Duration = Duration::from_secs(3600);

/// All gates, by mailbox.
#[derive(Debug, Default)]
pub(super) struct Gates(Mutex<HashMap<Name, Arc<Gate>>>);

impl Gates {
    /// The gate of `mailbox`, with the limits that it has now.
    pub(super) fn of(&self, mailbox: &Mailbox) -> Arc<Gate> {
        let gate = self.named(&mailbox.name);
        gate.state().limits = Some(mailbox.limits);
        gate
    }

    fn named(&self, mailbox: &Name) -> Arc<Gate> {
        self.lock().entry(mailbox.clone()).or_insert_with(|| Arc::new(Gate::new())).clone()
    }

    /// Forgets what a mailbox sent.
    pub(super) fn remove(&self, mailbox: &Name) {
        self.lock().remove(mailbox);
    }

    /// Takes up what an earlier process sent.
    pub(super) fn restore(&self, counts: &[MinuteCount]) {
        for count in counts {
            self.named(&count.mailbox).state().pace.restore(count);
        }
    }

    /// What was sent and is not in the store yet.
    pub(super) fn take_unsaved(&self) -> Vec<MinuteCount> {
        let gates: Vec<(Name, Arc<Gate>)> = self.lock().iter().map(|(name, gate)| (name.clone(), gate.clone())).collect();
        let of = |(mailbox, gate): (Name, Arc<Gate>)| {
            let minutes = gate.state().pace.take_unsaved();
            minutes.into_iter().map(move |(start, messages, recipients)| MinuteCount {
                mailbox: mailbox.clone(),
                start,
                messages,
                recipients,
            })
        };
        gates.into_iter().flat_map(of).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Arc<Gate>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// For those who wait with an app: a place became free.
    changed: Notify,
    /// For the lane: a place became free, or nobody waits before it any more.
    freed: Notify,
}

#[derive(Debug)]
struct State {
    limits: Option<Limits>,
    pace: Pace,
    shrunk: Shrunk,
    within: u32,
    /// Those who wait with an app at the other end.
    waiting: u32,
    /// Recipients that the provider took at once, when it said that there were too many.
    learned: Option<(usize, SystemTime)>,
}

/// Why the gate is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// All places are taken; one that becomes free is told of.
    Busy,
    /// A limit is reached.
    TooMuch(TooMuch),
}

/// A place behind the gate, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    recipients: usize,
    at: SystemTime,
}

impl Pass {
    /// Gives the place back; a message that the provider never saw does not count against any limit.
    pub(super) fn leave(self, was_seen: bool) {
        if !was_seen {
            self.gate.state().pace.uncount(self.recipients, self.at);
        }
    }
}

impl Gate {
    fn new() -> Self {
        let state = State { limits: None, pace: Pace::new(), shrunk: Shrunk::default(), within: 0, waiting: 0, learned: None };
        Self { state: Mutex::new(state), changed: Notify::new(), freed: Notify::new() }
    }

    /// Lets a message of the backlog in, if nobody else is to go first.
    pub(super) fn try_enter(self: &Arc<Self>, recipients: usize, now: SystemTime) -> Result<Pass, Closed> {
        let mut state = self.state();
        if state.waiting > 0 {
            return Err(Closed::Busy);
        }
        state.enter(recipients, now)?;
        Ok(Pass { gate: self.clone(), recipients, at: now })
    }

    /// Lets a message in for which an app waits until `until`; else says why not.
    pub(super) async fn enter(self: &Arc<Self>, recipients: usize, until: Instant) -> Result<Pass, Closed> {
        let _waiting = Waiting::new(self);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a change is not missed.
            changed.as_mut().enable();
            let now = SystemTime::now();
            let closed = match self.state().enter(recipients, now) {
                Ok(()) => return Ok(Pass { gate: self.clone(), recipients, at: now }),
                Err(closed) => closed,
            };
            let again = match closed {
                Closed::Busy => until,
                Closed::TooMuch(wait) => Instant::now() + wait.until.duration_since(now).unwrap_or_default(),
            };
            if again > until {
                return Err(closed);
            }
            let _ = tokio::time::timeout_at(again, changed).await;
            if Instant::now() >= until {
                return Err(closed);
            }
        }
    }

    /// Waits until the backlog may try again; one call at a time.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn tell(&self) {
        self.changed.notify_waiters();
        self.freed.notify_one();
    }

    /// The provider said that there are too many connections.
    pub(super) fn shrink(&self, now: SystemTime) {
        let mut state = self.state();
        let (within, limit) = (state.within.max(1), state.connections());
        state.shrunk.shrink(within, limit, now);
    }

    /// The most recipients that one message may have now.
    pub(super) fn recipients(&self, now: SystemTime) -> usize {
        let state = self.state();
        let configured = state.limits.map_or(0, |limits| limits.recipients_per_message as usize);
        let learned = state.learned.filter(|(_, since)| now.duration_since(*since).is_ok_and(|span| span < LEARNED));
        let limit = if configured == 0 { usize::MAX } else { configured };
        limit.min(learned.map_or(usize::MAX, |(recipients, _)| recipients))
    }

    /// The provider took only so many recipients at once.
    pub(super) fn learn(&self, recipients: usize, now: SystemTime) {
        self.state().learned = Some((recipients.max(1), now));
    }

    /// The limit that keeps messages back now.
    pub(super) fn reached(&self, now: SystemTime) -> Option<TooMuch> {
        let mut state = self.state();
        let limits = state.limits?;
        state.pace.reached(&limits, now)
    }

    /// What was sent in the last day: messages, recipients.
    pub(super) fn today(&self, now: SystemTime) -> (u64, u64) {
        self.state().pace.today(now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn connections(&self) -> u32 {
        match self.limits.map_or(0, |limits| limits.connections) {
            0 => CONNECTIONS,
            limit => limit,
        }
    }

    fn enter(&mut self, recipients: usize, now: SystemTime) -> Result<(), Closed> {
        if self.within >= self.shrunk.allowed(self.connections(), now) {
            return Err(Closed::Busy);
        }
        if let Some(limits) = self.limits {
            self.pace.check(&limits, recipients, now).map_err(Closed::TooMuch)?;
        }
        self.pace.count(recipients, now);
        self.within += 1;
        Ok(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.state().within -= 1;
        self.gate.tell();
    }
}

/// Counts as waiting while it lives.
struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn new(gate: &'a Gate) -> Self {
        gate.state().waiting += 1;
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
        self.0.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(connections: u32, minute: u32) -> Arc<Gate> {
        let gate = Arc::new(Gate::new());
        gate.state().limits = Some(Limits {
            connections,
            messages_per_connection: 0,
            messages_per_minute: minute,
            messages_per_day: 0,
            recipients_per_day: 0,
            recipients_per_message: 100,
        });
        gate
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn who_waits_with_an_app_goes_before_the_backlog() {
        let (gate, now) = (gate(1, 0), SystemTime::now());
        let first = gate.try_enter(1, now).unwrap();
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter(1, soon()).await.map(drop) }
        });
        while gate.state().waiting == 0 {
            tokio::task::yield_now().await;
        }
        drop(first);
        assert_eq!(gate.try_enter(1, now).unwrap_err(), Closed::Busy);
        waiting.await.unwrap().unwrap();
        gate.try_enter(1, now).unwrap();
    }

    #[tokio::test]
    async fn an_app_is_not_kept_for_a_limit_that_ends_after_its_wait() {
        let (gate, now) = (gate(5, 2), SystemTime::now());
        drop((gate.try_enter(1, now).unwrap(), gate.try_enter(1, now).unwrap()));
        let begun = Instant::now();
        let closed = gate.enter(1, soon()).await.unwrap_err();
        assert!(matches!(closed, Closed::TooMuch(TooMuch { limit: "messages-per-minute", .. })), "{closed:?}");
        assert!(begun.elapsed() < Duration::from_secs(4));
        assert_eq!(gate.today(now), (2, 2));
    }

    #[test]
    fn what_the_provider_takes_at_once_is_learned_for_a_while() {
        let (gate, now) = (gate(1, 0), SystemTime::now());
        assert_eq!(gate.recipients(now), 100);
        gate.learn(10, now);
        assert_eq!((gate.recipients(now), gate.recipients(now + LEARNED)), (10, 100));
    }
}
