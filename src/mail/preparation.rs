//! What is done to every message before it is relayed (RFC 6409 §8, RFC 5321 §4.4): Received in front, Date and Message-ID
//! when missing, Bcc removed, because Gmail would show it to everybody. All else passes byte for byte.
//!
//! Works on the clean message (CRLF lines, no dot-stuffing) while it arrives, and keeps at most one header line in memory.

use super::{Id, passage::own_id};

/// Longest value kept of a field that is looked at, in octets.
const LONGEST_VALUE: usize = 1000;

/// Longest header line held back while its name is being read. A longer one passes in pieces.
const LONGEST_LINE: usize = 64 * 1024;

/// Passages kept of a message; the relay draws its line far below.
const MOST_PASSAGES: usize = 16;

/// What was seen in the header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// How many Received fields the message had (RFC 5321 §6.3).
    pub received: usize,
    /// Under which ids it went through this very relay before, the latest first; at most sixteen.
    pub passed: Vec<Id>,
    /// The From field's value, unfolded; `None` also where there are several or it has more than 1,000 octets: what was left out
    /// could name another author.
    pub from: Option<String>,
    /// The first Subject field's value, unfolded, at most 1,000 octets.
    pub subject: Option<String>,
    /// The Message-ID that the message has now.
    pub message_id: String,
}

/// The filter: give it the message piece by piece, and send on what it writes.
#[derive(Debug)]
pub struct Preparation {
    received: String,
    date: String,
    message_id: String,
    state: State,
    line: Vec<u8>,
    seen: Seen,
    hostname: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first octet.
    Start,
    /// In the header; what the current field is.
    Header(Field),
    /// The rest passes.
    Body,
}

/// The fields that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Bcc,
    Date,
    From,
    MessageId,
    Received,
    Subject,
    Other,
}

/// Values as they come together over folded lines.
#[derive(Debug, Default)]
struct Seen {
    received: usize,
    /// The Received field that is coming together.
    passage: Vec<u8>,
    passed: Vec<Id>,
    date: bool,
    from: Option<Vec<u8>>,
    /// `from` is not all that the message says of its author.
    from_is_partial: bool,
    subject: Option<Vec<u8>>,
    message_id: Option<Vec<u8>>,
}

impl Preparation {
    /// `received` is the whole Received field with its CRLF; `date` and `message_id` are values for a message that has none.
    pub fn new(received: String, date: String, message_id: String) -> Self {
        let seen = Seen::default();
        Self { received, date, message_id, state: State::Start, line: Vec::new(), seen, hostname: String::new() }
    }

    /// Looks for Received fields that `hostname`, which is this relay, wrote.
    pub fn recognising(self, hostname: &str) -> Self {
        Self { hostname: hostname.to_owned(), ..self }
    }

    /// Takes the next piece and appends what goes on to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.state == State::Start && !bytes.is_empty() {
            out.extend_from_slice(self.received.as_bytes());
            self.state = State::Header(Field::Other);
        }
        let mut rest = bytes;
        while self.state != State::Body {
            let Some(end) = rest.iter().position(|b| *b == b'\n') else {
                self.line.extend_from_slice(rest);
                if self.line.len() > LONGEST_LINE {
                    self.header_line(out);
                }
                return;
            };
            self.line.extend_from_slice(&rest[..=end]);
            rest = &rest[end + 1..];
            self.header_line(out);
        }
        out.extend_from_slice(rest);
    }

    /// Ends the message: a header without a body gets what it lacks here.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Findings {
        if self.state == State::Start {
            out.extend_from_slice(self.received.as_bytes());
        }
        if self.state != State::Body {
            if !self.line.is_empty() {
                self.line.extend_from_slice(b"\r\n");
                self.header_line(out);
            }
            if self.state != State::Body {
                self.add_missing(out);
            }
        }
        self.seen.end_passage(&self.hostname);
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).trim().to_owned();
        Findings {
            received: self.seen.received,
            passed: self.seen.passed,
            from: self.seen.from.filter(|_| !self.seen.from_is_partial).map(text),
            subject: self.seen.subject.map(text),
            message_id: self.seen.message_id.map(text).filter(|id| !id.is_empty()).unwrap_or(self.message_id),
        }
    }

    /// Handles the line in `self.line` and empties it.
    fn header_line(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        let State::Header(current) = self.state else { return out.extend_from_slice(&line) };
        let field = match line.first() {
            Some(b' ' | b'\t') => Some(current),
            _ => field_of(&line),
        };
        match field {
            Some(field) => {
                self.state = State::Header(field);
                if !matches!(line.first(), Some(b' ' | b'\t')) {
                    self.seen.end_passage(&self.hostname);
                }
                self.seen.note(field, field != current || !matches!(line.first(), Some(b' ' | b'\t')), &line);
                if field != Field::Bcc {
                    out.extend_from_slice(&line);
                }
            }
            None => {
                self.add_missing(out);
                if !is_blank(&line) {
                    // The header ended without its blank line: without one, what follows would be read as header.
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(&line);
                self.state = State::Body;
            }
        }
        self.line = line;
        self.line.clear();
    }

    fn add_missing(&mut self, out: &mut Vec<u8>) {
        if !self.seen.date {
            out.extend_from_slice(format!("Date: {}\r\n", self.date).as_bytes());
        }
        if self.seen.message_id.is_none() {
            out.extend_from_slice(format!("Message-ID: {}\r\n", self.message_id).as_bytes());
        }
    }
}

