//! What an operator may ask of a relay: the same whether it runs or was only opened for a command.

use super::{Relay, Standing, Subject};
use crate::{
    config::Settings,
    mail::{Change, Id, Name},
    provider::Limits,
    queue::{Changed, Count, Filter, Number, Order, Page, Seen, Trace},
    store::{self, Body},
    tokens,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

impl Relay {
    /// The mailboxes whose mail waits, and why.
    pub fn holds(&self) -> BTreeMap<Name, Standing> {
        let mailboxes = self.standings().into_iter().filter_map(|(subject, standing)| match subject {
            Subject::Mailbox { mailbox, .. } => Some((mailbox, standing)),
            Subject::Link(_) => None,
        });
        let board = self.board();
        mailboxes.filter(|(mailbox, _)| board.held(mailbox).is_some()).collect()
    }

    /// What is configured now.
    pub fn configured(&self) -> Arc<Settings> {
        self.settings()
    }

    /// How the grant and the access token of each mailbox stand.
    pub async fn grants(&self) -> Vec<tokens::Status> {
        self.tokens.status_with_grants().await
    }

    /// Whether `mailbox` is configured.
    pub fn has_mailbox(&self, mailbox: &Name) -> bool {
        self.mailbox(mailbox).is_some()
    }

    /// What was sent through `mailbox` in the last day: messages, recipients.
    pub fn sent_today(&self, mailbox: &Name) -> (u64, u64) {
        self.mailbox(mailbox).map_or((0, 0), |(mailbox, _)| self.gates.of(&mailbox).today(SystemTime::now()))
    }

    /// The last message of each app that ever sent one, how many it sent in the last day, and in how many ever what was changed.
    pub fn apps_seen(&self, now: SystemTime) -> Vec<(Seen, u64, BTreeMap<Change, u64>)> {
        self.usage.all(now)
    }

    /// The mailboxes that are configured.
    pub fn mailboxes(&self) -> Vec<Name> {
        self.settings().mailboxes.keys().cloned().collect()
    }

    /// The mailboxes that are configured, or have mail.
    pub async fn known_mailboxes(&self) -> Result<Vec<Name>, store::Error> {
        let domains: Vec<Name> = self.settings().domains.keys().cloned().collect();
        Ok(sorted(self.mailboxes().into_iter().chain(domains).chain(self.queue.names_with_mail().await?.0)))
    }

    /// The apps that are configured, or have mail.
    pub async fn known_apps(&self) -> Result<Vec<Name>, store::Error> {
        let configured: Vec<Name> = self.settings().apps.keys().cloned().collect();
        Ok(sorted(configured.into_iter().chain(self.queue.names_with_mail().await?.1)))
    }

    /// The limits of `mailbox`, if it is configured.
    pub fn limits(&self, mailbox: &Name) -> Option<Limits> {
        self.mailbox(mailbox).map(|(mailbox, _)| mailbox.limits)
    }

    /// The limit of `mailbox` that keeps messages back now, by its key in the configuration, and until when.
    pub fn limit_reached(&self, mailbox: &Name) -> Option<(&'static str, SystemTime)> {
        let (mailbox, _) = self.mailbox(mailbox)?;
        self.gates.of(&mailbox).reached(SystemTime::now()).map(|reached| (reached.limit, reached.until))
    }

    /// How much later it is by the wall than on the clock of `mailbox`, which stands still while it is held.
    pub fn stood_still(&self, mailbox: &Name) -> Duration {
        let now = SystemTime::now();
        now.duration_since(self.board().clock(mailbox, now)).unwrap_or_default()
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

    /// Carries out an order on these messages. What only waits at hand is in the store for that.
    pub async fn order(&self, order: &Order, ids: Vec<Id>) -> Result<Changed, store::Error> {
        if let Order::Move(mailbox) = order {
            self.take_in_named(mailbox);
        }
        let mut changed = self.order_once(order, ids).await?;
        if !changed.under_way.is_empty() {
            // A lane may have fetched some anew between the two steps.
            let again = self.order_once(order, std::mem::take(&mut changed.under_way)).await?;
            changed.done += again.done;
            changed.unknown.extend(again.unknown);
            changed.not_now.extend(again.not_now);
            changed.under_way = again.under_way;
        }
        if changed.done > 0 {
            tracing::info!(event = "queue.changed", order = ?order, messages = changed.done, "an operator changed messages");
        }
        Ok(changed)
    }

    async fn order_once(&self, order: &Order, ids: Vec<Id>) -> Result<Changed, store::Error> {
        for handle in self.lanes.all() {
            self.give_back(&handle).await;
        }
        let now = SystemTime::now();
        let changed = self.queue.order(order, ids, now, |mailbox| self.board().clock(mailbox, now)).await;
        self.lanes.all().iter().for_each(|handle| handle.look());
        changed
    }

    /// Holds `mailbox` until an operator releases it, or releases it and lets it be tried at once; whether that changed anything.
    pub async fn pause(&self, mailbox: &Name, paused: bool) -> Result<bool, store::Error> {
        self.take_in_named(mailbox);
        let now = SystemTime::now();
        let changed = self.board().pause(mailbox, paused, now);
        let was_held = !paused && self.board().held(mailbox).is_some();
        if !paused {
            self.forgive(Some(mailbox));
        }
        self.noted();
        self.flush().await?;
        let handle = self.lanes.of(mailbox);
        if paused {
            self.give_back(&handle).await;
        }
        handle.look();
        Ok(changed || was_held)
    }
}

fn sorted(names: impl Iterator<Item = Name>) -> Vec<Name> {
    names.collect::<BTreeSet<_>>().into_iter().collect()
}
