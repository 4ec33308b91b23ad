//! How a mailbox stands, for commands and the control socket.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use std::{collections::BTreeMap, time::SystemTime};

use super::{Entry, Route, Tokens, ending::expected};
use crate::{
    mail::{Name, State},
    oauth::{Health, Kind, Trouble},
    provider::Provider,
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
    /// How renewing goes; `None`: not known yet, no token was needed.
    pub state: Option<State>,
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
    /// When its refresh token is expected to end, RFC 3339; `None` where that is not known, and where there is none.
    pub refresh_until: Option<String>,
    /// Why then.
    pub refresh_end_reason: Option<String>,
    /// What is wrong.
    pub reason: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
    /// Its name in the tables of advice.
    pub advice_name: Option<String>,
}

/// What `trouble` makes of a mailbox.
fn state_in(trouble: &Trouble) -> State {
    match trouble.kind {
        Kind::Transient => State::Failing,
        Kind::Consent => State::NeedsConsent,
        Kind::Administrator | Kind::Configuration => State::NeedsRepair,
    }
}

impl Status {
    pub(super) fn of(mailbox: &Name, entry: &Entry, now: SystemTime) -> Self {
        let bare = Self {
            mailbox: mailbox.to_string(),
            link: entry.link.to_string(),
            grant: entry.grant.map(|grant| grant.to_string()),
            state: None,
            access_token_until: None,
            authorised_since: None,
            authorised_by: None,
            account: None,
            origin: None,
            refresh_until: None,
            refresh_end_reason: None,
            reason: None,
            advice: None,
            advice_name: None,
        };
        let source = match &entry.route {
            Route::Source(source) => source,
            Route::Repair { reason, advice } => {
                let (advice, advice_name) = (Some(advice.to_string()), advice.name().map(str::to_owned));
                return Self { state: Some(State::NeedsRepair), reason: Some(reason.clone()), advice, advice_name, ..bare };
            }
        };
        let (health, expires) = source.look();
        let state = match &health {
            Health::Well => expires.map(|_| State::Ready),
            Health::Failing { trouble, .. } | Health::Probing { trouble, .. } | Health::Stopped { trouble } => {
                Some(state_in(trouble))
            }
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
        let grants = self.granted().await;
        let providers: BTreeMap<String, Provider> =
            self.board().links.values().map(|link| (link.name.to_string(), link.provider)).collect();
        for status in &mut all {
            let Ok(at) = grants.binary_search_by(|grant| grant.mailbox.cmp(&status.mailbox)) else { continue };
            let Granted { origin, account, by, obtained_at, .. } = grants[at].clone();
            status.authorised_since = Some(rfc3339(obtained_at));
            (status.origin, status.account, status.authorised_by) = (Some(origin), account, by);
            let end = providers.get(&status.link).and_then(|provider| expected(&grants[at], *provider));
            (status.refresh_until, status.refresh_end_reason) = end.map(|(at, why)| (rfc3339(at), why)).unzip();
        }
        all
    }
}

pub(super) fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}
