//! Device codes: a device asks and asks, a person answers elsewhere.

use super::*;

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

fn scope(who: provider::Provider) -> &'static str {
    if who == MICROSOFT { "https://outlook.office.com/SMTP.Send offline_access" } else { "mail.send offline_access" }
}

/// A sandbox whose devices prove nothing, and a code.
async fn begin(who: provider::Provider) -> (Provider, Value) {
    let options = Options { grant: Some(crate::provider::Grant::DeviceCode), proof: Some(Proof::None), ..options(who) };
    let provider = Provider::start(options).await.unwrap();
    let (status, answer) = ask(&provider, "/devicecode", &[("scope", scope(who))]).await;
    assert_eq!(status, 200, "{who} {answer}");
    (provider, answer)
}

async fn ask(provider: &Provider, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", provider.client_id()).extend_pairs(fields);
    http_json(provider, "POST", path, &form.finish()).await
}

async fn poll(provider: &Provider, begun: &Value) -> (u16, Value) {
    let code = begun["device_code"].as_str().unwrap();
    ask(provider, "/token", &[("grant_type", DEVICE_CODE), ("device_code", code)]).await
}

/// What the poll is told, and the number at Microsoft.
async fn told(provider: &Provider, begun: &Value) -> (String, u64) {
    let (status, answer) = poll(provider, begun).await;
    assert_eq!(status, 400, "{answer}");
    (answer["error"].as_str().unwrap().to_owned(), answer["error_codes"][0].as_u64().unwrap_or_default())
}

async fn decide(provider: &Provider, code: &str, decision: &str) -> u16 {
    let form = format!("user_code={code}&account=robot%40sandbox.example&decision={decision}");
    http(provider, "POST", "/device", &form).await.0
}

#[tokio::test]
async fn a_device_waits_for_its_person_and_slows_down_when_told() {
    for (who, pending) in [(MICROSOFT, 70_016), (CUSTOM, 0)] {
        let (provider, begun) = begin(who).await;
        assert_eq!((&begun["expires_in"], &begun["interval"]), (&json!(900), &json!(5)));
        assert_eq!(begun.get("verification_uri_complete").is_some(), who == CUSTOM);
        assert_eq!(told(&provider, &begun).await, ("authorization_pending".into(), pending));
        provider.advance(Duration::from_secs(3));
        assert_eq!(told(&provider, &begun).await.0, "slow_down");
        provider.advance(Duration::from_secs(6));
        assert_eq!(told(&provider, &begun).await.0, "slow_down", "it is ten seconds now");
        provider.advance(Duration::from_secs(15));
        assert_eq!(told(&provider, &begun).await.0, "authorization_pending");
        let code = begun["user_code"].as_str().unwrap();
        let (status, _, page) = http(&provider, "GET", &format!("/device?user_code={code}"), "").await;
        let page = String::from_utf8(page).unwrap();
        assert!(status == 200 && page.contains(&format!("value=\"{code}\"")) && page.contains("offline_access"), "{page}");
        let typed = code.to_ascii_lowercase().replace('-', "+");
        assert_eq!(decide(&provider, &typed, "allow").await, 200, "as a person types it");
        provider.advance(Duration::from_secs(15));
        let (status, tokens) = poll(&provider, &begun).await;
        assert_eq!(status, 200, "{who} {tokens}");
        let mut client = Client::secure(&provider).await;
        assert!(client.xoauth2(ADDRESS, tokens["access_token"].as_str().unwrap()).await.starts_with("235"));
        let token = tokens["refresh_token"].as_str().unwrap();
        assert_eq!(ask(&provider, "/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await.0, 200);
        provider.advance(Duration::from_secs(15));
        assert_ne!(poll(&provider, &begun).await.0, 200, "once");
        let stats = provider.stats();
        assert_eq!((&stats["device_codes"], &stats["consents"]), (&json!(1), &json!(1)));
    }
}

#[tokio::test]
async fn a_device_is_turned_away_and_its_code_ends_in_the_providers_words() {
    for (who, denied, expired) in [
        (MICROSOFT, ("authorization_declined", 65_004), ("expired_token", 70_019)),
        (CUSTOM, ("access_denied", 0), ("expired_token", 0)),
    ] {
        let (provider, begun) = begin(who).await;
        assert_eq!(decide(&provider, begun["user_code"].as_str().unwrap(), "deny").await, 200);
        assert_eq!(told(&provider, &begun).await, (denied.0.into(), denied.1));
        let (_, late) = ask(&provider, "/devicecode", &[("scope", scope(who))]).await;
        provider.advance(Duration::from_secs(900));
        assert_eq!(told(&provider, &late).await, (expired.0.into(), expired.1));
        assert_eq!(decide(&provider, late["user_code"].as_str().unwrap(), "allow").await, 400, "too late");
        assert_eq!(decide(&provider, "<script>", "allow").await, 400);
        let unknown = json!({ "device_code": "other" });
        assert_ne!(told(&provider, &unknown).await.0, "authorization_pending");
    }
}

#[tokio::test]
async fn a_confidential_client_proves_itself_while_it_polls() {
    let provider = start(MICROSOFT).await;
    let (_, begun) = ask(&provider, "/devicecode", &[("scope", scope(MICROSOFT))]).await;
    assert_eq!(told_at(&provider, &begun).await, json!([7_000_218]), "public client flows are not allowed");
    let provider = start(CUSTOM).await;
    assert_eq!(ask(&provider, "/devicecode", &[("scope", scope(CUSTOM))]).await.0, 401, "RFC 8628 §3.1");
}

async fn told_at(provider: &Provider, begun: &Value) -> Value {
    poll(provider, begun).await.1["error_codes"].clone()
}

#[tokio::test]
async fn google_gives_devices_no_mail() {
    let provider = start(GOOGLE).await;
    let (status, answer) = ask(&provider, "/devicecode", &[("scope", "https://mail.google.com/")]).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_scope")));
    assert_eq!(answer["error_description"], "Invalid device flow scope: https://mail.google.com/");
    let (status, answer) = ask(&provider, "/devicecode", &[("scope", "openid email")]).await;
    assert!(status == 200 && answer["verification_url"].as_str().unwrap().ends_with("/device"), "{answer}");
}
