//! What senders hear of queued mail: bounces, warnings and confirmations as the provider gets them, read by Python's email package.

mod support;

use serde_json::json;
use support::{
    notices::{failed, field, notices, read},
    queued::{Mail, one_more_app, queue},
    story::{App, Story},
};

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
