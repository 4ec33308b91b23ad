//! What makes the access tokens of one grant: the life of the current one, and what is remembered between renewals.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::sync::watch;

use super::{
    examine::{Wish, wish},
    exchange::Http,
};
use crate::{
    config::{Evidence, Link},
    mail::{Address, Name},
    oauth::{
        Ask, Flight, Health, Landing, Life, Token, Trouble,
        forecast::{DAY, Known},
    },
    provider,
    secret::Secret,
    store::Version,
};

/// How long a mailbox counts as used after its last use: its token is renewed ahead of need.
pub(super) const USED: Duration = Duration::from_secs(24 * 3600);

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// The link's own: client credentials.
    Link(Name),
    /// The mailbox's: a refresh token.
    Mailbox(Name),
}

/// What a renewal is made with.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) link: Arc<Link>,
    pub(super) http: Http,
    /// The mailbox; for a link's own token one of those that use it, to be named in advice.
    pub(super) mailbox: Name,
    /// Whose consent it is, where the grant is a person's.
    pub(super) account: Address,
    /// Whom a service account acts for: the XOAUTH2 user.
    pub(super) user: String,
}

/// A refresh token that the provider gave and the store did not take yet, with the access token that must wait for it.
#[derive(Debug)]
pub(super) struct Unsaved {
    pub(super) expected: Version,
    pub(super) refresh_token: Secret,
    pub(super) token: Token,
    /// For whom the access token was made: it serves nobody else.
    pub(super) context: Context,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) key: Key,
    inner: Mutex<Inner>,
    landed: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    life: Life,
    context: Context,
    /// What proved the client last.
    evidence: Option<Evidence>,
    /// The refresh token last tried.
    tried: Option<Version>,
    unsaved: Option<Unsaved>,
    /// The last renewal that anybody knows of, in the store too.
    renewed: Option<SystemTime>,
    /// What is known of the refresh token.
    known: Option<Known>,
    /// Whether the store was asked for these.
    asked_store: bool,
}

impl Inner {
    /// How long after a renewal the next one is due that nobody asks for.
    fn pause(&self) -> Duration {
        let facts = provider::refresh_tokens(self.context.link.provider);
        self.known.map_or(DAY, |known| known.pause(&facts))
    }

    /// Whether the last renewal was so long ago; one in the future tells of a clock that was wrong.
    fn is_due_unused(&self, now: SystemTime) -> bool {
        let pause = self.pause();
        self.renewed.is_none_or(|renewed| now.duration_since(renewed).unwrap_or_else(|ahead| ahead.duration()) >= pause)
    }
}

