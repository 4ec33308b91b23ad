//! Months with a provider: what lies idle stays alive, what ends is warned of in time, and what has ended says why.

mod support;

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use std::{fs, time::Duration};
use support::{
    Program,
    clock::{Clock, DAY, Passing},
    http,
    story::Story,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A provider, and the daemon beside it under a clock that moves both.
struct Months {
    story: Story,
    clock: Clock,
    daemon: Program,
}

impl Months {
    /// With a provider of these options; where it lives by a consent, that is given.
    fn new(personality: &str, options: &[&str]) -> Self {
        // Each message logs in with the token of its time.
        let story =
            Story::with(personality, options, |text| format!("{text}\n[mailbox.sandbox.limits]\nmessages-per-connection = 1\n"));
        if story.directory.path().join("grant").exists() {
            story.import_grant();
        }
        let clock = Clock::new(Passing::All, story.directory.path(), story.http, story.relay);
        let daemon = clock.start(&story.config, story.directory.path());
        let months = Self { story, clock, daemon };
        months.renewed(1);
        months
    }

    /// Waits until this daemon has renewed so often, and kept what came of it.
    fn renewed(&self, times: usize) {
        self.daemon.await_count(times, &["\"event\":\"token.renewed\""]);
    }

    /// Lets time pass in which the daemon runs, and renews because of it.
    fn pass(&mut self, by: Duration) {
        let before = self.daemon.count(&["\"event\":\"token.renewed\""]);
        self.clock.forward(by);
        self.renewed(before + 1);
    }

    fn sends(&self) {
        let said = self.story.app().send();
        assert!(said.starts_with("250 "), "{said}\n{}", self.daemon.output());
    }

    /// Waits for the `count`th line of the log in which these stand; nothing more of them may stand there.
    fn told(&self, count: usize, texts: &[&str]) -> Value {
        self.daemon.await_count(count, texts);
        let output = self.daemon.output();
        let lines: Vec<&str> = output.lines().filter(|line| texts.iter().all(|text| line.contains(text))).collect();
        assert_eq!(lines.len(), count, "{texts:?} in\n{output}");
        serde_json::from_str(lines[count - 1]).expect("a line of JSON")
    }

    /// The link as `outlink link list` has it.
    fn link(&self) -> Value {
        let (status, said) = self.clock.command(&["link", "list", "--json"], &self.story.config);
        assert_eq!(status, Some(0), "{said}");
        let said: Value = serde_json::from_str(&said).expect("JSON");
        said["links"][0].clone()
    }

    /// How often was warned of the link.
    fn warnings(&self) -> usize {
        let (status, said) = self.clock.command(&["status", "--json"], &self.story.config);
        assert_eq!(status, Some(0), "{said}");
        let said: Value = serde_json::from_str(&said).expect("JSON");
        said["warnings"]["link.sandbox"].as_u64().and_then(|count| count.try_into().ok()).unwrap_or_default()
    }

    fn ends(self) {
        let (status, output) = self.daemon.stop();
        assert_eq!(status, Some(0), "{output}");
    }
}

#[test]
fn a_mailbox_that_nobody_uses_for_two_hundred_days_still_sends() {
    for personality in ["microsoft", "google"] {
        let mut months = Months::new(personality, &["--grant", "authorization-code"]);
        for _ in 0..10 {
            months.pass(DAY * 20);
        }
        months.sends();
        let link = months.link();
        let mailbox = &link["mailboxes"][0];
        assert_eq!((&link["state"], &mailbox["state"]), (&"ready".into(), &"ready".into()), "{personality}: {link}");
        assert!(mailbox["refresh_token_expires"].is_string(), "{personality}: {mailbox}");
        assert!(!months.daemon.output().contains("expiring"), "{personality}: {}", months.daemon.output());
        months.ends();
    }
}

#[test]
fn a_daemon_that_stood_still_for_a_hundred_days_says_why_its_grant_has_ended() {
    let mut months = Months::new("microsoft", &["--grant", "authorization-code"]);
    months.sends();
    let (status, output) = months.daemon.stop();
    assert_eq!(status, Some(0), "{output}");
    months.clock.forward(DAY * 100);
    months.daemon = months.clock.start(&months.story.config, months.story.directory.path());
    let told = months.told(1, &["\"event\":\"mailbox.changed\"", "\"state\":\"needs-consent\""]);
    assert_eq!(told["advice_name"], "microsoft-unused-90-days", "{told}");
    let reason = told["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("AADSTS700082") && reason.contains("not used for 90 days"), "{told}");
    assert!(told["advice"].as_str().is_some_and(|advice| advice.contains("outlink authorize sandbox")), "{told}");
    assert_eq!(months.link()["mailboxes"][0]["state"], "needs-consent");
    months.ends();
}

#[test]
fn a_daemon_that_stood_still_for_eighty_days_renews_and_sends() {
    let mut months = Months::new("microsoft", &["--grant", "authorization-code"]);
    let (status, output) = months.daemon.stop();
    assert_eq!(status, Some(0), "{output}");
    months.clock.forward(DAY * 80);
    months.daemon = months.clock.start(&months.story.config, months.story.directory.path());
    months.renewed(1);
    months.pass(DAY * 80);
    months.sends();
    months.ends();
}

#[test]
fn a_client_secret_is_warned_of_at_60_30_7_and_1_days_and_its_end_needs_repair() {
    let mut months = Months::new("microsoft", &["--secret-life", "70d"]);
    months.sends();
    let expiring = ["\"event\":\"link.changed\"", "\"state\":\"expiring\""];
    // It ends at midnight after its last day, so that up to a day more remains.
    for (count, days, left) in [(1, 12, 59), (2, 30, 29), (3, 23, 6), (4, 5, 1)] {
        months.clock.forward(DAY * days);
        let told = months.told(count, &expiring);
        assert_eq!((&told["days"], &told["advice_name"]), (&left.into(), &"client-secret-ends".into()), "{told}");
        assert!(told["reason"].as_str().is_some_and(|why| why.contains("as client-secret-expires says")), "{told}");
        months.sends();
        let link = months.link();
        assert_eq!((&link["state"], link["client_secret_expires"].is_string()), (&"expiring".into(), true), "{link}");
        assert_eq!(months.warnings(), count, "counted");
    }
    months.clock.forward(DAY * 2);
    let told = months.told(1, &["\"event\":\"link.changed\"", "\"state\":\"needs-repair\""]);
    assert_eq!(told["advice_name"], "microsoft-secret-expired", "{told}");
    months.ends();
}

#[test]
fn a_certificate_is_warned_of_and_one_in_its_place_mends_what_its_end_stopped() {
    let mut months = Months::new("microsoft", &["--proof", "certificate", "--certificate-life", "20d"]);
    let expiring = ["\"event\":\"link.changed\"", "\"state\":\"expiring\""];
    for (count, days, left) in [(1, 0, 21), (2, 15, 6), (3, 5, 1)] {
        months.clock.forward(DAY * days);
        let told = months.told(count, &expiring);
        assert_eq!((&told["days"], &told["advice_name"]), (&left.into(), &"certificate-ends".into()), "{told}");
        months.sends();
    }
    months.clock.forward(DAY * 2);
    let told = months.told(1, &["\"event\":\"link.changed\"", "\"state\":\"needs-repair\""]);
    assert_eq!(told["advice_name"], "microsoft-certificate", "{told}");
    // The administrator makes a new one, which lasts, and registers it.
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("a key");
    let certificate =
        CertificateParams::new(Vec::new()).and_then(|params| params.self_signed(&key)).expect("a certificate").pem();
    let (status, said) = http(months.story.http, "PUT", "/clients/certificate", &certificate);
    assert_eq!(status, 204, "{}", String::from_utf8_lossy(&said));
    for (name, text) in [("client-key.pem", key.serialize_pem()), ("client.pem", certificate)] {
        let (file, new) = (months.story.directory.path().join(name), months.story.directory.path().join("new"));
        fs::write(&new, text).and_then(|()| fs::rename(new, file)).expect("it can be replaced");
    }
    months.clock.forward(HOUR);
    months.told(1, &["\"event\":\"link.changed\"", "\"state\":\"ready\""]);
    months.sends();
    months.ends();
}

#[test]
fn a_consent_of_a_screen_in_testing_is_foretold_from_the_first_day_and_its_end_explained() {
    let mut months = Months::new("google", &["--testing"]);
    let expiring = ["\"event\":\"mailbox.changed\"", "\"state\":\"expiring\""];
    for (count, days, left) in [(1, 0, 7), (2, 6, 1)] {
        months.clock.forward(DAY * days);
        let told = months.told(count, &expiring);
        assert_eq!((&told["days"], &told["advice_name"]), (&left.into(), &"google-testing-consent".into()), "{told}");
        assert!(told["advice"].as_str().is_some_and(|advice| advice.contains("publish it")), "{told}");
        months.sends();
    }
    months.clock.forward(DAY + HOUR);
    let told = months.told(1, &["\"event\":\"mailbox.changed\"", "\"state\":\"needs-consent\""]);
    assert_eq!(told["advice_name"], "google-testing-consent", "{told}");
    let reason = told["reason"].as_str().unwrap_or_default();
    assert!(reason.ends_with("the consent lasted exactly 7 days: the consent screen is in Testing"), "{told}");
    months.ends();
}

#[test]
fn a_refresh_token_that_lives_twelve_hours_after_each_use_outlives_a_week_of_idleness() {
    let mut months = Months::new("custom", &["--grant", "authorization-code", "--refresh-life", "12h"]);
    for _ in 0..24 {
        months.pass(HOUR * 7);
    }
    months.sends();
    assert_eq!(months.link()["mailboxes"][0]["state"], "ready");
    assert!(!months.daemon.output().contains("expiring"), "{}", months.daemon.output());
    months.ends();
}
