//! Dialogues as tables: what goes out (`>` a group, `body` the message), what comes back, and what it means.

use super::*;
use crate::mail::{Address, BodyType, Notify, Recipient, Ret, Xtext};
use proptest::prelude::*;

use Policy::{AllOrNone, Each};

const ALL: Capabilities = Capabilities {
    pipelining: true,
    chunking: true,
    size: true,
    eight_bit_mime: true,
    smtputf8: true,
    dsn: true,
    xoauth2: true,
    oauthbearer: true,
};
const NO_CHUNKING: Capabilities = Capabilities { chunking: false, ..ALL };
const NO_PIPELINING: Capabilities = Capabilities { pipelining: false, ..ALL };
const BARE: Capabilities = Capabilities { pipelining: false, chunking: false, ..ALL };

fn envelope(recipients: usize) -> Envelope {
    let mut envelope = Envelope::from(Some(Address::parse("a@x.org").unwrap()));
    envelope.recipients = (0..recipients).map(|n| Recipient::to(Address::parse(&format!("{n}@y.org")).unwrap())).collect();
    envelope
}

fn message(envelope: &Envelope, policy: Policy) -> Message<'_> {
    Message { envelope, length: 10, policy, chunking: true, grouped: true }
}

fn reply(text: &str) -> Reply {
    let (code, rest) = text.split_at_checked(3).unwrap();
    let rest = rest.trim_start();
    let (first, tail) = rest.split_once(' ').unwrap_or((rest, ""));
    let enhanced = crate::smtp::Enhanced::parse(first);
    let text = if enhanced.is_some() { tail } else { rest };
    Reply { code: code.parse().unwrap(), enhanced, lines: vec![text.into()] }
}

/// Plays `replies`, each read when the machine asks for one; gives what was written and the outcome.
fn play(mut transaction: Transaction<'_>, replies: &[&str]) -> (String, Option<Sent>) {
    let (mut written, mut replies) = (String::new(), replies.iter());
    loop {
        let mut out = Vec::new();
        let next = transaction.next(&mut out);
        if !out.is_empty() {
            let verbs: Vec<&str> =
                std::str::from_utf8(&out).unwrap().lines().map(|l| l.split([' ', ':']).next().unwrap()).collect();
            written.push_str(&format!("> {} ", verbs.join(" ")));
        }
        match next {
            Next::Body(framing) => written.push_str(&format!("{framing:?} ")),
            Next::Read(_) => match replies.next() {
                Some(text) => drop(transaction.answer(reply(text)).unwrap()),
                None => return (written.trim_end().into(), transaction.ended(false)),
            },
            Next::Done => {
                assert_eq!(replies.next(), None, "a reply was not asked for");
                return (written.trim_end().into(), transaction.sent());
            }
        }
    }
}

