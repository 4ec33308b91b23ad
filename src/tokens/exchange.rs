//! One HTTP exchange with a token endpoint: the `oauth2` crate's request over our HTTPS client, the answer bounded in time and size.

use std::time::Duration;

use crate::{
    oauth::{HttpRequest, HttpResponse},
    provider::NetworkFault,
    tls::{self, HTTP_WAIT},
};

/// Largest answer that is read. Token answers have a few kilobytes, error pages of proxies some more.
const LARGEST: usize = 256 * 1024;

/// The HTTP client ends by itself at [`HTTP_WAIT`]; this is for the case that it does not.
const WAIT: Duration = HTTP_WAIT.saturating_add(Duration::from_secs(1));

/// What a proxy says that wants to know who asks (RFC 9110 §15.5.8).
const WHO_ASKS: u16 = 407;

/// An HTTPS client, and the way it takes.
#[derive(Debug, Clone, Default)]
pub(super) struct Http {
    pub(super) client: reqwest::Client,
    pub(super) proxy: tls::Proxy,
}

/// Why an exchange failed. Texts name no URL: those who print them do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("did not answer within {} seconds", HTTP_WAIT.as_secs())]
    TimedOut,
    #[error("answered more than {} KiB", LARGEST / 1024)]
    TooLarge,
    #[error("could not be asked{}: {why}", through(.proxy.as_deref()))]
    Failed {
        /// The proxy that was on the way.
        proxy: Option<String>,
        why: String,
    },
    #[error(
        "could not be asked: the proxy {proxy} lets nobody through without the right user and password; set proxy-user and \
         proxy-password of the link, or those in HTTPS_PROXY"
    )]
    WhoAsks { proxy: String },
}

fn through(proxy: Option<&str>) -> String {
    proxy.map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"))
}

impl Error {
    /// What failed on the way, where it is one of the known failures.
    pub(super) fn fault(&self) -> Option<NetworkFault> {
        match self {
            Self::TimedOut => Some(NetworkFault::Silent),
            Self::TooLarge => Some(NetworkFault::NotAnEndpoint),
            Self::WhoAsks { .. } => Some(NetworkFault::ProxyPassword),
            Self::Failed { proxy, why } => match (NetworkFault::read(why)?, proxy) {
                // Behind a proxy nobody else is connected to.
                (NetworkFault::Refused | NetworkFault::ConnectTimedOut | NetworkFault::NoSuchName, Some(_)) => {
                    Some(NetworkFault::ProxyUnreachable)
                }
                (fault, _) => Some(fault),
            },
        }
    }

    fn of(error: reqwest::Error, proxy: Option<String>) -> Self {
        if error.is_timeout() && !error.is_connect() {
            return Self::TimedOut;
        }
        let why = chain(&error.without_url());
        match proxy {
            // The tunnel's error has no public type.
            Some(proxy) if why.contains("proxy authorization required") => Self::WhoAsks { proxy },
            proxy => Self::Failed { proxy, why },
        }
    }
}

/// The error with its causes: what helps (refused, no such name, unknown issuer) is at the end of the chain.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Sends `request`.
pub(super) async fn exchange(http: Http, request: HttpRequest) -> Result<HttpResponse, Error> {
    tokio::time::timeout(WAIT, bounded(http, request)).await.unwrap_or(Err(Error::TimedOut))
}

async fn bounded(Http { client, proxy }: Http, request: HttpRequest) -> Result<HttpResponse, Error> {
    let proxy = proxy.before(&request.uri().to_string());
    let failed = |error| Error::of(error, proxy.clone());
    let mut response = client.execute(request.try_into().map_err(failed)?).await.map_err(failed)?;
    // Without a tunnel the proxy's word comes as if it were the endpoint's.
    if let (WHO_ASKS, Some(proxy)) = (response.status().as_u16(), &proxy) {
        return Err(Error::WhoAsks { proxy: proxy.clone() });
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        if body.len() + piece.len() > LARGEST {
            return Err(Error::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    let mut answer = HttpResponse::new(body);
    *answer.status_mut() = response.status();
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_on_the_way_has_its_name() {
        let failed = |proxy: Option<&str>, why: &str| Error::Failed { proxy: proxy.map(str::to_owned), why: why.into() };
        let refused = "error sending request: tcp connect error: Connection refused (os error 111)";
        for (error, fault) in [
            (Error::TimedOut, Some(NetworkFault::Silent)),
            (Error::TooLarge, Some(NetworkFault::NotAnEndpoint)),
            (Error::WhoAsks { proxy: "http://p".into() }, Some(NetworkFault::ProxyPassword)),
            (failed(None, refused), Some(NetworkFault::Refused)),
            (failed(Some("http://p"), refused), Some(NetworkFault::ProxyUnreachable)),
            (failed(Some("http://p"), "invalid peer certificate: UnknownIssuer"), Some(NetworkFault::UntrustedIssuer)),
            (failed(None, "something new"), None),
        ] {
            assert_eq!(error.fault(), fault, "{error}");
        }
    }
}
