//! The way to the endpoints, through proxies that count and that ask who comes; and the end of a grant.

use super::*;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};

/// The first line and the Proxy-Authorization of each request.
type Heard = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A proxy for plain HTTP and CONNECT; wants `credentials` where they are given.
struct Middleman {
    address: SocketAddr,
    heard: Heard,
}

impl Middleman {
    async fn start(credentials: Option<&'static str>) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, heard) = (socket.local_addr().unwrap(), Heard::default());
        let noted = heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(serve(stream, credentials, noted.clone()));
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> Vec<(String, Option<String>)> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(stream: tokio::net::TcpStream, credentials: Option<&str>, heard: Heard) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut authorization) = (Vec::new(), None);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap() == 0 {
            return;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("proxy-authorization: ") {
            authorization = Some(line[line.len() - value.len()..].trim().to_owned());
        }
        if line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let words: Vec<_> = head[0].split(' ').map(str::to_owned).collect();
    heard.lock().unwrap().push((head[0].trim().to_owned(), authorization.clone()));
    if credentials.is_some() && authorization.as_deref() != credentials {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n";
        let _ = stream.write_all(refusal.as_bytes()).await;
        return;
    }
    let target = words[1].trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let Ok(mut upstream) = tokio::net::TcpStream::connect(&target).await else {
        let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
        return;
    };
    match words[0].as_str() {
        "CONNECT" => stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap(),
        _ => upstream.write_all(format!("{}\r\n", head.concat()).as_bytes()).await.unwrap(),
    }
    let _ = copy_bidirectional(&mut stream, &mut upstream).await;
}

/// A bench whose link goes through `proxy`.
async fn through(proxy: Proxy, scheme: &str) -> Bench {
    let mut bench = Bench::new(Grant::ClientCredentials, numbered).await;
    let mut link = Link::clone(&bench.settings.links[&name("contoso")]);
    link.token_endpoint = url::Url::parse(&format!("{scheme}://{}/token", bench.endpoint.address)).unwrap();
    link.proxy = proxy;
    bench.settings.links.insert(name("contoso"), Arc::new(link));
    bench.tokens.configure(&bench.settings).unwrap();
    bench
}

fn proxy(address: SocketAddr, user: Option<&str>, password: Option<SecretSource>) -> Proxy {
    Proxy::Url { url: url::Url::parse(&format!("http://{address}")).unwrap(), user: user.map(str::to_owned), password }
}

#[tokio::test]
async fn a_link_asks_through_its_proxy_and_another_link_does_not() {
    let middleman = Middleman::start(None).await;
    let bench = through(proxy(middleman.address, None, None), "http").await;
    assert_eq!(bench.access("a").await.unwrap(), "at1");
    assert_eq!(middleman.heard(), [(format!("POST http://{}/token HTTP/1.1", bench.endpoint.address), None)]);
    let straight = through(Proxy::None, "http").await;
    assert_eq!(straight.access("a").await.unwrap(), "at1");
    assert_eq!(middleman.heard().len(), 1);
}

#[tokio::test]
async fn an_encrypted_endpoint_is_reached_by_a_tunnel() {
    let middleman = Middleman::start(None).await;
    // The endpoint speaks no TLS, so that nothing comes of it; but the way there is seen.
    let bench = through(proxy(middleman.address, None, None), "https").await;
    let Err(Unavailable::Transient { reason, .. }) = bench.access("a").await else { panic!() };
    assert!(reason.contains(&format!("could not be asked through the proxy {}: ", middleman.address)), "{reason}");
    assert_eq!(middleman.heard()[0].0, format!("CONNECT {} HTTP/1.1", bench.endpoint.address));
}

#[tokio::test]
async fn a_proxy_that_asks_who_comes_is_told_and_named_without_the_password() {
    // relay:marked
    let expected = "Basic cmVsYXk6bWFya2Vk";
    for scheme in ["http", "https"] {
        let middleman = Middleman::start(Some(expected)).await;
        let password = |text: &str| Some(SecretSource::Plain(Secret::new(text.into())));
        for (user, given) in [(None, None), (Some("relay"), password("wrong-marked"))] {
            let bench = through(proxy(middleman.address, user, given), scheme).await;
            let Err(Unavailable::Transient { reason, .. }) = bench.access("a").await else { panic!() };
            let named = format!("the proxy {} lets nobody through", middleman.address);
            assert!(reason.contains(&named) && reason.contains("proxy-password"), "{reason}");
            assert!(!reason.contains("marked"), "{reason}");
        }
        let bench = through(proxy(middleman.address, Some("relay"), password("marked")), scheme).await;
        let _ = bench.access("a").await;
        assert_eq!(middleman.heard().last().unwrap().1.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let bench = through(proxy(gone, None, None), "https").await;
    let Err(Unavailable::Transient { reason, .. }) = bench.access("a").await else { panic!() };
    assert!(reason.contains(&format!("through the proxy {gone}")) && reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_password_of_the_proxy_that_cannot_be_read_is_named() {
    let file = SecretSource::File("/nonexistent/password".into());
    let bench = through(proxy(SocketAddr::from(([127, 0, 0, 1], 9)), Some("relay"), Some(file)), "http").await;
    let error = bench.access("a").await.unwrap_err().to_string();
    assert!(error.contains("proxy-password of link contoso") && error.contains("/nonexistent/password"), "{error}");
}

/// With a refresh token `r1` and a place where it is revoked.
async fn revocable(answer: impl Fn(usize, &Parameters) -> Response + Send + Sync + 'static) -> Bench {
    let mut bench = Bench::with_grant(answer).await;
    let mut link = Link::clone(&bench.settings.links[&name("contoso")]);
    link.revocation_endpoint = url::Url::parse(&format!("http://{}/revoke", bench.endpoint.address)).ok();
    bench.settings.links.insert(name("contoso"), Arc::new(link));
    bench.tokens.configure(&bench.settings).unwrap();
    bench
}

#[tokio::test]
async fn a_revoked_grant_is_told_to_the_provider_and_forgotten() {
    for (status, body) in [(200, "{}"), (400, r#"{"error":"invalid_token"}"#)] {
        let seen = Arc::<Mutex<Parameters>>::default();
        let noted = seen.clone();
        let bench = revocable(move |_, form| match form.contains_key("token") {
            true => {
                noted.lock().unwrap().clone_from(form);
                json(status, body.into())
            }
            false => numbered(1, form),
        })
        .await;
        assert_eq!(bench.access("a").await.unwrap(), "at1");
        assert!(bench.tokens.revoke(&name("a")).await.unwrap().told);
        let seen = seen.lock().unwrap().clone();
        assert_eq!((seen["token"].as_str(), seen["client_secret"].as_str()), ("r1", "marked-secret"));
        assert!(bench.store.grant(&name("a")).await.unwrap().is_none());
        assert!(matches!(bench.access("a").await, Err(Unavailable::NeedsConsent { .. })));
        assert_eq!(bench.state(), State::NeedsConsent);
        assert!(matches!(bench.tokens.revoke(&name("a")).await, Err(Error::NoGrant { .. })));
    }
}

#[tokio::test]
async fn a_grant_that_the_provider_does_not_revoke_is_kept() {
    let bench = revocable(|_, form| match form.get("token") {
        Some(token) => json(503, serde_json::json!({"error": "server_error", "error_description": token}).to_string()),
        None => numbered(1, form),
    })
    .await;
    let error = bench.tokens.revoke(&name("a")).await.unwrap_err().to_string();
    assert!(error.contains("still kept") && error.contains("503 server_error") && !error.contains("r1"), "{error}");
    assert_eq!(bench.access("a").await.unwrap(), "at1");
}

#[tokio::test]
async fn where_no_endpoint_takes_a_token_back_it_is_said_who_can_end_it() {
    let bench = Bench::with_grant(numbered).await;
    let ended = bench.tokens.revoke(&name("a")).await.unwrap();
    assert!(!ended.told && ended.said.contains("Revoke sessions") && ended.said.contains("a@example.com"), "{ended:?}");
    assert_eq!(bench.endpoint.asked(), 0);
    assert!(bench.store.grant(&name("a")).await.unwrap().is_none());
    let bench = Bench::new(Grant::ClientCredentials, numbered).await;
    assert!(matches!(bench.tokens.revoke(&name("a")).await, Err(Error::OtherGrant { .. })));
    assert!(matches!(bench.tokens.revoke(&name("nobody")).await, Err(Error::UnknownMailbox { .. })));
}
