//! A clock that a story moves: Debian's libfaketime tells the daemon the time that stands in a file, and the provider beside it
//! is told the same.
//!
//! Daemon and commands are real processes of which each has its own clock; only those started through here know the moved
//! time. Certificates are judged by it too, so that days back make the provider's TLS certificate one of the future.

use super::{Program, SOON, http, outlink, run, start_ready};
use serde_json::Value;
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, SystemTime},
};

/// A day, the unit of most ends.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// What passes for the daemon when the clock is moved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    /// The date alone, as if somebody had set the machine's clock: what the daemon waits for comes no sooner.
    Date,
    /// Everything, as if the time had been spent: what the daemon waits for is due. What is under way has its time-outs.
    All,
}

/// The moved clock of one daemon, its commands and its provider.
pub(crate) struct Clock {
    file: PathBuf,
    passing: Passing,
    /// Where the provider's clock is moved.
    provider: SocketAddr,
    /// Where the daemon listens.
    relay: SocketAddr,
    moved: Duration,
    /// The daemons that were started.
    started: Mutex<Vec<u32>>,
}

impl Clock {
    /// A clock that shows the system's time; its file goes into `directory`.
    pub(crate) fn new(passing: Passing, directory: &Path, provider: SocketAddr, relay: SocketAddr) -> Self {
        let (file, started) = (directory.join("clock"), Mutex::default());
        let clock = Self { file, passing, provider, relay, moved: Duration::ZERO, started };
        clock.write();
        clock
    }

    /// `outlink run`, ready, under this clock.
    pub(crate) fn start(&self, config: &Path, directory: &Path) -> Program {
        let mut command = outlink();
        command.args(["run", "--config"]).arg(config);
        self.rule(&mut command);
        let daemon = start_ready(command, directory);
        self.started.lock().expect("nobody panicked").push(daemon.id());
        daemon
    }

    /// Runs a command under this clock; gives its exit status, and what it said.
    pub(crate) fn command(&self, words: &[&str], config: &Path) -> (Option<i32>, String) {
        let mut command = outlink();
        command.args(words).arg("--config").arg(config);
        self.rule(&mut command);
        let output = run(command, b"", SOON);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Puts a program that is to be started under this clock.
    pub(crate) fn rule(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        // The file counts at every look, not every ten seconds. Files have the times that the disk gave them.
        command.env("FAKETIME_NO_CACHE", "1").env("NO_FAKE_STAT", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", if self.passing == Passing::Date { "1" } else { "0" });
    }

    /// Lets so much time pass for the provider and the daemon, in this order.
    pub(crate) fn forward(&mut self, by: Duration) {
        self.forward_provider(by);
        self.forward_daemon(by);
    }

    /// Lets it pass for the provider alone: the daemon's clock is slow then.
    pub(crate) fn forward_provider(&self, by: Duration) {
        let (status, said) = http(self.provider, "PUT", "/clock", &format!("{{\"advance_seconds\":{}}}", by.as_secs()));
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&said));
    }

    /// Lets it pass for the daemon alone: its clock is fast then.
    pub(crate) fn forward_daemon(&mut self, by: Duration) {
        self.moved += by;
        self.write();
        // A daemon that waits for its next timer looks at the clock when something happens.
        let _ = TcpStream::connect(self.relay);
    }

    /// What the daemon's clock shows.
    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::now() + self.moved
    }

    /// What the provider's clock shows.
    pub(crate) fn provider_now(&self) -> SystemTime {
        let told: Value = serde_json::from_slice(&http(self.provider, "GET", "/clock", "").1).expect("the provider's clock");
        let told = told["now"].as_str().expect("a time");
        chrono::DateTime::parse_from_rfc3339(told).expect("RFC 3339").into()
    }

    /// A file that is replaced is never read half.
    fn write(&self) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("+{}\n", self.moved.as_secs())).expect("it can be written");
        fs::rename(&new, &self.file).expect("it can be renamed");
    }
}

impl Drop for Clock {
    /// A daemon that was killed leaves what the library shares among processes.
    fn drop(&mut self) {
        for id in self.started.get_mut().into_iter().flatten() {
            let _ = fs::remove_file(format!("/dev/shm/faketime_shm_{id}"));
            let _ = fs::remove_file(format!("/dev/shm/sem.faketime_sem_{id}"));
        }
    }
}

/// Where Debian's package puts the library for programs with threads.
fn library() -> PathBuf {
    let found = fs::read_dir("/usr/lib").expect("/usr/lib can be read").filter_map(Result::ok);
    let found = found.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
    found.expect("libfaketime is missing; `make test` installs what the tests need")
}
