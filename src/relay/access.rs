//! Which app is speaking: by password or by address.
//!
//! A password costs 16 ms of one core and 19 MiB (argon2id). So one thread of its own verifies, and a login that succeeded is
//! remembered for a while. A wrong one is answered after a growing delay, the same for names that do not exist.

use crate::{
    config::{App, Auth, Listener, Settings},
    listener::Peer,
    secret::{Memory, PasswordHash, Recent, Secret},
    smtp::{Reply, server::authentication_failed},
};
use ipnet::IpNet;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Logins that wait for their verification. At 60 a second the last of them waits a second.
const MOST_WAITING: usize = 64;

/// Longest wait for a verification; beyond it the app hears `454` and tries again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Delay after the first failure from an address; doubles up to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(8);

/// Failures are forgotten after this time without another.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Addresses whose failures are remembered.
const MOST_ADDRESSES: usize = 10_000;

#[derive(Debug)]
pub(super) struct Access {
    recent: Recent,
    /// By address; all that have none count together.
    failures: Mutex<HashMap<Option<IpAddr>, (u32, Instant)>>,
    verifier: mpsc::Sender<Login>,
}

/// A login to be verified.
struct Login {
    hashes: Vec<PasswordHash>,
    /// The most hashes that any app has: a failure takes as long as that many, whoever it was.
    rounds: usize,
    password: Secret,
    tell: oneshot::Sender<(Option<PasswordHash>, Secret)>,
}

impl Access {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { recent: Recent::new(&key), failures: Mutex::default(), verifier: verifier() }
    }

    /// The app with this user name and password; logs and delays a failure.
    pub(super) async fn by_password(
        &self,
        settings: &Settings,
        listener: &Listener,
        (peer, user): (&Peer, &str),
        password: Secret,
    ) -> Result<Arc<App>, Reply> {
        let wanted = user.to_lowercase();
        let app = settings.apps.values().find(|app| app.user == wanted);
        if let Some(app) = app
            && self.remembers(app, &password)
        {
            return Ok(app.clone());
        }
        let Some((found, password)) = self.verify(settings, app, password).await else {
            tracing::warn!(client = peer.source(), listener = %listener.name, "too many logins at once: an app was told to try again");
            return Err(Reply::new(454, Some((7, 0)), "too many logins at once, try again later"));
        };
        if let (Some(app), Some(hash)) = (app, found) {
            self.recent.remember(app.name.as_str(), &hash, &password, Instant::now());
            return Ok(app.clone());
        }
        let delay = self.delay(peer.address, Instant::now());
        let shown: String = user.chars().filter(|c| !c.is_control()).take(64).collect();
        tracing::warn!(event = "auth.failed", client = peer.source(), user = ?shown, listener = %listener.name,
            "authentication failed: unknown user or wrong password; `outlink app hash` makes a new hash for the app's password key");
        tokio::time::sleep(delay).await;
        Err(authentication_failed())
    }

    fn remembers(&self, app: &App, password: &Secret) -> bool {
        let now = Instant::now();
        app.passwords.iter().any(|hash| self.recent.knows(app.name.as_str(), hash, password, now))
    }

    /// The hash that the password matches, and the password back. An unknown name costs the same as a known one.
    async fn verify(
        &self,
        settings: &Settings,
        app: Option<&Arc<App>>,
        password: Secret,
    ) -> Option<(Option<PasswordHash>, Secret)> {
        let hashes = app.map(|app| app.passwords.clone()).unwrap_or_default();
        let rounds = settings.apps.values().map(|app| app.passwords.len()).max().unwrap_or_default().max(1);
        let (tell, told) = oneshot::channel();
        let verified = async {
            self.verifier.send(Login { hashes, rounds, password, tell }).await.ok()?;
            told.await.ok()
        };
        timeout(LONGEST_WAIT, verified).await.ok()?
    }

    /// How long a failure from `peer` is to be answered late.
    fn delay(&self, peer: Option<IpAddr>, now: Instant) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST_ADDRESSES {
            failures.retain(|_, (_, last)| now.duration_since(*last) < MEMORY);
        }
        if failures.len() >= MOST_ADDRESSES {
            return LONGEST_DELAY;
        }
        let (times, last) = failures.entry(peer).or_insert((0, now));
        if now.duration_since(*last) >= MEMORY {
            *times = 0;
        }
        *times += 1;
        *last = now;
        LONGEST_DELAY.min(FIRST_DELAY * 2u32.saturating_pow(*times - 1))
    }
}

/// The thread that verifies, with memory of its own; it ends with its sender.
fn verifier() -> mpsc::Sender<Login> {
    let (sender, mut logins) = mpsc::channel::<Login>(MOST_WAITING);
    let verify = move || {
        let mut memory = Memory::default();
        while let Some(Login { hashes, rounds, password, tell }) = logins.blocking_recv() {
            let found = PasswordHash::find(&hashes, &password, rounds, &mut memory).cloned();
            // An app that no longer waits has been told that it failed.
            let _ = tell.send((found, password));
        }
    };
    let thread = std::thread::Builder::new().name("passwords".to_owned()).spawn(verify);
    thread.expect("the process may start one more thread while it starts");
    sender
}

/// The app that `peer` proves by what it is: the one whose network is the most specific.
pub(super) fn known(settings: &Settings, listener: &Listener, peer: &Peer) -> Option<Arc<App>> {
    if listener.auth == Auth::Required {
        return None;
    }
    let address = peer.address?;
    let prefix = |app: &App| app.networks.iter().filter(|network| network.contains(&address)).map(IpNet::prefix_len).max();
    let known = settings.apps.values().filter_map(|app| Some((prefix(app)?, app)));
    known.max_by_key(|(prefix, _)| *prefix).map(|(_, app)| app.clone())
}
