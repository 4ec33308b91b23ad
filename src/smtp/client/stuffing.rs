//! Makes a message transparent for DATA (RFC 5321 §4.5.2): a dot at the start of a line is doubled, and `CRLF . CRLF` ends it.
//!
//! The message has CRLF lines. A dot after a lone LF is doubled too: no server, however lax, may find an end inside.

/// The state between two pieces of one message.
#[derive(Debug, Clone, Copy)]
pub struct Stuffing {
    /// The last two octets; a message begins as if after a line end, so that a dot as its very first octet is doubled.
    last: [u8; 2],
}

impl Default for Stuffing {
    fn default() -> Self {
        Self { last: *b"\r\n" }
    }
}

impl Stuffing {
    /// Appends `piece` to `out`, stuffed.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let Some(&first) = piece.first() else { return };
        out.reserve(piece.len() + piece.len() / 64);
        if first == b'.' && self.last[1] == b'\n' {
            out.push(b'.');
        }
        let mut copied = 0;
        let mut searched = 0;
        while let Some(found) = piece[searched..].iter().position(|b| *b == b'\n') {
            searched += found + 1;
            if piece.get(searched) == Some(&b'.') {
                out.extend_from_slice(&piece[copied..searched]);
                out.push(b'.');
                copied = searched;
            }
        }
        out.extend_from_slice(&piece[copied..]);
        self.last = match piece {
            [.., a, b] => [*a, *b],
            _ => [self.last[1], first],
        };
    }

    /// Appends the end of the message: the line end that it lacks, and the final dot.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.last != *b"\r\n" {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuffed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let (mut stuffing, mut out) = (Stuffing::default(), Vec::new());
        for piece in pieces {
            stuffing.push(piece, &mut out);
        }
        stuffing.finish(&mut out);
        out
    }

    /// What a server does: lines up to the lone dot, one leading dot removed from each (RFC 5321 §4.5.2).
    fn undotted(bytes: &[u8]) -> (Vec<u8>, usize) {
        let (mut message, mut at) = (Vec::new(), 0);
        loop {
            let end = at + bytes[at..].windows(2).position(|two| two == b"\r\n").unwrap() + 2;
            let line = &bytes[at..end];
            at = end;
            if line == b".\r\n" {
                return (message, at);
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
    }

    #[test]
    fn dots_at_line_starts_are_doubled() {
        for (message, expected) in [
            ("", ".\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r", "a\r\r\n.\r\n"),
            ("\r\n", "\r\n.\r\n"),
            ("a.\r\n.b\r\n..\r\n", "a.\r\n..b\r\n...\r\n.\r\n"),
            (".\r\nMAIL FROM:<a@b>\r\n", "..\r\nMAIL FROM:<a@b>\r\n.\r\n"),
            ("a\n.\n", "a\n..\n\r\n.\r\n"),
        ] {
            assert_eq!(stuffed([message.as_bytes()]), expected.as_bytes(), "{message:?}");
            assert_eq!(stuffed(message.as_bytes().chunks(1)), expected.as_bytes(), "{message:?} byte by byte");
        }
    }

    proptest! {
        #[test]
        fn a_server_reads_back_what_was_stuffed(message in "([.a]{0,4}\r\n){0,20}", size in 1usize..20) {
            let bytes = stuffed(message.as_bytes().chunks(size));
            prop_assert_eq!(undotted(&bytes), (message.into_bytes(), bytes.len()));
        }
    }
}
