//! Whom a command asks: the running daemon over its control socket, or, while none runs, the store that the command opens itself.
//! Both by the same functions of `admin`.

use super::{Config, Exit, Failed, Outcome, check, run::not_started, runtime};
use crate::{
    admin::{
        self, Apps, BackedUp, Backup, Changed, Client, ClientError, Details, Links, Page, Paused, Refused, Selection, Summary,
        Targets, Verb, authorize, socket_path,
    },
    config,
    daemon::{self, StartError},
    notify::Trial,
    relay::{
        Relay,
        authorize::{Begun, Progress, Wish},
    },
};
use anyhow::Context;
use std::{
    io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    sync::Arc,
};

/// What answers.
#[derive(Debug)]
pub(super) enum Reached {
    /// The daemon.
    Running(Client),
    /// The store of a stopped one.
    Stopped(Arc<Relay>),
}

/// Does `work` with whatever answers for this configuration.
pub(super) fn work<F: Future<Output = Outcome>>(config: &Config, work: impl FnOnce(Reached) -> F) -> Outcome {
    let state_directory = config::state_directory(config.file()).map_err(check::faulty)?;
    let client = running(&state_directory)?;
    if client.is_none() {
        // Faults come first: with them it is not sure that this is the directory meant.
        check::load(config)?;
        exists(&state_directory)?;
    }
    do_with(client, config, work)
}

/// The same for what may be the first thing ever kept.
pub(super) fn begin<F: Future<Output = Outcome>>(config: &Config, work: impl FnOnce(Reached) -> F) -> Outcome {
    let client = running(&config::state_directory(config.file()).map_err(check::faulty)?)?;
    do_with(client, config, work)
}

/// A running daemon must be reachable whatever its file says by now; a stopped one needs it without fault.
fn do_with<F: Future<Output = Outcome>>(client: Option<Client>, config: &Config, work: impl FnOnce(Reached) -> F) -> Outcome {
    let settings = if client.is_some() { None } else { Some(check::load(config)?.0) };
    runtime()?.block_on(async {
        let reached = match (client, settings) {
            (Some(client), _) => Reached::Running(client),
            (None, Some(settings)) => Reached::Stopped(daemon::open(settings).await.map_err(not_opened)?),
            (None, None) => return Err(Failed(Exit::Unavailable, "no daemon answers".to_owned())),
        };
        work(reached).await
    })
}

/// Whether anything was ever kept in this state directory.
pub(super) fn exists(state_directory: &Path) -> Result<(), Failed> {
    match std::fs::metadata(state_directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = format!("no daemon runs, and {} does not exist: nothing was ever kept there", state_directory.display());
            Err(Failed(Exit::Unavailable, format!("{text}; is this the right --config?")))
        }
        _ => Ok(()),
    }
}

/// The running daemon with this state directory. Where there is none, this process is from here on one that may use the directory.
pub(super) fn running(state_directory: &Path) -> Result<Option<Client>, Failed> {
    match connect(state_directory) {
        Ok(client) => Ok(Some(client)),
        Err(Failed(Exit::Unavailable, _)) => become_owner(state_directory).map(|()| None),
        Err(failed) => Err(failed),
    }
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

/// Run by root, the command starts itself again as the owner of the state directory: a file of root in there would lock the
/// service out of its own store.
fn become_owner(state_directory: &Path) -> Result<(), Failed> {
    let Some(owner) = owner(state_directory)? else { return Ok(()) };
    let error: io::Error = owner.command()?.args(std::env::args_os().skip(1)).exec();
    Err(Failed(Exit::Permission, format!("cannot become the owner of {}: {error}", state_directory.display())))
}

/// Another user whom a state directory belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    user: u32,
    group: u32,
}

/// Whom root has to become before it touches a state directory; `None` for everybody else, and where root owns it.
pub(super) fn owner(state_directory: &Path) -> Result<Option<Owner>, Failed> {
    let Ok(owner) = std::fs::metadata(state_directory) else { return Ok(None) };
    let own_files = std::fs::metadata("/proc/self").context("cannot tell who runs this: /proc is not mounted")?;
    let other = own_files.uid() == 0 && owner.uid() != 0;
    Ok(other.then(|| Owner { user: owner.uid(), group: owner.gid() }))
}

impl Owner {
    /// This program as that user.
    pub(super) fn command(&self) -> Result<std::process::Command, Failed> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let mut command = std::process::Command::new(program);
        command.uid(self.user).gid(self.group);
        Ok(command)
    }
}

/// The exit status for each reason of a daemon.
pub(super) fn failed(error: ClientError) -> Failed {
    let exit = match &error {
        ClientError::NotRunning(_) | ClientError::Broken { .. } | ClientError::Unavailable(_) => Exit::Unavailable,
        ClientError::Refused { .. } => Exit::Permission,
        ClientError::Problems(_) => Exit::Findings,
        ClientError::Store(_) => Exit::InputOutput,
    };
    Failed(exit, error.to_string())
}

/// The same for each reason of our own.
pub(super) fn refused(error: Refused) -> Failed {
    let exit = match &error {
        Refused::Unknown(_) | Refused::Nonsense(_) | Refused::Consent(_) => Exit::Findings,
        Refused::Store(_) => Exit::InputOutput,
    };
    Failed(exit, error.to_string())
}

