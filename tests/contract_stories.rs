//! The contracts `queue`, `direct` and `direct-then-queue`: what the app hears, what the provider gets, and what is kept between.

mod support;

use serde_json::json;
use std::{collections::BTreeMap, thread};
use support::{
    SOON,
    queued::{Mail, contract, limits, one_more_app, queue, until},
    story::{App, Story},
};

/// A story under `direct-then-queue` whose apps wait so long.
fn both(personality: &str, wait: &str) -> Story {
    let wait = format!("direct-wait = \"{wait}\"\ndelivery = \"direct\"");
    Story::new(personality, |text| contract(text.replace("delivery = \"direct\"", &wait), "direct-then-queue"))
}

/// Who has a copy of the message `1`, with how many.
fn copies(story: &Story) -> BTreeMap<String, usize> {
    story.copies().into_iter().map(|((_, to), count)| (to, count)).collect()
}

fn one_each<const N: usize>(to: [&str; N]) -> BTreeMap<String, usize> {
    to.into_iter().map(|to| (to.to_owned(), 1)).collect()
}

#[test]
fn queue_promises_whatever_the_provider_does_and_the_apps_own_contract_wins() {
    for fault in ["smtp-auth-disabled", "quota", "silent-at-mail", "token-server-down"] {
        let story = Story::new("microsoft", |text| {
            let text = one_more_app(queue(text), "person", "delivery = \"direct\"\ndirect-wait = \"1s\"");
            one_more_app(text, "both", "delivery = \"direct-then-queue\"\ndirect-wait = \"1s\"")
        });
        story.fault(fault, &json!({}));
        let daemon = story.start();
        for number in 0..3 {
            story.app().queue(Mail { id: &format!("q{number}"), ..Mail::default() });
        }
        let said = App::login(story.relay, "person", &story.password).mail(Mail::default());
        assert!(said.starts_with("451 4.3.0 "), "{fault}: {said}\n{}", daemon.output());
        App::login(story.relay, "both", &story.password).queue(Mail { id: "b", ..Mail::default() });
        story.mend(fault);
        story.reload(|text| text);
        story.await_stat("messages", 4, &daemon);
        let sent: Vec<String> = story.copies().into_keys().map(|(id, _)| id).collect();
        assert_eq!(sent, ["b", "q0", "q1", "q2"], "{fault}: what heard 451 was not kept");
    }
}

#[test]
fn a_final_verdict_passes_and_a_temporary_one_is_kept() {
    let story = both("custom", "20s");
    let daemon = story.start();
    let mut app = story.app();
    let said = app.mail(Mail::default());
    assert!(said.starts_with("250 2.0.0 ") && said.contains("taken as"), "the provider's words: {said}");
    story.fault("recipient-refused", &json!({}));
    let refused = app.mail(Mail { id: "2", to: &["<refused@example.org>", "<refused2@example.org>"], ..Mail::default() });
    assert!(refused.starts_with("550 5.1.1 ") && refused.contains("no such recipient"), "{refused}");
    story.mend("recipient-refused");
    story.fault("rcpt-temporary", &json!({}));
    let id = app.queue(Mail { id: "3", to: &["<later@example.org>"], ..Mail::default() });
    daemon.await_event("message.deferred", &id);
    story.mend("rcpt-temporary");
    let delivered = daemon.await_event("message.delivered", &id);
    assert!(delivered["attempt"].as_u64() >= Some(2), "{delivered}");
    story.await_stat("messages", 2, &daemon);
    assert_eq!(daemon.count(&["message.bounced"]), 0, "the app heard the refusal itself");
    assert_eq!(story.stat("duplicates"), 0);
}

#[test]
fn each_recipient_is_settled_by_its_own_verdict_once() {
    for delivery in ["queue", "direct-then-queue"] {
        let story = Story::new("custom", |text| contract(text, delivery));
        let daemon = story.start();
        // Without a number it would strike the first recipient of each further attempt, and of the bounce.
        story.fault("recipient-refused", &json!({"times": 2}));
        story.fault("rcpt-temporary", &json!({}));
        let to = ["<refused@example.org>", "<a@example.org>", "<later@example.org>", "<b@example.org>", "<refused2@example.org>"];
        let id = story.app().queue(Mail { to: &to, ..Mail::default() });
        daemon.await_count(2, &["message.deferred", &id]);
        assert_eq!(copies(&story), one_each(["a@example.org", "b@example.org"]), "{delivery}");
        assert_eq!(daemon.count(&["message.bounced"]), 0, "{delivery}: one bounce, when all are settled");
        story.mend("rcpt-temporary");
        let bounce = story.with_subject("ndeliver");
        assert_eq!((&bounce["from"], &bounce["to"]), (&json!(""), &json!(["robot@sandbox.example"])), "{delivery}");
        let text = String::from_utf8_lossy(&story.octets(&bounce)).into_owned();
        for (address, count) in [("refused@example.org", 1), ("refused2@example.org", 1), ("later@", 0), ("a@example.org", 0)] {
            let found = text.matches(&format!("Final-Recipient: rfc822; {address}")).count();
            assert_eq!(found, count, "{delivery}: {address} in\n{text}");
        }
        let mut all = copies(&story);
        all.remove("robot@sandbox.example");
        assert_eq!(all, one_each(["a@example.org", "b@example.org", "later@example.org"]), "{delivery}");
        assert_eq!(daemon.count(&["message.bounced"]), 1, "{delivery}");
    }
}

