//! Bodies whose lines are too long, as quoted-printable (RFC 2045 §6.7): only where the whole message is one text.

use super::{
    header::{Field, Header},
    repair::is_protected,
};
use encodify::qp;

/// Octets of a line without its end that are encoded at once.
const PIECE: usize = 16 * 1024;

/// Whether the body of a message with this header may be encoded.
pub(super) fn may_encode(header: &Header) -> bool {
    let kind = header.lower("Content-Type").unwrap_or_default();
    let encoding = header.lower("Content-Transfer-Encoding").unwrap_or_default();
    (kind.is_empty() || kind.starts_with("text/"))
        && ["", "7bit", "8bit", "binary"].contains(&encoding.as_str())
        && !is_protected(header)
        && !header.has("DKIM-Signature")
}

/// Gives a message another encoding of its body, piece by piece.
#[derive(Debug, Default)]
pub struct Encoder {
    state: State,
    line: Vec<u8>,
    header: Header,
    column: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Header,
    Body,
}

impl Encoder {
    /// Takes the next piece and appends what it becomes to `out`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end..];
            if self.line.ends_with(b"\n") {
                self.whole_line(out);
            } else if self.state == State::Body && self.line.len() > PIECE {
                // The last octets wait: a line end, or a space that has to be encoded before one.
                let rest = self.line.split_off(self.line.len() - 2);
                self.encode(out);
                self.line = rest;
            }
        }
    }

    /// Ends the message.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if !self.line.is_empty() {
            self.whole_line(out);
        }
        if self.state == State::Header {
            self.header.write(out);
        }
    }

    fn whole_line(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Header {
            if self.header.push(&self.line) {
                return self.line.clear();
            }
            self.end_header(out);
        }
        let content = self.line.iter().rposition(|octet| !matches!(octet, b'\r' | b'\n')).map_or(0, |at| at + 1);
        let end = self.line.split_off(content);
        self.encode(out);
        out.extend_from_slice(&end);
        self.column = 0;
    }

    fn end_header(&mut self, out: &mut Vec<u8>) {
        let encoding = Field::new("Content-Transfer-Encoding", "quoted-printable");
        match self.header.fields.iter_mut().find(|field| field.is("Content-Transfer-Encoding")) {
            Some(field) => *field = encoding,
            None => self.header.fields.push(encoding),
        }
        if !self.header.has("MIME-Version") {
            self.header.add("MIME-Version", "1.0");
        }
        self.header.write(out);
        self.state = State::Body;
    }

    /// Encodes what is in `line`, and empties it.
    fn encode(&mut self, out: &mut Vec<u8>) {
        qp::BODY.encode_folded(&self.line, &mut self.column, encodify::Fold::HEADER, |piece| out.extend_from_slice(piece));
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(message: &[u8], piece: usize) -> Vec<u8> {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        message.chunks(piece.max(1)).for_each(|bytes| encoder.push(bytes, &mut out));
        encoder.finish(&mut out);
        out
    }

    /// The body as a reader decodes it.
    fn decoded(message: &[u8]) -> Vec<u8> {
        let at = message.windows(4).position(|octets| octets == b"\r\n\r\n").expect("a body") + 4;
        let text = String::from_utf8(message[at..].to_vec()).expect("ASCII").replace("=\r\n", "");
        let mut out = Vec::new();
        let mut octets = text.bytes();
        while let Some(octet) = octets.next() {
            match octet {
                b'=' => {
                    let digits = [octets.next().unwrap(), octets.next().unwrap()];
                    out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                }
                octet => out.push(octet),
            }
        }
        out
    }

    #[test]
    fn a_long_line_comes_out_in_short_ones() {
        let message =
            format!("Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{} end \r\n= \u{fc}\r\n", "word ".repeat(8000));
        let out = encoded(message.as_bytes(), 777);
        let text = String::from_utf8(out.clone()).unwrap();
        assert!(
            text.starts_with("Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\r\nword "),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() <= 76), "{:?}", text.lines().map(str::len).max());
        assert!(!text.lines().any(|line| line.ends_with(' ')), "a space at the end of a line would be lost");
        assert_eq!(decoded(&out), &message.as_bytes()[message.find("\r\n\r\n").unwrap() + 4..]);
    }

    #[test]
    fn only_a_text_of_one_part_may_be_encoded() {
        for (header, expected) in [
            ("Subject: x\r\n", true),
            ("Content-Type: text/plain; charset=x\r\nContent-Transfer-Encoding: 7BIT\r\n", true),
            ("Content-Transfer-Encoding: base64\r\n", false),
            ("Content-Type: multipart/mixed; boundary=x\r\n", false),
            ("Content-Type: multipart/signed; boundary=x\r\n", false),
            ("Content-Type: application/pkcs7-mime\r\n", false),
            ("DKIM-Signature: v=1\r\n", false),
        ] {
            assert_eq!(may_encode(&Header::of(header.as_bytes()).0), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_body_reads_back_and_any_chunking_gives_the_same(
            lines in proptest::collection::vec(proptest::collection::vec(32u8..=255, 0..200), 0..6), piece in 1usize..300
        ) {
            let mut message = b"Subject: x\r\n\r\n".to_vec();
            lines.iter().for_each(|line| message.extend([line.as_slice(), b"\r\n"].concat()));
            let out = encoded(&message, piece);
            prop_assert_eq!(&out, &encoded(&message, usize::MAX));
            prop_assert_eq!(&decoded(&out), &message[14..]);
        }
    }
}
