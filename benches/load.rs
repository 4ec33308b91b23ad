//! `make bench`: how fast, and how large, `outlink run` is for the contract `direct`, beside the same load straight to the simulated
//! provider. Each row has a fresh relay and a fresh provider, so that peak memory is the row's own.
//!
//! The load is a lock-step client, as legacy apps are: one AUTH per connection, then MAIL, RCPT, DATA, message, each after the reply
//! to the one before. One message per connection goes ahead unmeasured, so that what is measured is warm.

#[path = "../tests/support/mod.rs"]
mod support;

use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use support::{Program, SOON, free_port, outlink, run, start_daemon};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::Barrier,
    time::timeout,
};

const PASSWORD: &str = "bench-password";

/// Longest wait for one reply; beyond it the row has failed.
const REPLY: Duration = Duration::from_secs(120);

/// Clock ticks of /proc/PID/stat: 100 a second on every Linux that Debian ships.
const TICK: Duration = Duration::from_millis(10);

/// One measurement.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    target: Target,
    round_trip: u64,
    connections: usize,
    messages: usize,
    octets: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Target {
    Relay { chunking: bool },
    Straight,
}

const CHUNKING: Target = Target::Relay { chunking: true };
const DATA: Target = Target::Relay { chunking: false };
const KB10: usize = 10_000;

const ROWS: &[Row] = &[
    Row { name: "relay, CHUNKING", target: CHUNKING, round_trip: 0, connections: 1, messages: 5_000, octets: KB10 },
    Row { name: "relay, CHUNKING", target: CHUNKING, round_trip: 0, connections: 10, messages: 20_000, octets: KB10 },
    Row { name: "relay, CHUNKING", target: CHUNKING, round_trip: 0, connections: 50, messages: 30_000, octets: KB10 },
    Row { name: "relay, DATA", target: DATA, round_trip: 0, connections: 50, messages: 30_000, octets: KB10 },
    Row { name: "straight", target: Target::Straight, round_trip: 0, connections: 1, messages: 5_000, octets: KB10 },
    Row { name: "straight", target: Target::Straight, round_trip: 0, connections: 10, messages: 20_000, octets: KB10 },
    Row { name: "straight", target: Target::Straight, round_trip: 0, connections: 50, messages: 30_000, octets: KB10 },
    Row { name: "relay, CHUNKING", target: CHUNKING, round_trip: 20, connections: 1, messages: 200, octets: KB10 },
    Row { name: "relay, DATA", target: DATA, round_trip: 20, connections: 1, messages: 200, octets: KB10 },
    Row { name: "straight", target: Target::Straight, round_trip: 20, connections: 1, messages: 200, octets: KB10 },
    Row { name: "relay, CHUNKING", target: CHUNKING, round_trip: 20, connections: 50, messages: 5_000, octets: KB10 },
    Row { name: "relay, 20 x 35 MB", target: CHUNKING, round_trip: 0, connections: 20, messages: 20, octets: 35_000_000 },
];

/// What the row's process cost; `round_trips` is the median wait in round trips.
struct Result {
    rate: f64,
    p50: Duration,
    p99: Duration,
    cpu: Duration,
    peak: u64,
}

/// The programs of one row.
struct Bench {
    _directory: tempfile::TempDir,
    _provider: Program,
    _relay: Option<Program>,
    /// The process that is measured.
    id: u32,
    smtp: SocketAddr,
    user: String,
    password: String,
}

