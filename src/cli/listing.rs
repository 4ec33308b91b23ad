//! `outlink link list`, `mailbox list` and `app list`.

use super::{
    Config, Exit, Failed, Outcome,
    change::Subject,
    check,
    out::{counted, plain, say},
    reach, status,
};
use crate::{
    admin::{LinkState, Links, MailboxState, links_of},
    config::{self, Settings, write::Kind},
    mail::Name,
};
use serde_json::json;
use std::time::SystemTime;

/// Prints each link with its mailboxes.
pub(super) fn links(config: &Config, json: bool) -> Outcome {
    let Links { links } = now(config)?;
    if json {
        return print_json(&Links { links });
    }
    if links.is_empty() {
        say("there is no link; `outlink link add` makes one");
    }
    links.iter().for_each(print_link);
    Ok(Exit::Good)
}

/// Prints each mailbox.
pub(super) fn mailboxes(config: &Config, json: bool) -> Outcome {
    let Links { links } = now(config)?;
    if json {
        let mailbox = |link: &LinkState, mailbox: &MailboxState| {
            let mut value = serde_json::to_value(mailbox).unwrap_or_default();
            value["link"] = link.link.clone().into();
            value["grant"] = link.grant.clone().into();
            value
        };
        let all: Vec<_> = links.iter().flat_map(|link| link.mailboxes.iter().map(|it| mailbox(link, it))).collect();
        return print_json(&json!({"mailboxes": all}));
    }
    if links.iter().all(|link| link.mailboxes.is_empty()) {
        say("there is no mailbox; `outlink mailbox add` makes one");
    }
    for link in &links {
        link.mailboxes.iter().for_each(|mailbox| print_mailbox(link, mailbox, ""));
    }
    Ok(Exit::Good)
}

/// Prints each app, as the configuration has it.
pub(super) fn apps(config: &Config, json: bool) -> Outcome {
    let (settings, _) = check::load(config)?;
    let subject = Subject::read(config, Kind::App)?;
    let file = |name: &Name| subject.definitions.file(Kind::App, name).map(|file| file.display().to_string());
    if json {
        let app = |app: &config::App| {
            let networks: Vec<_> = app.networks.iter().map(ToString::to_string).collect();
            json!({"app": app.name.as_str(), "user": app.user, "mailbox": app.mailbox.as_str(), "passwords": app.passwords.len(),
                "networks": networks, "delivery": app.delivery.map(|delivery| delivery.to_string()), "file": file(&app.name)})
        };
        let all: Vec<_> = settings.apps.values().map(|it| app(it)).collect();
        return print_json(&json!({"apps": all}));
    }
    if settings.apps.is_empty() {
        say("there is no app; `outlink app add` makes one");
    }
    for app in settings.apps.values() {
        let address = settings.mailboxes.get(&app.mailbox).map(|mailbox| format!(" <{}>", mailbox.address)).unwrap_or_default();
        say(format_args!("app {}: {}, mailbox {}{address}", app.name, proof(app), app.mailbox));
        if let Some(file) = file(&app.name) {
            say(format_args!("  in {file}"));
        }
    }
    Ok(Exit::Good)
}

fn proof(app: &config::App) -> String {
    let networks: Vec<_> = app.networks.iter().map(ToString::to_string).collect();
    let password = match app.passwords.len() {
        0 => None,
        1 => Some(format!("user {} with a password", app.user)),
        many => Some(format!("user {} with {many} passwords", app.user)),
    };
    let address = (!networks.is_empty()).then(|| format!("from {} without one", networks.join(", ")));
    password.into_iter().chain(address).collect::<Vec<_>>().join(", or ")
}

/// What the daemon says; while none runs, what its store has; where there never was one, the configuration alone.
fn now(config: &Config) -> Result<Links, Failed> {
    let state_directory = config::state_directory(config.file()).map_err(check::faulty)?;
    if !state_directory.exists() {
        return check::load(config).map(|(settings, _): (Settings, _)| links_of(&settings));
    }
    let mut found = Links::default();
    reach::work(config, async |reached| {
        found = reached.links().await?;
        Ok(Exit::Good)
    })?;
    Ok(found)
}

fn print_json(value: &impl serde::Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failed(Exit::InputOutput, error.to_string()))?;
    say(text);
    Ok(Exit::Good)
}

fn print_link(link: &LinkState) {
    let tenant = link.tenant.as_ref().map(|tenant| format!(", tenant {tenant}")).unwrap_or_default();
    let expires = link.client_secret_expires.as_ref().map(|date| format!(", client secret until {date}")).unwrap_or_default();
    let none = if link.mailboxes.is_empty() { "; no mailbox uses it" } else { "" };
    let client = if link.client_id.is_empty() { String::new() } else { format!(", client {}", plain(&link.client_id)) };
    say(format_args!("link {}: {}, {}{tenant}{client}{expires}{none}", link.link, link.provider, link.grant));
    link.mailboxes.iter().for_each(|mailbox| print_mailbox(link, mailbox, "  "));
}

fn print_mailbox(link: &LinkState, mailbox: &MailboxState, indent: &str) {
    let MailboxState { mailbox: name, address, state, .. } = mailbox;
    let of = if indent.is_empty() { format!(", link {}", link.link) } else { String::new() };
    let token = mailbox.access_token_until.as_ref().map(|until| format!(", access token until {until}")).unwrap_or_default();
    say(format_args!("{indent}mailbox {name} <{address}>{of}: {}{token}", told(state)));
    say(format_args!("{indent}  {}", authorised(link, mailbox)));
    let line = |word: &str, text: Option<&String>| {
        text.into_iter().for_each(|text| say(format_args!("{indent}  {word}: {}", plain(text))));
    };
    line("why", mailbox.reason.as_ref());
    line("to do", mailbox.advice.as_ref());
    if let Some(hold) = &mailbox.hold {
        line("held", Some(&hold.reason).filter(|reason| Some(*reason) != mailbox.reason.as_ref()));
        line("to do", hold.advice.as_ref().filter(|advice| Some(*advice) != mailbox.advice.as_ref()));
    }
    let now = SystemTime::now();
    say(format_args!("{indent}  queue: {}", status::tallies([&mailbox.waiting, &mailbox.held, &mailbox.failed], now)));
    match mailbox.apps.as_slice() {
        [] => say(format_args!("{indent}  no app sends through it")),
        apps => say(format_args!("{indent}  {}: {}", counted(apps.len() as u64, "app", "apps"), apps.join(", "))),
    }
}

fn told(state: &str) -> &str {
    match state {
        "none" => "no token needed yet",
        "ready" => "ready",
        "failing" => "renewing fails, it is tried again",
        "needs-consent" => "needs a new consent",
        "needs-repair" => "needs repair",
        other => other,
    }
}

fn authorised(link: &LinkState, mailbox: &MailboxState) -> String {
    match (link.grant.as_str(), &mailbox.authorised_since) {
        ("client-credentials" | "service-account", _) => "authorised by the application's own right".to_owned(),
        (_, None) => format!("not authorised yet: outlink authorize {}", mailbox.mailbox),
        (_, Some(since)) => {
            let by = mailbox.authorised_by.as_ref().map(|by| format!(" by {}", plain(by))).unwrap_or_default();
            let account = mailbox.account.as_ref().map(|account| format!(" as {}", plain(account))).unwrap_or_default();
            let origin = mailbox.origin.as_ref().map(|origin| format!(" ({origin})")).unwrap_or_default();
            format!("authorised since {since}{by}{account}{origin}")
        }
    }
}
