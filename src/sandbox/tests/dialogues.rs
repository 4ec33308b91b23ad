//! Tokens, logins and messages as the providers handle them.

use super::*;

#[tokio::test]
async fn a_google_token_from_the_endpoint_logs_in_and_is_named_in_what_was_received() {
    let mut provider = start(GOOGLE).await;
    let grant = provider.refresh_token(ADDRESS);
    let (status, answer) = refresh(&provider, grant.expose()).await;
    assert_eq!((status, &answer["expires_in"], &answer["refresh_token"]), (200, &json!(3599), &Value::Null));
    let mut client = Client::secure(&provider).await;
    assert_eq!(client.xoauth2(ADDRESS, answer["access_token"].as_str().unwrap()).await, "235 2.7.0 Accepted\r\n");
    assert!(client.ask("AUTH XOAUTH2").await.starts_with("503 5.7.0 No identity changes permitted"));
    assert!(client.message("Subject: hi\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n").await.starts_with("250 2.0.0 OK  "));
    let received = provider.received().await.unwrap();
    assert_eq!((received.subject.as_str(), received.token.as_str(), received.number), ("hi", "access token #1", 1));
    assert_eq!((received.user.as_str(), received.to.as_slice()), (ADDRESS, &["a@example.com".to_owned()][..]));
    let stats = http_json(&provider, "GET", "/stats", "").await.1;
    assert_eq!((&stats["logins"], &stats["token_requests"], &stats["messages"]), (&json!(1), &json!(1), &json!(1)));
    provider.stop().await;
}

#[tokio::test]
async fn google_explains_a_refused_token_before_its_reply() {
    let provider = start(GOOGLE).await;
    let mut client = Client::secure(&provider).await;
    let challenge = client.xoauth2(ADDRESS, "ya29.nonsense").await;
    let json = STANDARD.decode(challenge.strip_prefix("334 ").unwrap().trim_end()).unwrap();
    assert_eq!(json, b"{\"status\":\"401\",\"schemes\":\"bearer mac\",\"scope\":\"https://mail.google.com/\"}\n");
    assert!(client.ask("").await.starts_with("535-5.7.8 Username and Password not accepted"));
    let long = STANDARD.encode(format!("user={ADDRESS}\x01auth=Bearer {}\x01\x01", "x".repeat(1024)));
    assert!(client.ask(&format!("AUTH XOAUTH2 {long}")).await.starts_with("555-5.5.2 Syntax error, command line too long"));
    let token = provider.shared.tokens.issue(Some(ADDRESS), "c", GOOGLE_SCOPE);
    let bearer = STANDARD.encode(format!("n,a={ADDRESS},\x01host=h\x01port=1\x01auth=Bearer {}\x01\x01", token.expose()));
    assert!(client.ask(&format!("AUTH OAUTHBEARER {bearer}")).await.starts_with("235"));
}

