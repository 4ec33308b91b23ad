//! Refresh tokens, client secrets and certificates of a chosen life.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn the_life_of_a_refresh_token_is_told_and_over_when_it_was_told() {
    for (who, name, told, said) in [
        (GOOGLE, "refresh_token_expires_in", 2, "Token has been expired or revoked."),
        (MICROSOFT, "refresh_token_expires_in", 2, "AADSTS700084: The refresh token was issued to a single page app (SPA)"),
        (CUSTOM, "refresh_expires_in", 3, "the refresh token is not valid"),
    ] {
        let provider = Provider::start(Options { refresh_life: Some(DAY * 3), ..options(who) }).await.unwrap();
        let first = provider.refresh_token(ADDRESS);
        provider.advance(DAY);
        let (status, answer) = refresh(&provider, first.expose()).await;
        let left = answer[name].as_u64().unwrap_or_default();
        assert!(status == 200 && left.abs_diff(told * DAY.as_secs()) <= 5, "{who}: {answer}");
        let token = answer["refresh_token"].as_str().unwrap_or(first.expose()).to_owned();
        provider.advance(DAY * 3);
        let (status, answer) = refresh(&provider, &token).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")), "{who}");
        assert!(answer["error_description"].as_str().is_some_and(|text| text.starts_with(said)), "{who}: {answer}");
        assert_eq!(refresh(&provider, provider.refresh_token(ADDRESS).expose()).await.0, 200, "{who}: a new consent");
    }
    let provider = start(CUSTOM).await;
    let (_, answer) = refresh(&provider, provider.refresh_token(ADDRESS).expose()).await;
    assert!(answer.get("refresh_expires_in").is_none(), "nothing is told that was not chosen: {answer}");
}

#[tokio::test]
async fn a_client_secret_counts_until_the_end_of_its_last_day() {
    let provider = Provider::start(Options { secret_life: Some(DAY * 10), ..options(MICROSOFT) }).await.unwrap();
    let token = provider.refresh_token(ADDRESS);
    provider.advance(DAY * 10);
    assert_eq!(refresh(&provider, token.expose()).await.0, 200);
    provider.advance(DAY);
    let (status, answer) = refresh(&provider, token.expose()).await;
    assert_eq!((status, &answer["error_codes"]), (401, &json!([7_000_222])));
}
