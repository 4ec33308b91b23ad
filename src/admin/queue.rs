//! What is kept, as people and programs are told: counts, pages, single messages.
//!
//! A message that waits while its mailbox is held is told as held, with the mailbox's reason: for who asks, that is what it is.

use super::{
    Refused, Standing, rfc3339,
    selection::{Selection, id},
};
use crate::{
    mail::{BodyType, Envelope, Name, Ret},
    queue::{self, Count, Filter, HeldBy, Line, Number, State, Trace},
    relay::{self, Relay},
    store::Body,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::SystemTime};

/// Some messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub messages: u64,
    /// How many of them still have their octets: discarded ones are known, but gone.
    pub with_body: u64,
    /// Their octets.
    pub size: u64,
    /// When the oldest was accepted.
    pub oldest: Option<String>,
}

/// The kept messages of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxQueue {
    /// Its name.
    pub mailbox: String,
    /// Whether it is configured.
    pub configured: bool,
    /// How it stands, where its mail waits for that.
    pub hold: Option<Standing>,
    /// Messages that go out when they are due.
    pub waiting: Tally,
    /// Messages that are held, or wait in a held mailbox.
    pub held: Tally,
    /// Messages that are not tried again.
    pub failed: Tally,
}

/// All that is kept, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Messages that go out when they are due.
    pub waiting: Tally,
    /// Messages that are held, or wait in a held mailbox.
    pub held: Tally,
    /// Messages that are not tried again.
    pub failed: Tally,
    /// Every mailbox that is configured or has messages.
    pub mailboxes: Vec<MailboxQueue>,
}

/// One message of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// waiting, held, failed, delivered.
    pub state: String,
    /// What holds it: operator, sender, app, mailbox (no longer configured), or its mailbox's state.
    pub held_by: Option<String>,
    /// Why it waits, is held or failed.
    pub reason: Option<String>,
    /// Whether it is being sent, or next in turn.
    pub under_way: bool,
    /// When it is tried next; `None`: not by itself.
    pub next_attempt: Option<String>,
    /// Attempts spent on it.
    pub attempts: u32,
    /// When it was accepted.
    pub accepted_at: String,
    /// Octets.
    pub size: u64,
    /// Who sent it.
    pub app: String,
    /// From where it came.
    pub client: String,
    /// Through which mailbox it goes.
    pub mailbox: String,
    /// Envelope sender; `None` is the null sender.
    pub from: Option<String>,
    /// The first recipient.
    pub to: String,
    /// All its recipients.
    pub recipients: u32,
    /// Those that are not settled.
    pub unsettled: u32,
    /// Its Subject.
    pub subject: Option<String>,
    /// Its Message-ID.
    pub message_id: String,
    /// In a bounce, the message that it speaks of.
    pub bounce_of: Option<String>,
    /// Whether its octets are still kept.
    pub has_body: bool,
}

/// A page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// In the order of acceptance. A page may be empty without being the last.
    pub messages: Vec<Message>,
    /// The next page's `after`; `None` at the end.
    pub next: Option<i64>,
}

/// One recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// To whom.
    pub address: String,
    /// waiting, delivered, refused, expired.
    pub state: String,
    /// The last reply's code.
    pub code: Option<u16>,
    /// What was said last.
    pub reply: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
    /// When that was.
    pub changed_at: Option<String>,
    /// `NOTIFY` of RFC 3461, as the app gave it.
    pub notify: Option<String>,
    /// `ORCPT` likewise.
    pub orcpt: Option<String>,
}

/// One line of a message's story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: String,
    /// What happened, in one word.
    pub event: String,
    /// In words.
    pub detail: String,
    /// How long it took, in milliseconds.
    pub ms: Option<u64>,
}

/// Everything about one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// As in lists.
    #[serde(flatten)]
    pub message: Message,
    /// The parameters of `MAIL`, as the app gave them.
    pub parameters: Vec<String>,
    /// When it is given up; held time does not count. `None`: it does not wait.
    pub expires_at: Option<String>,
    /// Every recipient; `recipients` is their number.
    pub recipient_states: Vec<Recipient>,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

/// How many messages stand how.
pub async fn summary(relay: &Relay) -> Result<Summary, Refused> {
    let counts = relay.count().await?;
    let configured = relay.mailboxes();
    let mut names: Vec<Name> = configured.iter().chain(counts.iter().map(|count| &count.mailbox)).cloned().collect();
    names.sort();
    names.dedup();
    let mut summary = Summary::default();
    let holds = relay.holds();
    for name in names {
        let hold = holds.get(&name).map(Standing::from);
        let (mut waiting, mut held, mut failed) = Default::default();
        for count in counts.iter().filter(|count| count.mailbox == name) {
            let place = match count.state {
                State::Waiting if hold.is_some() => &mut held,
                State::Waiting => &mut waiting,
                State::Held => &mut held,
                State::Failed => &mut failed,
                State::Delivered => continue,
            };
            add(place, count);
        }
        sum(&mut summary.waiting, &waiting);
        sum(&mut summary.held, &held);
        sum(&mut summary.failed, &failed);
        let configured = configured.contains(&name);
        summary.mailboxes.push(MailboxQueue { mailbox: name.to_string(), configured, hold, waiting, held, failed });
    }
    Ok(summary)
}

