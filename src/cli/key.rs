//! `outlink key rotate`: another key for all sealed secrets, old keys dropped, a lost key replaced. `outlink key seal`: one secret.
//!
//! Beside a running daemon the daemon does it. Beside a stopped one, the store's part is done as the owner of the state directory (by this
//! program, started once more, where root asks). Files of the configuration are often root's: what the daemon or the owner could not write
//! is sealed anew by whoever runs this, who reads the key for that.

use super::{
    Config, Exit, Failed, Outcome,
    app::read_secret,
    check,
    out::{counted, say},
    reach::{self, Owner},
    runtime,
};
use crate::{
    admin::{self, Client, Files, KeyRotated, KeysDropped},
    config, key,
    secret::Secret,
    store::{Forgotten, Store},
};
use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde::{Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Seal all secrets under a new key, while the daemon runs or not
    Rotate {
        /// Then drop the old keys that nothing needs any more; backups made before need them
        #[arg(long)]
        drop_old: bool,
        /// The key is lost for good: forget the grants that it sealed, and go on with a new one
        #[arg(long, conflicts_with = "drop_old")]
        lost: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Seal a secret, from standard input or a prompt, for one key of the configuration; print what to write there
    Seal {
        /// The key's full name, such as link.contoso.client-secret
        place: String,
        #[command(flatten)]
        config: Config,
    },
    /// One step of a rotation, as the owner of the state directory, told in JSON
    #[command(hide = true)]
    Step {
        #[arg(value_enum)]
        step: Step,
        #[command(flatten)]
        config: Config,
    },
}

/// What is done to the store of a stopped daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Step {
    Rotate,
    Drop,
    Forget,
}

pub(super) fn key(command: KeyCommand) -> Outcome {
    match command {
        KeyCommand::Rotate { drop_old, lost: false, config } => rotate(&config, drop_old),
        KeyCommand::Rotate { lost: true, config, .. } => replace_lost(&config),
        KeyCommand::Seal { place, config } => {
            let state_directory = config::state_directory(config.file()).map_err(check::faulty)?;
            let sealed = seal(&state_directory, &place, &read_secret("Secret")?)?;
            say(format_args!("{{ sealed = \"{sealed}\" }}"));
            Ok(Exit::Good)
        }
        KeyCommand::Step { step, config } => {
            let state_directory = config::state_directory(config.file()).map_err(check::faulty)?;
            match step {
                Step::Rotate => tell(&rotate_here(&state_directory, &config)?),
                Step::Drop => tell(&drop_here(&state_directory, &config)?),
                Step::Forget => tell(&forget_here(&state_directory)?),
            }
        }
    }
}

/// Seals `secret` for the configuration's key `place`: by the running daemon, else with the key of the state directory, which is made for
/// its owner where nothing was ever kept.
pub(super) fn seal(state_directory: &Path, place: &str, secret: &Secret) -> Result<String, Failed> {
    match reach::connect(state_directory) {
        Ok(client) => runtime()?.block_on(client.seal(place, secret)).map_err(reach::failed),
        Err(Failed(Exit::Unavailable, _)) => {
            let ring = Store::ring_at(state_directory).map_err(|error| reach::not_opened(error.into()))?;
            Ok(admin::seal(&ring, place, secret).map_err(reach::refused)?.sealed)
        }
        Err(failed) => Err(failed),
    }
}

/// Who does the store's part.
enum Keeper {
    Daemon(Client),
    /// This program, started again as the owner of the state directory.
    Owner(Owner),
    /// This process.
    Here,
}

impl Keeper {
    fn find(state_directory: &Path) -> Result<Self, Failed> {
        match reach::connect(state_directory) {
            Ok(client) => Ok(Self::Daemon(client)),
            Err(Failed(Exit::Unavailable, _)) => {
                reach::exists(state_directory)?;
                Ok(reach::owner(state_directory)?.map_or(Self::Here, Self::Owner))
            }
            Err(failed) => Err(failed),
        }
    }

    fn rotate(&self, state_directory: &Path, config: &Config) -> Result<KeyRotated, Failed> {
        match self {
            Self::Daemon(client) => runtime()?.block_on(client.rotate_key()).map_err(reach::failed),
            Self::Owner(owner) => as_owner(owner, Step::Rotate, config),
            Self::Here => rotate_here(state_directory, config),
        }
    }

    fn drop_old(&self, state_directory: &Path, config: &Config) -> Result<KeysDropped, Failed> {
        match self {
            Self::Daemon(client) => runtime()?.block_on(client.drop_keys()).map_err(reach::failed),
            Self::Owner(owner) => as_owner(owner, Step::Drop, config),
            Self::Here => drop_here(state_directory, config),
        }
    }
}

