//! `[listener.NAME]`.

use super::{
    settings::{Auth, Bind, Delivery, Listener, ListenerLimits, ListenerTls, TlsFiles},
    table::{Table, Wrong},
    tls_files, words,
};
use crate::mail::{Name, Repair};
use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// The listener that exists when none is configured, and whose `bind` has a default.
const LOCAL: &str = "local";
/// Not 25, which needs a privilege and is often taken.
const LOCAL_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2525);

/// Of a Unix socket: the owner, who is the service, and its group.
const SOCKET_MODE: u32 = 0o660;
/// Longest path of a Unix socket: 107 octets (unix(7)), and room for the name under which it is made.
const LONGEST_PATH: usize = 90;

/// Ports below need a privilege.
const LOWEST_FREE_PORT: u16 = 1024;

/// Octets of a message where no listener says otherwise, and of one that was left in the drop directory: what the large providers take.
pub const MESSAGE_SIZE: u64 = 35 << 20;

/// Recipients of a message, likewise.
pub const RECIPIENTS: usize = 1000;

/// The listener of a configuration without any.
pub(super) fn default() -> Option<Listener> {
    Some(Listener {
        name: Name::parse(LOCAL).ok()?,
        bind: Bind::Tcp(LOCAL_BIND),
        socket_mode: SOCKET_MODE,
        socket_group: None,
        tls: ListenerTls::Off,
        auth: Auth::Required,
        allow_plaintext_auth: false,
        networks: loopback(),
        proxy_protocol_from: Vec::new(),
        delivery: Delivery::Queue,
        direct_wait: Duration::from_secs(60),
        limits: default_limits(),
        repair: Repair::Standard,
    })
}

/// For messages that were left in a directory: whoever owns the file is the peer, and nothing is asked but that.
pub fn of_drops() -> Option<Listener> {
    let default = default()?;
    Some(Listener { name: Name::parse("drop").ok()?, auth: Auth::None, networks: Vec::new(), ..default })
}

/// Whether messages that come in there were left in a directory; all others let somebody connect.
pub fn is_of_drops(listener: &Listener) -> bool {
    listener.networks.is_empty()
}

fn loopback() -> Vec<IpNet> {
    ["127.0.0.0/8", "::1/128"].iter().filter_map(|network| network.parse().ok()).collect()
}

fn default_limits() -> ListenerLimits {
    ListenerLimits {
        message_size: MESSAGE_SIZE,
        recipients: RECIPIENTS,
        connections: 1000,
        connections_per_address: 50,
        errors: 10,
        idle: Duration::from_secs(300),
    }
}

/// Reads one.
pub(super) fn read(name: Name, table: &mut Table<'_>) -> Option<Listener> {
    let default = default()?;
    let given = Given::of(table);
    let bind = table.parsed("bind", bind);
    if !given.bind && name.as_str() != LOCAL {
        table.missing("bind", "write the address and port to listen on, such as bind = \"127.0.0.1:2525\"");
    }
    let socket_mode = table.parsed("socket-mode", mode).unwrap_or(default.socket_mode);
    let socket_group = table.parsed("socket-group", words::word);
    let tls = take_tls(table, &given);
    let auth_words = [("required", Auth::Required), ("optional", Auth::Optional), ("none", Auth::None)];
    let auth = table.choice("auth", &auth_words).unwrap_or(default.auth);
    let networks = table.list("networks", words::network).unwrap_or(default.networks);
    let proxy_protocol_from = table.list("proxy-protocol-from", words::network).unwrap_or_default();
    check_proxies(table, &proxy_protocol_from);
    let delivery = table.choice("delivery", &words::DELIVERIES).unwrap_or(default.delivery);
    let direct_wait = table.duration("direct-wait", words::DIRECT_WAIT).unwrap_or(default.direct_wait);
    let limits = table.table("limits").map_or_else(default_limits, |mut limits| read_limits(&mut limits));
    let repair = table.choice("repair", &words::REPAIRS).unwrap_or(default.repair);
    let allow_plaintext_auth = table.boolean("allow-plaintext-auth").unwrap_or(false);
    table.finish();

    let bind = if given.bind { bind? } else { default.bind };
    let listener = Listener {
        name,
        bind,
        socket_mode,
        socket_group,
        tls: tls?,
        auth,
        allow_plaintext_auth,
        networks,
        proxy_protocol_from,
        delivery,
        direct_wait,
        limits,
        repair,
    };
    check(table, &listener, &given);
    Some(listener)
}

