//! Finding messages in the drop directory, which is writable by everybody: nothing in it is believed.
//!
//! A file counts when it is a regular file (opened without following links, and without waiting for a pipe's other end), has one name
//! only, belongs to the directory's group, and is not too large. Its owner, as the kernel says, is who sent it. The group matters: only
//! what is made in the directory has it, so a file of somebody else that was moved there proves nothing.

use super::{Foreign, Parcel, parcel::LONGEST_ENVELOPE};
use crate::config::MESSAGE_SIZE;
use rustix::fs::{Mode, OFlags, open};
use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Refused files looked at in one round.
const MOST_NAMES: usize = 10_000;

/// Octets of a file: the listener's largest message, and its envelope.
const LARGEST: u64 = MESSAGE_SIZE + LONGEST_ENVELOPE as u64;

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
    /// Its owner keeps it from us.
    #[error("its mode does not let the service read it, `outlink sendmail` leaves files of mode 640")]
    Closed,
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
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => return Err(Wrong::Closed),
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

/// What became of a file that is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Aside {
    /// It is kept there, and why in a file beside it.
    Kept,
    /// It was an empty directory.
    Removed,
}

/// Puts a file there. A directory would stay for ever: only an empty one can be removed, and another one is its owner's.
pub(super) fn put_aside(directory: &Path, name: &str, why: &str) -> io::Result<Aside> {
    let (from, aside) = (directory.join(name), refused(directory));
    if fs::symlink_metadata(&from)?.is_dir() {
        return fs::remove_dir(from).map(|()| Aside::Removed);
    }
    match DirBuilder::new().mode(0o700).create(&aside) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::rename(from, aside.join(name))?;
    // Whoever left the message may have left a link of this name before: nothing is written through it. The log says why, too.
    let beside = aside.join(format!("{name}.why"));
    let _ = fs::remove_file(&beside);
    let _ =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut file| writeln!(file, "{why}"));
    Ok(Aside::Kept)
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
pub(super) fn changed(about: &Metadata) -> SystemTime {
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
    fn refused_files_say_why_and_go_when_they_are_old() {
        let spool = tempfile::tempdir().unwrap();
        let drop = spool.path().join("drop");
        fs::create_dir(&drop).unwrap();
        fs::write(drop.join("msg-2"), "x").unwrap();
        // A link that waits for what is written beside a refused message.
        let outside = spool.path().join("outside");
        std::os::unix::fs::symlink(&outside, drop.join("msg-2.why")).unwrap();
        assert_eq!(put_aside(&drop, "msg-2.why", "link").unwrap(), Aside::Kept);
        assert_eq!(put_aside(&drop, "msg-2", "because").unwrap(), Aside::Kept);
        let (now, kept) = (SystemTime::now(), refused(&drop));
        assert_eq!(fs::read_to_string(kept.join("msg-2.why")).unwrap(), "because\n");
        assert!(!outside.exists());
        forget(&drop, now + REFUSED / 2);
        assert!(kept.join("msg-2").exists());
        forget(&drop, now + REFUSED * 2);
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_goes_only_when_it_is_empty() {
        let spool = tempfile::tempdir().unwrap();
        let drop = spool.path().join("drop");
        fs::create_dir_all(drop.join("msg-full/x")).unwrap();
        fs::create_dir(drop.join("msg-empty")).unwrap();
        assert_eq!(put_aside(&drop, "msg-empty", "x").unwrap(), Aside::Removed);
        assert!(put_aside(&drop, "msg-full", "x").is_err());
        assert!(drop.join("msg-full/x").exists() && !refused(&drop).exists());
    }
}
