//! The settings: what the rest of the program is given. Parsed once, at the border; nothing in here can be wrong.

mod app;
mod domain;
mod hook;
mod listener;
mod route;

pub use app::{AllowedRecipients, AppLimits, ClientCertificate, UnixUser};
pub use domain::DomainMailbox;
pub use hook::{Action, Hook, Only, Webhook};
pub use listener::{Auth, Bind, Listener, ListenerLimits, ListenerTls, TlsFiles};
pub use route::{Aliases, Route};

use crate::{
    mail::{Address, Name, Repair},
    provider::{Chunking, Cloud, Grant, Limits, NullSender, Provider, TlsMode},
    secret::{PasswordHash, Sealed, Secret},
};
use ipnet::IpNet;
use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// Everything that the configuration says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Database, large bodies, key.
    pub state_directory: PathBuf,
    /// For EHLO and Received; `None` means: find out at start.
    pub hostname: Option<String>,
    /// Sockets for apps, by name.
    pub listeners: BTreeMap<Name, Arc<Listener>>,
    /// Outgoing links, by name.
    pub links: BTreeMap<Name, Arc<Link>>,
    /// Sending identities, by name. Those of a mailbox for a whole domain come as they send; none stands in the configuration.
    pub mailboxes: BTreeMap<Name, Arc<Mailbox>>,
    /// Mailboxes for whole domains, by name.
    pub domains: BTreeMap<Name, Arc<DomainMailbox>>,
    /// Legacy applications, by name.
    pub apps: BTreeMap<Name, Arc<App>>,
    /// What stands for recipients without a domain.
    pub aliases: Aliases,
    /// What a change of state runs, by name.
    pub hooks: BTreeMap<Name, Arc<Hook>>,
    /// The durable queue.
    pub queue: Queue,
    /// Where `outlink sendmail` leaves messages while no daemon answers; used where it exists.
    pub drop: PathBuf,
    /// The HTTP listener.
    pub http: Http,
    /// Logging.
    pub log: Log,
    /// The group whose members may use the control socket, besides root and the service's user.
    pub control_group: Option<String>,
    /// Every sealed value, wherever it stands.
    pub sealed: Vec<SealedSecret>,
}

impl Settings {
    /// The mailbox of this name: one that is there, or an address of one for a whole domain.
    pub fn mailbox(&self, name: &Name) -> Option<Arc<Mailbox>> {
        if let Some(mailbox) = self.mailboxes.get(name) {
            return Some(mailbox.clone());
        }
        let (domain, address) = name.of_domain()?;
        self.domains.get(&domain)?.mailbox(&address).map(Arc::new)
    }

    /// The names of all mailboxes that stand in the configuration.
    pub fn mailbox_names(&self) -> impl Iterator<Item = &Name> {
        self.mailboxes.keys().filter(|name| name.is_configured()).chain(self.domains.keys())
    }
}

/// What a `250` promises (design §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Kept durably.
    Queue,
    /// The provider took it.
    Direct,
    /// The provider took it, or it is kept durably.
    DirectThenQueue,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Direct => "direct",
            Self::DirectThenQueue => "direct-then-queue",
        })
    }
}

/// One outgoing link: an OAuth 2.0 client at a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its name.
    pub name: Name,
    /// Whose preset filled it in.
    pub provider: Provider,
    /// Microsoft's cloud.
    pub cloud: Cloud,
    /// How it obtains access tokens.
    pub grant: Grant,
    /// Microsoft's directory.
    pub tenant: Option<String>,
    /// OAuth client id.
    pub client_id: String,
    /// How the client proves itself at the token endpoint.
    pub proof: Proof,
    /// The `kid` that assertions name in their head, where the server wants one.
    pub key_id: Option<String>,
    /// The JSON key of Google's service account, with that grant.
    pub service_account: Option<SecretSource>,
    /// The day on which the administrator said that the secret ends.
    pub client_secret_expires: Option<chrono::NaiveDate>,
    /// Scopes asked for, in order.
    pub scopes: Vec<String>,
    /// Authorization endpoint.
    pub authorization_endpoint: Option<url::Url>,
    /// Token endpoint.
    pub token_endpoint: url::Url,
    /// Device authorization endpoint.
    pub device_endpoint: Option<url::Url>,
    /// Where a refresh token is revoked (RFC 7009); Microsoft has no such place.
    pub revocation_endpoint: Option<url::Url>,
    /// Who answers at the authorization endpoint, as its `iss` says it (RFC 9207).
    pub issuer: Option<String>,
    /// What is added to the request that begins the grant.
    pub parameters: BTreeMap<String, String>,
    /// Where the provider sends the browser back to.
    pub redirect_url: Option<url::Url>,
    /// A private CA, trusted for this link besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The way to its endpoints.
    pub proxy: Proxy,
}

