//! Revocation (RFC 7009): a token of either kind, and with it all that came of its consent. Microsoft has no such endpoint.

use super::super::Shared;
use super::{Refusal, check_client, form, respond, worded};
use crate::provider::Provider;
use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::sync::{Arc, atomic::Ordering::Relaxed};

/// `POST /revoke`.
pub(in crate::sandbox) async fn revoke(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let provider = shared.options.provider;
    if provider == Provider::Microsoft {
        return StatusCode::NOT_FOUND.into_response();
    }
    let fields = match form(&headers, &body) {
        Ok(fields) => fields,
        Err(refusal) => return respond(&shared, Err(refusal)),
    };
    // Google asks nobody who they are: to hold the token is enough.
    if provider == Provider::Custom
        && let Err(refusal) = check_client(&shared, &fields)
    {
        return respond(&shared, Err(refusal));
    }
    let Some(token) = fields.get("token") else { return respond(&shared, Err(Refusal::Missing("token"))) };
    match shared.tokens.origin(token) {
        Some((consent, mailbox)) => {
            shared.usage.revocations.fetch_add(1, Relaxed);
            shared.codes.forget(&mailbox);
            match provider {
                // Google ends the application's access to the account.
                Provider::Google => shared.tokens.end_all(&mailbox),
                Provider::Microsoft | Provider::Custom => shared.tokens.end(consent),
            }
        }
        None if provider == Provider::Google => {
            let (status, body) = worded::plain(StatusCode::BAD_REQUEST, "invalid_token", "Token expired or revoked");
            return (status, axum::Json(body)).into_response();
        }
        // RFC 7009 §2.2: a token that does not count is as good as revoked.
        None => {}
    }
    axum::Json(json!({})).into_response()
}