fn rotate(config: &Config, drop_old: bool) -> Outcome {
    let state_directory = config::state_directory(config.file()).map_err(check::faulty)?;
    let keeper = Keeper::find(&state_directory)?;
    let KeyRotated { key, resealed, mut files } = keeper.rotate(&state_directory, config)?;
    say(format_args!(
        "secrets are sealed under the new key {key}; {} sealed anew",
        counted(resealed as u64, "refresh token", "refresh tokens")
    ));
    if !matches!(keeper, Keeper::Here) && !files.left.is_empty() {
        finish(&mut files, &key, &state_directory, config)?;
        if let Keeper::Daemon(client) = &keeper {
            // With faults the old settings stay, whose values open as before; `outlink reload` says which.
            let _ = runtime()?.block_on(client.reload());
        }
    }
    for file in &files.changed {
        say(format_args!("sealed anew: {}", file.display()));
    }
    for left in &files.left {
        say(format_args!("still under an old key: {}: {}", left.file.display(), left.why));
    }
    if drop_old {
        let KeysDropped { dropped, kept, .. } = keeper.drop_old(&state_directory, config)?;
        for key in &dropped {
            say(format_args!("dropped: key {key}"));
        }
        for key in &kept {
            say(format_args!("kept, because something above needs it: key {key}"));
        }
    } else {
        say(format_args!(
            "the old key stays beside it; `outlink key rotate --drop-old` makes another and drops all that nothing needs"
        ));
    }
    say(format_args!("copy {} to where you keep a copy of the key", key::file_of(&state_directory).display()));
    Ok(Exit::Good)
}

/// Seals anew what only this user may write.
fn finish(files: &mut Files, key: &str, state_directory: &Path, config: &Config) -> Result<(), Failed> {
    // A user who cannot read the key is told what is left.
    let Ok(Some(keys)) = key::find(state_directory, None) else { return Ok(()) };
    if keys.ring.current().to_string() != key {
        return Ok(());
    }
    let more = config::reseal(config.file(), &keys.ring).map_err(check::faulty)?;
    let Files { changed, left } = more.into();
    files.changed.extend(changed);
    files.left = left;
    Ok(())
}

fn replace_lost(config: &Config) -> Outcome {
    let state_directory = config::state_directory(config.file()).map_err(check::faulty)?;
    let forgotten = match Keeper::find(&state_directory)? {
        Keeper::Daemon(_) => {
            let text = "the daemon runs, so it has its key: nothing is lost";
            return Err(Failed(Exit::Findings, text.to_owned()));
        }
        Keeper::Owner(owner) => as_owner(&owner, Step::Forget, config)?,
        Keeper::Here => forget_here(&state_directory)?,
    };
    say(format_args!("secrets are sealed under key {} from now on; messages and holds are as they were", forgotten.key));
    for mailbox in &forgotten.mailboxes {
        say(format_args!("needs a new consent: {mailbox} (outlink authorize {mailbox})"));
    }
    say(format_args!("sealed values in the configuration have to be written anew; `outlink check` names them"));
    Ok(Exit::Good)
}

fn open(state_directory: &Path) -> Result<Store, Failed> {
    Store::open(state_directory).map_err(|error| reach::not_opened(error.into()))
}

fn rotate_here(state_directory: &Path, config: &Config) -> Result<KeyRotated, Failed> {
    let store = open(state_directory)?;
    runtime()?.block_on(admin::rotate_key(&store, config.file())).map_err(reach::refused)
}

fn drop_here(state_directory: &Path, config: &Config) -> Result<KeysDropped, Failed> {
    let store = open(state_directory)?;
    runtime()?.block_on(admin::drop_keys(&store, config.file(), &[])).map_err(reach::refused)
}

fn forget_here(state_directory: &Path) -> Result<Forgotten, Failed> {
    Store::replace_lost_key(state_directory).map_err(|error| reach::not_opened(error.into()))
}

/// Has a step done by this program as the owner of the state directory. What it complains of goes to standard error as it is.
fn as_owner<T: DeserializeOwned>(owner: &Owner, step: Step, config: &Config) -> Result<T, Failed> {
    let word = step.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let file: PathBuf = std::path::absolute(config.file()).context("cannot tell where the configuration lies")?;
    let mut command = owner.command()?;
    command.args(["key", "step", &word, "--config"]).arg(file).stderr(std::process::Stdio::inherit());
    let output = command.output().context("cannot start this program as the owner of the state directory")?;
    if !output.status.success() {
        let exit = output.status.code().and_then(Exit::of).unwrap_or(Exit::InputOutput);
        return Err(Failed(exit, "nothing more was done".to_owned()));
    }
    let told = serde_json::from_slice(&output.stdout).context("the owner's part cannot be understood")?;
    Ok(told)
}

fn tell(told: &impl Serialize) -> Outcome {
    let text = serde_json::to_string(told).context("cannot tell what was done")?;
    say(format_args!("{text}"));
    Ok(Exit::Good)
}
