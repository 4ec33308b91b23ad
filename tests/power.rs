//! The power is cut under a daemon that keeps mail: what was acknowledged before the cut is in the queue of the next daemon, whole, and
//! reaches the provider. And of the syncs that the product makes, none can be left out.

mod support;

use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    thread,
};
use support::{
    LONG, Program,
    disk::{Disk, Log},
    free_port, http,
    letters::{Client, LARGE, Letter, Row, await_drained, queueing, rows_left},
    start_daemon,
    story::Story,
};

/// Cuts tried at most, spread over the log.
const CUTS: usize = 25;

/// What the database keeps itself, just below 128 KiB.
const INLINE: usize = 120_000;

/// So many of those are more than the write-ahead log holds before it is copied to the database (16 MiB), and begin it anew.
const MANY: usize = 230;

/// A story whose state directory lies on the disk; the program makes it.
struct Powered {
    story: Story,
    disk: Disk,
    /// By the id that the app was told.
    acknowledged: BTreeMap<String, Letter>,
}

impl Powered {
    fn new(setting: impl FnOnce(Disk) -> Disk) -> Self {
        let story = queueing("custom", &[], |text| text.replace("/state\"", "/disk/state\""));
        let directory = story.directory.path().join("disk");
        fs::create_dir(&directory).expect("a directory can be made");
        Self { disk: setting(Disk::over(&directory)), story, acknowledged: BTreeMap::new() }
    }

    fn directory(&self) -> PathBuf {
        self.story.directory.path().join("disk")
    }

    fn start(&self) -> Program {
        start_daemon(&self.story.config, self.story.directory.path(), &self.disk.environment())
    }

    /// Several apps send these; all must be taken.
    fn send(&mut self, letters: &[Letter]) {
        let story = &self.story;
        let send = |part: Vec<Letter>| {
            let mut client = Client::login(story).expect("a login");
            let sent = part.into_iter().map(|letter| (client.submit(&letter).expect("an answer"), letter));
            sent.collect::<Vec<_>>()
        };
        let heard: Vec<(String, Letter)> = thread::scope(|scope| {
            let apps: Vec<_> =
                letters.chunks(letters.len().div_ceil(3)).map(|part| scope.spawn(move || send(part.to_vec()))).collect();
            apps.into_iter().flat_map(|app| app.join().expect("an app ends")).collect()
        });
        for (reply, letter) in heard {
            let Some((_, own)) = reply.rsplit_once(" queued as ").filter(|_| reply.starts_with("250 ")) else {
                panic!("{reply}")
            };
            self.acknowledged.insert(own.to_owned(), letter);
        }
    }

    /// Some are delivered, some stay in the queue for as long as it is looked; then the daemon is stopped.
    fn story(setting: impl FnOnce(Disk) -> Disk, delivered: &[Letter], kept: &[Letter]) -> (Self, Log) {
        let mut here = Self::new(setting);
        let daemon = here.start();
        if !delivered.is_empty() {
            here.send(delivered);
            await_drained(&here.directory().join("state"), &daemon, LONG);
        }
        here.story.fault("silent-at-mail", &json!({}));
        here.send(kept);
        here.story.mend("silent-at-mail");
        await_drained(&here.directory().join("state"), &daemon, LONG);
        assert_eq!(daemon.stop().0, Some(0));
        let log = here.disk.log();
        log.assert_complete(&here.directory());
        (here, log)
    }

