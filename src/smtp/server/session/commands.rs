//! What each command does (RFC 5321 §3, §4.1; RFC 4954 §4; RFC 3030 §2).

use super::{Action, Closing, Encryption, Hello, Message, Opening, Question, Session, State, Transaction};
use crate::{
    mail::{Envelope, Recipient},
    secret::Secret,
    smtp::{
        Reply,
        server::{
            auth::{self, Turn},
            bdat::Chunk,
            command::{self, Command, Refused},
            data::Data,
            line::Line,
            text::too_large,
        },
    },
};

impl Session {
    /// Works off one line.
    pub(super) fn take_line(&mut self, input: &mut &[u8]) -> Option<()> {
        // A TLS handshake (RFC 8446 §5.1: content type 22) would wait for our answer, and we for its line end.
        if self.opening == Opening::Silent {
            match input.first() {
                None => return None,
                Some(0x16) => {
                    self.close(Closing::Tls);
                    return Some(());
                }
                Some(_) => self.opening = Opening::Begun,
            }
        }
        // Out of the session while it works on a line that may lie in the reader's buffer.
        let mut lines = std::mem::take(&mut self.lines);
        let in_auth = matches!(self.state, State::Exchange(_));
        let taken = lines.next(input, in_auth).map(|line| self.read(line));
        self.lines = lines;
        taken
    }

