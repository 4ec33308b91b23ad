//! What old programs send and what the provider gets: repaired headers, encoded bodies, rewritten authors; how the trace tells it, and
//! that each is counted.

mod support;

use support::{
    SOON,
    queued::queue,
    story::{App, Story},
};

use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The mailbox's `when-from-differs`, and the app's `repair`.
fn edited(text: String, when: &str, repair: &str) -> String {
    let text = queue(text).replacen("address = ", &format!("when-from-differs = \"{when}\"\naddress = "), 1);
    text.replacen("[app.sandbox]\n", &format!("[app.sandbox]\nrepair = \"{repair}\"\n"), 1)
}

/// Sends these octets from `sender`; gives the id under which they are kept.
fn send(app: &mut App, sender: &str, text: &str) -> String {
    app.say(&format!("MAIL FROM:<{sender}>"));
    app.say("RCPT TO:<you@example.org>");
    assert!(app.say("DATA").starts_with("354 "));
    app.write(text);
    let said = app.say(".");
    said.strip_prefix("250 2.0.0 OK queued as ").unwrap_or_else(|| panic!("{said}")).to_owned()
}

/// The message with this id, as the provider got it: envelope sender, and octets.
fn arrived(story: &Story, id: &str) -> (String, String) {
    let mut found = None;
    support::queued::until("it arrived", SOON, || {
        found = story.received().into_iter().find_map(|message| {
            let octets = String::from_utf8_lossy(&story.octets(&message)).into_owned();
            octets.contains(id).then(|| (message["from"].as_str().unwrap_or_default().to_owned(), octets))
        });
        found.is_some()
    });
    found.expect("it arrived")
}

#[test]
fn broken_messages_arrive_whole_and_the_trace_says_what_was_changed() {
    let story = Story::new("microsoft", |text| edited(text, "keep", "legacy"));
    let daemon = story.start();
    let mut app = story.app();
    let long = "word ".repeat(400);
    for (text, holds, changes) in [
        ("Subject: scan\r\n\r\nx\r\n".to_owned(), "\r\nFrom: robot@sandbox.example\r\n", "added-from"),
        (
            "From: ops@x.example <robot@sandbox.example>\r\nContent-Type: text/plain\r\n\r\nx\r\n".to_owned(),
            "From: \"ops@x.example\" <robot@sandbox.example>\r\n",
            "added-mime-version,quoted-display-name",
        ),
        (
            "From: robot@sandbox.example\r\nSubject: Gr\u{fc}\u{df}e\r\nSubject: twice\r\n\r\nx\r\n".to_owned(),
            "\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n",
            "encoded-header",
        ),
        (
            format!("From: robot@sandbox.example\r\nSubject: x\r\n\r\n{long}\r\nend =\r\n"),
            "\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            "encoded-body",
        ),
    ] {
        let id = send(&mut app, "robot@sandbox.example", &text);
        let (_, octets) = arrived(&story, &id);
        assert!(octets.contains(holds), "{octets}");
        assert!(octets.lines().all(|line| line.len() <= 998), "{octets}");
        let trace = story.good(&["trace", &id]);
        assert!(changes.split(',').all(|change| trace.contains(change)), "{changes}: {trace}");
    }
    let long_body = arrived(&story, "quoted-printable").1;
    assert!(long_body.ends_with("end =3D\r\n"), "{long_body}");
    drop(daemon);
}

#[test]
fn a_mailbox_that_rewrites_sends_what_a_machine_calls_itself_under_its_own_address() {
    let story = Story::new("microsoft", |text| edited(text, "rewrite", "standard"));
    let daemon = story.start();
    let mut app = story.app();
    let id = send(&mut app, "root", "From: root (Cron Daemon)\r\nSubject: cron\r\n\r\nFrom: body\r\n");
    let (sender, octets) = arrived(&story, &id);
    assert_eq!(sender, "robot@sandbox.example");
    assert!(octets.contains("\r\nFrom: \"Cron Daemon\" <robot@sandbox.example>\r\nSubject: cron\r\n"), "{octets}");
    assert!(octets.ends_with("\r\n\r\nFrom: body\r\n") && !octets.contains("Reply-To"), "{octets}");
    let trace = story.good(&["trace", &id]);
    assert!(trace.contains("rewrote-from,rewrote-sender"), "{trace}");
    // A body that lies in a file.
    let large = "0123456789\r\n".repeat(40_000);
    let id = send(&mut app, "jira@other.example", &format!("From: Jira <jira@other.example>\r\nSubject: large\r\n\r\n{large}"));
    let (_, octets) = arrived(&story, &id);
    assert!(
        octets.contains("From: Jira <robot@sandbox.example>\r\nReply-To: Jira <jira@other.example>\r\n"),
        "{}",
        &octets[..900]
    );
    assert!(octets.ends_with(&large), "the body keeps its octets");
    drop(daemon);
}

/// In how many messages of the app `sandbox` what was changed, and in how many of all.
fn changes(story: &Story) -> (Value, Value) {
    let parsed = |text: String| serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let list = parsed(story.good(&["app", "list", "--json"]));
    let app = list["apps"].as_array().and_then(|apps| apps.iter().find(|app| app["app"] == "sandbox")).expect("the app").clone();
    (app["changes"].clone(), parsed(story.good(&["status", "--json"]))["message_changes"].clone())
}