impl Bench {
    fn start(target: Target, round_trip: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = outlink();
        command.args(["sandbox", "--json", "--provider", "custom", "--port-relay", "0", "--port-smtp", "0", "--port-http", "0"]);
        command.args(["--round-trip", &format!("{round_trip}ms"), "--accept-password"]);
        command.arg("--provider-only").arg("--write-config").arg(directory.path());
        let mut provider = Program::start(command);
        let ready = provider.event("ready", SOON);
        let text = |key: &str| ready[key].as_str().unwrap_or_else(|| panic!("`{key}` is missing in {ready}")).to_owned();
        let Target::Relay { chunking } = target else {
            let (smtp, user, password) = (text("plain").parse().expect("an address"), text("user"), text("password"));
            return Self { id: provider.id(), _directory: directory, _provider: provider, _relay: None, smtp, user, password };
        };
        let (config, port, user) = adapt(&directory.path().join("outlink.toml"), chunking);
        let relay = start_daemon(&config, directory.path(), &[]);
        let smtp = SocketAddr::from(([127, 0, 0, 1], port));
        let id = relay.id();
        Self { id, _directory: directory, _provider: provider, _relay: Some(relay), smtp, user, password: PASSWORD.into() }
    }
}

/// Gives the configuration that the sandbox wrote a known port and password, 50 upstream connections and the row's way of sending.
fn adapt(file: &Path, chunking: bool) -> (PathBuf, u16, String) {
    let mut hash = outlink();
    hash.args(["app", "hash"]);
    let hash = String::from_utf8(run(hash, PASSWORD.as_bytes(), SOON).stdout).expect("a hash is text");
    let (port, mut user, mut text) = (free_port(), String::new(), String::new());
    for line in fs::read_to_string(file).expect("the sandbox wrote it").lines() {
        user = line.strip_prefix("[app.").map_or(user, |name| name.trim_end_matches(']').to_owned());
        let _ = match line.split(' ').next() {
            Some("bind") => writeln!(text, "bind = \"127.0.0.1:{port}\""),
            Some("password") => writeln!(text, "password = \"{}\"", hash.trim()),
            Some("chunking") => Ok(()),
            Some("[mailbox.sandbox]") => writeln!(text, "{line}\nchunking = \"{}\"", if chunking { "auto" } else { "off" }),
            _ => writeln!(text, "{line}"),
        };
    }
    let _ = write!(
        text,
        "\n[mailbox.sandbox.limits]\nconnections = 50\n\n[listener.local.limits]\nconnections-per-address = 100\n\n[http]\nbind = \"127.0.0.1:{}\"\n",
        free_port()
    );
    fs::write(file, text).expect("it can be written");
    (file.to_owned(), port, user)
}

/// One connection of the load.
struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Client {
    async fn connect(bench: &Bench) -> Self {
        let stream = TcpStream::connect(bench.smtp).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket option");
        let (reader, writer) = stream.into_split();
        let mut client = Self { reader: BufReader::new(reader), writer };
        client.expect("220").await;
        client.say(b"EHLO load.example\r\n", "250").await;
        let login = BASE64_STANDARD.encode(format!("\0{}\0{}", bench.user, bench.password));
        client.say(format!("AUTH PLAIN {login}\r\n").as_bytes(), "235").await;
        client
    }

    async fn say(&mut self, octets: &[u8], code: &str) {
        timeout(REPLY, self.writer.write_all(octets)).await.expect("it reads in time").expect("it reads");
        self.expect(code).await;
    }

    async fn expect(&mut self, code: &str) {
        let mut line = String::new();
        loop {
            line.clear();
            timeout(REPLY, self.reader.read_line(&mut line)).await.expect("a reply in time").expect("a reply");
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        assert!(line.starts_with(code), "expected {code}, got {line}");
    }

    async fn send(&mut self, message: &[u8]) {
        self.say(b"MAIL FROM:<load@example.com>\r\n", "250").await;
        self.say(b"RCPT TO:<team@example.org>\r\n", "250").await;
        self.say(b"DATA\r\n", "354").await;
        self.say(message, "250").await;
    }
}

/// A message of about `octets`, with its final dot.
fn message(octets: usize) -> Arc<[u8]> {
    let mut message = b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nFrom: load@example.com\r\nTo: team@example.org\r\n\
        Message-ID: <load@load.example>\r\nSubject: load\r\n\r\n"
        .to_vec();
    while message.len() < octets {
        message.extend_from_slice(b"The quick brown fox jumps over the lazy dog, and so on to the line's end.\r\n");
    }
    message.extend_from_slice(b".\r\n");
    message.into()
}

async fn measure(row: Row) -> Result {
    let bench = Arc::new(Bench::start(row.target, row.round_trip));
    let (octets, small) = (message(row.octets), message(KB10));
    let left = Arc::new(AtomicUsize::new(row.messages));
    let warm = Arc::new(Barrier::new(row.connections + 1));
    let clients: Vec<_> = (0..row.connections)
        .map(|_| {
            let (bench, octets, small, left, warm) = (bench.clone(), octets.clone(), small.clone(), left.clone(), warm.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(&bench).await;
                client.send(&small).await;
                warm.wait().await;
                warm.wait().await;
                let mut waits = Vec::new();
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let start = Instant::now();
                    client.send(&octets).await;
                    waits.push(start.elapsed());
                }
                waits
            })
        })
        .collect();
    warm.wait().await;
    let (cpu, start) = (cpu(bench.id), Instant::now());
    warm.wait().await;
    let mut waits = Vec::with_capacity(row.messages);
    for client in clients {
        waits.extend(client.await.expect("a client of the load failed; its message stands above"));
    }
    let (elapsed, cpu) = (start.elapsed(), self::cpu(bench.id) - cpu);
    waits.sort_unstable();
    Result {
        rate: waits.len() as f64 / elapsed.as_secs_f64(),
        p50: waits[waits.len() / 2],
        p99: waits[waits.len() * 99 / 100],
        cpu: cpu / u32::try_from(waits.len()).expect("not that many"),
        peak: status(bench.id, "VmHWM"),
    }
}

