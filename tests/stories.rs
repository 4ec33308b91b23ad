//! `outlink run` beside a simulated provider that misbehaves: what apps hear, what the provider sees, what the log says.

mod support;

use serde_json::{Value, json};
use std::{fs, path::Path, thread, time::Instant};
use support::{
    SOON, free_port, http, outlink, run,
    story::{App, Story, command, id, logged},
};

#[test]
fn each_personality_delivers_and_one_id_runs_through_reply_log_and_received() {
    for personality in ["google", "microsoft", "custom"] {
        let story = Story::new(personality, |text| text);
        let daemon = story.start();
        if fs::metadata(story.directory.path().join("grant")).is_ok() {
            story.import_grant();
        }
        let reply = story.app().send();
        assert!(reply.starts_with("250 2.0.0 "), "{personality}: {reply}\n{}", daemon.output());
        let accepted = logged(&daemon, "message.accepted", id(&reply));
        let delivered = logged(&daemon, "message.delivered", id(&reply));
        for field in ["app", "mailbox", "link", "client", "from", "bytes"] {
            assert_eq!(accepted[field], delivered[field], "{personality}: {field}");
            assert!(!accepted[field].is_null(), "{personality}: {field} is missing in {accepted}");
        }
        let octets = String::from_utf8(http(story.http, "GET", "/received/1", "").1).expect("text");
        assert!(octets.starts_with("Received: from app.example ") && octets.contains(&format!("with ESMTPA id {}", id(&reply))));
        let (status, output) = daemon.stop();
        assert_eq!(status, Some(0), "{output}");
        for line in output.lines().filter(|line| !line.is_empty()) {
            serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("no JSON: {line}: {e}"));
        }
    }
}

#[test]
fn a_refused_token_is_renewed_once_however_many_messages_find_it_refused() {
    // With one message a connection, each message logs in, and meets the refusal.
    let story = Story::new("custom", |text| format!("{text}\n[mailbox.sandbox.limits]\nmessages-per-connection = 1\n"));
    let _daemon = story.start();
    assert!(story.app().send().starts_with("250 "));
    let before = story.stat("token_requests");
    story.fault("expired-token", &json!({}));
    let senders: Vec<_> = (0..10)
        .map(|_| {
            let mut app = story.app();
            thread::spawn(move || app.send())
        })
        .collect();
    for sender in senders {
        let reply = sender.join().expect("a sender ends");
        assert!(reply.starts_with("250 "), "{reply}");
    }
    assert_eq!(story.stat("token_requests"), before + 1);
    assert!(story.stat("login_failures") >= 1, "the old token was refused");
}

#[test]
fn a_disabled_mailbox_is_left_alone_until_a_person_acts() {
    let story = Story::new("microsoft", |text| text);
    story.fault("smtp-auth-disabled", &json!({}));
    let daemon = story.start();
    let mut app = story.app();
    let first = app.send();
    assert!(first.starts_with("451 4.3.0 "), "{first}");
    let line = daemon.logged("mailbox.changed", SOON);
    assert!(line.contains("\"state\":\"needs-repair\"") && line.contains("SmtpClientAuthenticationDisabled $false"), "{line}");
    let logins = story.stat("logins") + story.stat("login_failures");
    for _ in 0..20 {
        let said = app.say("MAIL FROM:<robot@sandbox.example>");
        assert!(said.starts_with("451 4.3.0 "), "at MAIL, without asking the provider again: {said}");
    }
    assert_eq!(story.stat("logins") + story.stat("login_failures"), logins);
    assert_eq!(daemon.output().matches("mailbox.changed").count(), 1, "said once");
    let (_, status) = story.command(&["status"]);
    assert!(status.contains("needs-repair for") && status.contains("Set-CASMailbox"), "{status}");
    story.mend("smtp-auth-disabled");
    assert_eq!(story.command(&["reload"]).0, Some(0));
    let mended = app.send();
    assert!(mended.starts_with("250 "), "{mended}");
    let line = daemon.logged("\"state\":\"ready\"", SOON);
    assert!(line.contains("mailbox.changed"), "{line}");
}

#[test]
fn the_end_of_an_apps_wait_is_not_the_end_of_the_message() {
    let story = Story::new("custom", |text| text.replace("delivery = ", "direct-wait = \"1s\"\ndelivery = "));
    let daemon = story.start();
    assert!(story.app().send().starts_with("250 "), "warm");
    // Each reply takes its time, the message itself goes out with its envelope: the provider has it when the wait ends.
    story.fault("round-trip", &json!({"milliseconds": 1500}));
    let reply = story.app().send();
    assert!(reply.starts_with("451 4.4.7 "), "{reply}");
    let late = daemon.logged(&format!("\"event\":\"message.delivered\",\"id\":\"{}\"", id(&reply)), SOON);
    assert!(late.contains("\"late\":true"), "{late}");
    assert_eq!(story.stat("messages"), 2);
}

