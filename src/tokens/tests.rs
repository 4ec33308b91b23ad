//! Against a token server on loopback that answers as each test wants.

mod background;
mod consent;
mod leases;
mod life;
mod losses;
mod proofs;
mod ways;

use super::*;
use axum::{
    Form, Router,
    extract::State as Shared,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::atomic::AtomicUsize,
};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{
    config::{
        Allowed, Http, Link, Log, LogFormat, Mailbox, Proof, Proxy, Queue, SecretMethod, SecretSource, Server, WhenFromDiffers,
    },
    mail::Address,
    provider::{Chunking, Cloud, Limits, NullSender, Provider, TlsMode},
};

type Parameters = HashMap<String, String>;
type Answer = dyn Fn(usize, &Parameters) -> Response + Send + Sync;

/// The token server: counts, waits for leave to answer, answers.
#[derive(Clone)]
struct Endpoint {
    asked: Arc<AtomicUsize>,
    leave: Arc<Semaphore>,
    answer: Arc<Mutex<Arc<Answer>>>,
    address: SocketAddr,
}

impl Endpoint {
    async fn start(answer: impl Fn(usize, &Parameters) -> Response + Send + Sync + 'static) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = Self {
            asked: Arc::default(),
            leave: Arc::new(Semaphore::new(10_000)),
            answer: Arc::new(Mutex::new(Arc::new(answer))),
            address: socket.local_addr().unwrap(),
        };
        let router = Router::new().fallback(reply).with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(socket, router).await });
        endpoint
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn now_answers(&self, answer: impl Fn(usize, &Parameters) -> Response + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }
}

async fn reply(Shared(endpoint): Shared<Endpoint>, Form(form): Form<Parameters>) -> Response {
    let number = endpoint.asked.fetch_add(1, Ordering::SeqCst) + 1;
    endpoint.leave.acquire().await.unwrap().forget();
    let answer = endpoint.answer.lock().unwrap().clone();
    answer(number, &form)
}

fn json(status: u16, body: String) -> Response {
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/json")], body).into_response()
}

