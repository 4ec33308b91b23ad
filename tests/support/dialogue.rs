//! A dialogue between a client and the relay as a file that people can read, for players over memory and over sockets.
//!
//! A file is read line by line:
//!
//! | line | meaning |
//! |---|---|
//! | `# …`, empty | nothing |
//! | `! auth=none`, `! known`, `! size=N`, `! recipients=N`, `! errors=N`, `! tls=starttls`, `! tls=implicit`, `! idle=1s` | the listener: no AUTH, the client known by its address, its limits, its TLS (default: AUTH offered, unknown, 1,024 octets, 10 recipients, 10 errors, no TLS, five minutes) |
//! | `C: text` | the client sends text and CRLF |
//! | `C> text` | the client sends text, without a line end |
//! | `T!` | the client makes the handshake of TLS after STARTTLS; with `tls=implicit` it made it at once |
//! | `X!` | the client closes the connection, without waiting for anything; what is said behind it is said to nobody |
//! | `S: text` | the server's next line, whole |
//! | `S~ code` | the server's next reply, all its lines, of this code |
//! | `M: text` | the server hands over a message: its octets, whole |
//! | `S!` | the server closes |
//! | `A> text` | the client sends text as its handshake, which is no TLS of our time: the server answers with an alert, and closes |
//! | `W!` | nobody says anything until the listener's patience is over |
//! | `E: <from> <to> …` | a message reaches the provider with this envelope |
//! | `P: text` | its next line there, whole; a folded Received field of ours counts as one line |
//! | `P~ text` | its next line there, which begins so |
//! | `L: part \| part` | the relay's log has a line with all these parts |
//!
//! In all of them `\r \n \0 \t \\ \xHH` are escapes, and `\{c*N}` is the character `c` N times (a space at the end of a line is `\x20`).
//! `S`, `M` and `S!` lines are expected in their order; where they stand between the `C` lines is for the reader, and for a player that
//! waits for each reply.
//!
//! The host behind the session in memory: the one app is `app` with the password `secret`; senders with the local part `denied` get
//! `550 5.7.1`, recipients `refused` and `later` get `550 5.1.1` and `450 4.2.1`; a message gets `250 2.0.0 accepted`.

#![allow(clippy::unwrap_used, reason = "a file that cannot be read is a fault of the test")]

use outlink::{
    mail::Address,
    smtp::{
        Reply,
        server::{Action, Encryption, Rules, Session, authentication_failed},
    },
};
use std::{fs, path::PathBuf};

/// What the octets of a device of the zoo are bounded by: the listener's default.
const DEFAULT_SIZE: u64 = 35 << 20;

/// A dialogue file.
pub(crate) struct Dialogue {
    pub(crate) rules: Rules,
    pub(crate) is_known: bool,
    pub(crate) tls: String,
    pub(crate) idle: Option<String>,
    /// What the client sends, up to each handshake.
    sent: Vec<Vec<u8>>,
    pub(crate) expected: Vec<String>,
    /// Whether the end of the session in memory was reached where the rest needs a socket.
    is_cut: bool,
}

impl Dialogue {
    /// Reads one of `tests/dialogues`.
    pub(crate) fn read(text: &str) -> Self {
        Self::with(text, 1024)
    }

    /// Reads one of the zoo, whose listeners have the default size.
    pub(crate) fn of_device(text: &str) -> Self {
        Self::with(text, DEFAULT_SIZE)
    }

