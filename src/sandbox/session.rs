//! One SMTP conversation: bytes in, replies out, and what the connection is to do next. It knows no socket.
//!
//! Input is worked off command by command, so commands sent together are answered in order (RFC 2920).

use super::{
    Shared,
    auth::Pending,
    clock::{unix_milliseconds, unix_seconds},
    faults::Fault,
    mailroom::{Draft, Envelope},
    personality::{self, Texts},
    random_text,
    receive::Dots,
    usage::{Counted, Over},
};
use bytes::{Buf, BytesMut};
use memchr::memchr;
use std::{sync::Arc, time::Duration};

/// Longest command line; AUTH responses are the longest (RFC 4954 §4).
const LONGEST_LINE: usize = 12_288;

/// Commands in error before the connection is closed.
const MOST_ERRORS: u32 = 100;

/// The diagnostic text of Exchange is some two thousand octets long.
const DIAGNOSTICS: usize = 60;

/// How clients reach us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// TLS from the first byte.
    Implicit,
    /// Plain until STARTTLS.
    Starttls,
    /// Plain for ever, for passwords only.
    Plain,
}

/// What the connection does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more in the buffer.
    Again,
    /// Nothing to do before more arrives.
    Wait,
    /// Send what was said, then TLS.
    Starttls,
    /// Send what was said, then close.
    Close,
    /// Close without another word.
    Drop,
}

/// Who is logged in.
pub(super) struct Login {
    pub(super) user: String,
    /// `access token #3`, or `password`.
    pub(super) token: String,
    pub(super) _counted: Counted,
}

enum Dialogue {
    Command,
    Auth(Pending),
    Data(Dots, Draft),
    Chunk { left: u64, last: bool, fate: Fate },
}

/// What becomes of a chunk's octets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    /// Swallowed; the reply is this one (RFC 3030 §2: the octets come all the same).
    Refuse(Refusal),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    UnknownCommand,
    BadSequence,
    NoRecipients,
}

/// The message being put together.
#[derive(Default)]
struct Transaction {
    envelope: Envelope,
    recipients_asked: usize,
    /// Chunks so far; DATA is out once there is one.
    chunks: Option<Draft>,
}

