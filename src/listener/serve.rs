//! Accepts connections and owns their tasks. The rules and the sockets of a listener may change while it runs.

use super::{
    connection::{Connection, Opened, Surroundings},
    doors::{self, Doors, Place, Refusal, Source},
    entry::{self, Arrived},
    exhaustion::Exhaustion,
    host::Host,
    peer::Peer,
    presented::Presented,
    socket::{Origin, Socket},
    stream::{Stream, Wire},
};
use crate::{config::Listener, store::Spool};
use std::{
    future::{Future, poll_fn},
    io,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};

/// Connections taken from a socket that closes: as many as can have waited, so that a flood does not keep it open.
const MOST_WAITING: usize = 2048;

/// What a listener serves with.
#[derive(Debug)]
pub struct Service<H> {
    /// As configured.
    pub listener: Arc<Listener>,
    /// Who decides.
    pub host: Arc<H>,
    /// Where bodies are kept while they arrive.
    pub spool: Spool,
    /// Our name.
    pub hostname: Arc<str>,
    /// Its certificate; without one there is no TLS, whatever the listener says.
    pub presented: Option<Arc<Presented>>,
}

/// A listener that runs.
#[derive(Debug)]
pub struct Running<H>(mpsc::Sender<Order<H>>);

/// What it shall be from now on.
#[derive(Debug)]
struct Order<H> {
    rules: Rules<H>,
    sockets: Vec<Arc<Socket>>,
    /// Sockets that nobody uses any more.
    closing: Vec<Arc<Socket>>,
    done: oneshot::Sender<()>,
}

#[derive(Debug)]
enum Rules<H> {
    /// New connections are served by these.
    Are(Arc<Surroundings<H>>),
    /// There are none: it ends, and its sessions within this time.
    End(Duration),
}

impl<H: Host> Running<H> {
    /// Serves new connections by the rules of `service` and on `sockets`; those that wait at the `closing` ones are still served.
    pub async fn change(&self, service: Service<H>, sockets: Vec<Arc<Socket>>, closing: Vec<Arc<Socket>>) {
        self.order(Rules::Are(service.shared()), sockets, closing).await;
    }

    /// Ends it: those who wait at the `closing` sockets, and its sessions, hear `421`; those within a message may finish it, as
    /// long as `longest` is not over. Returns before.
    pub async fn end(self, closing: Vec<Arc<Socket>>, longest: Duration) {
        self.order(Rules::End(longest), Vec::new(), closing).await;
    }

    /// Returns when it is obeyed, or the listener has ended.
    async fn order(&self, rules: Rules<H>, sockets: Vec<Arc<Socket>>, closing: Vec<Arc<Socket>>) {
        let (done, is_done) = oneshot::channel();
        if self.0.send(Order { rules, sockets, closing, done }).await.is_ok() {
            _ = is_done.await;
        }
    }
}

impl<H> Service<H> {
    fn shared(self) -> Arc<Surroundings<H>> {
        let Self { listener, host, spool, hostname, presented } = self;
        Arc::new(Surroundings { listener, host, spool, hostname, presented })
    }
}

/// A listener on `sockets`, and the task that serves it until it is ended or `stop` is true (or its sender is gone), and then until every
/// session has ended: those within a message finish it, the others get `421`.
pub fn serve<H: Host>(
    sockets: Vec<Arc<Socket>>,
    service: Service<H>,
    stop: watch::Receiver<bool>,
) -> (Running<H>, impl Future<Output = ()> + Send + use<H>) {
    let (order, orders) = mpsc::channel(1);
    let door = Door { around: service.shared(), doors: Arc::default(), sessions: JoinSet::new(), end: watch::Sender::new(false) };
    (Running(order), door.serve(sockets, orders, stop))
}

/// Serves one connection that did not come by a socket of the listener, as if it had: `peer` is who it is.
pub async fn attend<H: Host>(stream: UnixStream, peer: Peer, service: Service<H>, stop: watch::Receiver<bool>) {
    let opened = Opened { stream: Stream::Plain(stream.into()), peer, tls: None, proxy: None };
    Connection::new(service.shared(), opened, stop).run().await;
}

/// The way in; all sockets of a listener share its limits.
struct Door<H> {
    around: Arc<Surroundings<H>>,
    doors: Arc<Doors>,
    sessions: JoinSet<()>,
    /// Tells the sessions to end.
    end: watch::Sender<bool>,
}