/// Name, offers, recipients, policy, replies; then what went out, the recipients' codes, and the message's.
type Dialogue = (&'static str, Capabilities, usize, Policy, &'static [&'static str], &'static str, &'static [u16], Option<u16>);

#[rustfmt::skip]
const DIALOGUES: &[Dialogue] = &[
    ("one group", ALL, 1, AllOrNone, &["250", "250", "250"], "> MAIL RCPT BDAT Octets", &[250], Some(250)),
    ("one group for each", ALL, 2, Each, &["250", "250", "550", "250"], "> MAIL RCPT RCPT BDAT Octets", &[250, 550], Some(250)),
    ("several wait", ALL, 2, AllOrNone, &["250", "250", "250", "250"], "> MAIL RCPT RCPT > BDAT Octets", &[250, 250], Some(250)),
    ("one of several refused", ALL, 2, AllOrNone, &["250", "250", "550", "250"], "> MAIL RCPT RCPT > RSET", &[250, 550], None),
    ("bdat without recipient", ALL, 1, AllOrNone, &["250", "550", "554", "250"], "> MAIL RCPT BDAT Octets > RSET", &[550], None),
    ("bdat taken for nobody", ALL, 1, AllOrNone, &["250", "550", "250", "250"], "> MAIL RCPT BDAT Octets > RSET", &[550], None),
    ("bdat refused", ALL, 1, AllOrNone, &["250", "250", "552 5.3.4 big", "250"], "> MAIL RCPT BDAT Octets > RSET", &[250], Some(552)),
    ("bdat unknown", ALL, 1, AllOrNone, &["250", "250", "502 5.5.1 what", "250", "250", "250", "354", "250"], "> MAIL RCPT BDAT Octets > RSET > MAIL RCPT DATA Dots", &[250], Some(250)),
    ("bdat unknown and then no", ALL, 1, AllOrNone, &["250", "250", "500", "250", "250", "250", "503 5.5.1 no", "250"], "> MAIL RCPT BDAT Octets > RSET > MAIL RCPT DATA > RSET", &[250], Some(503)),
    ("mail refused, bdat", ALL, 1, AllOrNone, &["550", "503", "503"], "> MAIL RCPT BDAT Octets", &[550], None),
    ("data", NO_CHUNKING, 1, AllOrNone, &["250", "250", "354", "250"], "> MAIL RCPT DATA Dots", &[250], Some(250)),
    ("data refused message", NO_CHUNKING, 1, AllOrNone, &["250", "250", "354", "554"], "> MAIL RCPT DATA Dots", &[250], Some(554)),
    ("data refused", NO_CHUNKING, 1, AllOrNone, &["250", "250", "451", "250"], "> MAIL RCPT DATA > RSET", &[250], Some(451)),
    ("lone dot", NO_CHUNKING, 1, AllOrNone, &["250", "550", "354", "554", "250"], "> MAIL RCPT DATA > . > RSET", &[550], None),
    ("lone dot taken", NO_CHUNKING, 1, AllOrNone, &["250", "550", "354", "250", "250"], "> MAIL RCPT DATA > . > RSET", &[550], None),
    ("data for nobody", NO_CHUNKING, 1, AllOrNone, &["250", "550", "503", "250"], "> MAIL RCPT DATA > RSET", &[550], None),
    ("data several", NO_CHUNKING, 2, AllOrNone, &["250", "250", "250", "354", "250"], "> MAIL RCPT RCPT > DATA Dots", &[250, 250], Some(250)),
    ("data each", NO_CHUNKING, 2, Each, &["250", "450", "250", "354", "250"], "> MAIL RCPT RCPT DATA Dots", &[450, 250], Some(250)),
    ("mail refused, data", NO_CHUNKING, 2, Each, &["451", "503", "503", "503"], "> MAIL RCPT RCPT DATA", &[451, 451], None),
    ("lock-step bdat", NO_PIPELINING, 2, Each, &["250", "550", "250", "250"], "> MAIL > RCPT > RCPT > BDAT Octets", &[550, 250], Some(250)),
    ("lock-step data", BARE, 1, AllOrNone, &["250", "250", "354", "250"], "> MAIL > RCPT > DATA Dots", &[250], Some(250)),
    ("lock-step refused", BARE, 2, AllOrNone, &["250", "550", "250", "250"], "> MAIL > RCPT > RCPT > RSET", &[550, 250], None),
    ("lock-step mail refused", BARE, 2, AllOrNone, &["550"], "> MAIL", &[550, 550], None),
    ("closing at mail", ALL, 1, AllOrNone, &["421"], "> MAIL RCPT BDAT Octets", &[421], None),
    ("closing at rcpt", NO_CHUNKING, 2, AllOrNone, &["250", "250", "421"], "> MAIL RCPT RCPT", &[250, 421], None),
    ("closing at data", NO_CHUNKING, 1, AllOrNone, &["250", "250", "421"], "> MAIL RCPT DATA", &[250], Some(421)),
    ("closing after the message", NO_CHUNKING, 1, AllOrNone, &["250", "250", "354", "421"], "> MAIL RCPT DATA Dots", &[250], Some(421)),
];

#[test]
fn every_way_of_sending_has_its_dialogue() {
    for (name, offered, recipients, policy, replies, written, codes, verdict) in DIALOGUES {
        let envelope = envelope(*recipients);
        let (seen, sent) = play(Transaction::new(message(&envelope, *policy), offered).unwrap(), replies);
        let sent = sent.unwrap_or_else(|| panic!("{name}: no outcome"));
        assert_eq!(&seen, written, "{name}");
        assert_eq!(&sent.recipients.iter().map(|r| r.code).collect::<Vec<_>>(), codes, "{name}");
        assert_eq!(&sent.message.map(|r| r.code), verdict, "{name}");
    }
}

#[test]
fn a_large_body_waits_for_the_recipients() {
    let envelope = envelope(1);
    let large = Message { length: LARGEST_GROUPED + 1, ..message(&envelope, Policy::Each) };
    let (written, _) = play(Transaction::new(large, &ALL).unwrap(), &["250", "250", "250"]);
    assert_eq!(written, "> MAIL RCPT > BDAT Octets");
    let careful = Message { grouped: false, ..message(&envelope, Policy::Each) };
    let (written, _) = play(Transaction::new(careful, &ALL).unwrap(), &["250", "250", "250"]);
    assert_eq!(written, "> MAIL RCPT > BDAT Octets");
    let off = Message { chunking: false, ..message(&envelope, Policy::Each) };
    let (written, _) = play(Transaction::new(off, &ALL).unwrap(), &["250", "250", "354", "250"]);
    assert_eq!(written, "> MAIL RCPT DATA Dots");
}

#[test]
fn the_verdict_says_which_command_it_answers() {
    let envelope = envelope(1);
    let step = |replies: &[&str]| {
        play(Transaction::new(message(&envelope, Policy::Each), &NO_CHUNKING).unwrap(), replies).1.unwrap().step
    };
    assert_eq!(step(&["250", "250", "451", "250"]), Step::Data);
    assert_eq!(step(&["250", "250", "354", "451"]), Step::Body);
}

#[test]
fn silence_leaves_nothing_open_once_nobody_was_accepted() {
    let envelope = envelope(1);
    let ended = |replies: &[&str]| {
        let mut transaction = Transaction::new(message(&envelope, Policy::AllOrNone), &ALL).unwrap();
        transaction.next(&mut Vec::new());
        for text in replies {
            transaction.answer(reply(text)).unwrap();
        }
        transaction.ended(true)
    };
    assert_eq!(ended(&[]), None);
    assert_eq!(ended(&["250"]), None);
    assert_eq!(ended(&["250", "250"]), None);
    assert_eq!(ended(&["250", "421"]).unwrap().recipients[0].code, 421);
    assert_eq!(ended(&["250", "550"]).unwrap().message, None);
    assert_eq!(ended(&["550"]).unwrap().mail.code, 550);
    assert_eq!(ended(&["250", "250", "250"]).unwrap().message.unwrap().code, 250);
    assert_eq!(ended(&["250", "250", "552"]).unwrap().message.unwrap().code, 552);
}

#[test]
fn a_421_before_the_body_was_answered_leaves_it_open() {
    let envelope = envelope(2);
    let mut transaction = Transaction::new(message(&envelope, Policy::Each), &ALL).unwrap();
    transaction.next(&mut Vec::new());
    for text in ["250", "250", "421"] {
        transaction.answer(reply(text)).unwrap();
    }
    assert_eq!(transaction.ended(true), None);
}

#[test]
fn a_reset_that_is_refused_ends_the_connection() {
    let envelope = envelope(1);
    let mut transaction = Transaction::new(message(&envelope, Policy::AllOrNone), &ALL).unwrap();
    transaction.next(&mut Vec::new());
    for text in ["250", "250", "502 5.5.1 what"] {
        transaction.answer(reply(text)).unwrap();
    }
    assert_eq!(transaction.next(&mut Vec::new()), Next::Read(Awaited::Rset));
    transaction.answer(reply("500 what is Received:")).unwrap();
    assert_eq!(transaction.next(&mut Vec::new()), Next::Done);
    assert!(transaction.is_closing() && transaction.is_bdat_unknown());
    assert_eq!(transaction.sent(), None, "the reply to RSET is no verdict");
}

#[test]
fn replies_that_answer_nothing_are_an_error() {
    let envelope = envelope(1);
    let mut transaction = Transaction::new(message(&envelope, Policy::AllOrNone), &NO_CHUNKING).unwrap();
    assert_eq!(transaction.answer(reply("250")), Err(Malformed::Unasked));
    transaction.next(&mut Vec::new());
    assert_eq!(transaction.answer(reply("354")), Err(Malformed::Unasked));
    for text in ["250", "250"] {
        transaction.answer(reply(text)).unwrap();
    }
    assert_eq!(transaction.answer(reply("250")), Err(Malformed::Unasked), "a 250 to DATA is no delivery");
}

#[test]
fn parameters_go_out_where_offered() {
    let mut envelope = envelope(1);
    envelope.body = BodyType::EightBitMime;
    envelope.smtputf8 = true;
    envelope.ret = Some(Ret::Hdrs);
    envelope.envid = Some(Xtext::parse("QQ+0D+0AQUIT", 100).unwrap());
    envelope.recipients[0].notify = Some(Notify::parse("SUCCESS,DELAY").unwrap());
    envelope.recipients[0].orcpt = Some(Xtext::parse("rfc822;0+2B@y.org", 500).unwrap());
    let lines = |offered: &Capabilities| {
        let mut out = Vec::new();
        Transaction::new(message(&envelope, Policy::Each), offered).unwrap().next(&mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        lines(&ALL),
        "MAIL FROM:<a@x.org> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+0D+0AQUIT\r\n\
         RCPT TO:<0@y.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;0+2B@y.org\r\nBDAT 10 LAST\r\n"
    );
    let few = Capabilities { smtputf8: true, pipelining: true, ..Capabilities::default() };
    assert_eq!(lines(&few), "MAIL FROM:<a@x.org> SMTPUTF8\r\nRCPT TO:<0@y.org>\r\nDATA\r\n");
}

#[test]
fn a_null_sender_stays_null() {
    let envelope = Envelope { sender: None, ..envelope(1) };
    let mut out = Vec::new();
    Transaction::new(message(&envelope, Policy::Each), &BARE).unwrap().next(&mut out);
    assert_eq!(out, b"MAIL FROM:<> SIZE=10\r\n");
}

#[test]
fn internationalised_mail_is_refused_where_the_server_lacks_smtputf8() {
    let lacking = Capabilities { smtputf8: false, ..ALL };
    let mut asked = envelope(1);
    asked.smtputf8 = true;
    let mut address = envelope(2);
    address.recipients[1] = Recipient::to(Address::parse("jörg@y.org").unwrap());
    for envelope in [asked, address] {
        let sent = Transaction::new(message(&envelope, Policy::Each), &lacking).unwrap_err();
        assert!(sent.mail.to_string().starts_with("550 5.6.7 "));
        assert_eq!((sent.recipients.len(), sent.message), (envelope.recipients.len(), None));
        assert!(Transaction::new(message(&envelope, Policy::Each), &ALL).is_ok());
    }
}

proptest! {
    #[test]
    fn no_replies_make_it_panic_or_run_for_ever(
        codes in prop::collection::vec(prop::sample::select(vec![250u16, 354, 421, 450, 500, 502, 503, 550, 554, 235]), 0..30),
        recipients in 1usize..4, pipelining: bool, chunking: bool, each: bool,
    ) {
        let envelope = envelope(recipients);
        let offered = Capabilities { pipelining, chunking, ..ALL };
        let policy = if each { Policy::Each } else { Policy::AllOrNone };
        let mut transaction = Transaction::new(message(&envelope, policy), &offered).unwrap();
        let (mut codes, mut out, mut bodies) = (codes.into_iter(), Vec::new(), 0);
        loop {
            match transaction.next(&mut out) {
                Next::Body(_) => bodies += 1,
                Next::Done => {
                    let repeated = transaction.is_bdat_unknown();
                    let Some(sent) = transaction.sent() else { prop_assert!(repeated); break };
                    prop_assert_eq!(sent.recipients.len(), recipients);
                    if sent.is_delivered() {
                        prop_assert!(bodies > 0 && sent.mail.is_positive());
                        prop_assert!(sent.recipients.iter().any(Reply::is_positive));
                        prop_assert!(each || sent.recipients.iter().all(Reply::is_positive));
                    }
                    break;
                }
                Next::Read(_) => match codes.next() {
                    Some(code) if transaction.answer(Reply::new(code, None, "x")).is_ok() => {}
                    _ => {
                        if let Some(sent) = transaction.ended(bodies > 0) {
                            prop_assert_eq!(sent.recipients.len(), recipients);
                        }
                        break;
                    }
                },
            }
        }
        prop_assert!(out.len() < 1000 && bodies <= 2);
    }
}
