//! Which mailbox takes a message: by its senders, by an app's list while the first mailbox is held, and whom recipients without a domain
//! mean; with the real relay before the simulated provider.

mod support;

use serde_json::json;
use std::time::Duration;
use support::{
    Program, SOON,
    clock::{Clock, Passing},
    queued::{Mail, contract, one_more_app, one_more_mailbox, until},
    story::{App, Story},
};

/// The envelope sender with which the provider got the message of this subject.
fn sender_of(story: &Story, subject: &str) -> String {
    story.with_subject(subject)["from"].as_str().unwrap_or_default().to_owned()
}

fn send(app: &mut App, id: &str, from: &str) -> String {
    app.mail(Mail { id, sender: &format!("<{from}>"), from, ..Mail::default() })
}

/// Two mailboxes that rewrite, and an app that is routed by sender.
fn by_sender(text: String) -> String {
    let text = one_more_mailbox(contract(text, "queue"), "other");
    let lines = "mailbox = \"by-sender\"\nallowed-from = [\"*@sandbox.example\"]\n";
    one_more_app(text, "jira", lines)
}

#[test]
fn an_app_routed_by_sender_sends_through_the_mailbox_of_its_author() {
    let story = Story::new("microsoft", by_sender);
    let _daemon = story.start();
    let mut app = App::login(story.relay, "jira", &story.password);
    for (id, from) in [("first", "robot@sandbox.example"), ("second", "other@sandbox.example")] {
        let said = send(&mut app, id, from);
        assert!(said.starts_with("250 "), "{said}");
        let trace = story.good(&["trace", said.rsplit(' ').next().unwrap_or_default()]);
        let mailbox = if id == "first" { "sandbox" } else { "other" };
        assert!(trace.contains(mailbox), "{mailbox}: {trace}");
        assert_eq!(sender_of(&story, id), from);
    }
    let said = send(&mut app, "nobody", "nobody@sandbox.example");
    assert!(said.starts_with("550 5.7.1 ") && said.contains("no mailbox is configured for <nobody@sandbox.example>"), "{said}");
    // Refused at MAIL, and with the header where the envelope says nothing.
    let said = send(&mut app, "foreign", "ceo@elsewhere.example");
    assert!(said.starts_with("550 5.7.1 "), "{said}");
    let said = app.mail(Mail { id: "hidden", from: "ceo@elsewhere.example", ..Mail::default() });
    assert!(said.starts_with("550 5.7.1 ") && said.contains("<ceo@elsewhere.example> is not in allowed-from"), "{said}");
}

#[test]
fn the_fallback_takes_whom_no_mailbox_belongs_to() {
    let story = Story::new("microsoft", |text| {
        let text = by_sender(text).replace("mailbox = \"by-sender\"", "mailbox = \"by-sender\"\nfallback = \"other\"");
        text.replace("[mailbox.other]\n", "[mailbox.other]\nwhen-from-differs = \"rewrite\"\n")
    });
    let _daemon = story.start();
    let mut app = App::login(story.relay, "jira", &story.password);
    let said = send(&mut app, "foundling", "nobody@sandbox.example");
    assert!(said.starts_with("250 "), "{said}");
    assert_eq!(sender_of(&story, "foundling"), "other@sandbox.example");
}

#[test]
fn a_held_mailbox_is_stood_in_for_and_used_again_when_it_works() {
    for delivery in ["queue", "direct", "direct-then-queue"] {
        let story = Story::new("microsoft", |text| {
            let text = one_more_mailbox(contract(text, delivery), "other");
            let text = text.replace("[mailbox.other]\n", "[mailbox.other]\nwhen-from-differs = \"rewrite\"\n");
            one_more_app(text, "jira", "mailbox = [\"sandbox\", \"other\"]\n")
        });
        let daemon = story.start();
        let mut app = App::login(story.relay, "jira", &story.password);
        assert!(send(&mut app, "before", "robot@sandbox.example").starts_with("250 "), "{delivery}");
        assert_eq!(sender_of(&story, "before"), "robot@sandbox.example", "{delivery}");
        story.good(&["queue", "hold", "--mailbox", "sandbox"]);
        daemon.logged("\"state\":\"paused\"", SOON);
        assert!(send(&mut app, "meanwhile", "robot@sandbox.example").starts_with("250 "), "{delivery}");
        assert_eq!(sender_of(&story, "meanwhile"), "other@sandbox.example", "{delivery}");
        assert_eq!(daemon.count(&["message.rerouted", "\"mailbox\":\"other\"", "\"before\":\"sandbox\""]), 1, "{delivery}");
        story.good(&["queue", "release", "--mailbox", "sandbox"]);
        daemon.logged("\"state\":\"ready\"", SOON);
        assert!(send(&mut app, "after", "robot@sandbox.example").starts_with("250 "), "{delivery}");
        assert_eq!(sender_of(&story, "after"), "robot@sandbox.example", "{delivery}");
    }
}

