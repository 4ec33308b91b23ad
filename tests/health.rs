//! How links and mailboxes stand, end to end: each state is reached by a fault of the provider and left again, told once, kept over a
//! restart, and shown by `health`, `status`, `link list` and systemd's status line.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};
use support::{
    LONG, Program, SOON,
    clock::{Clock, DAY, Passing},
    markdown::blocks,
    outlink,
    queued::{Mail, limits, one_more_app, one_more_mailbox, queue, until},
    story::{App, Story},
};

/// Every change that was told, as `event name state<before`.
fn told(daemon: &Program) -> Vec<String> {
    let lines = daemon.output();
    let parsed = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_change = |line: &Value| matches!(line["event"].as_str(), Some("mailbox.changed" | "link.changed"));
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    parsed
        .filter(is_change)
        .map(|line| {
            let event = word(&line, "event");
            let kind = event.split('.').next().unwrap_or_default();
            format!("{kind} {} {}<{}", word(&line, kind), word(&line, "state"), word(&line, "before"))
        })
        .collect()
}

/// Waits until just these changes were told, in whatever order those of one moment came.
fn await_told(daemon: &Program, expected: &[&str]) {
    let begun = Instant::now();
    while told(daemon).len() < expected.len() {
        assert!(begun.elapsed() < SOON, "{:?}, not {expected:?}\n{}", told(daemon), daemon.output());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(told(daemon), expected, "{}", daemon.output());
}

/// `outlink health --json`: exit status and answer.
fn health(story: &Story, names: &[&str]) -> (Option<i32>, Value) {
    let (status, said) = story.command(&[&["health", "--json"], names].concat());
    (status, serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}")))
}

/// How the link or mailbox of this name stands.
fn standing(story: &Story, mailbox: Option<&str>) -> Value {
    let (_, all) = health(story, &[]);
    let all = all["standings"].as_array().expect("a list");
    let found = all.iter().find(|it| it["mailbox"].as_str() == mailbox && (mailbox.is_some() || it["link"] == "sandbox"));
    found.unwrap_or_else(|| panic!("{mailbox:?} is not in {all:?}")).clone()
}

#[test]
fn a_flapping_provider_is_told_once_a_change_and_counted() {
    let story = Story::new("microsoft", |text| limits(queue(text), "messages-per-minute = 0"));
    let daemon = story.start();
    let mut app = story.app();
    let mut expected = Vec::new();
    for round in 0..10 {
        story.fault("busy", &json!({}));
        for number in 0..5 {
            app.queue(Mail { id: &format!("{round}-{number}"), ..Mail::default() });
        }
        expected.push("mailbox sandbox failing<ready");
        await_told(&daemon, &expected);
        story.mend("busy");
        expected.push("mailbox sandbox ready<failing");
        await_told(&daemon, &expected);
    }
    story.await_stat("messages", 50, &daemon);
    let status: Value = serde_json::from_str(&story.good(&["status", "--json"])).unwrap();
    assert_eq!(status["changes"], json!({"link.sandbox": {}, "mailbox.sandbox": {"failing": 10, "ready": 10}}), "{status}");
    assert_eq!(told(&daemon).len(), 20);
}

#[test]
fn each_fault_brings_its_state_and_leaves_with_it() {
    let of_mailbox = |state: &'static str| [format!("mailbox sandbox {state}<ready"), format!("mailbox sandbox ready<{state}")];
    for (personality, fault, state, advice) in [
        ("microsoft", "smtp-auth-disabled", "needs-repair", "microsoft-smtp-auth-disabled"),
        ("microsoft", "quota", "over-quota", "microsoft-quota"),
        ("microsoft", "too-many-logins", "failing", ""),
        ("google", "invalid-grant", "needs-consent", ""),
    ] {
        let story = Story::new(personality, queue);
        if personality == "google" {
            story.import_grant();
        }
        story.fault(fault, &json!({}));
        let daemon = story.start();
        let mut app = story.app();
        app.queue(Mail::default());
        let [begins, ends] = of_mailbox(state);
        await_told(&daemon, &[&begins]);
        let now = standing(&story, Some("sandbox"));
        assert_eq!(now["state"], state, "{fault}: {now}");
        assert!(now["since"].is_string() && now["reason"].is_string(), "{fault}: {now}");
        if !advice.is_empty() {
            assert!(now["advice_name"].as_str().is_some_and(|name| name.starts_with(advice)), "{fault}: {now}");
        }
        assert_eq!(standing(&story, None)["state"], "ready", "{fault} is the mailbox's alone");
        let (exit, said) = story.command(&["health"]);
        assert!(exit == Some(1) && said.starts_with(&format!("mailbox sandbox {state} for ")), "{fault}: {exit:?} {said}");
        story.mend(fault);
        match personality {
            "google" => story.import_grant(),
            _ => drop(story.good(&["queue", "release", "--mailbox", "sandbox"])),
        }
        await_told(&daemon, &[&begins, &ends]);
        let (exit, said) = story.command(&["health"]);
        assert!(exit == Some(0) && said.trim() == "ready: 1 link, 1 mailbox", "{fault}: {exit:?} {said}");
        story.await_stat("messages", 1, &daemon);
    }
}

/// Two mailboxes of one link, each with its app.
fn two_mailboxes(text: String) -> String {
    one_more_app(one_more_mailbox(queue(text), "second"), "other", "mailbox = \"second\"")
}

#[test]
fn trouble_of_the_client_is_the_links_and_trouble_of_one_mailbox_its_own() {
    let story = Story::new("microsoft", two_mailboxes);
    story.fault("client-secret-expired", &json!({}));
    let daemon = story.start();
    // Nobody sends: the renewal that is due at the start finds it.
    daemon.await_count(3, &["\"state\":\"needs-repair\""]);
    let mut found = told(&daemon);
    assert!(found[0].starts_with("link "), "the link first: {found:?}");
    found.sort();
    let expected = ["link sandbox", "mailbox sandbox", "mailbox second"].map(|it| format!("{it} needs-repair<ready"));
    assert_eq!(found, expected);
    let list = story.good(&["link", "list"]);
    assert_eq!(list.matches("to do: ").count(), 1, "what the link said is not said again: {list}");
    story.mend("client-secret-expired");
    story.reload(|text| text);
    daemon.await_count(3, &["\"state\":\"ready\"", "\"before\":\"needs-repair\""]);

    story.fault("smtp-auth-disabled", &json!({"mailbox": "second@sandbox.example"}));
    App::login(story.relay, "other", &story.password).queue(Mail { id: "held", ..Mail::default() });
    daemon.logged("microsoft-smtp-auth-disabled", SOON);
    let states = ["sandbox", "second"].map(|mailbox| standing(&story, Some(mailbox))["state"].clone());
    assert_eq!(states, [json!("ready"), json!("needs-repair")]);
    assert_eq!(standing(&story, None)["state"], "ready");
    story.app().queue(Mail { id: "flows", ..Mail::default() });
    story.with_subject("flows");
    // Asked for one of them alone.
    assert_eq!(health(&story, &["second"]).0, Some(1));
    let status: Value = serde_json::from_str(&story.good(&["status", "--json"])).unwrap();
    let states: Vec<_> = status["mailboxes"].as_array().unwrap().iter().map(|mailbox| &mailbox["state"]).collect();
    assert_eq!(states, ["ready", "needs-repair"], "{status}");
    assert_eq!(told(&daemon).len(), 7, "{:?}", told(&daemon));
}

#[test]
fn a_restart_keeps_since_when_and_is_no_news() {
    let story = Story::new("google", queue);
    story.import_grant();
    story.fault("invalid-grant", &json!({}));
    let daemon = story.start();
    await_told(&daemon, &["mailbox sandbox needs-consent<ready"]);
    let before = standing(&story, Some("sandbox"));
    let in_store = || {
        let database = rusqlite::Connection::open(story.directory.path().join("state/outlink.db")).unwrap();
        let sql = "SELECT state FROM standings WHERE subject = 'mailbox'";
        database.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap_or_default()
    };
    until("it is written", SOON, || in_store() == "needs-consent");
    daemon.kill();
    // A stopped daemon's states come from the store.
    let list: Value = serde_json::from_str(&story.good(&["link", "list", "--json"])).unwrap();
    let mailbox = &list["links"][0]["mailboxes"][0];
    assert_eq!((&mailbox["state"], &mailbox["since"]), (&before["state"], &before["since"]), "{list}");
    for _ in 0..2 {
        let asked = story.stat("token_requests");
        let daemon = story.start();
        let now = standing(&story, Some("sandbox"));
        assert_eq!([&now["state"], &now["since"]], [&before["state"], &before["since"]], "at once: {now}");
        story.await_stat("token_requests", asked + 1, &daemon);
        until("it was looked at", SOON, || standing(&story, Some("sandbox"))["next"].is_null());
        assert_eq!(told(&daemon), Vec::<String>::new(), "{}", daemon.output());
        daemon.kill();
    }
    // What was mended while nothing ran is found without any mail.
    story.mend("invalid-grant");
    story.import_grant();
    let daemon = story.start();
    await_told(&daemon, &["mailbox sandbox ready<needs-consent"]);
    assert_eq!(story.stat("mail_commands"), 0);
}

#[test]
fn what_failed_in_passing_is_found_mended_after_a_restart_without_mail() {
    let story = Story::new("microsoft", |text| queue(text).replace("retry = [\"1s\"]", "retry = [\"1h\"]"));
    let daemon = story.start();
    story.fault("busy", &json!({}));
    story.app().queue(Mail::default());
    await_told(&daemon, &["mailbox sandbox failing<ready"]);
    let (status, _) = daemon.stop();
    assert_eq!(status, Some(0));
    story.mend("busy");
    let daemon = story.start();
    await_told(&daemon, &["mailbox sandbox ready<failing"]);
    assert!(daemon.output().contains("\"seconds\":"), "{}", daemon.output());
}

#[test]
fn a_grant_that_dies_while_nobody_sends_is_told_by_the_background() {
    let story = Story::new("google", queue);
    story.import_grant();
    let mut clock = Clock::new(Passing::All, story.directory.path(), story.http, story.relay);
    let daemon = clock.start(&story.config, story.directory.path());
    daemon.logged("\"event\":\"token.renewed\"", SOON);
    assert_eq!(told(&daemon), Vec::<String>::new());
    story.fault("invalid-grant", &json!({}));
    clock.forward(DAY + DAY / 24);
    await_told(&daemon, &["mailbox sandbox needs-consent<ready"]);
    assert_eq!(story.stat("mail_commands"), 0);
}

#[test]
fn an_operators_hold_is_a_state_and_a_removed_mailbox_has_none() {
    let story = Story::new("microsoft", two_mailboxes);
    let daemon = story.start();
    story.good(&["queue", "hold", "--mailbox", "second"]);
    await_told(&daemon, &["mailbox second paused<ready"]);
    let (exit, all) = health(&story, &[]);
    assert_eq!((exit, &all["healthy"]), (Some(0), &json!(true)), "a hold is meant: {all}");
    assert!(standing(&story, Some("second"))["advice"].as_str().is_some_and(|advice| advice.contains("queue release")));
    daemon.kill();
    let daemon = story.start();
    story.good(&["queue", "release", "--mailbox", "second"]);
    await_told(&daemon, &["mailbox second ready<paused"]);
    story.reload(|text| {
        let text = text.replace("mailbox = \"second\"", "mailbox = \"sandbox\"");
        let (before, after) = text.split_once("[mailbox.second]").expect("it is there");
        let rest = after.find("\n[").map_or("", |at| &after[at..]);
        format!("{before}{rest}")
    });
    let (_, all) = health(&story, &[]);
    assert_eq!(all["standings"].as_array().map(Vec::len), Some(2), "{all}");
    let status: Value = serde_json::from_str(&story.good(&["status", "--json"])).unwrap();
    assert!(status["changes"].get("mailbox.second").is_none(), "{status}");
}

#[test]
fn monitoring_reads_exit_status_and_fields() {
    let story = Story::new("microsoft", queue);
    let (exit, said) = story.command(&["health"]);
    assert!(exit == Some(69) && said.contains("no daemon answers"), "{exit:?} {said}");
    let daemon = story.start();
    let (exit, all) = health(&story, &[]);
    assert_eq!((exit, &all["healthy"]), (Some(0), &json!(true)));
    let fields = ["advice", "advice_name", "link", "mailbox", "next", "reason", "since", "state", "until"];
    for stands in all["standings"].as_array().expect("a list") {
        let mut keys: Vec<&str> = stands.as_object().expect("an object").keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, fields, "{stands}");
    }
    let (exit, said) = story.command(&["health", "elsewhere"]);
    assert!(exit == Some(1) && said.contains("no link and no mailbox elsewhere"), "{exit:?} {said}");
    story.fault("smtp-auth-disabled", &json!({}));
    story.app().queue(Mail::default());
    daemon.logged("\"event\":\"mailbox.changed\"", SOON);
    let (exit, all) = health(&story, &["sandbox"]);
    assert_eq!((exit, &all["healthy"]), (Some(1), &json!(false)));
    for command in [["link", "list", "--json"].as_slice(), &["mailbox", "list", "--json"], &["status", "--json"]] {
        let value: Value = serde_json::from_str(&story.good(command)).unwrap();
        let mailbox = if command[0] == "link" { &value["links"][0]["mailboxes"][0] } else { &value["mailboxes"][0] };
        for field in ["state", "reason", "advice", "advice_name", "since"] {
            assert_eq!(mailbox[field], standing(&story, Some("sandbox"))[field], "{command:?}: {value}");
        }
    }
}

