//! From a name to a connection: every address of every family, with waits shorter than mail's, since a person waits.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, timeout},
};

/// For the name lookup.
const LOOKUP: Duration = Duration::from_secs(4);

/// For one TCP connection: SYN goes out at 0, 1 and 3 s.
const CONNECT: Duration = Duration::from_secs(4);

/// Addresses that are tried; a provider has some eight.
const MOST: usize = 16;

/// The addresses of a host, each once, in the resolver's order.
pub(super) async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    // In brackets where it stands in a URL.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = match timeout(LOOKUP, lookup_host((host, port))).await {
        Err(_) => return Err(format!("cannot look up the name: no answer in time ({} seconds)", LOOKUP.as_secs())),
        Ok(Err(why)) => return Err(why.to_string()),
        Ok(Ok(found)) => found,
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}

/// What was found, in words.
pub(super) fn found(host: &str, addresses: &[SocketAddr]) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match addresses.len() {
        _ if bare.parse::<IpAddr>().is_ok() => format!("{bare} is an address"),
        1 => format!("{host} has one address"),
        many => format!("{host} has {many} addresses"),
    }
}

/// How the ways to a host's addresses ended.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// The connections, in the resolver's order, with what each took.
    pub(super) open: Vec<(SocketAddr, TcpStream, Duration)>,
    /// The addresses that could not be reached, and why.
    pub(super) dead: Vec<(SocketAddr, String)>,
}

/// Connects to all of them side by side.
pub(super) async fn reach(addresses: &[SocketAddr]) -> Ways {
    let mut attempts = JoinSet::new();
    for (place, address) in addresses.iter().copied().take(MOST).enumerate() {
        attempts.spawn(async move {
            let begun = Instant::now();
            let connected = match timeout(CONNECT, TcpStream::connect(address)).await {
                Err(_) => Err(format!("connect timed out after {} seconds", CONNECT.as_secs())),
                Ok(Err(why)) => Err(why.to_string()),
                Ok(Ok(stream)) => Ok(stream),
            };
            (place, address, connected, begun.elapsed())
        });
    }
    let mut ended = attempts.join_all().await;
    ended.sort_by_key(|(place, ..)| *place);
    let mut ways = Ways::default();
    for (_, address, connected, took) in ended {
        match connected {
            Ok(stream) => ways.open.push((address, stream, took)),
            Err(why) => ways.dead.push((address, why)),
        }
    }
    ways
}

impl Ways {
    /// What could not be reached, in words.
    pub(super) fn dead_in_words(&self) -> String {
        let each: Vec<String> = self.dead.iter().map(|(address, why)| format!("{address}: {why}")).collect();
        each.join("; ")
    }

    /// Whether everything that is dead is IPv6, and IPv4 is not.
    pub(super) fn is_only_v6_dead(&self) -> bool {
        self.dead.iter().all(|(address, _)| address.is_ipv6()) && self.open.iter().any(|(address, ..)| address.is_ipv4())
    }
}
