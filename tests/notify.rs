//! Hooks: what they are told when a link or a mailbox changes its state, by the real program. Webhooks are verified by the library of
//! Standard Webhooks in Node; commands write down what they read; mail arrives at the simulated provider.

mod support;

use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use support::{
    Program, SOON,
    hunt::Hunt,
    queued::{Mail, one_more_app, one_more_mailbox, queue, until},
    story::{App, Story},
};

/// As a receiver's page shows it; what signs is what its base64 says.
const SECRET: &str = "whsec_bWFya2VkLXdlYmhvb2stc2VjcmV0LTQ3MTE=";
const PLAIN: &str = "marked-plain-webhook-secret";

/// A provider with two mailboxes, `sandbox` and `other`, an app for each, and hooks.
fn story(hooks: impl Fn(&Path) -> String) -> Story {
    let place = tempfile::tempdir().expect("a temporary directory").keep();
    let hooks = hooks(&place);
    Story::new("microsoft", |text| {
        let text = one_more_app(one_more_mailbox(queue(text), "other"), "second", "mailbox = \"other\"");
        format!("{text}\n[mailbox.other.limits]\nmessages-per-minute = 0\n{hooks}\n")
    })
}

/// A program that appends the event, and the state that its environment tells, as one line of the file `NAME.told` in `place`.
fn recorder(place: &Path, name: &str, more: &str) -> String {
    script(place, name, &format!("read event || :\n{more}\necho \"$EVENT_STATE $event\" >> {}/{name}.told\n", place.display()))
}

fn script(place: &Path, name: &str, text: &str) -> String {
    let file = place.join(name);
    fs::write(&file, format!("#!/bin/sh\n{text}")).expect("it can be written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is ours");
    file.display().to_string()
}

/// What a [`recorder`] wrote: the events in their order.
fn told(command: &str) -> Vec<Value> {
    let text = fs::read_to_string(format!("{command}.told")).unwrap_or_default();
    let event = |line: &str| {
        let (state, event) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        let event: Value = serde_json::from_str(event).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(event["state"], state, "environment and JSON tell the same");
        event
    };
    text.lines().map(event).collect()
}

fn states(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["state"].as_str().expect("a state")).collect()
}

/// Holds a mailbox or releases it, and waits until that was told in the log.
fn pause(story: &Story, daemon: &Program, mailbox: &str, paused: bool) {
    let (verb, state) = if paused { ("hold", "paused") } else { ("release", "ready") };
    let texts = ["\"event\":\"mailbox.changed\"", &format!("\"mailbox\":\"{mailbox}\""), &format!("\"state\":\"{state}\"")];
    let before = daemon.count(&texts);
    story.good(&["queue", verb, "--mailbox", mailbox]);
    daemon.await_count(before + 1, &texts);
}

fn receiver() -> (Program, String) {
    let mut command = Command::new("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/webhook.mjs")).args([SECRET, PLAIN]);
    let mut receiver = Program::start(command);
    let ready = receiver.event("ready", SOON);
    (receiver, ready["address"].as_str().expect("an address").to_owned())
}

/// The requests to `path` so far.
fn posted(receiver: &Program, path: &str) -> Vec<Value> {
    receiver.events("hook").into_iter().filter(|hook| hook["path"] == path).collect()
}