impl Seen {
    /// A Received field is whole.
    fn end_passage(&mut self, hostname: &str) {
        let id = if hostname.is_empty() { None } else { own_id(&self.passage, hostname) };
        self.passed.extend(id.filter(|_| self.passed.len() < MOST_PASSAGES));
        self.passage.clear();
    }

    fn note(&mut self, field: Field, is_first_line: bool, line: &[u8]) {
        self.from_is_partial |= field == Field::From && is_first_line && self.from.is_some();
        let value = match field {
            Field::Received => {
                self.received += usize::from(is_first_line);
                let room = LONGEST_VALUE.saturating_sub(self.passage.len());
                let start = if is_first_line { line.iter().position(|b| *b == b':').map_or(0, |colon| colon + 1) } else { 0 };
                return self.passage.extend(line[start..].iter().take(room));
            }
            Field::Date => return self.date = true,
            Field::Bcc | Field::Other => return,
            Field::From => &mut self.from,
            Field::Subject => &mut self.subject,
            Field::MessageId => &mut self.message_id,
        };
        // Of a field that occurs twice the first counts; the second only ends it.
        if is_first_line && value.is_some() {
            return;
        }
        let start = if is_first_line { line.iter().position(|b| *b == b':').map_or(0, |colon| colon + 1) } else { 0 };
        let kept = value.get_or_insert_with(Vec::new);
        let room = LONGEST_VALUE.saturating_sub(kept.len());
        let mut octets = line[start..].iter().filter(|b| !matches!(b, b'\r' | b'\n'));
        kept.extend(octets.by_ref().take(room));
        self.from_is_partial |= field == Field::From && octets.next().is_some();
    }
}

/// Which field a line begins; `None` when it begins none and so ends the header.
fn field_of(line: &[u8]) -> Option<Field> {
    // An mbox separator in front of the header is no field, but does not end the header either.
    if line.starts_with(b"From ") || line.starts_with(b">From ") {
        return Some(Field::Other);
    }
    let colon = line.iter().position(|b| *b == b':')?;
    let name = line[..colon].trim_ascii_end();
    // RFC 5322 §3.6.8: printable ASCII without colon. Non-ASCII names pass, as they do no harm.
    if name.is_empty() || name.iter().any(|b| *b <= b' ' || *b == 127) {
        return None;
    }
    Some(match name.to_ascii_lowercase().as_slice() {
        b"bcc" | b"resent-bcc" => Field::Bcc,
        b"date" => Field::Date,
        b"from" => Field::From,
        b"message-id" => Field::MessageId,
        b"received" => Field::Received,
        b"subject" => Field::Subject,
        _ => Field::Other,
    })
}