/// The state directory of somebody else is no fault of a disk.
pub(super) fn not_opened(error: StartError) -> Failed {
    match &error {
        StartError::Store(why) if why.is_of_permission() => {
            Failed(Exit::Permission, format!("{error}; run this as root or as the service's user"))
        }
        _ => not_started(error),
    }
}

impl Reached {
    /// Whether a daemon answers.
    pub(super) fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    pub(super) async fn summary(&self) -> Result<Summary, Failed> {
        match self {
            Self::Running(client) => client.summary().await.map_err(failed),
            Self::Stopped(relay) => admin::summary(relay).await.map_err(refused),
        }
    }

    pub(super) async fn apps(&self) -> Result<Apps, Failed> {
        match self {
            Self::Running(client) => client.apps().await.map_err(failed),
            Self::Stopped(relay) => Ok(admin::apps(relay)),
        }
    }

    pub(super) async fn links(&self) -> Result<Links, Failed> {
        match self {
            Self::Running(client) => client.links().await.map_err(failed),
            Self::Stopped(relay) => admin::links(relay).await.map_err(refused),
        }
    }

    pub(super) async fn list(&self, selection: &Selection, after: Option<i64>) -> Result<Page, Failed> {
        match self {
            Self::Running(client) => client.list(selection, after).await.map_err(failed),
            Self::Stopped(relay) => admin::list(relay, selection, after).await.map_err(refused),
        }
    }

    pub(super) async fn show(&self, id: &str) -> Result<Details, Failed> {
        match self {
            Self::Running(client) => client.show(id).await.map_err(failed),
            Self::Stopped(relay) => admin::show(relay, id).await.map_err(refused),
        }
    }

    pub(super) async fn order(&self, verb: Verb, targets: &Targets) -> Result<Changed, Failed> {
        match self {
            Self::Running(client) => client.order(verb, targets).await.map_err(failed),
            Self::Stopped(relay) => admin::order(relay, verb, targets).await.map_err(refused),
        }
    }

    pub(super) async fn pause(&self, mailbox: &str, paused: bool) -> Result<Paused, Failed> {
        match self {
            Self::Running(client) => client.pause(mailbox, paused).await.map_err(failed),
            Self::Stopped(relay) => admin::pause(relay, mailbox, paused).await.map_err(refused),
        }
    }

    pub(super) async fn test_hook(&self, hook: &str) -> Result<Trial, Failed> {
        match self {
            Self::Running(client) => client.test_hook(hook).await.map_err(failed),
            Self::Stopped(relay) => admin::test_hook(relay, hook).await.map_err(refused),
        }
    }

    pub(super) async fn backup(&self, backup: Backup) -> Result<BackedUp, Failed> {
        match self {
            Self::Running(client) => client.backup(&backup).await.map_err(failed),
            Self::Stopped(relay) => admin::backup(relay, backup).await.map_err(refused),
        }
    }

    pub(super) async fn begin_authorization(&self, wish: Wish) -> Result<Begun, Failed> {
        match self {
            Self::Running(client) => client.begin_authorization(&wish).await.map_err(failed),
            Self::Stopped(relay) => authorize::begin(relay, wish).await.map_err(refused),
        }
    }

    pub(super) async fn answer_authorization(&self, id: &str, url: String) -> Result<(), Failed> {
        let answer = authorize::Answer { url };
        match self {
            Self::Running(client) => client.answer_authorization(id, &answer).await.map_err(failed),
            Self::Stopped(relay) => authorize::answer(relay, id, &answer).map_err(refused),
        }
    }

    pub(super) async fn authorization(&self, id: &str) -> Result<Progress, Failed> {
        match self {
            Self::Running(client) => client.authorization(id).await.map_err(failed),
            Self::Stopped(relay) => authorize::progress(relay, id).await.map_err(refused),
        }
    }

    pub(super) async fn cancel_authorization(&self, id: &str) -> Result<(), Failed> {
        match self {
            Self::Running(client) => client.cancel_authorization(id).await.map_err(failed),
            Self::Stopped(relay) => authorize::cancel(relay, id).map_err(refused),
        }
    }

    /// Hands the octets of a message to `take`, piece by piece.
    pub(super) async fn body(&self, id: &str, mut take: impl FnMut(&[u8]) -> Result<(), Failed>) -> Result<(), Failed> {
        match self {
            Self::Running(client) => {
                let mut response = client.body(id).await.map_err(failed)?;
                let broken = |error| Failed(Exit::Unavailable, format!("message {id} broke off: {error}"));
                while let Some(piece) = response.chunk().await.map_err(broken)? {
                    take(&piece)?;
                }
            }
            Self::Stopped(relay) => {
                let unread = || format!("the octets of message {id} cannot be read");
                let body = admin::body(relay, id).await.map_err(refused)?;
                let mut reader = body.reader().await.with_context(unread)?;
                loop {
                    let piece = reader.next().await.with_context(unread)?;
                    if piece.is_empty() {
                        break;
                    }
                    take(&piece)?;
                }
            }
        }
        Ok(())
    }
}
