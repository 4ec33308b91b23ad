//! The device zoo: what old printers, power supplies, copiers and programs send, octet for octet, in `tests/dialogues/devices/*.txt`.
//!
//! Each file names the device, where its habit is known from, the setting that it needs, and what comes of it. It is played against the
//! pure session, and against the running daemon on a listener of its own; what the provider received is compared whole.
//! `tests/support/dialogue.rs` says how a file is read.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};
use support::{
    LONG, Program, SOON,
    dialogue::{Dialogue, files, split, unescape},
    free_port, http,
    queued::until,
    story::Story,
    wire::{Authority, connect, encrypt},
};

const FOLDER: &str = "dialogues/devices";

/// What each file tells an operator.
const HEADINGS: [&str; 4] = ["# Device: ", "# Source: ", "# Setting: ", "# Outcome: "];

#[test]
fn every_device_is_described_and_goes_as_written_at_any_chunk_size() {
    let all = files(FOLDER);
    for (file, text) in &all {
        let first: Vec<&str> = text.lines().take(HEADINGS.len()).collect();
        for (line, heading) in first.iter().zip(HEADINGS) {
            assert!(line.len() > heading.len() && line.starts_with(heading), "{file}: `{line}` is not `{heading}…`");
        }
        let dialogue = Dialogue::of_device(text);
        for size in [1, 2, 3, 7, dialogue.length().max(1)] {
            dialogue.play(file, size);
        }
    }
    assert!(all.len() >= 20, "only {} devices found", all.len());
}

/// Whatever carries the octets.
trait Octets: Read + Write {}
impl<T: Read + Write> Octets for T {}

/// The device's end of a connection.
struct Device<'a> {
    file: &'a str,
    stream: Option<BufReader<Box<dyn Octets>>>,
    heard: String,
}

impl<'a> Device<'a> {
    fn connect(file: &'a str, address: SocketAddr, tls: Option<&Arc<rustls::ClientConfig>>) -> Self {
        let tcp = connect(address);
        tcp.set_nodelay(true).unwrap();
        let stream: Box<dyn Octets> = match tls {
            None => Box::new(tcp),
            Some(tls) => Box::new(encrypt(tcp, tls).unwrap_or_else(|e| panic!("{file}: {e}"))),
        };
        Self { file, stream: Some(BufReader::new(stream)), heard: String::new() }
    }

    fn stream(&mut self) -> &mut BufReader<Box<dyn Octets>> {
        self.stream.as_mut().unwrap()
    }

    fn write(&mut self, octets: &[u8]) {
        let stream = self.stream().get_mut();
        stream.write_all(octets).and_then(|()| stream.flush()).unwrap();
    }

    fn line(&mut self, wanted: &str) -> String {
        let mut said = String::new();
        let result = self.stream().read_line(&mut said);
        assert!(result.is_ok(), "{}: {wanted}: {result:?}", self.file);
        self.heard.push_str(&said);
        said.trim_end_matches(['\r', '\n']).to_owned()
    }

    /// A line as it is written; of the verdict of a message only its codes.
    fn hears(&mut self, wanted: &str) {
        let said = self.line(wanted);
        let is_so = wanted.strip_suffix("accepted").map_or(said == wanted, |codes| said.starts_with(codes));
        assert!(is_so, "{}: {wanted}\ngot: {said}", self.file);
    }

    fn hears_reply(&mut self, code: &str) {
        loop {
            let said = self.line(code);
            assert!(said.starts_with(code), "{}: {code}\ngot: {said}", self.file);
            if !said[3..].starts_with('-') {
                return;
            }
        }
    }

    /// All until the server closes.
    fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.stream().read_to_end(&mut all);
        all
    }

    fn encrypt(&mut self, tls: &Arc<rustls::ClientConfig>) {
        let plain = self.stream.take().unwrap();
        assert!(plain.buffer().is_empty(), "{}: something came behind 220", self.file);
        let encrypted = encrypt(plain.into_inner(), tls).unwrap_or_else(|e| panic!("{}: {e}", self.file));
        self.stream = Some(BufReader::new(Box::new(encrypted)));
    }
}

