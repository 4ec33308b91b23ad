//! `outlink authorize`, from the address of a login to mail that flows, against the simulated provider: by the command's own port,
//! by a pasted address, by the daemon's listener, by a device code; and what happens when it does not go well.

mod support;

use serde_json::{Value, json};
use std::{fs, net::TcpStream};
use support::{
    Program, SOON, free_port,
    login::{Login, ME, browse, grant},
    outlink,
    story::Story,
};
use url::Url;

/// A provider whose link waits for a consent; `edit` changes the configuration.
fn story(personality: &str, edit: impl Fn(String) -> String) -> Story {
    Story::with(personality, &["--grant", "authorization-code"], edit)
}

fn is_done(last: &Value) -> bool {
    last["login"]["result"] == "accepted"
}

#[test]
fn a_browser_on_this_machine_authorises_a_mailbox_of_each_provider() {
    for (personality, host) in [("google", "127.0.0.1"), ("microsoft", "localhost"), ("custom", "127.0.0.1")] {
        let story = story(personality, |text| text);
        let daemon = story.start();
        assert!(story.app().send().starts_with("451 "), "{personality}: there is no grant yet");
        let login = Login::begin(&story, &[]);
        assert_eq!((&login.begun["listens"], &login.begun["account"]), (&json!("command"), &json!(ME)), "{personality}");
        assert_eq!(login.url().query_pairs().find(|(name, _)| name == "login_hint").expect("a hint").1, ME);
        let back = login.decide("allow");
        assert_eq!(back.host_str(), Some(host), "{personality}");
        let page = browse("GET", &back, "");
        assert!(page.status == 200 && page.body.contains("is authorised"), "{personality}: {} {}", page.status, page.body);
        let (last, status) = login.end("done");
        assert!(is_done(&last) && status == Some(0), "{personality}: {last}");
        assert_eq!(last["replaced"], false, "{personality}");
        assert!(story.app().send().starts_with("250 "), "{personality}: {}", daemon.output());
        let log = daemon.stop().1;
        for event in ["consent.begun", "grant.stored"] {
            assert!(log.contains(event), "{personality}: no {event} in {log}");
        }
        let code = back.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
        assert!(!log.contains(&code), "{personality}: the code was logged");
        assert_eq!(grant(&story).expect("a grant").0, "authorization-code", "{personality}");
    }
}

#[test]
fn a_pasted_address_does_where_the_browser_cannot_come_back() {
    let story = story("microsoft", |text| text);
    let daemon = story.start();
    let mut login = Login::begin(&story, &[]);
    let back = login.decide("allow");
    let text = back.to_string();
    // What is pasted first is of no use; each time the command says why, and waits.
    login.program.types("4/0AbCdEf\n");
    login.program.logged("code alone", SOON);
    login.program.types(&format!("{}\n", login.url()));
    login.program.logged("where the login begins", SOON);
    let foreign = text.replace("state=", "state=x");
    login.program.types(&format!("{foreign}\n"));
    login.program.logged("another login", SOON);
    let (one, other) = text.split_at(text.len() / 2);
    login.program.types(&format!("  \"{one}\n{other}\"\n"));
    let (last, status) = login.end("done");
    assert!(is_done(&last) && status == Some(0), "{last}");
    assert_eq!(last["account"], ME, "the token tells it");
    assert!(story.app().send().starts_with("250 "), "{}", daemon.output());
}

/// A configuration whose redirect comes to the daemon's own listener.
fn listening(port: u16) -> impl Fn(String) -> String {
    move |text| {
        let redirect = format!("redirect-url = \"http://127.0.0.1:{port}/oauth/callback\"\n[mailbox.");
        let text = text.replacen("[mailbox.", &redirect, 1);
        format!("{text}\n[http]\nbind = \"127.0.0.1:{port}\"\n")
    }
}

