//! The whole session: rules that no dialogue file shows, and properties. The dialogues are in `tests/dialogues`.

use super::*;
use proptest::prelude::*;

fn rules() -> Rules {
    Rules {
        hostname: "relay.example".into(),
        offers_auth: true,
        clear_auth: true,
        encryption: Encryption::None,
        message_size: 200,
        recipients: 3,
        errors: 5,
    }
}

/// Plays `input` in pieces of the given sizes (over and over) against a host that says yes to most; gives what happened, the
/// bodies of messages joined.
fn play(mut session: Session, input: &[u8], sizes: &[usize]) -> Vec<String> {
    let (mut events, mut body, mut message) = (Vec::new(), Vec::new(), Vec::new());
    let (mut rest, mut sizes) = (input, sizes.iter().cycle());
    loop {
        let (mut piece, later) = rest.split_at(sizes.next().unwrap().min(&rest.len()).to_owned());
        rest = later;
        let mut steps = 0;
        while let Some(action) = session.next(&mut piece, &mut body) {
            steps += 1;
            assert!(steps < 10_000, "the session does not come to an end");
            assert!(session.actions.len() < 10 && body.len() <= 2 * input.len() + 2);
            match action {
                Action::Authenticate { password, .. } => {
                    let is_right = password.expose() == "secret";
                    session.authenticated(if is_right { Ok(()) } else { Err(crate::smtp::server::authentication_failed()) });
                }
                Action::Mail(sender) => {
                    session.decide(Ok(()));
                    events.push(format!("from {sender:?}"));
                }
                Action::Recipient(recipient) => session.decide(match recipient.address.local() {
                    "refused" => Err(Reply::new(550, Some((1, 1)), "no such user")),
                    _ => Ok(()),
                }),
                Action::Begin => message.clear(),
                Action::Body => message.append(&mut body),
                Action::Discard => {
                    message.clear();
                    events.push("discard".into());
                }
                Action::Message(envelope) => {
                    events.push(format!("message {:?} {}", envelope.recipients, message.escape_ascii()));
                    session.settle(Reply::new(250, Some((0, 0)), "accepted"));
                }
                Action::StartTls => {
                    events.push("handshake".into());
                    session.restart(&mut piece, false);
                    rest = &[];
                }
                Action::Reply(reply) => events.push(reply.to_string()),
                Action::Close(why) => events.push(format!("{why:?}")),
            }
        }
        assert!(piece.is_empty() || matches!(session.state, State::Closed), "input was left over");
        if rest.is_empty() || matches!(session.state, State::Closed) {
            return events;
        }
    }
}

#[test]
fn an_app_with_a_smaller_size_of_its_own_hears_the_listeners_in_ehlo_and_its_own_in_a_refusal() {
    let mut session = Session::new(rules(), true);
    session.limit_size(Some(50));
    let input = format!(
        "EHLO x\r\nMAIL FROM:<a@b.example> SIZE=51\r\nMAIL FROM:<a@b.example> SIZE=50\r\nRCPT TO:<c@b.example>\r\nDATA\r\n{}.\r\n",
        "0123456789\r\n".repeat(5)
    );
    let events = play(session, input.as_bytes(), &[1000]).join("\n");
    assert!(events.contains("SIZE 200"), "{events}");
    assert_eq!(events.matches("552 5.3.4 ").count(), 2, "{events}");
    // Never more than the listener takes.
    let mut session = Session::new(rules(), true);
    session.limit_size(Some(1000));
    let events = play(session, b"EHLO x\r\nMAIL FROM:<a@b.example> SIZE=201\r\n", &[1000]).join("\n");
    assert!(events.contains("552 5.3.4 "), "{events}");
}

/// The codes of the replies, and other events by their first word.
fn codes(known: bool, input: &str) -> String {
    let all = play(Session::new(rules(), known), input.as_bytes(), &[1000]);
    let words: Vec<&str> = all.iter().skip(1).map(|event| event.split(' ').next().unwrap_or("")).collect();
    words.join(" ")
}

