//! `[notify.NAME]`: a hook, run when a link or a mailbox changes its state: a command, a webhook, or a mail.

use super::{
    mailbox::reference,
    proxy, secrets,
    settings::{Action, DomainMailbox, Hook, Mailbox, Only, Proxy, SecretSource, Webhook},
    table::{Table, Wrong},
    words,
};
use crate::mail::{Name, State};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    ops::RangeInclusive,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use url::Url;

/// What a hook may do; one of them stands in each.
const ACTIONS: [&str; 3] = ["command", "url", "to"];
/// The keys that belong to one of them.
const COMPANIONS: [(&str, &str); 6] = [
    ("secret", "url"),
    ("ca-file", "url"),
    ("proxy", "url"),
    ("proxy-user", "url"),
    ("proxy-password", "url"),
    ("mailbox", "to"),
];
/// A second is enough for a program that only passes on; five minutes outlast every gateway's own patience.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// What a pager or a chat server needs on a bad day.
const USUAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Recipients of a hook's mail; more are a list, and a list has an address.
const MOST_RECIPIENTS: usize = 50;
/// What `ProtectHome=` of the unit hides.
const HIDDEN: [&str; 3] = ["/home", "/root", "/run/user"];
/// What begins a secret that is written as base64 (Standard Webhooks, "Signature scheme").
pub(crate) const BASE64_SECRET: &str = "whsec_";

/// What the text declares, besides the hooks.
pub(super) struct Declared<'a> {
    pub(super) links: &'a BTreeSet<Name>,
    pub(super) mailboxes: &'a BTreeSet<Name>,
    /// Those without a fault.
    pub(super) good: &'a BTreeMap<Name, Arc<Mailbox>>,
    pub(super) domains: &'a BTreeMap<Name, Arc<DomainMailbox>>,
}

/// Reads one.
pub(super) fn read(name: Name, table: &mut Table<'_>, declared: &Declared<'_>) -> Option<Hook> {
    let stand: Vec<_> = ACTIONS.into_iter().filter(|key| table.has(key)).collect();
    check_keys(table, &stand);
    let states = states(table);
    let only = only(table, declared);
    let timeout = table.duration("timeout", TIMEOUT).unwrap_or(USUAL_TIMEOUT);
    let command = table.list("command", word);
    let webhook = take_webhook(table);
    let to = table.list("to", words::address);
    let mailbox = table.text("mailbox").and_then(|mailbox| reference(table, "mailbox", &mailbox, declared.mailboxes));
    table.finish();
    let action = match stand[..] {
        ["command"] => check_command(table, command?),
        ["url"] => webhook.map(|webhook| Action::Webhook(Box::new(webhook))),
        ["to"] => check_recipients(table, to?).zip(mailbox).map(|(to, mailbox)| Action::Mail { to, mailbox }),
        _ => None,
    };
    if let Some(Action::Mail { mailbox, .. }) = &action {
        check_way(table, mailbox, declared);
    }
    Some(Hook { name, action: action?, states: states?, only: only?, timeout })
}

/// One action, and nothing that belongs to another.
fn check_keys(table: &Table<'_>, stand: &[&'static str]) {
    match stand {
        [] => {
            let hint = "add command = [\"/path/of/a/program\"], url = \"https://…\" with a secret, or to = [\"ops@example.com\"] with a mailbox";
            table.fault_here(Wrong::new("this hook does nothing", hint));
        }
        [_] => {}
        [first, second, ..] => {
            let hint = "a hook does one thing; give the other a table of its own";
            table.fault(second, Wrong::new(format!("`{first}` stands here, too"), hint));
        }
    }
    for (key, action) in COMPANIONS {
        if !stand.is_empty() && table.has(key) && !stand.contains(&action) {
            table.fault(key, Wrong::new(format!("there is no `{action}` that this would be for"), "take it out"));
        }
    }
    if stand == ["to"] && !table.has("mailbox") {
        table.missing("mailbox", "name the mailbox that sends it: best one of another link than those that it speaks of");
    }
}

