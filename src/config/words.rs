//! Values that several tables share: networks, host names, addresses to bind to, endpoints, contracts.

use super::{
    settings::{Delivery, Server},
    table::Wrong,
};
use crate::mail::{Address, Repair};
use ipnet::{IpNet, Ipv4Net};
use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};
use url::{Host, Url};

/// The words of `delivery`.
pub(super) const DELIVERIES: [(&str, Delivery); 3] =
    [("queue", Delivery::Queue), ("direct", Delivery::Direct), ("direct-then-queue", Delivery::DirectThenQueue)];
/// The words of `repair`.
pub(super) const REPAIRS: [(&str, Repair); 3] =
    [("none", Repair::None), ("standard", Repair::Standard), ("legacy", Repair::Legacy)];
/// What `direct-wait` may be: below 100 ms nothing would ever be delivered, above ten minutes we stop waiting ourselves.
pub(super) const DIRECT_WAIT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

/// Reads `10.0.0.0/8`, `::1/128` or one address. IPv4 in IPv6 clothes (`::ffff:0:0/96`) becomes plain IPv4, because so
/// are clients compared: else that one network would be all of IPv4 and look narrow.
pub(super) fn network(text: &str) -> Result<IpNet, Wrong> {
    let parsed = match text.contains('/') {
        true => text.parse().ok(),
        false => text.parse::<IpAddr>().ok().map(IpNet::from),
    };
    let hint = "write an address, or a network such as \"10.0.0.0/8\" or \"fd00::/32\"";
    let network: IpNet = parsed.ok_or_else(|| Wrong::new(format!("`{text}` is no network"), hint))?;
    let plain = match network {
        IpNet::V6(wide) if wide.prefix_len() >= 96 => {
            wide.network().to_ipv4_mapped().and_then(|address| Ipv4Net::new(address, wide.prefix_len() - 96).ok()).map(IpNet::V4)
        }
        _ => None,
    };
    Ok(plain.unwrap_or(network).trunc())
}

/// Widest network whose addresses prove something: a whole company's 10.0.0.0/8; and its like in IPv6, a provider's allocation.
const WIDEST: (u8, u8) = (8, 32);

/// The least length of a network's prefix, where `network` is wider: almost everybody is nobody in particular.
pub(super) fn too_wide(network: &IpNet) -> Option<u8> {
    let least = if matches!(network, IpNet::V4(_)) { WIDEST.0 } else { WIDEST.1 };
    (network.prefix_len() < least).then_some(least)
}

/// Whether a network lies within loopback.
pub(super) fn is_loopback(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.network().is_loopback() && network.prefix_len() >= 8,
        IpNet::V6(network) => network.network().is_loopback() && network.prefix_len() == 128,
    }
}

/// Reads `127.0.0.1:2525` or `[::1]:2525`.
pub(super) fn bind(text: &str) -> Result<SocketAddr, Wrong> {
    let hint = match text {
        _ if text.starts_with('/') => "a listener's Unix socket is written \"unix:/path\"",
        _ => "write an IP address and a port, such as \"127.0.0.1:2525\", \"[::1]:2525\" or \"0.0.0.0:2525\"",
    };
    text.parse().map_err(|_| Wrong::new(format!("`{text}` is no address to listen on"), hint))
}

/// Takes a fully qualified host name (RFC 5321 §2.3.5): letters, digits and hyphens in two labels or more.
pub(super) fn hostname(text: &str) -> Result<String, Wrong> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let labels: Vec<_> = name.split('.').collect();
    let numeric = labels.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    match name.len() <= 253 && labels.len() > 1 && !numeric && labels.iter().all(|label| is_label(label)) {
        true => Ok(name.to_ascii_lowercase()),
        false => Err(Wrong::new(
            format!("`{text}` is no fully qualified host name"),
            "write a name with a domain, such as \"relay.example.com\": providers refuse others in EHLO",
        )),
    }
}

fn is_label(label: &str) -> bool {
    let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
}

/// Reads `smtp.example.com:587` or `[2001:db8::1]:587`.
pub(super) fn server(text: &str) -> Result<Server, Wrong> {
    let wrong =
        || Wrong::new(format!("`{text}` is no server with a port"), "write host and port, such as \"smtp.example.com:587\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid = match bare {
        Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.len() <= 253 && host.split('.').all(is_label),
    };
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    match valid {
        true => Ok(Server { host: bare.unwrap_or(host).to_ascii_lowercase(), port }),
        false => Err(wrong()),
    }
}

