//! `outlink authorize`: a person signs in at the provider, here, on another machine, or with a code on another device.
//!
//! The answer comes by whichever way is first: the browser reaches our loopback port, or the daemon's listener, or a person pastes
//! the address that the browser shows.

mod listen;
mod person;

use super::{
    Config, Exit, Failed, Outcome, caller,
    out::{plain, say},
    reach::{self, Reached},
};
use crate::{
    config,
    relay::authorize::{Begun, Kind, Login, Progress, Why, Wish},
    store::Starting,
    web,
};
use chrono::{DateTime, Local, Utc};
use clap::Args;
use listen::Port;
use serde::Serialize;
use std::{
    cell::Cell,
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// How often it looks whether a daemon starts, which waits five seconds for the store.
const LOOK: Duration = Duration::from_millis(200);

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The mailbox that is to send
    mailbox: String,
    /// Show a code that is entered on another device, in place of an address for a browser
    #[arg(long)]
    device: bool,
    /// Print one JSON object a line: `authorize`, then `done` or `failed`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

/// One line for programs.
#[derive(Serialize)]
struct Event<'a, T> {
    event: &'a str,
    #[serde(flatten)]
    about: T,
}

/// Carries a login out. For programs the last line says how it ended, even where it could not begin.
pub(super) fn authorize(arguments: &Arguments) -> Outcome {
    let told = Cell::new(false);
    let outcome = carry_out(arguments, &told);
    if let Err(Failed(_, reason)) = &outcome
        && arguments.json
        && !told.get()
    {
        let advice = "start the login again when that is mended".to_owned();
        event("failed", Progress::Failed { why: Why::Refused, reason: plain(reason).into_owned(), advice, kept: false })?;
    }
    outcome
}

/// `told`: whether its end was told to programs.
fn carry_out(arguments: &Arguments, told: &Cell<bool>) -> Outcome {
    reach::begin(&arguments.config, async |reached| {
        let reached = Arc::new(reached);
        // Before anybody hears of the login: an interruption after that is told of.
        let mut interrupted = signal(SignalKind::interrupt()).map_err(|error| Failed(Exit::InputOutput, error.to_string()))?;
        let port = if arguments.device { None } else { Port::free().await };
        let wish = Wish {
            mailbox: arguments.mailbox.clone(),
            kind: arguments.device.then_some(Kind::Device),
            port: port.as_ref().map(|port| port.number),
            by: caller::name(),
        };
        let begun = reached.begin_authorization(wish).await?;
        let sockets = listen::sockets(&reached, &begun, port).await;
        match arguments.json {
            true => event("authorize", &begun)?,
            false => person::tell(&begun, sockets.is_empty()),
        }
        if !arguments.json {
            person::open_browser(&begun);
        }
        let ended_by = async {
            tokio::select! {
                _ = interrupted.recv() => GivenUp::ByPerson,
                () = gives_way(&reached, &arguments.config) => GivenUp::ForDaemon,
            }
        };
        let progress = end(&reached, &begun, sockets, ended_by).await?;
        told.set(true);
        conclude(&begun, progress, arguments.json)
    })
}

/// Why a login is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GivenUp {
    ByPerson,
    ForDaemon,
}

