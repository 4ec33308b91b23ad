//! What is kept: the one database and the message bodies beside it, in the state directory.
//!
//! Layer 3. All SQL and every body file live here. One process at a time uses a directory: `outlink.lock` sees to it. One thread
//! writes; what others want of it reaches it through a bounded channel, so that nobody's task waits in SQLite and many share a sync.
//!
//! Nothing here assumes that it is alone: messages are worked on under a claim that ends, and settled by compare-and-swap.

mod accept;
mod apps;
mod backup;
mod body;
mod claims;
mod committer;
mod counters;
mod error;
mod granted;
mod grants;
mod holds;
mod listing;
mod lock;
mod message;
mod moves;
mod operate;
mod reader;
mod renewals;
mod rotation;
mod schema;
mod sealing;
mod settle;
mod states;
#[cfg(test)]
pub(crate) mod tests;
mod upkeep;

pub use accept::Stored;
pub use apps::{AppChange, AppCount, AppUsage, Proof, Seen};
pub use body::{Body, BodyFile, BodyReader, Kept, LARGEST_IN_MEMORY, Receiving, Spool};
pub use claims::{Due, Wanted};
pub use counters::Count as MinuteCount;
pub use error::Error;
pub use granted::Granted;
pub use grants::{Grant, NewGrant, Replaced, Touch, Version};
pub use holds::{Hold, MailboxClock, Scope};
pub use listing::{Count, Filter, Line, Page, Standing};
pub use lock::Starting;
pub use message::{Claim, Event, HeldBy, Message, NewMessage, Number, RecipientState, Report, State};
pub use moves::{Movable, Move};
pub use operate::{Done, Released, Verb};
pub use renewals::Began;
pub use rotation::{Forgotten, Rotated};
pub use settle::{Next, Settled, Settlement};
pub use states::{Told, ToldOf};
pub use upkeep::Before;

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{mail::Id, secret::KeyId};
use body::Bodies;
use committer::Committer;
use reader::Reader;
use sealing::{Keyring, Place};
use upkeep::Totals;

/// The database's name in the state directory.
const DATABASE: &str = "outlink.db";

/// The directory of kept bodies in the state directory.
const BODIES: &str = "bodies";

/// The open state directory. Clones share it; the last one closes it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    committer: Committer,
    reader: Arc<Reader>,
    spool: Spool,
    bodies: Bodies,
    totals: Totals,
    keyring: Arc<Keyring>,
    /// One rotation of the key at a time.
    rotation: tokio::sync::Mutex<()>,
}

impl Store {
    /// Opens the state directory, made (mode 0700) when missing. Blocks: up to five seconds for another process that is just
    /// about to leave it, and for the migration of an older schema. The keys are those of the unit's credential or of the directory.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        Self::open_with_keys(directory, &[])
    }

    /// The same for a configuration that needs these keys: where they are not, no other key is made or taken up.
    pub fn open_with_keys(directory: &Path, needed: &[KeyId]) -> Result<Self, Error> {
        Self::open_at(directory, &Place { directory, credentials: crate::key::credentials().as_deref(), needed })
    }

    /// The same with the directory of credentials as an argument.
    #[cfg(test)]
    fn open_with(directory: &Path, credentials: Option<&Path>) -> Result<Self, Error> {
        Self::open_at(directory, &Place { directory, credentials, needed: &[] })
    }

    fn open_at(directory: &Path, place: &Place<'_>) -> Result<Self, Error> {
        create(directory).map_err(|why| Error::Directory { directory: directory.to_owned(), why })?;
        // The lock comes first: whoever holds the directory may be using the spool that the next line but one clears.
        let lock = lock::take(directory)?;
        let file = directory.join(DATABASE);
        prepare(&file).map_err(|why| Error::File { file: file.clone(), why })?;
        let mut connection = schema::open(&file)?;
        let keys = sealing::settle(&mut connection, &file, place)?;
        let opened = |why| Error::Database { what: "read the queue", file: file.clone(), why: Arc::new(why) };
        let totals = Totals::count(&connection).map_err(opened)?;
        // Without this a power cut could leave synced pages in a file that no directory names.
        sync(directory).map_err(|why| Error::Directory { directory: directory.to_owned(), why })?;
        let spool = directory.join("spool");
        let spool = Spool::open(spool.clone()).map_err(|why| Error::Directory { directory: spool, why })?;
        let bodies = directory.join(BODIES);
        let bodies = Bodies::open(bodies.clone()).map_err(|why| Error::Directory { directory: bodies, why })?;
        sync(directory).map_err(|why| Error::Directory { directory: directory.to_owned(), why })?;
        let removed = upkeep::remove_unnamed(&connection, &bodies).map_err(opened)?;
        let interrupted = free_claims(&connection).map_err(opened)?;
        renewals::interrupt(&connection).map_err(opened)?;
        if removed > 0 || interrupted > 0 {
            tracing::info!(interrupted, files = removed, directory = %directory.display(),
                "an earlier process ended amid its work: messages on their way then are tried again and may arrive twice, \
                 bodies that were never acknowledged were removed");
        }
        let reader = Reader::new(file.clone());
        let committer = Committer::start(file.clone(), connection, reader.clone(), lock);
        let committer = committer.map_err(|why| Error::File { file: file.clone(), why })?;
        let (keyring, rotation) = (Keyring::new(keys), tokio::sync::Mutex::new(()));
        Ok(Self(Arc::new(Inner { committer, reader, spool, bodies, totals, keyring, rotation })))
    }

    /// Makes a body durable, so that a row may speak of it.
    pub async fn keep(&self, body: Body, id: Id) -> Result<Kept, Error> {
        self.0.bodies.keep(body, id).await.map_err(|why| Error::File { file: self.file().with_file_name(BODIES), why })
    }

    /// Where bodies arrive.
    pub fn spool(&self) -> Spool {
        self.0.spool.clone()
    }

    /// The database's file, for messages.
    pub fn file(&self) -> &Path {
        self.0.committer.file()
    }
}

/// Makes the directory, and makes its name durable.
fn create(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    sync(directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Makes the database's file before SQLite does, whose mode would depend on the umask; its WAL takes the mode over.
fn prepare(file: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file)?;
    // A restored backup may be wider.
    for kept in [file.to_owned(), beside(file, "-wal"), beside(file, "-shm")] {
        if kept.exists() && kept.metadata()?.permissions().mode() & 0o077 != 0 {
            std::fs::set_permissions(&kept, Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whoever holds the directory is alone with it: claims of an ended process are nobody's. It may have sent what it had claimed, so no
/// other mailbox takes that.
fn free_claims(connection: &rusqlite::Connection) -> rusqlite::Result<usize> {
    connection.execute("UPDATE messages SET claim = NULL, claimed_until = NULL, stays = 1 WHERE claim IS NOT NULL", [])
}

fn id_octets(id: Id) -> [u8; 16] {
    id.to_u128().to_be_bytes()
}

fn id_of(octets: [u8; 16]) -> Id {
    Id::from_u128(u128::from_be_bytes(octets))
}

fn optional_id(octets: Option<[u8; 16]>) -> Option<Id> {
    octets.map(id_of)
}

/// Times are kept in milliseconds since 1970.
fn millis(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn time(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
