//! Which app is speaking: by password, or by what its connection shows: certificate, user of this machine, address.
//!
//! A password costs 16 ms of one core and 19 MiB (argon2id). So one thread of its own verifies, and a login that succeeded is
//! remembered for a while. A wrong one is answered after a growing delay, the same for names that do not exist, and counts
//! (`guesses`).

use super::{
    guesses::{Guesses, Origin},
    routing::gone,
    rules,
    turns::Turns,
};
use crate::{
    config::{App, Auth, ClientCertificate, Listener, Settings, is_of_drops},
    listener::{Login, Peer, PeerCertificate, Submission},
    queue::Proof,
    secret::{Memory, PasswordHash, Recent, Secret},
    smtp::{Reply, server::authentication_failed},
};
use ipnet::IpNet;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Logins that wait for their verification, a few of each source. At 60 a second the last of them waits a second.
const MOST_WAITING: usize = 64;

/// Longest wait for a verification; beyond it the app hears `454` and tries again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Access {
    recent: Recent,
    guesses: Guesses,
    turns: Turns,
    verifier: mpsc::Sender<Waiting>,
}

/// A login to be verified.
struct Waiting {
    hashes: Vec<PasswordHash>,
    /// The most hashes that any app has: a failure takes as long as that many, whoever it was.
    rounds: usize,
    password: Secret,
    tell: oneshot::Sender<(Option<PasswordHash>, Secret)>,
}

impl Access {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { recent: Recent::new(&key), guesses: Guesses::default(), turns: Turns::default(), verifier: verifier() }
    }

    /// The app with this user name and password; logs and delays a failure.
    pub(super) async fn by_password(
        &self,
        settings: &Settings,
        listener: &Listener,
        (peer, user): (&Peer, &str),
        password: Secret,
    ) -> Result<Login, Reply> {
        let wanted = user.to_lowercase();
        let app = settings.apps.values().find(|app| app.user == wanted);
        if let Some(app) = app
            && let Some(hash) = self.remembers(app, &password)
        {
            return admitted(app, hash, (listener, peer));
        }
        let origin = Origin::new(peer.proven(), peer.local.map(|local| local.uid));
        if let Some(wait) = self.guesses.refused(origin, &wanted, Instant::now()) {
            let seconds = wait.as_secs() + 1;
            tracing::debug!(client = peer.source(), listener = %listener.name, seconds, "a login is refused: too many failed before");
            return Err(Reply::new(454, Some((7, 0)), format!("too many failed logins, come again in {seconds} s")));
        }
        let Some((found, password)) = self.verify(settings, app, password, origin).await else {
            tracing::warn!(client = peer.source(), listener = %listener.name, "too many logins at once: an app was told to try again");
            return Err(Reply::new(454, Some((7, 0)), "too many logins at once, try again later"));
        };
        if let (Some(app), Some(hash)) = (app, found) {
            self.recent.remember(app.name.as_str(), &hash, &password, Instant::now());
            self.guesses.succeeded(origin, &wanted, Instant::now());
            return admitted(app, &hash, (listener, peer));
        }
        let failed = self.guesses.failed(origin, &wanted, Instant::now());
        if let Some(count) = failed.told {
            let shown: String = user.chars().filter(|c| !c.is_control()).take(64).collect();
            tracing::warn!(event = "auth.failed", client = peer.source(), user = ?shown, listener = %listener.name, count,
                "authentication failed: unknown user or wrong password; `outlink app hash` makes a new hash for the app's password key");
        }
        tokio::time::sleep(failed.delay).await;
        Err(authentication_failed())
    }

    fn remembers<'a>(&self, app: &'a App, password: &Secret) -> Option<&'a PasswordHash> {
        let now = Instant::now();
        app.passwords.iter().find(|hash| self.recent.knows(app.name.as_str(), hash, password, now))
    }

    /// The hash that the password matches, and the password back. An unknown name costs the same as a known one.
    async fn verify(
        &self,
        settings: &Settings,
        app: Option<&Arc<App>>,
        password: Secret,
        origin: Origin,
    ) -> Option<(Option<PasswordHash>, Secret)> {
        let hashes = app.map(|app| app.passwords.clone()).unwrap_or_default();
        let rounds = settings.apps.values().map(|app| app.passwords.len()).max().unwrap_or_default().max(1);
        let (tell, told) = oneshot::channel();
        let verified = async {
            let _turn = self.turns.take(origin).await;
            self.verifier.send(Waiting { hashes, rounds, password, tell }).await.ok()?;
            told.await.ok()
        };
        timeout(LONGEST_WAIT, verified).await.ok()?
    }
}