    fn read(&mut self, line: Line<'_>) {
        let is_first = std::mem::replace(&mut self.opening, Opening::Over) != Opening::Over;
        let (Line::Complete(start) | Line::TooLong { start, .. }) = line else {
            self.reply(500, (5, 2), "line too long");
            return self.close(Closing::Flood);
        };
        if is_first && is_http(start) {
            self.reply(500, (5, 1), "this is an SMTP server");
            return self.close(Closing::Http);
        }
        let state = std::mem::replace(&mut self.state, State::Command);
        if let Line::TooLong { is_auth, .. } = line {
            if start.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"BDAT ")) {
                // How many octets follow cannot be known, and they must not be read as commands.
                self.reply(501, (5, 4), "line too long");
                return self.close(Closing::Unframed);
            }
            return self.error(Reply::new(500, Some((5, if is_auth { 6 } else { 2 })), "line too long"));
        }
        if let State::Exchange(exchange) = state {
            return self.turn(exchange.respond(start));
        }
        match command::parse(start) {
            Ok(command) => self.obey(command),
            Err(Refused::Reply(reply)) => self.error(reply),
            Err(Refused::Unframed(reply)) => {
                self.actions.push_back(Action::Reply(reply));
                self.close(Closing::Unframed);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Ehlo(name) => self.introduce(name, true),
            Command::Helo(name) => self.introduce(name, false),
            Command::Mail { envelope, size } => self.mail(envelope, size),
            Command::Rcpt(recipient) => self.rcpt(recipient),
            Command::Data => self.data(),
            Command::Bdat { octets, last } => self.bdat(octets, last),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial.as_ref()),
            Command::Starttls => self.starttls(),
            Command::Rset => {
                self.abort();
                self.reply(250, (0, 0), "ok");
            }
            Command::Noop => self.reply(250, (0, 0), "ok"),
            Command::Vrfy => self.reply(252, (0, 0), "send to it, and see"),
            Command::Help => self.reply(214, (0, 0), "RFC 5321 says it all; ask this server's administrator for the rest"),
            Command::NotOffered => self.error(Reply::new(502, Some((5, 1)), "command not offered")),
            Command::Quit => {
                self.reply(221, (0, 0), "bye");
                self.close(Closing::Quit);
            }
        }
    }

    /// EHLO and HELO, any argument or none; both end a transaction (RFC 5321 §4.1.4).
    fn introduce(&mut self, name: String, is_extended: bool) {
        self.abort();
        self.hello = Some(Hello { name, is_extended });
        let mut lines = vec![self.rules.hostname.to_string()];
        if is_extended {
            let offered = ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING"];
            lines.extend(offered.map(str::to_owned));
            lines.push(format!("SIZE {}", self.rules.message_size));
            lines.extend((self.rules.encryption == Encryption::Offered).then(|| "STARTTLS".to_owned()));
            // LOGIN first, as Exchange Online and Gmail say it: devices that worked there may look for `AUTH LOGIN`.
            lines.extend(self.takes_passwords().then(|| "AUTH LOGIN PLAIN".to_owned()));
        }
        self.actions.push_back(Action::Reply(Reply { code: 250, enhanced: None, lines }));
    }

    /// RFC 3207 §4.
    fn starttls(&mut self) {
        match self.rules.encryption {
            Encryption::None => self.error(Reply::new(502, Some((5, 1)), "command not offered")),
            Encryption::On => self.error(Reply::new(503, Some((5, 1)), "the connection is encrypted already")),
            Encryption::Offered => {
                self.abort();
                self.reply(220, (0, 0), "ready for the handshake");
                self.actions.push_back(Action::StartTls);
                self.state = State::Asked(Question::Handshake);
            }
        }
    }

    /// Whether AUTH is offered over the connection as it is now.
    fn takes_passwords(&self) -> bool {
        self.rules.offers_auth && (self.rules.clear_auth || self.rules.encryption == Encryption::On)
    }

    fn auth(&mut self, mechanism: &str, initial: Option<&Secret>) {
        let refused = match () {
            () if !self.rules.offers_auth => Some((502, (5, 1), "AUTH is not offered here")),
            // RFC 4954 §6.
            () if !self.takes_passwords() => Some((
                538,
                (7, 11),
                match self.rules.encryption {
                    Encryption::Offered => "encryption is required before AUTH: STARTTLS first",
                    Encryption::None | Encryption::On => {
                        "a password would cross the network in clear text, and this listener does not take it so"
                    }
                },
            )),
            () if self.is_authenticated => Some((503, (5, 1), "already authenticated")),
            () if self.transaction.is_some() => Some((503, (5, 1), "AUTH is not allowed within a message")),
            () => None,
        };
        match refused {
            Some((code, enhanced, text)) => self.error(Reply::new(code, Some(enhanced), text)),
            None => self.turn(auth::begin(mechanism, initial)),
        }
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Prompt(exchange, reply) => {
                self.state = State::Exchange(exchange);
                self.actions.push_back(Action::Reply(reply));
            }
            Turn::Credentials { user, password } => {
                self.state = State::Asked(Question::Identity);
                self.actions.push_back(Action::Authenticate { user, password });
            }
            Turn::Refused(reply) => {
                // A login like any other that failed.
                self.is_known &= reply.code != 535;
                self.error(reply);
            }
        }
    }

    fn mail(&mut self, envelope: Envelope, size: Option<u64>) {
        if self.transaction.is_some() {
            return self.error(Reply::new(503, Some((5, 1)), "a message is under way: RSET ends it"));
        }
        if !(self.is_authenticated || self.is_known) {
            let text = match self.rules.encryption {
                _ if !self.rules.offers_auth => "this address may not send mail here",
                _ if self.takes_passwords() => "authentication required",
                Encryption::Offered => "authentication required, and encryption before it: STARTTLS first",
                Encryption::None | Encryption::On => {
                    "authentication required, which this listener does not take over an unencrypted connection"
                }
            };
            return self.error(Reply::new(530, Some((7, 0)), text));
        }
        if size.is_some_and(|size| size > self.most_octets()) {
            return self.actions.push_back(Action::Reply(too_large(self.most_octets())));
        }
        self.actions.push_back(Action::Mail(envelope.sender.clone()));
        self.state = State::Asked(Question::Sender(envelope));
    }

    fn rcpt(&mut self, recipient: Recipient) {
        let Some(Transaction { envelope, message: None }) = &self.transaction else {
            return self.error(out_of_order());
        };
        if !recipient.address.is_ascii() && !envelope.smtputf8 {
            return self.error(command::needs_smtputf8());
        }
        if envelope.recipients.len() >= self.rules.recipients {
            return self.reply(452, (5, 3), format!("at most {} recipients in a message", self.rules.recipients));
        }
        self.actions.push_back(Action::Recipient(recipient.clone()));
        self.state = State::Asked(Question::Recipient(recipient));
    }

    fn data(&mut self) {
        let largest = self.most_octets();
        match &mut self.transaction {
            None => self.error(out_of_order()),
            Some(Transaction { message: Some(_), .. }) => {
                self.error(Reply::new(503, Some((5, 1)), "DATA is not allowed after BDAT"));
            }
            Some(Transaction { envelope, .. }) if envelope.recipients.is_empty() => self.error(no_recipient()),
            Some(transaction) => {
                transaction.message = Some(Message::new(largest));
                self.state = State::Data(Data::new());
                self.actions.push_back(Action::Begin);
                self.actions.push_back(Action::Reply(Reply::new(354, None, "end the message with a lone dot")));
            }
        }
    }

    fn bdat(&mut self, octets: u64, is_last: bool) {
        if octets > self.most_swallowed() {
            return self.flood();
        }
        let largest = self.most_octets();
        let refusal = match &mut self.transaction {
            None => Some(out_of_order()),
            Some(transaction) if transaction.envelope.recipients.is_empty() => Some(no_recipient()),
            Some(transaction) => {
                if transaction.message.is_none() {
                    transaction.message = Some(Message::new(largest));
                    self.actions.push_back(Action::Begin);
                }
                None
            }
        };
        self.state = State::Chunk(Chunk::new(octets, is_last, refusal));
    }
}

fn out_of_order() -> Reply {
    Reply::new(503, Some((5, 1)), "not expected now: MAIL comes first, then RCPT, then DATA or BDAT")
}

/// After a pipelined group in which every RCPT was refused (RFC 2920 §3.1).
fn no_recipient() -> Reply {
    Reply::new(554, Some((5, 1)), "no valid recipient")
}

/// Whether a first line comes from a web browser or one of its kin, which can be made to post to any port of its own machine.
fn is_http(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 10] =
        [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ", b"PRI "];
    METHODS.iter().any(|method| line.starts_with(method)) || line.get(..5).is_some_and(|s| s.eq_ignore_ascii_case(b"Host:"))
}