/// Who may name the client of a connection may be every app that is known by its address.
fn check_proxies(table: &Table<'_>, proxies: &[IpNet]) {
    for (index, network) in proxies.iter().enumerate() {
        if let Some(least) = words::too_wide(network) {
            let hint = "name the load balancers' own addresses; whoever has one of these could write a header and be any app by its address";
            let wrong = Wrong::new(format!("{network} is wider than /{least}: that is an open relay"), hint);
            table.fault_in("proxy-protocol-from", index, wrong);
        }
    }
}

/// Which keys stand there; a key that was taken cannot be asked for any more.
struct Given {
    bind: bool,
    networks: bool,
    /// Of a Unix socket.
    socket: Option<&'static str>,
    tls: bool,
    /// Of a certificate.
    certificate: Option<&'static str>,
}

impl Given {
    fn of(table: &Table<'_>) -> Self {
        let first = |keys: &[&'static str]| keys.iter().copied().find(|key| table.has(key));
        Self {
            bind: table.has("bind"),
            networks: table.has("networks"),
            socket: first(&["socket-mode", "socket-group"]),
            tls: table.has("tls"),
            certificate: first(&["certificate", "key", "client-ca"]),
        }
    }
}

/// Reads `127.0.0.1:2525`, `unix:/run/outlink/smtp.sock` or `systemd:NAME`.
fn bind(text: &str) -> Result<Bind, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        let hint = "write the whole path, such as \"unix:/run/outlink/smtp.sock\"";
        return match path.starts_with('/') && path.len() <= LONGEST_PATH && !path.ends_with('/') && !path.contains('\0') {
            true => Ok(Bind::Unix(path.into())),
            false if path.len() > LONGEST_PATH => {
                Err(Wrong::new(format!("this path is longer than {LONGEST_PATH} octets"), "the system allows no longer ones"))
            }
            false => Err(Wrong::new(format!("`{path}` is no path of a socket"), hint)),
        };
    }
    if let Some(name) = text.strip_prefix("systemd:") {
        let is_name = !name.is_empty() && name.len() < 256 && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        let hint = "write the FileDescriptorName= of the socket unit, such as \"systemd:smtp\"";
        return match is_name {
            true => Ok(Bind::Passed(name.to_owned())),
            false => Err(Wrong::new(format!("`{name}` is no name of a passed socket"), hint)),
        };
    }
    words::bind(text).map(Bind::Tcp)
}

/// Reads `0660`.
fn mode(text: &str) -> Result<u32, Wrong> {
    let parsed = u32::from_str_radix(text, 8).ok().filter(|mode| text.len() >= 3 && *mode <= 0o777 && mode & 0o600 == 0o600);
    parsed.ok_or_else(|| {
        Wrong::new(format!("`{text}` is no mode of a socket"), "write it as chmod takes it, such as \"0660\" or \"0666\"")
    })
}

/// `tls` with its files; `None` after a fault.
fn take_tls(table: &mut Table<'_>, given: &Given) -> Option<ListenerTls> {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        Off,
        Starttls,
        Implicit,
    }
    let is_given = given.tls;
    let word = table.choice("tls", &[("off", Word::Off), ("starttls", Word::Starttls), ("implicit", Word::Implicit)]);
    let (certificate, key, client_ca) = (table.path("certificate"), table.path("key"), table.path("client-ca"));
    let word = if is_given { word? } else { Word::Off };
    if word == Word::Off {
        if let Some(key) = given.certificate {
            let hint = "write tls = \"starttls\" or \"implicit\", or take this out";
            match is_given {
                true => table.note(key, Wrong::new("this is not used: tls is \"off\"", "")),
                false => table.fault(key, Wrong::new("this is not used without `tls`", hint)),
            }
        }
        return Some(ListenerTls::Off);
    }
    let Some(certificate) = certificate else {
        if given.certificate != Some("certificate") {
            table.missing("certificate", "write the path of the listener's certificate in PEM form, and that of its `key`");
        }
        return None;
    };
    let files = TlsFiles { key: key.unwrap_or_else(|| certificate.clone()), certificate, client_ca };
    tls_files::check(table, &files);
    Some(match word {
        Word::Implicit => ListenerTls::Implicit(files),
        Word::Starttls | Word::Off => ListenerTls::Starttls(files),
    })
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
fn check(table: &Table<'_>, listener: &Listener, given: &Given) {
    if listener.networks.is_empty() {
        table.fault("networks", Wrong::new("nobody could connect", "name a network, or leave the key out for loopback"));
    }
    check_socket(table, listener, given);
    check_passwords(table, listener);
    if listener.auth == Auth::Required && listener.tls.files().is_some_and(|files| files.client_ca.is_some()) {
        let hint = "an app that its certificate proves needs auth = \"optional\" or \"none\"";
        table.note("client-ca", Wrong::new("a password is asked for all the same: `auth` is \"required\"", hint));
    }
}

