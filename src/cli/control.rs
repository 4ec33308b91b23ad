//! `outlink status`, `reload` and `stop`: what a running daemon is asked over its control socket.

use super::{
    Config, Exit, Failed, Outcome, check,
    out::say,
    reach::{connect, failed},
    runtime, status,
};
use crate::{
    admin::{Client, ClientError},
    config,
};

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
        status::print(&status);
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
