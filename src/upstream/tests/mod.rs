//! Messages over real loopback sockets, to a provider that says what each test wants.

mod pool;
mod provider;

use super::*;
use crate::{
    config::{Allowed, Mailbox, Server, WhenFromDiffers},
    mail::{Address, Envelope, Name, Recipient},
    provider::{Chunking, Limits, NullSender, Provider, TlsMode},
    secret::Secret,
    smtp::Step,
    store::{Body, LARGEST_IN_MEMORY, Spool},
};
use provider::{Authority, Simulated, encoded};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

const TOKEN: &str = "marked-token";
const MESSAGE: &[u8] = b"Subject: hi\r\n\r\n.dot\r\n";
const ALL: &str = "PIPELINING CHUNKING SIZE 8BITMIME SMTPUTF8 DSN";
const NO_CHUNKING: &str = "PIPELINING SIZE 8BITMIME";

fn mailbox(provider: &Simulated) -> Mailbox {
    Mailbox {
        name: Name::parse("alerts").unwrap(),
        link: Name::parse("link").unwrap(),
        provider: Provider::Custom,
        address: Address::parse("a@example.com").unwrap(),
        xoauth2_user: "a@example.com".into(),
        account: None,
        server: Server { host: "127.0.0.1".into(), port: provider.port() },
        tls: TlsMode::Implicit,
        chunking: Chunking::Auto,
        limits: Limits {
            connections: 2,
            messages_per_connection: 0,
            messages_per_minute: 0,
            messages_per_day: 0,
            recipients_per_day: 0,
            recipients_per_message: 0,
        },
        null_sender: NullSender::Keep,
        allowed_from: Allowed::new(vec!["*".into()]),
        when_from_differs: WhenFromDiffers::Keep,
        ca_file: Some(provider.ca_file()),
    }
}

fn envelope(recipients: usize) -> Envelope {
    let mut envelope = Envelope::from(Some(Address::parse("a@example.com").unwrap()));
    envelope.recipients = (0..recipients).map(|n| Recipient::to(Address::parse(&format!("{n}@y.org")).unwrap())).collect();
    envelope
}

fn body() -> Body {
    Body::Memory(MESSAGE.into())
}

fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

/// One client with its mailbox.
struct Client {
    upstream: Arc<Upstream>,
    mailbox: Arc<Mailbox>,
}

impl Client {
    fn of(provider: &Simulated) -> Self {
        Self::with(mailbox(provider))
    }

    fn with(mailbox: Mailbox) -> Self {
        Self { upstream: Upstream::new("relay.example.com".into()), mailbox: Arc::new(mailbox) }
    }

    async fn slot(&self) -> Slot {
        self.upstream.slot(&self.mailbox, Instant::now() + Duration::from_secs(10)).await.unwrap()
    }

    async fn login(&self) -> Result<Slot, Failure> {
        let mut slot = self.slot().await;
        slot.login(&Secret::new(TOKEN.into()), in_an_hour()).await?;
        Ok(slot)
    }

    async fn send(&self, recipients: usize, policy: Policy) -> Result<Sent, Failure> {
        self.login().await?.send(&envelope(recipients), &body(), policy, &Progress::new()).await
    }
}

#[tokio::test]
async fn warm_connections_are_reused_and_everything_goes_out_in_one_group() {
    let provider = Simulated::start().await;
    let client = Client::of(&provider);
    let server = async {
        let mut peer = provider.accept(ALL).await;
        for _ in 0..3 {
            assert_eq!(peer.line().await, format!("MAIL FROM:<a@example.com> SIZE={}", MESSAGE.len()));
            assert_eq!(peer.line().await, "RCPT TO:<0@y.org>");
            assert_eq!(peer.line().await, format!("BDAT {} LAST", MESSAGE.len()));
            // Not one reply so far, and the body is there.
            assert_eq!(peer.octets(MESSAGE.len()).await, MESSAGE);
            peer.say("250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.0.0 taken").await;
        }
        client.upstream.forget(&client.mailbox.name);
        assert_eq!(peer.line().await, "QUIT");
    };
    let sending = async {
        for round in 0..3 {
            let slot = client.slot().await;
            assert_eq!(slot.is_warm(), round > 0, "an unused slot gives its connection back");
            drop(slot);
            let sent = client.send(1, Policy::AllOrNone).await.unwrap();
            assert_eq!((sent.message.unwrap().to_string(), sent.step), ("250 2.0.0 taken".into(), Step::Body));
        }
    };
    tokio::join!(server, sending);
    assert!(!client.slot().await.is_warm());
}