fn states(table: &mut Table<'_>) -> Option<BTreeSet<State>> {
    if !table.has("states") {
        return Some(State::ALL.into());
    }
    never_empty(table, "states", "name a state, or leave the key out");
    let known = State::ALL.map(|state| format!("`{state}`")).join(", ");
    let state = |word: &str| State::named(word).ok_or_else(|| Wrong::from(format!("`{word}` is none of {known}")));
    table.list("states", state).map(|states| states.into_iter().collect())
}

fn only(table: &mut Table<'_>, declared: &Declared<'_>) -> Option<Option<Only>> {
    let (links, mailboxes) = (table.has("links"), table.has("mailboxes"));
    for key in ["links", "mailboxes"] {
        never_empty(table, key, "name one, or leave the key out");
    }
    let names = |table: &mut Table<'_>, key, known: &BTreeSet<Name>, kind: &str| {
        let hint = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        table.list(key, |text| {
            let name = Name::parse(text).ok().filter(|name| known.contains(name));
            name.ok_or_else(|| Wrong::new(format!("there is no {kind} `{text}`"), format!("configured: {hint}")))
        })
    };
    let of_links = names(table, "links", declared.links, "link");
    let of_mailboxes = names(table, "mailboxes", declared.mailboxes, "mailbox");
    if links && of_links.is_none() || mailboxes && of_mailboxes.is_none() {
        return None;
    }
    let set = |names: Option<Vec<Name>>| names.unwrap_or_default().into_iter().collect();
    Some((links || mailboxes).then(|| Only { links: set(of_links), mailboxes: set(of_mailboxes) }))
}

fn never_empty(table: &Table<'_>, key: &str, hint: &str) {
    if table.has_empty_list(key) {
        table.fault(key, Wrong::new("with an empty list this hook would never run", hint));
    }
}

fn word(text: &str) -> Result<String, Wrong> {
    match text.contains('\0') {
        true => Err("an argument has no NUL in it".into()),
        false => Ok(text.to_owned()),
    }
}

/// The program must be there: a hook that fails on the day is worse than none.
fn check_command(table: &Table<'_>, words: Vec<String>) -> Option<Action> {
    let Some(program) = words.first() else {
        table.fault("command", Wrong::new("this is empty", "write command = [\"/path/of/a/program\", \"argument\"]"));
        return None;
    };
    let fault = |message: String, hint: &str| table.fault_in("command", 0, Wrong::new(message, hint));
    let path = Path::new(program);
    if !path.is_absolute() {
        fault(format!("`{program}` is no absolute path"), "write where the program lies: no shell looks for it");
        return None;
    }
    if let Some(hidden) = HIDDEN.iter().find(|hidden| path.starts_with(hidden)) {
        let message = format!("the shipped unit hides {hidden} from the service, and what lies in it");
        table.note("command", Wrong::new(message, "put the program elsewhere, such as into /usr/local/bin"));
    }
    match fs::metadata(path) {
        Ok(file) if !file.is_file() => fault(format!("{program} is no regular file"), "name the program itself"),
        Ok(file) if file.permissions().mode() & 0o111 == 0 => {
            fault(format!("{program} may not be executed"), "chmod a+x it; a script begins with #! and its interpreter");
        }
        Ok(file) if file.permissions().mode() & 0o002 != 0 => {
            let message = format!("every user of this machine can change {program}, which the service runs");
            table.note("command", Wrong::new(message, "chmod o-w it"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            table.note(
                "command",
                Wrong::new(format!("{program} cannot be looked at by this user"), "check it as the service's user"),
            );
        }
        Err(error) => {
            let hint = match program.contains(' ') {
                true => "each argument is written in quotes of its own: [\"/bin/page\", \"--team\", \"mail\"]",
                false => "write the path of a program that is there",
            };
            fault(format!("cannot find {program}: {error}"), hint);
        }
    }
    Some(Action::Command(words))
}

fn take_webhook(table: &mut Table<'_>) -> Option<Webhook> {
    let has_secret = table.has("secret");
    let url = table.parsed("url", url);
    let secret = secrets::take(table, "secret");
    let ca_file = ca_file(table);
    let proxy: Proxy = proxy::take(table);
    let url = url?;
    match &secret {
        Some(secret) => check_secret(table, secret),
        None if !has_secret => {
            let hint =
                "add secret = { file = \"/path\" } and let the receiver check the signature, unless the URL itself is secret";
            table.note("url", Wrong::new("this is posted without a signature: the receiver cannot tell who sent it", hint));
        }
        None => return None,
    }
    Some(Webhook { url, secret, ca_file, proxy })
}

/// The URLs of chat servers hold a secret in their path, so none is repeated.
fn url(text: &str) -> Result<Url, Wrong> {
    let example = "write where the JSON is posted to, such as \"https://pager.example.com/outlink\"";
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("this is no URL: {error}"), example))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && words::is_local(&url)) {
        let hint = "only https is taken, http only to loopback (localhost, 127.0.0.1, [::1])";
        return Err(Wrong::new("this is not https: what is posted would cross the network readable", hint));
    }
    match url.username().is_empty() && url.password().is_none() && url.fragment().is_none() {
        true => Ok(url),
        false => Err(Wrong::new(
            "this URL has a user name, a password or a fragment in it",
            "the signature by `secret` proves who posts",
        )),
    }
}

