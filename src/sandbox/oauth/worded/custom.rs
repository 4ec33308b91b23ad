//! The words of a provider that keeps to the standards.

use super::super::{
    super::token::Dead,
    refusal::{BadCode, Doubt, Polled, Refusal},
};
use super::{clip, plain};
use axum::http::StatusCode;
use serde_json::Value;

const BAD: StatusCode = StatusCode::BAD_REQUEST;

pub(super) fn worded(refusal: &Refusal) -> (StatusCode, Value) {
    let client = |text: &str| plain(StatusCode::UNAUTHORIZED, "invalid_client", text);
    match refusal {
        Refusal::Missing(name) => plain(BAD, "invalid_request", &format!("{name} is missing")),
        Refusal::Twice => plain(BAD, "invalid_request", "a parameter stands there twice"),
        Refusal::UnknownClient(_) | Refusal::MissingSecret | Refusal::WrongSecret => client("client id or secret is wrong"),
        Refusal::SecretExpired => client("the client secret has expired"),
        Refusal::PublicClient => client("this client is public: it has neither secret nor key"),
        Refusal::Assertion(doubt) => client(&assertion(doubt)),
        Refusal::Grant(_) => plain(BAD, "unsupported_grant_type", "this grant type is not offered"),
        Refusal::Scope(_) | Refusal::MixedScopes(_) | Refusal::DeviceScope(_) => {
            plain(BAD, "invalid_scope", "this scope is not offered")
        }
        Refusal::NotAgreed(_) => plain(BAD, "invalid_scope", "more is asked for than was agreed to"),
        Refusal::Dead(Dead::Reused) => plain(BAD, "invalid_grant", "the refresh token was used twice, its grant is revoked"),
        Refusal::Dead(_) | Refusal::Revoked | Refusal::ServiceAccount(_) => {
            plain(BAD, "invalid_grant", "the refresh token is not valid")
        }
        Refusal::Code(code) => plain(BAD, "invalid_grant", bad_code(code)),
        Refusal::Device(polled) => device(*polled),
        Refusal::Said(said) => super::said(said, &[]),
    }
}

fn bad_code(code: &BadCode) -> &'static str {
    match code {
        BadCode::Unknown => "the code is not known",
        BadCode::Used => "the code was used before; what came of it has ended",
        BadCode::Expired => "the code is older than ten minutes",
        BadCode::Redirect { .. } => "the redirect_uri is not that of the authorization request",
        BadCode::Verifier => "the code_verifier does not fit the code_challenge",
    }
}

fn device(polled: Polled) -> (StatusCode, Value) {
    match polled {
        Polled::Pending => plain(BAD, "authorization_pending", "nobody has decided yet"),
        Polled::SlowDown => plain(BAD, "slow_down", "ask five seconds less often"),
        Polled::Denied => plain(BAD, "access_denied", "the person said no"),
        Polled::Expired => plain(BAD, "expired_token", "the device code is older than fifteen minutes"),
        Polled::Unknown => plain(BAD, "invalid_grant", "the device code is not known"),
    }
}

fn assertion(doubt: &Doubt) -> String {
    match doubt {
        Doubt::Type(kind) => format!("client_assertion_type {} is not taken", clip(kind)),
        Doubt::Malformed(why) => format!("the client assertion is not valid: {why}"),
        Doubt::NoThumbprint | Doubt::UnknownKey(_) => "no key is registered for this client".into(),
        Doubt::Outdated => "the client's certificate does not count now".into(),
        Doubt::Signature => "the client assertion's signature fits no registered key".into(),
        Doubt::Algorithm(name) => format!("the algorithm {} is not taken", clip(name)),
        Doubt::Application => "iss and sub of the client assertion are not the client".into(),
        Doubt::Audience(audience) => format!("the client assertion is for {}, not for this server", clip(audience)),
        Doubt::Time => "the client assertion is not valid at this time".into(),
        Doubt::Replayed => "a client assertion with this jti was used before".into(),
        Doubt::Federated(claim, value) => format!("no federation is registered with this {claim}: {}", clip(value)),
    }
}
