//! `outlink check`: every fault of the configuration at once.

use super::{Config, Exit, Failed, Outcome, out::say};
use crate::config::{self, Fault, Settings};

/// Prints the faults and notes; notes alone are good.
pub(super) fn check(config: &Config, json: bool) -> Outcome {
    let (settings, mut faults) = match config::load(config.file()) {
        Ok((settings, notes)) => (Some(settings), notes),
        Err(faults) => (None, faults),
    };
    faults.extend(config::sendmail_notes(config.file(), settings.as_ref()));
    if json {
        let text = serde_json::to_string_pretty(&faults).map_err(|error| Failed(Exit::InputOutput, error.to_string()))?;
        say(format_args!("{text}"));
    } else {
        faults.iter().for_each(|fault| say(format_args!("{fault}\n")));
        say(format_args!("{}: {}", config.file().display(), settings.as_ref().map_or_else(|| count(&faults), summary)));
    }
    Ok(if settings.is_some() { Exit::Good } else { Exit::Configuration })
}

/// Loads the settings for a command that needs them; faults go to standard error, notes to the log of a daemon.
pub(super) fn load(config: &Config) -> Result<(Settings, Vec<Fault>), Failed> {
    config::load(config.file()).map_err(faulty)
}

/// What a command says that cannot go on with these faults.
pub(super) fn faulty(faults: Vec<Fault>) -> Failed {
    let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Failed(Exit::Configuration, format!("{}\n{}", count(&faults), said.join("\n\n")))
}

fn count(faults: &[Fault]) -> String {
    match faults.iter().filter(|fault| fault.is_fatal()).count() {
        1 => "one fault in the configuration".to_owned(),
        many => format!("{many} faults in the configuration"),
    }
}

pub(super) fn summary(settings: &Settings) -> String {
    let counted = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let parts = [
        counted(settings.listeners.len(), "listener", "listeners"),
        counted(settings.links.len(), "link", "links"),
        counted(settings.mailboxes.len(), "mailbox", "mailboxes"),
        counted(settings.apps.len(), "app", "apps"),
    ];
    let hooks = Some(settings.hooks.len()).filter(|hooks| *hooks > 0).map(|hooks| counted(hooks, "hook", "hooks"));
    format!("good: {}", parts.into_iter().chain(hooks).collect::<Vec<_>>().join(", "))
}
