//! From settings to a running daemon. Each step can fail for a reason that an administrator can mend, so each says which.

use super::{
    Daemon, browsers, certificates,
    hostname::{Found, find},
    listeners::{Kit, Listeners, Unready},
    tasks::Tasks,
};
use crate::{
    admin::{self, Control},
    config::Settings,
    doctor::Doctor,
    dropbox::Dropbox,
    listener::{self, Passed},
    notify,
    queue::Queue,
    relay::{Parts, Relay},
    store::{self, Starting, Store},
    tls,
    tokens::Tokens,
    upstream::Upstream,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::{mpsc, watch};

/// Open files besides the connections of apps: the store, connections to providers, messages in files.
const FILES_BESIDE: u64 = 512;

/// Requests over the control socket that wait for the daemon's attention.
const MOST_REQUESTS: usize = 16;

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Sealed values of the configuration do not open.
    #[error("{}", .0.join("\n"))]
    Unopened(Vec<String>),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A listener's certificate cannot be used.
    #[error("cannot use the certificate: {0}")]
    Certificate(String),
    /// A listener has no socket.
    #[error(transparent)]
    Listen(#[from] listener::BindError),
    /// No randomness, no host name.
    #[error("cannot start: {0}")]
    System(String),
}

/// Starts a daemon with the settings that `file` gave, and the sockets that systemd passed.
pub async fn start(file: PathBuf, settings: Settings, passed: Passed) -> Result<Daemon, StartError> {
    allow_files(&settings);
    let settings = Arc::new(settings);
    let starting = Starting::tell(&settings.state_directory);
    let store = open_store(&settings).await?;
    drop(starting);
    let unopened = settings.unopened(&store.ring());
    if !unopened.is_empty() {
        return Err(StartError::Unopened(unopened));
    }
    let hostname: Arc<str> = own_name(&settings)?.into();
    let mut listeners = Listeners::new(passed);
    let prepared = listeners.prepare(&settings).await.map_err(|error| match error {
        Unready::Certificate(why) => StartError::Certificate(why),
        Unready::Socket(error) => StartError::Listen(error),
    })?;
    let spool = store.spool();
    let (own_hostname, drops) = (hostname.clone(), store.clone());
    let Assembled { relay, queue, tokens, upstream } = assemble(&settings, store.clone(), hostname.clone()).await?;

    let (stop, stopped) = watch::channel(false);
    let (end, ended) = watch::channel(false);
    let (mut accepting, mut serving) = (Tasks::default(), Tasks::default());
    let kit = Kit { relay: relay.clone(), spool: spool.clone(), hostname: hostname.clone(), stop: stopped.clone() };
    listeners.take_up(prepared, &kit, &mut accepting).await;
    let (ask, requests) = mpsc::channel(MOST_REQUESTS);
    let path = admin::socket_path(&settings.state_directory, std::env::var("RUNTIME_DIRECTORY").ok().as_deref());
    // Bound before anybody hears that we are ready: commands may come at once.
    match admin::Socket::bind(&path, settings.control_group.as_deref()) {
        Ok(socket) => {
            let listeners = listeners.shown();
            let (relay, tokens, store) = (relay.clone(), tokens.clone(), store.clone());
            let doctor = Arc::new(Doctor::new(relay.clone()));
            let control = Control { relay, tokens, doctor, store, hostname, listeners, requests: ask };
            serving.spawn("control socket", socket.serve(Arc::new(control), ended.clone()));
        }
        Err(error) => {
            tracing::error!(%error, socket = %path.display(), "no control socket: mail flows, but commands cannot reach this daemon");
        }
    }
    let (configured, changed) = watch::channel(());
    // Before anything goes out that could change a state.
    serving.spawn("hooks", notify::run(relay.clone(), relay.changes(), changed.clone(), ended.clone()));
    serving.spawn("listener for logins", browsers::listen(relay.clone(), changed, ended.clone()));
    let directory = settings.drop.clone();
    let drops = Dropbox { directory, relay: relay.clone(), store: drops, spool: spool.clone(), hostname: own_hostname };
    accepting.spawn("drop directory", drops.run(stopped.clone()));
    serving.spawn("renewals", tokens.clone().run(stopped.clone(), ended.clone()));
    serving.spawn("connections", upstream.run(ended.clone()));
    serving.spawn("certificates", certificates::watch(listeners.shown(), ended.clone()));
    serving.spawn("queue", queue.run(ended.clone()));
    serving.spawn("states", relay.clone().watch(ended.clone()));
    serving.spawn("holds and counters", relay.clone().keep(ended));
    serving.spawn("dispatcher", relay.clone().dispatch(stopped));
    Ok(Daemon { file, settings, store, tokens, relay, listeners, kit, requests, configured, stop, end, accepting, serving })
}

/// What belongs together in a process, whether it runs as the daemon or was opened for one command.
struct Assembled {
    relay: Arc<Relay>,
    queue: Arc<Queue>,
    tokens: Arc<Tokens>,
    upstream: Arc<Upstream>,
}

/// Puts the parts together around an open store, and brings back what an earlier process left.
async fn assemble(settings: &Arc<Settings>, store: Store, hostname: Arc<str>) -> Result<Assembled, StartError> {
    let mut octets = [0; 36];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| StartError::System("the system gives no random bytes".to_owned()))?;
    let [a, b, c, d, key @ ..] = octets;
    let queue = Queue::new(store.clone(), settings.queue.clone(), u32::from_le_bytes([a, b, c, d]));
    let tokens = Tokens::new(store);
    tokens.configure(settings)?;
    let upstream = Upstream::new(hostname.to_string());
    let parts = Parts { hostname, queue: queue.clone(), tokens: tokens.clone(), upstream: upstream.clone(), key };
    let relay = Relay::new(settings.clone(), parts);
    relay.restore().await?;
    relay.fit_to_settings().await;
    Ok(Assembled { relay, queue, tokens, upstream })
}