#[tokio::test]
async fn microsoft_refuses_a_token_at_once_and_rotates_refresh_tokens() {
    let provider = start(MICROSOFT).await;
    let mut client = Client::secure(&provider).await;
    assert!(client.ask("AUTH OAUTHBEARER").await.starts_with("504"));
    assert!(client.xoauth2(ADDRESS, "nonsense").await.starts_with("535 5.7.3 Authentication unsuccessful ["));
    assert!(client.ask("MAIL FROM:<a@b>").await.starts_with("530 5.7.57 Client not authenticated"));
    let first = provider.refresh_token(ADDRESS);
    let (_, answer) = refresh(&provider, first.expose()).await;
    let second = answer["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(refresh(&provider, first.expose()).await.0, 200, "the old one stays valid");
    assert_eq!(refresh(&provider, &second).await.0, 200);
    let inline = format!("user={ADDRESS}\x01auth=Bearer {}\x01\x01", answer["access_token"].as_str().unwrap());
    assert!(client.ask(&format!("AUTH XOAUTH2 {}", STANDARD.encode(inline))).await.starts_with("235 2.7.0"));
}

#[tokio::test]
async fn a_token_ends_when_the_clock_says_so() {
    let provider = start(MICROSOFT).await;
    let scope = ("scope", "https://outlook.office365.com/.default");
    let (_, answer) = ask_token(&provider, &[("grant_type", "client_credentials"), scope]).await;
    let token = answer["access_token"].as_str().unwrap();
    assert!(Client::secure(&provider).await.xoauth2("any@sandbox.example", token).await.starts_with("235"));
    assert_eq!(http(&provider, "PUT", "/clock", r#"{"advance_seconds": 3599}"#).await.0, 200);
    assert!(Client::secure(&provider).await.xoauth2("any@sandbox.example", token).await.starts_with("535 5.7.3"));
    assert_eq!(http_json(&provider, "PUT", "/clock", r#"{"now": "2030-01-01T00:00:00Z"}"#).await.0, 200);
    let now = http_json(&provider, "GET", "/clock", "").await.1;
    assert!(now["now"].as_str().unwrap().starts_with("2030-01-01T00:00:0"));
    assert_eq!(http(&provider, "PUT", "/clock", "{}").await.0, 400);
}

#[tokio::test]
async fn refusals_of_the_token_endpoint_have_the_providers_shape() {
    let form = |fields: &str| fields.to_owned();
    for (who, body, status, error, code) in [
        (GOOGLE, form("client_id=other&grant_type=refresh_token"), 401, "invalid_client", Value::Null),
        (GOOGLE, form("client_id=ID&grant_type=refresh_token"), 400, "invalid_request", Value::Null),
        (GOOGLE, form("client_id=ID&client_secret=no"), 401, "invalid_client", Value::Null),
        (
            GOOGLE,
            form("client_id=ID&client_secret=SECRET&grant_type=client_credentials"),
            400,
            "unsupported_grant_type",
            Value::Null,
        ),
        (
            GOOGLE,
            form("client_id=ID&client_secret=SECRET&grant_type=refresh_token&refresh_token=x"),
            400,
            "invalid_grant",
            Value::Null,
        ),
        (
            GOOGLE,
            form("client_id=ID&client_secret=SECRET&grant_type=refresh_token&refresh_token=x&scope=https://mail.google.com"),
            400,
            "invalid_scope",
            Value::Null,
        ),
        (MICROSOFT, form("client_id=other"), 400, "unauthorized_client", json!(700_016)),
        (MICROSOFT, form("client_id=ID"), 401, "invalid_client", json!(7_000_218)),
        (MICROSOFT, form("client_id=ID&client_secret=no"), 401, "invalid_client", json!(7_000_215)),
        (MICROSOFT, form("client_id=ID&client_secret=SECRET"), 400, "invalid_request", json!(900_144)),
        (MICROSOFT, form("client_id=ID&client_secret=SECRET&grant_type=password"), 400, "unsupported_grant_type", json!(70_003)),
        (
            MICROSOFT,
            form("client_id=ID&client_secret=SECRET&grant_type=client_credentials&scope=https://outlook.office.com/SMTP.Send"),
            400,
            "invalid_scope",
            json!(70_011),
        ),
        (CUSTOM, form("client_id=ID&client_secret=no"), 401, "invalid_client", Value::Null),
        (
            CUSTOM,
            form("client_id=ID&client_secret=SECRET&grant_type=refresh_token&refresh_token=x"),
            400,
            "invalid_grant",
            Value::Null,
        ),
    ] {
        let provider = start(who).await;
        let body =
            body.replace("=ID", &format!("={}", provider.client_id())).replace("SECRET", provider.client_secret().expose());
        let (got, answer) = http_json(&provider, "POST", "/token", &body).await;
        assert_eq!((got, answer["error"].as_str()), (status, Some(error)), "{who} {answer}");
        assert_eq!(answer["error_codes"][0], code, "{who} {answer}");
        if who == MICROSOFT {
            assert!(answer["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")), "{answer}");
            assert!(answer["trace_id"].is_string() && answer["correlation_id"].is_string() && answer["timestamp"].is_string());
        }
    }
}

#[tokio::test]
async fn basic_client_authentication_works() {
    let provider = start(CUSTOM).await;
    let pair = STANDARD.encode(format!("{}:{}", provider.client_id(), provider.client_secret().expose()));
    let mut stream = TcpStream::connect(provider.http()).await.unwrap();
    let body = "grant_type=client_credentials&scope=mail.send";
    let request = format!(
        "POST /token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {pair}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("access_token"), "{answer}");
}

#[tokio::test]
async fn a_message_is_kept_byte_for_byte_by_data_and_by_bdat() {
    let provider = start(GOOGLE).await;
    let mut client = Client::ready(&provider).await;
    let text = b"Subject: dots\r\n\r\n.one\r\n..two\r\n.\r\nlone\nlf\n.\ncr\r.\r\r\n\xff last";
    let stuffed = stuff(text);
    client.send(b"MAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<a@example.com> X=1\r\nDATA\r\n").await;
    for code in ["250", "250", "354"] {
        assert!(client.read().await.starts_with(code));
    }
    client.send(&[&stuffed[..], b"\r\n.\r\nNOOP\r\n"].concat()).await;
    assert!(client.read().await.starts_with("250 2.0.0 OK  "));
    assert!(client.read().await.starts_with("250"), "what was pipelined behind the end is answered");
    // BDAT in two chunks, in one group with everything.
    let head = format!("MAIL FROM:<x@y>\r\nRCPT TO:<b@example.com>\r\nBDAT 5\r\n{}", std::str::from_utf8(&text[..5]).unwrap());
    let tail = [format!("BDAT {} LAST\r\n", text.len() - 5).as_bytes(), &text[5..], b"QUIT\r\n"].concat();
    client.send(&[head.as_bytes(), &tail].concat()).await;
    for code in ["250", "250", "250", "250 2.0.0 OK  ", "221"] {
        assert!(client.read().await.starts_with(code));
    }
    assert_eq!(http(&provider, "GET", "/received/1", "").await.2, [&text[..], b"\r\n"].concat());
    let (status, head, body) = http(&provider, "GET", "/received/2", "").await;
    assert_eq!((status, body.as_slice()), (200, &text[..]));
    assert!(head.contains("x-envelope-to: b@example.com"), "{head}");
    let envelope = http_json(&provider, "GET", "/received/1?envelope", "").await.1;
    assert_eq!(envelope["envelope"]["mail_parameters"], json!(["BODY=8BITMIME"]));
    assert_eq!(
        (&envelope["envelope"]["by"], &envelope["kept"], &envelope["envelope"]["tls"]),
        (&json!("DATA"), &json!(true), &json!(true))
    );
    assert_eq!(http_json(&provider, "GET", "/received", "").await.1.as_array().unwrap().len(), 2);
    assert_eq!(http(&provider, "DELETE", "/received", "").await.0, 204);
    assert_eq!(http(&provider, "GET", "/received/1", "").await.0, 404);
}

/// Stuffs dots at the beginnings of lines, a line being what CRLF ends.
fn stuff(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, byte) in text.iter().enumerate() {
        if *byte == b'.' && (index == 0 || text[..index].ends_with(b"\r\n")) {
            out.push(b'.');
        }
        out.push(*byte);
    }
    out
}

#[tokio::test]
async fn large_messages_at_once_stay_within_the_bound() {
    let bound = 6 << 20;
    let provider = Provider::start(Options { accept_password: true, keep_bytes: bound, ..options(CUSTOM) }).await.unwrap();
    let text = format!("Subject: large\r\n\r\n{}", format!("{}\r\n", "x".repeat(998)).repeat(3000));
    let login = format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{USER}\0{}", provider.password().expose())));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (address, text, login) = (provider.smtp_plain().unwrap(), text.clone(), login.clone());
        tasks.spawn(async move {
            let mut client = Client::plain(address).await;
            client.read().await;
            client.ask("EHLO x").await;
            assert!(client.ask(&login).await.starts_with("235"));
            assert!(client.message(&text).await.starts_with("250"));
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let stats = provider.stats();
    assert_eq!((&stats["messages"], &stats["bytes"]), (&json!(8), &json!(8 * text.len())));
    assert!(stats["kept_bytes"].as_u64().unwrap() <= bound as u64, "{stats}");
    assert!(provider.shared.mailroom.list().iter().all(|received| received.subject == "large"));
}

#[tokio::test]
async fn slow_replies_come_one_after_the_other() {
    let provider = start(GOOGLE).await;
    let mut client = Client::ready(&provider).await;
    provider.switch_on(Fault::SlowReplies, Setting { milliseconds: Some(50), times: Some(3), ..Setting::default() });
    let begun = std::time::Instant::now();
    client.send(b"NOOP\r\nNOOP\r\nNOOP\r\n").await;
    for _ in 0..3 {
        assert!(client.read().await.starts_with("250"));
    }
    assert!(begun.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn attempts_and_commands_are_counted_whatever_becomes_of_them() {
    let provider = start(GOOGLE).await;
    let counts = |names: [&str; 3]| names.map(|name| provider.stats()[name].as_u64().unwrap());
    let logins = || counts(["login_attempts", "logins", "login_failures"]);
    let mut client = Client::secure(&provider).await;
    assert!(client.xoauth2(ADDRESS, "ya29.nonsense").await.starts_with("334 "));
    assert_eq!(logins(), [1, 0, 1], "also when the client does not ask for the reply behind the 334");
    assert!(client.ask("").await.starts_with("535"));
    assert_eq!(logins(), [1, 0, 1]);
    assert!(client.ask("AUTH CRAM-MD5").await.starts_with("504"));
    assert_eq!(client.ask("AUTH XOAUTH2").await, "334 \r\n");
    assert_eq!(logins(), [3, 0, 2], "one is under way");
    assert!(client.ask("*").await.starts_with("501"));
    let token = provider.shared.tokens.issue(None, "c", GOOGLE_SCOPE);
    assert!(client.ask("MAIL FROM:<a@b>").await.starts_with("530"));
    assert!(client.xoauth2(ADDRESS, token.expose()).await.starts_with("235"));
    assert_eq!(logins(), [4, 1, 3]);

    assert!(client.message("x\r\n").await.starts_with("250"));
    provider.switch_on(Fault::SilentAtMail, Setting::default());
    client.send(b"mail FROM:<a@b>\r\n").await;
    let arrived = async {
        while provider.stats()["mail_commands"] != 3 {
            tokio::time::sleep(Duration::from_millis(1)).await
        }
    };
    timeout(WAIT, arrived).await.unwrap_or_else(|_| panic!("{}", provider.stats()));
    provider.switch_off(Fault::SilentAtMail);
    assert!(client.read().await.starts_with("250"));
    refresh(&provider, "nonsense").await;
    refresh(&provider, provider.refresh_token(ADDRESS).expose()).await;
    assert_eq!(counts(["mail_commands", "token_requests", "token_refusals"]), [3, 2, 1]);
    assert_eq!(counts(["connections", "open_connections", "tokens_given"]), [1, 1, 2]);
}
