//! A message on its way to the daemon, and the file that holds it while none runs.
//!
//! The file begins with `outlink-drop 1`, then one line each for what belongs to the envelope, an empty line, and the message.

use crate::mail::{Address, Notify, Ret, Xtext};
use memchr::memchr;

/// The first line of a file; another number is another format.
const FIRST: &str = "outlink-drop 1";

/// Octets before the message: a thousand recipients of the longest addresses.
pub(super) const LONGEST_ENVELOPE: usize = 1 << 20;

/// Octets of an `ENVID` (RFC 3461 §5.4).
pub const LONGEST_ENVID: usize = 100;

/// A message with its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// From whom; `None` is the null sender.
    pub sender: Option<Address>,
    /// To whom.
    pub recipients: Vec<Address>,
    /// When its sender wants to hear.
    pub notify: Option<Notify>,
    /// How much of it a bounce returns.
    pub ret: Option<Ret>,
    /// The sender's name for it (RFC 3461 §4.4).
    pub envid: Option<Xtext>,
    /// The message, in CRLF lines.
    pub octets: Vec<u8>,
}

/// Why a file is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// It is something else.
    #[error("it does not begin with `{FIRST}`")]
    Other,
    /// Its envelope has no end.
    #[error("its envelope does not end within {LONGEST_ENVELOPE} octets")]
    Endless,
    /// A line of the envelope is none.
    #[error("line {0} of its envelope says nothing that is known")]
    Line(usize),
}

impl Parcel {
    /// The file's octets.
    pub fn write(&self) -> Vec<u8> {
        let mut text = format!("{FIRST}\nfrom <{}>\n", self.sender.as_ref().map_or("", Address::as_str));
        for parameter in self.of_sender() {
            text += &format!("mail {parameter}\n");
        }
        if let Some(notify) = &self.notify {
            text += &format!("notify {notify}\n");
        }
        for recipient in &self.recipients {
            text += &format!("to <{recipient}>\n");
        }
        let mut octets = text.into_bytes();
        octets.push(b'\n');
        octets.extend_from_slice(&self.octets);
        octets
    }

    /// Reads a file's octets.
    pub fn read(octets: &[u8]) -> Result<Self, Foreign> {
        let first = [FIRST.as_bytes(), b"\n"].concat();
        let mut rest = octets.strip_prefix(&first[..]).ok_or(Foreign::Other)?;
        let mut parcel = Self { sender: None, recipients: Vec::new(), notify: None, ret: None, envid: None, octets: Vec::new() };
        let mut number = 1;
        loop {
            let end = memchr(b'\n', &rest[..rest.len().min(LONGEST_ENVELOPE)]).ok_or(Foreign::Endless)?;
            if octets.len() - rest.len() > LONGEST_ENVELOPE {
                return Err(Foreign::Endless);
            }
            let line = &rest[..end];
            rest = &rest[end + 1..];
            number += 1;
            if line.is_empty() {
                parcel.octets = rest.to_vec();
                return Ok(parcel);
            }
            let line = std::str::from_utf8(line).ok();
            line.and_then(|line| parcel.take(line)).ok_or(Foreign::Line(number))?;
        }
    }

    /// What goes with `MAIL` besides the sender.
    pub(super) fn of_sender(&self) -> Vec<String> {
        let ret = self.ret.map(|ret| format!("RET={}", if ret == Ret::Full { "FULL" } else { "HDRS" }));
        let envid = self.envid.as_ref().map(|envid| format!("ENVID={}", envid.as_str()));
        ret.into_iter().chain(envid).collect()
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (word, value) = line.split_once(' ')?;
        let address = || value.strip_prefix('<')?.strip_suffix('>');
        match word {
            "from" if address()?.is_empty() => self.sender = None,
            "from" => self.sender = Some(Address::parse(address()?).ok()?),
            "to" => self.recipients.push(Address::parse(address()?).ok()?),
            "notify" => self.notify = Some(Notify::parse(value).ok()?),
            "mail" => match value.split_once('=')? {
                ("RET", "FULL") => self.ret = Some(Ret::Full),
                ("RET", "HDRS") => self.ret = Some(Ret::Hdrs),
                ("ENVID", envid) => self.envid = Some(Xtext::parse(envid, LONGEST_ENVID).ok()?),
                _ => return None,
            },
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parcel() -> Parcel {
        let address = |text| Address::parse(text).unwrap();
        Parcel {
            sender: Some(address("a@b.example")),
            recipients: vec![address("root"), address("\"x y\"@z.example")],
            notify: Notify::parse("FAILURE,DELAY").ok(),
            ret: Some(Ret::Hdrs),
            envid: Xtext::parse("4711", 100).ok(),
            octets: b"Subject: x\r\n\r\nto <nobody>\n\n".to_vec(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let null = Parcel { sender: None, notify: None, ret: None, envid: None, ..parcel() };
        for parcel in [parcel(), null] {
            assert_eq!(Parcel::read(&parcel.write()), Ok(parcel));
        }
    }

    #[test]
    fn what_is_foreign_is_said() {
        for (text, expected) in [
            ("", Foreign::Other),
            ("outlink-drop 2\n\n", Foreign::Other),
            ("outlink-drop 1\nfrom <>\n", Foreign::Endless),
            ("outlink-drop 1\nfrom <>\nto <a\rb>\n\n", Foreign::Line(3)),
            ("outlink-drop 1\nrun /bin/sh\n\n", Foreign::Line(2)),
            ("outlink-drop 1\nmail BODY=x y\n\n", Foreign::Line(2)),
        ] {
            assert_eq!(Parcel::read(text.as_bytes()), Err(expected), "{text}");
        }
        let endless = format!("outlink-drop 1\n{}", "to <a@b.example>\n".repeat(70_000));
        assert_eq!(Parcel::read(endless.as_bytes()), Err(Foreign::Endless));
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Parcel::read(&[b"outlink-drop 1\n", &octets[..]].concat()));
        }
    }
}
