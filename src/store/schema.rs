//! The database's schema: numbered migrations, forward only; the number of the last one is kept in `meta`.

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use std::{path::Path, sync::Arc, time::Duration};

use super::Error;

/// How long SQLite itself waits for another program (a backup, `sqlite3` in somebody's hands) that holds the database.
const BUSY: Duration = Duration::from_secs(5);

/// Statements kept ready: more than there are.
const STATEMENTS: usize = 128;

/// Pages in the write-ahead log after which they are copied to the database: 16 MiB. A larger one makes for fewer and longer copies.
const CHECKPOINT: i64 = 4096;

/// Memory for pages of the database.
const CACHE_KIB: i64 = 16 * 1024;

/// One step per schema; the first makes schema 1. A step that was ever released is never changed.
const MIGRATIONS: &[&str] = &[
    // A token column holds the clear text where its key column is NULL, else what the key of that name sealed.
    "CREATE TABLE grants (
        mailbox TEXT PRIMARY KEY,
        consent INTEGER NOT NULL,       -- another number: another grant
        generation INTEGER NOT NULL,    -- grows with each change of refresh_token, never falls
        refresh_token BLOB NOT NULL,
        refresh_token_key TEXT,
        spare_token BLOB,               -- the one before it, or one that came late
        spare_token_key TEXT,
        origin TEXT NOT NULL,
        scopes TEXT,                    -- as granted, divided by spaces
        obtained_at INTEGER NOT NULL,   -- times are milliseconds since 1970
        last_renewed_at INTEGER
    ) STRICT, WITHOUT ROWID;",
    // Times called "on the mailbox's clock" stand still while the mailbox or its link is held (`clocks`).
    "CREATE TABLE messages (
        number INTEGER PRIMARY KEY,     -- the order of acceptance
        id BLOB NOT NULL UNIQUE,        -- 16 octets
        app TEXT NOT NULL,
        mailbox TEXT NOT NULL,
        client TEXT NOT NULL,
        sender TEXT,                    -- NULL is the null sender
        author TEXT NOT NULL,           -- whom a provider may deny: the address in From, else the sender
        parameters TEXT NOT NULL,       -- BODY, SMTPUTF8, RET, ENVID as MAIL has them
        bounce_of BLOB,                 -- set in a bounce: the id of the message that it speaks of
        size INTEGER NOT NULL,          -- octets of the body
        message_id TEXT NOT NULL,
        subject TEXT,
        accepted_at INTEGER NOT NULL,
        state INTEGER NOT NULL,         -- 0 waiting, 1 held, 2 delivered, 3 failed
        hold TEXT,                      -- why it is held: operator, sender, app, mailbox
        held_since INTEGER,             -- on the mailbox's clock
        attempts INTEGER NOT NULL DEFAULT 0,
        due_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,    -- on the mailbox's clock
        warn_at INTEGER,                -- likewise; NULL: no warning, or it was given
        claim INTEGER,                  -- who works on it
        claimed_until INTEGER,
        settled_at INTEGER,             -- when it was delivered or failed
        reason TEXT                     -- why it still waits, or failed
    ) STRICT;
    CREATE INDEX messages_due ON messages (mailbox, app, due_at) WHERE state = 0 AND claim IS NULL;
    CREATE INDEX messages_held ON messages (mailbox, author) WHERE state = 1;
    CREATE INDEX messages_claimed ON messages (claim) WHERE claim IS NOT NULL;
    CREATE INDEX messages_settled ON messages (state, settled_at) WHERE settled_at IS NOT NULL;
    CREATE TABLE recipients (
        message INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
        position INTEGER NOT NULL,
        address TEXT NOT NULL,
        notify TEXT,
        orcpt TEXT,
        state INTEGER NOT NULL,         -- 0 waiting, 1 delivered, 2 refused, 3 expired
        code INTEGER,
        reply TEXT,                     -- the last one, with server and step
        advice TEXT,
        changed_at INTEGER,
        PRIMARY KEY (message, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE bodies (
        message INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
        octets BLOB                     -- NULL: in the file that has the message's id as its name
    ) STRICT;
    CREATE TABLE attempts (
        message INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
        at INTEGER NOT NULL,
        event TEXT NOT NULL,            -- what happened: delivered, deferred, refused, held, moved …
        detail TEXT NOT NULL,           -- in words
        ms INTEGER                      -- how long it took
    ) STRICT;
    CREATE INDEX attempts_of ON attempts (message, at);
    CREATE TABLE holds (
        scope TEXT NOT NULL,            -- mailbox, link, sender, paused
        name TEXT NOT NULL,             -- of the mailbox or link
        author TEXT NOT NULL,           -- of the sender's hold, else empty
        kind TEXT NOT NULL,             -- what is wrong, in one word
        probe TEXT NOT NULL,            -- what can end it, in one word
        reason TEXT NOT NULL,
        advice TEXT,
        since INTEGER NOT NULL,
        tries INTEGER NOT NULL,
        next_at INTEGER NOT NULL,
        PRIMARY KEY (scope, name, author)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE clocks (
        mailbox TEXT PRIMARY KEY,
        stood INTEGER NOT NULL,         -- how long it has stood still, until `since` where it stands
        since INTEGER                   -- it stands still since then
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE counters (
        mailbox TEXT NOT NULL,
        start INTEGER NOT NULL,         -- of the minute
        messages INTEGER NOT NULL,
        recipients INTEGER NOT NULL,
        PRIMARY KEY (mailbox, start)
    ) STRICT, WITHOUT ROWID;",
    "ALTER TABLE grants ADD COLUMN account TEXT;             -- who signed in, where it was told
    ALTER TABLE grants ADD COLUMN brought_by TEXT;          -- the user of this machine who ran the command
    ALTER TABLE grants ADD COLUMN refresh_until INTEGER;    -- when the refresh token ends, where it was told
    ALTER TABLE grants ADD COLUMN renewing_since INTEGER;   -- a renewal asks the provider now
    ALTER TABLE grants ADD COLUMN renewing_until INTEGER;   -- and is given up then
    ALTER TABLE grants ADD COLUMN interrupted_at INTEGER;   -- when a renewal began whose answer nobody kept
    INSERT INTO meta (name, value) VALUES ('clear-text', 1) -- schemas 1 and 2 had tokens in clear text, see `sealing`",
    "ALTER TABLE grants ADD COLUMN client TEXT;              -- to whose client it was given; NULL: not known",
    "ALTER TABLE grants ADD COLUMN refresh_moves INTEGER;    -- whether a renewal moved its end: 1, 0; NULL: not known
    ALTER TABLE grants ADD COLUMN lasted INTEGER;           -- how long the consent before it lasted, where that tells something
    ALTER TABLE holds ADD COLUMN advice_name TEXT;
    CREATE TABLE standings (
        subject TEXT NOT NULL,          -- mailbox, link
        name TEXT NOT NULL,
        state TEXT NOT NULL,            -- as it was told last
        reason TEXT,
        advice TEXT,
        advice_name TEXT,
        since INTEGER NOT NULL,
        until INTEGER,                  -- when what it needs ends
        warned INTEGER,                 -- at how many days before that it was warned of last
        PRIMARY KEY (subject, name)
    ) STRICT, WITHOUT ROWID;",
    "CREATE TABLE apps (
        name TEXT PRIMARY KEY,
        at INTEGER NOT NULL,            -- of its last message that was taken
        client TEXT NOT NULL,
        listener TEXT NOT NULL,
        encrypted INTEGER NOT NULL      -- 1: the connection was
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE app_counters (
        app TEXT NOT NULL,
        start INTEGER NOT NULL,         -- of the minute
        messages INTEGER NOT NULL,
        PRIMARY KEY (app, start)
    ) STRICT, WITHOUT ROWID;",
    "ALTER TABLE messages ADD COLUMN stays INTEGER NOT NULL DEFAULT 0; -- 1: no other mailbox may take it over
    ALTER TABLE apps ADD COLUMN proof TEXT;                 -- how it proved itself, in one word; NULL: not known
    CREATE TABLE app_changes (
        app TEXT NOT NULL,
        change TEXT NOT NULL,           -- what was changed in its messages, in one word
        messages INTEGER NOT NULL,      -- in so many
        PRIMARY KEY (app, change)
    ) STRICT, WITHOUT ROWID;",
];

/// Opens the database and brings its schema up to date.
pub(super) fn open(file: &Path) -> Result<Connection, Error> {
    let fault = |what| move |why| Error::Database { what, file: file.to_owned(), why: Arc::new(why) };
    let mut connection = connect(file).map_err(fault("open the database"))?;
    migrate(&mut connection, MIGRATIONS).map_err(|why| match why {
        Fault::Newer { found, known } => Error::NewerSchema { file: file.to_owned(), found, known },
        Fault::Database(why) => fault("migrate the schema")(why),
    })?;
    Ok(connection)
}

/// Opens the database again after a fault of its disk, and checks it.
///
/// What the write-ahead log holds may be in the system's memory alone, for good: a sync that failed is not done by the next one. So all
/// of it is written once more, to the database, and the log begins anew. A transaction that failed with the sync may come back to
/// life by this; its message was answered `451`, and is then sent twice rather than not at all.
pub(super) fn reopen(file: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(file)?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None));
    }
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match said.as_str() {
        "ok" => Ok(connection),
        _ => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(said))),
    }
}

