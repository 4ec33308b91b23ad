//! `outlink link list`, `mailbox list` and `app list`.

use super::{
    Config, Exit, Failed, Outcome,
    change::Subject,
    check,
    out::{age, counted, plain, say},
    reach, status,
};
use crate::{
    admin::{AppSeen, LinkState, Links, MailboxState, links_of},
    config::{self, Settings, write::Kind},
    mail::Name,
    queue::Proof,
};
use serde_json::json;
use std::{collections::BTreeMap, time::SystemTime};

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
        let all: Vec<_> = links.iter().flat_map(|link| &link.mailboxes).collect();
        let domains: Vec<_> = links.iter().flat_map(|link| &link.domains).collect();
        return print_json(&json!({"mailboxes": all, "domains": domains}));
    }
    if links.iter().all(|link| link.mailboxes.is_empty() && link.domains.is_empty()) {
        say("there is no mailbox; `outlink mailbox add` makes one");
    }
    links.iter().flat_map(|link| &link.domains).for_each(|domain| status::print_domain(domain, ""));
    links.iter().flat_map(|link| &link.mailboxes).for_each(|mailbox| print_mailbox(mailbox, None, ""));
    Ok(Exit::Good)
}

/// Prints each app: as the configuration has it, and when it sent last.
pub(super) fn apps(config: &Config, json: bool) -> Outcome {
    let (settings, _) = check::load(config)?;
    let subject = Subject::read(config, Kind::App)?;
    let file = |name: &Name| subject.definitions.file(Kind::App, name).map(|file| file.display().to_string());
    let seen = seen(config, &settings);
    let seen = |name: &Name| seen.iter().find(|seen| seen.app == name.as_str());
    if json {
        let none = BTreeMap::new();
        let app = |app: &config::App| {
            let networks: Vec<_> = app.networks.iter().map(ToString::to_string).collect();
            let certificates: Vec<_> = app.certificates.iter().map(ToString::to_string).collect();
            let users: Vec<_> = app.unix_users.iter().map(|user| &user.name).collect();
            let last = seen(&app.name).map(|seen| {
                json!({"at": seen.last_sent, "client": seen.client, "listener": seen.listener, "encrypted": seen.encrypted, "proof": seen.proof})
            });
            json!({"app": app.name.as_str(), "enabled": app.enabled, "user": app.user, "mailbox": app.mailbox.to_string(),
                "passwords": app.passwords.len(), "networks": networks, "certificates": certificates, "unix_users": users,
                "delivery": app.delivery.map(|delivery| delivery.to_string()), "last": last,
                "sent_today": seen(&app.name).map_or(0, |seen| seen.sent_today),
                "changes": seen(&app.name).map(|seen| &seen.changes).unwrap_or(&none), "file": file(&app.name)})
        };
        let all: Vec<_> = settings.apps.values().map(|it| app(it)).collect();
        return print_json(&json!({"apps": all}));
    }
    if settings.apps.is_empty() {
        say("there is no app; `outlink app add` makes one");
    }
    for app in settings.apps.values() {
        let only = app.mailbox.named().first().filter(|_| !app.mailbox.has_choice());
        let address = only.and_then(|only| settings.mailboxes.get(only)).map(|mailbox| format!(" <{}>", mailbox.address));
        let address = address.unwrap_or_default();
        let off = if app.enabled { "" } else { "switched off, " };
        say(format_args!("app {}: {off}{}, mailbox {}{address}", app.name, proof(app), app.mailbox));
        say(format_args!("  {}", last_sent(seen(&app.name), SystemTime::now())));
        if let Some(seen) = seen(&app.name).filter(|seen| !seen.changes.is_empty()) {
            let changes: Vec<_> = seen.changes.iter().map(|(word, messages)| format!("{} {messages}", plain(word))).collect();
            say(format_args!("  messages changed: {}", changes.join(", ")));
        }
        if let Some(file) = file(&app.name) {
            say(format_args!("  in {file}"));
        }
    }
    Ok(Exit::Good)
}

/// What the daemon or its store knows of apps; where neither can be asked, the configuration alone is shown.
fn seen(config: &Config, settings: &Settings) -> Vec<AppSeen> {
    if !settings.state_directory.exists() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let asked = reach::work(config, async |reached| {
        found = reached.apps().await?.apps;
        Ok(Exit::Good)
    });
    if let Err(Failed(_, why)) = asked {
        eprintln!("outlink: note: it is not known when the apps sent last: {why}");
    }
    found
}