impl Source {
    pub(super) fn new(key: Key, context: Context, stamp: u64) -> Self {
        let inner = Inner {
            life: Life::new(stamp),
            context,
            evidence: None,
            tried: None,
            unsaved: None,
            renewed: None,
            known: None,
            asked_store: false,
        };
        Self { key, inner: Mutex::new(inner), landed: watch::Sender::new(()) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settings were loaded again: what was wrong is tried at once, and a token for another client or scope is dropped.
    pub(super) fn take_up(&self, context: Context, now: SystemTime) {
        let mut inner = self.inner();
        let same = inner.context.link == context.link && inner.context.user == context.user;
        match (same, super::same_tokens(&inner.context, &context)) {
            (true, _) => inner.life.retry_now(now),
            (false, keep_token) => inner.life.renew_ground(keep_token),
        }
        inner.context = context;
    }

    /// Another refresh token is in the store. An access token that came with it serves from now on.
    pub(super) fn new_grant(&self, with: Option<(Token, Version)>, now: SystemTime) {
        let mut inner = self.inner();
        inner.life.renew_ground(false);
        (inner.tried, inner.renewed, inner.known, inner.asked_store) = (None, None, None, true);
        // While a renewal of the old grant is in the air, the new one makes its own access token after it.
        let Some((token, version)) = with else { return };
        if let Some(flight) = inner.life.begin(now)
            && inner.life.land(flight, Ok(token), now, 0.0) == Landing::Renewed
        {
            (inner.tried, inner.renewed) = (Some(version), Some(now));
        }
        drop(inner);
        self.landed.send_replace(());
    }

    pub(super) fn ask(&self, now: SystemTime, refused: Option<u64>) -> Ask {
        self.inner().life.ask(now, refused)
    }

    /// Begins a renewal that a person wants now.
    pub(super) fn wish(&self, now: SystemTime) -> Wish {
        wish(&mut self.inner().life, now)
    }

    /// The last token, whether it is of use or not.
    pub(super) fn token(&self) -> Option<Token> {
        self.inner().life.token().cloned()
    }

    pub(super) fn landings(&self) -> watch::Receiver<()> {
        self.landed.subscribe()
    }

    pub(super) fn land(&self, flight: Flight, result: Result<Token, Trouble>, now: SystemTime) -> Landing {
        let mut inner = self.inner();
        let landing = inner.life.land(flight, result, now, chance());
        if landing == Landing::Renewed {
            inner.renewed = Some(now);
        }
        drop(inner);
        self.landed.send_replace(());
        landing
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.inner().life.is_in_flight()
    }

    pub(super) fn context(&self) -> Context {
        self.inner().context.clone()
    }

    pub(super) fn link(&self) -> Name {
        self.inner().context.link.name.clone()
    }

    /// The token endpoint as messages name it: without user, password and query.
    pub(super) fn endpoint(&self) -> String {
        let mut url = self.inner().context.link.token_endpoint.clone();
        let _ = (url.set_username(""), url.set_password(None));
        url.set_query(None);
        format!("token endpoint {url}")
    }

    /// Health and the token's end.
    pub(super) fn look(&self) -> (Health, Option<SystemTime>) {
        let inner = self.inner();
        (inner.life.health().clone(), inner.life.token().map(|token| token.expires))
    }

    /// The stamp of the last token.
    pub(super) fn stamp(&self) -> u64 {
        self.inner().life.stamp()
    }

    pub(super) fn remember_evidence(&self, evidence: Option<Evidence>) {
        self.inner().evidence = evidence;
    }

    pub(super) fn remember_tried(&self, version: Option<Version>) {
        self.inner().tried = version;
    }

    pub(super) fn keep_unsaved(&self, unsaved: Unsaved) {
        self.inner().unsaved = Some(unsaved);
    }

    pub(super) fn has_unsaved(&self) -> bool {
        self.inner().unsaved.is_some()
    }

    pub(super) fn take_unsaved(&self) -> Option<Unsaved> {
        self.inner().unsaved.take()
    }

    /// Whether another thing proves the client than last time; then what it stopped is tried at once.
    pub(super) fn note_evidence(&self, evidence: Option<&Evidence>, now: SystemTime) {
        let mut inner = self.inner();
        if inner.evidence.as_ref() != evidence {
            inner.life.retry_now(now);
        }
    }

    /// The store's refresh token; where it is another than the one last tried, a stopped source begins again.
    pub(super) fn note_stored(&self, version: Option<Version>) {
        let mut inner = self.inner();
        if inner.tried != version && matches!(inner.life.health(), Health::Stopped { .. }) {
            inner.life.renew_ground(true);
            inner.tried = version;
        }
    }

    /// What the store knows of the grant, of an earlier process.
    pub(super) fn note_grant(&self, known: Option<Known>) {
        let mut inner = self.inner();
        inner.asked_store = true;
        inner.renewed = inner.renewed.max(known.and_then(|known| known.renewed));
        inner.known = inner.known.or(known);
    }

    /// What is known of the refresh token since a renewal.
    pub(super) fn note_known(&self, known: Known) {
        self.inner().known = Some(known);
    }

    pub(super) fn knows_last_renewal(&self) -> bool {
        matches!(self.key, Key::Link(_)) || self.inner().asked_store
    }

    /// Begins what is due in the background: the renewal ahead of need where the token is in use, and whatever keeps the refresh
    /// token from dying unused.
    pub(super) fn begin_background(&self, now: SystemTime, used: bool, refused: Option<u64>) -> Option<Flight> {
        let mut inner = self.inner();
        let wanted = used && inner.life.wants_renewal(now, refused) || inner.is_due_unused(now);
        wanted.then(|| inner.life.begin(now)).flatten()
    }

    /// When the background has something to do next; `None` while a renewal is in the air or nothing helps.
    pub(super) fn due(&self, used: bool) -> Option<SystemTime> {
        let inner = self.inner();
        let unused = inner.life.allowed()?.max(inner.renewed.map_or(SystemTime::UNIX_EPOCH, |renewed| renewed + inner.pause()));
        if used { Some(unused.min(inner.life.due()?)) } else { Some(unused) }
    }
}

/// A number from 0 to 1, by chance. Without a source of chance there is no jitter, which only costs evenness.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