#[test]
fn repairs_and_rewritings_are_counted_by_app_and_the_counts_outlive_a_restart() {
    for contract in ["queue", "direct", "direct-then-queue"] {
        let story = Story::new("microsoft", |text| {
            edited(text, "rewrite", "standard").replace("delivery = \"queue\"", &format!("delivery = \"{contract}\""))
        });
        let daemon = story.start();
        assert_eq!(changes(&story), (json!({}), json!({})));
        assert!(!story.good(&["app", "list"]).contains("messages changed"));
        let mut app = story.app();
        let mut send = |text: &str| {
            for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<you@example.org>", "DATA"] {
                assert!(app.say(line).starts_with(['2', '3']), "{line}");
            }
            app.write(text);
            app.say(".")
        };
        for _ in 0..2 {
            assert!(send("Subject: scan\r\n\r\nx\r\n").starts_with("250 "));
        }
        assert!(send("From: ops@x.example <ops@x.example>\r\nDate: d\r\nMessage-ID: <a@b>\r\n\r\nx\r\n").starts_with("250 "));
        let expected = json!({"added-date": 2, "added-from": 2, "added-message-id": 2, "added-reply-to": 1, "quoted-display-name": 1,
            "rewrote-from": 1});
        support::queued::until("the last one went out", SOON, || changes(&story).0 == expected);
        assert_eq!(changes(&story).1, expected);
        // What is refused is not counted.
        let loops = "Received: by x\r\n".repeat(200);
        assert!(send(&format!("{loops}Subject: scan\r\n\r\nx\r\n")).starts_with("554 "));
        assert_eq!(daemon.stop().0, Some(0));
        let stopped = story.good(&["app", "list"]);
        assert!(stopped.contains("\n  messages changed: added-date 2, added-from 2, added-message-id 2,"), "{stopped}");
        let daemon = story.start();
        assert_eq!(changes(&story), (expected.clone(), expected));
        drop(daemon);
    }
}

/// The rows of the reference's tables of changes: word, from which level on, before, after.
fn documented() -> Vec<[String; 4]> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let text = std::fs::read_to_string(file).expect("the reference");
    let section = text.split_once("\n### Repairs\n").and_then(|(_, rest)| rest.split("\n## ").next()).expect("the section");
    let code = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let row = |line: &str| match line.split('|').collect::<Vec<_>>()[..] {
        ["", word, level, _, before, after, ""] => [word, level, before, after].map(code),
        _ => panic!("a row of another form: {line}"),
    };
    section.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[test]
fn every_change_is_in_the_reference_and_each_example_there_is_true() {
    use outlink::mail::{Address, Case, Change, Header, Preparation, Repair, rewrite};
    let rows = documented();
    let words: BTreeSet<&str> = rows.iter().map(|[word, ..]| word.as_str()).collect();
    assert_eq!(words, Change::ALL.iter().map(|change| change.word()).collect());
    let mailbox = Address::parse("robot@contoso.com").expect("an address");
    let levels = [("none", Repair::None), ("standard", Repair::Standard), ("legacy", Repair::Legacy)];
    let prepared = |text: &str, repair| {
        let case = Case { repair, author: Some(mailbox.clone()), smtputf8: false };
        let (date, id) = ("Mon, 2 Nov 2026 06:25:01 +0100".into(), "<ID@HOSTNAME>".into());
        let (mut preparation, mut out) = (Preparation::new(String::new(), date, id, case), Vec::new());
        preparation.push(text.as_bytes(), &mut out);
        let changes = preparation.finish(&mut out).changes;
        (out, changes)
    };
    let mut examples = 0;
    for [word, level, before, after] in rows.iter().filter(|row| !row[2].is_empty()) {
        let text = format!("{}\r\n", before.replace('⏎', "\r\n"));
        let has = |changes: &[Change]| changes.iter().any(|change| change.word() == word);
        let (out, changes) = match levels.iter().position(|(name, _)| name == level) {
            Some(at) => {
                assert!(at == 0 || !has(&prepared(&text, levels[at - 1].1).1), "{word}: {before} below {level}");
                prepared(&text, levels[at].1)
            }
            None => {
                assert_eq!(level, "rewrite", "{word}");
                let (mut header, mut out) = (Header::of(text.as_bytes()).0, Vec::new());
                let changes = rewrite(&mut header, &mailbox, |_| false);
                header.write(&mut out);
                (out, changes)
            }
        };
        assert!(has(&changes), "{word}: {before} at {level}");
        // What the example is not about is added too.
        let expected: Vec<&str> = after.split('⏎').collect();
        let added = |line: &str| ["From:", "Date:", "Message-ID:", "MIME-Version:"].iter().any(|name| line.starts_with(name));
        let out = String::from_utf8(out).expect("text").replace("\r\n ", " ");
        let lines: Vec<&str> = out.lines().filter(|line| expected.contains(line) || !added(line)).collect();
        assert_eq!(lines, expected, "{word}: {before}");
        examples += 1;
    }
    assert_eq!(examples, 15);
}
