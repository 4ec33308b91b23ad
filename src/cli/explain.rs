//! `outlink explain`: what a reply, an error or an advice's name means, what to do, and what outlink does meanwhile. The text itself is
//! not repeated: people paste tokens.

use super::{Config, Exit, Failed, Outcome, check, out::say};
use crate::{
    config::{Link, Mailbox, Settings},
    mail::Name,
    provider::{self, Explanation, Hints, LONGEST_EXPLAINED, Meaning, Provider, Unknown, cloud_names, commands},
    smtp::Step,
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::io::{IsTerminal, Read, stdin};

/// `outlink explain`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What was said: a code, a reply with anything around it, an error, the address in the browser, the name of an advice; `-` or
    /// nothing reads standard input
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// Fill in the names and ids of this mailbox and its link
    #[arg(long, value_name = "NAME", value_parser = Name::parse, conflicts_with = "link")]
    mailbox: Option<Name>,
    /// Fill in the names and ids of this link
    #[arg(long, value_name = "NAME", value_parser = Name::parse)]
    link: Option<Name>,
    /// Who said it, where the text does not show it
    #[arg(long, value_enum)]
    provider: Option<Who>,
    /// The command that a reply answers, where the text does not show it
    #[arg(long, value_enum)]
    step: Option<Command>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

/// Providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Who {
    Google,
    Microsoft,
    Custom,
}

impl From<Who> for Provider {
    fn from(who: Who) -> Self {
        match who {
            Who::Google => Self::Google,
            Who::Microsoft => Self::Microsoft,
            Who::Custom => Self::Custom,
        }
    }
}

/// Commands that a reply may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Command {
    /// before any command
    Greeting,
    Ehlo,
    Starttls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// the final dot, or the last BDAT
    Message,
}

impl From<Command> for Step {
    fn from(command: Command) -> Self {
        match command {
            Command::Greeting => Self::Greeting,
            Command::Ehlo => Self::Ehlo,
            Command::Starttls => Self::Tls,
            Command::Auth => Self::Auth,
            Command::Mail => Self::Mail,
            Command::Rcpt => Self::Rcpt,
            Command::Data => Self::Data,
            Command::Message => Self::Body,
        }
    }
}

/// Where each advice has its place.
const PAGE: &str = "docs/troubleshooting.md";

/// Explains; what nobody knows is a finding.
pub(super) fn explain(arguments: &Arguments) -> Outcome {
    let text = match arguments.text.as_slice() {
        [] => read()?,
        [dash] if dash == "-" => read()?,
        words => words.join(" "),
    };
    let known = Known::of(arguments)?;
    let provider = arguments.provider.map(Provider::from).or_else(|| known.provider());
    let found = provider::explain(&text, Hints { provider, step: arguments.step.map(Step::from) });
    if arguments.json {
        let text = serde_json::to_string_pretty(&as_json(&found, &known.names()));
        say(text.map_err(|error| Failed(Exit::InputOutput, error.to_string()))?);
    } else {
        print(&found, &known.names());
    }
    if found.holds_secret {
        eprintln!(
            "outlink: the text holds what looks like a token, a password or a key; nothing of it was kept or repeated. Whoever else \
             has seen it can use it: revoke it (`outlink grant revoke MAILBOX`), or make a new secret"
        );
    }
    Ok(if found.meanings.is_empty() { Exit::Findings } else { Exit::Good })
}

