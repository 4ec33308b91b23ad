//! The listener to which providers send a person's browser back after a login, and the page that it shows.
//!
//! Layer 7. It serves a few paths, to GET alone, and reads no body; connections, heads and waits are bounded. What it shows holds no
//! code and no token, nor does any log line.

mod page;

pub use page::Ended;

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, Response, StatusCode, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

/// Connections at once; a browser makes two or three.
const MOST_CONNECTIONS: usize = 64;

/// Longest wait for a request's head.
const HEAD: Duration = Duration::from_secs(10);

/// Largest head: an answer of Entra's has some 2 KiB, cookies of other services on `localhost` come on top.
const LARGEST_HEAD: usize = 64 * 1024;

/// Longest life of a connection: a login that is tried at the provider takes most of it.
const LIFE: Duration = Duration::from_secs(180);

/// How long pages that are being made are waited for at the end.
const LEAVE: Duration = Duration::from_secs(5);

/// Wait after a failed accept (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who takes what a browser brings.
pub trait Answers: Send + Sync + 'static {
    /// Whether something is expected at this path.
    fn serves(&self, path: &str) -> bool;

    /// Takes the query of a redirect; how the login ended.
    fn answer(&self, query: String) -> impl Future<Output = Ended> + Send;
}

/// Listens at `addresses`, all or none.
pub async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let mut sockets = Vec::new();
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(socket) => sockets.push(socket),
            // A machine without IPv6 has no `::1`; `localhost` is 127.0.0.1 there.
            Err(error) if !sockets.is_empty() && !in_use(&error) => tracing::debug!(%address, %error, "not listening here"),
            Err(error) => return Err((*address, error)),
        }
    }
    Ok(sockets)
}

fn in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Serves `sockets` until `stop` ends, and finishes the pages under way.
pub async fn serve<A: Answers>(sockets: Vec<TcpListener>, answers: Arc<A>, stop: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&sockets, &places) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, place)) => drop(connections.spawn(connection(stream, place, answers.clone()))),
            Err(error) => {
                tracing::warn!(%error, "the listener for logins cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(sockets);
    // What is not finished by then ends with the set.
    let _ = tokio::time::timeout(LEAVE, async { while connections.join_next().await.is_some() {} }).await;
}

/// The next connection for which there is a place.
async fn accept(sockets: &[TcpListener], places: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let any = std::future::poll_fn(|cx| {
        let ready = sockets.iter().find_map(|socket| match socket.poll_accept(cx) {
            std::task::Poll::Ready(accepted) => Some(accepted),
            std::task::Poll::Pending => None,
        });
        ready.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    });
    Ok((any.await?.0, place))
}

async fn connection<A: Answers>(stream: TcpStream, place: OwnedSemaphorePermit, answers: Arc<A>) {
    let _place = place;
    let service = service_fn(|request| {
        let answers = answers.clone();
        async move { Ok::<_, Infallible>(reply(&request, &*answers).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LARGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(LIFE, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a browser's connection ended early"),
        Err(_) => tracing::debug!("a browser's connection lasted too long"),
    }
}

async fn reply<A: Answers>(request: &Request<Incoming>, answers: &A) -> Response<Body> {
    let ended = match (answers.serves(request.uri().path()), request.method()) {
        (false, _) => return plain(StatusCode::NOT_FOUND, "there is nothing here"),
        // Programs that look at links before people do use others.
        (true, &Method::GET) => answers.answer(request.uri().query().unwrap_or_default().to_owned()).await,
        (true, _) => return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here"),
    };
    let status = if ended.is_good() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    finish(status, "text/html; charset=utf-8", page::page(&ended))
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    finish(status, "text/plain; charset=utf-8", text.to_owned())
}

fn finish(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, page::POLICY),
        (header::CONNECTION, "close"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::authorize::{Login, Progress, Why};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::oneshot,
    };

    /// Answers with what was asked, so that a test sees what reached it.
    struct Echo;

    impl Answers for Echo {
        fn serves(&self, path: &str) -> bool {
            path == "/oauth/callback"
        }

        async fn answer(&self, query: String) -> Ended {
            let progress =
                Progress::Failed { why: Why::Refused, reason: format!("<b>{query}</b>"), advice: "&".into(), kept: true };
            Ended::new("alerts", progress)
        }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await;
        read.expect("an answer in time").unwrap();
        answer
    }

    #[tokio::test]
    async fn only_the_paths_of_logins_are_served_and_what_comes_from_outside_is_escaped() {
        let sockets = bind(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let address = sockets[0].local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(sockets, Arc::new(Echo), async move { drop(stopped.await) }));
        for (request, status) in [
            ("GET / HTTP/1.1", "404"),
            ("GET /oauth/callback/ HTTP/1.1", "404"),
            ("GET /oauth/../oauth/callback HTTP/1.1", "404"),
            ("POST /oauth/callback HTTP/1.1", "405"),
            ("HEAD /oauth/callback?code=x HTTP/1.1", "405"),
        ] {
            let answer = ask(address, &format!("{request}\r\nHost: x\r\n\r\n")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        }
        let answer = ask(address, "GET /oauth/callback?code=a&b=%3C HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        let head = head.to_ascii_lowercase();
        for line in [
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'",
            "x-content-type-options: nosniff",
            "connection: close",
        ] {
            assert!(head.contains(line), "{line}: {head}");
        }
        assert!(body.contains("&lt;b&gt;code=a&amp;b=%3C&lt;/b&gt;") && !body.contains("<script"), "{body}");
        stop.send(()).unwrap();
        served.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_head_without_end_is_not_read_for_ever() {
        let sockets = bind(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let address = sockets[0].local_addr().unwrap();
        let served = tokio::spawn(serve(sockets, Arc::new(Echo), std::future::pending()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /oauth/callback HTTP/1.1\r\n").await.unwrap();
        let line = format!("X-Long: {}\r\n", "a".repeat(8_000));
        let mut written = 0;
        while written < 4 * LARGEST_HEAD && stream.write_all(line.as_bytes()).await.is_ok() {
            written += line.len();
        }
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(HEAD, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok() && !String::from_utf8_lossy(&answer).contains(" 200 "));
        served.abort();
    }

    #[test]
    fn a_page_says_how_it_ended_and_what_is_next() {
        let done = |login| Progress::Done {
            account: Some("alerts@example.com".into()),
            replaced: true,
            access_token_until: chrono::DateTime::UNIX_EPOCH,
            refresh_until: None,
            login,
        };
        let (reason, advice) = ("why <b>".to_owned(), "do <i>".to_owned());
        for (progress, good, told) in [
            (done(Login::Accepted), true, "alerts@example.com"),
            (done(Login::Failed { reason: reason.clone(), advice: advice.clone() }), false, "why &lt;b&gt;"),
            (Progress::Failed { why: Why::Refused, reason, advice, kept: true }, false, "do &lt;i&gt;"),
            (
                Progress::Failed { why: Why::Answered, reason: "twice".into(), advice: String::new(), kept: false },
                false,
                "<h1>This login is over</h1>",
            ),
            (Progress::Working, true, "is still being tried"),
        ] {
            let ended = Ended::new("alerts", progress);
            let page = page::page(&ended);
            assert!(ended.is_good() == good && page.contains(told), "{page}");
        }
    }
}
