//! Plays the dialogues of `tests/dialogues/*.txt` against the pure session, at several chunk sizes, and against the running daemon.
//!
//! A file is read line by line:
//!
//! | line | meaning |
//! |---|---|
//! | `# …`, empty | nothing |
//! | `! auth=none`, `! known`, `! size=N`, `! recipients=N`, `! errors=N` | the listener: no AUTH, the client known by its address, its limits (default: AUTH offered, unknown, 1,024 octets, 10 recipients, 10 errors) |
//! | `C: text` | the client sends text and CRLF |
//! | `C> text` | the client sends text, without a line end |
//! | `S: text` | the server's next line, whole |
//! | `M: text` | the server hands over a message: its octets, whole |
//! | `S!` | the server closes |
//!
//! In all of them `\r \n \0 \t \\ \xHH` are escapes, and `\{c*N}` is the character `c` N times (a space at the end of a line is `\x20`).
//! `S`, `M` and `S!` lines are
//! expected in their order; where they stand between the `C` lines is for the reader, and for a player that waits for each reply.
//!
//! The host behind the session: the one app is `app` with the password `secret`; senders with the local part `denied` get
//! `550 5.7.1`, recipients `refused` and `later` get `550 5.1.1` and `450 4.2.1`; a message gets `250 2.0.0 accepted`.

#![allow(clippy::unwrap_used)]

mod support;

use outlink::{
    mail::Address,
    smtp::{
        Reply,
        server::{Action, Encryption, Rules, Session, authentication_failed},
    },
};
use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write as _},
    net::TcpStream,
    path::PathBuf,
};
use support::{Program, SOON, free_port, http, outlink, run, start_daemon};

/// A dialogue file.
struct Dialogue {
    rules: Rules,
    is_known: bool,
    sent: Vec<u8>,
    expected: Vec<String>,
}

impl Dialogue {
    fn read(text: &str) -> Self {
        let rules = Rules {
            hostname: "relay.example".into(),
            offers_auth: true,
            clear_auth: true,
            encryption: Encryption::None,
            message_size: 1024,
            recipients: 10,
            errors: 10,
        };
        let mut dialogue = Self { rules, is_known: false, sent: Vec::new(), expected: Vec::new() };
        for line in text.lines() {
            let (kind, rest) = line.split_at_checked(2).unwrap_or((line, ""));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            match kind {
                "" | "# " | "#" => {}
                "! " => dialogue.set(rest),
                "C:" => dialogue.sent.extend([&unescape(rest)[..], b"\r\n"].concat()),
                "C>" => dialogue.sent.extend(unescape(rest)),
                "S:" => dialogue.expected.push(format!("S: {}", String::from_utf8(unescape(rest)).unwrap())),
                "M:" => dialogue.expected.push(format!("M: {}", unescape(rest).escape_ascii())),
                "S!" => dialogue.expected.push("S!".to_owned()),
                _ => panic!("not a line of a dialogue: {line}"),
            }
        }
        dialogue
    }

    fn set(&mut self, setting: &str) {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        let number = || value.parse().unwrap();
        match name {
            "auth" => self.rules.offers_auth = value != "none",
            "known" => self.is_known = true,
            "size" => self.rules.message_size = number(),
            "recipients" => self.rules.recipients = number() as usize,
            "errors" => self.rules.errors = number() as u32,
            _ => panic!("no such setting: {setting}"),
        }
    }

    /// What the server says when the client's octets come in pieces of `size`.
    fn play(&self, size: usize) -> Vec<String> {
        let mut session = Session::new(self.rules.clone(), self.is_known);
        let (mut said, mut body, mut message) = (Vec::new(), Vec::new(), Vec::new());
        for mut piece in self.sent.chunks(size) {
            while let Some(action) = session.next(&mut piece, &mut body) {
                match action {
                    Action::Reply(reply) => {
                        let mut octets = Vec::new();
                        reply.write_to(&mut octets);
                        let text = String::from_utf8(octets).unwrap();
                        said.extend(text.split_terminator("\r\n").map(|line| format!("S: {line}")));
                    }
                    Action::Authenticate { user, password } => {
                        let is_right = user == "app" && password.expose() == "secret";
                        session.authenticated(if is_right { Ok(()) } else { Err(authentication_failed()) });
                    }
                    Action::Mail(sender) => session.decide(judge(sender.as_ref())),
                    Action::Recipient(recipient) => session.decide(judge(Some(&recipient.address))),
                    Action::Begin | Action::Discard => message.clear(),
                    Action::Body => message.append(&mut body),
                    Action::Message(_) => {
                        said.push(format!("M: {}", message.escape_ascii()));
                        session.settle(Reply::new(250, Some((0, 0)), "accepted"));
                    }
                    Action::StartTls => panic!("no dialogue encrypts its connection"),
                    Action::Close(_) => said.push("S!".to_owned()),
                }
            }
        }
        said
    }
}

