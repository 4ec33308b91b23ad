//! The lanes of all mailboxes, as others reach them: what is at hand, when to look for more, when to look for another way.

use super::{Relay, gate::Gate, reroute};
use crate::{config::Mailbox, mail::Name, queue::Lane};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};
use tokio::sync::Notify;

/// A mailbox's lane, as others reach it.
#[derive(Debug)]
pub(super) struct Handle {
    name: Name,
    lane: Mutex<Lane>,
    /// When the store is to be looked at for messages that have become due.
    look_at: Mutex<Option<SystemTime>>,
    wake: Notify,
    gate: OnceLock<Arc<Gate>>,
    /// Its mailbox is no more.
    is_closed: AtomicBool,
    /// When to look again whether its messages may go through another mailbox.
    reroute_at: Mutex<SystemTime>,
}

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<HashMap<Name, Arc<Handle>>>);

impl Lanes {
    /// The lane of `mailbox`; made when missing.
    pub(super) fn of(&self, mailbox: &Name) -> Arc<Handle> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.entry(mailbox.clone()).or_insert_with(|| Arc::new(Handle::new(mailbox.clone()))).clone()
    }

    /// Ends the lane of a mailbox that is no more.
    pub(super) fn remove(&self, mailbox: &Name) {
        let removed = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(mailbox);
        if let Some(handle) = removed {
            handle.is_closed.store(true, Ordering::Release);
            handle.wake();
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Handle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Handle {
    fn new(name: Name) -> Self {
        let look_at = Mutex::new(Some(SystemTime::UNIX_EPOCH));
        Self {
            name,
            lane: Mutex::default(),
            look_at,
            wake: Notify::new(),
            gate: OnceLock::new(),
            is_closed: AtomicBool::new(false),
            reroute_at: Mutex::new(SystemTime::UNIX_EPOCH),
        }
    }

    /// Whether its mailbox is no more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Waits until it has something to do, or may have.
    pub(super) async fn woken(&self) {
        let freed = async {
            match self.gate.get() {
                Some(gate) => gate.freed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.wake.notified() => {}
            () = freed => {}
        }
    }

    /// Whose lane it is.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// Whether it is time to look for another way; then the next time is after a while.
    pub(super) fn is_time_to_reroute(&self, now: SystemTime) -> Result<(), SystemTime> {
        let mut at = self.reroute_at.lock().unwrap_or_else(PoisonError::into_inner);
        match *at <= now {
            true => {
                *at = now + reroute::PAUSE;
                Ok(())
            }
            false => Err(*at),
        }
    }

    /// It stands otherwise: another way may be found at once.
    pub(super) fn changed(&self) {
        *self.reroute_at.lock().unwrap_or_else(PoisonError::into_inner) = SystemTime::UNIX_EPOCH;
        self.wake();
    }

    pub(super) fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailbox's gate, with its limits as they are configured now.
    pub(super) fn gate(&self, relay: &Relay, mailbox: &Mailbox) -> Arc<Gate> {
        let gate = relay.gates.of(mailbox);
        self.gate.get_or_init(|| gate.clone());
        gate
    }

    /// The lane has something to do.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Messages in the store may have become due.
    pub(super) fn look(&self) {
        self.look_by(SystemTime::UNIX_EPOCH);
        self.wake();
    }

    /// A message under way is settled; it may be due again at `due`.
    pub(super) fn settled(&self, due: Option<SystemTime>) {
        self.lane().settled();
        if let Some(due) = due {
            self.look_by(due);
        }
        self.wake();
    }

    pub(super) fn look_by(&self, at: SystemTime) {
        let mut look_at = self.look_at.lock().unwrap_or_else(PoisonError::into_inner);
        *look_at = Some(look_at.map_or(at, |before| before.min(at)));
    }

    pub(super) fn next_look(&self) -> Option<SystemTime> {
        *self.look_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to look; then the next time is not known any more.
    pub(super) fn is_time_to_look(&self, now: SystemTime) -> Result<(), Option<SystemTime>> {
        let mut look_at = self.look_at.lock().unwrap_or_else(PoisonError::into_inner);
        match *look_at {
            Some(at) if at <= now => {
                *look_at = None;
                Ok(())
            }
            later => Err(later),
        }
    }
}
