//! Refresh tokens that work once, and clients whose secret has ended.

use super::*;

#[tokio::test]
async fn a_refresh_token_used_twice_ends_its_grant_at_every_provider_that_takes_it_once() {
    for (who, fault, used_twice, revoked) in [
        (CUSTOM, false, "the refresh token was used twice, its grant is revoked", "the refresh token is not valid"),
        (GOOGLE, true, "Token has been expired or revoked: it was used twice.", "Token has been expired or revoked."),
        (
            MICROSOFT,
            true,
            "AADSTS70000: Provided grant is invalid or malformed. The refresh token was used twice.",
            "AADSTS50173: ",
        ),
    ] {
        let provider = start(who).await;
        if fault {
            assert_eq!(http(&provider, "PUT", "/faults/one-time-refresh-tokens", "").await.0, 204);
        }
        let first = provider.refresh_token(ADDRESS);
        let (status, answer) = refresh(&provider, first.expose()).await;
        let second = answer["refresh_token"].as_str().unwrap_or_else(|| panic!("{who}: {answer}")).to_owned();
        assert_eq!(status, 200);
        for (token, said) in [(first.expose(), used_twice), (&second, revoked)] {
            let (status, answer) = refresh(&provider, token).await;
            assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")), "{who} {answer}");
            assert!(answer["error_description"].as_str().unwrap().starts_with(said), "{who} {answer}");
        }
        assert_eq!(provider.stats()["refresh_token_reuses"], 1, "{who}");
        assert_eq!(refresh(&provider, provider.refresh_token(ADDRESS).expose()).await.0, 200, "a new consent mends it");
    }
}

#[tokio::test]
async fn refresh_tokens_work_more_than_once_before_and_after_the_fault() {
    for who in [GOOGLE, MICROSOFT] {
        let provider = start(who).await;
        let first = provider.refresh_token(ADDRESS);
        assert_eq!(refresh(&provider, first.expose()).await.0, 200);
        let other = Setting { mailbox: Some("other@sandbox.example".into()), ..Setting::default() };
        provider.switch_on(Fault::OneTimeRefreshTokens, other);
        assert_eq!(refresh(&provider, first.expose()).await.0, 200, "it is for another mailbox");
        provider.switch_on(Fault::OneTimeRefreshTokens, Setting::default());
        let second = refresh(&provider, first.expose()).await.1["refresh_token"].as_str().unwrap().to_owned();
        provider.switch_off(Fault::OneTimeRefreshTokens);
        for _ in 0..2 {
            assert_eq!(refresh(&provider, &second).await.0, 200, "{who}");
        }
        assert_eq!(refresh(&provider, first.expose()).await.0, 400, "{who}: what was replaced stays so");
    }
}

#[tokio::test]
async fn an_expired_client_secret_is_said_in_the_providers_words_until_it_is_renewed() {
    for (who, said, code) in [
        (GOOGLE, "Unauthorized", Value::Null),
        (MICROSOFT, "AADSTS7000222: The provided client secret keys for app '00000000-", json!([7_000_222])),
        (CUSTOM, "the client secret has expired", Value::Null),
    ] {
        let provider = start(who).await;
        let token = provider.refresh_token(ADDRESS);
        assert_eq!(http(&provider, "PUT", "/faults/client-secret-expired", "").await.0, 204);
        let (status, answer) = refresh(&provider, token.expose()).await;
        assert_eq!((status, answer["error"].as_str()), (401, Some("invalid_client")), "{who} {answer}");
        assert!(answer["error_description"].as_str().unwrap().starts_with(said), "{who} {answer}");
        assert_eq!(answer["error_codes"], code, "{who} {answer}");
        provider.switch_off(Fault::ClientSecretExpired);
        assert_eq!(refresh(&provider, token.expose()).await.0, 200, "{who}: the refresh token was not spent");
    }
}

#[tokio::test]
async fn a_throttled_client_is_told_the_seconds_that_were_set() {
    let provider = start(MICROSOFT).await;
    for (setting, header) in [("", "retry-after: 10"), (r#"{"retry_after": 3}"#, "retry-after: 3")] {
        assert_eq!(http(&provider, "PUT", "/faults/token-server-throttled", setting).await.0, 204);
        let (status, head, body) = http(&provider, "POST", "/token", "").await;
        assert!(status == 429 && head.lines().any(|line| line == header), "{head}");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["error"], "temporarily_unavailable");
    }
    provider.switch_off(Fault::TokenServerThrottled);
    assert_eq!(refresh(&provider, provider.refresh_token(ADDRESS).expose()).await.0, 200);
}
