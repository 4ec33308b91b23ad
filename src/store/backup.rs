//! A copy of all that is kept, made while everything goes on: a state directory in which a daemon can be started.

use rusqlite::{Connection, OpenFlags};
use std::{
    fs::{DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{DATABASE, Error, Store, id_of, sync};
use crate::mail::Id;

impl Store {
    /// Copies database and bodies into `directory`, which is made and must not exist. A message that leaves meanwhile may be in the
    /// copy or not. Gives the number of messages copied with their bodies. Blocks.
    pub fn backup(&self, directory: &Path) -> Result<u64, Error> {
        let source = self.file().to_owned();
        let bodies = source.with_file_name(super::BODIES);
        let fault = |why| Error::Backup { directory: directory.to_owned(), why };
        DirBuilder::new().mode(0o700).create(directory).map_err(fault)?;
        DirBuilder::new().mode(0o700).create(directory.join(super::BODIES)).map_err(fault)?;
        let target = directory.join(DATABASE);
        let database = |what, file: &Path| {
            let file = file.to_owned();
            move |why| Error::Database { what, file, why: Arc::new(why) }
        };
        copy_database(&source, &target).map_err(database("copy the database", &target))?;
        std::fs::set_permissions(&target, Permissions::from_mode(0o600)).map_err(fault)?;
        let messages = copy_bodies(&target, &bodies, &directory.join(super::BODIES)).map_err(|why| match why {
            Why::Database(why) => database("check the copy", &target)(why),
            Why::File(file, why) => fault(io::Error::new(why.kind(), format!("{}: {why}", file.display()))),
        })?;
        std::fs::File::open(&target).and_then(|file| file.sync_all()).map_err(fault)?;
        sync(&directory.join(super::BODIES)).and_then(|()| sync(directory)).map_err(fault)?;
        Ok(messages)
    }
}

enum Why {
    Database(rusqlite::Error),
    File(PathBuf, io::Error),
}

impl From<rusqlite::Error> for Why {
    fn from(why: rusqlite::Error) -> Self {
        Self::Database(why)
    }
}

/// One consistent view of the database, written densely. It holds refresh tokens, so its mode is set before its first octet.
fn copy_database(source: &Path, target: &Path) -> rusqlite::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target);
    made.map_err(|why| {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        rusqlite::Error::SqliteFailure(code, Some(why.to_string()))
    })?;
    let connection = Connection::open_with_flags(source, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.execute("VACUUM INTO ?1", [target.to_string_lossy()]).map(drop)
}

/// Copies the files that the copied rows name. A message whose file is gone left meanwhile, and leaves the copy too.
fn copy_bodies(database: &Path, from: &Path, to: &Path) -> Result<u64, Why> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    let sql = "SELECT number, id FROM messages JOIN bodies ON message = number WHERE octets IS NULL";
    let named: Vec<(i64, Id)> =
        connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, id_of(row.get(1)?))))?.collect::<rusqlite::Result<_>>()?;
    for (number, id) in named {
        let target = to.join(id.to_string());
        match std::fs::copy(from.join(id.to_string()), &target) {
            Ok(_) => {
                let synced = std::fs::File::open(&target).and_then(|file| file.sync_all());
                synced.map_err(|why| Why::File(target, why))?;
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                connection.execute("DELETE FROM messages WHERE number = ?1", [number])?;
            }
            Err(why) => return Err(Why::File(target, why)),
        }
    }
    Ok(connection.query_row("SELECT count(*) FROM bodies", [], |row| row.get::<_, i64>(0))?.cast_unsigned())
}
