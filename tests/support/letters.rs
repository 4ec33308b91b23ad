//! Messages that are counted: each has a Message-ID of its own, an app that outlives the daemon's end sends it, and what became of it
//! is read from the provider and from the database.

use super::{
    LONG, Program, SOON, http, start_daemon,
    story::{Story, command},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How often it is looked whether what is waited for has come about, where nobody tells.
const LOOK: Duration = Duration::from_millis(20);

/// A size well above the 128 KiB up to which a body is kept in the database.
pub(crate) const LARGE: usize = 200_000;

/// A message.
#[derive(Clone)]
pub(crate) struct Letter {
    /// Its Message-ID with the angle brackets.
    pub(crate) id: String,
    pub(crate) octets: usize,
    pub(crate) recipients: usize,
    pub(crate) chunks: bool,
}

impl Letter {
    /// To one recipient, by DATA.
    pub(crate) fn new(name: &str, octets: usize) -> Self {
        Self { id: format!("<{name}@app.example>"), octets, recipients: 1, chunks: false }
    }

    /// What is sent, without the end of DATA.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = format!("Message-ID: {}\r\nFrom: robot@sandbox.example\r\nSubject: letter\r\n\r\n", self.id).into_bytes();
        let line = format!("{}\r\n", self.id.repeat(4));
        while text.len() < self.octets {
            text.extend_from_slice(line.as_bytes());
        }
        text
    }
}

/// A lock-step app to which the end of the daemon is an error, not the end of the test.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects and logs in.
    pub(crate) fn login(story: &Story) -> io::Result<Self> {
        Self::login_at(story.relay, &story.password)
    }

    /// Connects to `relay` and logs in as the sandbox's app.
    pub(crate) fn login_at(relay: SocketAddr, password: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(relay)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_nodelay(true)?;
        let mut client = Self(BufReader::new(stream));
        client.expect('2')?;
        client.say("EHLO app.example")?;
        client
            .0
            .get_mut()
            .write_all(format!("AUTH PLAIN {}\r\n", BASE64_STANDARD.encode(format!("\0sandbox\0{password}"))).as_bytes())?;
        client.expect('2')?;
        Ok(client)
    }

    /// Sends a message; gives the reply that ended it.
    pub(crate) fn submit(&mut self, letter: &Letter) -> io::Result<String> {
        if let Some(refusal) = self.envelope(letter)? {
            return Ok(refusal);
        }
        let text = letter.text();
        if letter.chunks {
            let (first, rest) = text.split_at(text.len() / 2);
            let said = self.chunk(first, "")?;
            return if said.starts_with('2') { self.chunk(rest, " LAST") } else { Ok(said) };
        }
        let said = self.say("DATA")?;
        if !said.starts_with('3') {
            return Ok(said);
        }
        self.write(&text)?;
        self.say(".")
    }

    /// MAIL and RCPT; the reply that refused them.
    pub(crate) fn envelope(&mut self, letter: &Letter) -> io::Result<Option<String>> {
        let recipients = (0..letter.recipients).map(|number| format!("RCPT TO:<to{number}@example.org>"));
        for line in std::iter::once("MAIL FROM:<robot@sandbox.example>".to_owned()).chain(recipients) {
            let said = self.say(&line)?;
            if !said.starts_with('2') {
                return Ok(Some(said));
            }
        }
        Ok(None)
    }

    /// Sends one BDAT.
    pub(crate) fn chunk(&mut self, octets: &[u8], last: &str) -> io::Result<String> {
        self.write(format!("BDAT {}{last}\r\n", octets.len()).as_bytes())?;
        self.write(octets)?;
        self.reply()
    }

    /// Sends octets and waits for nothing.
    pub(crate) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(octets)
    }

    /// Sends a command; gives the reply's last line.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<String> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// The next reply's last line.
    pub(crate) fn reply(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 || !line.ends_with('\n') {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line.trim_end().to_owned());
            }
        }
    }

    fn expect(&mut self, class: char) -> io::Result<()> {
        let said = self.reply()?;
        if said.starts_with(class) { Ok(()) } else { Err(io::Error::other(said)) }
    }
}

/// Waits until `is_so` gives something, looking again and again.
pub(crate) fn await_that<T>(what: &str, wait: Duration, mut is_so: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + wait;
    loop {
        if let Some(found) = is_so() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {wait:?}: {what}");
        thread::sleep(LOOK);
    }
}