/// Ends when a daemon wants what this command holds open.
async fn gives_way(reached: &Reached, config: &Config) {
    match config::state_directory(config.file()) {
        Ok(directory) if !reached.is_running() => {
            while !Starting::is_told(&directory) {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(_) | Err(_) => pending().await,
    }
}

/// Waits for the end of the login, by all ways at once, or until it is given up.
async fn end(
    reached: &Arc<Reached>,
    begun: &Begun,
    sockets: Vec<tokio::net::TcpListener>,
    given_up: impl Future<Output = GivenUp>,
) -> Result<Progress, Failed> {
    let (over, ended) = watch::channel(false);
    let pages = async {
        let mut ended = ended.clone();
        let over = async move { drop(ended.wait_for(|over| *over).await) };
        match sockets.is_empty() {
            true => over.await,
            false => web::serve(sockets, Arc::new(listen::Callback::new(reached.clone(), begun)), over).await,
        }
    };
    let outcome = async {
        let progress = tokio::select! {
            progress = finished(reached, &begun.id) => progress,
            never = person::pasted(reached, begun) => match never {},
            given_up = given_up => {
                // An answer that came is carried out to its end.
                reached.cancel_authorization(&begun.id).await?;
                let progress = finished(reached, &begun.id).await;
                progress.map(|progress| if given_up == GivenUp::ForDaemon { gave_way(progress) } else { progress })
            }
        };
        over.send_replace(true);
        progress
    };
    // The browser gets its page before the command ends.
    tokio::pin!(pages);
    tokio::pin!(outcome);
    tokio::select! {
        progress = &mut outcome => {
            let _ = tokio::time::timeout(listen::LEAVE, pages).await;
            progress
        }
        () = &mut pages => outcome.await,
    }
}

/// What is told of a login that was given up for a daemon's start. One whose answer came was carried out.
fn gave_way(progress: Progress) -> Progress {
    match progress {
        Progress::Failed { why: Why::Cancelled, kept, .. } => Progress::Failed {
            why: Why::Stopping,
            reason: "outlink starts, and this command had its store open".to_owned(),
            advice: "start the login again: it needs no stopped outlink".to_owned(),
            kept,
        },
        progress => progress,
    }
}

async fn finished(reached: &Reached, id: &str) -> Result<Progress, Failed> {
    loop {
        let progress = reached.authorization(id).await?;
        if progress.is_over() {
            return Ok(progress);
        }
    }
}

fn conclude(begun: &Begun, progress: Progress, json: bool) -> Outcome {
    let exit = match &progress {
        Progress::Done { login: Login::Accepted, .. } => Exit::Good,
        Progress::Failed { why: Why::Expired, .. } => Exit::Temporary,
        Progress::Failed { why: Why::Stopping, .. } => Exit::Unavailable,
        Progress::Done { .. } | Progress::Failed { .. } | Progress::Pending | Progress::Working => Exit::Findings,
    };
    if json {
        let name = if matches!(progress, Progress::Done { .. }) { "done" } else { "failed" };
        event(name, &progress)?;
    }
    match progress {
        Progress::Done { account, replaced, refresh_until, login, .. } => {
            if !json {
                say(done(begun, account.as_deref(), replaced, refresh_until));
            }
            match login {
                Login::Accepted => Ok(exit),
                Login::Failed { reason, advice } => {
                    let text = format!("the new grant is stored, but its login failed: {reason}\n  to do: {advice}");
                    Err(Failed(exit, plain(&text).into_owned().replace("  to do", "\n  to do")))
                }
            }
        }
        Progress::Failed { reason, advice, .. } => Err(Failed(
            exit,
            format!("mailbox {} was not authorised: {}\n  to do: {}", begun.mailbox, plain(&reason), plain(&advice)),
        )),
        Progress::Pending | Progress::Working => Ok(exit),
    }
}

fn done(begun: &Begun, account: Option<&str>, replaced: bool, until: Option<DateTime<Utc>>) -> String {
    let who = account.map(|account| format!(" as {}", plain(account))).unwrap_or_default();
    let instead = if replaced { "; the grant from before is replaced" } else { "" };
    let until = until.map(|until| format!("; the grant ends at {}", until.with_timezone(&Local).format("%Y-%m-%d %H:%M")));
    format!("mailbox {} is authorised{who}{instead}{}", begun.mailbox, until.unwrap_or_default())
}

fn event(name: &str, about: impl Serialize) -> Result<(), Failed> {
    let line = serde_json::to_string(&Event { event: name, about });
    say(line.map_err(|error| Failed(Exit::InputOutput, error.to_string()))?);
    Ok(())
}
