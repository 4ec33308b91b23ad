//! One SMTP conversation: bytes in, replies out, and what the connection is to do next. It knows no socket.
//!
//! Input is worked off command by command, so commands sent together are answered in order (RFC 2920).

use super::{
    Shared,
    auth::Pending,
    clock::{unix_milliseconds, unix_seconds},
    faults::{Fault, Step},
    mailroom::Draft,
    personality::{self, Texts},
    random_text,
    receive::Dots,
    silence::Held,
    transaction::{Fate, Transaction},
    usage::Counted,
};
use bytes::BytesMut;
use memchr::memchr;
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// Longest command line; AUTH responses are the longest (RFC 4954 §4).
const LONGEST_LINE: usize = 12_288;

/// Commands in error before the connection is closed.
const MOST_ERRORS: u32 = 100;

/// Words of diagnostics: Exchange's text is some two thousand octets long.
const DIAGNOSTICS: u32 = 110;

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
    /// Send what was said, then nothing while [`Session::is_silent`].
    Silent,
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

/// What the next bytes are.
pub(super) enum Dialogue {
    Command,
    Auth(Pending),
    Data(Dots, Draft),
    Chunk { left: u64, last: bool, fate: Fate },
}

/// One conversation.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) way: Way,
    pub(super) secure: bool,
    pub(super) login: Option<Login>,
    pub(super) id: String,
    pub(super) helo: Option<String>,
    pub(super) dialogue: Dialogue,
    pub(super) transaction: Option<Transaction>,
    /// What a fault keeps unanswered.
    pub(super) held: Option<Held>,
    /// A reply that waits for the octets of its chunk, and what follows it.
    pub(super) unsaid: Option<(String, Turn)>,
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
            held: None,
            unsaid: None,
            errors: 0,
        }
    }

    pub(super) fn greet(&self, out: &mut Vec<u8>) -> Turn {
        if let Some(turn) = self.speak(Step::Greeting, out) {
            return turn;
        }
        self.say(out, self.texts().greeting, &[]);
        Turn::Again
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

    /// A command as it arrives: one that is silenced and obeyed later comes by here once.
    fn command(&mut self, line: &[u8], out: &mut Vec<u8>) -> Turn {
        if verb(line) == b"MAIL" {
            self.shared.usage.mail_commands.fetch_add(1, Relaxed);
        }
        if self.silences(line) {
            return Turn::Silent;
        }
        let step = match verb(line).as_slice() {
            b"EHLO" | b"HELO" => Some(Step::Ehlo),
            b"MAIL" => Some(Step::Mail),
            b"RCPT" => Some(Step::Rcpt),
            b"DATA" => Some(Step::Data),
            _ => None,
        };
        if let Some(turn) = step.and_then(|step| self.speak(step, out)) {
            return turn;
        }
        self.obey(line, out)
    }

    pub(super) fn obey(&mut self, line: &[u8], out: &mut Vec<u8>) -> Turn {
        let rest = memchr(b' ', line).map_or(&b""[..], |at| line[at + 1..].trim_ascii());
        let rest = String::from_utf8_lossy(rest);
        match verb(line).as_slice() {
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
                let verb = line.split(|b| *b == b' ').next().unwrap_or_default();
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
}

/// The first word of a command, in capitals.
pub(super) fn verb(line: &[u8]) -> Vec<u8> {
    line[..memchr(b' ', line).unwrap_or(line.len())].to_ascii_uppercase()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let mut buf = BytesMut::from(vec![b'a'; LONGEST_LINE].as_slice());
        assert!(matches!(take_line(&mut buf), Line::Partial));
        buf.extend_from_slice(b"aa");
        assert!(matches!(take_line(&mut buf), Line::TooLong));
    }
}
