//! One HTTP exchange with a token endpoint: the `oauth2` crate's request over our HTTPS client, the answer bounded in time and size.

use std::time::Duration;

use crate::{
    oauth::{HttpRequest, HttpResponse},
    tls::HTTP_WAIT,
};

/// Largest answer that is read. Token answers have a few kilobytes, error pages of proxies some more.
const LARGEST: usize = 256 * 1024;

/// The HTTP client ends by itself at [`HTTP_WAIT`]; this is for the case that it does not.
const WAIT: Duration = HTTP_WAIT.saturating_add(Duration::from_secs(1));

/// Why an exchange failed. Texts name no URL: those who print them do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("did not answer within {} seconds", HTTP_WAIT.as_secs())]
    TimedOut,
    #[error("answered more than {} KiB", LARGEST / 1024)]
    TooLarge,
    #[error("could not be asked: {0}")]
    Failed(String),
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        match error.is_timeout() {
            true => Self::TimedOut,
            false => Self::Failed(chain(&error.without_url())),
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
pub(super) async fn exchange(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, Error> {
    tokio::time::timeout(WAIT, bounded(http, request)).await.unwrap_or(Err(Error::TimedOut))
}

async fn bounded(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, Error> {
    let mut response = http.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
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