#[test]
fn a_mailbox_that_may_not_send_as_the_author_does_not_stand_in() {
    let story = Story::new("microsoft", |text| {
        let text = one_more_mailbox(contract(text, "queue"), "other");
        one_more_app(text, "jira", "mailbox = \"sandbox\"\nfallback = \"other\"\n")
    });
    let daemon = story.start();
    let mut app = App::login(story.relay, "jira", &story.password);
    story.good(&["queue", "hold", "--mailbox", "sandbox"]);
    daemon.logged("\"state\":\"paused\"", SOON);
    assert!(send(&mut app, "waits", "robot@sandbox.example").starts_with("250 "));
    let list = story.good(&["queue", "list", "--json"]);
    assert!(list.contains("\"mailbox\":\"sandbox\",\"from\""), "{list}");
    assert!(story.received().is_empty());
    story.good(&["queue", "release", "--mailbox", "sandbox"]);
    assert_eq!(sender_of(&story, "waits"), "robot@sandbox.example");
}

#[test]
fn recipients_without_a_domain_get_the_address_that_stands_for_them() {
    let story = Story::new("microsoft", |text| {
        format!("{}\n[aliases]\nroot = \"it@example.org\"\nwww-data = \"it@example.org\"\n", contract(text, "queue"))
    });
    let _daemon = story.start();
    let mut app = story.app();
    let id = app.queue(Mail { id: "cron", to: &["<Root>", "<www-data>", "<team@example.org>"], ..Mail::default() });
    let message = story.with_subject("cron");
    assert_eq!(message["to"], serde_json::json!(["it@example.org", "team@example.org"]));
    let trace = story.good(&["trace", &id]);
    assert!(trace.contains("aliased Root to it@example.org") && trace.contains("aliased www-data to it@example.org"), "{trace}");
    let said = app.mail(Mail { id: "none", to: &["<backup>"], ..Mail::default() });
    assert!(said.starts_with("550 5.1.3 ") && said.contains("aliases.backup"), "{said}");
    app.say("RSET");
    story.reload(|text| text.replace("[aliases]\n", "[aliases]\n\"*\" = \"all@example.org\"\n"));
    until("the alias is known", SOON, || app.mail(Mail { id: "star", to: &["<backup>"], ..Mail::default() }).starts_with("250 "));
    assert_eq!(story.with_subject("star")["to"], serde_json::json!(["all@example.org"]));
}

