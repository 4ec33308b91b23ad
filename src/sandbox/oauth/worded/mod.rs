//! A refusal in each provider's words: HTTP status and JSON.

mod custom;
mod google;
mod microsoft;

use super::super::Shared;
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

/// The plain form of RFC 6749 §5.2.
pub(super) fn plain(status: StatusCode, error: &str, description: &str) -> (StatusCode, Value) {
    (status, json!({ "error": error, "error_description": description }))
}

/// At most a hundred characters of what the client sent.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}
