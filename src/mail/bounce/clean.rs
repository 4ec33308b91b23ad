//! Makes harmless what came from outside: no line end, no control character, no word longer than a line.

use crate::mail::{Address, Xtext};
use encodify::{hex::XTEXT, rfc2047};
use std::fmt::Write;

/// Longest word left whole, in octets. A word cannot be folded, and a line has at most 998 octets (RFC 5322 §2.1.1); the rest is
/// room for a field's name.
const LONGEST_WORD: usize = 900;

/// Longest text taken from outside, in characters: replies of providers have some hundred.
const LONGEST_TEXT: usize = 2000;

/// Longest subject repeated, in characters.
const LONGEST_SUBJECT: usize = 200;

/// `text` in one line: white space and control characters become single spaces, what is too long is cut.
pub(in crate::mail) fn one_line(text: &str) -> String {
    cut(text, LONGEST_TEXT)
}

/// [`one_line`], where it leaves anything.
pub(super) fn some_line(text: Option<&str>) -> Option<String> {
    text.map(one_line).filter(|line| !line.is_empty())
}

fn cut(text: &str, longest: usize) -> String {
    let mut rest = text.chars();
    let blank = |c: char| if c.is_control() || c.is_whitespace() { ' ' } else { c };
    let kept: String = rest.by_ref().take(longest).map(blank).collect();
    let mut line = kept.split(' ').filter(|word| !word.is_empty()).flat_map(pieces).collect::<Vec<_>>().join(" ");
    if rest.next().is_some() {
        line.push_str(" ...");
    }
    line
}

/// A word in pieces that fit a line.
fn pieces(word: &str) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), word);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(LONGEST_WORD));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// [`some_line`] for a field that must be ASCII: every other character becomes `?`. The text for people has them all.
pub(super) fn ascii_line(text: Option<&str>) -> Option<String> {
    some_line(text).map(|line| line.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect())
}

/// A subject as people read it, its encoded words decoded (RFC 2047); `None` where that is not possible.
pub(super) fn subject(value: &str) -> Option<String> {
    let mut is_readable = true;
    let text = rfc2047::decode_text(value.as_bytes(), |charset, octets, out| match decoded(charset, octets) {
        Some(text) => out.push_str(&text),
        None => is_readable = false,
    });
    let line = cut(&text, LONGEST_SUBJECT);
    // What still looks like an encoded word would be decoded by whoever reads the bounce.
    (is_readable && !line.is_empty() && !line.contains("=?")).then_some(line)
}

fn decoded(charset: &[u8], octets: &[u8]) -> Option<String> {
    match charset.to_ascii_lowercase().as_slice() {
        b"utf-8" | b"us-ascii" => String::from_utf8(octets.to_vec()).ok(),
        // Between these octets the two differ, and one of them has controls there.
        b"iso-8859-1" | b"windows-1252" if !octets.iter().any(|b| (0x80..0xa0).contains(b)) => {
            Some(octets.iter().map(|b| char::from(*b)).collect())
        }
        _ => None,
    }
}

