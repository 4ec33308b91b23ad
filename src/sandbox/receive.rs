//! Reads a message after DATA: finds its end and removes the stuffed dots (RFC 5321 §4.5.2), by searching, not byte by byte.
//!
//! Only CRLF.CRLF ends it; what else looks like an end (`LF.LF`, `LF.CRLF`) is text and can be seen in what was received.

use memchr::memmem;

/// Where in the message the next byte stands.
#[derive(Debug)]
pub(super) struct Dots {
    line_begins: bool,
}

impl Dots {
    pub(super) fn new() -> Self {
        Self { line_begins: true }
    }

    /// Reads from `input` and gives the text without stuffing to `keep`. Returns how much was read and whether the end was.
    pub(super) fn read(&mut self, input: &[u8], mut keep: impl FnMut(&[u8])) -> (usize, bool) {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            if self.line_begins {
                match rest {
                    [b'.', b'\r', b'\n', ..] => return (at + 3, true),
                    // The rest of the end may still come.
                    [] | [b'.'] | [b'.', b'\r'] => return (at, false),
                    [b'.', ..] => {
                        at += 1;
                        self.line_begins = false;
                        continue;
                    }
                    _ => self.line_begins = false,
                }
            }
            if let Some(found) = memmem::find(rest, b"\r\n.") {
                keep(&rest[..found + 2]);
                at += found + 2;
                self.line_begins = true;
                continue;
            }
            // A CR at the end waits for what follows it.
            let whole = if rest.ends_with(b"\r") { rest.len() - 1 } else { rest.len() };
            keep(&rest[..whole]);
            self.line_begins = rest[..whole].ends_with(b"\r\n");
            return (at + whole, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent, and the message with what stands behind its end.
    type Row<'a> = (&'a [u8], Option<(&'a [u8], &'a [u8])>);

    /// Reads `wire` in pieces of `size`; returns the message and what stands after its end.
    fn receive(wire: &[u8], size: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let (mut dots, mut text, mut buffer) = (Dots::new(), Vec::new(), Vec::new());
        let mut pieces = wire.chunks(size);
        while let Some(piece) = pieces.next() {
            buffer.extend_from_slice(piece);
            let (read, ended) = dots.read(&buffer, |part| text.extend_from_slice(part));
            buffer.drain(..read);
            if ended {
                buffer.extend(pieces.flatten());
                return Some((text, buffer));
            }
        }
        None
    }

    #[test]
    fn a_message_ends_only_where_it_ends_at_any_piece_size() {
        let rows: &[Row<'_>] = &[
            (b".\r\n", Some((b"", b""))),
            (b"a\r\n.\r\nNOOP\r\n", Some((b"a\r\n", b"NOOP\r\n"))),
            (b"..\r\n.\r\n", Some((b".\r\n", b""))),
            (b"a\r\n..b\r\n...\r\n.\r\n", Some((b"a\r\n.b\r\n..\r\n", b""))),
            (b"a\r\n.b\r\n.\r\n", Some((b"a\r\nb\r\n", b""))),
            (b"a\n.\nb\n.\r\nc\r.\r\r\n.\r\n", Some((b"a\n.\nb\n.\r\nc\r.\r\r\n", b""))),
            (b"a\r\r\n.\r\n", Some((b"a\r\r\n", b""))),
            (b"\r\n\r\n.\r\n", Some((b"\r\n\r\n", b""))),
            (b"a\r\n.\r", None),
            (b"a\n.\n", None),
            (b"a\r\n.\n.\r\n", None),
        ];
        for (wire, expected) in rows {
            for size in 1..=wire.len() {
                let got = receive(wire, size);
                let got = got.as_ref().map(|(text, rest)| (text.as_slice(), rest.as_slice()));
                assert_eq!(got, *expected, "{:?} by {size}", String::from_utf8_lossy(wire));
            }
        }
    }
}
