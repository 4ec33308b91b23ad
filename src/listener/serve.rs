//! Accepts connections and owns their tasks.

use super::{
    connection::{Connection, Surroundings},
    doors::{Doors, Refusal},
    host::Host,
};
use crate::{config::Listener, store::Spool};
use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinError, JoinSet},
};

/// The pause after a failed accept. What fails here (too many open files) is not mended by trying at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves apps on `socket` until `stop` is true (or its sender is gone), then returns when every session has ended: those
/// within a message finish it, the others get `421`.
#[expect(clippy::too_many_arguments, reason = "each is another thing, given once, by one caller")]
pub async fn serve<H: Host>(
    socket: TcpListener,
    listener: Arc<Listener>,
    host: Arc<H>,
    spool: Spool,
    hostname: Arc<str>,
    stop: watch::Receiver<bool>,
) {
    let doors = Arc::new(Doors::default());
    let around = Arc::new(Surroundings { listener, host, spool, hostname });
    let mut sessions = JoinSet::new();
    let mut stopped = stop.clone();
    loop {
        tokio::select! {
            biased;
            () = until_true(&mut stopped) => break,
            Some(ended) = sessions.join_next() => report(ended),
            accepted = socket.accept() => match accepted {
                Ok((stream, client)) => {
                    if let Some(session) = admit(&around, &doors, stream, client, &stop) {
                        sessions.spawn(session);
                    }
                }
                Err(error) => {
                    let listener = &around.listener.name;
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

/// The session of a new connection, if it may come in.
fn admit<H: Host>(
    around: &Arc<Surroundings<H>>,
    doors: &Arc<Doors>,
    stream: TcpStream,
    client: SocketAddr,
    stop: &watch::Receiver<bool>,
) -> Option<impl Future<Output = ()> + Send + use<H>> {
    // On a socket for both families an IPv4 address comes wrapped in an IPv6 one.
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    match doors.enter(&around.listener, client.ip()) {
        Ok(place) => {
            let connection = Connection::new(Arc::clone(around), stream, client, stop.clone());
            Some(async move {
                connection.run().await;
                drop(place);
            })
        }
        Err(refusal) => {
            refuse(&around.listener, stream, client, refusal);
            None
        }
    }
}

/// Waits until `stop` is true or can no longer become so.
pub(super) async fn until_true(stop: &mut watch::Receiver<bool>) {
    _ = stop.wait_for(|stop| *stop).await;
}

/// Says why and closes, without waiting for the peer.
fn refuse(listener: &Listener, stream: TcpStream, client: SocketAddr, refusal: Refusal) {
    tracing::warn!(
        event = "session.refused",
        listener = %listener.name,
        %client,
        reason = refusal.reason(),
        "connection refused"
    );
    let mut reply = Vec::new();
    refusal.reply().write_to(&mut reply);
    // A new socket's buffer is empty, so the one write takes all of it or the peer is gone already.
    _ = stream.into_std().and_then(|mut stream| stream.write_all(&reply));
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session ended by a fault of this program; please report it");
    }
}
