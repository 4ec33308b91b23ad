//! The OAuth 2.0 server. Here is the token endpoint: who asks, by which grant, and what comes of it.
//!
//! One client is registered (`clients`). Each grant has its file; `worded` says a refusal as the provider does. Nothing here is
//! shared with the program's own `oauth`, so that the two check each other.

mod asker;
mod assertion;
mod authorize;
mod claims;
mod clients;
mod code;
mod device;
mod federation;
mod jwt;
mod page;
mod refusal;
mod registration;
mod revoke;
mod service_account;
mod worded;

pub(super) use clients::Clients;
pub(super) use code::Codes;
pub(super) use device::Devices;
pub(super) use federation::Issuer;
pub(super) use jwt::PublicKey;
pub(super) use service_account::ServiceAccount;

use super::{
    Shared,
    faults::{Answer, Fault, Who},
    token::{Consent, LIFE},
};
use crate::{provider::Provider, secret::Secret};
use asker::Asker;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use refusal::Refusal;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
};

type Form = HashMap<String, String>;

/// The endpoints of the protocol, and of the provider's console.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/token", post(token))
        .route("/authorize", get(authorize::ask).post(authorize::answer))
        .route("/devicecode", post(device::begin))
        .route("/device", get(device::ask).post(device::answer))
        .route("/revoke", post(revoke::revoke))
        .merge(registration::routes())
}

/// Grant types with long names (RFC 8628 §3.4, RFC 7523 §2.1).
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// `POST /token`.
async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    shared.usage.token_requests.fetch_add(1, Relaxed);
    let (clock, form) = (&shared.clock, form(&headers, &body));
    let asker = form.as_ref().map_or_else(|_| Asker::default(), |form| Asker::of(&shared, form));
    if let Some(wait) = shared.faults.delay(Fault::TokenServerSlow, asker.who(), clock) {
        tokio::time::sleep(wait).await;
    }
    if shared.faults.strikes(Fault::TokenServerDown, asker.who(), clock) {
        shared.usage.token_refusals.fetch_add(1, Relaxed);
        let page = "<!DOCTYPE html><html><title>Error 503 (Service Unavailable)</title><p>Try again later.</html>";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
    }
    if let Some(seconds) = shared.faults.retry_after(Fault::TokenServerThrottled, asker.who(), clock) {
        shared.usage.token_refusals.fetch_add(1, Relaxed);
        let body = json!({ "error": "temporarily_unavailable", "error_description": "Too many requests, try again later." });
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())], axum::Json(body)).into_response();
    }
    let answer = form.and_then(|form| {
        // A service account's assertion says who asks.
        if form.get("grant_type").is_none_or(|grant| grant != JWT_BEARER) {
            check_client(&shared, &form)?;
        }
        grant(&shared, &form, asker.who())
    });
    if answer.is_err() {
        shared.usage.token_refusals.fetch_add(1, Relaxed);
    }
    respond(&shared, answer)
}

/// The answer, or the refusal in the provider's words; neither is for a cache (RFC 6749 §5.1).
fn respond(shared: &Shared, answer: Result<Value, Refusal>) -> Response {
    if let Err(Refusal::Said(Answer { html: Some(html), status, .. })) = answer {
        let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::BAD_GATEWAY);
        return (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response();
    }
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(refusal) => worded::worded(shared, &refusal),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}

