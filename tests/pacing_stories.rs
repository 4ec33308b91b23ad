//! The pace of a mailbox and the order of its messages; holds and counters that outlive a kill; stop and start.

mod support;

use serde_json::{Value, json};
use std::thread;
use support::{
    SOON,
    queued::{Mail, limits, one_more_app, one_more_mailbox, queue, until},
    story::{App, Story},
};

/// Apps that wait at the same time.
const PERSONS: usize = 8;

/// Queues `count` messages named `PREFIX0`, `PREFIX1` … over one connection.
fn flood(app: &mut App, prefix: &str, count: usize) {
    for number in 0..count {
        app.queue(Mail { id: &format!("{prefix}{number}"), ..Mail::default() });
    }
}

fn most_connections(story: &Story) -> u64 {
    let stats: Value = serde_json::from_slice(&support::http(story.http, "GET", "/stats", "").1).expect("statistics");
    stats["mailboxes"]["robot@sandbox.example"]["most_connections"].as_u64().expect("a number")
}

#[test]
fn messages_a_minute_count_for_all_contracts_and_outlive_a_kill() {
    let edit = |text| {
        let text = one_more_app(queue(text), "person", "delivery = \"direct\"\ndirect-wait = \"1s\"");
        limits(text, "messages-per-minute = 5")
    };
    let story = Story::new("custom", edit);
    let daemon = story.start();
    let mut app = story.app();
    flood(&mut app, "a", 3);
    story.await_stat("messages", 3, &daemon);
    let mut person = App::login(story.relay, "person", &story.password);
    let replies: Vec<String> = (0..3).map(|_| person.mail(Mail { id: "p", ..Mail::default() })).collect();
    assert!(replies[..2].iter().all(|said| said.starts_with("250 ")) && replies[2].starts_with("451 4.3.0 "), "{replies:?}");
    flood(&mut app, "b", 3);
    assert_eq!(story.stat("messages"), 5);
    // The counters are written every second; the keeper says nothing, so its clock is what there is to wait for.
    thread::sleep(std::time::Duration::from_millis(2500));
    daemon.kill();
    let daemon = story.start();
    story.app().queue(Mail { id: "c", ..Mail::default() });
    thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(story.stat("messages"), 5, "{}", daemon.output());
    // And without the limit they go out, those of before the kill first.
    story.reload(|text| text.replace("messages-per-minute = 5", "messages-per-minute = 0\nconnections = 1"));
    story.await_stat("messages", 9, &daemon);
    assert_eq!(story.subjects()[5..], ["b0", "b1", "b2", "c"]);
    assert_eq!(story.stat("mail_commands"), 9);
}

#[test]
fn a_hold_that_came_with_a_message_is_probed_by_another_one_each_time() {
    let story = Story::new("microsoft", |text| {
        let text = text.replace("format = \"json\"", "format = \"json\"\nlevel = \"debug\"");
        limits(queue(text), "connections = 1\nmessages-per-minute = 0")
    });
    let daemon = story.start();
    story.fault("quota", &json!({}));
    let mut app = story.app();
    let ids: Vec<String> = (0..3).map(|number| app.queue(Mail { id: &format!("m{number}"), ..Mail::default() })).collect();
    let tried = |id: &str| daemon.count(&["message.deferred", id]);
    let total = || ids.iter().map(|id| tried(id)).sum::<usize>();
    until("the first is tried", SOON, || total() == 1);
    for round in 2..=3 {
        assert_eq!(story.command(&["queue", "release", "--mailbox", "sandbox"]).0, Some(0));
        until("one more is tried", SOON, || total() == round);
    }
    assert_eq!(ids.iter().map(|id| tried(id)).collect::<Vec<_>>(), [1, 1, 1], "{}", daemon.output());
}

#[test]
fn connections_stay_within_the_limit_and_first_attempts_in_order() {
    for connections in [1, 3] {
        let story = Story::new("custom", |text| limits(queue(text), &format!("connections = {connections}")));
        let daemon = story.start();
        story.fault("round-trip", &json!({"milliseconds": 5}));
        flood(&mut story.app(), "", 150);
        story.await_stat("messages", 150, &daemon);
        assert_eq!(most_connections(&story), connections, "{}", daemon.output().lines().count());
        if connections == 1 {
            let expected: Vec<String> = (0..150).map(|number| number.to_string()).collect();
            assert_eq!(story.subjects(), expected, "in the order of acceptance");
        }
    }
}

