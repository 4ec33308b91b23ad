//! `make bench`: what connections cost that do nothing or little. Idle ones by the thousand, plain and encrypted, slow senders beside a fast
//! one, and limits under load. The load is this process, the relay is another. It ends with an error when an aim is missed.

#[path = "load/usage.rs"]
#[allow(dead_code, reason = "shared with the other benchmark")]
mod usage;

#[path = "../tests/support/mod.rs"]
mod support;

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use support::{Program, SOON, free_port, story::Story, wire::Authority};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};

/// Connections that do nothing, in clear and over TLS, and what the relay may have in memory with them.
const PLAIN: (usize, u64) = (10_000, 150_000_000);
const TLS: (usize, u64) = (2_000, 200_000_000);

/// Senders of one octet a second.
const SLOW: usize = 1_000;
/// How much slower a fast one may be beside them, as the median of so many runs.
const SLOWER: f64 = 1.10;
const RUNS: usize = 5;
/// How long each run sends.
const RUN: Duration = Duration::from_secs(3);

/// Connections that each of a few addresses tries to have, of which the limit lets in fifty.
const TRIED: usize = 60;

/// How long the relay is left alone before its memory is read.
const REST: Duration = Duration::from_secs(2);

struct Relay {
    story: Story,
    daemon: Program,
    authority: Authority,
    tls: SocketAddr,
    limited: SocketAddr,
}

impl Relay {
    /// A fresh one, so that memory is of one load alone.
    fn start() -> Self {
        let (tls, limited) = (free_port(), free_port());
        let authority = Authority::new("outlink bench CA");
        let story = Story::new("custom", |text| {
            let many = "connections = 20000\nconnections-per-address = 20000\nidle = \"1h\"\n";
            format!(
                "{}\n[listener.local.limits]\n{many}[listener.tls]\nbind = \"127.0.0.1:{tls}\"\ntls = \"implicit\"\ncertificate = \"cert.pem\"\n\
                 key = \"key.pem\"\n[listener.tls.limits]\n{many}[listener.limited]\nbind = \"127.0.0.1:{limited}\"\n\
                 networks = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\nauth = \"optional\"\nproxy-protocol-from = [\"127.0.0.1\"]\n",
                text.replace("delivery = \"direct\"", "delivery = \"queue\"")
                    .replace("format = \"json\"", "format = \"json\"\nlevel = \"warn\"")
            )
        });
        fs::write(story.directory.path().join("cert.pem"), "").expect("it can be written");
        authority.write(story.directory.path(), 90);
        let daemon = story.start();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self { story, daemon, authority, tls: address(tls), limited: address(limited) }
    }

    fn memory(&self) -> u64 {
        usage::resident(self.daemon.id()) * 1024
    }
}

/// A session in lock step.
struct Session<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn reply(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let count = timeout(SOON, self.0.read_line(&mut line)).await.expect("a reply in time").unwrap_or_default();
            if count == 0 || line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    async fn say(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await.expect("it can be sent");
        self.reply().await
    }

    async fn must(&mut self, line: &str) {
        let said = self.say(line).await;
        assert!(said.starts_with(['2', '3']), "{line}: {said}");
    }

    async fn login(&mut self, password: &str) {
        use base64::{Engine, prelude::BASE64_STANDARD};
        self.must("EHLO bench.example").await;
        self.must(&format!("AUTH PLAIN {}", BASE64_STANDARD.encode(format!("\0sandbox\0{password}")))).await;
    }

    async fn begin(&mut self) {
        for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<team@example.org>", "DATA"] {
            self.must(line).await;
        }
    }
}

async fn connect(address: SocketAddr) -> Session<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("the relay listens");
    stream.set_nodelay(true).expect("an option");
    Session(BufReader::with_capacity(256, stream))
}

async fn greeted(address: SocketAddr) -> Session<TcpStream> {
    let mut session = connect(address).await;
    assert!(session.reply().await.starts_with("220 "));
    session
}

/// Memory with idle connections, and before; some were greeted and introduced themselves as real ones do.
async fn plain() -> (u64, u64) {
    let relay = Relay::start();
    let before = relay.memory();
    let mut open = Vec::new();
    for _ in 0..PLAIN.0 {
        let mut session = greeted(relay.story.relay).await;
        session.must("EHLO bench.example").await;
        open.push(session);
    }
    sleep(REST).await;
    let memory = relay.memory();
    open[PLAIN.0 - 1].must("NOOP").await;
    (before, memory)
}

