//! Every fault of the provider while mail flows under the contract `queue`: nothing is lost, bounced or sent twice, and nobody is
//! hammered. And the one thing that does end a message: its time.

mod support;

use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};
use support::{
    LONG, Program,
    notices::{failed, field, notices, read},
    queued::{Mail, limits, one_more_app, one_more_mailbox, queue, until},
    story::{App, Story},
};

/// Messages sent while the fault is on, each to three recipients.
const MESSAGES: usize = 6;

/// Of these `later…` is the one that the fault `rcpt-temporary` strikes.
const TO: [&str; 3] = ["<a@example.org>", "<later@example.org>", "<c@example.org>"];

/// How long a fault stays on after it was noticed: long enough to see whether somebody hammers.
const A_WHILE: Duration = Duration::from_secs(2);

/// What ends the trouble.
#[derive(Clone, Copy, PartialEq)]
enum Mended {
    /// Nothing: it is found out.
    Itself,
    Reload,
    Import,
}
use Mended::*;

struct Row {
    fault: &'static str,
    setting: &'static str,
    personality: &'static str,
    mended: Mended,
    /// The state that is told of, once, and words of its advice; empty: none.
    told: [&'static str; 2],
    /// Most AUTH, MAIL and token requests while the fault is on.
    most: [u64; 3],
    /// A message goes out before, so that there is a token.
    warm: bool,
    /// Copies too many that cannot be avoided.
    twice: usize,
}

const ROW: Row = Row {
    fault: "",
    setting: "{}",
    personality: "microsoft",
    mended: Itself,
    told: ["", ""],
    most: [20, 40, 1],
    warm: false,
    twice: 0,
};

/// Three connections may log in, or send, before the first failure is heard of.
const ROWS: &[Row] = &[
    Row { fault: "expired-token", warm: true, most: [30, 40, 2], ..ROW },
    Row {
        fault: "invalid-grant",
        personality: "google",
        mended: Import,
        told: ["needs-consent", "outlink authorize"],
        most: [0, 0, 2],
        ..ROW
    },
    Row { fault: "client-secret-expired", mended: Reload, told: ["needs-repair", "secret"], most: [0, 0, 2], ..ROW },
    Row { fault: "token-server-down", told: ["failing", ""], most: [0, 0, 4], ..ROW },
    Row { fault: "token-server-slow", setting: r#"{"milliseconds": 1500}"#, ..ROW },
    Row { fault: "token-server-throttled", setting: r#"{"retry_after": 3}"#, told: ["failing", ""], most: [0, 0, 2], ..ROW },
    Row { fault: "auth-535", mended: Reload, told: ["needs-repair", "Add-MailboxPermission"], most: [6, 0, 2], ..ROW },
    Row {
        fault: "auth-535",
        personality: "google",
        mended: Reload,
        told: ["needs-repair", "mail.google.com"],
        most: [6, 0, 2],
        ..ROW
    },
    Row { fault: "smtp-auth-disabled", mended: Reload, told: ["needs-repair", "Set-CASMailbox"], most: [3, 0, 1], ..ROW },
    Row { fault: "too-many-connections", told: ["failing", ""], most: [10, 0, 1], ..ROW },
    Row { fault: "too-many-logins", mended: Reload, told: ["failing", ""], most: [3, 0, 1], ..ROW },
    Row { fault: "busy", told: ["failing", ""], most: [10, 10, 1], ..ROW },
    Row { fault: "quota", mended: Reload, told: ["over-quota", "24 hours"], most: [3, 3, 1], ..ROW },
    Row { fault: "quota", personality: "google", mended: Reload, told: ["over-quota", "24 hours"], most: [3, 3, 1], ..ROW },
    Row { fault: "send-as-denied", mended: Reload, told: ["held", "Add-RecipientPermission"], most: [3, 3, 1], ..ROW },
    Row {
        fault: "mailbox-logon-failure",
        mended: Reload,
        told: ["needs-repair", "Add-MailboxPermission"],
        most: [3, 3, 1],
        ..ROW
    },
    Row { fault: "drop-in-data", personality: "custom", ..ROW },
    Row { fault: "final-reply-lost", setting: r#"{"times": 2}"#, twice: 2, ..ROW },
    Row { fault: "slow-replies", setting: r#"{"milliseconds": 200}"#, ..ROW },
    Row { fault: "bdat-refused", personality: "custom", ..ROW },
    Row { fault: "rcpt-temporary", personality: "google", ..ROW },
    Row { fault: "too-many-recipients", setting: r#"{"count": 2}"#, personality: "google", ..ROW },
    Row { fault: "silent-at-mail", ..ROW },
    Row { fault: "silent-at-data", ..ROW },
    Row { fault: "silent-at-end", ..ROW },
];

#[test]
fn no_fault_of_the_provider_loses_bounces_or_doubles_mail() {
    // A few at a time: each is a provider and a relay, which mostly wait.
    for rows in ROWS.chunks(8) {
        let failed = thread::scope(|scope| {
            let running: Vec<_> = rows.iter().map(|row| (row, scope.spawn(|| play(row)))).collect();
            running.into_iter().filter_map(|(row, run)| run.join().is_err().then_some(row.fault)).collect::<Vec<_>>()
        });
        assert!(failed.is_empty(), "what failed is told above: {failed:?}");
    }
}

fn play(row: &Row) {
    // Each message logs in; no limit of ours hides what is tried.
    let lines = "connections = 3\nmessages-per-connection = 1\nmessages-per-minute = 0";
    let story = Story::new(row.personality, |text| limits(queue(text), lines));
    let setting: Value = serde_json::from_str(row.setting).expect("JSON");
    // The first token is asked for at the start.
    if !row.warm {
        story.fault(row.fault, &setting);
    }
    // Before the start: without a grant it would be told to need one.
    if row.personality == "google" {
        story.import_grant();
    }
    let daemon = story.start();
    let mut app = story.app();
    if row.warm {
        app.queue(Mail { id: "warm", ..Mail::default() });
        story.await_stat("messages", 1, &daemon);
        story.fault(row.fault, &setting);
    }
    let ids: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    for id in &ids {
        app.queue(Mail { id, to: &TO, ..Mail::default() });
    }
    notice(row, &story, &daemon);
    thread::sleep(A_WHILE);
    for (name, most) in ["login_attempts", "mail_commands", "token_requests"].into_iter().zip(row.most) {
        let found = story.stat(name);
        assert!(found <= most, "{}: {name} is {found}, more than {most}\n{}", row.fault, daemon.output());
    }
    story.mend(row.fault);
    let mended = Instant::now();
    match row.mended {
        Itself => {}
        Reload => story.reload(|text| text),
        Import => story.import_grant(),
    }
    settled(row, &story, &daemon, mended);
}

/// Waits until the fault has been met.
fn notice(row: &Row, story: &Story, daemon: &Program) {
    let [state, advice] = row.told;
    if !state.is_empty() {
        let event = if state == "held" { "sender.changed" } else { "mailbox.changed" };
        daemon.await_count(1, &[event, &format!("\"state\":\"{state}\""), advice]);
    } else if row.fault.starts_with("silent") {
        story.await_stat("silent_connections", 1, daemon);
    } else if matches!(row.fault, "drop-in-data" | "final-reply-lost" | "rcpt-temporary") {
        daemon.await_count(1, &["message.deferred"]);
    }
}

/// Everybody gets everything, once, and nobody hears of trouble that was not theirs.
fn settled(row: &Row, story: &Story, daemon: &Program, mended: Instant) {
    let wanted = MESSAGES * TO.len() + usize::from(row.warm);
    let mut copies = story.copies();
    while copies.len() < wanted {
        let late = mended.elapsed();
        assert!(late < LONG / 3, "{}: {} of {wanted} after {late:?}: {copies:?}\n{}", row.fault, copies.len(), daemon.output());
        thread::sleep(Duration::from_millis(50));
        copies = story.copies();
    }
    let drained = mended.elapsed();
    println!("{} ({}): drained in {drained:?}", row.fault, row.personality);
    let daemon_says = |texts: &[&str]| daemon.count(texts);
    let twice = copies.values().sum::<usize>() - wanted;
    assert!(twice <= row.twice * TO.len(), "{}: {twice} copies too many: {copies:?}\n{}", row.fault, daemon.output());
    // Settled in the log as well, before it is counted.
    daemon.await_count(MESSAGES, &["\"event\":\"message.delivered\""]);
    for event in ["message.bounced", "message.refused", "message.failed"] {
        assert_eq!(daemon_says(&[&format!("\"event\":\"{event}\"")]), 0, "{}: {}", row.fault, daemon.output());
    }
    let [state, _] = row.told;
    let all = ["failing", "over-quota", "needs-repair", "needs-consent", "held"];
    let told = all.map(|state| {
        daemon_says(&["sender.changed", &format!("\"state\":\"{state}\"")])
            + daemon_says(&["mailbox.changed", &format!("\"state\":\"{state}\"")])
    });
    let expected = all.map(|one| usize::from(one == state));
    assert_eq!(told, expected, "{}: told once, not for each message: {}", row.fault, daemon.output());
    until("what was told is over", LONG, || {
        state.is_empty() || daemon_says(&["mailbox.changed", "\"state\":\"ready\""]) + daemon_says(&["\"state\":\"free\""]) == 1
    });
}

/// The one story that has to wait for a minute: nothing shorter may be configured.
#[test]
fn time_that_counts_ends_a_message_and_time_in_a_hold_does_not() {
    let story = Story::new("custom", |text| {
        let text = one_more_mailbox(queue(text), "second");
        let text = one_more_app(text, "warned", "expire-after = \"2m\"\nwarn-after = \"1m\"");
        let text = one_more_app(text, "held", "mailbox = \"second\"");
        text.replace("retry = [\"1s\"]", "retry = [\"1s\", \"5s\", \"20s\"]\nexpire-after = \"1m\"")
    });
    let daemon = story.start();
    story.fault("rcpt-temporary", &json!({}));
    story.fault("quota", &json!({"mailbox": "second@sandbox.example"}));
    let login = |user| App::login(story.relay, user, &story.password);
    let later = |id, to| Mail { id, to, sender: "<crowd@sandbox.example>", ..Mail::default() };
    let id = login("sandbox").queue(later("expired", &["<later@example.org>"]));
    login("sandbox").queue(later("never", &["<later@example.org> NOTIFY=NEVER"]));
    login("warned").queue(later("warned", &["<later@example.org>"]));
    login("held").queue(later("held", &["<a@example.org>"]));
    daemon.await_count(1, &["mailbox.changed", "\"state\":\"over-quota\""]);
    // Three tries within the first half minute, as the schedule says, and no more.
    daemon.logged("\"event\":\"message.failed\"", Duration::from_secs(100));
    daemon.await_count(2, &["\"event\":\"message.failed\""]);
    let tries = daemon.count(&["\"event\":\"message.deferred\"", &id]);
    assert!((4..=6).contains(&tries), "{tries} tries: after 0, 1, 6, 26, 46 s\n{}", daemon.output());
    let bounce = story.with_subject("Undelivered mail: expired");
    assert_eq!((&bounce["from"], &bounce["to"]), (&json!(""), &json!(["crowd@sandbox.example"])));
    let found = read(&story, &bounce);
    assert!(field(&found["header"], "From").contains("robot@sandbox.example"), "{found}");
    assert_eq!((field(&found["status"][1], "Action"), field(&found["status"][1], "Status")), ("failed", "4.4.7"));
    let warning = story.with_subject("Delayed mail");
    assert_eq!(warning["to"], json!(["crowd@sandbox.example"]));
    let found = read(&story, &warning);
    assert_eq!(
        (field(&found["status"][1], "Action"), field(&found["status"][1], "Final-Recipient")),
        ("delayed", "rfc822; later@example.org")
    );
    // The held one has had more than its minute, and still goes out.
    story.mend("quota");
    story.reload(|text| text);
    story.with_subject("held");
    story.mend("rcpt-temporary");
    story.with_subject("warned");
    assert_eq!(notices(&story).len(), 2, "{:?}", story.subjects());
    assert_eq!(failed(&story, daemon), ["<expired@app.example>", "<never@app.example>"]);
}