    fn with(text: &str, message_size: u64) -> Self {
        let rules = Rules {
            hostname: "relay.example".into(),
            offers_auth: true,
            clear_auth: true,
            encryption: Encryption::None,
            message_size,
            recipients: 10,
            errors: 10,
        };
        let mut dialogue = Self {
            rules,
            is_known: false,
            tls: "off".to_owned(),
            idle: None,
            sent: vec![Vec::new()],
            expected: Vec::new(),
            is_cut: false,
        };
        for line in text.lines() {
            let (kind, rest) = split(line);
            if dialogue.is_cut && matches!(kind, "C:" | "C>" | "S:" | "S~" | "S!") {
                continue;
            }
            match kind {
                "" | "# " | "#" | "X!" | "E:" | "P:" | "P~" | "L:" => {}
                "! " => dialogue.set(rest),
                "C:" => dialogue.send(&[&unescape(rest)[..], b"\r\n"].concat()),
                "C>" => dialogue.send(&unescape(rest)),
                "T!" => dialogue.sent.push(Vec::new()),
                "S:" => dialogue.expected.push(format!("S: {}", String::from_utf8(unescape(rest)).unwrap())),
                "S~" => dialogue.expected.push(format!("S~ {rest}")),
                "M:" => dialogue.expected.push(format!("M: {}", unescape(rest).escape_ascii())),
                "S!" => dialogue.expected.push("S!".to_owned()),
                "W!" | "A>" => dialogue.is_cut = true,
                _ => panic!("not a line of a dialogue: {line}"),
            }
        }
        dialogue
    }

    fn send(&mut self, octets: &[u8]) {
        self.sent.last_mut().unwrap().extend_from_slice(octets);
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
            "idle" => self.idle = Some(value.to_owned()),
            "tls" => {
                value.clone_into(&mut self.tls);
                self.rules.encryption = match value {
                    "starttls" => Encryption::Offered,
                    "implicit" => Encryption::On,
                    _ => panic!("no such TLS: {value}"),
                };
            }
            _ => panic!("no such setting: {setting}"),
        }
    }

    /// How the listener has it, as a word of the configuration.
    pub(crate) fn auth(&self) -> &'static str {
        match (self.rules.offers_auth, self.is_known) {
            (false, _) => "none",
            (true, true) => "optional",
            (true, false) => "required",
        }
    }

    /// Octets that the client sends.
    pub(crate) fn length(&self) -> usize {
        self.sent.iter().map(Vec::len).sum()
    }

    /// Plays it in memory, the client's octets in pieces of `size`; panics where the server says something else.
    pub(crate) fn play(&self, file: &str, size: usize) {
        let mut said = self.say(size);
        let has_messages = self.expected.iter().any(|line| line.starts_with("M:"));
        // In the zoo messages are looked at where they arrive.
        said.retain(|line| has_messages || !line.starts_with("M:"));
        let mut expected = Vec::new();
        for line in &self.expected {
            let Some(code) = line.strip_prefix("S~ ") else {
                expected.push(line.clone());
                continue;
            };
            let start = expected.len();
            let reply = said.get(start..).unwrap_or_default();
            let lines = reply.iter().take_while(|line| line.starts_with(&format!("S: {code}-"))).count();
            expected.extend_from_slice(&reply[..lines]);
            let last = reply.get(lines).filter(|line| line.starts_with(&format!("S: {code} ")));
            expected.push(last.unwrap_or(line).clone());
        }
        assert_eq!(said.join("\n"), expected.join("\n"), "{file}, in pieces of {size}");
    }

    /// What the server says when the client's octets come in pieces of `size`.
    fn say(&self, size: usize) -> Vec<String> {
        let mut session = Session::new(self.rules.clone(), self.is_known);
        let (mut said, mut body, mut message) = (Vec::new(), Vec::new(), Vec::new());
        for (number, segment) in self.sent.iter().enumerate() {
            if number > 0 {
                session.restart(&mut &[][..], self.is_known);
            }
            for mut piece in segment.chunks(size) {
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
                        // The handshake is the end of this segment.
                        Action::StartTls => assert!(piece.is_empty(), "something stands behind STARTTLS"),
                        Action::Close(_) => said.push("S!".to_owned()),
                    }
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

/// A line's kind, and the rest.
pub(crate) fn split(line: &str) -> (&str, &str) {
    let (kind, rest) = line.split_at_checked(2).unwrap_or((line, ""));
    (kind, rest.strip_prefix(' ').unwrap_or(rest))
}

pub(crate) fn unescape(text: &str) -> Vec<u8> {
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

/// Name and text of each file in this folder of `tests/`.
pub(crate) fn files(folder: &str) -> Vec<(String, String)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let mut files: Vec<_> = files
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    files
}