#[test]
fn the_daemons_listener_takes_the_answer_once_and_no_others() {
    let port = free_port();
    let story = story("custom", listening(port));
    let daemon = story.start();
    daemon.logged("listening for browsers", SOON);
    let login = Login::begin(&story, &[]);
    assert_eq!(login.begun["listens"], "daemon");
    let back = login.decide("allow");
    let at = |path: &str| back.join(path).expect("a URL");
    for (url, status, told) in [
        (at("/"), 404, "nothing here"),
        (at("/favicon.ico"), 404, "nothing here"),
        (at("/oauth/callback"), 400, "no address"),
        (at("/oauth/callback?code=a"), 400, "no state"),
        (at("/oauth/callback?code=a&state=b"), 400, "belongs to no login"),
        (at("/oauth/callback?error=%3Cscript%3E&state=b"), 400, "belongs to no login"),
    ] {
        let page = browse("GET", &url, "");
        assert!(page.status == status && page.body.contains(told), "{url}: {} {}", page.status, page.body);
        assert!(!page.body.contains("<script"), "{}", page.body);
    }
    let page = browse("GET", &back, "");
    assert!(page.status == 200 && page.body.contains("is authorised"), "{}", page.body);
    let again = browse("GET", &back, "");
    let told = ["<h1>This login is over</h1>", "answered already", "It authorised the mailbox"];
    assert!(again.status == 400 && told.iter().all(|told| again.body.contains(told)), "{}", again.body);
    let (last, status) = login.end("done");
    assert!(is_done(&last) && status == Some(0), "{last}");
    assert!(story.app().send().starts_with("250 "), "{}", daemon.output());
    daemon.logged("consent.refused", SOON);
}

#[test]
fn the_listener_follows_the_configuration_and_mail_flows_without_it() {
    let (port, moved) = (free_port(), free_port());
    let story = story("custom", |text| text);
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it is free");
    let daemon = story.start();
    let plain = fs::read_to_string(&story.config).expect("it was written");
    let reload = |text: String| {
        fs::write(&story.config, text).expect("it can be written");
        let (status, said) = story.command(&["reload"]);
        assert_eq!(status, Some(0), "{said}");
    };
    reload(listening(port)(plain.clone()));
    daemon.logged("cannot listen for browsers", SOON);
    story.import_grant();
    assert!(story.app().send().starts_with("250 "), "{}", daemon.output());
    reload(listening(moved)(plain.clone()));
    daemon.logged(&format!("127.0.0.1:{moved}"), SOON);
    assert!(TcpStream::connect(("127.0.0.1", moved)).is_ok());
    reload(plain);
    let gone = || TcpStream::connect(("127.0.0.1", moved)).is_err().then_some(());
    support::letters::await_that("nobody listens any more", SOON, gone);
    drop(taken);
}

#[test]
fn while_no_daemon_runs_the_command_does_it_all() {
    let port = free_port();
    for (edit, personality) in [(None, "google"), (Some(listening(port)), "custom")] {
        let story = story(personality, |text| edit.as_ref().map_or(text.clone(), |edit| edit(text)));
        let login = Login::begin(&story, &[]);
        let page = browse("GET", &login.decide("allow"), "");
        assert!(page.body.contains("is authorised"), "{personality}: {}", page.body);
        let (last, status) = login.end("done");
        assert!(is_done(&last) && status == Some(0), "{personality}: {last}");
        let daemon = story.start();
        assert!(story.app().send().starts_with("250 "), "{personality}: {}", daemon.output());
    }
}

#[test]
fn mail_flows_at_once_after_a_login_while_no_daemon_ran_whatever_held_it_before() {
    let story = story("microsoft", |text| text);
    let daemon = story.start();
    story.import_grant();
    story.fault("smtp-auth-disabled", &json!({}));
    assert!(story.app().send().starts_with("451 "), "{}", daemon.output());
    daemon.stop();
    story.mend("smtp-auth-disabled");
    let login = Login::begin(&story, &[]);
    browse("GET", &login.decide("allow"), "");
    assert!(is_done(&login.end("done").0));
    let daemon = story.start();
    let said = story.app().send();
    assert!(said.starts_with("250 "), "{said}: {}", daemon.output());
}

#[test]
fn what_goes_wrong_is_told_to_the_browser_the_command_and_the_log() {
    for (personality, fault, decision, told) in [
        ("google", "", "deny", "access_denied"),
        ("microsoft", "consent-denied", "allow", "AADSTS65004"),
        ("microsoft", "other-account", "allow", "other@sandbox.example signed in, but mailbox sandbox is"),
        ("google", "no-refresh-token", "allow", "no refresh token"),
        ("custom", "no-refresh-token", "allow", "no refresh token"),
        ("microsoft", "client-secret-expired", "allow", "AADSTS7000222"),
    ] {
        let story = story(personality, |text| text);
        let daemon = story.start();
        if !fault.is_empty() {
            story.fault(fault, &json!({}));
        }
        let login = Login::begin(&story, &[]);
        let page = browse("GET", &login.decide(decision), "");
        let case = format!("{personality} {fault} {decision}");
        assert!(page.status == 400 && page.body.contains("was not authorised"), "{case}: {}", page.body);
        let plain = page.body.replace("&quot;", "\"");
        assert!(plain.contains(told) && plain.contains("Next step: "), "{case}: {plain}");
        let (last, status) = login.end("failed");
        assert_eq!((status, &last["why"], &last["kept"]), (Some(1), &json!("refused"), &json!(false)), "{case}: {last}");
        assert!(last["reason"].as_str().is_some_and(|reason| reason.contains(told)), "{case}: {last}");
        assert!(!last["advice"].as_str().unwrap_or_default().is_empty(), "{case}: {last}");
        let line = daemon.logged("consent.refused", SOON);
        assert!(line.contains("\"advice\""), "{case}: {line}");
        daemon.stop();
        assert_eq!(grant(&story), None, "{case}: nothing is stored");
    }
}

