//! `make bench`: what a long queue costs. Fills a state directory with waiting messages, then measures opening it, the start of
//! `outlink run` on it, pages of a listing, and the daemon's memory while it waits and while it delivers to the simulated provider.
//!
//! `cargo bench --bench scale -- 20000` takes another number of messages. The pages of the file are in the system's memory, as after a
//! restart of the service; after a boot the disk's speed comes on top.

#[path = "../tests/support/mod.rs"]
mod support;

use outlink::{
    mail::{Address, Envelope, Id, Name, Recipient},
    store::{Filter, Kept, NewMessage, Store},
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};
use support::{Program, free_port, story::Story};
use tokio::task::JoinSet;

/// Messages that wait when nothing else is asked for.
const MESSAGES: u64 = 200_000;

/// Octets of each.
const OCTETS: usize = 1000;

/// How many are accepted at the same time, to share commits.
const AT_ONCE: u64 = 2000;

/// Longest time that is given to their delivery.
const DELIVERY: Duration = Duration::from_secs(300);

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How long the daemon is left alone before its memory is read.
const REST: Duration = Duration::from_secs(3);

fn message(number: u64, now: SystemTime) -> (NewMessage, Kept) {
    let address = |text: &str| Address::parse(text).expect("an address");
    let name = |text: &str| Name::parse(text).expect("a name");
    let mut envelope = Envelope::from(Some(address("robot@sandbox.example")));
    envelope.recipients = vec![Recipient::to(address(&format!("team-{number}@example.org")))];
    let message_id = format!("<{number}@scale.example>");
    let mut octets = format!("From: robot@sandbox.example\r\nSubject: scale\r\nMessage-ID: {message_id}\r\n\r\n").into_bytes();
    while octets.len() < OCTETS {
        octets.extend_from_slice(b"The quick brown fox jumps over the lazy dog, and on.\r\n");
    }
    let message = NewMessage {
        id: Id::from_u128(u128::from(number) + 1),
        app: name("sandbox"),
        mailbox: name("sandbox"),
        client: "127.0.0.1:4000".to_owned(),
        envelope,
        author: "robot@sandbox.example".to_owned(),
        bounce_of: None,
        message_id,
        subject: Some("scale".to_owned()),
        accepted_at: now,
        due_at: now,
        expires_at: now + Duration::from_secs(5 * 86_400),
        warn_at: None,
        attempts: 0,
        claim: None,
        held: None,
        stays: false,
        settled: Vec::new(),
        events: Vec::new(),
    };
    (message, Kept::small(octets.into()).expect("it is small"))
}

async fn fill(directory: &Path, messages: u64) -> Duration {
    let (store, begun) = (Store::open(directory).expect("a store"), Instant::now());
    for first in (0..messages).step_by(usize::try_from(AT_ONCE).expect("a small number")) {
        let mut tasks = JoinSet::new();
        for number in first..(first + AT_ONCE).min(messages) {
            let (store, (message, body)) = (store.clone(), message(number, SystemTime::now()));
            tasks.spawn(async move { store.accept(message, body).await.expect("it is kept") });
        }
        tasks.join_all().await;
    }
    begun.elapsed()
}

/// Each page of a listing of everything; their number, and the longest.
async fn pages(store: &Store) -> (u32, Duration, Duration) {
    let (mut after, mut pages, mut longest, begun) = (None, 0, Duration::ZERO, Instant::now());
    loop {
        let asked = Instant::now();
        let page = store.list(Filter::default(), after).await.expect("a page");
        (pages, longest) = (pages + 1, longest.max(asked.elapsed()));
        after = page.next;
        if after.is_none() {
            return (pages, longest, begun.elapsed());
        }
    }
}

/// A memory figure of a process, in MB.
fn memory(daemon: &Program, key: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(key)).expect("Linux tells it");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok()).expect("a number") / 1000.0
}

/// The configuration that the sandbox wrote, with a provider that does not answer: everything waits.
fn without_provider(text: &str) -> String {
    let mute = format!("server = \"127.0.0.1:{}\"", free_port());
    text.lines().map(|line| if line.starts_with("server = ") { &mute } else { line }).collect::<Vec<_>>().join("\n")
}

/// Starts the daemon; how long it took to be ready.
fn start(story: &Story) -> (Program, Duration) {
    let begun = Instant::now();
    (story.start(), begun.elapsed())
}

/// Lets the daemon deliver; how many there were in what time, and the most memory resident meanwhile.
fn deliver(story: &Story, daemon: &Program, wanted: u64) -> (u64, Duration, f64) {
    let (begun, mut peak, before) = (Instant::now(), 0_f64, story.stat("mail_commands"));
    loop {
        std::thread::sleep(LOOK);
        peak = peak.max(memory(daemon, "VmRSS"));
        let delivered = story.stat("mail_commands") - before;
        if delivered >= wanted || begun.elapsed() > DELIVERY {
            return (delivered, begun.elapsed(), peak);
        }
    }
}

fn row(what: &str, value: impl std::fmt::Display) {
    println!("| {what} | {value} |");
}

fn main() {
    // `cargo bench` hands its own options on; only a number is of interest.
    let messages = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(MESSAGES);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    // The text of what is delivered and logged would be most of what is measured.
    let story = Story::new("custom", |text| text.replace("format = \"json\"", "format = \"json\"\nlevel = \"warn\""));
    let state = story.directory.path().join("state");
    println!("| {messages} messages of {OCTETS} octets | |\n|---|---|");

    let took = runtime.block_on(fill(&state, messages));
    row("accepted per second, sharing commits", format!("{:.0}", messages as f64 / took.as_secs_f64()));
    let begun = Instant::now();
    let store = Store::open(&state).expect("a store");
    row("the library opens the directory", format!("{:.2?}", begun.elapsed()));
    let (count, longest, all) = runtime.block_on(pages(&store));
    row("pages of a listing of all, the longest, together", format!("{count}, {longest:.2?}, {all:.2?}"));
    let begun = Instant::now();
    runtime.block_on(store.count()).expect("counts");
    row("counts for `outlink status`", format!("{:.2?}", begun.elapsed()));
    drop(store);

    let working = fs::read_to_string(&story.config).expect("the configuration");
    fs::write(&story.config, without_provider(&working)).expect("it can be written");
    let (daemon, ready) = start(&story);
    std::thread::sleep(REST);
    row("ready, the provider unreachable", format!("{ready:.2?}"));
    row("resident then, and the most so far", format!("{:.1} MB, {:.1} MB", memory(&daemon, "VmRSS"), memory(&daemon, "VmHWM")));
    daemon.stop();

    fs::write(&story.config, working).expect("it can be written");
    let (daemon, ready) = start(&story);
    let (delivered, took, peak) = deliver(&story, &daemon, messages);
    row("ready, the provider at work", format!("{ready:.2?}"));
    row("delivered per second", format!("{:.0} ({delivered} in all)", delivered as f64 / took.as_secs_f64()));
    row("the most resident meanwhile", format!("{peak:.1} MB"));
    daemon.stop();
}
