//! What is done to kept messages and mailboxes, a bounded step at a time, so that whoever waits can be told how far it is.

use super::{
    Refused,
    queue::{in_store, page},
    selection::{Selection, id},
};
use crate::{
    mail::{Id, Name},
    queue::{Filter, Line, Order, State},
    relay::Relay,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Ids that one request may name.
pub const MOST_IDS: usize = 1000;

/// What can be done to messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// They go out at once; failed ones begin anew.
    Retry,
    /// They are held.
    Hold,
    /// What holds them is lifted.
    Release,
    /// They are given up.
    Discard,
    /// They go through another mailbox.
    Move,
}

impl Verb {
    const ALL: [Self; 5] = [Self::Retry, Self::Hold, Self::Release, Self::Discard, Self::Move];

    /// The word in URLs and commands.
    pub fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Discard => "discard",
            Self::Move => "move",
        }
    }

    pub(super) fn named(word: &str) -> Result<Self, Refused> {
        let fault = || {
            let known = Self::ALL.map(Self::word).join(", ");
            Refused::Unknown(format!("{word:?} is nothing that can be done to messages; there are: {known}"))
        };
        Self::ALL.into_iter().find(|verb| verb.word() == word).ok_or_else(fault)
    }
}

/// To which messages something is done: those of `ids`, those of `select`, or all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Targets {
    /// These; at most [`MOST_IDS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Those with all of this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Selection>,
    /// Every one for which it makes sense.
    pub all: bool,
    /// With [`Verb::Move`]: where to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_mailbox: Option<String>,
    /// The `next` of the step before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
}

/// A message that stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Which.
    pub id: String,
    /// Why, in words.
    pub why: String,
}

/// What one step came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Messages changed.
    pub done: u64,
    /// Messages that were meant and stay as they were.
    pub left: Vec<Left>,
    /// The next step's `after`; `None`: all is done.
    pub next: Option<i64>,
}

/// Does `verb` to a page of what `targets` means.
pub async fn order(relay: &Relay, verb: Verb, targets: &Targets) -> Result<Changed, Refused> {
    let order = ordered(relay, verb, targets)?;
    let (ids, next) = match &targets.select {
        None if !targets.ids.is_empty() && !targets.all => (named(&targets.ids)?, None),
        Some(select) if targets.ids.is_empty() && !targets.all => found(relay, &order, select, targets.after).await?,
        None if targets.ids.is_empty() && targets.all => found(relay, &order, &Selection::default(), targets.after).await?,
        _ => return Err(Refused::Nonsense("exactly one of ids, select and all says which messages are meant".to_owned())),
    };
    let changed = relay.order(&order, ids).await?;
    let left = |id: Id, why: String| Left { id: id.to_string(), why };
    let unknown = changed.unknown.into_iter().map(|id| left(id, "no such message is known".to_owned()));
    let under_way = changed.under_way.into_iter().map(|id| left(id, "it is on its way to the provider now".to_owned()));
    let not_now = changed.not_now.into_iter().map(|(id, state)| left(id, why_not(&order, state).to_owned()));
    Ok(Changed { done: changed.done, left: unknown.chain(under_way).chain(not_now).collect(), next })
}

fn ordered(relay: &Relay, verb: Verb, targets: &Targets) -> Result<Order, Refused> {
    match (verb, &targets.to_mailbox) {
        (Verb::Move, Some(name)) => Ok(Order::Move(configured(relay, name)?)),
        (Verb::Move, None) => Err(Refused::Nonsense("to_mailbox has to say where the messages go".to_owned())),
        (_, Some(_)) => Err(Refused::Nonsense(format!("to_mailbox makes no sense with {}", verb.word()))),
        (Verb::Retry, None) => Ok(Order::Retry),
        (Verb::Hold, None) => Ok(Order::Hold),
        (Verb::Release, None) => Ok(Order::Release),
        (Verb::Discard, None) => Ok(Order::Discard),
    }
}

fn configured(relay: &Relay, name: &str) -> Result<Name, Refused> {
    let found = Name::parse_mailbox(name).ok().filter(|name| relay.has_mailbox(name));
    found.ok_or_else(|| Refused::no_such("configured mailbox", name, &relay.mailboxes()))
}

fn named(ids: &[String]) -> Result<Vec<Id>, Refused> {
    match ids.len() {
        ..=MOST_IDS => ids.iter().map(|text| id(text)).collect(),
        many => Err(Refused::Nonsense(format!("{many} ids are too many for one request; at most {MOST_IDS}"))),
    }
}

/// The messages of a page that are meant, as listings show them, and for which the order makes sense.
async fn found(relay: &Relay, order: &Order, select: &Selection, after: Option<i64>) -> Result<(Vec<Id>, Option<i64>), Refused> {
    let (wanted, filter) = (select.states()?, select.filter(relay).await?);
    let sensible = order.states();
    let mut states = if wanted.is_empty() { sensible.clone() } else { in_store(&wanted) };
    states.retain(|state| sensible.contains(state));
    if states.is_empty() {
        return Ok((Vec::new(), None));
    }
    let (lines, next) = page(relay, Filter { states, ..filter }, &wanted, after).await?;
    // What was discarded stays among the failed, as a trace.
    let can_change = |line: &&Line| line.has_body;
    Ok((lines.iter().filter(can_change).map(|line| line.id).collect(), next))
}

/// Why an order makes no sense for a message that stands so.
fn why_not(order: &Order, state: State) -> &'static str {
    match (order, state) {
        (_, State::Delivered) => "it was delivered",
        (Order::Hold, State::Failed) => "it has failed, and is not tried again anyway",
        (Order::Hold, State::Held) => "it is held already",
        (Order::Retry, State::Held) => "it is held; release lets it go",
        (Order::Release, State::Waiting) => "it is not held itself; if its mailbox is, release that",
        (Order::Release, State::Failed) => "it has failed; retry sends it again",
        (_, State::Failed) => "it was discarded: its octets are gone",
        (_, State::Waiting | State::Held) => "its octets are missing",
    }
}

/// Whether pausing a mailbox, or the end of that, changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// False: it was so already.
    pub changed: bool,
}

/// Holds a configured mailbox until it is released, or releases it and lets it be tried at once.
pub async fn pause(relay: &Relay, mailbox: &str, paused: bool) -> Result<Paused, Refused> {
    let mailbox = configured(relay, mailbox)?;
    Ok(Paused { changed: relay.pause(&mailbox, paused).await? })
}

/// Where a copy of all that is kept goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// An absolute path, as the daemon sees it; it must not exist.
    pub directory: PathBuf,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// Where to.
    pub directory: PathBuf,
    /// Messages with their octets.
    pub messages: u64,
}

/// Copies all that is kept.
pub async fn backup(relay: &Relay, Backup { directory }: Backup) -> Result<BackedUp, Refused> {
    if !directory.is_absolute() {
        let text = format!("{} is no absolute path, and relative ones mean something else to a daemon", directory.display());
        return Err(Refused::Nonsense(text));
    }
    let messages = relay.backup(directory.clone()).await?;
    Ok(BackedUp { directory, messages })
}
