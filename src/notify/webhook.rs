//! A hook that is a webhook: the event as JSON, posted and signed by the scheme of Standard Webhooks.
//!
//! Its URL may be a secret, so errors name its host alone.

use super::{
    attempt::{Done, Failure},
    event::{Event, one_line},
    signature::sign,
};
use crate::{
    config::Webhook,
    secret::{Ring, Secret},
    tls, tokens,
};
use reqwest::{StatusCode, header::CONTENT_TYPE};
use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, timeout_at};

/// Octets of an answer that are told: receivers say in a sentence what they do not like.
const TOLD: usize = 300;

/// What it takes to post.
struct Means {
    client: reqwest::Client,
    secret: Option<Secret>,
    proxy: Option<String>,
}

/// Posts it once.
pub(super) async fn post(
    webhook: &Webhook,
    event: &Event,
    json: String,
    (ring, now): (Arc<Ring>, SystemTime),
    limit: Duration,
) -> Result<Done, Failure> {
    let deadline = Instant::now() + limit;
    let place = webhook.place();
    let late = || Failure::passing(format!("{place} did not answer within {} seconds", limit.as_secs()), "look whether it is up");
    let means = {
        let webhook = webhook.clone();
        // Secrets and certificates are read anew each time, and their files may lie on a share that hangs.
        let made = tokio::task::spawn_blocking(move || means(&webhook, &ring));
        let broken = |error: tokio::task::JoinError| Failure::passing(error.to_string(), "look at the log before this");
        timeout_at(deadline, made).await.map_err(|_| late())?.map_err(broken)??
    };
    let way = means.proxy.as_deref().map(|proxy| format!(" (through the proxy {proxy})")).unwrap_or_default();
    let request = sign_request(&means, webhook, event, json, now)?.timeout(limit);
    let exchange = async {
        let mut response = request.send().await?;
        let (status, mut said) = (response.status(), Vec::new());
        // A verdict counts, whatever comes behind it.
        while said.len() < TOLD && !status.is_success() {
            let Ok(Some(piece)) = response.chunk().await else { break };
            said.extend_from_slice(&piece[..piece.len().min(TOLD)]);
        }
        Ok::<_, reqwest::Error>((status, said))
    };
    match timeout_at(deadline, exchange).await {
        Err(_) => Err(late()),
        Ok(Err(error)) if error.is_timeout() && !error.is_connect() => Err(late()),
        Ok(Err(error)) => {
            let step = "look whether it is up and reachable from here, and whether its certificate is trusted (ca-file)";
            Err(Failure::passing(format!("cannot post to {place}{way}: {}", causes(error.without_url())), step))
        }
        Ok(Ok((status, said))) => verdict(status, &place, &said),
    }
}

fn means(webhook: &Webhook, ring: &Ring) -> Result<Means, Failure> {
    let way = tokens::way(&webhook.proxy, ring).map_err(|error| Failure::passing(error.to_string(), "mend that"))?;
    let client =
        tls::https_client(webhook.ca_file.as_deref(), &way).map_err(|error| Failure::passing(error.to_string(), "mend that"))?;
    let secret = webhook.secret.as_ref().map(|source| source.read(ring)).transpose();
    let secret = secret.map_err(|error| Failure::passing(error.to_string(), "mend that"))?;
    Ok(Means { client, secret, proxy: way.before(webhook.url.as_str()) })
}

fn sign_request(
    means: &Means,
    webhook: &Webhook,
    event: &Event,
    json: String,
    now: SystemTime,
) -> Result<reqwest::RequestBuilder, Failure> {
    let timestamp = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut request = means.client.post(webhook.url.clone()).header(CONTENT_TYPE, "application/json");
    request = request.header("webhook-id", &event.id).header("webhook-timestamp", timestamp.to_string());
    if let Some(secret) = &means.secret {
        let broken = || {
            Failure::lasting(
                "the secret begins with whsec_ and is no base64".to_owned(),
                "copy it whole from the receiver's page",
            )
        };
        request = request.header("webhook-signature", sign(secret, &event.id, timestamp, &json).ok_or_else(broken)?);
    }
    Ok(request.body(json))
}

