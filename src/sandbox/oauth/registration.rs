//! What an administrator would enter in the provider's console, over HTTP: the client's kind, redirects, certificates and
//! federations, delegations, service-account keys, and who may use whose mailbox.

use super::super::{Shared, http::fault};
use super::{
    clients::{Federation, MOST, MOST_IDS},
    federation,
    jwt::PublicKey,
    service_account::Delegations,
};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use serde::{Deserialize, de::DeserializeOwned};
use std::sync::Arc;
use url::Url;

/// All of it.
pub(in crate::sandbox) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/clients/kind", put(kind))
        .route("/clients/ids", put(ids))
        .route("/clients/redirects", put(redirects))
        .route("/clients/certificate", put(add_certificate).delete(forget_certificates))
        .route("/clients/federation", put(federations))
        .route("/federated-token", get(federated_token))
        .route("/delegation", put(delegate).delete(delegate_again))
        .route("/service-account", get(service_account).post(renew_service_account))
        .route("/full-access", put(full_access))
}

fn bad(text: &str) -> Response {
    fault(StatusCode::BAD_REQUEST, text)
}

/// Reads the body; says what it should have been.
fn json<T: DeserializeOwned>(body: &[u8], wanted: &str) -> Result<T, Box<Response>> {
    serde_json::from_slice(body).map_err(|why| Box::new(bad(&format!("cannot read the JSON: {why}; give {wanted}"))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    public: bool,
}

async fn kind(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match json::<Kind>(&body, "{\"public\": true}") {
        Ok(kind) => {
            shared.clients.set_public(kind.public);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refused) => *refused,
    }
}

async fn ids(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let ids: Vec<String> = match json(&body, "[\"another-client\"]") {
        Ok(ids) => ids,
        Err(refused) => return *refused,
    };
    if ids.len() > MOST_IDS {
        return bad(&format!("at most {MOST_IDS} more ids can be registered"));
    }
    shared.clients.set_ids(ids);
    StatusCode::NO_CONTENT.into_response()
}

async fn redirects(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let redirects: Vec<String> = match json(&body, "[\"https://relay.example.com/oauth/callback\"]") {
        Ok(redirects) => redirects,
        Err(refused) => return *refused,
    };
    if redirects.len() > MOST {
        return bad(&format!("at most {MOST} redirects can be registered"));
    }
    if let Some(wrong) = redirects.iter().find(|redirect| Url::parse(redirect).is_err()) {
        let wrong: String = wrong.chars().take(100).collect();
        return bad(&format!("{wrong:?} is no URL"));
    }
    shared.clients.set_redirects(redirects);
    StatusCode::NO_CONTENT.into_response()
}

async fn add_certificate(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let key = match PublicKey::from_pem(&body) {
        Ok(key) => key,
        Err(why) => return bad(&why),
    };
    match shared.clients.add_key(key) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => bad(&format!("{MOST} are registered, which is the most; DELETE /clients/certificate forgets them all")),
    }
}

async fn forget_certificates(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.clients.forget_keys();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Federated {
    issuer: String,
    subject: String,
    audience: Option<String>,
    key: Option<String>,
}

async fn federations(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let wanted = "[{\"issuer\": \"https://…\", \"subject\": \"…\"}], where wanted with audience, and key in PEM";
    let given: Vec<Federated> = match json(&body, wanted) {
        Ok(given) => given,
        Err(refused) => return *refused,
    };
    if given.len() > MOST {
        return bad(&format!("at most {MOST} federations can be registered"));
    }
    let read = |given: Federated| {
        Ok(Federation {
            issuer: given.issuer,
            subject: given.subject,
            audience: given.audience.unwrap_or_else(|| federation::AUDIENCE.into()),
            key: given.key.map(|pem| PublicKey::from_pem(pem.as_bytes())).transpose()?,
        })
    };
    match given.into_iter().map(read).collect::<Result<Vec<_>, String>>() {
        Ok(federations) => {
            shared.clients.set_federations(federations);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(why) => bad(&why),
    }
}

/// A new token of the sandbox's own issuer, which is registered with it.
async fn federated_token(State(shared): State<Arc<Shared>>) -> Response {
    match shared.federated_token() {
        Ok(token) => token.expose().to_owned().into_response(),
        Err(why) => fault(StatusCode::INTERNAL_SERVER_ERROR, &why),
    }
}

async fn delegate(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let delegations: Delegations = match json(&body, "{\"100000000000000000001\": [\"https://mail.google.com/\"]}") {
        Ok(delegations) => delegations,
        Err(refused) => return *refused,
    };
    shared.service_account.delegate(Some(delegations));
    StatusCode::NO_CONTENT.into_response()
}

async fn delegate_again(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.service_account.delegate(None);
    StatusCode::NO_CONTENT
}

async fn service_account(State(shared): State<Arc<Shared>>) -> Response {
    key_file(shared, false).await
}

/// A new key; the old one stops working.
async fn renew_service_account(State(shared): State<Arc<Shared>>) -> Response {
    key_file(shared, true).await
}

/// Finding a key takes a moment of the processor's: not on a thread that serves connections.
async fn key_file(shared: Arc<Shared>, renew: bool) -> Response {
    let made = tokio::task::spawn_blocking(move || {
        if renew {
            shared.service_account.renew()?;
        }
        shared.service_account.file(&shared.issuer())
    });
    match made.await.unwrap_or_else(|why| Err(why.to_string())) {
        Ok(file) => ([(header::CONTENT_TYPE, "application/json")], file.expose().to_owned()).into_response(),
        Err(why) => fault(StatusCode::INTERNAL_SERVER_ERROR, &why),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FullAccess {
    person: String,
    mailbox: String,
}

async fn full_access(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match json::<FullAccess>(&body, "{\"person\": \"robot@sandbox.example\", \"mailbox\": \"shared@sandbox.example\"}") {
        Ok(given) => {
            shared.tokens.delegate(&given.person, &given.mailbox);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refused) => *refused,
    }
}
