//! The release build under load, killed at random moments: what was acknowledged arrives, and what comes twice was on its way.
//!
//! `KILL_ROUNDS` sets how many kills (20; `make soak`: 200), `KILL_SEED` repeats the sizes and moments of a run. Where the kill
//! strikes within the program differs each time all the same, so a failure is told by what the last line of the test prints, and by
//! the daemons' output.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, io,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};
use support::{
    LONG, Program, SOON,
    letters::{Client, LARGE, Letter, Row, await_that, lost, queueing, rows_left},
    story::Story,
    use_release,
};

/// Apps that send at once.
const CLIENTS: u64 = 6;

/// Connections to the provider.
const CONNECTIONS: u64 = 8;

/// The pause before an app tries to connect again.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest life of a daemon.
const LONGEST_LIFE: u64 = 1_500;

/// Numbers that a seed determines (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % below
    }

    /// Mostly small, some near the border of what the database keeps itself, some in files.
    fn letter(&mut self, name: &str) -> Letter {
        let octets = match self.roll(20) {
            0..=13 => 500 + self.roll(10_000),
            14..=16 => 120_000 + self.roll(16_000),
            _ => LARGE as u64 + self.roll(200_000),
        };
        let octets = usize::try_from(octets).expect("it is small");
        let recipients = if self.roll(4) == 0 { 2 + self.roll(4) } else { 1 };
        Letter { recipients: recipients as usize, chunks: self.roll(2) == 0, ..Letter::new(name, octets) }
    }
}

/// What the apps have heard.
#[derive(Default)]
struct Heard {
    acknowledged: Mutex<BTreeMap<String, u64>>,
    /// Broken off before a reply, refused for now.
    broken: AtomicU64,
    later: Mutex<BTreeSet<String>>,
    stop: AtomicBool,
}

