//! `outlink link`: outgoing links, added by the questions of the provider's page, listed with how they stand, removed.

mod add;
mod ask;
mod told;

pub(super) use told::at_the_provider;

use super::{Config, Outcome, listing, remove};
use crate::{config::write::Kind, mail::Name};
use clap::Subcommand;

/// `outlink link`.
#[derive(Debug, Subcommand)]
pub(super) enum LinkCommand {
    /// Add an outgoing link; what no flag says is asked for at a terminal
    Add(Box<add::Add>),
    /// List links with their mailboxes: grant, access token, since when and by whom authorised, what is wrong
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Remove a link that no mailbox uses
    Remove {
        /// The link
        #[arg(value_name = "NAME", value_parser = Name::parse)]
        name: Name,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        config: Config,
    },
}

/// Does what `outlink link` asks for.
pub(super) fn link(command: LinkCommand) -> Outcome {
    match command {
        LinkCommand::Add(add) => add::add(*add),
        LinkCommand::List { json, config } => listing::links(&config, json),
        LinkCommand::Remove { name, yes, config } => remove::remove(&config, Kind::Link, &name, yes),
    }
}
