//! The way to an HTTPS endpoint: straight, as the environment says, or through a proxy that is named.

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::secret::Secret;

/// The way to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in capitals or not.
    #[default]
    Environment,
    /// Straight.
    None,
    /// Through this one.
    Through {
        /// `http://host:port`.
        url: Url,
        /// Who asks, and what proves it.
        credentials: Option<(String, Option<Secret>)>,
    },
}

impl Proxy {
    /// Lets the client take this way.
    pub(super) fn lead(&self, client: reqwest::ClientBuilder) -> reqwest::Result<reqwest::ClientBuilder> {
        Ok(match self {
            Self::Environment => client,
            Self::None => client.no_proxy(),
            Self::Through { url, credentials } => {
                let mut proxy = reqwest::Proxy::all(url.as_str())?;
                if let Some((user, password)) = credentials {
                    proxy = proxy.basic_auth(user, password.as_ref().map_or("", Secret::expose));
                }
                client.no_proxy().proxy(proxy)
            }
        })
    }

    /// The proxy on the way to `endpoint`, as messages name it: host and port, never credentials.
    pub fn before(&self, endpoint: &str) -> Option<String> {
        match self {
            Self::None => None,
            Self::Through { url, .. } => Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)),
            Self::Environment => {
                let found = Matcher::from_env().intercept(&endpoint.parse().ok()?)?;
                let uri = found.uri();
                let port = uri.port_u16().map_or_else(String::new, |port| format!(":{port}"));
                Some(format!("{}{port}", uri.host()?))
            }
        }
    }
}