impl Heard {
    /// An app's life: it sends as fast as it is answered, and connects again when the daemon is gone.
    fn send(&self, story: &Story, client: u64, seed: u64) {
        let (mut dice, mut number) = (Dice(seed ^ (client << 32)), 0);
        while !self.stop.load(Ordering::Relaxed) {
            if self.session(story, &mut dice, &format!("{client}"), &mut number).is_err() {
                self.broken.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        }
    }

    fn session(&self, story: &Story, dice: &mut Dice, client: &str, number: &mut u64) -> io::Result<()> {
        let mut app = Client::login(story)?;
        while !self.stop.load(Ordering::Relaxed) {
            *number += 1;
            let letter = dice.letter(&format!("{client}.{number}"));
            let reply = app.submit(&letter)?;
            match reply.starts_with("250 ") {
                true => drop(self.acknowledged.lock().expect("no app panics").insert(letter.id, letter.octets as u64)),
                false => drop(self.later.lock().expect("no app panics").insert(reply)),
            }
        }
        Ok(())
    }

    fn acknowledged(&self) -> BTreeMap<String, u64> {
        self.acknowledged.lock().expect("no app panics").clone()
    }
}

/// What a kill left.
struct Left {
    /// Settled durably, with how often they had arrived by then.
    settled: BTreeMap<String, u64>,
    /// Not settled, though the provider has them.
    open: BTreeSet<String>,
}

/// Kills, and reads what is left once the provider has read all that was sent to it.
fn kill(story: &Story, daemon: Program, heard: &Heard) -> Left {
    let output = daemon.killed();
    assert!(!output.contains("panicked"), "{output}");
    await_that("the provider has read all", SOON, || (story.stat("open_connections") == 0).then_some(()));
    let (arrived, rows) = (story.arrived(), rows_left(&story.state()).expect("the database is sound"));
    // No daemon runs, so nothing is acknowledged meanwhile; what an app reads now was acknowledged before.
    let lost = lost(heard.acknowledged().keys(), &rows);
    assert!(lost.is_empty(), "acknowledged, and not in the database after the kill: {lost:?}");
    let is = |wanted: Row| rows.iter().filter(move |(_, is)| **is == wanted).map(|(id, _)| id);
    let settled = is(Row::Done).map(|id| (id.clone(), arrived.get(id).copied().unwrap_or(0))).collect();
    let open = is(Row::Kept).filter(|id| arrived.contains_key(*id)).cloned().collect();
    Left { settled, open }
}

/// The value of a variable.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// What comes twice was not settled when the daemon was killed; what was settled is never sent again.
fn explain_duplicates(arrived: &BTreeMap<String, u64>, kills: &[Left]) -> u64 {
    let mut duplicates = 0;
    for (id, count) in arrived.iter().filter(|(_, count)| **count > 1) {
        let open = kills.iter().filter(|left| left.open.contains(id)).count() as u64;
        assert!(count - 1 <= open, "{id} arrived {count} times; at {open} kills it was on its way");
        duplicates += count - 1;
    }
    for (round, left) in kills.iter().enumerate() {
        let again: Vec<_> = left.settled.iter().filter(|(id, count)| arrived.get(*id).copied().unwrap_or(0) > **count).collect();
        assert!(again.is_empty(), "settled before kill {}, and sent again after it: {again:?}", round + 1);
        let unsent: Vec<_> = left.settled.iter().filter(|(_, count)| **count == 0).collect();
        assert!(unsent.is_empty(), "settled before kill {}, and the provider never had it: {unsent:?}", round + 1);
    }
    duplicates
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_and_little_comes_twice() {
    use_release();
    let rounds = number("KILL_ROUNDS").unwrap_or(20);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let seed = number("KILL_SEED").unwrap_or(since.as_nanos() as u64);
    println!("KILL_ROUNDS={rounds} KILL_SEED={seed}");
    let story = queueing("custom", &[], |text| format!("{text}\n[mailbox.sandbox.limits]\nconnections = {CONNECTIONS}\n"));
    let (heard, mut dice, mut kills) = (Heard::default(), Dice(seed), Vec::new());
    let mut daemon = Some(story.start());
    thread::scope(|scope| {
        // However the rounds end, the apps end too.
        let _end = End(&heard.stop);
        (0..CLIENTS).for_each(|client| {
            drop(scope.spawn({
                let (heard, story) = (&heard, &story);
                move || heard.send(story, client, seed)
            }))
        });
        for _ in 0..rounds {
            thread::sleep(Duration::from_millis(dice.roll(LONGEST_LIFE)));
            kills.push(kill(&story, daemon.take().expect("one runs"), &heard));
            daemon = Some(story.start());
        }
    });
    let daemon = daemon.expect("one runs");
    let arrived = story.drained(&daemon, LONG);
    let (status, output) = daemon.stop();
    assert_eq!(status, Some(0), "{output}");
    report(&story, &heard, &arrived, &kills);
}

/// Ends the apps when the test goes on, and when it fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn report(story: &Story, heard: &Heard, arrived: &BTreeMap<String, u64>, kills: &[Left]) {
    let acknowledged = heard.acknowledged();
    let duplicates = explain_duplicates(arrived, kills);
    let most = kills.iter().map(|left| left.open.len()).max().unwrap_or(0);
    println!(
        "kills {}, acknowledged {}, arrived {}, duplicates {duplicates}, on their way at a kill at most {most}, broken off {}, refused for now {:?}",
        kills.len(),
        acknowledged.len(),
        arrived.len(),
        heard.broken.load(Ordering::Relaxed),
        heard.later.lock().expect("no app panics"),
    );
    assert_eq!(lost(acknowledged.keys(), arrived), BTreeSet::new(), "acknowledged and never delivered");
    assert_eq!(story.stat("message_ids_missed"), 0, "the provider counts all");
    assert!(acknowledged.len() >= kills.len() * 10, "the apps sent next to nothing");
    // One on its way on each connection, and a few that waited for their commit.
    let bound = (kills.len() as u64 + 1) * CONNECTIONS;
    assert!(duplicates <= bound, "{duplicates} duplicates; at most {bound} are explained by {} kills", kills.len());
    let cut: Vec<_> =
        story.sizes().into_iter().filter(|(id, size)| acknowledged.get(id).is_some_and(|octets| size < octets)).collect();
    assert!(cut.is_empty(), "not whole: {cut:?}");
}
