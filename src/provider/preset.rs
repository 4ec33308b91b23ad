//! What each provider's preset fills in. Every field can be overridden by configuration.

use super::{Cloud, Grant, Provider};

/// How the upstream connection is protected; there is no unprotected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// STARTTLS (RFC 3207), required.
    Starttls,
}

/// Whether BDAT is used where the server offers CHUNKING (RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chunking {
    /// Where offered.
    Auto,
    /// Never.
    Off,
}

/// Limits of one mailbox; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections to the upstream at the same time.
    pub connections: u32,
    /// Messages over one connection before it is replaced.
    pub messages_per_connection: u32,
    /// Messages a minute.
    pub messages_per_minute: u32,
    /// Messages in 24 hours.
    pub messages_per_day: u32,
    /// Recipients in 24 hours.
    pub recipients_per_day: u32,
    /// Recipients of one message.
    pub recipients_per_message: u32,
}

/// What a preset fills in for one link and its mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// Authorization endpoint; `None` where only configuration can say.
    pub authorization_endpoint: Option<String>,
    /// Token endpoint.
    pub token_endpoint: Option<String>,
    /// Device authorization endpoint.
    pub device_endpoint: Option<String>,
    /// Scopes asked for.
    pub scopes: Vec<String>,
    /// SMTP server as `host:port`.
    pub server: Option<String>,
    /// How its connection is protected.
    pub tls: TlsMode,
    /// Whether BDAT is used.
    pub chunking: Chunking,
    /// Limits of a mailbox.
    pub limits: Limits,
}

/// The preset of `provider`; `cloud` and `tenant` matter to Microsoft only, `address` (the mailbox's) to Google's day limit.
pub fn preset(_provider: Provider, _cloud: Cloud, _tenant: Option<&str>, _grant: Grant, _address: &str) -> Preset {
    Preset {
        authorization_endpoint: None,
        token_endpoint: None,
        device_endpoint: None,
        scopes: Vec::new(),
        server: None,
        tls: TlsMode::Starttls,
        chunking: Chunking::Auto,
        limits: Limits {
            connections: 10,
            messages_per_connection: 0,
            messages_per_minute: 0,
            messages_per_day: 0,
            recipients_per_day: 0,
            recipients_per_message: 100,
        },
    }
}
