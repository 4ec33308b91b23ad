//! What is known of Google, Microsoft and others, as data: presets, what their replies and OAuth errors mean, and what to do
//! about them.
//!
//! Layer 2: pure. Every table row has its row of test; what no table judges is temporary.

mod advice;
mod explain;
mod fault;
mod life;
mod microsoft;
mod network;
pub(crate) mod own;
mod preset;
mod redirect;
mod registration;
mod reply;
mod scopes;

pub use advice::{AdviceEntry, Topic, advice_named, all_advice, cloud_names, commands};
pub use explain::{Consequence, Explanation, Hints, LONGEST as LONGEST_EXPLAINED, Marks, Meaning, Unknown, explain};
pub use fault::{OAuthFault, OAuthOutcome, OAuthVerdict, classify_oauth};
pub use life::refresh_tokens;
pub use network::{NetworkFault, network_advice};
pub use preset::{Chunking, Limits, NullSender, Preset, TlsMode, preset};
pub use redirect::{as_written, is_loopback, loopback_redirect};
pub use registration::Registration;
pub use reply::{Verdict, classify};
pub use scopes::{ScopeFinding, check_scopes};

use std::fmt;

/// Who runs the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Gmail and Google Workspace.
    Google,
    /// Exchange Online and Outlook.com.
    Microsoft,
    /// Any other server with OAuth 2.0.
    Custom,
}

/// Microsoft's clouds (design key `cloud`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cloud {
    /// Worldwide.
    #[default]
    Global,
    /// US Government Community Cloud: worldwide endpoints, outlook.office365.com scopes.
    Gcc,
    /// US Government, high.
    GccHigh,
    /// US Department of Defense.
    Dod,
    /// Operated by 21Vianet.
    China,
    /// Outlook.com, Hotmail, Live.
    Consumer,
}

/// How a link obtains access tokens (RFC 6749 and its companions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// A person consented in a browser; a refresh token is kept.
    AuthorizationCode,
    /// The application itself is permitted.
    ClientCredentials,
    /// A person consented on another device (RFC 8628).
    DeviceCode,
    /// Google's service account with domain-wide delegation (RFC 7523).
    ServiceAccount,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Google => "google",
            Self::Microsoft => "microsoft",
            Self::Custom => "custom",
        })
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::Gcc => "gcc",
            Self::GccHigh => "gcc-high",
            Self::Dod => "dod",
            Self::China => "china",
            Self::Consumer => "consumer",
        })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AuthorizationCode => "authorization-code",
            Self::ClientCredentials => "client-credentials",
            Self::DeviceCode => "device-code",
            Self::ServiceAccount => "service-account",
        })
    }
}