/// One conversation.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) way: Way,
    pub(super) secure: bool,
    pub(super) login: Option<Login>,
    id: String,
    helo: Option<String>,
    dialogue: Dialogue,
    transaction: Option<Transaction>,
    errors: u32,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, way: Way) -> Self {
        Self {
            shared,
            way,
            secure: false,
            login: None,
            id: random_text(12),
            helo: None,
            dialogue: Dialogue::Command,
            transaction: None,
            errors: 0,
        }
    }

    pub(super) fn greet(&self, out: &mut Vec<u8>) {
        self.say(out, self.texts().greeting, &[]);
    }

    /// TLS stands: all knowledge from before is gone (RFC 3207 §4.2).
    pub(super) fn secured(&mut self) {
        self.secure = true;
        self.helo = None;
        self.transaction = None;
    }

    /// How late the next reply is to be, by fault.
    pub(super) fn lateness(&self) -> Option<Duration> {
        self.shared.faults.delay(Fault::SlowReplies, self.user(), &self.shared.clock)
    }

    pub(super) fn texts(&self) -> &'static Texts {
        &self.shared.personality.say
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.login.as_ref().map(|login| login.user.as_str())
    }

    pub(super) fn strikes(&self, fault: Fault) -> bool {
        self.shared.faults.strikes(fault, self.user(), &self.shared.clock)
    }

    /// Appends a reply; `names` besides those that every text may hold.
    pub(super) fn say(&self, out: &mut Vec<u8>, text: &str, names: &[(&str, &str)]) {
        personality::write(out, text, |name, out| match name {
            "id" => out.extend_from_slice(self.id.as_bytes()),
            "host" => out.extend_from_slice(self.shared.personality.host.as_bytes()),
            "unix" => out.extend_from_slice(unix_seconds(self.shared.clock.now()).to_string().as_bytes()),
            "date" => out.extend_from_slice(
                chrono::DateTime::from_timestamp_millis(unix_milliseconds(self.shared.clock.now()))
                    .unwrap_or_default()
                    .to_rfc2822()
                    .as_bytes(),
            ),
            "user" => out.extend_from_slice(self.user().unwrap_or_default().as_bytes()),
            "diagnostics" => {
                (0..DIAGNOSTICS).for_each(|n| out.extend_from_slice(format!("{n}.35250:{:08X}, ", n * 65_793).as_bytes()))
            }
            _ => out.extend_from_slice(names.iter().find(|(n, _)| *n == name).map_or(b"", |(_, value)| value.as_bytes())),
        });
    }

    /// Works off one thing from the buffer.
    pub(super) fn step(&mut self, buf: &mut BytesMut, out: &mut Vec<u8>) -> Turn {
        match &mut self.dialogue {
            Dialogue::Command => match take_line(buf) {
                Line::Whole(line) => self.command(&line, out),
                Line::Partial => Turn::Wait,
                Line::TooLong => self.too_long(out),
            },
            Dialogue::Auth(_) => match take_line(buf) {
                Line::Whole(line) => {
                    let Dialogue::Auth(pending) = std::mem::replace(&mut self.dialogue, Dialogue::Command) else {
                        return Turn::Again;
                    };
                    self.auth_continues(pending, &line, out)
                }
                Line::Partial => Turn::Wait,
                Line::TooLong => self.too_long(out),
            },
            Dialogue::Data(..) => self.data(buf, out),
            Dialogue::Chunk { .. } => self.chunk(buf, out),
        }
    }

    fn too_long(&mut self, out: &mut Vec<u8>) -> Turn {
        self.say(out, "500 5.5.2 line too long", &[]);
        Turn::Close
    }

    fn command(&mut self, line: &[u8], out: &mut Vec<u8>) -> Turn {
        let (verb, rest) = match memchr(b' ', line) {
            Some(at) => (&line[..at], line[at + 1..].trim_ascii()),
            None => (line, &b""[..]),
        };
        let rest = String::from_utf8_lossy(rest);
        match verb.to_ascii_uppercase().as_slice() {
            b"EHLO" => self.hello(&rest, true, out),
            b"HELO" => self.hello(&rest, false, out),
            b"STARTTLS" if self.way == Way::Starttls && !self.secure => {
                self.say(out, self.texts().starttls, &[]);
                return Turn::Starttls;
            }
            b"AUTH" => return self.auth(&rest, line.len() + 2, out),
            b"MAIL" => return self.mail(&rest, out),
            b"RCPT" => return self.rcpt(&rest, out),
            b"DATA" => return self.begin_data(out),
            b"BDAT" => return self.begin_chunk(&rest, out),
            b"RSET" => {
                self.transaction = None;
                self.say(out, self.texts().reset, &[]);
            }
            b"NOOP" => self.say(out, self.texts().noop, &[]),
            b"QUIT" => {
                self.say(out, self.texts().quit, &[]);
                return Turn::Close;
            }
            _ => {
                let command = String::from_utf8_lossy(&verb[..verb.len().min(40)]);
                return self.error(out, self.texts().unknown_command, &[("command", &command)]);
            }
        }
        Turn::Again
    }

    /// A reply to a faulty command; too many of them end the connection.
    pub(super) fn error(&mut self, out: &mut Vec<u8>, text: &str, names: &[(&str, &str)]) -> Turn {
        self.errors += 1;
        self.say(out, text, names);
        if self.errors < MOST_ERRORS { Turn::Again } else { Turn::Close }
    }

    fn hello(&mut self, name: &str, extended: bool, out: &mut Vec<u8>) {
        if name.is_empty() {
            return self.say(out, "501 5.5.4 Empty HELO/EHLO argument not allowed", &[]);
        }
        self.helo = Some(name.to_owned());
        self.transaction = None;
        let shared = self.shared.clone();
        let (persona, options) = (shared.personality, &shared.options);
        if !extended {
            return self.say(out, &format!("250 {}", persona.say.hello), &[]);
        }
        let mut lines = vec![persona.say.hello.to_owned(), format!("SIZE {}", persona.size)];
        lines.extend(persona.extensions.iter().map(|e| (*e).to_owned()));
        if options.chunking.unwrap_or(true) {
            lines.push("CHUNKING".into());
        }
        match self.way {
            Way::Plain => lines.push("AUTH PLAIN LOGIN".into()),
            _ if !self.secure => lines.push("STARTTLS".into()),
            _ => {
                let mut mechanisms = persona.mechanisms.to_owned();
                for more in ["PLAIN", "LOGIN"].iter().filter(|_| options.accept_password) {
                    if !mechanisms.split(' ').any(|m| m == *more) {
                        mechanisms = format!("{mechanisms} {more}");
                    }
                }
                lines.push(format!("AUTH {mechanisms}"));
            }
        }
        let last = lines.len() - 1;
        let reply: Vec<String> =
            lines.iter().enumerate().map(|(i, line)| format!("250{}{line}", if i == last { ' ' } else { '-' })).collect();
        self.say(out, &reply.join("\n"), &[]);
    }

    /// Asks the client for its next AUTH line.
    pub(super) fn await_auth(&mut self, pending: Pending) -> Turn {
        self.dialogue = Dialogue::Auth(pending);
        Turn::Again
    }

    pub(super) fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    pub(super) fn has_greeted(&self) -> bool {
        self.helo.is_some()
    }

    fn mail(&mut self, rest: &str, out: &mut Vec<u8>) -> Turn {
        let texts = self.texts();
        let Some(login) = &self.login else {
            let text = if self.way == Way::Starttls && !self.secure { texts.tls_required } else { texts.authentication_required };
            return self.error(out, text, &[]);
        };
        let (user, token) = (login.user.clone(), login.token.clone());
        if self.transaction.is_some() {
            return self.error(out, texts.bad_sequence, &[]);
        }
        let Some((from, parameters)) = path(rest, "FROM:") else { return self.error(out, texts.syntax, &[]) };
        if self.strikes(Fault::Busy) {
            self.say(out, texts.busy, &[]);
            return Turn::Close;
        }
        let announced = parameters.iter().find_map(|p| p.to_ascii_uppercase().strip_prefix("SIZE=")?.parse::<u64>().ok());
        if announced.is_some_and(|size| size > self.shared.personality.size) {
            self.say(out, texts.too_large, &[]);
            return Turn::Again;
        }
        self.id = random_text(12);
        let envelope = Envelope {
            from,
            mail_parameters: parameters,
            token,
            user,
            helo: self.helo.clone().unwrap_or_default(),
            tls: self.secure,
            ..Envelope::default()
        };
        self.transaction = Some(Transaction { envelope, ..Transaction::default() });
        self.say(out, texts.sender_ok, &[]);
        Turn::Again
    }

    fn rcpt(&mut self, rest: &str, out: &mut Vec<u8>) -> Turn {
        let texts = self.texts();
        let most = self.shared.personality.limits.recipients_per_message;
        let Some((to, parameters)) = path(rest, "TO:").filter(|(to, _)| !to.is_empty()) else {
            return self.error(out, texts.syntax, &[]);
        };
        let Some(transaction) = self.transaction.as_mut().filter(|t| t.chunks.is_none()) else {
            return self.error(out, texts.bad_sequence, &[]);
        };
        transaction.recipients_asked += 1;
        let (first, full) = (transaction.recipients_asked == 1, transaction.envelope.to.len() >= most);
        let marked = to.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("refused"));
        if (first || marked) && self.strikes(Fault::RecipientRefused) {
            self.say(out, texts.recipient_refused, &[("recipient", &to)]);
            return Turn::Again;
        }
        if full {
            self.shared.usage.too_many_recipients(self.user().unwrap_or_default());
        }
        // Even unenforced the number is bounded, far above any limit.
        if full && (self.shared.options.limits || transaction_is_huge(self.transaction.as_ref())) {
            self.say(out, texts.too_many_recipients, &[]);
            return Turn::Again;
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.envelope.to.push(to);
            transaction.envelope.recipient_parameters.push(parameters);
        }
        self.say(out, texts.recipient_ok, &[]);
        Turn::Again
    }

    fn begin_data(&mut self, out: &mut Vec<u8>) -> Turn {
        let texts = self.texts();
        let Some(transaction) = self.transaction.as_ref().filter(|t| t.chunks.is_none()) else {
            return self.error(out, texts.bad_sequence, &[]);
        };
        if transaction.envelope.to.is_empty() {
            return self.error(out, texts.no_recipients, &[]);
        }
        self.say(out, texts.go_ahead, &[]);
        self.dialogue = Dialogue::Data(Dots::new(), Draft::new(&self.shared.mailroom));
        Turn::Again
    }

    fn data(&mut self, buf: &mut BytesMut, out: &mut Vec<u8>) -> Turn {
        if !buf.is_empty() && self.strikes(Fault::DropInData) {
            return Turn::Drop;
        }
        let Dialogue::Data(dots, draft) = &mut self.dialogue else { return Turn::Again };
        let (read, ended) = dots.read(buf, |part| draft.push(part));
        buf.advance(read);
        if !ended {
            return Turn::Wait;
        }
        match std::mem::replace(&mut self.dialogue, Dialogue::Command) {
            Dialogue::Data(_, draft) => self.end_of_message(draft, "DATA", out),
            _ => Turn::Again,
        }
    }

    fn begin_chunk(&mut self, rest: &str, out: &mut Vec<u8>) -> Turn {
        let mut words = rest.split_ascii_whitespace();
        let size = words.next().and_then(|word| word.parse::<u64>().ok());
        let last = words.next().map(|word| word.eq_ignore_ascii_case("LAST"));
        let (Some(left), None | Some(true)) = (size, last) else {
            // What follows cannot be told from commands.
            self.say(out, self.texts().syntax, &[]);
            return Turn::Close;
        };
        let refused = self.shared.options.chunking == Some(false) || self.strikes(Fault::BdatRefused);
        let fate = match &self.transaction {
            _ if refused => Fate::Refuse(Refusal::UnknownCommand),
            None => Fate::Refuse(Refusal::BadSequence),
            Some(transaction) if transaction.envelope.to.is_empty() => Fate::Refuse(Refusal::NoRecipients),
            Some(_) => Fate::Keep,
        };
        self.dialogue = Dialogue::Chunk { left, last: last.is_some(), fate };
        Turn::Again
    }

    fn chunk(&mut self, buf: &mut BytesMut, out: &mut Vec<u8>) -> Turn {
        if !buf.is_empty() && self.strikes(Fault::DropInData) {
            return Turn::Drop;
        }
        let Dialogue::Chunk { left, last, fate } = &mut self.dialogue else { return Turn::Again };
        let part = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
        if *fate == Fate::Keep
            && let Some(transaction) = &mut self.transaction
        {
            transaction.chunks.get_or_insert_with(|| Draft::new(&self.shared.mailroom)).push(&buf[..part]);
        }
        *left -= part as u64;
        buf.advance(part);
        if *left > 0 {
            return Turn::Wait;
        }
        let (last, fate) = (*last, *fate);
        self.dialogue = Dialogue::Command;
        let texts = self.texts();
        match fate {
            Fate::Refuse(Refusal::UnknownCommand) => return self.error(out, texts.unknown_command, &[("command", "BDAT")]),
            Fate::Refuse(Refusal::BadSequence) => return self.error(out, texts.bad_sequence, &[]),
            Fate::Refuse(Refusal::NoRecipients) => return self.error(out, texts.no_recipients, &[]),
            Fate::Keep if !last => self.say(out, texts.chunk_ok, &[]),
            Fate::Keep => {
                if let Some(draft) = self.transaction.as_mut().and_then(|t| t.chunks.take()) {
                    return self.end_of_message(draft, "BDAT", out);
                }
            }
        }
        Turn::Again
    }

    /// The verdict on a whole message.
    fn end_of_message(&mut self, draft: Draft, by: &'static str, out: &mut Vec<u8>) -> Turn {
        let Some(transaction) = self.transaction.take() else { return Turn::Again };
        let mut envelope = transaction.envelope;
        envelope.by = by;
        if let Some(refusal) = self.refusal(&draft, &envelope) {
            self.say(out, refusal, &[("from", &envelope.from)]);
            return Turn::Again;
        }
        let lost = self.strikes(Fault::FinalReplyLost);
        self.shared.mailroom.take(draft, envelope, self.shared.clock.now());
        if lost {
            return Turn::Drop;
        }
        self.say(out, self.texts().accepted, &[]);
        Turn::Again
    }

    /// Why a whole message is refused.
    fn refusal(&self, draft: &Draft, envelope: &Envelope) -> Option<&'static str> {
        let (shared, texts) = (&self.shared, self.texts());
        let (limits, enforced) = (&shared.personality.limits, shared.options.limits);
        for (fault, text) in [
            (Fault::MailboxLogonFailure, texts.logon_failure),
            (Fault::SendAsDenied, texts.send_as_denied),
            (Fault::Quota, texts.quota),
        ] {
            if self.strikes(fault) {
                return Some(text);
            }
        }
        if draft.size() > shared.personality.size {
            return Some(texts.too_large);
        }
        if enforced && limits.message > 0 && draft.size() > limits.message {
            return Some(texts.too_large_after_all);
        }
        let recipients = envelope.to.len() as u64;
        match shared.usage.message(self.user().unwrap_or_default(), recipients, limits, enforced, &shared.clock) {
            Some(Over::Day) if enforced => Some(texts.quota),
            Some(Over::Rate) if enforced => Some(texts.rate),
            _ => None,
        }
    }
}

