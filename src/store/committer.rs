//! The one thread that owns the database. What is asked of it waits in a bounded channel; each wait ends.

use rusqlite::Connection;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

use super::Error;

/// How many may wait for the thread before the next one waits for a place.
const CHANNEL: usize = 256;

/// Longest wait for a place and an answer. A sync on a busy disk takes seconds at worst; SQLite's own waits end before.
const WAIT: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Committer {
    file: PathBuf,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the thread. It keeps `lock` until the connection is closed.
    pub(super) fn start(file: PathBuf, mut connection: Connection, lock: File) -> io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(CHANNEL);
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || {
            while let Some(job) = queue.blocking_recv() {
                job(&mut connection);
            }
            drop(connection);
            drop(lock);
        })?;
        Ok(Self { file, jobs: Some(jobs), thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Runs `work` on the thread. When it returns `Ok`, what `work` committed is synced.
    ///
    /// After [`Error::Slow`] the work may still be done later: callers must be able to ask again.
    pub(super) async fn run<T, W>(&self, what: &'static str, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let closed = || Error::Closed { what, file: self.file.clone() };
        let (done, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody waits any more when the wait ended; the work stands all the same.
            let _ = done.send(work(connection));
        });
        let exchange = async {
            self.jobs.as_ref().ok_or_else(closed)?.send(job).await.map_err(|_| closed())?;
            answer.await.map_err(|_| closed())
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
