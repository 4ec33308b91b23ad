//! The command line of the queue, beside a daemon that runs and on the state directory of one that was stopped.

mod support;

use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use support::{
    LONG, Program, SOON, free_port, http, outlink, run, start_daemon,
    story::{App, Story},
};

fn queued(text: String) -> String {
    text.replace("delivery = \"direct\"", "delivery = \"queue\"")
}

/// Runs a command; gives its exit status, standard output and standard error.
fn ask(words: &[&str], config: &Path) -> (Option<i32>, String, String) {
    let output = output(words, config);
    let text = |octets: Vec<u8>| String::from_utf8(octets).expect("it speaks UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn output(words: &[&str], config: &Path) -> Output {
    let mut command = outlink();
    command.args(words).arg("--config").arg(config);
    run(command, b"", LONG)
}

/// Runs a command that has to do what it is asked.
fn good(words: &[&str], config: &Path) -> String {
    let (status, out, err) = ask(words, config);
    assert_eq!(status, Some(0), "{words:?}: {out}{err}");
    out
}

fn json(words: &[&str], config: &Path) -> Value {
    let out = good(words, config);
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{words:?}: {e}\n{out}"))
}

/// The listed message with this id.
fn listed(id: &str, config: &Path) -> Value {
    let list = json(&["queue", "list", "--json"], config);
    let messages = list["messages"].as_array().expect("a list");
    messages.iter().find(|message| message["id"] == id).unwrap_or_else(|| panic!("{id} is not in {list}")).clone()
}

fn ids(list: &Value) -> Vec<String> {
    let all = list["messages"].as_array().unwrap_or_else(|| panic!("no messages in {list}"));
    all.iter().map(|message| message["id"].as_str().expect("an id").to_owned()).collect()
}

/// Asks until it is so.
fn until(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Sends a message that is queued; gives its id.
fn send(app: &mut App, to: &str, body: &str) -> String {
    for line in ["MAIL FROM:<robot@sandbox.example>", &format!("RCPT TO:<{to}>"), "DATA"] {
        let said = app.say(line);
        assert!(said.starts_with(['2', '3']), "{line}: {said}");
    }
    let said = app.say(&format!("Subject: for {to}\r\n\r\n{body}\r\n."));
    assert!(said.starts_with("250 2.0.0 OK queued as "), "{said}");
    said.split(' ').next_back().expect("an id").to_owned()
}

/// Says it of a running daemon, then of its store alone.
fn running_and_stopped(daemon: Program, mut say: impl FnMut(&str)) {
    say("running");
    assert_eq!(daemon.stop().0, Some(0));
    say("stopped");
}

#[test]
fn what_is_kept_is_listed_shown_and_traced() {
    let story = Story::new("custom", queued);
    let config = story.config.as_path();
    let daemon = story.start();
    assert_eq!(good(&["queue"], config).lines().last(), Some("the queue is empty"));
    story.fault("recipient-refused", &json!({"times": 1}));
    let mut app = story.app();
    let bad = send(&mut app, "refused@example.org", "Hello.");
    until("one is refused", || json(&["queue", "list", "--json"], config)["summary"]["failed"]["messages"] == 1);
    story.mend("recipient-refused");
    story.fault("rcpt-temporary", &json!({}));
    let late = send(&mut app, "later@example.org", "Hello.");
    let sent = send(&mut app, "team@example.org", "Hello.");
    until("each was tried", || {
        let summary = &json(&["queue", "list", "--json"], config)["summary"];
        summary["waiting"]["messages"] == 1 && listed(&late, config)["attempts"] == 1
    });
    let provider_saw = http(story.http, "GET", "/received", "").1;
    assert!(String::from_utf8_lossy(&provider_saw).contains("team@example.org"));
    running_and_stopped(daemon, |when| {
        let text = good(&["queue", "list"], config);
        let line = text.lines().find(|line| line.starts_with(&late)).unwrap_or_else(|| panic!("{when}: {text}"));
        for part in ["waiting", "robot@sandbox.example → later@example.org", "450 4.2.1", "; next try in "] {
            assert!(line.contains(part), "{when}: {part} is not in {line}");
        }
        assert!(text.starts_with("queue: 1 waiting, 0 held, 1 failed; "), "{when}: {text}");
        assert!(!text.contains(&sent), "{when}: delivered ones are not listed: {text}");
        assert_eq!(good(&["queue"], config).lines().count(), text.lines().count(), "{when}");

        for (filter, expected) in [
            (["--state", "failed"], vec![&bad]),
            (["--state", "waiting"], vec![&late]),
            (["--state", "delivered"], vec![&sent]),
            (["--recipient", "LATER@example.org"], vec![&late]),
            (["--recipient", "robot@sandbox.example"], vec![]),
            (["--mailbox", "sandbox"], vec![&bad, &late]),
            (["--app", "sandbox"], vec![&bad, &late]),
            (["--older-than", "1h"], vec![]),
        ] {
            let list = json(&["queue", "list", "--json", filter[0], filter[1]], config);
            let found: Vec<String> = ids(&list).into_iter().filter(|id| [&late, &bad, &sent].contains(&id)).collect();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{when}: {filter:?}");
        }
        for (kind, name) in [("--mailbox", "elsewhere"), ("--app", "nobody")] {
            let (status, _, err) = ask(&["queue", "list", kind, name], config);
            assert!(status == Some(1) && err.contains(name) && err.contains("there are: sandbox"), "{when}: {status:?} {err}");
        }

        let shown = json(&["queue", "show", &late, "--json"], config);
        assert_eq!(shown["recipient_states"][0]["state"], "waiting", "{when}: {shown}");
        assert_eq!(
            (&shown["app"], &shown["from"], &shown["attempts"]),
            (&json!("sandbox"), &json!("robot@sandbox.example"), &json!(1))
        );
        assert!(shown["expires_at"].is_string() && shown["subject"] == "for later@example.org", "{when}: {shown}");
        let text = good(&["queue", "show", &bad], config);
        assert!(
            text.contains(": failed") && text.contains("refused@example.org: refused") && text.contains("550 5.1.1"),
            "{text}"
        );

        let story = good(&["trace", &bad], config);
        let order: Vec<Option<usize>> = ["accepted", "refused", "notified"].map(|word| story.find(&format!("Z  {word}"))).into();
        assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{when}: {order:?} in\n{story}");
        let traced = json(&["trace", "team@example.org", "--json"], config);
        assert_eq!(ids(&traced), std::slice::from_ref(&sent), "{when}");
        let words: Vec<&Value> =
            traced["messages"][0]["events"].as_array().expect("events").iter().map(|e| &e["event"]).collect();
        assert_eq!(words, ["accepted", "changed", "delivered"], "{when}: a Date was added");
        let all = ids(&json(&["trace", "robot@sandbox.example", "--json"], config));
        assert!(
            all.len() >= 3 && [&bad, &late, &sent].map(|id| all.iter().position(|other| other == id)).is_sorted(),
            "{when}: newest last: {all:?}"
        );
        let (status, _, err) = ask(&["trace", "stranger@example.org"], config);
        assert!(status == Some(1) && err.contains("stranger@example.org"), "{when}: {status:?} {err}");
    });
}

#[test]
fn what_makes_no_sense_is_said_and_changes_nothing() {
    let story = Story::new("custom", queued);
    let config = story.config.as_path();
    let daemon = story.start();
    good(&["queue", "hold", "--mailbox", "sandbox"], config);
    let kept = send(&mut story.app(), "team@example.org", "Hello.");
    let nobody = "aaaaaaaaaaaaaaaaaaaaaaaaaa";
    let rows: &[(&[&str], i32, &str)] = &[
        (&["queue", "show", "nonsense"], 64, "26 characters of a-z and 2-7"),
        (&["trace", "nonsense"], 64, "an address has an @"),
        (&["queue", "list", "--older-than", "2 fortnights"], 64, "2h"),
        (&["queue", "list", "--state", "lost"], 64, "delivered"),
        (&["queue", "retry"], 64, "--all"),
        (&["queue", "discard"], 64, "--yes"),
        (&["queue", "discard", "--yes"], 64, "--all"),
        (&["queue", "discard", "--all"], 64, "--yes"),
        (&["queue", "discard", &kept, "--all"], 64, "leave out"),
        (&["queue", "hold", &kept, "--mailbox", "sandbox"], 64, "leave out"),
        (&["queue", "move", &kept], 64, "--to-mailbox"),
        (&["queue", "move", &kept, "--to-mailbox", "elsewhere"], 1, "there are: sandbox"),
        (&["queue", "hold", "--mailbox", "elsewhere"], 1, "there are: sandbox"),
        (&["queue", "show", nobody], 1, "never queued here"),
        (&["queue", "export", nobody], 1, "never queued here"),
        (&["queue", "retry", nobody], 1, nobody),
        (&["queue", "release", &kept], 1, "not held itself"),
        (&["queue", "release", "--all"], 1, "no message"),
    ];
    running_and_stopped(daemon, |when| {
        for (words, expected, part) in rows {
            let (status, out, err) = ask(words, config);
            assert_eq!(status, Some(*expected), "{when}: {words:?}: {out}{err}");
            assert!(err.contains(part), "{when}: {words:?}: {part} is not in {err}");
        }
        let message = listed(&kept, config);
        assert_eq!((&message["mailbox"], &message["has_body"]), (&json!("sandbox"), &json!(true)), "{when}: {message}");
    });
    let elsewhere = story.directory.path().join("elsewhere.toml");
    let text = fs::read_to_string(config).expect("it is there");
    fs::write(&elsewhere, text.replace("/state\"", "/nowhere\"")).expect("written");
    let (status, _, err) = ask(&["queue"], &elsewhere);
    assert!(status == Some(69) && err.contains("nowhere does not exist"), "{status:?} {err}");
    assert!(!story.directory.path().join("nowhere").exists(), "a look makes no directory");
    fs::write(&elsewhere, "nonsense = 1\n").expect("written");
    assert_eq!(ask(&["queue"], &elsewhere).0, Some(78));
}

#[test]
fn orders_change_what_they_name() {
    let story = Story::new("custom", queued);
    let config = story.config.as_path();
    let daemon = story.start();
    story.fault("rcpt-temporary", &json!({}));
    let mut app = story.app();
    let [one, two, three, four] =
        ["later-1", "later-2", "later-3", "later-4"].map(|to| send(&mut app, &format!("{to}@example.org"), "x"));
    until("each was tried", || [&one, &two, &three, &four].iter().all(|id| listed(id, config)["attempts"] == 1));
    running_and_stopped(daemon, |when| {
        assert_eq!(good(&["queue", "hold", &one, &two], config).trim(), "held: 2 messages", "{when}");
        let message = listed(&one, config);
        assert_eq!(
            (&message["state"], &message["held_by"], &message["next_attempt"]),
            (&json!("held"), &json!("operator"), &Value::Null)
        );
        let (status, out, err) = ask(&["queue", "retry", &one, &three], config);
        assert_eq!((status, out.trim()), (Some(1), "tried again at once: 1 message"), "{when}: one of them is held");
        if when == "running" {
            until("it is tried again at once", || listed(&three, config)["attempts"] == 2);
        }
        assert!(err.contains(&one) && err.contains("release lets it go") && !err.contains(&three), "{when}: {err}");
        let held = json(&["queue", "list", "--state", "held", "--json"], config);
        assert_eq!(ids(&held), [one.clone(), two.clone()], "{when}");
        assert_eq!(
            good(&["queue", "release", "--state", "held", "--app", "sandbox"], config).trim(),
            "released: 2 messages",
            "{when}"
        );
        assert!(
            json(&["trace", &one, "--json"], config)["messages"][0]["events"].to_string().contains("an operator released it")
        );
    });

    // The provider takes them now, and the orders let them go before their two minutes are over.
    story.mend("rcpt-temporary");
    assert_eq!(good(&["queue", "discard", "--recipient", "later-4@example.org", "--yes"], config).trim(), "discarded: 1 message");
    let shown = listed(&four, config);
    assert_eq!((&shown["state"], &shown["has_body"]), (&json!("failed"), &json!(false)), "{shown}");
    for words in [vec!["queue", "export", &four], vec!["queue", "retry", &four], vec!["queue", "discard", &four]] {
        let (status, _, err) = ask(&words, config);
        assert!(status == Some(1) && err.contains(&four), "{words:?}: {status:?} {err}");
    }
    let daemon = story.start();
    for id in [&one, &two, &three] {
        daemon.logged(&format!("\"event\":\"message.delivered\",\"id\":\"{id}\""), SOON);
    }
    assert_eq!(story.stat("messages"), 3, "and never the discarded one");
}

#[test]
fn failed_messages_begin_anew() {
    let story = Story::new("custom", queued);
    let config = story.config.as_path();
    let daemon = story.start();
    story.fault("recipient-refused", &json!({"times": 1}));
    let id = send(&mut story.app(), "team@example.org", "Hello.");
    until("it failed", || ids(&json(&["queue", "list", "--state", "failed", "--json"], config)) == [id.clone()]);
    good(&["queue", "retry", "--state", "failed"], config);
    daemon.logged(&format!("\"event\":\"message.delivered\",\"id\":\"{id}\""), SOON);
    let story = good(&["trace", &id], config);
    let order = ["accepted", "refused", "retried", "delivered"].map(|word| story.find(&format!("Z  {word}")));
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?} in\n{story}");
}

#[test]
fn exported_octets_are_those_that_the_provider_gets() {
    let story = Story::new("custom", queued);
    let config = story.config.as_path();
    let daemon = story.start();
    good(&["queue", "hold", "--mailbox", "sandbox"], config);
    let mut app = story.app();
    let large = "0123456789abcdef\r\n".repeat(20_000);
    let kept = [send(&mut app, "small@example.org", "Hello."), send(&mut app, "large@example.org", &large)];
    let mut exported = Vec::new();
    running_and_stopped(daemon, |when| {
        for (id, least) in kept.iter().zip([10, large.len()]) {
            let octets = output(&["queue", "export", id], config).stdout;
            assert!(octets.len() > least && octets.starts_with(b"Received: "), "{when}: {} octets", octets.len());
            let file = story.directory.path().join(format!("{id}-{when}"));
            let to = file.to_str().expect("a name");
            good(&["queue", "export", id, "--to", to], config);
            assert_eq!(fs::read(&file).expect("it was written"), octets, "{when}");
            assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
            let (status, _, err) = ask(&["queue", "export", id, "--to", to], config);
            assert!(status == Some(74) && err.contains(to), "{when}: {status:?} {err}");
            assert_eq!(fs::read(&file).expect("it is still there"), octets, "{when}");
            exported.push(octets);
        }
    });
    assert_eq!(exported[..2], exported[2..], "the same whether it runs or not");
    let daemon = story.start();
    good(&["queue", "release", "--mailbox", "sandbox"], config);
    kept.iter().for_each(|id| drop(daemon.logged(&format!("\"event\":\"message.delivered\",\"id\":\"{id}\""), SOON)));
    let mut received = [1, 2].map(|number| http(story.http, "GET", &format!("/received/{number}"), "").1);
    received.sort_by_key(Vec::len);
    assert_eq!(exported[..2], received);
}

#[test]
fn a_paused_mailbox_waits_until_it_is_released() {
    let story = Story::new("custom", queued);
    let config = story.config.as_path();
    let daemon = story.start();
    good(&["queue", "hold", "--mailbox", "sandbox"], config);
    let id = send(&mut story.app(), "team@example.org", "Hello.");
    running_and_stopped(daemon, |when| {
        let message = listed(&id, config);
        assert_eq!((&message["state"], &message["held_by"]), (&json!("held"), &json!("paused")), "{when}: {message}");
        let text = good(&["queue"], config);
        assert!(text.contains("not tried by itself: held by an operator"), "{when}: {text}");
        assert_eq!(text.matches("outlink queue release --mailbox sandbox").count(), 1, "{when}: its advice, once: {text}");
        let again = good(&["queue", "hold", "--mailbox", "sandbox"], config);
        assert!(again.contains("already"), "{when}: {again}");
    });
    good(&["queue", "release", "--mailbox", "sandbox"], config);
    assert_eq!(listed(&id, config)["state"], "waiting");
    good(&["queue", "hold", "--mailbox", "sandbox"], config);
    let daemon = story.start();
    let status = json(&["status", "--json"], config);
    let mailbox = &status["mailboxes"][0];
    assert_eq!((&mailbox["state"], &mailbox["held"]["messages"]), (&json!("paused"), &json!(1)), "{status}");
    assert_eq!((&status["queue"]["held"]["messages"], &mailbox["sent_in_24_hours"]["messages"]), (&json!(1), &json!(0)));
    assert_eq!(story.stat("messages"), 0, "nothing went out, over two starts");
    let said = good(&["queue", "release", "--mailbox", "sandbox"], config);
    assert!(said.contains("released"), "{said}");
    daemon.logged(&format!("\"event\":\"message.delivered\",\"id\":\"{id}\""), SOON);
    assert!(good(&["queue", "release", "--mailbox", "sandbox"], config).contains("was not held"));
    let text = good(&["status"], config);
    assert!(text.contains("queue: 0 waiting, 0 held, 0 failed") && text.contains("sent in 24 hours: 1 message"), "{text}");
}

#[test]
fn a_mailbox_in_trouble_says_why_and_what_to_do() {
    for (personality, fault, kind, reason, advice) in [
        ("microsoft", "smtp-auth-disabled", "needs-repair", "5.7.139", "Set-CASMailbox"),
        ("microsoft", "quota", "over-quota", "SubmissionQuotaExceeded", ""),
    ] {
        let story = Story::new(personality, queued);
        let config = story.config.as_path();
        let daemon = story.start();
        story.fault(fault, &json!({}));
        let mut app = story.app();
        let kept = [send(&mut app, "one@example.org", "x"), send(&mut app, "two@example.org", "x")];
        until("the mailbox is held", || listed(&kept[1], config)["held_by"] == kind);
        let text = good(&["queue", "list"], config);
        assert!(text.starts_with("queue: 0 waiting, 2 held, 0 failed"), "{fault}: {text}");
        let todo: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with("to do: ")).collect();
        assert!(todo.len() == 1 && todo[0].contains(advice), "{fault}: the advice, once: {text}");
        for id in &kept {
            let line = text.lines().find(|line| line.starts_with(id)).unwrap_or_else(|| panic!("{id} is not in {text}"));
            assert!(line.contains("  held ") && line.contains(reason) && line.contains("next try in"), "{fault}: {line}");
        }
        assert_eq!(ids(&json(&["queue", "list", "--state", "held", "--json"], config)), kept, "{fault}");
        assert_eq!(ids(&json(&["queue", "list", "--state", "waiting", "--json"], config)), Vec::<String>::new(), "{fault}");
        let status = json(&["status", "--json"], config);
        let hold = &status["mailboxes"][0];
        assert!(hold["state"] == kind && hold["since"].is_string() && hold["next"].is_string(), "{fault}: {status}");

        // Not in a minute, but now.
        story.mend(fault);
        good(&["queue", "release", "--mailbox", "sandbox"], config);
        kept.iter().for_each(|id| drop(daemon.logged(&format!("\"event\":\"message.delivered\",\"id\":\"{id}\""), SOON)));
    }
}

