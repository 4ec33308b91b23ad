//! The door: a place below a mailbox's limit of connections, and what can be done with it.

use super::{
    connect::connect,
    failure::{Failure, Reason},
    limits,
    pool::Pool,
    progress::Progress,
    send::Order,
    session::Session,
    trust::Trust,
};
use crate::{
    config::Mailbox,
    mail::{Envelope, Name},
    secret::Secret,
    smtp::{
        Step,
        client::{Policy, Sent},
    },
    store::Body,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::SystemTime,
};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};

/// All connections to providers.
#[derive(Debug)]
pub struct Upstream {
    hostname: Arc<str>,
    trust: Arc<Trust>,
    pools: Mutex<HashMap<Name, Arc<Pool>>>,
}

/// A place below the limit of connections of one mailbox.
#[derive(Debug)]
pub struct Slot {
    pub(super) pool: Arc<Pool>,
    pub(super) generation: u64,
    pub(super) hostname: Arc<str>,
    trust: Arc<Trust>,
    pub(super) session: Option<Session>,
    warm: bool,
    /// Given back last: a connection returns to the pool before its place is free.
    _permit: OwnedSemaphorePermit,
}

impl Upstream {
    /// No connections yet; `hostname` is the FQDN that EHLO says.
    pub fn new(hostname: String) -> Arc<Self> {
        Arc::new(Self { hostname: hostname.into(), trust: Arc::default(), pools: Mutex::default() })
    }

    /// The name that EHLO says.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// A place below the mailbox's `limits.connections`, in the order of asking; with a warm connection when there
    /// is one. A changed
    /// configuration of the mailbox closes its former connections.
    pub async fn slot(&self, mailbox: &Arc<Mailbox>, until: Instant) -> Result<Slot, Failure> {
        let pool = self.pool(mailbox);
        let permit = match tokio::time::timeout_at(until, pool.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => return Err(Failure::new(Step::Connect, &mailbox.server, Reason::Busy(pool.limit))),
        };
        let (session, generation) = pool.take();
        let (hostname, trust, warm) = (self.hostname.clone(), self.trust.clone(), session.is_some());
        Ok(Slot { pool, generation, hostname, trust, session, warm, _permit: permit })
    }

    /// Closes the mailbox's connections: the warm ones now, those in use after their message.
    pub fn forget(&self, mailbox: &Name) {
        let pool = self.lock().get(mailbox).cloned();
        if let Some(pool) = pool {
            pool.forget();
        }
    }

    /// As [`Upstream::forget`], for a mailbox that is no more.
    pub fn remove(&self, mailbox: &Name) {
        let pool = self.lock().remove(mailbox);
        if let Some(pool) = pool {
            pool.close();
        }
    }

    /// Closes connections that have rested or lived too long, until `stop` says so (or its sender is gone); then all that rest.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut sweep = tokio::time::interval(limits::SWEEP);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                _ = sweep.tick() => self.sweep(),
            }
        }
        let pools: Vec<Arc<Pool>> = self.lock().values().cloned().collect();
        pools.iter().for_each(|pool| pool.close());
    }

    fn sweep(&self) {
        let pools: Vec<Arc<Pool>> = self.lock().values().cloned().collect();
        pools.iter().for_each(|pool| pool.sweep());
    }

    fn pool(&self, mailbox: &Arc<Mailbox>) -> Arc<Pool> {
        let mut pools = self.lock();
        let before = pools.get(&mailbox.name).cloned();
        if let Some(pool) = &before
            && (Arc::ptr_eq(&pool.mailbox, mailbox) || pool.mailbox == *mailbox)
        {
            return pool.clone();
        }
        let pool = Arc::new(Pool::new(mailbox.clone(), before.as_deref()));
        pools.insert(mailbox.name.clone(), pool.clone());
        // A pool that was replaced gets its sessions back, and closes them.
        if let Some(before) = before {
            before.close();
        }
        pool
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Whether it brought a connection that is logged in.
    pub fn is_warm(&self) -> bool {
        self.warm
    }

    /// Closes the connection that it brought: the next login makes one of its own.
    pub fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.leave();
        }
        self.warm = false;
    }

    /// Connects and logs in with `token`, which ends at `expires`; does nothing on a connection that is logged in.
    pub async fn login(&mut self, token: &Secret, expires: SystemTime) -> Result<(), Failure> {
        if self.session.is_none() {
            let mailbox = &self.pool.mailbox;
            // What is forgotten from here on is this connection too.
            self.generation = self.pool.generation();
            let secured = connect(mailbox, &self.hostname, &self.trust).await?;
            self.session = Some(secured.login(mailbox.clone(), token, expires).await?);
        }
        Ok(())
    }

    /// Sends one message; must be logged in. `Ok` says what the provider answered, `Err` that there is no verdict.
    /// Dropped half-way, it
    /// closes the connection.
    pub async fn send(mut self, envelope: &Envelope, body: &Body, policy: Policy, progress: &Progress) -> Result<Sent, Failure> {
        let Some(mut session) = self.session.take() else {
            let reason = Reason::Local("not logged in".into());
            return Err(Failure::new(Step::Auth, &self.pool.mailbox.server, reason));
        };
        let data_only = self.pool.data_only.load(Ordering::Relaxed);
        let report = session.send(Order { envelope, body, policy, progress, data_only }).await;
        if report.bdat_unknown {
            self.pool.remember_data_only();
        }
        if report.reusable {
            self.pool.give(session, self.generation);
        } else {
            // Half-way through a message there is nothing to say; a QUIT would become part of it.
            drop(session);
        }
        if matches!(&report.result, Err(why) if why.stale) {
            self.pool.doubt();
        }
        report.result
    }
}

impl Drop for Slot {
    /// What was not used goes back.
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.pool.give(session, self.generation);
        }
    }
}
