//! A change of the configuration by a command: checked with all other files before it is written, taken up by the running daemon at
//! once, and taken back where the daemon refuses it.
//!
//! The command writes with its own rights: root, beside the main file. It must not have become the owner of the state directory.

use super::{Config, Exit, Failed, check, reach, runtime};
use crate::{
    admin::ClientError,
    config::{
        Fault, Settings,
        write::{Definitions, Kind, Place, WriteError},
    },
    mail::Name,
};
use std::path::{Path, PathBuf};

/// The configuration that is to be changed.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) main: PathBuf,
    pub(super) definitions: Definitions,
    pub(super) kind: Kind,
}

impl Subject {
    pub(super) fn read(config: &Config, kind: Kind) -> Result<Self, Failed> {
        let main = std::path::absolute(config.file())
            .map_err(|error| Failed(Exit::Usage, format!("{} is no path: {error}", config.file().display())))?;
        if main.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            let text = "does not exist: make it first (it may be empty, every key has a default), or give the right --config";
            return Err(Failed(Exit::Configuration, format!("{} {text}", main.display())));
        }
        let definitions = Definitions::read(&main).map_err(unwritten)?;
        Ok(Self { main, definitions, kind })
    }

    /// Where `name` is written. What a command wrote before is written anew only on demand.
    pub(super) fn place(&self, name: &Name, replace: bool) -> Result<Place, Failed> {
        let place = self.definitions.place(self.kind, name).map_err(unwritten)?;
        match place.exists() && !replace {
            true => Err(Failed(
                Exit::Findings,
                format!("there is a {} {name} in {}; --replace writes it anew", self.kind, place.file().display()),
            )),
            false => Ok(place),
        }
    }

    /// How the command is gone on with: `outlink WORDS`, with `--config` where it is not the usual file.
    pub(super) fn command(&self, words: &str) -> String {
        match self.main == Path::new(super::CONFIG) {
            true => format!("outlink {words}"),
            false => format!("outlink {words} --config {}", self.main.display()),
        }
    }
}

/// A change that was made.
#[derive(Debug)]
pub(super) struct Done {
    /// As they are now.
    pub(super) settings: Settings,
    /// What happened, in sentences.
    pub(super) lines: Vec<String>,
    /// By a running daemon.
    pub(super) is_taken_up: bool,
}

/// Writes `text` in the place of `name` (without one: removes it) and lets the daemon take it up; what happened.
pub(super) fn carry_out(subject: &Subject, place: &Place, name: &Name, text: Option<&str>) -> Result<Done, Failed> {
    // To the end: what is taken back must not be another's.
    let _alone = place.alone().map_err(unwritten)?;
    let (settings, notes) = place.check(text).map_err(|faults| faulty(subject.kind, name, place, &faults))?;
    let own = format!("{}.{name}.", subject.kind);
    let client = match reach::connect(&settings.state_directory) {
        Ok(client) => Some(client),
        Err(Failed(Exit::Unavailable, _)) => None,
        Err(failed) => return Err(failed),
    };
    place.write(text).map_err(unwritten)?;
    let verb = if text.is_some() { "written" } else { "removed" };
    let mut lines = vec![format!("{verb}: {}", place.file().display())];
    for note in notes.iter().filter(|note| text.is_some() && note.key.starts_with(&own)) {
        eprintln!("outlink: note: {}: {}{}", flag(subject.kind, name, &note.key), note.message, hint(note));
    }
    let Some(client) = client else {
        lines.push("no daemon runs: it is taken up at the next start".to_owned());
        return Ok(Done { settings, lines, is_taken_up: false });
    };
    match runtime()?.block_on(client.reload()) {
        Ok(_) => lines.push("the running daemon has taken it up".to_owned()),
        Err(ref error @ (ClientError::Problems(ref problems) | ClientError::Unavailable(ref problems))) => {
            place.take_back().map_err(unwritten)?;
            let text = "the running daemon refused it, so it was taken back and nothing has changed";
            let is_faulty = matches!(error, ClientError::Problems(_));
            let exit = if is_faulty { Exit::Configuration } else { Exit::Unavailable };
            return Err(Failed(exit, format!("{text}:\n{}", problems.join("\n\n"))));
        }
        Err(error) => {
            let Failed(exit, text) = reach::failed(error);
            return Err(Failed(exit, format!("{text}\nwhat was {verb} stays; `{}` takes it up", subject.command("reload"))));
        }
    }
    Ok(Done { settings, lines, is_taken_up: true })
}

/// What is wrong, by the flags that said so.
fn faulty(kind: Kind, name: &Name, place: &Place, faults: &[Fault]) -> Failed {
    let own = format!("{kind}.{name}.");
    let said = faults.iter().filter(|fault| fault.is_fatal()).map(|fault| match fault.file == place.file() {
        true if fault.key.starts_with(&own) => format!("{}: {}{}", flag(kind, name, &fault.key), fault.message, hint(fault)),
        _ => fault.to_string(),
    });
    Failed(Exit::Configuration, format!("nothing was written\n{}", said.collect::<Vec<_>>().join("\n")))
}

fn hint(fault: &Fault) -> String {
    if fault.hint.is_empty() { String::new() } else { format!("\n  hint: {}", fault.hint) }
}

/// The flag that gives a key.
fn flag(kind: Kind, name: &Name, key: &str) -> String {
    let key = key.strip_prefix(&format!("{kind}.{name}.")).unwrap_or(key);
    let key = key.strip_prefix("limits.").unwrap_or(key);
    let key = key.split('.').next().unwrap_or(key);
    match key {
        "scopes" => "--scope".to_owned(),
        "parameters" => "--parameter".to_owned(),
        "networks" => "--network".to_owned(),
        "enabled" => "--disabled".to_owned(),
        "client-secret" | "private-key" | "pkcs12-password" | "service-account" | "proxy-password" => format!("--{key}-file"),
        key => format!("--{key}"),
    }
}

/// The exit status for each reason not to write.
pub(super) fn unwritten(error: WriteError) -> Failed {
    match error {
        WriteError::Faults(faults) => check::faulty(faults),
        WriteError::File { ref why, .. } => {
            let denied = matches!(why.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem);
            Failed(if denied { Exit::Permission } else { Exit::InputOutput }, error.to_string())
        }
        WriteError::Busy(_) => Failed(Exit::Temporary, error.to_string()),
        WriteError::ByHand { .. } | WriteError::Changed(_) | WriteError::Unknown { .. } | WriteError::Taken(_) => {
            Failed(Exit::Findings, error.to_string())
        }
    }
}
