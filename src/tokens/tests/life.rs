//! What is kept alive, what ends, and what is told of both.

use super::*;
use crate::{config::Certificate, oauth::forecast::Warning};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// A bench with a grant, its link another one.
async fn bench(change: impl FnOnce(&mut Link), answer: impl Fn(usize, &Parameters) -> Response + Send + Sync + 'static) -> Bench {
    let mut bench = Bench::new(Grant::AuthorizationCode, answer).await;
    edit(&mut bench, change);
    bench.tokens.import(&name("a"), Secret::new("r1".into()), None).await.unwrap();
    bench
}

fn edit(bench: &mut Bench, change: impl FnOnce(&mut Link)) {
    let mut link = (*bench.settings.links[&name("contoso")]).clone();
    change(&mut link);
    bench.settings.links.insert(link.name.clone(), Arc::new(link));
    bench.tokens.configure(&bench.settings).unwrap();
}

fn of(provider: Provider) -> impl FnOnce(&mut Link) {
    move |link| link.provider = provider
}

/// A token, and that the refresh token lives so long from now.
fn telling(seconds: u64) -> impl Fn(usize, &Parameters) -> Response + Send + Sync + 'static {
    move |number, _| {
        let tokens = format!(r#""access_token":"at{number}","expires_in":3600,"refresh_token":"r{}""#, number + 1);
        json(200, format!(r#"{{{tokens},"refresh_expires_in":{seconds}}}"#))
    }
}

impl Bench {
    /// Lets time pass, and the background do what is due.
    async fn wait(&self, seconds: u64) {
        self.pass(seconds);
        self.tokens.tick().await;
        self.settle().await;
    }

    fn now(&self) -> SystemTime {
        *self.clock.lock().unwrap()
    }

    /// What ends: who, what, in how many days, and by which name it is advised.
    async fn ends(&self) -> Vec<(String, &'static str, u64, String)> {
        let endings = self.tokens.endings().await;
        let row = |ending: &Ending| {
            let who = ending.mailbox.as_ref().unwrap_or(&ending.link).to_string();
            (who, ending.what, ending.days_left(self.now()), ending.advice.name.to_string())
        };
        endings.iter().map(row).collect()
    }

    fn trouble(&self) -> (String, String) {
        let failure = self.tokens.status()[0].failure.clone().unwrap();
        (failure.reason, failure.advice.name.into_owned())
    }
}

fn row(who: &str, what: &'static str, days: u64, advice: &str) -> (String, &'static str, u64, String) {
    (who.to_owned(), what, days, advice.to_owned())
}

#[tokio::test]
async fn a_refresh_token_that_slides_by_twelve_hours_is_used_every_three_by_nobody() {
    let bench = bench(of(Provider::Custom), telling(12 * HOUR)).await;
    for hour in 0..48 {
        bench.wait(if hour == 0 { 0 } else { HOUR }).await;
        assert_eq!(bench.endpoint.asked(), 1 + hour / 3, "hour {hour}");
    }
    let grant = bench.store.grant(&name("a")).await.unwrap().unwrap();
    assert_eq!((grant.refresh_moves, grant.refresh_until), (Some(true), Some(bench.now() + Duration::from_secs(10 * HOUR))));
    assert_eq!(bench.ends().await, [], "renewals work");
    // The next process knows it too.
    let time = bench.clock.clone();
    let next = Tokens::with_clock(bench.store.clone(), move || *time.lock().unwrap());
    next.configure(&bench.settings).unwrap();
    for (passed, asked) in [(0, 16), (HOUR - 1, 16), (1, 17)] {
        bench.pass(passed);
        next.tick().await;
        let mut flights = std::mem::take(&mut *next.flights());
        while flights.join_next().await.is_some() {}
        assert_eq!(bench.endpoint.asked(), asked, "{passed}");
    }
}

#[tokio::test]
async fn a_refresh_token_whose_end_stays_is_used_daily_and_told_of() {
    let end = 1_800_000_000 + 20 * DAY;
    let bench = bench(of(Provider::Custom), |_, _| json(200, String::new())).await;
    let time = bench.clock.clone();
    bench.endpoint.now_answers(move |number, form| {
        let now = time.lock().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        telling(end - now)(number, form)
    });
    for _ in 0..3 {
        bench.wait(DAY).await;
    }
    assert_eq!(bench.endpoint.asked(), 3);
    assert_eq!(bench.ends().await, [row("a", "refresh token", 17, "refresh-token-ends")]);
    let ending = bench.tokens.endings().await.remove(0);
    assert_eq!(ending.warning(bench.now()), Some(Warning::Days30));
    assert!(ending.reason.contains("ends at 2027-02-04") && ending.advice.text.contains("outlink authorize a"), "{ending:?}");
    let status = bench.tokens.status_with_grants().await.remove(0);
    assert_eq!(status.refresh_until.map(status::rfc3339).as_deref(), Some("2027-02-04T08:00:00Z"));
    assert!(status.refresh_end_reason.is_some_and(|why| why.contains("provider told")));
}

#[tokio::test]
async fn what_lies_unused_is_an_ending_only_while_renewals_fail() {
    let bench = bench(of(Provider::Microsoft), numbered).await;
    bench.wait(0).await;
    assert_eq!(bench.ends().await, []);
    let status = bench.tokens.status_with_grants().await.remove(0);
    let until = status.refresh_until.map(status::rfc3339);
    assert_eq!((status.state, until.as_deref()), (State::Ready, Some("2027-04-15T08:00:00Z")));
    bench.endpoint.now_answers(|_, _| json(503, String::new()));
    for day in 1..=50 {
        bench.wait(DAY).await;
        let expected = if day < 45 { vec![] } else { vec![row("a", "refresh token", 90 - day, "refresh-token-unused")] };
        assert_eq!(bench.ends().await, expected, "day {day}");
    }
    bench.endpoint.now_answers(numbered);
    bench.wait(DAY).await;
    assert_eq!(bench.ends().await, []);
}

#[tokio::test]
async fn a_consent_that_ends_after_seven_days_tells_of_a_screen_in_testing_and_the_next_is_foretold() {
    let bench = bench(of(Provider::Google), numbered).await;
    for _ in 0..7 {
        bench.wait(DAY - 60).await;
    }
    assert_eq!((bench.state(), bench.ends().await), (State::Ready, vec![]));
    bench.endpoint.now_answers(|_, _| {
        json(400, r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#.into())
    });
    bench.wait(DAY).await;
    assert_eq!(bench.state(), State::NeedsConsent);
    let (reason, advice) = bench.trouble();
    assert!(reason.ends_with("the consent lasted exactly 7 days: the consent screen is in Testing"), "{reason}");
    assert_eq!(advice, "google-testing-consent");
    // The next consent.
    bench.endpoint.now_answers(numbered);
    bench.tokens.import(&name("a"), Secret::new("s1".into()), None).await.unwrap();
    bench.wait(0).await;
    assert_eq!(bench.ends().await, [row("a", "refresh token", 7, "google-testing-consent")]);
    for _ in 0..8 {
        bench.wait(DAY).await;
    }
    assert_eq!(bench.ends().await, [], "it lasts: the screen was published");
}

#[tokio::test]
async fn a_consent_that_google_gives_for_seven_days_is_told_of_from_the_first() {
    let bench = bench(of(Provider::Google), |number, _| {
        json(200, format!(r#"{{"access_token":"at{number}","expires_in":3600,"refresh_token_expires_in":604799}}"#))
    })
    .await;
    bench.wait(0).await;
    assert_eq!(bench.ends().await, [row("a", "refresh token", 7, "google-testing-consent")]);
    let reason = &bench.tokens.endings().await[0].reason;
    assert!(reason.contains("7 days after the consent, because Google's consent screen is in Testing"), "{reason}");
}

#[tokio::test]
async fn a_grant_that_lay_unused_says_since_when() {
    let bench = bench(of(Provider::Microsoft), numbered).await;
    bench.wait(0).await;
    bench.endpoint.now_answers(|_, _| {
        let text = "AADSTS700082: The refresh token has expired due to inactivity.";
        json(400, format!(r#"{{"error":"invalid_grant","error_description":"{text}","error_codes":[700082]}}"#))
    });
    bench.wait(100 * DAY).await;
    let (reason, advice) = bench.trouble();
    assert!(reason.ends_with("it was last used at 2027-01-15T08:00:00Z, and one that is not used for 90 days ends"), "{reason}");
    assert_eq!(advice, "microsoft-unused-90-days");
    assert_eq!(bench.ends().await, [row("a", "refresh token", 0, "refresh-token-unused")]);
}

#[tokio::test]
async fn a_client_secret_ends_with_its_last_day() {
    let last = chrono::NaiveDate::from_ymd_opt(2027, 2, 15);
    let mut bench = bench(|link| link.client_secret_expires = last, numbered).await;
    assert_eq!(bench.ends().await, [row("contoso", "client secret", 32, "client-secret-ends")]);
    let warned = async |bench: &Bench| bench.tokens.endings().await[0].warning(bench.now());
    for (days, warning) in
        [(1, Warning::Days60), (1, Warning::Days30), (22, Warning::Days30), (1, Warning::Days7), (6, Warning::Day1)]
    {
        bench.pass(days * DAY);
        assert_eq!(warned(&bench).await, Some(warning), "{days} days later");
    }
    bench.pass(16 * HOUR);
    assert_eq!(warned(&bench).await, Some(Warning::Ended));
    let ending = bench.tokens.endings().await.remove(0);
    assert!(ending.reason.contains("ended with 2027-02-15"), "{ending:?}");
    // A link that proves itself otherwise has none.
    edit(&mut bench, |link| link.proof = Proof::None);
    assert_eq!(bench.ends().await, []);
}

/// Writes a certificate with its key that counts for these days of January 2027.
fn write_certificate(file: &std::path::Path, from: u8, to: u8) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2027, 1, from), rcgen::date_time_ymd(2027, 1, to));
    let key = rcgen::KeyPair::generate().unwrap();
    let text = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

#[tokio::test]
async fn a_certificate_ends_and_one_in_its_place_is_seen_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("client.pem");
    write_certificate(&file, 1, 20);
    let proof = Proof::Certificate(Certificate::Pem { certificate: file.clone(), private_key: None });
    let bench = bench(|link| link.proof = proof, numbered).await;
    for _ in 0..2 {
        assert_eq!(bench.ends().await, [row("contoso", "certificate", 5, "certificate-ends")]);
    }
    // What cannot be read is as it was.
    std::fs::rename(&file, directory.path().join("away")).unwrap();
    assert_eq!(bench.ends().await, [row("contoso", "certificate", 5, "certificate-ends")]);
    for (from, to, days, advice, warning) in [
        (1, 15, 0, "certificate-ends", Warning::Ended),
        (16, 31, 16, "certificate-not-yet", Warning::NotYet),
        (10, 31, 16, "certificate-ends", Warning::Days30),
    ] {
        write_certificate(&file, from, to);
        assert_eq!(bench.ends().await, [row("contoso", "certificate", days, advice)]);
        let ending = bench.tokens.endings().await.remove(0);
        assert_eq!(ending.warning(bench.now()), Some(warning), "{ending:?}");
    }
}

#[tokio::test]
async fn whatever_changes_what_is_told_is_told() {
    let mut bench = bench(of(Provider::Custom), numbered).await;
    let mut changes = bench.tokens.changes();
    let mut told = || {
        let told = changes.has_changed().unwrap();
        changes.mark_unchanged();
        told
    };
    assert!(!told());
    bench.wait(0).await;
    assert!(told(), "a landing");
    bench.endpoint.now_answers(refuses("temporarily_unavailable"));
    bench.wait(DAY).await;
    assert!(told(), "a failure");
    bench.tokens.import(&name("a"), Secret::new("r9".into()), None).await.unwrap();
    assert!(told(), "a grant");
    edit(&mut bench, |link| link.client_id = "other".into());
    assert!(told(), "settings");
    bench.tokens.revoke(&name("a")).await.unwrap();
    assert!(told(), "a grant's end");
}

#[tokio::test]
async fn every_advice_has_its_row() {
    for (grant, advice) in [(false, "no-grant-yet"), (true, "grant-of-another-client")] {
        let mut bench = Bench::new(Grant::AuthorizationCode, numbered).await;
        if grant {
            bench.tokens.import(&name("a"), Secret::new("r1".into()), None).await.unwrap();
            edit(&mut bench, |link| link.client_id = "other".into());
        }
        assert!(bench.access("a").await.is_err());
        assert_eq!(bench.trouble().1, advice);
    }
    let bench = bench(of(Provider::Custom), |_, _| json(200, r#"{"access_token":"at","expires_in":0}"#.into())).await;
    assert!(bench.access("a").await.is_err());
    let (reason, advice) = bench.trouble();
    let entry = crate::provider::advice_named(&advice).unwrap();
    assert_eq!((entry.name, entry.cause), ("token-dead-on-arrival", reason.as_str()));
    assert_eq!(bench.tokens.status()[0].failure.clone().unwrap().advice.text, entry.step);
    std::fs::remove_file(bench.directory.path().join("secret")).unwrap();
    bench.wait(60).await;
    assert_eq!(bench.trouble().1, "proof-unreadable");
}
