//! Where the keys of sealed secrets lie: the systemd credential `outlink-key`, else the file `key` in the state directory.
//!
//! Between the layers 2 and 3: the store seals under them, the configuration opens with them. A key file is written so that at any
//! moment the old one or the new one is there, whole; it belongs to whom the directory belongs, whoever writes it.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

use crate::{
    secret::{InvalidRing, Key, Ring},
    whole::{self, Like, Unfinished},
};

/// The key file's name in the state directory.
const FILE: &str = "key";
/// The credential's name.
const CREDENTIAL: &str = "outlink-key";
/// Where systemd says that a unit's credentials are.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Octets of a key file: 64 keys have 4 KB.
const LONGEST: u64 = 64 * 1024;

/// Whence keys come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The file in the state directory.
    File,
    /// The service manager's credential.
    Credential,
}

impl Origin {
    /// The word that the database keeps.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Credential => "credential",
        }
    }
}

/// The keys that were found.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The keys.
    pub ring: Arc<Ring>,
    /// Whence.
    pub origin: Origin,
    /// The file.
    pub file: PathBuf,
    /// Whether the file's group can read it.
    pub shared: bool,
}

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read the key {}: {why}; it must belong to the service's user, with mode 0600", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// What went wrong.
        why: io::Error,
    },
    /// A file holds no keys.
    #[error("cannot use the key {}: {why}; put the file back as outlink wrote it, from where you keep a copy", file.display())]
    Invalid {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        why: InvalidRing,
    },
    /// Everybody can read a file.
    #[error(
        "the key {} is open to every user of this machine (mode {mode:04o}): chmod 0600 it, and change the key if somebody may have \
         read it (outlink key rotate)", file.display()
    )]
    Open {
        /// Which.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file cannot be written.
    #[error("cannot write the key {}: {why}; the service's user must be able to write its directory", file.display())]
    Write {
        /// Which.
        file: PathBuf,
        /// What went wrong.
        why: io::Error,
    },
    /// No key can be made.
    #[error("cannot make a key: the system gives no random bytes")]
    Random,
    /// There are too many keys already.
    #[error("cannot add a key to {}: it holds as many as one file may; drop the old ones (outlink key rotate --drop-old)", file.display())]
    Full {
        /// Which file.
        file: PathBuf,
    },
}

impl Error {
    /// Whether this user may not do it.
    pub fn is_of_permission(&self) -> bool {
        match self {
            Self::Read { why, .. } | Self::Write { why, .. } => why.kind() == io::ErrorKind::PermissionDenied,
            Self::Invalid { .. } | Self::Open { .. } | Self::Random | Self::Full { .. } => false,
        }
    }
}

/// Where the service manager put this process's credentials.
pub fn credentials() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS).map(PathBuf::from)
}

/// Where the key file of a state directory lies.
pub fn file_of(state_directory: &Path) -> PathBuf {
    state_directory.join(FILE)
}

/// The keys for a state directory: those of the credential where there is one, else those of the file; `None` where there is neither.
pub fn find(state_directory: &Path, credentials: Option<&Path>) -> Result<Option<Keys>, Error> {
    if let Some(file) = credentials.map(|directory| directory.join(CREDENTIAL))
        && let Some(keys) = read(&file, Origin::Credential)?
    {
        return Ok(Some(keys));
    }
    read(&file_of(state_directory), Origin::File)
}

fn read(file: &Path, origin: Origin) -> Result<Option<Keys>, Error> {
    let fault = |why| Error::Read { file: file.to_owned(), why };
    let kind = match fs::metadata(file) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(fault)?,
    };
    // Anything but a regular file could keep us waiting.
    if !kind.is_file() {
        return Err(fault(io::Error::other("it is not a regular file")));
    }
    let mode = kind.permissions().mode() & 0o777;
    // Who sees a credential is the service manager's business.
    if origin == Origin::File && mode & 0o007 != 0 {
        return Err(Error::Open { file: file.to_owned(), mode });
    }
    // With room for all of it: a text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(kind.len().min(LONGEST)).unwrap_or(0) + 1));
    File::open(file).map_err(fault)?.take(LONGEST).read_to_string(&mut text).map_err(fault)?;
    let ring = Ring::parse(&text).map_err(|why| Error::Invalid { file: file.to_owned(), why })?;
    let shared = origin == Origin::File && mode & 0o070 != 0;
    Ok(Some(Keys { ring: Arc::new(ring), origin, file: file.to_owned(), shared }))
}

