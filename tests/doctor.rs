//! `outlink doctor` as a whole: what is healthy is told as healthy, the daemon that runs is asked, what works again is let go, and
//! nothing secret is said. What is broken is in `doctor_setups.rs` and `doctor_network.rs`.

mod support;

use serde_json::json;
use std::{fs, thread};
use support::{
    SOON,
    examination::{Broken, examine, secrets},
    outlink, run,
    story::Story,
    world::World,
};

/// A story whose apps hear `250` when a message is kept.
fn queueing(personality: &str, options: &[&str]) -> Story {
    Story::with(personality, options, |text| text.replace("delivery = \"direct\"", "delivery = \"queue\""))
}

/// Sends a message that is kept.
fn keep(story: &Story) {
    let reply = story.app().send();
    assert!(reply.starts_with("250 "), "{reply}");
}

#[test]
fn healthy_set_ups_are_told_as_healthy() {
    let rows: [(&str, &[&str]); 7] = [
        ("google", &[]),
        ("google", &["--grant", "service-account"]),
        ("microsoft", &[]),
        ("microsoft", &["--proof", "certificate"]),
        ("microsoft", &["--grant", "authorization-code"]),
        ("custom", &[]),
        ("custom", &["--grant", "authorization-code"]),
    ];
    for (personality, options) in rows {
        let title = format!("{personality} {options:?}");
        let story = Broken { title: &title, personality, options, ..Broken::default() }.story();
        let alone = examine(&story.config, &[], &[]);
        let daemon = story.start();
        let asked = examine(&story.config, &["sandbox"], &[]);
        for examined in [&alone, &asked] {
            assert_eq!(examined.status, Some(0), "{title}: {}", examined.said);
            assert_eq!(examined.checks("not-checked"), ["sending-as-others"], "{title}: {}", examined.said);
            assert!(examined.checks("warning").is_empty() && examined.checks("failed").is_empty(), "{title}: {}", examined.said);
            for check in ["configuration", "state-directory", "clock", "token", "server-tls", "ehlo", "login", "sender"] {
                assert_eq!(examined.finding(check)["status"], "ok", "{title}: {}", examined.said);
            }
            secrets(story.directory.path()).text(&title, &examined.said);
        }
        assert_eq!(alone.findings.len(), asked.findings.len(), "{title}: {}\n{}", alone.said, asked.said);
        assert!(story.app().send().starts_with("250 "), "{title}");
        let (status, output) = daemon.stop();
        assert_eq!(status, Some(0), "{title}: {output}");
    }
}

#[test]
fn people_read_one_line_a_check_with_why_and_fix_below_and_a_summary() {
    let faults = [("smtp-auth-disabled", json!({}))];
    let story = Broken { faults: &faults, ..Broken::default() }.story();
    let (status, said) = story.command(&["doctor"]);
    assert_eq!(status, Some(1), "{said}");
    let at = |text: &str| said.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text:?}:\n{said}"));
    let login = at("failed       login");
    assert!(at("mailbox sandbox (link sandbox)") < login && at("link sandbox") < login, "{said}");
    assert_eq!([at("why: SMTP AUTH"), at("fix: in Exchange")], [login + 1, login + 2], "{said}");
    assert!(said.trim_end().ends_with("1 failed, 2 not checked"), "{said}");
}

#[test]
fn a_mailbox_that_works_again_is_let_go_at_once() {
    let story = queueing("microsoft", &[]);
    story.fault("smtp-auth-disabled", &json!({}));
    let daemon = story.start();
    keep(&story);
    daemon.logged("microsoft-smtp-auth-disabled", SOON);
    let held = examine(&story.config, &[], &[]);
    assert_eq!(held.finding("login")["status"], "failed", "{}", held.said);
    story.mend("smtp-auth-disabled");
    let freed = examine(&story.config, &["--mailbox", "sandbox"], &[]);
    assert_eq!(freed.status, Some(0), "{}", freed.said);
    let what = freed.finding("hold")["what"].as_str().map(str::to_owned).unwrap_or_default();
    assert!(what.contains("its mail is let go"), "{what}");
    // The first probe by itself would be a minute later.
    daemon.logged("\"event\":\"message.delivered\"", SOON);
}

#[test]
fn who_counts_logins_is_not_asked_for_another() {
    let story = queueing("google", &[]);
    story.import_grant();
    story.fault("too-many-logins", &json!({}));
    let daemon = story.start();
    keep(&story);
    daemon.logged("google-too-many-logins", SOON);
    let before = story.stat("login_attempts");
    let examined = examine(&story.config, &[], &[]);
    assert_eq!((examined.status, story.stat("login_attempts")), (Some(1), before), "{}", examined.said);
    let hold = examined.finding("hold");
    assert_eq!(
        (&hold["status"], &hold["advice_name"]),
        (&json!("failed"), &json!("google-too-many-logins")),
        "{}",
        examined.said
    );
    assert_eq!(examined.finding("login")["status"], "not-checked", "{}", examined.said);
}

