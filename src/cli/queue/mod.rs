//! `outlink queue` and `outlink trace`: what is kept, why it waits, and what to do with it.

mod export;
mod list;
mod orders;
mod story;

use super::{Config, Exit, Failed, Outcome, reach};
use crate::{
    admin::{Selection, Verb, rfc3339},
    config,
    mail::{Address, Id, Name},
};
use clap::{Args, Subcommand};
use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

/// `outlink queue`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    command: Option<QueueCommand>,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    filters: Filters,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// List messages, oldest first, with why they wait (also without `list`)
    List(List),
    /// Show everything about one message
    Show {
        /// The message
        #[arg(value_name = "ID")]
        id: Id,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Send messages at once instead of at their time; failed ones begin anew
    Retry(Chosen),
    /// Hold messages, or with --mailbox alone a whole mailbox, until they are released
    Hold(Chosen),
    /// Release held messages, or with --mailbox alone a held mailbox, which is tried at once
    Release(Chosen),
    /// Give messages up and remove their octets; nobody is told
    Discard {
        #[command(flatten)]
        chosen: Chosen,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Send messages through another mailbox
    Move {
        #[command(flatten)]
        chosen: Chosen,
        /// The mailbox that they go through from now on; it must be configured
        #[arg(long, value_name = "NAME", value_parser = Name::parse_mailbox)]
        to_mailbox: Name,
    },
    /// Write the octets of a message, as they go to the provider, to standard output or a new file
    Export {
        /// The message
        #[arg(value_name = "ID")]
        id: Id,
        /// Write this file, which must not exist
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        config: Config,
    },
}

/// Which messages; all of what is given must fit.
#[derive(Debug, Clone, Default, Args)]
struct Filters {
    /// Only through this mailbox; of one for a whole domain, NAME/ADDRESS is one address
    #[arg(long, value_name = "NAME", value_parser = Name::parse_mailbox)]
    mailbox: Option<Name>,
    /// Only of this app
    #[arg(long, value_name = "NAME", value_parser = Name::parse)]
    app: Option<Name>,
    /// Only messages that stand like this; may be given more than once
    #[arg(long = "state", value_name = "STATE", value_parser = ["waiting", "held", "failed", "delivered"])]
    states: Vec<String>,
    /// Only messages accepted longer ago than this, such as 2h or 1d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
    /// Only messages to this address
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    recipient: Option<String>,
}

impl Filters {
    fn is_empty(&self) -> bool {
        let Self { mailbox, app, states, older_than, recipient } = self;
        mailbox.is_none() && app.is_none() && states.is_empty() && older_than.is_none() && recipient.is_none()
    }

    /// The mailbox, where nothing else is given.
    fn only_mailbox(&self) -> Option<&Name> {
        let rest = Self { mailbox: None, ..self.clone() };
        self.mailbox.as_ref().filter(|_| rest.is_empty())
    }

    fn selection(&self, now: SystemTime) -> Selection {
        let before = self.older_than.map(|age| now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH));
        Selection {
            mailbox: self.mailbox.as_ref().map(Name::to_string),
            app: self.app.as_ref().map(Name::to_string),
            states: self.states.clone(),
            accepted_before: before.map(rfc3339),
            recipient: self.recipient.clone(),
            address: None,
        }
    }
}

/// The messages of an order.
#[derive(Debug, Args)]
struct Chosen {
    /// These messages
    #[arg(value_name = "ID")]
    ids: Vec<Id>,
    #[command(flatten)]
    filters: Filters,
    /// All messages for which it makes sense
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    config: Config,
}

/// `outlink trace`.
#[derive(Debug, Args)]
pub(super) struct Trace {
    /// A message's id, or an address: then every message from or to it
    #[arg(value_name = "ID|ADDRESS", value_parser = traced)]
    what: Traced,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Traced {
    Message(Id),
    Address(String),
}

/// Does what `outlink queue` asks for.
pub(super) fn queue(arguments: Arguments) -> Outcome {
    match arguments.command.unwrap_or(QueueCommand::List(arguments.list)) {
        QueueCommand::List(List { filters, json, config }) => {
            let selection = filters.selection(SystemTime::now());
            reach::work(&config, async |reached| list::list(&reached, &selection, json).await)
        }
        QueueCommand::Show { id, json, config } => reach::work(&config, async |reached| story::show(&reached, id, json).await),
        QueueCommand::Retry(chosen) => orders::order(Verb::Retry, chosen, None),
        QueueCommand::Hold(chosen) => hold(chosen, true),
        QueueCommand::Release(chosen) => hold(chosen, false),
        QueueCommand::Discard { chosen, yes } => orders::discard(chosen, yes),
        QueueCommand::Move { chosen, to_mailbox } => orders::order(Verb::Move, chosen, Some(&to_mailbox)),
        QueueCommand::Export { id, to, config } => {
            reach::work(&config, async |reached| export::export(&reached, id, to.as_deref()).await)
        }
    }
}

fn hold(chosen: Chosen, paused: bool) -> Outcome {
    let whole = chosen.filters.only_mailbox().filter(|_| chosen.ids.is_empty() && !chosen.all);
    match whole {
        Some(mailbox) => reach::work(&chosen.config, async |reached| orders::pause(&reached, mailbox, paused).await),
        None => orders::order(if paused { Verb::Hold } else { Verb::Release }, chosen, None),
    }
}

/// Tells the stories of messages.
pub(super) fn trace(Trace { what, json, config }: Trace) -> Outcome {
    reach::work(&config, async |reached| story::trace(&reached, &what, json).await)
}

fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| "a duration is written like 30m, 2h or 1d 12h".to_owned())
}

fn address(text: &str) -> Result<String, String> {
    let address = Address::parse(text).map_err(|error| error.to_string())?;
    address.domain().map(|_| text.to_owned()).ok_or_else(|| "an address is written like user@example.org".to_owned())
}

fn traced(text: &str) -> Result<Traced, String> {
    match text.contains('@') {
        true => address(text).map(Traced::Address),
        false => {
            text.parse().map(Traced::Message).map_err(|error: crate::mail::InvalidId| format!("{error}; an address has an @"))
        }
    }
}

/// JSON on one line.
fn json_line(value: &impl serde::Serialize) -> Result<String, Failed> {
    serde_json::to_string(value).map_err(|error| Failed(Exit::InputOutput, error.to_string()))
}
