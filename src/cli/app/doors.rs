//! The listeners that let an app in, as its application sees them; where there is none, what would. Pure.

use crate::config::{
    Bind, Listener, ListenerTls, Settings,
    entrance::{Closed, Shown, is_clear, is_loopback, lets_in, short},
};
use ipnet::IpNet;
use std::net::IpAddr;

/// A listener as an application sees it.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Door {
    pub(super) listener: String,
    /// A name or address; where there is no port, what the listener is bound to.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) encryption: &'static str,
    /// Whether it may be used without that encryption.
    pub(super) encryption_needed: bool,
    /// The networks that may connect; empty for a Unix socket.
    pub(super) reached_by: Vec<String>,
}

/// The listeners that take one of these.
pub(super) fn open(settings: &Settings, shown: &[Shown<'_>]) -> Vec<Door> {
    let listeners = settings.listeners.values();
    let open = listeners.filter_map(|listener| {
        let taken: Vec<_> = shown.iter().copied().filter(|shown| lets_in(listener, *shown).is_ok()).collect();
        (!taken.is_empty()).then(|| door(listener, &taken, settings))
    });
    open.collect()
}

/// For each of these that no listener takes: why, and what to do.
pub(super) fn warnings(settings: &Settings, shown: &[Shown<'_>]) -> Vec<String> {
    let warning = |shown: &Shown<'_>| {
        let mut lines = vec![format!("no listener lets it in {}:", by(*shown))];
        let mut mends = Vec::new();
        for listener in settings.listeners.values() {
            let Closed { why, mend } = lets_in(listener, *shown).err()?;
            lines.push(format!("  listener {}: {why}", listener.name));
            mends.extend(mend.map(|mend| format!("{mend} in [listener.{}]", listener.name)));
        }
        match mends.first() {
            Some(mend) => lines.push(format!("next: {mend}; then `outlink reload`")),
            None => {
                lines.push(
                    "next: give it a listener of its own in outlink.toml, beside those that are there; then `outlink reload`"
                        .into(),
                );
                lines.extend(listener_for(settings, *shown).into_iter().map(|line| format!("  {line}")));
            }
        }
        Some(lines.join("\n"))
    };
    shown.iter().filter_map(warning).collect()
}

fn by(shown: Shown<'_>) -> String {
    match shown {
        Shown::Password => "by its password".to_owned(),
        Shown::Certificate => "by its certificate".to_owned(),
        Shown::User => "as a user of this machine".to_owned(),
        Shown::Network(network) => format!("from {}", short(network)),
    }
}

fn door(listener: &Listener, taken: &[Shown<'_>], settings: &Settings) -> Door {
    let is_known = taken.iter().any(|shown| matches!(shown, Shown::Network(_) | Shown::User));
    let is_near = match (&listener.bind, listener.proxy_protocol_from.is_empty()) {
        (Bind::Tcp(_), true) => {
            listener.bind.is_local() || listener.networks.iter().all(is_loopback) || !is_known && is_clear(listener)
        }
        _ => false,
    };
    let machine = || settings.hostname.clone().or_else(|| Some(hostname::get().ok()?.to_string_lossy().into_owned()));
    let (host, port) = match &listener.bind {
        Bind::Tcp(_) if !listener.proxy_protocol_from.is_empty() => {
            (Some(format!("the load balancer before {}", listener.bind)), None)
        }
        Bind::Tcp(address) => {
            let host = match (address.ip(), is_near) {
                (ip, false) if ip.is_unspecified() => machine(),
                (IpAddr::V4(ip), true) if ip.is_unspecified() => Some("127.0.0.1".to_owned()),
                (IpAddr::V6(ip), true) if ip.is_unspecified() => Some("::1".to_owned()),
                (ip, _) => Some(ip.to_string()),
            };
            (host, Some(address.port()))
        }
        Bind::Unix(_) | Bind::Passed(_) => (None, None),
    };
    let networks = || listener.networks.iter().filter(|it| !is_near || is_loopback(it)).map(short).collect();
    Door {
        listener: listener.name.to_string(),
        host: host.unwrap_or_else(|| listener.bind.to_string()),
        port,
        encryption: match listener.tls {
            ListenerTls::Off => "none",
            ListenerTls::Starttls(_) => "STARTTLS",
            ListenerTls::Implicit(_) => "SSL/TLS",
        },
        encryption_needed: match listener.tls {
            ListenerTls::Off => false,
            ListenerTls::Implicit(_) => true,
            ListenerTls::Starttls(_) => !(is_known || is_near || listener.allow_plaintext_auth),
        },
        reached_by: if matches!(listener.bind, Bind::Unix(_)) { Vec::new() } else { networks() },
    }
}

/// A listener that lets it in, as it stands in the configuration.
fn listener_for(settings: &Settings, shown: Shown<'_>) -> Vec<String> {
    let used: Vec<u16> =
        settings.listeners.values().filter_map(|it| if let Bind::Tcp(at) = it.bind { Some(at.port()) } else { None }).collect();
    let port = (2525..).find(|port| !used.contains(port)).unwrap_or(2525);
    let name = |wanted: &str| match settings.listeners.keys().any(|name| name.as_str() == wanted) {
        true => format!("[listener.{wanted}-2]"),
        false => format!("[listener.{wanted}]"),
    };
    let text = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    // The one that is there without being written would be gone.
    let only: Vec<_> = settings.listeners.keys().map(|name| name.as_str()).collect();
    let local = if only == ["local"] { text(&["[listener.local]   # unless it stands there already"]) } else { Vec::new() };
    let bind = match shown {
        Shown::Network(IpNet::V6(_)) => format!("bind = \"[::]:{port}\""),
        _ => format!("bind = \"0.0.0.0:{port}\""),
    };
    let own = match shown {
        Shown::User => vec![
            name("programs"),
            "bind = \"unix:/run/outlink/smtp.sock\"".into(),
            "socket-mode = \"0666\"".into(),
            "auth = \"none\"".into(),
        ],
        Shown::Network(network) => {
            vec![name("devices"), bind, "auth = \"none\"".into(), format!("networks = [\"{}\"]", short(network))]
        }
        Shown::Password | Shown::Certificate => [
            vec![name("network"), bind],
            text(&["tls = \"starttls\"", "certificate = \"FILE\"", "key = \"FILE\"", "networks = [\"NETWORK\"]"]),
            if shown == Shown::Certificate { text(&["client-ca = \"FILE\"", "auth = \"optional\""]) } else { Vec::new() },
        ]
        .concat(),
    };
    [local, own].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Variables};

    const REST: &str = "[app.a]\nnetworks = [\"10.1.2.3\", \"10.9.0.1\"]\nmailbox = \"m\"\n[mailbox.m]\nlink = \"l\"\naddress = \"m@example.com\"\n\
                        [link.l]\nprovider = \"google\"\ngrant = \"authorization-code\"\nclient-id = \"c\"\n";

    fn settings(listeners: &str) -> Settings {
        config::parse(&format!("hostname = \"relay.example.com\"\n{listeners}{REST}"), &Variables::new()).unwrap().0
    }

    /// Each door in short, or the last line of the first warning.
    fn told(listener: &str, shown: Shown<'_>) -> String {
        let settings = settings(&format!("[listener.local]\n{listener}"));
        let door = |door: &Door| {
            let port = door.port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}{port} {}", door.host, door.reached_by.join(","))
        };
        let doors: Vec<String> = open(&settings, &[shown]).iter().map(door).collect();
        let warnings = warnings(&settings, &[shown]);
        assert_eq!(doors.is_empty(), !warnings.is_empty(), "{doors:?} {warnings:?}");
        warnings
            .first()
            .map_or(doors.join(" "), |warning| warning.lines().skip(1).take(2).map(str::trim).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_listener_lets_in_whom_it_can_know_and_reach() {
        let near: IpNet = "127.0.0.1/32".parse().unwrap();
        let far: IpNet = "10.1.2.3/32".parse().unwrap();
        let six: IpNet = "fd00::1/128".parse().unwrap();
        let open = "bind = \"0.0.0.0:25\"\nauth = \"optional\"\nnetworks = [\"10.0.0.0/8\", \"127.0.0.0/8\"]\n";
        let proxied = "auth = \"optional\"\nnetworks = [\"10.0.0.0/8\"]\nproxy-protocol-from = [\"127.0.0.1\"]\n";
        for (listener, shown, expected) in [
            ("", Shown::Password, "127.0.0.1:2525 127.0.0.0/8,::1"),
            (
                "",
                Shown::Network(&far),
                "listener local: bind = \"127.0.0.1:2525\" is reached from this machine alone next: give it a listener of its own",
            ),
            (
                "",
                Shown::Network(&near),
                "listener local: it asks for a password (auth = \"required\") next: write auth = \"optional\" in [listener.local]",
            ),
            ("", Shown::User, "listener local: it is no Unix socket next: give it"),
            ("", Shown::Certificate, "listener local: it asks for no client certificates (tls, client-ca) next: give it"),
            (
                "auth = \"none\"\n",
                Shown::Password,
                "listener local: it takes no passwords (auth = \"none\") next: write auth = \"optional\"",
            ),
            (open, Shown::Network(&far), "relay.example.com:25 10.0.0.0/8,127.0.0.0/8"),
            (open, Shown::Network(&near), "relay.example.com:25 "),
            (open, Shown::Network(&six), "listener local: bind = \"0.0.0.0:25\" is of the other address family next: give it"),
            // Without encryption no other machine is offered AUTH.
            (open, Shown::Password, "127.0.0.1:25 127.0.0.0/8"),
            (
                "bind = \"0.0.0.0:25\"\nauth = \"optional\"\nnetworks = [\"10.0.0.0/8\"]\n",
                Shown::Password,
                "listener local: it takes no passwords from other machines without encryption next: write tls = \"starttls\"",
            ),
            (
                "bind = \"0.0.0.0:25\"\nauth = \"none\"\nnetworks = [\"10.9.0.0/16\"]\n",
                Shown::Network(&far),
                "listener local: its `networks` do not let 10.1.2.3 connect next: add \"10.1.2.3\" to networks in [listener.local]",
            ),
            ("bind = \"unix:/run/x.sock\"\nauth = \"none\"\n", Shown::User, "unix:/run/x.sock "),
            ("bind = \"unix:/run/x.sock\"\nauth = \"none\"\n", Shown::Network(&far), "listener local: it is a Unix socket"),
            (
                "bind = \"systemd:smtp\"\nauth = \"none\"\nnetworks = [\"10.1.0.0/16\"]\n",
                Shown::Network(&far),
                "systemd:smtp 10.1.0.0/16",
            ),
            (proxied, Shown::Network(&near), "listener local: behind a load balancer a loopback address proves no app"),
            (proxied, Shown::Network(&far), "the load balancer before 127.0.0.1:2525 10.0.0.0/8"),
        ] {
            let told = told(listener, shown);
            assert!(told.starts_with(expected), "{listener} {shown:?}: {told}");
        }
    }

    #[test]
    fn a_listener_that_is_proposed_is_a_good_one() {
        let far: IpNet = "10.1.2.3/32".parse().unwrap();
        let before = settings("");
        let lines = listener_for(&before, Shown::Network(&far)).join("\n");
        assert!(lines.contains("[listener.local]") && lines.contains("0.0.0.0:2526"), "{lines}");
        let after = settings(&(lines + "\n"));
        assert_eq!(after.listeners.len(), 2, "the one that was there stays");
        assert_eq!(warnings(&after, &[Shown::Network(&far)]), [] as [&str; 0]);
        let programs = settings(&(listener_for(&before, Shown::User).join("\n") + "\n"));
        assert_eq!(warnings(&programs, &[Shown::User]), [] as [&str; 0]);
    }
}