#[test]
fn each_kind_of_hook_is_told_once_what_happened_why_and_what_to_do() {
    let (receiver, address) = receiver();
    let mut command = String::new();
    let story = {
        let command = &mut command;
        let cell = std::cell::RefCell::new(command);
        story(|place| {
            let program = recorder(place, "page", "");
            fs::write(place.join("secret"), format!("{SECRET}\n")).expect("it can be written");
            fs::set_permissions(place.join("secret"), fs::Permissions::from_mode(0o600)).expect("it is ours");
            fs::write(place.join("plain"), PLAIN).expect("it can be written");
            **cell.borrow_mut() = program.clone();
            format!(
                "[notify.page]\ncommand = [\"{program}\"]\nmailboxes = [\"sandbox\"]\n\
                 [notify.hook]\nurl = \"http://{address}/good?token=marked-in-the-url\"\nsecret = {{ file = \"{0}/secret\" }}\nproxy = \"none\"\n\
                 mailboxes = [\"sandbox\"]\n\
                 [notify.plain]\nurl = \"http://{address}/twice\"\nsecret = {{ file = \"{0}/plain\" }}\nproxy = \"none\"\n\
                 mailboxes = [\"sandbox\"]\nstates = [\"needs-repair\"]\n\
                 [notify.ops]\nto = [\"ops@example.org\", \"boss@example.org\"]\nmailbox = \"other\"\nmailboxes = [\"sandbox\"]\n",
                place.display()
            )
        })
    };
    let daemon = story.start();
    story.fault("smtp-auth-disabled", &json!({ "mailbox": "robot@sandbox.example" }));
    let mut app = story.app();
    app.queue(Mail { id: "waits", ..Mail::default() });
    daemon.await_count(4, &["\"event\":\"notify.sent\""]);

    let events = told(&command);
    assert_eq!(states(&events), ["needs-repair"]);
    let event = &events[0];
    for (field, value) in [("event", "mailbox.changed"), ("link", "sandbox"), ("mailbox", "sandbox"), ("before", "ready")] {
        assert_eq!(event[field], value, "{field}: {event}");
    }
    let text = |field: &str| event[field].as_str().unwrap_or_else(|| panic!("{field}: {event}")).to_owned();
    assert!(text("reason").contains("5.7.139") && text("advice").contains("Set-CASMailbox"), "{event}");
    assert!(text("text").contains(&text("reason")) && text("text").contains(&text("advice")), "{event}");
    assert_eq!((event["left_out"].as_u64(), event["until"].is_null()), (Some(0), true));

    let hooks = posted(&receiver, "/good");
    assert_eq!(hooks.len(), 1, "{hooks:?}");
    assert!(hooks[0]["verified"] == true && hooks[0]["type"] == "application/json", "{hooks:?}");
    assert_eq!(hooks[0]["body"], *event, "all are told the same");
    assert_eq!(hooks[0]["id"], event["id"]);
    let tries = posted(&receiver, "/twice");
    assert!(tries.len() == 3 && tries.iter().all(|hook| hook["verified"] == true && hook["id"] == event["id"]), "{tries:?}");

    let mail = story.with_subject("mailbox sandbox needs-repair");
    let hostname = text("host");
    assert_eq!(mail["to"], json!(["ops@example.org", "boss@example.org"]), "{mail}");
    let octets = String::from_utf8(story.octets(&mail)).expect("text");
    for line in [
        format!("Subject: [outlink {hostname}] mailbox sandbox needs-repair"),
        "From: \"outlink\" <other@sandbox.example>".into(),
        "To: <ops@example.org>, <boss@example.org>".into(),
        "Auto-Submitted: auto-generated".into(),
        "  outlink queue list --mailbox sandbox".into(),
    ] {
        assert!(octets.lines().any(|found| found == line), "{line}:\n{octets}");
    }
    assert!(octets.contains("5.7.139"), "{octets}");

    // Mended: told as well, by those that ask for all states.
    story.mend("smtp-auth-disabled");
    story.good(&["reload"]);
    daemon.await_count(7, &["\"event\":\"notify.sent\""]);
    assert_eq!(states(&told(&command)), ["needs-repair", "ready"]);
    story.with_subject("mailbox sandbox ready");
    assert_eq!(posted(&receiver, "/twice").len(), 3);
    story.with_subject("waits");

    // No trace of a secret.
    let hunt = Hunt::new([SECRET, PLAIN, "marked-webhook-secret-4711", "marked-in-the-url"]);
    hunt.process(daemon.id());
    hunt.directory(&story.directory.path().join("state"), &[]);
    let (status, output) = daemon.stop();
    assert_eq!(status, Some(0), "{output}");
    hunt.text("output", &output);
}

#[test]
fn a_flapping_mailbox_is_told_change_by_change_and_a_restart_tells_nothing_again() {
    let command = std::cell::RefCell::new(String::new());
    let story = story(|place| {
        *command.borrow_mut() = recorder(place, "page", "");
        format!("[notify.page]\ncommand = [\"{}\"]\n", command.borrow())
    });
    let command = command.into_inner();
    let daemon = story.start();
    for _ in 0..10 {
        pause(&story, &daemon, "sandbox", true);
        pause(&story, &daemon, "sandbox", false);
    }
    pause(&story, &daemon, "sandbox", true);
    until("21 runs", SOON, || told(&command).len() >= 21);
    let (status, output) = daemon.stop();
    assert_eq!(status, Some(0), "{output}");
    let daemon = story.start();
    // Whatever else would be told comes before this.
    pause(&story, &daemon, "other", true);
    until("the other one", SOON, || told(&command).iter().any(|event| event["mailbox"] == "other"));
    let events = told(&command);
    let expected: Vec<&str> = ["paused", "ready"].into_iter().cycle().take(21).chain(["paused"]).collect();
    assert_eq!(states(&events), expected);
    let ids: std::collections::BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), 22, "each with an id of its own");
    assert!(events.iter().all(|event| event["left_out"] == 0));
}

