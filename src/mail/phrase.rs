//! The names in address fields (RFC 5322 §3.4), found tolerantly and written so that every server reads them.

use encodify::{Fold, rfc2047};

/// What stands between the commas of an address field, each with the octet at which it begins. Commas in quotes, comments and angle
/// brackets separate nothing.
pub(super) fn elements(value: &[u8]) -> Vec<&[u8]> {
    let (mut all, mut begin) = (Vec::new(), 0);
    let mut scan = Scan::default();
    for (at, octet) in value.iter().enumerate() {
        if scan.is_open(*octet) && *octet == b',' {
            all.push(&value[begin..at]);
            begin = at + 1;
        }
    }
    all.push(&value[begin..]);
    all
}

/// Follows quotes, comments and angle brackets through a value.
#[derive(Debug, Default)]
pub(super) struct Scan {
    quoted: bool,
    comment: usize,
    angle: bool,
    escaped: bool,
}

impl Scan {
    /// Takes the next octet; whether it stands outside of all three.
    pub(super) fn is_open(&mut self, octet: u8) -> bool {
        if std::mem::take(&mut self.escaped) {
            return false;
        }
        match octet {
            b'\\' if self.quoted || self.comment > 0 => self.escaped = true,
            b'"' if self.comment == 0 => {
                self.quoted = !self.quoted;
                return false;
            }
            b'(' if !self.quoted => self.comment += 1,
            b')' if !self.quoted && self.comment > 0 => {
                self.comment -= 1;
                return false;
            }
            b'<' if !self.quoted && self.comment == 0 => self.angle = true,
            b'>' if !self.quoted && self.comment == 0 => {
                self.angle = false;
                return false;
            }
            _ => {}
        }
        !self.quoted && self.comment == 0 && !self.angle
    }
}

/// An element in its two parts: the name in front, and the address in angle brackets with what follows. `None` where there is no name.
pub(super) fn split(element: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut scan = Scan::default();
    let mut at = 0;
    while at < element.len() {
        let before = (scan.quoted, scan.comment);
        scan.is_open(element[at]);
        if element[at] == b'<' && before == (false, 0) {
            let name = element[..at].trim_ascii();
            return (!name.is_empty()).then(|| (name, &element[at..]));
        }
        at += 1;
    }
    None
}

/// The comment that ends an element without brackets, as in `root (Cron Daemon)`.
pub(super) fn comment(element: &[u8]) -> Option<&[u8]> {
    let text = element.trim_ascii().strip_suffix(b")")?;
    let begin = text.iter().position(|octet| *octet == b'(')?;
    Some(text[begin + 1..].trim_ascii()).filter(|comment| !comment.is_empty())
}

/// Whether `octet` stands in `text` outside of quotes, comments and angle brackets. An `@` in a name is taken for a second address by
/// some servers.
pub(super) fn has_bare(text: &[u8], octet: u8) -> bool {
    let mut scan = Scan::default();
    text.iter().any(|it| scan.is_open(*it) && *it == octet)
}

/// An element whose name has an `@` outside of quotes, with that in quotes.
pub(super) fn with_quoted_name(element: &[u8]) -> Option<Vec<u8>> {
    let (name, address) = split(element)?;
    has_bare(name, b'@').then(|| [&quoted_where_needed(name), &b" "[..], address.trim_ascii()].concat())
}

/// The name without an `@` outside of quotes. Encoded words stay such, which they would not within quotes: their `@` is written as they
/// write all else (RFC 2047 §5).
pub(super) fn quoted_where_needed(name: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> = name.split(|octet| *octet == b' ').collect();
    if !words.iter().any(|word| is_encoded(word)) || name.iter().any(|octet| b"\"()<>\\\t".contains(octet)) {
        return quoted(name);
    }
    let word = |word: &&[u8]| match word {
        word if is_encoded(word) => word
            .iter()
            .flat_map(|octet| if *octet == b'@' { &b"=40"[..] } else { std::slice::from_ref(octet) })
            .copied()
            .collect(),
        word if word.contains(&b'@') => quoted(word),
        word => word.to_vec(),
    };
    words.iter().map(word).collect::<Vec<_>>().join(&b' ')
}

/// Whether this is an encoded word.
fn is_encoded(word: &[u8]) -> bool {
    let parts: Vec<&[u8]> = word.split(|octet| *octet == b'?').collect();
    matches!(parts.as_slice(), [b"=", _, b"q" | b"Q" | b"b" | b"B", _, b"="])
}

