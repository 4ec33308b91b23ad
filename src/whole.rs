//! How a file comes to its place: whole or not at all, and durable.
//!
//! It is written and synced under a hidden name beside its place, takes that place in one step, and then the directory is synced.
//! The steps are apart because whoever writes secrets has something to do, or to test, between them.

use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Whose a file is, and who may read it.
#[derive(Debug, Clone, Copy)]
pub struct Like {
    /// The user's number; `None` leaves it to the system.
    pub owner: Option<u32>,
    /// The group's number; `None` leaves it to the system.
    pub group: Option<u32>,
    /// The mode.
    pub mode: u32,
}

/// A whole and synced file under a hidden name; removed when dropped.
#[derive(Debug)]
pub struct Unfinished {
    file: NamedTempFile,
    place: PathBuf,
}

/// How the hidden names of files for `place` begin. No `*.toml` ends up among them, so that none is read as configuration.
pub fn hidden(place: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push("-");
    name
}

/// Whether this process is root: only root can give files away.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes what happened in a directory durable.
pub fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl Unfinished {
    /// Writes `octets` beside `place`.
    pub fn write(place: &Path, octets: &[u8], like: Like) -> io::Result<Self> {
        let mut file = tempfile::Builder::new()
            .prefix(&hidden(place))
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(directory_of(place))?;
        let own = file.as_file().metadata()?;
        let owner = like.owner.filter(|owner| *owner != own.uid());
        let group = like.group.filter(|group| *group != own.gid());
        if owner.is_some() || group.is_some() {
            fchown(file.as_file(), owner, group)?;
        }
        // The number of another owner goes before the mode: it takes bits away.
        file.as_file().set_permissions(Permissions::from_mode(like.mode & 0o777))?;
        file.write_all(octets)?;
        file.as_file().sync_all()?;
        Ok(Self { file, place: place.to_owned() })
    }

    /// Takes the place of whatever is there; durable when it returns.
    pub fn replace(self) -> io::Result<()> {
        // After this there is nothing left under the hidden name that could be removed.
        fs::rename(self.file.path(), &self.place)?;
        sync(directory_of(&self.place))
    }

    /// Takes the place where nothing is there, else [`io::ErrorKind::AlreadyExists`]; durable when it returns. Unlike a renaming,
    /// this never takes the place of what somebody else put there meanwhile.
    pub fn place(self) -> io::Result<()> {
        fs::hard_link(self.file.path(), &self.place)?;
        drop(self.file);
        sync(directory_of(&self.place))
    }
}

fn directory_of(place: &Path) -> &Path {
    place.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: Like = Like { owner: None, group: None, mode: 0o640 };

    #[test]
    fn a_file_comes_to_its_place_whole_with_its_mode_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("x.toml");
        let unfinished = Unfinished::write(&place, b"one", MINE).unwrap();
        let hidden = unfinished.file.path().file_name().unwrap().to_string_lossy().into_owned();
        assert!(!place.exists() && hidden.starts_with(".x.toml-") && !hidden.ends_with(".toml"), "{hidden}");
        unfinished.place().unwrap();
        assert_eq!((fs::read(&place).unwrap(), fs::metadata(&place).unwrap().mode() & 0o777), (b"one".to_vec(), 0o640));

        let second = Unfinished::write(&place, b"two", MINE).unwrap().place().unwrap_err();
        assert_eq!((second.kind(), fs::read(&place).unwrap()), (io::ErrorKind::AlreadyExists, b"one".to_vec()));
        Unfinished::write(&place, b"three", MINE).unwrap().replace().unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"three");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
