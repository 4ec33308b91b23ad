//! One message in the client's dialogue: which commands go out together, and what each reply means for its recipients.
//!
//! The machine says what to write next ([`Transaction::next`]) and takes replies as they come, also while a body is still being
//! written. Four rules shape it:
//! - With PIPELINING (RFC 2920) everything that no reply can change goes out in one group; with CHUNKING (RFC 3030) that holds
//!   even the body, when it is small. Without PIPELINING it goes in lock-step.
//! - Where no recipient was accepted, the reply to the body says nothing; a `354` is then answered by a lone dot.
//! - After a refused BDAT the server's state is unknown (RFC 3030 §2): RSET.
//! - A server that offers BDAT and then does not know it gets the message once more, by DATA; never after silence.

mod commands;

use super::{Capabilities, Malformed};
use crate::{mail::Envelope, smtp::Reply, smtp::Step};
use std::collections::VecDeque;

/// Largest body, in octets, that goes out together with its envelope. Beyond it a refused recipient would cost more
/// than a round trip.
pub const LARGEST_GROUPED: u64 = 128 * 1024;

/// What happens when one of several recipients is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing is delivered: the app hears one verdict for all.
    AllOrNone,
    /// The others get the message.
    Each,
}

/// One message to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// From whom, to whom.
    pub envelope: &'a Envelope,
    /// Octets of the body, as SIZE announces them and BDAT counts them.
    pub length: u64,
    /// Its policy.
    pub policy: Policy,
    /// Whether BDAT may be used where offered.
    pub chunking: bool,
    /// Whether the body may go out before `MAIL` was answered. Not on a connection whose peer may be gone: once the last octet
    /// is sent, silence leaves open whether the message was taken.
    pub grouped: bool,
}

/// What the provider said about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// To `MAIL`.
    pub mail: Reply,
    /// To each `RCPT`, in the envelope's order; where `MAIL` was refused, each holds `MAIL`'s reply.
    pub recipients: Vec<Reply>,
    /// To the message, for the accepted recipients; `None` where it was not sent or nobody was accepted.
    pub message: Option<Reply>,
    /// What `message` answers: [`Step::Body`], or [`Step::Data`] where the server did not even want to see the message.
    pub step: Step,
    /// Whether the server took the parameters of RFC 3461, so that it reports what it was asked to report.
    pub dsn: bool,
}

impl Sent {
    /// Whether the provider took responsibility for at least one recipient.
    pub fn is_delivered(&self) -> bool {
        self.message.as_ref().is_some_and(Reply::is_positive)
    }
}

/// What a driver does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Write the bytes, read a reply and give it to [`Transaction::answer`].
    Read(Awaited),
    /// Write the bytes and the message after them, then go on; replies that come meanwhile are given as they come.
    Body(Framing),
    /// The outcome stands.
    Done,
}

/// How the message's end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Stuffed, ended by a lone dot.
    Dots,
    /// As it is; its octets were announced.
    Octets,
}

/// A command that was sent and not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// `MAIL`.
    Mail,
    /// `RCPT`.
    Rcpt,
    /// `DATA`.
    Data,
    /// The end of the message.
    Body,
    /// The lone dot that ends an empty message which nobody shall get.
    LoneDot,
    /// `RSET`.
    Rset,
}

impl Awaited {
    /// The step that it stands for in the dialogue.
    pub fn step(self) -> Step {
        match self {
            Self::Mail => Step::Mail,
            Self::Rcpt => Step::Rcpt,
            Self::Data => Step::Data,
            Self::Body => Step::Body,
            Self::LoneDot | Self::Rset => Step::Other,
        }
    }

    /// Whether `code` can answer it.
    fn takes(self, code: u16) -> bool {
        let wanted = if self == Self::Data { 354 } else { 200 };
        code / 100 >= 4 || code == wanted || (wanted == 200 && code / 100 == 2)
    }
}

/// What is to be done once everything that was sent is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    Recipients,
    Content,
    DataAnswered,
    BodyAnswered,
    Reset,
    Done,
}

