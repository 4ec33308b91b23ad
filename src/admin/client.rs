//! The command line's end of the control socket.

use super::{
    Apps, BY, BackedUp, Backup, Changed, Details, Health, Links, Page, Paused, Problem, Selection, Status, Summary, Targets,
    Verb, Ways, Whose, authorize,
    keys::{KeyRotated, KeysDropped, SealedText, ToSeal},
};
use crate::{
    doctor::{self, Report},
    mail::Name,
    notify::Trial,
    relay::authorize::{Begun, Progress, Wish},
    secret::Secret,
    tokens::Ended,
};
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest wait for an answer: an import renews a token at the provider first.
const WAIT: Duration = Duration::from_secs(60);

/// The same where the provider is asked meanwhile.
const REVOCATION: Duration = Duration::from_secs(90);

/// Longest wait for a hook that is tried: its own timeout is shorter.
const HOOK: Duration = Duration::from_secs(330);

/// Longest wait for a step of an order: thousands of messages on a disk that may be slow.
const ORDER: Duration = Duration::from_secs(15 * 60);

/// Longest wait for an examination: many mailboxes, some at a time, each of which may be slow.
const EXAMINATION: Duration = Duration::from_secs(15 * 60);

/// Longest wait for a copy of everything, or for the octets of a message to a reader that takes its time.
const COPY: Duration = Duration::from_secs(24 * 3600);

/// A connection to a running daemon.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