/// Standard input, as far as it is read at all.
fn read() -> Result<String, Failed> {
    if stdin().is_terminal() {
        eprintln!("outlink: paste the text, then press Ctrl-D on a line of its own");
    }
    let mut octets = Vec::new();
    let read = stdin().lock().take(LONGEST_EXPLAINED as u64).read_to_end(&mut octets);
    read.map_err(|error| Failed(Exit::InputOutput, format!("cannot read standard input: {error}")))?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// Whose names and ids are filled in.
#[derive(Debug, Default)]
struct Known {
    settings: Option<Settings>,
    mailbox: Option<Name>,
    link: Option<Name>,
}

impl Known {
    fn of(Arguments { mailbox, link, config, .. }: &Arguments) -> Result<Self, Failed> {
        let (mailbox, link) = (mailbox.clone(), link.clone());
        if mailbox.is_none() && link.is_none() {
            return Ok(Self::default());
        }
        let settings = match check::load(config) {
            Ok((settings, _)) => settings,
            Err(Failed(_, faults)) => {
                eprintln!("outlink: the configuration has faults, so its ids are shown as <client-id>, <tenant> …\n{faults}");
                return Ok(Self { settings: None, mailbox, link });
            }
        };
        let missing = |kind: &str, name: &Name, known: Vec<&str>| {
            Err(Failed(Exit::Usage, format!("no {kind} is named {name}; there are: {}", known.join(", "))))
        };
        match (&mailbox, &link) {
            (Some(name), _) if !settings.mailboxes.contains_key(name) => {
                missing("mailbox", name, settings.mailboxes.keys().map(Name::as_str).collect())
            }
            (_, Some(name)) if !settings.links.contains_key(name) => {
                missing("link", name, settings.links.keys().map(Name::as_str).collect())
            }
            _ => Ok(Self { settings: Some(settings), mailbox, link }),
        }
    }

    fn mailbox(&self) -> Option<&Mailbox> {
        self.settings.as_ref()?.mailboxes.get(self.mailbox.as_ref()?).map(|mailbox| &**mailbox)
    }

    fn link(&self) -> Option<&Link> {
        let name = self.link.as_ref().or_else(|| self.mailbox().map(|mailbox| &mailbox.link))?;
        self.settings.as_ref()?.links.get(name).map(|link| &**link)
    }

    fn provider(&self) -> Option<Provider> {
        self.link().map(|link| link.provider)
    }

    /// What stands for the placeholders of advice.
    fn names(&self) -> Vec<(&'static str, &str)> {
        let mut names = Vec::new();
        names.extend(self.mailbox.as_ref().map(|mailbox| ("mailbox", mailbox.as_str())));
        names.extend(self.link.as_ref().map(|link| ("link", link.as_str())));
        names.extend(self.mailbox().map(|mailbox| ("address", mailbox.address.as_str())));
        if let Some(link) = self.link() {
            names.extend([("link", link.name.as_str()), ("client-id", &link.client_id)]);
            names.extend(link.tenant.as_deref().map(|tenant| ("tenant", tenant)));
            names.extend(cloud_names(link.cloud));
        }
        names
    }
}

fn print(found: &Explanation, names: &[(&str, &str)]) {
    if let Some((first, others)) = found.meanings.split_first() {
        print_meaning(first, names);
        if !others.is_empty() {
            say("\nIt may also be:");
        }
        for meaning in others {
            let [cause, _] = meaning.advice.parts(names);
            let when = meaning
                .if_text
                .map(|words| format!(", if the text has \"{}\"", words.replace('|', "\" or \"")))
                .unwrap_or_default();
            say(format_args!("  {} ({}{when}): {cause}", meaning.advice.name, meaning.said));
        }
        if let Some(other) = others.first() {
            say(format_args!("  `outlink explain {}` tells what to do then, and so on", other.advice.name));
        }
    }
    for Unknown { code, lookup } in &found.unknown {
        say(format_args!("{code}: outlink has no advice about it"));
        lookup.iter().for_each(|lookup| say(format_args!("  Microsoft explains it: {lookup}")));
    }
    if found.meanings.is_empty() && found.unknown.is_empty() {
        say("nothing in this text is known to outlink: no reply code, no error of a sign-in, no failure of network or TLS");
        say("  to do: give the provider's own words, from `outlink trace ID`, `outlink status` or the log (reply=, reason=)");
    }
    let marks = &found.marks;
    for (what, mark) in
        [("correlation id", &marks.correlation_id), ("trace id", &marks.trace_id), ("timestamp", &marks.timestamp)]
    {
        mark.iter().for_each(|mark| say(format_args!("  {what}: {mark}")));
    }
    if let Some(step) = by_marks(found) {
        say(format_args!("  {step}"));
    }
}

/// What the ids of a request at Microsoft are good for.
fn by_marks(found: &Explanation) -> Option<&'static str> {
    let unknown = found.meanings.is_empty() && found.unknown.iter().any(|unknown| unknown.lookup.is_some());
    match (unknown, found.marks.is_empty()) {
        (_, false) => Some(
            "with these an administrator finds the request in the Entra admin centre under Monitoring, Sign-in logs (also for service \
             principals), and Microsoft's support in its own",
        ),
        (true, true) => Some(
            "the log line of outlink has the correlation id by which the Entra admin centre shows the sign-in under Monitoring, Sign-in \
             logs",
        ),
        (false, true) => None,
    }
}

fn print_meaning(meaning: &Meaning, names: &[(&str, &str)]) {
    let [cause, step] = meaning.advice.parts(names);
    let who = meaning.provider.map(|provider| format!(", {provider}")).unwrap_or_default();
    let said = if meaning.said == meaning.advice.name { String::new() } else { format!(" ({}{who})", meaning.said) };
    say(format_args!("{}{said}", meaning.advice.name));
    say(format_args!("  cause: {cause}"));
    say(format_args!("  to do: {step}"));
    commands(&step).for_each(|command| say(format_args!("    {command}")));
    if let Some(consequence) = meaning.consequence {
        say(format_args!("  meanwhile: {}", consequence.words()));
        match consequence.state() {
            Some(state) => say(format_args!("  state of the {}: {state}", consequence.subject())),
            None => say("  state: link and mailbox stay as they are"),
        }
    }
    say(format_args!("  more: {PAGE}#{}", meaning.advice.name));
}

fn as_json(found: &Explanation, names: &[(&str, &str)]) -> Value {
    let meaning = |meaning: &Meaning| {
        let [cause, step] = meaning.advice.parts(names);
        json!({
            "advice_name": meaning.advice.name,
            "said": meaning.said,
            "provider": meaning.provider.map(|provider| provider.to_string()),
            "cause": cause,
            "step": step,
            "commands": commands(&step).collect::<Vec<_>>(),
            "meanwhile": meaning.consequence.map(|consequence| consequence.words()),
            "subject": meaning.consequence.map(|consequence| consequence.subject()),
            "state": meaning.consequence.and_then(|consequence| consequence.state()),
            "if_text": meaning.if_text.map(|words| words.split('|').collect::<Vec<_>>()),
            "more": format!("{PAGE}#{}", meaning.advice.name),
        })
    };
    let unknown = |unknown: &Unknown| json!({"code": unknown.code, "lookup": unknown.lookup});
    json!({
        "known": !found.meanings.is_empty(),
        "meanings": found.meanings.iter().map(meaning).collect::<Vec<_>>(),
        "unknown": found.unknown.iter().map(unknown).collect::<Vec<_>>(),
        "correlation_id": found.marks.correlation_id,
        "trace_id": found.marks.trace_id,
        "timestamp": found.marks.timestamp,
        "holds_secret": found.holds_secret,
    })
}
