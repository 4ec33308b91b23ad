//! The disk that keeps a log (`tests/support/disk.rs`) under programs whose behaviour is known, so that it can be believed, and then
//! under outlink.

mod support;

use rusqlite::Connection;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};
use support::{
    Program, SOON,
    disk::{Disk, Log},
    outlink,
    queued::until,
    run, start_daemon,
    story::{App, Story},
};

/// A directory to work in, on a disk.
struct Bench {
    parent: tempfile::TempDir,
    disk: Disk,
}

impl Bench {
    fn new(setting: impl FnOnce(Disk) -> Disk) -> Self {
        let parent = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(parent.path().join("work")).expect("a directory can be made");
        let disk = setting(Disk::over(&parent.path().join("work")));
        Self { parent, disk }
    }

    fn directory(&self) -> PathBuf {
        self.parent.path().join("work")
    }

    /// Runs Python on the disk to its end; gives its exit status, and what it said.
    fn python(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new("python3");
        command.args(words).current_dir(self.directory()).envs(self.disk.environment());
        let output = run(command, b"", SOON);
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// Runs a program of `tests/disk`; what it did must all be in the log.
    fn script(&self, name: &str, words: &[&str]) -> (Log, String) {
        let file = format!("{}/tests/disk/{name}", env!("CARGO_MANIFEST_DIR"));
        let (status, said) = self.python(&[&[file.as_str()], words].concat());
        assert_eq!(status, Some(0), "{said}");
        let log = self.disk.log();
        log.assert_complete(&self.directory());
        (log, said)
    }

    /// Runs a Python text in the directory.
    fn text(&self, text: &str) -> (Option<i32>, String) {
        self.python(&["-c", text])
    }
}

/// Which numbers were acknowledged, each with its position.
fn acknowledged(log: &Log) -> Vec<(usize, i64)> {
    let number = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    log.acknowledgements().iter().map(|(position, line)| (*position, number(line))).collect()
}

/// The rows that a database holds; none where it cannot be read.
fn rows(database: &Path) -> rusqlite::Result<Vec<i64>> {
    let connection = Connection::open(database)?;
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(sound, "ok");
    let mut statement = connection.prepare("SELECT number FROM row ORDER BY number")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// At each acknowledgement: which of the rows acknowledged so far a power cut takes.
fn lost_rows(log: &Log) -> Vec<i64> {
    let mut lost = Vec::new();
    let all = acknowledged(log);
    for (count, (position, _)) in all.iter().enumerate() {
        let after = log.cut(*position);
        let found = rows(&after.path().join("rows.db")).unwrap_or_default();
        lost.extend(all[..=count].iter().map(|(_, number)| *number).filter(|number| !found.contains(number)));
    }
    lost
}

#[test]
fn sqlite_with_full_syncs_loses_no_acknowledged_row() {
    let bench = Bench::new(|disk| disk);
    let (log, _) = bench.script("rows.py", &["rows.db", "40", ""]);
    assert_eq!(acknowledged(&log).len(), 40);
    assert_eq!(lost_rows(&log), Vec::<i64>::new());
    let before_the_last = log.cut(acknowledged(&log)[38].0);
    assert_eq!(rows(&before_the_last.path().join("rows.db")).expect("rows").len(), 39, "a cut keeps nothing that came later");
}

#[test]
fn rows_are_lost_where_syncs_are() {
    for pattern in ["*-wal", ".", "*"] {
        let bench = Bench::new(|disk| disk.ignoring(pattern));
        let (log, _) = bench.script("rows.py", &["rows.db", "15", ""]);
        assert_eq!(acknowledged(&log).len(), 15, "{pattern}");
        assert!(lost_rows(&log).contains(&1), "{pattern}");
    }
}

#[test]
fn sqlite_survives_failures_and_what_it_refused_is_not_there() {
    for (faults, said) in
        [("fsync EIO *-wal", "disk I/O error"), ("write ENOSPC *", "full"), ("write EIO rows.db-wal", "disk I/O error")]
    {
        let bench = Bench::new(|disk| disk);
        let (log, output) = bench.script("rows.py", &["rows.db", "30", faults]);
        assert_eq!(output.matches(said).count(), 5, "{faults}: {output}");
        assert_eq!(acknowledged(&log).len(), 25, "{faults}");
        assert_eq!(lost_rows(&log), Vec::<i64>::new(), "{faults}");
        let end = rows(&log.cut(log.len()).path().join("rows.db")).expect("rows");
        assert!((11..=15).all(|number| !end.contains(&number)), "{faults}: {end:?}");
    }
}

#[test]
fn a_body_is_there_when_its_file_and_its_directories_were_synced() {
    let whole = |number: i64| number.to_string().repeat(10_000);
    let left = [
        ("nothing", true, 10_000),
        // Its name is durable, its content never was.
        ("spool/*", true, 0),
        ("bodies", false, 0),
        // Nobody made durable that there are such directories.
        (".", false, 0),
    ];
    for (ignored, is_there, length) in left {
        let bench = Bench::new(|disk| disk.ignoring(ignored));
        let (log, _) = bench.script("bodies.py", &["."]);
        let all = acknowledged(&log);
        assert_eq!(all.iter().map(|(_, number)| *number).collect::<Vec<_>>(), [1, 2, 3, 4, 5], "{ignored}");
        for (count, (position, _)) in all.iter().enumerate() {
            let after = log.cut(*position);
            for (_, number) in &all[..=count] {
                let found = fs::read_to_string(after.path().join(format!("bodies/{number}"))).ok();
                let expected = is_there.then(|| whole(*number)[..length].to_owned());
                assert!(found == expected, "ignoring {ignored}, body {number} at acknowledgement {}", count + 1);
            }
            assert!(!after.path().join("spool/body-1").exists(), "ignoring {ignored}: nobody synced spool");
        }
    }
}

#[test]
fn a_rename_needs_both_directories() {
    let begin = "import os; os.mkdir('a'); os.mkdir('b'); open('a/x', 'w').write('x')\ndef sync(d): os.fsync(os.open(d, 0))\n";
    for (synced, left) in
        [("", [true, false]), ("sync('b')", [true, true]), ("sync('a')", [false, false]), ("sync('a'), sync('b')", [false, true])]
    {
        let bench = Bench::new(|disk| disk);
        let text = format!("{begin}sync('a/x'), sync('a'), sync('b'), sync('.')\nos.rename('a/x', 'b/y')\n{synced}");
        assert_eq!(bench.text(&text), (Some(0), String::new()));
        let log = bench.disk.log();
        let after = log.cut(log.len());
        assert_eq!(["a/x", "b/y"].map(|name| after.path().join(name).exists()), left, "{synced}");
    }
}

#[test]
fn a_file_is_as_its_last_sync_found_it() {
    let bench = Bench::new(|disk| disk);
    let text = "import os; f = os.open('x', os.O_CREAT | os.O_RDWR); os.write(f, b'synced'); os.fsync(f); os.fsync(os.open('.', 0))\n\
                os.write(f, b' and more'); os.truncate('x', 2); os.open('never', os.O_CREAT | os.O_RDWR); os.unlink('x')";
    assert_eq!(bench.text(text), (Some(0), String::new()));
    let log = bench.disk.log();
    let after = log.cut(log.len());
    assert_eq!(fs::read_to_string(after.path().join("x")).expect("its removal was not synced"), "synced");
    assert!(!after.path().join("never").exists());
    assert_eq!(fs::read_dir(bench.directory()).expect("a directory").count(), 1);
}

#[test]
fn what_was_there_before_is_durable() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir_all(parent.path().join("deep/er")).expect("directories can be made");
    fs::write(parent.path().join("deep/er/file"), "before").expect("a file can be written");
    let disk = Disk::over(parent.path());
    let mut touched = Command::new("python3");
    touched.args(["-c", "open('deep/er/file', 'a').write(' and after')"]).current_dir(parent.path()).envs(disk.environment());
    assert!(run(touched, b"", SOON).status.success());
    let log = disk.log();
    log.assert_complete(parent.path());
    let after = log.cut(log.len());
    assert_eq!(fs::read_to_string(after.path().join("deep/er/file")).expect("a file"), "before");
}

#[test]
fn a_sync_that_failed_is_seen_and_the_next_one_does_not_mend_it() {
    let bench = Bench::new(|disk| disk);
    bench.disk.faults("fsync EIO x\n");
    let text = "import os, errno; f = os.open('x', os.O_CREAT | os.O_WRONLY); os.write(f, b'lost')\n\
                try: os.fsync(f)\n\
                except OSError as e: assert e.errno == errno.EIO, e\n\
                else: assert False\n\
                open(os.environ['DISK_FAULTS'], 'w').close(); os.fsync(f); os.fsync(os.open('.', 0)); os.write(f, b' kept'); os.fsync(f)";
    assert_eq!(bench.text(text), (Some(0), String::new()));
    let log = bench.disk.log();
    log.assert_complete(&bench.directory());
    assert_eq!(fs::read(log.cut(log.len()).path().join("x")).expect("a file"), b"\0\0\0\0 kept");
}

#[test]
fn each_operation_fails_on_request_and_only_where_it_was_asked() {
    let operations = [
        ("open", "os.open('x', os.O_WRONLY)"),
        ("read", "os.open('x', os.O_RDONLY)"),
        ("write", "os.write(f, b'x')"),
        ("truncate", "os.ftruncate(f, 1)"),
        ("truncate", "os.posix_fallocate(f, 0, 9)"),
        ("fsync", "os.fsync(f)"),
        ("fsync", "os.fdatasync(f)"),
        ("rename", "os.rename('x', 'y')"),
        ("link", "os.link('x', 'y')"),
        ("unlink", "os.unlink('x')"),
        ("unlink", "os.rmdir('d')"),
        ("mkdir", "os.mkdir('x')"),
    ];
    let bench = Bench::new(|disk| disk);
    let mut text = "import os, errno; f = os.open('x', os.O_CREAT | os.O_RDWR); os.mkdir('d')\n\
                    def faults(lines): open(os.environ['DISK_FAULTS'], 'w').write(lines)\n\
                    def fails(operation, call):\n  for what in [operation, '*']:\n    faults(f'{what} EDQUOT other\\n{what} EROFS [xd]\\n')\n    \
                    try: call()\n    except OSError as e: assert e.errno == errno.EROFS, (operation, e)\n    else: assert False, operation\n"
        .to_owned();
    for (operation, call) in operations {
        text.push_str(&format!("fails('{operation}', lambda: {call})\n"));
    }
    text.push_str("faults('* EIO elsewhere/x'); os.write(f, b'good'); os.fsync(f); os.rename('x', 'y')\n");
    assert_eq!(bench.text(&text), (Some(0), String::new()));
    let log = bench.disk.log();
    log.assert_complete(&bench.directory());
    assert_eq!(fs::read(bench.directory().join("y")).expect("a file"), b"good");
}

#[test]
fn an_acknowledgement_before_the_sync_has_returned_is_too_early() {
    let bench = Bench::new(|disk| disk);
    bench.disk.faults("fsync hold x");
    let text = "import os, socket, threading, time; a, b = socket.socketpair()\n\
                f = os.open('x', os.O_CREAT | os.O_RDWR); os.fsync(os.open('.', 0)); os.write(f, b'content')\n\
                def syncs(): return open(os.environ['DISK_LOG'], 'rb').read().count(b'\\nsync ')\n\
                before = syncs(); t = threading.Thread(target=os.fsync, args=[f]); t.start()\n\
                while syncs() == before: time.sleep(0.001)\n\
                os.write(f, b' too late'); a.send(b'250 2.0.0 queued as 1\\r\\n')\n\
                open(os.environ['DISK_FAULTS'], 'w').close(); t.join(); a.send(b'250 2.0.0 queued as 2\\r\\n')";
    assert_eq!(bench.text(text), (Some(0), String::new()));
    let log = bench.disk.log();
    let content = |position| fs::read_to_string(log.cut(position).path().join("x")).expect("a file");
    let left: Vec<_> = acknowledged(&log).into_iter().map(|(position, number)| (number, content(position))).collect();
    assert_eq!(left, [(1, String::new()), (2, "content".to_owned())]);
}

#[test]
fn threads_and_processes_share_one_log() {
    let bench = Bench::new(|disk| disk);
    let (log, _) = bench.script("crowd.py", &["."]);
    let common = fs::read_to_string(bench.directory().join("common")).expect("a file");
    assert_eq!(common.split_whitespace().count(), 4 * 3 * 100);
    assert!(log.len() > 4 * 3 * 100 * 4, "{}", log.len());
}

#[test]
fn only_what_was_sent_on_a_socket_is_an_acknowledgement() {
    let bench = Bench::new(|disk| disk);
    let text = "import os, socket; a, b = socket.socketpair()\n\
                a.send(b'451 4.3.0 not queued as 1\\r\\n250-2.0.0 queued as 2\\r\\n250 2.0.0 good\\r\\n x250 queued as 3\\r\\n')\n\
                os.write(1, b'250 2.0.0 queued as 4\\n'); os.write(a.fileno(), b'250 2.0.0 queued as 5\\r\\n250 2.0.0 queued as 6\\r\\n')\n\
                os.writev(a.fileno(), [b'250 2.0.0 que', b'ued as 7\\r\\n']); a.setblocking(False)\n\
                try:\n  while True: a.send(b'x' * 65536)\n\
                except BlockingIOError: pass\n\
                try: a.send(b'250 2.0.0 queued as 8\\r\\n' * 9000)\n\
                except BlockingIOError: print('full')";
    let (status, said) = bench.text(text);
    assert!(status == Some(0) && said.ends_with("full\n"), "{said}");
    let numbers: Vec<i64> = acknowledged(&bench.disk.log()).iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, [5, 6, 7]);
}

