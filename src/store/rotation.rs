//! Another key for the store: written beside the old ones first, then every row is sealed anew, then the old ones may be dropped.
//!
//! At each moment the key file opens all that is there. A process that ends between two steps leaves rows under an older key; the next
//! start seals them anew.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};

use super::{Error, Store, schema, sealing};
use crate::{
    key::{self, Origin},
    secret::{KeyId, Ring},
};

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The key that seals from now on.
    pub key: KeyId,
    /// Refresh tokens that were sealed anew, those kept beside others too.
    pub resealed: usize,
}

/// What was given up with a lost key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The id of the key that seals from now on.
    pub key: String,
    /// The mailboxes whose grants nobody can open any more.
    pub mailboxes: Vec<String>,
}

impl Store {
    /// Goes on without a key that is lost for good: what it sealed is forgotten, all else stays. Refused where the key is there. Blocks.
    pub fn replace_lost_key(directory: &Path) -> Result<Forgotten, Error> {
        let _lock = super::lock::take(directory)?;
        let file = directory.join(super::DATABASE);
        let mut connection = schema::open(&file)?;
        let found = key::find(directory, key::credentials().as_deref())?;
        let fault = |why| Error::Database { what: "forget what a lost key sealed", file: file.clone(), why: Arc::new(why) };
        match (sealing::recorded(&connection).map_err(fault)?, &found) {
            (None, _) => return Err(Error::NothingLost { file }),
            (Some((key, _)), Some(keys)) if keys.ring.has(key) => return Err(Error::NothingLost { file }),
            // That it is not seen here does not make it lost.
            (Some((key, origin)), None) if origin == Origin::Credential.word() => {
                return Err(Error::MissingKey { file, key, at: key::file_of(directory), credential: true });
            }
            (Some(_), _) => {}
        }
        let keys = found.map_or_else(|| key::make(directory), Ok)?;
        let mailboxes = sealing::forget(&mut connection, &keys).map_err(fault)?;
        tracing::warn!(event = "key.lost", key = %keys.ring.current(), mailboxes = ?mailboxes, "grants were forgotten with a lost key");
        Ok(Forgotten { key: keys.ring.current().to_string(), mailboxes })
    }

    /// The keys of a directory that no daemon uses now, for a command that seals something: read without opening the store, so that root need
    /// not become its owner. Where nothing was ever kept, the first key is made. Blocks.
    pub fn ring_at(directory: &Path) -> Result<Arc<Ring>, Error> {
        if let Some(keys) = key::find(directory, key::credentials().as_deref())? {
            return Ok(keys.ring);
        }
        let file = directory.join(super::DATABASE);
        if file.exists() {
            return Err(Error::NoKeyHere { file, at: key::file_of(directory) });
        }
        super::create(directory).map_err(|why| Error::Directory { directory: directory.to_owned(), why })?;
        Ok(key::make(directory)?.ring)
    }

    /// The keys that seal and open.
    pub fn ring(&self) -> Arc<Ring> {
        self.0.keyring.ring()
    }

    /// Makes a new key and seals everything in the store under it. The old keys still open.
    pub async fn rotate_key(&self) -> Result<Rotated, Error> {
        let _alone = self.0.rotation.lock().await;
        self.owning_the_key()?;
        let directory = self.directory();
        let full = || key::Error::Full { file: key::file_of(&directory) };
        let ring = Arc::new(self.ring().with_first(key::fresh()?).ok_or_else(full)?);
        self.write(&ring).await?;
        self.0.keyring.replace(ring.clone());
        crate::crash::point("key-in-use");
        let keyring = self.0.keyring.clone();
        let work = move |connection: &Connection| {
            let keys = keyring.keys();
            sealing::record(connection, &keys)?;
            sealing::reseal(connection, &keys.ring)
        };
        let changed = self.0.committer.run("seal the grants anew", work).await?;
        crate::crash::point("resealed");
        tracing::info!(event = "key.rotated", key = %ring.current(), resealed = changed.resealed, "secrets are sealed under a new key");
        Ok(Rotated { key: ring.current(), resealed: changed.resealed + changed.clear })
    }

    /// Drops the keys that neither the store nor anything of `elsewhere` needs; gives their ids.
    pub async fn drop_keys(&self, elsewhere: &[KeyId]) -> Result<Vec<KeyId>, Error> {
        let _alone = self.0.rotation.lock().await;
        self.owning_the_key()?;
        // Nothing is sealed under another key than the first, so that what is in use now can only become less.
        let used = self.0.committer.run("see which keys are in use", sealing::in_use).await?;
        let ring = self.ring();
        let kept = Arc::new(ring.keeping(|key| used.contains(&key) || elsewhere.contains(&key)));
        let dropped: Vec<KeyId> = ring.ids().into_iter().filter(|key| !kept.has(*key)).collect();
        if !dropped.is_empty() {
            self.write(&kept).await?;
            self.0.keyring.replace(kept);
            tracing::info!(event = "key.dropped", keys = ?dropped, "keys were dropped that nothing needs");
        }
        Ok(dropped)
    }

    /// A credential is not ours to change.
    fn owning_the_key(&self) -> Result<(), Error> {
        let keys = self.0.keyring.keys();
        match keys.origin {
            Origin::File => Ok(()),
            Origin::Credential => Err(Error::KeyIsCredential { file: keys.file }),
        }
    }

    async fn write(&self, ring: &Arc<Ring>) -> Result<(), Error> {
        let (directory, ring) = (self.directory(), ring.clone());
        let written = tokio::task::spawn_blocking(move || key::replace(&directory, &ring)).await;
        Ok(written.map_err(|_| Error::Closed { what: "write the key", file: self.file().to_owned() })??)
    }

    fn directory(&self) -> std::path::PathBuf {
        self.file().parent().map(Path::to_owned).unwrap_or_default()
    }
}