/// Makes the first key of a state directory. Where somebody else made one meanwhile, that is it.
pub fn make(state_directory: &Path) -> Result<Keys, Error> {
    let file = file_of(state_directory);
    let fault = |why| Error::Write { file: file.clone(), why };
    let ring = Ring::new(fresh()?);
    match unfinished(state_directory, &ring).and_then(Unfinished::place) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => whole::sync(state_directory).map_err(fault)?,
        made => made.map_err(fault)?,
    }
    let gone = || Error::Read { file: file.clone(), why: io::ErrorKind::NotFound.into() };
    read(&file, Origin::File)?.ok_or_else(gone)
}

/// Puts `ring` in the place of a state directory's key file; durable when it returns. The caller is alone with the directory.
pub fn replace(state_directory: &Path, ring: &Ring) -> Result<(), Error> {
    let file = file_of(state_directory);
    let write = || {
        clear(state_directory)?;
        let unfinished = unfinished(state_directory, ring)?;
        crate::crash::point("key-written");
        unfinished.replace()?;
        crate::crash::point("key-renamed");
        Ok(())
    };
    write().map_err(|why| Error::Write { file: file.clone(), why })
}

/// A key of fresh randomness.
pub fn fresh() -> Result<Key, Error> {
    let mut octets = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(octets.as_mut()).map_err(|_| Error::Random)?;
    Ok(Key::new(octets))
}

/// A whole and synced key file under another name. It belongs to whom the directory belongs.
fn unfinished(state_directory: &Path, ring: &Ring) -> io::Result<Unfinished> {
    let directory = fs::metadata(state_directory)?;
    let given = whole::is_root();
    let like = Like { owner: given.then_some(directory.uid()), group: given.then_some(directory.gid()), mode: 0o600 };
    Unfinished::write(&file_of(state_directory), ring.text().as_bytes(), like)
}

/// Removes what an ended process did not finish.
fn clear(state_directory: &Path) -> io::Result<()> {
    let hidden = whole::hidden(Path::new(FILE));
    for entry in fs::read_dir(state_directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(hidden.as_encoded_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    fn mode(file: &Path) -> u32 {
        file.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        assert!(find(directory.path(), None).unwrap().is_none());
        let made = make(directory.path()).unwrap();
        assert_eq!((mode(&made.file), made.origin, made.shared), (0o600, Origin::File, false));
        assert_eq!(make(directory.path()).unwrap().ring, made.ring, "the one that is there is not overwritten");
        assert_eq!(find(directory.path(), None).unwrap().unwrap().ring, made.ring);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing unfinished stays");
    }

    #[test]
    fn a_replaced_key_file_is_whole_and_clears_what_was_unfinished() {
        let directory = tempfile::tempdir().unwrap();
        let made = make(directory.path()).unwrap();
        fs::write(directory.path().join(".key-left"), "x").unwrap();
        let ring = made.ring.with_first(fresh().unwrap()).unwrap();
        replace(directory.path(), &ring).unwrap();
        assert_eq!(*find(directory.path(), None).unwrap().unwrap().ring, ring);
        assert_eq!((mode(&made.file), fs::read_dir(directory.path()).unwrap().count()), (0o600, 1));
    }

    #[test]
    fn a_credential_wins_over_the_file() {
        let (state, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let made = make(state.path()).unwrap();
        assert_eq!(find(state.path(), Some(credentials.path())).unwrap().unwrap().origin, Origin::File);
        fs::write(credentials.path().join("outlink-key"), Ring::new(fresh().unwrap()).text().as_bytes()).unwrap();
        let found = find(state.path(), Some(credentials.path())).unwrap().unwrap();
        assert!(found.origin == Origin::Credential && found.ring != made.ring);
    }

    #[test]
    fn what_everybody_reads_is_refused_and_what_the_group_reads_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = make(directory.path()).unwrap().file;
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        assert!(find(directory.path(), None).unwrap().unwrap().shared);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let text = find(directory.path(), None).unwrap_err().to_string();
        assert!(text.contains("mode 0644") && text.contains("chmod 0600"), "{text}");
    }

    #[test]
    fn what_is_no_key_file_is_named_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_of(directory.path());
        fs::write(&file, "MARKED").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let text = find(directory.path(), None).unwrap_err().to_string();
        assert!(text.contains("/key: line 1 does not begin") && !text.contains("MARKED"), "{text}");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let text = find(directory.path(), None).unwrap_err().to_string();
        assert!(text.contains("not a regular file"), "{text}");
    }
}
