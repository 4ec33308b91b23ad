//! `outlink queue list`: page by page, so that a million messages need no more memory than one page.

use super::{
    super::{
        Exit, Outcome,
        out::{Lines, age, ahead, plain, size},
        reach::Reached,
        status::{state, tallies},
    },
    json_line,
};
use crate::admin::{MailboxQueue, Message, Selection, Summary};
use std::time::SystemTime;

/// Prints the messages that `selection` means.
pub(super) async fn list(reached: &Reached, selection: &Selection, json: bool) -> Outcome {
    let summary = reached.summary().await?;
    // Before anything is printed: a fault in the selection is told alone.
    let mut page = reached.list(selection, None).await?;
    let (mut out, now, mut found) = (Lines::new(), SystemTime::now(), 0_u64);
    match json {
        true => out.write(format!("{{\"summary\": {},\n\"messages\": [", json_line(&summary)?).as_bytes())?,
        false => head(&mut out, &summary, selection, now)?,
    }
    loop {
        for message in &page.messages {
            match json {
                true => out.write(format!("{}\n{}", if found == 0 { "" } else { "," }, json_line(message)?).as_bytes())?,
                false => {
                    if found == 0 {
                        out.say(format_args!("{HEADINGS}"))?;
                    }
                    out.say(line(message, now))?;
                }
            }
            found += 1;
        }
        out.flush()?;
        let Some(after) = page.next else { break };
        page = reached.list(selection, Some(after)).await?;
    }
    let is_empty = [&summary.waiting, &summary.held, &summary.failed].iter().all(|tally| tally.messages == 0);
    match (json, found) {
        (true, _) => out.say("\n]}")?,
        (false, 0) if is_empty && *selection == Selection::default() => out.say("the queue is empty")?,
        (false, 0) => out.say("no message is like that")?,
        (false, _) => {}
    }
    out.flush()?;
    Ok(Exit::Good)
}

const HEADINGS: &str = "ID                          STATE          AGE        SIZE  TRIES  APP  MAILBOX  FROM → TO: WHY";

/// Counts of everything, and what holds which mailbox; of one mailbox where one was asked for.
fn head(out: &mut Lines, summary: &Summary, selection: &Selection, now: SystemTime) -> Result<(), super::Failed> {
    out.say(format_args!("queue: {}", tallies([&summary.waiting, &summary.held, &summary.failed], now)))?;
    let is_asked = |queue: &&MailboxQueue| selection.mailbox.as_ref().is_none_or(|mailbox| *mailbox == queue.mailbox);
    for queue in summary.mailboxes.iter().filter(is_asked) {
        let all = [&queue.waiting, &queue.held, &queue.failed];
        if queue.hold.is_none() && all.iter().all(|tally| tally.messages == 0) {
            continue;
        }
        let known = if queue.configured { "" } else { " (not configured)" };
        out.say(format_args!("mailbox {}{known}: {}", queue.mailbox, tallies(all, now)))?;
        if let Some(hold) = &queue.hold {
            let reason = hold.reason.as_deref().map(plain).unwrap_or_default();
            out.say(format_args!("  {}: {reason}", state(hold, now)))?;
            if let Some(advice) = &hold.advice {
                out.say(format_args!("  to do: {}", plain(advice)))?;
            }
        }
    }
    Ok(())
}

/// One line for one message.
fn line(message: &Message, now: SystemTime) -> String {
    let Message { id, state, attempts, app, mailbox, .. } = message;
    let (age, size) = (age(&message.accepted_at, now), size(message.size));
    format!("{id}  {state:<9}  {age:>7}  {size:>10}  {attempts:>5}  {app}  {mailbox}  {}: {}", way(message), why(message, now))
}

/// `from → to (+n)`.
pub(super) fn way(message: &Message) -> String {
    let more = match message.recipients {
        0 | 1 => String::new(),
        all => format!(" (+{})", all - 1),
    };
    format!("{} → {}{more}", plain(message.from.as_deref().unwrap_or("<>")), plain(&message.to))
}

/// Why it has not left, and when it is tried next.
pub(super) fn why(message: &Message, now: SystemTime) -> String {
    let reason = match message.state.as_str() {
        "delivered" => "delivered",
        state => message.reason.as_deref().unwrap_or(state),
    };
    match (&message.next_attempt, message.state.as_str()) {
        (Some(next), _) => format!("{}; next try {}", plain(reason), ahead(next, now)),
        (None, "held") => format!("{}; not tried by itself", plain(reason)),
        (None, _) => plain(reason).into_owned(),
    }
}
