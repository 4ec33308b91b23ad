//! Repairs of headers that old programs make and providers refuse. What needs none stays as it is, octet for octet.
//!
//! Only the header of the whole message is looked at: what is signed or encrypted lies below it, and its Content fields are not touched.

use super::{
    Address, Change,
    header::{Field, Header},
    parameter, phrase,
};

/// How much is repaired (key `repair`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// Only what every message needs: Date, Message-ID, no Bcc.
    None,
    /// From, MIME-Version, and quotes around names that need them.
    #[default]
    Standard,
    /// Everything.
    Legacy,
}

/// Longest line, without its end (RFC 5322 §2.1.1).
pub(super) const LONGEST_LINE: usize = 998;

/// Fields of addresses.
const ADDRESSES: [&str; 15] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Resent-From",
    "Resent-Sender",
    "Resent-Reply-To",
    "Resent-To",
    "Resent-Cc",
    "Disposition-Notification-To",
    "Return-Receipt-To",
    "Errors-To",
    "Mail-Followup-To",
    "Mail-Reply-To",
];

/// Fields that programs read, and beginnings of their names: encoded words mean nothing there.
const STRUCTURED: [&str; 7] = ["Received", "Message-ID", "References", "In-Reply-To", "Date", "MIME-Version", "Return-Path"];
const STRUCTURED_FAMILIES: [&str; 7] = ["content-", "resent-", "list-", "dkim-", "arc-", "authentication-", "received-"];

/// Fields that may stand once (RFC 5322 §3.6, RFC 2045 §3); To and Cc are merged instead.
const ONCE: [&str; 9] =
    ["From", "Sender", "Reply-To", "Date", "Message-ID", "In-Reply-To", "References", "Subject", "MIME-Version"];

/// The same, of the body: left alone where the body is protected.
const ONCE_CONTENT: [&str; 3] = ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"];

/// What a message is repaired for.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// How much.
    pub repair: Repair,
    /// Who is the author of a message that names none.
    pub author: Option<Address>,
    /// The app said SMTPUTF8: octets above 127 may stand in the header (RFC 6532).
    pub smtputf8: bool,
}

/// Repairs a header; says what was done.
pub fn repair(header: &mut Header, case: &Case) -> Vec<Change> {
    let mut changes = Vec::new();
    // A signature covers fields as they stand, and may say of others that they are missing (RFC 6376 §5.4.2).
    if header.has("DKIM-Signature") {
        return changes;
    }
    if case.repair == Repair::Legacy {
        remove_separators(header, &mut changes);
        remove_duplicates(header, &mut changes);
        merge(header, "To", &mut changes);
        merge(header, "Cc", &mut changes);
        if !case.smtputf8 {
            encode(header, &mut changes);
        }
    }
    if case.repair >= Repair::Standard {
        add_from(header, case, &mut changes);
        if !header.has("MIME-Version") && (header.has("Content-Type") || header.has("Content-Transfer-Encoding")) {
            header.add("MIME-Version", "1.0");
            changes.push(Change::AddedMimeVersion);
        }
        quote(header, &mut changes);
    }
    if case.repair == Repair::Legacy {
        fold(header, &mut changes);
    }
    changes
}

/// Whether the body is signed or encrypted as a whole (RFC 1847, RFC 8551).
pub(super) fn is_protected(header: &Header) -> bool {
    let is_protected = |field: &Field| {
        let kind = field.value().to_ascii_lowercase();
        ["multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"]
            .iter()
            .any(|protected| kind.starts_with(protected.as_bytes()))
    };
    header.all("Content-Type").any(is_protected)
}

fn add_from(header: &mut Header, case: &Case, changes: &mut Vec<Change>) {
    if header.all("From").any(|field| !field.value().is_empty()) {
        return;
    }
    if let Some(author) = &case.author {
        header.fields.retain(|field| !field.is("From"));
        header.add("From", author.as_str());
        changes.push(Change::AddedFrom);
    }
}