fn add(tally: &mut Tally, count: &Count) {
    let Count { messages, with_body, size, .. } = *count;
    let more = Tally { messages, with_body, size, oldest: Some(rfc3339(count.oldest)) };
    sum(tally, &more);
}

/// RFC 3339 in UTC sorts like the times that it writes.
fn sum(tally: &mut Tally, more: &Tally) {
    tally.messages += more.messages;
    tally.with_body += more.with_body;
    tally.size += more.size;
    tally.oldest = tally.oldest.take().into_iter().chain(more.oldest.clone()).min();
}

/// A page of the messages that `selection` means, from behind `after` on.
pub async fn list(relay: &Relay, selection: &Selection, after: Option<i64>) -> Result<Page, Refused> {
    let (wanted, mut filter) = (selection.states()?, selection.filter(relay).await?);
    filter.states = in_store(&wanted);
    let (lines, next) = page(relay, filter, &wanted, after).await?;
    let mut seen = Seen::new(relay);
    Ok(Page { messages: lines.iter().map(|line| seen.tell(line)).collect(), next })
}

/// The lines of a page that stand as wanted.
pub(super) async fn page(
    relay: &Relay,
    filter: Filter,
    wanted: &[State],
    after: Option<i64>,
) -> Result<(Vec<Line>, Option<i64>), Refused> {
    let mut page = relay.list(filter, after.map(Number::from_i64)).await?;
    let mut seen = Seen::new(relay);
    page.lines.retain(|line| wanted.is_empty() || wanted.contains(&seen.state(line)));
    Ok((page.lines, page.next.map(Number::to_i64)))
}

/// How messages stand in the store that are told as `wanted`.
pub(super) fn in_store(wanted: &[State]) -> Vec<State> {
    let mut states = wanted.to_vec();
    if states.contains(&State::Held) && !states.contains(&State::Waiting) {
        states.push(State::Waiting);
    }
    states
}

/// Everything about the message `text`.
pub async fn show(relay: &Relay, text: &str) -> Result<Details, Refused> {
    let trace = relay.trace(id(text)?).await?.ok_or_else(|| unknown(text))?;
    let message = Seen::new(relay).tell(&trace.line);
    let expires = trace.message.as_ref().filter(|_| trace.line.state == State::Waiting);
    let expires = expires.and_then(|message| message.expires_at.checked_add(relay.stood_still(&trace.line.mailbox)));
    Ok(Details {
        message,
        parameters: trace.message.as_ref().map(|message| parameters(&message.envelope)).unwrap_or_default(),
        expires_at: expires.map(rfc3339),
        events: events(&trace),
        recipient_states: trace.recipients.into_iter().map(recipient).collect(),
    })
}

/// The octets of the message `text`.
pub async fn body(relay: &Relay, text: &str) -> Result<Body, Refused> {
    if let Some(body) = relay.export(id(text)?).await? {
        return Ok(body);
    }
    match relay.trace(id(text)?).await? {
        Some(_) => Err(Refused::Unknown(format!("message {text} was delivered or discarded: its octets are no longer kept"))),
        None => Err(unknown(text)),
    }
}

fn unknown(id: &str) -> Refused {
    Refused::Unknown(format!(
        "no message {id} is known: it was never queued here, or was forgotten after queue.keep-trace or queue.keep-failed"
    ))
}

/// What became of the message, from its acceptance on.
fn events(trace: &Trace) -> Vec<Event> {
    let line = &trace.line;
    let accepted = match line.bounce_of {
        Some(of) => format!("made here about message {of}"),
        None => format!("from app {} at {}, through mailbox {}", line.app, line.client, line.mailbox),
    };
    let mut events = vec![(line.accepted_at, "accepted".to_owned(), accepted, None)];
    events.extend(trace.events.iter().map(|event| {
        let ms = event.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        (event.at, event.event.clone(), event.detail.clone(), ms)
    }));
    events.extend(
        trace.notices.iter().map(|(id, at)| (*at, "notified".to_owned(), format!("its sender is told: message {id}"), None)),
    );
    events.sort_by_key(|(at, ..)| *at);
    events.into_iter().map(|(at, event, detail, ms)| Event { at: rfc3339(at), event, detail, ms }).collect()
}