/// The state of one message at one server.
#[derive(Debug)]
pub struct Transaction<'a> {
    message: Message<'a>,
    offered: &'a Capabilities,
    chunking: bool,
    stage: Stage,
    awaited: VecDeque<Awaited>,
    /// How many recipients were named to the server.
    named: usize,
    mail: Option<Reply>,
    recipients: Vec<Reply>,
    /// The reply to DATA, or to the message.
    content: Option<Reply>,
    framing: Framing,
    verdict: Option<(Step, Reply)>,
    bdat_unknown: bool,
    /// The 421 by which the server announced that it closes.
    closing: Option<Reply>,
    /// RSET was refused.
    out_of_step: bool,
}

impl<'a> Transaction<'a> {
    /// Begins; `Err` is a verdict of our own: the message cannot go to this server.
    pub fn new(message: Message<'a>, offered: &'a Capabilities) -> Result<Self, Box<Sent>> {
        commands::check(message.envelope, offered).map_err(|reply| Box::new(refused(&message, reply)))?;
        Ok(Self {
            message,
            offered,
            chunking: message.chunking && offered.chunking,
            stage: Stage::Begin,
            awaited: VecDeque::new(),
            named: 0,
            mail: None,
            recipients: Vec::with_capacity(message.envelope.recipients.len()),
            content: None,
            framing: Framing::Octets,
            verdict: None,
            bdat_unknown: false,
            closing: None,
            out_of_step: false,
        })
    }

