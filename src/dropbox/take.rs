//! Finding messages in the drop directory, which is writable by everybody: nothing in it is believed.
//!
//! A file counts when it is a regular file (opened without following links, and without waiting for a pipe's other end), has one name
//! only, belongs to the directory's group, and is not too large. Its owner, as the kernel says, is who sent it. The group matters: only
//! what is made in the directory has it, so a file of somebody else that was moved there proves nothing.

use super::{Foreign, NEW, Parcel, READY, parcel::LONGEST_ENVELOPE};
use crate::config::MESSAGE_SIZE;
use rustix::fs::{Mode, OFlags, open};
use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, Metadata},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Names looked at in one round, so that a flood cannot keep the daemon busy.
const MOST_NAMES: usize = 10_000;

/// Messages taken in one round.
const MOST_TAKEN: usize = 500;

/// Octets of a file: the listener's largest message, and its envelope.
const LARGEST: u64 = MESSAGE_SIZE + LONGEST_ENVELOPE as u64;

/// How long a file that was never finished stays.
const UNFINISHED: Duration = Duration::from_secs(24 * 3600);

/// How long a refused one stays.
const REFUSED: Duration = Duration::from_secs(14 * 24 * 3600);

/// A message that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) parcel: Parcel,
    /// The file's owner, and the owner's group as far as it is known: none is claimed.
    pub(super) uid: u32,
    /// When it came, or was changed in any way, as the kernel says.
    pub(super) since: SystemTime,
}

/// Why a file is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    /// It went, or cannot be read for now.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A link, pipe, directory, socket or device.
    #[error("it is no regular file")]
    Irregular,
    /// Somebody else's file under another name.
    #[error("it has more than one name")]
    Linked,
    /// It was not made here.
    #[error("it was not made in the drop directory: its group is not the directory's")]
    Elsewhere,
    /// Too large.
    #[error("it is larger than {} MiB", LARGEST >> 20)]
    TooLarge,
    /// Not of our format.
    #[error(transparent)]
    Foreign(#[from] Foreign),
}

impl Wrong {
    /// Whether looking again may end otherwise.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreadable(_))
    }
}

/// What is wrong with the directory itself; `Ok(None)`: there is none.
pub(super) fn check(directory: &Path) -> Result<Option<()>, String> {
    let about = match fs::symlink_metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("it cannot be looked at: {error}")),
        Ok(about) => about,
    };
    let own = rustix::process::geteuid().as_raw();
    if !about.is_dir() {
        Err("it is no directory".to_owned())
    } else if about.uid() != own {
        Err(format!("it belongs to user {}, not to {own}, who runs the daemon", about.uid()))
    } else if about.mode() & 0o7777 != 0o3733 {
        Err(format!("its mode is {:o}, not 3733", about.mode() & 0o7777))
    } else {
        Ok(Some(()))
    }
}

/// The names of messages that are due, oldest first; what nobody finished goes.
pub(super) fn names(directory: &Path, later: &HashMap<String, SystemTime>, now: SystemTime) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)?.take(MOST_NAMES) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with(READY) && later.get(&name).is_none_or(|due| *due <= now) {
            names.push(name);
        } else if name.starts_with(NEW) && is_older(&entry.path(), UNFINISHED, now) {
            let _ = fs::remove_file(entry.path());
        }
    }
    // Ids sort by time.
    names.sort_unstable();
    names.truncate(MOST_TAKEN);
    Ok(names)
}

/// Opens and reads one.
pub(super) fn read(directory: &Path, name: &str) -> Result<Found, Wrong> {
    read_of(directory, name, fs::metadata(directory)?.gid())
}

/// [`read`] in a directory of this group.
fn read_of(directory: &Path, name: &str, group: u32) -> Result<Found, Wrong> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match open(directory.join(name), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // A symbolic link; a socket.
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Err(Wrong::Irregular),
        Err(error) => return Err(Wrong::Unreadable(error.into())),
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(Wrong::Irregular);
    }
    if about.nlink() != 1 {
        return Err(Wrong::Linked);
    }
    if about.gid() != group {
        return Err(Wrong::Elsewhere);
    }
    let mut octets = Vec::new();
    // Its owner may write on while we read.
    file.take(LARGEST + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > LARGEST {
        return Err(Wrong::TooLarge);
    }
    Ok(Found { parcel: Parcel::read(&octets)?, uid: about.uid(), since: changed(&about) })
}

/// Where refused files are kept for an administrator: beside the directory, so that they only change their name.
pub(super) fn refused(directory: &Path) -> PathBuf {
    directory.with_file_name("refused")
}

/// Puts a file there.
pub(super) fn put_aside(directory: &Path, name: &str) -> io::Result<()> {
    let aside = refused(directory);
    match DirBuilder::new().mode(0o700).create(&aside) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::rename(directory.join(name), aside.join(name))
}

/// Removes refused files that were kept long enough.
pub(super) fn forget(directory: &Path, now: SystemTime) {
    let Ok(entries) = fs::read_dir(refused(directory)) else { return };
    for entry in entries.take(MOST_NAMES).flatten() {
        if is_older(&entry.path(), REFUSED, now) {
            // A directory stays: only files are ours.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a file has been where it is for so long: a new name counts as a change.
fn is_older(path: &Path, age: Duration, now: SystemTime) -> bool {
    let Ok(about) = fs::symlink_metadata(path) else { return false };
    now.duration_since(changed(&about)).is_ok_and(|passed| passed > age)
}

/// When a file came to be as it is: its content, its name, its mode.
fn changed(about: &Metadata) -> SystemTime {
    let seconds = Duration::from_secs(about.ctime().try_into().unwrap_or_default());
    SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(about.ctime_nsec().try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_made_elsewhere_and_moved_here_proves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("msg-1"), "outlink-drop 1\nfrom <>\nto <a@b.example>\n\nx\r\n").unwrap();
        let group = fs::metadata(directory.path().join("msg-1")).unwrap().gid();
        let found = read_of(directory.path(), "msg-1", group).unwrap();
        assert_eq!((found.uid, &found.parcel.octets[..]), (rustix::process::geteuid().as_raw(), &b"x\r\n"[..]));
        // Its group shows where it was made.
        assert!(matches!(read_of(directory.path(), "msg-1", group + 1), Err(Wrong::Elsewhere)));
    }

    #[test]
    fn unfinished_and_refused_files_go_when_they_are_old() {
        let spool = tempfile::tempdir().unwrap();
        let drop = spool.path().join("drop");
        fs::create_dir(&drop).unwrap();
        for name in ["new-1", "msg-2", "msg-1", "other"] {
            fs::write(drop.join(name), "x").unwrap();
        }
        put_aside(&drop, "msg-2").unwrap();
        let (now, mut later) = (SystemTime::now(), HashMap::new());
        assert_eq!(names(&drop, &later, now).unwrap(), ["msg-1"]);
        later.insert("msg-1".to_owned(), now + UNFINISHED * 3);
        assert_eq!(names(&drop, &later, now + UNFINISHED * 2).unwrap(), Vec::<String>::new());
        assert!(!drop.join("new-1").exists() && drop.join("other").exists());
        forget(&drop, now + UNFINISHED);
        assert!(refused(&drop).join("msg-2").exists());
        forget(&drop, now + REFUSED * 2);
        assert!(!refused(&drop).join("msg-2").exists());
    }
}
