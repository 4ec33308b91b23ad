//! Why no token was given. `worded` says it as each provider does.

use super::super::{faults::Answer, token::Dead};

/// Why no token was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    Missing(&'static str),
    /// A field that stands there more than once.
    Twice,
    UnknownClient(String),
    MissingSecret,
    WrongSecret,
    /// A public client has none to show.
    PublicClient,
    /// The fault `client-secret-expired`.
    SecretExpired,
    Assertion(Doubt),
    Grant(String),
    Scope(String),
    MixedScopes(String),
    /// More is asked for than was agreed to.
    NotAgreed(String),
    Dead(Dead),
    Code(BadCode),
    Device(Polled),
    /// Google gives no such scope to a device.
    DeviceScope(String),
    ServiceAccount(Unfit),
    /// The fault `invalid-grant`.
    Revoked,
    /// The fault `token-refused`.
    Said(Answer),
}

/// What is wrong with an authorization code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadCode {
    Unknown,
    /// It was used before; that ended what came of it.
    Used,
    Expired,
    /// Another redirect than it was given to.
    Redirect {
        given: String,
        wanted: String,
    },
    /// Its proof (RFC 7636) is missing, not wanted or another one.
    Verifier,
}

/// What a device hears that asks for its token (RFC 8628 §3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Polled {
    Pending,
    SlowDown,
    Denied,
    Expired,
    Unknown,
}

/// What is wrong with a client assertion (RFC 7523 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    Type(String),
    Malformed(&'static str),
    /// Microsoft's header names the certificate.
    NoThumbprint,
    /// Its certificate has ended, or has not begun.
    Outdated,
    UnknownKey(String),
    Signature,
    Algorithm(String),
    Application,
    Audience(String),
    /// Before its time or after it.
    Time,
    Replayed,
    /// A federated token that nothing registered fits: which claim, and its value.
    Federated(&'static str, String),
}

/// Why a service account's assertion was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    Malformed(&'static str),
    UnknownAccount,
    Signature,
    Lifetime,
    Audience,
    Scope,
    Subject,
    /// The client has no delegation at all.
    NotDelegated,
    /// None of the scopes is delegated to it.
    ScopeNotDelegated,
    /// Some of the scopes are.
    PartlyDelegated,
}