#[test]
fn every_call_is_written_down() {
    let bench = Bench::new(|disk| disk);
    fs::write(bench.parent.path().join("outside"), "").expect("a file can be written");
    let (log, said) = bench.script("calls.py", &["."]);
    assert_eq!(said.matches("refused: [Errno 22]").count(), 2, "{said}");
    assert!(fs::read_to_string(bench.directory().join("B/two")).expect("a file").ends_with("endalso"));
    let after = log.cut(log.len());
    assert_eq!(fs::read_dir(after.path()).expect("a directory").count(), 0, "nothing was synced");
}

#[test]
#[should_panic(expected = "the log does not tell all")]
fn what_went_past_the_log_is_found() {
    let bench = Bench::new(|disk| disk);
    let text = "import mmap, os; f = os.open('x', os.O_CREAT | os.O_RDWR); os.ftruncate(f, 10); mmap.mmap(f, 10)[0:2] = b'xx'";
    assert_eq!(bench.text(text), (Some(0), String::new()));
    bench.disk.log().assert_complete(&bench.directory());
}

/// A story whose state directory lies on a disk; the program makes it.
struct DurableStory {
    story: Story,
    disk: Disk,
}

impl DurableStory {
    fn new(setting: impl FnOnce(Disk) -> Disk) -> Self {
        let story = Story::new("google", |text| text.replace("/state\"", "/disk/state\""));
        let directory = story.directory.path().join("disk");
        fs::create_dir(&directory).expect("a directory can be made");
        Self { disk: setting(Disk::over(&directory)), story }
    }