/// What the answer means: whether it makes sense to come again.
fn verdict(status: StatusCode, place: &str, said: &[u8]) -> Result<Done, Failure> {
    if status.is_success() {
        return Ok(Done(format!("{place} answered {status}")));
    }
    let text = one_line(&String::from_utf8_lossy(&said[..said.len().min(TOLD)]));
    let said = if text.is_empty() { text } else { format!(": {text}") };
    let why = format!("{place} answered {status}{said}");
    Err(match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Failure::passing(why, "let the receiver take more"),
        _ if status.is_server_error() => Failure::passing(why, "look at the receiver's log"),
        _ if status.is_redirection() => Failure::lasting(why, "redirects are not followed: write the URL where it leads to"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Failure::lasting(why, "compare the hook's secret with the receiver's")
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => Failure::lasting(why, "correct the hook's url"),
        _ => Failure::lasting(why, "look at the receiver's log: it does not like what is posted"),
    })
}

/// An error with what lies behind it, as far as that says more.
fn causes(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Proxy, mail::State, notify::event::tests::event};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    async fn post_to(address: &str, limit: Duration) -> Result<Done, Failure> {
        tls::choose_provider();
        let url = url::Url::parse(&format!("http://{address}/services/marked-secret-path")).unwrap();
        let secret = Some(crate::config::SecretSource::Plain(Secret::new("marked-secret".into())));
        let webhook = Webhook { url, secret, ca_file: None, proxy: Proxy::None };
        let event = event("alerts", State::Ready, State::NeedsConsent);
        let ring = Arc::new(Ring::new(crate::key::fresh().unwrap()));
        let posted = post(&webhook, &event, event.json(), (ring, SystemTime::UNIX_EPOCH), limit).await;
        assert!(!format!("{posted:?}{webhook:?}").contains("marked"), "{posted:?}{webhook:?}");
        posted
    }

    /// Answers one request with `answer` and goes on holding the connection; gives what came.
    async fn receiver(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut came, mut buffer) = (Vec::new(), [0; 4096]);
            while !came.ends_with(b"}") {
                let length = stream.read(&mut buffer).await.unwrap();
                came.extend_from_slice(&buffer[..length]);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Never closes by itself.
            let _ = stream.read(&mut buffer).await;
            String::from_utf8(came).unwrap()
        });
        (address, served)
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn what_is_posted_is_signed_and_any_2xx_is_good() {
        let (address, served) = receiver("HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nnever whole").await;
        assert_eq!(post_to(&address, LIMIT).await.unwrap().0, format!("http://{address} answered 202 Accepted"));
        let came = served.await.unwrap();
        let event = event("alerts", State::Ready, State::NeedsConsent);
        let expected = sign(&Secret::new("marked-secret".into()), &event.id, 0, &event.json()).unwrap();
        for line in [
            "content-type: application/json".into(),
            format!("webhook-id: {}", event.id),
            "webhook-timestamp: 0".into(),
            format!("webhook-signature: {expected}"),
        ] {
            assert!(came.lines().any(|found| found == line), "{line}: {came}");
        }
        assert!(came.ends_with(&event.json()));
    }

    #[tokio::test]
    async fn an_answer_says_whether_to_come_again() {
        for (answer, is_passing, expected) in [
            (
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 8\r\n\r\ndown\x1b[0m",
                true,
                "503 Service Unavailable: down [0m",
            ),
            ("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", true, "429 Too Many Requests"),
            ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", false, "401 Unauthorized"),
            ("HTTP/1.1 301 Moved Permanently\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", false, "301"),
            ("nonsense\r\n\r\n", true, "cannot post to"),
        ] {
            let (address, served) = receiver(answer).await;
            let failure = post_to(&address, LIMIT).await.unwrap_err();
            assert!(failure.is_passing == is_passing && failure.why.contains(expected), "{answer}: {failure:?}");
            served.abort();
        }
    }

    #[tokio::test]
    async fn a_receiver_that_never_answers_is_left_at_the_timeout() {
        let (address, served) = receiver("").await;
        let failure = post_to(&address, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!((failure.why, failure.is_passing), (format!("http://{address} did not answer within 1 seconds"), true));
        served.abort();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let failure = post_to(&address, LIMIT).await.unwrap_err();
        assert!(failure.why.contains("Connection refused") && failure.is_passing, "{failure:?}");
    }
}