fn ca_file(table: &mut Table<'_>) -> Option<PathBuf> {
    let file = table.path("ca-file")?;
    if !file.is_file() {
        let hint = "write the path of the CA's certificate in PEM form, readable by the service's user";
        table.fault("ca-file", Wrong::new(format!("there is no file {}", file.display()), hint));
    }
    Some(file)
}

fn check_secret(table: &Table<'_>, source: &SecretSource) {
    let secret = secrets::can_be_read(table, source).then(|| secrets::read_here(table, source).ok()).flatten();
    let broken = secret
        .as_ref()
        .and_then(|secret| secret.expose().strip_prefix(BASE64_SECRET))
        .is_some_and(|text| BASE64_STANDARD.decode(text).map_or(true, |octets| octets.is_empty()));
    if broken {
        let hint = "copy it whole from the receiver's page; a secret that does not begin so is taken letter by letter";
        table.fault("secret", Wrong::new(format!("behind {BASE64_SECRET} no base64 stands"), hint));
    }
}

fn check_recipients<T>(table: &Table<'_>, to: Vec<T>) -> Option<Vec<T>> {
    match to.len() {
        0 => table.fault("to", Wrong::new("this mail goes to nobody", "write to = [\"ops@example.com\"]")),
        1..=MOST_RECIPIENTS => return Some(to),
        _ => table.fault("to", format!("a hook's mail has at most {MOST_RECIPIENTS} recipients")),
    }
    None
}

/// Hooks' mail comes from one address; and mail about a link that only goes through this link arrives when it is mended.
fn check_way(table: &Table<'_>, mailbox: &Name, declared: &Declared<'_>) {
    if declared.domains.contains_key(mailbox) {
        let hint = "name one with a single address; from which of many this mail comes is not known";
        return table.fault("mailbox", Wrong::new(format!("mailbox `{mailbox}` stands for a whole domain"), hint));
    }
    let Some(way) = declared.good.get(mailbox) else { return };
    if declared.links.len() == 1 && declared.links.contains(&way.link) {
        let message = format!("link `{}` is the only one: when all of it is in trouble, this mail waits with it", way.link);
        table.note("mailbox", Wrong::new(message, "a command or a webhook tells of that too"));
    }
}
