//! Cuts command lines out of the stream. A line ends with LF, a CR before it is dropped; outside a message this is harmless and
//! some devices need it. Memory is bounded whatever comes.

use memchr::memchr;
use zeroize::Zeroize;

/// Longest command line. RFC 5321 §4.5.3.1.4 says 512; DSN and SMTPUTF8 parameters add to it (RFC 3461 §4).
const LONGEST_COMMAND: usize = 4096;

/// Longest line of an AUTH exchange (RFC 4954 §4).
const LONGEST_AUTH: usize = 12_288;

/// How much of one over-long line is swallowed before the session is given up: nobody needs more, a flood never ends.
const LONGEST_SWALLOWED: usize = 1024 * 1024;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A whole line.
    Complete(&'a [u8]),
    /// Too long, and swallowed to its end.
    TooLong {
        /// How it begins.
        start: &'a [u8],
        /// Whether it belongs to AUTH.
        is_auth: bool,
    },
    /// Still no end after a megabyte.
    Endless,
}

/// The reader. Holds what came of a line that is not complete yet.
#[derive(Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Octets of the line that are not in the buffer.
    swallowed: usize,
    /// The line in the buffer was handed out; the next call forgets it.
    is_done: bool,
}

impl Lines {
    /// Takes the next line from `input`; `None` when all was taken and no line end came. `in_auth` is true inside an exchange,
    /// where the longer limit holds; an AUTH command has it anyway.
    pub(super) fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8], in_auth: bool) -> Option<Line<'a>> {
        if self.is_done {
            self.forget();
        }
        let end = memchr(b'\n', input).map(|index| index + 1);
        let (piece, rest) = input.split_at(end.unwrap_or(input.len()));
        *input = rest;
        // The common case: the line lies whole in the input, and nothing is copied.
        if end.is_some() && self.buffer.is_empty() && piece.len() <= limit(piece, in_auth) {
            return Some(Line::Complete(without_end(piece)));
        }
        let kept = piece.len().min(LONGEST_AUTH - self.buffer.len());
        self.buffer.extend_from_slice(&piece[..kept]);
        self.swallowed += piece.len() - kept;
        let length = self.buffer.len() + self.swallowed;
        if length > LONGEST_SWALLOWED {
            self.is_done = true;
            return Some(Line::Endless);
        }
        end?;
        self.is_done = true;
        match length <= limit(&self.buffer, in_auth) {
            true => Some(Line::Complete(without_end(&self.buffer))),
            false => Some(Line::TooLong { start: &self.buffer, is_auth: in_auth || is_auth(&self.buffer) }),
        }
    }

    /// Forgets what came of a line, and wipes it: it may have been a password.
    pub(super) fn forget(&mut self) {
        self.buffer.zeroize();
        if self.buffer.capacity() > LONGEST_COMMAND {
            self.buffer = Vec::new();
        }
        (self.swallowed, self.is_done) = (0, false);
    }
}

fn limit(line: &[u8], in_auth: bool) -> usize {
    if in_auth || is_auth(line) { LONGEST_AUTH } else { LONGEST_COMMAND }
}

fn is_auth(line: &[u8]) -> bool {
    line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "))
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let end = line.iter().rposition(|b| *b != b'\r').map_or(0, |last| last + 1);
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each line of `input` is, with its length, when it comes in pieces of `size`.
    fn cut(input: &[u8], size: usize, in_auth: bool) -> Vec<(&'static str, usize)> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for mut piece in input.chunks(size) {
            while let Some(line) = lines.next(&mut piece, in_auth) {
                found.push(match line {
                    Line::Complete(line) => ("line", line.len()),
                    Line::TooLong { is_auth: false, .. } => ("too long", 0),
                    Line::TooLong { is_auth: true, .. } => ("too long for AUTH", 0),
                    Line::Endless => ("endless", 0),
                });
            }
            assert!(lines.buffer.capacity() <= 4 * LONGEST_AUTH);
        }
        found
    }

    #[test]
    fn a_line_ends_with_lf_and_loses_its_crs() {
        for (input, lengths) in [
            (&b"NOOP\r\nRSET\n"[..], &[4, 4][..]),
            (b"NOOP\r\r\n", &[4]),
            (b"\r\n\n", &[0, 0]),
            (b"a\rb\r\n", &[3]),
            (b"NOOP", &[]),
        ] {
            for size in [1, 2, 3, 100] {
                let expected: Vec<_> = lengths.iter().map(|length| ("line", *length)).collect();
                assert_eq!(cut(input, size, false), expected, "{input:?}");
            }
        }
    }

    #[test]
    fn an_overlong_line_is_swallowed_to_its_end() {
        let line = |start: &str, length: usize| {
            let mut line = start.as_bytes().to_vec();
            line.resize(length - 2, b'a');
            [&line[..], b"\r\nNOOP\r\n"].concat()
        };
        for (input, in_auth, first) in [
            (line("", 4096), false, ("line", 4094)),
            (line("", 4097), false, ("too long", 0)),
            (line("", 100_000), false, ("too long", 0)),
            (line("auth plain ", 12_288), false, ("line", 12_286)),
            (line("AUTH PLAIN ", 12_289), false, ("too long for AUTH", 0)),
            (line("", 12_288), true, ("line", 12_286)),
            (line("", 12_289), true, ("too long for AUTH", 0)),
        ] {
            for size in [1, 4095, 4096, 1_000_000] {
                assert_eq!(cut(&input, size, in_auth), [first, ("line", 4)]);
            }
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let input = vec![b'a'; LONGEST_SWALLOWED + 1];
        for size in [1000, input.len()] {
            assert_eq!(cut(&input, size, false), [("endless", 0)]);
        }
    }
}