#[tokio::test]
async fn starttls_comes_before_any_credential() {
    let provider = Simulated::start().await;
    let client = Client::with(Mailbox { tls: TlsMode::Starttls, ..mailbox(&provider) });
    let server = async {
        let mut plain = provider.accept_plain().await;
        plain.say("220 hello").await;
        assert_eq!(plain.line().await, "EHLO relay.example.com");
        plain.say("250-hi\r\n250-AUTH XOAUTH2\r\n250 STARTTLS").await;
        assert_eq!(plain.line().await, "STARTTLS");
        plain.say("220 go").await;
        let mut peer = provider.secure(plain).await;
        peer.hello(NO_CHUNKING).await;
        peer.login().await;
        peer.take_by_data(1).await
    };
    let (received, sent) = tokio::join!(server, client.send(1, Policy::AllOrNone));
    assert_eq!((received, sent.unwrap().is_delivered()), (b"Subject: hi\r\n\r\n..dot\r\n.\r\n".to_vec(), true));
}

#[tokio::test]
async fn no_token_is_sent_without_tls() {
    let provider = Simulated::start().await;
    let client = Client::with(Mailbox { tls: TlsMode::Starttls, ..mailbox(&provider) });
    let server = async {
        let mut plain = provider.accept_plain().await;
        plain.say("220 hello").await;
        plain.line().await;
        plain.say("250-hi\r\n250 AUTH XOAUTH2").await;
        plain.rest().await
    };
    let (rest, failure) = tokio::join!(server, client.login());
    let failure = failure.unwrap_err();
    assert_eq!((failure.step, &*rest), (Step::Tls, &b""[..]));
    assert!(failure.to_string().contains("does not offer STARTTLS"), "{failure}");
}

#[tokio::test]
async fn a_certificate_that_is_not_to_be_trusted_is_refused() {
    let other = Authority::new();
    for (provider, ca_file, advice) in [
        (Simulated::start().await, other.ca_file(), "tls-untrusted-issuer"),
        (Simulated::with(Authority::new(), "mail.example.com").await, None, "tls-wrong-name"),
        (Simulated::with(Authority::self_signed(), "127.0.0.1").await, None, "tls-ca-as-server"),
    ] {
        let mut mailbox = mailbox(&provider);
        mailbox.ca_file = ca_file.or(mailbox.ca_file);
        let client = Client::with(mailbox);
        let (_, failure) = tokio::join!(provider.accept_failing(), client.login());
        let failure = failure.unwrap_err();
        assert!(matches!(failure.reason, Reason::Tls(_)), "{failure}");
        assert_eq!(failure.advice().map(|advice| advice.name), Some(advice), "{failure}");
    }
}

