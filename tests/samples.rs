//! Messages as programs and devices write them, and what the provider gets of each at every level of `repair`, through the real program.
//!
//! `tests/samples/NAME/before.eml` is what the app sends. Beside it `none.eml`, `standard.eml` and `legacy.eml` are what the provider
//! gets; a level without a file of its own gives the same as the one below it, and `none` the same as was sent. The Received field that
//! outlink puts in front is left out, and what differs from run to run is `ID`, `HOST` and `NOW`.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use support::{
    LONG, Program,
    queued::{limits, one_more_app, queue, until},
    story::{App, Story, logged},
};

/// The levels, and the apps that have them.
const LEVELS: [&str; 3] = ["none", "standard", "legacy"];

/// A sample, and the words for what is changed about it at each level, beyond those of the level before.
struct Row {
    name: &'static str,
    none: &'static str,
    standard: &'static str,
    legacy: &'static str,
}

const fn row(name: &'static str, none: &'static str, standard: &'static str, legacy: &'static str) -> Row {
    Row { name, none, standard, legacy }
}

/// Every directory in `tests/samples`.
const ROWS: [Row; 38] = [
    row("bcc", "removed-bcc", "", ""),
    row("cron", "added-date,added-message-id", "added-from,added-mime-version", ""),
    row("empty", "added-date,added-message-id", "added-from", ""),
    row("file-name-in-doubt", "", "", ""),
    row("folded", "", "", ""),
    row("good", "", "", ""),
    row("groups", "", "", ""),
    row("html-report", "", "added-mime-version", "encoded-body,encoded-header"),
    row("java-latin1", "", "", "encoded-header"),
    row("jira", "", "", ""),
    row("line-ends", "", "", ""),
    row("long-lines", "", "", "encoded-body"),
    row("long-lines-dkim", "", "", "passed-long-lines"),
    row("long-lines-in-parts", "", "", "passed-long-lines"),
    row("long-lines-pgp", "", "", "passed-long-lines"),
    row("long-subject", "", "", "folded-header"),
    row("long-to", "", "", "folded-header"),
    row("long-word", "", "", "passed-long-lines"),
    row("mbox", "", "", "removed-separator"),
    row("minolta-scan", "", "added-mime-version", "encoded-header"),
    row("name-as-comment", "", "", "encoded-header"),
    row("name-encoded-with-at", "", "quoted-display-name", ""),
    row("name-is-address", "", "quoted-display-name", ""),
    row("name-with-address", "", "quoted-display-name", ""),
    row("no-blank-line", "added-blank-line", "", ""),
    row("no-colon", "added-blank-line", "", ""),
    row("only-header", "added-date,added-message-id", "", ""),
    row("only-indented-text", "added-blank-line,added-date,added-message-id", "added-from", ""),
    row("only-text", "added-blank-line,added-date,added-message-id", "added-from", ""),
    row("outlook", "", "", "encoded-header"),
    row("pgp-encrypted", "", "", "passed-long-lines"),
    row("php-mail", "", "added-mime-version", "encoded-header"),
    row("sap", "", "", "encoded-header"),
    row("smime-opaque", "", "", "passed-long-lines"),
    row("smime-signed", "", "added-mime-version", "encoded-header,passed-long-lines"),
    row("twice", "", "", "encoded-header,merged-recipients,removed-duplicate"),
    row("ups", "added-blank-line,added-date,added-message-id", "", ""),
    row("xerox-scan", "added-date,added-message-id", "added-from", ""),
];

/// A relay with an app of each level, and a provider that takes everything.
fn story() -> Story {
    Story::new("custom", |text| {
        let text = limits(queue(text), "messages-per-minute = 0");
        LEVELS.iter().fold(text, |text, level| one_more_app(text, level, &format!("repair = \"{level}\"")))
    })
}

/// Sends the octets of a message; gives the id under which it was taken.
fn send(app: &mut App, octets: &[u8]) -> String {
    app.say("MAIL FROM:<robot@sandbox.example>");
    app.say("RCPT TO:<you@example.org>");
    assert!(app.say("DATA").starts_with("354 "));
    app.write_octets(octets);
    let said = app.say(".");
    said.strip_prefix("250 2.0.0 OK queued as ").unwrap_or_else(|| panic!("{said}")).to_owned()
}

/// What the provider got without the Received field in front, of all that were sent, by their ids.
fn arrived(story: &Story, sent: usize) -> BTreeMap<String, Vec<u8>> {
    until("all arrived", LONG, || story.received().len() == sent);
    let own = |octets: Vec<u8>| {
        assert!(octets.starts_with(b"Received: "));
        let ends = octets.windows(3).position(|octets| octets[..2] == *b"\r\n" && !b" \t".contains(&octets[2]));
        let ends = ends.expect("a second field") + 2;
        let received = String::from_utf8_lossy(&octets[..ends]).into_owned();
        let id = received
            .split_once(" id ")
            .and_then(|(_, rest)| rest.split(|c: char| !c.is_alphanumeric()).next())
            .expect("its id")
            .to_owned();
        (id, octets[ends..].to_vec())
    };
    story.received().iter().map(|message| own(story.octets(message))).collect()
}

