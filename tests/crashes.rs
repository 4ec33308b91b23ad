//! The daemon ends at each named step of its work (`src/crash.rs`), or is killed while somebody waits, and is started again: nothing
//! accepted is lost, and only a message whose final reply was on its way can come twice.

mod support;

use serde_json::json;
use std::{os::unix::fs::PermissionsExt, path::Path};
use support::{
    LONG, Program, SOON,
    letters::{Client, LARGE, Letter, await_that, queueing},
    login::{Login, browse, grant},
    story::Story,
};

/// SMTP to the app as it comes about: `Err` is the end of the daemon.
type Heard = std::io::Result<String>;

fn is_accepted(heard: &Heard) -> bool {
    heard.as_ref().is_ok_and(|reply| reply.starts_with("250 "))
}

/// Waits until the process has ended at its step.
fn await_death(daemon: Program, step: &str) {
    let (status, output) = daemon.ended();
    assert_eq!(status, None, "{step}: it did not end as by a signal:\n{output}");
}

/// Sends one letter to a daemon that dies at `step`, starts it again, and gives what the app heard and how often the letter arrived.
fn through_a_crash(story: &Story, step: &str, letter: &Letter) -> (Heard, u64) {
    let daemon = story.start_to_die_at(step);
    let heard = Client::login(story).and_then(|mut client| client.submit(letter));
    await_death(daemon, step);
    let daemon = story.start();
    let arrived = story.drained(&daemon, LONG);
    assert_eq!(daemon.stop().0, Some(0), "{step}");
    (heard, arrived.get(&letter.id).copied().unwrap_or(0))
}

/// Holds what goes out before its MAIL is answered, so that the app has its `250` first; gives what it was answered.
fn accept_and_hold(story: &Story, letters: &[Letter]) {
    story.fault("silent-at-mail", &json!({}));
    let mut client = Client::login(story).expect("a login");
    for letter in letters {
        let reply = client.submit(letter);
        assert!(is_accepted(&reply), "{reply:?}");
    }
}

fn letters(count: usize) -> Vec<Letter> {
    (0..count).map(|number| Letter::new(&number.to_string(), if number % 2 == 0 { 1_000 } else { LARGE })).collect()
}

/// The files that are left of bodies.
fn files(story: &Story) -> usize {
    let count = |name: &str| std::fs::read_dir(story.state().join(name)).expect("it can be listed").count();
    count("bodies") + count("spool")
}

/// One connection to the provider, so that one message is on its way at a time, and a short wait before a message's next attempt.
fn lonely(text: String) -> String {
    format!("{text}\n[queue]\nminimum-free = \"0 B\"\nretry = [\"1s\"]\n[mailbox.sandbox.limits]\nconnections = 1\n")
}

#[test]
fn until_the_commit_nothing_is_promised_and_nothing_is_left_behind() {
    let story = queueing("custom", &[], |text| text);
    for step in ["body-synced", "body-renamed", "body-kept", "uncommitted"] {
        for (size, octets, chunks) in [("small", 1_000, false), ("large", LARGE, false), ("large-in-chunks", LARGE, true)] {
            if size == "small" && ["body-synced", "body-renamed"].contains(&step) {
                continue;
            }
            let letter = Letter { chunks, ..Letter::new(&format!("{step}-{size}"), octets) };
            let (heard, arrived) = through_a_crash(&story, step, &letter);
            assert!(heard.is_err(), "{step}, {size}: {heard:?}");
            assert_eq!((arrived, files(&story)), (0, 0), "{step}, {size}");
        }
    }
}

#[test]
fn what_is_committed_is_delivered_even_if_its_250_was_never_said() {
    let story = queueing("custom", &[], |text| text);
    for step in ["committed", "before-250"] {
        for octets in [1_000, LARGE] {
            let letter = Letter::new(&format!("{step}-{octets}"), octets);
            let (heard, arrived) = through_a_crash(&story, step, &letter);
            assert!(heard.is_err(), "{step}, {octets}: {heard:?}");
            assert_eq!((arrived, files(&story)), (1, 0), "{step}, {octets}");
            assert!(story.sizes()[&letter.id] >= octets as u64, "{step}: the whole body");
        }
    }
}

