//! File names in Content-Type and Content-Disposition that hold octets above 127: `filename="März.pdf"` becomes
//! `filename*=utf-8''M%C3%A4rz.pdf` (RFC 2231 §4), which every reader of today knows. All other octets of the field stay: a boundary
//! that changed would lose the message's parts.

use super::{
    header::{FOLDED, Field},
    phrase::{self, Scan},
};
use std::ops::Range;

/// Parameters that are file names. What other parameters hold is read by programs, not by people.
const NAMES: [&[u8]; 2] = [b"filename", b"name"];

/// Longest name in octets that is encoded: three times as many, and the parameter's name, fit into a line.
const LONGEST_NAME: usize = 300;

/// The field with its file names encoded. `None`: nothing to encode, or it cannot be done without doubt what the name is.
pub(super) fn encoded(field: &Field) -> Option<Field> {
    let (raw, parameters) = (field.raw(), parameters(field.raw()));
    // A name that stands there both ways would be there twice.
    if raw.is_ascii() || parameters.iter().any(|it| it.attribute.ends_with(b"*") || it.attribute.contains(&b'*')) {
        return None;
    }
    let (mut out, mut at) = (Vec::with_capacity(raw.len() * 2), 0);
    for it in parameters {
        let Some(name) = NAMES.iter().find(|name| it.attribute.eq_ignore_ascii_case(name)).and_then(|_| file_name(it.value))
        else {
            continue;
        };
        out.extend_from_slice(&raw[at..it.octets.start]);
        let text = [it.attribute, b"*=utf-8''", percent(&name).as_bytes()].concat();
        let column = out.iter().rev().take_while(|octet| **octet != b'\n').count();
        if column + text.len() >= FOLDED && out.last() == Some(&b' ') && column > 1 {
            // Folded at the space before it (RFC 5322 §2.2.3).
            out.splice(out.len() - 1.., *b"\r\n ");
        }
        out.extend_from_slice(&text);
        at = it.octets.end;
    }
    (at > 0).then(|| field.with_raw([&out, &raw[at..]].concat()))
}

/// One parameter of a field.
struct Parameter<'a> {
    /// Where it stands in the field, without the white space around it.
    octets: Range<usize>,
    attribute: &'a [u8],
    value: &'a [u8],
}

/// The parameters of a field, tolerantly: what stands between its semicolons and has an equals sign.
fn parameters(raw: &[u8]) -> Vec<Parameter<'_>> {
    let begin = raw.iter().position(|octet| *octet == b':').map_or(raw.len(), |colon| colon + 1);
    let (mut scan, mut ends) = (Scan::default(), Vec::new());
    ends.extend((begin..raw.len()).filter(|at| scan.is_open(raw[*at]) && raw[*at] == b';'));
    let begins = ends.iter().map(|at| at + 1);
    let spans = begins.zip(ends.iter().skip(1).copied().chain([raw.len()]));
    let parameter = |(begin, end): (usize, usize)| {
        let text = raw[begin..end].trim_ascii();
        let start = begin + raw[begin..end].len() - raw[begin..end].trim_ascii_start().len();
        let equals = text.iter().position(|octet| *octet == b'=')?;
        let (attribute, value) = (text[..equals].trim_ascii_end(), text[equals + 1..].trim_ascii_start());
        Some(Parameter { octets: start..start + text.len(), attribute, value })
    };
    spans.filter_map(parameter).collect()
}

/// The name that this value says. `None` where it needs no encoding, or it is not sure where the name ends.
fn file_name(value: &[u8]) -> Option<String> {
    let value: Vec<u8> = value.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
    if value.is_ascii() || value.len() > LONGEST_NAME {
        return None;
    }
    let is_quoted = value.len() > 1 && value.starts_with(b"\"") && value.ends_with(b"\"");
    let inner = if is_quoted { &value[1..value.len() - 1] } else { &value };
    let mut escaped = false;
    let is_plain = inner.iter().all(|octet| {
        let was_escaped = std::mem::take(&mut escaped);
        escaped = is_quoted && !was_escaped && *octet == b'\\';
        was_escaped || !(*octet == b'"' || (!is_quoted && b"()<>=\\".contains(octet)))
    });
    (is_plain && !escaped).then(|| phrase::text(&phrase::unquoted(&value)))
}

