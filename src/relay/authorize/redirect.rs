//! Where a browser is sent back to, and who listens there.

use super::told::refusal;
use crate::{
    config::{Link, Settings},
    provider::{self, Grant, is_loopback},
    tokens::Refusal,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};
use url::{Host, Url};

/// Who listens for the redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listens {
    /// The `[http]` listener.
    Daemon,
    /// The command that began the login.
    Command,
}

/// A redirect of one login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    /// As the provider gets it, letter by letter.
    pub(super) text: String,
    pub(super) listens: Listens,
    /// What has to be registered.
    pub(super) register: String,
}

/// The redirect of a login through `link`; `port` is one on which the asker listens.
pub(super) fn of(link: &Link, bind: SocketAddr, port: Option<u16>) -> Result<Redirect, Refusal> {
    // Without a port any will do (RFC 8252 §7.3).
    let any_port = |url: &Url| -> Result<Url, Refusal> {
        let mut with_port = url.clone();
        let _ = with_port.set_port(Some(needed(port, link)?));
        Ok(with_port)
    };
    let (url, listens) = match &link.redirect_url {
        Some(url) if is_ours(url, bind) => (url.clone(), Listens::Daemon),
        Some(url) if url.port().is_some() => (url.clone(), Listens::Command),
        Some(url) => (any_port(url)?, Listens::Command),
        None => {
            let url = Url::parse(provider::loopback_redirect(link.provider)).expect("it is a URL, as the test below says");
            (any_port(&url)?, Listens::Command)
        }
    };
    Ok(Redirect { text: provider::as_written(&url).to_owned(), listens, register: link.registration(None).reminder() })
}

fn needed(port: Option<u16>, link: &Link) -> Result<u16, Refusal> {
    let advice = format!("name a port on which you listen, or set redirect-url of [link.{}]", link.name);
    port.ok_or_else(|| refusal("nobody listens for the browser's answer", advice))
}

/// Whether the `[http]` listener is who takes what comes to `url`: it has its host and port, or `url` belongs to a reverse proxy.
fn is_ours(url: &Url, bind: SocketAddr) -> bool {
    if !is_loopback(url) {
        return true;
    }
    let bound = bind.ip();
    let reaches = match url.host() {
        // `[::]` takes both kinds, 0.0.0.0 only its own.
        Some(Host::Ipv4(ip)) => bound == IpAddr::V4(ip) || bound.is_unspecified(),
        Some(Host::Ipv6(ip)) => bound == IpAddr::V6(ip) || bound == IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Some(Host::Domain(_)) | None => bound.is_unspecified() || bound.is_loopback(),
    };
    reaches && url.scheme() == "http" && url.port() == Some(bind.port())
}

/// The redirects of `settings` that come to the `[http]` listener.
fn ours(settings: &Settings) -> impl Iterator<Item = &Url> {
    let links = settings.links.values().filter(|link| link.grant == Grant::AuthorizationCode);
    links.filter_map(|link| link.redirect_url.as_ref()).filter(|url| is_ours(url, settings.http.bind))
}

/// The paths that the `[http]` listener serves; none: it is not needed.
pub(super) fn paths(settings: &Settings) -> BTreeSet<String> {
    ours(settings).map(|url| url.path().to_owned()).collect()
}

