//! The messages of one mailbox that are at hand: which goes next. Pure.
//!
//! Apps take turns; within an app messages go in the order in which they are due, which for first attempts is the order of
//! acceptance. A message just accepted is at hand at once, unless older ones of its app are still in the store (`behind`): then it
//! goes there too, and nothing overtakes.

use crate::{
    mail::Name,
    store::{Claim, Message, Number},
};
use std::collections::{BTreeMap, VecDeque};

use super::budget::Share;

/// Messages of one app at hand at most. What more there is stays in the store, so memory does not grow with the queue.
const MOST_OF_APP: usize = 64;

/// Below this more are fetched.
const FEW: usize = 24;

/// Messages under way and not yet settled, beyond which none is handed out: when the disk is slow, deliveries wait for it.
const MOST_UNSETTLED: usize = 256;

/// A message that this process works on.
#[derive(Debug)]
pub struct Claimed {
    /// The message.
    pub message: Message,
    /// Under which claim.
    pub claim: Claim,
    /// Its body, where it is still in memory.
    pub body: Option<Share>,
}

/// What is wanted from the store for one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// The app.
    pub app: Name,
    /// At most so many.
    pub most: usize,
    /// What was stored before; tells whether more came meanwhile.
    stored: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Lane {
    apps: BTreeMap<Name, Ready>,
    /// The apps with messages at hand, in turn.
    turns: VecDeque<Name>,
    unsettled: usize,
}

#[derive(Debug, Default)]
struct Ready {
    messages: VecDeque<Claimed>,
    /// Places promised to messages that are being accepted.
    reserved: usize,
    /// There may be messages in the store that are due.
    behind: bool,
    /// Somebody fetches them.
    fetching: bool,
    stored: u64,
}

impl Ready {
    /// Places taken or promised.
    fn places(&self) -> usize {
        self.messages.len() + self.reserved
    }
}

impl Lane {
    /// Promises a place to a message of `app` that is being accepted; false: it has to go to the store. Answered by
    /// [`Lane::push`] or [`Lane::cancel`].
    pub fn reserve(&mut self, app: &Name) -> bool {
        let ready = self.apps.entry(app.clone()).or_default();
        let may = !ready.behind && ready.places() < MOST_OF_APP;
        ready.reserved += usize::from(may);
        may
    }

    /// The message for which a place was reserved.
    pub fn push(&mut self, claimed: Claimed) {
        let app = claimed.message.app.clone();
        self.cancel(&app);
        self.add(app, claimed);
    }

    /// The reserved place is not needed.
    pub fn cancel(&mut self, app: &Name) {
        if let Some(ready) = self.apps.get_mut(app) {
            ready.reserved = ready.reserved.saturating_sub(1);
        }
    }

    /// A message of `app` is in the store and due, or may be.
    pub fn stored(&mut self, app: &Name) {
        let ready = self.apps.entry(app.clone()).or_default();
        ready.behind = true;
        ready.stored += 1;
    }

    /// What is to be fetched from the store now; answered by [`Lane::filled`].
    pub fn wanted(&mut self) -> Option<Fill> {
        let wants = |ready: &Ready| ready.behind && !ready.fetching && ready.places() < FEW;
        let (app, ready) = self.apps.iter_mut().find(|(_, ready)| wants(ready))?;
        ready.fetching = true;
        Some(Fill { app: app.clone(), most: MOST_OF_APP - ready.places(), stored: ready.stored })
    }

    /// What was fetched; fewer than wanted means that the store has no more, unless some came meanwhile. True when it has no more.
    pub fn filled(&mut self, fill: &Fill, messages: Vec<Claimed>) -> bool {
        let ready = self.apps.entry(fill.app.clone()).or_default();
        ready.fetching = false;
        let is_all = messages.len() < fill.most;
        if is_all && ready.stored == fill.stored {
            ready.behind = false;
        }
        for message in messages {
            self.add(fill.app.clone(), message);
        }
        is_all
    }

    /// Fetching failed; it is wanted still.
    pub fn not_filled(&mut self, fill: &Fill) {
        if let Some(ready) = self.apps.get_mut(&fill.app) {
            ready.fetching = false;
        }
    }

    fn add(&mut self, app: Name, claimed: Claimed) {
        let ready = self.apps.entry(app.clone()).or_default();
        if ready.messages.is_empty() {
            self.turns.push_back(app);
        }
        ready.messages.push_back(claimed);
    }

    /// The message whose turn it is; `None` when there is none, or too many are unsettled.
    pub fn peek(&self) -> Option<&Message> {
        if self.unsettled >= MOST_UNSETTLED {
            return None;
        }
        let ready = self.apps.get(self.turns.front()?)?;
        ready.messages.front().map(|claimed| &claimed.message)
    }

    /// Takes the message whose turn it is; it counts as unsettled until [`Lane::settled`].
    pub fn take(&mut self) -> Option<Claimed> {
        let app = self.turns.pop_front()?;
        let ready = self.apps.get_mut(&app)?;
        let claimed = ready.messages.pop_front()?;
        if !ready.messages.is_empty() {
            self.turns.push_back(app);
        }
        self.unsettled += 1;
        Some(claimed)
    }

    /// Gives a message back that was taken a moment ago.
    pub fn put_back(&mut self, claimed: Claimed) {
        let app = claimed.message.app.clone();
        self.settled();
        self.turns.retain(|turn| *turn != app);
        self.turns.push_front(app.clone());
        self.apps.entry(app).or_default().messages.push_front(claimed);
    }

    /// A message not taken from here is under way, too: a probe.
    pub fn begun(&mut self) {
        self.unsettled += 1;
    }

    /// One that was under way is settled.
    pub fn settled(&mut self) {
        self.unsettled = self.unsettled.saturating_sub(1);
    }

    /// Gives everything at hand back, to be fetched again when it is time.
    pub fn drain(&mut self) -> Vec<(Number, Claim)> {
        self.turns.clear();
        let mut all = Vec::new();
        for ready in self.apps.values_mut() {
            ready.behind |= !ready.messages.is_empty();
            ready.stored += ready.messages.len() as u64;
            all.extend(ready.messages.drain(..).map(|claimed| (claimed.message.number, claimed.claim)));
        }
        all
    }

    /// Messages under way.
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }
}
