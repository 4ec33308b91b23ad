//! What a running daemon is doing.

use super::{
    Control, DomainState, MailboxState, Stands,
    apps::apps,
    health::health,
    links,
    queue::{Tally, summary},
};
use crate::{
    listener::Presented,
    mail::{Name, State},
    relay::Relay,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

/// What `outlink status` shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its name in EHLO and Received.
    pub hostname: String,
    /// Each listener with its address.
    pub listeners: Vec<ListenerStatus>,
    /// How each link stands.
    pub links: Vec<Stands>,
    /// Each mailbox.
    pub mailboxes: Vec<MailboxState>,
    /// Each mailbox for a whole domain.
    #[serde(default)]
    pub domains: Vec<DomainState>,
    /// How often each link and mailbox came into each state since the start, by `link.NAME` and `mailbox.NAME`.
    pub changes: BTreeMap<String, BTreeMap<State, u64>>,
    /// How often was warned of what ends, since the start, by the same names.
    pub warnings: BTreeMap<String, u64>,
    /// In how many messages of all apps, ever, what was changed, by the words of [`crate::mail::Change`].
    #[serde(default)]
    pub message_changes: BTreeMap<String, u64>,
    /// Messages on their way to a provider.
    pub under_way: usize,
    /// Kept messages; `None` when the store cannot be read.
    pub queue: Option<Totals>,
}

/// Kept messages, in numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Totals {
    /// Messages that go out when they are due.
    pub waiting: Tally,
    /// Messages that are held, or wait in a held mailbox.
    pub held: Tally,
    /// Messages that are not tried again.
    pub failed: Tally,
}

/// One listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Its certificate, where it has TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
}

/// The certificate of a listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// When it ends.
    pub until: DateTime<Utc>,
    /// What has to be seen to.
    pub trouble: Option<String>,
}

/// A listener that runs.
#[derive(Debug, Clone)]
pub struct Listening {
    /// Its name.
    pub name: Name,
    /// Where it listens.
    pub address: String,
    /// Its certificate, where it has TLS.
    pub presented: Option<Arc<Presented>>,
}

impl Listening {
    fn status(&self) -> ListenerStatus {
        let state = self.presented.as_ref().map(|presented| presented.state(SystemTime::now()));
        let certificate = state.map(|state| CertificateStatus { until: state.until.into(), trouble: state.trouble });
        ListenerStatus { name: self.name.to_string(), address: self.address.clone(), certificate }
    }
}

/// The status of the daemon behind `control`.
pub(super) async fn status(control: &Control) -> Status {
    let relay = &control.relay;
    let summary = match summary(relay).await {
        Ok(summary) => Some(summary),
        Err(error) => {
            tracing::warn!(%error, "the status says nothing of the queue");
            None
        }
    };
    let links = links::links_with(relay, summary.as_ref()).await;
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        hostname: control.hostname.to_string(),
        listeners: control.listeners.borrow().iter().map(Listening::status).collect(),
        links: health(relay).standings.into_iter().filter(|stands| stands.mailbox.is_none()).collect(),
        domains: links.links.iter().flat_map(|link| &link.domains).cloned().collect(),
        mailboxes: links.links.into_iter().flat_map(|link| link.mailboxes).collect(),
        changes: relay.entered(),
        warnings: relay.warnings(),
        message_changes: message_changes(relay),
        under_way: relay.under_way(),
        queue: summary.map(|summary| Totals { waiting: summary.waiting, held: summary.held, failed: summary.failed }),
    }
}

fn message_changes(relay: &Relay) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (word, messages) in apps(relay).apps.into_iter().flat_map(|app| app.changes) {
        *all.entry(word).or_default() += messages;
    }
    all
}