    /// A daemon that commands can reach: READY=1 may come before its control socket.
    fn start(&self) -> Program {
        let daemon = start_daemon(&self.story.config, self.story.directory.path(), &self.disk.environment());
        let deadline = Instant::now() + SOON;
        while self.story.command(&["status"]).0 != Some(0) {
            assert!(Instant::now() < deadline, "no control socket:\n{}", daemon.output());
        }
        daemon
    }

    /// `outlink grant import`; gives its exit status, and what it said.
    fn import(&self) -> (Option<i32>, String) {
        let mut command = outlink();
        command.args(["grant", "import", "sandbox", "--file"]).arg(self.story.directory.path().join("grant"));
        command.arg("--config").arg(&self.story.config).envs(self.disk.environment());
        let output = run(command, b"", SOON);
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// What an app hears from a daemon that starts after a power cut at this moment, on a good disk.
    fn after_a_power_cut(&self) -> String {
        let log = self.disk.log();
        let after = log.cut(log.len());
        let text = fs::read_to_string(&self.story.config).expect("it was written");
        let old = self.story.directory.path().canonicalize().expect("a directory").join("disk");
        let text = text.replace(old.to_str().expect("a name"), after.path().to_str().expect("a name"));
        // The first daemon may still have its port.
        let port = support::free_port();
        let config = after.path().join("outlink.toml");
        fs::write(&config, text.replace(&self.story.relay.to_string(), &format!("127.0.0.1:{port}"))).expect("it can be written");
        let _daemon = start_daemon(&config, after.path(), &[]);
        App::login(([127, 0, 0, 1], port).into(), "sandbox", &self.story.password).send()
    }
}

#[test]
fn an_imported_grant_survives_a_power_cut() {
    for running in [false, true] {
        let here = DurableStory::new(|disk| disk);
        let daemon = running.then(|| here.start());
        let (status, said) = here.import();
        assert_eq!(status, Some(0), "{said}");
        let reply = here.after_a_power_cut();
        assert!(reply.starts_with("250 2.0.0 "), "with a running daemon: {running}: {reply}");
        if let Some(daemon) = daemon {
            assert_eq!(daemon.stop().0, Some(0));
        }
        here.disk.log().assert_complete(&here.story.directory.path().join("disk"));
    }
}

#[test]
fn a_changed_key_and_what_it_sealed_survive_a_power_cut_together() {
    for running in [false, true] {
        let here = DurableStory::new(|disk| disk);
        assert_eq!(here.import().0, Some(0));
        let daemon = running.then(|| here.start());
        let mut command = outlink();
        command.args(["key", "rotate", "--drop-old", "--config"]).arg(&here.story.config).envs(here.disk.environment());
        let output = run(command, b"", SOON);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.code() == Some(0) && said.contains("dropped: key "), "{said}");
        let reply = here.after_a_power_cut();
        assert!(reply.starts_with("250 2.0.0 "), "with a running daemon: {running}: {reply}");
        drop(daemon);
        here.disk.log().assert_complete(&here.story.directory.path().join("disk"));
    }
}

#[test]
fn without_syncs_an_imported_grant_is_lost() {
    for (running, pattern) in [(true, "*-wal"), (true, "state"), (false, "."), (false, "*")] {
        let here = DurableStory::new(|disk| disk.ignoring(pattern));
        let _daemon = running.then(|| here.start());
        assert_eq!(here.import().0, Some(0), "{pattern}");
        let reply = here.after_a_power_cut();
        assert!(reply.starts_with("451 "), "{pattern}: {reply}");
    }
}

#[test]
fn a_grant_that_the_disk_refuses_is_not_said_to_be_stored() {
    let here = DurableStory::new(|disk| disk);
    let _daemon = here.start();
    here.disk.faults("fsync EIO *-wal");
    let (status, said) = here.import();
    assert!(status != Some(0) && said.contains("outlink.db") && !said.contains("is stored"), "{status:?}: {said}");
    here.disk.faults("");
    // Whoever wrote last found the fault; the database is opened again by itself.
    until("the database takes grants again", SOON, || here.import().0 == Some(0));
    let reply = here.after_a_power_cut();
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
}
