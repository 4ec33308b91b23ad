//! How refresh tokens lie in the database: sealed, each for its own row, so that a file or a backup of it tells nothing without the
//! key, and a row that was put in another's place does not open.
//!
//! The database knows the id of the key that seals and whence it came. Only a database that never had a key gets a new one: where its key
//! is missing, or another lies there, nothing is opened and nothing overwritten.
//!
//! Earlier versions kept tokens in clear text. At the first start they are sealed, and then what SQLite leaves of them is removed: free
//! space in pages, free pages, the write-ahead log.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params, types::Value};
use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};
use zeroize::Zeroize;

use super::Error;
use crate::{
    key::{self, Keys, Origin},
    mail::Name,
    secret::{KeyId, Ring, Sealed, Secret, Unsealed},
};

/// The names in `meta`: the key that seals, whence it comes, and whether clear text may still lie in free space.
const KEY: &str = "key";
const ORIGIN: &str = "key-origin";
const CLEAR_TEXT: &str = "clear-text";

/// The keys of an open store: replaced as a whole, so that each piece of work sees one state of them.
#[derive(Debug)]
pub(super) struct Keyring(RwLock<Keys>);

impl Keyring {
    pub(super) fn new(keys: Keys) -> Arc<Self> {
        Arc::new(Self(RwLock::new(keys)))
    }

    pub(super) fn keys(&self) -> Keys {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn ring(&self) -> Arc<Ring> {
        self.keys().ring
    }

    pub(super) fn replace(&self, ring: Arc<Ring>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).ring = ring;
    }
}

/// The place of a mailbox's refresh token, of the one kept beside it too: they change places.
pub(super) fn binding(mailbox: &str) -> String {
    format!("grants/{mailbox}/refresh-token")
}

/// A token as a row has it.
#[derive(Debug)]
pub(super) struct Kept {
    /// `None`: it lies there in clear text.
    key: Option<String>,
    octets: Vec<u8>,
}

impl Kept {
    /// Seals `token` for `mailbox`.
    pub(super) fn seal(ring: &Ring, mailbox: &str, token: &Secret) -> Self {
        let sealed = ring.seal(&binding(mailbox), token);
        Self { key: Some(sealed.key().to_string()), octets: sealed.octets().to_vec() }
    }

    /// Reads the columns `token` and `token_key`.
    pub(super) fn read(row: &Row<'_>, token: &str) -> rusqlite::Result<Option<Self>> {
        let octets: Option<Vec<u8>> = row.get(token)?;
        let key = row.get(format!("{token}_key").as_str())?;
        Ok(octets.map(|octets| Self { key, octets }))
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The token of `mailbox`.
    pub(super) fn open(&self, ring: &Ring, mailbox: &str) -> Result<Secret, Unsealed> {
        let Some(key) = &self.key else { return Ok(clear(&self.octets)) };
        // What is no id was never written by us; any key says that it does not open.
        let key = KeyId::parse(key).unwrap_or(ring.current());
        ring.open(&binding(mailbox), &Sealed::from_parts(key, self.octets.clone()))
    }

    /// The same under the ring's first key, or itself where that is so already, or where it does not open: then its key stays needed.
    fn anew(self, ring: &Ring, mailbox: &str) -> (Self, Outcome) {
        if self.key.as_deref() == Some(ring.current().to_string().as_str()) {
            return (self, Outcome::Stayed);
        }
        let was_clear = self.key.is_none();
        match self.open(ring, mailbox) {
            Ok(token) => {
                let outcome = if was_clear { Outcome::WasClear } else { Outcome::Resealed };
                (Self::seal(ring, mailbox, &token), outcome)
            }
            Err(why) => {
                tracing::warn!(event = "grant.unreadable", mailbox, "a refresh token does not open: {why}; it is left as it is");
                (self, Outcome::Stayed)
            }
        }
    }
}

fn clear(octets: &[u8]) -> Secret {
    // What was put in was text; a damaged one is refused by the provider, not by us.
    Secret::new(String::from_utf8_lossy(octets).into_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Stayed,
    WasClear,
    Resealed,
}

/// How many tokens changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Lay in clear text.
    pub(super) clear: usize,
    /// Were sealed under another key.
    pub(super) resealed: usize,
}

/// Where keys may lie, and who needs which.
pub(super) struct Place<'a> {
    /// The state directory.
    pub(super) directory: &'a Path,
    /// The directory of credentials.
    pub(super) credentials: Option<&'a Path>,
    /// The keys of the configuration's sealed values.
    pub(super) needed: &'a [KeyId],
}

