//! A mailbox for a whole domain: each address is a mailbox of its own, with its own login, limits and holds; before the simulated provider.

mod support;

use serde_json::json;
use support::{
    SOON,
    queued::{Mail, contract, limits, until},
    story::{App, Story},
};

/// All of `sandbox.example` through one app-only link.
fn whole(text: String) -> String {
    let text = contract(text, "queue").replace("\"robot@sandbox.example\"", "\"*@sandbox.example\"");
    text.replace("mailbox = \"sandbox\"\n", "mailbox = \"sandbox\"\nallowed-from = [\"*@sandbox.example\"]\n")
}

fn send(app: &mut App, id: &str, from: &str) -> String {
    app.mail(Mail { id, sender: &format!("<{from}>"), from, ..Mail::default() })
}

#[test]
fn each_address_logs_in_as_itself_and_is_held_and_counted_alone() {
    let story = Story::new("microsoft", |text| limits(whole(text), "messages-per-day = 2\n"));
    let daemon = story.start();
    let mut app = story.app();
    for (id, from) in [("jo", "Jo@sandbox.example"), ("al", "al@sandbox.example")] {
        let said = send(&mut app, id, from);
        assert!(said.starts_with("250 "), "{said}");
        let mailbox = format!("sandbox/{}", from.to_lowercase());
        until("it was delivered", SOON, || story.with_subject(id)["user"].as_str().is_some());
        assert_eq!(story.with_subject(id)["user"], json!(from.to_lowercase()));
        assert!(story.good(&["trace", said.rsplit(' ').next().unwrap_or_default()]).contains(&mailbox));
    }
    assert!(
        story
            .good(&["mailbox", "list"])
            .contains("mailbox sandbox <*@sandbox.example>, link sandbox: 2 of 1000 addresses in use")
    );

    // One is held by an operator, the other sends on.
    story.good(&["queue", "hold", "--mailbox", "sandbox/jo@sandbox.example"]);
    assert!(send(&mut app, "held", "jo@sandbox.example").starts_with("250 "));
    assert!(send(&mut app, "flows", "al@sandbox.example").starts_with("250 "));
    until("the other one flows", SOON, || story.subjects().contains(&"flows".to_owned()));
    assert!(!story.subjects().contains(&"held".to_owned()));
    let status = story.good(&["status"]);
    assert!(status.contains("mailbox sandbox/jo@sandbox.example: link sandbox, grant client-credentials, paused"), "{status}");
    assert!(story.good(&["queue", "list", "--mailbox", "sandbox", "--json"]).contains("sandbox/jo@sandbox.example"));

    // The third of the day waits, others' do not.
    assert!(send(&mut app, "third", "al@sandbox.example").starts_with("250 "));
    until("its limit is told", SOON, || story.good(&["status"]).contains("messages-per-day is reached"));
    assert!(send(&mut app, "new", "new@sandbox.example").starts_with("250 "));
    until("a new one sends", SOON, || story.subjects().contains(&"new".to_owned()));
    assert!(!story.subjects().contains(&"third".to_owned()));

    // What is known of them outlives the process, and what waits goes out.
    let (_, said) = daemon.stop();
    assert!(said.contains("\"event\":\"mailbox.added\""), "{said}");
    let _daemon = story.start();
    let status = story.good(&["status"]);
    assert!(status.contains("mailbox sandbox/jo@sandbox.example: link sandbox, grant client-credentials, paused"), "{status}");
    assert!(status.contains("messages-per-day is reached"), "{status}");
    story.good(&["queue", "release", "--mailbox", "sandbox/jo@sandbox.example"]);
    until("what was held goes out", SOON, || story.subjects().contains(&"held".to_owned()));
    assert!(story.good(&["health", "sandbox"]).contains("ready"));
    let examined = story.good(&["doctor", "sandbox/nobody-yet@sandbox.example"]);
    assert!(examined.contains("sandbox/nobody-yet@sandbox.example"), "{examined}");
}

