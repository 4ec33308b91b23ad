//! The HTTP side: the token endpoint, and what tests and operators look at and switch.

use super::{
    Shared,
    clock::rfc3339,
    faults::{Fault, Setting},
    oauth,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, RawQuery, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Longest request body: a JWT assertion has a few KB.
const LONGEST_BODY: usize = 64 << 10;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/grant", post(grant))
        .route("/ca.pem", get(async |State(shared): State<Arc<Shared>>| shared.ca_pem.clone()))
        .route("/received", get(list).delete(clear))
        .route("/received/{number}", get(message))
        .route("/message-ids", get(message_ids))
        .route("/faults", get(faults))
        .route("/faults/{name}", put(switch_on).delete(switch_off))
        .route("/clock", get(clock).put(set_clock))
        .route("/stats", get(stats))
        .merge(oauth::routes())
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(middleware::from_fn(only_loopback_names))
        .with_state(shared)
}

/// A web page can make its own name point at 127.0.0.1 and so read from here; it cannot forge this header.
async fn only_loopback_names(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name);
    match name {
        "127.0.0.1" | "localhost" | "[::1]" => next.run(request).await,
        _ => fault(StatusCode::FORBIDDEN, "this server answers to 127.0.0.1 and localhost only"),
    }
}

/// A fault as JSON.
pub(super) fn fault(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}

/// A new refresh token, as if a person had consented again: what `outlink grant import` reads. `?mailbox=…` is another user's.
async fn grant(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> String {
    let query = query.unwrap_or_default();
    let mailbox = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "mailbox").map(|(_, mailbox)| mailbox);
    shared.tokens.consent(mailbox.as_deref().unwrap_or(super::ADDRESS)).expose().to_owned()
}

async fn list(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.mailroom.list()).into_response()
}

async fn clear(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.mailroom.clear();
    StatusCode::NO_CONTENT
}

/// Every Message-ID with how often it came; with `?lost=true` only those whose final reply a fault cut off.
async fn message_ids(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let lost = match query.as_deref() {
        None | Some("" | "lost=false") => false,
        Some("lost=true") => true,
        Some(_) => return fault(StatusCode::BAD_REQUEST, "the one thing to ask for is lost=true"),
    };
    ([(header::CONTENT_TYPE, "application/json")], shared.mailroom.message_ids(lost)).into_response()
}

/// The bytes, with the envelope in `X-Envelope-…`; or with `?envelope` everything but the bytes, as JSON.
async fn message(State(shared): State<Arc<Shared>>, Path(number): Path<u64>, RawQuery(query): RawQuery) -> Response {
    let missing = || fault(StatusCode::NOT_FOUND, "no message of this number is kept; GET /received lists those that are");
    if query.as_deref().is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("envelope"))) {
        return shared.mailroom.envelope(number).map_or_else(missing, |envelope| Json(envelope).into_response());
    }
    let Some((received, body)) = shared.mailroom.message(number) else { return missing() };
    let bytes = match body {
        Ok(bytes) => bytes,
        Err(hash) => {
            let text =
                format!("this message was too large to keep beside the others; it had {} bytes, sha256 {hash}", received.bytes);
            return fault(StatusCode::GONE, &text);
        }
    };
    let mut response = ([(header::CONTENT_TYPE, "message/rfc822")], bytes).into_response();
    let headers = response.headers_mut();
    let mut add = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.append(HeaderName::from_static(name), value);
        }
    };
    add("x-envelope-from", &received.from);
    received.to.iter().take(100).for_each(|to| add("x-envelope-to", to));
    add("x-envelope-user", &received.user);
    add("x-envelope-token", &received.token);
    response
}

async fn faults(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.faults.list(&shared.clock)).into_response()
}

async fn switch_on(State(shared): State<Arc<Shared>>, Path(name): Path<String>, body: Bytes) -> Response {
    let Some(which) = Fault::named(&name) else { return unknown_fault(&name) };
    let setting: Setting = match body.trim_ascii() {
        b"" => Setting::default(),
        body => match serde_json::from_slice(body) {
            Ok(setting) => setting,
            Err(why) => return fault(StatusCode::BAD_REQUEST, &format!("cannot read the fault's JSON: {why}")),
        },
    };
    if let Err(wrong) = setting.check(which) {
        return fault(StatusCode::BAD_REQUEST, &wrong);
    }
    match shared.faults.switch_on(which, setting, &shared.clock) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => fault(StatusCode::CONFLICT, "too many faults are on; switch some off"),
    }
}

async fn switch_off(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let Some(which) = Fault::named(&name) else { return unknown_fault(&name) };
    shared.faults.switch_off(which);
    StatusCode::NO_CONTENT.into_response()
}

fn unknown_fault(name: &str) -> Response {
    let known: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    let name: String = name.chars().take(50).collect();
    (StatusCode::NOT_FOUND, Json(json!({ "error": format!("no fault is named {name}"), "faults": known }))).into_response()
}

/// `{"advance_seconds": 3600}`, or `{"now": …}` with RFC 3339 or seconds since 1970.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    advance_seconds: Option<i64>,
    now: Option<Value>,
}

async fn clock(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "now": rfc3339(shared.clock.now()) }))
}

async fn set_clock(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let wanted = "give {\"advance_seconds\": 3600} or {\"now\": \"2027-01-31T12:00:00Z\"}";
    let moved: Move = match serde_json::from_slice(&body) {
        Ok(moved) => moved,
        Err(why) => return fault(StatusCode::BAD_REQUEST, &format!("cannot read the clock's JSON: {why}; {wanted}")),
    };
    let at = |value: &Value| match value {
        Value::String(text) => chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis()),
        value => value.as_i64().map(|seconds| seconds.saturating_mul(1000)),
    };
    match (moved.advance_seconds, moved.now.as_ref().map(at)) {
        (Some(seconds), None) => shared.clock.advance(seconds.saturating_mul(1000)),
        (None, Some(Some(milliseconds))) => shared.clock.set(milliseconds),
        _ => return fault(StatusCode::BAD_REQUEST, wanted),
    }
    clock(State(shared)).await.into_response()
}

async fn stats(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(report(&shared))
}

/// All counters.
pub(super) fn report(shared: &Shared) -> Value {
    let mut report = shared.usage.report(&shared.clock);
    shared.mailroom.report(&mut report);
    report["tokens_given"] = shared.tokens.given().into();
    report["refresh_token_reuses"] = shared.tokens.reuses().into();
    report["limits_enforced"] = shared.options.limits.into();
    report
}
