//! What senders hear of queued mail: bounces, warnings and confirmations as the provider gets them, read by Python's email package.

mod support;

use outlink::store::{Filter, State, Store};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command, time::Duration};
use support::{
    Program, SOON,
    queued::{Mail, one_more_app, one_more_mailbox, queue},
    run,
    story::{App, Story},
};

/// What Python finds in a notice that the provider took; fails where that is a defect.
fn read(story: &Story, notice: &Value) -> Value {
    let file = story.directory.path().join("notice.eml");
    let octets = story.octets(notice);
    fs::write(&file, &octets).expect("it can be written");
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/bounce.py")).arg(file);
    let output = run(command, b"", SOON);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}\n{}", String::from_utf8_lossy(&octets));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The value of the field `name` in a list of pairs; empty when it is missing.
fn field<'a>(fields: &'a Value, name: &str) -> &'a str {
    let mut pairs = fields.as_array().expect("a list of fields").iter();
    let found = pairs.find(|pair| pair[0].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name)));
    found.and_then(|pair| pair[1].as_str()).unwrap_or_default()
}

/// Notices that the provider took.
fn notices(story: &Story) -> Vec<Value> {
    let is_notice = |message: &Value| message["subject"].as_str().is_some_and(|subject| subject.contains(" mail"));
    story.received().into_iter().filter(is_notice).collect()
}

