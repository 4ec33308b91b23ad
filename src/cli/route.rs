//! `outlink route`: through which mailbox a message would go, step by step, as the configuration has it.

use super::{Config, Exit, Failed, Outcome, check, out::say};
use crate::{
    config::{App, Mailbox, Route, Settings},
    mail::{Address, Name},
    relay::route::{Fit, Mailboxes, NoMailbox, Rule, Senders, candidates, choose, fit, is_allowed},
};
use clap::Args;
use serde_json::{Value, json};
use std::sync::Arc;

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

/// Explains; a message that no app may send, or to nobody, is a finding.
pub(super) fn route(arguments: &Arguments) -> Outcome {
    let (settings, _) = check::load(&arguments.config)?;
    let senders = Senders { author: Some(&arguments.from), sender: Some(arguments.sender.as_ref().unwrap_or(&arguments.from)) };
    let apps: Vec<&Arc<App>> = match &arguments.app {
        None => settings.apps.values().collect(),
        Some(name) => vec![settings.apps.get(name).ok_or_else(|| no_app(&settings, name))?],
    };
    let ways: Vec<Way<'_>> = apps.into_iter().map(|app| way(&settings, app, senders)).collect();
    let to = arguments.to.as_ref().map(|to| recipient(&settings, to));
    if arguments.json {
        let found: Vec<_> = ways.iter().map(as_json).collect();
        let mut all = json!({"from": arguments.from.as_str(), "sender": senders.sender.map(Address::as_str), "apps": found});
        if let (Some(asked), Some(to)) = (&arguments.to, &to) {
            all["to"] = json!({"recipient": asked.as_str(), "address": to.as_ref().ok().map(|(address, _)| address.as_str()),
                "why": to.as_ref().map_or_else(Clone::clone, |(_, why)| why.clone())});
        }
        let text = serde_json::to_string_pretty(&all).map_err(|error| Failed(Exit::InputOutput, error.to_string()))?;
        say(text);
    } else {
        ways.iter().for_each(print);
        match &to {
            Some(Ok((address, why))) => say(format_args!("to {address}: {why}")),
            Some(Err(why)) => say(format_args!("refused: {why}")),
            None => {}
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
fn way<'a>(settings: &'a Settings, app: &'a App, senders: Senders<'_>) -> Way<'a> {
    let mut steps = Vec::new();
    let mut step = |question, answer, why: String| steps.push(Step { question, answer, why });
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

fn print(way: &Way<'_>) {
    say(format_args!("app {} (mailbox {})", way.app.name, way.app.mailbox));
    for Step { question, answer, why } in &way.steps {
        say(format_args!("  {question} {}: {why}", if *answer { "yes" } else { "no" }));
    }
    match way.mailboxes.split_first() {
        None => say("  refused"),
        Some(((mailbox, _), others)) => {
            let others: Vec<&str> = others.iter().map(|(mailbox, _)| mailbox.name.as_str()).collect();
            let while_held = if others.is_empty() { String::new() } else { format!("; while it is held: {}", others.join(", ")) };
            say(format_args!("  goes through mailbox {} <{}>{while_held}", mailbox.name, mailbox.address));
        }
    }
}

fn as_json(way: &Way<'_>) -> Value {
    let steps: Vec<Value> =
        way.steps.iter().map(|it| json!({"question": it.question, "answer": it.answer, "why": it.why})).collect();
    let mailboxes: Vec<Value> = way
        .mailboxes
        .iter()
        .map(|(mailbox, fit)| json!({"mailbox": mailbox.name.as_str(), "address": mailbox.address.as_str(), "from": word(*fit)}))
        .collect();
    json!({"app": way.app.name.as_str(), "route": way.app.mailbox.to_string(), "steps": steps, "mailboxes": mailboxes})
}
