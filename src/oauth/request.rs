//! What is asked of a token endpoint, and why there may be no token; `exchange` sends it.

use oauth2::HttpRequest;
use std::collections::BTreeMap;
use url::Url;

use super::{fault::Fault, form};
use crate::secret::Secret;

/// One request to a token endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Where it goes.
    pub endpoint: &'a Url,
    /// The client's id.
    pub client_id: &'a str,
    /// How the client proves itself.
    pub authentication: Authentication<'a>,
    /// The scopes asked for; none leaves the parameter out.
    pub scopes: &'a [String],
    /// What is presented.
    pub what: What<'a>,
    /// What the provider wants besides.
    pub parameters: &'a BTreeMap<String, String>,
}

/// How the client proves itself (RFC 6749 §2.3).
#[derive(Debug, Clone, Copy)]
pub enum Authentication<'a> {
    /// Id and secret in the form.
    Post(&'a Secret),
    /// HTTP Basic, both parts form-encoded first (RFC 6749 §2.3.1).
    Basic(&'a Secret),
    /// A signed assertion in the form (RFC 7523 §2.2).
    Assertion(&'a Secret),
    /// A public client: the id alone. Entra refuses a secret of such a client, even on renewal.
    None,
}

/// What is presented for an access token.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    /// The client itself (RFC 6749 §4.4).
    ClientCredentials,
    /// A refresh token (RFC 6749 §6).
    Refresh(&'a Secret),
    /// An assertion that stands for a consent (RFC 7523 §2.1).
    JwtBearer(&'a Secret),
    /// The code that a login in a browser ended with (RFC 6749 §4.1.3, RFC 7636 §4.5).
    Code {
        /// The code.
        code: &'a Secret,
        /// The redirect as the authorization request had it.
        redirect: &'a str,
        /// What proves that this is who began the login.
        verifier: &'a Secret,
    },
    /// The code of a login on another device (RFC 8628 §3.4).
    DeviceCode(&'a Secret),
}

impl<'a> What<'a> {
    /// The secrets that are presented: a server must not bring them into a log.
    pub fn secrets(self) -> impl Iterator<Item = &'a Secret> {
        let (one, other) = match self {
            Self::ClientCredentials => (None, None),
            Self::Refresh(token) | Self::JwtBearer(token) | Self::DeviceCode(token) => (Some(token), None),
            Self::Code { code, verifier, .. } => (Some(code), Some(verifier)),
        };
        one.into_iter().chain(other)
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Failure<E: std::error::Error> {
    /// The exchange failed: no connection, time-out, an answer without end.
    #[error("{0}")]
    Exchange(E),
    /// The server refused.
    #[error("answered {0}")]
    Refused(Box<Fault>),
    /// The server answered success, but nothing that can be used.
    #[error("answered {status} with what is no token: {why}")]
    Unreadable {
        /// HTTP status.
        status: u16,
        /// What is wrong with it; never the body.
        why: String,
    },
}

impl Request<'_> {
    /// What goes into the form besides the grant's own fields.
    pub(super) fn more(&self) -> impl Iterator<Item = (&str, &str)> {
        let parameters = self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        form::assertion(self.authentication).into_iter().flatten().chain(parameters)
    }

    /// RFC 7523 §2.1. The assertion says who asks, so that the client's own id is no part of it.
    pub(super) fn jwt_bearer(&self, assertion: &Secret) -> HttpRequest {
        let grant = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion.expose())];
        form::request(self.endpoint, None, self.authentication, grant.into_iter().chain(self.more()))
    }

    /// RFC 8628 §3.4. The crate knows it only with a loop and a clock of its own.
    pub(super) fn device_code(&self, code: &Secret) -> HttpRequest {
        let grant = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", code.expose())];
        form::request(self.endpoint, Some(self.client_id), self.authentication, grant.into_iter().chain(self.more()))
    }
}