#[test]
fn a_wait_that_ends_before_the_last_octet_delivers_nothing() {
    let story = Story::new("custom", |text| text.replace("delivery = ", "direct-wait = \"1s\"\ndelivery = "));
    story.fault("round-trip", &json!({"milliseconds": 1500}));
    let daemon = story.start();
    let reply = story.app().send();
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");
    daemon.logged("nothing was delivered", SOON);
    assert_eq!(story.stat("messages"), 0);
}

#[test]
fn a_stop_waits_for_the_verdict_and_a_kill_leaves_nothing_in_the_way() {
    let story = Story::new("custom", |text| text);
    let daemon = story.start();
    story.fault("round-trip", &json!({"milliseconds": 300}));
    let mut app = story.app();
    for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<team@example.org>", "DATA"] {
        app.say(line);
    }
    let waiting = thread::spawn(move || app.say("Subject: last\r\n\r\nbye\r\n."));
    daemon.logged("message.accepted", SOON);
    let (status, output) = daemon.stop();
    assert_eq!(status, Some(0), "{output}");
    let reply = waiting.join().expect("the app ends");
    assert!(reply.starts_with("250 "), "{reply}");

    story.mend("round-trip");
    drop(story.start()); // Killed: its socket and its lock stay behind.
    let _daemon = story.start();
    assert!(story.app().send().starts_with("250 "));
    assert_eq!(story.command(&["status"]).0, Some(0));
}

#[test]
fn a_second_daemon_is_refused_and_a_taken_port_is_named() {
    let story = Story::new("custom", |text| text);
    let _daemon = story.start();
    let (status, said) = story.command(&["run"]);
    assert!(status != Some(0) && said.contains("is in use by process"), "{status:?} {said}");
    let other = story.directory.path().join("other.toml");
    let text = fs::read_to_string(&story.config).expect("it is there");
    fs::write(&other, text.replace("/state\"", "/other-state\"")).expect("it can be written");
    let (status, said) = command(&["run"], &other);
    assert!(status == Some(69) && said.contains("listener.local.bind"), "{status:?} {said}");
    let mut sandbox = outlink();
    sandbox.args(["sandbox", "--port-smtp", "0", "--port-http", "0", "--port-relay", &story.relay.port().to_string()]);
    let output = run(sandbox, b"", SOON);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(69) && said.contains("--port-relay") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_reload_takes_up_apps_and_a_faulty_file_changes_nothing() {
    let story = Story::new("custom", |text| text);
    let daemon = story.start();
    let text = fs::read_to_string(&story.config).expect("it is there");
    let hash = text.lines().find_map(|line| line.strip_prefix("password = ")).expect("the app's hash");
    fs::write(&story.config, format!("{text}\n[app.second]\npassword = {hash}\nmailbox = \"sandbox\"\n")).expect("written");
    assert_eq!(story.command(&["reload"]).0, Some(0));
    assert!(App::login(story.relay, "second", &story.password).send().starts_with("250 "));

    fs::write(&story.config, format!("{text}\n[app.third]\nmailbox = \"nowhere\"\n")).expect("written");
    let (status, said) = story.command(&["reload"]);
    assert!(status == Some(78) && said.contains("app.third.mailbox"), "{status:?} {said}");
    assert_eq!(story.command(&["status"]).0, Some(0), "a daemon is reached whatever its file says now");
    daemon.signal("HUP");
    daemon.logged("the old settings stay", SOON);
    assert!(App::login(story.relay, "second", &story.password).send().starts_with("250 "));

    fs::write(&story.config, &text).expect("written");
    assert_eq!(story.command(&["reload"]).0, Some(0));
    let said = App::connect(story.relay).auth("second", &story.password);
    assert!(said.starts_with("535 5.7.8 "), "a removed app's remembered login has ended: {said}");
    daemon.logged("\"event\":\"auth.failed\",\"client\":\"127.0.0.1\"", SOON);
    assert_eq!(story.command(&["stop"]).0, Some(0));
}

#[test]
fn commands_say_what_is_wrong_by_their_exit_status() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("outlink.toml");
    let state = directory.path().join("state");
    let good = format!(
        "state-directory = {state:?}\n[listener.local]\nbind = \"127.0.0.1:{}\"\n[link.l]\nprovider = \"custom\"\ngrant = \"client-credentials\"\n\
         client-id = \"id\"\nclient-secret = {{ env = \"SECRET\" }}\nscopes = [\"mail\"]\ntoken-endpoint = \"https://login.example.com/token\"\n\
         [mailbox.m]\nlink = \"l\"\naddress = \"m@example.com\"\nserver = \"smtp.example.com:587\"\n\
         [app.a]\nnetworks = [\"127.0.0.1\"]\nmailbox = \"m\"\n",
        free_port()
    );
    fs::write(&file, format!("{good}[log]\nformat = \"journald\"\n")).expect("written");
    let mut check = outlink();
    check.env("SECRET", "x").args(["check", "--config"]).arg(&file);
    let output = run(check, b"", SOON);
    assert_eq!(output.status.code(), Some(0), "notes alone are good: {output:?}");

    fs::write(&file, "[listener.local]\nbind = \"nonsense\"\ncolour = \"red\"\n[app.a]\nmailbox = \"none\"\n").expect("written");
    let (status, said) = command(&["check"], &file);
    assert_eq!(status, Some(78));
    for part in ["outlink.toml:2:", "listener.local.bind", "outlink.toml:3:", "colour = \"red\"", "app.a.mailbox"] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    let (status, said) = command(&["check", "--json"], &file);
    let faults: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{said}: {e}"));
    assert!(status == Some(78) && faults.as_array().is_some_and(|faults| faults.len() >= 3), "{said}");
    fs::write(&file, good.replace("{ env = \"SECRET\" }", "\"x\"")).expect("written");
    assert_eq!(command(&["status"], &file).0, Some(69), "no daemon runs");
    let mut unknown = outlink();
    unknown.arg("nonsense");
    assert_eq!(run(unknown, b"", SOON).status.code(), Some(64));
}

