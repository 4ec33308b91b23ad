//! The paths of the control socket below `/apps`, `/links`, `/health`, `/ways`, `/queue`, `/messages`, `/mailboxes`, `/notify`,
//! `/backup`, `/authorizations` and `/doctor`.
//!
//! Every answer is JSON, but for a message's octets; what is refused is told in sentences.

use super::{
    Control, Problem, Refused, apps, authorize, doctor, health, hooks, links,
    orders::{self, Verb},
    queue,
    selection::Selection,
    ways,
};
use crate::{
    doctor::Report,
    notify::Trial,
    relay::authorize::{Begun, Progress},
    store::BodyReader,
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

/// How much of a body is read at once.
const CHUNK: usize = 64 * 1024;

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/apps", get(apps_now))
        .route("/links", get(links_now))
        .route("/health", get(health_now))
        .route("/ways", post(ways_now))
        .route("/queue", get(list))
        .route("/queue/summary", get(summary))
        .route("/queue/{verb}", post(order))
        .route("/messages/{id}", get(show))
        .route("/messages/{id}/body", get(body))
        .route("/mailboxes/{name}/pause", put(pause).delete(release))
        .route("/notify/{name}/test", post(test_hook))
        .route("/backup", post(backup))
        .route("/authorizations", post(begin))
        .route("/authorizations/{id}", get(progress).delete(cancel))
        .route("/authorizations/{id}/answer", post(answer))
        .route("/doctor", post(examine))
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Nonsense(_) | Self::Consent(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(Problem { problems: vec![self.to_string()] })).into_response()
    }
}

type Answer<T> = Result<Json<T>, Refused>;

async fn summary(State(control): State<Arc<Control>>) -> Answer<queue::Summary> {
    queue::summary(&control.relay).await.map(Json)
}

async fn links_now(State(control): State<Arc<Control>>) -> Answer<links::Links> {
    links::links(&control.relay).await.map(Json)
}

async fn apps_now(State(control): State<Arc<Control>>) -> Json<apps::Apps> {
    Json(apps::apps(&control.relay))
}

async fn health_now(State(control): State<Arc<Control>>) -> Json<health::Health> {
    Json(health::health(&control.relay))
}

async fn ways_now(State(control): State<Arc<Control>>, body: Bytes) -> Answer<ways::Ways> {
    ways::ways(&control.relay, &read(&body)?).map(Json)
}

async fn list(State(control): State<Arc<Control>>, RawQuery(query): RawQuery) -> Answer<queue::Page> {
    let (selection, after) = Selection::read(&query.unwrap_or_default())?;
    queue::list(&control.relay, &selection, after).await.map(Json)
}

async fn order(State(control): State<Arc<Control>>, Path(verb): Path<String>, body: Bytes) -> Answer<orders::Changed> {
    orders::order(&control.relay, Verb::named(&verb)?, &read(&body)?).await.map(Json)
}

async fn show(State(control): State<Arc<Control>>, Path(id): Path<String>) -> Answer<queue::Details> {
    queue::show(&control.relay, &id).await.map(Json)
}

async fn body(State(control): State<Arc<Control>>, Path(id): Path<String>) -> Result<Response, Response> {
    let body = queue::body(&control.relay, &id).await.map_err(Refused::into_response)?;
    let gone = |error: std::io::Error| {
        let text = format!("the octets of message {id} cannot be read: {error}");
        (StatusCode::INTERNAL_SERVER_ERROR, Json(Problem { problems: vec![text] })).into_response()
    };
    let content = match body.reader().await.map_err(gone)? {
        BodyReader::Memory(octets) => Body::from(octets),
        BodyReader::File(file) => Body::from_stream(ReaderStream::with_capacity(file, CHUNK)),
        BodyReader::Headed(head, file) => {
            Body::from_stream(ReaderStream::with_capacity(std::io::Cursor::new(head).chain(file), CHUNK))
        }
    };
    // With its length a body that breaks off is known as broken.
    let head = [(header::CONTENT_TYPE, "message/rfc822".to_owned()), (header::CONTENT_LENGTH, body.len().to_string())];
    Ok((head, content).into_response())
}

async fn pause(State(control): State<Arc<Control>>, Path(name): Path<String>) -> Answer<orders::Paused> {
    orders::pause(&control.relay, &name, true).await.map(Json)
}

async fn release(State(control): State<Arc<Control>>, Path(name): Path<String>) -> Answer<orders::Paused> {
    orders::pause(&control.relay, &name, false).await.map(Json)
}

async fn test_hook(State(control): State<Arc<Control>>, Path(name): Path<String>) -> Answer<Trial> {
    hooks::test_hook(&control.relay, &name).await.map(Json)
}

async fn backup(State(control): State<Arc<Control>>, body: Bytes) -> Answer<orders::BackedUp> {
    orders::backup(&control.relay, read(&body)?).await.map(Json)
}

async fn begin(State(control): State<Arc<Control>>, body: Bytes) -> Answer<Begun> {
    authorize::begin(&control.relay, read(&body)?).await.map(Json)
}

async fn progress(State(control): State<Arc<Control>>, Path(id): Path<String>) -> Answer<Progress> {
    authorize::progress(&control.relay, &id).await.map(Json)
}

async fn cancel(State(control): State<Arc<Control>>, Path(id): Path<String>) -> Result<StatusCode, Refused> {
    authorize::cancel(&control.relay, &id).map(|()| StatusCode::NO_CONTENT)
}

async fn answer(State(control): State<Arc<Control>>, Path(id): Path<String>, body: Bytes) -> Result<StatusCode, Refused> {
    authorize::answer(&control.relay, &id, &read(&body)?).map(|()| StatusCode::ACCEPTED)
}

async fn examine(State(control): State<Arc<Control>>, body: Bytes) -> Answer<Report> {
    doctor::examine(&control.doctor, &read(&body)?).await.map(Json)
}

/// Reads a request's JSON, so that a fault in it is told like every other.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::Nonsense(format!("the request's JSON cannot be read: {error}")))
}