fn recipient(standing: queue::Standing) -> Recipient {
    Recipient {
        address: standing.recipient.address.to_string(),
        state: standing.state.to_string(),
        code: standing.code,
        reply: standing.reply,
        advice: standing.advice,
        changed_at: standing.changed_at.map(rfc3339),
        notify: standing.recipient.notify.map(|notify| notify.to_string()),
        orcpt: standing.recipient.orcpt.map(|orcpt| orcpt.as_str().to_owned()),
    }
}

fn parameters(envelope: &Envelope) -> Vec<String> {
    let body = (envelope.body == BodyType::EightBitMime).then(|| "BODY=8BITMIME".to_owned());
    let utf8 = envelope.smtputf8.then(|| "SMTPUTF8".to_owned());
    let ret = envelope.ret.map(|ret| match ret {
        Ret::Full => "RET=FULL".to_owned(),
        Ret::Hdrs => "RET=HDRS".to_owned(),
    });
    let envid = envelope.envid.as_ref().map(|envid| format!("ENVID={}", envid.as_str()));
    [body, utf8, ret, envid].into_iter().flatten().collect()
}

/// What keeps the messages of a mailbox back at this moment.
#[derive(Debug, Clone)]
struct Kept {
    hold: Option<relay::Standing>,
    limit: Option<(&'static str, SystemTime)>,
}

/// The mailboxes that were looked at, each once for a page.
struct Seen<'a> {
    relay: &'a Relay,
    holds: BTreeMap<Name, relay::Standing>,
    mailboxes: BTreeMap<Name, Kept>,
    now: SystemTime,
}

impl<'a> Seen<'a> {
    fn new(relay: &'a Relay) -> Self {
        Self { relay, holds: relay.holds(), mailboxes: BTreeMap::new(), now: SystemTime::now() }
    }

    fn of(&mut self, mailbox: &Name) -> &Kept {
        let Self { relay, holds, .. } = self;
        let look = || Kept { hold: holds.get(mailbox).cloned(), limit: relay.limit_reached(mailbox) };
        self.mailboxes.entry(mailbox.clone()).or_insert_with(look)
    }

    fn state(&mut self, line: &Line) -> State {
        match line.state {
            State::Waiting if self.of(&line.mailbox).hold.is_some() => State::Held,
            state => state,
        }
    }

    fn tell(&mut self, line: &Line) -> Message {
        let (state, now) = (self.state(line), self.now);
        let kept = self.of(&line.mailbox).clone();
        let Why { held_by, reason, next } = why(line, &kept, now);
        Message {
            id: line.id.to_string(),
            state: state.to_string(),
            held_by,
            reason,
            under_way: line.is_claimed,
            next_attempt: next.map(rfc3339),
            attempts: line.attempts,
            accepted_at: rfc3339(line.accepted_at),
            size: line.size,
            app: line.app.to_string(),
            client: line.client.clone(),
            mailbox: line.mailbox.to_string(),
            from: line.sender.clone(),
            to: line.to.clone(),
            recipients: line.recipients,
            unsettled: line.waiting,
            subject: line.subject.clone(),
            message_id: line.message_id.clone(),
            bounce_of: line.bounce_of.map(|id| id.to_string()),
            has_body: line.has_body,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Why {
    held_by: Option<String>,
    reason: Option<String>,
    next: Option<SystemTime>,
}

/// Why a message has not left, and when it is tried next.
fn why(line: &Line, kept: &Kept, now: SystemTime) -> Why {
    match (line.state, &kept.hold) {
        (State::Delivered | State::Failed, _) => Why { held_by: None, reason: line.reason.clone(), next: None },
        (State::Held, _) => {
            Why { held_by: line.held_by.map(|by: HeldBy| by.to_string()), reason: line.reason.clone(), next: None }
        }
        (State::Waiting, Some(hold)) => {
            Why { held_by: Some(hold.state.word().to_owned()), reason: hold.reason.clone(), next: hold.next }
        }
        (State::Waiting, None) if line.is_claimed => {
            let reason = "it is being sent, or is next in turn".to_owned();
            Why { held_by: None, reason: Some(reason), next: Some(now) }
        }
        (State::Waiting, None) => {
            let limit = kept.limit.filter(|(_, until)| *until > line.due_at);
            let reason = match (limit, &line.reason) {
                (Some((limit, _)), _) => format!("the mailbox has reached its {limit}"),
                (None, Some(reason)) if line.due_at > now => reason.clone(),
                (None, Some(reason)) => format!("it is its turn soon; last time: {reason}"),
                (None, None) => "it is its turn soon".to_owned(),
            };
            let next = limit.map_or(line.due_at, |(_, until)| until).max(now);
            Why { held_by: None, reason: Some(reason), next: Some(next) }
        }
    }
}