/// A parameter decoded (RFC 3461 §4); `None` where it is broken or holds more than printable ASCII.
pub(super) fn printable(xtext: &Xtext) -> Option<String> {
    let text = String::from_utf8(XTEXT.decode(xtext.as_str()).ok()?.into_owned()).ok()?;
    let is_printable = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    (is_printable && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// An address for a header field, where a local part such as `a,b` must be quoted to stay one (RFC 5322 §3.2.4).
pub(in crate::mail) fn quoted(address: &Address) -> String {
    let local = address.local();
    // RFC 5322 §3.2.3, and RFC 6532 §3.2 for what is not ASCII.
    let is_atom = |atom: &str| !atom.is_empty() && atom.chars().all(|c| !c.is_ascii() || is_atext(c));
    if local.starts_with('"') || local.split('.').all(is_atom) {
        return address.as_str().to_owned();
    }
    let at = address.domain().map_or_else(String::new, |domain| format!("@{domain}"));
    format!("\"{local}\"{at}")
}

fn is_atext(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(character)
}

/// An address for a field of the status part: `rfc822; a@b`, or with the `utf-8-addr-xtext` of RFC 6533 §3, which is ASCII.
pub(super) fn typed(address: &Address) -> String {
    if address.is_ascii() {
        return format!("rfc822; {address}");
    }
    let mut escaped = String::new();
    for character in address.as_str().chars() {
        match character.is_ascii_graphic() && !matches!(character, '\\' | '+' | '=') {
            true => escaped.push(character),
            false => _ = write!(escaped, "\\x{{{:X}}}", u32::from(character)),
        }
    }
    // Only an address beyond what RFC 5321 §4.5.3.1 allows is longer than a line.
    format!("utf-8; {}", pieces(&escaped).join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_stays_one() {
        for (text, expected) in
            [("550 5.1.1 no\r\nsuch\tuser\u{85}\u{2028}here\0 ", "550 5.1.1 no such user here"), ("  ", ""), ("grün", "grün")]
        {
            assert_eq!(one_line(text), expected);
        }
        assert_eq!(ascii_line(Some("grün")).as_deref(), Some("gr?n"));
        assert_eq!(ascii_line(Some("\r\n")), None);
        assert_eq!(one_line(&"a".repeat(1000)), format!("{} {}", "a".repeat(900), "a".repeat(100)));
        assert_eq!(one_line(&"a b ".repeat(600)), format!("{} ...", "a b ".repeat(500).trim_end()));
    }

    #[test]
    fn a_subject_is_decoded_or_left_out() {
        for (value, expected) in [
            ("Build 4711 failed", Some("Build 4711 failed")),
            ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?= an alle", Some("Grüße an alle")),
            ("=?UTF-8?B?R3LDvMOfZQ==?=", Some("Grüße")),
            ("=?iso-8859-1?Q?Gr=FC=DFe?=", Some("Grüße")),
            ("Grüße", Some("Grüße")),
            ("=?utf-8?Q?a=0D=0ABcc:_b?=", Some("a Bcc: b")),
            ("=?koi8-r?Q?=C0=C1?=", None),
            ("=?windows-1252?Q?=80?=", None),
            ("=?utf-8?Q?=FF?=", None),
            ("=?utf-8?Q?=3D=3Futf-8=3FQ=3Fx=3F=3D?=", None),
            ("=?broken", None),
            (" ", None),
        ] {
            assert_eq!(subject(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_parameter_is_decoded_only_to_what_may_stand_in_a_field() {
        for (text, expected) in [
            ("QQ314159", Some("QQ314159")),
            ("a+2Bb+3Dc+20d", Some("a+b=c d")),
            ("rfc822;Bob+2Bx@Example.ORG", Some("rfc822;Bob+x@Example.ORG")),
            ("a+0D+0ABcc:b", None),
            ("a+00", None),
            ("a+C3+A4", None),
            ("a+FF", None),
            ("a+", None),
            ("a+zz", None),
            ("+20", None),
        ] {
            assert_eq!(printable(&Xtext::parse(text, 100).unwrap()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_address_is_written_for_its_place() {
        for (text, in_header, in_status) in [
            ("a.b+c@example.com", "a.b+c@example.com", "rfc822; a.b+c@example.com"),
            ("a,b@example.com", "\"a,b\"@example.com", "rfc822; a,b@example.com"),
            ("a@b@example.com", "\"a@b\"@example.com", "rfc822; a@b@example.com"),
            ("a..b@example.com", "\"a..b\"@example.com", "rfc822; a..b@example.com"),
            ("\"a b\"@example.com", "\"a b\"@example.com", "rfc822; \"a b\"@example.com"),
            ("root", "root", "rfc822; root"),
            ("jörg+x@bücher.example", "jörg+x@bücher.example", "utf-8; j\\x{F6}rg\\x{2B}x@b\\x{FC}cher.example"),
            ("\"a \\\" ä\"@b", "\"a \\\" ä\"@b", "utf-8; \"a\\x{20}\\x{5C}\"\\x{20}\\x{E4}\"@b"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((quoted(&address).as_str(), typed(&address).as_str()), (in_header, in_status));
        }
    }

    proptest! {
        #[test]
        fn no_text_keeps_a_control_character_or_a_long_word(text in "(?s).{0,3000}") {
            let line = one_line(&text);
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert!(line.split(' ').all(|word| word.len() <= LONGEST_WORD));
        }
    }
}
