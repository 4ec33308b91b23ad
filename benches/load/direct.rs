//! The contract `direct` beside the same load straight to the provider: what a relay costs that keeps nothing.

use super::{
    bench::{Bench, Outlink, Row, System, measure},
    client::Load,
    usage,
};
use std::time::Duration;

/// Longer than any row takes: these are bounded by their number of messages.
const WITHIN: Duration = Duration::from_secs(60);

const HEAD: &str = "| load | round trip | connections | messages | octets | messages/s | p50 | p99 | in round trips | CPU/message | peak memory |\n\
    |---|---|---|---|---|---|---|---|---|---|---|";

const fn row(name: &'static str, round_trip: u64, connections: usize, messages: usize) -> Row {
    let system = match name.as_bytes() {
        b"straight" => System::Straight,
        b"relay, DATA" => System::Outlink(Outlink { contract: "direct", chunking: false, log: "info" }),
        _ => System::Outlink(Outlink { contract: "direct", chunking: true, log: "info" }),
    };
    let octets = if messages > 20 { 10_000 } else { 35_000_000 };
    Row { name, system, round_trip, upstream: 50, load: Load { connections, messages, within: WITHIN, octets } }
}

const ROWS: &[Row] = &[
    row("relay, CHUNKING", 0, 1, 5_000),
    row("relay, CHUNKING", 0, 10, 20_000),
    row("relay, CHUNKING", 0, 50, 30_000),
    row("relay, DATA", 0, 50, 30_000),
    row("straight", 0, 1, 5_000),
    row("straight", 0, 10, 20_000),
    row("straight", 0, 50, 30_000),
    row("relay, CHUNKING", 20, 1, 200),
    row("relay, DATA", 20, 1, 200),
    row("straight", 20, 1, 200),
    row("relay, CHUNKING", 20, 50, 5_000),
    row("relay, 20 x 35 MB", 0, 20, 20),
];

/// Measures the rows that have all `words`; `say` gets the table line by line.
pub(crate) async fn table(words: &[String], mut say: impl FnMut(String)) {
    say(HEAD.into());
    for row in ROWS.iter().filter(|row| row.has(words)) {
        let figures = measure(row).await;
        let trips = match row.round_trip {
            0 => "–".into(),
            trip => format!("{:.2}", figures.whole.p50.as_secs_f64() * 1000.0 / trip as f64),
        };
        say(format!(
            "| {} | {} ms | {} | {} | {} | {:.0} | {:.2?} | {:.2?} | {trips} | {:.0?} | {:.1} MB |",
            row.name,
            row.round_trip,
            row.load.connections,
            figures.messages,
            row.load.octets,
            figures.accepted,
            figures.whole.p50,
            figures.whole.p99,
            figures.cpu,
            figures.peak as f64 / 1000.0,
        ));
    }
}

/// What it costs to do nothing.
pub(crate) fn idle() -> String {
    let bench = Bench::start(&ROWS[0]);
    let before = usage::cpu(bench.id);
    // A measurement of doing nothing takes time and has no event.
    std::thread::sleep(Duration::from_secs(10));
    let (resident, cpu) = (usage::resident(bench.id), usage::cpu(bench.id) - before);
    format!("Idle for 10 s after the start: {:.1} MB resident, {cpu:?} of CPU.", resident as f64 / 1000.0)
}
