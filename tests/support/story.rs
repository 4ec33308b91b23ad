//! `outlink run` beside a simulated provider, and a lock-step app that sends through it.

use super::{LONG, Program, SOON, free_port, http, outlink, run, start_daemon};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
};

/// A provider, and the configuration that it wrote for a relay.
pub(crate) struct Story {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) config: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) relay: SocketAddr,
    pub(crate) password: String,
    _provider: Program,
}

impl Story {
    /// The provider of this personality; `edit` changes the configuration's text.
    pub(crate) fn new(personality: &str, edit: impl Fn(String) -> String) -> Self {
        Self::with(personality, &[], edit)
    }

    /// As [`Story::new`], with more options for the provider.
    pub(crate) fn with(personality: &str, options: &[&str], edit: impl Fn(String) -> String) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let mut command = outlink();
        command.args(["sandbox", "--json", "--provider", personality, "--port-smtp", "0", "--port-http", "0"]);
        command
            .args(["--port-relay", &port.to_string(), "--delivery", "direct", "--provider-only", "--write-config"])
            .arg(directory.path());
        command.args(options);
        let mut provider = Program::start(command);
        let ready = provider.event("ready", SOON);
        let text = |key: &str| ready[key].as_str().unwrap_or_else(|| panic!("`{key}` is missing in {ready}")).to_owned();
        let config = PathBuf::from(text("config"));
        let written = fs::read_to_string(&config).expect("it was written");
        fs::write(&config, edit(format!("{written}\n[log]\nformat = \"json\"\n"))).expect("it can be written");
        let (http, password) = (text("http").parse().expect("an address"), text("password"));
        Self { directory, config, http, relay: SocketAddr::from(([127, 0, 0, 1], port)), password, _provider: provider }
    }

    pub(crate) fn start(&self) -> Program {
        start_daemon(&self.config, self.directory.path(), &[])
    }

    /// Runs a command on the configuration; gives its exit status, and what it said.
    pub(crate) fn command(&self, words: &[&str]) -> (Option<i32>, String) {
        command(words, &self.config)
    }

    /// Runs a command that has to do what it is asked; gives what it said.
    pub(crate) fn good(&self, words: &[&str]) -> String {
        let (status, said) = self.command(words);
        assert_eq!(status, Some(0), "{words:?}: {said}");
        said
    }

    pub(crate) fn import_grant(&self) {
        let file = self.directory.path().join("grant");
        self.good(&["grant", "import", "sandbox", "--file", file.to_str().expect("a name")]);
    }

    pub(crate) fn fault(&self, name: &str, setting: &Value) {
        let (status, answer) = http(self.http, "PUT", &format!("/faults/{name}"), &setting.to_string());
        assert!((200..300).contains(&status), "{name}: {status} {}", String::from_utf8_lossy(&answer));
    }

    pub(crate) fn mend(&self, name: &str) {
        assert!((200..300).contains(&http(self.http, "DELETE", &format!("/faults/{name}"), "").0), "{name}");
    }

    pub(crate) fn stat(&self, name: &str) -> u64 {
        let stats: Value = serde_json::from_slice(&http(self.http, "GET", "/stats", "").1).expect("statistics");
        stats[name].as_u64().unwrap_or_else(|| panic!("`{name}` is missing in {stats}"))
    }

    pub(crate) fn app(&self) -> App {
        App::login(self.relay, "sandbox", &self.password)
    }
}

pub(crate) fn command(words: &[&str], config: &Path) -> (Option<i32>, String) {
    let mut command = outlink();
    command.args(words).arg("--config").arg(config);
    let output = run(command, b"", SOON);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// A lock-step SMTP client.
pub(crate) struct App(BufReader<TcpStream>);

impl App {
    pub(crate) fn connect(relay: SocketAddr) -> Self {
        let stream = TcpStream::connect(relay).expect("the relay listens");
        stream.set_read_timeout(Some(LONG)).expect("a time-out can be set");
        let mut app = Self(BufReader::new(stream));
        assert!(app.reply().starts_with("220 "));
        app
    }

    pub(crate) fn login(relay: SocketAddr, user: &str, password: &str) -> Self {
        let mut app = Self::connect(relay);
        let said = app.auth(user, password);
        assert!(said.starts_with("235 "), "{said}");
        app
    }

    pub(crate) fn auth(&mut self, user: &str, password: &str) -> String {
        use base64::{Engine, prelude::BASE64_STANDARD};
        self.say("EHLO app.example");
        self.say(&format!("AUTH PLAIN {}", BASE64_STANDARD.encode(format!("\0{user}\0{password}"))))
    }

    /// Sends a command, gives the reply's last line.
    pub(crate) fn say(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("a command can be sent");
        self.reply()
    }

    /// Sends octets to which no reply belongs.
    pub(crate) fn write(&mut self, text: &str) {
        self.write_octets(text.as_bytes());
    }

    /// As [`App::write`], whatever they are.
    pub(crate) fn write_octets(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).expect("it can be sent");
    }

    pub(crate) fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            let length = self.0.read_line(&mut line).expect("a reply within the time");
            if length == 0 || line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Sends one message; gives the reply that ended it.
    pub(crate) fn send(&mut self) -> String {
        for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<team@example.org>", "DATA"] {
            let said = self.say(line);
            if !said.starts_with(['2', '3']) {
                return said;
            }
        }
        self.say("Subject: story\r\n\r\nHello.\r\n.")
    }
}

/// The id in a final reply.
pub(crate) fn id(reply: &str) -> &str {
    reply.split(' ').nth(2).unwrap_or_else(|| panic!("no id in {reply}"))
}

/// The log line with this event and id.
pub(crate) fn logged(daemon: &Program, event: &str, id: &str) -> Value {
    let line = daemon.logged(&format!("\"event\":\"{event}\",\"id\":\"{id}\""), SOON);
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"))
}
