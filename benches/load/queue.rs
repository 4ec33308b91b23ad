//! The durable queue beside Postfix and beside the load straight to the provider, in turn under the same load, and their ratios.

use super::{
    bench::{Figures, Outlink, Row, System, measure},
    client::Load,
    postfix,
};
use std::time::Duration;

const QUEUE: Outlink = Outlink { contract: "queue", chunking: true, log: "info" };

/// For each number of connections, one after the other, so that a change of the machine's weather meets all.
const SYSTEMS: &[(&str, System)] = &[
    ("queue, CHUNKING", System::Outlink(QUEUE)),
    ("queue, DATA", System::Outlink(Outlink { chunking: false, ..QUEUE })),
    ("Postfix", System::Postfix),
    ("direct, CHUNKING", System::Outlink(Outlink { contract: "direct", ..QUEUE })),
    ("straight", System::Straight),
];

const CONNECTIONS: &[usize] = &[1, 10, 50, 200];

/// Only at this number: what the log costs.
const QUIET: (&str, System) = ("queue, CHUNKING, log at warn", System::Outlink(Outlink { log: "warn", ..QUEUE }));
const QUIET_AT: usize = 50;

const OCTETS: usize = 10_000;

const HEAD: &str = "| load | connections | messages | accepted/s | delivered/s | p50 | p99 | CPU s/1000 | peak memory | shared once \
    | provider saw connections |\n|---|---|---|---|---|---|---|---|---|---|---|";

/// A row that was taken.
struct Taken {
    row: Row,
    figures: Figures,
}

/// Measures the rows that have all `words`; `say` gets the tables line by line.
pub(crate) async fn tables(words: &[String], mut say: impl FnMut(String)) {
    let missing = postfix::missing();
    if let Some(why) = missing {
        say(format!("{why}.\n"));
    }
    let wants = |row: &Row| row.has(words) && (row.system != System::Postfix || missing.is_none());
    let near: Vec<Row> = CONNECTIONS.iter().flat_map(|connections| near(*connections)).filter(wants).collect();
    table(&near, &mut say).await;
    let far: Vec<Row> = SYSTEMS[..3].iter().map(far).filter(wants).collect();
    say("\nWith 20 ms round trip to the provider and 10 connections to it:\n".into());
    table(&far, &mut say).await;
}

fn near(connections: usize) -> impl Iterator<Item = Row> {
    let load = Load { connections, messages: 20_000, within: Duration::from_secs(5), octets: OCTETS };
    let quiet = (connections == QUIET_AT).then_some(&QUIET);
    let row = move |(name, system): &(&'static str, System)| Row { name, system: *system, round_trip: 0, upstream: 50, load };
    SYSTEMS.iter().chain(quiet).map(row)
}

fn far((name, system): &(&'static str, System)) -> Row {
    let load = Load { connections: 10, messages: 3_000, within: Duration::from_secs(10), octets: OCTETS };
    Row { name, system: *system, round_trip: 20, upstream: 10, load }
}

async fn table(rows: &[Row], say: &mut impl FnMut(String)) {
    let mut taken = Vec::new();
    say(HEAD.into());
    for row in rows {
        taken.push(take(*row, say).await);
    }
    ratios(&taken, say);
}

async fn take(row: Row, say: &mut impl FnMut(String)) -> Taken {
    let figures = measure(&row).await;
    say(format!(
        "| {} | {} | {} | {:.0} | {:.0} | {:.2?} | {:.2?} | {:.2} | {:.1} MB | {:.1} MB | {} |",
        row.name,
        row.load.connections,
        figures.messages,
        figures.accepted,
        figures.delivered,
        figures.last.p50,
        figures.last.p99,
        figures.cpu.as_secs_f64() * 1000.0,
        figures.peak as f64 / 1000.0,
        figures.shared_once as f64 / 1000.0,
        figures.connections,
    ));
    Taken { row, figures }
}

/// Each of outlink's rows in parts of Postfix's and of the straight one's at the same number of connections.
fn ratios(taken: &[Taken], say: &mut impl FnMut(String)) {
    say("\n| load | connections | accepted, of Postfix | delivered, of Postfix | CPU, of Postfix | accepted, of straight | delivered, of straight |\n\
         |---|---|---|---|---|---|---|"
        .into());
    for Taken { row, figures } in taken.iter().filter(|taken| matches!(taken.row.system, System::Outlink(_))) {
        let connections = row.load.connections;
        let beside = |system| {
            let same = |other: &&Taken| other.row.system == system && other.row.load.connections == connections;
            taken.iter().find(same).map(|other| &other.figures)
        };
        let of = |system, figure: fn(&Figures) -> f64| {
            beside(system).map_or_else(|| "–".to_owned(), |other| format!("{:.2}", figure(figures) / figure(other)))
        };
        say(format!(
            "| {} | {connections} | {} | {} | {} | {} | {} |",
            row.name,
            of(System::Postfix, |figures| figures.accepted),
            of(System::Postfix, |figures| figures.delivered),
            of(System::Postfix, |figures| figures.cpu.as_secs_f64()),
            of(System::Straight, |figures| figures.accepted),
            of(System::Straight, |figures| figures.delivered),
        ));
    }
}
