//! How a mailbox stands, for commands and the control socket.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use std::time::SystemTime;

use super::{Entry, Route, Tokens};
use crate::{
    mail::Name,
    oauth::{Health, Kind, Trouble},
    store::Granted,
};

/// How a mailbox stands; no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The mailbox.
    pub mailbox: String,
    /// Its link.
    pub link: String,
    /// The link's grant.
    pub grant: Option<String>,
    /// How renewing goes.
    pub state: State,
    /// When its access token ends, RFC 3339; `None` when there is none that lives.
    pub access_token_until: Option<String>,
    /// Since when the mailbox has its grant, RFC 3339; `None` without one, and where none is needed.
    pub authorised_since: Option<String>,
    /// Who brought it, a user of this machine.
    pub authorised_by: Option<String>,
    /// Who signed in at the provider, where it said so.
    pub account: Option<String>,
    /// How the grant came here.
    pub origin: Option<String>,
    /// What is wrong.
    pub reason: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
    /// Its name in the tables of advice.
    pub advice_name: Option<String>,
}

/// How renewing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The last renewal brought a token.
    Ready,
    /// Renewing fails for now; it is tried again.
    RenewingFails,
    /// Only a new consent helps.
    NeedsConsent,
    /// An administrator must mend something.
    NeedsRepair,
    /// No token was needed yet.
    None,
}

impl From<&Trouble> for State {
    fn from(trouble: &Trouble) -> Self {
        match trouble.kind {
            Kind::Transient => Self::RenewingFails,
            Kind::Consent => Self::NeedsConsent,
            Kind::Administrator | Kind::Configuration => Self::NeedsRepair,
        }
    }
}

impl Status {
    pub(super) fn of(mailbox: &Name, entry: &Entry, now: SystemTime) -> Self {
        let bare = Self {
            mailbox: mailbox.to_string(),
            link: entry.link.to_string(),
            grant: entry.grant.map(|grant| grant.to_string()),
            state: State::None,
            access_token_until: None,
            authorised_since: None,
            authorised_by: None,
            account: None,
            origin: None,
            reason: None,
            advice: None,
            advice_name: None,
        };
        let source = match &entry.route {
            Route::Source(source) => source,
            Route::Repair { reason, advice } => {
                let (advice, advice_name) = (Some(advice.to_string()), advice.name().map(str::to_owned));
                return Self { state: State::NeedsRepair, reason: Some(reason.clone()), advice, advice_name, ..bare };
            }
        };
        let (health, expires) = source.look();
        let state = match &health {
            Health::Well if expires.is_some() => State::Ready,
            Health::Well => State::None,
            Health::Failing { trouble, .. } | Health::Probing { trouble, .. } | Health::Stopped { trouble } => trouble.into(),
        };
        let trouble = health.trouble();
        Self {
            state,
            access_token_until: expires.filter(|expires| *expires > now).map(rfc3339),
            reason: trouble.map(|trouble| trouble.reason.clone()),
            advice: trouble.map(|trouble| trouble.advice.to_string()),
            advice_name: trouble.and_then(|trouble| trouble.advice.name().map(str::to_owned)),
            ..bare
        }
    }
}

impl Tokens {
    /// [`Tokens::status`], with what the store knows of the grants.
    pub async fn status_with_grants(&self) -> Vec<Status> {
        let mut all = self.status();
        match self.world.store.granted().await {
            Ok(grants) => all.iter_mut().for_each(|status| {
                if let Ok(at) = grants.binary_search_by(|grant| grant.mailbox.cmp(&status.mailbox)) {
                    let Granted { origin, account, by, obtained_at, .. } = grants[at].clone();
                    status.authorised_since = Some(rfc3339(obtained_at));
                    (status.origin, status.account, status.authorised_by) = (Some(origin), account, by);
                }
            }),
            Err(error) => tracing::warn!(%error, "it cannot be told since when mailboxes are authorised"),
        }
        all
    }
}

pub(super) fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}
