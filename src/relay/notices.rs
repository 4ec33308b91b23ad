//! Messages about a message: a bounce when recipients failed, a warning when it takes long, a confirmation where the provider gives
//! none (RFC 3461 §5.2.2, RFC 3464).
//!
//! Each goes through the same mailbox, from the mailbox's own address, with the null sender, and is marked in its row: what is a
//! notice is never deduced from an envelope. About a notice, and to the null sender, none is ever made (RFC 5321 §6.1).

use super::{Relay, new_id};
use crate::{
    config::Mailbox,
    mail::{
        Address, BodyType, Envelope, Notify, Recipient, Ret,
        bounce::{self, Bounce, Kind, Original, header_of},
    },
    queue::{Kept, Message, NewMessage, RecipientState, Report, Standing},
    smtp::Enhanced,
    store::Body,
};
use std::time::SystemTime;

/// The largest original that is returned whole where the app asked for it, in octets: Exchange and Google count the sizes of bounces.
const LARGEST_RETURNED: u64 = 50 * 1024;

/// How much of a body is read to find its header.
const HEADER: usize = 64 * 1024;

/// One recipient, and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Fate {
    pub(super) recipient: Recipient,
    pub(super) state: RecipientState,
    code: Option<u16>,
    reply: String,
    advice: Option<String>,
}

impl From<Standing> for Fate {
    fn from(standing: Standing) -> Self {
        let Standing { recipient, state, code, reply, advice, .. } = standing;
        Self { recipient, state, code, reply: reply.unwrap_or_default(), advice }
    }
}

/// The fates that `reports` tell of the recipients of `message`.
pub(super) fn fates(message: &Message, reports: &[Report]) -> Vec<Fate> {
    let of = |report: &Report| {
        let index = message.positions.iter().position(|position| *position == report.position)?;
        Some(Fate {
            recipient: message.envelope.recipients.get(index)?.clone(),
            state: report.state,
            code: report.code,
            reply: report.reply.clone(),
            advice: report.advice.clone(),
        })
    };
    reports.iter().filter_map(of).collect()
}

/// What a notice is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) mailbox: &'a Mailbox,
    pub(super) message: &'a Message,
    pub(super) body: Option<&'a Body>,
    pub(super) now: SystemTime,
}

impl Relay {
    /// The notice of this kind about those of `fates` whose sender wants it; none where there is nobody to be told.
    pub(super) async fn notice(&self, subject: Subject<'_>, kind: Kind, fates: &[Fate]) -> Option<(NewMessage, Kept)> {
        let (notice, octets) = self.written(subject, kind, fates).await?;
        Some((notice, Kept::small(octets.into())?))
    }

    /// [`Relay::notice`] whose body is not kept yet.
    pub(super) async fn written(&self, subject: Subject<'_>, kind: Kind, fates: &[Fate]) -> Option<(NewMessage, Vec<u8>)> {
        let Subject { mailbox, message, now, .. } = subject;
        let told: Vec<&Fate> = fates.iter().filter(|fate| is_wanted(kind, fate)).collect();
        let sender = message.envelope.sender.as_ref().filter(|_| message.bounce_of.is_none() && !told.is_empty())?;
        let to =
            self.bounce_to(message).or_else(|| self.settings().aliases.of(sender).cloned()).unwrap_or_else(|| sender.clone());
        let server = mailbox.server.host.as_str();
        let reports: Vec<bounce::Report<'_>> = told.iter().map(|fate| fate.report(kind, server, now)).collect();
        let octets = original(message, subject.body, kind).await;
        let original = match &octets {
            Returned::Whole(octets) => Original::Full(octets),
            Returned::Header(octets) => Original::Header(header_of(octets)),
        };
        let id = new_id(now);
        let written = Bounce {
            id,
            kind,
            of: message.id,
            hostname: &self.hostname,
            from: &mailbox.address,
            to: &to,
            envid: message.envelope.envid.as_ref(),
            subject: message.subject.as_deref(),
            accepted: message.accepted_at,
            now,
            recipients: &reports,
            original,
        }
        .write();
        tracing::info!(event = "message.bounced", id = %message.id, bounce = %id, app = %message.app, mailbox = %mailbox.name,
            link = %mailbox.link, to = %to, recipients = told.len(), "{}", in_words(kind));
        let is_ascii = written.is_ascii();
        Some((self.notice_message(subject, id, to, is_ascii), written))
    }

