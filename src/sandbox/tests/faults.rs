//! Faults, limits, round trips, and what surrounds them.

use super::*;

#[tokio::test]
async fn bad_sequences_are_refused_and_a_refused_chunk_is_swallowed() {
    let provider = start(MICROSOFT).await;
    let mut client = Client::ready(&provider).await;
    assert!(client.ask("RCPT TO:<a@b>").await.starts_with("503"));
    assert!(client.ask("MAIL FROM: <a@b>").await.starts_with("501"));
    assert!(client.ask("MAIL FROM:<a@b> SIZE=157286401").await.starts_with("552 5.3.4"));
    assert!(client.ask("MAIL FROM:<a@b>").await.starts_with("250"));
    assert!(client.ask("DATA").await.starts_with("503 5.5.2 Need rcpt"));
    client.send(b"BDAT 6 LAST\r\nQUIT\r\nRSET\r\n").await;
    assert!(client.read().await.starts_with("503"), "no recipient");
    assert!(client.read().await.starts_with("250 2.0.0 Resetting"), "its octets were no command");
    assert!(client.ask("VRFY x").await.starts_with("500 5.3.3 Unrecognized command 'VRFY'"));
}

#[tokio::test]
async fn every_fault_of_the_smtp_server_strikes_once_and_then_mail_flows() {
    for (fault, who, reply) in [
        (Fault::Auth535, MICROSOFT, "535 5.7.3"),
        (Fault::ExpiredToken, MICROSOFT, "535 5.7.3"),
        (Fault::SmtpAuthDisabled, MICROSOFT, "535 5.7.139"),
        (Fault::TooManyConnections, MICROSOFT, "432 4.3.2 Concurrent connections limit exceeded"),
        (Fault::TooManyLogins, GOOGLE, "454 4.7.0 Too many login attempts"),
        (Fault::Busy, GOOGLE, "421 4.7.0"),
        (Fault::Busy, MICROSOFT, "421 4.3.2"),
        (Fault::Quota, GOOGLE, "550-5.4.5 Daily user sending limit exceeded"),
        (Fault::Quota, MICROSOFT, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException"),
        (Fault::SendAsDenied, MICROSOFT, "554 5.2.252 SendAsDenied; robot@sandbox.example not allowed to send as robot@"),
        (Fault::MailboxLogonFailure, MICROSOFT, "430 4.2.0 STOREDRV; mailbox logon failure"),
        (Fault::RecipientRefused, GOOGLE, "550-5.1.1"),
        (Fault::DropInData, GOOGLE, ""),
        (Fault::FinalReplyLost, GOOGLE, ""),
    ] {
        let provider = start(who).await;
        let mut client = Client::secure(&provider).await;
        let token = provider.shared.tokens.issue(None, "c", access_scope(&provider));
        let path = format!("/faults/{}", fault.name());
        assert_eq!(http(&provider, "PUT", &path, r#"{"times": 1}"#).await.0, 204);
        let login = client.xoauth2(ADDRESS, token.expose()).await;
        let answer = match login.starts_with("235") {
            true => client.message("Subject: x\r\n\r\n").await,
            false => login,
        };
        assert!(answer.starts_with(reply) && answer.is_empty() == reply.is_empty(), "{}: {answer}", fault.name());
        if fault == Fault::SendAsDenied {
            assert!(answer.len() > 1500, "as long as Exchange's");
        }
        assert_eq!(provider.stats()["messages"], u64::from(fault == Fault::FinalReplyLost));
        let mut client = Client::ready(&provider).await;
        assert!(client.message("Subject: x\r\n\r\n").await.starts_with("250"), "{}", fault.name());
    }
}

#[tokio::test]
async fn a_refused_bdat_swallows_its_octets_and_data_still_works() {
    let provider = start(GOOGLE).await;
    provider.switch_on(Fault::BdatRefused, Setting::default());
    let mut client = Client::ready(&provider).await;
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<refused@b>\r\nBDAT 6 LAST\r\nQUIT\r\n").await;
    for code in ["250", "250", "502"] {
        assert!(client.read().await.starts_with(code));
    }
    assert!(client.ask("DATA").await.starts_with("354"));
    assert!(client.ask("x\r\n.").await.starts_with("250"));
}

#[tokio::test]
async fn one_recipient_of_several_is_refused() {
    let provider = start(GOOGLE).await;
    provider.switch_on(Fault::RecipientRefused, Setting::default());
    let mut client = Client::ready(&provider).await;
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<1@b>\r\nRCPT TO:<2@b>\r\nRCPT TO:<Refused3@b>\r\nDATA\r\nx\r\n.\r\n").await;
    for code in ["250", "550-5.1.1", "250", "550-5.1.1", "354", "250"] {
        assert!(client.read().await.starts_with(code), "{code}");
    }
    assert_eq!(provider.shared.mailroom.list()[0].to, ["2@b"]);
}

#[tokio::test]
async fn some_recipients_are_to_come_later_and_the_others_get_their_message() {
    for (who, deferred) in [(GOOGLE, "450-4.2.1 "), (MICROSOFT, "450 4.2.1 "), (CUSTOM, "450 4.2.1 ")] {
        let provider = start(who).await;
        let mut client = Client::ready(&provider).await;
        assert_eq!(http(&provider, "PUT", "/faults/rcpt-temporary", "").await.0, 204);
        client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<1@b>\r\nRCPT TO:<Later2@b>\r\nRCPT TO:<late@b>\r\nDATA\r\nx\r\n.\r\n").await;
        for code in ["250", "250", deferred, "250", "354", "250"] {
            assert!(client.read().await.starts_with(code), "{who} {code}");
        }
        assert_eq!(provider.shared.mailroom.list()[0].to, ["1@b", "late@b"]);
        provider.switch_off(Fault::RcptTemporary);
        assert!(client.ask("MAIL FROM:<a@b>").await.starts_with("250"));
        assert!(client.ask("RCPT TO:<later2@b>").await.starts_with("250"), "{who}");
    }
}

#[tokio::test]
async fn recipients_beyond_the_count_are_too_many_in_every_message() {
    for (who, refused) in [(GOOGLE, "452-4.5.3 "), (MICROSOFT, "452 4.5.3 "), (CUSTOM, "452 4.5.3 ")] {
        let provider = start(who).await;
        let mut client = Client::ready(&provider).await;
        for (setting, most) in [("", 10), (r#"{"count": 2}"#, 2), (r#"{"count": 2}"#, 2)] {
            assert_eq!(http(&provider, "PUT", "/faults/too-many-recipients", setting).await.0, 204);
            assert!(client.ask("MAIL FROM:<a@b>").await.starts_with("250"));
            for number in 1..=most + 2 {
                let expected = if number > most { refused } else { "250" };
                assert!(client.ask(&format!("RCPT TO:<{number}@b>")).await.starts_with(expected), "{who} {number}");
            }
            assert!(client.ask("DATA").await.starts_with("354"));
            assert!(client.ask("x\r\n.").await.starts_with("250"));
        }
        assert_eq!(provider.shared.mailroom.list()[1].to, ["1@b", "2@b"]);
        let once = Setting { times: Some(1), count: Some(1), ..Setting::default() };
        provider.switch_on(Fault::TooManyRecipients, once);
        client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<1@b>\r\nRCPT TO:<2@b>\r\nRCPT TO:<3@b>\r\n").await;
        for code in ["250", "250", refused, "250"] {
            assert!(client.read().await.starts_with(code), "{who}: only what is over the count spends a time");
        }
    }
}

#[tokio::test]
async fn faults_of_the_token_server() {
    let provider = start(GOOGLE).await;
    let grant = provider.refresh_token(ADDRESS);
    provider.switch_on(Fault::InvalidGrant, Setting { times: Some(1), ..Setting::default() });
    let (status, answer) = refresh(&provider, grant.expose()).await;
    assert_eq!((status, answer["error_description"].as_str()), (400, Some("Token has been expired or revoked.")));
    provider.switch_on(Fault::TokenServerDown, Setting { times: Some(1), ..Setting::default() });
    let (status, head, _) = http(&provider, "POST", "/token", "").await;
    assert!(status == 503 && head.contains("text/html"), "{head}");
    provider.switch_on(Fault::TokenServerThrottled, Setting { times: Some(1), ..Setting::default() });
    let (status, head, _) = http(&provider, "POST", "/token", "").await;
    assert!(status == 429 && head.contains("retry-after: 10"), "{head}");
    provider.switch_on(Fault::TokenServerSlow, Setting { times: Some(1), milliseconds: Some(30), ..Setting::default() });
    let begun = std::time::Instant::now();
    assert_eq!(refresh(&provider, grant.expose()).await.0, 200);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(provider.stats()["token_refusals"], 3);
}

#[tokio::test]
async fn faults_are_listed_and_unknown_ones_are_named() {
    let provider = start(GOOGLE).await;
    let (status, answer) = http_json(&provider, "PUT", "/faults/flood", "").await;
    assert_eq!((status, answer["faults"].as_array().unwrap().len()), (404, Fault::ALL.len()));
    assert_eq!(http(&provider, "PUT", "/faults/busy", r#"{"tims": 1}"#).await.0, 400);
    assert_eq!(http(&provider, "PUT", "/faults/busy", r#"{"mailbox": "a@b"}"#).await.0, 204);
    assert_eq!(http(&provider, "PUT", "/faults/round-trip", r#"{"milliseconds": 7}"#).await.0, 204);
    let (_, list) = http_json(&provider, "GET", "/faults", "").await;
    let on: Vec<&str> =
        list.as_array().unwrap().iter().filter(|f| f["on"] == true).map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(on, ["busy", "round-trip"]);
    assert_eq!(http(&provider, "DELETE", "/faults/busy", "").await.0, 204);
    assert_eq!(http(&provider, "DELETE", "/faults/round-trip", "").await.0, 204);
    assert!(provider.shared.faults.round_trip().is_zero());
}

#[tokio::test]
async fn a_page_of_another_name_is_not_answered() {
    let provider = start(GOOGLE).await;
    let mut stream = TcpStream::connect(provider.http()).await.unwrap();
    stream.write_all(b"GET /received HTTP/1.1\r\nHost: evil.example:8026\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

/// Loopback itself takes well under a millisecond, so round trips can be counted by the clock.
#[tokio::test]
async fn a_pipelined_group_costs_one_round_trip_and_lock_step_one_each() {
    let provider = start(GOOGLE).await;
    let mut client = Client::ready(&provider).await;
    let trip = Duration::from_millis(100);
    provider.switch_on(Fault::RoundTrip, Setting { milliseconds: Some(100), ..Setting::default() });
    let begun = std::time::Instant::now();
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3 LAST\r\nx\r\n").await;
    for _ in 0..3 {
        assert!(client.read().await.starts_with("250"));
    }
    let together = begun.elapsed();
    let begun = std::time::Instant::now();
    assert!(client.message("x\r\n").await.starts_with("250"));
    let one_by_one = begun.elapsed();
    assert!(together >= trip && together < trip * 2, "{together:?}");
    assert!(one_by_one >= trip * 4 && one_by_one < trip * 6, "{one_by_one:?}");
}

#[tokio::test]
async fn a_password_works_on_both_ports_only_when_asked_for() {
    let provider = Provider::start(Options { accept_password: true, ..options(MICROSOFT) }).await.unwrap();
    let plain = |password: &str| STANDARD.encode(format!("\0{USER}\0{password}"));
    let mut client = Client::plain(provider.smtp_plain().unwrap()).await;
    client.read().await;
    assert!(client.ask("EHLO x").await.contains("AUTH PLAIN LOGIN\r\n"));
    assert!(client.ask(&format!("AUTH PLAIN {}", plain("wrong"))).await.starts_with("535"));
    assert!(client.ask(&format!("AUTH PLAIN {}", plain(provider.password().expose()))).await.starts_with("235"));
    assert!(client.message("x\r\n").await.starts_with("250"));
    let mut client = Client::secure(&provider).await;
    assert_eq!(client.ask("AUTH LOGIN").await, "334 VXNlcm5hbWU6\r\n");
    assert_eq!(client.ask(&STANDARD.encode(USER)).await, "334 UGFzc3dvcmQ6\r\n");
    assert!(client.ask(&STANDARD.encode(provider.password().expose())).await.starts_with("235"));
    assert_eq!(provider.shared.mailroom.list()[0].token, "password");

    let provider = start(MICROSOFT).await;
    assert!(provider.smtp_plain().is_none());
    let mut client = Client::secure(&provider).await;
    client.ask("AUTH LOGIN").await;
    client.ask(&STANDARD.encode(USER)).await;
    let reply = client.ask(&STANDARD.encode(provider.password().expose())).await;
    assert!(reply.starts_with("535 5.7.139 Authentication unsuccessful, basic authentication is disabled"), "{reply}");
}

#[tokio::test]
async fn limits_are_enforced_only_when_asked() {
    for limits in [true, false] {
        let provider = Provider::start(Options { limits, ..options(MICROSOFT) }).await.unwrap();
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(Client::ready(&provider).await);
        }
        let token = provider.shared.tokens.issue(None, "c", access_scope(&provider));
        let fourth = Client::secure(&provider).await.xoauth2(ADDRESS, token.expose()).await;
        assert_eq!(fourth.starts_with("432 4.3.2"), limits, "{fourth}");
        let client = &mut clients[0];
        for number in 1..=31 {
            let reply = client.message("x\r\n").await;
            assert_eq!(reply.starts_with("432 4.3.2 STOREDRV"), limits && number == 31, "{number} {reply}");
        }
        let over = &provider.stats()["mailboxes"][ADDRESS]["over_limit"];
        assert_eq!(over, &json!({ "connections": 1, "messages-per-minute": 1 }));
    }
}

#[tokio::test]
async fn a_taken_port_is_said_in_one_sentence_with_its_option() {
    let provider = start(GOOGLE).await;
    let port = provider.http().port();
    let why = Provider::start(Options { http_port: port, ..options(GOOGLE) }).await.err().unwrap();
    let text =
        format!("port {port} on 127.0.0.1 is taken by another program; choose another one with --port-http (0 takes a free one)");
    assert_eq!(why.to_string(), text);
}

#[tokio::test]
async fn the_written_configuration_holds_no_secret_and_its_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    for who in [GOOGLE, MICROSOFT, CUSTOM] {
        let provider = start(who).await;
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let file = provider.write_config(directory.path(), 0).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            let config: toml::Table = text.parse().unwrap();
            assert_eq!(config["mailbox"]["sandbox"]["server"].as_str(), Some(provider.smtp().to_string().as_str()));
            assert!(config["app"]["sandbox"]["password"].as_str().unwrap().starts_with("$argon2id$"));
            assert!(!text.contains(provider.client_secret().expose()) && !text.contains(provider.password().expose()));
        }
        assert_eq!(directory.path().join("grant").exists(), who == GOOGLE);
        for name in ["client-secret", "grant"].iter().filter(|name| **name != "grant" || who == GOOGLE) {
            let file = directory.path().join(name);
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_to_string(directory.path().join("ca.pem")).unwrap(), provider.ca_pem());
    }
}

#[tokio::test]
async fn the_relays_own_trust_takes_the_written_ca_and_nothing_else_does() {
    let provider = start(GOOGLE).await;
    let directory = tempfile::tempdir().unwrap();
    provider.write_config(directory.path(), 2525).unwrap();
    for (ca, trusted) in [(Some(directory.path().join("ca.pem")), true), (None, false)] {
        let Ok(config) = crate::tls::client_config(ca.as_deref()) else {
            assert!(!trusted, "a system without a trust store trusts nothing");
            continue;
        };
        for name in ["127.0.0.1", "localhost"] {
            let stream = TcpStream::connect(provider.smtp()).await.unwrap();
            let connected = TlsConnector::from(config.clone()).connect(ServerName::try_from(name).unwrap(), stream).await;
            assert_eq!(connected.is_ok(), trusted, "{name}");
        }
    }
}

#[tokio::test]
async fn a_stop_ends_every_connection() {
    let provider = start(GOOGLE).await;
    let mut client = Client::ready(&provider).await;
    let smtp = provider.smtp();
    timeout(WAIT, provider.stop()).await.unwrap();
    assert_eq!(client.read().await, "");
    assert!(TcpStream::connect(smtp).await.is_err());
}
