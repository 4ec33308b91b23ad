//! Consents in the browser and the codes that come of them, as each provider gives them.

use super::*;
use aws_lc_rs::digest;
use std::collections::HashMap;
use url::Url;

pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

pub(super) fn redirect(who: provider::Provider) -> &'static str {
    match who {
        GOOGLE => "http://127.0.0.1:5000",
        MICROSOFT => "http://localhost:5000",
        CUSTOM => "http://127.0.0.1:5000/oauth/callback",
    }
}

pub(super) fn scope(who: provider::Provider) -> &'static str {
    match who {
        GOOGLE => "https://mail.google.com/ openid email",
        MICROSOFT => "https://outlook.office.com/SMTP.Send offline_access openid profile",
        CUSTOM => "mail.send offline_access openid email",
    }
}

/// A question with everything that it takes; `change` adds, replaces, or with an empty value takes away.
pub(super) fn question(provider: &Provider, change: &[(&str, &str)]) -> String {
    let who = provider.shared.options.provider;
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, VERIFIER.as_bytes()));
    let mut fields = vec![
        ("client_id", provider.client_id()),
        ("redirect_uri", redirect(who)),
        ("response_type", "code"),
        ("scope", scope(who)),
        ("state", "a state&more"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("access_type", "offline"),
        ("prompt", "consent"),
        ("login_hint", ADDRESS),
    ];
    fields.retain(|(name, _)| change.iter().all(|(changed, _)| changed != name));
    fields.extend(change.iter().filter(|(_, value)| !value.is_empty()));
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    format!("/authorize?{query}")
}

/// Where a response sends the browser, and with what.
fn location(head: &str) -> (String, HashMap<String, String>) {
    let line = head.lines().find_map(|line| line.strip_prefix("location: "));
    let mut url = Url::parse(line.unwrap_or_else(|| panic!("no redirect: {head}"))).unwrap();
    let pairs = url.query_pairs().into_owned().collect();
    url.set_query(None);
    (url.to_string(), pairs)
}

async fn press(provider: &Provider, question: &str, form: &str) -> (String, HashMap<String, String>) {
    let (status, head, body) = http(provider, "POST", question, form).await;
    assert_eq!(status, 302, "{}", String::from_utf8_lossy(&body));
    location(&head)
}

const ALLOW: &str = "account=robot%40sandbox.example&decision=allow";

pub(super) async fn code(provider: &Provider, change: &[(&str, &str)]) -> String {
    press(provider, &question(provider, change), ALLOW).await.1["code"].clone()
}

