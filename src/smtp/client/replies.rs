//! Reads replies out of the bytes of a connection (RFC 5321 §4.2), the same ones for any chunking.
//!
//! Exchange writes far more than the 512 octets of RFC 5321 §4.5.3.1.5 into one line, so the bounds are wide; they exist
//! because the peer decides how much it sends.

use crate::smtp::{Enhanced, Reply};

/// Longest line taken. Exchange's diagnostics have been seen at some 4 KiB.
const LONGEST_LINE: usize = 16 * 1024;

/// Longest reply taken, all lines together.
const LONGEST_REPLY: usize = 128 * 1024;

/// Bytes that are no reply; the connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No three digits followed by a space, a hyphen or the line's end.
    #[error("a line of the reply does not begin with a code")]
    Code,
    /// Lines of one reply with different codes.
    #[error("the lines of a reply have different codes")]
    Mixed,
    /// Longer than 16 KiB a line or 128 KiB in all.
    #[error("the reply is too long")]
    TooLong,
    /// A reply that no command waits for, or with a code that cannot answer its command.
    #[error("the reply answers no command")]
    Unasked,
}

/// Collects bytes and gives replies.
#[derive(Debug, Default)]
pub struct Replies {
    /// Bytes not yet read as lines.
    buffer: Vec<u8>,
    /// How far `buffer` was searched for a line end.
    searched: usize,
    /// The lines so far of a reply that goes on.
    partial: Option<Reply>,
    /// Octets of that reply.
    size: usize,
}

impl Replies {
    /// Adds bytes as they arrived. Call [`Self::next`] until it gives nothing before adding more: that bounds the memory.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete reply.
    #[expect(clippy::should_implement_trait, reason = "it can fail, and goes on after `None`")]
    pub fn next(&mut self) -> Result<Option<Reply>, Malformed> {
        while let Some(length) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
            let end = self.searched + length + 1;
            self.size += end;
            if end > LONGEST_LINE || self.size > LONGEST_REPLY {
                return Err(Malformed::TooLong);
            }
            let is_last = read_line(&self.buffer[..end], &mut self.partial)?;
            self.buffer.drain(..end);
            self.searched = 0;
            if is_last {
                self.size = 0;
                return Ok(self.partial.take());
            }
        }
        self.searched = self.buffer.len();
        if self.buffer.len() > LONGEST_LINE {
            return Err(Malformed::TooLong);
        }
        Ok(None)
    }

    /// Whether no byte is left over: between two commands anything else means that both sides are out of step.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.partial.is_none()
    }
}

/// Reads one line with its line end into `reply`; whether it was the last one.
fn read_line(line: &[u8], reply: &mut Option<Reply>) -> Result<bool, Malformed> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (code, rest) = line.split_at_checked(3).ok_or(Malformed::Code)?;
    if !code.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::Code);
    }
    let code = code.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    let (is_last, text) = match rest.split_first() {
        None => (true, rest),
        Some((b' ', text)) => (true, text),
        Some((b'-', text)) => (false, text),
        Some(_) => return Err(Malformed::Code),
    };
    if !(200..600).contains(&code) {
        return Err(Malformed::Code);
    }
    let reply = reply.get_or_insert_with(|| Reply { code, enhanced: None, lines: Vec::with_capacity(1) });
    if reply.code != code {
        return Err(Malformed::Mixed);
    }
    add_text(reply, text);
    Ok(is_last)
}