/// Changes the fields of addresses for which `change` has another value.
fn change_addresses(header: &mut Header, change: impl Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
    let mut changed = false;
    for field in header.fields.iter_mut().filter(|field| ADDRESSES.iter().any(|name| field.is(name))) {
        if let Some(value) = change(&field.value()) {
            *field = field.with_value(&value);
            changed = true;
        }
    }
    changed
}

/// Changes the elements of an address field for which `change` has another one. A list with groups, or parted by semicolons, stays: what
/// seems to be a name there may be more.
fn change_elements(value: &[u8], change: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    if phrase::has_bare(value, b';') {
        return None;
    }
    let mut changed = false;
    let mut each = |element: &[u8]| {
        let another = change(element);
        changed |= another.is_some();
        another.unwrap_or_else(|| element.trim_ascii().to_owned())
    };
    let all: Vec<Vec<u8>> = phrase::elements(value).into_iter().map(&mut each).collect();
    changed.then(|| all.join(&b", "[..]))
}

fn quote(header: &mut Header, changes: &mut Vec<Change>) {
    if change_addresses(header, |value| change_elements(value, phrase::with_quoted_name)) {
        changes.push(Change::QuotedDisplayName);
    }
}

fn remove_separators(header: &mut Header, changes: &mut Vec<Change>) {
    let before = header.fields.len();
    header.fields.retain(|field| !field.name().is_empty());
    if header.fields.len() < before {
        changes.push(Change::RemovedSeparator);
    }
}

fn remove_duplicates(header: &mut Header, changes: &mut Vec<Change>) {
    let before = header.fields.len();
    let content: &[&str] = if is_protected(header) { &[] } else { &ONCE_CONTENT };
    for name in ONCE.iter().chain(content) {
        // An empty one counts only where there is no other.
        let position = |wanted: fn(&Field) -> bool| header.fields.iter().position(|field| field.is(name) && wanted(field));
        if let Some(first) = position(|field| !field.value().is_empty()).or_else(|| position(|_| true)) {
            let mut at = 0;
            header.fields.retain(|field| {
                at += 1;
                at - 1 == first || !field.is(name)
            });
        }
    }
    if header.fields.len() < before {
        changes.push(Change::RemovedDuplicate);
    }
}

fn merge(header: &mut Header, name: &str, changes: &mut Vec<Change>) {
    if header.all(name).count() < 2 {
        return;
    }
    let is_between = |octet: &u8| octet.is_ascii_whitespace() || *octet == b',';
    let without_comma = |value: Vec<u8>| value.iter().rposition(|octet| !is_between(octet)).map(|end| value[..=end].to_vec());
    let values: Vec<Vec<u8>> = header.all(name).map(Field::value).filter_map(without_comma).collect();
    let first = header.fields.iter().position(|field| field.is(name));
    let mut at = 0;
    header.fields.retain(|field| {
        at += 1;
        Some(at - 1) == first || !field.is(name)
    });
    if let Some(field) = header.fields.iter_mut().find(|field| field.is(name)) {
        *field = field.with_value(&values.join(&b", "[..]));
    }
    changes.push(Change::MergedRecipients);
}

/// Encodes octets above 127: names of addresses, file names, and the text of fields that are only text. An address that holds such
/// octets stays: there is no other way to write it.
fn encode(header: &mut Header, changes: &mut Vec<Change>) {
    let mut changed = change_addresses(header, |value| change_elements(value, encoded_element));
    let is_protected = is_protected(header);
    for field in header.fields.iter_mut().filter(|field| !field.raw().is_ascii() && field.name().is_ascii()) {
        let is = |name: &&str| field.is(name);
        let another = if !is_protected && ["Content-Type", "Content-Disposition"].iter().any(is) {
            parameter::encoded(field)
        } else if is_text(field) || (!is_protected && field.is("Content-Description")) {
            Some(field.with_value(phrase::encoded(&phrase::text(&field.value()), false).as_bytes()))
        } else {
            None
        };
        changed |= another.is_some();
        *field = another.unwrap_or_else(|| field.clone());
    }
    if changed {
        changes.push(Change::EncodedHeader);
    }
}

