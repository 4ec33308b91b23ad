//! Stories about kept mail: a configuration for the queue, messages with recipients and ids of their own, and what the provider has.

use super::{
    LONG, Program, SOON, http,
    story::{App, Story},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

/// One message to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Mail<'a> {
    pub(crate) id: &'a str,
    /// What stands behind `MAIL FROM:`.
    pub(crate) sender: &'a str,
    pub(crate) from: &'a str,
    /// What stands behind each `RCPT TO:`, parameters included.
    pub(crate) to: &'a [&'a str],
    pub(crate) text: &'a str,
}

impl Default for Mail<'_> {
    fn default() -> Self {
        let (sender, from) = ("<robot@sandbox.example>", "robot@sandbox.example");
        Self { id: "1", sender, from, to: &["<team@example.org>"], text: "Hello." }
    }
}

impl App {
    /// Sends `mail`; gives the reply that ended it.
    pub(crate) fn mail(&mut self, mail: Mail<'_>) -> String {
        let recipients = mail.to.iter().map(|to| format!("RCPT TO:{to}"));
        let lines = [format!("MAIL FROM:{}", mail.sender)].into_iter().chain(recipients).chain(["DATA".to_owned()]);
        for line in lines {
            let said = self.say(&line);
            if !said.starts_with(['2', '3']) {
                return said;
            }
        }
        let Mail { id, from, text, .. } = mail;
        self.say(&format!("From: {from}\r\nMessage-ID: <{id}@app.example>\r\nSubject: {id}\r\n\r\n{text}\r\n."))
    }

    /// Sends `mail`, which must be queued; gives its id in the queue.
    pub(crate) fn queue(&mut self, mail: Mail<'_>) -> String {
        let said = self.mail(mail);
        let id = said.strip_prefix("250 2.0.0 OK queued as ").unwrap_or_else(|| panic!("{}: {said}", mail.id));
        id.to_owned()
    }
}

/// The configuration for the contract `queue`, with short waits.
pub(crate) fn queue(text: String) -> String {
    contract(text, "queue")
}

/// The configuration for this contract, with short waits.
pub(crate) fn contract(text: String, delivery: &str) -> String {
    let text = text.replace("delivery = \"direct\"", &format!("delivery = \"{delivery}\""));
    format!("{text}\n[queue]\nretry = [\"1s\"]\nminimum-free = \"0 B\"\n")
}

/// A further table of the configuration.
pub(crate) fn limits(text: String, lines: &str) -> String {
    format!("{text}\n[mailbox.sandbox.limits]\n{lines}\n")
}

/// The configuration with one more app, whose password is the first one's.
pub(crate) fn one_more_app(text: String, name: &str, lines: &str) -> String {
    let password = text.lines().find(|line| line.starts_with("password = ")).expect("the app has a password").to_owned();
    let mailbox = if lines.contains("mailbox = ") { "" } else { "mailbox = \"sandbox\"\n" };
    format!("{text}\n[app.{name}]\n{password}\n{mailbox}{lines}\n")
}

/// The configuration with one more mailbox of the same link.
pub(crate) fn one_more_mailbox(text: String, name: &str) -> String {
    let from = text.find("[mailbox.sandbox]").expect("there is a mailbox");
    let length = text[from..].find("[app.").expect("an app follows");
    let table = text[from..from + length].replace("[mailbox.sandbox]", &format!("[mailbox.{name}]"));
    format!("{text}\n{}", table.replace("robot@", &format!("{name}@")))
}

/// Waits until `is_so`. What the provider counts cannot be awaited otherwise.
pub(crate) fn until(what: &str, wait: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < wait, "not within {wait:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

impl Story {
    fn json(&self, path: &str) -> Value {
        let (status, answer) = http(self.http, "GET", path, "");
        assert_eq!(status, 200, "GET {path}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    /// All messages that the provider took, oldest first.
    pub(crate) fn received(&self) -> Vec<Value> {
        self.json("/received").as_array().expect("a list").clone()
    }

    /// The envelope of the message of this number.
    pub(crate) fn envelope(&self, message: &Value) -> Value {
        self.json(&format!("/received/{}?envelope", message["number"]))["envelope"].clone()
    }

    /// The octets of a message.
    pub(crate) fn octets(&self, message: &Value) -> Vec<u8> {
        http(self.http, "GET", &format!("/received/{}", message["number"]), "").1
    }

    /// The first message with this subject.
    pub(crate) fn with_subject(&self, subject: &str) -> Value {
        let mut found = None;
        until(subject, LONG, || {
            found =
                self.received().into_iter().find(|message| message["subject"].as_str().is_some_and(|it| it.contains(subject)));
            found.is_some()
        });
        found.expect("it was found")
    }

    /// How often each recipient got each message, by the first part of its Message-ID.
    pub(crate) fn copies(&self) -> BTreeMap<(String, String), usize> {
        let mut copies = BTreeMap::new();
        for message in self.received() {
            let id = message["message_id"].as_str().unwrap_or_default().trim_start_matches('<');
            let id = id.split('@').next().unwrap_or_default();
            for to in message["to"].as_array().expect("recipients") {
                *copies.entry((id.to_owned(), to.as_str().unwrap_or_default().to_owned())).or_default() += 1;
            }
        }
        copies
    }

    /// The subjects in the order in which the provider took them.
    pub(crate) fn subjects(&self) -> Vec<String> {
        self.received().iter().map(|message| message["subject"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until the counter is at least `least`; gives how long that took.
    pub(crate) fn await_stat(&self, name: &str, least: u64, daemon: &Program) -> Duration {
        let begun = Instant::now();
        loop {
            let found = self.stat(name);
            if found >= least {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < SOON, "{name} is {found}, not {least}, after {SOON:?}:\n{}", daemon.output());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Changes the configuration's text and reloads.
    pub(crate) fn reload(&self, edit: impl Fn(String) -> String) {
        let text = std::fs::read_to_string(&self.config).expect("it is there");
        std::fs::write(&self.config, edit(text)).expect("it can be written");
        let (status, said) = self.command(&["reload"]);
        assert_eq!(status, Some(0), "{said}");
    }
}

impl Program {
    /// How many log lines hold all of `texts`.
    pub(crate) fn count(&self, texts: &[&str]) -> usize {
        self.output().lines().filter(|line| texts.iter().all(|text| line.contains(text))).count()
    }

    /// Waits until `count` log lines hold all of `texts`.
    pub(crate) fn await_count(&self, count: usize, texts: &[&str]) {
        let begun = Instant::now();
        while self.count(texts) < count {
            assert!(begun.elapsed() < SOON, "{texts:?} not {count} times within {SOON:?}:\n{}", self.output());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end of `event` of the message `id`.
    pub(crate) fn await_event(&self, event: &str, id: &str) -> Value {
        let line = self.logged(&format!("\"event\":\"{event}\",\"id\":\"{id}\""), SOON);
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(self) {
        drop(self);
    }
}