impl<H: Host> Door<H> {
    async fn serve(
        mut self,
        mut sockets: Vec<Arc<Socket>>,
        mut orders: mpsc::Receiver<Order<H>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let (mut exhaustion, mut turn) = (Exhaustion::default(), 0);
        let longest = loop {
            let pause = exhaustion.pause();
            tokio::select! {
                biased;
                () = until_true(&mut stop) => {
                    self.turn_away(&sockets);
                    break None;
                }
                order = orders.recv() => {
                    let Some(Order { rules, sockets: new, closing, done }) = order else { break None };
                    sockets = new;
                    let longest = self.obey(rules, &closing);
                    _ = done.send(());
                    if longest.is_some() {
                        break longest;
                    }
                }
                Some(ended) = self.sessions.join_next() => report(ended),
                () = paused(pause), if pause.is_some() => exhaustion.retry(),
                accepted = accept(&sockets, turn), if pause.is_none() => {
                    turn = turn.wrapping_add(1);
                    match accepted {
                        Ok((wire, origin)) => {
                            exhaustion.succeeded(&self.around.listener.name);
                            self.open(wire, origin);
                        }
                        Err(error) => exhaustion.met(&self.around.listener.name, &error),
                    }
                }
            }
        };
        drop(sockets);
        self.end.send_replace(true);
        let ended = async {
            while let Some(ended) = self.sessions.join_next().await {
                report(ended);
            }
        };
        let Some(longest) = longest else { return ended.await };
        if timeout(longest, ended).await.is_err() {
            tracing::warn!(listener = %self.around.listener.name, connections = self.sessions.len(), seconds = longest.as_secs(),
                "the last connections of a removed listener are cut off: they had time to finish their message");
        }
    }

    /// The time that is left, if the listener ends.
    fn obey(&mut self, rules: Rules<H>, closing: &[Arc<Socket>]) -> Option<Duration> {
        match rules {
            Rules::Are(around) => {
                self.around = around;
                self.take_last(closing);
                None
            }
            Rules::End(longest) => {
                self.turn_away(closing);
                Some(longest)
            }
        }
    }

    /// Closes sockets, and serves who waits there.
    fn take_last(&mut self, closing: &[Arc<Socket>]) {
        for socket in closing {
            socket.hide();
            for (wire, origin) in waiting(socket) {
                self.open(wire, origin);
            }
            socket.close();
        }
    }

    /// Closes sockets, and tells who waits there to come back later. Those of systemd stay open, and who waits there is served after the
    /// next start.
    fn turn_away(&self, closing: &[Arc<Socket>]) {
        for socket in closing.iter().filter(|socket| !socket.is_passed()) {
            socket.hide();
            for (wire, origin) in waiting(socket) {
                entry::refuse(&self.around.listener, wire, &peer(origin), Refusal::Closing);
            }
            socket.close();
        }
    }

    /// Begins the session of a new connection, if there is a place for it.
    fn open(&mut self, wire: Wire, origin: Origin) {
        let peer = peer(origin);
        let from = &self.around.listener.proxy_protocol_from;
        let is_proxy = peer.address.is_some_and(|address| doors::is_of(from, address).is_ok());
        match self.place(&peer, is_proxy) {
            Ok(place) => {
                let arrived = Arrived { wire, peer, place, is_proxy };
                self.sessions.spawn(entry::enter(self.around.clone(), arrived, self.end.subscribe()));
            }
            Err(refusal) => entry::refuse(&self.around.listener, wire, &peer, refusal),
        }
    }

    /// A place. Whose it is follows from its header, if it is a load balancer's.
    fn place(&self, peer: &Peer, is_proxy: bool) -> Result<Place, Refusal> {
        let listener = &self.around.listener;
        let address = peer.address.filter(|_| !is_proxy);
        if let Some(address) = address {
            doors::is_of(&listener.networks, address)?;
        }
        let mut place = self.doors.enter(listener)?;
        match (address, peer.local) {
            (Some(address), _) => place.admit(listener, address)?,
            (None, Some(local)) => place.count(listener, Source::User(local.uid))?,
            (None, None) => {}
        }
        Ok(place)
    }
}

/// The next connection at any of `sockets`, asked in turn from the `first` on, so that a busy one leaves the others theirs.
async fn accept(sockets: &[Arc<Socket>], first: usize) -> io::Result<(Wire, Origin)> {
    poll_fn(|context| {
        for at in 0..sockets.len() {
            let accepted = sockets[first.wrapping_add(at) % sockets.len()].poll_accept(context);
            if accepted.is_ready() {
                return accepted;
            }
        }
        Poll::Pending
    })
    .await
}

/// All who wait at a socket that is to be closed.
fn waiting(socket: &Socket) -> impl Iterator<Item = (Wire, Origin)> {
    let next = || {
        socket.accept_waiting().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot take the last connections of a socket that is closed");
            None
        })
    };
    std::iter::from_fn(next).take(MOST_WAITING)
}

/// Waits until `pause` is over.
async fn paused(pause: Option<Instant>) {
    if let Some(until) = pause {
        sleep_until(until).await;
    }
}

/// What the connection itself tells.
fn peer(origin: Origin) -> Peer {
    let (shown, local) = match origin {
        Origin::Tcp(client) => (client.to_string(), None),
        Origin::Unix(process) => (process.to_string(), Some(process)),
    };
    Peer { address: origin.address(), is_told: false, shown, local, certificate: None, encrypted: false }
}

/// Waits until `stop` is true or can no longer become so.
pub(super) async fn until_true(stop: &mut watch::Receiver<bool>) {
    _ = stop.wait_for(|stop| *stop).await;
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session ended by a fault of this program; please report it");
    }
}