#[test]
fn an_app_killed_off_amid_a_message_was_promised_nothing() {
    let story = queueing("custom", &[], |text| text);
    for place in ["MAIL", "DATA", "large DATA", "BDAT", "large BDAT"] {
        let (before, amid) = (Letter::new(&format!("before-{place}").replace(' ', "-"), LARGE), Letter::new("amid", 2 * LARGE));
        story.fault("silent-at-mail", &json!({}));
        let daemon = story.start();
        let mut client = Client::login(&story).expect("a login");
        assert!(is_accepted(&client.submit(&before)));
        assert_eq!(client.envelope(&amid).expect("an answer"), None);
        let text = amid.text();
        let part = &text[..if place.starts_with("large") { LARGE + LARGE / 2 } else { 100 }];
        if place.ends_with("DATA") {
            assert!(client.say("DATA").expect("an answer").starts_with("354 "));
            client.write(part).expect("it can be sent");
        } else if place.ends_with("BDAT") {
            let said = client.chunk(part, "").expect("an answer");
            assert!(said.starts_with("250 "), "{said}");
        }
        daemon.kill();
        assert!(client.reply().is_err(), "{place}");
        story.mend("silent-at-mail");
        let daemon = story.start();
        let arrived = story.drained(&daemon, LONG);
        assert_eq!((arrived.get(&before.id), arrived.get(&amid.id)), (Some(&1), None), "{place}");
        assert_eq!(files(&story), 0, "{place}");
    }
}

#[test]
fn only_the_message_whose_verdict_was_not_settled_comes_twice() {
    for (step, times) in [("answered", 2), ("settling", 2), ("settled", 1)] {
        let story = queueing("custom", &[], lonely);
        let all = letters(6);
        let daemon = story.start_to_die_at(step);
        accept_and_hold(&story, &all);
        story.mend("silent-at-mail");
        await_death(daemon, step);
        let daemon = story.start();
        let arrived = story.drained(&daemon, LONG);
        let counts: Vec<u64> = all.iter().map(|letter| arrived.get(&letter.id).copied().unwrap_or(0)).collect();
        // While the first one is being settled, the next ones may be on their way already.
        assert!(counts[0] == times && counts[1..].iter().all(|count| (1..=2).contains(count)), "{step}: {counts:?}");
        assert!(step != "answered" || counts[1..] == [1; 5], "{counts:?}");
        assert_eq!(files(&story), 0, "{step}");
    }
}

#[test]
fn a_kill_while_the_provider_is_silent_doubles_at_most_what_waited_for_its_final_reply() {
    for (fault, times) in [("silent-at-mail", 1), ("silent-at-data", 1), ("silent-at-end", 2)] {
        let story = queueing("custom", &[], lonely);
        let all = letters(4);
        story.fault(fault, &json!({}));
        let daemon = story.start();
        let mut client = Client::login(&story).expect("a login");
        for letter in &all {
            assert!(is_accepted(&client.submit(letter)), "{fault}");
        }
        await_that("a delivery waits", SOON, || (story.stat("silent_connections") == 1).then_some(()));
        daemon.kill();
        await_that("the provider sees the end", SOON, || (story.stat("open_connections") == 0).then_some(()));
        story.mend(fault);
        let daemon = story.start();
        let arrived = story.drained(&daemon, LONG);
        let counts: Vec<u64> = all.iter().map(|letter| arrived.get(&letter.id).copied().unwrap_or(0)).collect();
        assert_eq!(counts, [times, 1, 1, 1], "{fault}");
        assert_eq!(story.stat("final_replies_lost"), times - 1, "{fault}");
    }
}

