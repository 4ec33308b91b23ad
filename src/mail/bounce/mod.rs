//! Delivery status notifications: what a sender is told when a message failed, waits, or left for a server that will not report
//! (RFC 3464, in the `multipart/report` of RFC 6522).
//!
//! Three parts: a text for people, the same as fields for programs, and the original or its header. Most of what stands in them
//! came from outside (the provider's reply, the subject, addresses), and none of it may begin a header field, a line or a part.
//!
//! The crates that write it would take date, message id and boundary from clock and chance; here each is given to them.

pub(super) mod clean;
mod header;
pub(super) mod original;
mod status;
mod text;

use super::{Address, Id, Xtext};
pub use header::header_of;
use mail_builder::{
    MessageBuilder,
    headers::{HeaderType, address::Address as Mailbox, content_type::ContentType, date::Date, raw::Raw, text::Text},
    mime::MimePart,
};
pub use original::Original;
use original::Part;
use std::time::{Duration, SystemTime};

/// One notification, about one message and any number of its recipients.
#[derive(Debug, Clone, Copy)]
pub struct Bounce<'a> {
    /// Its own id; `<id@hostname>` is its Message-ID.
    pub id: Id,
    /// What happened, the same for all its recipients.
    pub kind: Kind,
    /// The message that it speaks of.
    pub of: Id,
    /// The name of this relay.
    pub hostname: &'a str,
    /// Whom it comes from: the mailbox's own address.
    pub from: &'a Address,
    /// Whom it goes to: the sender of the original.
    pub to: &'a Address,
    /// `ENVID=` of the original.
    pub envid: Option<&'a Xtext>,
    /// The Subject of the original, unfolded.
    pub subject: Option<&'a str>,
    /// When the original was accepted.
    pub accepted: SystemTime,
    /// When it is written.
    pub now: SystemTime,
    /// Whom it speaks of; never empty.
    pub recipients: &'a [Report<'a>],
    /// What is returned of the original.
    pub original: Original<'a>,
}

/// What happened to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It will not arrive.
    Failed,
    /// It has not arrived yet.
    Delayed {
        /// When it fails for good.
        until: SystemTime,
    },
    /// The next server took it and does not report on its own, as the sender asked for (RFC 3461 §5.2.2).
    Relayed,
}

/// What happened to one recipient.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Whom the message was for.
    pub address: &'a Address,
    /// `ORCPT=`, as `type;xtext`.
    pub orcpt: Option<&'a Xtext>,
    /// The status of RFC 3463.
    pub status: (u8, u16, u16),
    /// The provider's whole reply, in one line.
    pub reply: Option<&'a str>,
    /// The server that gave it.
    pub server: Option<&'a str>,
    /// What happened, a sentence for people.
    pub reason: &'a str,
    /// What to do, a sentence for people.
    pub advice: Option<&'a str>,
    /// When it was last tried.
    pub last_attempt: Option<SystemTime>,
}

impl Bounce<'_> {
    /// The message, in CRLF lines of at most 998 octets, not dot-stuffed.
    ///
    /// It is ASCII, with two exceptions: an original that is returned in full and is not, which wants `BODY=8BITMIME`, and an
    /// address in `from` or `to` that is not, which wants SMTPUTF8.
    pub fn write(&self) -> Vec<u8> {
        let original = match self.kind {
            Kind::Failed => self.original,
            // RFC 3461 §4.3: without a failure, only the header.
            Kind::Delayed { .. } | Kind::Relayed => Original::Header(self.original.header()),
        };
        let subject = self.subject.and_then(clean::subject);
        let parts = [Part::text(self.text(subject.as_deref())), Part::status(self.status()), original.part()];
        let boundary = boundary(self.id, &parts);
        let is_8bit = parts.iter().any(Part::is_8bit);
        let kind = ContentType::new("multipart/report").attribute("report-type", "delivery-status");
        let body = MimePart::new(kind.attribute("boundary", boundary), Vec::from(parts.map(MimePart::from)));
        // RFC 2045 §6.4: what holds an 8-bit part is itself labelled so.
        let body = if is_8bit { body.transfer_encoding("8bit") } else { body };
        let mut out = Vec::new();
        self.head(subject.as_deref()).body(body).serialize(&mut out);
        out
    }

    /// The header fields above those of MIME.
    fn head(&self, subject: Option<&str>) -> MessageBuilder<'_> {
        let mut message = MessageBuilder::new()
            .from(Mailbox::new_address(Some("Mail Delivery System"), clean::quoted(self.from)))
            .to(Mailbox::from(clean::quoted(self.to)))
            .header("Subject", self.title(subject))
            .date(date(self.now))
            .message_id(format!("{}@{}", self.id, self.hostname));
        if let Some(original) = header::message_id(self.original.header()) {
            message = message.in_reply_to(original.clone()).references(original);
        }
        message
            // RFC 3834 §5: so that no vacation notice answers it. The second field says the same to Exchange.
            .header("Auto-Submitted", Raw::new("auto-replied"))
            .header("X-Auto-Response-Suppress", Raw::new("All"))
            .header("MIME-Version", Raw::new("1.0"))
    }

    fn title(&self, subject: Option<&str>) -> HeaderType<'static> {
        let title = match self.kind {
            Kind::Failed => "Undelivered mail",
            Kind::Delayed { .. } => "Delayed mail (still being tried)",
            Kind::Relayed => "Relayed mail",
        };
        let title = subject.map_or_else(|| title.to_owned(), |subject| format!("{title}: {subject}"));
        // The crate would encode a long text also where it is plain.
        if title.is_ascii() { Raw::new(title).into() } else { Text::new(title).into() }
    }
}

/// A boundary that no part contains. The id is new, so that the first one does, unless somebody foresaw it.
fn boundary(id: Id, parts: &[Part<'_>]) -> String {
    // `=_` stands in no quoted-printable text (RFC 2045 §6.7).
    let candidates = (0..).map(|number| format!("=_{id}.{number}"));
    let is_free = |boundary: &String| {
        let finder = memchr::memmem::Finder::new(boundary);
        parts.iter().all(|part| finder.find(part.octets()).is_none())
    };
    candidates.into_iter().find(is_free).expect("a finite text does not hold every number")
}

pub(super) fn date(time: SystemTime) -> Date {
    Date::new(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() as i64)
}

#[cfg(test)]
mod tests;