/// An app whose password was right, unless it is switched off.
fn admitted(app: &Arc<App>, hash: &PasswordHash, (listener, peer): (&Listener, &Peer)) -> Result<Login, Reply> {
    rules::may_log_in(app).map(|()| Login { app: app.clone(), hash: hash.clone() }).inspect_err(|_| {
        tracing::warn!(event = "app.refused", app = %app.name, client = peer.source(), listener = %listener.name,
            "an app logged in that is switched off; enabled = true lets it send again");
    })
}

/// The thread that verifies, with memory of its own; it ends with its sender.
fn verifier() -> mpsc::Sender<Waiting> {
    let (sender, mut logins) = mpsc::channel::<Waiting>(MOST_WAITING);
    let verify = move || {
        let mut memory = Memory::default();
        while let Some(Waiting { hashes, rounds, password, tell }) = logins.blocking_recv() {
            let found = PasswordHash::find(&hashes, &password, rounds, &mut memory).cloned();
            // An app that no longer waits has been told that it failed.
            let _ = tell.send((found, password));
        }
    };
    let thread = std::thread::Builder::new().name("passwords".to_owned()).spawn(verify);
    thread.expect("the process may start one more thread while it starts");
    sender
}

/// The app that `peer` proves by what it is: its certificate, else its user on this machine, else the most specific network.
pub(super) fn known(settings: &Settings, listener: &Listener, peer: &Peer) -> Option<Arc<App>> {
    if listener.auth == Auth::Required {
        return None;
    }
    let apps = || settings.apps.values();
    let by_certificate = || {
        let shown = peer.certificate.as_ref()?;
        // The certificate itself before a name in it, and names in the order of the certificate.
        let whole = apps().find(|app| app.certificates.contains(&ClientCertificate::Fingerprint(shown.sha256.clone())));
        whole.or_else(|| names(shown).find_map(|name| apps().find(|app| app.certificates.contains(&name))))
    };
    let by_user = || {
        let uid = peer.local?.uid;
        apps().find(|app| app.unix_users.iter().any(|user| user.uid == Some(uid)))
    };
    let by_address = || {
        let address = peer.proven()?;
        let prefix = |app: &App| app.networks.iter().filter(|network| network.contains(&address)).map(IpNet::prefix_len).max();
        let known = apps().filter_map(|app| Some((prefix(app)?, app)));
        known.max_by_key(|(prefix, _)| *prefix).map(|(_, app)| app)
    };
    by_certificate().or_else(by_user).or_else(by_address).cloned()
}

/// Whether `peer` is still `app`, as it was when its session began: a password that was changed, or a network that was taken away, is not
/// good for another message.
pub(super) fn still(
    settings: &Settings,
    listener: &Listener,
    (peer, app): (&Peer, &App),
    hash: Option<&PasswordHash>,
) -> Result<(), Reply> {
    let Some(current) = settings.apps.get(&app.name) else { return Err(gone()) };
    let (is_so, what) = match hash {
        Some(hash) => (current.passwords.contains(hash), "the password of this login is no longer valid"),
        None => {
            let known = known(settings, listener, peer);
            (known.is_some_and(|known| known.name == app.name), "what proved this application does so no longer")
        }
    };
    if is_so {
        return Ok(());
    }
    tracing::warn!(event = "app.refused", app = %app.name, client = peer.source(), listener = %listener.name,
        "a connection was closed: {what} since the configuration was changed");
    Err(Reply::new(421, Some((7, 0)), format!("{what}: connect again")))
}

/// How the app of a message proved itself: what [`known`] goes by, in its order.
pub(super) fn proof(submission: &Submission) -> Option<Proof> {
    if submission.by_password { Some(Proof::Password) } else { shown(&submission.app, &submission.listener, &submission.peer) }
}

fn shown(app: &App, listener: &Listener, peer: &Peer) -> Option<Proof> {
    let shows_certificate = || {
        let shown = peer.certificate.as_ref()?;
        let whole = ClientCertificate::Fingerprint(shown.sha256.clone());
        (app.certificates.contains(&whole) || names(shown).any(|name| app.certificates.contains(&name))).then_some(())
    };
    let is_user = |uid: u32| app.unix_users.iter().any(|user| user.uid == Some(uid));
    match peer.address {
        _ if shows_certificate().is_some() => Some(Proof::Certificate),
        _ if peer.local.is_some_and(|local| is_user(local.uid)) => match is_of_drops(listener) {
            true => Some(Proof::DroppedFile),
            false => Some(Proof::UnixUser),
        },
        address => address.map(|_| Proof::Network),
    }
}

