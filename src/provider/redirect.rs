//! Where a browser is sent back to after a login: which addresses are its own machine's, and the one of a link that names none.

use super::Provider;
use url::{Host, Url};

/// The redirect of a link that names none, without the port, which is a free one (RFC 8252 §7.3). Entra lets only the name
/// `localhost` have any port.
pub fn loopback_redirect(provider: Provider) -> &'static str {
    match provider {
        Provider::Microsoft => "http://localhost",
        Provider::Google => "http://127.0.0.1",
        Provider::Custom => "http://127.0.0.1/oauth/callback",
    }
}

/// Whether `url` leads to the machine on which the browser runs.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The URL as it was written: a path of `/` alone is what the parser adds to none, and providers compare letter by letter.
pub fn as_written(url: &Url) -> &str {
    let text = url.as_str();
    if url.path() == "/" && url.query().is_none() { text.trim_end_matches('/') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_loopback() {
        for (url, local) in [
            ("http://localhost", true),
            ("http://localhost:1/x", true),
            ("http://relay.localhost/", true),
            ("http://[::1]:1", true),
            ("http://127.0.0.1/", true),
            ("http://localhost.example.com", false),
            ("https://relay.example.com/localhost", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), local, "{url}");
        }
    }

    #[test]
    fn a_url_stays_as_it_was_written() {
        for url in ["http://localhost", "http://localhost:8025", "https://relay.example.com/cb/", "https://relay.example.com/?a"]
        {
            assert_eq!(as_written(&Url::parse(url).unwrap()), url);
        }
    }
}