/// Ends the daemon; gives the Message-IDs of what it keeps as failed.
fn failed(story: &Story, daemon: Program) -> Vec<String> {
    let (status, output) = daemon.stop();
    assert_eq!(status, Some(0), "{output}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let store = Store::open(&story.directory.path().join("state")).expect("the store opens");
    let filter = Filter { states: vec![State::Failed], ..Filter::default() };
    let page = runtime.block_on(store.list(filter, None)).expect("a list");
    let mut ids: Vec<String> = page.lines.iter().map(|line| line.message_id.clone()).collect();
    ids.sort();
    ids
}

#[test]
fn a_refused_recipient_gives_one_bounce_with_what_the_sender_asked_for() {
    let story = Story::new("custom", queue);
    let daemon = story.start();
    story.fault("recipient-refused", &json!({"times": 2}));
    let to = [
        "<refused@example.org> NOTIFY=FAILURE ORCPT=rfc822;Refused+2Bx@Example.ORG",
        "<refused2@example.org>",
        "<a@example.org> NOTIFY=SUCCESS,FAILURE",
    ];
    let sender = "<crowd@sandbox.example> RET=FULL ENVID=QQ+2B314";
    story.app().queue(Mail { id: "full", sender, to: &to, text: "The whole text.", ..Mail::default() });
    let bounce = story.with_subject("Undelivered mail: full");
    assert_eq!((&bounce["from"], &bounce["to"]), (&json!(""), &json!(["crowd@sandbox.example"])));
    let found = read(&story, &bounce);
    assert_eq!(found["parts"], json!(["text/plain", "message/delivery-status", "message/rfc822"]));
    assert!(field(&found["header"], "From").contains("robot@sandbox.example"), "{found}");
    assert_eq!(field(&found["header"], "In-Reply-To"), "<full@app.example>");
    assert!(found["original"].as_str().is_some_and(|text| text.contains("The whole text.")), "{found}");
    let status = &found["status"];
    assert_eq!(status.as_array().map(Vec::len), Some(3), "two of three: {status}");
    assert_eq!(field(&status[0], "Original-Envelope-Id"), "QQ+314");
    assert_eq!(field(&status[1], "Original-Recipient"), "rfc822;Refused+x@Example.ORG");
    for (block, address) in [(1, "refused@example.org"), (2, "refused2@example.org")] {
        assert_eq!(field(&status[block], "Final-Recipient"), format!("rfc822; {address}"));
        assert_eq!((field(&status[block], "Action"), field(&status[block], "Status")), ("failed", "5.1.1"));
        assert!(field(&status[block], "Diagnostic-Code").starts_with("smtp; 550 5.1.1 no such recipient"), "{status}");
    }
    story.fault("recipient-refused", &json!({"times": 1}));
    story.app().queue(Mail { id: "headers", sender: "<crowd@sandbox.example> RET=HDRS", text: "Not this.", ..Mail::default() });
    let found = read(&story, &story.with_subject("Undelivered mail: headers"));
    assert_eq!(found["parts"][2], "text/rfc822-headers");
    assert!(
        found["original"].as_str().is_some_and(|text| text.contains("Subject: headers") && !text.contains("Not this.")),
        "{found}"
    );
    assert_eq!(failed(&story, daemon), ["<full@app.example>", "<headers@app.example>"], "kept, to be sent again");
}

#[test]
fn nobody_is_told_who_did_not_ask_and_nothing_of_a_bounce() {
    let story = Story::new("custom", queue);
    let daemon = story.start();
    story.fault("recipient-refused", &json!({}));
    let mut app = story.app();
    app.queue(Mail { id: "never", to: &["<refused@example.org> NOTIFY=NEVER"], ..Mail::default() });
    app.queue(Mail { id: "null", sender: "<>", ..Mail::default() });
    app.queue(Mail { id: "told", ..Mail::default() });
    // The bounce about `told` is refused as well.
    daemon.await_count(4, &["\"event\":\"message.refused\""]);
    assert_eq!(daemon.count(&["\"event\":\"message.bounced\""]), 1, "{}", daemon.output());
    assert_eq!(story.stat("messages"), 0);
    let failed = failed(&story, daemon);
    assert_eq!(failed.len(), 4, "{failed:?}");
    assert!(["never", "null", "told"].iter().all(|id| failed.contains(&format!("<{id}@app.example>"))), "{failed:?}");
}

#[test]
fn bounces_go_where_app_or_queue_say() {
    let story = Story::new("custom", |text| {
        let text = one_more_app(queue(text), "other", "bounce-to = \"app-owner@example.com\"");
        text.replace("[queue]\n", "[queue]\nbounce-to = \"postmaster@example.com\"\n")
    });
    let daemon = story.start();
    for (user, expected) in [("sandbox", "postmaster@example.com"), ("other", "app-owner@example.com")] {
        story.fault("recipient-refused", &json!({"times": 1}));
        App::login(story.relay, user, &story.password).queue(Mail { id: user, ..Mail::default() });
        let bounce = story.with_subject(&format!("Undelivered mail: {user}"));
        assert_eq!(bounce["to"], json!([expected]));
    }
    story.fault("recipient-refused", &json!({"times": 1}));
    story.app().queue(Mail { id: "null", sender: "<>", ..Mail::default() });
    daemon.await_count(3, &["\"event\":\"message.refused\""]);
    assert_eq!(daemon.count(&["\"event\":\"message.bounced\""]), 2, "none about the null sender");
}

#[test]
fn exchange_gets_no_null_sender() {
    let story = Story::new("microsoft", queue);
    let daemon = story.start();
    story.app().queue(Mail { id: "null", sender: "<>", ..Mail::default() });
    story.await_stat("messages", 1, &daemon);
    story.fault("recipient-refused", &json!({"times": 1}));
    story.app().queue(Mail { id: "refused", to: &["<refused@example.org>"], ..Mail::default() });
    daemon.await_count(1, &["\"event\":\"message.bounced\""]);
    story.with_subject("Undelivered mail");
    for message in story.received() {
        assert_eq!(message["from"], "robot@sandbox.example", "{message}");
    }
}

#[test]
fn success_is_told_by_us_where_the_provider_does_not() {
    let story = Story::new("google", queue);
    let daemon = story.start();
    story.import_grant();
    story.fault("rcpt-temporary", &json!({}));
    let to = ["<a@example.org> NOTIFY=SUCCESS", "<b@example.org>", "<later@example.org> NOTIFY=SUCCESS"];
    story.app().queue(Mail { id: "ask", to: &to, ..Mail::default() });
    daemon.await_count(1, &["message.deferred"]);
    story.mend("rcpt-temporary");
    let found = read(&story, &story.with_subject("Relayed mail"));
    let mut told: Vec<&str> = (1..3).map(|block| field(&found["status"][block], "Final-Recipient")).collect();
    told.sort_unstable();
    assert_eq!(told, ["rfc822; a@example.org", "rfc822; later@example.org"], "also who was delivered first: {found}");
    assert_eq!(field(&found["status"][1], "Action"), "relayed");
    assert_eq!(notices(&story).len(), 1);

    let story = Story::new("microsoft", queue);
    let daemon = story.start();
    let sender = "<robot@sandbox.example> RET=HDRS ENVID=QQ314";
    story.app().queue(Mail {
        sender,
        to: &["<a@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x@example.org"],
        ..Mail::default()
    });
    daemon.await_count(1, &["\"event\":\"message.delivered\""]);
    let envelope = story.envelope(&story.received()[0]);
    let mail = envelope["mail_parameters"].to_string();
    assert!(mail.contains("RET=HDRS") && mail.contains("ENVID=QQ314"), "{envelope}");
    let recipient = envelope["recipient_parameters"].to_string();
    assert!(recipient.contains("NOTIFY=SUCCESS,FAILURE") && recipient.contains("ORCPT=rfc822;x@example.org"), "{envelope}");
    assert_eq!(daemon.count(&["message.bounced"]), 0, "the provider tells");
}

#[test]
fn a_message_beyond_the_providers_size_is_refused_with_advice() {
    let story = Story::new("google", queue);
    let daemon = story.start();
    story.import_grant();
    // Google's limit is 35,882,577 octets, ours 35 MiB.
    let text = format!("{}\r\n", "x".repeat(898)).repeat(40_000);
    let id = story.app().queue(Mail { id: "large", text: &text, ..Mail::default() });
    let refused = daemon.await_event("message.refused", &id);
    assert!(refused["advice"].as_str().is_some_and(|advice| advice.contains("send smaller attachments")), "{refused}");
    let found = read(&story, &story.with_subject("Undelivered mail: large"));
    assert_eq!(field(&found["status"][1], "Status"), "5.3.4");
    let words = found["text"].as_str().unwrap_or_default().split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("send smaller attachments"), "{words}");
    assert_eq!(story.stat("messages"), 1, "the bounce alone");
}

