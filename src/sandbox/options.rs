//! What a sandbox is to be, and why it did not start.

use crate::{config::Delivery, provider};
use std::{fmt, io, time::Duration};

/// How the client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By a secret.
    Secret,
    /// By a certificate and its key.
    Certificate,
    /// By a token of another issuer.
    FederatedToken,
    /// Not at all: it is a public client.
    None,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "secret",
            Self::Certificate => "certificate",
            Self::FederatedToken => "federated-token",
            Self::None => "none",
        })
    }
}

/// What the sandbox is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whom it plays.
    pub provider: provider::Provider,
    /// Port of the SMTP server with TLS; 0 takes a free one.
    pub smtp_port: u16,
    /// Port of the HTTP server; 0 takes a free one.
    pub http_port: u16,
    /// Whether the provider's limits are enforced; they are always counted.
    pub limits: bool,
    /// Whether AUTH PLAIN and LOGIN work with the app's password, also on a port without TLS.
    pub accept_password: bool,
    /// Port of the SMTP server without TLS, opened with `accept_password` only; 0 takes a free one.
    pub plain_port: u16,
    /// The contract of the written configuration's listener.
    pub delivery: Delivery,
    /// Artificial round-trip time at start.
    pub round_trip: Duration,
    /// Whether CHUNKING is offered; `None` does as the provider does, which is to offer it.
    pub chunking: Option<bool>,
    /// By which grant the link of the written configuration lives; `None` is a consent for Google, client credentials for the
    /// others.
    pub grant: Option<provider::Grant>,
    /// How the client of the written configuration proves who it is; `None` is by a secret, or not at all for Microsoft's devices.
    pub proof: Option<Proof>,
    /// Whether a person has consented already; else `outlink authorize` is to be rehearsed, and no refresh token is written.
    pub granted: bool,
    /// How often a device may ask for its token.
    pub device_interval: Duration,
    /// What Microsoft's access tokens say instead of what they would say; null takes a claim out.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// How long refresh tokens live: Custom's after each use, those of the others after the consent. `None` is for as long as the
    /// provider documents.
    pub refresh_life: Option<Duration>,
    /// How long the client secret lives; it ends with the day.
    pub secret_life: Option<Duration>,
    /// How long the certificate lives that is written for the client; it ends with the day.
    pub certificate_life: Option<Duration>,
    /// Certificates or public keys in PEM, registered for the client's assertions.
    pub certificates: Vec<String>,
    /// Most messages kept.
    pub keep_messages: usize,
    /// Most octets kept, messages that are arriving included.
    pub keep_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            provider: provider::Provider::Google,
            smtp_port: 8465,
            http_port: 8026,
            limits: false,
            accept_password: false,
            plain_port: 0,
            delivery: Delivery::Queue,
            round_trip: Duration::ZERO,
            chunking: None,
            grant: None,
            proof: None,
            granted: true,
            device_interval: Duration::from_secs(5),
            claims: serde_json::Map::new(),
            refresh_life: None,
            secret_life: None,
            certificate_life: None,
            certificates: Vec::new(),
            keep_messages: 1000,
            keep_bytes: 256 << 20,
        }
    }
}

/// Why the sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program listens there.
    #[error("port {port} on 127.0.0.1 is taken by another program; choose another one with {option} (0 takes a free one)")]
    Taken {
        /// The port.
        port: u16,
        /// The option that changes it: `--port-smtp`, `--port-http`, `--port-plain` or `--port-relay`.
        option: &'static str,
    },
    /// The port cannot be listened on for another reason.
    #[error("cannot listen on 127.0.0.1:{port}: {why}; choose another port with {option} (0 takes a free one)")]
    Listen {
        /// The port.
        port: u16,
        /// The option that changes it.
        option: &'static str,
        /// What the system said.
        why: io::Error,
    },
    /// The provider has no such grant, or the sandbox does not play it.
    #[error("the simulated {provider} has no grant {grant}")]
    Grant {
        /// Whom it plays.
        provider: provider::Provider,
        /// What was asked for.
        grant: provider::Grant,
    },
    /// The provider takes no such proof for that grant.
    #[error("the simulated {provider} takes no proof {proof} with the grant {grant}")]
    Proof {
        /// Whom it plays.
        provider: provider::Provider,
        /// What was asked for.
        proof: Proof,
        /// For which grant.
        grant: provider::Grant,
    },
    /// A certificate to be registered cannot be read.
    #[error("cannot register a certificate: {0}")]
    Registered(String),
    /// No certificate could be made.
    #[error("cannot make the sandbox's TLS certificate: {0}")]
    Certificate(String),
}

impl Error {
    /// The error for a port that could not be bound, for the relay's port too.
    pub fn listen(port: u16, option: &'static str, why: io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { port, option },
            _ => Self::Listen { port, option, why },
        }
    }
}
