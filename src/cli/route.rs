//! `outlink route`: through which mailbox a message would go, step by step: as the configuration has it, and where a daemon runs, with
//! the mailboxes as they stand now.

use super::{
    Config, Exit, Failed, Outcome, check,
    out::{plain, say},
    reach, runtime, status,
};
use crate::{
    admin::{self, Whose},
    config::{App, Mailbox, Route, Settings},
    mail::{Address, Name},
    relay::route::{Fit, Mailboxes, NoMailbox, Rule, Senders, candidates, choose, fit, is_allowed},
};
use clap::Args;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

/// `outlink route`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The address in the From field
    #[arg(value_name = "FROM", value_parser = address)]
    from: Address,
    /// The envelope sender, where it is another one
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    sender: Option<Address>,
    /// The app that sends; all of them, where none is named
    #[arg(long, value_name = "NAME", value_parser = Name::parse)]
    app: Option<Name>,
    /// A recipient
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    to: Option<Address>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}

/// One question on the way, with its answer.
struct Step {
    question: &'static str,
    answer: bool,
    why: String,
}

/// The way of one app's mail.
struct Way<'a> {
    app: &'a App,
    steps: Vec<Step>,
    /// The mailbox that takes it, and those that stand in for it while it is held.
    mailboxes: Vec<(Arc<Mailbox>, Fit)>,
}

/// How mailboxes stand, where a daemon says so.
enum Now {
    /// By name; one that is missing has not sent yet.
    Known(BTreeMap<String, admin::Way>),
    /// Why not.
    Unknown(String),
}