/// The one story that has to wait for a minute: nothing shorter may be configured.
#[test]
fn time_that_counts_ends_a_message_and_time_in_a_hold_does_not() {
    let story = Story::new("custom", |text| {
        let text = one_more_mailbox(queue(text), "second");
        let text = one_more_app(text, "warned", "expire-after = \"2m\"\nwarn-after = \"1m\"");
        let text = one_more_app(text, "held", "mailbox = \"second\"");
        text.replace("retry = [\"1s\"]", "retry = [\"1s\", \"5s\", \"20s\"]\nexpire-after = \"1m\"")
    });
    let daemon = story.start();
    story.fault("rcpt-temporary", &json!({}));
    story.fault("quota", &json!({"mailbox": "second@sandbox.example"}));
    let login = |user| App::login(story.relay, user, &story.password);
    let later = |id, to| Mail { id, to, sender: "<crowd@sandbox.example>", ..Mail::default() };
    let id = login("sandbox").queue(later("expired", &["<later@example.org>"]));
    login("sandbox").queue(later("never", &["<later@example.org> NOTIFY=NEVER"]));
    login("warned").queue(later("warned", &["<later@example.org>"]));
    login("held").queue(later("held", &["<a@example.org>"]));
    daemon.await_count(1, &["mailbox.changed", "\"state\":\"held\""]);
    // Three tries within the first half minute, as the schedule says, and no more.
    daemon.logged("\"event\":\"message.failed\"", Duration::from_secs(100));
    daemon.await_count(2, &["\"event\":\"message.failed\""]);
    let tries = daemon.count(&["\"event\":\"message.deferred\"", &id]);
    assert!((4..=6).contains(&tries), "{tries} tries: after 0, 1, 6, 26, 46 s\n{}", daemon.output());
    let bounce = story.with_subject("Undelivered mail: expired");
    assert_eq!((&bounce["from"], &bounce["to"]), (&json!(""), &json!(["crowd@sandbox.example"])));
    let found = read(&story, &bounce);
    assert!(field(&found["header"], "From").contains("robot@sandbox.example"), "{found}");
    assert_eq!((field(&found["status"][1], "Action"), field(&found["status"][1], "Status")), ("failed", "4.4.7"));
    let warning = story.with_subject("Delayed mail");
    assert_eq!(warning["to"], json!(["crowd@sandbox.example"]));
    let found = read(&story, &warning);
    assert_eq!(
        (field(&found["status"][1], "Action"), field(&found["status"][1], "Final-Recipient")),
        ("delayed", "rfc822; later@example.org")
    );
    // The held one has had more than its minute, and still goes out.
    story.mend("quota");
    story.reload(|text| text);
    story.with_subject("held");
    story.mend("rcpt-temporary");
    story.with_subject("warned");
    assert_eq!(notices(&story).len(), 2, "{:?}", story.subjects());
    assert_eq!(failed(&story, daemon), ["<expired@app.example>", "<never@app.example>"]);
}
