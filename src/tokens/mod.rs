//! Good access tokens for every mailbox: obtained once however many wait, renewed ahead of need, and never at a grant's cost.
//!
//! Layer 4: HTTP out. What a token endpoint says is read by `oauth`, judged by `provider`; refresh tokens live in `store`.
//!
//! A `Source` makes the tokens of one grant: a mailbox's refresh token, or (client credentials) a link's own right, which all
//! its mailboxes share. A renewal runs in a task of its own: neither a waiter that gives up nor a closed connection can end it
//! between the provider's answer and the moment when a rotated refresh token is durable.

mod background;
mod clients;
mod consent;
mod dates;
mod ending;
mod examine;
mod exchange;
mod proof;
mod renewal;
mod revoke;
mod source;
mod status;
#[cfg(test)]
mod tests;
mod unavailable;

pub use clients::way;
pub use consent::{Candidate, Consent, Origin, Refusal};
pub use ending::Ending;
pub use revoke::Ended;
pub use status::{RenewalFailure, State, Status};
pub use unavailable::{Error, Unavailable};

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    config::{Link, Mailbox, Settings},
    mail::{Advice, Name},
    oauth::{self, Ask, Flight},
    provider::{Grant, own},
    secret::{Ring, Secret},
    store::{self, Granted, NewGrant, Store},
    tls,
};
use clients::{Clients, Hindrance};
use source::{Context, Key, Source};

/// Longest wait for an access token: the token endpoint's 30 seconds and some for the store.
const WAIT: Duration = Duration::from_secs(35);

/// How long a token that replaced a refused one is not replaced in its turn: messages on their way together each find it refused.
const FRESH: Duration = Duration::from_secs(10);

/// How a refresh token that a person brought in is named in the store.
const IMPORT: &str = "import";

/// An access token and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The token.
    pub secret: Secret,
    /// When it ends.
    pub expires: SystemTime,
    /// Which one it is; another number for every token.
    pub stamp: u64,
}

impl From<oauth::Token> for AccessToken {
    fn from(token: oauth::Token) -> Self {
        Self { secret: token.secret, expires: token.expires, stamp: token.stamp }
    }
}

/// What every renewal needs.
struct World {
    store: Store,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    /// Wakes the background: something landed or changed.
    wake: Notify,
    /// Tells those who tell how everything stands.
    changed: watch::Sender<()>,
    readings: proof::Readings,
    dates: dates::Dates,
    /// What the store knew last of the grants.
    granted: Mutex<Arc<[Granted]>>,
}

impl World {
    fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Something landed or changed.
    fn tell(&self) {
        self.wake.notify_one();
        self.changed.send_replace(());
    }
}

/// The access tokens of all mailboxes.
pub struct Tokens {
    world: Arc<World>,
    board: Mutex<Board>,
    /// The renewals in the air; [`Tokens::run`] awaits them at the end.
    flights: Mutex<JoinSet<()>>,
    /// Lives made so far: each begins its stamps at another place, so that no two tokens share one.
    lives: AtomicU64,
}

/// What is configured, and what serves it.
#[derive(Default)]
struct Board {
    mailboxes: BTreeMap<Name, Entry>,
    links: BTreeMap<Name, Arc<Link>>,
    /// Sources that serve no mailbox any more stay while their renewal is in the air, or its refresh token is not kept yet:
    /// beginning anew beside it could spend a one-time refresh token twice.
    sources: BTreeMap<Key, Arc<Source>>,
    /// The ways to the links' endpoints.
    clients: Clients,
}

impl Board {
    /// Lets sources go that serve nobody.
    fn let_go(&mut self) {
        let mailboxes = &self.mailboxes;
        let serves = |source: &Arc<Source>| {
            mailboxes.values().any(|entry| matches!(&entry.route, Route::Source(other) if Arc::ptr_eq(other, source)))
        };
        self.sources.retain(|_, source| source.is_in_flight() || source.has_unsaved() || serves(source));
    }
}

/// One mailbox.
struct Entry {
    link: Name,
    grant: Option<Grant>,
    route: Route,
    last_used: Option<SystemTime>,
    /// The stamp of the token that the upstream last refused.
    refused: Option<u64>,
}

/// Where a mailbox's tokens come from.
#[derive(Clone)]
enum Route {
    Source(Arc<Source>),
    /// Nowhere, as it is configured.
    Repair {
        reason: String,
        advice: Advice,
    },
}

impl Tokens {
    /// No mailboxes yet: [`Tokens::configure`] brings them.
    pub fn new(store: Store) -> Arc<Self> {
        Self::with_clock(store, SystemTime::now)
    }

    /// The keys that open sealed secrets.
    pub fn ring(&self) -> Arc<Ring> {
        self.world.store.ring()
    }

