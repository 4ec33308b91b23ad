//! The connections of one mailbox: how many at once, and which of them rest.
//!
//! Resting ones hold no permit, and still the limit holds for all together: whoever has a permit takes a resting one if
//! there is one,
//! and a session comes back before its permit does.

use super::{limits, session::Session};
use crate::config::Mailbox;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use tokio::{sync::Semaphore, time::Instant};

/// The connections of one mailbox.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) limit: u32,
    /// The server offered BDAT and did not know it.
    pub(super) data_only: AtomicBool,
    resting: Mutex<Resting>,
}

#[derive(Debug, Default)]
struct Resting {
    /// The most recently used last: it is taken first, so that the others grow old and leave.
    sessions: Vec<Session>,
    /// Sessions of an older generation do not come back.
    generation: u64,
    closed: bool,
}

impl Pool {
    /// An empty pool; `before` is the one of the mailbox's former configuration, whose connections in use still count.
    pub(super) fn new(mailbox: Arc<Mailbox>, before: Option<&Self>) -> Self {
        let limit = match mailbox.limits.connections {
            0 => limits::CONNECTIONS,
            limit => limit,
        };
        let permits = match before.filter(|pool| pool.limit == limit) {
            Some(pool) => pool.permits.clone(),
            None => Arc::new(Semaphore::new(limit as usize)),
        };
        Self { mailbox, permits, limit, data_only: AtomicBool::new(false), resting: Mutex::default() }
    }

    /// A warm session, and the generation in which whatever is used now belongs.
    pub(super) fn take(&self) -> (Option<Session>, u64) {
        let mut resting = self.lock();
        let now = Instant::now();
        while let Some(mut session) = resting.sessions.pop() {
            if session.is_usable(now) {
                return (Some(session), resting.generation);
            }
            session.leave();
        }
        (None, resting.generation)
    }

    /// The present generation.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Takes a session back, if it is still of use.
    pub(super) fn give(&self, mut session: Session, generation: u64) {
        let mut resting = self.lock();
        if resting.generation == generation && !resting.closed && session.is_usable(Instant::now()) {
            resting.sessions.push(session);
        } else {
            drop(resting);
            session.leave();
        }
    }

    /// Closes what rests, and what is in use as soon as it comes back.
    pub(super) fn forget(&self) {
        let mut resting = self.lock();
        resting.generation += 1;
        resting.sessions.drain(..).for_each(Session::leave);
    }

    /// Closes what rests, for good.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.forget();
    }

    /// Closes what rests and was found closed elsewhere: the session found dead was the one used last, so all
    /// others are in doubt.
    pub(super) fn doubt(&self) {
        self.lock().sessions.drain(..).for_each(Session::leave);
    }

    /// Closes what has rested or lived too long.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut resting = self.lock();
        let (kept, ended) =
            std::mem::take(&mut resting.sessions).into_iter().fold((Vec::new(), Vec::new()), |mut all, mut one| {
                if one.is_usable(now) {
                    all.0.push(one)
                } else {
                    all.1.push(one)
                };
                all
            });
        resting.sessions = kept;
        drop(resting);
        ended.into_iter().for_each(Session::leave);
    }

    pub(super) fn remember_data_only(&self) {
        if !self.data_only.swap(true, Ordering::Relaxed) {
            let (mailbox, server) = (&self.mailbox.name, &self.mailbox.server);
            tracing::warn!(%mailbox, %server, "the server offers CHUNKING but does not know BDAT; it gets DATA from now on");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