fn names(certificate: &PeerCertificate) -> impl Iterator<Item = ClientCertificate> {
    certificate.names.iter().map(|name| ClientCertificate::Name(name.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, Variables},
        listener::UnixPeer,
    };

    const APPS: &str = "
[listener.local]
auth = \"optional\"
[app.wide]
networks = [\"10.0.0.0/8\", \"10.1.2.0/24\"]
mailbox = \"m\"
[app.narrow]
networks = [\"10.1.2.3\", \"fd00::/32\"]
mailbox = \"m\"
[app.middle]
networks = [\"10.1.0.0/16\"]
mailbox = \"m\"
[app.web]
unix-user = [\"33\", \"1033\"]
mailbox = \"m\"
[app.whole]
certificate = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"
mailbox = \"m\"
[app.named]
certificate = [\"Scanner.contoso.com\", \"ops@contoso.com\"]
mailbox = \"m\"
[mailbox.m]
link = \"l\"
address = \"m@example.com\"
[link.l]
provider = \"google\"
grant = \"authorization-code\"
client-id = \"c\"
";

    fn peer(address: Option<&str>, uid: Option<u32>, certificate: Option<(char, &[&str])>) -> Peer {
        Peer {
            address: address.map(|address| address.parse().unwrap()),
            is_told: false,
            shown: String::new(),
            local: uid.map(|uid| UnixPeer { uid, gid: 1, pid: None }),
            certificate: certificate.map(|(digit, names)| PeerCertificate {
                sha256: digit.to_string().repeat(64),
                names: names.iter().map(|&name| name.to_owned()).collect(),
            }),
            encrypted: certificate.is_some(),
        }
    }

    #[test]
    fn certificate_then_user_then_the_most_specific_network_says_who_it_is() {
        let (settings, _) = config::parse(APPS, &Variables::new()).unwrap();
        let listener = settings.listeners.values().next().unwrap();
        for (peer, expected) in [
            (peer(Some("10.9.9.9"), None, None), Some("wide")),
            (peer(Some("10.1.2.3"), None, None), Some("narrow")),
            (peer(Some("10.1.2.4"), None, None), Some("wide")),
            (peer(Some("10.1.9.9"), None, None), Some("middle")),
            (peer(Some("fd00::1"), None, None), Some("narrow")),
            (peer(Some("192.0.2.1"), None, None), None),
            (peer(None, None, None), None),
            (peer(None, Some(33), None), Some("web")),
            (peer(None, Some(1033), None), Some("web")),
            (peer(None, Some(0), None), None),
            (peer(Some("10.1.2.3"), None, Some(('0', &[]))), Some("whole")),
            (peer(Some("10.1.2.3"), None, Some(('0', &["scanner.contoso.com"]))), Some("whole")),
            (peer(Some("192.0.2.1"), None, Some(('1', &["x", "SCANNER.contoso.com"]))), Some("named")),
            (peer(None, Some(33), Some(('1', &["ops@contoso.com"]))), Some("named")),
            // A certificate of nobody leaves the rest as it is.
            (peer(Some("10.1.2.3"), None, Some(('1', &["evil.scanner.contoso.com"]))), Some("narrow")),
        ] {
            let found = known(&settings, listener, &peer).map(|app| app.name.to_string());
            assert_eq!(found.as_deref(), expected, "{peer:?}");
        }
        let proof = |app: &str, peer: Peer| shown(&settings.apps[&crate::mail::Name::parse(app).unwrap()], listener, &peer);
        let drops = config::of_drops().unwrap();
        for (app, peer, expected) in [
            ("narrow", peer(Some("10.1.2.3"), None, None), Some(Proof::Network)),
            ("narrow", peer(Some("10.1.2.3"), None, Some(('1', &["x"]))), Some(Proof::Network)),
            ("web", peer(None, Some(33), None), Some(Proof::UnixUser)),
            ("web", peer(None, None, None), None),
            ("whole", peer(Some("10.1.2.3"), None, Some(('0', &[]))), Some(Proof::Certificate)),
            ("named", peer(None, Some(33), Some(('1', &["OPS@contoso.com"]))), Some(Proof::Certificate)),
        ] {
            assert_eq!(proof(app, peer), expected, "{app}");
        }
        let web = &settings.apps[&crate::mail::Name::parse("web").unwrap()];
        assert_eq!(shown(web, &drops, &peer(None, Some(33), None)), Some(Proof::DroppedFile));
        let strict = Listener { auth: Auth::Required, ..Listener::clone(listener) };
        assert!(known(&settings, &strict, &peer(Some("10.1.2.3"), Some(33), Some(('0', &[])))).is_none());
    }
}
