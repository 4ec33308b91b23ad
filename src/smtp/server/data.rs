//! Where a message after DATA ends, and which dots are its own (RFC 5321 §4.1.1.4, §4.5.2).
//!
//! Only CRLF.CRLF ends it; the first CRLF may be that of the DATA command. A dot is removed only at the start of a line that
//! follows a true CRLF: exactly what a correct sender added, and nothing else. `LF.LF`, `LF.CRLF`, `CRLF.LF`, `CR.CR` and
//! `CRLF.CR CR LF` end nothing.

use super::text::Text;
use memchr::memmem;

/// Finds the end of one message.
#[derive(Debug)]
pub(super) struct Data {
    at: At,
    /// The last octets that came.
    tail: [u8; 4],
}

/// What stands before the next octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Anything that cannot begin the end.
    Text,
    /// A CR that was passed on.
    Cr,
    /// CRLF, or the DATA command.
    Line,
    /// CRLF and a dot that is kept back.
    Dot,
    /// CRLF, a dot and a CR that are kept back.
    DotCr,
}

impl Data {
    pub(super) fn new() -> Self {
        Self { at: At::Line, tail: [0; 4] }
    }

    /// How what came so far ends, if it looks like the end of a message and is none: the app may think that it said all.
    pub(super) fn seeming_end(&self) -> Option<&'static str> {
        match self.tail {
            [b'\r', b'\n', b'.', b'\n'] => Some("CRLF.LF"),
            [_, b'\n', b'.', b'\n'] => Some("LF.LF"),
            [b'\n', b'.', b'\r', b'\n'] => Some("LF.CRLF"),
            [_, b'\r', b'.', b'\r'] => Some("CR.CR"),
            _ => None,
        }
    }

    /// Takes octets of the message from `input`, and true once its end was among them; what follows the end stays in `input`.
    pub(super) fn push(&mut self, input: &mut &[u8], text: &mut Text, out: &mut Vec<u8>) -> bool {
        let before = *input;
        let is_over = self.advance(input, text, out);
        let taken = &before[..before.len() - input.len()];
        for octet in &taken[taken.len().saturating_sub(self.tail.len())..] {
            self.tail = [self.tail[1], self.tail[2], self.tail[3], *octet];
        }
        is_over
    }

    fn advance(&mut self, input: &mut &[u8], text: &mut Text, out: &mut Vec<u8>) -> bool {
        while let Some((&next, rest)) = input.split_first() {
            self.at = match (self.at, next) {
                (At::DotCr, b'\n') => {
                    *input = rest;
                    return true;
                }
                (At::Line, b'.') => {
                    *input = rest;
                    At::Dot
                }
                (At::Dot, b'\r') => {
                    *input = rest;
                    At::DotCr
                }
                (At::Cr, b'\n') => {
                    text.push(b"\n", out);
                    *input = rest;
                    At::Line
                }
                (At::DotCr, _) => {
                    text.push(b"\r", out);
                    pass(input, text, out)
                }
                (At::Text | At::Cr | At::Line | At::Dot, _) => pass(input, text, out),
            };
        }
        false
    }
}

