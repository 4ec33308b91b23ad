//! Replies and errors of one's own: `smtp-reply`, `token-refused`, `authorize-refused`.

use super::*;

#[tokio::test]
async fn a_reply_of_ones_own_comes_at_its_step_and_goes_with_its_fault() {
    for (who, step, reply, starts) in [
        (GOOGLE, "mail", "450 4.2.1 later", "450 4.2.1 later "),
        (MICROSOFT, "rcpt", "550 5.1.1 nobody", "550 5.1.1 nobody [SANDBOX01"),
        (CUSTOM, "data", "451 4.3.0 one\\ntwo", "451-4.3.0 one"),
        (MICROSOFT, "end", "554 5.2.0 STOREDRV.Submission", "554 5.2.0 STOREDRV.Submission; Failed to process"),
        (GOOGLE, "end", "421 4.7.0 bye", "421 4.7.0 bye "),
    ] {
        let provider = start(who).await;
        let mut client = Client::ready(&provider).await;
        let setting = json!({ "step": step, "reply": reply, "mailbox": ADDRESS, "times": 1 }).to_string();
        assert_eq!(http(&provider, "PUT", "/faults/smtp-reply", &setting).await.0, 204);
        let mut answer = String::new();
        for line in ["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA", "x\r\n."] {
            answer = client.ask(line).await;
            if answer.starts_with(['4', '5']) {
                break;
            }
        }
        assert!(answer.starts_with(starts), "{who} {step}: {answer}");
        if reply.starts_with("421") {
            assert_eq!(client.read().await, "", "421 closes the connection");
            client = Client::ready(&provider).await;
        } else {
            client.ask("RSET").await;
        }
        assert_eq!(provider.stats()["messages"], 0, "{step}");
        assert!(client.message("Subject: x\r\n\r\n").await.starts_with("250"), "{who} {step}");
    }
}

#[tokio::test]
async fn a_chunk_that_is_refused_in_ones_own_words_is_swallowed() {
    let provider = start(GOOGLE).await;
    let mut client = Client::ready(&provider).await;
    let setting = r#"{"step": "data", "reply": "451 4.3.0 later", "times": 1}"#;
    assert_eq!(http(&provider, "PUT", "/faults/smtp-reply", setting).await.0, 204);
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n").await;
    for code in ["250", "250", "451 4.3.0 later ", "250"] {
        assert!(client.read().await.starts_with(code), "{code}");
    }
}

#[tokio::test]
async fn a_greeting_and_a_login_are_refused_as_the_provider_refuses_them() {
    let provider = start(GOOGLE).await;
    let mut client = Client::secure(&provider).await;
    let setting = r#"{"step": "auth", "reply": "535 5.7.8 Not accepted."}"#;
    assert_eq!(http(&provider, "PUT", "/faults/smtp-reply", setting).await.0, 204);
    let token = provider.shared.tokens.issue(None, "c", access_scope(&provider));
    let explained = client.xoauth2(ADDRESS, token.expose()).await;
    assert!(explained.starts_with("334 ey"), "{explained}");
    assert!(client.ask("").await.starts_with("535 5.7.8 Not accepted. "), "after the empty line");
    let provider = start(MICROSOFT).await;
    let setting = r#"{"step": "greeting", "reply": "554 5.7.1 Not you"}"#;
    assert_eq!(http(&provider, "PUT", "/faults/smtp-reply", setting).await.0, 204);
    let mut client = Client::plain(provider.smtp()).await;
    assert!(client.read().await.starts_with("554 5.7.1 Not you ["));
    assert_eq!(client.read().await, "");
}

#[tokio::test]
async fn an_error_of_the_token_endpoint_has_status_subtype_or_page_and_may_be_one_clients() {
    let provider = start(GOOGLE).await;
    let token = provider.refresh_token("a@sandbox.example");
    let put = async |setting: Value| http(&provider, "PUT", "/faults/token-refused", &setting.to_string()).await.0;
    assert_eq!(put(json!({ "subtype": "invalid_rapt", "description": "reauth", "mailbox": "b@sandbox.example" })).await, 204);
    assert_eq!(refresh(&provider, token.expose()).await.0, 200, "it is another's");
    let other = provider.refresh_token("b@sandbox.example");
    let (status, body) = refresh(&provider, other.expose()).await;
    assert_eq!((status, &body["error"], &body["error_subtype"]), (400, &json!("invalid_grant"), &json!("invalid_rapt")));
    assert_eq!(put(json!({ "status": 502, "html": "<html>Bad Gateway</html>", "client": provider.client_id() })).await, 204);
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", provider.client_id()).append_pair("client_secret", provider.client_secret().expose());
    form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token.expose());
    let form = form.finish();
    let (status, head, page) = http(&provider, "POST", "/token", &form).await;
    assert_eq!((status, page.as_slice()), (502, b"<html>Bad Gateway</html>".as_slice()), "{head}");
    assert_eq!(put(json!({ "status": 99 })).await, 400);
}

#[tokio::test]
async fn what_the_authorization_endpoint_refuses_stays_on_its_page_or_comes_back() {
    for (who, setting, comes_back) in [
        (GOOGLE, json!({ "error": "access_denied" }), true),
        (GOOGLE, json!({ "error": "org_internal" }), false),
        (GOOGLE, json!({ "error": "org_internal", "via": "redirect" }), true),
        (MICROSOFT, json!({ "error": "consent_required", "aadsts": 65001 }), true),
        (MICROSOFT, json!({ "error": "invalid_request", "aadsts": 50011 }), false),
        (CUSTOM, json!({ "error": "access_denied", "via": "page" }), false),
    ] {
        let provider = start(who).await;
        assert_eq!(http(&provider, "PUT", "/faults/authorize-refused", &setting.to_string()).await.0, 204);
        let host = if who == MICROSOFT { "localhost" } else { "127.0.0.1" };
        let path = if who == CUSTOM { "/oauth/callback" } else { "" };
        let redirect = format!("http%3A%2F%2F{host}%3A5000{}", path.replace('/', "%2F"));
        let query = format!("client_id={}&redirect_uri={redirect}&response_type=code&scope=x&state=s", provider.client_id());
        let (status, head, page) = http(&provider, "GET", &format!("/authorize?{query}"), "").await;
        let error = setting["error"].as_str().unwrap();
        let told =
            if comes_back { head.contains(&format!("error={error}")) } else { String::from_utf8_lossy(&page).contains(error) };
        assert!(told && (status == 302) == comes_back, "{who} {setting}: {status} {head}");
    }
}
