//! Google's service accounts, with every row of its table of errors.

use super::assertions::signed;
use super::*;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

async fn key_file(provider: &Provider, method: &str) -> Value {
    let (status, file) = http_json(provider, method, "/service-account", "").await;
    assert_eq!(status, 200, "{file}");
    file
}

fn claims(provider: &Provider, file: &Value, change: &Value) -> Value {
    let now = i64::try_from(clock::unix_seconds(provider.shared.clock.now())).unwrap();
    let mut claims = json!({
        "iss": file["client_email"], "sub": ADDRESS, "scope": GOOGLE_SCOPE, "aud": file["token_uri"], "iat": now,
        "exp": now + 3600,
    });
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    claims
}

async fn present(provider: &Provider, assertion: &str) -> (u16, Value) {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", JWT_BEARER).append_pair("assertion", assertion);
    http_json(provider, "POST", "/token", &form.finish()).await
}

async fn ask(provider: &Provider, file: &Value, change: Value) -> (u16, Value) {
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": file["private_key_id"] });
    let key = file["private_key"].as_str().unwrap();
    present(provider, &signed("RS256", key, &header, &claims(provider, file, &change))).await
}

#[tokio::test]
async fn a_service_account_sends_as_a_user_of_its_domain() {
    let provider = start(GOOGLE).await;
    let file = key_file(&provider, "GET").await;
    assert_eq!(file, key_file(&provider, "GET").await, "the key stays");
    let (status, answer) = ask(&provider, &file, json!({})).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.get("refresh_token").is_none(), "{answer}");
    let token = answer["access_token"].as_str().unwrap();
    let mut client = Client::secure(&provider).await;
    assert!(client.xoauth2(ADDRESS, token).await.starts_with("235"));
    let mut client = Client::secure(&provider).await;
    assert!(client.xoauth2("other@sandbox.example", token).await.starts_with("334"), "of this user alone");
    let real = json!({ "aud": "https://oauth2.googleapis.com/token" });
    assert_eq!(ask(&provider, &file, real).await.0, 200, "the real audience");
    let own = ask(&provider, &file, json!({ "sub": null })).await.1["access_token"].as_str().unwrap().to_owned();
    let mut client = Client::secure(&provider).await;
    assert!(client.xoauth2(ADDRESS, &own).await.starts_with("334"), "without a subject it speaks for itself");
}

#[tokio::test]
async fn google_says_what_is_wrong_with_a_service_account() {
    let provider = start(GOOGLE).await;
    let file = key_file(&provider, "GET").await;
    let now = clock::unix_seconds(provider.shared.clock.now());
    let lifetime = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.";
    let scope = "Invalid OAuth scope or ID token audience provided.";
    for (change, error, said) in [
        (json!({ "sub": "nobody@sandbox.example" }), "invalid_grant", "Invalid email or User ID"),
        (json!({ "sub": "someone@gmail.example" }), "invalid_grant", "Invalid email or User ID"),
        (json!({ "exp": now + 3701 }), "invalid_grant", lifetime),
        (json!({ "iat": now + 400, "exp": now + 800 }), "invalid_grant", lifetime),
        (json!({ "iat": now - 4000, "exp": now - 400 }), "invalid_grant", lifetime),
        (json!({ "iat": null }), "invalid_grant", lifetime),
        (json!({ "aud": "https://other.example/token" }), "invalid_grant", "Invalid JWT: Failed audience check."),
        (json!({ "iss": "other@other.iam.gserviceaccount.com" }), "invalid_grant", "Invalid grant: account not found"),
        (json!({ "scope": "" }), "invalid_scope", scope),
        (json!({ "scope": "https://mail.google.com" }), "invalid_scope", scope),
        (json!({ "scope": "https://mail.google.com/,email" }), "invalid_scope", scope),
    ] {
        let (status, answer) = ask(&provider, &file, change.clone()).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some(error)), "{change} {answer}");
        assert!(answer["error_description"].as_str().unwrap().starts_with(said), "{change} {answer}");
    }
    let header = json!({ "alg": "RS256" });
    let stranger = certificate::client(None).unwrap().1;
    let assertion = signed("RS256", stranger.expose(), &header, &claims(&provider, &file, &json!({})));
    assert_eq!(present(&provider, &assertion).await.1["error_description"], "Invalid JWT Signature.");
    let new = key_file(&provider, "POST").await;
    assert_eq!(ask(&provider, &file, json!({})).await.1["error_description"], "Invalid JWT Signature.", "the key was deleted");
    assert_eq!(ask(&provider, &new, json!({})).await.0, 200);
    provider.switch_on(
        Fault::TokenRefused,
        Setting { error: Some("admin_policy_enforced".into()), times: Some(1), ..Setting::default() },
    );
    assert_eq!(ask(&provider, &new, json!({})).await.1["error"], "admin_policy_enforced", "the rows that need no cause");
}

#[tokio::test]
async fn a_domain_delegates_to_the_client_number_and_to_each_scope() {
    let provider = start(GOOGLE).await;
    let file = key_file(&provider, "GET").await;
    let number = file["client_id"].as_str().unwrap();
    let not = "Unauthorized client or scope in request.";
    let none = "Client is unauthorized to retrieve access tokens using this method";
    let two = format!("{GOOGLE_SCOPE} https://www.googleapis.com/auth/gmail.send");
    for (delegation, scope, status, error, said) in [
        (json!({}), GOOGLE_SCOPE, 401, "unauthorized_client", not),
        (json!({ file["client_email"].as_str().unwrap(): [GOOGLE_SCOPE] }), GOOGLE_SCOPE, 401, "unauthorized_client", not),
        (json!({ number: ["https://mail.google.com"] }), GOOGLE_SCOPE, 401, "unauthorized_client", none),
        (json!({ number: [GOOGLE_SCOPE] }), &two, 403, "access_denied", "Requested client not authorized."),
        (json!({ number: [GOOGLE_SCOPE] }), GOOGLE_SCOPE, 200, "", ""),
    ] {
        assert_eq!(http(&provider, "PUT", "/delegation", &delegation.to_string()).await.0, 204);
        let (heard, answer) = ask(&provider, &file, json!({ "scope": scope })).await;
        assert_eq!((heard, answer["error"].as_str().unwrap_or_default()), (status, error), "{delegation} {answer}");
        assert!(answer["error_description"].as_str().unwrap_or_default().starts_with(said), "{delegation} {answer}");
    }
    assert_eq!(http(&provider, "PUT", "/delegation", "{}").await.0, 204);
    assert_eq!(http(&provider, "DELETE", "/delegation", "").await.0, 204);
    assert_eq!(ask(&provider, &file, json!({})).await.0, 200);
}

#[tokio::test]
async fn nobody_but_google_has_service_accounts() {
    for who in [MICROSOFT, CUSTOM] {
        let provider = start(who).await;
        let file = key_file(&provider, "GET").await;
        let (status, _) = ask(&provider, &file, json!({})).await;
        assert_eq!(status, 400, "{who}");
    }
}
