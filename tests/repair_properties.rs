//! What holds for every message, whatever its octets: repairs and rewriting are done once, touch nothing but what they name, and make
//! no message fail or grow without bound.

use outlink::mail::{Address, Case, Change, Encoder, Header, Preparation, Repair, repair, rewrite};
use proptest::prelude::*;

const LEVELS: [Repair; 3] = [Repair::None, Repair::Standard, Repair::Legacy];
const RECEIVED: &str = "Received: by relay.example; now\r\n";

/// The message as it is kept, without its Received field, and what was changed.
fn prepared(message: &[u8], level: Repair, piece: usize) -> (Vec<u8>, Vec<Change>) {
    let case = Case { repair: level, author: Some(mailbox()), smtputf8: false };
    let mut preparation = Preparation::new(RECEIVED.into(), "Mon, 02 Nov 2026 06:25:01 +0100".into(), "<new@relay>".into(), case);
    let mut out = Vec::new();
    message.chunks(piece).for_each(|octets| preparation.push(octets, &mut out));
    let findings = preparation.finish(&mut out);
    let (mut out, mut changes) = (out[RECEIVED.len()..].to_vec(), findings.changes);
    if findings.encode_body {
        let (mut encoder, mut encoded) = (Encoder::default(), Vec::new());
        out.chunks(piece).for_each(|octets| encoder.push(octets, &mut encoded));
        encoder.finish(&mut encoded);
        changes.push(Change::EncodedBody);
        out = encoded;
    }
    (out, changes)
}

fn mailbox() -> Address {
    Address::parse("robot@sandbox.example").expect("an address")
}

/// The fields of a message, each with all its octets, and what follows the header.
fn parts(message: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let (header, octets) = Header::of(message);
    (header.fields.iter().map(|field| field.raw().to_vec()).collect(), &message[octets..])
}

/// Whether a change says that something passed as it was.
fn is_report(change: &Change) -> bool {
    matches!(change, Change::PassedLongLines | Change::PassedLongHeader)
}

/// Names that the repairs look at, and one that they do not.
const NAMES: [&str; 18] = [
    "From",
    "from ",
    "To",
    "Cc",
    "Bcc",
    "Sender",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "Content-Description",
    "References",
    "Errors-To",
    "X-Other",
];

/// Pieces of values as old programs write them.
const PIECES: [&str; 30] = [
    "a@b.example",
    "<a@b.example>",
    "ops@x",
    " ",
    "  ",
    "\t",
    "\r\n ",
    "\r\n\t",
    ", ",
    ",",
    ";",
    "\"",
    "(",
    ")",
    "<",
    ">",
    "\\",
    ":",
    "name",
    "Jürgen",
    "=?utf-8?Q?a@b?=",
    "=?utf-8?B?YQ==?=",
    "text/plain",
    "multipart/mixed; boundary=b",
    "; name=\"März.pdf\"",
    "; filename=Büro 1.pdf",
    "attachment",
    "8bit",
    "1.0",
    "LONG",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(PIECES.to_vec()).prop_map(|piece| match piece {
        "LONG" => vec![b'l'; 1100],
        piece => piece.as_bytes().to_vec(),
    });
    let latin = prop::sample::select(vec![b"\xfc".to_vec(), b"B\xfcro".to_vec(), b"\x80".to_vec()]);
    prop::collection::vec(prop_oneof![6 => piece, 1 => latin], 0..9).prop_map(|pieces| pieces.concat())
}

fn fields() -> impl Strategy<Value = Vec<u8>> {
    let field = (prop::sample::select(NAMES.to_vec()), value())
        .prop_map(|(name, value)| [name.as_bytes(), b": ", &value, b"\r\n"].concat());
    let odd = prop::sample::select(vec![b"From root Mon Jan 1\r\n".to_vec(), b">From x\r\n".to_vec()]);
    prop::collection::vec(prop_oneof![12 => field, 1 => odd], 0..9).prop_map(|fields| fields.concat())
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..60),
        1 => Just(b"From: body".to_vec()),
        1 => Just([b"words and octets \xfc= ".as_slice()].concat().repeat(60)),
    ];
    let clean =
        |line: Vec<u8>| [line.into_iter().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect(), b"\r\n".to_vec()].concat();
    prop::collection::vec(line.prop_map(clean), 0..6).prop_map(|lines| lines.concat())
}

