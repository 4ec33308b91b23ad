//! From an accepted connection to its session: the PROXY header of a load balancer, the listener's rules, the handshake of a listener
//! that begins with TLS.

use super::{
    connection::{Connection, Opened, Surroundings},
    doors::{Place, Refusal},
    handshake::{self, Failure},
    host::Host,
    peer::Peer,
    proxy::{self, Source, Step},
    serve::until_true,
    stream::{Stream, Wire},
};
use crate::{
    config::{Listener, ListenerTls},
    smtp::Reply,
};
use std::{io, sync::Arc, time::Duration};
use tokio::{io::AsyncReadExt, sync::watch, time::timeout};

/// Longest wait for a PROXY header. Load balancers write it with the connection's first packet.
const HEADER_WAIT: Duration = Duration::from_secs(10);

/// A connection that has a place.
pub(super) struct Arrived {
    pub(super) wire: Wire,
    /// As the connection itself tells; of a load balancer, itself.
    pub(super) peer: Peer,
    pub(super) place: Place,
    /// Its client stands in a PROXY header.
    pub(super) is_proxy: bool,
}

/// Serves a connection to its end.
pub(super) async fn enter<H: Host>(around: Arc<Surroundings<H>>, arrived: Arrived, mut stop: watch::Receiver<bool>) {
    let Arrived { wire, peer, mut place, is_proxy } = arrived;
    wire.send_at_once();
    let opened = if is_proxy || matches!(around.listener.tls, ListenerTls::Implicit(_)) {
        // Apart from the session, which is there much longer and would keep its memory.
        let preliminaries = Box::pin(preliminaries(&around, wire, peer, &mut place, is_proxy));
        let opened = tokio::select! {
            biased;
            () = until_true(&mut stop) => None,
            opened = preliminaries => opened,
        };
        let Some(opened) = opened else { return };
        opened
    } else {
        Opened { stream: Stream::Plain(wire), peer, tls: None, proxy: None }
    };
    Connection::new(around, opened, stop).run().await;
    drop(place);
}

/// What has to be done before the first reply; `None`: the connection was refused, and that was said.
async fn preliminaries<H: Host>(
    around: &Surroundings<H>,
    mut wire: Wire,
    mut peer: Peer,
    place: &mut Place,
    is_proxy: bool,
) -> Option<Opened> {
    let listener = &around.listener;
    let mut proxy = None;
    if is_proxy {
        let source = match header(&mut wire).await {
            Ok(source) => source,
            Err(why) => {
                no_header(listener, &peer, &why);
                return None;
            }
        };
        let from = peer.shown.clone();
        if let Err(refusal) = introduce(listener, place, &mut peer, source) {
            refuse(listener, wire, &peer, refusal);
            return None;
        }
        proxy = Some(from);
    }
    let (ListenerTls::Implicit(_), Some(presented)) = (&listener.tls, &around.presented) else {
        return Some(Opened { stream: Stream::Plain(wire), peer, tls: None, proxy });
    };
    match handshake::shake(wire, presented.config()).await {
        Ok(encrypted) => {
            (peer.encrypted, peer.certificate) = (true, encrypted.certificate);
            Some(Opened { stream: Stream::Tls(encrypted.stream), peer, tls: Some(encrypted.version), proxy })
        }
        Err((failure, wire)) => {
            not_encrypted(listener, &peer, &failure);
            if let Some(wire) = wire {
                // Whoever speaks or waits for plain SMTP can read this.
                let mut said = Vec::new();
                Reply::new(421, Some((7, 0)), "this port speaks TLS from the first octet").write_to(&mut said);
                wire.part_with(&said);
            }
            None
        }
    }
}

/// Reads the header, and no octet behind it.
async fn header(wire: &mut Wire) -> Result<Source, HeaderError> {
    let read = async {
        let mut octets = Vec::new();
        loop {
            match proxy::look(&octets) {
                Step::Done(source) => return Ok(source),
                Step::Wrong(why) => return Err(HeaderError::Wrong(why)),
                Step::Read(most) => {
                    let start = octets.len();
                    octets.resize(start + most, 0);
                    let count = wire.read(&mut octets[start..]).await.map_err(HeaderError::Broken)?;
                    octets.truncate(start + count);
                    if count == 0 {
                        return Err(if start == 0 {
                            HeaderError::Nothing
                        } else {
                            HeaderError::Wrong("it ended within the header")
                        });
                    }
                }
            }
        }
    };
    timeout(HEADER_WAIT, read).await.unwrap_or(Err(HeaderError::Wrong("no whole PROXY header came within 10 seconds")))
}

enum HeaderError {
    /// A connection that was closed at once: how many load balancers look whether we live.
    Nothing,
    Wrong(&'static str),
    Broken(io::Error),
}

/// Makes the client known that the header names, and lets it in.
fn introduce(listener: &Listener, place: &mut Place, peer: &mut Peer, source: Source) -> Result<(), Refusal> {
    match source {
        Source::Client(client) => {
            (peer.address, peer.is_told, peer.shown) = (Some(client.ip()), true, client.to_string());
            place.admit(listener, client.ip())
        }
        // The proxy's own address says who may connect, and how often, but proves no app: whoever is behind it would be that app.
        Source::Unknown => {
            let own = peer.address.take();
            peer.shown = format!("unknown behind {}", peer.shown);
            own.map_or(Err(Refusal::Network), |own| place.admit(listener, own))
        }
    }
}

/// Says why and closes, without waiting for the peer.
pub(super) fn refuse(listener: &Listener, wire: Wire, peer: &Peer, refusal: Refusal) {
    tracing::warn!(
        event = "session.refused",
        listener = %listener.name,
        client = %peer,
        reason = refusal.reason(),
        "connection refused"
    );
    let mut reply = Vec::new();
    // Clear text is nothing that an app could read within a handshake.
    if !matches!(listener.tls, ListenerTls::Implicit(_)) {
        refusal.reply().write_to(&mut reply);
    }
    wire.part_with(&reply);
}

fn no_header(listener: &Listener, peer: &Peer, why: &HeaderError) {
    let reason = match why {
        HeaderError::Nothing => {
            return tracing::debug!(listener = %listener.name, client = %peer, "a load balancer closed its connection at once");
        }
        HeaderError::Wrong(why) => (*why).to_owned(),
        HeaderError::Broken(error) => format!("the connection broke: {error}"),
    };
    tracing::warn!(event = "session.refused", listener = %listener.name, client = %peer, reason,
        advice = "proxy-protocol-from names this address: switch the PROXY protocol on there (haproxy: send-proxy-v2; nginx: \
        proxy_protocol on), or take the address out of the listener's proxy-protocol-from", "connection refused");
}

/// Tells of a handshake that failed.
pub(super) fn not_encrypted(listener: &Listener, peer: &Peer, failure: &Failure) {
    let is_implicit = matches!(listener.tls, ListenerTls::Implicit(_));
    tracing::warn!(event = "session.refused", listener = %listener.name, client = %peer, reason = failure.to_string(),
        advice = failure.advice(is_implicit), "no TLS with this app");
}
