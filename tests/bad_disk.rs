//! The disk of the queue fails under load, its database is damaged, or another program holds it: nobody hears `250` for what is not
//! durable, and when the trouble is over everything goes on by itself.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use support::{
    LONG, Program, SOON,
    disk::Disk,
    letters::{Client, LARGE, Letter, await_drained, await_that, lost, queueing, rows_left},
    start_daemon,
    story::Story,
};

/// A story whose state directory lies on a disk that fails on request.
fn on_a_disk() -> (Story, Disk) {
    let story = queueing("custom", &[], |text| text.replace("/state\"", "/disk/state\""));
    let directory = story.directory.path().join("disk");
    fs::create_dir(&directory).expect("a directory can be made");
    (story, Disk::over(&directory))
}

fn state(story: &Story) -> PathBuf {
    story.directory.path().join("disk/state")
}

/// What apps heard that send without a pause.
#[derive(Default)]
struct Heard {
    acknowledged: Mutex<BTreeSet<String>>,
    refusals: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Heard {
    fn send(&self, story: &Story, app: usize) {
        let mut client = Client::login(story).expect("a login");
        for number in 0.. {
            let letter = Letter::new(&format!("{app}.{number}"), if number % 3 == 0 { LARGE } else { 2_000 });
            let reply = client.submit(&letter).expect("an answer");
            match reply.starts_with("250 ") {
                true => drop(self.acknowledged.lock().expect("no app panics").insert(letter.id)),
                false => {
                    self.refusals.lock().expect("no app panics").push(reply);
                    // As a patient app would; the faults need some time.
                    thread::sleep(Duration::from_millis(20));
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn count(&self) -> (usize, usize) {
        (self.acknowledged.lock().expect("no app panics").len(), self.refusals.lock().expect("no app panics").len())
    }

    /// Waits until more was accepted, or refused.
    fn await_more(&self, refusals: bool) {
        let before = self.count();
        let more = || {
            let now = self.count();
            (if refusals { now.1 > before.1 + 3 } else { now.0 > before.0 + 10 }).then_some(())
        };
        await_that(if refusals { "refusals" } else { "acceptances" }, LONG, more);
    }
}

/// Ends the apps when the test goes on, and when it fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Apps send through a disk that is good, has `fault`, and is good again; gives what they heard.
fn through(story: &Story, disk: &Disk, daemon: &Program, fault: &str, more: impl Fn(&Program)) -> Heard {
    let heard = Heard::default();
    thread::scope(|scope| {
        let _end = End(&heard.stop);
        for app in 0..4 {
            let heard = &heard;
            scope.spawn(move || heard.send(story, app));
        }
        heard.await_more(false);
        disk.faults(fault);
        heard.await_more(true);
        disk.faults("");
        heard.await_more(false);
        more(daemon);
    });
    heard
}

#[test]
fn a_sync_that_fails_is_answered_451_and_accepting_goes_on_by_itself() {
    let (story, disk) = on_a_disk();
    let daemon = start_daemon(&story.config, story.directory.path(), &disk.environment());
    let heard = through(&story, &disk, &daemon, "fsync EIO *-wal", |daemon| {
        daemon.logged("the database is closed: its disk failed", SOON);
        daemon.logged("the database was opened again and is sound", SOON);
    });
    let (acknowledged, refusals) =
        (heard.acknowledged.into_inner().expect("no app panics"), heard.refusals.into_inner().expect("none"));
    assert!(refusals.iter().all(|reply| reply.starts_with("451 4.3.0 ")), "{refusals:?}");
    await_drained(&state(&story), &daemon, LONG);
    let log = disk.log();
    assert_eq!(lost(&acknowledged, &story.arrived()), BTreeSet::new());
    // The power is cut after all this: what was acknowledged was durable, also what came before the fault.
    let after = tempfile::tempdir().expect("a temporary directory");
    log.power_cut(log.len(), after.path());
    let rows = rows_left(&after.path().join("state")).expect("the database is sound");
    assert_eq!(lost(&acknowledged, &rows), BTreeSet::new(), "after a power cut");
}

#[test]
fn a_disk_that_turns_read_only_is_answered_451_and_accepting_goes_on_by_itself() {
    let (story, disk) = on_a_disk();
    let daemon = start_daemon(&story.config, story.directory.path(), &disk.environment());
    let read_only = "open EROFS *\nwrite EROFS *\ntruncate EROFS *\nrename EROFS *\nunlink EROFS *\nmkdir EROFS *";
    let heard = through(&story, &disk, &daemon, read_only, |_| {});
    let (acknowledged, refusals) =
        (heard.acknowledged.into_inner().expect("no app panics"), heard.refusals.into_inner().expect("none"));
    assert!(refusals.iter().all(|reply| reply.starts_with("451 4.3.0 ")), "{refusals:?}");
    await_drained(&state(&story), &daemon, LONG);
    assert_eq!(lost(&acknowledged, &story.arrived()), BTreeSet::new());
}

#[test]
fn a_damaged_database_ends_the_start_and_says_what_to_do() {
    let story = queueing("custom", &[], |text| text);
    fs::create_dir(story.state()).expect("a directory can be made");
    let garbage = "this is no database\n".repeat(1_000);
    fs::write(story.state().join("outlink.db"), &garbage).expect("it can be written");
    let (status, said) = story.command(&["run"]);
    assert_eq!(status, Some(74), "{said}");
    assert!(said.contains("outlink.db") && said.contains("restore a backup"), "{said}");
    assert_eq!(fs::read_to_string(story.state().join("outlink.db")).expect("it is there"), garbage, "left as it was");
}

/// Python that holds the database exclusively until its input ends.
struct Holder(Child);

impl Holder {
    fn new(story: &Story) -> Self {
        let text = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n\
                    c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read(); c.execute('ROLLBACK')";
        let mut python = Command::new("python3");
        python.args(["-c", text]).arg(story.state().join("outlink.db")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().expect("`make test` installs python3");
        let mut said = [0; 5];
        std::io::Read::read_exact(child.stdout.as_mut().expect("it was piped"), &mut said).expect("it holds the database");
        Self(child)
    }

    fn release(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().expect("it ends").success());
    }
}

#[test]
fn a_database_held_by_another_program_delays_and_refuses_for_now() {
    let story = queueing("custom", &[], |text| text);
    let daemon = story.start();
    let mut client = Client::login(&story).expect("a login");
    let (first, second, third) = (Letter::new("first", 1_000), Letter::new("second", LARGE), Letter::new("third", 1_000));
    assert!(client.submit(&first).expect("an answer").starts_with("250 "));
    await_drained(&story.state(), &daemon, LONG);
    // Held for longer than SQLite waits: refused within the store's own time.
    let holder = Holder::new(&story);
    let begun = Instant::now();
    let reply = client.submit(&second).expect("an answer");
    assert!(reply.starts_with("451 4.3.0 ") && begun.elapsed() < SOON, "{reply} after {:?}", begun.elapsed());
    daemon.logged("another program holds it open", SOON);
    // Let go at the moment at which an app sends: accepted at once or after a wait.
    let waiting = thread::scope(|scope| {
        let app = scope.spawn(|| client.submit(&third));
        holder.release();
        app.join().expect("no panic").expect("an answer")
    });
    assert!(waiting.starts_with("250 "), "{waiting}");
    assert!(client.submit(&second).expect("an answer").starts_with("250 "));
    await_drained(&story.state(), &daemon, LONG);
    assert!(story.arrived().values().all(|count| *count == 1) && story.arrived().len() == 3);
}
