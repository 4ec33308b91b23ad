//! `outlink authorize` with a real browser (Chromium) on the consent pages of an OAuth server that is not ours (oidc-provider), to
//! loopback and external redirects, the latter behind a real reverse proxy (nginx); then mail by swaks to a server that is not ours.

mod support;

use serde_json::Value;
use std::time::{Duration, Instant};
use support::{
    Program, SOON,
    browser::Person,
    free_port, http,
    proxy::{HOST, Proxy},
    world::{APP_PASSWORD, MAILBOX, Setup, World},
};

/// Who a person is that signs in with an account of her own instead of the mailbox's.
const OTHER: &str = "other@example.com";

/// oidc-provider gives a refresh token only where it was told to ask for the consent again.
const LINK: &str = r#"
issuer = "{oauth}"
revocation-endpoint = "{oauth}/token/revocation"

[link.theirs.parameters]
prompt = "consent"
"#;

/// A link whose ID tokens tell who signed in.
fn telling() -> Setup<'static> {
    Setup { scopes: &["openid", "email", "offline_access"], link: LINK, ..Setup::default() }
}

/// `outlink authorize --json` that waits for a person.
struct Consent {
    program: Program,
    begun: Value,
}

impl Consent {
    fn begin(world: &World, more: &[&str]) -> Self {
        let mut program = Program::start(world.command(&[&["authorize", "robot", "--json"], more].concat()));
        let begun = program.event("authorize", SOON);
        Self { program, begun }
    }

    fn text(&self, key: &str) -> &str {
        self.begun[key].as_str().unwrap_or_else(|| panic!("`{key}` is missing in {}", self.begun))
    }

    /// Waits for its end; gives the event that it ended with. What it said is the world's to keep.
    fn ended(mut self, world: &mut World, event: &str, status: i32) -> Value {
        let last = self.program.event(event, SOON * 2);
        let (ended, output) = self.program.ended();
        assert_eq!(ended, Some(status), "{output}\noutlink:\n{}", world.output());
        world.written += &output;
        last
    }

    fn done(self, world: &mut World) -> Value {
        self.ended(world, "done", 0)
    }

