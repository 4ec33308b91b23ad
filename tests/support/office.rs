//! A relay with one listener for each kind of encryption, one mail, and how it has to arrive at the provider.

use super::{LONG, Program, SOON, free_port, run, story::Story, wire::Authority};
use serde_json::Value;
use std::{fs, net::SocketAddr, path::PathBuf, process::Command};

pub(crate) const FROM: &str = "robot@sandbox.example";
pub(crate) const TO: [&str; 2] = ["you@example.org", "team@example.org"];
pub(crate) const SUBJECT: &str = "Gr\u{fc}\u{df}e \u{7d42}";

/// How the connection is encrypted: the key `tls` of a listener, and the last word of a fence in `docs/clients.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    None,
    Starttls,
    Implicit,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Starttls, Self::Implicit];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Starttls => "starttls",
            Self::Implicit => "implicit",
        }
    }
}

/// What is easily damaged: text of 8 bits, lines that are or begin with a dot, and a line as long as any may be.
pub(crate) fn text() -> String {
    format!("Gr\u{fc}\u{df}e \u{2014} \u{7d42}\n.\n..\n.hidden\n\n{}\nend\n", "0123456789 ".repeat(90))
}

/// The same mail as a file for programs that send files.
fn letter() -> String {
    let head = format!("From: {FROM}\nTo: {}\nSubject: =?utf-8?B?R3LDvMOfZSDntYI=?=\n", TO.join(", "));
    let mime = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n";
    format!("{head}{mime}\n{}", text()).replace('\n', "\r\n")
}

/// The provider, the relay, and the directory that programs run in.
pub(crate) struct Office {
    pub(crate) story: Story,
    pub(crate) daemon: Program,
    pub(crate) authority: Authority,
    pub(crate) password: String,
    ports: [u16; 3],
}

impl Office {
    pub(crate) fn open() -> Self {
        Self::with("", "")
    }

    /// `keys` is added to each listener with TLS, `more` to the configuration.
    pub(crate) fn with(keys: &str, more: &str) -> Self {
        let authority = Authority::new("outlink test CA");
        let ports = [free_port(), free_port()];
        let story = Story::new("custom", |text| {
            let mut text = text;
            for (mode, port) in [Mode::Starttls, Mode::Implicit].into_iter().zip(ports) {
                text += &format!(
                    "\n[listener.{mode}]\nbind = \"127.0.0.1:{port}\"\ntls = \"{mode}\"\ncertificate = \"cert.pem\"\nkey = \
                     \"key.pem\"\ndelivery = \"direct\"\n{keys}\n",
                    mode = mode.word()
                );
            }
            text + more
        });
        let directory = story.directory.path();
        authority.write(story.config.parent().expect("a directory"), 90);
        fs::write(directory.join("company-ca.crt"), authority.pem()).expect("it can be written");
        fs::write(directory.join("letter.eml"), letter()).expect("it can be written");
        fs::write(directory.join("text"), text()).expect("it can be written");
        // Else curl keeps the server's replies to itself.
        fs::write(directory.join(".curlrc"), "verbose\n").expect("it can be written");
        let daemon = story.start();
        let (password, ports) = (story.password.clone(), [story.relay.port(), ports[0], ports[1]]);
        Self { story, daemon, authority, password, ports }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.story.directory.path().join(name)
    }

    pub(crate) fn address(&self, mode: Mode) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[mode as usize]))
    }

    /// Settings from the documentation, with this house's names in place of the reader's.
    pub(crate) fn fill(&self, settings: &str) -> String {
        let mut text = settings.replace("crowd", "sandbox").replace("app-password", &self.password);
        text = text.replace("relay.contoso.com", "localhost").replace("alerts@contoso.com", FROM);
        text = text.replace("/etc/ssl/company-ca.crt", &self.path("company-ca.crt").display().to_string());
        for (documented, port) in ["2525", "587", "465"].iter().zip(self.ports) {
            text = text.replace(documented, &port.to_string());
        }
        text
    }

    /// A file with settings for a program.
    pub(crate) fn settings(&self, name: &str, settings: &str) -> PathBuf {
        let file = self.path(name);
        // msmtp and s-nail take no password from a file that others may read.
        fs::write(&file, format!("{settings}\n")).expect("it can be written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&file, mode).expect("it is ours");
        file
    }

    /// Runs a program with nothing of the developer's own settings; gives whether it was content, and what it said.
    pub(crate) fn run(&self, mut command: Command, input: &[u8]) -> (bool, String) {
        let directory = self.story.directory.path();
        command.current_dir(directory).env("HOME", directory).env("LC_ALL", "C.UTF-8");
        for name in ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
            command.env(name, self.path("company-ca.crt"));
        }
        let output = run(command, input, LONG);
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// How many messages the provider has.
    pub(crate) fn count(&self) -> usize {
        self.story.received().len()
    }

    /// Fails unless the last message at the provider is the mail; gives the Received field of the relay.
    pub(crate) fn expect_arrival(&self, what: &str, to: &[&str]) -> String {
        let all = self.story.received();
        let message = all.last().unwrap_or_else(|| panic!("{what}: nothing arrived\n{}", self.daemon.output()));
        assert_eq!((&message["from"], &message["to"]), (&FROM.into(), &serde_json::json!(to)), "{what}");
        let octets = self.story.octets(message);
        let seen = see(&octets);
        assert!(seen["From"].as_str().is_some_and(|from| from.contains(FROM)), "{what}: {seen}");
        assert!(to.iter().all(|to| seen["To"].as_str().is_some_and(|all| all.contains(to))), "{what}: {seen}");
        assert_eq!(seen["Subject"], SUBJECT, "{what}");
        assert_eq!(seen["text"].as_str().map(str::trim_end), Some(text().trim_end()), "{what}");
        assert_eq!(seen["defects"], serde_json::json!([]), "{what}");
        for field in ["Date", "Message-ID"] {
            assert!(seen[field].as_str().is_some_and(|value| value.len() > 10), "{what}: {field}: {seen}");
        }
        let text = String::from_utf8_lossy(&octets).replace("\r\n\t", " ");
        text.lines().find(|line| line.starts_with("Received:") && line.contains("relay.sandbox")).expect("our field").to_owned()
    }
}

/// What a mail program shows of a message.
pub(crate) fn see(octets: &[u8]) -> Value {
    let mut read = Command::new("python3");
    read.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/read.py"));
    let output = run(read, octets, SOON);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}
