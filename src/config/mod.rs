//! File text and environment ↔ settings that cannot be wrong (design §6).
//!
//! Layer 3. `Settings` exists only when every fault is mended; all faults are reported at once.
//! `sources` finds, reads and merges the layers; `locate` knows where each key stands; `table` reads one table and records its faults;
//! then one file per kind of table, and `checks` for what can be seen only across them. `write` is the way back: the files that commands
//! write.

mod aliases;
mod app;
mod certificate;
mod checks;
pub(crate) mod entrance;
mod evidence;
mod fault;
mod link;
mod listener;
mod locate;
mod mailbox;
mod notify;
mod parameters;
mod proof;
mod proxy;
mod queue;
mod redirect;
mod reseal;
mod root;
mod route;
mod secrets;
mod sendmail;
mod settings;
mod sources;
mod table;
mod tls_files;
mod units;
mod words;
pub mod write;

pub use evidence::{Evidence, EvidenceError};
pub use fault::{Fault, Severity};
pub use listener::{MESSAGE_SIZE, RECIPIENTS, is_of_drops, of_drops};
pub(crate) use notify::BASE64_SECRET;
pub use reseal::{Resealed, reseal};
pub use root::DROP;
pub use secrets::SecretError;
pub use sendmail::{SENDMAIL_CONF, SENDMAIL_SOCKET, SendmailConf, notes as sendmail_notes};
pub use settings::{
    Action, Aliases, Allowed, AllowedRecipients, App, AppLimits, Auth, Bind, Certificate, ClientCertificate, Delivery,
    DomainMailbox, Hook, Http, Link, Listener, ListenerLimits, ListenerTls, Log, LogFormat, Mailbox, Only, Proof, Proxy, Queue,
    Route, SealedSecret, SecretMethod, SecretSource, Server, Settings, TlsFiles, UnixUser, Webhook, WhenFromDiffers,
};
pub use tls_files::{TlsFileError, TlsMaterial};

pub use units::duration;

use sources::Sources;
use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

/// Environment variables, by name.
pub type Variables = BTreeMap<String, String>;

/// The state directory that the configuration names, whatever else is wrong with it: a running daemon must be reachable then too.
pub fn state_directory(file: &Path) -> Result<PathBuf, Vec<Fault>> {
    Sources::read(file, &environment()).map(|sources| sources.state_directory)
}

/// Reads the configuration: defaults, `file`, `conf.d` beside it and in the state directory, the environment. Gives the settings with
/// notes, or all faults at once (with the notes among them).
pub fn load(file: &Path) -> Result<(Settings, Vec<Fault>), Vec<Fault>> {
    load_with(file, &environment())
}

/// Names and values that are not Unicode cannot be keys of ours.
fn environment() -> Variables {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// [`load`] with the environment as an argument.
pub fn load_with(file: &Path, variables: &Variables) -> Result<(Settings, Vec<Fault>), Vec<Fault>> {
    settle(&Sources::read(file, variables)?)
}

/// Reads one text, called `outlink.toml` in faults, and the environment; no `conf.d`.
pub fn parse(text: &str, variables: &Variables) -> Result<(Settings, Vec<Fault>), Vec<Fault>> {
    settle(&Sources::from_text(text, variables)?)
}

/// [`load`] as if `file`, in a `conf.d`, held `text`, or were not there.
fn load_instead(main: &Path, file: &Path, text: Option<&str>) -> Result<(Settings, Vec<Fault>), Vec<Fault>> {
    settle(&Sources::read_instead(main, &environment(), Some(sources::Instead { file, text }))?)
}

fn settle(sources: &Sources<'_>) -> Result<(Settings, Vec<Fault>), Vec<Fault>> {
    let reader = table::Reader::new(sources);
    let settings = root::read(&reader);
    let faults = reader.into_faults();
    match settings {
        Some(settings) if !faults.iter().any(Fault::is_fatal) => Ok((settings, faults)),
        _ => Err(faults),
    }
}