/// Where the `[http]` listener listens: as configured, and for `localhost`, which browsers take for either, on `::1` too.
pub(super) fn addresses(settings: &Settings) -> Vec<SocketAddr> {
    let bind = settings.http.bind;
    let by_name = ours(settings).any(|url| matches!(url.host(), Some(Host::Domain(_))) && is_loopback(url));
    let twin = (by_name && bind.is_ipv4() && bind.ip().is_loopback())
        .then(|| SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), bind.port()));
    std::iter::once(bind).chain(twin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(provider: &str, redirect: &str, bind: &str) -> Settings {
        let redirect = if redirect.is_empty() { String::new() } else { format!("redirect-url = \"{redirect}\"\n") };
        let (scope, tenant) = match provider {
            "google" => ("https://mail.google.com/", ""),
            "microsoft" => ("https://outlook.office.com/SMTP.Send\", \"offline_access", "tenant = \"contoso.com\"\n"),
            _ => ("mail.send", ""),
        };
        let text = format!(
            "[link.l]\nprovider = \"{provider}\"\ngrant = \"authorization-code\"\nclient-id = \"id\"\n{tenant}\
             client-secret = {{ env = \"S\" }}\nscopes = [\"{scope}\"]\ntoken-endpoint = \"https://login.example.com/token\"\n\
             {redirect}[http]\nbind = \"{bind}\"\n"
        );
        let variables = [("S".to_owned(), "x".to_owned())].into();
        crate::config::parse(&text, &variables).unwrap_or_else(|faults| panic!("{faults:?}")).0
    }

    fn found(settings: &Settings, port: Option<u16>) -> Result<Redirect, Refusal> {
        of(settings.links.values().next().expect("one link"), settings.http.bind, port)
    }

    #[test]
    fn a_redirect_is_listened_for_by_whoever_has_its_address() {
        use Listens::{Command, Daemon};
        for (provider, redirect, bind, text, listens) in [
            ("microsoft", "", "127.0.0.1:8025", "http://localhost:4711", Command),
            ("google", "", "127.0.0.1:8025", "http://127.0.0.1:4711", Command),
            ("custom", "", "127.0.0.1:8025", "http://127.0.0.1:4711/oauth/callback", Command),
            ("microsoft", "http://localhost", "127.0.0.1:8025", "http://localhost:4711", Command),
            ("custom", "http://127.0.0.1/cb", "127.0.0.1:8025", "http://127.0.0.1:4711/cb", Command),
            ("custom", "http://127.0.0.1:9000/cb", "127.0.0.1:8025", "http://127.0.0.1:9000/cb", Command),
            ("custom", "http://127.0.0.1:8025/cb", "127.0.0.1:8025", "http://127.0.0.1:8025/cb", Daemon),
            ("microsoft", "http://localhost:8025/oauth/callback", "0.0.0.0:8025", "http://localhost:8025/oauth/callback", Daemon),
            ("custom", "http://127.0.0.1:8025/cb", "192.0.2.1:8025", "http://127.0.0.1:8025/cb", Command),
            ("custom", "http://[::1]:8025/cb", "[::1]:8025", "http://[::1]:8025/cb", Daemon),
            // The daemon would not hear what comes there.
            ("custom", "http://[::1]:8025/cb", "127.0.0.1:8025", "http://[::1]:8025/cb", Command),
            ("custom", "http://[::1]:8025/cb", "0.0.0.0:8025", "http://[::1]:8025/cb", Command),
            ("custom", "http://127.0.0.1:8025/cb", "[::1]:8025", "http://127.0.0.1:8025/cb", Command),
            ("google", "https://relay.example.com/oauth", "127.0.0.1:8025", "https://relay.example.com/oauth", Daemon),
        ] {
            let found = found(&settings(provider, redirect, bind), Some(4711)).unwrap();
            assert_eq!((found.text.as_str(), found.listens), (text, listens), "{provider} {redirect} {bind}");
        }
        let refusal = found(&settings("microsoft", "", "127.0.0.1:8025"), None).unwrap_err();
        assert!(refusal.advice.text.contains("redirect-url of [link.l]"), "{refusal}");
        let refused = found(&settings("custom", "http://127.0.0.1:9000/cb", "127.0.0.1:8025"), None);
        assert!(refused.is_ok(), "its port is known");
    }

    #[test]
    fn the_listener_serves_the_paths_that_are_its_business_and_is_not_needed_for_others() {
        for (redirect, bind, path, listening) in [
            ("", "127.0.0.1:8025", None, &["127.0.0.1:8025"][..]),
            ("http://127.0.0.1:9000/cb", "127.0.0.1:8025", None, &["127.0.0.1:8025"]),
            (
                "http://localhost:8025/oauth/callback",
                "127.0.0.1:8025",
                Some("/oauth/callback"),
                &["127.0.0.1:8025", "[::1]:8025"],
            ),
            ("https://relay.example.com/a/b?c=d", "10.1.2.3:8025", Some("/a/b"), &["10.1.2.3:8025"]),
        ] {
            let settings = settings("custom", redirect, bind);
            assert_eq!(paths(&settings).first().map(String::as_str), path, "{redirect}");
            let expected: Vec<SocketAddr> = listening.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(addresses(&settings), expected, "{redirect}");
        }
    }
}
