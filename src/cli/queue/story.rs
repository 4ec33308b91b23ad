//! `outlink queue show` and `outlink trace`: one message with everything, or what happened to it in the order of time.

use super::{
    super::{
        Exit, Failed, Outcome,
        out::{Lines, counted, plain, size},
        reach::Reached,
    },
    Traced, json_line,
    list::{way, why},
};
use crate::{
    admin::{Details, Event, Recipient, Selection},
    mail::Id,
};
use std::time::{Duration, SystemTime};

/// Prints everything about a message.
pub(super) async fn show(reached: &Reached, id: Id, json: bool) -> Outcome {
    let details = reached.show(&id.to_string()).await?;
    let mut out = Lines::new();
    match json {
        true => {
            let text = serde_json::to_string_pretty(&details).map_err(|error| Failed(Exit::InputOutput, error.to_string()))?;
            out.say(text)?;
        }
        false => print(&mut out, &details, SystemTime::now())?,
    }
    out.flush()?;
    Ok(Exit::Good)
}

fn print(out: &mut Lines, details: &Details, now: SystemTime) -> Result<(), Failed> {
    let message = &details.message;
    out.say(format_args!("message {}: {}", message.id, message.state))?;
    let held_by = message.held_by.as_ref().map(|by| format!("{} ({by})", why(message, now)));
    let some = |text: &str| Some(text.to_owned());
    let kept = if message.has_body { size(message.size) } else { format!("{}, no longer kept", size(message.size)) };
    let fields = [
        ("why", held_by.or_else(|| Some(why(message, now)).filter(|why| *why != message.state))),
        ("accepted", some(&message.accepted_at)),
        ("app", Some(format!("{} at {}", message.app, message.client))),
        ("mailbox", some(&message.mailbox)),
        ("attempts", Some(message.attempts.to_string())),
        ("next try", message.next_attempt.clone()),
        ("given up", details.expires_at.as_ref().map(|at| format!("{at}, if its mailbox is not held meanwhile"))),
        ("size", Some(kept)),
        ("Subject", message.subject.clone()),
        ("Message-ID", some(&message.message_id)),
        ("bounce of", message.bounce_of.clone()),
        ("from", some(message.from.as_deref().unwrap_or("<>"))),
        ("parameters", Some(details.parameters.join(" ")).filter(|text| !text.is_empty())),
    ];
    for (name, value) in fields.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        out.say(format_args!("  {name:<11} {}", plain(value)))?;
    }
    details.recipient_states.iter().try_for_each(|recipient| print_recipient(out, recipient))
}

fn print_recipient(out: &mut Lines, recipient: &Recipient) -> Result<(), Failed> {
    let Recipient { address, state, reply, advice, changed_at, notify, orcpt, .. } = recipient;
    let at = changed_at.as_ref().map(|at| format!(" {at}")).unwrap_or_default();
    out.say(format_args!("  {:<11} {}: {state}{at}", "to", plain(address)))?;
    let asked = [notify.as_ref().map(|text| format!("NOTIFY={text}")), orcpt.as_ref().map(|text| format!("ORCPT={text}"))];
    let asked = asked.into_iter().flatten().collect::<Vec<_>>().join(" ");
    for (word, text) in [("reply", reply.as_deref()), ("to do", advice.as_deref()), ("asked", Some(asked.as_str()))] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            out.say(format_args!("  {:<11}   {word}: {}", "", plain(text)))?;
        }
    }
    Ok(())
}

/// Prints what became of a message, or of all from or to an address.
pub(super) async fn trace(reached: &Reached, what: &Traced, json: bool) -> Outcome {
    let mut out = Lines::new();
    let mut told = 0_u64;
    match what {
        Traced::Message(id) => {
            let details = reached.show(&id.to_string()).await?;
            tell(&mut out, &details, &mut told, json)?;
        }
        Traced::Address(address) => {
            let states = ["waiting", "held", "failed", "delivered"].map(str::to_owned).into();
            let selection = Selection { address: Some(address.clone()), states, ..Selection::default() };
            let mut after = None;
            loop {
                let page = reached.list(&selection, after).await?;
                for message in page.messages {
                    let details = match reached.show(&message.id).await {
                        Ok(details) => details,
                        // Forgotten since the page was read.
                        Err(Failed(Exit::Findings, _)) => continue,
                        Err(failed) => return Err(failed),
                    };
                    tell(&mut out, &details, &mut told, json)?;
                }
                out.flush()?;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
    }
    match (json, told) {
        (true, 0) => out.say("{\"messages\": []}")?,
        (true, _) => out.say("\n]}")?,
        (false, _) => {}
    }
    out.flush()?;
    match (what, told) {
        (Traced::Address(address), 0) => {
            let text = "no message from or to it was queued here within queue.keep-trace and queue.keep-failed";
            Err(Failed(Exit::Findings, format!("{address}: {text}")))
        }
        _ => Ok(Exit::Good),
    }
}

/// The story of one message.
fn tell(out: &mut Lines, details: &Details, told: &mut u64, json: bool) -> Result<(), Failed> {
    let first = *told == 0;
    *told += 1;
    if json {
        return out.write(format!("{}\n{}", if first { "{\"messages\": [" } else { "," }, json_line(details)?).as_bytes());
    }
    if !first {
        out.say("")?;
    }
    let message = &details.message;
    let recipients = counted(message.recipients.into(), "recipient", "recipients");
    out.say(format_args!("message {}: {}, {recipients}, {}", message.id, way(message), size(message.size)))?;
    if let Some(subject) = &message.subject {
        out.say(format_args!("  subject {}", plain(subject)))?;
    }
    for Event { at, event, detail, ms } in &details.events {
        let took = ms.map(|ms| format!(" ({:.1} s)", Duration::from_millis(ms).as_secs_f64())).unwrap_or_default();
        out.say(format_args!("  {at}  {event:<9}  {}{took}", plain(detail)))?;
    }
    for recipient in details.recipient_states.iter().filter(|recipient| recipient.state != "waiting") {
        let reply = recipient.reply.as_deref().unwrap_or_default();
        out.say(format_args!("  {} is {}: {}", plain(&recipient.address), recipient.state, plain(reply)))?;
    }
    match message.state.as_str() {
        "delivered" => Ok(()),
        state => out.say(format_args!("  now {state}: {}", why(message, SystemTime::now()))),
    }
}