    /// Acknowledged before `position`, by the app's id.
    fn before<'a>(&'a self, log: &Log, position: usize) -> BTreeMap<String, &'a Letter> {
        let all = log.acknowledgements();
        assert_eq!(all.len(), self.acknowledged.len(), "each 250 is in the log");
        let earlier = all.into_iter().filter(|(at, _)| *at <= position);
        earlier.map(|(_, line)| id_of(&line).to_owned()).map(|own| (own.clone(), &self.acknowledged[&own])).collect()
    }

    /// Which of these a power cut has taken: no row, or no whole body.
    fn taken(&self, after: &Path, acknowledged: &BTreeMap<String, &Letter>) -> BTreeSet<String> {
        let state = after.join("state");
        let rows = rows_left(&state).unwrap_or_default();
        let is_whole = |own: &str, letter: &Letter| {
            letter.octets < LARGE
                || fs::metadata(state.join("bodies").join(own)).is_ok_and(|file| file.len() >= letter.octets as u64)
        };
        let is_kept = |own: &str, letter: &Letter| match rows.get(&letter.id) {
            Some(Row::Kept) => is_whole(own, letter),
            Some(Row::Done) => true,
            None => false,
        };
        acknowledged.iter().filter(|(own, letter)| !is_kept(own, letter)).map(|(_, letter)| letter.id.clone()).collect()
    }

    /// Starts a daemon on what is left, on a good disk, and waits until nothing waits; what was in the queue must have arrived whole.
    fn deliver(&self, after: &Path, acknowledged: &BTreeMap<String, &Letter>) {
        let rows = rows_left(&after.join("state")).expect("the database is sound");
        assert_eq!(http(self.story.http, "DELETE", "/received", "").0, 204);
        let text = fs::read_to_string(&self.story.config).expect("it was written");
        let old = self.directory().canonicalize().expect("a directory");
        let text = text.replace(old.to_str().expect("a name"), after.to_str().expect("a name"));
        let config = after.join("outlink.toml");
        let port = format!("127.0.0.1:{}", free_port());
        fs::write(&config, text.replace(&self.story.relay.to_string(), &port)).expect("it can be written");
        let daemon = start_daemon(&config, after, &[]);
        await_drained(&after.join("state"), &daemon, LONG);
        let sizes = self.story.sizes();
        for letter in acknowledged.values().filter(|letter| rows[&letter.id] == Row::Kept) {
            let size = sizes.get(&letter.id).copied().unwrap_or(0);
            assert!(size >= letter.octets as u64, "{}: {size} octets arrived:\n{}", letter.id, daemon.output());
        }
    }
}

fn id_of(line: &str) -> &str {
    line.rsplit(' ').next().expect("a word")
}

/// At most `most` of the positions of acknowledgements, the first and the last among them.
fn cuts(log: &Log, most: usize) -> Vec<usize> {
    let all: Vec<usize> = log.acknowledgements().into_iter().map(|(position, _)| position).collect();
    let count = most.min(all.len());
    (0..count).map(|number| all[number * (all.len() - 1) / (count - 1)]).collect()
}

/// Small and large ones by turns.
fn mixed(name: &str, count: usize) -> Vec<Letter> {
    let octets = |number: usize| [1_000, LARGE, 30_000][number % 3];
    let letter = |number| Letter { chunks: number % 2 == 0, ..Letter::new(&format!("{name}{number}"), octets(number)) };
    (0..count).map(letter).collect()
}

#[test]
fn what_was_acknowledged_before_a_power_cut_reaches_the_provider() {
    let (here, log) = Powered::story(|disk| disk, &mixed("delivered", 9), &mixed("kept", 30));
    for position in cuts(&log, CUTS) {
        let (after, acknowledged) = (log.cut(position), here.before(&log, position));
        assert_eq!(here.taken(after.path(), &acknowledged), BTreeSet::new(), "cut at {position}");
        here.deliver(after.path(), &acknowledged);
    }
}

#[test]
fn mail_is_lost_where_a_sync_is_left_out() {
    for pattern in ["*-wal", "*/spool/*", "bodies", "state", "."] {
        let (here, log) = Powered::story(|disk| disk.ignoring(pattern), &[], &mixed("kept", 6));
        let taken = |position| here.taken(log.cut(position).path(), &here.before(&log, position));
        let all: Vec<_> = cuts(&log, CUTS).into_iter().map(taken).collect();
        assert!(all.iter().any(|taken| !taken.is_empty()), "nothing is lost without syncs of {pattern}");
    }
}

#[test]
fn a_write_ahead_log_that_began_anew_needs_the_databases_own_sync() {
    let many: Vec<_> = (0..MANY).map(|number| Letter::new(&number.to_string(), INLINE)).collect();
    for pattern in [None, Some("outlink.db")] {
        let setting = |disk: Disk| match pattern {
            Some(pattern) => disk.ignoring(pattern),
            None => disk,
        };
        let (here, log) = Powered::story(setting, &[], &many);
        let positions = cuts(&log, 5);
        let taken = |position: &usize| here.taken(log.cut(*position).path(), &here.before(&log, *position)).len();
        let all: Vec<usize> = positions.iter().map(taken).collect();
        match pattern {
            None => assert_eq!(all, [0; 5]),
            Some(_) => assert!(all.iter().any(|taken| *taken > 0), "{all:?}"),
        }
        if pattern.is_none() {
            let last = positions[4];
            here.deliver(log.cut(last).path(), &here.before(&log, last));
        }
    }
}