/// Finds the keys of this database, or makes the first one, and brings every token under the first of them.
pub(super) fn settle(connection: &mut Connection, file: &Path, place: &Place<'_>) -> Result<Keys, Error> {
    let keys = find(connection, file, place)?;
    if keys.shared {
        tracing::warn!(file = %keys.file.display(),
            "the group of the key's file can read every sealed secret; chmod 0600 unless that is meant");
    }
    let fault = |what| move |why| Error::Database { what, file: file.to_owned(), why: Arc::new(why) };
    let changed = seal_all(connection, &keys).map_err(fault("seal the grants"))?;
    if changed.clear > 0 || changed.resealed > 0 {
        tracing::info!(event = "grants.sealed", key = %keys.ring.current(), were_clear = changed.clear, resealed = changed.resealed,
            "refresh tokens were sealed");
    }
    crate::crash::point("sealed");
    wipe(connection).map_err(fault("remove clear text that is left of grants"))?;
    Ok(keys)
}

fn find(connection: &Connection, file: &Path, place: &Place<'_>) -> Result<Keys, Error> {
    let directory = place.directory;
    let fault = |why| Error::Database { what: "read which key seals the grants", file: file.to_owned(), why: Arc::new(why) };
    let recorded = recorded(connection).map_err(fault)?;
    match (key::find(directory, place.credentials)?, recorded) {
        (Some(keys), Some((key, _))) if keys.ring.has(key) => Ok(keys),
        (Some(keys), Some((key, _))) => {
            Err(Error::OtherKey { file: file.to_owned(), key, at: keys.file, found: keys.ring.ids() })
        }
        (None, Some((key, origin))) => {
            let at = key::file_of(directory);
            Err(Error::MissingKey { file: file.to_owned(), key, at, credential: origin == Origin::Credential.word() })
        }
        // A new key here would be in the way of the one that the configuration needs.
        (found, None) => match place.needed.iter().find(|key| found.as_ref().is_none_or(|keys| !keys.ring.has(**key))) {
            Some(key) => Err(Error::NeededKey { key: *key, at: key::file_of(directory) }),
            None => found.map_or_else(|| first(directory), Ok),
        },
    }
}

fn first(directory: &Path) -> Result<Keys, Error> {
    let keys = key::make(directory)?;
    tracing::info!(event = "key.made", key = %keys.ring.current(), file = %keys.file.display(),
        "secrets are sealed under a new key: keep a copy of it apart from backups of the state directory, which are of no use without it");
    crate::crash::point("key-made");
    Ok(keys)
}

/// The key that sealed last, and whence it came.
pub(super) fn recorded(connection: &Connection) -> rusqlite::Result<Option<(KeyId, String)>> {
    let value = |name| connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional();
    let key: Option<String> = value(KEY)?;
    let origin: Option<String> = value(ORIGIN)?;
    // What is no id was never written by us, and names a key that nobody has.
    let key = key.map(|key| KeyId::parse(&key).ok_or(rusqlite::Error::InvalidQuery)).transpose()?;
    Ok(key.map(|key| (key, origin.unwrap_or_default())))
}

/// Brings every token under the first key, and writes down which that is: all or nothing.
fn seal_all(connection: &mut Connection, keys: &Keys) -> rusqlite::Result<Changed> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let changed = reseal(&transaction, &keys.ring)?;
    record(&transaction, keys)?;
    crate::crash::point("sealing");
    transaction.commit()?;
    Ok(changed)
}

/// Writes down which key seals, and whence it comes.
pub(super) fn record(connection: &Connection, keys: &Keys) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value";
    connection.execute(sql, params![KEY, keys.ring.current().to_string()])?;
    connection.execute(sql, params![ORIGIN, keys.origin.word()]).map(drop)
}

