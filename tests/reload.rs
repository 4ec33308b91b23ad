//! Reload: SIGHUP, `outlink reload` and the commands that write configuration take up what changed, while mail flows and waits. A faulty
//! file changes nothing.

mod support;

use serde_json::{Value, json};
use std::{fs, process::Command};
use support::{
    LONG, Program, SOON, outlink,
    queued::{Mail, one_more_app, one_more_mailbox, queue, until},
    run,
    story::{App, Story},
};

impl Story {
    fn write(&self, edit: impl Fn(String) -> String) {
        let text = fs::read_to_string(&self.config).expect("it is there");
        fs::write(&self.config, edit(text)).expect("it can be written");
    }

    /// What waits, by id, with the tries that it had.
    fn waiting(&self) -> Vec<(String, u64)> {
        let list: Value = serde_json::from_str(&self.good(&["queue", "list", "--json"])).expect("JSON");
        let messages = list["messages"].as_array().expect("a list");
        let of = |message: &Value| {
            (message["id"].as_str().expect("an id").to_owned(), message["attempts"].as_u64().expect("a number"))
        };
        messages.iter().map(of).collect()
    }
}

impl App {
    /// Sends a message up to the middle of its body.
    fn begin(&mut self, subject: &str) {
        for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<team@example.org>", "DATA"] {
            let said = self.say(line);
            assert!(said.starts_with(['2', '3']), "{line}: {said}");
        }
        self.write(&format!("Subject: {subject}\r\n\r\nThe first half,\r\n"));
    }

    /// Ends it; gives the reply.
    fn end(&mut self) -> String {
        self.say("the second half.\r\n.")
    }
}

const WAYS: [&str; 3] = ["SIGHUP", "outlink reload", "a command"];

/// Lets the daemon read its configuration in this way, the `taken_up`th time.
fn reload(way: &str, story: &Story, daemon: &Program, taken_up: usize) {
    match way {
        "SIGHUP" => daemon.signal("HUP"),
        "outlink reload" => assert!(story.good(&["reload"]).contains("the configuration was taken up")),
        _ => {
            let name = format!("written-{taken_up}");
            let said = story.good(&["app", "add", &name, "--mailbox", "sandbox"]);
            assert!(said.contains("the running daemon has taken it up"), "{said}");
        }
    }
    daemon.await_count(taken_up, &["config.reloaded", "the configuration was taken up"]);
}

#[test]
fn connections_amid_a_message_and_waiting_mail_do_not_notice_a_reload() {
    let story = Story::new("custom", queue);
    let daemon = story.start();
    story.fault("rcpt-temporary", &json!({}));
    story.write(|text| text.replace("retry = [\"1s\"]", "retry = [\"1h\"]"));
    reload("outlink reload", &story, &daemon, 1);
    let mut idle = story.app();
    let late = idle.queue(Mail { id: "late", to: &["<later@example.org>"], ..Mail::default() });
    until("it was tried", LONG, || story.waiting() == [(late.clone(), 1)]);
    for (number, way) in WAYS.into_iter().enumerate() {
        let mut sender = story.app();
        let id = format!("amid-{number}");
        sender.begin(&id);
        // The new one is a stranger until then.
        let name = format!("new-{number}");
        assert!(App::connect(story.relay).auth(&name, &story.password).starts_with("535 "));
        story.write(|text| one_more_app(text, &name, ""));
        reload(way, &story, &daemon, number + 2);
        App::login(story.relay, &name, &story.password);
        assert!(sender.end().starts_with("250 "), "{way}");
        story.with_subject(&id);
        sender.queue(Mail { id: &format!("after-{number}"), ..Mail::default() });
        assert_eq!(story.waiting(), [(late.clone(), 1)], "{way}");
    }
    assert!(idle.say("NOOP").starts_with("250 "), "who was connected all the time still is");
    story.mend("rcpt-temporary");
    story.good(&["queue", "retry", "--all"]);
    story.with_subject("late");
    assert_eq!(story.stat("duplicates"), 0);
}

#[test]
fn new_links_and_mailboxes_are_taken_up() {
    let story = Story::new("custom", queue);
    let daemon = story.start();
    story.write(|text| {
        let from = text.find("[link.sandbox]").expect("there is a link");
        let length = text[from..].find("[mailbox.").expect("a mailbox follows");
        let link = text[from..from + length].replace("[link.sandbox]", "[link.other]");
        let text = one_more_mailbox(format!("{text}\n{link}"), "second");
        let at = text.rfind("[mailbox.second]").expect("it was added");
        let text = format!("{}{}", &text[..at], text[at..].replacen("link = \"sandbox\"", "link = \"other\"", 1));
        one_more_app(text, "second", "mailbox = \"second\"")
    });
    reload("SIGHUP", &story, &daemon, 1);
    let mut app = App::login(story.relay, "second", &story.password);
    app.queue(Mail { id: "by the other", sender: "<second@sandbox.example>", from: "second@sandbox.example", ..Mail::default() });
    story.with_subject("by the other");
    let list: Value = serde_json::from_str(&story.good(&["link", "list", "--json"])).expect("JSON");
    let names: Vec<_> = list["links"].as_array().expect("links").iter().map(|link| link["link"].clone()).collect();
    assert_eq!((names, &list["links"][0]["mailboxes"][0]["state"]), (vec![json!("other"), json!("sandbox")], &json!("ready")));
}

