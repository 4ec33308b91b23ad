//! The control socket: how the command line (later the console and the API too) asks a running daemon.
//!
//! Layer 7. HTTP with JSON over a Unix socket of mode 0660; beyond the mode, the peer must be root, the daemon's own user or a member
//! of `control-group`.
//!
//! What only reads or changes kept mail (`queue`, `orders`) needs no daemon: a command calls it on a store that it opened itself.

mod apps;
pub mod authorize;
mod client;
pub mod doctor;
mod group;
mod health;
mod hooks;
mod keys;
mod links;
mod orders;
mod queue;
mod refused;
mod routes;
mod selection;
mod server;
mod status;
mod time;
mod ways;

pub use apps::{AppSeen, Apps, apps};
pub use client::{Client, ClientError};
pub use health::{Health, Standing, Stands, health};
pub use hooks::test_hook;
pub use keys::{FileLeft, Files, KeyRotated, KeysDropped, SealedText, drop_keys, rotate_key, seal};
pub use links::{DomainState, Limits, LinkState, Links, MailboxState, Sent, links, links_of};
pub use orders::{BackedUp, Backup, Changed, Left, MOST_IDS, Paused, Targets, Verb, backup, order, pause};
pub use queue::{Details, Event, MailboxQueue, Message, Page, Recipient, Summary, Tally, body, list, show, summary};
pub use refused::Refused;
pub use selection::Selection;
pub use server::{Control, NotTakenUp, Request, Socket};
pub use status::{CertificateStatus, ListenerStatus, Listening, Status, Totals};
pub use time::{parse_time, rfc3339};
pub use ways::{Way, Ways, Whose, ways};

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The control socket's name in the runtime or state directory.
const SOCKET: &str = "control.sock";

/// Who brings a grant, in the query of an import.
const BY: &str = "by";

/// Where the control socket of a daemon with this state directory lies: in systemd's runtime directory where there is one.
/// `runtime` is the value of `RUNTIME_DIRECTORY`.
pub fn socket_path(state_directory: &Path, runtime: Option<&str>) -> PathBuf {
    runtime.map_or(state_directory, Path::new).join(SOCKET)
}

/// The body of an answer that is not the thing asked for: why, in sentences.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Problem {
    problems: Vec<String>,
}
