//! The daemon's end of the control socket.

use super::{
    BY, Listening, Problem, Refused, Status,
    group::Group,
    keys::{self, KeyRotated, KeysDropped, SealedText, ToSeal},
    routes, status,
};
use crate::{doctor::Doctor, mail::Name, relay::Relay, secret::Secret, store::Store, tokens::Tokens};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path as UrlPath, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::Serialize;
use std::{
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot, watch},
};

/// Largest request body; the largest thing sent are the ids of an order.
const LARGEST_BODY: usize = 64 * 1024;

/// Characters of a user's name that are kept.
const LONGEST_NAME: usize = 64;

/// Wait after a failed accept (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What only the owner of the process can do.
#[derive(Debug)]
pub enum Request {
    /// Stop as on SIGTERM.
    Stop,
    /// Read the configuration again; the answer is the notes.
    Reload(oneshot::Sender<Result<Vec<String>, NotTakenUp>>),
    /// Change the key of sealed secrets.
    RotateKey(oneshot::Sender<Result<KeyRotated, Refused>>),
    /// Drop the old keys that nothing needs.
    DropKeys(oneshot::Sender<Result<KeysDropped, Refused>>),
}

/// Why a configuration was not taken up. Everything is as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTakenUp {
    /// It has these faults.
    Faulty(Vec<String>),
    /// A listener has no socket.
    NoSocket(String),
}

impl NotTakenUp {
    /// Why, in sentences.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Faulty(faults) => faults,
            Self::NoSocket(why) => std::slice::from_ref(why),
        }
    }
}

/// What the control socket works on.
#[derive(Debug)]
pub struct Control {
    /// Messages and mailboxes.
    pub relay: Arc<Relay>,
    /// Grants.
    pub tokens: Arc<Tokens>,
    /// What tries everything for real.
    pub doctor: Arc<Doctor>,
    /// The keys of sealed secrets.
    pub store: Store,
    /// Its name in EHLO and Received.
    pub hostname: Arc<str>,
    /// The listeners as they are now.
    pub listeners: watch::Receiver<Vec<Listening>>,
    /// To the owner of the process.
    pub requests: mpsc::Sender<Request>,
}

/// The control socket, bound and not yet served.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    door: Door,
}

impl Socket {
    /// Binds it at `path`, for root, this process's user and the members of `group`. The caller holds the state directory's lock: a
    /// socket that lies there already is one that an ended daemon left.
    pub fn bind(path: &Path, group: Option<&str>) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        let owner = std::fs::metadata(path)?.uid();
        let group = group.and_then(|name| open_to(name, path));
        Ok(Self { path: path.to_owned(), door: Door { socket, owner, group } })
    }

    /// Serves it until `stop` says true (or its sender is gone).
    pub async fn serve(self, control: Arc<Control>, mut stop: watch::Receiver<bool>) {
        let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
        if let Err(error) = axum::serve(self.door, router(control)).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, socket = %self.path.display(), "the control socket ended: commands cannot reach this daemon");
        }
        // The next daemon removes what stays here.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/stop", post(stop))
        .route("/reload", post(reload))
        .route("/grants/{mailbox}", put(import_grant).delete(revoke_grant))
        .route("/seal", post(seal).put(seal))
        .route("/key/rotate", post(rotate_key))
        .route("/key/drop", post(drop_keys))
        .merge(routes::routes())
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(control)
}

async fn status(State(control): State<Arc<Control>>) -> Json<Status> {
    Json(status::status(&control).await)
}

async fn stop(State(control): State<Arc<Control>>) -> Response {
    match control.requests.send(Request::Stop).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, ["the daemon is stopping already".to_owned()]),
    }
}

async fn reload(State(control): State<Arc<Control>>) -> Response {
    let (tell, told) = oneshot::channel();
    if control.requests.send(Request::Reload(tell)).await.is_err() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, ["the daemon is stopping".to_owned()]);
    }
    match told.await {
        Ok(Ok(notes)) => Json(Problem { problems: notes }).into_response(),
        Ok(Err(NotTakenUp::Faulty(faults))) => problem(StatusCode::UNPROCESSABLE_ENTITY, faults),
        Ok(Err(NotTakenUp::NoSocket(why))) => problem(StatusCode::SERVICE_UNAVAILABLE, [why]),
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, ["the daemon is stopping".to_owned()]),
    }
}

async fn import_grant(
    State(control): State<Arc<Control>>,
    UrlPath(mailbox): UrlPath<String>,
    RawQuery(query): RawQuery,
    token: String,
) -> Response {
    let Ok(mailbox) = Name::parse(&mailbox) else {
        return problem(StatusCode::NOT_FOUND, [format!("no mailbox is named {mailbox:?}")]);
    };
    let by = brought_by(&query.unwrap_or_default());
    to_its_end(async move {
        match control.tokens.import(&mailbox, Secret::new(token), by).await {
            Ok(()) => {
                control.relay.forgive(Some(&mailbox));
                StatusCode::NO_CONTENT.into_response()
            }
            Err(error) => problem(StatusCode::UNPROCESSABLE_ENTITY, [error.to_string()]),
        }
    })
    .await
}

