//! Plays the dialogues of `tests/dialogues/*.txt` against the pure session, at several chunk sizes, and against the running daemon.
//! `tests/support/dialogue.rs` says how a file is read; `tests/devices.rs` plays those of old devices.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write as _},
    net::TcpStream,
};
use support::{
    Program, SOON,
    dialogue::{Dialogue, files, split, unescape},
    free_port, http, outlink, run, start_daemon,
};

#[test]
fn every_dialogue_goes_as_written_at_any_chunk_size() {
    let mut count = 0;
    for (file, text) in files("dialogues") {
        let dialogue = Dialogue::read(&text);
        for size in [1, 2, 3, 7, dialogue.length()] {
            dialogue.play(&file, size);
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
        let (kind, rest) = split(line);
        let octets = unescape(rest);
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
    let played: Vec<_> = files("dialogues")
        .into_iter()
        .filter(|(_, text)| !["denied@", "refused@", "later@"].iter().any(|name| text.contains(name)))
        .collect();
    let mut ports = Vec::new();
    for (file, dialogue) in &played {
        let dialogue = Dialogue::read(dialogue);
        let (auth, rules) = (dialogue.auth(), &dialogue.rules);
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
