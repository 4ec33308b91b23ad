//! Cleans the inside of a message, after its framing was taken off: every line ends with CRLF and nothing else holds a CR or LF.
//! So no server behind us can find a line end where we saw none (SMTP smuggling).
//!
//! Bare LF becomes CRLF, CRs before CRLF are dropped, any other CR becomes a space (RFC 5321 §2.3.8 allows neither alone). NUL
//! and lines over 64 KiB refuse the message. Faults are collected to its end, so that the verdict does not depend on how the
//! bytes arrived.

use crate::smtp::Reply;
use memchr::memchr3;

/// Longest text line, in octets without its end. RFC 5321 §4.5.3.1.6 says 1,000; apps that put HTML on one line send far more.
const LONGEST_LINE: usize = 64 * 1024;

/// The cleaner of one message.
#[derive(Debug)]
pub(super) struct Text {
    /// Octets allowed.
    largest: u64,
    /// Octets of clean text so far.
    length: u64,
    /// Octets of the current line.
    line: usize,
    /// CRs that wait for what follows them.
    crs: usize,
    has_nul: bool,
    has_long_line: bool,
}

impl Text {
    pub(super) fn new(largest: u64) -> Self {
        Self { largest, length: 0, line: 0, crs: 0, has_nul: false, has_long_line: false }
    }

    /// Takes the next raw octets and adds clean ones to `out`; nothing once the message is refused.
    pub(super) fn push(&mut self, mut raw: &[u8], out: &mut Vec<u8>) {
        while let Some(&first) = raw.first() {
            if self.crs > 0 {
                raw = self.after_cr(first, raw, out);
                continue;
            }
            let Some(index) = memchr3(b'\r', b'\n', 0, raw) else {
                return self.add(raw, out);
            };
            let (before, rest) = raw.split_at(index);
            raw = match rest {
                // Almost every line: one copy with its end.
                [b'\r', b'\n', next @ ..] => {
                    self.add(before, out);
                    self.end_line(out);
                    next
                }
                [b'\n', next @ ..] => {
                    self.add(before, out);
                    self.end_line(out);
                    next
                }
                [b'\r', next @ ..] => {
                    self.add(before, out);
                    self.crs = 1;
                    next
                }
                _ => {
                    self.has_nul = true;
                    &rest[1..]
                }
            };
        }
    }

    /// Decides about waiting CRs; gives what is left of `raw`.
    fn after_cr<'a>(&mut self, first: u8, raw: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        match first {
            b'\r' => {
                self.crs += 1;
                // So that a flood of CRs is noticed before it ends; the spaces would count the same.
                self.has_long_line |= self.line + self.crs > LONGEST_LINE;
                &raw[1..]
            }
            b'\n' => {
                self.crs = 0;
                self.end_line(out);
                &raw[1..]
            }
            _ => {
                self.spaces(out);
                raw
            }
        }
    }

    fn spaces(&mut self, out: &mut Vec<u8>) {
        let spaces = [b' '; 64];
        while self.crs > 0 {
            let count = self.crs.min(spaces.len());
            self.add(&spaces[..count], out);
            self.crs -= count;
        }
    }

    fn add(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.line += piece.len();
        self.length += piece.len() as u64;
        self.has_long_line |= self.line > LONGEST_LINE;
        if !self.is_refused() {
            out.extend_from_slice(piece);
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.line = 0;
        self.length += 2;
        if !self.is_refused() {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Ends the message. A CR at its very end is a bare one.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.spaces(out);
    }

    /// Whether the message is refused already.
    pub(super) fn is_refused(&self) -> bool {
        self.has_nul || self.has_long_line || self.length > self.largest
    }

    /// Why it is refused, if it is.
    pub(super) fn refusal(&self) -> Option<Reply> {
        if self.has_nul {
            return Some(Reply::new(554, Some((6, 0)), "the message holds a NUL octet"));
        }
        if self.has_long_line {
            return Some(Reply::new(554, Some((6, 0)), "the message holds a line of more than 65536 octets"));
        }
        (self.length > self.largest).then(|| too_large(self.largest))
    }
}

/// RFC 1870 §6.1.
pub(super) fn too_large(largest: u64) -> Reply {
    Reply::new(552, Some((3, 4)), format!("the message is larger than {largest} octets"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(raw: &[u8], size: usize, largest: u64) -> Result<Vec<u8>, String> {
        let (mut text, mut out) = (Text::new(largest), Vec::new());
        raw.chunks(size).for_each(|piece| text.push(piece, &mut out));
        text.finish(&mut out);
        text.refusal().map_or(Ok(out), |reply| Err(reply.to_string()[..9].to_owned()))
    }

    #[test]
    fn line_ends_are_made_crlf() {
        for (raw, expected) in [
            (&b""[..], &b""[..]),
            (b"a\r\nb\r\n", b"a\r\nb\r\n"),
            (b"a", b"a"),
            (b"a\nb\n", b"a\r\nb\r\n"),
            (b"a\r\r\r\nb", b"a\r\nb"),
            (b"a\rb\r\rc", b"a b  c"),
            (b"a\r\n\r\n\nb", b"a\r\n\r\n\r\nb"),
            (b"\r.\r", b" . "),
            (b"\r", b" "),
            (b"a\n\rb", b"a\r\n b"),
        ] {
            for size in [1, 2, 3, 100] {
                assert_eq!(clean(raw, size, 100).unwrap(), expected, "{}", raw.escape_ascii());
            }
        }
    }

    #[test]
    fn nul_long_lines_and_size_refuse() {
        let line = |length: usize| [&vec![b'a'; length][..], b"\r\n"].concat();
        for (raw, largest, expected) in [
            (b"a\0b\r\n".to_vec(), 100, Err("554 5.6.0".to_owned())),
            (line(65536), 65538, Ok(line(65536))),
            (line(65537), 1_000_000, Err("554 5.6.0".to_owned())),
            (vec![b'\r'; 65537], 1_000_000, Err("554 5.6.0".to_owned())),
            (line(8), 10, Ok(line(8))),
            (line(9), 10, Err("552 5.3.4".to_owned())),
            ([line(9), b"\0".to_vec()].concat(), 10, Err("554 5.6.0".to_owned())),
        ] {
            for size in [1, 1000, 1_000_000] {
                assert_eq!(clean(&raw, size, largest), expected);
            }
        }
    }
}