/// Why a running daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no daemon.
    #[error("no daemon answers at {}: start it (systemctl start outlink) or give its --config", .0.display())]
    NotRunning(PathBuf),
    /// The socket may not be used.
    #[error("cannot use the control socket {}: {why}; run this as root or as the service's user", socket.display())]
    Refused {
        /// Which socket.
        socket: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// The exchange broke.
    #[error("the daemon at {} did not answer: {why}; its log may say more", socket.display())]
    Broken {
        /// Which socket.
        socket: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// The daemon said no.
    #[error("{}", .0.join("\n"))]
    Problems(Vec<String>),
    /// The daemon cannot do it now: it stops, or has no socket.
    #[error("{}", .0.join("\n"))]
    Unavailable(Vec<String>),
    /// The daemon's store failed.
    #[error("{}", .0.join("\n"))]
    Store(Vec<String>),
}

impl Client {
    /// Reaches the daemon at `socket`, or finds that none runs.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        match UnixStream::connect(socket) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Err(ClientError::NotRunning(socket.to_owned()));
            }
            Err(why) => return Err(ClientError::Refused { socket: socket.to_owned(), why }),
        }
        let broken = |why: reqwest::Error| ClientError::Broken { socket: socket.to_owned(), why: why.to_string() };
        let http = reqwest::Client::builder().unix_socket(socket).no_proxy().build().map_err(broken)?;
        Ok(Self { http, socket: socket.to_owned() })
    }

    /// What the daemon is doing.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("status").await
    }

    /// Asks the daemon to stop; returns when it has begun to.
    pub async fn stop(&self) -> Result<(), ClientError> {
        self.ask(Method::POST, "stop", String::new(), WAIT).await.map(drop)
    }

    /// Asks the daemon to read its configuration again; returns its notes.
    pub async fn reload(&self) -> Result<Vec<String>, ClientError> {
        let response = self.ask(Method::POST, "reload", String::new(), WAIT).await?;
        self.read(response).await.map(|Problem { problems }| problems)
    }

    /// Hands the daemon a refresh token for `mailbox`, which `by` brings.
    pub async fn import_grant(&self, mailbox: &Name, token: &Secret, by: Option<&str>) -> Result<(), ClientError> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(by.map(|by| (BY, by)));
        let path = format!("grants/{mailbox}?{}", query.finish());
        self.ask(Method::PUT, &path, token.expose().to_owned(), WAIT).await.map(drop)
    }

    /// Has `secret` sealed for the configuration's key `binding`; gives the text for `{ sealed = … }`.
    pub async fn seal(&self, binding: &str, secret: &Secret) -> Result<String, ClientError> {
        let body = ToSeal { binding: binding.to_owned(), secret: secret.expose().to_owned() };
        let body = serde_json::to_string(&body).map_err(|error| self.broken(&error))?;
        let response = self.ask(Method::POST, "seal", body, WAIT).await?;
        self.read(response).await.map(|SealedText { sealed }| sealed)
    }

    /// Has the key of sealed secrets changed.
    pub async fn rotate_key(&self) -> Result<KeyRotated, ClientError> {
        let response = self.ask(Method::POST, "key/rotate", String::new(), WAIT).await?;
        self.read(response).await
    }

    /// Has the old keys dropped that nothing needs.
    pub async fn drop_keys(&self) -> Result<KeysDropped, ClientError> {
        let response = self.ask(Method::POST, "key/drop", String::new(), WAIT).await?;
        self.read(response).await
    }

    /// When each app sent last.
    pub async fn apps(&self) -> Result<Apps, ClientError> {
        self.get("apps").await
    }

    /// All links with their mailboxes.
    pub async fn links(&self) -> Result<Links, ClientError> {
        self.get("links").await
    }

    /// How every link and mailbox stands.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.get("health").await
    }

    /// How mailboxes stand for the mail of an author.
    pub async fn ways(&self, whose: &Whose) -> Result<Ways, ClientError> {
        let body = serde_json::to_string(whose).map_err(|error| self.broken(&error))?;
        let response = self.ask(Method::POST, "ways", body, WAIT).await?;
        self.read(response).await
    }

    /// Lets the daemon revoke the grant of `mailbox` and forget it.
    pub async fn revoke_grant(&self, mailbox: &Name) -> Result<Ended, ClientError> {
        let response = self.ask(Method::DELETE, &format!("grants/{mailbox}"), String::new(), REVOCATION).await?;
        self.read(response).await
    }

    /// How many messages stand how.
    pub async fn summary(&self) -> Result<Summary, ClientError> {
        self.get("queue/summary").await
    }

    /// A page of messages.
    pub async fn list(&self, selection: &Selection, after: Option<i64>) -> Result<Page, ClientError> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(selection.pairs());
        query.extend_pairs(after.map(|after| ("after", after.to_string())));
        self.get(&format!("queue?{}", query.finish())).await
    }

    /// Everything about a message.
    pub async fn show(&self, id: &str) -> Result<Details, ClientError> {
        self.get(&format!("messages/{id}")).await
    }

    /// The octets of a message, as they come.
    pub async fn body(&self, id: &str) -> Result<reqwest::Response, ClientError> {
        self.ask(Method::GET, &format!("messages/{id}/body"), String::new(), COPY).await
    }

    /// Does `verb` to a page of messages.
    pub async fn order(&self, verb: Verb, targets: &Targets) -> Result<Changed, ClientError> {
        let body = serde_json::to_string(targets).map_err(|error| self.broken(&error))?;
        let response = self.ask(Method::POST, &format!("queue/{}", verb.word()), body, ORDER).await?;
        self.read(response).await
    }

    /// Holds a mailbox, or releases it.
    pub async fn pause(&self, mailbox: &str, paused: bool) -> Result<Paused, ClientError> {
        let method = if paused { Method::PUT } else { Method::DELETE };
        let response = self.ask(method, &format!("mailboxes/{}/pause", segment(mailbox)), String::new(), WAIT).await?;
        self.read(response).await
    }

    /// Runs a hook once with an example.
    pub async fn test_hook(&self, hook: &str) -> Result<Trial, ClientError> {
        let response = self.ask(Method::POST, &format!("notify/{hook}/test"), String::new(), HOOK).await?;
        self.read(response).await
    }

    /// Lets the daemon copy all that it keeps.
    pub async fn backup(&self, backup: &Backup) -> Result<BackedUp, ClientError> {
        let body = serde_json::to_string(backup).map_err(|error| self.broken(&error))?;
        let response = self.ask(Method::POST, "backup", body, COPY).await?;
        self.read(response).await
    }

    /// Begins a login.
    pub async fn begin_authorization(&self, wish: &Wish) -> Result<Begun, ClientError> {
        let body = serde_json::to_string(wish).map_err(|error| self.broken(&error))?;
        let response = self.ask(Method::POST, "authorizations", body, WAIT).await?;
        self.read(response).await
    }

    /// Hands in the answer of a login.
    pub async fn answer_authorization(&self, id: &str, answer: &authorize::Answer) -> Result<(), ClientError> {
        let body = serde_json::to_string(answer).map_err(|error| self.broken(&error))?;
        self.ask(Method::POST, &format!("authorizations/{id}/answer"), body, WAIT).await.map(drop)
    }

    /// How a login stands; the daemon waits a while for its end.
    pub async fn authorization(&self, id: &str) -> Result<Progress, ClientError> {
        self.get(&format!("authorizations/{id}")).await
    }

    /// Gives a login up.
    pub async fn cancel_authorization(&self, id: &str) -> Result<(), ClientError> {
        self.ask(Method::DELETE, &format!("authorizations/{id}"), String::new(), WAIT).await.map(drop)
    }

    /// Lets the daemon examine links and mailboxes.
    pub async fn examine(&self, wish: &doctor::Wish) -> Result<Report, ClientError> {
        let body = serde_json::to_string(wish).map_err(|error| self.broken(&error))?;
        let response = self.ask(Method::POST, "doctor", body, EXAMINATION).await?;
        self.read(response).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.ask(Method::GET, path, String::new(), WAIT).await?;
        self.read(response).await
    }

    async fn read<T: DeserializeOwned>(&self, response: reqwest::Response) -> Result<T, ClientError> {
        response.json().await.map_err(|error| self.broken(&error))
    }

    async fn ask(&self, method: Method, path: &str, body: String, wait: Duration) -> Result<reqwest::Response, ClientError> {
        let url = Url::parse(&format!("http://localhost/{path}")).map_err(|error| self.broken(&error))?;
        let request = self.http.request(method, url).body(body).timeout(wait);
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problems = match response.json().await {
            Ok(Problem { problems }) => problems,
            Err(_) => vec![format!("the daemon answered {status}; it may be of another version than this command")],
        };
        Err(match status {
            StatusCode::INTERNAL_SERVER_ERROR => ClientError::Store(problems),
            StatusCode::SERVICE_UNAVAILABLE => ClientError::Unavailable(problems),
            _ => ClientError::Problems(problems),
        })
    }

    fn broken(&self, error: &dyn std::error::Error) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), why: error.to_string() }
    }
}

/// `text` as one step of a URL's path: the name of a domain's address has a slash and may have more in it.
fn segment(text: &str) -> String {
    let mut url = Url::parse("http://localhost").expect("this is a URL");
    if let Ok(mut steps) = url.path_segments_mut() {
        steps.push(text);
    }
    url.path().trim_start_matches('/').to_owned()
}