/// What is said of a database that is closed for a fault of its disk.
pub(super) fn closed() -> rusqlite::Error {
    let why = "the database is closed since its disk failed, and will be opened again by itself".to_owned();
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR), Some(why))
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    settle(&connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The connection's settings. `auto_vacuum` takes effect only before the first page is written, so it comes first.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: in WAL mode NORMAL would not sync a commit, and a rotated refresh token could be lost with the power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Replaced tokens are overwritten, see `grants`; a body that leaves is not written once more for that.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "trusted_schema", "OFF")
}

/// Makes a database as an earlier version did, up to `schema`.
#[cfg(test)]
pub(super) fn open_at(file: &Path, schema: usize) -> rusqlite::Result<Connection> {
    let mut connection = connect(file)?;
    match migrate(&mut connection, &MIGRATIONS[..schema]) {
        Ok(()) => Ok(connection),
        Err(Fault::Database(why)) => Err(why),
        Err(Fault::Newer { .. }) => Err(rusqlite::Error::InvalidQuery),
    }
}

#[derive(Debug)]
enum Fault {
    Newer { found: i64, known: i64 },
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(why: rusqlite::Error) -> Self {
        Self::Database(why)
    }
}

/// Applies the missing steps, all or none.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction
        .execute_batch("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;")?;
    let found: Option<i64> =
        transaction.query_row("SELECT value FROM meta WHERE name = 'schema'", [], |row| row.get(0)).optional()?;
    let (found, known) = (found.unwrap_or(0), migrations.len() as i64);
    if found > known {
        return Err(Fault::Newer { found, known });
    }
    for step in migrations.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    if found < known {
        transaction.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('schema', ?1)", [known])?;
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pragma(connection: &Connection, name: &str) -> String {
        connection
            .pragma_query_value(None, name, |row| row.get_ref(0).map(|value| format!("{value:?}")))
            .unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn the_database_is_durable_and_can_shrink() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("outlink.db");
        std::fs::write(&file, "").unwrap();
        drop(open(&file).unwrap());
        let connection = open(&file).unwrap();
        for (name, value) in [("auto_vacuum", "Integer(2)"), ("synchronous", "Integer(2)"), ("secure_delete", "Integer(2)")] {
            assert_eq!(pragma(&connection, name), value, "{name}");
        }
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn steps_are_applied_once_and_a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y"];
        migrate(&mut connection, &steps[..1]).unwrap();
        migrate(&mut connection, &steps).unwrap();
        migrate(&mut connection, &steps).unwrap();
        connection.execute("INSERT INTO a (x, y) VALUES (1, 2)", []).unwrap();
        assert!(matches!(migrate(&mut connection, &steps[..1]), Err(Fault::Newer { found: 2, known: 1 })));
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(migrate(&mut connection, &["CREATE TABLE a (x)", "nonsense"]).is_err());
        migrate(&mut connection, &["CREATE TABLE a (x)"]).unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused_with_a_clear_sentence() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("outlink.db");
        std::fs::write(&file, "").unwrap();
        open(&file).unwrap().execute("UPDATE meta SET value = 99 WHERE name = 'schema'", []).unwrap();
        let text = open(&file).unwrap_err().to_string();
        assert!(text.contains("has schema 99, this program knows schemas up to 7"), "{text}");
    }

    #[tokio::test]
    async fn a_database_of_schema_1_keeps_its_grants() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("outlink.db");
        std::fs::write(&file, "").unwrap();
        let mut connection = connect(&file).unwrap();
        migrate(&mut connection, &MIGRATIONS[..1]).unwrap();
        let sql = "INSERT INTO grants (mailbox, consent, generation, refresh_token, origin, scopes, obtained_at)
                   VALUES ('alerts', 7, 3, CAST('r1' AS BLOB), 'import', 'a b', 1000)";
        connection.execute(sql, []).unwrap();
        drop(connection);
        let store = crate::store::Store::open(directory.path()).unwrap();
        let grant = store.grant(&crate::mail::Name::parse("alerts").unwrap()).await.unwrap().unwrap();
        assert_eq!((grant.refresh_token.expose(), grant.version.consent, grant.version.generation), ("r1", 7, 3));
        assert_eq!(store.count().await.unwrap(), []);
    }
}