#[test]
fn addresses_are_bounded_and_what_was_accepted_goes_out_however_many_there_are() {
    let story =
        Story::new("microsoft", |text| whole(text).replace("\"*@sandbox.example\"\n", "\"*@sandbox.example\"\naddresses = 2\n"));
    let daemon = story.start();
    let mut app = story.app();
    for name in ["a", "b"] {
        assert!(send(&mut app, name, &format!("{name}@sandbox.example")).starts_with("250 "));
    }
    let said = send(&mut app, "c", "c@sandbox.example");
    assert!(said.starts_with("451 4.4.5 ") && said.contains("addresses in [mailbox.sandbox]"), "{said}");
    daemon.await_count(1, &["message.refused", "\"address\":\"c@sandbox.example\"", "\"addresses\":2"]);
    assert!(send(&mut app, "again", "A@sandbox.example").starts_with("250 "), "who has a place keeps it");
    until("all were delivered", SOON, || story.subjects().len() == 3);

    // A smaller number stops nobody whose mail was accepted.
    story.good(&["queue", "hold", "--mailbox", "sandbox/b@sandbox.example"]);
    assert!(send(&mut app, "waits", "b@sandbox.example").starts_with("250 "));
    daemon.stop();
    let text = std::fs::read_to_string(&story.config).expect("it is there").replace("addresses = 2", "addresses = 1");
    std::fs::write(&story.config, text).expect("written");
    let _daemon = story.start();
    story.good(&["queue", "release", "--mailbox", "sandbox/b@sandbox.example"]);
    until("it was delivered", SOON, || story.subjects().contains(&"waits".to_owned()));
}

#[test]
fn a_reload_keeps_addresses_and_holds_mail_of_a_domain_that_is_gone() {
    let story = Story::new("microsoft", whole);
    let daemon = story.start();
    let mut app = story.app();
    assert!(send(&mut app, "before", "jo@sandbox.example").starts_with("250 "));
    until("it was delivered", SOON, || story.subjects().len() == 1);
    story.reload(|text| {
        text.replace("allowed-from = [\"*@sandbox.example\"]", "allowed-from = [\"*@sandbox.example\", \"x@y.example\"]")
    });
    assert!(story.good(&["mailbox", "list"]).contains("1 of 1000 addresses in use"));
    assert!(send(&mut app, "after", "jo@sandbox.example").starts_with("250 "));
    until("it was delivered", SOON, || story.subjects().len() == 2);
    story.good(&["queue", "hold", "--mailbox", "sandbox/jo@sandbox.example"]);
    assert!(send(&mut app, "waits", "jo@sandbox.example").starts_with("250 "));
    story.reload(|text| text.replace("\"*@sandbox.example\"\n", "\"*@other.example\"\n"));
    until("it is held", SOON, || story.good(&["queue", "list", "--json"]).contains("its mailbox is no longer configured"));
    story.reload(|text| text.replace("\"*@other.example\"\n", "\"*@sandbox.example\"\n"));
    story.good(&["queue", "release", "--mailbox", "sandbox/jo@sandbox.example"]);
    until("it goes out", SOON, || story.subjects().len() == 3);
    drop(daemon);
}

#[test]
fn a_command_adds_one_and_says_what_each_address_needs() {
    let story = Story::new("microsoft", |text| contract(text, "queue"));
    let _daemon = story.start();
    let said =
        story.good(&["mailbox", "add", "whole", "--link", "sandbox", "--address", "*@contoso.com", "--server", "127.0.0.1:1"]);
    for text in ["-eq 'MAILBOX'", "MAILBOX stands for each address", "app add NAME --mailbox whole --allowed-from ADDRESS"] {
        assert!(said.contains(text), "{text}: {said}");
    }
    let (status, said) = story.command(&["app", "add", "scanners", "--network", "10.1.2.3", "--mailbox", "whole"]);
    assert!(
        status == Some(78) && said.contains("--allowed-from: `whole` sends as every address of contoso.com"),
        "{status:?}: {said}"
    );
    assert!(story.good(&["mailbox", "list"]).contains("mailbox whole <*@contoso.com>, link sandbox: 0 of 1000 addresses in use"));
    story.good(&["mailbox", "remove", "whole", "--yes"]);
}
