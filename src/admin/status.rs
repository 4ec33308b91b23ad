//! What a running daemon is doing.

use super::{
    Control,
    queue::{MailboxQueue, Tally, summary},
};
use crate::{mail::Name, relay::Relay};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::SystemTime;

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
    /// Each mailbox with its grant, as `tokens` tells it, its messages and its limits.
    pub mailboxes: Vec<Value>,
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

fn listeners(control: &Control) -> Vec<ListenerStatus> {
    let certificate = |name: &str| {
        let presented = control.presented.iter().find(|(of, _)| of.as_str() == name)?.1;
        let state = presented.state(SystemTime::now());
        Some(CertificateStatus { until: state.until.into(), trouble: state.trouble })
    };
    let shown = |it: &ListenerStatus| ListenerStatus { certificate: certificate(&it.name), ..it.clone() };
    control.listeners.iter().map(shown).collect()
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
    let mailboxes = control.tokens.status().into_iter().map(|status| {
        let mut value = serde_json::to_value(&status).unwrap_or_default();
        let queue = summary.iter().flat_map(|summary| &summary.mailboxes).find(|queue| queue.mailbox == status.mailbox);
        if let (Ok(name), Some(fields)) = (Name::parse(&status.mailbox), value.as_object_mut()) {
            add(fields, relay, &name, queue);
        }
        value
    });
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        hostname: control.hostname.to_string(),
        listeners: listeners(control),
        mailboxes: mailboxes.collect(),
        under_way: relay.under_way(),
        queue: summary.map(|summary| Totals { waiting: summary.waiting, held: summary.held, failed: summary.failed }),
    }
}

/// Adds to what `tokens` tells of a mailbox what the relay and the queue know.
fn add(fields: &mut Map<String, Value>, relay: &Relay, name: &Name, queue: Option<&MailboxQueue>) {
    fields.insert("trouble".into(), relay.trouble(name).into());
    fields.insert("hold".into(), json!(relay.hold(name).as_ref().map(super::queue::hold)));
    if let Some(queue) = queue {
        for (key, tally) in [("waiting", &queue.waiting), ("held", &queue.held), ("failed", &queue.failed)] {
            fields.insert(key.into(), json!(tally));
        }
    }
    let (messages, recipients) = relay.sent_today(name);
    fields.insert("sent_in_24_hours".into(), json!({"messages": messages, "recipients": recipients}));
    let limits = relay.limits(name).map(|limits| {
        json!({"messages_per_minute": limits.messages_per_minute, "messages_per_day": limits.messages_per_day,
            "recipients_per_day": limits.recipients_per_day})
    });
    fields.insert("limits".into(), json!(limits));
    fields.insert("limit_reached".into(), json!(relay.limit_reached(name).map(|(limit, _)| limit)));
}