#[test]
fn a_settled_recipient_is_not_sent_again() {
    let story = queueing("custom", &[], lonely);
    story.fault("rcpt-temporary", &json!({}));
    let daemon = story.start_to_die_at("settled");
    let heard = Client::login(&story).and_then(|mut client| {
        let to = |name: &str| format!("RCPT TO:<{name}@example.org>");
        for line in ["MAIL FROM:<robot@sandbox.example>", &to("one"), &to("later"), &to("two"), "DATA"] {
            client.say(line)?;
        }
        client.write(&Letter::new("shared", LARGE).text())?;
        client.say(".")
    });
    assert!(is_accepted(&heard), "{heard:?}");
    await_death(daemon, "settled");
    story.mend("rcpt-temporary");
    let daemon = story.start();
    let arrived = story.drained(&daemon, LONG);
    assert_eq!(arrived["<shared@app.example>"], 2, "once for two of them, once for the third");
    let list: Vec<serde_json::Value> =
        serde_json::from_slice(&support::http(story.http, "GET", "/received", "").1).expect("a list");
    let to: Vec<String> = list.iter().map(|one| one["to"].to_string()).collect();
    assert_eq!(to, [r#"["one@example.org","two@example.org"]"#, r#"["later@example.org"]"#]);
}

#[test]
fn a_crash_while_a_bounce_is_made_brings_one_bounce() {
    // How often the recipient is refused: also by the second attempt where the first one was not settled.
    for (step, refusals) in [("bouncing", 2), ("settling", 2), ("settled", 1)] {
        let story = queueing("custom", &[], lonely);
        let letter = Letter::new(step, 1_000);
        let daemon = story.start_to_die_at(step);
        story.fault("recipient-refused", &json!({ "times": refusals }));
        accept_and_hold(&story, std::slice::from_ref(&letter));
        story.mend("silent-at-mail");
        await_death(daemon, step);
        let daemon = story.start();
        let arrived = story.drained(&daemon, LONG);
        assert_eq!(arrived.values().collect::<Vec<_>>(), [&1], "{step}: {arrived:?}");
        assert!(arrived.keys().all(|id| id.ends_with("@relay.sandbox.example>")), "{step}: {arrived:?}");
    }
}

/// Leaves a letter in the drop directory, as the one of this name.
fn leave(drop: &Path, name: &str, letter: &Letter) {
    let text = letter.text();
    let head = "outlink-drop 1\nfrom <robot@sandbox.example>\nto <team@example.org>\n\n";
    let new = drop.join(format!("new-{name}"));
    std::fs::write(&new, [head.as_bytes(), &text].concat()).expect("it can be written");
    std::fs::rename(new, drop.join(format!("msg-{name}"))).expect("it can be renamed");
}

#[test]
fn a_message_of_the_drop_directory_comes_once_wherever_the_daemon_dies() {
    let drop = |story: &Story| story.directory.path().join("spool/drop");
    let uid = rustix::process::geteuid().as_raw();
    let story = queueing("custom", &[], |text| {
        let text = text.replacen("[app.sandbox]\n", &format!("[app.sandbox]\nunix-user = [\"{uid}\"]\n"), 1);
        let state = text
            .lines()
            .find_map(|line| line.strip_prefix("state-directory = "))
            .expect("it is there")
            .trim_matches('"')
            .to_owned();
        format!("{text}\n[drop]\ndirectory = \"{}\"\n", Path::new(&state).with_file_name("spool").join("drop").display())
    });
    std::fs::create_dir_all(drop(&story)).expect("a spool");
    std::fs::set_permissions(drop(&story), std::fs::Permissions::from_mode(0o3733)).expect("it is ours");
    let left = || std::fs::read_dir(drop(&story)).expect("it can be listed").count();
    // The names are ids, as `outlink sendmail` gives them.
    for (step, first) in [("uncommitted", 'a'), ("committed", 'b'), ("before-250", 'c'), ("drop-queued", 'd')] {
        let name = format!("{first}{}", "a".repeat(25));
        let letter = Letter::new(step, 1_000);
        let daemon = story.start_to_die_at(step);
        leave(&drop(&story), &name, &letter);
        await_death(daemon, step);
        assert_eq!(left(), 1, "{step}");
        let daemon = story.start();
        await_that("the file is gone", SOON, || (left() == 0).then_some(()));
        assert_eq!(story.drained(&daemon, LONG).get(&letter.id), Some(&1), "{step}");
        // Whoever gives a new message the old name is not ignored, and neither is it after another start.
        daemon.kill();
        let again = Letter::new(&format!("{step}-again"), 1_000);
        leave(&drop(&story), &name, &again);
        let daemon = story.start();
        await_that("the new one is gone", SOON, || (left() == 0).then_some(()));
        let arrived = story.drained(&daemon, LONG);
        assert_eq!((arrived.get(&letter.id), arrived.get(&again.id)), (Some(&1), Some(&1)), "{step}");
        assert_eq!(daemon.stop().0, Some(0), "{step}");
    }
}

/// Accepts a letter while no token can be had, then lets the daemon die at `step` of the renewal that the letter waits for, and
/// starts it again.
fn through_a_renewal(personality: &str, step: &str) -> (Story, Letter, Program) {
    let story = queueing(personality, &["--grant", "authorization-code"], |text| text);
    story.import_grant();
    story.fault("token-server-down", &json!({}));
    let daemon = story.start();
    let letter = Letter::new("waiting", LARGE);
    let heard = Client::login(&story).and_then(|mut client| client.submit(&letter));
    assert!(is_accepted(&heard), "{heard:?}");
    daemon.kill();
    story.mend("token-server-down");
    await_death(story.start_to_die_at(step), step);
    let daemon = story.start();
    (story, letter, daemon)
}

#[test]
fn a_rotated_refresh_token_is_not_lost_where_the_old_one_stays_valid() {
    for personality in ["google", "microsoft"] {
        for step in ["token-answered", "token-kept"] {
            let (story, letter, daemon) = through_a_renewal(personality, step);
            assert_eq!(story.drained(&daemon, LONG)[&letter.id], 1, "{personality}, {step}");
            assert!(!story.status().contains("needs-consent"), "{personality}, {step}");
        }
    }
}

#[test]
fn a_one_time_refresh_token_is_kept_before_its_access_token_is_used() {
    let (story, letter, daemon) = through_a_renewal("custom", "token-kept");
    assert_eq!(story.drained(&daemon, LONG)[&letter.id], 1);
    assert_eq!(story.stat("refresh_token_reuses"), 0);
}

#[test]
fn a_one_time_refresh_token_lost_on_its_way_asks_for_a_consent_and_the_mail_waits() {
    let (story, letter, daemon) = through_a_renewal("custom", "token-answered");
    daemon.logged("outlink authorize sandbox", LONG);
    await_that("the status says so", SOON, || story.status().contains("needs-consent").then_some(()));
    assert!(story.status().contains("ended during a renewal at "), "the cause is named: {}", story.status());
    assert_eq!(support::letters::rows(&story.state())[&letter.id], support::letters::Row::Kept);
    // Also over the next start.
    daemon.kill();
    let daemon = story.start();
    daemon.logged("outlink authorize sandbox", LONG);
    assert_eq!(story.arrived().len(), 0);
    story.consent_again();
    assert_eq!(story.drained(&daemon, LONG)[&letter.id], 1);
}

/// The token that the sandbox gave for the import.
fn imported(story: &Story) -> String {
    std::fs::read_to_string(story.directory.path().join("grant")).expect("the sandbox wrote it").trim().to_owned()
}

/// Takes the sealing back, as if an earlier version had kept the imported token.
fn unseal(story: &Story) {
    let disk = rusqlite::Connection::open(story.state().join("outlink.db")).expect("the database");
    let sql = "UPDATE grants SET refresh_token = CAST(?1 AS BLOB), refresh_token_key = NULL";
    assert_eq!(disk.execute(sql, [imported(story)]).expect("it can be changed"), 1);
    let sql = "DELETE FROM meta WHERE name IN ('key', 'key-origin'); INSERT INTO meta (name, value) VALUES ('clear-text', 1)";
    disk.execute_batch(sql).expect("it can be changed");
    std::fs::remove_file(story.state().join("key")).expect("it was made");
}

/// Whether a file of the state directory holds the imported token.
fn lies_in_clear(story: &Story) -> bool {
    let token = imported(story);
    let holds = |name: &str| {
        let octets = std::fs::read(story.state().join(name)).unwrap_or_default();
        octets.windows(token.len()).any(|part| part == token.as_bytes())
    };
    ["outlink.db", "outlink.db-wal", "outlink.db-shm"].into_iter().any(holds)
}

#[test]
fn a_crash_at_the_first_sealing_loses_no_grant_and_the_next_start_ends_it() {
    for step in ["key-made", "sealing", "sealed", "wiping"] {
        let story = queueing("google", &["--grant", "authorization-code"], |text| text);
        story.import_grant();
        unseal(&story);
        assert!(lies_in_clear(&story), "the test sees what it looks for");
        let mut command = support::outlink();
        command.args(["run", "--config"]).arg(&story.config).env("CRASH_AT", step);
        await_death(Program::start(command), step);
        let daemon = story.start();
        assert!(!lies_in_clear(&story), "{step}");
        let letter = Letter::new(step, 1_000);
        let heard = Client::login(&story).and_then(|mut client| client.submit(&letter));
        assert!(is_accepted(&heard), "{step}: {heard:?}");
        assert_eq!(story.drained(&daemon, LONG)[&letter.id], 1, "{step}");
    }
}

#[test]
fn a_crash_while_the_key_is_changed_leaves_everything_open() {
    for step in ["key-written", "key-renamed", "key-in-use", "resealed", "file-resealed"] {
        let story = queueing("google", &["--grant", "authorization-code"], |text| text);
        story.import_grant();
        let keys = outlink::key::find(&story.state(), None).expect("it can be read").expect("it was made");
        let secret = std::fs::read_to_string(story.directory.path().join("client-secret")).expect("the sandbox wrote it");
        let sealed = keys.ring.seal("link.sandbox.client-secret", &outlink::secret::Secret::new(secret.trim_end().to_owned()));
        let written = story.directory.path().join("conf.d");
        std::fs::create_dir(&written).expect("it can be made");
        let text = format!("# Written by outlink.\n[link.sandbox]\nclient-secret = {{ sealed = \"{}\" }}\n", sealed.text());
        std::fs::write(written.join("link-sandbox.toml"), text).expect("it can be written");
        let daemon = story.start_to_die_at(step);
        let (status, said) = story.command(&["key", "rotate"]);
        assert_eq!(status, Some(69), "{step}: {said}");
        await_death(daemon, step);
        let daemon = story.start();
        let letter = Letter::new(step, 1_000);
        let heard = Client::login(&story).and_then(|mut client| client.submit(&letter));
        assert!(is_accepted(&heard), "{step}: {heard:?}");
        assert_eq!(story.drained(&daemon, LONG)[&letter.id], 1, "{step}: client secret and refresh token open");
        let (status, said) = story.command(&["key", "rotate", "--drop-old"]);
        assert!(status == Some(0) && !said.contains("kept, because"), "{step}: {said}");
        assert_eq!(daemon.stop().0, Some(0), "{step}");
        let daemon = story.start();
        let letter = Letter::new(&format!("{step}-again"), 1_000);
        let heard = Client::login(&story).and_then(|mut client| client.submit(&letter));
        assert!(is_accepted(&heard), "{step}: {heard:?}");
        assert_eq!(story.drained(&daemon, LONG)[&letter.id], 1, "{step}");
    }
}

#[test]
fn a_login_that_a_crash_breaks_off_costs_no_grant_that_works() {
    for (step, origin) in [("consent-exchanged", "import"), ("consent-tried", "import"), ("consent-kept", "authorization-code")] {
        let story = Story::with("microsoft", &["--grant", "authorization-code"], |text| text);
        story.import_grant();
        let daemon = story.start_to_die_at(step);
        let login = Login::begin(&story, &[]);
        let page = browse("GET", &login.decide("allow"), "");
        await_death(daemon, step);
        assert_eq!((page.status, login.program.ended().0), (400, Some(69)), "{step}: {}", page.body);
        let daemon = story.start();
        assert!(story.app().send().starts_with("250 "), "{step}: {}", daemon.output());
        daemon.stop();
        assert_eq!(grant(&story).expect("a grant").0, origin, "{step}");
    }
}

#[test]
fn a_first_grant_is_durable_before_it_is_tried() {
    for (step, kept) in [("consent-exchanged", false), ("consent-kept", true), ("consent-tried", true)] {
        let story = Story::with("google", &["--grant", "authorization-code"], |text| text);
        let daemon = story.start_to_die_at(step);
        let login = Login::begin(&story, &[]);
        browse("GET", &login.decide("allow"), "");
        await_death(daemon, step);
        let daemon = story.start();
        assert_eq!(story.app().send().starts_with("250 "), kept, "{step}: {}", daemon.output());
    }
}
