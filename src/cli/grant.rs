//! `outlink grant import`: a refresh token that was obtained elsewhere, handed to the daemon or put into its store.

use super::{Config, Exit, Failed, Outcome, app::read_secret, check, out::say, reach, run::not_started, runtime};
use crate::{admin::ClientError, config::Settings, daemon::StartError, mail::Name, secret::Secret, store::Store, tokens::Tokens};
use anyhow::Context;
use std::path::Path;

/// Imports the refresh token for `mailbox`.
pub(super) fn import(mailbox: &str, file: Option<&Path>, config: &Config) -> Outcome {
    let (settings, _) = check::load(config)?;
    let name = Name::parse(mailbox).ok().filter(|name| settings.mailboxes.contains_key(name)).ok_or_else(|| {
        let known: Vec<&str> = settings.mailboxes.keys().map(Name::as_str).collect();
        Failed(Exit::Findings, format!("no mailbox is named {mailbox:?}; there are: {}", known.join(", ")))
    })?;
    let client = reach::running(&settings.state_directory)?;
    let token = match file {
        Some(file) => read_file(file)?,
        None => read_secret("Refresh token")?,
    };
    let runtime = runtime()?;
    match client {
        Some(client) => runtime.block_on(client.import_grant(&name, &token)).map_err(reach::failed)?,
        None => runtime.block_on(import_stopped(&settings, &name, token))?,
    }
    say(format_args!("the refresh token for mailbox {name} is stored"));
    Ok(Exit::Good)
}

/// Puts the grant into the store of a stopped daemon, by the same function that the running one uses.
async fn import_stopped(settings: &Settings, mailbox: &Name, token: Secret) -> Result<(), Failed> {
    let store =
        Store::open_with_keys(&settings.state_directory, &settings.keys_needed()).map_err(|error| not_started(error.into()))?;
    let tokens = Tokens::new(store);
    tokens.configure(settings).map_err(|error| not_started(StartError::Tls(error)))?;
    let imported = tokens.import(mailbox, token).await;
    imported.map_err(|error| reach::failed(ClientError::Problems(vec![error.to_string()])))
}

fn read_file(file: &Path) -> Result<Secret, Failed> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the refresh token from {}", file.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(Failed(Exit::InputOutput, format!("{} is empty; it should hold the refresh token", file.display()))),
        token => Ok(Secret::new(token.to_owned())),
    }
}
