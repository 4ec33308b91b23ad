//! Whole notifications: one compared line by line, and whatever comes from outside never gives a field, a line or a part.

use super::*;
use proptest::{collection::vec, prelude::*};

const HEADER: &str = "From: alerts@contoso.com\r\nSubject: Build 4711 failed\r\nMessage-ID: <1@app.contoso.com>\r\n";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200 + seconds)
}

fn id(number: u8) -> Id {
    Id::new(at(0), [number; 10])
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A bounce about `recipients`; `sender` gets it.
fn bounce<'a>(sender: &'a Address, recipients: &'a [Report<'a>]) -> Bounce<'a> {
    Bounce {
        id: id(1),
        kind: Kind::Failed,
        of: id(2),
        hostname: "relay.contoso.com",
        from: sender,
        to: sender,
        envid: None,
        subject: Some("Build 4711 failed"),
        accepted: at(0),
        now: at(60),
        recipients,
        original: Original::Header(HEADER.as_bytes()),
    }
}

fn report(address: &Address) -> Report<'_> {
    Report {
        address,
        orcpt: None,
        status: (5, 1, 1),
        reply: None,
        server: None,
        reason: "The address does not exist.",
        advice: None,
        last_attempt: None,
    }
}

fn text(bounce: &Bounce<'_>) -> String {
    String::from_utf8_lossy(&bounce.write()).into_owned()
}

#[test]
fn a_failure_is_told_to_people_and_to_programs() {
    let (alerts, bob) = (address("alerts@contoso.com"), address("bob@example.org"));
    let envid = Xtext::parse("QQ+2B314", 100).unwrap();
    let orcpt = Xtext::parse("rfc822;Bob+2Bx@Example.ORG", 500).unwrap();
    let bob = Report {
        orcpt: Some(&orcpt),
        reply: Some(
            "550-5.1.1 The email account that you tried to reach does not exist. 550 5.1.1 Please try double-checking it.",
        ),
        server: Some("smtp.gmail.com"),
        advice: Some("Check the address for typing errors."),
        last_attempt: Some(at(50)),
        ..report(&bob)
    };
    let written = text(&Bounce { envid: Some(&envid), ..bounce(&alerts, &[bob]) });
    assert_eq!(written, include_str!("tests/failed.eml").replace('\n', "\r\n"), "{written}");
}

#[test]
fn each_kind_has_its_words_and_only_a_failure_returns_all() {
    let (alerts, bob) = (address("alerts@contoso.com"), address("bob@example.org"));
    let message = format!("{HEADER}\r\nSecond floor.\r\n");
    for (kind, title, action, returned) in [
        (Kind::Failed, "Undelivered mail", "failed", "message/rfc822"),
        (Kind::Delayed { until: at(9) }, "Delayed mail (still being tried)", "delayed", "text/rfc822-headers"),
        (Kind::Relayed, "Relayed mail", "relayed", "text/rfc822-headers"),
    ] {
        let original = Original::Full(message.as_bytes());
        let written = text(&Bounce { kind, original, ..bounce(&alerts, &[report(&bob)]) });
        for line in [
            format!("Subject: {title}: Build 4711 failed\r\n"),
            format!("\r\nAction: {action}\r\n"),
            format!("\r\nContent-Type: {returned}\r\n"),
        ] {
            assert!(written.contains(&line), "{line} is missing in {written}");
        }
        let until = written.contains("\r\nWill-Retry-Until: Mon, 23 Nov 2026 12:00:09 +0000\r\n");
        assert_eq!(until, matches!(kind, Kind::Delayed { .. }), "{written}");
        assert_eq!(written.contains("Second floor"), kind == Kind::Failed, "{written}");
    }
}

#[test]
fn a_subject_that_cannot_be_read_is_left_out() {
    let (alerts, bob) = (address("alerts@contoso.com"), address("bob@example.org"));
    for (subject, line) in [
        (None, "Subject: Undelivered mail\r\n"),
        (Some("=?koi8-r?Q?=C0=C1?="), "Subject: Undelivered mail\r\n"),
        (Some("=?iso-8859-1?Q?Gr=FC=DFe?="), "Subject: =?utf-8?Q?Undelivered_mail:_Gr=C3=BC=C3=9Fe?=\r\n"),
    ] {
        let written = text(&Bounce { subject, ..bounce(&alerts, &[report(&bob)]) });
        assert!(written.contains(line), "{line} is missing in {written}");
    }
}

#[test]
fn what_holds_an_8_bit_part_is_labelled_so() {
    let (alerts, bob) = (address("alerts@contoso.com"), address("bob@example.org"));
    let label = "\r\nContent-Transfer-Encoding: 8bit\r\n";
    for (original, labels) in [("A: b\r\n\r\nc\r\n", 0), ("A: b\r\n\r\n\u{e4}\r\n", 2)] {
        let original = Original::Full(original.as_bytes());
        let written = text(&Bounce { original, ..bounce(&alerts, &[report(&bob)]) });
        assert_eq!((written.matches(label).count(), written.is_ascii()), (labels, labels == 0), "{written}");
    }
}

