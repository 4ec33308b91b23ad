//! The database's schema: numbered migrations, forward only; the number of the last one is kept in `meta`.

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use std::{path::Path, time::Duration};

use super::Error;

/// How long SQLite itself waits for another program (a backup, `sqlite3` in somebody's hands) that holds the database.
const BUSY: Duration = Duration::from_secs(5);

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
];

/// Opens the database and brings its schema up to date.
pub(super) fn open(file: &Path) -> Result<Connection, Error> {
    let fault = |what| move |why| Error::Database { what, file: file.to_owned(), why };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags).map_err(fault("open the database"))?;
    settle(&connection).map_err(fault("set up the database"))?;
    migrate(&mut connection, MIGRATIONS).map_err(|why| match why {
        Fault::Newer { found, known } => Error::NewerSchema { file: file.to_owned(), found, known },
        Fault::Database(why) => fault("migrate the schema")(why),
    })?;
    Ok(connection)
}

/// The connection's settings. `auto_vacuum` takes effect only before the first page is written, so it comes first.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: in WAL mode NORMAL would not sync a commit, and a rotated refresh token could be lost with the power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Replaced tokens are overwritten, not left in free space.
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "trusted_schema", "OFF")
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
        for (name, value) in [("auto_vacuum", "Integer(2)"), ("synchronous", "Integer(2)"), ("secure_delete", "Integer(1)")] {
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
        assert!(text.contains("has schema 99, this program knows schemas up to 1"), "{text}");
    }
}
