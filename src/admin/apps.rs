//! When each app sent last, and how.

use super::time::rfc3339;
use crate::{mail::Change, queue::Seen, relay::Relay};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::SystemTime};

/// What is known of the apps that ever sent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Apps {
    /// Each of them, configured still or not.
    pub apps: Vec<AppSeen>,
}

/// The last message of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSeen {
    /// The app.
    pub app: String,
    /// When its last message was taken.
    pub last_sent: String,
    /// From whom that came: address and port, or process.
    pub client: String,
    /// Where it came in.
    pub listener: String,
    /// Whether that connection was encrypted.
    pub encrypted: bool,
    /// How the app proved itself: `password`, `certificate`, `unix-user`, `network` or `dropped-file`.
    #[serde(default)]
    pub proof: Option<String>,
    /// Messages taken within the last 24 hours.
    pub sent_today: u64,
    /// In how many of its messages, ever, what was changed, by the words of [`Change`].
    #[serde(default)]
    pub changes: BTreeMap<String, u64>,
}

/// The apps that `relay` knows.
pub fn apps(relay: &Relay) -> Apps {
    let seen = |(seen, sent_today, changes): (Seen, u64, BTreeMap<Change, u64>)| AppSeen {
        app: seen.app.to_string(),
        last_sent: rfc3339(seen.at),
        client: seen.client,
        listener: seen.listener,
        encrypted: seen.encrypted,
        proof: seen.proof.map(|proof| proof.word().to_owned()),
        sent_today,
        changes: changes.into_iter().map(|(change, messages)| (change.to_string(), messages)).collect(),
    };
    Apps { apps: relay.apps_seen(SystemTime::now()).into_iter().map(seen).collect() }
}