/// Whether a field is text for people and nothing else.
fn is_text(field: &Field) -> bool {
    let is = |name: &&str| field.is(name);
    let name = field.name().to_ascii_lowercase();
    !name.is_empty()
        && !ADDRESSES.iter().chain(&STRUCTURED).any(is)
        && !STRUCTURED_FAMILIES.iter().any(|family| name.starts_with(family.as_bytes()))
}

/// An address whose name, or the comment that stands for one, is encoded.
fn encoded_element(element: &[u8]) -> Option<Vec<u8>> {
    let encoded = |text: &[u8]| phrase::encoded(&phrase::text(text), true).into_bytes();
    match phrase::split(element) {
        Some((name, _)) if name.is_ascii() => None,
        Some((name, address)) => Some([&encoded(&phrase::unquoted(name)), &b" "[..], address.trim_ascii()].concat()),
        None => {
            let comment = phrase::comment(element).filter(|comment| !comment.is_ascii())?;
            let address = element[..element.iter().position(|octet| *octet == b'(')?].trim_ascii();
            Some([address, b" (", &encoded(comment), b")"].concat())
        }
    }
}

fn fold(header: &mut Header, changes: &mut Vec<Change>) {
    let is_long = |field: &Field| field.raw().split(|octet| *octet == b'\n').any(|line| line.len() > LONGEST_LINE + 1);
    let (mut changed, mut passed) = (false, false);
    for field in header.fields.iter_mut().filter(|field| is_long(field)) {
        let value = field.value();
        let value = match ADDRESSES.iter().any(|name| field.is(name)) {
            // Between addresses there may be a space, where none is.
            true => phrase::elements(&value).iter().map(|element| element.trim_ascii()).collect::<Vec<_>>().join(&b", "[..]),
            false => value,
        };
        let folded = field.with_value(&value);
        // A word of its own above the limit cannot be folded, and the line ends that were there are as good.
        match is_long(&folded) {
            true => passed = true,
            false => (*field, changed) = (folded, true),
        }
    }
    changes.extend(changed.then_some(Change::FoldedHeader));
    changes.extend(passed.then_some(Change::PassedLongLines));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn repaired(text: &[u8], level: Repair) -> (String, Vec<Change>) {
        let (mut header, _) = Header::of(text);
        let author = Some(Address::parse("robot@example.com").unwrap());
        let changes = repair(&mut header, &Case { repair: level, author, smtputf8: false });
        let mut out = Vec::new();
        header.write(&mut out);
        (String::from_utf8_lossy(&out).into_owned(), changes)
    }

    #[test]
    fn each_repair_is_made_from_its_level_on() {
        use Change::*;
        let long = format!("X-List: {}\r\n", "word ".repeat(300));
        let long_folded = repaired(format!("From: a@b\r\n{long}").as_bytes(), Repair::Legacy).0;
        let first = format!("From: a@b\r\n{long}");
        let rows: [(&[u8], &str, Repair, &[Change]); 8] = [
            // A scanner that gives no From.
            (b"Subject: scan\r\n", "Subject: scan\r\nFrom: robot@example.com\r\n", Repair::Standard, &[AddedFrom]),
            (b"From: \r\nTo: x@y\r\n", "To: x@y\r\nFrom: robot@example.com\r\n", Repair::Standard, &[AddedFrom]),
            // Parts without the field that makes them parts.
            (
                b"From: a@b\r\nContent-Type: text/html\r\n",
                "From: a@b\r\nContent-Type: text/html\r\nMIME-Version: 1.0\r\n",
                Repair::Standard,
                &[AddedMimeVersion],
            ),
            // A display name that is an address: Exchange refuses it unquoted.
            (
                b"From: ops@contoso.com <ops@contoso.com>\r\nTo: A <a@b>, c@d <c@d>,\r\n e@f\r\n",
                "From: \"ops@contoso.com\" <ops@contoso.com>\r\nTo: A <a@b>, \"c@d\" <c@d>, e@f\r\n",
                Repair::Standard,
                &[QuotedDisplayName],
            ),
            // Names and text in the set of the machine.
            (
                b"From: J\xfcrgen <j@b>\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n",
                "From: =?utf-8?Q?J=C3=BCrgen?= <j@b>\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n",
                Repair::Legacy,
                &[EncodedHeader],
            ),
            // Fields twice, which providers refuse.
            (
                b"From: a@b\r\nFrom: c@d\r\nSubject:\r\nSubject: one\r\nTo: x@y\r\nDate: d\r\nTo: z@y\r\n",
                "From: a@b\r\nSubject: one\r\nTo: x@y, z@y\r\nDate: d\r\n",
                Repair::Legacy,
                &[RemovedDuplicate, MergedRecipients],
            ),
            (b"From root Mon Jan 1\r\nFrom: a@b\r\n", "From: a@b\r\n", Repair::Legacy, &[RemovedSeparator]),
            (first.as_bytes(), &long_folded, Repair::Legacy, &[FoldedHeader]),
        ];
        for (text, expected, level, changes) in rows {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(repaired(text, level), (expected.to_owned(), changes.to_vec()), "{shown}");
            if level == Repair::Legacy {
                assert_eq!(repaired(text, Repair::Standard).1, [], "{shown}");
            }
            assert_eq!(repaired(text, Repair::None), (shown.clone().into_owned(), vec![]), "{shown}");
            assert_eq!(repaired(expected.as_bytes(), level).1, [], "once is enough: {shown}");
        }
        assert!(long_folded.lines().all(|line| line.len() <= LONGEST_LINE) && long_folded.matches("word").count() == 300);
    }

    #[test]
    fn what_is_signed_keeps_its_content_fields_and_what_is_international_its_octets() {
        let signed =
            "From: a@b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; x\r\nContent-Type: multipart/signed; x\r\n";
        assert_eq!(repaired(signed.as_bytes(), Repair::Legacy), (signed.to_owned(), vec![]));
        let signed = "DKIM-Signature: v=1; h=from:subject:subject\r\nFrom: a@b <a@b>\r\nSubject: 1\r\nSubject: 2\r\nContent-Type: text/plain\r\n";
        for level in [Repair::Standard, Repair::Legacy] {
            assert_eq!(repaired(signed.as_bytes(), level), (signed.to_owned(), vec![]));
        }
        let (mut header, _) = Header::of("From: J\u{fc} <j\u{fc}@b>\r\nSubject: \u{fc}\r\n".as_bytes());
        let before = header.clone();
        assert_eq!(repair(&mut header, &Case { repair: Repair::Legacy, author: None, smtputf8: true }), []);
        assert_eq!(header, before);
    }

    proptest! {
        #[test]
        fn repairing_twice_is_repairing_once(
            text in "((From|To|Cc|Subject|Date|MIME-Version|Content-Type|X-A|From x|Sender): [a-z@<>\",() \u{fc}\\\\]{0,40}\r\n){0,8}",
            level in 0u8..3,
        ) {
            let level = [Repair::None, Repair::Standard, Repair::Legacy][usize::from(level)];
            let (once, _) = repaired(text.as_bytes(), level);
            let (twice, changes) = repaired(once.as_bytes(), level);
            prop_assert_eq!(&twice, &once);
            prop_assert_eq!(changes, vec![]);
        }

        #[test]
        fn no_octets_make_it_fail(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            repaired(&text, Repair::Legacy);
        }
    }
}
