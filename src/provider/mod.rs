//! What is known of Google, Microsoft and others, as data: presets, what their replies and OAuth errors mean, and what to do
//! about them.
//!
//! Layer 2: pure. Every table row has its row of test; what no table judges is temporary.

mod advice;
mod fault;
mod microsoft;
mod preset;
mod reply;
mod scopes;

pub use advice::{Advice, advice_by_name, all_advice};
pub use fault::{OAuthFault, OAuthOutcome, OAuthVerdict, classify_oauth};
pub use preset::{Chunking, Limits, Preset, TlsMode, preset};
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

// STUB: until the branch of `provider` is merged, which brings the tables behind these names.

/// STUB: what to do about a failure.
#[derive(Debug)]
pub struct Advice {
    /// Kebab-case, stable.
    pub name: &'static str,
    /// Why.
    pub cause: &'static str,
    /// The next step.
    pub step: &'static str,
}

impl Advice {
    /// `cause; step` with the placeholders replaced.
    pub fn fill(&self, names: &[(&str, &str)]) -> String {
        let text = format!("{}; {}", self.cause, self.step);
        names.iter().fold(text, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }
}

/// STUB: a token endpoint's refusal.
#[derive(Debug, Clone, Copy)]
pub struct OAuthFault<'a> {
    /// HTTP status.
    pub status: u16,
    /// `error`.
    pub error: Option<&'a str>,
    /// `error_description`.
    pub description: Option<&'a str>,
    /// `error_subtype` or `suberror`.
    pub subtype: Option<&'a str>,
    /// `error_codes`.
    pub codes: &'a [u64],
}

/// STUB: who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OAuthOutcome {
    /// Time.
    Transient,
    /// A person.
    NeedsConsent,
    /// An administrator, at the provider.
    NeedsAdministrator,
    /// An administrator, here.
    NeedsConfiguration,
}

/// STUB: the judgement.
#[derive(Debug)]
pub struct OAuthVerdict {
    /// Who can mend it.
    pub outcome: OAuthOutcome,
    /// What to do.
    pub advice: Option<&'static Advice>,
}

/// STUB: judges by `error` alone.
pub fn classify_oauth(_provider: Provider, fault: &OAuthFault<'_>) -> OAuthVerdict {
    static SIGN_IN: Advice =
        Advice { name: "sign-in-expired", cause: "the sign-in has ended", step: "run `outlink grant import {mailbox}`" };
    let (outcome, advice) = match fault.error {
        _ if fault.status == 429 || fault.status >= 500 => (OAuthOutcome::Transient, None),
        Some("invalid_grant") => (OAuthOutcome::NeedsConsent, Some(&SIGN_IN)),
        Some("unauthorized_client") => (OAuthOutcome::NeedsAdministrator, None),
        Some("invalid_client" | "invalid_scope") => (OAuthOutcome::NeedsConfiguration, None),
        _ => (OAuthOutcome::Transient, None),
    };
    OAuthVerdict { outcome, advice }
}