    /// Ends with a failure; gives reason and advice.
    fn failed(self, world: &mut World) -> String {
        let failed = self.ended(world, "failed", 1);
        assert!(failed["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{failed}");
        failed.to_string()
    }
}

/// The person whom the mailbox belongs to goes through the consent in her browser.
fn allow(world: &World, url: &str) -> Value {
    Person::allowing(MAILBOX).visits(url, world.directory.path())
}

fn said(landed: &Value) -> &str {
    landed["text"].as_str().expect("a page has a text")
}

fn expect_no_grant(world: &World) {
    let (taken, said) = world.send(APP_PASSWORD, "team@example.org");
    assert!(!taken && said.contains("451 4."), "there is a grant: {said}");
}

#[test]
fn a_consent_in_a_real_browser_starts_the_mail_and_renewals_follow() {
    let mut world = World::with(&Setup { life: 5, ..telling() });
    world.start();
    expect_no_grant(&world);
    let consent = Consent::begin(&world, &[]);
    assert_eq!(consent.text("listens"), "command");
    let landed = allow(&world, consent.text("url"));
    assert_eq!((&landed["url"], &landed["unreachable"]), (&consent.begun["redirect_url"], &Value::Bool(false)), "{landed}");
    assert!(said(&landed).contains(MAILBOX), "{landed}");
    let done = consent.done(&mut world);
    assert_eq!(done["account"], MAILBOX, "{done}");
    world.expect_taken();
    // Each renewal spends the refresh token; a forgotten successor would end the grant.
    while world.tokens("refresh_token") < 3 {
        world.provider.event("token", SOON);
        world.expect_taken();
    }
    world.stop();
    world.start();
    world.expect_taken();
    world.expect_no_refusal();
    assert_eq!((world.tokens("authorization_code"), world.provider.events("code").len()), (1, 1));
    world.stop();
    world.expect_no_secret();
}

#[test]
fn a_consent_comes_back_through_a_reverse_proxy() {
    let redirect = format!("https://{HOST}/oauth/callback");
    let mut world = World::with(&Setup { redirect: Some(&redirect), ..telling() });
    world.start();
    let proxy = Proxy::start(world.directory.path(), world.http);
    let consent = Consent::begin(&world, &[]);
    assert_eq!((consent.text("listens"), consent.text("redirect_url")), ("daemon", redirect.as_str()));
    let person = Person { proxy: Some(proxy.address), whole: true, ..Person::allowing(MAILBOX) };
    let landed = person.visits(consent.text("url"), world.directory.path());
    assert!(landed["url"].as_str().is_some_and(|url| url.starts_with(&redirect)), "{landed}");
    assert!(said(&landed).contains(MAILBOX), "{landed}");
    let shown = Instant::now();
    assert_eq!(consent.done(&mut world)["account"], MAILBOX);
    assert!(shown.elapsed() < Duration::from_secs(5), "the command waits for pages that it does not serve");
    world.expect_taken();
    let replayed = landed["url"].as_str().expect("an address").to_owned();
    let made_up = format!("{redirect}?code=made-up&state=made-up");
    for (url, told) in [(replayed, "answered already"), (made_up, "no login that waits")] {
        let page = person.visits(&url, world.directory.path());
        assert!(said(&page).contains(told) && !said(&page).contains("made-up"), "{page}");
    }
    // Nothing else is served there.
    assert_eq!(http(world.http, "GET", "/", "").0, 404);
    assert_eq!(world.tokens("authorization_code"), 1);
    world.expect_no_refusal();
    world.expect_taken();
    world.stop();
    world.expect_no_secret();
}

#[test]
fn a_denied_consent_is_told_and_leaves_nothing() {
    let mut world = World::with(&telling());
    world.start();
    let consent = Consent::begin(&world, &[]);
    let person = Person { answer: "deny", ..Person::allowing(MAILBOX) };
    let landed = person.visits(consent.text("url"), world.directory.path());
    assert!(landed["keys"].as_array().is_some_and(|keys| keys.contains(&"error".into())), "{landed}");
    assert!(said(&landed).contains("denied"), "{landed}");
    let failed = consent.failed(&mut world);
    assert!(failed.contains("denied"), "{failed}");
    world.daemon.as_ref().expect("it runs").logged("consent.refused", SOON);
    expect_no_grant(&world);
    assert!(world.provider.events("token").is_empty());
    world.stop();
    world.expect_no_secret();
}

#[test]
fn another_account_is_refused_and_a_working_grant_stays() {
    let mut world = World::with(&telling());
    world.start();
    for with_grant in [false, true] {
        if with_grant {
            world.import();
            world.expect_taken();
        }
        let consent = Consent::begin(&world, &[]);
        let landed = Person::allowing(OTHER).visits(consent.text("url"), world.directory.path());
        let failed = consent.failed(&mut world);
        for told in [said(&landed), &failed] {
            assert!(told.contains(OTHER) && told.contains(MAILBOX), "not told which account was wanted: {told}");
        }
        match with_grant {
            false => expect_no_grant(&world),
            true => world.expect_taken(),
        }
    }
    world.forget();
    world.expect_taken();
    world.expect_no_refusal();
    world.stop();
    world.expect_no_secret();
}

/// Without an ID token only the mail server can tell that the account is another.
#[test]
fn a_grant_that_cannot_log_in_replaces_no_working_one() {
    let mut world = World::with(&Setup { link: LINK, ..Setup::default() });
    world.import();
    world.start();
    world.expect_taken();
    let consent = Consent::begin(&world, &[]);
    Person::allowing(OTHER).visits(consent.text("url"), world.directory.path());
    let failed = consent.failed(&mut world);
    assert!(failed.contains("535") || failed.contains("401"), "what the mail server said is missing: {failed}");
    world.daemon.as_ref().expect("it runs").logged("grant.kept", SOON);
    // A renewal needs the old refresh token, and only that one logs in.
    world.forget();
    world.expect_taken();
    world.expect_no_refusal();
    world.stop();
    world.expect_no_secret();
}

#[test]
fn on_a_headless_host_the_redirected_address_is_pasted() {
    let port = free_port();
    let redirect = format!("http://127.0.0.1:{port}/oauth/callback");
    let mut world = World::with(&Setup { redirect: Some(&redirect), ..telling() });
    world.start();
    let mut consent = Consent::begin(&world, &[]);
    assert_eq!((consent.text("listens"), consent.text("redirect_url")), ("command", redirect.as_str()));
    let place = format!("127.0.0.1:{port}");
    let person = Person { elsewhere: Some(&place), whole: true, ..Person::allowing(MAILBOX) };
    let landed = person.visits(consent.text("url"), world.directory.path());
    assert_eq!(landed["unreachable"], true, "{landed}");
    consent.program.tell(landed["url"].as_str().expect("an address"));
    assert_eq!(consent.done(&mut world)["account"], MAILBOX);
    world.expect_taken();
    world.expect_no_refusal();
    world.stop();
    world.expect_no_secret();
}

#[test]
fn a_device_code_is_entered_in_a_browser() {
    for grant in ["authorization-code", "device-code"] {
        let mut world = World::with(&Setup { grant, ..telling() });
        world.start();
        let consent = Consent::begin(&world, &["--device"]);
        let person = Person { code: Some(consent.text("user_code")), ..Person::allowing(MAILBOX) };
        let landed = person.visits(consent.text("verification_uri"), world.directory.path());
        assert!(said(&landed).contains("successful"), "{landed}");
        assert_eq!(consent.done(&mut world)["account"], MAILBOX);
        world.expect_taken();
        world.forget();
        world.expect_taken();
        world.expect_no_refusal();
        assert_eq!(world.tokens("urn:ietf:params:oauth:grant-type:device_code"), 1);
        world.stop();
        world.expect_no_secret();
    }
}

#[test]
fn a_device_that_is_denied_gets_nothing() {
    let mut world = World::with(&Setup { grant: "device-code", ..telling() });
    world.start();
    let consent = Consent::begin(&world, &["--device"]);
    let person = Person { code: Some(consent.text("user_code")), answer: "deny", ..Person::allowing(MAILBOX) };
    person.visits(consent.text("verification_uri"), world.directory.path());
    let failed = consent.failed(&mut world);
    assert!(failed.contains("denied"), "{failed}");
    expect_no_grant(&world);
    world.stop();
    world.expect_no_secret();
}

#[test]
fn a_consent_without_a_refresh_token_is_refused_with_the_reason() {
    let link = LINK.replace("prompt = \"consent\"", "prompt = \"login\"");
    let mut world = World::with(&Setup { link: &link, ..telling() });
    world.start();
    let consent = Consent::begin(&world, &[]);
    let landed = allow(&world, consent.text("url"));
    let failed = consent.failed(&mut world);
    for told in [said(&landed), &failed] {
        assert!(told.contains("refresh token"), "the reason is missing: {told}");
    }
    expect_no_grant(&world);
    world.stop();
    world.expect_no_secret();
}

#[test]
fn a_command_authorises_while_the_daemon_is_stopped() {
    let mut world = World::with(&telling());
    let consent = Consent::begin(&world, &[]);
    assert_eq!(consent.text("listens"), "command");
    allow(&world, consent.text("url"));
    assert_eq!(consent.done(&mut world)["account"], MAILBOX);
    world.start();
    world.expect_taken();
    world.expect_no_refusal();
    world.stop();
    world.expect_no_secret();
}

/// The load balancer knows one place alone: the command takes the daemon's until the consent is there.
#[test]
fn a_command_takes_the_place_of_a_stopped_daemon_behind_the_proxy() {
    let redirect = format!("https://{HOST}/oauth/callback");
    let mut world = World::with(&Setup { redirect: Some(&redirect), ..telling() });
    let proxy = Proxy::start(world.directory.path(), world.http);
    let consent = Consent::begin(&world, &[]);
    let person = Person { proxy: Some(proxy.address), ..Person::allowing(MAILBOX) };
    let landed = person.visits(consent.text("url"), world.directory.path());
    assert!(said(&landed).contains(MAILBOX), "{landed}");
    assert_eq!(consent.done(&mut world)["account"], MAILBOX);
    world.start();
    world.expect_taken();
    world.expect_no_refusal();
    world.stop();
    world.expect_no_secret();
}

/// Whoever begins again has another login, and another port.
#[test]
fn a_consent_ends_with_the_daemon_that_began_it() {
    let mut world = World::with(&telling());
    world.start();
    let consent = Consent::begin(&world, &[]);
    world.stop();
    // EX_UNAVAILABLE.
    let failed = consent.ended(&mut world, "failed", 69);
    assert!(failed["advice"].as_str().is_some_and(|advice| advice.contains("again")), "no word of what to do: {failed}");
    world.start();
    let again = Consent::begin(&world, &[]);
    allow(&world, again.text("url"));
    again.done(&mut world);
    world.expect_taken();
    world.expect_no_refusal();
    world.stop();
    world.expect_no_secret();
}
