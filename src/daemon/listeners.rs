//! The listeners of the running daemon, and how they become those of other settings: what can fail comes first and leaves everything as it
//! is; then new sockets are open before old ones close, and who waits at an old one is served or told.

use super::{LONGEST_STOP, tasks::Tasks};
use crate::{
    admin::Listening,
    config::{Listener, Settings},
    listener::{self, BindError, Passed, Presented, Regrouped, Running, Service, Socket},
    mail::Name,
    relay::Relay,
    store::Spool,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, time::timeout};

/// Longest wait for certificates at a reload: the check of the configuration has read them a moment ago.
const LONGEST: Duration = Duration::from_secs(3);
/// The same at a start, which a slow disk may delay.
const LONGEST_AT_START: Duration = Duration::from_secs(60);

/// What all listeners serve with.
#[derive(Debug, Clone)]
pub(super) struct Kit {
    pub(super) relay: Arc<Relay>,
    pub(super) spool: Spool,
    pub(super) hostname: Arc<str>,
    /// True when nothing is accepted any more.
    pub(super) stop: watch::Receiver<bool>,
}

/// Those that run.
#[derive(Debug)]
pub(super) struct Listeners {
    running: BTreeMap<Name, (Open, Running<Relay>)>,
    passed: Passed,
    shown: watch::Sender<Vec<Listening>>,
}

/// One with all that it needs.
#[derive(Debug, Clone)]
struct Open {
    listener: Arc<Listener>,
    sockets: Vec<Arc<Socket>>,
    presented: Option<Arc<Presented>>,
}

/// What is open for other settings, and not yet used. Dropped, it leaves no trace.
#[derive(Debug)]
pub(super) struct Prepared {
    open: BTreeMap<Name, Open>,
    /// Sockets that nobody uses any more, by the listener that has them.
    closing: BTreeMap<Name, Vec<Arc<Socket>>>,
    regrouped: Vec<Regrouped>,
}

/// Why listeners cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unready {
    #[error("{0}")]
    Certificate(String),
    #[error(transparent)]
    Socket(#[from] BindError),
}

impl Listeners {
    pub(super) fn new(passed: Passed) -> Self {
        Self { running: BTreeMap::new(), passed, shown: watch::Sender::new(Vec::new()) }
    }

    /// Those that run, as they change.
    pub(super) fn shown(&self) -> watch::Receiver<Vec<Listening>> {
        self.shown.subscribe()
    }

    /// Opens what other settings need. Nobody notices until it is taken up, but that connections may wait at new sockets.
    pub(super) async fn prepare(&mut self, settings: &Settings) -> Result<Prepared, Unready> {
        let mut certificates = self.certificates(settings).await?;
        let mut free = self.unwanted(settings);
        let (mut open, mut regrouped) = (BTreeMap::new(), Vec::new());
        // First those that are there: another's new socket must not take their place.
        let is_new = |listener: &&Arc<Listener>| !self.keeps(listener) && !free.values().any(|left| left.fits(listener));
        let (new, there): (Vec<_>, Vec<_>) = settings.listeners.values().partition(is_new);
        for listener in there.into_iter().chain(new) {
            let (sockets, former) = match self.running.get(&listener.name).filter(|_| self.keeps(listener)) {
                Some((open, _)) => (open.sockets.clone(), Some(open.listener.clone())),
                None => match take(&mut free, listener) {
                    Some(left) => (left.sockets, Some(left.listener)),
                    None => {
                        let leaving: Vec<_> = free.values().flat_map(|left| left.sockets.clone()).collect();
                        (listener::bind(listener, &mut self.passed, &leaving).await?, None)
                    }
                },
            };
            let is_for_others =
                |it: Arc<Listener>| (it.socket_mode, &it.socket_group) != (listener.socket_mode, &listener.socket_group);
            if former.is_some_and(is_for_others) {
                for socket in &sockets {
                    regrouped.extend(socket.regroup(listener)?);
                }
            }
            let presented = certificates.remove(&listener.name);
            open.insert(listener.name.clone(), Open { listener: listener.clone(), sockets, presented });
        }
        let closing = free.into_iter().map(|(name, left)| (name, left.sockets)).collect();
        Ok(Prepared { open, closing, regrouped })
    }

    /// Whether `listener` has its socket already.
    fn keeps(&self, listener: &Listener) -> bool {
        self.running.get(&listener.name).is_some_and(|(open, _)| open.fits(listener))
    }

    /// Those whose listener wants another socket, or none.
    fn unwanted(&self, settings: &Settings) -> BTreeMap<Name, Open> {
        let is_wanted = |name: &Name| settings.listeners.get(name).is_some_and(|listener| self.keeps(listener));
        let unwanted = self.running.iter().filter(|(name, _)| !is_wanted(name));
        unwanted.map(|(name, (open, _))| (name.clone(), open.clone())).collect()
    }

    /// The certificates: those in use where the files are the same, which are looked at anew by themselves.
    async fn certificates(&self, settings: &Settings) -> Result<BTreeMap<Name, Arc<Presented>>, Unready> {
        let mut all = BTreeMap::new();
        let mut unread = Vec::new();
        for listener in settings.listeners.values().filter(|listener| listener.tls.files().is_some()) {
            let same = |open: &Open| open.listener.tls.files() == listener.tls.files();
            match self.running.get(&listener.name).filter(|(open, _)| same(open)).and_then(|(open, _)| open.presented.clone()) {
                Some(presented) => _ = all.insert(listener.name.clone(), presented),
                None => unread.push(listener.clone()),
            }
        }
        if unread.is_empty() {
            return Ok(all);
        }
        // Beside the runtime: disks hang.
        let read = tokio::task::spawn_blocking(move || {
            let opened = unread.into_iter().map(|listener| Ok((listener.name.clone(), Presented::open(&listener)?)));
            opened.collect::<Result<Vec<_>, String>>()
        });
        let longest = if self.running.is_empty() { LONGEST_AT_START } else { LONGEST };
        let read = match timeout(longest, read).await {
            Ok(read) => read.map_err(|error| error.to_string()).and_then(|read| read),
            Err(_) => {
                let seconds = longest.as_secs();
                Err(format!("a listener's files were not read within {seconds} seconds; is their disk or network share gone?"))
            }
        };
        let read = read.map_err(Unready::Certificate)?;
        all.extend(read.into_iter().filter_map(|(name, presented)| Some((name, presented?))));
        Ok(all)
    }