#[test]
fn a_browser_is_shown_the_door() {
    let story = Story::new("custom", |text| text);
    let daemon = story.start();
    let mut app = App::connect(story.relay);
    let said = app.say("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nMAIL FROM:<a@b>");
    assert!(said.starts_with("500 "), "{said}");
    assert_eq!(app.reply(), "", "the connection is closed");
    daemon.logged("\"event\":\"session.refused\"", SOON);
}

#[test]
fn a_sender_that_is_not_allowed_is_refused_by_envelope_and_by_header() {
    let rules = "allowed-from = [\"robot@sandbox.example\"]\nwhen-from-differs = \"refuse\"\n";
    let story = Story::new("custom", |text| text.replace("[mailbox.sandbox]\n", &format!("[mailbox.sandbox]\n{rules}")));
    let daemon = story.start();
    let mut app = story.app();
    let said = app.say("MAIL FROM:<other@sandbox.example>");
    assert!(said.starts_with("550 5.7.1 ") && said.contains("other@sandbox.example"), "{said}");
    for (from, expected) in [
        ("From: other@sandbox.example\r\n", "550 5.7.1 "),
        // What is missing is added, by the envelope's sender.
        ("", "250 "),
        ("From: Robot <robot@sandbox.example>\r\n", "250 "),
    ] {
        for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<team@example.org>", "DATA"] {
            app.say(line);
        }
        let said = app.say(&format!("{from}Subject: story\r\n\r\nHello.\r\n."));
        assert!(said.starts_with(expected), "{from}: {said}");
        if expected.starts_with("550") {
            logged(&daemon, "message.refused", id(&said));
        }
    }
    assert_eq!(story.stat("messages"), 2);
}

#[test]
fn an_imported_grant_mends_its_mailbox_at_once() {
    let story = Story::new("google", |text| text);
    story.fault("invalid-grant", &json!({}));
    let daemon = story.start();
    story.import_grant();
    let mut app = story.app();
    let first = app.send();
    assert!(first.starts_with("451 4.3.0 "), "{first}");
    let refusals = story.stat("token_refusals");
    for _ in 0..5 {
        let said = app.send();
        assert!(said.starts_with("451 4.3.0 "), "{said}");
    }
    assert_eq!(story.stat("token_refusals"), refusals, "only a new consent helps, so nobody asks again");
    let (_, status) = story.command(&["status"]);
    assert!(status.contains("needs-consent") && status.contains("to do:"), "{status}");
    story.mend("invalid-grant");
    story.import_grant();
    let mended = app.send();
    assert!(mended.starts_with("250 "), "{mended}\n{}", daemon.output());
}

#[test]
fn a_mailbox_over_its_rate_hears_451_and_nothing_is_lost_or_doubled() {
    // Once by our own count of Exchange's 30 a minute, once by the provider's.
    for limit in ["30", "0"] {
        let story = Story::with("microsoft", &["--limits"], |text| {
            let text = text.replace("delivery = ", "direct-wait = \"1s\"\ndelivery = ");
            format!("{text}\n[mailbox.sandbox.limits]\nmessages-per-minute = {limit}\n")
        });
        let daemon = story.start();
        let (mut app, mut taken) = (story.app(), 0);
        let refused = loop {
            let said = app.send();
            if !said.starts_with("250 ") {
                break said;
            }
            taken += 1;
            assert!(taken < 60, "the limit never struck");
        };
        assert!(refused.starts_with("451 4.3.0 "), "{refused}\n{}", daemon.output());
        assert!(taken >= 30 && (limit == "0" || taken == 30), "{taken}");
        assert_eq!(story.stat("messages"), taken);
        if limit == "30" {
            daemon.logged("limits.messages-per-minute of the mailbox is reached", SOON);
        }
    }
}