/// User and system time of a process so far.
fn cpu(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
    // Fields 14 and 15; the second one, the name in brackets, may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    TICK * (fields[11].parse::<u32>().expect("a number") + fields[12].parse::<u32>().expect("a number"))
}

/// A memory figure of a process, in kB.
fn status(id: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(key)).expect("Linux tells it");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown processor").to_owned();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores for all processes together, Linux {}", kernel.trim())
}

fn main() {
    // `cargo bench` hands its own options on; only a filter is of interest: `cargo bench --bench load -- straight`.
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut table = format!(
        "Machine: {}\n\n| load | round trip | connections | messages | octets | messages/s | p50 | p99 | in round trips | CPU/message | peak memory |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
        machine()
    );
    println!("{}", table.trim_end());
    for row in ROWS.iter().filter(|row| filter.as_ref().is_none_or(|filter| row.name.contains(filter))) {
        let result = runtime.block_on(measure(*row));
        let trips = match row.round_trip {
            0 => "–".into(),
            trip => format!("{:.2}", result.p50.as_secs_f64() * 1000.0 / trip as f64),
        };
        let line = format!(
            "| {} | {} ms | {} | {} | {} | {:.0} | {:.2?} | {:.2?} | {trips} | {:.0?} | {:.1} MB |",
            row.name,
            row.round_trip,
            row.connections,
            row.messages,
            row.octets,
            result.rate,
            result.p50,
            result.p99,
            result.cpu,
            result.peak as f64 / 1000.0,
        );
        println!("{line}");
        table += &line;
        table.push('\n');
    }
    if filter.is_none() {
        let bench = Bench::start(CHUNKING, 0);
        let before = cpu(bench.id);
        // A measurement of doing nothing takes time and has no event.
        std::thread::sleep(Duration::from_secs(10));
        let line = format!(
            "\nIdle for 10 s after the start: {:.1} MB resident, {:?} of CPU.",
            status(bench.id, "VmRSS") as f64 / 1000.0,
            cpu(bench.id) - before
        );
        println!("{line}");
        table += &format!("{line}\n");
    }
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target").into());
    let file = Path::new(&target).join("benchmarks.md");
    fs::write(&file, table).unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
    println!("\nwritten to {}", file.display());
}
