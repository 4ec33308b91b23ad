//! What an operator asks of the queue: lists, stories, and orders that change many messages.

use super::Queue;
use crate::{
    mail::{Id, Name},
    store::{self, Body, Count, Done, Event, Filter, Line, Message, Number, Page, Standing, State, Verb},
};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::SystemTime};
use tokio::task::JoinSet;

/// Messages changed at the same time: they share commits.
const AT_ONCE: usize = 200;

/// What is to be done with messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// They go out at once; failed ones begin anew.
    Retry,
    /// They are held.
    Hold,
    /// What holds them is lifted.
    Release,
    /// They are given up.
    Discard,
    /// They go through this mailbox.
    Move(Name),
}

impl Order {
    /// How messages stand for which it makes sense.
    pub fn states(&self) -> Vec<State> {
        match self {
            Self::Retry => vec![State::Waiting, State::Failed],
            Self::Hold => vec![State::Waiting],
            Self::Release => vec![State::Held],
            Self::Discard | Self::Move(_) => vec![State::Waiting, State::Held, State::Failed],
        }
    }
}

/// What an order came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// Messages changed.
    pub done: u64,
    /// Ids that are no messages.
    pub unknown: Vec<Id>,
    /// Messages on their way at that moment.
    pub under_way: Vec<Id>,
    /// Messages that stand so that the order makes no sense, with how they stand.
    pub not_now: Vec<(Id, State)>,
}

/// The story of one message.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The message.
    pub line: Line,
    /// Its recipients.
    pub recipients: Vec<Standing>,
    /// What happened.
    pub events: Vec<Event>,
    /// Its envelope's parameters and the end of its time; the recipients are those that wait.
    pub message: Option<Message>,
    /// Bounces and other notices about it, and when they were made.
    pub notices: Vec<(Id, SystemTime)>,
}

impl Queue {
    /// A page of messages.
    pub async fn list(&self, filter: Filter, after: Option<Number>) -> Result<Page, store::Error> {
        self.store.list(filter, after).await
    }

    /// How many messages stand how.
    pub async fn count(&self) -> Result<Vec<Count>, store::Error> {
        self.store.count().await
    }

    /// The mailboxes and the apps of all messages that are known.
    pub async fn names_with_mail(&self) -> Result<(Vec<Name>, Vec<Name>), store::Error> {
        self.store.names().await
    }

    /// The story of a message.
    pub async fn trace(&self, id: Id) -> Result<Option<Trace>, store::Error> {
        let Some(line) = self.find(id).await? else { return Ok(None) };
        let (recipients, events) = self.store.story(line.number).await?;
        let message = self.store.message(line.number).await?;
        let notices = self.store.notices_about(id, line.number).await?;
        Ok(Some(Trace { line, recipients, events, message, notices }))
    }

    /// The body of the message `id`; `None` where it is no longer kept.
    pub async fn export(&self, id: Id) -> Result<Option<Body>, store::Error> {
        match self.find(id).await? {
            Some(line) => self.store.body(line.number, id, line.size).await,
            None => Ok(None),
        }
    }

    /// Carries out an order on these messages. `clock` reads a mailbox's clock.
    pub async fn order(
        self: &Arc<Self>,
        order: &Order,
        ids: Vec<Id>,
        now: SystemTime,
        clock: impl Fn(&Name) -> SystemTime,
    ) -> Result<Changed, store::Error> {
        let mut changed = Changed::default();
        if ids.is_empty() {
            // An empty filter would find everything.
            return Ok(changed);
        }
        let named: BTreeSet<Id> = ids.into_iter().collect();
        let filter = Filter { ids: named.iter().copied().collect(), ..Filter::default() };
        let found = self.store.list(filter, None).await?.lines;
        for lines in found.chunks(AT_ONCE) {
            self.order_some(order, lines, (now, &clock), &mut changed).await?;
        }
        let found: BTreeSet<Id> = found.iter().map(|line| line.id).collect();
        changed.unknown.extend(named.difference(&found));
        Ok(changed)
    }

    async fn order_some(
        self: &Arc<Self>,
        order: &Order,
        lines: &[Line],
        (now, clock): (SystemTime, &impl Fn(&Name) -> SystemTime),
        changed: &mut Changed,
    ) -> Result<(), store::Error> {
        let mut tasks = JoinSet::new();
        for line in lines {
            let at = clock(&line.mailbox);
            let verb = match order {
                Order::Retry => Verb::Retry(self.settings().expire_after),
                Order::Hold => Verb::Hold,
                Order::Release => Verb::Release,
                Order::Discard => Verb::Discard,
                Order::Move(mailbox) => Verb::Move { mailbox: mailbox.clone(), shift: shift(at, clock(mailbox)) },
            };
            let (queue, id) = (self.clone(), line.id);
            tasks.spawn(async move { (id, queue.store.operate(id, verb, now, at).await) });
        }
        while let Some(done) = tasks.join_next().await {
            let Ok((id, done)) = done else { continue };
            match done? {
                Done::Yes => changed.done += 1,
                Done::Unknown => changed.unknown.push(id),
                Done::UnderWay => changed.under_way.push(id),
                Done::NotNow(state) => changed.not_now.push((id, state)),
            }
        }
        Ok(())
    }

    /// Copies all that is kept into `directory`, which must not exist; the number of messages copied.
    pub async fn backup(&self, directory: PathBuf) -> Result<u64, store::Error> {
        let store = self.store.clone();
        let copied = tokio::task::spawn_blocking(move || store.backup(&directory)).await;
        copied.unwrap_or_else(|_| Err(store::Error::Closed { what: "back up", file: self.store.file().to_owned() }))
    }
}

/// How much later one clock is than another, in milliseconds.
pub(super) fn shift(from: SystemTime, to: SystemTime) -> i64 {
    let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match to.duration_since(from) {
        Ok(later) => millis(later),
        Err(earlier) => -millis(earlier.duration()),
    }
}
