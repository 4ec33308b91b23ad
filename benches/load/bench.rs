//! One measurement: a fresh provider, a fresh relay where there is one, the load, and what it came to.

use super::{
    client::{Load, Server, Wait, Warm},
    postfix::{self, Postfix},
    support::{Program, SOON, free_port, http, outlink, run, start_ready},
    usage,
};
use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

const PASSWORD: &str = "bench-password";

/// Where queues lie: on a disk (`/tmp` may be memory, which would make a sync cost nothing), and open to Postfix's user.
pub(crate) const PLACE: &str = "/var/tmp";

/// How often the provider is asked what it has received.
const LOOK: Duration = Duration::from_millis(10);

/// Longest wait for the last delivery.
const DELIVERED: Duration = Duration::from_secs(120);

/// What is measured.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum System {
    Outlink(Outlink),
    Postfix,
    Straight,
}

/// How outlink is configured.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Outlink {
    pub(crate) contract: &'static str,
    pub(crate) chunking: bool,
    pub(crate) log: &'static str,
}

/// One measurement.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) system: System,
    /// Round trip to the provider in milliseconds.
    pub(crate) round_trip: u64,
    /// Connections of a relay to the provider.
    pub(crate) upstream: usize,
    pub(crate) load: Load,
}

impl Row {
    /// Whether it has all these words, such as `Postfix`, `50x` (connections) and `20ms` (round trip).
    pub(crate) fn has(&self, words: &[String]) -> bool {
        let label = format!("{} {}x {}ms", self.name, self.load.connections, self.round_trip);
        words.iter().all(|word| label.split([' ', ',']).any(|part| part == word))
    }
}

/// What it came to.
pub(crate) struct Figures {
    pub(crate) messages: usize,
    /// Accepted a second, until the last final reply.
    pub(crate) accepted: f64,
    /// Delivered a second, from the first submission until the provider had all.
    pub(crate) delivered: f64,
    pub(crate) whole: Percentiles,
    pub(crate) last: Percentiles,
    /// Of the measured processes, until the provider had all; for each message.
    pub(crate) cpu: Duration,
    /// In kB: the processes' own peaks together, and what they took at the end of submission where shared pages count once.
    pub(crate) peak: u64,
    pub(crate) shared_once: u64,
    /// Connections that the provider saw.
    pub(crate) connections: u64,
}

/// The middle, and what one in a hundred exceeds.
pub(crate) struct Percentiles {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Percentiles {
    fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        Self { p50: waits[waits.len() / 2], p99: waits[waits.len() * 99 / 100] }
    }
}

/// The programs of one row, in the order in which they stop.
pub(crate) struct Bench {
    _postfix: Option<Postfix>,
    _relay: Option<Program>,
    _provider: Program,
    _directory: tempfile::TempDir,
    http: SocketAddr,
    /// The process that is measured.
    pub(crate) id: u32,
    server: Server,
}

impl Bench {
    pub(crate) fn start(row: &Row) -> Self {
        let directory = tempfile::Builder::new().prefix("outlink-bench-").tempdir_in(PLACE).expect("a temporary directory");
        let mut command = outlink();
        command.args(["sandbox", "--json", "--provider", "custom", "--port-relay", "0", "--port-smtp", "0", "--port-http", "0"]);
        command.args(["--round-trip", &format!("{}ms", row.round_trip), "--accept-password"]);
        command.arg("--provider-only").arg("--write-config").arg(directory.path());
        let mut provider = Program::start(command);
        let ready = provider.event("ready", SOON);
        let text = |key: &str| ready[key].as_str().unwrap_or_else(|| panic!("`{key}` is missing in {ready}")).to_owned();
        let address = |key: &str| text(key).parse().expect("an address");
        let (user, password, http) = (text("user"), text("password"), address("http"));
        let (mut relay, mut postfix, mut id) = (None, None, provider.id());
        let server = match row.system {
            System::Straight => Server { smtp: address("plain"), login: Some((user, password)) },
            System::Postfix => {
                let ca = directory.path().join("ca.pem");
                let seen = postfix::Provider {
                    smtp: address("provider"),
                    user: &user,
                    password: &password,
                    ca: &ca,
                    connections: row.upstream,
                };
                let postfix = postfix.insert(Postfix::start(Path::new(PLACE), &seen));
                id = postfix.id;
                Server { smtp: postfix.smtp, login: None }
            }
            System::Outlink(outlink) => {
                let (config, port) = adapt(directory.path(), outlink, row.upstream);
                id = relay.insert(start_outlink(&config, directory.path())).id();
                Server { smtp: SocketAddr::from(([127, 0, 0, 1], port)), login: Some((user, PASSWORD.into())) }
            }
        };
        Self { _postfix: postfix, _relay: relay, _provider: provider, _directory: directory, http, id, server }
    }