impl Now {
    /// Asks the daemon, if one runs, about all mailboxes of these ways.
    fn ask(settings: &Settings, author: &Address, ways: &[Way<'_>]) -> Self {
        let client = match reach::connect(&settings.state_directory) {
            Ok(client) => client,
            Err(Failed(Exit::Unavailable, _)) => return Self::Unknown("no daemon runs".to_owned()),
            Err(Failed(_, why)) => return Self::Unknown(why),
        };
        let mut mailboxes: Vec<String> =
            ways.iter().flat_map(|way| &way.mailboxes).map(|(mailbox, _)| mailbox.name.to_string()).collect();
        mailboxes.sort();
        mailboxes.dedup();
        let whose = Whose { author: author.to_string(), mailboxes };
        let asked = runtime().and_then(|runtime| runtime.block_on(client.ways(&whose)).map_err(reach::failed));
        match asked {
            Ok(found) => Self::Known(found.ways.into_iter().map(|way| (way.mailbox.clone(), way)).collect()),
            Err(Failed(_, why)) => Self::Unknown(why),
        }
    }

    fn of(&self, mailbox: &Mailbox) -> Option<&admin::Way> {
        match self {
            Self::Known(ways) => ways.get(mailbox.name.as_str()),
            Self::Unknown(_) => None,
        }
    }

    /// The mailbox that takes a message now; where all are held it waits for the first.
    fn taking<'a>(&self, way: &'a Way<'_>) -> Option<&'a Arc<Mailbox>> {
        let mut mailboxes = way.mailboxes.iter().map(|(mailbox, _)| mailbox);
        let first = mailboxes.clone().next();
        mailboxes.find(|mailbox| self.of(mailbox).is_none_or(|way| !way.held)).or(first)
    }
}

/// Explains; a message that no app may send, or to nobody, is a finding.
pub(super) fn route(arguments: &Arguments) -> Outcome {
    let (settings, _) = check::load(&arguments.config)?;
    let senders = Senders { author: Some(&arguments.from), sender: Some(arguments.sender.as_ref().unwrap_or(&arguments.from)) };
    let apps: Vec<&Arc<App>> = match &arguments.app {
        None => settings.apps.values().collect(),
        Some(name) => vec![settings.apps.get(name).ok_or_else(|| no_app(&settings, name))?],
    };
    let ways: Vec<Way<'_>> = apps.into_iter().map(|app| way(&settings, app, senders, arguments.to.as_ref())).collect();
    let now = Now::ask(&settings, &arguments.from, &ways);
    let to = arguments.to.as_ref().map(|to| recipient(&settings, to));
    if arguments.json {
        let found: Vec<_> = ways.iter().map(|way| as_json(way, &now)).collect();
        let mut all = json!({"from": arguments.from.as_str(), "sender": senders.sender.map(Address::as_str), "apps": found,
            "daemon": matches!(now, Now::Known(_))});
        if let (Some(asked), Some(to)) = (&arguments.to, &to) {
            all["to"] = json!({"recipient": asked.as_str(), "address": to.as_ref().ok().map(|(address, _)| address.as_str()),
                "why": to.as_ref().map_or_else(Clone::clone, |(_, why)| why.clone())});
        }
        let text = serde_json::to_string_pretty(&all).map_err(|error| Failed(Exit::InputOutput, error.to_string()))?;
        say(text);
    } else {
        ways.iter().for_each(|way| print(way, &now));
        match &to {
            Some(Ok((address, why))) => say(format_args!("to {address}: {why}")),
            Some(Err(why)) => say(format_args!("refused: {why}")),
            None => {}
        }
        if let Now::Unknown(why) = &now {
            say(format_args!("by the configuration alone, as if every mailbox worked: {why}"));
        }
    }
    let is_good = ways.iter().any(|way| !way.mailboxes.is_empty()) && to.is_none_or(|to| to.is_ok());
    Ok(if is_good { Exit::Good } else { Exit::Findings })
}

fn no_app(settings: &Settings, name: &Name) -> Failed {
    let known: Vec<&str> = settings.apps.keys().map(Name::as_str).collect();
    Failed(Exit::Findings, format!("there is no app `{name}`; configured are {}", known.join(", ")))
}

/// Follows one app's mail.
fn way<'a>(settings: &'a Settings, app: &'a App, senders: Senders<'_>, to: Option<&Address>) -> Way<'a> {
    let mut steps = Vec::new();
    let mut step = |question, answer, why: String| steps.push(Step { question, answer, why });
    if !app.enabled {
        step("may the app send?", false, "enabled = false: 550".to_owned());
        return Way { app, steps, mailboxes: Vec::new() };
    }
    if let (Some(to), Some(patterns)) = (to, &app.allowed_recipients) {
        let allowed = patterns.matches(to);
        let why = if allowed { "its allowed-recipients names it" } else { "its allowed-recipients does not name it: 550" };
        step("may the app send to this recipient?", allowed, why.to_owned());
        if !allowed {
            return Way { app, steps, mailboxes: Vec::new() };
        }
    }
    let allowed = is_allowed(app, senders);
    match (&app.allowed_from, allowed) {
        (None, _) => step("may the app use this sender?", true, "it has no allowed-from: its mailbox decides".to_owned()),
        (Some(_), true) => step("may the app use this sender?", true, "its allowed-from names it".to_owned()),
        (Some(_), false) => step("may the app use this sender?", false, "its allowed-from does not name it: 550".to_owned()),
    }
    if !allowed {
        return Way { app, steps, mailboxes: Vec::new() };
    }
    if let Route::BySender { fallback } = &app.mailbox {
        by_sender(settings, (fallback.as_ref(), senders), &mut step);
    }
    let found = candidates(Mailboxes::of(settings), &app.mailbox, senders);
    for mailbox in &found {
        let fit = fit(mailbox, senders);
        let is_first = found.first().is_some_and(|first| first.name == mailbox.name);
        let question = if is_first { "may the mailbox send it?" } else { "may the next mailbox stand in?" };
        let answer = if is_first { fit != Fit::Refused } else { fit.may_stand_in() };
        step(question, answer, format!("{} <{}>: {}", mailbox.name, mailbox.address, does(fit, is_first)));
    }
    // Each that would take it when all before it are held.
    let mut mailboxes: Vec<(Arc<Mailbox>, Fit)> = Vec::new();
    let mut refused = None;
    while mailboxes.len() < found.len() {
        let is_named = |name: &Name| mailboxes.iter().any(|(mailbox, _)| mailbox.name == *name);
        match choose(&found, senders, is_named) {
            Ok(mailbox) if !is_named(&mailbox.name) => mailboxes.push((mailbox.clone(), fit(mailbox, senders))),
            Ok(_) => break,
            Err(why) => {
                refused = Some(why);
                break;
            }
        }
    }
    match refused {
        Some(NoMailbox::Nobodys) => {
            step("is there a mailbox?", false, "none belongs to this sender, and there is no fallback: 550".to_owned())
        }
        Some(NoMailbox::Refused) => step("is there a mailbox?", false, "none of them may send it: 550".to_owned()),
        None => {}
    }
    Way { app, steps, mailboxes }
}

