//! What an operator asks of the queue: lists, stories, and orders that change many messages.

use super::Queue;
use crate::{
    mail::{Id, Name},
    store::{self, Body, Count, Done, Event, Filter, Line, Number, Page, Standing, State, Verb},
};
use std::{path::PathBuf, sync::Arc, time::SystemTime};
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
    /// Which messages are meant where no state is named.
    fn states(&self) -> Vec<State> {
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The message.
    pub line: Line,
    /// Its recipients.
    pub recipients: Vec<Standing>,
    /// What happened.
    pub events: Vec<Event>,
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

    /// The story of a message.
    pub async fn trace(&self, id: Id) -> Result<Option<Trace>, store::Error> {
        let Some(line) = self.find(id).await? else { return Ok(None) };
        let (recipients, events) = self.store.story(line.number).await?;
        Ok(Some(Trace { line, recipients, events }))
    }

    /// The body of the message `id`; `None` where it is no longer kept.
    pub async fn export(&self, id: Id) -> Result<Option<Body>, store::Error> {
        match self.find(id).await? {
            Some(line) => self.store.body(line.number, id, line.size).await,
            None => Ok(None),
        }
    }

    /// Carries out an order on the messages that `filter` finds. `clock` reads a mailbox's clock.
    pub async fn order(
        self: &Arc<Self>,
        order: &Order,
        filter: Filter,
        now: SystemTime,
        clock: impl Fn(&Name) -> SystemTime,
    ) -> Result<Changed, store::Error> {
        let mut changed = Changed::default();
        let (named, mut after) = (filter.ids.clone(), None);
        let states = if filter.states.is_empty() && named.is_empty() { order.states() } else { filter.states.clone() };
        let states = if named.is_empty() { states } else { Vec::new() };
        let filter = Filter { states, ..filter };
        let mut found = Vec::new();
        loop {
            let page = self.store.list(filter.clone(), after).await?;
            found.extend(page.lines.iter().map(|line| line.id));
            for lines in page.lines.chunks(AT_ONCE) {
                self.order_some(order, lines, (now, &clock), &mut changed).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        changed.unknown.extend(named.into_iter().filter(|id| !found.contains(id)));
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
fn shift(from: SystemTime, to: SystemTime) -> i64 {
    let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match to.duration_since(from) {
        Ok(later) => millis(later),
        Err(earlier) => -millis(earlier.duration()),
    }
}