fn judge(address: Option<&Address>) -> Result<(), Reply> {
    match address.map(Address::local) {
        Some("denied") => Err(Reply::new(550, Some((7, 1)), "not yours")),
        Some("refused") => Err(Reply::new(550, Some((1, 1)), "no such user")),
        Some("later") => Err(Reply::new(450, Some((2, 1)), "mailbox busy")),
        _ => Ok(()),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut octets, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('\\') {
        octets.extend_from_slice(before.as_bytes());
        let mut length = 1;
        match &after[..1] {
            "r" => octets.push(b'\r'),
            "n" => octets.push(b'\n'),
            "0" => octets.push(0),
            "t" => octets.push(b'\t'),
            "\\" => octets.push(b'\\'),
            "x" => {
                octets.push(u8::from_str_radix(&after[1..3], 16).unwrap());
                length = 3;
            }
            "{" => {
                let (inside, _) = after[1..].split_once('}').unwrap();
                let (what, count) = inside.split_once('*').unwrap();
                octets.extend(what.repeat(count.parse().unwrap()).bytes());
                length = inside.len() + 2;
            }
            other => panic!("no such escape: {other}"),
        }
        rest = &after[length..];
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}

/// Each file's name and text.
fn files() -> Vec<(String, String)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn every_dialogue_goes_as_written_at_any_chunk_size() {
    let mut count = 0;
    for (file, text) in files() {
        let dialogue = Dialogue::read(&text);
        for size in [1, 2, 3, 7, dialogue.sent.len()] {
            let said = dialogue.play(size);
            assert_eq!(said.join("\n"), dialogue.expected.join("\n"), "{file}, in pieces of {size}");
        }
        count += 1;
    }
    assert!(count >= 10, "only {count} dialogues found");
}

/// Plays a dialogue over a real socket, each group of `C` lines after the `S` lines before it. A verdict is the provider's, so of
/// `250 2.0.0 accepted` only the codes count.
fn play_for_real(file: &str, text: &str, port: u16, provider: std::net::SocketAddr) {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut stream = BufReader::new(stream);
    for line in text.lines() {
        let (kind, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        let octets = unescape(rest.strip_prefix(' ').unwrap_or(rest));
        let mut said = String::new();
        match kind {
            "C:" => stream.get_mut().write_all(&[&octets[..], b"\r\n"].concat()).unwrap(),
            "C>" => stream.get_mut().write_all(&octets).unwrap(),
            "S:" => {
                stream.read_line(&mut said).unwrap_or_else(|e| panic!("{file}: {line}: {e}"));
                let wanted = String::from_utf8(octets).unwrap();
                let as_written = wanted
                    .strip_suffix("accepted")
                    .map_or(said.trim_end_matches(['\r', '\n']) == wanted, |codes| said.starts_with(codes));
                assert!(as_written, "{file}: {line}\ngot: {said}");
            }
            "S!" => assert_eq!(stream.read_line(&mut said).unwrap_or(0), 0, "{file}: {said}"),
            _ => {}
        }
    }
    // What the relay adds goes before the message or into its header; the last message of the dialogue is the last received.
    if let Some(message) = text.lines().filter_map(|line| line.strip_prefix("M:")).next_back() {
        let message = unescape(message.strip_prefix(' ').unwrap_or(message));
        let body = message
            .strip_prefix(b"Subject: ")
            .map_or(&message[..], |_| &message[message.windows(4).position(|w| w == b"\r\n\r\n").unwrap()..]);
        let list: serde_json::Value = serde_json::from_slice(&http(provider, "GET", "/received", "").1).unwrap();
        let number = &list.as_array().unwrap().last().unwrap()["number"];
        let received = http(provider, "GET", &format!("/received/{number}"), "").1;
        assert!(received.ends_with(body), "{file}: {}", received.escape_ascii());
    }
}

#[test]
fn every_dialogue_goes_as_written_with_the_running_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = outlink();
    command.args(["sandbox", "--json", "--provider", "custom", "--port-smtp", "0", "--port-http", "0", "--provider-only"]);
    let mut provider = Program::start({
        command.arg("--write-config").arg(directory.path());
        command
    });
    let ready = provider.event("ready", SOON);
    let mut hash = outlink();
    hash.args(["app", "hash"]);
    let hash = String::from_utf8(run(hash, b"secret\n", SOON).stdout).unwrap();
    let config = directory.path().join("outlink.toml");
    let written = fs::read_to_string(&config).unwrap().replace("relay.sandbox.example", "relay.example");
    // The sandbox's own listener and app give way to one listener a dialogue, and to the dialogues' app.
    let (head, rest) = written.split_once("[listener.local]").unwrap();
    let (_, links) = rest.split_once("[link.").unwrap();
    let (links, _) = links.split_once("[app.").unwrap();
    let mut text = format!(
        "{head}[link.{links}[app.app]\npassword = \"{}\"\nnetworks = [\"127.0.0.1\"]\nmailbox = \"sandbox\"\n",
        hash.trim()
    );
    // Senders and recipients of these names are the test host's.
    let played: Vec<_> = files()
        .into_iter()
        .filter(|(_, text)| !["denied@", "refused@", "later@"].iter().any(|name| text.contains(name)))
        .collect();
    let mut ports = Vec::new();
    for (file, dialogue) in &played {
        let Dialogue { rules, is_known, .. } = Dialogue::read(dialogue);
        let auth = if !rules.offers_auth {
            "none"
        } else if is_known {
            "optional"
        } else {
            "required"
        };
        let (port, size, recipients, errors) = (free_port(), rules.message_size, rules.recipients, rules.errors);
        write!(
            text,
            "[listener.{file}]\nbind = \"127.0.0.1:{port}\"\ndelivery = \"direct\"\nauth = \"{auth}\"\n\
            [listener.{file}.limits]\nmessage-size = \"{size} B\"\nrecipients = {recipients}\nerrors = {errors}\n"
        )
        .unwrap();
        ports.push(port);
    }
    fs::write(&config, text).unwrap();
    let _daemon = start_daemon(&config, directory.path(), &[]);
    let http = ready["http"].as_str().unwrap().parse().unwrap();
    for ((file, dialogue), port) in played.iter().zip(ports) {
        play_for_real(file, dialogue, port, http);
    }
    assert!(played.len() >= 10, "only {} dialogues played", played.len());
}