/// How the client proves itself at the token endpoint (RFC 6749 §2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A public client: its id alone.
    None,
    /// A client secret.
    Secret {
        /// Where it is.
        source: SecretSource,
        /// How it is sent.
        method: SecretMethod,
    },
    /// An assertion (RFC 7523) signed by the key of a certificate, which it names by thumbprint.
    Certificate(Certificate),
    /// An assertion signed by a key alone, in PEM form.
    PrivateKey(SecretSource),
    /// An assertion that somebody else made and left in this file.
    FederatedToken(PathBuf),
}

/// How a client secret is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretMethod {
    /// Id and secret in the form.
    Post,
    /// HTTP Basic.
    Basic,
}

/// Where a certificate and its private key are. Read again at each use, as secrets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// In PEM form.
    Pem {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key; `None`: it stands in the certificate's file.
        private_key: Option<SecretSource>,
    },
    /// Both in one PKCS#12 file.
    Pkcs12 {
        /// The file.
        file: PathBuf,
        /// What opens it; `None`: the empty password.
        password: Option<SecretSource>,
    },
}

/// The way to a link's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// Straight, whatever the environment says.
    None,
    /// Through this one.
    Url {
        /// `http://host:port`, without user and password.
        url: url::Url,
        /// Who asks.
        user: Option<String>,
        /// What proves it.
        password: Option<SecretSource>,
    },
}

/// Where a secret comes from. Read again at each use, so that a changed file is taken up.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// `{ file = "…" }`; one trailing line end is removed.
    File(PathBuf),
    /// `{ env = "…" }`.
    Environment(String),
    /// `{ credential = "…" }`, below systemd's `CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// A plain value in the file; warned about.
    Plain(Secret),
    /// `{ sealed = "outlink1:…" }` as commands write it.
    Sealed(SealedSecret),
}

/// A secret that stands sealed in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// The place that it is sealed for: its key's full name, such as `link.contoso.client-secret`.
    pub binding: String,
    /// The sealed value.
    pub sealed: Sealed,
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Credential(name) => write!(f, "credential {name}"),
            Self::Plain(_) => f.write_str("[secret]"),
            Self::Sealed(SealedSecret { binding, sealed }) => write!(f, "the sealed value of {binding} (key {})", sealed.key()),
        }
    }
}

/// One sending identity at the provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Mailbox {
    /// Its name.
    pub name: Name,
    /// The link that authorises it.
    pub link: Name,
    /// Whose replies it gets.
    pub provider: Provider,
    /// Its address.
    pub address: Address,
    /// The XOAUTH2 user: the address, unless configured.
    pub xoauth2_user: String,
    /// Who signs in, where it is another than the mailbox: a delegate of a shared one.
    pub account: Option<Address>,
    /// The upstream server.
    pub server: Server,
    /// How its connection is protected.
    pub tls: TlsMode,
    /// Whether BDAT is used.
    pub chunking: Chunking,
    /// The provider's limits.
    pub limits: Limits,
    /// The envelope sender of mail from nobody.
    pub null_sender: NullSender,
    /// Senders that pass unchanged.
    pub allowed_from: Allowed,
    /// What happens to the others.
    pub when_from_differs: WhenFromDiffers,
    /// A private CA (the link's), trusted for its SMTP server too.
    pub ca_file: Option<PathBuf>,
}

/// An upstream server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Patterns of addresses: `a@example.com`, `*@example.com`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed(Vec<String>);

impl Allowed {
    /// Takes patterns in lower case.
    pub(crate) fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// Whether `address` matches one of them, without case.
    pub fn matches(&self, address: &Address) -> bool {
        self.closeness(address).is_some()
    }