#[test]
fn a_refresh_token_that_works_once_is_never_spent_twice() {
    let story = Broken { personality: "custom", options: &["--grant", "authorization-code"], ..Broken::default() }.story();
    let alone = examine(&story.config, &[], &[]);
    assert_eq!(alone.status, Some(0), "{}", alone.said);
    let daemon = story.start();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let examined = examine(&story.config, &[], &[]);
                assert_eq!(examined.finding("token")["status"], "ok", "{}", examined.said);
            });
        }
        assert!(story.app().send().starts_with("250 "), "{}", daemon.output());
    });
    assert_eq!(story.stat("refresh_token_reuses"), 0, "{}", daemon.output());
    let (status, output) = daemon.stop();
    assert_eq!(status, Some(0), "{output}");
    // What the daemon kept serves the next process.
    let alone = examine(&story.config, &[], &[]);
    assert_eq!((alone.status, story.stat("refresh_token_reuses")), (Some(0), 0), "{}", alone.said);
}

#[test]
fn an_answer_that_comes_late_is_waited_for_where_it_may_hold_a_refresh_token() {
    let story = Broken { personality: "custom", options: &["--grant", "authorization-code"], ..Broken::default() }.story();
    story.fault("token-server-slow", &json!({"milliseconds": 9000, "times": 1}));
    let late = examine(&story.config, &[], &[]);
    assert_eq!(late.finding("token")["status"], "failed", "{}", late.said);
    assert!(late.said.contains("waiting for the token endpoint"), "{}", late.said);
    // The replaced token would end the grant.
    let next = examine(&story.config, &[], &[]);
    assert_eq!((next.status, story.stat("refresh_token_reuses")), (Some(0), 0), "{}", next.said);
}

#[test]
fn a_message_is_sent_on_wish_alone() {
    let story = Broken { personality: "google", ..Broken::default() }.story();
    assert_eq!(examine(&story.config, &[], &[]).status, Some(0));
    assert_eq!(story.stat("messages"), 0, "nothing was to be sent");
    let daemon = story.start();
    let sent = examine(&story.config, &["--send", "team@example.org", "--from", "other@sandbox.example"], &[]);
    assert_eq!(sent.status, Some(0), "{}", sent.said);
    let what = sent.finding("delivery")["what"].as_str().unwrap_or_default();
    assert!(what.contains("other@sandbox.example to team@example.org was taken"), "{}", sent.said);
    assert_eq!(story.stat("messages"), 1, "{}", daemon.output());
    assert!(!sent.said.contains("sending-as-others"), "{}", sent.said);
}

#[test]
fn a_faulty_file_beside_a_running_daemon_is_told_with_what_the_daemon_finds() {
    let story = Story::new("microsoft", |text| text);
    let daemon = story.start();
    let good = fs::read_to_string(&story.config).expect("it can be read");
    fs::write(&story.config, format!("{good}\n[mailbox.other]\nlink = \"nobody\"\n")).expect("it can be written");
    let examined = examine(&story.config, &[], &[]);
    assert_eq!(examined.status, Some(78), "{}", examined.said);
    assert_eq!(examined.finding("configuration")["status"], "failed", "{}", examined.said);
    assert_eq!(examined.finding("sender")["status"], "ok", "{}", examined.said);
    drop(daemon);
}

#[test]
fn names_choose_what_is_examined_and_unknown_ones_are_told() {
    let second = "\n[mailbox.second]\nlink = \"sandbox\"\naddress = \"second@sandbox.example\"\nserver = \"127.0.0.1:9\"\ntls = \"starttls\"\n";
    let story = Story::new("microsoft", |text| format!("{text}{second}"));
    let mailboxes = |words: &[&str]| -> Vec<String> {
        let examined = examine(&story.config, words, &[]);
        let mut names: Vec<String> =
            examined.findings.iter().filter_map(|finding| finding["mailbox"].as_str().map(str::to_owned)).collect();
        names.dedup();
        names
    };
    assert_eq!(mailboxes(&["--mailbox", "second"]), ["second"]);
    assert_eq!(mailboxes(&["second"]), ["second"]);
    // A link and a mailbox may share a name: both are meant.
    assert_eq!(mailboxes(&["sandbox"]), ["sandbox", "second"]);
    assert_eq!(mailboxes(&["--mailbox", "sandbox"]), ["sandbox"]);
    assert_eq!(mailboxes(&["--link", "sandbox"]), ["sandbox", "second"]);
    assert_eq!(story.stat("tokens_given"), 5, "one token for a link's mailboxes together");
    for daemon in [None, Some(story.start())] {
        let (status, said) = story.command(&["doctor", "nobody"]);
        assert!(status == Some(1) && said.contains("sandbox, second"), "{:?} {status:?} {said}", daemon.is_some());
    }
    let (status, said) = story.command(&["doctor", "--from", "a@b.example"]);
    assert_eq!(status, Some(64), "{said}");
}

#[test]
fn nothing_secret_is_said_of_a_provider_that_is_not_ours() {
    for running in [false, true] {
        let mut world = World::new("authorization-code", "starttls", "post");
        let file = world.directory.path().join("grant");
        fs::write(&file, &world.refresh_token).expect("it can be written");
        let mut said = String::from("crowd ");
        for words in
            [&["grant", "import", "robot", "--file", file.to_str().expect("a name")][..], &["doctor"], &["doctor", "--json"]]
        {
            if running && words[0] == "doctor" && world.daemon.is_none() {
                world.daemon = Some(support::start_daemon(&world.config, world.directory.path(), &[]));
            }
            let mut command = outlink();
            command.args(words).arg("--config").arg(&world.config);
            let output = run(command, b"", SOON);
            said += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
            assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
        }
        assert!(said.contains("lets robot@example.com in"), "{said}");
        assert!(world.tokens("refresh_token") >= 2, "{said}");
        world.written += &said;
        world.expect_no_secret_said();
    }
}