/// Adds a line's text, without the enhanced code that the whole reply carries.
fn add_text(reply: &mut Reply, text: &[u8]) {
    // Control characters would let a server write into our logs' lines.
    let text: String = String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let (first, rest) = text.split_once(' ').unwrap_or((&text, ""));
    // RFC 2034 §4: no enhanced code in a 3xx reply.
    let enhanced = if reply.code / 100 == 3 { None } else { Enhanced::parse(first) };
    if reply.enhanced.is_none() {
        reply.enhanced = enhanced;
    }
    let repeats = enhanced.is_some() && enhanced == reply.enhanced;
    reply.lines.push(if repeats { rest.trim_start().to_owned() } else { text });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(chunks: &[&[u8]]) -> Result<Vec<Reply>, Malformed> {
        let (mut replies, mut found) = (Replies::default(), Vec::new());
        for chunk in chunks {
            replies.push(chunk);
            while let Some(reply) = replies.next()? {
                found.push(reply);
            }
        }
        Ok(found)
    }

    #[test]
    fn replies_are_read_as_servers_write_them() {
        for (bytes, expected) in [
            ("250 2.0.0 OK\r\n", vec!["250 2.0.0 OK"]),
            ("220 smtp.gmail.com ESMTP x - gsmtp\r\n", vec!["220 smtp.gmail.com ESMTP x - gsmtp"]),
            ("250\r\n", vec!["250 "]),
            ("250 ok\n", vec!["250 ok"]),
            ("550 5.7.708 denied\r\n", vec!["550 5.7.708 denied"]),
            ("535-5.7.8 not accepted.\r\n535 5.7.8  see help\r\n", vec!["535 5.7.8 not accepted. see help"]),
            ("550-first\r\n550 5.1.1 second\r\n", vec!["550 5.1.1 first second"]),
            ("250-5.1.1.1 none\r\n250 end\r\n", vec!["250 5.1.1.1 none end"]),
            ("354 2.0.0 go\r\n", vec!["354 2.0.0 go"]),
            ("250 a\r\n251 b\r\n", vec!["250 a", "251 b"]),
            ("250 a\x1b[31mb\0\r\n", vec!["250 a [31mb "]),
            ("334 \r\n", vec!["334 "]),
        ] {
            let found: Vec<String> = read_all(&[bytes.as_bytes()]).unwrap().iter().map(Reply::to_string).collect();
            assert_eq!(found, expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for (bytes, why) in [
            ("\r\n", Malformed::Code),
            ("25\r\n", Malformed::Code),
            ("hello there\r\n", Malformed::Code),
            ("250_ok\r\n", Malformed::Code),
            ("199 ok\r\n", Malformed::Code),
            ("600 ok\r\n", Malformed::Code),
            ("250-a\r\n550 b\r\n", Malformed::Mixed),
        ] {
            assert_eq!(read_all(&[bytes.as_bytes()]), Err(why), "{bytes:?}");
        }
    }

    #[test]
    fn replies_of_exchanges_length_pass_and_endless_ones_do_not() {
        let line = format!("550-{}\r\n", "x".repeat(8 * 1024));
        let long = format!("{}550 end\r\n", line.repeat(8));
        assert_eq!(read_all(&[long.as_bytes()]).unwrap()[0].lines.len(), 9);
        assert_eq!(read_all(&[line.repeat(100).as_bytes()]), Err(Malformed::TooLong));
        assert_eq!(read_all(&[b"250 ", &[b'x'; 20_000]]), Err(Malformed::TooLong));
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_replies(
            text in "((250|550|421)[ -][ -~]{0,20}\r\n){0,6}[ -~]{0,5}",
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let whole = read_all(&[text.as_bytes()]);
            let (mut rest, mut chunks, mut cut) = (text.as_bytes(), Vec::new(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, tail) = rest.split_at((*cut.next().unwrap()).min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            prop_assert_eq!(read_all(&chunks), whole);
        }

        #[test]
        fn no_bytes_make_it_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut replies = Replies::default();
            replies.push(&bytes);
            while let Ok(Some(_)) = replies.next() {}
            prop_assert!(replies.buffer.len() <= bytes.len());
        }

        #[test]
        fn what_our_server_writes_is_read_back(code in 400u16..600, subject in 0u16..1000, detail in 0u16..1000, text in "[a-z]{1,9}") {
            let reply = Reply::new(code, Some((subject, detail)), text);
            let mut bytes = Vec::new();
            reply.write_to(&mut bytes);
            prop_assert_eq!(read_all(&[&bytes]), Ok(vec![reply]));
        }
    }
}
