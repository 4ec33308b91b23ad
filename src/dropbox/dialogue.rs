//! The few commands that hand a message to the daemon over a Unix socket. Blocking, with a deadline on every read and write: it serves a
//! program that does nothing else.

use super::Parcel;
use crate::mail::Address;
use memchr::memchr_iter;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

/// Longest wait for a greeting, and for room in a socket's buffer.
const GREETING: Duration = Duration::from_secs(10);

/// Longest wait for a reply to a command.
const COMMAND: Duration = Duration::from_secs(60);

/// Longest wait for the last reply: under the contract `direct` it is the provider's (RFC 5321 §4.5.3.2.6).
const LAST: Duration = Duration::from_secs(600);

/// Octets of a reply line, and lines of a reply.
const LONGEST_LINE: u64 = 4096;
const MOST_LINES: usize = 100;

/// How a reply about too many recipients goes on behind its code (RFC 3463 §3.6).
const TOO_MANY: &str = "4.5.3";

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The code.
    pub code: u16,
    /// The rest, in one line.
    pub text: String,
}

/// The command that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// Whom we are, or from whom.
    Sender,
    /// This recipient.
    Recipient(Address),
    /// The message.
    Message,
}

/// Why a message was not taken.
#[derive(Debug)]
pub enum NotTaken {
    /// Nobody answers, or the daemon stops.
    Down(String),
    /// So many recipients at most: the others have to go in further messages. Nobody was sent anything.
    TooMany(usize),
    /// An answer against it.
    Refused(At, Said),
}

/// Hands over; `Ok` is the daemon's promise.
pub fn hand_over(stream: UnixStream, parcel: &Parcel, name: &str) -> Result<Said, NotTaken> {
    let mut way = Way { stream: BufReader::new(stream) };
    let is_ascii = parcel.sender.iter().chain(&parcel.recipients).all(Address::is_ascii);
    expect(way.reply(GREETING)?, 220, At::Sender)?;
    expect(way.say(&format!("EHLO {name}"))?, 250, At::Sender)?;
    let mut mail = format!("MAIL FROM:<{}> SIZE={}", parcel.sender.as_ref().map_or("", Address::as_str), parcel.octets.len());
    if !parcel.octets.is_ascii() {
        mail += " BODY=8BITMIME";
    }
    if !is_ascii {
        mail += " SMTPUTF8";
    }
    for parameter in parcel.of_sender() {
        mail = mail + " " + &parameter;
    }
    expect(way.say(&mail)?, 250, At::Sender)?;
    let notify = parcel.notify.map_or(String::new(), |notify| format!(" NOTIFY={notify}"));
    for (accepted, recipient) in parcel.recipients.iter().enumerate() {
        let said = way.say(&format!("RCPT TO:<{recipient}>{notify}"))?;
        // RFC 5321 §4.5.3.1.10.
        if accepted > 0 && said.code == 452 && said.text.starts_with(TOO_MANY) {
            return Err(NotTaken::TooMany(accepted));
        }
        expect(said, 250, At::Recipient(recipient.clone()))?;
    }
    expect(way.say("DATA")?, 354, At::Message)?;
    way.write(&stuffed(&parcel.octets))?;
    let said = expect(way.reply(LAST)?, 250, At::Message)?;
    // It has been taken, whatever becomes of the farewell.
    let _ = way.write(b"QUIT\r\n");
    Ok(said)
}

fn expect(said: Said, code: u16, at: At) -> Result<Said, NotTaken> {
    // What a size that was announced beside the sender is too large for is the message.
    let at = if said.code == 552 && at == At::Sender { At::Message } else { at };
    match said.code {
        421 => Err(NotTaken::Down(format!("421 {}", said.text))),
        found if found == code => Ok(said),
        _ => Err(NotTaken::Refused(at, said)),
    }
}

/// The message with its dots doubled and its end (RFC 5321 §4.5.2).
fn stuffed(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 64 + 5);
    let mut start = 0;
    for end in memchr_iter(b'\n', octets).map(|at| at + 1).chain([octets.len()]) {
        let line = &octets[start..end];
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        start = end;
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

struct Way {
    stream: BufReader<UnixStream>,
}

impl Way {
    fn say(&mut self, command: &str) -> Result<Said, NotTaken> {
        self.write(format!("{command}\r\n").as_bytes())?;
        self.reply(COMMAND)
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), NotTaken> {
        let stream = self.stream.get_mut();
        stream.set_write_timeout(Some(COMMAND)).and_then(|()| stream.write_all(octets)).map_err(down)
    }

    fn reply(&mut self, wait: Duration) -> Result<Said, NotTaken> {
        self.stream.get_ref().set_read_timeout(Some(wait)).map_err(down)?;
        let mut texts: Vec<String> = Vec::new();
        while texts.len() < MOST_LINES {
            let mut line = Vec::new();
            (&mut self.stream).take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(down)?;
            if !line.ends_with(b"\n") {
                return Err(NotTaken::Down("the daemon closed the connection".to_owned()));
            }
            let line = String::from_utf8_lossy(&line);
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let Some(code) = code else { return Err(NotTaken::Down(format!("no SMTP reply: {}", line.trim_end()))) };
            texts.push(line.get(4..).unwrap_or_default().trim().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Said { code, text: texts.join(" ") });
            }
        }
        Err(NotTaken::Down("a reply without an end".to_owned()))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "given to map_err")]
fn down(error: io::Error) -> NotTaken {
    NotTaken::Down(match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the daemon does not answer in time".to_owned(),
        _ => format!("the connection to the daemon broke: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_and_the_end_is_added() {
        for (message, expected) in [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            (".\r\n..\r\na.\r\n", "..\r\n...\r\na.\r\n.\r\n"),
            ("a\r\n.", "a\r\n..\r\n.\r\n"),
        ] {
            assert_eq!(String::from_utf8(stuffed(message.as_bytes())).unwrap(), expected, "{message:?}");
        }
    }
}
