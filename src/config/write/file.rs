//! A file of a `conf.d`: checked, written, taken back. It gets its directory's owner, group and mode, so that the service can read
//! what root wrote.

use super::WriteError;
use crate::{
    config::{Fault, Settings, load_instead},
    whole::{self, Like, Unfinished, sync},
};
use rustix::fs::{Access, access};
use std::{
    fs::{self, DirBuilder, File, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a change waits for that of another command, which waits for the daemon.
const WAIT: Duration = Duration::from_secs(10);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// While it lives no other command changes the configuration: what was checked is what is written beside the rest.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "it holds a lock")] File);

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

    /// What it held when it was found.
    pub fn text(&self) -> Option<&str> {
        self.old.as_deref()
    }

    /// Whether a command wrote it before.
    pub fn exists(&self) -> bool {
        self.old.is_some()
    }

    /// Keeps other commands from changes; refused where the file is not what it was when it was found.
    pub fn alone(&self) -> Result<Alone, WriteError> {
        self.alone_within(WAIT)
    }

    fn alone_within(&self, wait: Duration) -> Result<Alone, WriteError> {
        let fault = |why| WriteError::File { file: self.main.clone(), why, step: "nothing was changed" };
        let (main, end) = (File::open(&self.main).map_err(fault)?, Instant::now() + wait);
        loop {
            match main.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(LOOK),
                Err(TryLockError::WouldBlock) => return Err(WriteError::Busy(self.main.clone())),
                Err(TryLockError::Error(why)) => return Err(fault(why)),
            }
        }
        let now = match fs::read_to_string(&self.file) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.map_err(|why| WriteError::File { file: self.file.clone(), why, step: "nothing was changed" })?),
        };
        if now == self.old { Ok(Alone(main)) } else { Err(WriteError::Changed(self.file.clone())) }
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

#[cfg(test)]
mod tests {
    use super::{
        super::{Definitions, Kind},
        *,
    };
    use crate::mail::Name;

    #[test]
    fn one_command_changes_the_configuration_at_a_time_and_none_undoes_what_it_did_not_see() {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("outlink.toml");
        fs::write(&main, format!("state-directory = {:?}\n", directory.path().join("state"))).unwrap();
        fs::create_dir(directory.path().join("conf.d")).unwrap();
        let place = || Definitions::read(&main).unwrap().place(Kind::Link, &Name::parse("a").unwrap()).unwrap();
        let text = |id: &str| format!("# Written by outlink\n[link.a]\nclient-id = \"{id}\"\n");
        let (one, other) = (place(), place());
        let alone = one.alone().unwrap();
        assert!(matches!(other.alone_within(Duration::ZERO), Err(WriteError::Busy(_))));
        one.write(Some(&text("1"))).unwrap();
        drop(alone);
        assert!(matches!(other.alone(), Err(WriteError::Changed(_))), "it was not there before");
        // Two that replace what stands there.
        let (one, other) = (place(), place());
        one.alone().and_then(|_alone| one.write(Some(&text("2")))).unwrap();
        assert!(matches!(other.alone(), Err(WriteError::Changed(_))));
        // One that removes what another just wrote anew.
        let gone = place();
        one.write(Some(&text("3"))).unwrap();
        assert!(matches!(gone.alone(), Err(WriteError::Changed(_))));
        assert!(place().alone().is_ok());
    }
}