#[test]
fn the_command_knows_how_the_mailboxes_stand_while_a_daemon_runs() {
    let story = Story::new("microsoft", |text| {
        let text = one_more_mailbox(contract(text, "queue"), "other");
        let text = text.replace("[mailbox.other]\n", "[mailbox.other]\nwhen-from-differs = \"rewrite\"\n");
        one_more_app(text, "jira", "mailbox = [\"sandbox\", \"other\"]\nallowed-recipients = [\"*@example.org\"]\n")
    });
    let route = ["route", "robot@sandbox.example", "--app", "jira"];
    let json = || -> serde_json::Value { serde_json::from_str(&story.good(&[&route[..], &["--json"]].concat())).expect("JSON") };
    let said = story.good(&route);
    assert!(said.contains("by the configuration alone, as if every mailbox worked: no daemon runs"), "{said}");
    assert!(said.contains("goes through mailbox sandbox <robot@sandbox.example>; while it is held: other"), "{said}");
    assert_eq!((&json()["daemon"], &json()["apps"][0]["now"]), (&false.into(), &"sandbox".into()));

    let daemon = story.start();
    let said = story.good(&route);
    assert!(said.contains("does the mailbox work now? yes: sandbox") && !said.contains("configuration alone"), "{said}");
    story.good(&["queue", "hold", "--mailbox", "sandbox"]);
    daemon.logged("\"state\":\"paused\"", SOON);
    let said = story.good(&route);
    for text in [
        "does the mailbox work now? no: sandbox: paused for ",
        "`outlink queue release --mailbox sandbox` lets it send again",
        "does the mailbox work now? yes: other",
        "goes through mailbox other <other@sandbox.example> now, because sandbox is held",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    let found = json();
    let app = &found["apps"][0];
    assert_eq!((&found["daemon"], &app["now"]), (&true.into(), &"other".into()), "{found}");
    assert_eq!((&app["mailboxes"][0]["held"], &app["mailboxes"][0]["state"]), (&true.into(), &"paused".into()), "{found}");
    // What it says is what happens.
    let mut app = App::login(story.relay, "jira", &story.password);
    assert!(send(&mut app, "told", "robot@sandbox.example").starts_with("250 "));
    assert_eq!(sender_of(&story, "told"), "other@sandbox.example");
    story.good(&["queue", "hold", "--mailbox", "other"]);
    daemon.logged("\"mailbox\":\"other\",\"link\":\"sandbox\",\"state\":\"paused\"", SOON);
    let said = story.good(&route);
    assert!(said.contains("waits for mailbox sandbox") && said.contains("those that could stand in are held, too"), "{said}");

    let (status, said) = story.command(&[&route[..], &["--to", "you@elsewhere.example"]].concat());
    assert!(status == Some(1) && said.contains("its allowed-recipients does not name it: 550"), "{status:?} {said}");
}

#[test]
fn the_command_tells_each_step_and_what_becomes_of_the_author() {
    let story = Story::new("microsoft", |text| {
        let text = by_sender(text).replace("mailbox = \"by-sender\"", "mailbox = \"by-sender\"\nfallback = \"other\"");
        format!("{text}\n[aliases]\nroot = \"it@example.org\"\n")
    });
    let said = story.good(&["route", "robot@sandbox.example", "--app", "jira", "--to", "root"]);
    for text in [
        "is From a mailbox's address, or in its domain? yes: sandbox <robot@sandbox.example>",
        "may the mailbox send it? yes: sandbox <robot@sandbox.example>: allowed",
        "may the next mailbox stand in? no: other <other@sandbox.example>: not in its allowed-from, and it does not rewrite",
        "goes through mailbox sandbox <robot@sandbox.example>\n",
        "to it@example.org: [aliases] names it for root",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    let said = story.good(&["route", "nobody@sandbox.example", "--app", "jira"]);
    assert!(
        said.contains("does a mailbox's allowed-from name From? no") && said.contains("has the app a fallback? yes: other"),
        "{said}"
    );
    let (status, said) = story.command(&["route", "ceo@elsewhere.example", "--app", "jira"]);
    assert!(status == Some(1) && said.contains("its allowed-from does not name it: 550") && said.contains("refused"), "{said}");
    let (status, said) = story.command(&["route", "robot@sandbox.example", "--to", "nobody"]);
    assert!(status == Some(1) && said.contains("aliases.nobody"), "{said}");
    let json = story.good(&["route", "robot@sandbox.example", "--app", "jira", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["apps"][0]["mailboxes"][0]["mailbox"], "sandbox");
    assert_eq!(json["apps"][0]["mailboxes"][0]["from"], "allowed");
}

#[test]
fn a_mailbox_over_its_quota_is_stood_in_for_until_a_message_shows_that_it_works() {
    let story = Story::new("microsoft", |text| {
        let text = one_more_mailbox(contract(text, "queue"), "other");
        let text = text.replace("[mailbox.other]\n", "[mailbox.other]\nwhen-from-differs = \"rewrite\"\n");
        one_more_app(text, "jira", "mailbox = [\"sandbox\", \"other\"]\n")
    });
    let daemon = story.start();
    let mut app = App::login(story.relay, "jira", &story.password);
    story.fault("quota", &serde_json::json!({"mailbox": "robot@sandbox.example"}));
    assert!(send(&mut app, "waits", "robot@sandbox.example").starts_with("250 "));
    daemon.logged("\"state\":\"over-quota\"", SOON);
    assert!(send(&mut app, "meanwhile", "robot@sandbox.example").starts_with("250 "));
    assert_eq!(sender_of(&story, "meanwhile"), "other@sandbox.example");
    assert_eq!(sender_of(&story, "waits"), "other@sandbox.example", "what waits is stood in for, too");
    story.mend("quota");
    story.reload(|text| text);
    // A probe is due: the next message is the one.
    assert!(send(&mut app, "probe", "robot@sandbox.example").starts_with("250 "));
    assert_eq!(sender_of(&story, "probe"), "robot@sandbox.example");
    daemon.logged("\"state\":\"ready\"", SOON);
    assert!(send(&mut app, "after", "robot@sandbox.example").starts_with("250 "));
    assert_eq!(sender_of(&story, "after"), "robot@sandbox.example");
}

#[test]
fn a_mailbox_that_fails_is_stood_in_for_after_five_minutes_and_not_before() {
    let story = Story::new("microsoft", stand_in);
    let mut clock = Clock::new(Passing::Date, story.directory.path(), story.http, story.relay);
    let daemon = clock.start(&story.config, story.directory.path());
    let mut app = App::login(story.relay, "jira", &story.password);
    story.fault("too-many-logins", &serde_json::json!({"mailbox": "robot@sandbox.example"}));
    assert!(send(&mut app, "first", "robot@sandbox.example").starts_with("250 "));
    daemon.logged("\"state\":\"failing\"", SOON);
    let route = ["route", "robot@sandbox.example", "--app", "jira"];
    let said = clock.command(&route, &story.config).1;
    assert!(said.contains("sandbox: failing for ") && said.contains("after 5 minutes of it another one stands in"), "{said}");
    assert!(said.contains("goes through mailbox sandbox "), "{said}");
    clock.forward(Duration::from_secs(4 * 60));
    assert!(send(&mut app, "before", "robot@sandbox.example").starts_with("250 "));
    assert_eq!(daemon.count(&["message.rerouted"]), 0, "{}", daemon.output());
    clock.forward(Duration::from_secs(61));
    let said = clock.command(&route, &story.config).1;
    assert!(said.contains("goes through mailbox other <other@sandbox.example> now, because sandbox is held"), "{said}");
    assert!(send(&mut app, "after", "robot@sandbox.example").starts_with("250 "));
    // What waited moves, too.
    for subject in ["first", "before", "after"] {
        assert_eq!(sender_of(&story, subject), "other@sandbox.example", "{subject}");
    }
}

#[test]
fn a_direct_message_by_sender_hears_after_its_header_that_it_has_too_many_recipients() {
    let story = Story::new("microsoft", |text| {
        let text = one_more_mailbox(contract(text, "direct"), "other");
        let text = format!("{text}\n[mailbox.other.limits]\nrecipients-per-message = 2\n");
        one_more_app(text, "jira", "mailbox = \"by-sender\"\nallowed-from = [\"*@sandbox.example\"]\nfallback = \"other\"\n")
    });
    let _daemon = story.start();
    let mut app = App::login(story.relay, "jira", &story.password);
    let to = |count: usize| ["<a@example.org>", "<b@example.org>", "<c@example.org>"][..count].to_vec();
    let mail = |app: &mut App, id: &str, sender: &str, from: &str, count: usize| {
        app.mail(Mail { id, sender: &format!("<{sender}>"), from, to: &to(count), ..Mail::default() })
    };
    let (robot, other) = ("robot@sandbox.example", "other@sandbox.example");
    // Whoever the envelope sender is, and whatever the fallback takes: the author's mailbox takes two.
    for sender in [robot, other] {
        let said = mail(&mut app, "late", sender, other, 3);
        let expected = " too many recipients: the provider takes 2 a message, send to fewer at once";
        assert!(said.starts_with("550 5.5.3 ") && said.ends_with(expected), "{sender}: {said}");
    }
    assert!(mail(&mut app, "two", robot, other, 2).starts_with("250 "));
    assert_eq!(sender_of(&story, "two"), robot);
    assert!(mail(&mut app, "three", robot, robot, 3).starts_with("250 "));
    let received = story.received().len();
    assert_eq!(received, 2, "nothing of what was refused arrived");
}

#[test]
fn a_direct_message_of_a_named_mailbox_hears_at_the_recipient_that_there_are_too_many() {
    let story = Story::new("microsoft", |text| {
        let text = contract(text, "direct");
        format!("{text}\n[mailbox.sandbox.limits]\nrecipients-per-message = 2\n")
    });
    let _daemon = story.start();
    let mut app = story.app();
    for (command, expected) in [
        ("MAIL FROM:<robot@sandbox.example>", "250 "),
        ("RCPT TO:<a@example.org>", "250 "),
        ("RCPT TO:<b@example.org>", "250 "),
        ("RCPT TO:<c@example.org>", "452 4.5.3 too many recipients: the provider takes 2 a message, send the rest separately"),
    ] {
        let said = app.say(command);
        assert!(said.starts_with(expected), "{command}: {said}");
    }
}

/// An app with a mailbox, and another that rewrites and stands in for it; what was tried once waits for an hour.
fn stand_in(text: String) -> String {
    let text = one_more_mailbox(contract(text, "queue"), "other");
    let text = text.replace("[mailbox.other]\n", "[mailbox.other]\nwhen-from-differs = \"rewrite\"\n");
    let text = one_more_app(text, "jira", "mailbox = [\"sandbox\", \"other\"]\n");
    let from = text.find("retry = [").expect("the queue has a schedule");
    let to = from + text[from..].find(']').expect("it ends") + 1;
    format!("{}retry = [\"1h\"]{}", &text[..from], &text[to..])
}

/// Holds a mailbox; new mail goes by what was told of it.
fn hold(story: &Story, daemon: &Program, mailbox: &str) {
    story.good(&["queue", "hold", "--mailbox", mailbox]);
    daemon.await_count(1, &[&format!("\"mailbox\":\"{mailbox}\""), "\"state\":\"paused\""]);
}

fn release(story: &Story, mailbox: &str) {
    story.good(&["queue", "release", "--mailbox", mailbox]);
}

#[test]
fn what_waits_moves_to_the_next_mailbox_that_works_and_back() {
    let story = Story::new("microsoft", stand_in);
    let daemon = story.start();
    let mut app = App::login(story.relay, "jira", &story.password);
    hold(&story, &daemon, "sandbox");
    hold(&story, &daemon, "other");
    let ids: Vec<String> = (0..5)
        .map(|number| {
            let said = send(&mut app, &format!("waits-{number}"), "robot@sandbox.example");
            said.rsplit(' ').next().unwrap_or_default().to_owned()
        })
        .collect();
    let list = story.good(&["queue", "list", "--mailbox", "sandbox", "--json"]);
    assert!(ids.iter().all(|id| list.contains(id)), "{list}");
    release(&story, "other");
    for number in 0..5 {
        assert_eq!(sender_of(&story, &format!("waits-{number}")), "other@sandbox.example");
    }
    daemon.await_count(5, &["message.rerouted", "\"mailbox\":\"other\"", "\"before\":\"sandbox\"", "a waiting message"]);
    let trace = story.good(&["trace", &ids[0]]);
    assert!(trace.contains("moved") && trace.contains("from mailbox sandbox to other: held by an operator"), "{trace}");

    // The other one breaks down; the first is back.
    story.fault("quota", &json!({"mailbox": "other@sandbox.example"}));
    assert!(send(&mut app, "back", "robot@sandbox.example").starts_with("250 "));
    daemon.await_count(1, &["\"mailbox\":\"other\"", "\"state\":\"over-quota\""]);
    release(&story, "sandbox");
    assert_eq!(sender_of(&story, "back"), "robot@sandbox.example");
    assert_eq!(daemon.count(&["message.rerouted", "\"mailbox\":\"sandbox\"", "\"before\":\"other\""]), 1);
}

#[test]
fn what_may_have_been_sent_stays_with_its_mailbox() {
    let story = Story::new("microsoft", stand_in);
    let daemon = story.start();
    let mut app = App::login(story.relay, "jira", &story.password);
    story.fault("final-reply-lost", &json!({"times": 1}));
    let said = send(&mut app, "unsure", "robot@sandbox.example");
    let id = said.rsplit(' ').next().unwrap_or_default().to_owned();
    daemon.await_event("message.deferred", &id);
    hold(&story, &daemon, "sandbox");
    hold(&story, &daemon, "other");
    assert!(send(&mut app, "clear", "robot@sandbox.example").starts_with("250 "));
    release(&story, "other");
    assert_eq!(sender_of(&story, "clear"), "other@sandbox.example");
    let list = story.good(&["queue", "list", "--json"]);
    assert!(list.contains(&id) && list.contains("\"mailbox\":\"sandbox\",\"from\""), "{list}");
    release(&story, "sandbox");
    story.good(&["queue", "retry", &id]);
    until("it was sent again, by the same mailbox", SOON, || story.subjects().iter().filter(|it| *it == "unsure").count() == 2);
    assert_eq!(daemon.count(&["message.rerouted", &id]), 0);
}

#[test]
fn what_a_killed_process_had_at_hand_stays_with_its_mailbox() {
    let story = Story::new("microsoft", stand_in);
    let daemon = story.start();
    let mut app = App::login(story.relay, "jira", &story.password);
    story.fault("silent-at-end", &json!({}));
    assert!(send(&mut app, "under-way", "robot@sandbox.example").starts_with("250 "));
    until("it is on its way", SOON, || story.good(&["status"]).contains("1 messages under way"));
    daemon.kill();
    story.mend("silent-at-end");
    story.good(&["queue", "hold", "--mailbox", "sandbox"]);
    story.good(&["queue", "hold", "--mailbox", "other"]);
    let daemon = story.start();
    daemon.await_count(2, &["mailbox.changed", "\"state\":\"paused\""]);
    let mut app = App::login(story.relay, "jira", &story.password);
    assert!(send(&mut app, "behind", "robot@sandbox.example").starts_with("250 "));
    release(&story, "other");
    assert_eq!(sender_of(&story, "behind"), "other@sandbox.example");
    release(&story, "sandbox");
    until("it was sent by its own mailbox", SOON, || story.subjects().contains(&"under-way".to_owned()));
    assert_eq!(sender_of(&story, "under-way"), "robot@sandbox.example");
    assert_eq!(daemon.count(&["message.rerouted"]), 1);
}

#[test]
fn a_message_whose_sender_is_denied_goes_through_a_mailbox_that_rewrites_it() {
    let story = Story::new("microsoft", |text| {
        stand_in(text).replace("[mailbox.sandbox]\n", "[mailbox.sandbox]\nallowed-from = [\"*@sandbox.example\"]\n")
    });
    let daemon = story.start();
    let mut app = App::login(story.relay, "jira", &story.password);
    story.fault("send-as-denied", &json!({"times": 1}));
    assert!(send(&mut app, "denied", "ceo@sandbox.example").starts_with("250 "));
    assert_eq!(sender_of(&story, "denied"), "other@sandbox.example");
    assert_eq!(daemon.count(&["message.rerouted", "\"mailbox\":\"other\"", "\"before\":\"sandbox\""]), 1);
    assert!(send(&mut app, "allowed", "robot@sandbox.example").starts_with("250 "));
    assert_eq!(sender_of(&story, "allowed"), "robot@sandbox.example");
}

#[test]
fn an_alias_counts_as_the_address_it_stands_for() {
    let story = Story::new("microsoft", |text| {
        let text = contract(text, "queue").replacen(
            "[app.sandbox]\n",
            "[app.sandbox]\nallowed-recipients = [\"*@example.org\", \"backup\"]\n",
            1,
        );
        let text = text.replace("[mailbox.sandbox]\n", "[mailbox.sandbox]\nwhen-from-differs = \"rewrite\"\n");
        format!("{text}\n[aliases]\nroot = \"it@example.org\"\nbackup = \"it@elsewhere.example\"\n")
    });
    let _daemon = story.start();
    let mut app = story.app();
    // Whom it may send to is said of the alias's address, and nothing of the alias.
    let said = app.mail(Mail { id: "outside", to: &["<backup>"], ..Mail::default() });
    let expected = "550 5.7.1 <it@elsewhere.example> (backup in [aliases]) is not in allowed-recipients of [app.sandbox]";
    assert!(said.starts_with(expected), "{said}");
    app.say("RSET");
    // However often it is named, and as what, it is one recipient.
    app.queue(Mail { id: "once", to: &["<root>", "<IT@example.org>", "<Root>", "<team@example.org>"], ..Mail::default() });
    assert_eq!(story.with_subject("once")["to"], json!(["it@example.org", "team@example.org"]));
    // A sender without a domain is told at its alias's address.
    story.fault("recipient-refused", &json!({"times": 1}));
    app.queue(Mail { id: "cron", sender: "<root>", ..Mail::default() });
    assert_eq!(story.with_subject("Undelivered mail: cron")["to"], json!(["it@example.org"]));
}
