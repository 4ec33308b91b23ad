//! `outlink link remove`, `mailbox remove` and `app remove`: only what nothing uses any more.

use super::{
    Config, Exit, Failed, Outcome,
    change::{self, Subject, unwritten},
    out::{counted, say},
    question, reach, runtime,
};
use crate::{config::write::Kind, mail::Name};
use serde_json::Value;
use std::process::Command;

/// Removes the file of `name`.
pub(super) fn remove(config: &Config, kind: Kind, name: &Name, yes: bool) -> Outcome {
    let subject = Subject::read(config, kind)?;
    let place = subject.definitions.existing(kind, name).map_err(unwritten)?;
    let users = subject.definitions.users(kind, name);
    if !users.is_empty() {
        let user = if kind == Kind::Link { "mailbox" } else { "app" };
        let names: Vec<_> = users.iter().map(Name::as_str).collect();
        let text = format!("{kind} {name} is used by {user} {}; `outlink {user} remove` comes first", names.join(", "));
        return Err(Failed(Exit::Findings, text));
    }
    if kind == Kind::Mailbox {
        refuse_with_mail(&subject, name)?;
    }
    if !yes {
        let person = question::person_for(&format!("{kind} remove"), &["--yes"])?;
        if !person.agrees(&format!("Remove {kind} {name} ({})?", place.file().display()))? {
            say("nothing was removed");
            return Ok(Exit::Good);
        }
    }
    let done = change::carry_out(&subject, &place, name, None)?;
    done.lines.iter().for_each(say);
    Ok(Exit::Good)
}

/// A mailbox's messages would be held for ever without it.
fn refuse_with_mail(subject: &Subject, name: &Name) -> Result<(), Failed> {
    let kept = kept(subject, name)?;
    if kept.iter().all(|messages| *messages == 0) {
        return Ok(());
    }
    let [waiting, held, failed] = kept;
    let text = format!(
        "mailbox {name} still has mail: {waiting} waiting, {held} held, {failed} failed ({})\nlook: {}\nthen send it through another one, \
         or give it up: {}, {}",
        counted(kept.iter().sum(), "message", "messages"),
        subject.command(&format!("queue list --mailbox {name}")),
        subject.command(&format!("queue move --mailbox {name} --to-mailbox OTHER")),
        subject.command(&format!("queue discard --mailbox {name}")),
    );
    Err(Failed(Exit::Findings, text))
}

/// The messages of a mailbox: waiting, held, failed.
fn kept(subject: &Subject, name: &Name) -> Result<[u64; 3], Failed> {
    let state_directory = subject.definitions.state_directory();
    match reach::connect(state_directory) {
        Ok(client) => {
            let links = runtime()?.block_on(client.links()).map_err(reach::failed)?;
            let found = links.links.iter().flat_map(|link| &link.mailboxes).filter(|mailbox| is_of(&mailbox.mailbox, name));
            Ok(sum(found.map(|it| [it.waiting.with_body, it.held.with_body, it.failed.with_body])))
        }
        Err(Failed(Exit::Unavailable, _)) if state_directory.exists() => kept_in_store(subject, name),
        Err(Failed(Exit::Unavailable, _)) => Ok([0; 3]),
        Err(failed) => Err(failed),
    }
}

/// Asks another process of ours. It becomes the owner of the state directory to open the store; this one may have to stay root to
/// write beside the main file.
fn kept_in_store(subject: &Subject, name: &Name) -> Result<[u64; 3], Failed> {
    let unasked =
        |why: &dyn std::fmt::Display| Failed(Exit::InputOutput, format!("cannot look into the queue of mailbox {name}: {why}"));
    let program = std::env::current_exe().map_err(|error| unasked(&error))?;
    let asked = Command::new(program).args(["mailbox", "list", "--json", "--config"]).arg(&subject.main).output();
    let output = asked.map_err(|error| unasked(&error))?;
    if !output.status.success() {
        return Err(unasked(&String::from_utf8_lossy(&output.stderr)));
    }
    let list: Value = serde_json::from_slice(&output.stdout).map_err(|error| unasked(&error))?;
    let mailboxes = list["mailboxes"].as_array().into_iter().flatten();
    let found = mailboxes.filter(|mailbox| is_of(mailbox["mailbox"].as_str().unwrap_or_default(), name));
    Ok(sum(found.map(|found| ["waiting", "held", "failed"].map(|state| found[state]["with_body"].as_u64().unwrap_or(0)))))
}

/// Whether this is the mailbox, or an address of it.
fn is_of(mailbox: &str, name: &Name) -> bool {
    Name::parse_mailbox(mailbox).is_ok_and(|mailbox| mailbox.is_of(name))
}

fn sum(all: impl Iterator<Item = [u64; 3]>) -> [u64; 3] {
    all.fold([0; 3], |[a, b, c], [d, e, f]| [a + d, b + e, c + f])
}
