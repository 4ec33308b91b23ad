//! `outlink run` between programs that are not ours: an app (swaks) on one side, oidc-provider and nodemailer's smtp-server with
//! XOAUTH2 over TLS on the other (`tests/clients/provider.mjs`). Every secret in here is known, so its absence from all output of
//! every story can be checked.

mod support;

use serde_json::Value;
use std::fs;
use support::{
    SOON,
    hunt::Hunt,
    world::{APP_PASSWORD, CLIENT_SECRET, MAILBOX, WRONG_PASSWORD, World},
};

fn text_of(event: &Value) -> String {
    fs::read_to_string(event["file"].as_str().expect("a file")).expect("the message was kept")
}

#[test]
fn client_credentials_and_a_mail_server_that_are_not_ours() {
    for (tls, authentication) in [("starttls", "post"), ("implicit", "basic")] {
        let mut world = World::new("client-credentials", tls, authentication);
        world.start();
        world.expect_taken();
        let received = world.provider.event("received", SOON);
        assert_eq!((received["from"].as_str(), &received["to"]), (Some(MAILBOX), &serde_json::json!(["team@example.org"])));
        let text = text_of(&received);
        assert!(text.starts_with("Received: ") && text.contains("\r\nSubject: counterpart\r\n"), "{text}");
        assert!(text.contains("\r\n\r\n.\r\n..two\r\nend\r\n"), "{text}");
        world.expect_taken();
        let tokens = world.provider.events("token").len();
        assert_eq!(tokens, 1, "one token serves all messages");
        world.stop();
        world.expect_no_secret();
    }
}

#[test]
fn an_imported_refresh_token_is_renewed_and_its_successor_survives_a_restart() {
    let mut world = World::new("authorization-code", "starttls", "post");
    world.import();
    world.start();
    world.expect_taken();
    world.stop();
    // The provider spends a refresh token by using it: only the stored successor brings a second access token.
    world.start();
    world.expect_taken();
    world.stop();
    assert_eq!(world.provider.events("token").len(), 2, "one renewal for each start");
    assert!(world.provider.events("token-refused").is_empty(), "a spent refresh token was used again");
    assert_eq!(world.provider.events("received").len(), 2);
    world.expect_no_secret();
}

#[test]
fn a_running_daemon_takes_up_an_imported_grant() {
    let mut world = World::new("authorization-code", "implicit", "post");
    world.start();
    let (taken, said) = world.send(APP_PASSWORD, "team@example.org");
    assert!(!taken && said.contains("451 4."), "no grant yet: {said}");
    world.import();
    world.expect_taken();
    world.stop();
    world.expect_no_secret();
}

/// Each: the provider's mode, the recipient, and what the app hears.
const TROUBLE: &[(&str, &str, &str)] = &[
    ("token-down", "team@example.org", "451 4."),
    ("token-garbage", "team@example.org", "451 4."),
    ("token-odd", "team@example.org", "451 4."),
    ("token-denied", "team@example.org", "451 4."),
    ("login-refused", "team@example.org", "451 4."),
    ("message-refused", "team@example.org", "554 5.6.0"),
    ("well", "refused@example.org", "550 5.1.1"),
];

#[test]
fn no_error_path_writes_a_secret() {
    for (mode, to, expected) in TROUBLE {
        // A grant each: after `token-denied` and the like a mailbox rests, and the next row would not reach the provider.
        let mut world = World::new("authorization-code", "starttls", "post");
        world.import();
        world.mode(mode);
        world.start();
        let (taken, said) = world.send(APP_PASSWORD, to);
        assert!(!taken && said.contains(expected), "{mode}: no {expected}\n{said}\noutlink:\n{}", world.output());
        let (taken, said) = world.send(WRONG_PASSWORD, to);
        assert!(!taken && said.contains("535 5.7.8"), "{mode}: no 535\n{said}");
        for command in [&["status"][..], &["status", "--json"], &["check"], &["reload"]] {
            world.run(command, "");
        }
        world.stop();
        world.expect_no_secret();
    }
}

#[test]
fn a_faulty_configuration_is_reported_without_its_secrets() {
    let mut world = World::new("client-credentials", "starttls", "post");
    world.written = "crowd".into();
    let text = fs::read_to_string(&world.config).expect("it was written");
    let from = text.find("client-secret = ").expect("it has one");
    let to = from + text[from..].find('\n').expect("a line ends");
    let plain = format!("{}client-secret = \"{CLIENT_SECRET}\"{}", &text[..from], &text[to..]);
    let clear = plain.replace(
        &text[text.find("password = \"").expect("it has one")..text.find("\nmailbox = ").expect("it has one")],
        "PASSWORD",
    );
    for faulty in [
        plain.replace("grant = ", "grunt = "),
        clear.replace("PASSWORD", &format!("password = \"{APP_PASSWORD}\"")),
        plain.replace(&format!("\"{CLIENT_SECRET}\""), &format!("\"{CLIENT_SECRET}")),
        plain.replace(&format!("\"{CLIENT_SECRET}\""), &format!("[\"{CLIENT_SECRET}\"]")),
    ] {
        fs::write(&world.config, faulty).expect("it can be written");
        for command in [&["check"][..], &["check", "--json"], &["run"]] {
            assert_eq!(world.run(command, "").status.code(), Some(78), "{}", world.written);
        }
    }
    world.expect_no_secret_said();
}

#[test]
fn a_secret_is_found_in_each_of_its_spellings() {
    use base64::{Engine, prelude::*};
    let hunt = Hunt::new(["marked secret/ä+7".to_owned()]);
    for before in ["", "a", "ab", "abc", "user=me\x01auth=Bearer "] {
        for after in ["", "b", "bc", "\x01\x01"] {
            let whole = format!("{before}marked secret/ä+7{after}");
            for form in [
                whole.clone(),
                BASE64_STANDARD.encode(&whole),
                BASE64_STANDARD_NO_PAD.encode(&whole),
                BASE64_URL_SAFE_NO_PAD.encode(&whole),
                url::form_urlencoded::byte_serialize(whole.as_bytes()).collect(),
                whole.bytes().map(|octet| format!("{octet:02X}")).collect(),
            ] {
                assert!(hunt.finds(form.as_bytes()), "not found in {form}");
            }
        }
    }
    assert!(!hunt.finds(b"marked secret/ and no more"));
}
