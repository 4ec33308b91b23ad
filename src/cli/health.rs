//! `outlink health`: what is not ready, one line each, and an exit status for who watches this machine.

use super::{
    Config, Exit, Failed, Outcome, check,
    out::{age, counted, plain, say},
    reach::{connect, failed},
    runtime,
};
use crate::{
    admin::{Health, Stands},
    config,
    mail::{Name, State},
};
use clap::Args;
use serde_json::json;
use std::time::SystemTime;

/// `outlink health`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only these links, with their mailboxes, and mailboxes
    #[arg(value_name = "NAME", value_parser = Name::parse_mailbox)]
    names: Vec<Name>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

/// Tells how links and mailboxes stand; status 1 where somebody has to look.
pub(super) fn health(arguments: &Arguments) -> Outcome {
    let client = connect(&config::state_directory(arguments.config.file()).map_err(check::faulty)?)?;
    let Health { standings } = runtime()?.block_on(client.health()).map_err(failed)?;
    let standings = chosen(standings, &arguments.names)?;
    let is_good = standings.iter().all(Stands::is_good);
    match arguments.json {
        true => say(json!({"healthy": is_good, "standings": standings})),
        false => print(&standings, SystemTime::now()),
    }
    Ok(if is_good { Exit::Good } else { Exit::Findings })
}

/// Those that were asked for.
fn chosen(all: Vec<Stands>, names: &[Name]) -> Result<Vec<Stands>, Failed> {
    let is_mailbox = |mailbox: &str, name: &Name| Name::parse_mailbox(mailbox).is_ok_and(|mailbox| mailbox.is_of(name));
    let is_of = |stands: &Stands, name: &Name| {
        stands.link == name.as_str() || stands.mailbox.as_deref().is_some_and(|mailbox| is_mailbox(mailbox, name))
    };
    if let Some(name) = names.iter().find(|name| !all.iter().any(|stands| is_of(stands, name))) {
        return Err(Failed(Exit::Findings, format!("there is no link and no mailbox {name}; `outlink link list` names them")));
    }
    let is_chosen = |stands: &Stands| names.is_empty() || names.iter().any(|name| is_of(stands, name));
    Ok(all.into_iter().filter(is_chosen).collect())
}

/// What needs a person first; a list that is quiet in one line.
fn print(standings: &[Stands], now: SystemTime) {
    let (mut told, ready): (Vec<_>, Vec<_>) = standings.iter().partition(|stands| stands.standing.state != State::Ready);
    told.sort_by_key(|stands| std::cmp::Reverse((!stands.is_good(), stands.standing.state)));
    told.iter().for_each(|stands| say(line(stands, now)));
    let mailboxes = ready.iter().filter(|stands| stands.mailbox.is_some()).count();
    let links = counted((ready.len() - mailboxes) as u64, "link", "links");
    say(format_args!("ready: {links}, {}", counted(mailboxes as u64, "mailbox", "mailboxes")));
}

fn line(Stands { link, mailbox, standing }: &Stands, now: SystemTime) -> String {
    let what = mailbox.as_ref().map_or_else(|| format!("link {link}"), |mailbox| format!("mailbox {mailbox}"));
    let time = match (standing.state, &standing.until, &standing.since) {
        (State::Expiring, Some(until), _) => format!(" (ends on {until})"),
        (_, _, Some(since)) => format!(" for {}", age(since, now)),
        _ => String::new(),
    };
    let text = |text: &Option<String>| text.as_deref().map(|text| plain(text).into_owned());
    let why = text(&standing.reason).map(|reason| format!(": {reason}")).unwrap_or_default();
    let to_do = text(&standing.advice).map(|advice| format!("; to do: {advice}")).unwrap_or_default();
    format!("{what} {}{time}{why}{to_do}", standing.state)
}