/// Plays the device's part on the listener at `address`.
fn play(file: &str, text: &str, address: SocketAddr, tls: &Arc<rustls::ClientConfig>) {
    let kind = Dialogue::of_device(text).tls;
    // A device whose TLS is too old writes its octets itself.
    let is_own = text.lines().any(|line| line.starts_with("A>"));
    let mut device = Device::connect(file, address, (kind == "implicit" && !is_own).then_some(tls));
    for line in text.lines() {
        let (kind, rest) = split(line);
        match kind {
            "C:" => device.write(&[&unescape(rest)[..], b"\r\n"].concat()),
            "C>" => device.write(&unescape(rest)),
            "S:" => device.hears(&String::from_utf8(unescape(rest)).unwrap()),
            "S~" => device.hears_reply(rest),
            "T!" => device.encrypt(tls),
            // With replies unread, the system resets the connection.
            "X!" => return,
            "S!" => assert_eq!(device.rest(), b"", "{file}"),
            "A>" => {
                device.write(&unescape(rest));
                // Content type 21 (RFC 8446 §5.1).
                assert_eq!(device.rest().first(), Some(&21), "{file}: no alert");
            }
            _ => {}
        }
    }
    if kind == "off" {
        assert!(!device.heard.contains("STARTTLS"), "{file}: a listener without TLS announces STARTTLS");
    }
}

/// The messages that the file expects at the provider: the envelope, and the lines.
fn expected(text: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let mut messages: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for line in text.lines() {
        match split(line) {
            ("E:", envelope) => messages.push((envelope, Vec::new())),
            (kind @ ("P:" | "P~"), line) => messages.last_mut().expect("E: stands before P:").1.push((kind, line)),
            _ => {}
        }
    }
    messages
}

/// Compares all that the provider received with what the file says.
fn compare(file: &str, text: &str, provider: SocketAddr) {
    let expected = expected(text);
    let list = || -> Vec<Value> { serde_json::from_slice(&http(provider, "GET", "/received", "").1).unwrap() };
    until(&format!("{file}: {} messages arrive", expected.len()), LONG, || list().len() >= expected.len());
    let mut received = list();
    // In the order in which they were accepted: they may leave side by side.
    received.sort_by_key(|message| id(message["message_id"].as_str().unwrap_or_default()));
    assert_eq!(received.len(), expected.len(), "{file}: {received:?}");
    for (message, (envelope, wanted)) in received.iter().zip(expected) {
        let path = format!("/received/{}", message["number"]);
        let found: Value = serde_json::from_slice(&http(provider, "GET", &format!("{path}?envelope"), "").1).unwrap();
        let from = message["from"].as_str().unwrap_or_default();
        let to: Vec<&str> = message["to"].as_array().unwrap().iter().map(|to| to.as_str().unwrap()).collect();
        let is = [vec![from], to].concat().iter().map(|address| format!("<{address}>")).collect::<Vec<_>>().join(" ");
        assert_eq!(is, envelope, "{file}: {found}");
        let octets = http(provider, "GET", &path, "").1;
        let received = octets.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("{file}: it does not end with CRLF"));
        // Our own field stands first, folded.
        let text = String::from_utf8_lossy(received).replacen("\r\n\t", " ", 3);
        let lines: Vec<&str> = text.split("\r\n").collect();
        for (index, (kind, line)) in wanted.iter().enumerate() {
            let line = String::from_utf8_lossy(&unescape(line)).into_owned();
            let found = lines.get(index).copied().unwrap_or("(nothing)");
            let is_so = if *kind == "P~" { found.starts_with(&line) } else { found == line };
            assert!(is_so, "{file}: line {index}\nexpected: {line}\nreceived: {found}\n{text}");
            assert!(!found.contains(['\r', '\n']), "{file}: a bare CR or LF: {}", received.escape_ascii());
        }
        assert_eq!(lines.len(), wanted.len(), "{file}: {text}");
    }
}

/// The id in a Message-ID that the relay added.
fn id(message_id: &str) -> Option<outlink::mail::Id> {
    message_id.trim_start_matches('<').split('@').next()?.parse().ok()
}

