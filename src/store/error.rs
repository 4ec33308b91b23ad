//! Why the store did not do what was asked.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    key,
    secret::{KeyId, Unsealed},
};

/// What went wrong, on which file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory could not be made or used.
    #[error("cannot use the directory {}: {why}; state-directory must name one that the service's user may write", directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// What went wrong.
        why: io::Error,
    },
    /// A file could not be made or used.
    #[error("cannot open {}: {why}; it must belong to the service's user, on a disk that is neither full nor read-only", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What went wrong.
        why: io::Error,
    },
    /// A backup could not be written.
    #[error(
        "cannot write the backup {}: {why}; it must not exist yet, and the user as whom outlink runs must be able to make it there", directory.display()
    )]
    Backup {
        /// Where to.
        directory: PathBuf,
        /// What went wrong.
        why: io::Error,
    },
    /// Another process uses the directory.
    #[error("the state directory {} is in use by {}; stop it first, or choose another state-directory", directory.display(), holder_text(*holder))]
    InUse {
        /// Which.
        directory: PathBuf,
        /// The process that said so in the lock file.
        holder: Option<u32>,
    },
    /// The database was written by a newer program.
    #[error(
        "{} has schema {found}, this program knows schemas up to {known}; run the newer version of outlink that wrote it, or restore a backup",
        file.display()
    )]
    NewerSchema {
        /// The database.
        file: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest one known.
        known: i64,
    },
    /// SQLite refused.
    #[error("cannot {what} in {}: {why}; {}", file.display(), next_step(why))]
    Database {
        /// What was tried.
        what: &'static str,
        /// The database.
        file: PathBuf,
        /// What SQLite said; one reason for all that shared a transaction.
        why: Arc<rusqlite::Error>,
    },
    /// The database did not answer in time.
    #[error("{} did not {what} within {seconds} seconds; the disk may be overloaded or hang", file.display())]
    Slow {
        /// What was tried.
        what: &'static str,
        /// The database.
        file: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The key cannot be read or written.
    #[error(transparent)]
    Key(#[from] key::Error),
    /// There is no key for what the database holds.
    #[error("{} is sealed under key {key}, and {}", file.display(), missing(at, *credential))]
    MissingKey {
        /// The database.
        file: PathBuf,
        /// Its key.
        key: KeyId,
        /// Where the key file ought to lie.
        at: PathBuf,
        /// Whether the key came from a credential.
        credential: bool,
    },
    /// There are other keys than the database's.
    #[error(
        "{} is sealed under key {key}, but {} holds {}: put the right key back (nothing was changed); if it is lost for good, \
         `outlink key rotate --lost` goes on without the grants", file.display(), at.display(), ids(found)
    )]
    OtherKey {
        /// The database.
        file: PathBuf,
        /// Its key.
        key: KeyId,
        /// Where other keys lie.
        at: PathBuf,
        /// Which.
        found: Vec<KeyId>,
    },
    /// The configuration needs a key that is not there.
    #[error(
        "the configuration has values that are sealed under key {key}, which is not there: put it at {} (or give it as the credential \
         outlink-key), or write the secrets anew; no other key was made", at.display()
    )]
    NeededKey {
        /// Which.
        key: KeyId,
        /// Where the key file ought to lie.
        at: PathBuf,
    },
    /// A database is there, but no key.
    #[error(
        "there is no key at {}, although {} is there: start outlink, which makes the key or has it as a credential, and ask again", at.display(),
        file.display()
    )]
    NoKeyHere {
        /// The database.
        file: PathBuf,
        /// Where the key file ought to lie.
        at: PathBuf,
    },
    /// A key that is there was said to be lost.
    #[error("the key of {} is there, or was never made: nothing is lost and nothing was changed", file.display())]
    NothingLost {
        /// The database.
        file: PathBuf,
    },
    /// The key is the service manager's.
    #[error(
        "the key is the credential {}, which only its administrator can change: put a new `outlink-key1:` line before the others in what \
         LoadCredential= or LoadCredentialEncrypted= names, then restart outlink, which seals everything anew", file.display()
    )]
    KeyIsCredential {
        /// Where it lies.
        file: PathBuf,
    },
    /// A sealed value of the database does not open.
    #[error("cannot read the {what} in {}: {why}", file.display())]
    Unsealed {
        /// What.
        what: String,
        /// The database.
        file: PathBuf,
        /// Why not.
        why: Unsealed,
    },
    /// The thread that owns the database has ended.
    #[error("cannot {what}: {} is closed; restart outlink", file.display())]
    Closed {
        /// What was tried.
        what: &'static str,
        /// The database.
        file: PathBuf,
    },
}

impl Error {
    /// Whether what was asked for may be done all the same, later: when its turn comes, or when a commit whose sync failed comes back as
    /// the database is opened again.
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Slow { .. } => true,
            Self::Database { why, .. } => why.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure),
            _ => false,
        }
    }

    /// Whether the disk is full: then there is no room, rather than something wrong.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Database { why, .. } => why.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::Directory { why, .. } | Self::File { why, .. } | Self::Backup { why, .. } => {
                matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Key(key::Error::Read { why, .. } | key::Error::Write { why, .. }) => {
                matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::InUse { .. }
            | Self::NewerSchema { .. }
            | Self::Slow { .. }
            | Self::Closed { .. }
            | Self::Key(_)
            | Self::MissingKey { .. }
            | Self::OtherKey { .. }
            | Self::NeededKey { .. }
            | Self::NoKeyHere { .. }
            | Self::NothingLost { .. }
            | Self::KeyIsCredential { .. }
            | Self::Unsealed { .. } => false,
        }
    }

    /// Whether the keys are not the ones that were needed: a matter of configuration.
    pub fn is_of_the_key(&self) -> bool {
        matches!(
            self,
            Self::Key(_)
                | Self::MissingKey { .. }
                | Self::OtherKey { .. }
                | Self::NeededKey { .. }
                | Self::NoKeyHere { .. }
                | Self::NothingLost { .. }
                | Self::KeyIsCredential { .. }
        )
    }

    /// Whether this user may not use what was found.
    pub fn is_of_permission(&self) -> bool {
        match self {
            Self::Directory { why, .. } | Self::File { why, .. } => why.kind() == io::ErrorKind::PermissionDenied,
            Self::Key(why) => why.is_of_permission(),
            _ => false,
        }
    }
}

fn missing(at: &std::path::Path, credential: bool) -> String {
    match credential {
        true => "its key is a credential of the service, which is not here: start the daemon (systemctl start outlink) and ask \
                 again; it has the key"
            .to_owned(),
        false => format!(
            "there is no key at {}: put it back from where you keep a copy (nothing was changed); if it is lost for good, \
             `outlink key rotate --lost` goes on without the grants",
            at.display()
        ),
    }
}

fn ids(keys: &[KeyId]) -> String {
    keys.iter().map(KeyId::to_string).collect::<Vec<_>>().join(", ")
}

fn holder_text(holder: Option<u32>) -> String {
    holder.map_or("another process".to_owned(), |holder| format!("process {holder}"))
}

fn next_step(why: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode::*;
    match why.sqlite_error_code() {
        Some(DiskFull) => "free some space on its disk",
        Some(ReadOnly | CannotOpen | PermissionDenied) => "the service's user must be able to write it and its directory",
        Some(NotADatabase | DatabaseCorrupt) => "move it away and restore a backup; nothing was written to it",
        Some(DatabaseBusy | DatabaseLocked) => "another program holds it open; close that",
        Some(SystemIoFailure) => "see the system's log for errors of its disk",
        _ => "this is worth a report",
    }
}
