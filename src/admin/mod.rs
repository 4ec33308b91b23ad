//! The control socket: how the command line (later the console and the API too) asks a running daemon.
//!
//! Layer 7. HTTP with JSON over a Unix socket of mode 0660; beyond the mode, the peer must be root, the daemon's own user or a member
//! of `control-group`.

mod client;
mod group;
mod server;

pub use client::{Client, ClientError};
pub use server::{Control, Request, Socket};

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The control socket's name in the runtime or state directory.
const SOCKET: &str = "control.sock";

/// Where the control socket of a daemon with this state directory lies: in systemd's runtime directory where there is one.
/// `runtime` is the value of `RUNTIME_DIRECTORY`.
pub fn socket_path(state_directory: &Path, runtime: Option<&str>) -> PathBuf {
    runtime.map_or(state_directory, Path::new).join(SOCKET)
}

/// What `outlink status` shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its name in EHLO and Received.
    pub hostname: String,
    /// Each listener with its address.
    pub listeners: Vec<ListenerStatus>,
    /// Each mailbox with its grant, as `tokens` tells it.
    pub mailboxes: Vec<serde_json::Value>,
    /// Messages on their way to a provider.
    pub under_way: usize,
}

/// One listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
}

/// The body of an answer that is not the thing asked for: why, in sentences.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Problem {
    problems: Vec<String>,
}