#[test]
fn a_grant_that_works_is_kept_when_the_login_with_the_new_one_fails() {
    let story = story("microsoft", |text| text);
    let daemon = story.start();
    story.import_grant();
    assert!(story.app().send().starts_with("250 "), "{}", daemon.output());
    story.fault("smtp-auth-disabled", &json!({}));
    let login = Login::begin(&story, &[]);
    let page = browse("GET", &login.decide("allow"), "");
    assert!(page.body.contains("the grant from before stays"), "{}", page.body);
    let (last, status) = login.end("failed");
    assert_eq!((status, &last["kept"]), (Some(1), &json!(true)), "{last}");
    assert!(last["advice"].as_str().is_some_and(|advice| advice.contains("SmtpClientAuthentication")), "{last}");
    daemon.logged("grant.kept", SOON);
    story.mend("smtp-auth-disabled");
    // The same again without the fault takes its place.
    let login = Login::begin(&story, &[]);
    browse("GET", &login.decide("allow"), "");
    let (last, status) = login.end("done");
    assert_eq!((status, &last["replaced"]), (Some(0), &json!(true)), "{last}");
    assert!(story.app().send().starts_with("250 "), "{}", daemon.output());
    daemon.stop();
    assert_eq!(grant(&story), Some(("authorization-code".to_owned(), Some(ME.to_owned()))));
}

#[test]
fn where_there_is_nothing_to_lose_the_grant_is_kept_and_the_failed_login_told() {
    let story = story("microsoft", |text| text);
    let daemon = story.start();
    story.fault("smtp-auth-disabled", &json!({}));
    let login = Login::begin(&story, &[]);
    let page = browse("GET", &login.decide("allow"), "");
    assert!(page.body.contains("cannot send yet"), "{}", page.body);
    let (last, status) = login.end("done");
    assert_eq!((status, &last["login"]["result"]), (Some(1), &json!("failed")), "{last}");
    story.mend("smtp-auth-disabled");
    support::letters::await_that("it sends", SOON, || story.app().send().starts_with("250 ").then_some(()));
    daemon.stop();
    assert!(grant(&story).is_some());
}

#[test]
fn a_newer_login_takes_the_place_of_an_older_one_which_is_told() {
    let story = story("google", |text| text);
    let _daemon = story.start();
    let older = Login::begin(&story, &[]);
    let back = older.decide("allow");
    let newer = Login::begin(&story, &[]);
    let (last, status) = older.end("failed");
    assert_eq!((status, &last["why"]), (Some(1), &json!("replaced")), "{last}");
    // Its answer comes to nobody who would take it.
    assert!(TcpStream::connect(("127.0.0.1", back.port().expect("a port"))).is_err());
    browse("GET", &newer.decide("allow"), "");
    assert_eq!(newer.end("done").1, Some(0));
}

#[test]
fn a_login_given_up_or_ended_by_a_stop_says_so() {
    let story = story("google", |text| text);
    let daemon = story.start();
    let login = Login::begin(&story, &[]);
    login.program.signal("INT");
    let (last, status) = login.end("failed");
    assert_eq!((status, &last["why"]), (Some(1), &json!("cancelled")), "{last}");
    let login = Login::begin(&story, &[]);
    assert_eq!(daemon.stop().0, Some(0));
    let (last, status) = login.end("failed");
    assert_eq!((status, &last["why"]), (Some(69), &json!("stopping")), "{last}");
}