/// Reads an endpoint: https, or http to loopback.
pub(super) fn endpoint(text: &str) -> Result<Url, Wrong> {
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("`{text}` is no URL: {error}"), "write it with https://"))?;
    let encrypted = url.scheme() == "https" || url.scheme() == "http" && is_local(&url);
    if !encrypted {
        return Err(Wrong::new(
            format!("`{text}` is not https"),
            "secrets and tokens go there: only https is taken, http only to loopback (localhost, 127.0.0.1, [::1])",
        ));
    }
    match url.username().is_empty() && url.password().is_none() && url.fragment().is_none() {
        true => Ok(url),
        false => Err("an endpoint has no user name, password or fragment in it".into()),
    }
}

/// Whether a URL leads to this machine.
pub(super) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Reads an address with a domain.
pub(super) fn address(text: &str) -> Result<Address, Wrong> {
    let address = Address::parse(text).map_err(|error| Wrong::from(format!("`{text}` is no mail address: {error}")))?;
    match address.domain() {
        Some(_) if text.starts_with("*@") => Err(Wrong::new(format!("`{text}` stands for many addresses"), "write one address")),
        Some(_) => Ok(address),
        None => Err(Wrong::new(format!("`{text}` has no domain"), "write the whole address, such as \"alerts@example.com\"")),
    }
}

/// Reads `*@example.com`, what a mailbox for a whole domain has as its address: the domain in lower case.
pub(super) fn whole_domain(text: &str) -> Option<String> {
    let domain = text.strip_prefix("*@")?;
    hostname(domain).ok()
}

/// Reads a pattern of senders: an address, `*@domain` or `*`. A star elsewhere would match more than it seems to.
pub(super) fn sender_pattern(text: &str) -> Result<String, Wrong> {
    let rest = text.strip_prefix('*').unwrap_or(text);
    let probe = if rest.len() < text.len() { format!("x{rest}") } else { text.to_owned() };
    let whole = Address::parse(&probe)
        .is_ok_and(|address| address.domain().is_some() && (rest.len() == text.len() || rest.starts_with('@')));
    match text == "*" || whole && !rest.contains('*') {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(Wrong::new(format!("`{text}` is no pattern of senders"), "write an address, \"*@example.com\" or \"*\"")),
    }
}

/// Takes a text that can stand in one line of a protocol: no control character, not empty, not endless.
pub(super) fn word(text: &str) -> Result<String, Wrong> {
    match text {
        "" => Err("this is empty".into()),
        _ if text.len() > 1024 => Err("this is longer than 1,024 octets".into()),
        _ if text.chars().any(char::is_control) => Err("this holds a control character".into()),
        _ if text.trim() != text => Err("this begins or ends with a space".into()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_ipv4_is_undressed() {
        for (text, read) in [
            ("10.1.2.3", "10.1.2.3/32"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("::1", "::1/128"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("fd00::/32", "fd00::/32"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), read, "{text}");
        }
        for text in ["", "10.1.2", "10.1.2.3/33", "localhost", "10.0.0.0 - 10.0.0.9"] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_the_whole_of_it_and_no_more() {
        for (text, local) in [
            ("127.0.0.0/8", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("0.0.0.0/0", false),
            ("126.0.0.0/7", false),
            ("::/0", false),
        ] {
            assert_eq!(is_loopback(&network(text).unwrap()), local, "{text}");
        }
    }

    #[test]
    fn host_names_are_fully_qualified() {
        assert_eq!(hostname("Relay.Contoso.com.").unwrap(), "relay.contoso.com");
        for text in ["", "localhost", "relay", "10.1.2.3", "my_host.example.com", "-a.example.com", "a..b", "a b.example.com"] {
            assert!(hostname(text).is_err(), "{text}");
        }
    }

    #[test]
    fn servers_have_a_port() {
        assert_eq!(server("SMTP.example.com:587").unwrap().to_string(), "smtp.example.com:587");
        assert_eq!(server("[2001:db8::1]:465").unwrap().to_string(), "[2001:db8::1]:465");
        for text in [
            "",
            "smtp.example.com",
            "smtp.example.com:",
            "smtp.example.com:0",
            "smtp.example.com:99999",
            "a b:1",
            "::1:25",
            "https://x:1",
        ] {
            assert!(server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_are_encrypted_unless_they_stay_on_this_machine() {
        for text in ["https://login.example.com/token", "http://127.0.0.1:8026/token", "http://[::1]:1/t", "http://localhost/x"] {
            assert!(endpoint(text).is_ok(), "{text}");
        }
        for text in [
            "http://login.example.com/token",
            "http://localhost.example.com/",
            "ftp://localhost/",
            "login.example.com",
            "https://a:b@c/",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_star_stands_only_for_a_whole_local_part_or_for_everything() {
        for text in ["*", "*@example.com", "a@example.com"] {
            assert!(sender_pattern(text).is_ok(), "{text}");
        }
        for text in ["", "*example.com", "a*@example.com", "*@*", "*@*.example.com", "**", "example.com", "@example.com"] {
            assert!(sender_pattern(text).is_err(), "{text}");
        }
    }
}
