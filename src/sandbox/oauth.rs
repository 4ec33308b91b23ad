//! The token endpoint: what it grants, and how each provider words a refusal.
//!
//! Grants today: `client_credentials` and `refresh_token`; the others have their place in `grant`.

use super::{
    Shared,
    clock::rfc3339,
    faults::Fault,
    token::{Dead, LIFE},
};
use crate::{provider::Provider, secret::Secret};
use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

type Form = HashMap<String, String>;

/// Why no token was given.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    Missing(&'static str),
    UnknownClient(String),
    MissingSecret,
    WrongSecret,
    /// The fault `client-secret-expired`.
    SecretExpired,
    Grant(String),
    Scope(String),
    MixedScopes(String),
    Dead(Dead),
    /// The fault `invalid-grant`.
    Revoked,
}

/// `POST /token`.
pub(super) async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    shared.usage.token_requests.fetch_add(1, Relaxed);
    let clock = &shared.clock;
    if let Some(wait) = shared.faults.delay(Fault::TokenServerSlow, None, clock) {
        tokio::time::sleep(wait).await;
    }
    if shared.faults.strikes(Fault::TokenServerDown, None, clock) {
        shared.usage.token_refusals.fetch_add(1, Relaxed);
        let page = "<!DOCTYPE html><html><title>Error 503 (Service Unavailable)</title><p>Try again later.</html>";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
    }
    if let Some(seconds) = shared.faults.retry_after(Fault::TokenServerThrottled, clock) {
        shared.usage.token_refusals.fetch_add(1, Relaxed);
        let body = json!({ "error": "temporarily_unavailable", "error_description": "Too many requests, try again later." });
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())], axum::Json(body)).into_response();
    }
    let mut form: Form = url::form_urlencoded::parse(&body).into_owned().collect();
    basic_credentials(&headers, &mut form);
    let answer = check_client(&shared, &form).and_then(|()| grant(&shared, &form));
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(refusal) => {
            shared.usage.token_refusals.fetch_add(1, Relaxed);
            worded(&shared, &refusal)
        }
    };
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}

/// Client id and secret from HTTP Basic, both form-encoded before (RFC 6749 §2.3.1).
fn basic_credentials(headers: &HeaderMap, form: &mut Form) {
    let decoded = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .and_then(|value| String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok());
    let Some((id, secret)) = decoded.as_deref().and_then(|text| text.split_once(':')) else { return };
    let pair = format!("client_id={id}&client_secret={secret}");
    form.extend(url::form_urlencoded::parse(pair.as_bytes()).into_owned());
}

fn check_client(shared: &Shared, form: &Form) -> Result<(), Refusal> {
    let id = form.get("client_id").ok_or(Refusal::Missing("client_id"))?;
    if id != shared.client_id() {
        return Err(Refusal::UnknownClient(id.clone()));
    }
    let secret = form.get("client_secret").ok_or(Refusal::MissingSecret)?;
    if Secret::new(secret.clone()) != shared.client_secret {
        return Err(Refusal::WrongSecret);
    }
    match shared.faults.strikes(Fault::ClientSecretExpired, None, &shared.clock) {
        true => Err(Refusal::SecretExpired),
        false => Ok(()),
    }
}

/// The grants. Authorization code, device code and JWT bearer are to come here.
fn grant(shared: &Shared, form: &Form) -> Result<Value, Refusal> {
    let grant = form.get("grant_type").ok_or(Refusal::Missing("grant_type"))?;
    let provider = shared.options.provider;
    match grant.as_str() {
        "client_credentials" if provider != Provider::Google => client_credentials(shared, form),
        "refresh_token" => refresh_token(shared, form),
        _ => Err(Refusal::Grant(grant.clone())),
    }
}

fn client_credentials(shared: &Shared, form: &Form) -> Result<Value, Refusal> {
    let scope = form.get("scope").map_or("", String::as_str);
    if shared.options.provider == Provider::Microsoft {
        if scope.is_empty() {
            return Err(Refusal::Missing("scope"));
        }
        if scope.split_whitespace().count() != 1 || !scope.ends_with("/.default") {
            return Err(Refusal::Scope(scope.into()));
        }
    }
    if shared.faults.strikes(Fault::InvalidGrant, None, &shared.clock) {
        return Err(Refusal::Revoked);
    }
    Ok(answer(shared, None, scope, None))
}

