//! Finds the header of a message, and its Message-ID.

/// Longest header returned, in octets: ten times the usual one, so that only nonsense is cut.
const LONGEST: usize = 64 * 1024;

/// Longest Message-ID repeated: it cannot be folded, and a line has 998 octets with the name of its field (RFC 5322 §2.1.1).
const LONGEST_ID: usize = 900;

/// The header of a message, up to and without the empty line; of a header above 64 KiB the lines that fit.
pub fn header_of(message: &[u8]) -> &[u8] {
    let mut end = 0;
    for line in message.split_inclusive(|b| *b == b'\n') {
        if matches!(line, b"\r\n" | b"\n") || end + line.len() > LONGEST {
            break;
        }
        end += line.len();
    }
    &message[..end]
}

/// The first Message-ID in a header, without its angle brackets; `None` where it is not one that can be repeated.
pub(super) fn message_id(header: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"message-id:";
    let begins = |line: &&[u8]| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    let mut lines = header.split_inclusive(|b| *b == b'\n').skip_while(|line| !begins(line));
    let first = &lines.next()?[NAME.len()..];
    let folded = lines.take_while(|line| matches!(line[0], b' ' | b'\t'));
    let value = std::iter::once(first).chain(folded).collect::<Vec<_>>().concat();
    let id = std::str::from_utf8(value.trim_ascii()).ok()?.strip_prefix('<')?.strip_suffix('>')?;
    let is_plain = id.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>');
    (is_plain && !id.is_empty() && id.len() <= LONGEST_ID).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_at_the_empty_line_or_the_bound() {
        let long = format!("A: {}\r\n", "a".repeat(40_000));
        for (message, expected) in [
            ("A: b\r\nC: d\r\n\r\nbody\r\n", "A: b\r\nC: d\r\n"),
            ("A: b\n\nbody\n", "A: b\n"),
            ("A: b\r\n", "A: b\r\n"),
            ("A: b", "A: b"),
            ("\r\nbody", ""),
            ("", ""),
            (&long.repeat(2), &long),
            (&"a".repeat(70_000), ""),
        ] {
            assert_eq!(header_of(message.as_bytes()), expected.as_bytes());
        }
    }

    #[test]
    fn a_message_id_is_found_where_it_can_be_repeated() {
        let long = format!("Message-ID: <{}@b>\r\n", "a".repeat(900));
        for (header, expected) in [
            ("Subject: x\r\nmessage-id:<a@b>\r\nMessage-ID: <c@d>\r\n", Some("a@b")),
            ("Message-ID:\r\n\t<a@b>\r\nSubject: x\r\n", Some("a@b")),
            ("Message-ID: <a@b>", Some("a@b")),
            ("X-Message-ID: <a@b>\r\n", None),
            ("Message-ID: a@b\r\n", None),
            ("Message-ID: <a@b> <c@d>\r\n", None),
            ("Message-ID: <a\r\n b>\r\n", None),
            ("Message-ID: <ä@b>\r\n", None),
            ("Message-ID: <>\r\n", None),
            ("Message-ID", None),
            (&long, None),
            ("", None),
        ] {
            assert_eq!(message_id(header.as_bytes()).as_deref(), expected, "{header}");
        }
    }
}
