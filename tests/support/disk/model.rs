//! What a disk guarantees, and not more: each file and each directory is as its last sync found it.
//!
//! - What was written, cut or extended after the last sync of a file is lost; a file never synced is empty.
//! - A name made, moved or removed counts only after a sync of its directory. Each directory by itself: a rename from one to another
//!   of which only the new one was synced leaves both names, of which only the old one was synced leaves none.
//! - A sync covers what was done before it began, and only once it has returned.
//! - What a failed sync should have covered is lost, even when a later sync succeeds, as on Linux, which takes pages that could not
//!   be written for clean. Only writing it again helps.
//!
//! Real disks often keep more, and in any order; here nothing more is kept.

use super::{is_left_out, log::Record};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// A file or directory: its place in [`Model::nodes`]. Unlike an inode's number it is never used again.
type Identity = usize;

#[derive(Default)]
pub(super) struct Model {
    nodes: Vec<Node>,
    /// Whose an inode's number is now.
    numbers: HashMap<u64, Identity>,
    /// Syncs under way: what, by which thread, and where they began.
    syncs: HashMap<(Identity, u64), usize>,
}

struct Node {
    mode: u32,
    /// As programs see it.
    now: Content,
    /// As a power cut leaves it.
    disk: Content,
    /// What is not on the disk yet, with its position.
    pending: Vec<(usize, Change)>,
}

#[derive(Clone)]
enum Content {
    File(Vec<u8>),
    Directory(BTreeMap<String, Identity>),
}

#[derive(Clone)]
enum Change {
    Write(u64, Bytes),
    Size(u64),
    Name(String, Option<Identity>),
}

impl Content {
    fn apply(&mut self, change: &Change) {
        match (self, change) {
            (Self::File(octets), Change::Write(offset, written)) => {
                let start = usize::try_from(*offset).expect("an offset");
                let end = start + written.len();
                octets.resize(octets.len().max(end), 0);
                octets[start..end].copy_from_slice(written);
            }
            (Self::File(octets), Change::Size(length)) => octets.resize(usize::try_from(*length).expect("a length"), 0),
            (Self::Directory(names), Change::Name(name, Some(node))) => {
                names.insert(name.clone(), *node);
            }
            (Self::Directory(names), Change::Name(name, None)) => {
                names.remove(name);
            }
            (Self::File(_), Change::Name(name, _)) => panic!("the log has the name {name} in a file"),
            (Self::Directory(_), _) => panic!("the log has octets in a directory"),
        }
    }
}

impl Model {
    /// Carries out the record at `position`.
    pub(super) fn apply(&mut self, position: usize, record: &Record) {
        match record {
            Record::Root { inode } => self.add(*inode, 0o700, true),
            Record::New { parent, inode, mode, name, is_directory } => {
                self.add(*inode, *mode, *is_directory);
                let own = self.numbers[inode];
                self.change(position, *parent, Change::Name(name.clone(), Some(own)));
            }
            Record::Write { inode, offset, octets } => self.change(position, *inode, Change::Write(*offset, octets.clone())),
            Record::Size { inode, length } => self.change(position, *inode, Change::Size(*length)),
            Record::Link { parent, inode, name } => {
                let own = self.identity(*inode);
                self.change(position, *parent, Change::Name(name.clone(), Some(own)));
            }
            Record::Remove { parent, name } => self.change(position, *parent, Change::Name(name.clone(), None)),
            Record::Rename { from, to } => self.rename(position, from, to),
            Record::Sync { inode, thread } => {
                self.syncs.insert((self.identity(*inode), *thread), position);
            }
            Record::Synced { inode, thread } => {
                let (node, covered) = self.covered(*inode, *thread);
                covered.iter().for_each(|change| self.nodes[node].disk.apply(change));
            }
            Record::Unsynced { inode, thread } => {
                self.covered(*inode, *thread);
            }
            Record::Acknowledged { .. } | Record::Unsent { .. } => {}
        }
    }

    fn add(&mut self, inode: u64, mode: u32, is_directory: bool) {
        let empty = if is_directory { Content::Directory(BTreeMap::new()) } else { Content::File(Vec::new()) };
        self.numbers.insert(inode, self.nodes.len());
        self.nodes.push(Node { mode, now: empty.clone(), disk: empty, pending: Vec::new() });
    }

    fn identity(&self, inode: u64) -> Identity {
        *self.numbers.get(&inode).unwrap_or_else(|| panic!("the log does not say where inode {inode} comes from"))
    }

    fn change(&mut self, position: usize, inode: u64, change: Change) {
        let node = self.identity(inode);
        self.nodes[node].now.apply(&change);
        self.nodes[node].pending.push((position, change));
    }

    fn named(&self, (parent, name): &(u64, String)) -> Option<Identity> {
        match &self.nodes[self.identity(*parent)].now {
            Content::Directory(names) => names.get(name).copied(),
            Content::File(_) => None,
        }
    }

    fn rename(&mut self, position: usize, from: &(u64, String), to: &(u64, String)) {
        let node = self.named(from).unwrap_or_else(|| panic!("the log does not say where {from:?} comes from"));
        // Two names of one file: rename(2) does nothing.
        if self.named(to) != Some(node) {
            self.change(position, from.0, Change::Name(from.1.clone(), None));
            self.change(position, to.0, Change::Name(to.1.clone(), Some(node)));
        }
    }

    /// Ends a sync: what it covers is pending no more.
    fn covered(&mut self, inode: u64, thread: u64) -> (Identity, Vec<Change>) {
        let node = self.identity(inode);
        let began = self.syncs.remove(&(node, thread)).expect("a sync that ends has begun");
        let pending = &mut self.nodes[node].pending;
        let end = pending.partition_point(|(position, _)| *position < began);
        (node, pending.drain(..end).map(|(_, change)| change).collect())
    }

    /// Makes in `directory` what is on the disk.
    pub(super) fn write_disk(&self, directory: &Path) {
        assert!(!self.nodes.is_empty(), "the log has no root");
        self.write_node(0, directory);
    }

    fn write_node(&self, node: Identity, path: &Path) {
        let node = &self.nodes[node];
        match &node.disk {
            Content::File(octets) => fs::write(path, octets).expect("a file can be written"),
            Content::Directory(names) => {
                fs::create_dir_all(path).expect("a directory can be made");
                for (name, node) in names {
                    self.write_node(*node, &path.join(name));
                }
            }
        }
        fs::set_permissions(path, fs::Permissions::from_mode(node.mode)).expect("permissions can be set");
    }

    /// Where `directory` differs from what programs see according to the log.
    pub(super) fn differences(&self, directory: &Path) -> Vec<String> {
        let mut differences = Vec::new();
        self.compare(0, directory, &mut differences);
        differences
    }

    fn compare(&self, node: Identity, path: &Path, differences: &mut Vec<String>) {
        match &self.nodes[node].now {
            Content::File(octets) => match fs::read(path) {
                Ok(real) if real == *octets => {}
                Ok(real) => differences.push(format!(
                    "{}: other content, {} octets, in the log {}",
                    path.display(),
                    real.len(),
                    octets.len()
                )),
                Err(why) => differences.push(format!("{}: {why}", path.display())),
            },
            Content::Directory(names) => {
                for (name, node) in names {
                    self.compare(*node, &path.join(name), differences);
                }
                for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let is_ours = entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_file()) && !is_left_out(&name);
                    if is_ours && !names.contains_key(&name) {
                        differences.push(format!("{}: not in the log", path.join(name).display()));
                    }
                }
            }
        }
    }
}