/// The next status that systemd hears of which `wanted` holds.
fn await_status(socket: &UnixDatagram, wanted: &str, daemon: &Program) -> String {
    let (begun, mut last, mut octets) = (Instant::now(), String::new(), [0; 4096]);
    loop {
        assert!(begun.elapsed() < LONG, "no status with {wanted:?}; the last was {last:?}\n{}", daemon.output());
        let length = socket.recv(&mut octets).unwrap_or_else(|e| panic!("{wanted}: {e}; the last status was {last:?}"));
        let text = String::from_utf8_lossy(&octets[..length]).into_owned();
        if let Some(status) = text.lines().find_map(|line| line.strip_prefix("STATUS=")) {
            if status.contains(wanted) {
                return status.to_owned();
            }
            last = status.to_owned();
        }
    }
}

fn start_under(socket: &Path, story: &Story) -> Program {
    let mut command = outlink();
    command.args(["run", "--config"]).arg(&story.config).env("NOTIFY_SOCKET", socket);
    Program::start(command)
}

#[test]
fn systemds_status_line_follows_the_states() {
    let story = Story::new("microsoft", two_mailboxes);
    let path = story.directory.path().join("systemd");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let daemon = start_under(&path, &story);
    let line = await_status(&socket, "2 mailboxes ready", &daemon);
    assert!(line.contains("listening: ") && !line.contains("link sandbox"), "{line}");
    story.fault("smtp-auth-disabled", &json!({}));
    story.app().queue(Mail::default());
    let line = await_status(&socket, "1 of 2 mailboxes ready", &daemon);
    assert!(line.contains("; sandbox needs-repair since 20") && line.chars().count() < 600, "{line}");
    story.mend("smtp-auth-disabled");
    story.good(&["queue", "release", "--mailbox", "sandbox"]);
    await_status(&socket, "2 mailboxes ready", &daemon);
}

