//! The command's own ear: a loopback port (RFC 8252 §7.3) for the browser's answer, or, while no daemon runs, the `[http]` listener.

use super::super::{Failed, reach::Reached};
use crate::{
    relay::authorize::{Begun, Kind, Listens, Progress, Why},
    web::{self, Answers, Ended},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;
use url::{Host, Url};

/// How long the browser's page is waited for when all is over.
pub(super) const LEAVE: Duration = Duration::from_secs(6);

/// How often a free port is looked for that is free for both kinds of addresses.
const TRIES: usize = 20;

/// A loopback port, held.
pub(super) struct Port {
    pub(super) number: u16,
    sockets: Vec<TcpListener>,
}

impl Port {
    /// A free one, on 127.0.0.1 and, where there is IPv6, on `::1`: browsers take `localhost` for either.
    pub(super) async fn free() -> Option<Self> {
        for _ in 0..TRIES {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?;
            let number = socket.local_addr().ok()?.port();
            match TcpListener::bind((Ipv6Addr::LOCALHOST, number)).await {
                Ok(twin) => return Some(Self { number, sockets: vec![socket, twin] }),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(_) => return Some(Self { number, sockets: vec![socket] }),
            }
        }
        None
    }
}

/// The sockets on which this command listens; none: somebody else does, or nobody can.
pub(super) async fn sockets(reached: &Reached, begun: &Begun, port: Option<Port>) -> Vec<TcpListener> {
    let Some(redirect) = begun.redirect_url.as_ref().and_then(|text| Url::parse(text).ok()) else { return Vec::new() };
    let addresses = match (begun.listens, reached) {
        (Some(Listens::Command), _) => {
            let number = redirect.port_or_known_default().unwrap_or_default();
            match port {
                Some(port) if port.number == number => return port.sockets,
                _ => loopback(&redirect, number),
            }
        }
        (Some(Listens::Daemon), Reached::Stopped(relay)) => relay.redirect_addresses(),
        (Some(Listens::Daemon), Reached::Running(_)) | (None, _) => return Vec::new(),
    };
    match web::bind(&addresses).await {
        Ok(sockets) => sockets,
        Err((address, error)) => {
            eprintln!("outlink: cannot listen on {address} for the browser: {error}; paste the address that the browser shows");
            Vec::new()
        }
    }
}

fn loopback(redirect: &Url, port: u16) -> Vec<SocketAddr> {
    let at = |ip: IpAddr| SocketAddr::new(ip, port);
    match redirect.host() {
        Some(Host::Ipv4(ip)) => vec![at(ip.into())],
        Some(Host::Ipv6(ip)) => vec![at(ip.into())],
        Some(Host::Domain(_)) | None => vec![at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())],
    }
}

/// What a browser brings goes to whoever keeps the login.
pub(super) struct Callback {
    reached: Arc<Reached>,
    id: String,
    mailbox: String,
    path: String,
}

impl Callback {
    pub(super) fn new(reached: Arc<Reached>, begun: &Begun) -> Self {
        debug_assert_eq!(begun.kind, Kind::Browser);
        let url = begun.redirect_url.as_ref().and_then(|text| Url::parse(text).ok());
        let path = url.map_or_else(|| "/".to_owned(), |url| url.path().to_owned());
        Self { reached, id: begun.id.clone(), mailbox: begun.mailbox.clone(), path }
    }

    async fn progress(&self, query: String) -> Result<Progress, Failed> {
        self.reached.answer_authorization(&self.id, query).await?;
        super::finished(&self.reached, &self.id).await
    }
}

impl Answers for Callback {
    fn serves(&self, path: &str) -> bool {
        path == self.path
    }

    async fn answer(&self, query: String) -> Ended {
        let progress = self.progress(query).await.unwrap_or_else(|Failed(_, reason)| {
            eprintln!("outlink: a browser brought an answer that was not taken: {reason}");
            let advice = "open the address that `outlink authorize` shows, and finish that login".to_owned();
            Progress::Failed { why: Why::Refused, reason, advice, kept: false }
        });
        Ended::new(self.mailbox.clone(), progress)
    }
}
