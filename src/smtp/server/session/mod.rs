//! The session of one app as a state machine: it takes bytes and gives actions; whoever owns the socket carries them out.
//!
//! Call [`Session::next`] until it gives nothing, then bring more bytes. A question (`Authenticate`, `Mail`, `Recipient`,
//! `Message`) stops it until the answer comes, so pipelined input is worked off in order and never lost (RFC 2920 §3.2).

mod body;
mod commands;
#[cfg(test)]
mod tests;

use super::{auth::Exchange, bdat::Chunk, data::Data, line::Lines, text::Text};
use crate::{
    mail::{Address, Envelope, Recipient},
    secret::Secret,
    smtp::Reply,
};
use std::{collections::VecDeque, sync::Arc};

/// RFC 4954 §4 asks for no close before three failed logins, whatever the limit says.
const FEWEST_ERRORS: u32 = 3;

/// What a listener allows.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Our name.
    pub hostname: Arc<str>,
    /// Whether AUTH is offered at all.
    pub offers_auth: bool,
    /// Whether it is offered without encryption, too.
    pub clear_auth: bool,
    /// How the session begins.
    pub encryption: Encryption,
    /// Octets of a message.
    pub message_size: u64,
    /// Recipients of a message.
    pub recipients: usize,
    /// Commands in error before the session ends; three at least.
    pub errors: u32,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Not, and the listener has no TLS.
    None,
    /// Not yet: STARTTLS is offered.
    Offered,
    /// By TLS.
    On,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send it.
    Reply(Reply),
    /// Is this user who it says? Answer with [`Session::authenticated`].
    Authenticate {
        /// The user name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// May this sender send? Answer with [`Session::decide`].
    Mail(Option<Address>),
    /// May this recipient be sent to? Answer with [`Session::decide`].
    Recipient(Recipient),
    /// A message begins; its envelope is [`Session::envelope`].
    Begin,
    /// The buffer holds more of the message: clean CRLF lines. Take it and clear the buffer.
    Body,
    /// Forget what came of the message: it is refused, or the app gave it up.
    Discard,
    /// The message is whole. Answer with [`Session::settle`].
    Message(Envelope),
    /// Send what is unsent and begin the handshake. Go on with [`Session::restart`], or close.
    StartTls,
    /// Send what is unsent and close.
    Close(Closing),
}

/// Why a session ends on our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// QUIT.
    Quit,
    /// Too many commands in error.
    Errors,
    /// The first line was an HTTP request: a browser was sent here.
    Http,
    /// The first octet was of a TLS handshake, and none was expected.
    Tls,
    /// A line or a refused message that does not end.
    Flood,
    /// A BDAT without a readable size.
    Unframed,
    /// What proved the app does so no more.
    Unproven,
}

/// How the app introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Its argument, anything or nothing.
    pub name: String,
    /// EHLO rather than HELO.
    pub is_extended: bool,
}

/// The session.
pub struct Session {
    rules: Rules,
    /// Octets of a message of this app, where it is allowed fewer than the listener takes.
    own_size: Option<u64>,
    is_known: bool,
    is_authenticated: bool,
    opening: Opening,
    hello: Option<Hello>,
    errors: u32,
    lines: Lines,
    state: State,
    transaction: Option<Transaction>,
    actions: VecDeque<Action>,
}

/// How much the app has said: its first octet and its first line tell programs that speak something else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    Silent,
    Begun,
    Over,
}

enum State {
    Command,
    Exchange(Exchange),
    Asked(Question),
    Data(Data),
    Chunk(Chunk),
    Closed,
}

enum Question {
    Identity,
    Handshake,
    Sender(Envelope),
    Recipient(Recipient),
    Message,
}

/// From MAIL to the verdict.
struct Transaction {
    envelope: Envelope,
    message: Option<Message>,
}

/// A message that is arriving.
struct Message {
    text: Text,
    /// Octets taken from the app.
    taken: u64,
    is_discarded: bool,
}

impl Session {
    /// A session that has said nothing yet. `is_known`: the app may send without a password.
    pub fn new(rules: Rules, is_known: bool) -> Self {
        let greeting = Reply::new(220, None, format!("{} ESMTP outlink", rules.hostname));
        Self {
            rules,
            own_size: None,
            is_known,
            is_authenticated: false,
            opening: Opening::Silent,
            hello: None,
            errors: 0,
            lines: Lines::default(),
            state: State::Command,
            transaction: None,
            actions: VecDeque::from([Action::Reply(greeting)]),
        }
    }

