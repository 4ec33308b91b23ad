//! The one thread that writes. What is asked of it waits in a bounded channel; all that waits goes into one transaction and
//! shares its one sync (group commit). Each wait ends.
//!
//! Who asked hears only after the commit, so an `Ok` is a proof of durability. A commit or a read that failed at the disk closes
//! the database: a sync that failed once says nothing when it succeeds the second time (the kernel drops the pages that it could
//! not write), so nothing is taken until everything was closed, opened and checked again.

use rusqlite::Connection;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

use super::{Error, reader::Reader, schema};

/// How many may wait for the thread before the next one waits for a place.
const CHANNEL: usize = 512;

/// How many share a commit at most: beyond that the first would wait for the last.
const BATCH: usize = 256;

/// Longest wait for a place and an answer. A sync on a busy disk takes seconds at worst; SQLite's own waits end before.
const WAIT: Duration = Duration::from_secs(20);

/// How often a database that was closed for a fault of its disk is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// One reason for all that it concerns.
type Why = Arc<rusqlite::Error>;

/// Those that stand or fall with a transaction, in the order of asking.
type Batch = Vec<Box<dyn Job>>;

/// What is asked of the thread.
trait Job: Send {
    /// Whether nobody waits any more for what may then be left undone.
    fn is_abandoned(&self) -> bool;

    /// Works within the transaction; gives SQLite's reason when it failed. It may be asked again after a rollback.
    fn work(&mut self, connection: &Connection) -> Result<(), Why>;

    /// Tells who asked; an error speaks of the whole transaction.
    fn tell(self: Box<Self>, committed: Result<(), Why>);
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Committer {
    file: PathBuf,
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the thread. It keeps `lock` until the connection is closed.
    pub(super) fn start(file: PathBuf, connection: Connection, reader: Arc<Reader>, lock: File) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(CHANNEL);
        let mut thread = Thread { file: file.clone(), connection: Some(connection), reader, tried: None };
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || {
            thread.run(queue);
            drop(thread);
            drop(lock);
        })?;
        Ok(Self { file, jobs: Some(jobs), thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Runs `work` in the next transaction. When it returns `Ok`, what `work` wrote is synced.
    ///
    /// After [`Error::Slow`] the work may still be done later: callers must be able to ask again.
    pub(super) async fn run<T, W>(&self, what: &'static str, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run_then(what, work, |_| ()).await
    }

    /// As [`Committer::run`]; `then` is done as soon as `work` is committed, whether or not anybody still waits.
    pub(super) async fn run_then<T, W, A>(&self, what: &'static str, work: W, then: A) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        self.ask(what, false, work, then).await
    }

    /// As [`Committer::run_then`], for work that is left undone when nobody waits for it any more as its turn comes.
    pub(super) async fn run_while_awaited<T, W, A>(&self, what: &'static str, work: W, then: A) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        self.ask(what, true, work, then).await
    }

    async fn ask<T, W, A>(&self, what: &'static str, may_abandon: bool, work: W, then: A) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        let closed = || Error::Closed { what, file: self.file.clone() };
        let (tell, told) = oneshot::channel();
        let job = Box::new(Asked { work, done: None, then, tell, may_abandon });
        let exchange = async {
            self.jobs.as_ref().ok_or_else(closed)?.send(job).await.map_err(|_| closed())?;
            told.await.map_err(|_| closed())
        };
        tokio::time::timeout(WAIT, exchange)
            .await
            .map_err(|_| Error::Slow { what, file: self.file.clone(), seconds: WAIT.as_secs() })??
            .map_err(|why| Error::Database { what, file: self.file.clone(), why })
    }
}

impl Drop for Committer {
    /// Waits for what is under way, so that a closed store is closed: the next one may open at once.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic of the thread was printed by itself, and nothing is left to be done about it here.
            let _ = thread.join();
        }
    }
}

/// One piece of work with the one who waits for it.
struct Asked<T, W, A> {
    work: W,
    done: Option<T>,
    then: A,
    tell: oneshot::Sender<Result<T, Why>>,
    may_abandon: bool,
}

impl<T, W, A> Job for Asked<T, W, A>
where
    T: Send,
    W: FnMut(&Connection) -> rusqlite::Result<T> + Send,
    A: FnOnce(&T) + Send,
{
    fn is_abandoned(&self) -> bool {
        self.may_abandon && self.tell.is_closed()
    }

    fn work(&mut self, connection: &Connection) -> Result<(), Why> {
        self.done = None;
        self.done = Some((self.work)(connection).map_err(Arc::new)?);
        Ok(())
    }

    fn tell(self: Box<Self>, committed: Result<(), Why>) {
        let result = match (committed, self.done) {
            (Err(why), _) => Err(why),
            (Ok(()), Some(value)) => {
                (self.then)(&value);
                Ok(value)
            }
            (Ok(()), None) => return,
        };
        // Nobody waits any more when the wait ended; the work stands all the same.
        let _ = self.tell.send(result);
    }
}