async fn redeem(provider: &Provider, code: &str, change: &[(&str, &str)]) -> (u16, Value) {
    let who = provider.shared.options.provider;
    let mut fields =
        vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect(who)), ("code_verifier", VERIFIER)];
    fields.retain(|(name, _)| change.iter().all(|(changed, _)| changed != name));
    fields.extend(change.iter().filter(|(_, value)| !value.is_empty()));
    ask_token(provider, &fields).await
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_consent_gives_tokens_that_log_in_and_can_be_refreshed() {
    for who in [GOOGLE, MICROSOFT, CUSTOM] {
        let provider = start(who).await;
        let question = question(&provider, &[]);
        let (status, _, page) = http(&provider, "GET", &question, "").await;
        let page = String::from_utf8(page).unwrap();
        assert!(status == 200 && page.contains("value=\"robot@sandbox.example\""), "{who} {page}");
        let action = page.split("action=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
        assert_eq!(action, question, "{who}: the form goes where the question was");
        let (at, answer) = press(&provider, &action, ALLOW).await;
        assert_eq!(at.trim_end_matches('/'), redirect(who));
        assert_eq!(answer["state"], "a state&more");
        let issuer = match who {
            GOOGLE => Some("https://accounts.google.com".to_owned()),
            MICROSOFT => None,
            CUSTOM => Some(format!("http://{}", provider.http())),
        };
        assert_eq!(answer.get("iss"), issuer.as_ref());
        let (status, tokens) = redeem(&provider, &answer["code"], &[]).await;
        assert_eq!(status, 200, "{who} {tokens}");
        let id = claims(tokens["id_token"].as_str().unwrap());
        let name = if who == MICROSOFT { "preferred_username" } else { "email" };
        assert_eq!((&id[name], &id["aud"]), (&json!(ADDRESS), &json!(provider.client_id())));
        let mut client = Client::secure(&provider).await;
        assert!(client.xoauth2(ADDRESS, tokens["access_token"].as_str().unwrap()).await.starts_with("235"), "{who}");
        let (status, renewed) = refresh(&provider, tokens["refresh_token"].as_str().unwrap()).await;
        assert_eq!(status, 200, "{who} {renewed}");
        assert_eq!(renewed["scope"], tokens["scope"], "{who}: what was agreed to");
        assert_eq!(provider.stats()["consents"], 1);
    }
}

#[tokio::test]
async fn a_redirect_that_is_not_registered_is_never_followed() {
    for (who, uri, said) in [
        (GOOGLE, "https://attacker.example/", "Error 400: redirect_uri_mismatch"),
        (GOOGLE, "http://192.168.1.2/callback", "device_id and device_name are required for private IP: http://192.168.1.2"),
        (GOOGLE, "urn:ietf:wg:oauth:2.0:oob", "(OOB) flow has been blocked"),
        (GOOGLE, "http://127.0.0.1:5000/#part", "redirect_uri_mismatch"),
        (GOOGLE, "", "Missing required parameter: redirect_uri"),
        (MICROSOFT, "http://127.0.0.1:5000", "AADSTS50011: The redirect URI &#39;http://127.0.0.1:5000&#39;"),
        (MICROSOFT, "", "AADSTS900971"),
        (CUSTOM, "http://127.0.0.1:5000/", "is not registered for this client"),
        (CUSTOM, "javascript:alert(1)//<script>", "&lt;script&gt; is not registered"),
    ] {
        let provider = start(who).await;
        for (method, form) in [("GET", ""), ("POST", ALLOW), ("POST", "decision=deny")] {
            let (status, head, page) = http(&provider, method, &question(&provider, &[("redirect_uri", uri)]), form).await;
            let page = String::from_utf8(page).unwrap();
            assert!(status == 400 && page.contains(said), "{who} {uri}: {page}");
            assert!(!head.contains("location:") && !page.contains("<script"), "{who} {uri}");
        }
    }
}

#[tokio::test]
async fn a_wrong_question_is_answered_where_the_provider_does() {
    for (who, change, here, there) in [
        (GOOGLE, ("client_id", "other"), Some("Error 401: invalid_client: The OAuth client was not found."), ""),
        (MICROSOFT, ("client_id", "other"), Some("AADSTS700016"), ""),
        (CUSTOM, ("client_id", ""), Some("client_id is missing"), ""),
        (GOOGLE, ("scope", "https://mail.google.com"), Some("Error 400: invalid_scope"), ""),
        (GOOGLE, ("response_type", "token"), Some("Error 400: unsupported_response_type"), ""),
        (GOOGLE, ("response_type", ""), Some("Missing required parameter: response_type"), ""),
        (MICROSOFT, ("response_type", "token"), None, "unsupported_response_type"),
        (MICROSOFT, ("scope", "https://a/x https://b/y"), None, "invalid_scope"),
        (MICROSOFT, ("scope", ""), None, "invalid_request"),
        (MICROSOFT, ("prompt", "none"), None, "login_required"),
        (MICROSOFT, ("code_challenge", "short"), None, "invalid_request"),
        (CUSTOM, ("code_challenge", ""), None, "invalid_request"),
        (CUSTOM, ("code_challenge_method", "plain"), None, "invalid_request"),
        (CUSTOM, ("prompt", "dance"), None, "invalid_request"),
    ] {
        let provider = start(who).await;
        let (status, head, page) = http(&provider, "GET", &question(&provider, &[change]), "").await;
        match here {
            Some(said) => {
                let page = String::from_utf8(page).unwrap();
                assert!((400..500).contains(&status) && page.contains(said), "{who} {change:?}: {page}");
                assert!(!head.contains("location:"), "{head}");
            }
            None => {
                let (at, answer) = location(&head);
                assert_eq!((answer["error"].as_str(), answer["state"].as_str()), (there, "a state&more"), "{who} {change:?}");
                assert_eq!(at.trim_end_matches('/'), redirect(who));
            }
        }
    }
    let provider = start(CUSTOM).await;
    let twice = format!("{}&state=other", question(&provider, &[]));
    assert_eq!(http(&provider, "GET", &twice, "").await.0, 400, "RFC 6749 §3.1");
}

#[tokio::test]
async fn no_is_an_answer_too() {
    for who in [GOOGLE, MICROSOFT, CUSTOM] {
        let provider = start(who).await;
        let (_, answer) = press(&provider, &question(&provider, &[]), "decision=deny").await;
        assert_eq!((answer["error"].as_str(), answer["state"].as_str()), ("access_denied", "a state&more"));
        assert_eq!(answer.contains_key("iss"), who != MICROSOFT);
        for (form, status) in [("decision=perhaps", 400), ("decision=allow", 400), ("decision=allow&account=nobody", 400)] {
            assert_eq!(http(&provider, "POST", &question(&provider, &[]), form).await.0, status, "{form}");
        }
        provider.switch_on(Fault::ConsentDenied, Setting { times: Some(1), ..Setting::default() });
        assert_eq!(press(&provider, &question(&provider, &[]), ALLOW).await.1["error"], "access_denied", "by fault");
        assert_eq!(provider.stats()["denials"], 2);
    }
}

#[tokio::test]
async fn a_code_is_refused_in_the_providers_words() {
    let (wrong, none): (&[_], &[_]) = (&[("code_verifier", "x")], &[("code_verifier", "")]);
    let elsewhere: &[_] = &[("redirect_uri", "http://127.0.0.1:5001/oauth/callback")];
    for (who, change, error, said) in [
        (GOOGLE, wrong, "invalid_grant", "Invalid code verifier."),
        (GOOGLE, elsewhere, "redirect_uri_mismatch", "Bad Request"),
        (MICROSOFT, wrong, "invalid_grant", "AADSTS501481: "),
        (MICROSOFT, none, "invalid_grant", "AADSTS501481: "),
        (MICROSOFT, elsewhere, "invalid_grant", "AADSTS50011: The reply address 'http://127.0.0.1:5001/oauth/callback' does not"),
        (CUSTOM, none, "invalid_grant", "the code_verifier does not fit"),
        (CUSTOM, elsewhere, "invalid_grant", "the redirect_uri is not that"),
        (CUSTOM, &[("redirect_uri", "")], "invalid_request", "redirect_uri is missing"),
        (GOOGLE, &[("code", "4/0other")], "invalid_grant", "Malformed auth code."),
        (MICROSOFT, &[("code", "other")], "invalid_grant", "AADSTS70000: "),
    ] {
        let provider = start(who).await;
        let code = code(&provider, &[]).await;
        let (status, answer) = redeem(&provider, &code, change).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some(error)), "{who} {change:?} {answer}");
        assert!(answer["error_description"].as_str().unwrap().starts_with(said), "{who} {change:?} {answer}");
    }
}