fn level() -> impl Strategy<Value = Repair> {
    prop::sample::select(LEVELS.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_prepared_once_is_prepared(header in fields(), body in body(), level in level()) {
        let message = [&header[..], b"\r\n", &body].concat();
        let (once, _) = prepared(&message, level, usize::MAX);
        let (twice, changes) = prepared(&once, level, usize::MAX);
        prop_assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&once));
        prop_assert!(changes.iter().all(is_report), "{:?}", changes);
    }

    #[test]
    fn the_body_keeps_its_octets_unless_it_is_encoded(header in fields(), body in body(), level in level()) {
        let message = [&header[..], b"\r\n", &body].concat();
        let (out, changes) = prepared(&message, level, usize::MAX);
        let (_, rest) = parts(&out);
        prop_assert!(rest.starts_with(b"\r\n"));
        if changes.contains(&Change::EncodedBody) {
            prop_assert_eq!(level, Repair::Legacy);
            prop_assert!(rest.split(|octet| *octet == b'\n').all(|line| line.len() <= 77 && line.is_ascii()));
        } else {
            prop_assert_eq!(&rest[2..], &body);
        }
    }

    #[test]
    fn what_is_not_changed_keeps_its_order_and_only_what_is_named_is_changed(header in fields(), level in level()) {
        let (before, _) = parts(&header);
        let (out, changes) = prepared(&[&header[..], b"\r\n"].concat(), level, usize::MAX);
        let (after, _) = parts(&out);
        // Several To or Cc become one, at the place of the first.
        let merges = |field: &&Vec<u8>| { let name = field[..3].to_ascii_lowercase(); name != b"to:" && name != b"cc:" };
        let mut rest = before.iter().filter(merges);
        for field in after.iter().filter(|field| before.contains(field)).filter(merges) {
            prop_assert!(rest.any(|it| it == field), "out of order: {}", String::from_utf8_lossy(field));
        }
        if changes.is_empty() {
            prop_assert_eq!(&before, &after);
        }
        // What no repair is for is there as it was.
        let other = |fields: &[Vec<u8>]| fields.iter().filter(|field| field.starts_with(b"X-Other:")).cloned().collect::<Vec<_>>();
        let (before, after) = (other(&before), other(&after));
        prop_assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after).filter(|(before, _)| before.is_ascii() && before.len() < 900) {
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn what_is_signed_or_encrypted_is_not_touched(
        kind in prop::sample::select(vec!["multipart/signed", "Multipart/Encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"]),
        before in fields(), after in fields(), body in body(), level in level(),
    ) {
        let content = format!("Content-Type: {kind}; protocol=x; name=\"März\"\r\n");
        let message = [&before[..], content.as_bytes(), &after, b"\r\n", &body].concat();
        let (out, changes) = prepared(&message, level, usize::MAX);
        prop_assert!(!changes.contains(&Change::EncodedBody));
        let of_content = |message: &[u8]| {
            let (fields, rest) = parts(message);
            let fields: Vec<_> = fields.into_iter().filter(|field| field.to_ascii_lowercase().starts_with(b"content-")).collect();
            (fields, rest.to_vec())
        };
        let is_long = |field: &Vec<u8>| field.split(|octet| *octet == b'\n').any(|line| line.len() > 999);
        let (fields, rest) = of_content(&message);
        let (mut kept, rest_kept) = of_content(&out);
        prop_assert_eq!(rest, rest_kept);
        // A line that is too long is folded there too: white space between its parts is all that changes.
        if fields.iter().any(is_long) {
            let bare = |field: &Vec<u8>| field.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect::<Vec<u8>>();
            prop_assert_eq!(fields.iter().map(bare).collect::<Vec<_>>(), kept.iter().map(bare).collect::<Vec<_>>());
        } else {
            kept.retain(|field| fields.contains(field));
            prop_assert_eq!(fields, kept);
        }
    }

    #[test]
    fn no_octets_make_it_fail_or_grow_beyond_ten_times_and_any_chunking_gives_the_same(
        octets in prop::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b':'), 1 => Just(b'\n'), 1 => Just(b' '), 1 => Just(0xfc)], 0..600),
        header in fields(), level in level(), piece in 1usize..50,
    ) {
        for message in [octets.clone(), [&header[..], &octets].concat(), [&octets[..], &header].concat()] {
            let (out, changes) = prepared(&message, level, usize::MAX);
            prop_assert!(out.len() <= message.len() * 10 + 300, "{} from {}", out.len(), message.len());
            prop_assert_eq!(prepared(&message, level, piece), (out.clone(), changes));
            let (mut parsed, _) = Header::of(&out);
            rewrite(&mut parsed, &mailbox(), |_| false);
        }
    }

    #[test]
    fn what_is_rewritten_needs_no_repair_and_a_repaired_message_is_rewritten_once(header in fields(), level in level()) {
        let case = Case { repair: level, author: Some(mailbox()), smtputf8: false };
        let (mut header, _) = Header::of(&header);
        repair(&mut header, &case);
        rewrite(&mut header, &mailbox(), |_| false);
        let once = header.clone();
        prop_assert_eq!(rewrite(&mut header, &mailbox(), |_| false), vec![]);
        // Names in lists parted by semicolons are not encoded before, and can be when there is one.
        let mut changes = repair(&mut header, &case);
        let encoded = changes.len();
        changes.retain(|change| *change != Change::EncodedHeader);
        prop_assert!(changes.iter().all(is_report), "{:?} {:?}", changes, once);
        prop_assert!(header == once || changes.len() < encoded);
    }
}
