//! The simulated provider: an OAuth 2.0 server and an XOAUTH2 SMTP server on loopback that behave as Google, Microsoft or a
//! custom provider do, and fail on request.
//!
//! Layer 6. For trying the program without an account, for tests, and for rehearsing failures before the provider has them. It
//! shares no dialogue code with `smtp`: a second implementation keeps the first one honest.

mod auth;
mod bounded;
mod certificate;
mod clock;
mod faults;
mod http;
mod ids;
mod mailroom;
mod oauth;
mod options;
mod personality;
mod receive;
mod round_trip;
mod session;
mod silence;
mod smtp;
mod spoken;
#[cfg(test)]
mod tests;
mod token;
mod transaction;
mod usage;
mod written;

pub use faults::{Fault, Setting, Step, Via};
pub use mailroom::Received;
pub use options::{Error, Options, Proof};

use crate::{provider, secret::Secret};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clock::Clock;
use faults::Faults;
use mailroom::Mailroom;
use personality::Personality;
use session::Way;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};
use token::Tokens;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use usage::Usage;

/// The app's user name: the name of its table in the written configuration.
const USER: &str = "sandbox";

/// The mailbox of the written configuration.
const ADDRESS: &str = "robot@sandbox.example";

/// Microsoft's directory.
const TENANT: &str = "sandbox.example";

/// The object id of the app under Microsoft's Enterprise applications.
const OBJECT_ID: &str = "00000000-0000-4000-8000-0000000000e1";

/// The one scope that Google's SMTP server takes.
const GOOGLE_SCOPE: &str = "https://mail.google.com/";

/// How long a stop waits for HTTP answers under way.
const STOP: Duration = Duration::from_secs(2);

/// The scope that a token for SMTP has when nobody asks for another.
fn scope_of_smtp(provider: provider::Provider) -> &'static str {
    match provider {
        provider::Provider::Google => GOOGLE_SCOPE,
        provider::Provider::Microsoft => "https://outlook.office.com/SMTP.Send",
        provider::Provider::Custom => "mail.send",
    }
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// `octets` of randomness in letters, digits, `-` and `_`.
fn random_text(octets: usize) -> String {
    let mut bytes = vec![0; octets];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A password that shells, options and old devices take as it is: 16 of `a-z2-7`, 80 bits.
fn plain_password() -> String {
    let bytes: [u8; 16] = random_bytes();
    bytes.iter().map(|byte| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(byte & 31)])).collect()
}

/// What all connections share.
struct Shared {
    options: Options,
    grant: provider::Grant,
    proof: Proof,
    http: SocketAddr,
    clients: oauth::Clients,
    codes: oauth::Codes,
    devices: oauth::Devices,
    service_account: oauth::ServiceAccount,
    outside: oauth::Issuer,
    personality: &'static Personality,
    clock: Arc<Clock>,
    faults: Arc<Faults>,
    tokens: Tokens,
    mailroom: Arc<Mailroom>,
    usage: Arc<Usage>,
    client_secret: Secret,
    /// Its last day.
    secret_until: Option<chrono::NaiveDate>,
    password: Secret,
    ca_pem: String,
}

impl Shared {
    /// The OAuth client that the written configuration uses.
    fn client_id(&self) -> &'static str {
        match self.options.provider {
            provider::Provider::Google => "1234567890-sandbox.apps.googleusercontent.com",
            provider::Provider::Microsoft => "00000000-0000-4000-8000-000000000001",
            provider::Provider::Custom => "outlink-sandbox",
        }
    }

    /// Whether this is its id, or another one that was registered for it.
    fn knows_client(&self, id: &str) -> bool {
        id == self.client_id() || self.clients.has_id(id)
    }

    /// The OAuth server's own URL.
    fn issuer(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Whether an assertion's audience is this server or its token endpoint, by either name of this machine.
    fn is_here(&self, audience: &str) -> bool {
        let port = self.http.port();
        ["127.0.0.1", "localhost"].iter().any(|host| {
            let rest = audience.strip_prefix(&format!("http://{host}:{port}"));
            rest.is_some_and(|rest| matches!(rest, "" | "/" | "/token"))
        })
    }

    /// A new certificate for the client, registered, and its key; both in PEM.
    fn client_certificate(&self) -> Result<(String, Secret), String> {
        let until = last_day(self.options.certificate_life, self.clock.now());
        let (certificate, key) =
            certificate::client(until).map_err(|why| format!("cannot make the client's certificate: {why}"))?;
        let registered = self.clients.add_key(oauth::PublicKey::from_pem(certificate.as_bytes())?);
        if registered { Ok((certificate, key)) } else { Err("too many certificates are registered for the client".into()) }
    }

    /// A new token of the outside issuer, registered for the client.
    fn federated_token(&self) -> Result<Secret, String> {
        let (token, federation) = self.outside.token(self.clock.now())?;
        self.clients.set_federations(vec![federation]);
        Ok(token)
    }
}

