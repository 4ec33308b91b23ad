//! Google's words.

use super::super::{
    super::token::Dead,
    refusal::{BadCode, Polled, Refusal, Unfit},
};
use super::{clip, plain};
use axum::http::StatusCode;
use serde_json::Value;

const BAD: StatusCode = StatusCode::BAD_REQUEST;

pub(super) fn worded(refusal: &Refusal) -> (StatusCode, Value) {
    match refusal {
        Refusal::Missing("client_id") => plain(BAD, "invalid_request", "Could not determine client ID from request."),
        Refusal::Missing(name) => plain(BAD, "invalid_request", &format!("Missing required parameter: {name}")),
        Refusal::Twice => plain(BAD, "invalid_request", "A parameter was included more than once."),
        Refusal::UnknownClient(_) => plain(StatusCode::UNAUTHORIZED, "invalid_client", "The OAuth client was not found."),
        Refusal::MissingSecret => plain(BAD, "invalid_request", "client_secret is missing."),
        // Google's secrets do not expire but can be deleted, which it answers as a wrong one. It has no client without a secret
        // and takes no assertion for one.
        Refusal::WrongSecret | Refusal::SecretExpired | Refusal::PublicClient | Refusal::Assertion(_) => {
            plain(StatusCode::UNAUTHORIZED, "invalid_client", "Unauthorized")
        }
        Refusal::Grant(grant) => plain(BAD, "unsupported_grant_type", &format!("Invalid grant_type: {}", clip(grant))),
        Refusal::Scope(_) | Refusal::MixedScopes(_) | Refusal::NotAgreed(_) => {
            plain(BAD, "invalid_scope", "Some requested scopes were invalid.")
        }
        Refusal::Dead(Dead::Unknown) => plain(BAD, "invalid_grant", "Bad Request"),
        // Google has no one-time refresh tokens: by fault only.
        Refusal::Dead(Dead::Reused) => plain(BAD, "invalid_grant", "Token has been expired or revoked: it was used twice."),
        Refusal::Dead(_) | Refusal::Revoked => plain(BAD, "invalid_grant", "Token has been expired or revoked."),
        Refusal::Code(code) => bad_code(code),
        Refusal::Device(polled) => device(*polled),
        Refusal::DeviceScope(scope) => plain(BAD, "invalid_scope", &format!("Invalid device flow scope: {}", clip(scope))),
        Refusal::ServiceAccount(unfit) => service_account(*unfit),
        Refusal::Said(said) => {
            let (status, mut body) =
                super::said(said, &[("access_denied", StatusCode::FORBIDDEN), ("org_internal", StatusCode::FORBIDDEN)]);
            if let Some(subtype) = &said.subtype {
                body["error_subtype"] = subtype.as_str().into();
            }
            (status, body)
        }
    }
}

fn bad_code(code: &BadCode) -> (StatusCode, Value) {
    match code {
        BadCode::Unknown => plain(BAD, "invalid_grant", "Malformed auth code."),
        BadCode::Used | BadCode::Expired => plain(BAD, "invalid_grant", "Bad Request"),
        BadCode::Redirect { .. } => plain(BAD, "redirect_uri_mismatch", "Bad Request"),
        BadCode::Verifier => plain(BAD, "invalid_grant", "Invalid code verifier."),
    }
}

fn device(polled: Polled) -> (StatusCode, Value) {
    match polled {
        Polled::Pending => plain(StatusCode::PRECONDITION_REQUIRED, "authorization_pending", "Precondition Required"),
        Polled::SlowDown => plain(StatusCode::FORBIDDEN, "slow_down", "Forbidden"),
        Polled::Denied => plain(StatusCode::FORBIDDEN, "access_denied", "Forbidden"),
        Polled::Expired => plain(BAD, "expired_token", "Bad Request"),
        Polled::Unknown => plain(BAD, "invalid_grant", "Malformed device code."),
    }
}

fn service_account(unfit: Unfit) -> (StatusCode, Value) {
    let grant = |text: &str| plain(BAD, "invalid_grant", text);
    match unfit {
        Unfit::Malformed(why) => grant(&format!("Invalid JWT: {why}")),
        Unfit::UnknownAccount => grant("Invalid grant: account not found"),
        Unfit::Signature => grant("Invalid JWT Signature."),
        Unfit::Lifetime => grant(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp \
             values in the JWT claim.",
        ),
        Unfit::Audience => grant("Invalid JWT: Failed audience check."),
        Unfit::Subject => grant("Invalid email or User ID"),
        Unfit::Scope => plain(BAD, "invalid_scope", "Invalid OAuth scope or ID token audience provided."),
        Unfit::NotDelegated => plain(StatusCode::UNAUTHORIZED, "unauthorized_client", "Unauthorized client or scope in request."),
        Unfit::ScopeNotDelegated => plain(
            StatusCode::UNAUTHORIZED,
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes \
             requested.",
        ),
        Unfit::PartlyDelegated => plain(StatusCode::FORBIDDEN, "access_denied", "Requested client not authorized."),
    }
}
