//! The message on standard input, made fit for SMTP: lines end by CRLF, a lone dot may end it, an mbox separator goes. What else it lacks
//! the daemon adds.

use crate::mail::{Address, Header, addresses, encoded};
use std::io::{self, BufRead};

/// Octets that are read; the daemon takes fewer where nobody raised `message-size`.
const LARGEST: usize = 100 << 20;

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoMessage {
    #[error("cannot read standard input: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the message is larger than {} MiB", LARGEST >> 20)]
    TooLarge,
}

/// Reads the message to its end, or to a line that is a dot alone.
pub(super) fn read(input: impl BufRead, ignore_dots: bool) -> Result<Vec<u8>, NoMessage> {
    let mut input = input.take(LARGEST as u64 + 1);
    let (mut message, mut line, mut is_first) = (Vec::new(), Vec::new(), true);
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if message.len() + line.len() > LARGEST {
            return Err(NoMessage::TooLarge);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text == b"." && !ignore_dots {
            break;
        }
        if !(is_first && text.starts_with(b"From ")) {
            message.extend_from_slice(text);
            message.extend_from_slice(b"\r\n");
        }
        is_first = false;
    }
    Ok(message)
}

/// Everybody whom the header names; of a message that is sent on, those to whom (RFC 5322 §3.6.6).
pub(super) fn recipients(message: &[u8]) -> Result<Vec<Address>, String> {
    let (header, _) = Header::of(message);
    let resent = ["Resent-To", "Resent-Cc", "Resent-Bcc"];
    let names = if resent.iter().any(|name| header.has(name)) { resent } else { ["To", "Cc", "Bcc"] };
    let mut found = Vec::new();
    for field in names.iter().flat_map(|name| header.all(name)) {
        let value = String::from_utf8_lossy(&field.value()).into_owned();
        let name = String::from_utf8_lossy(field.name()).into_owned();
        found.extend(addresses(&value).map_err(|(element, why)| format!("{name}: `{element}` is no address: {why}"))?);
    }
    Ok(found)
}

/// Puts a From of this display name in front where there is none.
pub(super) fn add_from(message: Vec<u8>, name: &str, address: &Address) -> Vec<u8> {
    let (header, octets) = Header::of(&message);
    if header.has("From") {
        return message;
    }
    let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    let shown = match name.is_ascii() {
        true => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
        // A line for each word: all of a long name would be longer than a line may be.
        false => encoded(&name, true).replace("?= =?", "?=\r\n =?"),
    };
    let mut whole = format!("From: {shown} <{address}>\r\n").into_bytes();
    if octets == 0 && !message.starts_with(b"\r\n") {
        whole.extend_from_slice(b"\r\n");
    }
    whole.extend(message);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(input: &str, ignore_dots: bool) -> String {
        String::from_utf8(read(input.as_bytes(), ignore_dots).unwrap()).unwrap()
    }

    #[test]
    fn lines_end_by_crlf_whatever_they_ended_by() {
        for (input, ignore_dots, expected) in [
            ("a: b\n\nc\n", false, "a: b\r\n\r\nc\r\n"),
            ("a: b\r\n\r\nc", false, "a: b\r\n\r\nc\r\n"),
            ("a\n.\nb\n", false, "a\r\n"),
            ("a\r\n.\r\nb\n", false, "a\r\n"),
            ("a\n.\nb\n", true, "a\r\n.\r\nb\r\n"),
            ("a\n..\n", false, "a\r\n..\r\n"),
            ("From x Mon\na: b\nFrom y\n", false, "a: b\r\nFrom y\r\n"),
            ("", false, ""),
        ] {
            assert_eq!(text(input, ignore_dots), expected, "{input:?}");
        }
    }

    #[test]
    fn recipients_stand_in_three_fields() {
        for (message, expected) in [
            (
                "To: a@b.example\r\nCc: C <c@d.example>,\r\n e@f.example\r\nBcc: root\r\n\r\nTo: no\r\n",
                "a@b.example c@d.example e@f.example root",
            ),
            ("To: a@b.example\r\nResent-To: c@d.example\r\n\r\n", "c@d.example"),
            ("Subject: x\r\n\r\n", ""),
        ] {
            let found = recipients(message.as_bytes()).unwrap();
            assert_eq!(found.iter().map(Address::as_str).collect::<Vec<_>>().join(" "), expected, "{message}");
        }
        assert!(recipients(b"To: a b c\r\n\r\n").is_err_and(|why| why.starts_with("To: `a b c`")));
    }

    #[test]
    fn a_from_is_added_where_there_is_none() {
        let address = Address::parse("root@host.example").unwrap();
        for (message, name, expected) in [
            ("To: x\r\n\r\nb\r\n", "Cron \"D\"", "From: \"Cron \\\"D\\\"\" <root@host.example>\r\nTo: x\r\n\r\nb\r\n"),
            ("from: a\r\n\r\n", "x", "from: a\r\n\r\n"),
            ("no header\r\n", "x\r\ny", "From: \"xy\" <root@host.example>\r\n\r\nno header\r\n"),
            ("\r\nbody\r\n", "Ä", "From: =?utf-8?Q?=C3=84?= <root@host.example>\r\n\r\nbody\r\n"),
        ] {
            let whole = add_from(message.as_bytes().to_vec(), name, &address);
            assert_eq!(String::from_utf8(whole).unwrap(), expected);
        }
    }

    #[test]
    fn a_long_name_of_any_letters_stays_whole() {
        let address = Address::parse("root@host.example").unwrap();
        let name = "Überwachungsdienst für die Außenstelle Århus \u{1f600}".repeat(2);
        let whole = String::from_utf8(add_from(b"To: x\r\n\r\n".to_vec(), &name, &address)).unwrap();
        let field = whole.strip_suffix("To: x\r\n\r\n").unwrap();
        assert!(field.lines().count() > 2 && field.lines().all(|line| line.len() <= 100), "{field}");
        let words = field.lines().map(|line| {
            let line = line.trim_start_matches("From:").trim().trim_end_matches(" <root@host.example>");
            line.strip_prefix("=?utf-8?Q?").unwrap().strip_suffix("?=").unwrap()
        });
        let (mut octets, mut text) = (Vec::new(), words.collect::<String>());
        while !text.is_empty() {
            let rest = text.split_off(if text.starts_with('=') { 3 } else { 1 });
            match text.strip_prefix('=') {
                Some(digits) => octets.push(u8::from_str_radix(digits, 16).unwrap()),
                None => octets.extend(text.replace('_', " ").into_bytes()),
            }
            text = rest;
        }
        assert_eq!(String::from_utf8(octets).unwrap(), name);
    }

    #[test]
    fn an_endless_message_is_not_kept() {
        assert!(matches!(read(io::BufReader::new(io::repeat(b'a')), true), Err(NoMessage::TooLarge)));
    }
}