fn transaction_is_huge(transaction: Option<&Transaction>) -> bool {
    transaction.is_some_and(|t| t.envelope.to.len() >= 10_000)
}

enum Line {
    Whole(Vec<u8>),
    Partial,
    TooLong,
}

/// Takes one line without its end. A lone LF ends a line too: a command smuggled with one would be seen.
fn take_line(buf: &mut BytesMut) -> Line {
    match memchr(b'\n', buf) {
        Some(end) if end <= LONGEST_LINE => {
            let line = buf.split_to(end + 1);
            let line = &line[..end];
            Line::Whole(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
        }
        None if buf.len() <= LONGEST_LINE => Line::Partial,
        _ => Line::TooLong,
    }
}

/// Reads `FROM:<path> PARAMETERS`, strictly: no space before `<`, brackets always.
fn path(text: &str, keyword: &str) -> Option<(String, Vec<String>)> {
    let head = text.get(..keyword.len())?;
    let rest = text[keyword.len()..].strip_prefix('<').filter(|_| head.eq_ignore_ascii_case(keyword))?;
    let mut quoted = false;
    let mut escaped = false;
    let end = rest.bytes().position(|b| {
        let ends = b == b'>' && !quoted;
        quoted ^= b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        ends
    })?;
    let parameters = &rest[end + 1..];
    if !parameters.is_empty() && !parameters.starts_with(' ') || rest[..end].bytes().any(|b| b.is_ascii_control()) {
        return None;
    }
    Some((rest[..end].to_owned(), parameters.split_ascii_whitespace().map(String::from).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_strictly() {
        let row = |text| path(text, "FROM:").map(|(path, parameters)| (path, parameters.join(" ")));
        let ok = |path: &str, parameters: &str| Some((path.to_owned(), parameters.to_owned()));
        assert_eq!(row("FROM:<a@b> SIZE=1 BODY=8BITMIME"), ok("a@b", "SIZE=1 BODY=8BITMIME"));
        assert_eq!(row("from:<>"), ok("", ""));
        assert_eq!(row("FROM:<\"a>b\"@c>"), ok("\"a>b\"@c", ""));
        for text in ["FROM: <a@b>", "FROM:a@b", "FROM:<a@b", "FROM:<a@b>SIZE=1", "TO:<a@b>", "", "FRÖM:<a@b>"] {
            assert_eq!(row(text), None, "{text}");
        }
    }

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let mut buf = BytesMut::from(vec![b'a'; LONGEST_LINE].as_slice());
        assert!(matches!(take_line(&mut buf), Line::Partial));
        buf.extend_from_slice(b"aa");
        assert!(matches!(take_line(&mut buf), Line::TooLong));
    }
}
