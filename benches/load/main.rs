//! `make bench`: how fast, and how large, `outlink run` is, in two parts, `queue` and `direct`. `cargo bench --bench load -- queue` takes one
//! part, and with more words only the rows that have them all: `-- queue Postfix 50x 0ms`.
//!
//! Each row has a fresh relay and a fresh provider, so that peak memory is the row's own, and is bounded in messages and time.

mod bench;
mod client;
mod direct;
mod postfix;
mod queue;
#[path = "../../tests/support/mod.rs"]
mod support;
mod usage;

use std::{fs, path::Path};

fn main() {
    // `cargo bench` hands its own options on.
    let mut words = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let part = words.next();
    let words: Vec<String> = words.collect();
    let wants = |name: &str| part.as_ref().is_none_or(|part| part == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut text = String::new();
    let mut say = |line: String| {
        println!("{line}");
        text += &line;
        text.push('\n');
    };
    say(format!("Machine: {}\n", usage::machine(Path::new(bench::PLACE))));
    if wants("queue") {
        say("## The queue\n".into());
        runtime.block_on(queue::tables(&words, &mut say));
    }
    if wants("direct") {
        say("\n## The contract `direct`\n".into());
        runtime.block_on(direct::table(&words, &mut say));
        say(format!("\n{}", direct::idle()));
    }
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target").into());
    let file = Path::new(&target).join("benchmarks.md");
    fs::write(&file, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
    println!("\nwritten to {}", file.display());
}
