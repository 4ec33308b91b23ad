//! Who may send as whom, however a header is written: a From field in an old or broken form is held to the same rules as any other, and a
//! mailbox that rewrites sends nothing unrewritten; with the real relay before the simulated provider.

mod support;

use serde_json::Value;
use support::{
    queued::{contract, one_more_app, one_more_mailbox},
    story::{App, Story},
};

/// A mailbox that rewrites, `sandbox`, and one that refuses, `strict`, each with an app; and one app that is bound to a domain.
fn setup(text: String) -> String {
    let text = one_more_mailbox(contract(text, "direct"), "strict");
    let text = text.replace("[mailbox.sandbox]\n", "[mailbox.sandbox]\nwhen-from-differs = \"rewrite\"\n");
    let text = text.replace("[mailbox.strict]\n", "[mailbox.strict]\nwhen-from-differs = \"refuse\"\n");
    let text = one_more_app(text, "strict", "mailbox = \"strict\"\nrepair = \"none\"");
    one_more_app(
        text,
        "bound",
        "allowed-from = [\"*@sandbox.example\"]\nallowed-recipients = [\"*@sandbox.example\"]\nrepair = \"none\"",
    )
}

/// Sends these octets; gives the last reply.
fn send(app: &mut App, (sender, recipient): (&str, &str), text: &str) -> String {
    for line in [format!("MAIL FROM:<{sender}>"), format!("RCPT TO:<{recipient}>"), "DATA".to_owned()] {
        let said = app.say(&line);
        if !said.starts_with(['2', '3']) {
            app.say("RSET");
            return said;
        }
    }
    app.write(text);
    app.say(".")
}

/// The header of the only message with this subject.
fn header(story: &Story, subject: &str) -> String {
    let message: Value = story.with_subject(subject);
    let octets = String::from_utf8_lossy(&story.octets(&message)).into_owned();
    octets.split_once("\r\n\r\n").map(|(header, _)| header.to_owned()).unwrap_or_else(|| panic!("no header: {octets}"))
}

#[test]
fn no_form_of_a_from_field_is_unseen_by_the_rules() {
    let story = Story::new("microsoft", setup);
    let _daemon = story.start();
    let inside = ("robot@sandbox.example", "team@sandbox.example");
    let strict_inside = ("strict@sandbox.example", "team@sandbox.example");
    let (mut bound, mut strict) =
        (App::login(story.relay, "bound", &story.password), App::login(story.relay, "strict", &story.password));
    for from in [
        "From : ceo@evil.example",
        "From: robot@sandbox.example\r\nFrom : ceo@evil.example",
        "From \t: ceo@evil.example",
        "From: robot@sandbox.example (, ceo@evil.example",
        "From: robot@sandbox.example \", ceo@evil.example",
        "From: <robot@sandbox.example> ceo@evil.example",
        "From: ceo@evil.example; <robot@sandbox.example>",
        "From: evil@evil.example:<robot@sandbox.example>;",
        "From: ceo@evil.example@sandbox.example",
    ] {
        for (app, envelope, own) in [(&mut bound, inside, "robot"), (&mut strict, strict_inside, "strict")] {
            let from = from.replace("robot@", &format!("{own}@"));
            let said = send(app, envelope, &format!("{from}\r\nSubject: unseen\r\n\r\nx\r\n"));
            assert!(said.starts_with("550 5.7.1 "), "{own}: {from}: {said}");
        }
    }
    assert!(story.received().is_empty());
    // What passes, passes in the old form, too.
    for (app, envelope, own) in [(&mut bound, inside, "robot"), (&mut strict, strict_inside, "strict")] {
        let said = send(app, envelope, &format!("From : A <{own}@sandbox.example>\r\nSubject: old form {own}\r\n\r\nx\r\n"));
        assert!(said.starts_with("250 "), "{own}: {said}");
        let header = header(&story, &format!("old form {own}"));
        assert_eq!(header.matches("From").count(), 1, "{header}");
    }
}

#[test]
fn an_address_with_two_ats_passes_no_rule() {
    let story = Story::new("microsoft", setup);
    let _daemon = story.start();
    let mut bound = App::login(story.relay, "bound", &story.password);
    let doubtful = "ceo@evil.example@sandbox.example";
    for (envelope, key) in
        [((doubtful, "team@sandbox.example"), "allowed-from"), (("robot@sandbox.example", doubtful), "allowed-recipients")]
    {
        let said = send(&mut bound, envelope, "From: robot@sandbox.example\r\n\r\nx\r\n");
        assert!(said.starts_with("550 5.7.1 ") && said.contains(key), "{said}");
    }
    let mut strict = App::login(story.relay, "strict", &story.password);
    let said = send(&mut strict, (doubtful, "team@sandbox.example"), "From: strict@sandbox.example\r\n\r\nx\r\n");
    assert!(said.starts_with("550 5.7.1 "), "{said}");
    assert!(story.received().is_empty());
}

#[test]
fn a_mailbox_that_rewrites_rewrites_the_old_form_and_keeps_who_it_was() {
    let story = Story::new("microsoft", setup);
    let _daemon = story.start();
    let mut app = story.app();
    for (subject, from, expected) in [
        (
            "space",
            "From : Boss <ceo@evil.example>\r\nSender : ceo@evil.example",
            "From: Boss <robot@sandbox.example>\r\nReply-To: Boss <ceo@evil.example>",
        ),
        ("name", "From: Just A Name", "From: Just A Name <robot@sandbox.example>"),
        (
            "group",
            "From: Team: x@ext.example, y@ext.example;",
            "From: Team <robot@sandbox.example>\r\nReply-To: x@ext.example, y@ext.example",
        ),
    ] {
        let said = send(&mut app, ("root", "you@example.org"), &format!("{from}\r\nSubject: {subject}\r\n\r\nx\r\n"));
        assert!(said.starts_with("250 "), "{subject}: {said}");
        let header = header(&story, subject);
        assert!(header.contains(expected) && !header.contains("Sender"), "{header}");
    }
}

#[test]
fn a_long_header_is_rewritten_or_refused_and_never_passes() {
    for delivery in ["direct", "queue", "direct-then-queue"] {
        let story =
            Story::new("microsoft", |text| setup(text).replace("delivery = \"direct\"", &format!("delivery = \"{delivery}\"")));
        let _daemon = story.start();
        let mut app = story.app();
        let pad = format!("X-Pad: {}\r\n", "x".repeat(900));
        let begun = "Subject: long\r\n";
        let evil = "From: ceo@evil.example\r\nSender: ceo@evil.example\r\n\r\nx\r\n";
        let said = send(&mut app, ("robot@sandbox.example", "you@example.org"), &format!("{begun}{}{evil}", pad.repeat(1200)));
        assert!(said.starts_with("554 5.6.0 ") && said.contains("the header is longer than 1 MiB"), "{delivery}: {said}");
        let said = send(&mut app, ("robot@sandbox.example", "you@example.org"), &format!("{begun}{}{evil}", pad.repeat(150)));
        assert!(said.starts_with("250 "), "{delivery}: {said}");
        let header = header(&story, "long");
        let around = header.find("From: ").map(|at| &header[at..(at + 200).min(header.len())]);
        assert!(
            header.contains("\r\nFrom: robot@sandbox.example\r\n") && !header.contains("\r\nSender"),
            "{delivery}: {around:?}"
        );
        assert_eq!(story.received().len(), 1);
    }
}
