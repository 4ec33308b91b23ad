//! A refusal in each provider's words: HTTP status and JSON.

mod custom;
mod google;
mod microsoft;

use super::super::{Shared, faults::Answer};
use super::refusal::Refusal;
use crate::provider::Provider;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// What the client hears.
pub(super) fn worded(shared: &Shared, refusal: &Refusal) -> (StatusCode, Value) {
    match shared.options.provider {
        Provider::Google => google::worded(refusal),
        Provider::Microsoft => microsoft::worded(shared, refusal),
        Provider::Custom => custom::worded(refusal),
    }
}

/// What a fault is to say, with the status that it names or that goes with its error; `own` are the provider's.
fn said(said: &Answer, own: &[(&str, StatusCode)]) -> (StatusCode, Value) {
    let usual = match said.error.as_str() {
        "invalid_client" | "unauthorized_client" => StatusCode::UNAUTHORIZED,
        "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
        "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    let usual = own.iter().find(|(error, _)| *error == said.error).map_or(usual, |(_, status)| *status);
    let status = said.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(usual);
    match said.description.as_str() {
        "" => (status, json!({ "error": said.error })),
        text => plain(status, &said.error, text),
    }
}

/// The plain form of RFC 6749 §5.2.
pub(super) fn plain(status: StatusCode, error: &str, description: &str) -> (StatusCode, Value) {
    (status, json!({ "error": error, "error_description": description }))
}

/// At most a hundred characters of what the client sent.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}