    fn notice_message(&self, subject: Subject<'_>, id: crate::mail::Id, to: Address, is_ascii: bool) -> NewMessage {
        let Subject { mailbox, message, now, .. } = subject;
        let mut envelope = Envelope::from(None);
        envelope.smtputf8 = !to.is_ascii() || !mailbox.address.is_ascii();
        envelope.body = if is_ascii { BodyType::SevenBit } else { BodyType::EightBitMime };
        // Nobody is told of what becomes of a notice.
        let never = Notify { success: false, failure: false, delay: false };
        envelope.recipients = vec![Recipient { address: to, notify: Some(never), orcpt: None }];
        NewMessage {
            id,
            app: message.app.clone(),
            mailbox: mailbox.name.clone(),
            client: "outlink".to_owned(),
            envelope,
            author: mailbox.address.as_str().to_owned(),
            bounce_of: Some(message.id),
            message_id: format!("<{id}@{}>", self.hostname),
            subject: None,
            accepted_at: now,
            due_at: now,
            expires_at: self.board().clock(&mailbox.name, now) + self.queue.settings().expire_after,
            warn_at: None,
            attempts: 0,
            claim: None,
            held: None,
            stays: true,
            settled: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Where notices of the message's app go instead of to the envelope sender.
    fn bounce_to(&self, message: &Message) -> Option<Address> {
        let settings = self.settings();
        let of_app = settings.apps.get(&message.app).and_then(|app| app.bounce_to.clone());
        of_app.or_else(|| settings.queue.bounce_to.clone())
    }
}

/// Whether the app wants to hear this (RFC 3461 §4.1): of failure, where it said nothing, of delay likewise, of success where it asked.
fn is_wanted(kind: Kind, fate: &Fate) -> bool {
    let notify = fate.recipient.notify;
    match (kind, fate.state) {
        (Kind::Failed, RecipientState::Refused | RecipientState::Expired) => notify.is_none_or(|notify| notify.failure),
        (Kind::Delayed { .. }, RecipientState::Waiting) => notify.is_none_or(|notify| notify.delay),
        (Kind::Relayed, RecipientState::Delivered) => notify.is_some_and(|notify| notify.success),
        _ => false,
    }
}

impl Fate {
    /// A recipient that waits.
    pub(super) fn waiting(recipient: &Recipient, reason: &str) -> Self {
        Self { recipient: recipient.clone(), state: RecipientState::Waiting, code: None, reply: reason.to_owned(), advice: None }
    }

    /// A recipient that we refuse ourselves.
    pub(super) fn refused(recipient: &Recipient, reply: String) -> Self {
        Self { recipient: recipient.clone(), state: RecipientState::Refused, code: None, reply, advice: None }
    }

    fn report<'a>(&'a self, kind: Kind, server: &'a str, now: SystemTime) -> bounce::Report<'a> {
        bounce::Report {
            address: &self.recipient.address,
            orcpt: self.recipient.orcpt.as_ref(),
            status: status(kind, self.state, self.code, &self.reply),
            reply: self.code.map(|_| self.reply.as_str()),
            server: self.code.map(|_| server),
            reason: self.code.map_or(self.reply.as_str(), |_| of_reply(self.state)),
            advice: self.advice.as_deref(),
            last_attempt: Some(now),
        }
    }
}

/// What a reply of the provider meant; its own words stand beside it.
fn of_reply(state: RecipientState) -> &'static str {
    match state {
        RecipientState::Delivered => "the provider has taken the message; it does not report what becomes of it",
        RecipientState::Refused => "the provider has refused the message for this recipient",
        RecipientState::Waiting | RecipientState::Expired => "the provider has not taken the message yet",
    }
}

/// The status of a recipient (RFC 3463): the provider's own where it gave one.
fn status(kind: Kind, state: RecipientState, code: Option<u16>, reply: &str) -> (u8, u16, u16) {
    let enhanced = reply.split_ascii_whitespace().nth(1).and_then(Enhanced::parse).filter(|_| code.is_some());
    let class = match (kind, state) {
        (Kind::Relayed, _) => 2,
        (Kind::Delayed { .. }, _) => 4,
        (Kind::Failed, _) => 5,
    };
    match (enhanced, state) {
        (Some(enhanced), _) if kind != Kind::Relayed => (enhanced.class, enhanced.subject, enhanced.detail),
        // X.4.7: delivery time expired.
        (_, RecipientState::Expired) => (4, 4, 7),
        _ => (class, 0, 0),
    }
}

enum Returned {
    Whole(Vec<u8>),
    Header(Vec<u8>),
}

/// What is returned of the original: its header, unless the app asked for all and all is small.
async fn original(message: &Message, body: Option<&Body>, kind: Kind) -> Returned {
    let wants_all = message.envelope.ret == Some(Ret::Full) && message.size <= LARGEST_RETURNED && kind == Kind::Failed;
    let Some(body) = body else { return Returned::Header(Vec::new()) };
    match body.beginning(HEADER).await {
        Ok(octets) if wants_all => Returned::Whole(octets),
        Ok(octets) => Returned::Header(octets),
        Err(error) => {
            tracing::warn!(id = %message.id, %error, "a notice goes out without the original's header: its body cannot be read");
            Returned::Header(Vec::new())
        }
    }
}

fn in_words(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "the sender is told that recipients failed",
        Kind::Delayed { .. } => "the sender is warned that the message still waits",
        Kind::Relayed => "the sender is told that the message went to a server which does not report delivery",
    }
}