#[test]
fn messages_of_what_was_removed_are_held_and_can_be_moved() {
    let story = Story::new("custom", queued);
    let config = story.config.as_path();
    let text = fs::read_to_string(config).expect("it is there");
    let daemon = story.start();
    good(&["queue", "hold", "--mailbox", "sandbox"], config);
    let [of_app, of_mailbox] = ["app", "mailbox"].map(|to| send(&mut story.app(), &format!("{to}@example.org"), "Hello."));
    fs::write(config, text.replace("[app.sandbox]", "[app.successor]")).expect("written");
    assert_eq!(story.command(&["reload"]).0, Some(0));
    until("its app is gone", || listed(&of_app, config)["held_by"] == "app");
    assert!(good(&["queue"], config).contains("its app is no longer configured"));

    let renamed = text.replace("[mailbox.sandbox]", "[mailbox.other]").replace("mailbox = \"sandbox\"", "mailbox = \"other\"");
    fs::write(config, renamed).expect("written");
    assert_eq!(story.command(&["reload"]).0, Some(0));
    until("its mailbox is gone", || listed(&of_mailbox, config)["held_by"] == "mailbox");
    let text = good(&["queue", "list", "--mailbox", "sandbox"], config);
    assert!(text.contains("mailbox sandbox (not configured)") && text.contains("its mailbox is no longer configured"), "{text}");
    assert_eq!(daemon.stop().0, Some(0));
    let moved = good(&["queue", "move", &of_app, "--to-mailbox", "other"], config);
    assert_eq!(moved.trim(), "moved to mailbox other: 1 message");
    let daemon = story.start();
    daemon.logged(&format!("\"event\":\"message.delivered\",\"id\":\"{of_app}\""), SOON);
    good(&["queue", "move", "--mailbox", "sandbox", "--to-mailbox", "other"], config);
    daemon.logged(&format!("\"event\":\"message.delivered\",\"id\":\"{of_mailbox}\""), SOON);
    let story = good(&["trace", &of_mailbox], config);
    assert!(story.contains("an operator moved it to mailbox other"), "{story}");
}

