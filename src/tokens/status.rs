//! How a mailbox's grant and access token stand, for the states of mailboxes and links, and for listings.

use chrono::{DateTime, SecondsFormat, Utc};
use std::time::SystemTime;

use super::{Entry, Route, Tokens, ending::expected, source::Key};
use crate::{
    mail::{Advice, Name},
    oauth::{Health, Kind, Trouble},
    provider::Grant,
    store::Granted,
};

/// How a mailbox's grant and access token stand; no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The mailbox.
    pub mailbox: Name,
    /// Its link.
    pub link: Name,
    /// The link's grant.
    pub grant: Option<Grant>,
    /// How renewing goes.
    pub state: State,
    /// When its access token ends; `None` when there is none that lives.
    pub access_token_until: Option<SystemTime>,
    /// Why renewing fails.
    pub failure: Option<RenewalFailure>,
    /// What the store knows of the grant; `None` without one, and where none is needed.
    pub granted: Option<Granted>,
    /// When its refresh token is expected to end, also where each renewal moves that; `None` where it is not known.
    pub refresh_until: Option<SystemTime>,
    /// Why then, in words.
    pub refresh_end_reason: Option<String>,
}

/// Why renewing fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalFailure {
    /// What was tried and what came of it.
    pub reason: String,
    /// What to do about it.
    pub advice: Advice,
    /// Whether every mailbox of the link has it: its OAuth client is what is in trouble.
    pub of_link: bool,
    /// Failures in a row, as far as they count.
    pub tries: u32,
    /// When it is tried again; `None`: not by itself.
    pub next: Option<SystemTime>,
}

/// How renewing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
            mailbox: mailbox.clone(),
            link: entry.link.clone(),
            grant: entry.grant,
            state: State::None,
            access_token_until: None,
            failure: None,
            granted: None,
            refresh_until: None,
            refresh_end_reason: None,
        };
        let source = match &entry.route {
            Route::Source(source) => source,
            Route::Repair { reason, advice } => {
                let (reason, advice) = (reason.clone(), advice.clone());
                let failure = Some(RenewalFailure { reason, advice, of_link: true, tries: 1, next: None });
                return Self { state: State::NeedsRepair, failure, ..bare };
            }
        };
        let (health, expires) = source.look();
        let is_shared = matches!(source.key, Key::Link(_));
        let (state, failure) = match &health {
            Health::Well if expires.is_some() => (State::Ready, None),
            Health::Well => (State::None, None),
            Health::Failing { trouble, tries, next } | Health::Probing { trouble, tries, next } => {
                (trouble.into(), Some(RenewalFailure::of(trouble, is_shared, (*tries, Some(*next)))))
            }
            Health::Stopped { trouble } => (trouble.into(), Some(RenewalFailure::of(trouble, is_shared, (1, None)))),
        };
        Self { state, access_token_until: expires.filter(|expires| *expires > now), failure, ..bare }
    }
}

impl RenewalFailure {
    fn of(trouble: &Trouble, is_shared: bool, (tries, next): (u32, Option<SystemTime>)) -> Self {
        let of_link = trouble.kind == Kind::Configuration || (is_shared && trouble.kind != Kind::Consent);
        Self { reason: trouble.reason.clone(), advice: trouble.advice.clone(), of_link, tries, next }
    }
}

impl Tokens {
    /// [`Tokens::status`], with what the store knows of the grants.
    pub async fn status_with_grants(&self) -> Vec<Status> {
        let mut all = self.status();
        let grants = self.granted().await;
        let board = self.board();
        for status in &mut all {
            let Ok(at) = grants.binary_search_by(|grant| grant.mailbox.as_str().cmp(status.mailbox.as_str())) else { continue };
            let end = board.links.get(&status.link).and_then(|link| expected(&grants[at], link.provider));
            (status.refresh_until, status.refresh_end_reason) = end.unzip();
            status.granted = Some(grants[at].clone());
        }
        all
    }
}

pub(super) fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}