/// The same with `ID`, `HOST` and `NOW` for what differs from run to run.
fn settled(octets: &[u8], id: &str, changes: &str) -> Vec<u8> {
    let id = format!("Message-ID: <{id}@");
    let line = |line: &[u8]| match line {
        line if line.starts_with(id.as_bytes()) => b"Message-ID: <ID@HOST>\r\n".to_vec(),
        line if changes.contains("added-date") && line.starts_with(b"Date: ") => b"Date: NOW\r\n".to_vec(),
        line => line.to_vec(),
    };
    let lines: Vec<Vec<u8>> = octets.split_inclusive(|octet| *octet == b'\n').map(line).collect();
    lines.concat()
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)
}

fn sorted(words: &str) -> Vec<&str> {
    let mut words: Vec<&str> = words.split(',').filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words
}

fn changes(daemon: &Program, id: &str) -> String {
    logged(daemon, "message.accepted", id)["changes"].as_str().expect("the changes").to_owned()
}

#[test]
fn each_sample_arrives_as_its_files_say() {
    let story = story();
    let daemon = story.start();
    let mut apps = LEVELS.map(|level| App::login(story.relay, level, &story.password));
    let mut sent = Vec::new();
    for Row { name, .. } in &ROWS {
        let before = fs::read(sample(name).join("before.eml")).unwrap_or_else(|error| panic!("{name}: {error}"));
        sent.push((apps.each_mut().map(|app| send(app, &before)), before));
    }
    let (arrived, mut wrong) = (arrived(&story, sent.len() * LEVELS.len()), Vec::new());
    for (Row { name, none, standard, legacy }, (ids, before)) in ROWS.into_iter().zip(sent) {
        let (mut expected, mut words) = (before, String::new());
        for ((level, id), more) in LEVELS.iter().zip(&ids).zip([none, standard, legacy]) {
            if let Ok(octets) = fs::read(sample(name).join(format!("{level}.eml"))) {
                expected = octets;
            }
            words = format!("{words},{more}");
            let found = changes(&daemon, id);
            let octets = settled(arrived.get(id).expect("it arrived"), id, &found);
            if sorted(&found) != sorted(&words) || octets != expected {
                wrong.push(format!("{name} {level}: {found}\n{}", String::from_utf8_lossy(&octets)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(daemon);
}

#[test]
fn every_sample_has_its_row_and_no_file_says_the_same_as_the_level_below() {
    let mut names: Vec<_> = fs::read_dir(sample(""))
        .expect("the samples")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    names.sort_unstable();
    let mut rows: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    rows.sort_unstable();
    assert_eq!(names, rows);
    for name in names {
        let mut last = fs::read(sample(&name).join("before.eml")).expect("the sample");
        for level in LEVELS {
            if let Ok(octets) = fs::read(sample(&name).join(format!("{level}.eml"))) {
                assert_ne!(octets, last, "{name}/{level}.eml is needless");
                last = octets;
            }
        }
    }
}

#[test]
fn a_field_of_200_kb_passes_as_it_is_and_hides_no_bcc_behind_it() {
    let story = story();
    let daemon = story.start();
    let big = format!("X-Big:{}\r\n", format!("\r\n {}", "x".repeat(98)).repeat(2048));
    let message = |bcc: &str| format!("From: ops@x.example <robot@sandbox.example>\r\n{big}{bcc}Subject: big");
    let mut apps = LEVELS.map(|level| App::login(story.relay, level, &story.password));
    let ids =
        apps.each_mut().map(|app| send(app, format!("{}\r\n\r\nText\r\n", message("Bcc: secret@x.example\r\n")).as_bytes()));
    for (id, octets) in arrived(&story, LEVELS.len()) {
        assert!(ids.contains(&id));
        let found = changes(&daemon, &id);
        assert_eq!(sorted(&found), ["added-date", "added-message-id", "passed-long-header", "removed-bcc"]);
        let expected = format!("{}\r\nDate: NOW\r\nMessage-ID: <ID@HOST>\r\n\r\nText\r\n", message(""));
        assert!(settled(&octets, &id, &found) == expected.as_bytes(), "{id}");
    }
    // In one line it is refused as every such line is, and the connection goes on.
    let app = &mut apps[2];
    app.say("MAIL FROM:<robot@sandbox.example>");
    app.say("RCPT TO:<you@example.org>");
    app.say("DATA");
    app.write_octets(format!("X-Big: {}\r\n\r\nText\r\n", "x".repeat(200_000)).as_bytes());
    let said = app.say(".");
    assert!(said.starts_with("554 5.6.0 "), "{said}");
    send(app, b"Subject: next\r\n\r\nText\r\n");
}