/// Opens everything for one command while no daemon runs: nothing is accepted, nothing goes out.
pub async fn open(settings: Settings) -> Result<Arc<Relay>, StartError> {
    let settings = Arc::new(settings);
    let store = open_store(&settings).await?;
    let hostname = own_name(&settings)?.into();
    Ok(assemble(&settings, store, hostname).await?.relay)
}

/// Opens the store beside the runtime: it waits for a running command to let go.
async fn open_store(settings: &Settings) -> Result<Store, StartError> {
    let (directory, needed) = (settings.state_directory.clone(), settings.keys_needed());
    let opened = tokio::task::spawn_blocking(move || Store::open_with_keys(&directory, &needed)).await;
    Ok(opened.map_err(|error| StartError::System(error.to_string()))??)
}

/// Every connection is an open file: takes as many as the system allows this process without asking anybody, and says when that is
/// less than the listeners may need.
pub(super) fn allow_files(settings: &Settings) {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
    if limits.current != limits.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections: usize = settings.listeners.values().map(|listener| listener.limits.connections).sum();
    if (connections as u64).saturating_add(FILES_BESIDE) > allowed {
        tracing::warn!(
            allowed,
            connections,
            "this process may have fewer open files than its listeners may have connections: raise LimitNOFILE= of the unit, or lower \
             limits.connections"
        );
    }
}

/// The configured name, the machine's, or a mailbox's domain with a warning.
pub fn own_name(settings: &Settings) -> Result<String, StartError> {
    if let Some(hostname) = &settings.hostname {
        return Ok(hostname.clone());
    }
    let machine =
        hostname::get().map_err(|error| StartError::System(format!("the machine has no host name: {error}; set hostname")))?;
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let domain = settings.mailboxes.values().find_map(|mailbox| mailbox.address.domain()).unwrap_or("localhost.localdomain");
    Ok(match find(&machine.to_string_lossy(), &hosts, domain) {
        Found::Machine(name) => name,
        Found::Borrowed(name) => {
            tracing::warn!(machine = %machine.to_string_lossy(), %name,
                "this machine has no fully qualified name, which both providers ask for: a mailbox's domain is used; set hostname to choose");
            name
        }
    })
}