#[tokio::test]
async fn a_code_ends_after_ten_minutes_and_used_twice_it_ends_what_came_of_it() {
    for (who, expired, used) in [
        (GOOGLE, "Bad Request", "Bad Request"),
        (MICROSOFT, "AADSTS70008: ", "AADSTS54005: "),
        (CUSTOM, "the code is older", "the code was used before"),
    ] {
        let provider = start(who).await;
        let said = |answer: &Value| answer["error_description"].as_str().unwrap_or_default().to_owned();
        let late = code(&provider, &[]).await;
        provider.advance(Duration::from_secs(600));
        assert!(said(&redeem(&provider, &late, &[]).await.1).starts_with(expired), "{who}");
        let code = code(&provider, &[]).await;
        provider.advance(Duration::from_secs(590));
        let (status, tokens) = redeem(&provider, &code, &[]).await;
        assert_eq!(status, 200, "{who} {tokens}");
        assert!(said(&redeem(&provider, &code, &[]).await.1).starts_with(used), "{who}");
        assert_eq!(refresh(&provider, tokens["refresh_token"].as_str().unwrap()).await.0, 400, "{who}");
        let mut client = Client::secure(&provider).await;
        assert!(!client.xoauth2(ADDRESS, tokens["access_token"].as_str().unwrap()).await.starts_with("235"), "{who}");
    }
}

#[tokio::test]
async fn a_challenge_that_was_taken_out_is_noticed() {
    let provider = start(MICROSOFT).await;
    let code = code(&provider, &[("code_challenge", ""), ("code_challenge_method", "")]).await;
    assert_eq!(redeem(&provider, &code, &[]).await.1["error_codes"], json!([501_481]));
    assert_eq!(redeem(&provider, &code, &[("code_verifier", "")]).await.0, 200, "an old client without any");
}

