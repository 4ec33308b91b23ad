//! Runs programs on a disk that keeps a log (`tests/disk/disk.c`), and rebuilds from the log what a power cut would have left.
//!
//! ```text
//! let disk = Disk::over(directory);                             // what is there now counts as durable
//! let daemon = start_daemon(config, elsewhere, &disk.environment());
//! disk.faults("fsync EIO *-wal");                               // and `""` ends it
//! let log = disk.log();
//! log.assert_complete(directory);                               // nothing was done behind the log's back
//! for (position, line) in log.acknowledgements() { log.power_cut(position, fresh_directory); }
//! ```

mod log;
mod model;

pub(crate) use log::Log;

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// A directory, and what programs are told so that they write down what they do below it.
pub(crate) struct Disk {
    /// Holds the log and the faults, outside the directory.
    beside: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Disk {
    /// Begins a log of `directory`, which must exist. What it holds counts as durable.
    ///
    /// After a program was killed, begin a new one: its last operation may have been done but not written down.
    pub(crate) fn over(directory: &Path) -> Self {
        let beside = tempfile::tempdir().expect("a temporary directory");
        let text = |path: &Path| path.to_str().expect("a name in UTF-8").to_owned();
        let environment = vec![
            ("LD_PRELOAD", text(library())),
            ("DISK_DIRECTORY", text(directory)),
            ("DISK_LOG", text(&beside.path().join("log"))),
            ("DISK_FAULTS", text(&beside.path().join("faults"))),
        ];
        let mut log = File::create(beside.path().join("log")).expect("the log can be made");
        let root = fs::metadata(directory).expect("the directory can be read").ino();
        log::write(&mut log, "root", [root, 0, 0], b"");
        write_down(&mut log, directory, root);
        let disk = Self { beside, environment };
        disk.faults("");
        disk
    }

    /// Syncs of what `pattern` matches do nothing.
    pub(crate) fn ignoring(mut self, pattern: &str) -> Self {
        self.environment.push(("DISK_IGNORE_SYNC", pattern.to_owned()));
        self
    }

    /// For [`super::start_daemon`], or `Command::envs`.
    pub(crate) fn environment(&self) -> Vec<(&'static str, &str)> {
        self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// From now on these faults: lines `OPERATION ERROR PATTERN` as `tests/disk/disk.c` reads them.
    pub(crate) fn faults(&self, lines: &str) {
        // Renamed into place, so that nobody reads half a line.
        let (new, file) = (self.beside.path().join("new"), self.beside.path().join("faults"));
        fs::write(&new, lines).and_then(|()| fs::rename(new, file)).expect("the faults can be written");
    }

    /// The log as it is now.
    pub(crate) fn log(&self) -> Log {
        Log::read(&self.beside.path().join("log"))
    }
}

/// Whether the log leaves out what has this name: SQLite maps it, and rebuilds it.
fn is_left_out(name: &str) -> bool {
    name.ends_with("-shm")
}

/// Writes down everything below `directory` as done and synced.
fn write_down(log: &mut File, directory: &Path, inode: u64) {
    for entry in fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        let status = fs::symlink_metadata(&path).expect("a file's metadata");
        let (own, mode) = (status.ino(), u64::from(status.mode() & 0o7777));
        if status.is_dir() {
            log::write(log, "mkdir", [inode, own, mode], name.as_bytes());
            write_down(log, &path, own);
        } else if status.is_file() && !is_left_out(name) {
            log::write(log, "create", [inode, own, mode], name.as_bytes());
            log::write(log, "write", [own, 0, 0], &fs::read(&path).expect("a file can be read"));
            log::write(log, "sync", [own, 0, 0], b"");
            log::write(log, "synced", [own, 0, 0], b"");
        }
    }
    log::write(log, "sync", [inode, 0, 0], b"");
    log::write(log, "synced", [inode, 0, 0], b"");
    log.flush().expect("the log can be written");
}

/// The compiled library; compiled once for each process that asks.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (new, library) = (directory.join(format!("disk-{}.so", std::process::id())), directory.join("disk.so"));
        let source = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disk").join(name);
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Werror", "-o"]);
        let output = compiler.arg(&new).args([source("disk.c"), source("log.c")]).output();
        let output = output.unwrap_or_else(|e| panic!("cannot run cc: {e}; `make test` installs what the tests need"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Renamed into place, so that no other test binary loads half a library.
        fs::rename(new, &library).expect("the library can be put into its place");
        library
    })
}