#[test]
fn a_device_code_entered_elsewhere_authorises_a_mailbox() {
    // The link's grant says it, or the person.
    for (personality, options) in [("microsoft", &[][..]), ("custom", &["--device"])] {
        let story = Story::with(personality, &["--grant", "device-code"], |text| text);
        let daemon = story.start();
        let login = Login::begin(&story, options);
        let text = |key: &str| login.begun[key].as_str().unwrap_or_else(|| panic!("{key}: {}", login.begun)).to_owned();
        let page = Url::parse(&text("verification_uri")).expect("a URL");
        let form = format!("user_code={}&decision=allow&account={}", text("user_code"), ME.replace('@', "%40"));
        let page = browse("POST", &page, &form);
        assert_eq!(page.status, 200, "{personality}: {}", page.body);
        let (last, status) = login.end("done");
        assert!(is_done(&last) && status == Some(0), "{personality}: {last}");
        assert!(story.app().send().starts_with("250 "), "{personality}: {}", daemon.output());
        daemon.stop();
        assert_eq!(grant(&story).expect("a grant").0, "device-code", "{personality}");
    }
}

#[test]
fn what_cannot_begin_says_why() {
    let story = story("google", |text| text);
    let _daemon = story.start();
    for (words, told) in [
        (&["authorize", "sandbox", "--device"][..], "Google gives no permission for mail to a device code"),
        (&["authorize", "nobody"], "no mailbox is named"),
        (&["authorize", "No Name"], "no mailbox is named"),
    ] {
        let (status, said) = story.command(words);
        assert!(status == Some(1) && said.contains(told), "{words:?}: {status:?} {said}");
    }
    let mut command = outlink();
    command.args(["authorize", "nobody", "--json", "--config"]).arg(&story.config);
    let last = Program::start(command).event("failed", SOON);
    assert_eq!((&last["state"], &last["why"]), (&json!("failed"), &json!("refused")), "{last}");
    assert!(last["reason"].as_str().is_some_and(|reason| reason.contains("no mailbox is named")), "{last}");
    let credentials = Story::with("microsoft", &["--grant", "client-credentials"], |text| text);
    let (status, said) = credentials.command(&["authorize", "sandbox"]);
    assert!(status == Some(1) && said.contains("needs no login"), "{status:?} {said}");
}

#[test]
fn who_brought_a_refresh_token_is_kept() {
    let story = story("google", |text| text);
    let import = |by: &str| {
        let mut command = outlink();
        command.args(["grant", "import", "sandbox", "--file"]).arg(story.directory.path().join("grant"));
        command.arg("--config").arg(&story.config).env("SUDO_USER", by);
        assert!(support::run(command, b"", SOON).status.success(), "{by}");
        let database = rusqlite::Connection::open(story.directory.path().join("state/outlink.db")).expect("the database");
        database.query_row("SELECT brought_by FROM grants", [], |row| row.get::<_, Option<String>>(0)).expect("a grant")
    };
    assert_eq!(import("ann"), Some("ann".to_owned()), "while no daemon runs");
    let _daemon = story.start();
    assert_eq!(import("b&b"), Some("b&b".to_owned()), "over the control socket");
}

#[test]
fn people_are_told_what_to_do() {
    let story = story("microsoft", |text| text);
    let _daemon = story.start();
    let mut command = outlink();
    command.args(["authorize", "sandbox", "--config"]).arg(&story.config);
    let program = Program::start(command);
    program.printed("sign in as robot@sandbox.example", SOON);
    program.printed("Mobile and desktop applications", SOON);
    let line = program.printed("/authorize?", SOON);
    program.printed("paste it here", SOON);
    let url = Url::parse(line.trim()).expect("the address has a line of its own");
    let back = browse("POST", &url, &format!("decision=allow&account={}", ME.replace('@', "%40"))).location();
    browse("GET", &back, "");
    let (status, output) = program.ended();
    assert!(status == Some(0) && output.contains("mailbox sandbox is authorised as robot@sandbox.example"), "{output}");
}

#[test]
fn a_login_without_a_daemon_gives_way_to_one_that_starts() {
    let story = Story::with("google", &["--grant", "authorization-code"], |text| text);
    let login = Login::begin(&story, &[]);
    let daemon = story.start();
    let (last, status) = login.end("failed");
    assert_eq!((last["why"].as_str(), status), (Some("stopping"), Some(69)), "{last}");
    assert!(last["reason"].as_str().is_some_and(|reason| reason.contains("outlink starts")), "{last}");
    assert!(!story.state().join("outlink.starting").exists());
    // Begun again, it is the daemon's.
    let login = Login::begin(&story, &[]);
    let page = browse("GET", &login.decide("allow"), "");
    assert_eq!((page.status, login.end("done").1), (200, Some(0)), "{}", page.body);
    daemon.stop();
}