/// The name as one quoted string (RFC 5322 §3.2.4).
pub(super) fn quoted(name: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for octet in unquoted(name) {
        if matches!(octet, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(octet);
    }
    out.push(b'"');
    out
}

/// The name without its quotes and escapes.
pub(super) fn unquoted(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let (mut quoted, mut octets) = (false, name.iter());
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => quoted = !quoted,
            b'\\' if quoted => out.extend(octets.next()),
            _ => out.push(*octet),
        }
    }
    out
}

/// Text in encoded words (RFC 2047), separated by spaces, at which a field can be folded.
pub(crate) fn encoded(text: &str, in_phrase: bool) -> String {
    let encoder = if in_phrase { rfc2047::Q_PHRASE } else { rfc2047::Q_TEXT };
    // Each word fits into a line behind any usual name of a field.
    let (mut out, mut column) = (String::new(), 20);
    encoder.encode_words("utf-8", text, &mut column, Fold::HEADER, &mut out);
    out.retain(|character| !matches!(character, '\r' | '\n'));
    out
}

/// Octets as text: UTF-8, else the set of old Windows programs, which has a character for nearly all.
pub(crate) fn text(octets: &[u8]) -> String {
    /// Windows-1252 from 0x80 to 0x9F; the others are as in Latin-1.
    const WINDOWS: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’', '“',
        '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    let character = |octet: &u8| match octet {
        0x80..=0x9f => WINDOWS[usize::from(octet - 0x80)],
        octet => char::from(*octet),
    };
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().map(character).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commas_in_quotes_comments_and_brackets_separate_nothing() {
        let value = br#""Doe, John" <a@b>, (x, y) c@d, <@e,@f:g@h>, "open\", still" <i@j>"#;
        let expected: [&[u8]; 4] = [br#""Doe, John" <a@b>"#, b" (x, y) c@d", b" <@e,@f:g@h>", br#" "open\", still" <i@j>"#];
        assert_eq!(elements(value), expected);
        assert_eq!(elements(b""), [b""]);
    }

    #[test]
    fn a_name_with_an_at_is_found_and_quoted() {
        for (element, name, bare) in [
            ("ops@x.y <a@x.y>", Some("ops@x.y"), true),
            ("\"ops@x.y\" <a@x.y>", Some("\"ops@x.y\""), false),
            ("Ops (ops@x.y) <a@x.y>", Some("Ops (ops@x.y)"), false),
            ("a@x.y", None, false),
            ("<a@x.y>", None, false),
        ] {
            let found = split(element.as_bytes()).map(|(name, _)| name);
            assert_eq!(found, name.map(str::as_bytes), "{element}");
            assert_eq!(found.is_some_and(|name| has_bare(name, b'@')), bare, "{element}");
        }
        assert_eq!(quoted(br#"A "b" c@d\"#), br#""A b c@d\\""#);
        for (name, expected) in [
            ("=?utf-8?Q?J=C3=BC?= a@b c", "=?utf-8?Q?J=C3=BC?= \"a@b\" c"),
            ("=?utf-8?q?a@b?=", "=?utf-8?q?a=40b?="),
            ("=?utf-8?B?YQ==?= \"x\" a@b", "\"=?utf-8?B?YQ==?= x a@b\""),
            ("a@b c", "\"a@b c\""),
        ] {
            assert_eq!(String::from_utf8_lossy(&quoted_where_needed(name.as_bytes())), expected);
        }
    }

    #[test]
    fn octets_of_any_set_become_text() {
        assert_eq!(text("Gr\u{fc}\u{df}e".as_bytes()), "Gr\u{fc}\u{df}e");
        assert_eq!(text(b"Gr\xfc\xdfe \x80"), "Gr\u{fc}\u{df}e \u{20ac}");
        assert_eq!(encoded("Gr\u{fc}\u{df}e", false), "=?utf-8?Q?Gr=C3=BC=C3=9Fe?=");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fail_and_a_quoted_name_says_the_same(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let joined = elements(&value).join(&b',');
            prop_assert_eq!(&joined, &value);
            for element in elements(&value) {
                split(element);
            }
            prop_assert_eq!(unquoted(&quoted(&value)), unquoted(&value));
            prop_assert!(!has_bare(&quoted(&value), b'@'));
            text(&value);
        }
    }
}
