//! Kept mail: what was accepted stays here, durably, until every recipient is settled.
//!
//! Layer 4: it owns the store's messages and knows neither apps nor providers. Who delivers claims messages and settles them; a
//! claim is a lease with an end, so that another process may take over. [`Queue::accept`] alone gives the proof of durability of
//! which a `250` is made.

mod budget;
mod lane;
mod operator;
mod room;
mod schedule;
#[cfg(test)]
mod tests;
mod upkeep;

pub use crate::store::{
    AppChange, AppCount, AppUsage, Claim, Count, Due, Event, Filter, HeldBy, Hold, Kept, Line, MailboxClock, Message,
    MinuteCount, Movable, NewMessage, Next, Number, Page, Proof, RecipientState, Report, Scope, Seen, Settled, Settlement,
    Standing, State, Stored, Told, ToldOf, Verb, Wanted,
};
pub use budget::{Budget, Share};
pub use lane::{Claimed, Fill, Lane};
use operator::shift;
pub use operator::{Changed, Order, Trace};
pub use room::Room;
pub use schedule::{due_after, jittered};

use crate::{
    config,
    mail::{Id, Name},
    store::{self, Body, Move, Released, Store},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

/// How long a claim lasts unless it is renewed. Longer than a stall of the machine, short enough for another node to take over.
pub const LEASE: Duration = Duration::from_secs(10 * 60);

/// Why the messages of a removed app are held.
pub const NO_APP: &str = "its app is no longer configured";

/// Why a message waits whose mailbox left the configuration.
pub const NO_MAILBOX: &str = "its mailbox is no longer configured";

/// Why a message was not accepted. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no room for it.
    #[error("{0}")]
    NoRoom(String),
    /// The store did not keep it.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Refused {
    /// Whether room is what is missing: `452 4.3.1` says so.
    pub fn is_for_room(&self) -> bool {
        match self {
            Self::NoRoom(_) => true,
            Self::Store(error) => error.is_disk_full(),
        }
    }
}

/// The queue of one state directory.
#[derive(Debug)]
pub struct Queue {
    store: Store,
    settings: RwLock<config::Queue>,
    room: Room,
    owner: u32,
    claims: AtomicU32,
    lost: Mutex<Lost>,
}

/// Claims under which nobody works, still to be given back: renewed like the others, they would last as long as the process.
#[derive(Debug, Default)]
struct Lost {
    /// What was claimed and never came to hand.
    claims: Vec<Claim>,
    /// What could not be given back.
    messages: Vec<(Number, Claim)>,
}

impl Queue {
    /// The queue in `store`; `owner` is drawn by chance and marks the claims of this process.
    pub fn new(store: Store, settings: config::Queue, owner: u32) -> Arc<Self> {
        let room = Room::new(store.clone());
        Arc::new(Self { store, settings: RwLock::new(settings), room, owner, claims: AtomicU32::new(0), lost: Mutex::default() })
    }