/// Resident octets of a process.
fn memory(program: &Program) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number") * 1024
}

#[test]
fn hooks_that_hang_hold_up_nobody() {
    let (receiver, address) = receiver();
    let commands = std::cell::RefCell::new((String::new(), String::new()));
    let story = story(|place| {
        let good = recorder(place, "good", "");
        // Reads nothing, and leaves a child that holds its pipes.
        let hangs = script(place, "hangs", &format!("echo $$ >> {}/hangs.pids\nsleep 1000 &\nsleep 1000\n", place.display()));
        let text = format!(
            "[notify.hangs]\ncommand = [\"{hangs}\"]\ntimeout = \"2s\"\n\
             [notify.never]\nurl = \"http://{address}/never\"\nsecret = \"{PLAIN}\"\nproxy = \"none\"\ntimeout = \"2s\"\n\
             [notify.good]\ncommand = [\"{good}\"]\n"
        );
        *commands.borrow_mut() = (good, hangs);
        text
    });
    let (good, hangs) = commands.into_inner();
    let daemon = story.start();
    let mut app = App::login(story.relay, "second", &story.password);
    app.queue(Mail { id: "first", ..Mail::default() });
    story.with_subject("first");
    let before = memory(&daemon);
    let begun = Instant::now();
    let flapping = std::thread::scope(|scope| {
        let flaps = scope.spawn(|| {
            for _ in 0..25 {
                pause(&story, &daemon, "sandbox", true);
                pause(&story, &daemon, "sandbox", false);
            }
            begun.elapsed()
        });
        for number in 0..50 {
            let sent = Instant::now();
            app.queue(Mail { id: &format!("m{number}"), ..Mail::default() });
            assert!(sent.elapsed() < Duration::from_secs(5), "message {number}");
        }
        story.with_subject("m49");
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        flaps.join().expect("it ends")
    });
    assert!(flapping < SOON * 2, "{flapping:?}");
    // The third hook was told of each change, in order, while the others hung.
    until("50 runs", SOON, || told(&good).len() >= 50);
    let expected: Vec<&str> = ["paused", "ready"].into_iter().cycle().take(50).collect();
    assert_eq!(states(&told(&good)), expected);
    // Those that hang were tried, one at a time, and what waits for them is told in one line when it is given up.
    let tried = posted(&receiver, "/never");
    assert!(!tried.is_empty() && tried.len() < 20, "{}", tried.len());
    let pids = fs::read_to_string(format!("{hangs}.pids")).expect("it ran");
    assert!(pids.lines().count() < 20, "{pids}");
    let grown = memory(&daemon).saturating_sub(before);
    assert!(grown < 32 << 20, "{} KiB more", grown >> 10);
    let of_hangs = |pids: &str| {
        let runs = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok();
        pids.lines().filter(runs).count()
    };
    assert!(of_hangs(&pids) <= 1, "killed, and no zombie left");
    let stopping = Instant::now();
    let (status, output) = daemon.stop();
    assert_eq!(status, Some(0), "{output}");
    assert!(stopping.elapsed() < Duration::from_secs(20), "{:?}", stopping.elapsed());
    assert!(output.contains("\"event\":\"notify.failed\"") || output.contains("tried again"), "{output}");
    until("the last one is gone", SOON, || of_hangs(&fs::read_to_string(format!("{hangs}.pids")).expect("it ran")) == 0);
}

#[test]
fn a_hook_that_fails_is_tried_again_and_then_given_up_in_one_line() {
    let (_receiver, address) = receiver();
    let commands = std::cell::RefCell::new(String::new());
    let story = story(|place| {
        // Fails the first time.
        let flaky = recorder(place, "flaky", "test -e $0.once || { touch $0.once; echo 'no route to the pager' >&2; exit 7; }");
        let text = format!(
            "[notify.flaky]\ncommand = [\"{flaky}\"]\n\
             [notify.refused]\nurl = \"http://{address}/refuse\"\nsecret = \"{PLAIN}\"\nproxy = \"none\"\nstates = [\"paused\"]\n"
        );
        *commands.borrow_mut() = flaky;
        text
    });
    let flaky = commands.into_inner();
    let daemon = story.start();
    pause(&story, &daemon, "sandbox", true);
    let line: Value = serde_json::from_str(&daemon.logged("\"event\":\"notify.failed\"", SOON)).expect("JSON");
    for (name, part) in
        [("hook", "refused"), ("mailbox", "sandbox"), ("state", "paused"), ("reason", "401"), ("advice", "secret")]
    {
        assert!(line[name].as_str().is_some_and(|text| text.contains(part)), "{name}: {line}");
    }
    until("the second try", SOON, || !told(&flaky).is_empty());
    let line: Value = serde_json::from_str(&daemon.logged("\"event\":\"notify.sent\"", SOON)).expect("JSON");
    assert_eq!((line["hook"].as_str(), line["tries"].as_u64()), (Some("flaky"), Some(2)), "{line}");
    pause(&story, &daemon, "sandbox", false);
    until("the next one", SOON, || told(&flaky).len() >= 2);
    assert_eq!(states(&told(&flaky)), ["paused", "ready"]);
    assert_eq!(daemon.count(&["\"event\":\"notify.failed\""]), 1, "{}", daemon.output());
}

