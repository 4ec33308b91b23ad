//! What is done to every message before it is relayed (RFC 6409 §8, RFC 5321 §4.4): Received in front, Date and Message-ID
//! when missing, Bcc removed, because Gmail would show it to everybody. All else passes byte for byte.
//!
//! And what the app's `repair` allows. Works on the clean message (CRLF lines, no dot-stuffing) while it arrives, and keeps its header in
//! memory until the header ends, 64 KiB at most.

use super::{
    Case, Change, Header, Id, Repair,
    encode::may_encode,
    header::{self, Field, Line},
    passage::own_id,
    repair::{LONGEST_LINE, repair},
};

/// Longest value kept of a field that is looked at, in octets.
const LONGEST_VALUE: usize = 1000;

/// Longest header kept until its end, in octets: ten times the usual one. A longer one passes unrepaired.
const LONGEST_HEADER: usize = 64 * 1024;

/// Passages kept of a message; the relay draws its line far below.
const MOST_PASSAGES: usize = 16;

/// What was seen in the header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// How many Received fields the message had (RFC 5321 §6.3).
    pub received: usize,
    /// Under which ids it went through this very relay before, the latest first; at most sixteen, and of a header that is too long to
    /// be kept those in its first part.
    pub passed: Vec<Id>,
    /// The From field's value, unfolded; `None` also where there are several or it has more than 1,000 octets: what was left out
    /// could name another author.
    pub from: Option<String>,
    /// The first Subject field's value, unfolded, at most 1,000 octets.
    pub subject: Option<String>,
    /// The Message-ID that the message has now.
    pub message_id: String,
    /// What was changed.
    pub changes: Vec<Change>,
    /// The body has lines that are too long, and is to be encoded (see [`super::Encoder`]).
    pub encode_body: bool,
}

/// The filter: give it the message piece by piece, and send on what it writes.
#[derive(Debug)]
pub struct Preparation {
    received: String,
    date: String,
    message_id: String,
    case: Case,
    state: State,
    line: Vec<u8>,
    header: Header,
    /// Octets of `header`.
    size: usize,
    seen: Seen,
    body: Body,
    /// This relay, whose own Received fields are looked for.
    hostname: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first octet.
    Start,
    /// In the header, which is kept until it ends.
    Header,
    /// In a header that is too long to be kept: it passes, but for a field that must not.
    Passing {
        /// The current field does not pass.
        hidden: bool,
        /// The last piece was no whole line.
        amid: bool,
    },
    /// The rest passes.
    Body,
}

/// What counts of a header that is too long to be kept whole.
#[derive(Debug, Default)]
struct Seen {
    received: usize,
    date: bool,
    message_id: bool,
    changes: Vec<Change>,
    findings: Findings,
}

/// What counts of the body.
#[derive(Debug, Default)]
struct Body {
    /// Whether its lines are measured.
    measured: bool,
    may_encode: bool,
    column: usize,
    is_long: bool,
}

impl Preparation {
    /// `received` is the whole Received field with its CRLF; `date` and `message_id` are values for a message that has none.
    pub fn new(received: String, date: String, message_id: String, case: Case) -> Self {
        let body = Body { measured: case.repair == Repair::Legacy, ..Body::default() };
        let (line, header, seen) = (Vec::new(), Header::default(), Seen::default());
        let (state, hostname) = (State::Start, String::new());
        Self { received, date, message_id, case, state, line, header, size: 0, seen, body, hostname }
    }

    /// Looks for Received fields that `hostname`, which is this relay, wrote.
    pub fn recognising(self, hostname: &str) -> Self {
        Self { hostname: hostname.to_owned(), ..self }
    }

