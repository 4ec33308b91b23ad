//! What the queue should be, in memory and without claims to speed: a list of messages, and what each operation does to it.
//!
//! How long a message still has is counted apart from the store's dates: it passes while the message waits and its mailbox's clock
//! goes. What the store says is compared with that.

use super::machine::{HOUR, LIFE};
use crate::{
    config,
    mail::{Id, Name},
    queue::{Claim, HeldBy, MailboxClock, Message, NewMessage, Next, Number, Order, RecipientState, Report, State},
    store::tests::at,
};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

/// A body; a failed case does not print it.
#[derive(Clone, PartialEq)]
pub(super) struct Octets(pub(super) Vec<u8>);

impl std::fmt::Debug for Octets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} octets", self.0.len())
    }
}

/// One accepted message.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) number: Number,
    pub(super) id: Id,
    pub(super) app: Name,
    pub(super) mailbox: Name,
    pub(super) author: String,
    pub(super) octets: Octets,
    pub(super) recipients: Vec<RecipientState>,
    pub(super) state: State,
    pub(super) held_by: Option<HeldBy>,
    /// On the mailbox's clock.
    pub(super) held_since: SystemTime,
    pub(super) attempts: u32,
    pub(super) accepted_at: SystemTime,
    pub(super) due_at: SystemTime,
    /// Milliseconds until its time is over; below zero when it was.
    pub(super) left: i64,
    /// How long before its end its sender is warned.
    pub(super) warned: Option<Duration>,
    pub(super) claim: Option<Held>,
    pub(super) settled_at: Option<SystemTime>,
    pub(super) has_body: bool,
}

/// Who works on a message, until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) owner: usize,
    pub(super) claim: Claim,
    pub(super) until: SystemTime,
}

impl Entry {
    /// The places of the recipients that wait.
    pub(super) fn waiting(&self) -> Vec<usize> {
        (0..self.recipients.len()).filter(|position| self.recipients[*position] == RecipientState::Waiting).collect()
    }

    fn is_free(&self, state: State) -> bool {
        self.state == state && self.claim.is_none()
    }

    pub(super) fn hold(&mut self, by: HeldBy, clock: SystemTime) {
        (self.state, self.held_by, self.held_since, self.claim) = (State::Held, Some(by), clock, None);
    }

    fn lift(&mut self, now: SystemTime) {
        (self.state, self.held_by, self.due_at) = (State::Waiting, None, now);
    }

    fn end(&mut self, state: State, now: SystemTime) {
        (self.state, self.held_by, self.settled_at, self.claim) = (state, None, Some(now), None);
    }
}

/// What an order does to one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    UnderWay,
    NotNow(State),
}

/// All of it.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) now: SystemTime,
    pub(super) clocks: BTreeMap<Name, MailboxClock>,
    pub(super) entries: Vec<Entry>,
    pub(super) settings: config::Queue,
}

impl Model {
    pub(super) fn clock(&self, mailbox: &Name) -> SystemTime {
        self.clocks.get(mailbox).copied().unwrap_or_default().read(self.now)
    }

