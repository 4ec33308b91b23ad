//! What a notification returns of the original, and how its parts travel.

use super::header_of;
use encodify::qp;
use mail_builder::{headers::content_type::ContentType, mime::MimePart};
use std::borrow::Cow;

/// Longest line of a message without its CRLF (RFC 5322 §2.1.1).
const LONGEST_LINE: usize = 998;

/// What is returned of the original.
#[derive(Clone, Copy)]
pub enum Original<'a> {
    /// Its header, as of [`header_of`].
    Header(&'a [u8]),
    /// All of it, where it failed (RFC 3461 §4.3) and has clean lines; else its header.
    Full(&'a [u8]),
}

impl std::fmt::Debug for Original<'_> {
    // What people write to each other stands in no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(header) => write!(f, "Header({} octets)", header.len()),
            Self::Full(message) => write!(f, "Full({} octets)", message.len()),
        }
    }
}

impl<'a> Original<'a> {
    pub(super) fn header(self) -> &'a [u8] {
        let (Self::Header(octets) | Self::Full(octets)) = self;
        header_of(octets)
    }

    pub(super) fn part(self) -> Part<'a> {
        match self {
            // RFC 2046 §5.2.1: such a part may not be encoded, so what needs it cannot be returned.
            Self::Full(message) if has_clean_lines(message) => Part {
                content_type: ContentType::new("message/rfc822"),
                encoding: if message.is_ascii() { "7bit" } else { "8bit" },
                octets: message.into(),
            },
            Self::Full(_) | Self::Header(_) => {
                let header = self.header();
                let kind = ContentType::new("text/rfc822-headers");
                let is_utf8 = !header.is_ascii() && std::str::from_utf8(header).is_ok();
                Part::encoded(if is_utf8 { kind.attribute("charset", "utf-8") } else { kind }, header.into())
            }
        }
    }
}

/// One part, encoded for its way.
#[derive(Clone)]
pub(in crate::mail) struct Part<'a> {
    content_type: ContentType<'a>,
    encoding: &'static str,
    octets: Cow<'a, [u8]>,
}

impl<'a> Part<'a> {
    /// What people read.
    pub(in crate::mail) fn text(text: String) -> Self {
        Self::encoded(ContentType::new("text/plain").attribute("charset", "utf-8"), text.into_bytes().into())
    }

    /// What programs read; it is ASCII (RFC 3464 §2.1).
    pub(super) fn status(fields: Vec<u8>) -> Self {
        Self { content_type: ContentType::new("message/delivery-status"), encoding: "7bit", octets: fields.into() }
    }

    /// A text, in quoted-printable where it needs that (RFC 6522 §4 names no other for a header).
    fn encoded(content_type: ContentType<'a>, octets: Cow<'a, [u8]>) -> Self {
        match octets.is_ascii() && has_clean_lines(&octets) {
            true => Self { content_type, encoding: "7bit", octets },
            false => Self { content_type, encoding: "quoted-printable", octets: qp::BODY.encode(&octets).into_bytes().into() },
        }
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    pub(super) fn is_8bit(&self) -> bool {
        self.encoding == "8bit"
    }
}

impl<'a> From<Part<'a>> for MimePart<'a> {
    fn from(part: Part<'a>) -> Self {
        MimePart::new(part.content_type, mail_builder::mime::BodyPart::Binary(part.octets)).transfer_encoding(part.encoding)
    }
}

/// Whether these are CRLF lines of a length that travels, without NUL or a lone CR or LF (RFC 2045 §2.7, §2.8).
fn has_clean_lines(octets: &[u8]) -> bool {
    octets.split_inclusive(|b| *b == b'\n').all(|line| {
        let content = line.strip_suffix(b"\r\n").unwrap_or(line);
        content.len() <= LONGEST_LINE && !content.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_original_is_returned_as_it_can_travel() {
        let long = format!("A: b\r\n\r\n{}\r\n", "a".repeat(999));
        let table: [(Original<'_>, &str, &str, &[u8]); 9] = [
            (Original::Full(b"A: b\r\n\r\nbody\r\n"), "message/rfc822", "7bit", b"A: b\r\n\r\nbody\r\n"),
            (Original::Full(b"A: b\r\n\r\n\xff\r\n"), "message/rfc822", "8bit", b"A: b\r\n\r\n\xff\r\n"),
            (Original::Full(b"A: b\r\n\r\nlone\rCR\r\n"), "text/rfc822-headers", "7bit", b"A: b\r\n"),
            (Original::Full(b"A: b\r\n\r\nlone\nLF\r\n"), "text/rfc822-headers", "7bit", b"A: b\r\n"),
            (Original::Full(b"A: b\r\n\r\nNUL\0\r\n"), "text/rfc822-headers", "7bit", b"A: b\r\n"),
            (Original::Full(long.as_bytes()), "text/rfc822-headers", "7bit", b"A: b\r\n"),
            (Original::Header(b"A: b\r\n"), "text/rfc822-headers", "7bit", b"A: b\r\n"),
            (Original::Header(b"A: \xff\r\n"), "text/rfc822-headers", "quoted-printable", b"A: =FF\r\n"),
            (Original::Header(b"A: lone\rCR\r\n"), "text/rfc822-headers", "quoted-printable", b"A: lone=0DCR\r\n"),
        ];
        for (original, content_type, encoding, octets) in table {
            let part = original.part();
            assert_eq!((&*part.content_type.c_type, part.encoding, part.octets()), (content_type, encoding, octets));
        }
        let part = Original::Header("A: ä\r\n".as_bytes()).part();
        assert_eq!(part.content_type, ContentType::new("text/rfc822-headers").attribute("charset", "utf-8"));
    }
}