/// `at1`, `at2` … for an hour.
fn numbered(number: usize, _: &Parameters) -> Response {
    json(200, format!(r#"{{"access_token":"at{number}","token_type":"Bearer","expires_in":3600}}"#))
}

fn refuses(error: &'static str) -> impl Fn(usize, &Parameters) -> Response + Send + Sync + 'static {
    move |_, _| json(400, format!(r#"{{"error":"{error}","error_description":"as told"}}"#))
}

/// Tokens over a temporary store, with a clock that the test moves.
struct Bench {
    tokens: Arc<Tokens>,
    store: Store,
    endpoint: Endpoint,
    clock: Arc<Mutex<SystemTime>>,
    settings: Settings,
    directory: tempfile::TempDir,
}

impl Bench {
    async fn new(grant: Grant, answer: impl Fn(usize, &Parameters) -> Response + Send + Sync + 'static) -> Self {
        let endpoint = Endpoint::start(answer).await;
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "marked-secret\n").unwrap();
        let store = Store::open(&directory.path().join("state")).unwrap();
        let clock = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
        let time = clock.clone();
        let tokens = Tokens::with_clock(store.clone(), move || *time.lock().unwrap());
        let settings = settings(grant, endpoint.address, directory.path().join("secret"));
        tokens.configure(&settings).unwrap();
        Self { tokens, store, endpoint, clock, settings, directory }
    }

    /// With a refresh token `r1` brought in.
    async fn with_grant(answer: impl Fn(usize, &Parameters) -> Response + Send + Sync + 'static) -> Self {
        let bench = Self::new(Grant::AuthorizationCode, answer).await;
        bench.tokens.import(&name("a"), Secret::new("r1".into()), None).await.unwrap();
        bench
    }

    fn pass(&self, seconds: u64) {
        *self.clock.lock().unwrap() += Duration::from_secs(seconds);
    }

    async fn access(&self, mailbox: &str) -> Result<String, Unavailable> {
        Ok(self.tokens.access(&name(mailbox)).await?.secret.expose().to_owned())
    }

    async fn stored(&self) -> String {
        self.store.grant(&name("a")).await.unwrap().unwrap().refresh_token.expose().to_owned()
    }

    /// Lets every renewal in the air land.
    async fn settle(&self) {
        let mut flights = std::mem::take(&mut *self.tokens.flights());
        while flights.join_next().await.is_some() {}
    }

    fn state(&self) -> State {
        self.tokens.status()[0].state
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn settings(grant: Grant, endpoint: SocketAddr, secret: PathBuf) -> Settings {
    let link = Link {
        name: name("contoso"),
        provider: Provider::Microsoft,
        cloud: Cloud::Global,
        grant,
        tenant: None,
        client_id: "me".into(),
        proof: Proof::Secret { source: SecretSource::File(secret), method: SecretMethod::Post },
        key_id: None,
        service_account: None,
        client_secret_expires: None,
        scopes: vec!["mail".into()],
        authorization_endpoint: None,
        token_endpoint: url::Url::parse(&format!("http://{endpoint}/token")).unwrap(),
        device_endpoint: None,
        revocation_endpoint: None,
        issuer: None,
        parameters: BTreeMap::new(),
        redirect_url: None,
        ca_file: None,
        proxy: Proxy::Environment,
    };
    let mailboxes = ["a", "b"].map(|text| (name(text), Arc::new(mailbox(text))));
    Settings {
        domains: BTreeMap::new(),
        state_directory: PathBuf::new(),
        hostname: None,
        control_group: None,
        sealed: Vec::new(),
        drop: crate::config::DROP.into(),
        hooks: BTreeMap::new(),
        aliases: crate::config::Aliases::default(),
        listeners: BTreeMap::new(),
        links: BTreeMap::from([(link.name.clone(), Arc::new(link))]),
        mailboxes: BTreeMap::from(mailboxes),
        apps: BTreeMap::new(),
        queue: Queue::default(),
        http: Http { bind: endpoint },
        log: Log { format: LogFormat::Text, level: "info".into() },
    }
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox {
        name: name(text),
        link: name("contoso"),
        provider: Provider::Microsoft,
        address: Address::parse(&format!("{text}@example.com")).unwrap(),
        xoauth2_user: format!("{text}@example.com"),
        account: None,
        server: Server { host: "smtp.example.com".into(), port: 587 },
        tls: TlsMode::Starttls,
        chunking: Chunking::Auto,
        limits: Limits {
            connections: 1,
            messages_per_connection: 0,
            messages_per_minute: 0,
            messages_per_day: 0,
            recipients_per_day: 0,
            recipients_per_message: 0,
        },
        null_sender: NullSender::Keep,
        allowed_from: Allowed::new(Vec::new()),
        when_from_differs: WhenFromDiffers::Keep,
        ca_file: None,
    }
}

#[tokio::test]
async fn forty_at_once_ask_the_provider_once() {
    let bench = Bench::new(Grant::ClientCredentials, numbered).await;
    let mut waiting = JoinSet::new();
    for number in 0..40 {
        let tokens = bench.tokens.clone();
        let mailbox = name(["a", "b"][number % 2]);
        waiting.spawn(async move { tokens.access(&mailbox).await.unwrap().secret.expose().to_owned() });
    }
    assert!(waiting.join_all().await.iter().all(|token| token == "at1"));
    assert_eq!(bench.endpoint.asked(), 1);
    let status = bench.tokens.status();
    assert_eq!((status[0].state, status[0].grant), (State::Ready, Some(crate::provider::Grant::ClientCredentials)));
    assert_eq!(status[1].access_token_until.map(status::rfc3339).as_deref(), Some("2027-01-15T09:00:00Z"));
}

#[tokio::test]
async fn the_request_carries_client_scope_and_grant() {
    let bench = Bench::with_grant(|_, form| {
        let part = |name: &str| form.get(name).cloned().unwrap_or_default();
        let all = ["grant_type", "client_id", "client_secret", "scope", "refresh_token"].map(part).join("|");
        json(200, format!(r#"{{"access_token":"{all}","expires_in":"3600"}}"#))
    })
    .await;
    assert_eq!(bench.access("a").await.unwrap(), "refresh_token|me|marked-secret|mail|r1");
}

#[tokio::test]
async fn a_rotated_refresh_token_is_durable_before_its_access_token_is_used() {
    let bench = Bench::with_grant(|number, form| {
        assert_eq!(form["refresh_token"], format!("r{number}"));
        json(200, format!(r#"{{"access_token":"at{number}","expires_in":3600,"refresh_token":"r{}"}}"#, number + 1))
    })
    .await;
    assert_eq!((bench.access("a").await.unwrap(), bench.stored().await), ("at1".into(), "r2".into()));
    bench.pass(3600);
    assert_eq!((bench.access("a").await.unwrap(), bench.stored().await), ("at2".into(), "r3".into()));
    // An answer without one keeps the old.
    bench.endpoint.now_answers(numbered);
    bench.pass(3600);
    assert_eq!((bench.access("a").await.unwrap(), bench.stored().await), ("at3".into(), "r3".into()));
    let grant = bench.store.grant(&name("a")).await.unwrap().unwrap();
    assert_eq!(grant.last_renewed_at, Some(*bench.clock.lock().unwrap()));
}

#[tokio::test]
async fn a_rotated_refresh_token_that_the_store_refuses_waits_and_its_access_token_with_it() {
    let bench = Bench::with_grant(|number, form| {
        assert_eq!(form["refresh_token"], "r1", "a second request would spend the token again");
        json(200, format!(r#"{{"access_token":"at{number}","expires_in":3600,"refresh_token":"r2"}}"#))
    })
    .await;
    let disk = rusqlite::Connection::open(bench.store.file()).unwrap();
    disk.execute_batch(
        "CREATE TRIGGER full BEFORE UPDATE OF refresh_token ON grants BEGIN SELECT raise(FAIL, 'disk is full'); END",
    )
    .unwrap();
    let Err(Unavailable::Transient { reason, .. }) = bench.access("a").await else { panic!() };
    assert!(reason.contains("cannot keep the new refresh token") && reason.contains("disk is full"), "{reason}");
    disk.execute_batch("DROP TRIGGER full").unwrap();
    bench.pass(2);
    assert_eq!((bench.access("a").await.unwrap(), bench.stored().await), ("at1".into(), "r2".into()));
    assert_eq!(bench.endpoint.asked(), 1);
}

#[tokio::test]
async fn a_rotated_refresh_token_outlives_waiters_and_changed_settings() {
    let bench = Bench::with_grant(|number, _| {
        json(200, format!(r#"{{"access_token":"at{number}","expires_in":3600,"refresh_token":"r{}"}}"#, number + 1))
    })
    .await;
    bench.endpoint.leave.forget_permits(10_000);
    let waiter = tokio::spawn({
        let tokens = bench.tokens.clone();
        async move { tokens.access(&name("a")).await }
    });
    while bench.endpoint.asked() == 0 {
        tokio::task::yield_now().await;
    }
    waiter.abort();
    let mut settings = bench.settings.clone();
    let mut link = Link::clone(&settings.links[&name("contoso")]);
    link.scopes.push("other".into());
    settings.links.insert(link.name.clone(), Arc::new(link));
    bench.tokens.configure(&settings).unwrap();
    bench.endpoint.leave.add_permits(10_000);
    bench.settle().await;
    // The late answer's access token is for other scopes; its refresh token is the grant's.
    assert_eq!((bench.stored().await, bench.state()), ("r2".into(), State::None));
    assert_eq!(bench.access("a").await.unwrap(), "at2");
    assert_eq!(bench.endpoint.asked(), 2);
}

#[tokio::test]
async fn a_throttled_server_is_left_alone_as_long_as_it_asks() {
    let throttled = |_: usize, _: &Parameters| {
        let head = [("content-type", "text/html"), ("retry-after", "120")];
        (StatusCode::TOO_MANY_REQUESTS, head, "<html>slow down</html>").into_response()
    };
    let bench = Bench::new(Grant::ClientCredentials, throttled).await;
    let Err(Unavailable::Transient { reason, .. }) = bench.access("a").await else { panic!() };
    assert!(reason.contains("/token answered 429 without an OAuth error"), "{reason}");
    bench.pass(119);
    assert!(matches!(bench.access("b").await, Err(Unavailable::Transient { .. })));
    assert_eq!((bench.endpoint.asked(), bench.state()), (1, State::RenewingFails));
    bench.endpoint.now_answers(numbered);
    bench.pass(14);
    assert_eq!((bench.access("a").await.unwrap(), bench.state()), ("at2".into(), State::Ready));
}

#[tokio::test]
async fn invalid_grant_keeps_the_grant_and_stops_until_there_is_another() {
    let bench = Bench::with_grant(refuses("invalid_grant")).await;
    let Err(Unavailable::NeedsConsent { reason, advice }) = bench.access("a").await else { panic!() };
    assert!(reason.contains("answered 400 invalid_grant: as told") && !advice.text.is_empty(), "{reason}; {advice}");
    bench.pass(7 * 24 * 3600);
    bench.tokens.tick().await;
    assert!(bench.access("a").await.is_err());
    bench.settle().await;
    assert_eq!((bench.endpoint.asked(), bench.state()), (1, State::NeedsConsent));
    assert_eq!(bench.stored().await, "r1");
    bench.endpoint.now_answers(|_, form| json(200, format!(r#"{{"access_token":"{}","expires_in":60}}"#, form["refresh_token"])));
    bench.tokens.import(&name("a"), Secret::new("s1".into()), None).await.unwrap();
    assert_eq!(bench.access("a").await.unwrap(), "s1");
}

#[tokio::test]
async fn invalid_grant_is_tried_once_more_with_a_token_that_another_process_stored() {
    let bench = Bench::with_grant(|_, form| match form["refresh_token"].as_str() {
        "r1" => json(400, r#"{"error":"invalid_grant"}"#.into()),
        token => json(200, format!(r#"{{"access_token":"{token}","expires_in":3600}}"#)),
    })
    .await;
    bench.endpoint.leave.forget_permits(10_000);
    let waiter = tokio::spawn({
        let tokens = bench.tokens.clone();
        async move { tokens.access(&name("a")).await }
    });
    while bench.endpoint.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let version = bench.store.grant(&name("a")).await.unwrap().unwrap().version;
    bench.store.replace_refresh_token(&name("a"), version, &Secret::new("r2".into()), SystemTime::now()).await.unwrap();
    bench.endpoint.leave.add_permits(10_000);
    assert_eq!(waiter.await.unwrap().unwrap().secret.expose(), "r2");
    assert_eq!(bench.endpoint.asked(), 2);
}

#[tokio::test]
async fn a_stopped_mailbox_sees_the_grant_that_another_process_brought() {
    let bench = Bench::with_grant(refuses("invalid_grant")).await;
    assert!(bench.access("a").await.is_err());
    bench.store.put_grant(&name("a"), NewGrant::new(Secret::new("s1".into()), IMPORT), SystemTime::now()).await.unwrap();
    bench.endpoint.now_answers(numbered);
    bench.tokens.tick().await;
    assert_eq!(bench.access("a").await.unwrap(), "at2");
}

#[tokio::test]
async fn a_mailbox_without_a_grant_says_how_to_get_one() {
    let bench = Bench::new(Grant::AuthorizationCode, numbered).await;
    let Err(Unavailable::NeedsConsent { reason, advice }) = bench.access("a").await else { panic!() };
    assert_eq!(reason, "mailbox a has no grant yet");
    assert!(advice.text.contains("outlink authorize a"), "{advice}");
    assert_eq!(bench.endpoint.asked(), 0);
}

#[tokio::test]
async fn an_expired_secret_is_probed_and_a_changed_one_tried_at_once() {
    let bench = Bench::new(Grant::ClientCredentials, |number, form| match form["client_secret"].as_str() {
        "marked-secret" => {
            json(401, r#"{"error":"invalid_client","error_description":"marked-secret","error_codes":[7000222]}"#.into())
        }
        _ => numbered(number, form),
    })
    .await;
    let Err(error @ Unavailable::NeedsRepair { .. }) = bench.access("a").await else { panic!() };
    assert!(error.to_string().contains("invalid_client") && !error.to_string().contains("marked"), "{error}");
    assert!(bench.access("a").await.is_err());
    bench.tokens.tick().await;
    bench.settle().await;
    assert_eq!((bench.endpoint.asked(), bench.state()), (1, State::NeedsRepair));
    bench.pass(60);
    bench.tokens.tick().await;
    bench.settle().await;
    assert_eq!(bench.endpoint.asked(), 2, "a probe after a minute");
    std::fs::write(bench.directory.path().join("secret"), "new\n").unwrap();
    bench.tokens.tick().await;
    assert_eq!(bench.access("a").await.unwrap(), "at3");
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_named() {
    let bench = Bench::new(Grant::ClientCredentials, numbered).await;
    let file = bench.directory.path().join("secret");
    std::fs::remove_file(&file).unwrap();
    let error = bench.access("a").await.unwrap_err();
    assert!(matches!(error, Unavailable::NeedsRepair { .. }) && error.to_string().contains("/secret"), "{error}");
    std::fs::write(&file, "back").unwrap();
    bench.tokens.configure(&bench.settings).unwrap();
    assert_eq!(bench.access("a").await.unwrap(), "at1");
}

#[tokio::test]
async fn a_grant_that_is_not_taken_is_told_why() {
    let bench = Bench::new(Grant::ClientCredentials, numbered).await;
    assert!(matches!(bench.access("nobody").await, Err(Unavailable::NeedsRepair { .. })));
    let import = async |mailbox, text: &str| bench.tokens.import(&name(mailbox), Secret::new(text.into()), None).await;
    assert!(matches!(import("a", "r1").await, Err(Error::OtherGrant { .. })));
    assert!(matches!(import("nobody", "r1").await, Err(Error::UnknownMailbox { .. })));
    assert!(matches!(import("a", "two words").await, Err(Error::NoToken { .. })));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_trouble_for_a_while() {
    let bench = Bench::new(Grant::ClientCredentials, numbered).await;
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    bench.tokens.configure(&settings(Grant::ClientCredentials, gone, bench.directory.path().join("secret"))).unwrap();
    let Err(Unavailable::Transient { reason, .. }) = bench.access("a").await else { panic!() };
    assert!(reason.contains("could not be asked") && reason.contains("refused"), "{reason}");
    bench.tokens.configure(&bench.settings).unwrap();
    assert_eq!(bench.access("a").await.unwrap(), "at1");
}