    /// Octets of all bodies that should be kept.
    pub(super) fn octets(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.has_body).map(|entry| entry.octets.0.len() as u64).sum()
    }

    pub(super) fn entry(&mut self, id: Id) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.id == id).expect("nothing that was accepted is lost")
    }

    /// Time passes: for a message only while it waits and its mailbox's clock goes.
    pub(super) fn advance(&mut self, by: Duration) {
        let stands = |clocks: &BTreeMap<Name, MailboxClock>, mailbox| clocks.get(mailbox).is_some_and(|c| c.since.is_some());
        for entry in &mut self.entries {
            if entry.state == State::Waiting && !stands(&self.clocks, &entry.mailbox) {
                entry.left -= by.as_millis() as i64;
            }
        }
        self.now += by;
    }

    /// The messages that a claim should find, in their order.
    pub(super) fn due(&self, mailbox: &Name, app: &Name, most: usize) -> Vec<Id> {
        let fits = |entry: &&Entry| {
            entry.is_free(State::Waiting) && entry.mailbox == *mailbox && entry.app == *app && entry.due_at <= self.now
        };
        let mut due: Vec<_> = self.entries.iter().filter(fits).collect();
        due.sort_by_key(|entry| (entry.due_at, entry.number));
        due.iter().take(most).map(|entry| entry.id).collect()
    }

    /// The message that a probe of a sender should find.
    pub(super) fn probe(&self, mailbox: &Name, author: &str) -> Option<Id> {
        let fits = |entry: &&Entry| self.is_held(entry, mailbox, HeldBy::Sender) && entry.author == author;
        self.entries.iter().filter(fits).min_by_key(|entry| (entry.attempts, entry.number)).map(|entry| entry.id)
    }

    fn is_held(&self, entry: &Entry, mailbox: &Name, by: HeldBy) -> bool {
        entry.is_free(State::Held) && entry.mailbox == *mailbox && entry.held_by == Some(by)
    }

    /// Settles under a claim; whether it counts.
    pub(super) fn settle(&mut self, id: Id, claim: Claim, reports: &[Report], next: &Next) -> bool {
        let now = self.now;
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else { return false };
        if entry.claim.is_none_or(|held| held.claim != claim) {
            return false;
        }
        entry.claim = None;
        for report in reports {
            assert_eq!(entry.recipients[report.position], RecipientState::Waiting, "nobody hears of a settled recipient again");
            entry.recipients[report.position] = report.state;
        }
        match next {
            Next::Waits { due_at, attempts, warn_at, .. } => {
                (entry.due_at, entry.attempts) = (*due_at, *attempts);
                entry.warned = entry.warned.filter(|_| warn_at.is_some());
            }
            Next::Held { by, since, attempts, .. } => {
                let since = if entry.state == State::Held { entry.held_since } else { *since };
                entry.hold(*by, since);
                entry.attempts = *attempts;
            }
            Next::Delivered => {
                entry.attempts += 1;
                entry.end(State::Delivered, now);
                entry.has_body = false;
            }
            Next::Failed { .. } => {
                entry.attempts += 1;
                entry.end(State::Failed, now);
            }
        }
        true
    }

    /// Renews an owner's claims and frees those of others whose time is over; how many those are.
    pub(super) fn renew(&mut self, owner: usize, until: SystemTime) -> usize {
        let now = self.now;
        let mut freed = 0;
        for entry in &mut self.entries {
            match &mut entry.claim {
                Some(held) if held.owner == owner => held.until = until,
                Some(held) if held.until < now => {
                    entry.claim = None;
                    freed += 1;
                }
                _ => {}
            }
        }
        freed
    }

    /// Carries out an order on one message.
    pub(super) fn order(&mut self, order: &Order, id: Id) -> Answer {
        let (now, life) = (self.now, self.settings.expire_after.as_millis() as i64);
        let mailbox = self.entry(id).mailbox.clone();
        let clock = self.clock(&mailbox);
        let entry = self.entry(id);
        if entry.claim.is_some() {
            return Answer::UnderWay;
        }
        let state = entry.state;
        match (order, state) {
            (Order::Retry, State::Waiting) => entry.due_at = now,
            (Order::Retry, State::Failed) if entry.has_body => {
                (entry.state, entry.attempts, entry.due_at, entry.left) = (State::Waiting, 0, now, life);
                entry.settled_at = None;
                for recipient in entry.recipients.iter_mut().filter(|recipient| **recipient != RecipientState::Delivered) {
                    *recipient = RecipientState::Waiting;
                }
            }
            (Order::Hold, State::Waiting) => entry.hold(HeldBy::Operator, clock),
            (Order::Release, State::Held) => entry.lift(now),
            (Order::Discard, State::Waiting | State::Held | State::Failed) if entry.has_body => {
                entry.end(State::Failed, now);
                entry.has_body = false;
            }
            (Order::Move(to), State::Waiting | State::Held | State::Failed) if entry.has_body => {
                if state == State::Held {
                    entry.lift(now);
                }
                entry.mailbox = to.clone();
                entry.due_at = entry.due_at.min(now);
            }
            _ => return Answer::NotNow(state),
        }
        Answer::Done
    }

    /// Lifts what holds the messages that `fits` finds.
    pub(super) fn release(&mut self, mailbox: &Name, by: HeldBy, fits: impl Fn(&Entry) -> bool) -> usize {
        let now = self.now;
        let held = |entry: &&mut Entry| entry.is_free(State::Held) && entry.mailbox == *mailbox && entry.held_by == Some(by);
        self.entries.iter_mut().filter(held).filter(|entry| fits(entry)).map(|entry| entry.lift(now)).count()
    }

    fn hold(&mut self, mailbox: &Name, by: HeldBy, fits: impl Fn(&Entry) -> bool) {
        let clock = self.clock(mailbox);
        let waits = |entry: &&mut Entry| entry.is_free(State::Waiting) && entry.mailbox == *mailbox;
        self.entries.iter_mut().filter(waits).filter(|entry| fits(entry)).for_each(|entry| entry.hold(by, clock));
    }

    /// Holds what is not configured, releases what is again.
    pub(super) fn fit_to(&mut self, all: &[Name], mailboxes: &[Name], apps: &[Name]) {
        for mailbox in all {
            if !mailboxes.contains(mailbox) {
                // Apps that are back are free, and then their mailbox is what they lack.
                self.release(mailbox, HeldBy::App, |entry| apps.contains(&entry.app));
                self.hold(mailbox, HeldBy::Mailbox, |_| true);
                continue;
            }
            self.release(mailbox, HeldBy::Mailbox, |_| true);
            self.release(mailbox, HeldBy::App, |entry| apps.contains(&entry.app));
            self.hold(mailbox, HeldBy::App, |entry| !apps.contains(&entry.app));
        }
    }

    /// Fails what was held for too long; how many those are.
    pub(super) fn fail_held(&mut self, mailbox: &Name, mailbox_held: bool) -> usize {
        let (now, clock, keep) = (self.now, self.clock(mailbox), self.settings.keep_held);
        let fits = |entry: &&mut Entry| {
            let is_held = entry.is_free(State::Held) && entry.held_since < clock - keep;
            let is_stuck = entry.is_free(State::Waiting) && mailbox_held;
            entry.mailbox == *mailbox && entry.accepted_at < now - keep && (is_held || is_stuck)
        };
        self.entries.iter_mut().filter(fits).map(|entry| entry.end(State::Failed, now)).count()
    }

    /// Forgets what was settled long ago.
    pub(super) fn forget(&mut self) {
        let (now, trace, failed) = (self.now, self.settings.keep_trace, self.settings.keep_failed);
        self.entries.retain(|entry| match (entry.state, entry.settled_at) {
            (State::Delivered, Some(at)) => at >= now - trace,
            (State::Failed, Some(at)) => at >= now - failed,
            _ => true,
        });
    }
}

/// A message as it was accepted.
pub(super) fn entry(new: &NewMessage, kept: Message, octets: Vec<u8>, claim: Option<Held>) -> Entry {
    let is_settled = |place: &usize| new.settled.iter().any(|report| report.position == *place);
    let state = |place| if is_settled(&place) { RecipientState::Delivered } else { RecipientState::Waiting };
    Entry {
        number: kept.number,
        id: new.id,
        app: new.app.clone(),
        mailbox: new.mailbox.clone(),
        author: new.author.clone(),
        octets: Octets(octets),
        recipients: (0..new.envelope.recipients.len()).map(state).collect(),
        state: if new.held.is_some() { State::Held } else { State::Waiting },
        held_by: new.held.as_ref().map(|(by, ..)| *by),
        held_since: new.held.as_ref().map_or(at(0), |(.., since)| *since),
        attempts: 0,
        accepted_at: new.accepted_at,
        due_at: new.due_at,
        left: LIFE.as_millis() as i64,
        warned: new.warn_at.map(|_| HOUR),
        claim,
        settled_at: None,
        has_body: true,
    }
}