#[test]
fn each_state_takes_only_its_commands() {
    for (known, input, expected) in [
        (false, "MAIL FROM:<a@b>\r\n", "530"),
        (true, "RCPT TO:<a@b>\r\nDATA\r\nBDAT 3 LAST\r\nRSTNOOP\r\n", "503 503 503 250"),
        (true, "MAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\nDATA\r\nBDAT 0\r\n", "from 250 503 554 554"),
        (true, "MAIL FROM:<a@b>\r\nAUTH PLAIN\r\n", "from 250 503"),
        (true, "MAIL FROM:<a@b> SIZE=201\r\nMAIL FROM:<> SIZE=200\r\n", "552 from 250"),
        (true, "MAIL FROM:<>\r\nRCPT TO:<a>\r\nRCPT TO:<a>\r\nRCPT TO:<a>\r\nRCPT TO:<a>\r\n", "from 250 250 250 250 452"),
        (true, "MAIL FROM:<>\r\nRCPT TO:<j\u{f6}rg@b>\r\n", "from 250 553"),
        (true, "MAIL FROM:<>\r\nRSET\r\nRCPT TO:<a>\r\n", "from 250 250 503"),
        (true, "MAIL FROM:<>\r\nEHLO x\r\nRCPT TO:<a>\r\n", "from 250 250 503"),
        (true, "VRFY a\r\nHELP\r\nNOOP x\r\nEXPN a\r\nSTARTTLS\r\nQUIT\r\nNOOP\r\n", "252 214 250 502 502 221 Quit"),
        (true, "a\r\nb\r\nc\r\nd\r\ne\r\nNOOP\r\n", "500 500 500 500 500 421 Errors"),
    ] {
        assert_eq!(codes(known, input), expected, "{input}");
    }
}

#[test]
fn chunks_follow_one_another_until_the_last() {
    let start = "MAIL FROM:<>\r\nRCPT TO:<a>\r\n";
    for (input, expected) in [
        ("BDAT 3\r\na\r\nBDAT 1 LAST\r\nbNOOP\r\n", "from 250 250 250 message 250 250"),
        ("BDAT 2\r\nabDATA\r\nRCPT TO:<b>\r\nRSET\r\n", "from 250 250 250 503 503 discard 250"),
        ("BDAT 0 LAST\r\nNOOP\r\n", "from 250 250 message 250 250"),
        ("BDAT 5\r\nQUIT\0BDAT 2 LAST\r\n\r\nNOOP\r\n", "from 250 250 discard 554 554 250"),
        ("BDAT 2000000\r\n", "from 250 250 552 Flood"),
        ("BDAT 200000000000000000000\r\nQUIT\r\n", "from 250 250 501 Unframed"),
    ] {
        assert_eq!(codes(true, &format!("{start}{input}")), expected, "{input}");
    }
}

#[test]
fn a_message_that_is_refused_is_swallowed() {
    let start = "MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n";
    let long = "a".repeat(300);
    for (input, expected) in [
        (format!("{long}\r\n.\r\nNOOP\r\n"), "from 250 250 354 discard 552 250"),
        ("a\0\r\nQUIT\r\n.\r\nNOOP\r\n".to_owned(), "from 250 250 354 discard 554 250"),
        ("a\r\n".repeat(400_000), "from 250 250 354 discard 552 Flood"),
    ] {
        assert_eq!(codes(true, &format!("{start}{input}")), expected);
    }
}

#[test]
fn a_bdat_that_cannot_be_read_ends_the_session_before_its_octets_become_commands() {
    let input = format!("MAIL FROM:<a@b>\r\nRCPT TO:<a>\r\nbdat 7{}\r\nNOOP\r\n", " ".repeat(5000));
    assert_eq!(codes(true, &input), "from 250 250 501 Unframed");
}

#[test]
fn what_is_not_smtp_ends_the_session() {
    for (input, expected) in [
        ("POST / HTTP/1.1\r\nHost: localhost:2525\r\n\r\nMAIL FROM:<>\r\n", "500 Http"),
        (&format!("GET /{} HTTP/1.1\r\n", "a".repeat(10_000)), "500 Http"),
        ("host: localhost\r\n", "500 Http"),
        ("\u{16}\u{3}\u{1}", "Tls"),
        ("NOOP\r\nGET / HTTP/1.1\r\n", "250 500"),
    ] {
        assert_eq!(codes(true, input), expected);
    }
}

#[test]
fn a_restart_forgets_what_was_buffered_and_said() {
    let mut session = Session::new(rules(), true);
    let mut body = Vec::new();
    let mut input = &b"EHLO x\r\nMAIL FROM:<>\r\n"[..];
    while let Some(action) = session.next(&mut input, &mut body) {
        if let Action::Mail(_) = action {
            session.decide(Ok(()));
        }
    }
    assert!(session.is_in_message() && session.hello().is_some());
    // The start of a command, and commands that were written before the handshake.
    assert_eq!(session.next(&mut &b"RCPT TO:<a"[..], &mut body), None);
    let mut input = &b"RSET\r\nMAIL FROM:<injected>\r\n"[..];
    session.restart(&mut input, true);
    assert_eq!(session.next(&mut input, &mut body), None);
    assert!(!session.is_in_message() && session.hello().is_none());
    let Some(Action::Reply(reply)) = session.next(&mut &b"RCPT TO:<a>\r\n"[..], &mut body) else { panic!("no reply") };
    assert_eq!(reply.code, 503);
}