/// Seals every token anew that does not lie under the first key. Where one lay in clear text, all rows are written anew, so that no
/// space between them keeps it.
pub(super) fn reseal(connection: &Connection, ring: &Ring) -> rusqlite::Result<Changed> {
    let mut changed = Changed::default();
    let mut rows = Vec::new();
    {
        let mut statement = connection.prepare("SELECT * FROM grants")?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let mailbox: String = row.get("mailbox")?;
            let mut values = (0..names.len()).map(|index| row.get(index)).collect::<rusqlite::Result<Vec<Value>>>()?;
            for token in ["refresh_token", "spare_token"] {
                let Some(kept) = Kept::read(row, token)? else { continue };
                let (kept, outcome) = kept.anew(ring, &mailbox);
                changed.clear += usize::from(outcome == Outcome::WasClear);
                changed.resealed += usize::from(outcome == Outcome::Resealed);
                let key = format!("{token}_key");
                for (name, value) in names.iter().zip(&mut values) {
                    if *name == token {
                        if let Value::Blob(old) = value {
                            old.zeroize();
                        }
                        *value = Value::Blob(kept.octets.clone());
                    } else if *name == key {
                        *value = kept.key.clone().map_or(Value::Null, Value::Text);
                    }
                }
            }
            rows.push(values);
        }
    }
    if changed == Changed::default() {
        return Ok(changed);
    }
    if changed.clear > 0 {
        connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, 1)", [CLEAR_TEXT])?;
    }
    super::grants::overwriting(connection, || {
        connection.execute("DELETE FROM grants", [])?;
        for values in rows {
            let places = vec!["?"; values.len()].join(", ");
            connection
                .prepare_cached(&format!("INSERT INTO grants VALUES ({places})"))?
                .execute(rusqlite::params_from_iter(values))?;
        }
        Ok(())
    })?;
    Ok(changed)
}

/// Forgets what no key of `keys` opens, and writes down that they are the database's from now on; gives the mailboxes without a grant.
pub(super) fn forget(connection: &mut Connection, keys: &Keys) -> rusqlite::Result<Vec<String>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let here = |key: &str| KeyId::parse(key).is_some_and(|key| keys.ring.has(key));
    let gone: Vec<String> = in_use_as_text(&transaction)?.into_iter().filter(|key| !here(key)).collect();
    let mut mailboxes = Vec::new();
    for key in &gone {
        let sql = "DELETE FROM grants WHERE refresh_token_key = ?1 RETURNING mailbox";
        let mut statement = transaction.prepare(sql)?;
        mailboxes.extend(statement.query_map([key], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?);
        transaction.execute("UPDATE grants SET spare_token = NULL, spare_token_key = NULL WHERE spare_token_key = ?1", [key])?;
    }
    record(&transaction, keys)?;
    transaction.commit()?;
    mailboxes.sort();
    Ok(mailboxes)
}

/// Removes what may be left of clear text: free pages leave the file, and the write-ahead log is emptied. Begun again at the next start
/// where it was interrupted.
fn wipe(connection: &Connection) -> rusqlite::Result<()> {
    let found: Option<i64> =
        connection.query_row("SELECT value FROM meta WHERE name = ?1", [CLEAR_TEXT], |row| row.get(0)).optional()?;
    if found.is_none() {
        return Ok(());
    }
    {
        // Each step frees one page, which the file then loses.
        let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
        let mut steps = statement.query([])?;
        while steps.next()?.is_some() {}
    }
    crate::crash::point("wiping");
    empty_log(connection)?;
    connection.execute("DELETE FROM meta WHERE name = ?1", [CLEAR_TEXT]).map(drop)
}

/// Copies the write-ahead log to the database and cuts it to nothing.
pub(super) fn empty_log(connection: &Connection) -> rusqlite::Result<()> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    match busy {
        0 => Ok(()),
        _ => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)),
    }
}

/// The ids of the keys under which tokens lie.
pub(super) fn in_use(connection: &Connection) -> rusqlite::Result<Vec<KeyId>> {
    Ok(in_use_as_text(connection)?.iter().filter_map(|key| KeyId::parse(key)).collect())
}

fn in_use_as_text(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT refresh_token_key FROM grants WHERE refresh_token_key IS NOT NULL
               UNION SELECT spare_token_key FROM grants WHERE spare_token_key IS NOT NULL";
    let mut statement = connection.prepare(sql)?;
    let found = statement.query_map([], |row| row.get(0))?;
    found.collect()
}

/// What is said of a token that does not open.
pub(super) fn unreadable(mailbox: &Name, file: &Path) -> impl FnOnce(Unsealed) -> Error {
    let (what, file) = (format!("refresh token of mailbox {mailbox}"), file.to_owned());
    move |why| Error::Unsealed { what, file, why }
}