#[test]
fn a_reload_takes_up_hooks_and_a_mailbox_does_not_tell_its_own_trouble() {
    let story = story(|place| {
        let first = recorder(place, "first", "");
        format!("[notify.page]\ncommand = [\"{first}\"]\n[notify.own]\nto = \"ops@example.org\"\nmailbox = \"sandbox\"\n")
    });
    let config = fs::read_to_string(&story.config).expect("it is there");
    let first =
        config.split("[notify.page]\ncommand = [\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a path").to_owned();
    let place = Path::new(&first).parent().expect("a directory");
    let second = recorder(place, "second", "");
    let daemon = story.start();
    pause(&story, &daemon, "sandbox", true);
    until("the first hook", SOON, || told(&first).len() == 1);
    story.reload(|text| text.replace("[notify.page]", "[notify.pager]").replace("/first\"", "/second\""));
    pause(&story, &daemon, "sandbox", false);
    until("the second hook", SOON, || told(&second).len() == 1);
    assert_eq!((states(&told(&first)), states(&told(&second))), (vec!["paused"], vec!["ready"]));
    // Its return is told through itself, its trouble is not.
    story.with_subject("mailbox sandbox ready");
    assert!(!story.subjects().iter().any(|subject| subject.contains("paused")), "{:?}", story.subjects());
    // Mail of hooks belongs to no app that a reload could miss.
    story.reload(|text| format!("{text}\n# again\n"));
    let (status, _) = story.command(&["queue", "list", "--json"]);
    assert_eq!(status, Some(0));
}

#[test]
fn a_hook_can_be_tried_while_the_daemon_runs_and_while_it_does_not() {
    let (receiver, address) = receiver();
    let story = story(|place| {
        let good = recorder(place, "good", "");
        let bad = script(place, "bad", "echo 'the modem is off' >&2\nexit 3\n");
        format!(
            "[notify.good]\ncommand = [\"{good}\"]\n[notify.bad]\ncommand = [\"{bad}\"]\n\
             [notify.hook]\nurl = \"http://{address}/good\"\nsecret = \"{SECRET}\"\nproxy = \"none\"\n\
             [notify.ops]\nto = \"ops@example.org\"\nmailbox = \"other\"\n"
        )
    });
    let (status, said) = story.command(&["notify", "test", "bad"]);
    assert!(status == Some(1) && said.contains("status 3 and said: the modem is off"), "{status:?} {said}");
    let said = story.good(&["notify", "test", "ops"]);
    assert!(said.contains("no daemon runs"), "{said}");
    let daemon = story.start();
    story.with_subject("test: mailbox");
    assert!(story.good(&["notify", "test", "good"]).contains("done after"));
    let answer = story.good(&["notify", "test", "hook", "--json"]);
    let trial: Value = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{answer}: {e}"));
    assert_eq!((trial["done"].as_bool(), trial["hook"].as_str(), trial["advice"].is_null()), (Some(true), Some("hook"), true));
    let hooks = posted(&receiver, "/good");
    assert!(hooks.len() == 1 && hooks[0]["verified"] == true && hooks[0]["body"]["test"] == true, "{hooks:?}");
    let (status, said) = story.command(&["notify", "test", "bad"]);
    assert!(status == Some(1) && said.contains("the modem is off") && said.contains("to do:"), "{status:?} {said}");
    let (status, said) = story.command(&["notify", "test", "nobody"]);
    assert!(status == Some(1) && said.contains("configured are bad, good, hook, ops"), "{status:?} {said}");
    assert_eq!(daemon.count(&["\"event\":\"notify.failed\"", "\"hook\":\"bad\""]), 1);
}