fn last_sent(seen: Option<&AppSeen>, now: SystemTime) -> String {
    let Some(AppSeen { last_sent, client, listener, encrypted, sent_today, proof, .. }) = seen else {
        return "never sent".to_owned();
    };
    let how = if *encrypted { "with TLS" } else { "without TLS" };
    let today = counted(*sent_today, "message", "messages");
    let (client, listener) = (plain(client), plain(listener));
    let ago = age(last_sent, now);
    let proof = proof.as_deref().and_then(Proof::named).map_or("", |proof| match proof {
        Proof::Password => ", by password",
        Proof::Certificate => ", by certificate",
        Proof::UnixUser => ", as a user of this machine",
        Proof::Network => ", by address",
        Proof::DroppedFile => ", by a file in the drop directory",
    });
    format!("last sent {ago} ago ({last_sent}) from {client}{proof}, listener {listener}, {how}; {today} in 24 hours")
}

fn proof(app: &config::App) -> String {
    let password = match app.passwords.len() {
        0 => None,
        1 => Some(format!("user {} with a password", app.user)),
        many => Some(format!("user {} with {many} passwords", app.user)),
    };
    let list =
        |before: &str, all: Vec<String>, after: &str| (!all.is_empty()).then(|| format!("{before}{}{after}", all.join(", ")));
    let certificate = list("certificate ", app.certificates.iter().map(ToString::to_string).collect(), "");
    let user = list("processes of ", app.unix_users.iter().map(|user| user.name.clone()).collect(), "");
    let address = list("from ", app.networks.iter().map(ToString::to_string).collect(), " without one");
    [password, certificate, user, address].into_iter().flatten().collect::<Vec<_>>().join(", or ")
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
    let until = |what: &str, time: Option<&String>| time.map(|time| format!(", {what} until {time}")).unwrap_or_default();
    let secret = until("client secret", link.client_secret_expires.as_ref());
    let certificate = until("certificate", link.certificate_expires.as_ref());
    let none = if link.mailboxes.is_empty() && link.domains.is_empty() { "; no mailbox uses it" } else { "" };
    let client = if link.client_id.is_empty() { String::new() } else { format!(", client {}", plain(&link.client_id)) };
    let LinkState { link: name, provider, grant, standing, .. } = link;
    let state = status::state(standing, SystemTime::now());
    say(format_args!("link {name}: {provider}, {grant}{tenant}{client}{secret}{certificate}: {state}{none}"));
    status::print_why(standing, "");
    link.domains.iter().for_each(|domain| status::print_domain(domain, "  "));
    link.mailboxes.iter().for_each(|mailbox| print_mailbox(mailbox, Some(link), "  "));
}

/// A mailbox, below its link or alone.
fn print_mailbox(mailbox: &MailboxState, below: Option<&LinkState>, indent: &str) {
    let MailboxState { mailbox: name, address, standing, .. } = mailbox;
    let now = SystemTime::now();
    let of = if below.is_none() { format!(", link {}", mailbox.link) } else { String::new() };
    let until = |what: &str, time: Option<&String>| time.map(|time| format!(", {what} until {time}")).unwrap_or_default();
    let access = until("access token", mailbox.access_token_until.as_ref());
    let refresh = until("refresh token", mailbox.refresh_token_expires.as_ref());
    say(format_args!("{indent}mailbox {name} <{address}>{of}: {}{access}{refresh}", status::state(standing, now)));
    say(format_args!("{indent}  {}", authorised(mailbox)));
    // What the link's own lines have just said is not said for each of its mailboxes.
    if below.is_none_or(|link| link.standing.reason != standing.reason) {
        status::print_why(standing, indent);
    }
    say(format_args!("{indent}  queue: {}", status::tallies([&mailbox.waiting, &mailbox.held, &mailbox.failed], now)));
    match mailbox.apps.as_slice() {
        [] => say(format_args!("{indent}  no app sends through it")),
        apps => say(format_args!("{indent}  {}: {}", counted(apps.len() as u64, "app", "apps"), apps.join(", "))),
    }
}

fn authorised(mailbox: &MailboxState) -> String {
    match (mailbox.grant.as_str(), &mailbox.authorised_since) {
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