#[tokio::test]
async fn a_refresh_token_comes_only_to_who_asks_as_the_provider_wants_it() {
    for (who, steps) in [
        (GOOGLE, &[(("access_type", ""), false), (("prompt", ""), false), (("prompt", "consent"), true)][..]),
        (GOOGLE, &[(("prompt", ""), true), (("prompt", ""), false)]),
        (MICROSOFT, &[(("scope", "https://outlook.office.com/SMTP.Send"), false), (("prompt", ""), true)]),
        (CUSTOM, &[(("scope", "mail.send"), false), (("prompt", ""), true)]),
    ] {
        let provider = start(who).await;
        for (change, comes) in steps {
            let code = code(&provider, &[*change]).await;
            let (status, tokens) = redeem(&provider, &code, &[]).await;
            assert_eq!((status, tokens.get("refresh_token").is_some()), (200, *comes), "{who} {change:?} {tokens}");
        }
        provider.switch_on(Fault::NoRefreshToken, Setting::default());
        let code = code(&provider, &[]).await;
        assert!(redeem(&provider, &code, &[]).await.1.get("refresh_token").is_none(), "by fault");
    }
}

#[tokio::test]
async fn the_tokens_speak_of_who_was_signed_in() {
    let provider = start(MICROSOFT).await;
    provider.switch_on(Fault::OtherAccount, Setting::default());
    let code = code(&provider, &[]).await;
    let tokens = redeem(&provider, &code, &[]).await.1;
    let access = tokens["access_token"].as_str().unwrap();
    for (token, claim) in [(access, "upn"), (access, "unique_name"), (tokens["id_token"].as_str().unwrap(), "preferred_username")]
    {
        assert_eq!(claims(token)[claim], "other@sandbox.example");
    }
    assert!(Client::secure(&provider).await.xoauth2(ADDRESS, access).await.starts_with("535"));
    let full_access = r#"{"person": "other@sandbox.example", "mailbox": "robot@sandbox.example"}"#;
    assert_eq!(http(&provider, "PUT", "/full-access", full_access).await.0, 204);
    assert!(Client::secure(&provider).await.xoauth2(ADDRESS, access).await.starts_with("235"), "a delegate may");
}

#[tokio::test]
async fn more_than_was_agreed_to_is_not_given() {
    for (who, scope, error) in [
        (GOOGLE, "https://www.googleapis.com/auth/drive", "invalid_scope"),
        (MICROSOFT, "https://graph.microsoft.com/Mail.Send", "invalid_grant"),
        (CUSTOM, "mail.read", "invalid_scope"),
    ] {
        let provider = start(who).await;
        let code = code(&provider, &[]).await;
        let token = redeem(&provider, &code, &[]).await.1["refresh_token"].as_str().unwrap().to_owned();
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str()), ("scope", scope)];
        let (status, answer) = ask_token(&provider, &fields).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some(error)), "{who} {answer}");
        assert_eq!(refresh(&provider, &token).await.0, 200, "{who}: it was not spent");
    }
}

#[tokio::test]
async fn a_public_client_shows_no_secret_and_a_confidential_one_has_to() {
    for (who, public, secret, said) in [
        (GOOGLE, true, false, Some("client_secret is missing.")),
        (MICROSOFT, true, true, Some("AADSTS700025: ")),
        (MICROSOFT, true, false, None),
        (MICROSOFT, false, false, Some("AADSTS7000218: ")),
        (CUSTOM, true, true, Some("this client is public")),
        (CUSTOM, true, false, None),
    ] {
        let provider = start(who).await;
        assert_eq!(http(&provider, "PUT", "/clients/kind", &json!({ "public": public }).to_string()).await.0, 204);
        let code = code(&provider, &[]).await;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("client_id", provider.client_id()).append_pair("grant_type", "authorization_code");
        form.append_pair("code", &code).append_pair("redirect_uri", redirect(who)).append_pair("code_verifier", VERIFIER);
        if secret {
            form.append_pair("client_secret", provider.client_secret().expose());
        }
        let (status, answer) = http_json(&provider, "POST", "/token", &form.finish()).await;
        let description = answer["error_description"].as_str();
        match said {
            Some(said) => assert!(description.unwrap().starts_with(said) && status >= 400, "{who} {answer}"),
            None => assert_eq!((status, description), (200, None), "{who}"),
        }
    }
}

#[tokio::test]
async fn the_token_endpoint_says_what_it_is_told_to_say() {
    let provider = start(MICROSOFT).await;
    let setting = r#"{"error": "interaction_required", "description": "Blocked.", "aadsts": 530036, "times": 1}"#;
    assert_eq!(http(&provider, "PUT", "/faults/token-refused", setting).await.0, 204);
    let token = provider.refresh_token(ADDRESS);
    let (status, answer) = refresh(&provider, token.expose()).await;
    assert_eq!((status, &answer["error"], &answer["error_codes"]), (400, &json!("interaction_required"), &json!([530_036])));
    assert_eq!(refresh(&provider, token.expose()).await.0, 200);
}