#[test]
fn a_changed_secret_file_counts_at_once_after_a_reload() {
    let story = Story::new("custom", queue);
    let file = story.directory.path().join("client-secret");
    let right = fs::read(&file).expect("it was written");
    fs::write(&file, "wrong\n").expect("it can be written");
    let daemon = story.start();
    let id = story.app().queue(Mail { id: "waits for the secret", ..Mail::default() });
    until("the wrong secret is noticed", LONG, || story.good(&["link", "list"]).contains("needs-repair for"));
    let refusals = story.stat("token_refusals");
    fs::write(&file, &right).expect("it can be written");
    reload("outlink reload", &story, &daemon, 1);
    story.with_subject("waits for the secret");
    daemon.await_event("message.delivered", &id);
    assert_eq!(story.stat("token_refusals"), refusals, "the old secret was not asked with again");
    assert!(story.good(&["link", "list"]).contains("mailbox sandbox <robot@sandbox.example>: ready"));
}

#[test]
fn a_faulty_file_is_refused_with_its_faults_and_nothing_changes() {
    let story = Story::new("custom", queue);
    let daemon = story.start();
    let good = fs::read_to_string(&story.config).expect("it is there");
    let mut connected = story.app();
    story.write(|text| {
        let text = one_more_app(text, "new", "").replace("link = \"sandbox\"", "link = \"sandbx\"");
        format!("{text}\n[app.bare]\nmailbox = \"sandbox\"\n")
    });
    let (status, said) = story.command(&["reload"]);
    assert_eq!(status, Some(78), "{said}");
    let faults = ["mailbox.sandbox.link: there is no link `sandbx`", "app.bare: this app has no way to prove itself"];
    for fault in faults {
        assert!(said.contains("outlink.toml:") && said.contains(fault), "{fault}: {said}");
    }
    daemon.signal("HUP");
    daemon.await_count(2, &["config.reloaded", "the old settings stay", faults[0], faults[1]]);
    // A command that would write beside the fault says it, too, and writes nothing.
    let (status, said) = story.command(&["app", "add", "third", "--mailbox", "sandbox"]);
    assert!(status == Some(78) && said.contains(faults[0]), "{status:?} {said}");
    assert!(!story.directory.path().join("conf.d/app-third.toml").exists());
    connected.queue(Mail { id: "as before", ..Mail::default() });
    story.with_subject("as before");
    assert!(App::connect(story.relay).auth("new", &story.password).starts_with("535 "));
    fs::write(&story.config, good).expect("it can be written");
    reload("SIGHUP", &story, &daemon, 1);
}

#[test]
fn an_app_that_is_removed_while_connected_hears_so() {
    let story = Story::new("custom", |text| one_more_app(queue(text), "leaving", ""));
    let daemon = story.start();
    let mut idle = App::login(story.relay, "leaving", &story.password);
    let mut amid = App::login(story.relay, "leaving", &story.password);
    let mut staying = story.app();
    amid.begin("amid");
    story.write(|text| text[..text.find("[app.leaving]").expect("it was added")].to_owned());
    reload("SIGHUP", &story, &daemon, 1);
    assert_eq!(idle.say("MAIL FROM:<robot@sandbox.example>"), "530 5.7.0 this application is no longer configured here");
    assert_eq!(amid.end(), "530 5.7.0 this application is no longer configured here");
    assert!(App::connect(story.relay).auth("leaving", &story.password).starts_with("535 "));
    staying.queue(Mail { id: "stays", ..Mail::default() });
    story.with_subject("stays");
    assert!(!story.subjects().iter().any(|subject| subject == "amid"));
}

#[test]
fn what_is_written_meanwhile_is_seen_whole_or_not_at_all() {
    let story = Story::new("custom", queue);
    let daemon = story.start();
    let program = outlink().get_program().to_owned();
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (program, story) = (&program, &story);
            scope.spawn(move || {
                for number in 0..5 {
                    let name = format!("app-{writer}-{number}");
                    let mut command = Command::new(program);
                    command.args(["app", "add", &name, "--mailbox", "sandbox", "--config"]).arg(&story.config);
                    let output = run(command, b"", LONG);
                    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
                }
            });
        }
        (0..10).for_each(|_| daemon.signal("HUP"));
    });
    assert_eq!(daemon.count(&["the old settings stay"]), 0, "{}", daemon.output());
    let apps: Value = serde_json::from_str(&story.good(&["app", "list", "--json"])).expect("JSON");
    assert_eq!(apps["apps"].as_array().map(Vec::len), Some(16));
    daemon.logged("config.reloaded", SOON);
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_does_not_hold_up_the_daemon() {
    let story = Story::new("custom", queue);
    let daemon = story.start();
    // Whoever opens it waits for a writer.
    fs::remove_file(&story.config).expect("it is there");
    let made = Command::new("mkfifo").arg(&story.config).status().expect("coreutils");
    assert!(made.success());
    daemon.signal("HUP");
    daemon.await_count(1, &["config.reloaded", "was not read within 5 seconds", "the old settings stay"]);
    App::login(story.relay, "sandbox", &story.password).queue(Mail { id: "after all", ..Mail::default() });
    story.with_subject("after all");
    assert_eq!(daemon.stop().0, Some(0));
}
