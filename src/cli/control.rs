//! `outlink status`, `reload` and `stop`: what a running daemon is asked over its control socket.

use super::{Config, Exit, Failed, Outcome, check, out::say, runtime};
use crate::{
    admin::{Client, ClientError, Status, socket_path},
    config,
};
use std::path::Path;

/// Prints what the daemon is doing.
pub(super) fn status(config: &Config, json: bool) -> Outcome {
    let client = reach(config)?;
    let status = runtime()?.block_on(client.status()).map_err(failed)?;
    if json {
        say(format_args!(
            "{}",
            serde_json::to_string_pretty(&status).map_err(|error| Failed(Exit::InputOutput, error.to_string()))?
        ));
    } else {
        print(&status);
    }
    Ok(Exit::Good)
}

/// Makes the daemon take up its configuration.
pub(super) fn reload(config: &Config) -> Outcome {
    let client = reach(config)?;
    let notes = runtime()?.block_on(client.reload()).map_err(|error| match error {
        ClientError::Problems(faults) => Failed(Exit::Configuration, faults.join("\n\n")),
        error => failed(error),
    })?;
    notes.iter().for_each(|note| say(format_args!("{note}")));
    say(format_args!("the configuration was taken up"));
    Ok(Exit::Good)
}

/// Stops the daemon.
pub(super) fn stop(config: &Config) -> Outcome {
    let client = reach(config)?;
    runtime()?.block_on(client.stop()).map_err(failed)?;
    say(format_args!("stopping; messages under way are finished first"));
    Ok(Exit::Good)
}

/// The daemon of this configuration, which may have become faulty since it started.
fn reach(config: &Config) -> Result<Client, Failed> {
    connect(&config::state_directory(config.file()).map_err(check::faulty)?)
}

/// The control socket of the daemon with this state directory.
pub(super) fn connect(state_directory: &Path) -> Result<Client, Failed> {
    let runtime_directory = std::env::var("RUNTIME_DIRECTORY").ok().or_else(service_runtime_directory);
    let in_runtime = socket_path(state_directory, runtime_directory.as_deref());
    match Client::connect(&in_runtime) {
        Err(ClientError::NotRunning(_)) => Client::connect(&socket_path(state_directory, None)).map_err(failed),
        result => result.map_err(failed),
    }
}

/// Where the service's socket lies for a person's shell, which has no `RUNTIME_DIRECTORY`.
fn service_runtime_directory() -> Option<String> {
    Some("/run/outlink".to_owned()).filter(|directory| Path::new(directory).is_dir())
}

/// The exit status for each reason.
pub(super) fn failed(error: ClientError) -> Failed {
    let exit = match &error {
        ClientError::NotRunning(_) | ClientError::Broken { .. } => Exit::Unavailable,
        ClientError::Refused { .. } => Exit::Permission,
        ClientError::Problems(_) => Exit::Findings,
    };
    Failed(exit, error.to_string())
}

fn print(status: &Status) {
    say(format_args!(
        "outlink {} as {}, process {}; {} messages under way",
        status.version, status.hostname, status.pid, status.under_way
    ));
    for listener in &status.listeners {
        say(format_args!("listener {}: {}", listener.name, listener.address));
    }
    for mailbox in &status.mailboxes {
        let text = |field: &str| mailbox.get(field).and_then(|value| value.as_str()).unwrap_or("-").to_owned();
        say(format_args!("mailbox {}: link {}, grant {}, {}", text("mailbox"), text("link"), text("grant"), text("state")));
        for (field, word) in
            [("access_token_until", "access token until"), ("trouble", "trouble"), ("reason", "why"), ("advice", "to do")]
        {
            if text(field) != "-" {
                say(format_args!("  {word}: {}", text(field)));
            }
        }
    }
}