    /// What to do next; `None` when it needs more input, waits for an answer, or is over. Takes what it used from `input`; clean
    /// message octets are added to `body` and announced by [`Action::Body`].
    pub fn next(&mut self, input: &mut &[u8], body: &mut Vec<u8>) -> Option<Action> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            match &self.state {
                State::Command | State::Exchange(_) => self.take_line(input)?,
                State::Data(_) => self.take_data(input, body)?,
                State::Chunk(_) => self.take_chunk(input, body)?,
                State::Asked(_) | State::Closed => return None,
            }
        }
    }

    /// The envelope of the message under way.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.transaction.as_ref().map(|transaction| &transaction.envelope)
    }

    /// How the app introduced itself, if it did.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// Whether the app proved itself by password.
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Whether a message is under way, from MAIL to its verdict.
    pub fn is_in_message(&self) -> bool {
        self.transaction.is_some() || matches!(self.state, State::Asked(Question::Sender(_) | Question::Message))
    }

    /// Whether the octets of a message are arriving.
    pub fn is_in_body(&self) -> bool {
        matches!(self.state, State::Data(_) | State::Chunk(_))
    }

    /// How what came of the message under way ends, if that looks like the end of a message and is none.
    pub fn seeming_end(&self) -> Option<&'static str> {
        match &self.state {
            State::Data(data) => data.seeming_end(),
            _ => None,
        }
    }

    /// Answers [`Action::StartTls`] after the handshake: forgets everything that the app said, and what it sent and was not yet
    /// read: what stands before a handshake was written by anybody (RFC 3207 §4.2). No greeting follows. `is_known`: as for
    /// [`Session::new`], now that the app may have shown a certificate.
    pub fn restart(&mut self, input: &mut &[u8], is_known: bool) {
        *input = &[];
        self.lines.forget();
        *self = Self::new(Rules { encryption: Encryption::On, ..self.rules.clone() }, is_known);
        self.actions.clear();
    }

    /// Takes smaller messages than the listener announces, from here on: the app is known now.
    pub fn limit_size(&mut self, own: Option<u64>) {
        self.own_size = own;
    }

    /// Octets of a message that are taken.
    fn most_octets(&self) -> u64 {
        self.own_size.map_or(self.rules.message_size, |own| own.min(self.rules.message_size))
    }

    /// Answers [`Action::Authenticate`]. Who failed is nobody until a login succeeds, whatever else it proves: else a slip in its password
    /// stays unnoticed.
    pub fn authenticated(&mut self, verdict: Result<(), Reply>) {
        if !matches!(self.state, State::Asked(Question::Identity)) {
            return;
        }
        self.state = State::Command;
        self.is_authenticated = verdict.is_ok();
        self.is_known &= verdict.is_ok();
        match verdict {
            Ok(()) => self.reply(235, (7, 0), "authentication succeeded"),
            Err(reply) => self.error(reply),
        }
    }

    /// Answers [`Action::Mail`] and [`Action::Recipient`]. `421` ends the session (RFC 5321 §3.8).
    pub fn decide(&mut self, verdict: Result<(), Reply>) {
        let question = match std::mem::replace(&mut self.state, State::Command) {
            State::Asked(question @ (Question::Sender(_) | Question::Recipient(_))) => question,
            other => return self.state = other,
        };
        if let Err(reply) = verdict {
            let is_last = reply.code == 421;
            self.actions.push_back(Action::Reply(reply));
            if is_last {
                self.close(Closing::Unproven);
            }
            return;
        }
        match (question, &mut self.transaction) {
            (Question::Sender(envelope), _) => {
                self.transaction = Some(Transaction { envelope, message: None });
                self.reply(250, (1, 0), "sender ok");
            }
            (Question::Recipient(recipient), Some(transaction)) => {
                transaction.envelope.recipients.push(recipient);
                self.reply(250, (1, 5), "recipient ok");
            }
            _ => {}
        }
    }

    /// Answers [`Action::Message`] with the verdict for the app.
    pub fn settle(&mut self, reply: Reply) {
        if !matches!(self.state, State::Asked(Question::Message)) {
            return;
        }
        self.state = State::Command;
        if reply.is_positive() {
            self.errors = 0;
        }
        self.actions.push_back(Action::Reply(reply));
    }

    fn reply(&mut self, code: u16, enhanced: (u16, u16), text: impl Into<String>) {
        self.actions.push_back(Action::Reply(Reply::new(code, Some(enhanced), text)));
    }

    /// A reply to a command in error; the last one allowed ends the session.
    fn error(&mut self, reply: Reply) {
        self.actions.push_back(Action::Reply(reply));
        self.errors += 1;
        if self.errors >= self.rules.errors.max(FEWEST_ERRORS) {
            self.reply(421, (7, 0), "too many commands in error");
            self.close(Closing::Errors);
        }
    }

    fn close(&mut self, why: Closing) {
        self.abort();
        self.state = State::Closed;
        self.actions.push_back(Action::Close(why));
    }

    /// Ends the transaction, if there is one.
    fn abort(&mut self) {
        let message = self.transaction.take().and_then(|transaction| transaction.message);
        if message.is_some_and(|message| !message.is_discarded) {
            self.actions.push_back(Action::Discard);
        }
    }
}