/// Who brings a grant, as the command says it.
fn brought_by(query: &str) -> Option<String> {
    let (_, by) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == BY)?;
    Some(by.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()).filter(|by: &String| !by.is_empty())
}

/// Goes through with `work` although the command that asked for it may be gone: what changes a grant is not left half-way.
async fn to_its_end(work: impl Future<Output = Response> + Send + 'static) -> Response {
    let broke_off = |_| problem(StatusCode::INTERNAL_SERVER_ERROR, ["this was broken off; the log may say why".to_owned()]);
    tokio::spawn(work).await.unwrap_or_else(broke_off)
}

async fn revoke_grant(State(control): State<Arc<Control>>, UrlPath(mailbox): UrlPath<String>) -> Response {
    let Ok(mailbox) = Name::parse(&mailbox) else {
        return problem(StatusCode::NOT_FOUND, [format!("no mailbox is named {mailbox:?}")]);
    };
    to_its_end(async move {
        match control.tokens.revoke(&mailbox).await {
            Ok(ended) => {
                control.relay.disconnect(&mailbox);
                Json(ended).into_response()
            }
            Err(error) => problem(StatusCode::UNPROCESSABLE_ENTITY, [error.to_string()]),
        }
    })
    .await
}

async fn seal(State(control): State<Arc<Control>>, body: Bytes) -> Result<Json<SealedText>, Refused> {
    // The parser's own words could show a part of the secret.
    let read: Result<ToSeal, _> = serde_json::from_slice(&body);
    let ToSeal { binding, secret } =
        read.map_err(|_| Refused::Nonsense("a JSON object has to come with the texts `binding` and `secret`".to_owned()))?;
    keys::seal(&control.store.ring(), &binding, &Secret::new(secret)).map(Json)
}

async fn rotate_key(State(control): State<Arc<Control>>) -> Response {
    ask_owner(&control, Request::RotateKey).await
}

async fn drop_keys(State(control): State<Arc<Control>>) -> Response {
    ask_owner(&control, Request::DropKeys).await
}

/// Has something done by the owner of the process.
async fn ask_owner<T: Serialize>(
    control: &Control,
    request: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Request,
) -> Response {
    let (tell, told) = oneshot::channel();
    let sent = control.requests.send(request(tell)).await;
    match (sent, told.await) {
        (Ok(()), Ok(Ok(done))) => Json(done).into_response(),
        (Ok(()), Ok(Err(refused))) => refused.into_response(),
        (Err(_), _) | (_, Err(_)) => problem(StatusCode::SERVICE_UNAVAILABLE, ["the daemon is stopping".to_owned()]),
    }
}

fn problem(status: StatusCode, problems: impl IntoIterator<Item = String>) -> Response {
    (status, Json(Problem { problems: problems.into_iter().collect() })).into_response()
}

/// Gives the socket to the group `name`. Where that cannot be, its members stay out and the log says why.
fn open_to(name: &str, path: &Path) -> Option<Group> {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let Some(group) = Group::find(name, &groups) else {
        tracing::warn!(
            group = name,
            "control-group is no group of this machine: only root and the service's user can use commands"
        );
        return None;
    };
    if let Err(error) = std::os::unix::fs::chown(path, None, Some(group.gid)) {
        tracing::warn!(group = name, %error, socket = %path.display(),
            "the control socket cannot be given to control-group; make the service's user a member of it (SupplementaryGroups=)");
    }
    Some(group)
}

/// Lets in root, the daemon's own user and the members of the group.
#[derive(Debug)]
struct Door {
    socket: UnixListener,
    owner: u32,
    group: Option<Group>,
}

impl Door {
    fn lets_in(&self, uid: u32, gid: u32) -> bool {
        let is_member = |group: &Group| group.holds(uid, gid, &std::fs::read_to_string("/etc/passwd").unwrap_or_default());
        uid == 0 || uid == self.owner || self.group.as_ref().is_some_and(is_member)
    }
}

impl axum::serve::Listener for Door {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, address)) => match stream.peer_cred() {
                    Ok(peer) if self.lets_in(peer.uid(), peer.gid()) => return (stream, address),
                    Ok(peer) => tracing::warn!(
                        uid = peer.uid(),
                        "the control socket was refused to a user who is not root, not the service's and not in control-group"
                    ),
                    Err(error) => tracing::warn!(%error, "the control socket cannot tell who connects, so it refuses"),
                },
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.socket.local_addr()
    }
}
