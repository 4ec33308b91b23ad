//! The log that `tests/disk/disk.c` writes: records `KIND A B C LENGTH\n`, LENGTH octets, `\n`.

use super::model::Model;
use bytes::Bytes;
use std::{fs, io::Write, path::Path};

/// One record. Files and directories are named by their inodes, whose numbers come back for new files.
#[derive(Debug, Clone)]
pub(super) enum Record {
    Root { inode: u64 },
    New { parent: u64, inode: u64, mode: u32, name: String, is_directory: bool },
    Write { inode: u64, offset: u64, octets: Bytes },
    Size { inode: u64, length: u64 },
    Rename { from: (u64, String), to: (u64, String) },
    Link { parent: u64, inode: u64, name: String },
    Remove { parent: u64, name: String },
    Sync { inode: u64, thread: u64 },
    Synced { inode: u64, thread: u64 },
    Unsynced { inode: u64, thread: u64 },
    Acknowledged { line: String },
    Unsent { count: usize },
}

/// What was done, in order.
pub(crate) struct Log(Vec<Record>);

impl Log {
    /// Reads a log. A last record that is not complete is left out: its writer was killed.
    pub(crate) fn read(path: &Path) -> Self {
        let all = Bytes::from(fs::read(path).expect("the log can be read"));
        let (mut records, mut at) = (Vec::new(), 0);
        while let Some((record, next)) = next(&all, at) {
            records.push(record);
            at = next;
        }
        Self(records)
    }

    /// How many records: the position behind the last one.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What was acknowledged, each with the position at which it was: all that came before it, and nothing that came later.
    pub(crate) fn acknowledgements(&self) -> Vec<(usize, String)> {
        let mut all = Vec::new();
        for (position, record) in self.0.iter().enumerate() {
            match record {
                Record::Acknowledged { line } => all.push((position, line.clone())),
                Record::Unsent { count } => all.truncate(all.len() - count),
                _ => {}
            }
        }
        all
    }

    /// Makes in `directory`, which must be empty or missing, what a power cut at `position` would leave.
    pub(crate) fn power_cut(&self, position: usize, directory: &Path) {
        self.replay(position).write_disk(directory);
    }

    /// The same in a temporary directory.
    pub(crate) fn cut(&self, position: usize) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        self.power_cut(position, directory.path());
        directory
    }

    /// Fails where `directory` is not what the log says was made of it: a program went past the log.
    pub(crate) fn assert_complete(&self, directory: &Path) {
        let differences = self.replay(self.len()).differences(directory);
        assert!(differences.is_empty(), "the log does not tell all:\n{}", differences.join("\n"));
    }

    fn replay(&self, position: usize) -> Model {
        let mut model = Model::default();
        for (at, record) in self.0[..position].iter().enumerate() {
            model.apply(at, record);
        }
        model
    }
}

/// Appends a record.
pub(super) fn write(log: &mut impl Write, kind: &str, [a, b, c]: [u64; 3], octets: &[u8]) {
    let head = format!("{kind} {a} {b} {c} {}\n", octets.len());
    let written = log.write_all(&[head.as_bytes(), octets, b"\n"].concat());
    written.expect("the log can be written");
}

/// The record at `at`, and the place behind it; `None` at the end, complete or not.
fn next(all: &Bytes, at: usize) -> Option<(Record, usize)> {
    let head = &all[at..];
    let head = std::str::from_utf8(&head[..memchr::memchr(b'\n', head)?]).ok();
    let words: Vec<&str> = head.unwrap_or_default().split(' ').collect();
    let number = |place: usize| words[place].parse::<u64>().unwrap_or_else(|e| panic!("octet {at} of the log: {words:?}: {e}"));
    assert_eq!(words.len(), 5, "octet {at} of the log: {words:?}");
    let start = at + words.join(" ").len() + 1;
    let end = start + usize::try_from(number(4)).expect("a length");
    if all.len() <= end {
        return None;
    }
    assert_eq!(all[end], b'\n', "octet {end} of the log: the record {words:?} has another end");
    let record = record(words[0], [number(1), number(2), number(3)], all.slice(start..end));
    Some((record.unwrap_or_else(|| panic!("octet {at} of the log: {words:?}")), end + 1))
}

fn record(kind: &str, [a, b, c]: [u64; 3], octets: Bytes) -> Option<Record> {
    let text = || String::from_utf8(octets.to_vec()).expect("a name in UTF-8");
    let new = |is_directory| {
        let mode = u32::try_from(c).expect("a mode");
        Record::New { parent: a, inode: b, mode, name: text(), is_directory }
    };
    Some(match kind {
        "root" => Record::Root { inode: a },
        "create" => new(false),
        "mkdir" => new(true),
        "write" => Record::Write { inode: a, offset: b, octets },
        "size" => Record::Size { inode: a, length: b },
        "rename" => {
            let (from, to) = text().split_once('/').map(|(from, to)| (from.to_owned(), to.to_owned()))?;
            Record::Rename { from: (a, from), to: (b, to) }
        }
        "link" => Record::Link { parent: a, inode: b, name: text() },
        "remove" => Record::Remove { parent: a, name: text() },
        "sync" => Record::Sync { inode: a, thread: b },
        "synced" => Record::Synced { inode: a, thread: b },
        "unsynced" => Record::Unsynced { inode: a, thread: b },
        "acknowledged" => Record::Acknowledged { line: text().trim_end().to_owned() },
        "unsent" => Record::Unsent { count: usize::try_from(a).expect("a count") },
        _ => return None,
    })
}