/// Passes octets on up to a line that begins with a dot, or all.
fn pass(input: &mut &[u8], text: &mut Text, out: &mut Vec<u8>) -> At {
    if let Some(index) = memmem::find(input, b"\r\n.") {
        text.push(&input[..index + 2], out);
        *input = &input[index + 3..];
        return At::Dot;
    }
    let all = std::mem::take(input);
    text.push(all, out);
    match all {
        [.., b'\r', b'\n'] => At::Line,
        [.., b'\r'] => At::Cr,
        _ => At::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The message, and what was left after its end; `None` when the end did not come.
    fn receive(raw: &[u8], size: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let (mut data, mut text, mut out) = (Data::new(), Text::new(1000), Vec::new());
        let mut taken = 0;
        for mut piece in raw.chunks(size) {
            let before = piece.len();
            let is_over = data.push(&mut piece, &mut text, &mut out);
            taken += before - piece.len();
            if is_over {
                return Some((out, raw[taken..].to_vec()));
            }
        }
        None
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_message() {
        for (raw, message) in [
            ("a\r\n.\r\n", "a\r\n"),
            (".\r\n", ""),
            ("..\r\n.\r\n", ".\r\n"),
            ("..a\r\n...\r\n.\r\n", ".a\r\n..\r\n"),
            ("a.\r\n.b\r\n.\r\n", "a.\r\nb\r\n"),
            // The smuggling rows: none of these ends, and none comes out as an end.
            ("a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n"),
            ("a\r\n.\rb\r\n.\r\n", "a\r\n b\r\n"),
            ("a\r.\rb\r\n.\r\n", "a . b\r\n"),
            ("a\r.\r\nb\r\n.\r\n", "a .\r\nb\r\n"),
            ("a\r\n.\r\r\nb\r\n.\r\n", "a\r\n\r\nb\r\n"),
            (".\r\r\nb\r\n.\r\n", "\r\nb\r\n"),
            (".\nb\r\n.\r\n", "\r\nb\r\n"),
            ("a\r\r\n.\r\n", "a\r\n"),
            ("\n.\r\n.\r\n", "\r\n.\r\n"),
            ("a\n..b\r\n.\r\n", "a\r\n..b\r\n"),
        ] {
            let with_rest = format!("{raw}QUIT\r\n");
            for size in [1, 2, 3, 4, 5, 100] {
                let (out, rest) = receive(with_rest.as_bytes(), size).unwrap_or_else(|| panic!("{raw:?} does not end"));
                assert_eq!(String::from_utf8(out).unwrap(), message, "{raw:?} by {size}");
                assert_eq!(rest, b"QUIT\r\n", "{raw:?} by {size}");
            }
        }
        for raw in ["a\n.\n", "a\r\n.\n", "a\n.\r\n", "a\r.\r", "a\r\n.\r\r\n", "a\r\n.\r", "a\r\n..\r\n", "a.\r\n"] {
            assert_eq!(receive(raw.as_bytes(), 100), None, "{raw:?}");
        }
    }

    #[test]
    fn what_only_looks_like_an_end_is_named() {
        for (raw, expected) in [
            ("a\n.\n", Some("LF.LF")),
            ("a\n.\r\n", Some("LF.CRLF")),
            ("a\r\n.\n", Some("CRLF.LF")),
            ("a\r.\r", Some("CR.CR")),
            ("a\r\n..\r\n", None),
            ("a\n.\nb", None),
            ("a", None),
        ] {
            for size in [1, 2, 3, 100] {
                let (mut data, mut text, mut out) = (Data::new(), Text::new(1000), Vec::new());
                for mut piece in raw.as_bytes().chunks(size) {
                    assert!(!data.push(&mut piece, &mut text, &mut out));
                }
                assert_eq!(data.seeming_end(), expected, "{raw:?} by {size}");
            }
        }
    }

    fn stuff(message: &str) -> String {
        let stuffed = message.replace("\r\n.", "\r\n..");
        format!("{}{stuffed}.\r\n", if message.starts_with('.') { "." } else { "" })
    }

    proptest! {
        #[test]
        fn what_was_stuffed_comes_out_as_it_was(lines in prop::collection::vec("[.a]{0,4}", 0..8), size in 1_usize..9) {
            let message: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let (out, rest) = receive(stuff(&message).as_bytes(), size).unwrap();
            prop_assert_eq!((String::from_utf8(out).unwrap(), rest), (message, vec![]));
        }

        #[test]
        fn chunking_changes_nothing_and_what_comes_out_is_clean(raw in "[.\r\na]{0,30}", size in 1_usize..9) {
            let whole = receive(raw.as_bytes(), 1000);
            prop_assert_eq!(&whole, &receive(raw.as_bytes(), size));
            if let Some((out, _)) = whole {
                let text = String::from_utf8(out).unwrap();
                prop_assert!(text.is_empty() || text.ends_with("\r\n"));
                prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
            }
        }
    }
}