#[test]
fn who_waits_goes_before_a_backlog_and_apps_take_turns() {
    let edit = |text| {
        let text = one_more_app(queue(text), "person", "delivery = \"direct\"\ndirect-wait = \"30s\"");
        limits(one_more_app(text, "other", ""), "connections = 1")
    };
    let story = Story::new("custom", edit);
    let daemon = story.start();
    story.fault("silent-at-mail", &json!({"times": 1}));
    let mut app = story.app();
    app.queue(Mail { id: "first", ..Mail::default() });
    story.await_stat("silent_connections", 1, &daemon);
    flood(&mut app, "", 500);
    App::login(story.relay, "other", &story.password).queue(Mail { id: "other", ..Mail::default() });
    let persons: Vec<_> = (0..PERSONS)
        .map(|_| {
            let mut person = App::login(story.relay, "person", &story.password);
            thread::spawn(move || person.mail(Mail { id: "person", ..Mail::default() }))
        })
        .collect();
    daemon.await_count(PERSONS, &["message.accepted", "<person@app.example>"]);
    story.mend("silent-at-mail");
    for person in persons {
        let said = person.join().expect("the app ends");
        assert!(said.starts_with("250 "), "{said}");
    }
    until("the other app", SOON, || story.subjects().iter().any(|subject| subject == "other"));
    let subjects = story.subjects();
    let last = |name: &str| subjects.iter().rposition(|subject| subject == name).expect("it was sent");
    assert!(last("person") <= PERSONS, "{} of {}", last("person"), subjects.len());
    assert!(last("other") <= PERSONS + 3, "{} of {}", last("other"), subjects.len());
    story.await_stat("messages", 502 + PERSONS as u64, &daemon);
    assert_eq!(story.stat("duplicates"), PERSONS as u64 - 1, "only the persons' ids are the same");
    let backlog: Vec<String> = story.subjects().into_iter().filter(|subject| subject.parse::<u32>().is_ok()).collect();
    let expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    assert_eq!(backlog, expected, "also through the store, in the order of acceptance");
}

#[test]
fn too_many_connections_make_the_mailbox_use_fewer() {
    let lines = "connections = 8\nmessages-per-minute = 0";
    let story = Story::with("microsoft", &["--limits"], |text| limits(queue(text), lines));
    let daemon = story.start();
    story.fault("round-trip", &json!({"milliseconds": 30}));
    flood(&mut story.app(), "", 25);
    story.await_stat("messages", 25, &daemon);
    assert!(daemon.output().contains("432 4.3.2"), "the provider's limit of 3 was met");
    assert!(story.stat("login_failures") <= 12, "not again and again: {}", story.stat("login_failures"));
    assert_eq!(story.stat("duplicates"), 0);
}

#[test]
fn a_hold_outlives_a_kill_and_a_restart_does_not_hammer() {
    let story = Story::new("microsoft", queue);
    story.fault("smtp-auth-disabled", &json!({}));
    let daemon = story.start();
    flood(&mut story.app(), "a", 3);
    daemon.logged("\"state\":\"needs-repair\"", SOON);
    thread::sleep(std::time::Duration::from_millis(1500));
    daemon.kill();
    let before = story.stat("login_attempts");
    for number in 0..3 {
        let daemon = story.start();
        daemon.logged("held since before the start", SOON);
        story.app().queue(Mail { id: &format!("b{number}"), ..Mail::default() });
        let (_, status) = story.command(&["status"]);
        assert!(status.contains("needs-repair for") && status.contains("Set-CASMailbox"), "{status}");
        daemon.kill();
    }
    assert_eq!(story.stat("login_attempts"), before, "a start is no reason to ask at once");
    story.mend("smtp-auth-disabled");
    let daemon = story.start();
    story.reload(|text| text);
    story.await_stat("messages", 6, &daemon);
    assert_eq!(story.stat("duplicates"), 0);
}

#[test]
fn a_links_trouble_holds_all_its_mailboxes_and_is_asked_about_once() {
    let story = Story::new("microsoft", |text| {
        let text = one_more_mailbox(queue(text), "second");
        one_more_app(text, "other", "mailbox = \"second\"")
    });
    story.fault("client-secret-expired", &json!({}));
    let daemon = story.start();
    flood(&mut story.app(), "a", 3);
    flood(&mut App::login(story.relay, "other", &story.password), "b", 3);
    daemon.await_count(3, &["\"state\":\"needs-repair\""]);
    thread::sleep(std::time::Duration::from_secs(2));
    assert!(story.stat("token_requests") <= 2, "{} for two mailboxes\n{}", story.stat("token_requests"), daemon.output());
    let told = ["link.changed", "mailbox.changed"].map(|event| daemon.count(&[&format!("\"event\":\"{event}\"")]));
    assert_eq!(told, [1, 2], "{}", daemon.output());
    let (_, status) = story.command(&["status"]);
    assert_eq!(status.matches("needs-repair for").count(), 3, "{status}");
    story.mend("client-secret-expired");
    story.reload(|text| text);
    story.await_stat("messages", 6, &daemon);
}