fn refresh_token(shared: &Shared, form: &Form) -> Result<Value, Refusal> {
    let provider = shared.options.provider;
    let token = form.get("refresh_token").ok_or(Refusal::Missing("refresh_token"))?;
    let scope = form.get("scope").cloned().unwrap_or_else(|| super::scope_of_smtp(provider).into());
    check_scopes(provider, &scope)?;
    if shared.faults.strikes(Fault::InvalidGrant, None, &shared.clock) {
        return Err(Refusal::Revoked);
    }
    let (mailbox, next) = shared.tokens.refresh(token).map_err(Refusal::Dead)?;
    Ok(answer(shared, Some(&mailbox), &scope, next))
}

/// Google knows only what was consented to; Microsoft takes one resource at a time.
fn check_scopes(provider: Provider, scope: &str) -> Result<(), Refusal> {
    let words = || scope.split_whitespace();
    match provider {
        Provider::Google if words().any(|word| word != super::GOOGLE_SCOPE) => Err(Refusal::Scope(scope.into())),
        Provider::Microsoft => {
            let resources: std::collections::HashSet<_> =
                words().filter_map(|word| word.rsplit_once('/').map(|(resource, _)| resource)).collect();
            if resources.len() > 1 { Err(Refusal::MixedScopes(scope.into())) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn answer(shared: &Shared, mailbox: Option<&str>, scope: &str, refresh: Option<Secret>) -> Value {
    let provider = shared.options.provider;
    let access = shared.tokens.issue(mailbox, shared.client_id(), scope);
    let mut body = json!({ "token_type": "Bearer", "expires_in": LIFE.as_secs(), "access_token": access.expose() });
    if mailbox.is_some() || provider == Provider::Custom {
        body["scope"] = scope.into();
    }
    if provider == Provider::Microsoft {
        body["ext_expires_in"] = LIFE.as_secs().into();
    }
    if let Some(refresh) = refresh {
        body["refresh_token"] = refresh.expose().into();
    }
    body
}

/// The refusal in the provider's words.
fn worded(shared: &Shared, refusal: &Refusal) -> (StatusCode, Value) {
    match shared.options.provider {
        Provider::Google => google(refusal),
        Provider::Microsoft => microsoft(shared, refusal),
        Provider::Custom => custom(refusal),
    }
}

fn plain(status: StatusCode, error: &str, description: &str) -> (StatusCode, Value) {
    (status, json!({ "error": error, "error_description": description }))
}

fn google(refusal: &Refusal) -> (StatusCode, Value) {
    let bad = StatusCode::BAD_REQUEST;
    match refusal {
        Refusal::Missing("client_id") => plain(bad, "invalid_request", "Could not determine client ID from request."),
        Refusal::Missing(name) => plain(bad, "invalid_request", &format!("Missing required parameter: {name}")),
        Refusal::UnknownClient(_) => plain(StatusCode::UNAUTHORIZED, "invalid_client", "The OAuth client was not found."),
        Refusal::MissingSecret => plain(bad, "invalid_request", "client_secret is missing."),
        // Google's secrets do not expire but can be deleted, which it answers as a wrong one.
        Refusal::WrongSecret | Refusal::SecretExpired => plain(StatusCode::UNAUTHORIZED, "invalid_client", "Unauthorized"),
        Refusal::Grant(grant) => plain(bad, "unsupported_grant_type", &format!("Invalid grant_type: {grant}")),
        Refusal::Scope(_) | Refusal::MixedScopes(_) => plain(bad, "invalid_scope", "Some requested scopes were invalid."),
        Refusal::Dead(Dead::Unknown) => plain(bad, "invalid_grant", "Bad Request"),
        // Google has no one-time refresh tokens: by fault only.
        Refusal::Dead(Dead::Reused) => plain(bad, "invalid_grant", "Token has been expired or revoked: it was used twice."),
        Refusal::Dead(_) | Refusal::Revoked => plain(bad, "invalid_grant", "Token has been expired or revoked."),
    }
}

fn custom(refusal: &Refusal) -> (StatusCode, Value) {
    let bad = StatusCode::BAD_REQUEST;
    match refusal {
        Refusal::Missing(name) => plain(bad, "invalid_request", &format!("{name} is missing")),
        Refusal::UnknownClient(_) | Refusal::MissingSecret | Refusal::WrongSecret => {
            plain(StatusCode::UNAUTHORIZED, "invalid_client", "client id or secret is wrong")
        }
        Refusal::SecretExpired => plain(StatusCode::UNAUTHORIZED, "invalid_client", "the client secret has expired"),
        Refusal::Grant(_) => plain(bad, "unsupported_grant_type", "this grant type is not offered"),
        Refusal::Scope(_) | Refusal::MixedScopes(_) => plain(bad, "invalid_scope", "this scope is not offered"),
        Refusal::Dead(Dead::Reused) => plain(bad, "invalid_grant", "the refresh token was used twice, its grant is revoked"),
        Refusal::Dead(_) | Refusal::Revoked => plain(bad, "invalid_grant", "the refresh token is not valid"),
    }
}

fn microsoft(shared: &Shared, refusal: &Refusal) -> (StatusCode, Value) {
    let (status, error, code, text) = entra(shared.client_id(), refusal);
    let id = || uuid::Uuid::from_bytes(super::random_bytes()).to_string();
    let (trace, correlation, at) = (id(), id(), rfc3339(shared.clock.now()));
    let description = format!("AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}");
    let mut body = json!({
        "error": error, "error_description": description, "error_codes": [code], "timestamp": at, "trace_id": trace,
        "correlation_id": correlation, "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
    });
    if error == "invalid_grant" {
        body["suberror"] = "bad_token".into();
    }
    (status, body)
}

/// Status, error, AADSTS code and text.
fn entra(app: &str, refusal: &Refusal) -> (StatusCode, &'static str, u32, String) {
    let (bad, unauthorized) = (StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED);
    match refusal {
        Refusal::Missing(name) => {
            (bad, "invalid_request", 900_144, format!("The request body must contain the following parameter: '{name}'."))
        }
        Refusal::UnknownClient(id) => {
            let text = format!("Application with identifier '{}' was not found in the directory 'Sandbox'.", clip(id));
            (bad, "unauthorized_client", 700_016, text)
        }
        Refusal::MissingSecret => {
            let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
            (unauthorized, "invalid_client", 7_000_218, text.into())
        }
        Refusal::WrongSecret => {
            let text = format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, \
                 not the client secret ID, for a secret added to app '{app}'."
            );
            (unauthorized, "invalid_client", 7_000_215, text)
        }
        Refusal::SecretExpired => {
            let text = format!(
                "The provided client secret keys for app '{app}' are expired. Visit the Azure portal to create new keys for \
                 your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: \
                 https://aka.ms/certCreds."
            );
            (unauthorized, "invalid_client", 7_000_222, text)
        }
        Refusal::Grant(grant) => {
            (bad, "unsupported_grant_type", 70_003, format!("The app requested an unsupported grant type '{}'.", clip(grant)))
        }
        Refusal::Scope(scope) => {
            let text =
                format!("The provided request must include a valid 'scope' input parameter; '{}' is not valid.", clip(scope));
            (bad, "invalid_scope", 70_011, text)
        }
        Refusal::MixedScopes(scope) => {
            let text = format!("Provided value for the input parameter scope '{}' asks for more than one resource.", clip(scope));
            (bad, "invalid_request", 28_003, text)
        }
        Refusal::Dead(Dead::Inactive) => {
            (bad, "invalid_grant", 700_082, "The refresh token has expired due to inactivity.".into())
        }
        // Microsoft has no one-time refresh tokens for confidential clients: by fault only.
        Refusal::Dead(Dead::Reused) => {
            let text = "Provided grant is invalid or malformed. The refresh token was used twice.";
            (bad, "invalid_grant", 70_000, text.into())
        }
        Refusal::Dead(Dead::Unknown) => (bad, "invalid_grant", 70_000, "Provided grant is invalid or malformed.".into()),
        Refusal::Dead(Dead::Revoked) | Refusal::Revoked => {
            let text = "The provided grant has expired due to it being revoked, a fresh auth token is needed.";
            (bad, "invalid_grant", 50_173, text.into())
        }
    }
}

/// At most a hundred characters of what the client sent.
fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}