#[test]
fn encryption_decides_what_is_offered_and_taken() {
    use Encryption::{None, Offered, On};
    let said = |encryption, clear_auth, input: &str| {
        let rules = Rules { encryption, clear_auth, ..rules() };
        play(Session::new(rules, false), input.as_bytes(), &[1000])[1..].join("|")
    };
    for (encryption, clear_auth, starttls, auth) in [
        (None, true, false, true),
        (None, false, false, false),
        (Offered, false, true, false),
        (Offered, true, true, true),
        (On, false, false, true),
    ] {
        let hello = said(encryption, clear_auth, "EHLO x\r\n");
        assert_eq!(
            (hello.contains("STARTTLS"), hello.contains("AUTH ")),
            (starttls, auth),
            "{encryption:?} {clear_auth}: {hello}"
        );
        let login = said(encryption, clear_auth, "AUTH PLAIN AGFwcABzZWNyZXQ=\r\n");
        assert!(login.starts_with(if auth { "235" } else { "538 5.7.11" }), "{login}");
        let mail = said(encryption, clear_auth, "MAIL FROM:<>\r\n");
        assert!(mail.starts_with("530 5.7.0"), "{mail}");
        assert_eq!(mail.contains("STARTTLS"), starttls && !auth, "{mail}");
    }
    assert!(said(On, false, "STARTTLS\r\n").starts_with("503 "));
    assert!(said(None, true, "STARTTLS\r\n").starts_with("502 "));
    assert!(said(Offered, true, "STARTTLS now\r\n").starts_with("501 "));
}

#[test]
fn what_was_said_before_a_handshake_does_not_count() {
    let rules = Rules { encryption: Encryption::Offered, ..rules() };
    let login = "EHLO x\r\nAUTH PLAIN AGFwcABzZWNyZXQ=\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nabc";
    let input = format!("{login}STARTTLS\r\nMAIL FROM:<injected@b>\r\n");
    for size in [1, 7, 1000] {
        let events = play(Session::new(rules.clone(), false), input.as_bytes(), &[size]);
        let last: Vec<_> = events.iter().rev().take(3).map(String::as_str).collect();
        assert_eq!(last, ["handshake", "220 2.0.0 ready for the handshake", "discard"], "in pieces of {size}");
    }
}

/// Pieces of sessions, good and bad.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "EHLO x\r\n",
        "HELO\n",
        "AUTH PLAIN AGFwcABzZWNyZXQ=\r\n",
        "AUTH LOGIN\r\nYXBw\r\nc2VjcmV0\r\n",
        "AUTH PLAIN\r\n*\r\n",
        "MAIL FROM:<a@b>\r\n",
        "RCPT TO:<c@d>\r\n",
        "RCPT TO:<refused@d>\r\n",
        "DATA\r\n",
        "\r\n.\r\n",
        ".\r\n",
        "..\r",
        "\n.\n",
        "\r\r\n",
        "BDAT 7\r\n",
        "BDAT 5 LAST\r\n",
        "BDAT x\r\n",
        "RSET\r\n",
        "QUIT\r\n",
        "\0",
        "Subject: a\r\n\r\nbody",
    ]);
    prop_oneof![
        8 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (1_usize..20_000).prop_map(|length| vec![b'a'; length]),
    ]
}

proptest! {
    #[test]
    fn any_chunking_of_the_same_bytes_gives_the_same_events(
        fragments in prop::collection::vec(fragment(), 0..25),
        sizes in prop::collection::vec(1_usize..40, 1..8),
        is_known in any::<bool>(),
    ) {
        let input = fragments.concat();
        let whole = play(Session::new(rules(), is_known), &input, &[input.len().max(1)]);
        prop_assert_eq!(whole, play(Session::new(rules(), is_known), &input, &sizes));
    }

    #[test]
    fn no_input_panics(input in prop::collection::vec(any::<u8>(), 0..2000)) {
        play(Session::new(rules(), true), &input, &[7]);
        let start = b"MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n";
        play(Session::new(rules(), true), &[&start[..], &input].concat(), &[7]);
    }
}