/// The attribute characters as they are (RFC 2231 §7), all other octets as `%` and two digits.
fn percent(text: &str) -> String {
    let octet = |octet: u8| match octet {
        b'A'..=b'Z'
        | b'a'..=b'z'
        | b'0'..=b'9'
        | b'!'
        | b'#'
        | b'$'
        | b'&'
        | b'+'
        | b'-'
        | b'.'
        | b'^'
        | b'_'
        | b'`'
        | b'{'
        | b'|'
        | b'}'
        | b'~' => char::from(octet).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Header;
    use proptest::prelude::*;

    fn encoded_in(text: &[u8]) -> Option<String> {
        let (header, _) = Header::of(text);
        encoded(header.fields.first()?).map(|field| String::from_utf8_lossy(field.raw()).into_owned())
    }

    #[test]
    fn a_file_name_is_encoded_and_nothing_else_changes() {
        let rows: [(&[u8], Option<&str>); 15] = [
            (
                b"Content-Disposition: attachment; filename=\"M\xc3\xa4rz.pdf\"\r\n",
                Some("Content-Disposition: attachment; filename*=utf-8''M%C3%A4rz.pdf\r\n"),
            ),
            // Latin-1, of another place in the field, another case, folded otherwise.
            (
                b"content-type:application/pdf;\r\n\tName = \"B\xfcro 1.pdf\" ; boundary=\"a b\"\r\n",
                Some("content-type:application/pdf;\r\n\tName*=utf-8''B%C3%BCro%201.pdf ; boundary=\"a b\"\r\n"),
            ),
            // Without quotes, as scanners write it.
            (
                b"Content-Disposition: attachment; filename=Scan M\xe4rz.pdf; size=12\r\n",
                Some("Content-Disposition: attachment; filename*=utf-8''Scan%20M%C3%A4rz.pdf; size=12\r\n"),
            ),
            // What is too long for the line goes to the next one.
            (
                b"Content-Disposition: attachment; filename=\"Umsatz\xfcbersicht des ersten Halbjahres.xlsx\"\r\n",
                Some(
                    "Content-Disposition: attachment;\r\n filename*=utf-8''Umsatz%C3%BCbersicht%20des%20ersten%20Halbjahres.xlsx\r\n",
                ),
            ),
            (
                b"Content-Disposition: attachment; filename=\"a\\\"\xe4.pdf\"\r\n",
                Some("Content-Disposition: attachment; filename*=utf-8''a%22%C3%A4.pdf\r\n"),
            ),
            (b"Content-Disposition: attachment; filename=\"a.pdf\"\r\n", None),
            (b"Content-Disposition: attachment; filename=\"=?utf-8?Q?M=C3=A4rz?=\"\r\n", None),
            // There twice, as some programs write it for old readers; and one that is cut over several parameters.
            (b"Content-Disposition: attachment; filename=\"\xe4.pdf\"; filename*=utf-8''%C3%A4.pdf\r\n", None),
            (b"Content-Disposition: attachment; filename*0=\"\xe4\"; filename*1=\".pdf\"\r\n", None),
            // Where does the name end?
            (b"Content-Disposition: attachment; filename=\"\xe4.pdf\r\n", None),
            (b"Content-Disposition: attachment; filename=\"\xe4\".pdf\"\r\n", None),
            (b"Content-Disposition: attachment; filename=\xe4 (1).pdf\r\n", None),
            (b"Content-Disposition: attachment; filename=a=\xe4\r\n", None),
            // A boundary, and what is no parameter.
            (b"Content-Type: multipart/mixed; boundary=\"\xe4\"\r\n", None),
            (b"Content-Type: \xe4; \xe4; =\xe4\r\n", None),
        ];
        for (text, expected) in rows {
            assert_eq!(encoded_in(text).as_deref(), expected, "{}", String::from_utf8_lossy(text));
        }
        let long = [b"Content-Disposition: attachment; filename=\"".as_slice(), &[0xe4; 400], b"\"\r\n"].concat();
        assert_eq!(encoded_in(&long), None);
    }

    proptest! {
        #[test]
        fn no_octets_make_it_fail_and_once_is_enough(
            value in "(; ?(filename|name|NAME|x|name\\*)?=?\"?[a\u{fc};\"\\\\ ()<>=\r\n\t]{0,12}\"?){0,5}"
        ) {
            let field = Field::begun(format!("Content-Type: a/b{value}\r\n").as_bytes(), 12);
            if let Some(once) = encoded(&field) {
                prop_assert!(once.raw().len() <= field.raw().len() * 4 + 64);
                prop_assert!(encoded(&once).is_none(), "{:?}", String::from_utf8_lossy(once.raw()));
            }
        }
    }
}