#[test]
fn what_the_manual_gives_to_monitoring_programs_runs() {
    let story = Story::new("microsoft", |text| {
        queue(text).replace("mailbox.sandbox", "mailbox.alerts").replace("mailbox = \"sandbox\"", "mailbox = \"alerts\"")
    });
    let tools = story.directory.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    let (program, config) = (outlink().get_program().to_owned(), &story.config);
    let text = format!("#!/bin/sh\nexec '{}' \"$@\" --config '{}'\n", program.display(), config.display());
    std::fs::write(tools.join("outlink"), text).unwrap();
    std::fs::set_permissions(tools.join("outlink"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let shell = |line: &str| {
        let mut command = outlink_shell(&path);
        command.args(["-c", line]);
        let output = support::run(command, b"", SOON);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let blocks = blocks("monitoring.md");
    let lines = |language: &str| {
        let of = blocks.iter().filter(|block| block.language == language);
        of.flat_map(|block| block.lines.clone()).collect::<Vec<String>>()
    };
    let [all, one, json, nagios, cron] = <[String; 5]>::try_from(lines("sh")).unwrap();
    let zabbix = lines("ini")[0].split_once(',').unwrap().1.to_owned();
    assert_eq!([&all, &json, &nagios].map(|line| shell(line).0), [Some(69), Some(69), Some(2)], "no daemon");
    let daemon = story.start();
    assert_eq!(shell(&all), (Some(0), "ready: 1 link, 1 mailbox\n".to_owned()));
    assert_eq!(shell(&nagios), shell(&all));
    assert_eq!((shell(&one).0, shell(&cron)), (Some(0), (Some(0), String::new())));
    assert_eq!(serde_json::from_str::<Value>(&shell(&zabbix).1).unwrap()["healthy"], true);
    story.fault("smtp-auth-disabled", &json!({}));
    story.app().queue(Mail::default());
    daemon.logged("\"event\":\"mailbox.changed\"", SOON);
    let (status, said) = shell(&nagios);
    assert!(status == Some(2) && said.starts_with("mailbox alerts needs-repair for "), "{status:?} {said}");
    assert_eq!((shell(&all).0, shell(&one).0, shell(&json).0), (Some(1), Some(1), Some(1)));
    assert!(shell(&cron).1.starts_with("mailbox alerts needs-repair for "));
    assert_eq!(serde_json::from_str::<Value>(&shell(&zabbix).1).unwrap()["healthy"], false);
}

/// A shell in which `outlink` is the one under test.
fn outlink_shell(path: &str) -> std::process::Command {
    let mut command = std::process::Command::new("/bin/sh");
    command.env("PATH", path);
    command
}