/// What the thread owns.
struct Thread {
    file: PathBuf,
    /// `None` after a fault of the disk.
    connection: Option<Connection>,
    reader: Arc<Reader>,
    /// When it was last tried in vain to open it again.
    tried: Option<Instant>,
}

impl Thread {
    fn run(&mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            batch.retain(|job| !job.is_abandoned());
            match self.commit(batch) {
                Ok(()) => {}
                Err(why) if is_of_the_disk(&why) => self.close(&why),
                Err(_) => {}
            }
        }
    }

    /// Does all of `batch` in one transaction. The error is that of the transaction, told to everyone already.
    fn commit(&mut self, batch: Batch) -> Result<(), Why> {
        if let Err(why) = self.reopen() {
            batch.into_iter().for_each(|job| job.tell(Err(why.clone())));
            return Ok(());
        }
        let Some(connection) = &self.connection else { return Ok(()) };
        match transact(connection, batch) {
            (committed, Ok(())) => {
                committed.into_iter().for_each(|job| job.tell(Ok(())));
                Ok(())
            }
            (undone, Err(why)) => {
                // Where SQLite has not rolled back by itself.
                let _ = connection.execute_batch("ROLLBACK");
                undone.into_iter().for_each(|job| job.tell(Err(why.clone())));
                Err(why)
            }
        }
    }

    /// Closes the database and the reader's view of it: what the disk said of it is not to be trusted.
    fn close(&mut self, why: &rusqlite::Error) {
        tracing::error!(file = %self.file.display(), error = %why,
            "the database is closed: its disk failed. No message is accepted until it was opened and checked again, which is tried \
             by itself; see the system's log for errors of the disk");
        self.reader.close();
        self.connection = None;
        self.tried = None;
    }

    fn reopen(&mut self) -> Result<(), Why> {
        if self.connection.is_some() {
            return Ok(());
        }
        if self.tried.is_some_and(|tried| tried.elapsed() < REOPEN) {
            return Err(Arc::new(schema::closed()));
        }
        self.tried = Some(Instant::now());
        let connection = schema::reopen(&self.file).map_err(Arc::new)?;
        self.connection = Some(connection);
        self.reader.open();
        tracing::info!(file = %self.file.display(), "the database was opened again and is sound: messages are accepted");
        Ok(())
    }
}

/// Runs the jobs and commits. Gives those that stand or fall with the commit.
///
/// At first without a way back for each: a savepoint makes SQLite copy every page that changes after it. Jobs hardly ever fail; when one
/// does, all is undone and done again with savepoints.
fn transact(connection: &Connection, mut batch: Batch) -> (Batch, Result<(), Why>) {
    if let Err(why) = execute(connection, "BEGIN IMMEDIATE") {
        return (batch, Err(why));
    }
    match batch.iter_mut().try_for_each(|job| job.work(connection)) {
        Ok(()) => {
            let committed = execute(connection, "COMMIT");
            (batch, committed)
        }
        Err(why) if is_of_the_disk(&why) => (batch, Err(why)),
        Err(_) => {
            // SQLite may have rolled back by itself.
            let undone = if connection.is_autocommit() { Ok(()) } else { execute(connection, "ROLLBACK") };
            match undone {
                Ok(()) => transact_each(connection, batch),
                Err(why) => (batch, Err(why)),
            }
        }
    }
}

/// As [`transact`], but a job that fails is undone and told alone, unless its failure ended the transaction for all.
fn transact_each(connection: &Connection, batch: Batch) -> (Batch, Result<(), Why>) {
    let mut open = Vec::with_capacity(batch.len());
    let mut batch = batch.into_iter();
    if let Err(why) = execute(connection, "BEGIN IMMEDIATE") {
        return (batch.collect(), Err(why));
    }
    while let Some(mut job) = batch.next() {
        let worked = execute(connection, "SAVEPOINT job").and_then(|()| job.work(connection));
        match worked {
            Ok(()) => open.push(job),
            Err(why) if connection.is_autocommit() || is_of_the_disk(&why) => {
                open.push(job);
                open.extend(batch);
                return (open, Err(why));
            }
            Err(why) => {
                let undone = execute(connection, "ROLLBACK TO job");
                job.tell(Err(why));
                if let Err(why) = undone {
                    open.extend(batch);
                    return (open, Err(why));
                }
            }
        }
        if let Err(why) = execute(connection, "RELEASE job") {
            open.extend(batch);
            return (open, Err(why));
        }
    }
    let committed = execute(connection, "COMMIT");
    (open, committed)
}

fn execute(connection: &Connection, sql: &str) -> Result<(), Why> {
    let mut statement = connection.prepare_cached(sql).map_err(Arc::new)?;
    statement.execute([]).map(drop).map_err(Arc::new)
}

/// Whether the database cannot be trusted before it was opened anew. A full disk, a lock or a read-only directory is no such thing:
/// nothing was written then.
fn is_of_the_disk(why: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::*;
    matches!(why.sqlite_error_code(), Some(SystemIoFailure | DatabaseCorrupt | NotADatabase))
}