#[test]
fn a_removed_app_sends_nothing_more_on_its_open_connection() {
    let story = Story::new("custom", |text| text);
    let _daemon = story.start();
    let text = fs::read_to_string(&story.config).expect("it is there");
    let mut app = story.app();
    assert!(app.send().starts_with("250 "));
    fs::write(&story.config, text.replace("[app.sandbox]", "[app.successor]")).expect("written");
    assert_eq!(story.command(&["reload"]).0, Some(0));
    let said = app.send();
    assert!(said.starts_with("530 5.7.0 "), "{said}");
    assert!(App::login(story.relay, "successor", &story.password).send().starts_with("250 "));
}

#[test]
fn stop_lets_idle_apps_go_and_then_nobody_answers() {
    let story = Story::new("custom", |text| text);
    let daemon = story.start();
    let mut idle = App::connect(story.relay);
    let (status, said) = story.command(&["stop"]);
    assert_eq!(status, Some(0), "{said}");
    let farewell = idle.reply();
    assert!(farewell.starts_with("421 4."), "{farewell}");
    assert_eq!(idle.reply(), "", "the connection is closed");
    let (status, output) = daemon.ended();
    assert_eq!(status, Some(0), "{output}");
    for word in ["status", "reload", "stop"] {
        let (status, said) = story.command(&[word]);
        assert_eq!(status, Some(69), "{word}: {said}");
        assert!(said.contains("no daemon answers") && said.contains("start it"), "{word}: {said}");
    }
}

#[test]
fn nobody_else_reads_what_the_daemon_keeps() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let story = Story::new("google", |text| text);
    let _daemon = story.start();
    story.import_grant();
    assert!(story.app().send().starts_with("250 "));
    let state = story.directory.path().join("state");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&state) & 0o007, 0, "{:o}", mode(&state));
    let mut files = vec![state];
    while let Some(path) = files.pop() {
        let kind = fs::metadata(&path).expect("it is there").file_type();
        if kind.is_dir() {
            files.extend(fs::read_dir(&path).expect("it can be read").map(|entry| entry.expect("an entry").path()));
        } else {
            let most = if kind.is_socket() { 0o660 } else { 0o600 };
            assert_eq!(mode(&path) & !most, 0, "{} has mode {:o}", path.display(), mode(&path));
        }
    }
}

#[test]
fn a_slow_token_server_ends_the_wait_with_nothing_delivered() {
    let story = Story::new("custom", |text| text.replace("delivery = ", "direct-wait = \"1s\"\ndelivery = "));
    story.fault("token-server-slow", &json!({"milliseconds": 3000}));
    let daemon = story.start();
    let reply = story.app().send();
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");
    daemon.logged("nothing was delivered", SOON);
    story.mend("token-server-slow");
    // The one renewal under way goes on; what waits for it next is served by it.
    let mut later = story.app();
    let deadline = Instant::now() + SOON;
    while later.send().starts_with("451 4.3.0 ") {
        assert!(Instant::now() < deadline, "no token came:\n{}", daemon.output());
    }
    assert_eq!((story.stat("messages"), story.stat("token_requests")), (1, 1));
}

#[test]
fn the_providers_limit_of_connections_is_a_passing_trouble_for_the_app() {
    let limits = "\n[mailbox.sandbox.limits]\nconnections = 8\n";
    let story = Story::with("microsoft", &["--limits"], |text| format!("{text}{limits}"));
    let daemon = story.start();
    assert!(story.app().send().starts_with("250 "));
    story.fault("round-trip", &json!({"milliseconds": 300}));
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let mut app = story.app();
            thread::spawn(move || app.send())
        })
        .collect();
    let replies: Vec<String> = senders.into_iter().map(|sender| sender.join().expect("a sender ends")).collect();
    let sent = replies.iter().filter(|reply| reply.starts_with("250 ")).count();
    let later = replies.iter().filter(|reply| reply.starts_with("451 4.3.0 ")).count();
    assert!(sent >= 1 && later >= 1 && sent + later == 8, "{replies:#?}");
    assert_eq!(story.stat("messages"), 1 + sent as u64, "what heard 451 was not delivered");
    assert!(daemon.output().contains("432 4.3.2"), "{}", daemon.output());
}