/// A story under the contract `queue`; `edit` changes the configuration further.
pub(crate) fn queueing(personality: &str, options: &[&str], edit: impl Fn(String) -> String) -> Story {
    Story::with(personality, options, |text| {
        let text = text.replace("delivery = \"direct\"", "delivery = \"queue\"");
        let text = edit(text);
        // The disk of the machine that tests is not what the story is about.
        if text.contains("[queue]") { text } else { format!("{text}\n[queue]\nminimum-free = \"0 B\"\n") }
    })
}

impl Story {
    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// How often each Message-ID arrived at the provider.
    pub(crate) fn arrived(&self) -> BTreeMap<String, u64> {
        let answer = http(self.http, "GET", "/message-ids", "").1;
        serde_json::from_slice(&answer).expect("an object of ids and counts")
    }

    /// Octets of each message that the provider still keeps, by Message-ID.
    pub(crate) fn sizes(&self) -> BTreeMap<String, u64> {
        let list: Vec<Value> = serde_json::from_slice(&http(self.http, "GET", "/received", "").1).expect("a list");
        list.iter()
            .map(|one| (one["message_id"].as_str().unwrap_or_default().to_owned(), one["bytes"].as_u64().unwrap_or(0)))
            .collect()
    }

    /// A refresh token of a new consent, brought in.
    pub(crate) fn consent_again(&self) {
        let token = http(self.http, "POST", "/grant", "").1;
        fs::write(self.directory.path().join("grant"), token).expect("it can be written");
        self.import_grant();
    }

    /// Waits until nothing waits in the queue any more, and gives what arrived.
    pub(crate) fn drained(&self, daemon: &Program, wait: Duration) -> BTreeMap<String, u64> {
        await_drained(&self.state(), daemon, wait);
        self.arrived()
    }

    /// Starts a daemon that dies at this step.
    pub(crate) fn start_to_die_at(&self, step: &str) -> Program {
        start_daemon(&self.config, self.directory.path(), &[("CRASH_AT", step)])
    }

    /// `outlink status`.
    pub(crate) fn status(&self) -> String {
        command(&["status"], &self.config).1
    }
}

/// Waits until the queue in `state` has nothing that waits or is held.
pub(crate) fn await_drained(state: &Path, daemon: &Program, wait: Duration) {
    let deadline = Instant::now() + wait;
    loop {
        let waiting: Vec<String> = rows(state).into_iter().filter(|(_, is)| *is != Row::Done).map(|(id, _)| id).collect();
        if waiting.is_empty() {
            return;
        }
        let count = waiting.len();
        assert!(Instant::now() < deadline, "{count} messages wait after {wait:?}, as {}:\n{}", waiting[0], daemon.output());
        thread::sleep(LOOK);
    }
}

/// What the database says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    /// Waiting or held.
    Kept,
    /// Delivered or failed.
    Done,
}

/// The messages in the database of a state directory that a daemon uses, by Message-ID.
pub(crate) fn rows(state: &Path) -> BTreeMap<String, Row> {
    read(&state.join("outlink.db")).expect("the database can be read")
}

fn read(database: &Path) -> rusqlite::Result<BTreeMap<String, Row>> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(SOON)?;
    let mut statement = connection.prepare("SELECT message_id, state FROM messages")?;
    let row = |row: &rusqlite::Row<'_>| {
        let is = if row.get::<_, i64>(1)? < 2 { Row::Kept } else { Row::Done };
        Ok((row.get(0)?, is))
    };
    statement.query_map([], row)?.collect()
}

/// The same of a directory that no daemon uses, which is left as it is: reading it would write back what lies in its log.
pub(crate) fn rows_left(state: &Path) -> rusqlite::Result<BTreeMap<String, Row>> {
    let copy = tempfile::tempdir().expect("a temporary directory");
    for name in ["outlink.db", "outlink.db-wal"] {
        if state.join(name).exists() {
            fs::copy(state.join(name), copy.path().join(name)).expect("a file can be copied");
        }
    }
    read(&copy.path().join("outlink.db"))
}

/// Which of `acknowledged` are not among those that arrived, or are kept.
pub(crate) fn lost<'a, T>(acknowledged: impl IntoIterator<Item = &'a String>, arrived: &BTreeMap<String, T>) -> BTreeSet<String> {
    acknowledged.into_iter().filter(|id| !arrived.contains_key(*id)).cloned().collect()
}