    /// The length of the longest pattern that `address` matches: the longer, the closer. An address itself is longer than its domain.
    pub fn closeness(&self, address: &Address) -> Option<usize> {
        let text = address.as_str().to_ascii_lowercase();
        let matches = |pattern: &&String| match pattern.strip_prefix('*') {
            Some(rest) => text.ends_with(rest),
            None => **pattern == text,
        };
        // The star counts for nothing: `*@example.com` must not be as close as `a@example.com`.
        self.0.iter().filter(matches).map(|pattern| pattern.trim_start_matches('*').len()).max()
    }
}

/// What happens to a sender that `allowed-from` does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFromDiffers {
    /// The provider decides.
    Keep,
    /// The mailbox's address takes its place.
    Rewrite,
    /// `550 5.7.1`.
    Refuse,
}

/// A legacy application that submits mail.
#[derive(Debug, Clone, PartialEq)]
pub struct App {
    /// Its name.
    pub name: Name,
    /// Its user name, in lower case.
    pub user: String,
    /// Whether it may send now. What is kept of it goes out all the same.
    pub enabled: bool,
    /// Hashes of its passwords; several while rotating.
    pub passwords: Vec<PasswordHash>,
    /// Addresses that prove it without a password.
    pub networks: Vec<IpNet>,
    /// Client certificates that do.
    pub certificates: Vec<ClientCertificate>,
    /// Users of this machine that do, over a Unix socket.
    pub unix_users: Vec<UnixUser>,
    /// How much it may send.
    pub limits: AppLimits,
    /// The senders that it may use, in envelope and From; `None`: all that its mailbox lets pass.
    pub allowed_from: Option<Allowed>,
    /// To whom it may send; `None`: to everybody.
    pub allowed_recipients: Option<AllowedRecipients>,
    /// The mailboxes that it sends through.
    pub mailbox: Route,
    /// Its contract, which wins over the listener's.
    pub delivery: Option<Delivery>,
    /// Its wait, which wins over the listener's.
    pub direct_wait: Option<Duration>,
    /// Its expiry, which wins over the queue's.
    pub expire_after: Option<Duration>,
    /// Its warning, which wins over the queue's.
    pub warn_after: Option<Duration>,
    /// Its recipient of bounces, who wins over the queue's.
    pub bounce_to: Option<Address>,
    /// How much of a broken header is repaired; `None`: as the listener says.
    pub repair: Option<Repair>,
}

/// The durable queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Waits between tries, never empty; the last repeats.
    pub retry: Vec<Duration>,
    /// How long a message is tried before it bounces; time in a hold does not count.
    pub expire_after: Duration,
    /// When the sender hears that it is late; shorter than `expire_after`.
    pub warn_after: Option<Duration>,
    /// How long a held message waits for a person.
    pub keep_held: Duration,
    /// How long a failed message can still be looked at and sent again.
    pub keep_failed: Duration,
    /// How long it can be told what became of a message.
    pub keep_trace: Duration,
    /// Octets of all kept messages; above it no more are accepted.
    pub maximum_size: u64,
    /// Octets that stay free on the disk; 0 means that nobody looks.
    pub minimum_free: u64,
    /// Where bounces go; `None` means the envelope sender.
    pub bounce_to: Option<Address>,
}

impl Default for Queue {
    /// Short waits first, because most trouble is short; five days, as RFC 5321 §4.5.4.1 has it.
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const DAY: u64 = 86_400;
        Self {
            retry: [1, 2, 5, 10, 30, 60].map(|minutes| Duration::from_secs(minutes * MINUTE)).to_vec(),
            expire_after: Duration::from_secs(5 * DAY),
            warn_after: None,
            keep_held: Duration::from_secs(30 * DAY),
            keep_failed: Duration::from_secs(14 * DAY),
            keep_trace: Duration::from_secs(7 * DAY),
            maximum_size: 10 << 30,
            minimum_free: 500 << 20,
            bounce_to: None,
        }
    }
}

/// The HTTP listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Where it listens.
    pub bind: SocketAddr,
}

/// Logging.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Text or JSON lines, on standard error.
    pub format: LogFormat,
    /// A tracing filter: `info`, or `info,outlink::upstream=debug`.
    pub level: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
    /// Fields for the journal; its issue is later, text until then.
    Journald,
}