fn is_blank(line: &[u8]) -> bool {
    line == b"\r\n" || line == b"\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prepare(message: &[u8], piece: usize) -> (String, Findings) {
        let mut preparation = Preparation::new("Received: by relay\r\n".into(), "today".into(), "<new@relay>".into());
        let mut out = Vec::new();
        message.chunks(piece.max(1)).for_each(|bytes| preparation.push(bytes, &mut out));
        let findings = preparation.finish(&mut out);
        (String::from_utf8_lossy(&out).into_owned(), findings)
    }

    #[test]
    fn what_is_missing_is_added_and_bcc_is_removed() {
        let table = [
            (
                "complete",
                "Date: d\r\nMessage-ID: <a@b>\r\n\r\nBcc: body\r\n",
                "Date: d\r\nMessage-ID: <a@b>\r\n\r\nBcc: body\r\n",
            ),
            ("nothing", "Subject: x\r\n\r\nbody", "Subject: x\r\nDate: today\r\nMessage-ID: <new@relay>\r\n\r\nbody"),
            (
                "folded bcc",
                "date: d\r\nBcc: a@b,\r\n c@d\r\nMessage-Id: <a@b>\r\nbcc : e@f\r\n\r\n",
                "date: d\r\nMessage-Id: <a@b>\r\n\r\n",
            ),
            ("resent", "Resent-Bcc: a@b\r\nDate: d\r\nMessage-ID: <a@b>\r\n\r\n", "Date: d\r\nMessage-ID: <a@b>\r\n\r\n"),
            ("no header", "Hello you\r\n", "Date: today\r\nMessage-ID: <new@relay>\r\n\r\nHello you\r\n"),
            ("header only", "Subject: x\r\n", "Subject: x\r\nDate: today\r\nMessage-ID: <new@relay>\r\n"),
            ("cut header", "Date: d", "Date: d\r\nMessage-ID: <new@relay>\r\n"),
            ("body at once", "\r\nbody\r\n", "Date: today\r\nMessage-ID: <new@relay>\r\n\r\nbody\r\n"),
            (
                "mbox",
                "From a Mon Jan 1\r\nDate: d\r\nMessage-ID: <a@b>\r\n\r\n",
                "From a Mon Jan 1\r\nDate: d\r\nMessage-ID: <a@b>\r\n\r\n",
            ),
            ("empty", "", "Date: today\r\nMessage-ID: <new@relay>\r\n"),
        ];
        for (name, message, expected) in table {
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(
                    prepare(message.as_bytes(), piece).0,
                    format!("Received: by relay\r\n{expected}"),
                    "{name} by {piece}"
                );
            }
        }
    }

    #[test]
    fn findings_are_unfolded_and_the_first_counts() {
        let message = "Received: a\r\n by b\r\nReceived: c\r\nFrom: \"A\"\r\n <a@b>\r\nSubject: one\r\nSubject: two\r\nMessage-ID:\r\n <x@y>\r\n\r\n";
        let findings = prepare(message.as_bytes(), 5).1;
        assert_eq!(findings.received, 2);
        assert_eq!(findings.from.as_deref(), Some("\"A\" <a@b>"));
        assert_eq!(findings.subject.as_deref(), Some("one"));
        assert_eq!(findings.message_id, "<x@y>");
    }

    #[test]
    fn a_message_that_was_here_before_is_recognised_by_its_header_alone() {
        let id = |number| Id::new(std::time::SystemTime::UNIX_EPOCH, [number; 10]);
        let ours =
            |number| format!("Received: from a ([::1])\r\n\tby relay.example with ESMTPA\r\n\tid {};\r\n\tMon\r\n", id(number));
        let others = "Received: from relay.example by mx.example.org with SMTP id 4711; Mon\r\n";
        let message = format!("{}{others}{}Subject: x\r\n\r\n{}", ours(2), ours(1), ours(3));
        for piece in [1, 7, 1000] {
            let mut preparation = Preparation::new("R: r\r\n".into(), "d".into(), "<m>".into()).recognising("relay.example");
            let mut out = Vec::new();
            message.as_bytes().chunks(piece).for_each(|bytes| preparation.push(bytes, &mut out));
            let findings = preparation.finish(&mut out);
            assert_eq!((findings.received, findings.passed), (3, vec![id(2), id(1)]));
        }
        assert_eq!(prepare(ours(1).as_bytes(), 5).1.passed, []);
    }

    #[test]
    fn an_author_is_found_only_where_the_whole_header_names_one() {
        let from = |header: String| prepare(format!("{header}\r\n\r\nFrom: c@d").as_bytes(), 7).1.from;
        assert_eq!(from("From: a@b".into()).as_deref(), Some("a@b"));
        assert_eq!(from("From: a@b\r\nSubject: x\r\nFrom: c@d".into()), None, "two fields");
        assert_eq!(from(format!("From: a@b{}\r\n , c@d", " ".repeat(1000))), None, "what was cut off names another");
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_and_memory_stays_bounded(message in "(?s)([A-Za-z-]{0,8}:?[ \ta-z]{0,12}(\r\n)?){0,12}.{0,40}", piece in 1usize..40) {
            prop_assert_eq!(prepare(message.as_bytes(), piece), prepare(message.as_bytes(), usize::MAX));
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut preparation = Preparation::new(String::new(), String::new(), String::new());
        let mut out = Vec::new();
        for _ in 0..64 {
            preparation.push(&[b'a'; 16 * 1024], &mut out);
            assert!(preparation.line.capacity() <= 4 * LONGEST_LINE);
        }
        assert!(out.len() >= 63 * 16 * 1024);
    }
}