    /// From now on the listeners are the prepared ones; gives notes for whoever asked for it.
    pub(super) async fn take_up(&mut self, prepared: Prepared, kit: &Kit, tasks: &mut Tasks) -> Vec<String> {
        let Prepared { open, mut closing, regrouped } = prepared;
        regrouped.into_iter().for_each(Regrouped::keep);
        let notes = closing.iter().filter_map(|(name, sockets)| kept_open(name, sockets)).collect();
        self.let_go(&open, &mut closing, kit).await;
        for (name, open) in open {
            match self.running.get_mut(&name) {
                None => _ = self.running.insert(name, start(open, kit, tasks)),
                Some((former, _)) if former.is_same(&open) => {}
                Some((former, running)) => {
                    let closing = closing.remove(&name).unwrap_or_default();
                    running.change(open.service(kit), open.sockets.clone(), closing).await;
                    let before = Some(former.address()).filter(|before| *before != open.address());
                    tracing::info!(event = "listener.changed", listener = %name, address = open.address(), before,
                        "a listener was changed: new connections find its new settings");
                    *former = open;
                }
            }
        }
        self.show();
        notes
    }

    /// Ends those that are gone, and takes from the others what another gets: a socket wakes but one that waits for it.
    async fn let_go(&mut self, open: &BTreeMap<Name, Open>, closing: &mut BTreeMap<Name, Vec<Arc<Socket>>>, kit: &Kit) {
        let gone: Vec<Name> = self.running.keys().filter(|name| !open.contains_key(*name)).cloned().collect();
        for name in gone {
            let Some((former, running)) = self.running.remove(&name) else { continue };
            running.end(closing.remove(&name).unwrap_or_default(), LONGEST_STOP).await;
            tracing::info!(event = "listener.closed", listener = %name, address = former.address(),
                "a listener was removed: it accepts no more");
        }
        for (name, (former, running)) in &self.running {
            let is_anothers = |socket: &&Arc<Socket>| open.iter().any(|(other, open)| other != name && open.has(socket));
            let (lost, kept): (Vec<_>, Vec<_>) = former.sockets.iter().partition(is_anothers);
            if !lost.is_empty() {
                running.change(former.service(kit), kept.into_iter().cloned().collect(), Vec::new()).await;
            }
        }
    }

    fn show(&self) {
        let shown = self.running.values().map(|(open, _)| Listening {
            name: open.listener.name.clone(),
            address: open.address(),
            presented: open.presented.clone(),
        });
        self.shown.send_replace(shown.collect());
    }
}

/// What is to be said of sockets that are not used any more, and that systemd does not close.
fn kept_open(name: &Name, sockets: &[Arc<Socket>]) -> Option<String> {
    let passed: Vec<String> =
        sockets.iter().filter(|socket| socket.is_passed()).filter_map(|socket| socket.address().ok()).collect();
    let text = "systemd keeps it open, and nobody answers there: stop and disable its socket unit";
    (!passed.is_empty()).then(|| format!("listener.{name} has left {}; {text}", passed.join(", ")))
}

/// One of `free` that `listener` can go on with.
fn take(free: &mut BTreeMap<Name, Open>, listener: &Listener) -> Option<Open> {
    let name = free.iter().find(|(_, left)| left.fits(listener)).map(|(name, _)| name.clone())?;
    free.remove(&name)
}

fn start(open: Open, kit: &Kit, tasks: &mut Tasks) -> (Open, Running<Relay>) {
    let (running, serving) = listener::serve(open.sockets.clone(), open.service(kit), kit.stop.clone());
    tasks.spawn("listener", serving);
    tracing::info!(event = "listener.opened", listener = %open.listener.name, address = open.address(), "listening");
    (open, running)
}

impl Open {
    /// Whether `listener` can go on with its sockets.
    fn fits(&self, listener: &Listener) -> bool {
        self.listener.bind == listener.bind && self.sockets.iter().all(|socket| socket.is_in_place())
    }

    fn has(&self, socket: &Arc<Socket>) -> bool {
        self.sockets.iter().any(|own| Arc::ptr_eq(own, socket))
    }

    fn is_same(&self, other: &Self) -> bool {
        let same_sockets = self.sockets.len() == other.sockets.len()
            && self.sockets.iter().zip(&other.sockets).all(|(own, other)| Arc::ptr_eq(own, other));
        same_sockets && self.listener == other.listener
    }

    /// Where it listens, as logs show it.
    fn address(&self) -> String {
        let address = |socket: &Arc<Socket>| socket.address().unwrap_or_else(|_| self.listener.bind.to_string());
        self.sockets.iter().map(address).collect::<Vec<_>>().join(", ")
    }

    fn service(&self, kit: &Kit) -> Service<Relay> {
        let Kit { relay, spool, hostname, stop: _ } = kit.clone();
        Service { listener: self.listener.clone(), host: relay, spool, hostname, presented: self.presented.clone() }
    }
}
