//! The connection that reads: beside the one that writes, on threads made for waiting. It sees what is committed.
//!
//! Each reading is short (one page of results), because an open one keeps the write-ahead log from starting anew.

use rusqlite::{Connection, OpenFlags};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Error;

/// Longest wait for an answer: a page of results takes milliseconds, a disk that hangs takes for ever.
const WAIT: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    file: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Open(Connection),
    /// It is opened when it is needed.
    Resting,
    /// The database is closed for a fault of its disk.
    Closed,
}

impl Reader {
    pub(super) fn new(file: PathBuf) -> Arc<Self> {
        Arc::new(Self { file, state: Mutex::new(State::Resting) })
    }

    /// Reads something short.
    pub(super) async fn read<T, W>(self: &Arc<Self>, what: &'static str, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let reader = self.clone();
        let reading = tokio::task::spawn_blocking(move || reader.read_now(what, work));
        match tokio::time::timeout(WAIT, reading).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::Closed { what, file: self.file.clone() }),
            Err(_) => Err(Error::Slow { what, file: self.file.clone(), seconds: WAIT.as_secs() }),
        }
    }

    fn read_now<T>(&self, what: &'static str, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let fault = |why| Error::Database { what, file: self.file.clone(), why: Arc::new(why) };
        let mut state = self.state();
        if let State::Resting = *state {
            *state = State::Open(open(&self.file).map_err(fault)?);
        }
        match &*state {
            // One transaction: all that is read belongs together, though somebody writes between two statements.
            State::Open(connection) => {
                let snapshot = connection.unchecked_transaction().map_err(fault)?;
                work(&snapshot).map_err(fault)
            }
            State::Resting | State::Closed => Err(fault(super::schema::closed())),
        }
    }

    /// Ends the reading under way and closes, until [`Reader::open`].
    pub(super) fn close(&self) {
        *self.state() = State::Closed;
    }

    /// Reads again.
    pub(super) fn open(&self) {
        *self.state() = State::Resting;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(file: &std::path::Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