    fn stat(&self, name: &str) -> u64 {
        let stats: serde_json::Value = serde_json::from_slice(&http(self.http, "GET", "/stats", "").1).expect("statistics");
        stats[name].as_u64().unwrap_or_else(|| panic!("`{name}` is missing in {stats}"))
    }

    /// Waits until the provider has received so many messages.
    fn delivered(&self, messages: usize) {
        let begun = Instant::now();
        while self.stat("messages") < messages as u64 {
            assert!(begun.elapsed() < DELIVERED, "{} of {messages} delivered within {DELIVERED:?}", self.stat("messages"));
            std::thread::sleep(LOOK);
        }
    }
}

/// `outlink run`, its log in a file as a service manager would have it.
fn start_outlink(config: &Path, directory: &Path) -> Program {
    let mut command = Command::new("sh");
    command.args(["-c", "log=$1; shift; exec \"$@\" 2>\"$log\"", "sh"]).arg(directory.join("log"));
    command.arg(outlink().get_program()).args(["run", "--config"]).arg(config);
    for (name, _) in outlink().get_envs() {
        command.env_remove(name);
    }
    start_ready(command, directory)
}

/// Gives the configuration that the sandbox wrote a known port and password, and the row's way of sending.
fn adapt(directory: &Path, outlink: Outlink, upstream: usize) -> (PathBuf, u16) {
    let (file, port, mut text) = (directory.join("outlink.toml"), free_port(), String::new());
    for line in fs::read_to_string(&file).expect("the sandbox wrote it").lines() {
        let _ = match line.split(' ').next() {
            Some("bind") => writeln!(text, "bind = \"127.0.0.1:{port}\""),
            Some("delivery") => writeln!(text, "delivery = \"{}\"", outlink.contract),
            Some("password") => writeln!(text, "password = \"{}\"", hash()),
            Some("chunking") => Ok(()),
            Some("[mailbox.sandbox]") => {
                writeln!(text, "{line}\nchunking = \"{}\"", if outlink.chunking { "auto" } else { "off" })
            }
            _ => writeln!(text, "{line}"),
        };
    }
    let _ = write!(
        text,
        "\n[mailbox.sandbox.limits]\nconnections = {upstream}\n\n[listener.local.limits]\nconnections-per-address = 250\n\n\
         [log]\nlevel = \"{}\"\n\n[http]\nbind = \"127.0.0.1:{}\"\n",
        outlink.log,
        free_port()
    );
    fs::write(&file, text).expect("it can be written");
    (file, port)
}

fn hash() -> String {
    let mut command = outlink();
    command.args(["app", "hash"]);
    let hash = String::from_utf8(run(command, PASSWORD.as_bytes(), SOON).stdout).expect("a hash is text");
    hash.trim().to_owned()
}

/// Takes one row.
pub(crate) async fn measure(row: &Row) -> Figures {
    let bench = Bench::start(row);
    let warm = Warm::up(&bench.server, row.load).await;
    bench.delivered(row.load.connections);
    let (cpu, begun) = (usage::cpu(bench.id), Instant::now());
    let waits = warm.send().await;
    let accepted = begun.elapsed();
    let (peak, shared_once) = (usage::peak(bench.id), usage::shared_once(bench.id));
    bench.delivered(row.load.connections + waits.len());
    let delivered = begun.elapsed();
    // What was delivered last is settled after its reply, and that belongs to its cost.
    std::thread::sleep(10 * LOOK);
    let cpu = usage::cpu(bench.id) - cpu;
    let connections = bench.stat("connections");
    let all = |wait: fn(&Wait) -> Duration| Percentiles::of(waits.iter().map(wait).collect());
    Figures {
        messages: waits.len(),
        accepted: waits.len() as f64 / accepted.as_secs_f64(),
        delivered: waits.len() as f64 / delivered.as_secs_f64(),
        whole: all(|wait| wait.whole),
        last: all(|wait| wait.last),
        cpu: cpu / u32::try_from(waits.len()).expect("not that many"),
        peak: peak.max(usage::peak(bench.id)),
        shared_once,
        connections,
    }
}
