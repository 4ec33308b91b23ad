//! What is settled about a listener.

use super::Delivery;
use crate::mail::{Name, Repair};
use ipnet::IpNet;
use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

/// One socket on which apps connect.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Its name.
    pub name: Name,
    /// Where it listens.
    pub bind: Bind,
    /// The mode of its Unix socket.
    pub socket_mode: u32,
    /// The group of its Unix socket; `None`: that of the process.
    pub socket_group: Option<String>,
    /// How its connections are protected.
    pub tls: ListenerTls,
    /// Whether AUTH is asked for.
    pub auth: Auth,
    /// Whether passwords of other machines are taken over a connection without TLS.
    pub allow_plaintext_auth: bool,
    /// Who may connect at all; a Unix socket has no addresses.
    pub networks: Vec<IpNet>,
    /// Load balancers, whose connections begin with a PROXY header that names the client.
    pub proxy_protocol_from: Vec<IpNet>,
    /// The contract with its apps.
    pub delivery: Delivery,
    /// How long `direct` lets an app wait.
    pub direct_wait: Duration,
    /// Its limits.
    pub limits: ListenerLimits,
    /// How much of a broken header is repaired.
    pub repair: Repair,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// `127.0.0.1:2525`; port 0 takes a free one.
    Tcp(SocketAddr),
    /// `unix:/run/outlink/smtp.sock`.
    Unix(PathBuf),
    /// `systemd:NAME`: every socket that systemd passes under this name (`FileDescriptorName=`).
    Passed(String),
}

impl Bind {
    /// Whether nobody outside of this machine can reach it. What a passed socket is bound to is not known before it is there.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
            Self::Passed(_) => false,
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Passed(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// How a listener's connections are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerTls {
    /// Plain.
    Off,
    /// STARTTLS.
    Starttls(TlsFiles),
    /// TLS from the first byte.
    Implicit(TlsFiles),
}

impl ListenerTls {
    /// The files behind it.
    pub fn files(&self) -> Option<&TlsFiles> {
        match self {
            Self::Off => None,
            Self::Starttls(files) | Self::Implicit(files) => Some(files),
        }
    }
}

/// What a listener shows its clients, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate, and those between it and the root.
    pub certificate: PathBuf,
    /// Its private key; the certificate's own file where both stand in one.
    pub key: PathBuf,
    /// Who issues the certificates of clients; `None`: none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// How apps of a listener prove themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// A password, always.
    Required,
    /// A password, or what else proves an app: its networks, its certificate.
    Optional,
    /// AUTH is not offered.
    None,
}

/// Limits of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Octets of a message.
    pub message_size: u64,
    /// Recipients of a message.
    pub recipients: usize,
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// Commands in error before the connection is closed.
    pub errors: u32,
    /// Wait for the next command, and for the next bytes of a message.
    pub idle: Duration,
}
