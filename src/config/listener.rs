//! `[listener.NAME]`.

use super::{
    settings::{Auth, Delivery, Listener, ListenerLimits, ListenerTls},
    table::{Table, Wrong},
    words,
};
use crate::mail::Name;
use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// The listener that exists when none is configured, and whose `bind` has a default.
const LOCAL: &str = "local";
/// Not 25, which needs a privilege and is often taken.
const LOCAL_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2525);

/// The listener of a configuration without any.
pub(super) fn default() -> Option<Listener> {
    Some(Listener {
        name: Name::parse(LOCAL).ok()?,
        bind: LOCAL_BIND,
        tls: ListenerTls::Off,
        auth: Auth::Required,
        networks: loopback(),
        delivery: Delivery::Queue,
        direct_wait: Duration::from_secs(60),
        limits: default_limits(),
    })
}

fn loopback() -> Vec<IpNet> {
    ["127.0.0.0/8", "::1/128"].iter().filter_map(|network| network.parse().ok()).collect()
}

fn default_limits() -> ListenerLimits {
    ListenerLimits {
        message_size: 35 << 20,
        recipients: 1000,
        connections: 1000,
        connections_per_address: 50,
        errors: 10,
        idle: Duration::from_secs(300),
    }
}

/// Reads one.
pub(super) fn read(name: Name, table: &mut Table<'_>) -> Option<Listener> {
    let default = default()?;
    let bind_given = table.has("bind");
    let bind = table.parsed("bind", words::bind);
    if !bind_given && name.as_str() != LOCAL {
        table.missing("bind", "write the address and port to listen on, such as bind = \"127.0.0.1:2525\"");
    }
    let tls_words = [("off", ListenerTls::Off), ("starttls", ListenerTls::Starttls), ("implicit", ListenerTls::Implicit)];
    let tls = table.choice("tls", &tls_words).unwrap_or(default.tls);
    let auth_words = [("required", Auth::Required), ("optional", Auth::Optional), ("none", Auth::None)];
    let auth = table.choice("auth", &auth_words).unwrap_or(default.auth);
    let networks = table.list("networks", words::network).unwrap_or(default.networks);
    let delivery = table.choice("delivery", &words::DELIVERIES).unwrap_or(default.delivery);
    let direct_wait = table.duration("direct-wait", words::DIRECT_WAIT).unwrap_or(default.direct_wait);
    let limits = table.table("limits").map_or_else(default_limits, |mut limits| read_limits(&mut limits));
    let clear = table.boolean("allow-plaintext-auth").unwrap_or(false);
    table.later(&["certificate", "key"]);
    table.refused(&["client-ca", "proxy-protocol-from"]);
    table.finish();

    let bind = if bind_given { bind? } else { LOCAL_BIND };
    let listener = Listener { name, bind, tls, auth, networks, delivery, direct_wait, limits };
    check(table, &listener, clear);
    Some(listener)
}

fn read_limits(table: &mut Table<'_>) -> ListenerLimits {
    let default = default_limits();
    let limits = ListenerLimits {
        message_size: table.size("message-size", 1 << 10..=1 << 31).unwrap_or(default.message_size),
        recipients: table.number("recipients", 1..=100_000).unwrap_or(default.recipients),
        connections: table.number("connections", 1..=100_000).unwrap_or(default.connections),
        connections_per_address: table.number("connections-per-address", 1..=100_000).unwrap_or(default.connections_per_address),
        errors: table.number("errors", 1..=1000).unwrap_or(default.errors),
        idle: table.duration("idle", Duration::from_secs(1)..=Duration::from_secs(3600)).unwrap_or(default.idle),
    };
    table.finish();
    limits
}

/// What makes no sense or would harm.
fn check(table: &Table<'_>, listener: &Listener, clear: bool) {
    if listener.networks.is_empty() {
        table.fault("networks", Wrong::new("nobody could connect", "name a network, or leave the key out for loopback"));
    }
    if !listener.bind.ip().to_canonical().is_loopback() && reaches_out(listener) {
        let plain = listener.tls == ListenerTls::Off && listener.auth != Auth::None;
        if plain && !clear {
            table.fault(
                "bind",
                Wrong::new(
                    "passwords would cross the network in clear text",
                    "bind to loopback, allow only loopback in `networks`, or write allow-plaintext-auth = true if you trust that network",
                ),
            );
        }
    }
    if listener.tls != ListenerTls::Off {
        table.note("tls", "TLS on listeners comes in a later version; `outlink run` refuses this");
    }
}

/// Whether an address outside loopback may connect.
pub(super) fn reaches_out(listener: &Listener) -> bool {
    listener.networks.iter().any(|network| !words::is_loopback(network))
}
