//! How each link and mailbox stands, as people and programs are told everywhere in the same fields.

use super::{parse_time, rfc3339};
use crate::{
    mail::State,
    relay::{self, Relay, Subject},
};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// How a link or mailbox stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// ready, expiring, failing, over-quota, needs-repair, needs-consent, paused.
    pub state: State,
    /// Why.
    pub reason: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
    /// Its name in the tables of advice.
    pub advice_name: Option<String>,
    /// Since when it is in this state; `None`: it was never looked at.
    pub since: Option<String>,
    /// When what it needs ends.
    pub until: Option<String>,
    /// When it is tried again; `None`: not by itself, or nothing is wrong.
    pub next: Option<String>,
}

/// A link or a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stands {
    /// The link.
    pub link: String,
    /// The mailbox; `None`: the link itself.
    pub mailbox: Option<String>,
    /// How it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Each link before its mailboxes.
    pub standings: Vec<Stands>,
}

impl Standing {
    /// One of which nothing is known.
    pub(super) fn unknown() -> Self {
        let (reason, advice, advice_name, since, until, next) = Default::default();
        Self { state: State::Ready, reason, advice, advice_name, since, until, next }
    }

    /// Since when, as a time.
    pub fn since(&self) -> Option<SystemTime> {
        self.since.as_deref().and_then(parse_time)
    }
}

impl From<&relay::Standing> for Standing {
    fn from(standing: &relay::Standing) -> Self {
        let relay::Standing { state, reason, advice, since, until, next } = standing;
        Self {
            state: *state,
            reason: reason.clone(),
            advice: advice.as_ref().map(ToString::to_string),
            advice_name: advice.as_ref().and_then(|advice| advice.name().map(str::to_owned)),
            since: Some(rfc3339(*since)),
            until: until.map(rfc3339),
            next: next.map(rfc3339),
        }
    }
}

impl Stands {
    /// Whether nobody needs to look: it works, or an operator holds it.
    pub fn is_good(&self) -> bool {
        self.standing.state.is_working() || self.standing.state == State::Paused
    }
}

/// How everything stands.
pub fn health(relay: &Relay) -> Health {
    let stands = |(subject, standing): (Subject, relay::Standing)| Stands {
        link: subject.link().to_string(),
        mailbox: subject.mailbox().map(ToString::to_string),
        standing: (&standing).into(),
    };
    Health { standings: relay.standings().into_iter().map(stands).collect() }
}