#[test]
fn a_denied_sender_waits_and_others_flow() {
    let story = Story::new("microsoft", |text| limits(queue(text), "connections = 1\nmessages-per-minute = 0"));
    let daemon = story.start();
    story.fault("send-as-denied", &json!({"times": 1}));
    let mut app = story.app();
    let denied = Mail { sender: "<boss@sandbox.example>", from: "Boss <BOSS@sandbox.example>", ..Mail::default() };
    app.queue(Mail { id: "denied0", ..denied });
    let line = daemon.logged("\"event\":\"sender.changed\"", SOON);
    assert!(line.contains("boss@sandbox.example") && line.contains("Add-RecipientPermission"), "{line}");
    (1..40).for_each(|number| drop(app.queue(Mail { id: &format!("denied{number}"), ..denied })));
    flood(&mut app, "other", 3);
    story.await_stat("messages", 3, &daemon);
    assert_eq!(story.subjects().join(" "), "other0 other1 other2");
    assert_eq!(story.stat("mail_commands"), 4);
    assert_eq!(daemon.count(&["sender.changed", "\"state\":\"held\""]), 1);
    thread::sleep(std::time::Duration::from_millis(1500));
    daemon.kill();
    let daemon = story.start();
    flood(&mut story.app(), "more", 1);
    story.await_stat("messages", 4, &daemon);
    assert_eq!(story.stat("mail_commands"), 5, "the hold is known after a kill");
    story.reload(|text| text);
    story.await_stat("messages", 44, &daemon);
    let line = daemon.logged("\"state\":\"free\"", SOON);
    assert!(line.contains("boss@sandbox.example"), "{line}");
    assert_eq!((story.stat("messages"), story.stat("duplicates")), (44, 0));
}

#[test]
fn what_is_removed_is_held_and_goes_out_when_it_is_back() {
    let edit = |text| {
        let text = one_more_app(one_more_mailbox(queue(text), "second"), "other", "mailbox = \"second\"");
        text.replace("retry = [\"1s\"]", "retry = [\"2s\"]")
    };
    let story = Story::new("custom", edit);
    let daemon = story.start();
    story.fault("rcpt-temporary", &json!({}));
    let later = |id| Mail { id, to: &["<later@example.org>"], ..Mail::default() };
    story.app().queue(later("a"));
    App::login(story.relay, "other", &story.password).queue(later("b"));
    daemon.await_count(2, &["message.deferred"]);
    let whole = std::fs::read_to_string(&story.config).expect("it is there");
    let other = whole.find("[app.other]").expect("the app");
    let app = |text: String| text.replace("[app.sandbox]", "[app.successor]");
    let mailbox = whole[..other].replace("[mailbox.second]", "[mailbox.third]");
    story.reload(|_| app(mailbox.clone()));
    story.mend("rcpt-temporary");
    let tried = story.stat("mail_commands");
    thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!((story.stat("messages"), story.stat("mail_commands")), (0, tried), "{}", daemon.output());
    story.reload(|_| whole.clone());
    story.await_stat("messages", 2, &daemon);
    assert_eq!(daemon.count(&["message.bounced"]), 0);
}

#[test]
fn a_stop_finishes_what_is_under_way_and_the_next_start_the_rest() {
    let story = Story::new("custom", |text| limits(queue(text), "connections = 2"));
    let daemon = story.start();
    story.fault("slow-replies", &json!({"milliseconds": 100}));
    flood(&mut story.app(), "", 40);
    story.await_stat("mail_commands", 2, &daemon);
    let (status, output) = daemon.stop();
    assert_eq!(status, Some(0), "{output}");
    let sent = story.stat("messages");
    assert!((1..40).contains(&sent), "{sent}");
    assert_eq!(output.matches("\"event\":\"message.delivered\"").count() as u64, sent, "each verdict was waited for");
    story.mend("slow-replies");
    let daemon = story.start();
    assert!(!daemon.output().contains("an earlier process ended amid its work"), "{}", daemon.output());
    story.await_stat("messages", 40, &daemon);
    assert_eq!((story.stat("messages"), story.stat("duplicates")), (40, 0));
}
