//! Logins: what is asked, what is taken for the mailbox's grant, and when.

use super::*;
use crate::oauth::{
    consent::{Issuer, Opening},
    device::Polling,
};
use std::collections::BTreeMap as Map;

/// A bench with an authorization and a device endpoint.
async fn bench(provider: Provider, answer: impl Fn(usize, &Parameters) -> Response + Send + Sync + 'static) -> Bench {
    let mut bench = Bench::new(Grant::AuthorizationCode, answer).await;
    edit(&mut bench, |link| {
        let url = |path: &str| url::Url::parse(&format!("{}{path}", link.token_endpoint.as_str().trim_end_matches("token"))).ok();
        (link.authorization_endpoint, link.device_endpoint, link.provider) = (url("auth"), url("device"), provider);
    });
    bench
}

fn edit(bench: &mut Bench, change: impl FnOnce(&mut Link)) {
    let mut link = (*bench.settings.links[&name("contoso")]).clone();
    change(&mut link);
    bench.settings.links.insert(link.name.clone(), Arc::new(link));
    bench.tokens.configure(&bench.settings).unwrap();
}

fn consent(bench: &Bench) -> Consent {
    bench.tokens.consent(&name("a")).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

async fn exchange(bench: &Bench) -> Result<Candidate, Refusal> {
    consent(bench).exchange(&secret("marked-code"), &secret("marked-verifier"), "http://localhost:1").await
}

fn full(_: usize, _: &Parameters) -> Response {
    json(200, r#"{"access_token":"at1","expires_in":3600,"refresh_token":"r1","refresh_token_expires_in":60}"#.into())
}

#[tokio::test]
async fn the_address_asks_each_provider_for_a_refresh_token() {
    for (provider, scope, expected) in [
        (Provider::Google, "https://mail.google.com/", &[("access_type", "offline"), ("prompt", "consent")][..]),
        (Provider::Microsoft, "offline_access", &[]),
        (Provider::Custom, "offline_access", &[("prompt", "consent")]),
        (Provider::Custom, "mail.send", &[]),
    ] {
        let mut bench = bench(provider, full).await;
        edit(&mut bench, |link| link.scopes = vec![scope.into()]);
        let url = consent(&bench).address(&Opening::new(&[3; 64]), "http://localhost:1").unwrap();
        let pairs: Map<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(pairs["login_hint"], "a@example.com");
        for name in ["access_type", "prompt"] {
            let wanted = expected.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            assert_eq!(pairs.get(name).map(String::as_str), wanted, "{provider}: {name}");
        }
    }
}

#[tokio::test]
async fn who_answers_is_compared_where_it_is_known() {
    for (provider, endpoint, expected) in [
        (Provider::Google, "https://accounts.google.com/o/oauth2/v2/auth", Issuer::Exact("https://accounts.google.com".into())),
        (Provider::Google, "http://127.0.0.1:1/auth", Issuer::Unknown),
        (
            Provider::Microsoft,
            "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
            Issuer::Host("login.microsoftonline.com".into()),
        ),
        (Provider::Custom, "https://login.example.com/auth", Issuer::Unknown),
    ] {
        let mut bench = bench(provider, full).await;
        edit(&mut bench, |link| link.authorization_endpoint = url::Url::parse(endpoint).ok());
        assert_eq!(consent(&bench).issuer(), expected, "{endpoint}");
    }
}

#[tokio::test]
async fn a_candidate_becomes_the_grant_only_when_it_is_adopted_and_then_serves_at_once() {
    let bench = bench(Provider::Microsoft, full).await;
    let candidate = exchange(&bench).await.unwrap();
    assert!(bench.store.grant(&name("a")).await.unwrap().is_none());
    assert!(!bench.tokens.has_working_grant(&name("a")).await.unwrap());
    assert_eq!(candidate.refresh_until, Some(*bench.clock.lock().unwrap() + Duration::from_secs(60)));
    bench.tokens.adopt(&name("a"), candidate, Some("ann".into())).await.unwrap();
    assert_eq!(
        (bench.stored().await.as_str(), bench.store.grant(&name("a")).await.unwrap().unwrap().origin.as_str()),
        ("r1", "authorization-code")
    );
    assert_eq!((bench.access("a").await.unwrap(), bench.endpoint.asked()), ("at1".into(), 1));
    assert!(bench.tokens.has_working_grant(&name("a")).await.unwrap());
    // Once the provider has refused it, there is nothing to lose.
    bench.endpoint.now_answers(refuses("invalid_grant"));
    bench.pass(3600);
    assert!(bench.access("a").await.is_err());
    assert!(!bench.tokens.has_working_grant(&name("a")).await.unwrap());
}

#[tokio::test]
async fn an_adopted_grant_wins_over_a_renewal_of_the_old_one_that_is_in_the_air() {
    let bench = bench(Provider::Microsoft, full).await;
    bench.tokens.import(&name("a"), secret("old"), None).await.unwrap();
    let candidate = exchange(&bench).await.unwrap();
    bench.endpoint.now_answers(|_, form| {
        let rotated = if form["refresh_token"] == "old" { "old2" } else { "r2" };
        json(200, format!(r#"{{"access_token":"of-{rotated}","expires_in":3600,"refresh_token":"{rotated}"}}"#))
    });
    bench.endpoint.leave.forget_permits(10_000);
    let tokens = bench.tokens.clone();
    let waiter = tokio::spawn(async move { tokens.access(&name("a")).await });
    while bench.endpoint.asked() < 2 {
        tokio::task::yield_now().await;
    }
    bench.tokens.adopt(&name("a"), candidate, Some("ann".into())).await.unwrap();
    bench.endpoint.leave.add_permits(10_000);
    assert_eq!(waiter.await.unwrap().unwrap().secret.expose(), "of-r2");
    assert_eq!(bench.stored().await, "r2");
}

#[tokio::test]
async fn without_a_refresh_token_nothing_is_taken_and_the_way_to_one_is_told() {
    for (provider, told) in [
        (Provider::Google, "myaccount.google.com/permissions"),
        (Provider::Microsoft, "\"offline_access\" to `scopes` of [link.contoso]"),
        (Provider::Custom, "offline_access"),
    ] {
        let bench = bench(provider, numbered).await;
        let refusal = exchange(&bench).await.unwrap_err();
        assert!(refusal.reason.contains("no refresh token") && refusal.advice.text.contains(told), "{provider}: {refusal}");
    }
}

#[tokio::test]
async fn a_refused_code_is_explained_without_being_repeated() {
    let answer = |_: usize, form: &Parameters| {
        json(400, format!(r#"{{"error":"invalid_grant","error_description":"{} {}"}}"#, form["code"], form["code_verifier"]))
    };
    let bench = bench(Provider::Custom, answer).await;
    let refusal = exchange(&bench).await.unwrap_err();
    assert!(refusal.reason.contains("answered 400 invalid_grant: [secret] [secret]"), "{refusal}");
    assert!(refusal.advice.name().is_some(), "{refusal:?}");
    assert!(refusal.advice.text.contains("outlink authorize a") && refusal.advice.text.contains("a@example.com"), "{refusal}");
    bench.endpoint.now_answers(|_, _| json(503, String::new()));
    assert!(exchange(&bench).await.unwrap_err().advice.text.contains("start the login again"));
}

#[tokio::test]
async fn a_link_changed_during_the_login_takes_no_grant_of_the_old_client() {
    let mut bench = bench(Provider::Microsoft, full).await;
    let candidate = exchange(&bench).await.unwrap();
    edit(&mut bench, |link| link.client_id = "another".into());
    let refusal = bench.tokens.adopt(&name("a"), candidate, Some("ann".into())).await.unwrap_err();
    assert!(refusal.reason.contains("was changed while the login went on"), "{refusal}");
    assert!(bench.store.grant(&name("a")).await.unwrap().is_none());
}

#[tokio::test]
async fn only_links_whose_grant_is_a_persons_need_a_login() {
    let bench = Bench::new(Grant::ClientCredentials, full).await;
    let refusal = bench.tokens.consent(&name("a")).unwrap_err();
    assert!(refusal.reason.contains("grant = \"client-credentials\""), "{refusal}");
    let refusal = bench.tokens.consent(&name("z")).unwrap_err();
    assert!(refusal.reason.contains("z is not configured"), "{refusal}");
}

#[tokio::test]
async fn a_device_code_is_asked_for_until_it_was_entered() {
    let bench = bench(Provider::Microsoft, |number, form| match number {
        1 => json(200, r#"{"device_code":"dc","user_code":"AB","verification_uri":"https://m.example/d","interval":5}"#.into()),
        2 => json(400, r#"{"error":"authorization_pending"}"#.into()),
        3 => json(400, r#"{"error":"slow_down"}"#.into()),
        4 => json(503, "<html>".into()),
        _ if form["device_code"] == "dc" => full(number, form),
        _ => json(400, r#"{"error":"invalid_request"}"#.into()),
    })
    .await;
    let consent = consent(&bench);
    let started = consent.start_device().await.unwrap();
    let mut polling = Polling::new(&started, *bench.clock.lock().unwrap());
    for pause in [5, 10, 20] {
        assert!(consent.ask_device(&started.device_code, &mut polling).await.unwrap().is_none());
        assert_eq!(polling.next(), Some(*bench.clock.lock().unwrap() + Duration::from_secs(pause)));
    }
    let candidate = consent.ask_device(&started.device_code, &mut polling).await.unwrap().unwrap();
    assert_eq!((candidate.refresh_token.expose(), candidate.origin), ("r1", Origin::DeviceCode));
    // A refusal ends it.
    bench.endpoint.now_answers(refuses("authorization_declined"));
    let refusal = consent.ask_device(&started.device_code, &mut polling).await.unwrap_err();
    assert!(
        refusal.reason.contains("authorization_declined") && refusal.advice.text.contains("start the login again"),
        "{refusal}"
    );
}

#[tokio::test]
async fn google_and_links_without_a_device_endpoint_have_no_device_codes() {
    let google = bench(Provider::Google, full).await;
    assert!(consent(&google).start_device().await.unwrap_err().reason.contains("Google gives no permission for mail"));
    let mut custom = bench(Provider::Custom, full).await;
    edit(&mut custom, |link| link.device_endpoint = None);
    assert!(consent(&custom).start_device().await.unwrap_err().advice.text.contains("device-endpoint"));
    assert_eq!((google.endpoint.asked(), custom.endpoint.asked()), (0, 0));
}