/// What would begin a field, a line or a part if it were let through.
const TRICKS: [&str; 9] = [
    "\r\nBcc: victim@example.org\r\n",
    "\nX-Evil: 1\n\n",
    "\r\rX-Evil: 1",
    "\u{2028}X-Evil: 1\u{85}",
    "=?utf-8?Q?=0D=0AX-Evil:_1?=",
    "=0D=0AX-Evil: 1",
    "\r\n.\r\n",
    "\0\u{7f}\u{1b}[2J",
    "Grüße 終 😀",
];

/// Text as an attacker would write it.
fn hostile() -> impl Strategy<Value = String> {
    let boundary = format!("\r\n--=_{}.0\r\nContent-Type: text/html\r\n\r\n", id(1));
    let piece = prop_oneof![
        proptest::sample::select(&TRICKS[..]).prop_map(str::to_owned),
        Just(boundary),
        "(?s).{0,30}",
        "[a-zä]{0,20}".prop_map(|word| word.repeat(120)),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn hostile_address() -> impl Strategy<Value = Address> {
    let text = prop_oneof![
        "[a-z,.@();:ä=+]{1,20}@[a-z]{1,9}\\.example",
        "\"[ -~]{0,40}\"@example\\.org",
        "[äλ😀\u{2028}\u{85}]{1,120}@[bü]{1,30}\\.example",
        Just(format!("--=_{}.0@example.org", id(1))),
    ];
    text.prop_filter_map("an address", |text| Address::parse(&text).ok())
}

fn hostile_xtext() -> impl Strategy<Value = Option<Xtext>> {
    "(rfc822;|utf-8;)?([!-~]|\\+0D\\+0A|\\+20){0,200}".prop_map(|text| Xtext::parse(&text, 500).ok())
}

/// The names of the fields in `header`; a folded line has none, and any other line must have one.
fn names(header: &str) -> Vec<&str> {
    let fields = header.split_terminator("\r\n").filter(|line| !line.starts_with([' ', '\t']));
    fields.map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}")).0).collect()
}

const HEAD: [&str; 11] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
    "In-Reply-To",
    "References",
];

/// What must be true of every bounce, whatever its values.
fn check(written: &[u8], recipients: usize) {
    for line in written.split_inclusive(|b| *b == b'\n') {
        let content = line.strip_suffix(b"\r\n").expect("a line ends with CRLF");
        assert!(content.len() <= 998 && !content.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{content:?}");
    }
    let written = String::from_utf8_lossy(written);
    let (head, body) = written.split_once("\r\n\r\n").expect("a header ends");
    let mut fields = names(head);
    fields.retain(|name| *name != "Content-Transfer-Encoding");
    fields.sort_unstable();
    fields.dedup();
    assert!(fields.iter().all(|name| HEAD.contains(name)) && fields.len() + 2 >= HEAD.len(), "{fields:?}");
    let boundary = head.split_once("boundary=\"").and_then(|(_, rest)| rest.split_once('"')).expect("a boundary").0;
    assert_eq!(body.matches(boundary).count(), 4, "{boundary} in {written}");
    let parts: Vec<&str> = body.split(&format!("--{boundary}\r\n")).collect();
    let (_, fields) = parts[2].split_once("\r\n\r\n").expect("the status part has a header");
    let blocks: Vec<&str> = fields.trim_end_matches("\r\n").split("\r\n\r\n").collect();
    assert_eq!(blocks.len(), recipients + 1, "{fields}");
    assert!(fields.is_ascii());
    let known = ["Original-Envelope-Id", "Reporting-MTA", "Arrival-Date", "X-Outlink-ID"];
    assert!(names(blocks[0]).iter().all(|name| known.contains(name)), "{fields}");
    for block in &blocks[1..] {
        let mut names = names(block);
        names.retain(|name| !["Original-Recipient", "Remote-MTA", "Diagnostic-Code"].contains(name));
        assert_eq!(names, ["Final-Recipient", "Action", "Status"], "{fields}");
    }
}

proptest! {
    #[test]
    fn nothing_from_outside_gives_a_field_a_line_or_a_part(
        texts in vec(hostile(), 5),
        addresses in vec(hostile_address(), 1..4),
        sender in hostile_address(),
        xtexts in (hostile_xtext(), hostile_xtext()),
        original in (hostile(), hostile()),
        is_full: bool,
    ) {
        let report = |address| Report {
            orcpt: xtexts.0.as_ref(),
            reply: Some(&texts[0]),
            server: Some(&texts[1]),
            reason: &texts[2],
            advice: Some(&texts[3]),
            ..report(address)
        };
        let recipients: Vec<Report<'_>> = addresses.iter().map(report).collect();
        let message = format!("Message-ID: <{}>\r\nSubject: {}\r\n\r\n{}", original.0, original.1, texts[4]);
        let original = if is_full { Original::Full(message.as_bytes()) } else { Original::Header(message.as_bytes()) };
        let bounce = Bounce { subject: Some(&texts[4]), envid: xtexts.1.as_ref(), original, ..bounce(&sender, &recipients) };
        let written = bounce.write();
        check(&written, recipients.len());
        prop_assert!(written.is_ascii() || is_full || !sender.is_ascii());
        prop_assert_eq!(bounce.write(), written, "neither clock nor chance");
    }
}
