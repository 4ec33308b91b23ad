//! The `[http]` listener while it is needed: bound when some link's redirect comes to it, bound anew when a reload moves it.
//!
//! An address that cannot be had costs only logins, never mail: it is told and tried again.

use crate::{
    mail::Name,
    relay::Relay,
    web::{self, Answers, Ended},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{sync::watch, time::timeout};

/// How often an address that was taken is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// What the relay takes from browsers.
struct Logins(Arc<Relay>);

impl Answers for Logins {
    fn serves(&self, path: &str) -> bool {
        self.0.redirect_paths().contains(path)
    }

    async fn answer(&self, query: String) -> Ended {
        match self.0.answer_redirect(&query).await {
            (Some(mailbox), progress) => Ended::new(mailbox.to_string(), progress),
            (None::<Name>, progress) => Ended::unknown(progress),
        }
    }
}

/// Where it listens by these settings; nowhere when nothing comes to it.
fn wanted(relay: &Relay) -> Vec<SocketAddr> {
    if relay.redirect_paths().is_empty() { Vec::new() } else { relay.redirect_addresses() }
}

/// Listens until `end` says so (or its sender is gone); `changed` tells of other settings.
pub(super) async fn listen(relay: Arc<Relay>, mut changed: watch::Receiver<()>, mut end: watch::Receiver<bool>) {
    let mut told = None;
    loop {
        changed.mark_unchanged();
        let addresses = wanted(&relay);
        let moved = async {
            // A reload that leaves the addresses as they are breaks off no page.
            while changed.changed().await.is_ok() && wanted(&relay) == addresses {}
        };
        let ended = async { drop(end.wait_for(|end| *end).await) };
        let over = async {
            tokio::select! { () = moved => false, () = ended => true }
        };
        tokio::pin!(over);
        if addresses.is_empty() {
            told = None;
            if over.await { return } else { continue }
        }
        match web::bind(&addresses).await {
            Ok(sockets) => {
                told = None;
                say(&sockets);
                let mut is_end = false;
                web::serve(sockets, Arc::new(Logins(relay.clone())), async { is_end = over.await }).await;
                if is_end {
                    return;
                }
            }
            Err((address, error)) => {
                if told.replace(address) != Some(address) {
                    tracing::error!(%address, %error,
                        "cannot listen for browsers after a login: mail flows; free this address or change http.bind, and until then \
                         paste the address that the browser shows into `outlink authorize`");
                }
                if let Ok(true) = timeout(AGAIN, over).await {
                    return;
                }
            }
        }
    }
}

fn say(sockets: &[tokio::net::TcpListener]) {
    let addresses: Vec<String> =
        sockets.iter().filter_map(|socket| socket.local_addr().ok()).map(|address| address.to_string()).collect();
    tracing::info!(addresses = addresses.join(", "), "listening for browsers after a login");
}
