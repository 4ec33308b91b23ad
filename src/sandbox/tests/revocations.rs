//! The end of a consent by the client's own wish (RFC 7009).

use super::consents::{code, redirect};
use super::*;

async fn revoke(provider: &Provider, token: &str, secret: bool) -> (u16, Value) {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("token", token);
    if secret {
        form.append_pair("client_id", provider.client_id()).append_pair("client_secret", provider.client_secret().expose());
    }
    http_json(provider, "POST", "/revoke", &form.finish()).await
}

/// Access token and refresh token of a new consent.
async fn consent(provider: &Provider) -> [String; 2] {
    let code = code(provider, &[]).await;
    let redirect = redirect(provider.shared.options.provider);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", redirect),
        ("code_verifier", consents::VERIFIER),
    ];
    let tokens = ask_token(provider, &fields).await.1;
    ["access_token", "refresh_token"].map(|name| tokens[name].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned())
}

async fn logs_in(provider: &Provider, token: &str) -> bool {
    Client::secure(provider).await.xoauth2(ADDRESS, token).await.starts_with("235")
}

#[tokio::test]
async fn a_revoked_token_of_either_kind_ends_the_whole_consent() {
    for who in [GOOGLE, CUSTOM] {
        let provider = start(who).await;
        for kind in 0..2 {
            let (tokens, other) = (consent(&provider).await, consent(&provider).await);
            assert!(logs_in(&provider, &tokens[0]).await);
            let (status, answer) = revoke(&provider, &tokens[kind], who == CUSTOM).await;
            assert_eq!(status, 200, "{who} {answer}");
            assert!(!logs_in(&provider, &tokens[0]).await, "{who}");
            assert_eq!(refresh(&provider, &tokens[1]).await.1["error"], "invalid_grant", "{who}");
            // Google ends the application's access to the account, Custom this consent.
            assert_eq!(logs_in(&provider, &other[0]).await, who == CUSTOM);
        }
        assert_eq!(provider.stats()["revocations"], 2);
    }
}

#[tokio::test]
async fn what_does_not_count_is_revoked_already_but_not_for_google() {
    for (who, status, error) in [(GOOGLE, 400, json!("invalid_token")), (CUSTOM, 200, Value::Null)] {
        let provider = start(who).await;
        let (heard, answer) = revoke(&provider, "unknown", who == CUSTOM).await;
        assert_eq!((heard, &answer["error"]), (status, &error), "{who} {answer}");
    }
    let provider = start(CUSTOM).await;
    let tokens = consent(&provider).await;
    assert_eq!(revoke(&provider, &tokens[1], false).await.0, 400, "RFC 7009 §2.1: the client says who it is");
    assert!(logs_in(&provider, &tokens[0]).await);
    let provider = start(MICROSOFT).await;
    assert_eq!(revoke(&provider, "any", true).await.0, 404, "there is no such endpoint");
}