/// The configuration with the dialogues' app, and a listener for each device; gives their ports.
fn configure(story: &Story, zoo: &[(String, String)]) -> Vec<u16> {
    let written = fs::read_to_string(&story.config).unwrap().replace("relay.sandbox.example", "relay.example");
    let hash = {
        let mut command = support::outlink();
        command.args(["app", "hash"]);
        String::from_utf8(support::run(command, b"secret\n", SOON).stdout).unwrap()
    };
    let hash = hash.trim();
    let directory = story.directory.path().display();
    let (ports, mut text) = (zoo.iter().map(|_| free_port()).collect::<Vec<_>>(), written);
    write!(text, "[app.app]\npassword = \"{hash}\"\nnetworks = [\"127.0.0.1\"]\nmailbox = \"sandbox\"\n").unwrap();
    for ((file, dialogue), port) in zoo.iter().zip(&ports) {
        let dialogue = Dialogue::of_device(dialogue);
        let (auth, tls) = (dialogue.auth(), dialogue.tls);
        write!(text, "[listener.{file}]\nbind = \"127.0.0.1:{port}\"\nauth = \"{auth}\"\ntls = \"{tls}\"\n").unwrap();
        if tls != "off" {
            write!(text, "certificate = \"{directory}/cert.pem\"\nkey = \"{directory}/key.pem\"\n").unwrap();
        }
        if let Some(idle) = dialogue.idle {
            write!(text, "[listener.{file}.limits]\nidle = \"{idle}\"\n").unwrap();
        }
    }
    fs::write(&story.config, text).unwrap();
    ports
}

/// Waits for what the file expects in the log.
fn await_log(file: &str, text: &str, daemon: &Program) {
    for line in text.lines().filter_map(|line| line.strip_prefix("L: ")) {
        let own = format!("\"listener\":\"{file}\"");
        let parts: Vec<&str> = line.split(" | ").chain([own.as_str()]).collect();
        daemon.await_count(1, &parts);
    }
}

#[test]
fn the_mail_of_every_device_arrives_as_it_should() {
    let zoo = files(FOLDER);
    let authority = Authority::new("outlink test CA");
    let story = Story::new("custom", support::queued::queue);
    authority.write(story.directory.path(), 90);
    let ports = configure(&story, &zoo);
    let daemon = story.start();
    let tls = authority.client(None);
    for ((file, text), port) in zoo.iter().zip(ports) {
        assert!((200..300).contains(&http(story.http, "DELETE", "/received", "").0), "{file}");
        play(file, text, SocketAddr::from(([127, 0, 0, 1], port)), &tls);
        compare(file, text, story.http);
        await_log(file, text, &daemon);
    }
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn the_guide_names_every_device() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/devices.md")).unwrap();
    let named: BTreeSet<&str> = guide.split(|c| "()`/".contains(c)).filter(|word| word.ends_with(".txt")).collect();
    let files: Vec<String> = files(FOLDER).into_iter().map(|(file, _)| format!("{file}.txt")).collect();
    assert_eq!(named, files.iter().map(String::as_str).collect());
}

#[test]
fn a_message_of_a_device_that_is_gone_already_is_read_to_its_end() {
    let story = Story::new("custom", support::queued::queue);
    let text = fs::read_to_string(&story.config).unwrap();
    fs::write(
        &story.config,
        format!("{text}[app.app]\nnetworks = [\"127.0.0.1\"]\nmailbox = \"sandbox\"\n").replacen(
            "delivery = \"queue\"",
            "delivery = \"queue\"\nauth = \"none\"",
            1,
        ),
    )
    .unwrap();
    let daemon = story.start();
    let body = "0123456789abcdef0123456789abcdef\r\n".repeat(1000);
    for number in 0..20 {
        let session = format!(
            "HELO sensor\r\nMAIL FROM:<robot@sandbox.example>\r\nRCPT TO:<team@example.org>\r\nDATA\r\n\
             From: robot@sandbox.example\r\nMessage-ID: <gone-{number}@app.example>\r\n\r\n{body}.\r\nQUIT\r\n"
        );
        connect(story.relay).write_all(session.as_bytes()).unwrap();
    }
    until("all arrive", SOON, || story.copies().values().sum::<usize>() >= 20);
    assert!(story.copies().values().all(|copies| *copies == 1));
    assert_eq!(daemon.stop().0, Some(0));
}
