//! A file of a `conf.d`: checked, written, taken back. It gets its directory's owner, group and mode, so that the service can read
//! what root wrote.

use super::WriteError;
use crate::{
    config::{Fault, Settings, load_instead},
    whole::{self, Like, Unfinished, sync},
};
use rustix::fs::{Access, access};
use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

/// A file of a `conf.d`, and what it held when it was found.
#[derive(Debug)]
pub struct Place {
    pub(super) main: PathBuf,
    pub(super) file: PathBuf,
    pub(super) old: Option<String>,
}

impl Place {
    /// Its path.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether a command wrote it before.
    pub fn exists(&self) -> bool {
        self.old.is_some()
    }

    /// The whole configuration as it would be with `text` in this file; without one, with no such file.
    pub fn check(&self, text: Option<&str>) -> Result<(Settings, Vec<Fault>), Vec<Fault>> {
        load_instead(&self.main, &self.file, text)
    }

    /// Writes `text`; without one removes the file. Durable when it returns.
    pub fn write(&self, text: Option<&str>) -> Result<(), WriteError> {
        let step = "run this as root or as the service's user; nothing was changed";
        let fault = |why| WriteError::File { file: self.file.clone(), why, step };
        match (text, self.file.parent()) {
            (_, None) => Err(fault(io::ErrorKind::InvalidInput.into())),
            (Some(text), Some(directory)) => put(directory, &self.file, text, self.exists()).map_err(fault),
            (None, Some(directory)) => fs::remove_file(&self.file).and_then(|()| sync(directory)).map_err(fault),
        }
    }

    /// Takes back what [`Place::write`] did.
    pub fn take_back(&self) -> Result<(), WriteError> {
        let step = "what stands there now was refused: mend it by hand";
        let fault = |why| WriteError::File { file: self.file.clone(), why, step };
        let directory = self.file.parent().unwrap_or(Path::new("/"));
        match &self.old {
            Some(old) => put(directory, &self.file, old, true).map_err(fault),
            None => fs::remove_file(&self.file).and_then(|()| sync(directory)).map_err(fault),
        }
    }
}

/// Whether files can be made in `directory`, or it itself where it is missing.
pub(super) fn writable(directory: &Path) -> io::Result<()> {
    let existing = if directory.is_dir() { directory } else { directory.parent().unwrap_or(directory) };
    Ok(access(existing, Access::WRITE_OK | Access::EXEC_OK)?)
}

fn put(directory: &Path, file: &Path, text: &str, replaces: bool) -> io::Result<()> {
    create(directory)?;
    let of = fs::metadata(directory)?;
    // Whoever reads the directory reads the file; nobody but its group may change it.
    let like = Like { owner: whole::is_root().then_some(of.uid()), group: Some(of.gid()), mode: 0o600 | of.mode() & 0o064 };
    let unfinished = Unfinished::write(file, text.as_bytes(), like)?;
    if replaces { unfinished.replace() } else { unfinished.place() }
}

/// Makes the directory like the one above it.
fn create(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory.parent().unwrap_or(Path::new("/"));
    let like = fs::metadata(above)?;
    DirBuilder::new().mode(0o700).create(directory)?;
    let own = fs::metadata(directory)?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        chown(directory, Some(like.uid()).filter(|_| own.uid() == 0), Some(like.gid()))?;
    }
    fs::set_permissions(directory, Permissions::from_mode(like.mode() & 0o777))?;
    sync(above)
}
