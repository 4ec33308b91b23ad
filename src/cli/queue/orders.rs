//! `outlink queue retry`, `hold`, `release`, `discard` and `move`: step by step, so that a long order is seen to go on and can be
//! broken off without harm.

use super::{
    super::{
        Exit, Failed, Outcome,
        out::{counted, say},
        reach::{self, Reached},
    },
    Chosen,
};
use crate::{
    admin::{MOST_IDS, Targets, Verb, rfc3339},
    mail::{Id, Name},
};
use std::{
    io::{IsTerminal, Write, stderr, stdin},
    time::SystemTime,
};

/// Holds a mailbox, or releases it.
pub(super) async fn pause(reached: &Reached, mailbox: &Name, paused: bool) -> Outcome {
    let changed = reached.pause(mailbox.as_str(), paused).await?.changed;
    let later = if reached.is_running() { "at once" } else { "when outlink runs again" };
    say(match (paused, changed) {
        (true, true) => format!("mailbox {mailbox} is held: its messages wait for `outlink queue release --mailbox {mailbox}`"),
        (true, false) => format!("mailbox {mailbox} was held by an operator already"),
        (false, true) => format!("mailbox {mailbox} is released and tried {later}"),
        (false, false) => format!("mailbox {mailbox} was not held"),
    });
    Ok(Exit::Good)
}

/// Gives messages up, after a question where nobody named them one by one.
pub(super) fn discard(chosen: Chosen, yes: bool) -> Outcome {
    let asks = chosen.ids.is_empty() && !yes;
    if asks && !(stdin().is_terminal() && stderr().is_terminal()) {
        let text = "messages that are not named by their ids are only discarded with --yes, where nobody can be asked";
        return Err(Failed(Exit::Usage, text.to_owned()));
    }
    let steps = steps(&chosen, None)?;
    reach::work(&chosen.config, async |reached| {
        if asks && !confirm(&reached, &steps).await? {
            say("nothing was discarded");
            return Ok(Exit::Good);
        }
        carry_out(&reached, Verb::Discard, steps).await
    })
}

/// Does `verb` to the messages chosen.
pub(super) fn order(verb: Verb, chosen: Chosen, to_mailbox: Option<&Name>) -> Outcome {
    let steps = steps(&chosen, to_mailbox)?;
    reach::work(&chosen.config, async |reached| carry_out(&reached, verb, steps).await)
}

/// The requests by which the messages chosen are named.
fn steps(chosen: &Chosen, to_mailbox: Option<&Name>) -> Result<Vec<Targets>, Failed> {
    let now = SystemTime::now();
    let base = Targets { to_mailbox: to_mailbox.map(Name::to_string), ..Targets::default() };
    let usage = |text: &str| Err(Failed(Exit::Usage, text.to_owned()));
    match (chosen.ids.is_empty(), chosen.filters.is_empty(), chosen.all) {
        (false, true, false) => {
            let texts: Vec<String> = chosen.ids.iter().map(Id::to_string).collect();
            Ok(texts.chunks(MOST_IDS).map(|ids| Targets { ids: ids.into(), ..base.clone() }).collect())
        }
        (false, ..) => usage("ids name messages one by one: leave out --all and the filters, or the ids"),
        (true, true, false) => usage("name messages by their ids, by filters such as --mailbox and --older-than, or by --all"),
        (true, ..) => {
            let mut select = chosen.filters.selection(now);
            // Messages that come while the order is carried out are not meant.
            select.accepted_before.get_or_insert(rfc3339(now));
            Ok(vec![Targets { select: Some(select), ..base }])
        }
    }
}

async fn confirm(reached: &Reached, steps: &[Targets]) -> Result<bool, Failed> {
    let mut found = 0_u64;
    for select in steps.iter().filter_map(|step| step.select.as_ref()) {
        let mut after = None;
        loop {
            let page = reached.list(select, after).await?;
            found += page.messages.iter().filter(|message| message.has_body).count() as u64;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    let question = format!("Discard {}? Their octets are removed, nobody is told", counted(found, "message", "messages"));
    let asked = dialoguer::Confirm::new().with_prompt(question).default(false).interact();
    asked.map_err(|error| Failed(Exit::InputOutput, format!("cannot ask at this terminal: {error}")))
}

async fn carry_out(reached: &Reached, verb: Verb, steps: Vec<Targets>) -> Outcome {
    let to_mailbox = steps.first().and_then(|step| step.to_mailbox.clone());
    let (mut done, mut left) = (0, Vec::new());
    for mut step in steps {
        loop {
            let changed = match reached.order(verb, &step).await {
                Ok(changed) => changed,
                Err(Failed(exit, text)) if done > 0 => {
                    return Err(Failed(exit, format!("{text}\nuntil then: {}", said(verb, done, to_mailbox.as_deref()))));
                }
                Err(failed) => return Err(failed),
            };
            done += changed.done;
            left.extend(changed.left);
            step.after = changed.next;
            if step.after.is_none() {
                break;
            }
            progress(done);
        }
    }
    for left in &left {
        eprintln!("outlink: message {}: {}", left.id, left.why);
    }
    if done == 0 && left.is_empty() {
        return Err(Failed(Exit::Findings, format!("there is no message for which {} makes sense", verb.word())));
    }
    say(said(verb, done, to_mailbox.as_deref()));
    Ok(if left.is_empty() { Exit::Good } else { Exit::Findings })
}

/// Says how far it is, to a person.
fn progress(done: u64) {
    if stderr().is_terminal() {
        // Without a terminal there is nobody to be told.
        let _ = write!(stderr(), "\r{} so far\r", counted(done, "message", "messages"));
    }
}

fn said(verb: Verb, done: u64, to_mailbox: Option<&str>) -> String {
    let messages = counted(done, "message", "messages");
    match verb {
        Verb::Retry => format!("tried again at once: {messages}"),
        Verb::Hold => format!("held: {messages}"),
        Verb::Release => format!("released: {messages}"),
        Verb::Discard => format!("discarded: {messages}"),
        Verb::Move => format!("moved to mailbox {}: {messages}", to_mailbox.unwrap_or_default()),
    }
}