    /// Takes up other settings.
    pub fn configure(&self, settings: config::Queue) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// The settings.
    pub fn settings(&self) -> config::Queue {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A claim that nobody else has.
    pub fn new_claim(&self) -> Claim {
        Claim::new(self.owner, self.claims.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether one more message of `size` octets fits.
    pub async fn has_room(&self, size: u64) -> Result<(), Refused> {
        self.room.check(&self.settings(), size).await.map_err(Refused::NoRoom)
    }

    /// Keeps a message. When it returns `Ok`, message and body are on disk and synced.
    pub async fn accept(&self, message: NewMessage, body: Body) -> Result<Stored, Refused> {
        self.has_room(body.len()).await?;
        let id = message.id;
        let kept = self.store.keep(body, id).await?;
        crate::crash::point("body-kept");
        match self.store.accept(message, kept).await {
            Ok(stored) => {
                crate::crash::point("committed");
                Ok(stored)
            }
            // The file, if there is one, is removed at the next start: the row may still come after an answer that did not.
            Err(error) => Err(error.into()),
        }
    }

    /// Claims messages that are due.
    pub async fn claim(&self, wanted: Wanted, now: SystemTime) -> Result<Vec<Claimed>, store::Error> {
        let claim = self.new_claim();
        let messages = self.store.claim(wanted, claim, now, now + LEASE).await;
        let messages = messages.inspect_err(|error| self.never_came(error, claim))?;
        Ok(messages.into_iter().map(|message| Claimed { message, claim, body: None }).collect())
    }

    /// Claims one message of a sender that is held, for a probe.
    pub async fn claim_held(&self, mailbox: &Name, author: &str, now: SystemTime) -> Result<Option<Claimed>, store::Error> {
        let claim = self.new_claim();
        let found = self.store.claim_held(mailbox, author, (claim, now + LEASE)).await;
        let found = found.inspect_err(|error| self.never_came(error, claim))?;
        Ok(found.map(|message| Claimed { message, claim, body: None }))
    }

    /// Gives claimed messages back untouched; what cannot be given back now is as soon as it can.
    pub async fn unclaim(&self, claims: Vec<(Number, Claim)>) -> Result<(), store::Error> {
        let given = self.store.unclaim(claims.clone()).await;
        given.inspect_err(|_| self.lost().messages.extend(claims))
    }

    /// Gives back a message that may have been sent: no other mailbox takes it.
    pub async fn unclaim_unsure(&self, claimed: (Number, Claim)) -> Result<(), store::Error> {
        self.store.unclaim_unsure(claimed).await.inspect_err(|_| self.lost().messages.push(claimed))
    }

    /// Messages of `app` that wait for `mailbox` and may go through another one, accepted after `after`.
    pub async fn movable(&self, mailbox: &Name, app: &Name, after: Number, most: usize) -> Result<Vec<Movable>, store::Error> {
        self.store.movable(mailbox, app, after, most).await
    }

    /// Moves messages out of `from`, each to a mailbox and with why; `clock` reads a mailbox's clock. Those that moved.
    pub async fn move_all(
        &self,
        from: &Name,
        moves: Vec<(Number, Name, String)>,
        now: SystemTime,
        clock: impl Fn(&Name) -> SystemTime,
    ) -> Result<Vec<Number>, store::Error> {
        let at = clock(from);
        let to_move = |(number, to, why): (Number, Name, String)| Move { number, shift: shift(at, clock(&to)), to, why };
        self.store.move_all(from, moves.into_iter().map(to_move).collect(), (now, at)).await
    }

    /// Gives back what was accepted under `claim` and never handed on; later, where it cannot be done now.
    pub async fn abandon(&self, claim: Claim) -> Result<usize, store::Error> {
        self.store.unclaim_all(claim).await.inspect_err(|_| self.lost().claims.push(claim))
    }

    fn never_came(&self, error: &store::Error, claim: Claim) {
        if error.may_be_done() {
            self.lost().claims.push(claim);
        }
    }

    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailboxes through which mail waits or is held.
    pub async fn mailboxes_with_mail(&self) -> Result<Vec<Name>, store::Error> {
        self.store.mailboxes_with_mail().await
    }

    /// When the next message of each app is due.
    pub async fn due(&self, mailbox: &Name) -> Result<Vec<Due>, store::Error> {
        self.store.due(mailbox).await
    }

    /// The body of a message.
    pub async fn body(&self, message: &Message) -> Result<Option<Body>, store::Error> {
        self.store.body(message.number, message.id, message.size).await
    }

    /// Settles an attempt.
    pub async fn settle(&self, settlement: Settlement) -> Result<Settled, store::Error> {
        self.store.settle(settlement).await
    }

    /// Every recipient of a message.
    pub async fn standings(&self, number: Number) -> Result<Vec<Standing>, store::Error> {
        self.store.story(number).await.map(|(standings, _)| standings)
    }

    /// Holds a claimed message of which it turned out that it has to wait.
    pub async fn hold_claimed(
        &self,
        claimed: (Number, Claim),
        (by, reason): (HeldBy, String),
        clock: SystemTime,
    ) -> Result<(), store::Error> {
        let held = self.store.hold_claimed(claimed, by, reason, clock).await;
        held.inspect_err(|_| self.lost().messages.push(claimed))
    }

    /// The senders whose messages in `mailbox` are held for their sake.
    pub async fn held_senders(&self, mailbox: &Name) -> Result<Vec<String>, store::Error> {
        self.store.held_senders(mailbox).await
    }

    /// Lifts what holds the messages of a sender; how many those were.
    pub async fn release_sender(
        &self,
        mailbox: &Name,
        author: &str,
        (now, clock): (SystemTime, SystemTime),
    ) -> Result<usize, store::Error> {
        let which = Released { mailbox: mailbox.clone(), by: HeldBy::Sender, author: Some(author.to_owned()), app: None };
        self.store.release(which, now, clock).await
    }

    /// Holds the waiting messages of what is not configured, and releases those of what is again. `clock` reads a mailbox's clock.
    pub async fn fit_to(
        &self,
        mailboxes: &[Name],
        apps: &[Name],
        now: SystemTime,
        clock: impl Fn(&Name) -> SystemTime,
    ) -> Result<(), store::Error> {
        let with_mail = self.store.mailboxes_with_mail().await?;
        let known_apps = self.store.apps_with_mail().await?;
        for mailbox in with_mail {
            let which = |by, app: Option<&Name>| Released { mailbox: mailbox.clone(), by, author: None, app: app.cloned() };
            let at = clock(&mailbox);
            let is_configured = mailboxes.contains(&mailbox);
            if is_configured {
                self.store.release(which(HeldBy::Mailbox, None), now, at).await?;
            }
            for app in &known_apps {
                if apps.contains(app) {
                    self.store.release(which(HeldBy::App, Some(app)), now, at).await?;
                } else if is_configured {
                    self.store.hold(which(HeldBy::App, Some(app)), NO_APP, at).await?;
                }
            }
            if !is_configured {
                self.store.hold(which(HeldBy::Mailbox, None), NO_MAILBOX, at).await?;
            }
        }
        Ok(())
    }

    /// What held mailboxes, links and senders when this was last written.
    pub async fn holds(&self) -> Result<Vec<Hold>, store::Error> {
        self.store.holds().await
    }

    /// Keeps a hold.
    pub async fn put_hold(&self, hold: Hold) -> Result<(), store::Error> {
        self.store.put_hold(hold).await
    }

    /// Forgets a hold.
    pub async fn drop_hold(&self, scope: Scope) -> Result<(), store::Error> {
        self.store.drop_hold(scope).await
    }

    /// The mailboxes' clocks.
    pub async fn clocks(&self) -> Result<BTreeMap<Name, MailboxClock>, store::Error> {
        self.store.clocks().await
    }

    /// Keeps a mailbox's clock.
    pub async fn put_clock(&self, mailbox: Name, clock: MailboxClock) -> Result<(), store::Error> {
        self.store.put_clock(mailbox, clock).await
    }

    /// How links and mailboxes were told to stand.
    pub async fn told(&self) -> Result<Vec<Told>, store::Error> {
        self.store.told().await
    }

    /// Keeps what was told.
    pub async fn put_told(&self, told: Told) -> Result<(), store::Error> {
        self.store.put_told(told).await
    }

    /// Forgets what was told.
    pub async fn drop_told(&self, of: ToldOf) -> Result<(), store::Error> {
        self.store.drop_told(of).await
    }

    /// What apps sent since `from`, by the minute, each one's last message, and what was changed about all of them.
    pub async fn usage(&self, from: SystemTime) -> Result<AppUsage, store::Error> {
        self.store.usage(from).await
    }

    /// Keeps what apps sent.
    pub async fn put_usage(&self, usage: AppUsage) -> Result<(), store::Error> {
        self.store.put_usage(usage).await
    }

    /// What was sent since `from`, by the minute.
    pub async fn counts(&self, from: SystemTime) -> Result<Vec<MinuteCount>, store::Error> {
        self.store.counts(from).await
    }

    /// Keeps what was sent.
    pub async fn put_counts(&self, counts: Vec<MinuteCount>) -> Result<(), store::Error> {
        self.store.put_counts(counts).await
    }

    /// Looks up one message by its id.
    pub async fn find(&self, id: Id) -> Result<Option<Line>, store::Error> {
        let filter = Filter { ids: vec![id], ..Filter::default() };
        Ok(self.store.list(filter, None).await?.lines.pop())
    }
}
