//! Bounces are read by a mail parser that others wrote, the email package of Python: no defects, and every field where it belongs.

mod support;

use outlink::mail::{
    Address, Id, Xtext,
    bounce::{Bounce, Kind, Original, Report},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};
use support::{SOON, run};

const HEADER: &str = "From: alerts@contoso.com\r\nSubject: Build 4711 failed\r\nMessage-ID: <1@app.contoso.com>\r\n";
const HOSTILE: &str = "550 no\r\nBcc: x@example.org\r\n\r\n--=_x\r\nX-Evil: 1\0 \u{2028}Gr\u{fc}\u{df}e";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200 + seconds)
}

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

/// A bounce about `recipients`; `sender` gets it.
fn bounce<'a>(sender: &'a Address, recipients: &'a [Report<'a>]) -> Bounce<'a> {
    Bounce {
        id: Id::new(at(60), [1; 10]),
        kind: Kind::Failed,
        of: Id::new(at(0), [2; 10]),
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
        reply: Some("550 5.1.1 no such user"),
        server: Some("smtp.gmail.com"),
        reason: "The address does not exist.",
        advice: Some("Check the address."),
        last_attempt: Some(at(50)),
    }
}

/// What Python finds in it; fails where that is a defect.
fn read(bounce: &Bounce<'_>) -> Value {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("bounce.eml");
    let written = bounce.write();
    fs::write(&file, &written).expect("it can be written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/bounce.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(file);
    let output = run(command, b"", SOON);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}\n{}", String::from_utf8_lossy(&written));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&found["type"], &found["report-type"]), (&json!("multipart/report"), &json!("delivery-status")));
    found
}

/// The value of the field `name` in a list of pairs; null when it is missing.
fn field<'a>(fields: &'a Value, name: &str) -> &'a Value {
    let mut pairs = fields.as_array().expect("a list of fields").iter();
    pairs
        .find(|pair| pair[0].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name)))
        .map_or(&Value::Null, |pair| &pair[1])
}

#[test]
fn each_kind_is_a_report_without_defects() {
    let (alerts, bob) = (address("alerts@contoso.com"), address("bob@example.org"));
    let message = format!("{HEADER}\r\nSecond floor, 8-bit: \u{e4}\r\n");
    let header = "text/rfc822-headers";
    for (kind, action, returned) in [
        (Kind::Failed, "failed", "message/rfc822"),
        (Kind::Delayed { until: at(86_400) }, "delayed", header),
        (Kind::Relayed, "relayed", header),
    ] {
        let found = read(&Bounce { kind, original: Original::Full(message.as_bytes()), ..bounce(&alerts, &[report(&bob)]) });
        assert_eq!(found["parts"], json!(["text/plain", "message/delivery-status", returned]));
        assert!(found["original"].as_str().is_some_and(|text| text.contains("<1@app.contoso.com>")), "{found}");
        assert_eq!(field(&found["status"][1], "Action"), action);
        assert_eq!(field(&found["header"], "Auto-Submitted"), "auto-replied");
        assert_eq!(field(&found["header"], "In-Reply-To"), "<1@app.contoso.com>");
        assert_eq!(field(&found["header"], "Date"), "Mon, 23 Nov 2026 12:01:00 +0000");
    }
}

#[test]
fn every_recipient_has_its_fields() {
    let alerts = address("alerts@contoso.com");
    let (bob, joerg) = (address("bob@example.org"), address("j\u{f6}rg@b\u{fc}cher.example"));
    let (envid, orcpt) = (Xtext::parse("QQ+2B314", 100), Xtext::parse("rfc822;Bob+2Bx@Example.ORG", 500));
    let (envid, orcpt) = (envid.expect("xtext"), orcpt.expect("xtext"));
    let recipients = [Report { orcpt: Some(&orcpt), ..report(&bob) }, Report { status: (5, 2, 123), ..report(&joerg) }];
    let found = read(&Bounce { envid: Some(&envid), ..bounce(&alerts, &recipients) });
    let status = &found["status"];
    assert_eq!(status.as_array().map(Vec::len), Some(3), "{status}");
    assert_eq!(field(&status[0], "Original-Envelope-Id"), "QQ+314");
    assert_eq!(field(&status[0], "Reporting-MTA"), "dns; relay.contoso.com");
    assert_eq!(field(&status[1], "Original-Recipient"), "rfc822;Bob+x@Example.ORG");
    assert_eq!(field(&status[1], "Final-Recipient"), "rfc822; bob@example.org");
    assert_eq!(field(&status[1], "Diagnostic-Code"), "smtp; 550 5.1.1 no such user");
    assert_eq!(field(&status[1], "Last-Attempt-Date"), "Mon, 23 Nov 2026 12:00:50 +0000");
    assert_eq!(field(&status[2], "Final-Recipient"), "utf-8; j\\x{F6}rg@b\\x{FC}cher.example");
    assert_eq!(field(&status[2], "Original-Recipient"), &Value::Null);
    assert_eq!(field(&status[2], "Status"), "5.2.123");
    assert!(found["text"].as_str().is_some_and(|text| text.contains("j\u{f6}rg@b\u{fc}cher.example")), "{found}");
}

#[test]
fn hostile_values_change_nothing_of_the_form() {
    let (alerts, odd) = (address("alerts@contoso.com"), address("\"a, b; c\"@example.org"));
    let plain = read(&bounce(&alerts, &[report(&odd)]));
    let names = |found: &Value| {
        let fields = [&found["header"], &found["status"][0], &found["status"][1]];
        fields.map(|fields| fields.as_array().expect("fields").iter().map(|pair| pair[0].clone()).collect::<Vec<_>>())
    };
    let long = "a".repeat(3_000);
    for text in [HOSTILE, &long, "=?utf-8?Q?=0D=0ABcc:_x@example.org?=", "\u{7d42}".repeat(500).as_str()] {
        let report = Report { reply: Some(text), server: Some(text), reason: text, advice: Some(text), ..report(&odd) };
        let header = format!("Message-ID: <1@app.contoso.com>\r\nSubject: {text}\r\n\r\n");
        let original = Original::Header(header.as_bytes());
        let found = read(&Bounce { subject: Some(text), original, ..bounce(&alerts, &[report]) });
        assert_eq!(found["parts"], plain["parts"]);
        assert_eq!(names(&found), names(&plain), "{found}");
        assert_eq!(field(&found["header"], "To"), "alerts@contoso.com");
        assert_eq!(field(&found["header"], "Bcc"), &Value::Null);
    }
}