async fn encrypted() -> (u64, u64) {
    let relay = Relay::start();
    let before = relay.memory();
    let connector = tokio_rustls::TlsConnector::from(relay.authority.client(None));
    let mut open = Vec::new();
    for _ in 0..TLS.0 {
        let stream = TcpStream::connect(relay.tls).await.expect("the relay listens");
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let mut session = Session(BufReader::new(connector.connect(name, stream).await.expect("a handshake")));
        assert!(session.reply().await.starts_with("220 "));
        session.must("EHLO bench.example").await;
        open.push(session);
    }
    sleep(REST).await;
    let memory = relay.memory();
    open[TLS.0 - 1].must("NOOP").await;
    (before, memory)
}

/// Messages that a fast sender gets accepted in a run.
async fn fast(relay: &Relay) -> u32 {
    let mut session = greeted(relay.story.relay).await;
    session.login(&relay.story.password).await;
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < RUN {
        session.begin().await;
        session.must("Subject: fast\r\n\r\nHello.\r\n.").await;
        count += 1;
    }
    count
}

/// Slow senders, each amid a message; they go on until dropped.
async fn slow(relay: &Relay) -> JoinSet<()> {
    let mut senders = JoinSet::new();
    for _ in 0..SLOW {
        let mut session = greeted(relay.story.relay).await;
        session.login(&relay.story.password).await;
        session.begin().await;
        senders.spawn(async move {
            let mut turns = interval(Duration::from_secs(1));
            loop {
                turns.tick().await;
                session.0.write_all(b"a").await.expect("the relay still listens");
            }
        });
    }
    senders
}

/// Messages of a fast sender alone and beside the slow ones, in each run.
async fn beside() -> Vec<(u32, u32)> {
    let relay = Relay::start();
    fast(&relay).await;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let alone = fast(&relay).await;
        let senders = slow(&relay).await;
        let beside = fast(&relay).await;
        assert_eq!(senders.len(), SLOW, "nobody was thrown out");
        drop(senders);
        sleep(Duration::from_millis(500)).await;
        runs.push((alone, beside));
    }
    runs
}

/// How many connections each of eight addresses got, all at the same time.
async fn limited() -> Vec<usize> {
    let relay = Arc::new(Relay::start());
    let mut all = JoinSet::new();
    for address in 1..=8 {
        for _ in 0..TRIED {
            let relay = relay.clone();
            all.spawn(async move {
                let mut session = connect(relay.limited).await;
                session
                    .0
                    .write_all(format!("PROXY TCP4 10.0.0.{address} 127.0.0.1 4711 25\r\n").as_bytes())
                    .await
                    .expect("it can be sent");
                let is_in = session.reply().await.starts_with("220 ");
                (address, is_in.then_some(session))
            });
        }
    }
    // None is closed before all have their answer.
    let answers = all.join_all().await;
    (1..=8).map(|address| answers.iter().filter(|(of, session)| *of == address && session.is_some()).count()).collect()
}

fn megabytes(octets: u64) -> String {
    format!("{:.1} MB", octets as f64 / 1e6)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut text, mut missed) = (format!("Machine: {}\n\n", usage::machine(Path::new("/var/tmp"))), false);
    text += "| load | relay's memory before | with it | each connection | aim |\n|---|---|---|---|---|\n";
    for (name, (count, aim), (before, with)) in [
        ("idle connections in clear text", PLAIN, runtime.block_on(plain())),
        ("idle connections over TLS 1.3", TLS, runtime.block_on(encrypted())),
    ] {
        let each = with.saturating_sub(before) as f64 / count as f64 / 1024.0;
        text +=
            &format!("| {count} {name} | {} | {} | {each:.1} KiB | {} |\n", megabytes(before), megabytes(with), megabytes(aim));
        missed |= with > aim;
    }
    let mut runs = runtime.block_on(beside());
    text += "\n| run | messages of a fast sender alone | beside slow senders | ratio |\n|---|---|---|---|\n";
    let ratio = |(alone, beside): &(u32, u32)| f64::from(*alone) / f64::from((*beside).max(1));
    for (number, run) in runs.iter().enumerate() {
        text += &format!("| {} | {} | {} | {:.2} |\n", number + 1, run.0, run.1, ratio(run));
    }
    runs.sort_by(|left, right| ratio(left).total_cmp(&ratio(right)));
    let median = ratio(&runs[RUNS / 2]);
    text += &format!("\nMedian beside {SLOW} senders of one octet a second: {median:.2}; aim: at most {SLOWER:.2}.\n");
    let limited = runtime.block_on(limited());
    text += &format!("\n{TRIED} connections at once from each of eight addresses; let in, at a limit of 50: {limited:?}.\n");
    missed |= median > SLOWER || limited.iter().any(|count| *count != 50);
    print!("{text}");
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target").into());
    fs::write(Path::new(&target).join("listeners.md"), text).expect("it can be written");
    assert!(!missed, "an aim was missed");
}