/// Keys that belong to another kind of socket.
fn check_socket(table: &Table<'_>, listener: &Listener, given: &Given) {
    if let Bind::Tcp(address) = listener.bind
        && (1..LOWEST_FREE_PORT).contains(&address.port())
    {
        let hint = "let systemd open it (outlink.socket), and write bind = \"systemd:smtp\": docs/guide.md shows how";
        table.note("bind", Wrong::new("ports below 1024 need a privilege that the service does not have", hint));
    }
    let is_unix = matches!(listener.bind, Bind::Unix(_));
    if let Some(key) = given.socket.filter(|_| !is_unix) {
        let hint = match listener.bind {
            Bind::Passed(_) => "SocketMode= and SocketGroup= of the socket unit say it",
            _ => "write bind = \"unix:/run/outlink/smtp.sock\", or take this out",
        };
        table.fault(key, Wrong::new("this belongs to a Unix socket that outlink makes", hint));
    }
    if is_unix && given.networks {
        let hint = "socket-mode and socket-group say who may connect";
        table.note("networks", Wrong::new("a Unix socket has no addresses: this is not used", hint));
    }
    if is_unix && !listener.proxy_protocol_from.is_empty() {
        let hint = "let the load balancer connect by TCP";
        table.fault("proxy-protocol-from", Wrong::new("nobody comes from an address by a Unix socket", hint));
    }
}

/// Passwords that would cross a network in clear text.
fn check_passwords(table: &Table<'_>, listener: &Listener) {
    // A proxy on this machine brings clients of another.
    let is_near = listener.bind.is_local() && listener.proxy_protocol_from.is_empty() || !reaches_out(listener);
    let has_tls = listener.tls != ListenerTls::Off;
    let is_needless = listener.auth == Auth::None || matches!(listener.tls, ListenerTls::Implicit(_)) || is_near;
    match (listener.allow_plaintext_auth, listener.auth) {
        (true, _) if is_needless => table.note("allow-plaintext-auth", "this has no effect here"),
        (true, _) => {
            let hint = match has_tls {
                true => "take this out, and apps have to use STARTTLS before they log in",
                false => "use tls = \"starttls\" or \"implicit\" for apps that can",
            };
            let message = "passwords may cross the network in clear text: whoever sees the traffic can send as these apps";
            table.note("allow-plaintext-auth", Wrong::new(message, hint));
        }
        (false, Auth::Required) if !is_near && !has_tls => {
            let key = if listener.bind.is_local() { "networks" } else { "bind" };
            let hint = "bind to loopback, allow only loopback in `networks`, use `tls`, or write allow-plaintext-auth = true if you trust \
                        that network";
            table.fault(key, Wrong::new("passwords would cross the network in clear text", hint));
        }
        (false, Auth::Optional) if !is_near && !has_tls => {
            let hint =
                "AUTH is not offered to other machines; use `tls`, or allow-plaintext-auth = true if you trust that network";
            table.note("auth", Wrong::new("passwords are taken from this machine alone: there is no TLS", hint));
        }
        (false, _) => {}
    }
}

/// Whether an address outside loopback may connect.
pub(super) fn reaches_out(listener: &Listener) -> bool {
    listener.networks.iter().any(|network| !words::is_loopback(network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_an_address_a_path_or_a_name() {
        for text in ["127.0.0.1:2525", "[::1]:25", "unix:/run/outlink/smtp.sock", "systemd:smtp", "systemd:outlink.socket"] {
            assert_eq!(bind(text).unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "a".repeat(LONGEST_PATH));
        for text in
            ["", "localhost:25", "/run/smtp.sock", "unix:smtp.sock", "unix:/run/", "unix:", "systemd:", "systemd:a:b", &long]
        {
            assert!(bind(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_lets_the_service_itself_in() {
        for (text, read) in [("0660", Some(0o660)), ("666", Some(0o666)), ("0600", Some(0o600))] {
            assert_eq!(mode(text).ok(), read);
        }
        for text in ["", "0", "660x", "0888", "0066", "07777", "rw-rw----"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }
}
