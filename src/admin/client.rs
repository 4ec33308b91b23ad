//! The command line's end of the control socket.

use super::{Problem, Status};
use crate::{mail::Name, secret::Secret};
use reqwest::Method;
use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest wait for an answer: an import renews a token at the provider first.
const WAIT: Duration = Duration::from_secs(60);

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
        let http = reqwest::Client::builder().unix_socket(socket).timeout(WAIT).no_proxy().build().map_err(broken)?;
        Ok(Self { http, socket: socket.to_owned() })
    }

    /// What the daemon is doing.
    pub async fn status(&self) -> Result<Status, ClientError> {
        let response = self.ask(Method::GET, "status", String::new()).await?;
        response.json().await.map_err(|error| self.broken(&error))
    }

    /// Asks the daemon to stop; returns when it has begun to.
    pub async fn stop(&self) -> Result<(), ClientError> {
        self.ask(Method::POST, "stop", String::new()).await.map(drop)
    }

    /// Asks the daemon to read its configuration again; returns its notes.
    pub async fn reload(&self) -> Result<Vec<String>, ClientError> {
        let response = self.ask(Method::POST, "reload", String::new()).await?;
        response.json().await.map(|Problem { problems }| problems).map_err(|error| self.broken(&error))
    }

    /// Hands the daemon a refresh token for `mailbox`.
    pub async fn import_grant(&self, mailbox: &Name, token: &Secret) -> Result<(), ClientError> {
        self.ask(Method::PUT, &format!("grants/{mailbox}"), token.expose().to_owned()).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Result<reqwest::Response, ClientError> {
        let request = self.http.request(method, format!("http://localhost/{path}")).body(body);
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        Err(match response.json().await {
            Ok(Problem { problems }) => ClientError::Problems(problems),
            Err(_) => ClientError::Problems(vec![format!("the daemon answered {status}")]),
        })
    }

    fn broken(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), why: error.to_string() }
    }
}