    /// Takes the next piece and appends what goes on to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.state == State::Start && !bytes.is_empty() {
            out.extend_from_slice(self.received.as_bytes());
            self.state = State::Header;
        }
        let mut rest = bytes;
        while self.state != State::Body {
            let Some(end) = rest.iter().position(|b| *b == b'\n') else {
                self.line.extend_from_slice(rest);
                if self.line.len() > LONGEST_HEADER {
                    self.pass_header(out);
                    self.header_line(out);
                }
                return;
            };
            self.line.extend_from_slice(&rest[..=end]);
            rest = &rest[end + 1..];
            self.header_line(out);
        }
        self.body.measure(rest);
        out.extend_from_slice(rest);
    }

    /// Ends the message: a header without a body gets what it lacks here.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Findings {
        if self.state == State::Start {
            out.extend_from_slice(self.received.as_bytes());
            self.state = State::Header;
        }
        if self.state != State::Body && !self.line.is_empty() {
            self.line.extend_from_slice(b"\r\n");
            self.header_line(out);
        }
        if self.state != State::Body {
            self.end_header(out);
        }
        let Seen { changes, findings, .. } = self.seen;
        let mut findings = Findings { changes, ..findings };
        if self.body.is_long && !self.body.may_encode {
            findings.changes.push(Change::PassedLongLines);
        }
        findings.encode_body = self.body.is_long && self.body.may_encode;
        findings
    }

    /// Handles the line in `self.line` and empties it.
    fn header_line(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        let ends = match self.state {
            State::Header => !self.header.push(&line),
            State::Passing { amid, .. } => !amid && header::line(&line) == Line::Ends,
            State::Start | State::Body => true,
        };
        if ends {
            self.end_header(out);
            if !is_blank(&line) {
                // The header ended without its blank line: without one, what follows would be read as header.
                out.extend_from_slice(b"\r\n");
                self.seen.changes.push(Change::AddedBlankLine);
                self.body.measure(&line);
            }
            out.extend_from_slice(&line);
            self.state = State::Body;
        } else if self.state == State::Header {
            self.size += line.len();
            if self.size > LONGEST_HEADER {
                self.pass_header(out);
            }
        } else {
            self.pass(&line, out);
        }
        self.line = line;
        self.line.clear();
    }

    /// The header is too long to be kept: it passes from here on as it is.
    fn pass_header(&mut self, out: &mut Vec<u8>) {
        if self.state != State::Header {
            return;
        }
        self.state = State::Passing { hidden: false, amid: false };
        self.seen.changes.push(Change::PassedLongHeader);
        self.seen.findings = Findings { from: None, ..self.findings(&self.header) };
        for field in std::mem::take(&mut self.header).fields {
            self.pass(field.raw(), out);
        }
    }

    /// Lets a line of a long header pass, or a field, or a piece of a line.
    fn pass(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let State::Passing { mut hidden, amid } = self.state else { return };
        if !amid && let Line::Field(name) = header::line(line) {
            let name = &line[..name];
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
            self.seen.received += usize::from(is("Received"));
            self.seen.date |= is("Date");
            self.seen.message_id |= is("Message-ID");
            hidden = is("Bcc") || is("Resent-Bcc");
        }
        if hidden {
            self.seen.changes.push(Change::RemovedBcc);
            self.seen.changes.dedup();
        } else {
            out.extend_from_slice(line);
        }
        self.state = State::Passing { hidden, amid: !line.ends_with(b"\n") };
    }

    /// The header is whole: what it lacks is added, what is broken is repaired.
    fn end_header(&mut self, out: &mut Vec<u8>) {
        let mut header = std::mem::take(&mut self.header);
        let is_kept = self.state == State::Header;
        if is_kept {
            let before = header.fields.len();
            header.fields.retain(|field| !field.is("Bcc") && !field.is("Resent-Bcc"));
            if header.fields.len() < before {
                self.seen.changes.push(Change::RemovedBcc);
            }
            self.seen.changes.extend(repair(&mut header, &self.case));
            self.seen.received = header.all("Received").count();
            (self.seen.date, self.seen.message_id) = (header.has("Date"), header.has("Message-ID"));
            self.seen.findings = self.findings(&header);
            self.body.may_encode = may_encode(&header);
        }
        if !self.seen.date {
            header.add("Date", &self.date);
            self.seen.changes.push(Change::AddedDate);
        }
        if !self.seen.message_id {
            header.add("Message-ID", &self.message_id);
            self.seen.changes.push(Change::AddedMessageId);
        }
        header.write(out);
        self.seen.findings.received = self.seen.received;
        if self.seen.findings.message_id.is_empty() {
            self.seen.findings.message_id.clone_from(&self.message_id);
        }
    }
}

impl Preparation {
    fn findings(&self, header: &Header) -> Findings {
        let own = |field: &Field| own_id(&field.value(), &self.hostname);
        Findings { passed: header.all("Received").filter_map(own).take(MOST_PASSAGES).collect(), ..findings(header) }
    }
}

impl Body {
    fn measure(&mut self, octets: &[u8]) {
        if !self.measured || self.is_long {
            return;
        }
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', octets) {
            // The carriage return before it is no octet of the line.
            self.is_long |= self.column + end - begin > LONGEST_LINE + 1;
            (self.column, begin) = (0, end + 1);
        }
        self.column += octets.len() - begin;
        self.is_long |= self.column > LONGEST_LINE + 1;
    }
}

/// What a header says, as far as it is looked at.
fn findings(header: &Header) -> Findings {
    let text = |name: &str| header.get(name).map(|field| String::from_utf8_lossy(&shortened(field.value())).trim().to_owned());
    let mut authors = header.all("From");
    let from = match (authors.next().map(Field::value), authors.next()) {
        (Some(value), None) if value.len() <= LONGEST_VALUE => Some(String::from_utf8_lossy(&value).into_owned()),
        _ => None,
    };
    Findings { from, subject: text("Subject"), message_id: text("Message-ID").unwrap_or_default(), ..Findings::default() }
}

fn shortened(mut value: Vec<u8>) -> Vec<u8> {
    value.truncate(LONGEST_VALUE);
    value
}

fn is_blank(line: &[u8]) -> bool {
    line == b"\r\n" || line == b"\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prepare(message: &[u8], piece: usize) -> (String, Findings) {
        let mut preparation =
            Preparation::new("Received: by relay\r\n".into(), "today".into(), "<new@relay>".into(), Case::default());
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
            let preparation = Preparation::new("R: r\r\n".into(), "d".into(), "<m>".into(), Case::default());
            let (mut preparation, mut out) = (preparation.recognising("relay.example"), Vec::new());
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
        let mut preparation = Preparation::new(String::new(), String::new(), String::new(), Case::default());
        let mut out = Vec::new();
        for _ in 0..64 {
            preparation.push(&[b'a'; 16 * 1024], &mut out);
            assert!(preparation.line.capacity() <= 4 * LONGEST_HEADER);
        }
        assert!(out.len() >= 63 * 16 * 1024);
    }
}
