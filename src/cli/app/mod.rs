//! `outlink app`: applications and devices that send, added with a password of their own, listed, removed.

mod add;
mod doors;
mod hash;
mod password;
mod typed;

pub(super) use add::{hash, make};
pub(super) use hash::read_secret;
pub(super) use typed::{Password, Typed};

use super::{Config, Outcome, listing, remove};
use crate::{config::write::Kind, mail::Name};
use clap::Subcommand;

/// `outlink app`.
#[derive(Debug, Subcommand)]
pub(super) enum AppCommand {
    /// Add an app, with a password that is made and shown once
    Add(Box<add::Add>),
    /// List apps: how each proves itself, the mailbox that it sends through, and when it sent last
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Remove an app; one that is connected is refused at its next message
    Remove {
        /// The app
        #[arg(value_name = "NAME", value_parser = Name::parse)]
        name: Name,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Make another password beside the one that an app has; then drop the old one
    Password(password::Another),
    /// Read a password from standard input, or ask for it, and print the hash for the app's `password` key
    Hash,
}

/// Does what `outlink app` asks for.
pub(super) fn app(command: AppCommand) -> Outcome {
    match command {
        AppCommand::Add(add) => add::add(*add),
        AppCommand::List { json, config } => listing::apps(&config, json),
        AppCommand::Remove { name, yes, config } => remove::remove(&config, Kind::App, &name, yes),
        AppCommand::Password(another) => password::password(&another),
        AppCommand::Hash => hash::hash(),
    }
}
