//! One HTTPS client for each private CA and each way to a provider; links that share both share one.

use super::exchange::Http;
use crate::{
    config::{self, Link, SecretError, Settings},
    mail::Advice,
    provider::own,
    secret::Ring,
    tls,
};
use std::path::PathBuf;

/// Why a link's endpoints cannot be asked, as it is configured.
#[derive(Debug, Clone)]
pub(super) struct Hindrance {
    pub(super) reason: String,
    pub(super) advice: Advice,
}

/// What a client is made with.
type Make = (Option<PathBuf>, config::Proxy);

/// The clients of all links.
#[derive(Default)]
pub(super) struct Clients(Vec<(Make, Result<Http, Hindrance>)>);

impl Clients {
    /// Makes them.
    pub(super) fn of(settings: &Settings, ring: &Ring) -> Result<Self, tls::Error> {
        let mut clients = Self(Vec::new());
        for link in settings.links.values() {
            if clients.find(link).is_none() {
                let made = match proxy(link, ring) {
                    Ok(proxy) => Ok(Http { client: tls::https_client(link.ca_file.as_deref(), &proxy)?, proxy }),
                    Err(hindrance) => Err(hindrance),
                };
                clients.0.push(((link.ca_file.clone(), link.proxy.clone()), made));
            }
        }
        Ok(clients)
    }

    /// The one for `link`.
    pub(super) fn get(&self, link: &Link) -> Result<Http, Hindrance> {
        self.find(link).cloned().unwrap_or_else(|| Ok(Http::default()))
    }

    fn find(&self, link: &Link) -> Option<&Result<Http, Hindrance>> {
        let (_, made) = self.0.iter().find(|((ca_file, proxy), _)| *ca_file == link.ca_file && *proxy == link.proxy)?;
        Some(made)
    }
}

/// The way to a link's endpoints. Its password is read when the settings are taken up.
pub(super) fn proxy(link: &Link, ring: &Ring) -> Result<tls::Proxy, Hindrance> {
    way(&link.proxy, ring).map_err(|error| Hindrance {
        reason: format!("proxy-password of link {}: {error}", link.name),
        advice: own::PROXY_PASSWORD.saying("after that run `outlink reload`".into()),
    })
}

/// The way that is configured, with the proxy's password.
pub fn way(proxy: &config::Proxy, ring: &Ring) -> Result<tls::Proxy, SecretError> {
    Ok(match proxy {
        config::Proxy::Environment => tls::Proxy::Environment,
        config::Proxy::None => tls::Proxy::None,
        config::Proxy::Url { url, user, password } => {
            let password = password.as_ref().map(|source| source.read(ring)).transpose()?;
            tls::Proxy::Through { url: url.clone(), credentials: user.clone().map(|user| (user, password)) }
        }
    })
}
