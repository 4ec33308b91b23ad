//! What a test needs that kills a relay: an account of every message, and places to hold it at.

use super::*;

#[tokio::test]
async fn every_message_id_is_accounted_for_however_few_messages_are_kept() {
    let provider = Provider::start(Options { keep_messages: 1, ..options(GOOGLE) }).await.unwrap();
    let mut client = Client::ready(&provider).await;
    for head in ["Message-ID: <1@x>\r\n", "Message-ID: <2@x>\r\n", "Message-ID:\r\n <1@x>\r\n", "X-None: 1\r\n"] {
        assert!(client.message(&format!("{head}\r\nbody\r\n")).await.starts_with("250"));
    }
    provider.switch_on(Fault::FinalReplyLost, Setting { times: Some(2), ..Setting::default() });
    for head in ["Message-ID: <3@x>\r\n", "X-None: 1\r\n"] {
        let mut client = Client::ready(&provider).await;
        assert_eq!(client.message(&format!("{head}\r\nbody\r\n")).await, "");
    }
    let ids = async |query| http_json(&provider, "GET", &format!("/message-ids{query}"), "").await.1;
    assert_eq!(ids("").await, json!({ "<1@x>": 2, "<2@x>": 1, "<3@x>": 1 }));
    assert_eq!(ids("?lost=true").await, json!({ "<3@x>": 1 }));
    assert_eq!(http(&provider, "GET", "/message-ids?lots=true", "").await.0, 400);
    let names = ["messages", "duplicates", "kept_messages", "message_ids", "message_ids_missed", "final_replies_lost"];
    let stats = provider.stats();
    assert_eq!(names.map(|name| stats[name].as_u64().unwrap()), [6, 1, 1, 3, 0, 2]);

    assert_eq!(http(&provider, "DELETE", "/received", "").await.0, 204);
    assert_eq!((ids("").await, ids("?lost=true").await), (json!({}), json!({})));
    let stats = provider.stats();
    assert_eq!(names.map(|name| stats[name].as_u64().unwrap()), [6, 1, 0, 0, 0, 0]);
}

/// Waits until so many connections are held in silence.
async fn silent(provider: &Provider, connections: u64) {
    let all = async {
        while provider.stats()["silent_connections"] != connections {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(WAIT, all).await.unwrap_or_else(|_| panic!("{connections} silent connections: {}", provider.stats()));
}

/// Each fault, the commands before its place, and how many replies come to them; then what it silences, and the reply.
const PLACES: [(&str, &str, usize, &str, &str); 5] = [
    ("silent-at-mail", "", 0, "MAIL FROM:<a@b>\r\n", "250 2.1.0"),
    ("silent-at-data", "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", 2, "DATA\r\n", "354"),
    ("silent-at-data", "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", 2, "BDAT 2 LAST\r\nx\n", "250 2.0.0 OK  "),
    ("silent-at-end", "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", 3, "Message-ID: <1@x>\r\n\r\n.\r\n", "250 2.0.0 OK  "),
    ("silent-at-end", "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", 2, "BDAT 21 LAST\r\nMessage-ID: <1@x>\r\n\r\n", "250 2.0.0 OK  "),
];

#[tokio::test]
async fn a_silent_provider_answers_when_the_fault_is_switched_off() {
    for (fault, before, replies, command, reply) in PLACES {
        let provider = start(GOOGLE).await;
        let mut client = Client::ready(&provider).await;
        assert_eq!(http(&provider, "PUT", &format!("/faults/{fault}"), r#"{"times": 1}"#).await.0, 204);
        // All in one group, with a command behind: what was said before comes, what is behind waits.
        client.send(format!("{before}{command}NOOP\r\n").as_bytes()).await;
        for _ in 0..replies {
            assert!(client.read().await.starts_with(['2', '3']), "{fault}");
        }
        silent(&provider, 1).await;
        assert_eq!(provider.stats()["messages"], u64::from(fault == "silent-at-end"), "{fault} {command}");
        assert!(timeout(Duration::from_millis(50), client.0.fill_buf()).await.is_err(), "{fault}: it said something");
        let mut other = Client::ready(&provider).await;
        assert!(other.message("x\r\n").await.starts_with("250"), "{fault} strikes once");
        assert_eq!(http(&provider, "DELETE", &format!("/faults/{fault}"), "").await.0, 204);
        assert!(client.read().await.starts_with(reply), "{fault}");
        if command == "DATA\r\n" {
            assert!(client.ask(".").await.starts_with("250"), "NOOP was the message");
        } else {
            assert!(client.read().await.starts_with("250 2.0.0 OK"), "{fault}: NOOP");
        }
        silent(&provider, 0).await;
        assert_eq!(provider.stats()["final_replies_lost"], 0, "{fault}");
    }
}

#[tokio::test]
async fn a_client_that_ends_in_the_silence_is_noticed_and_its_message_told() {
    for (fault, before, replies, command, _) in PLACES {
        let provider = start(GOOGLE).await;
        let mut client = Client::ready(&provider).await;
        assert_eq!(http(&provider, "PUT", &format!("/faults/{fault}"), "").await.0, 204);
        client.send(format!("{before}{command}").as_bytes()).await;
        for _ in 0..replies {
            client.read().await;
        }
        silent(&provider, 1).await;
        drop(client);
        silent(&provider, 0).await;
        let lost = if fault == "silent-at-end" { json!({ "<1@x>": 1 }) } else { json!({}) };
        let told = async { while http_json(&provider, "GET", "/message-ids?lost=true", "").await.1 != lost {} };
        timeout(WAIT, told).await.unwrap_or_else(|_| panic!("{fault}: {}", provider.stats()));
        assert_eq!(http_json(&provider, "GET", "/message-ids", "").await.1, lost, "{fault}");
    }
}