/// A running sandbox. Dropping it stops it at once; [`Provider::stop`] stops it in good order.
pub struct Provider {
    shared: Arc<Shared>,
    smtp: SocketAddr,
    plain: Option<SocketAddr>,
    http: SocketAddr,
    events: mpsc::Receiver<Received>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Provider {
    /// Starts it on loopback. When this returns it answers.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let grant = written::grant(&options)?;
        let proof = written::proof(&options, grant)?;
        let clients = clients(&options, proof)?;
        let (tls, ca_pem) = certificate::make().map_err(|why| Error::Certificate(why.to_string()))?;
        let (smtp_listener, smtp) = listen(options.smtp_port, "--port-smtp").await?;
        let (http_listener, http) = listen(options.http_port, "--port-http").await?;
        let plain = match options.accept_password {
            true => Some(listen(options.plain_port, "--port-plain").await?),
            false => None,
        };
        let (mailroom, events) = Mailroom::new(options.keep_messages, options.keep_bytes);
        let (clock, faults) = (Arc::new(Clock::default()), Arc::new(Faults::new(options.round_trip)));
        let personality = personality::personality(options.provider);
        let shared = Arc::new(Shared {
            personality,
            tokens: Tokens::new(options.provider, (clock.clone(), faults.clone()), options.refresh_life)
                .saying(options.claims.clone()),
            secret_until: last_day(options.secret_life, clock.now()),
            options,
            grant,
            proof,
            http,
            clients,
            codes: oauth::Codes::default(),
            devices: oauth::Devices::default(),
            service_account: oauth::ServiceAccount::default(),
            outside: oauth::Issuer::default(),
            clock,
            faults,
            mailroom,
            usage: Arc::default(),
            client_secret: Secret::new(random_text(30)),
            password: Secret::new(plain_password()),
            ca_pem,
        });
        let (stop, stopped) = watch::channel(false);
        let (acceptor, mut tasks) = (TlsAcceptor::from(tls), JoinSet::new());
        let way = if personality.implicit_tls { Way::Implicit } else { Way::Starttls };
        tasks.spawn(smtp::serve(smtp_listener, way, acceptor.clone(), shared.clone(), stopped.clone()));
        let plain = plain.map(|(listener, address)| {
            tasks.spawn(smtp::serve(listener, Way::Plain, acceptor, shared.clone(), stopped.clone()));
            address
        });
        tasks.spawn(serve_http(http_listener, shared.clone(), stopped));
        Ok(Self { shared, smtp, plain, http, events, stop, tasks })
    }

    /// The SMTP server with TLS: from the first byte for Google, by STARTTLS for the others.
    pub fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// The SMTP server without TLS, for AUTH PLAIN and LOGIN; only with `accept_password`.
    pub fn smtp_plain(&self) -> Option<SocketAddr> {
        self.plain
    }

    /// The HTTP server.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The next message received; waits for it, and can be dropped while waiting. Nobody has to listen: events are lost then
    /// ([`Received::lost`]), messages are not.
    pub async fn received(&mut self) -> Option<Received> {
        self.events.recv().await
    }

    /// The user name of the app in the written configuration, and of `accept_password`.
    pub fn user(&self) -> &str {
        USER
    }

    /// Its password.
    pub fn password(&self) -> &Secret {
        &self.shared.password
    }

    /// The address of the written mailbox.
    pub fn address(&self) -> &str {
        ADDRESS
    }

    /// The OAuth client's id.
    pub fn client_id(&self) -> &str {
        self.shared.client_id()
    }

    /// The OAuth client's secret.
    pub fn client_secret(&self) -> &Secret {
        &self.shared.client_secret
    }

    /// The certificate that vouches for the SMTP server, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.shared.ca_pem
    }

    /// Whether the written link lives by a person's consent.
    pub fn needs_consent(&self) -> bool {
        self.shared.needs_consent()
    }

    /// Whether that is given already, so that there is a refresh token to import.
    pub fn is_granted(&self) -> bool {
        self.shared.is_granted()
    }

    /// A new refresh token for `mailbox`, valid as if a person had consented.
    pub fn refresh_token(&self, mailbox: &str) -> Secret {
        self.shared.tokens.consent(mailbox)
    }

    /// Switches a fault on, as `PUT /faults/NAME` does.
    pub fn switch_on(&self, fault: Fault, setting: Setting) {
        self.shared.faults.switch_on(fault, setting, &self.shared.clock);
    }

    /// Switches a fault off.
    pub fn switch_off(&self, fault: Fault) {
        self.shared.faults.switch_off(fault);
    }

    /// Moves the sandbox's clock forward.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// The counters, as `GET /stats` gives them.
    pub fn stats(&self) -> serde_json::Value {
        http::report(&self.shared)
    }

    /// Stops accepting, cuts all connections and waits until every task has ended.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = timeout(STOP, async { while self.tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// The last day of what lives so long from now.
fn last_day(life: Option<Duration>, now: SystemTime) -> Option<chrono::NaiveDate> {
    Some(chrono::DateTime::<chrono::Utc>::from(now.checked_add(life?)?).date_naive())
}

/// The client as it is registered at start; Google's is a desktop client.
fn clients(options: &Options, proof: Proof) -> Result<oauth::Clients, Error> {
    let public = proof == Proof::None || options.provider == provider::Provider::Google;
    let clients = oauth::Clients::new(options.provider, public);
    for pem in &options.certificates {
        let key = oauth::PublicKey::from_pem(pem.as_bytes()).map_err(Error::Registered)?;
        if !clients.add_key(key) {
            return Err(Error::Registered("there are too many".into()));
        }
    }
    Ok(clients)
}

async fn listen(port: u16, option: &'static str) -> Result<(TcpListener, SocketAddr), Error> {
    let fault = |why| Error::listen(port, option, why);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    Ok((listener, address))
}

async fn serve_http(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let stopped = async move { smtp::stopped(&mut stop).await };
    if let Err(why) = axum::serve(listener, http::router(shared)).with_graceful_shutdown(stopped).await {
        tracing::error!(%why, "the sandbox's HTTP server ended");
    }
}
