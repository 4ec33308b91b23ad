//! `outlink grant`: a refresh token that was obtained elsewhere, handed to the daemon or put into its store; and the end of one.

use super::{
    Config, Exit, Failed, Outcome, app::read_secret, caller, check, out::say, reach, run::not_started, runtime, seal::text_of,
};
use crate::{
    admin::ClientError,
    config::Settings,
    daemon::StartError,
    mail::Name,
    secret::Secret,
    store::Store,
    tokens::{Ended, Tokens},
};
use anyhow::Context;
use std::{
    io::{IsTerminal, stderr, stdin},
    path::Path,
    sync::Arc,
};

/// Imports the refresh token for `mailbox`.
pub(super) fn import(mailbox: &str, file: Option<&Path>, config: &Config) -> Outcome {
    let (settings, name) = named(mailbox, config)?;
    let client = reach::running(&settings.state_directory)?;
    let by = caller::name();
    let token = match file {
        Some(file) => read_file(file)?,
        None => read_secret("Refresh token")?,
    };
    let runtime = runtime()?;
    match client {
        Some(client) => runtime.block_on(client.import_grant(&name, &token, by.as_deref())).map_err(reach::failed)?,
        None => runtime.block_on(import_stopped(&settings, &name, (token, by)))?,
    }
    say(format_args!("the refresh token for mailbox {name} is stored"));
    Ok(Exit::Good)
}

/// Revokes the grant of `mailbox`, after a question.
pub(super) fn revoke(mailbox: &str, yes: bool, config: &Config) -> Outcome {
    let can_ask = stdin().is_terminal() && stderr().is_terminal();
    if !yes && !can_ask {
        let text = "a grant is only revoked with --yes, where nobody can be asked: only a new consent brings it back";
        return Err(Failed(Exit::Usage, text.to_owned()));
    }
    let (settings, name) = named(mailbox, config)?;
    let client = reach::running(&settings.state_directory)?;
    if !yes && !confirm(&name)? {
        say("nothing was revoked");
        return Ok(Exit::Good);
    }
    let runtime = runtime()?;
    let Ended { told, said } = match client {
        Some(client) => runtime.block_on(client.revoke_grant(&name)).map_err(reach::failed)?,
        None => runtime.block_on(async {
            let revoked = stopped(&settings)?.revoke(&name).await;
            revoked.map_err(|error| reach::failed(ClientError::Problems(vec![error.to_string()])))
        })?,
    };
    say(format_args!("the grant of mailbox {name} is forgotten; {said}"));
    say(format_args!("its mail waits for a new consent"));
    Ok(if told { Exit::Good } else { Exit::Findings })
}

fn confirm(mailbox: &Name) -> Result<bool, Failed> {
    let question = format!("Revoke the grant of mailbox {mailbox}? Its mail waits until somebody consents again");
    let asked = dialoguer::Confirm::new().with_prompt(question).default(false).interact();
    asked.map_err(|error| Failed(Exit::InputOutput, format!("cannot ask at this terminal: {error}")))
}

/// The settings, and the mailbox in them.
fn named(mailbox: &str, config: &Config) -> Result<(Settings, Name), Failed> {
    let (settings, _) = check::load(config)?;
    if let Some(domain) = settings.domains.values().find(|domain| domain.common().name.as_str() == mailbox) {
        let link = &domain.common().link;
        return Err(Failed(
            Exit::Findings,
            format!("mailbox {mailbox} stands for a whole domain: its link {link} signs in by itself, without a grant"),
        ));
    }
    let name = Name::parse(mailbox).ok().filter(|name| settings.mailboxes.contains_key(name)).ok_or_else(|| {
        let known: Vec<&str> = settings.mailboxes.keys().map(Name::as_str).collect();
        Failed(Exit::Findings, format!("no mailbox is named {mailbox:?}; there are: {}", known.join(", ")))
    })?;
    Ok((settings, name))
}

/// Puts the grant into the store of a stopped daemon, by the same function that the running one uses.
async fn import_stopped(settings: &Settings, mailbox: &Name, (token, by): (Secret, Option<String>)) -> Result<(), Failed> {
    let imported = stopped(settings)?.import(mailbox, token, by).await;
    imported.map_err(|error| reach::failed(ClientError::Problems(vec![error.to_string()])))
}

/// The tokens of a stopped daemon.
fn stopped(settings: &Settings) -> Result<Arc<Tokens>, Failed> {
    let store =
        Store::open_with_keys(&settings.state_directory, &settings.keys_needed()).map_err(|error| not_started(error.into()))?;
    let tokens = Tokens::new(store);
    tokens.configure(settings).map_err(|error| not_started(StartError::Tls(error)))?;
    Ok(tokens)
}

fn read_file(file: &Path) -> Result<Secret, Failed> {
    let text = text_of(file).with_context(|| format!("cannot read the refresh token from {}", file.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(Failed(Exit::InputOutput, format!("{} is empty; it should hold the refresh token", file.display()))),
        token => Ok(Secret::new(token.to_owned())),
    }
}