    /// What comes next; commands are appended to `out`.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Next {
        loop {
            if let Some(&first) = self.awaited.front() {
                return Next::Read(first);
            }
            if self.closing.is_some() {
                self.conclude_closed();
                self.stage = Stage::Done;
            }
            if self.out_of_step {
                self.stage = Stage::Done;
            }
            let body = match self.stage {
                Stage::Begin => self.begin(out),
                Stage::Recipients => self.name_next(out),
                Stage::Content => self.begin_content(out),
                Stage::DataAnswered => self.after_data(out),
                Stage::BodyAnswered => self.after_body(),
                Stage::Reset => self.reset(out),
                Stage::Done => return Next::Done,
            };
            if let Some(framing) = body {
                return Next::Body(framing);
            }
        }
    }

    /// Takes the next reply.
    pub fn answer(&mut self, reply: Reply) -> Result<Awaited, Malformed> {
        let answered = *self.awaited.front().ok_or(Malformed::Unasked)?;
        if !answered.takes(reply.code) {
            return Err(Malformed::Unasked);
        }
        self.awaited.pop_front();
        // RFC 5321 §3.8: a 421 announces that the server closes the connection.
        if reply.code == 421 {
            self.closing = Some(reply.clone());
        }
        match answered {
            Awaited::Mail => self.mail = Some(reply),
            Awaited::Rcpt => self.recipients.push(reply),
            Awaited::Data | Awaited::Body => self.content = Some(reply),
            Awaited::LoneDot => {}
            // A server that does not even reset is out of step: what was read as its replies may have answered other bytes.
            Awaited::Rset => self.out_of_step = !reply.is_positive(),
        }
        Ok(answered)
    }

    /// The step whose reply is awaited next.
    pub fn awaiting(&self) -> Step {
        self.awaited.front().map_or(Step::Other, |awaited| awaited.step())
    }

    /// Whether everything that was sent is answered. While a body is being written this means that its verdict came early.
    pub fn is_answered(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Whether the server announced that it closes, or is out of step: the connection must not be used again.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some() || self.out_of_step
    }

    /// Whether the verdict on the message is still to come: if its last octet was sent, silence leaves open whether it was taken.
    pub fn is_body_awaited(&self) -> bool {
        self.awaited.contains(&Awaited::Body) && self.may_be_wanted()
    }

    /// Whether `MAIL` was refused because the server is closing the connection: nothing of this message was taken.
    pub fn is_closed_at_mail(&self) -> bool {
        self.mail.as_ref().is_some_and(|reply| reply.code == 421)
    }

    /// Whether no reply to this message has come.
    pub fn is_unanswered(&self) -> bool {
        self.mail.is_none()
    }

    /// Whether the server offered BDAT and then did not know it; it gets DATA from now on.
    pub fn is_bdat_unknown(&self) -> bool {
        self.bdat_unknown
    }

    /// Whether replies stand for as many recipients as the server can have taken: silence from now on leaves nothing open.
    fn is_decided(&self) -> bool {
        let refused = self.mail.as_ref().is_some_and(|reply| !reply.is_positive());
        let named = self.recipients.len() == self.message.envelope.recipients.len();
        refused || self.verdict.is_some() || (named && !self.wants_content())
    }

    /// The connection ended, or nothing came in time: the outcome if it stands all the same. `body_sent`: the last octet may have
    /// gone out.
    pub fn ended(&mut self, body_sent: bool) -> Option<Sent> {
        // A 421 counts for everything after it, but not for a body that may have been taken before it.
        if self.closing.is_some() && !(body_sent && self.awaited.contains(&Awaited::Body) && self.may_be_wanted()) {
            self.conclude_closed();
        }
        match (self.stage, &self.content) {
            (Stage::BodyAnswered, Some(_)) => drop(self.after_body()),
            (Stage::DataAnswered, Some(reply)) if reply.code != 354 => drop(self.after_data(&mut Vec::new())),
            _ => {}
        }
        let repeats = self.bdat_unknown && self.chunking;
        (!repeats && self.is_decided()).then(|| self.sent()).flatten()
    }

    /// The outcome, once [`Next::Done`] was given; `None` if a message to be repeated by DATA could not be.
    pub fn sent(&self) -> Option<Sent> {
        let mail = self.mail.clone()?;
        if !mail.is_positive() {
            return Some(refused(&self.message, mail));
        }
        let (step, message) = match &self.verdict {
            None => (Step::Body, None),
            Some((step, reply)) => (*step, Some(reply.clone())),
        };
        Some(Sent { mail, recipients: self.recipients.clone(), message, step, dsn: self.offered.dsn })
    }

    fn begin(&mut self, out: &mut Vec<u8>) -> Option<Framing> {
        commands::mail(self.message.envelope, self.message.length, self.offered, out);
        self.await_reply(Awaited::Mail);
        self.stage = Stage::Recipients;
        if !self.offered.pipelining {
            return None;
        }
        while self.named < self.message.envelope.recipients.len() {
            self.name(out);
        }
        self.stage = Stage::Content;
        let certain = self.message.policy == Policy::Each || self.named == 1;
        match (certain, self.chunking) {
            (true, true) if self.message.grouped && self.message.length <= LARGEST_GROUPED => self.announce(out),
            // DATA costs nothing: the message waits for its 354.
            (true, false) => self.ask(out),
            _ => None,
        }
    }

    /// Lock-step: the next recipient, or what follows the last.
    fn name_next(&mut self, out: &mut Vec<u8>) -> Option<Framing> {
        let accepted = self.mail.as_ref().is_some_and(Reply::is_positive);
        match accepted && self.named < self.message.envelope.recipients.len() {
            true => self.name(out),
            false => self.stage = Stage::Content,
        }
        None
    }

    /// Every recipient is answered: the message follows, or nothing.
    fn begin_content(&mut self, out: &mut Vec<u8>) -> Option<Framing> {
        if !self.wants_content() {
            self.stage = if self.mail.as_ref().is_some_and(Reply::is_positive) { Stage::Reset } else { Stage::Done };
            return None;
        }
        if self.chunking { self.announce(out) } else { self.ask(out) }
    }

    fn announce(&mut self, out: &mut Vec<u8>) -> Option<Framing> {
        commands::bdat_last(self.message.length, out);
        self.await_reply(Awaited::Body);
        self.stage = Stage::BodyAnswered;
        self.framing = Framing::Octets;
        Some(Framing::Octets)
    }

    fn ask(&mut self, out: &mut Vec<u8>) -> Option<Framing> {
        out.extend_from_slice(b"DATA\r\n");
        self.await_reply(Awaited::Data);
        self.stage = Stage::DataAnswered;
        None
    }

    fn after_data(&mut self, out: &mut Vec<u8>) -> Option<Framing> {
        let reply = self.content.take()?;
        let wanted = self.wants_content();
        if reply.code == 354 && wanted {
            self.await_reply(Awaited::Body);
            self.stage = Stage::BodyAnswered;
            self.framing = Framing::Dots;
            return Some(Framing::Dots);
        }
        let mail_accepted = self.mail.as_ref().is_some_and(Reply::is_positive);
        self.stage = if mail_accepted { Stage::Reset } else { Stage::Done };
        if reply.code == 354 {
            // RFC 2920 §3.1: the server waits for a message that nobody shall get.
            out.extend_from_slice(b".\r\n");
            self.await_reply(Awaited::LoneDot);
        } else if wanted {
            self.verdict = Some((Step::Data, reply));
        }
        None
    }

    fn after_body(&mut self) -> Option<Framing> {
        let reply = self.content.take()?;
        let wanted = self.wants_content();
        let mail_accepted = self.mail.as_ref().is_some_and(Reply::is_positive);
        let ended = self.framing == Framing::Dots || (reply.is_positive() && wanted);
        self.stage = match ended || !mail_accepted {
            true => Stage::Done,
            false => Stage::Reset,
        };
        if wanted && self.framing == Framing::Octets && is_about_the_command(&reply) && !self.bdat_unknown {
            self.bdat_unknown = true;
        }
        if wanted {
            self.verdict = Some((Step::Body, reply));
        }
        None
    }

    fn reset(&mut self, out: &mut Vec<u8>) -> Option<Framing> {
        out.extend_from_slice(b"RSET\r\n");
        self.await_reply(Awaited::Rset);
        self.stage = Stage::Done;
        if self.bdat_unknown && self.chunking {
            self.chunking = false;
            self.stage = Stage::Begin;
            self.named = 0;
            self.mail = None;
            self.recipients.clear();
            self.verdict = None;
        }
        None
    }

    fn name(&mut self, out: &mut Vec<u8>) {
        let Some(recipient) = self.message.envelope.recipients.get(self.named) else { return };
        commands::rcpt(recipient, self.offered, out);
        self.named += 1;
        self.await_reply(Awaited::Rcpt);
    }

    fn await_reply(&mut self, of: Awaited) {
        self.awaited.push_back(of);
    }

    /// Whether the message goes to somebody, once every recipient is answered.
    fn wants_content(&self) -> bool {
        let all = self.recipients.len() == self.message.envelope.recipients.len();
        let mail_accepted = self.mail.as_ref().is_some_and(Reply::is_positive);
        mail_accepted && all && self.may_be_wanted()
    }

    /// Whether the message can still go to somebody, by the replies so far.
    fn may_be_wanted(&self) -> bool {
        let mut replies = self.recipients.iter();
        let recipients_allow = match self.message.policy {
            Policy::AllOrNone => replies.all(Reply::is_positive),
            Policy::Each => self.recipients.len() < self.message.envelope.recipients.len() || replies.any(Reply::is_positive),
        };
        self.mail.as_ref().is_none_or(Reply::is_positive) && recipients_allow
    }

    /// The server closed with a 421: it stands for every reply that did not come.
    fn conclude_closed(&mut self) {
        let Some(reply) = self.closing.clone() else { return };
        self.awaited.clear();
        let mail_accepted = self.mail.get_or_insert_with(|| reply.clone()).is_positive();
        self.recipients.resize(self.message.envelope.recipients.len(), reply.clone());
        if self.verdict.is_none() && mail_accepted && self.wants_content() {
            let step = if self.stage == Stage::BodyAnswered { Step::Body } else { Step::Data };
            self.verdict = Some((step, self.content.take().filter(|content| content.code != 354).unwrap_or(reply)));
        }
    }
}

/// The outcome of a message that was refused as a whole, before any recipient counted.
fn refused(message: &Message<'_>, mail: Reply) -> Sent {
    let recipients = vec![mail.clone(); message.envelope.recipients.len()];
    Sent { mail, recipients, message: None, step: Step::Mail, dsn: false }
}

/// Whether a refused BDAT was refused as a command that the server does not know, or not here; the message itself was not judged.
fn is_about_the_command(reply: &Reply) -> bool {
    matches!(reply.code, 500 | 502..=504) && reply.enhanced.is_none_or(|e| e.class == 5 && e.subject == 5)
}

#[cfg(test)]
mod tests;
