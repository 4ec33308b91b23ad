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