#[test]
fn a_backup_taken_under_load_holds_every_message_that_was_kept() {
    let story = Story::new("custom", queued);
    let config = story.config.as_path();
    let daemon = story.start();
    good(&["queue", "hold", "--mailbox", "sandbox"], config);
    let large = "0123456789abcdef\r\n".repeat(20_000);
    let mut app = story.app();
    let before: Vec<String> =
        (0..40).map(|n| send(&mut app, &format!("{n}@example.org"), if n % 10 == 0 { &large } else { "Hello." })).collect();
    let ended = AtomicBool::new(false);
    let copy = story.directory.path().join("copy");
    let to = copy.to_str().expect("a name");
    thread::scope(|scope| {
        for _ in 0..3 {
            let (mut app, ended, large) = (story.app(), &ended, &large);
            scope.spawn(move || {
                for n in 0.. {
                    send(&mut app, "load@example.org", if n % 10 == 0 { large } else { "Hello." });
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let said = ask(&["store", "backup", to], config);
        ended.store(true, Ordering::Relaxed);
        assert!(said.0 == Some(0) && said.1.contains(to), "{said:?}");
    });
    let (status, _, err) = ask(&["store", "backup", to], config);
    assert!(status == Some(74) && err.contains(to) && err.contains("must not exist"), "{status:?} {err}");
    assert_eq!(fs::metadata(&copy).expect("it is there").permissions().mode() & 0o777, 0o700);
    let octets = output(&["queue", "export", &before[0]], config).stdout;
    // While messages leave, the copy has each with its octets or not at all.
    good(&["queue", "release", "--mailbox", "sandbox"], config);
    let leaving = story.directory.path().join("leaving");
    good(&["store", "backup", leaving.to_str().expect("a name")], config);
    good(&["queue", "hold", "--mailbox", "sandbox"], config);
    assert_eq!(daemon.stop().0, Some(0));

    // A backup has no key.
    for copy in [&copy, &leaving] {
        fs::copy(story.directory.path().join("state/key"), copy.join("key")).expect("it can be put back");
    }
    let other = story.directory.path().join("copy.toml");
    let text = fs::read_to_string(config).expect("it is there");
    let port = free_port();
    let text = text.replace("/state\"", "/copy\"").replace(&format!(":{}\"", story.relay.port()), &format!(":{port}\""));
    fs::write(&other, text).expect("written");
    let kept = ids(&json(&["queue", "list", "--json"], &other));
    let missing: Vec<&String> = before.iter().filter(|id| !kept.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?} of {} are missing among {}", before.len(), kept.len());
    assert!(output(&["queue", "export", &before[0]], &other).stdout == octets, "with its octets");
    let of_leaving = story.directory.path().join("leaving.toml");
    fs::write(&of_leaving, fs::read_to_string(&other).expect("it is there").replace("/copy\"", "/leaving\"")).expect("written");
    let list = json(&["queue", "list", "--json"], &of_leaving);
    for message in list["messages"].as_array().expect("a list").iter().filter(|message| message["size"].as_u64() > Some(200_000))
    {
        let id = message["id"].as_str().expect("an id");
        assert_eq!(Some(output(&["queue", "export", id], &of_leaving).stdout.len() as u64), message["size"].as_u64());
    }
    let delivered = story.stat("messages");
    let _daemon = start_daemon(&other, story.directory.path(), &[]);
    good(&["queue", "release", "--mailbox", "sandbox"], &other);
    until("the copy's daemon delivers them all", || story.stat("messages") == delivered + kept.len() as u64);

    // And of a stopped one.
    let second = story.directory.path().join("second");
    let said = good(&["store", "backup", second.to_str().expect("a name")], config);
    assert!(said.contains("messages") && second.join("outlink.db").exists(), "{said}");
}

#[test]
fn a_long_order_goes_on_page_by_page() {
    let story = Story::new("custom", queued);
    let config = story.config.as_path();
    let daemon = story.start();
    good(&["queue", "hold", "--mailbox", "sandbox"], config);
    const SENDERS: usize = 15;
    const EACH: usize = 150;
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            let mut app = story.app();
            scope.spawn(move || (0..EACH).for_each(|n| drop(send(&mut app, &format!("{n}@example.org"), "x"))));
        }
    });
    const ALL: usize = SENDERS * EACH;
    running_and_stopped(daemon, |when| {
        let list = json(&["queue", "list", "--json"], config);
        let mut found = ids(&list);
        found.sort();
        found.dedup();
        assert_eq!(found.len(), ALL, "{when}: more than one page, each once");
        assert_eq!(list["summary"]["held"]["messages"], ALL, "{when}");
        assert_eq!(good(&["queue", "hold", "--all"], config).trim(), format!("held: {ALL} messages"), "{when}");
        assert_eq!(good(&["queue", "release", "--all"], config).trim(), format!("released: {ALL} messages"), "{when}");
    });
    assert_eq!(good(&["queue", "discard", "--mailbox", "sandbox", "--yes"], config).trim(), format!("discarded: {ALL} messages"));
}

#[test]
fn the_control_socket_refuses_what_it_does_not_understand() {
    let story = Story::new("custom", queued);
    let config = story.config.as_path();
    let _daemon = story.start();
    good(&["queue", "hold", "--mailbox", "sandbox"], config);
    let id = send(&mut story.app(), "team@example.org", "Hello.");
    let socket = story.directory.path().join("state/control.sock");
    let asked = |method: &str, path: &str, body: &str| {
        let mut stream = UnixStream::connect(&socket).expect("the daemon listens");
        stream.set_read_timeout(Some(SOON)).expect("a time-out can be set");
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").expect("it can be sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        (answer[9..12].to_owned(), answer)
    };
    for (method, path, body, status) in [
        ("POST", "/queue/discard", "{}", "422"),
        ("POST", "/queue/discard", "nonsense", "422"),
        ("POST", "/queue/discard", r#"{"select": {"mailbx": "sandbox"}}"#, "422"),
        ("POST", "/queue/discard", r#"{"all": true, "ids": ["aaaaaaaaaaaaaaaaaaaaaaaaaa"]}"#, "422"),
        ("POST", "/queue/discard", r#"{"ids": ["x"]}"#, "422"),
        ("POST", "/queue/move", r#"{"all": true}"#, "422"),
        ("POST", "/queue/shred", r#"{"all": true}"#, "404"),
        ("POST", "/backup", r#"{"directory": "relative"}"#, "422"),
        ("GET", "/queue?mailbx=sandbox", "", "422"),
        ("GET", "/queue?state=lost", "", "422"),
        ("GET", "/messages/aaaaaaaaaaaaaaaaaaaaaaaaaa/body", "", "404"),
        ("PUT", "/mailboxes/Nobody/pause", "", "404"),
    ] {
        let (found, answer) = asked(method, path, body);
        assert!(found == status && answer.contains("\"problems\":[\""), "{method} {path} {body}: {answer}");
    }
    assert_eq!(listed(&id, config)["has_body"], true, "nothing was discarded");
    let (status, answer) = asked("POST", "/queue/discard", &json!({"ids": [id]}).to_string());
    assert!(status == "200" && answer.contains("\"done\":1"), "{answer}");
}