#[test]
fn a_wait_that_ends_before_the_last_octet_queues_and_delivers_once() {
    let story = both("custom", "1s");
    let daemon = story.start();
    for (number, fault) in ["silent-at-mail", "silent-at-data"].into_iter().enumerate() {
        story.fault(fault, &json!({}));
        // Beyond 128 KiB the message goes out after its envelope.
        let text = "x\r\n".repeat(60_000);
        let id = story.app().queue(Mail { id: fault, text: &text, ..Mail::default() });
        daemon.logged("no verdict within direct-wait: the message is queued\"", SOON);
        story.mend(fault);
        daemon.await_event("message.delivered", &id);
        assert_eq!(story.stat("messages"), 1 + number as u64, "{fault}");
        assert_eq!(story.stat("duplicates"), 0, "{fault}");
    }
}

#[test]
fn a_late_verdict_settles_what_was_queued_meanwhile() {
    let story = both("custom", "1s");
    let daemon = story.start();
    story.fault("silent-at-end", &json!({"times": 1}));
    let id = story.app().queue(Mail::default());
    daemon.logged("settled by the late verdict", SOON);
    // Others go on, and the one that waits is not sent again by them.
    let other = story.app().mail(Mail { id: "2", ..Mail::default() });
    assert!(other.starts_with("250 "), "{other}");
    assert_eq!(daemon.count(&["\"event\":\"message.delivered\"", &id]), 0);
    story.mend("silent-at-end");
    daemon.await_event("message.delivered", &id);
    assert_eq!((story.stat("messages"), story.stat("duplicates")), (2, 0));
    daemon.stop();
    let daemon = story.start();
    story.app().mail(Mail { id: "3", ..Mail::default() });
    story.await_stat("messages", 3, &daemon);
    assert_eq!(story.stat("duplicates"), 0, "nothing was left to send again");
}

#[test]
fn a_verdict_that_never_comes_sends_the_same_message_again() {
    for large in [false, true] {
        let story = both("custom", "1s");
        let daemon = story.start();
        story.fault("final-reply-lost", &json!({"times": 1}));
        story.fault("slow-replies", &json!({"milliseconds": 400}));
        let text = if large { "0123456789abcdef\r\n".repeat(20_000) } else { "Hello.".to_owned() };
        let id = story.app().queue(Mail { text: &text, ..Mail::default() });
        story.mend("slow-replies");
        daemon.await_event("message.delivered", &id);
        story.await_stat("messages", 2, &daemon);
        assert_eq!((story.stat("message_ids"), story.stat("duplicates")), (1, 1), "the same Message-ID");
        let all = story.received();
        assert!(story.octets(&all[0]) == story.octets(&all[1]), "the same octets, large: {large}");
        assert_eq!(all[0]["bytes"].as_u64() > Some(128 * 1024), large);
    }
}

#[test]
fn large_envelopes_go_out_in_parts_of_the_same_octets() {
    let story = Story::new("google", |text| limits(queue(text), "recipients-per-message = 20"));
    story.fault("too-many-recipients", &json!({"count": 8}));
    let daemon = story.start();
    story.import_grant();
    let addresses: Vec<String> = (0..50).map(|number| format!("<r{number}@example.org>")).collect();
    let to: Vec<&str> = addresses.iter().map(String::as_str).collect();
    story.app().queue(Mail { to: &to, ..Mail::default() });
    until("all recipients", SOON, || copies(&story).len() == 50);
    assert!(copies(&story).values().all(|count| *count == 1), "{:?}", copies(&story));
    let all = story.received();
    let sizes: Vec<usize> = all.iter().map(|message| message["to"].as_array().expect("recipients").len()).collect();
    assert_eq!(sizes, [8, 8, 8, 8, 8, 8, 2], "20 were refused once, then 8 at a time\n{}", daemon.output());
    let first = story.octets(&all[0]);
    assert!(all.iter().all(|message| story.octets(message) == first));
    assert_eq!(story.stat("message_ids"), 1);
    assert_eq!(story.stat("mail_commands"), 7, "what was learned is kept");
}

#[test]
fn a_stop_waits_for_the_late_verdict_of_what_was_queued() {
    let story = both("custom", "1s");
    let daemon = story.start();
    story.fault("silent-at-end", &json!({"times": 1}));
    let mut app = story.app();
    for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<team@example.org>", "DATA"] {
        app.say(line);
    }
    let waiting = thread::spawn(move || app.say("Message-ID: <1@app.example>\r\n\r\nbye\r\n."));
    story.await_stat("silent_connections", 1, &daemon);
    daemon.logged("settled by the late verdict", SOON);
    waiting.join().expect("the app ends");
    let (status, output) = {
        story.mend("silent-at-end");
        daemon.stop()
    };
    assert_eq!(status, Some(0), "{output}");
    assert_eq!(output.matches("\"event\":\"message.delivered\"").count(), 1, "{output}");
    assert_eq!(story.stat("messages"), 1);
}
