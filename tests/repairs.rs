//! What old programs send and what the provider gets: repaired headers, encoded bodies, rewritten authors; how the trace tells it, and
//! that each is counted.

mod support;

use support::{
    SOON,
    queued::queue,
    story::{App, Story},
};

use serde_json::{Value, json};

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