/// The request's fields, each at most once (RFC 6749 §3.2).
fn form(headers: &HeaderMap, body: &[u8]) -> Result<Form, Refusal> {
    let mut form = Form::new();
    for (name, value) in url::form_urlencoded::parse(body).into_owned() {
        if form.insert(name, value).is_some() {
            return Err(Refusal::Twice);
        }
    }
    basic_credentials(headers, &mut form);
    Ok(form)
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

/// Who asks: by secret, by assertion, or without either where the client is public. Google's desktop clients have a secret too.
fn check_client(shared: &Shared, form: &Form) -> Result<(), Refusal> {
    let id = form.get("client_id").ok_or(Refusal::Missing("client_id"))?;
    if !shared.knows_client(id) {
        return Err(Refusal::UnknownClient(id.clone()));
    }
    let google = shared.options.provider == Provider::Google;
    let public = shared.clients.is_public() && !google;
    match (form.get("client_assertion").filter(|_| !google), form.get("client_secret")) {
        (Some(_), _) | (_, Some(_)) if public => Err(Refusal::PublicClient),
        (Some(assertion), _) => assertion::check(shared, form, assertion),
        (None, Some(secret)) => check_secret(shared, secret),
        (None, None) if public && form.get("grant_type").is_none_or(|grant| grant != "client_credentials") => Ok(()),
        (None, None) => Err(Refusal::MissingSecret),
    }
}

fn check_secret(shared: &Shared, secret: &str) -> Result<(), Refusal> {
    if Secret::new(secret.to_owned()) != shared.client_secret {
        return Err(Refusal::WrongSecret);
    }
    let today = chrono::DateTime::<chrono::Utc>::from(shared.clock.now()).date_naive();
    let over = shared.secret_until.is_some_and(|last| today > last);
    match over || shared.faults.strikes(Fault::ClientSecretExpired, None, &shared.clock) {
        true => Err(Refusal::SecretExpired),
        false => Ok(()),
    }
}

fn grant(shared: &Shared, form: &Form, who: Who<'_>) -> Result<Value, Refusal> {
    let grant = form.get("grant_type").ok_or(Refusal::Missing("grant_type"))?;
    if let Some(answer) = shared.faults.answer(Fault::TokenRefused, who, &shared.clock) {
        return Err(Refusal::Said(answer));
    }
    let google = shared.options.provider == Provider::Google;
    match grant.as_str() {
        "authorization_code" => authorization_code(shared, form, who),
        "refresh_token" => refresh_token(shared, form, who),
        "client_credentials" if !google => client_credentials(shared, form, who),
        DEVICE_CODE => device::token(shared, form),
        JWT_BEARER if google => service_account::token(shared, form),
        _ => Err(Refusal::Grant(grant.clone())),
    }
}

fn client_credentials(shared: &Shared, form: &Form, who: Who<'_>) -> Result<Value, Refusal> {
    let scope = form.get("scope").map_or("", String::as_str);
    if shared.options.provider == Provider::Microsoft {
        if scope.is_empty() {
            return Err(Refusal::Missing("scope"));
        }
        if scope.split_whitespace().count() != 1 || !scope.ends_with("/.default") {
            return Err(Refusal::Scope(scope.into()));
        }
    }
    if shared.faults.strikes(Fault::InvalidGrant, who, &shared.clock) {
        return Err(Refusal::Revoked);
    }
    let access = shared.tokens.issue(None, shared.client_id(), scope);
    let mut body = body(shared, &access);
    if shared.options.provider == Provider::Custom {
        body["scope"] = scope.into();
    }
    Ok(body)
}

fn authorization_code(shared: &Shared, form: &Form, who: Who<'_>) -> Result<Value, Refusal> {
    let field = |name: &'static str| form.get(name).ok_or(Refusal::Missing(name));
    let (code, redirect) = (field("code")?, field("redirect_uri")?);
    if shared.faults.strikes(Fault::InvalidGrant, who, &shared.clock) {
        return Err(Refusal::Revoked);
    }
    let verifier = form.get("code_verifier").map(String::as_str);
    let redeemed = shared.codes.redeem(&shared.tokens, (code, redirect, verifier), shared.clock.now());
    let (consent, agreed) = redeemed.map_err(Refusal::Code)?;
    Ok(first_tokens(shared, &consent, &agreed))
}

/// What a consent begins with.
fn first_tokens(shared: &Shared, consent: &Consent, agreed: &code::Agreed) -> Value {
    let spared = || shared.faults.strikes(Fault::NoRefreshToken, Some(agreed.account.as_str()), &shared.clock);
    let refresh = (agreed.lasting && !spared()).then(|| shared.tokens.refresh_token(consent));
    consented(shared, consent, &agreed.scope, (refresh, agreed.nonce.as_deref()))
}

fn refresh_token(shared: &Shared, form: &Form, who: Who<'_>) -> Result<Value, Refusal> {
    let provider = shared.options.provider;
    let token = form.get("refresh_token").ok_or(Refusal::Missing("refresh_token"))?;
    let asked = form.get("scope");
    if let Some(scope) = asked {
        check_scopes(provider, scope)?;
    }
    if shared.faults.strikes(Fault::InvalidGrant, who, &shared.clock) {
        return Err(Refusal::Revoked);
    }
    if let (Some(scope), Some(agreed)) = (asked, shared.tokens.agreed(token))
        && !is_within(scope, &agreed)
    {
        return Err(Refusal::NotAgreed(scope.clone()));
    }
    let (consent, next) = shared.tokens.refresh(token).map_err(Refusal::Dead)?;
    let scope = asked.or(consent.scope.as_ref()).cloned().unwrap_or_else(|| super::scope_of_smtp(provider).into());
    Ok(consented(shared, &consent, &scope, (next, None)))
}

/// Words that ask for no resource but for who the person is, and for a refresh token.
const IDENTITY: [&str; 4] = ["openid", "email", "profile", "offline_access"];

/// Whether a refresh token is asked for, where that takes a scope.
fn is_offline(scope: &str) -> bool {
    scope.split_whitespace().any(|word| word == "offline_access")
}

/// Whether everything in `scope` was agreed to; Exchange's resource has two names.
fn is_within(scope: &str, agreed: &str) -> bool {
    let same = |word: &str| word.to_ascii_lowercase().replace("//outlook.office365.com/", "//outlook.office.com/");
    let agreed: HashSet<_> = agreed.split_whitespace().map(same).collect();
    scope.split_whitespace().all(|word| IDENTITY.contains(&word) || agreed.contains(&same(word)))
}

/// Google knows its own scopes; Microsoft takes one resource at a time.
fn check_scopes(provider: Provider, scope: &str) -> Result<(), Refusal> {
    let mut words = scope.split_whitespace();
    let of_google = |word: &str| {
        word == super::GOOGLE_SCOPE || IDENTITY[..3].contains(&word) || word.starts_with("https://www.googleapis.com/auth/")
    };
    match provider {
        Provider::Google if !words.all(of_google) => Err(Refusal::Scope(scope.into())),
        Provider::Microsoft => {
            let resources: HashSet<_> = words.filter_map(|word| word.rsplit_once('/').map(|(resource, _)| resource)).collect();
            if resources.len() > 1 { Err(Refusal::MixedScopes(scope.into())) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// The answer to who acts for a person.
fn consented(shared: &Shared, consent: &Consent, scope: &str, (refresh, nonce): (Option<Secret>, Option<&str>)) -> Value {
    let access = shared.tokens.issue_under(consent, shared.client_id(), scope);
    let mut body = body(shared, &access);
    body["scope"] = told_scope(shared.options.provider, scope).into();
    // Told with each answer, also by those who keep the token as it is; Keycloak's name is Custom's.
    if let Some(left) = shared.tokens.left(consent) {
        let name = if shared.options.provider == Provider::Custom { "refresh_expires_in" } else { "refresh_token_expires_in" };
        body[name] = left.as_secs().into();
    }
    if let Some(refresh) = refresh {
        body["refresh_token"] = refresh.expose().into();
    }
    if scope.split_whitespace().any(|word| word == "openid") {
        body["id_token"] = claims::id_token(shared, &consent.mailbox, scope, nonce).into();
    }
    body
}

fn body(shared: &Shared, access: &Secret) -> Value {
    let mut body = json!({ "token_type": "Bearer", "expires_in": LIFE.as_secs(), "access_token": access.expose() });
    if shared.options.provider == Provider::Microsoft {
        body["ext_expires_in"] = LIFE.as_secs().into();
    }
    body
}

/// The scope as the provider tells it back: Google by its long names, Microsoft without `offline_access`.
fn told_scope(provider: Provider, scope: &str) -> String {
    let words = scope.split_whitespace().filter(|word| provider != Provider::Microsoft || *word != "offline_access");
    let told = words.map(|word| match (provider, word) {
        (Provider::Google, "email") => "https://www.googleapis.com/auth/userinfo.email",
        (Provider::Google, "profile") => "https://www.googleapis.com/auth/userinfo.profile",
        (_, word) => word,
    });
    told.collect::<Vec<_>>().join(" ")
}
