//! What an operator may ask of a relay: the same whether it runs or was only opened for a command.

use super::Relay;
use crate::{
    mail::{Id, Name},
    queue::{Changed, Count, Filter, Number, Order, Page, Trace},
    store::{self, Body},
};
use std::{path::PathBuf, time::SystemTime};

/// Why a mailbox sends nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxHold {
    /// What is wrong, in one word: passing, logins, token, account, quota, paused.
    pub kind: &'static str,
    /// Why.
    pub reason: String,
    /// What to do about it.
    pub advice: Option<String>,
    /// Since when.
    pub since: SystemTime,
    /// When it is tried again; `None`: not by itself.
    pub next: Option<SystemTime>,
}

impl Relay {
    /// Why `mailbox` sends nothing now; `None` when it does.
    pub fn hold(&self, mailbox: &Name) -> Option<MailboxHold> {
        self.board().held(mailbox)
    }

    /// Whether `mailbox` is configured.
    pub fn has_mailbox(&self, mailbox: &Name) -> bool {
        self.mailbox(mailbox).is_some()
    }

    /// What was sent through `mailbox` in the last day: messages, recipients.
    pub fn sent_today(&self, mailbox: &Name) -> (u64, u64) {
        self.mailbox(mailbox).map_or((0, 0), |(mailbox, _)| self.gates.of(&mailbox).today(SystemTime::now()))
    }

    /// A page of messages.
    pub async fn list(&self, filter: Filter, after: Option<Number>) -> Result<Page, store::Error> {
        self.queue.list(filter, after).await
    }

    /// How many messages stand how.
    pub async fn count(&self) -> Result<Vec<Count>, store::Error> {
        self.queue.count().await
    }

    /// The story of a message.
    pub async fn trace(&self, id: Id) -> Result<Option<Trace>, store::Error> {
        self.queue.trace(id).await
    }

    /// The body of a message.
    pub async fn export(&self, id: Id) -> Result<Option<Body>, store::Error> {
        self.queue.export(id).await
    }

    /// Copies all that is kept.
    pub async fn backup(&self, directory: PathBuf) -> Result<u64, store::Error> {
        self.queue.backup(directory).await
    }

    /// Carries out an order on the messages that `filter` finds. What only waits at hand is in the store for that.
    pub async fn order(&self, order: &Order, filter: Filter) -> Result<Changed, store::Error> {
        for handle in self.lanes.all() {
            self.give_back(&handle).await;
        }
        let now = SystemTime::now();
        let changed = self.queue.order(order, filter, now, |mailbox| self.board().clock(mailbox, now)).await;
        self.lanes.all().iter().for_each(|handle| handle.look());
        if let Ok(changed) = &changed {
            tracing::info!(event = "queue.changed", order = ?order, messages = changed.done, "an operator changed messages");
        }
        changed
    }

    /// Holds `mailbox` until an operator releases it, or releases it and lets it be tried at once; whether that changed anything.
    pub async fn pause(&self, mailbox: &Name, paused: bool) -> Result<bool, store::Error> {
        let now = SystemTime::now();
        let changed = self.board().pause(mailbox, paused, now);
        let was_held = !paused && self.board().held(mailbox).is_some();
        if !paused {
            self.forgive(Some(mailbox));
        }
        if changed {
            let (state, text) = match paused {
                true => ("paused", "an operator holds the mailbox: its messages wait"),
                false => ("released", "an operator releases the mailbox"),
            };
            tracing::info!(event = "mailbox.changed", %mailbox, state, "{text}");
        }
        self.flush().await?;
        let handle = self.lanes.of(mailbox);
        if paused {
            self.give_back(&handle).await;
        }
        handle.look();
        Ok(changed || was_held)
    }
}
