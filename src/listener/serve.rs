//! Accepts connections and owns their tasks.

use super::{
    connection::{Connection, Opened, Surroundings},
    doors::{self, Doors, Place, Refusal},
    entry::{self, Arrived},
    host::Host,
    peer::Peer,
    presented::Presented,
    socket::{Origin, Socket},
    stream::{Stream, Wire},
};
use crate::{config::Listener, store::Spool};
use std::{sync::Arc, time::Duration};
use tokio::{
    net::UnixStream,
    sync::watch,
    task::{JoinError, JoinSet},
};

/// The pause after a failed accept. What fails here (too many open files) is not mended by trying at once.
const PAUSE: Duration = Duration::from_millis(100);

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

/// Serves apps on `sockets` until `stop` is true (or its sender is gone), then returns when every session has ended: those
/// within a message finish it, the others get `421`.
pub async fn serve<H: Host>(sockets: Vec<Socket>, service: Service<H>, stop: watch::Receiver<bool>) {
    let Service { listener, host, spool, hostname, presented } = service;
    let around = Arc::new(Surroundings { listener, host, spool, hostname, presented });
    let door = Door { around, doors: Arc::default(), stop };
    let mut accepting = JoinSet::new();
    for socket in sockets {
        accepting.spawn(door.clone().accept(socket));
    }
    while let Some(ended) = accepting.join_next().await {
        report(ended);
    }
}

/// Serves one connection that did not come by a socket of the listener, as if it had: `peer` is who it is.
pub async fn attend<H: Host>(stream: UnixStream, peer: Peer, service: Service<H>, stop: watch::Receiver<bool>) {
    let Service { listener, host, spool, hostname, presented } = service;
    let around = Arc::new(Surroundings { listener, host, spool, hostname, presented });
    let opened = Opened { stream: Stream::Plain(stream.into()), peer, tls: None, proxy: None };
    Connection::new(around, opened, stop).run().await;
}

/// One socket's way in; all of a listener share their limits.
struct Door<H> {
    around: Arc<Surroundings<H>>,
    doors: Arc<Doors>,
    stop: watch::Receiver<bool>,
}

impl<H> Clone for Door<H> {
    fn clone(&self) -> Self {
        Self { around: self.around.clone(), doors: self.doors.clone(), stop: self.stop.clone() }
    }
}

impl<H: Host> Door<H> {
    async fn accept(self, socket: Socket) {
        let mut sessions = JoinSet::new();
        let mut stopped = self.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = until_true(&mut stopped) => break,
                Some(ended) = sessions.join_next() => report(ended),
                accepted = socket.accept() => match accepted {
                    Ok((wire, origin)) => {
                        if let Some(session) = self.open(wire, origin) {
                            sessions.spawn(session);
                        }
                    }
                    Err(error) => {
                        let listener = &self.around.listener.name;
                        tracing::warn!(%listener, %error, "cannot accept a connection; if this repeats, raise the limit of open files");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
        drop(socket);
        while let Some(ended) = sessions.join_next().await {
            report(ended);
        }
    }

    /// The session of a new connection, if there is a place for it.
    fn open(&self, wire: Wire, origin: Origin) -> Option<impl Future<Output = ()> + Send + use<H>> {
        let peer = peer(origin);
        let from = &self.around.listener.proxy_protocol_from;
        let is_proxy = peer.address.is_some_and(|address| doors::is_of(from, address).is_ok());
        match self.place(&peer, is_proxy) {
            Ok(place) => {
                let arrived = Arrived { wire, peer, place, is_proxy };
                Some(entry::enter(self.around.clone(), arrived, self.stop.clone()))
            }
            Err(refusal) => {
                entry::refuse(&self.around.listener, wire, &peer, refusal);
                None
            }
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
        address.map_or(Ok(()), |address| place.admit(listener, address))?;
        Ok(place)
    }
}

/// What the connection itself tells.
fn peer(origin: Origin) -> Peer {
    let (shown, local) = match origin {
        Origin::Tcp(client) => (client.to_string(), None),
        Origin::Unix(process) => (process.to_string(), Some(process)),
    };
    Peer { address: origin.address(), shown, local, certificate: None, encrypted: false }
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