    fn with_clock(store: Store, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::new(World {
                store,
                clock: Box::new(clock),
                wake: Notify::new(),
                changed: watch::Sender::new(()),
                readings: proof::Readings::default(),
                dates: dates::Dates::default(),
                granted: Mutex::new(Arc::from([])),
            }),
            board: Mutex::default(),
            flights: Mutex::default(),
            lives: AtomicU64::new(0),
        })
    }

    /// Takes up the settings, at start and at every reload. Tokens stay where they are still the right ones, and what was wrong
    /// is tried again at once. On an error the old settings stay.
    pub fn configure(&self, settings: &Settings) -> Result<(), tls::Error> {
        let clients = Clients::of(settings, &self.world.store.ring())?;
        let now = self.world.now();
        let mut board = self.board();
        let mut old = std::mem::take(&mut board.mailboxes);
        board.links = settings.links.clone();
        for mailbox in settings.mailboxes.values() {
            let old = old.remove(&mailbox.name);
            self.put(&mut board, &clients, (mailbox, old), Some(now));
        }
        board.clients = clients;
        board.let_go();
        drop(board);
        self.world.tell();
        Ok(())
    }

    /// Takes up one more mailbox of a link that is there.
    pub fn add(&self, mailbox: &Mailbox) {
        let board = &mut *self.board();
        let clients = std::mem::take(&mut board.clients);
        let old = board.mailboxes.remove(&mailbox.name);
        self.put(board, &clients, (mailbox, old), None);
        board.clients = clients;
    }

    /// Forgets a mailbox.
    pub fn remove(&self, mailbox: &Name) {
        let board = &mut *self.board();
        board.mailboxes.remove(mailbox);
        board.let_go();
    }

    fn put(&self, board: &mut Board, clients: &Clients, (mailbox, old): (&Mailbox, Option<Entry>), anew: Option<SystemTime>) {
        let link = board.links.get(&mailbox.link).cloned();
        let grant = link.as_ref().map(|link| link.grant);
        let route = match link.map(|link| (clients.get(&link), link)) {
            Some((Err(Hindrance { reason, advice }), _)) => Route::Repair { reason, advice },
            Some((Ok(http), link)) => {
                let context = Context {
                    link,
                    http,
                    mailbox: mailbox.name.clone(),
                    account: mailbox.account.clone().unwrap_or_else(|| mailbox.address.clone()),
                    user: mailbox.xoauth2_user.clone(),
                };
                Route::Source(self.source(board, context, anew))
            }
            None => Route::Repair {
                reason: format!("link {} is not configured", mailbox.link),
                advice: own::LINK_NOT_CONFIGURED.step_of(&[("link", mailbox.link.as_str()), ("mailbox", mailbox.name.as_str())]),
            },
        };
        let (last_used, refused) = old.map_or((None, None), |old| (old.last_used, old.refused));
        board.mailboxes.insert(mailbox.name.clone(), Entry { link: mailbox.link.clone(), grant, route, last_used, refused });
    }

    /// The source for `context`: the one there is, or a new one. With `anew` the settings are others: it is on new ground where the link
    /// changed.
    fn source(&self, board: &mut Board, context: Context, anew: Option<SystemTime>) -> Arc<Source> {
        let key = match context.link.grant {
            Grant::ClientCredentials => Key::Link(context.link.name.clone()),
            Grant::AuthorizationCode | Grant::DeviceCode | Grant::ServiceAccount => Key::Mailbox(context.mailbox.clone()),
        };
        match board.sources.get(&key) {
            Some(source) => {
                if let Some(now) = anew {
                    source.take_up(context, now);
                }
                source.clone()
            }
            None => {
                let stamp = self.lives.fetch_add(1, Ordering::Relaxed) << 32;
                let source = Arc::new(Source::new(key.clone(), context, stamp));
                board.sources.insert(key, source.clone());
                source
            }
        }
    }

    /// An access token for `mailbox`. Waits up to 35 seconds for a renewal; a token still valid is given at once.
    pub async fn access(&self, mailbox: &Name) -> Result<AccessToken, Unavailable> {
        let until = Instant::now() + WAIT;
        loop {
            let now = self.world.now();
            let (source, refused) = self.enter(mailbox, now)?;
            // Before asking, lest a landing in between is missed.
            let mut landings = source.landings();
            match source.ask(now, refused) {
                Ask::Use(token, flight) => {
                    if let Some(flight) = flight {
                        self.start(source, flight);
                    }
                    return Ok(token.into());
                }
                Ask::Renew(flight) => self.start(source.clone(), flight),
                Ask::Wait => {}
                Ask::Denied(trouble) => return Err(Unavailable::of(trouble, matches!(source.key, Key::Link(_)))),
            }
            if timeout_at(until, landings.changed()).await.is_err() {
                let reason = format!("{} did not answer within {} seconds", source.endpoint(), WAIT.as_secs());
                return Err(Unavailable::Transient { reason, advice: None });
            }
        }
    }

    /// Marks the mailbox as used.
    fn enter(&self, mailbox: &Name, now: SystemTime) -> Result<(Arc<Source>, Option<u64>), Unavailable> {
        let mut board = self.board();
        let entry = board.mailboxes.get_mut(mailbox).ok_or_else(|| Unavailable::NeedsRepair {
            reason: format!("mailbox {mailbox} is not configured"),
            advice: own::MAILBOX_NOT_CONFIGURED.step_of(&[("mailbox", mailbox.as_str())]),
            of_link: false,
        })?;
        entry.last_used = Some(now);
        match entry.route.clone() {
            Route::Source(source) => Ok((source, entry.refused)),
            Route::Repair { reason, advice } => Err(Unavailable::NeedsRepair { reason, advice, of_link: true }),
        }
    }

    fn start(&self, source: Arc<Source>, flight: Flight) {
        let mut flights = self.flights();
        // What has landed leaves the set, which else would grow.
        while flights.try_join_next().is_some() {}
        flights.spawn(renewal::fly(source, self.world.clone(), flight));
    }

    /// The upstream refused this very token: it is renewed once, however many messages say so. Other mailboxes of its link use
    /// it meanwhile; it may be the mailbox that is not permitted. False: it has just replaced another refused one, so that one more
    /// would fare no better.
    pub fn refused(&self, mailbox: &Name, token: &AccessToken) -> bool {
        if let Some(entry) = self.board().mailboxes.get_mut(mailbox) {
            if entry.refused.is_some_and(|refused| refused.checked_add(1) == Some(token.stamp)) && self.is_fresh(entry, token) {
                return false;
            }
            entry.refused = Some(token.stamp);
        }
        self.world.wake.notify_one();
        true
    }

    fn is_fresh(&self, entry: &Entry, token: &AccessToken) -> bool {
        let Route::Source(source) = &entry.route else { return false };
        let current = source.token().filter(|current| current.stamp == token.stamp);
        let age = current.map(|current| self.world.now().duration_since(current.obtained).unwrap_or_default());
        age.is_some_and(|age| age < FRESH)
    }

    /// Keeps `refresh_token`, which `by` brought in, as the mailbox's grant; durable when it returns. It is tried at the next use, at once where
    /// [`Tokens::run`] runs. The token before it is kept beside.
    pub async fn import(&self, mailbox: &Name, refresh_token: Secret, by: Option<String>) -> Result<(), Error> {
        oauth::check_token(refresh_token.expose(), "refresh token").map_err(|why| Error::NoToken { why })?;
        let source = self.with_consent(mailbox)?;
        let client = Some(client_of(&source.context().link));
        let grant = NewGrant { client, by: by.clone(), ..NewGrant::new(refresh_token, IMPORT) };
        self.world.store.put_grant(mailbox, grant, self.world.now()).await?;
        source.new_grant(None, self.world.now());
        self.world.tell();
        tracing::info!(event = "grant.imported", mailbox = %mailbox, link = %source.link(), by, "a refresh token was brought in");
        Ok(())
    }

    /// The source of a mailbox whose tokens come of a person's consent.
    fn with_consent(&self, mailbox: &Name) -> Result<Arc<Source>, Error> {
        let board = self.board();
        let entry = board.mailboxes.get(mailbox).ok_or_else(|| Error::UnknownMailbox { mailbox: mailbox.clone() })?;
        match (&entry.route, entry.grant) {
            (Route::Source(source), Some(Grant::AuthorizationCode | Grant::DeviceCode)) => Ok(source.clone()),
            _ => {
                let grant = entry.grant.map_or("unknown".to_owned(), |grant| grant.to_string());
                Err(Error::OtherGrant { mailbox: mailbox.clone(), link: entry.link.clone(), grant })
            }
        }
    }

    /// How each mailbox stands; no secrets.
    pub fn status(&self) -> Vec<Status> {
        let now = self.world.now();
        self.board().mailboxes.iter().map(|(name, entry)| Status::of(name, entry, now)).collect()
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flights(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("mailboxes", &self.board().mailboxes.len()).finish_non_exhaustive()
    }
}

/// The client of a link, as a grant remembers it. Paths and ports do not count: a tenant's address is a matter of taste.
fn client_of(link: &Link) -> String {
    format!("{} at {}", link.client_id, link.token_endpoint.host_str().unwrap_or_default())
}

/// Whether `grant` may be shown to the server of `link`, as far as it is known.
fn was_given_to(grant: &store::Grant, link: &Link) -> bool {
    grant.client.as_ref().is_none_or(|client| *client == client_of(link))
}

/// Whether another configuration of a link, or another user, makes another token.
fn same_tokens(one: &Context, other: &Context) -> bool {
    let parts = |Context { link, user, .. }: &Context| {
        let user = (link.grant == Grant::ServiceAccount).then(|| user.clone());
        (link.provider, link.cloud, link.grant, link.tenant.clone(), link.client_id.clone(), user)
    };
    let asked = |Context { link, .. }: &Context| (link.scopes.clone(), link.token_endpoint.clone(), link.parameters.clone());
    parts(one) == parts(other) && asked(one) == asked(other)
}