/// The questions of an app that is routed by sender, up to the first yes.
fn by_sender(
    settings: &Settings,
    (fallback, senders): (Option<&Name>, Senders<'_>),
    step: &mut impl FnMut(&'static str, bool, String),
) {
    for rule in Rule::ALL {
        let question = match rule {
            Rule::Author => "is From a mailbox's address, or in its domain?",
            Rule::Sender => "is the envelope sender a mailbox's address, or in its domain?",
            Rule::AuthorAllowed => "does a mailbox's allowed-from name From?",
            Rule::SenderAllowed => "does a mailbox's allowed-from name the envelope sender?",
        };
        match rule.find(Mailboxes::of(settings), senders) {
            Some(mailbox) => return step(question, true, format!("{} <{}>", mailbox.name, mailbox.address)),
            None => step(question, false, "none".to_owned()),
        }
    }
    match fallback {
        Some(fallback) => step("has the app a fallback?", true, fallback.to_string()),
        None => step("has the app a fallback?", false, "write fallback = \"MAILBOX\"".to_owned()),
    }
}

fn does(fit: Fit, is_first: bool) -> &'static str {
    match fit {
        Fit::Allowed => "allowed, sent as it is",
        Fit::Kept if is_first => "not in its allowed-from, sent as it is (when-from-differs = \"keep\"): the provider decides",
        Fit::Kept => "not in its allowed-from, and it does not rewrite",
        Fit::Rewritten => "not in its allowed-from, rewritten to its address",
        Fit::Refused => "not in its allowed-from, refused",
    }
}

fn word(fit: Fit) -> &'static str {
    match fit {
        Fit::Allowed => "allowed",
        Fit::Kept => "keep",
        Fit::Rewritten => "rewrite",
        Fit::Refused => "refuse",
    }
}

/// Whom a recipient's mail goes to, and why; or why it is refused.
fn recipient(settings: &Settings, to: &Address) -> Result<(Address, String), String> {
    match (to.domain(), settings.aliases.of(to)) {
        (Some(_), _) => Ok((to.clone(), "it has a domain".to_owned())),
        (None, Some(address)) => Ok((address.clone(), format!("[aliases] names it for {to}"))),
        (None, None) => {
            Err(format!("{to} has no domain, and neither aliases.{to} nor aliases.\"*\" gives it an address: 550 5.1.3"))
        }
    }
}

fn print(way: &Way<'_>, now: &Now) {
    say(format_args!("app {} (mailbox {})", way.app.name, way.app.mailbox));
    for Step { question, answer, why } in &way.steps {
        say(format_args!("  {question} {}: {why}", if *answer { "yes" } else { "no" }));
    }
    for (mailbox, _) in &way.mailboxes {
        print_standing(mailbox, now);
    }
    match way.mailboxes.split_first() {
        None => say("  refused"),
        Some(((mailbox, _), others)) => {
            let others: Vec<&str> = others.iter().map(|(mailbox, _)| mailbox.name.as_str()).collect();
            let while_held = if others.is_empty() { String::new() } else { format!("; while it is held: {}", others.join(", ")) };
            match now.taking(way) {
                Some(taking) if taking.name != mailbox.name => {
                    let (first, now) = (&mailbox.name, taking);
                    say(format_args!("  goes through mailbox {} <{}> now, because {first} is held", now.name, now.address));
                }
                _ if now.of(mailbox).is_some_and(|way| way.held) => {
                    let none = if others.is_empty() { "" } else { ", and those that could stand in are held, too" };
                    say(format_args!("  waits for mailbox {} <{}>, which is held{none}", mailbox.name, mailbox.address));
                }
                _ => say(format_args!("  goes through mailbox {} <{}>{while_held}", mailbox.name, mailbox.address)),
            }
        }
    }
}

/// Says what is wrong with a mailbox, where something is.
fn print_standing(mailbox: &Mailbox, now: &Now) {
    let question = "  does the mailbox work now?";
    match now.of(mailbox) {
        Some(admin::Way { denied: Some(denied), .. }) => {
            say(format_args!(
                "{question} no: {}: the provider does not let it send as this address: {}",
                mailbox.name,
                plain(denied)
            ));
        }
        Some(admin::Way { held, standing, .. }) if *held || !standing.state.is_working() => {
            let state = status::state(standing, SystemTime::now());
            let soon = if *held { "" } else { "; after 5 minutes of it another one stands in" };
            say(format_args!("{question} no: {}: {state}{soon}", mailbox.name));
            status::print_why(standing, "  ");
        }
        Some(_) => say(format_args!("{question} yes: {}", mailbox.name)),
        None if matches!(now, Now::Known(_)) => say(format_args!("{question} yes: {} has not sent yet", mailbox.name)),
        None => {}
    }
}

fn as_json(way: &Way<'_>, now: &Now) -> Value {
    let steps: Vec<Value> =
        way.steps.iter().map(|it| json!({"question": it.question, "answer": it.answer, "why": it.why})).collect();
    let mailboxes: Vec<Value> = way
        .mailboxes
        .iter()
        .map(|(mailbox, fit)| {
            let stands = now.of(mailbox);
            json!({"mailbox": mailbox.name.as_str(), "address": mailbox.address.as_str(), "from": word(*fit),
                "held": stands.map(|it| it.held), "state": stands.map(|it| it.standing.state),
                "reason": stands.and_then(|it| it.denied.as_ref().or(it.standing.reason.as_ref()))})
        })
        .collect();
    json!({"app": way.app.name.as_str(), "route": way.app.mailbox.to_string(), "steps": steps, "mailboxes": mailboxes,
        "now": now.taking(way).map(|mailbox| mailbox.name.as_str())})
}