#[tokio::test]
async fn the_challenge_of_a_refused_token_is_kept_and_the_token_is_not() {
    let provider = Simulated::start().await;
    let client = Client::of(&provider);
    let server = async {
        let mut peer = provider.accept_tls().await;
        peer.say("220 hello").await;
        peer.hello(ALL).await;
        assert_eq!(peer.line().await, "AUTH XOAUTH2");
        peer.say("334 ").await;
        let token = peer.line().await;
        peer.say(&format!("334 {}", encoded(r#"{"status":"401"}"#))).await;
        assert_eq!(peer.line().await, "");
        peer.say(&format!("535-5.7.8 not accepted\r\n535 5.7.8 {token}")).await;
    };
    let ((), failure) = tokio::join!(server, client.login());
    let failure = failure.unwrap_err();
    assert_eq!((failure.step, failure.challenge.as_deref()), (Step::Auth, Some(r#"{"status":"401"}"#)));
    let Reason::Reply(reply) = &failure.reason else { panic!("{failure}") };
    assert_eq!(reply.to_string(), "535 5.7.8 not accepted [secret]");
    assert!(!format!("{failure:?}").contains("marked"));
}

#[tokio::test]
async fn one_refused_recipient_stops_the_message_for_all() {
    let provider = Simulated::start().await;
    let client = Client::of(&provider);
    let server = async {
        let mut peer = provider.accept(ALL).await;
        peer.lines(3).await;
        peer.say("250 ok\r\n250 ok\r\n550 5.1.1 nobody").await;
        assert_eq!(peer.line().await, "RSET");
        peer.say("250 ok").await;
        peer.lines(3).await;
        peer.say("250 ok\r\n250 ok\r\n250 ok").await;
        assert!(peer.line().await.starts_with("BDAT "));
        peer.octets(MESSAGE.len()).await;
        peer.say("250 taken").await;
    };
    let sending = async {
        let sent = client.send(2, Policy::AllOrNone).await.unwrap();
        assert_eq!((sent.recipients[0].code, sent.recipients[1].code, sent.message), (250, 550, None));
        client.send(2, Policy::AllOrNone).await.unwrap()
    };
    assert!(tokio::join!(server, sending).1.is_delivered());
}

#[tokio::test]
async fn a_server_that_does_not_know_bdat_gets_data_from_then_on() {
    let provider = Simulated::start().await;
    let client = Client::of(&provider);
    let server = async {
        let mut peer = provider.accept(ALL).await;
        peer.lines(3).await;
        peer.octets(MESSAGE.len()).await;
        peer.say("250 ok\r\n250 ok\r\n503 5.5.1 bad sequence").await;
        assert_eq!(peer.line().await, "RSET");
        peer.say("250 ok").await;
        peer.take_by_data(1).await;
        peer.take_by_data(1).await;
    };
    let sending = async { (client.send(1, Policy::Each).await.unwrap(), client.send(1, Policy::Each).await.unwrap()) };
    let ((), (first, second)) = tokio::join!(server, sending);
    assert!(first.is_delivered() && second.is_delivered());
}

#[tokio::test]
async fn a_server_that_took_the_body_for_commands_is_left() {
    let provider = Simulated::start().await;
    let client = Client::of(&provider);
    let server = async {
        let mut peer = provider.accept(ALL).await;
        peer.lines(3).await;
        peer.octets(MESSAGE.len()).await;
        peer.say("250 ok\r\n250 ok\r\n500 5.5.1 what is BDAT\r\n500 5.5.1 what is Subject:").await;
        drop(peer);
        provider.accept(ALL).await.take_by_data(1).await;
    };
    let sending = async {
        let failure = client.send(1, Policy::Each).await.unwrap_err();
        assert!(failure.stale && !failure.unknown, "{failure}");
        client.send(1, Policy::Each).await.unwrap()
    };
    assert!(tokio::join!(server, sending).1.is_delivered());
}

#[tokio::test]
async fn a_connection_that_was_closed_at_rest_is_not_used() {
    let provider = Simulated::start().await;
    let client = Client::of(&provider);
    let server = async {
        let mut peer = provider.accept(NO_CHUNKING).await;
        peer.take_by_data(1).await;
        peer.say("421 4.4.2 idle").await;
        peer.close().await;
        provider.accept(NO_CHUNKING).await.take_by_data(1).await;
    };
    let sending = async {
        client.send(1, Policy::AllOrNone).await.unwrap();
        while client.slot().await.is_warm() {
            tokio::task::yield_now().await;
        }
        client.send(1, Policy::AllOrNone).await.unwrap()
    };
    assert!(tokio::join!(server, sending).1.is_delivered());
}

#[tokio::test]
async fn a_connection_that_ends_before_the_first_reply_is_stale() {
    for goodbye in [None, Some("421 4.4.2 idle")] {
        let provider = Simulated::start().await;
        let client = Client::of(&provider);
        let server = async {
            let mut peer = provider.accept(NO_CHUNKING).await;
            peer.take_by_data(1).await;
            peer.lines(3).await;
            if let Some(goodbye) = goodbye {
                peer.say(goodbye).await;
            }
            peer.close().await;
        };
        let sending = async {
            client.send(1, Policy::AllOrNone).await.unwrap();
            client.send(1, Policy::AllOrNone).await.unwrap_err()
        };
        let ((), failure) = tokio::join!(server, sending);
        assert!(failure.stale && !failure.unknown, "{failure}");
    }
}

#[tokio::test]
async fn a_421_on_a_fresh_connection_is_the_servers_answer() {
    let provider = Simulated::start().await;
    let client = Client::of(&provider);
    let server = async {
        let mut peer = provider.accept(NO_CHUNKING).await;
        peer.lines(3).await;
        peer.say("421 4.7.0 try later").await;
        peer.close().await;
    };
    let ((), sent) = tokio::join!(server, client.send(1, Policy::AllOrNone));
    assert_eq!(sent.unwrap().mail.to_string(), "421 4.7.0 try later");
}

#[tokio::test]
async fn a_final_reply_that_is_lost_or_cut_leaves_the_outcome_unknown() {
    for (offers, cut) in [(ALL, ""), (ALL, "250 2.0"), (NO_CHUNKING, ""), (NO_CHUNKING, "250-2.0.0 taken\r\n")] {
        let provider = Simulated::start().await;
        let client = Client::of(&provider);
        let server = async {
            let mut peer = provider.accept(offers).await;
            peer.lines(3).await;
            if offers == ALL {
                peer.octets(MESSAGE.len()).await;
                peer.say("250 ok\r\n250 ok").await;
            } else {
                peer.say("250 ok\r\n250 ok\r\n354 go").await;
                peer.until_dot().await;
            }
            peer.say_raw(cut).await;
            peer.close().await;
        };
        let ((), failure) = tokio::join!(server, client.send(1, Policy::AllOrNone));
        let failure = failure.unwrap_err();
        assert!(failure.unknown && !failure.stale && failure.step == Step::Body, "{failure}");
    }
}

#[tokio::test]
async fn whoever_gives_up_first_wins() {
    let provider = Simulated::start().await;
    let client = Client::of(&provider);
    let progress = Progress::new();
    let server = async {
        let mut peer = provider.accept(NO_CHUNKING).await;
        peer.lines(3).await;
        assert!(progress.try_abort());
        peer.say("250 ok\r\n250 ok\r\n354 go").await;
        peer.rest().await
    };
    let sending = async { client.login().await.unwrap().send(&envelope(1), &body(), Policy::AllOrNone, &progress).await };
    let (rest, failure) = tokio::join!(server, sending);
    assert_eq!((failure.unwrap_err().reason, &*rest), (Reason::Aborted, &b""[..]));
}

async fn large_body(directory: &std::path::Path, length: usize) -> Body {
    let mut receiving = Spool::open(directory.join("spool")).unwrap().receive();
    let lines = [&[b'x'; 62][..], b"\r\n"].concat().repeat(1024);
    for _ in 0..length / lines.len() {
        receiving.write(&lines).await.unwrap();
    }
    receiving.finish().await.unwrap()
}

#[tokio::test]
async fn a_large_body_follows_the_recipients_piece_by_piece() {
    let directory = tempfile::tempdir().unwrap();
    let body = large_body(directory.path(), 8 * LARGEST_IN_MEMORY).await;
    for offers in [ALL, NO_CHUNKING] {
        let provider = Simulated::start().await;
        let client = Client::of(&provider);
        let server = async {
            let mut peer = provider.accept(offers).await;
            if offers == ALL {
                peer.lines(2).await;
                peer.say("250 ok\r\n250 ok").await;
                assert_eq!(peer.line().await, format!("BDAT {} LAST", body.len()));
                let received = peer.octets(body.len() as usize).await;
                peer.say("250 taken").await;
                received.len()
            } else {
                peer.take_by_data(1).await.len() - 3
            }
        };
        let sending =
            async { client.login().await.unwrap().send(&envelope(1), &body, Policy::AllOrNone, &Progress::new()).await };
        let (received, sent) = tokio::join!(server, sending);
        assert!(sent.unwrap().is_delivered() && received as u64 == body.len());
    }
}

#[tokio::test]
async fn a_server_that_answers_early_and_stops_reading_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    let body = large_body(directory.path(), 16 << 20).await;
    for (offers, verdict) in [(ALL, "552 5.3.4 too big"), (NO_CHUNKING, "552 5.3.4 too big"), (ALL, "250 2.0.0 taken")] {
        let provider = Simulated::start().await;
        let client = Client::of(&provider);
        let server = async {
            let mut peer = provider.accept(offers).await;
            peer.lines(2).await;
            peer.say("250 ok\r\n250 ok").await;
            peer.line().await;
            if offers == NO_CHUNKING {
                peer.say("354 go").await;
            }
            peer.octets(1000).await;
            peer.say(verdict).await;
            peer
        };
        let sending =
            async { client.login().await.unwrap().send(&envelope(1), &body, Policy::AllOrNone, &Progress::new()).await };
        let (_peer, result) =
            tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(server, sending) }).await.unwrap();
        match (verdict.starts_with('2'), result) {
            (false, Ok(sent)) => assert_eq!(sent.message.unwrap().to_string(), verdict),
            (true, Err(failure)) => assert!(failure.unknown && failure.to_string().contains("before its end"), "{failure}"),
            (_, other) => panic!("{verdict}: {other:?}"),
        }
    }
}
