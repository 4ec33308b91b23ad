//! The registered application: what an administrator would enter in the provider's console, changeable while it runs.
//!
//! Each provider compares redirects in its own way. Google's desktop client may use any loopback address and port; Microsoft
//! ignores the port of `http://localhost`, takes no other host for it, and compares the path; Custom ignores the port of a
//! registered loopback IP literal (RFC 8252 §7.3) and compares the rest (RFC 9700 §4.1.3).

use super::super::{bounded::Bounded, clock::unix_seconds};
use super::jwt::PublicKey;
use crate::provider::Provider;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};
use url::{Host, Url};

/// Most redirects, keys or federations registered at once: more than any test needs. Microsoft takes 20 federations.
pub(in crate::sandbox) const MOST: usize = 20;

/// Most ids of the application: as many as a table of faults may have rows.
pub(super) const MOST_IDS: usize = 200;

/// Most assertions remembered, to notice one that comes again.
const MOST_ASSERTIONS: usize = 10_000;

/// Who may speak for the application with a token of an outside issuer.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Federation {
    pub(in crate::sandbox) issuer: String,
    pub(in crate::sandbox) subject: String,
    pub(in crate::sandbox) audience: String,
    /// Without one the signature is not looked at, because the issuer is not here to be asked.
    pub(in crate::sandbox) key: Option<PublicKey>,
}

/// What is registered.
pub(super) struct Registered {
    pub(super) public: bool,
    /// Further ids, so that links can be told apart.
    pub(super) ids: Vec<String>,
    pub(super) redirects: Vec<String>,
    pub(super) keys: Vec<PublicKey>,
    pub(super) federations: Vec<Federation>,
    /// The `jti` of assertions that were taken, with their end in Unix time.
    assertions: Bounded<u64>,
}

/// The one client of a sandbox.
pub(in crate::sandbox) struct Clients {
    provider: Provider,
    registered: Mutex<Registered>,
}

impl Clients {
    /// `public`: a native app without a credential of its own; at Google a desktop client, which has a secret all the same.
    pub(in crate::sandbox) fn new(provider: Provider, public: bool) -> Self {
        let redirects: &[&str] = match provider {
            Provider::Google => &[],
            Provider::Microsoft => &["http://localhost"],
            Provider::Custom => &["http://127.0.0.1/oauth/callback", "http://[::1]/oauth/callback"],
        };
        let registered = Registered {
            public,
            ids: Vec::new(),
            redirects: redirects.iter().map(|redirect| (*redirect).to_owned()).collect(),
            keys: Vec::new(),
            federations: Vec::new(),
            assertions: Bounded::new(MOST_ASSERTIONS),
        };
        Self { provider, registered: Mutex::new(registered) }
    }

    pub(super) fn is_public(&self) -> bool {
        self.lock().public
    }

    pub(in crate::sandbox) fn set_public(&self, public: bool) {
        self.lock().public = public;
    }

    pub(super) fn set_ids(&self, ids: Vec<String>) {
        self.lock().ids = ids;
    }

    pub(in crate::sandbox) fn has_id(&self, id: &str) -> bool {
        self.lock().ids.iter().any(|known| known == id)
    }

    pub(in crate::sandbox) fn set_redirects(&self, redirects: Vec<String>) {
        self.lock().redirects = redirects;
    }

    /// Registers one more; whether there was room.
    pub(in crate::sandbox) fn add_key(&self, key: PublicKey) -> bool {
        let mut registered = self.lock();
        let room = registered.keys.len() < MOST;
        if room {
            registered.keys.push(key);
        }
        room
    }

    pub(in crate::sandbox) fn forget_keys(&self) {
        self.lock().keys.clear();
    }

    pub(in crate::sandbox) fn set_federations(&self, federations: Vec<Federation>) {
        self.lock().federations = federations;
    }

    /// Whether the browser may be sent to `redirect`.
    pub(super) fn knows_redirect(&self, redirect: &Url) -> bool {
        let registered = self.lock();
        if self.provider == Provider::Google && registered.public {
            return is_loopback(redirect) && redirect.scheme() == "http";
        }
        registered.redirects.iter().filter_map(|known| Url::parse(known).ok()).any(|known| match self.provider {
            // Google's web clients: letter for letter.
            Provider::Google => known == *redirect,
            Provider::Microsoft => known == *redirect || is_localhost(&known) && same_but_port(&known, redirect),
            Provider::Custom => {
                known == *redirect || is_loopback(&known) && !is_localhost(&known) && same_but_port(&known, redirect)
            }
        })
    }

    /// Whether an assertion of this `jti` comes for the first time; it is remembered.
    pub(super) fn is_first(&self, jti: &str, expires: u64, now: SystemTime) -> bool {
        let mut registered = self.lock();
        let replayed = registered.assertions.get(jti).is_some_and(|end| *end > unix_seconds(now));
        registered.assertions.insert(jti.to_owned(), expires);
        !replayed
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Registered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_localhost(url: &Url) -> bool {
    url.host_str() == Some("localhost")
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether the two differ in the port at most.
fn same_but_port(known: &Url, other: &Url) -> bool {
    let without = |url: &Url| {
        let mut url = url.clone();
        url.set_port(None).ok().map(|()| url)
    };
    without(known) == without(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_compares_redirects_in_its_own_way() {
        for (provider, public, redirect, known) in [
            (Provider::Google, true, "http://127.0.0.1:5000", true),
            (Provider::Google, true, "http://[::1]:5000/any/path", true),
            (Provider::Google, true, "http://localhost:5000", true),
            (Provider::Google, true, "https://relay.example.com/callback", false),
            (Provider::Google, true, "http://192.168.1.2:5000/", false),
            (Provider::Google, false, "http://127.0.0.1:5000", false),
            (Provider::Microsoft, true, "http://localhost:5000", true),
            (Provider::Microsoft, true, "http://localhost:5000/", true),
            (Provider::Microsoft, false, "http://localhost", true),
            (Provider::Microsoft, true, "http://localhost:5000/path", false),
            (Provider::Microsoft, true, "http://127.0.0.1:5000", false),
            (Provider::Microsoft, true, "http://localhost.example.com:5000", false),
            (Provider::Custom, true, "http://127.0.0.1:5000/oauth/callback", true),
            (Provider::Custom, true, "http://[::1]:5000/oauth/callback", true),
            (Provider::Custom, true, "http://127.0.0.1:5000/oauth/callback/", false),
            (Provider::Custom, true, "http://127.0.0.1:5000/oauth/callback?a=b", false),
            (Provider::Custom, true, "http://localhost:5000/oauth/callback", false),
            (Provider::Custom, true, "http://user@127.0.0.1:5000/oauth/callback", false),
        ] {
            let clients = Clients::new(provider, public);
            assert_eq!(clients.knows_redirect(&Url::parse(redirect).unwrap()), known, "{provider} {redirect}");
        }
    }

    #[test]
    fn a_registered_redirect_is_known_to_every_provider() {
        for provider in [Provider::Google, Provider::Microsoft, Provider::Custom] {
            let clients = Clients::new(provider, false);
            clients.set_redirects(vec!["https://relay.example.com/callback".into()]);
            for (redirect, known) in [
                ("https://relay.example.com/callback", true),
                ("https://relay.example.com/callback/more", false),
                ("https://relay.example.com:444/callback", false),
                ("http://relay.example.com/callback", false),
            ] {
                assert_eq!(clients.knows_redirect(&Url::parse(redirect).unwrap()), known, "{provider} {redirect}");
            }
        }
    }
}
