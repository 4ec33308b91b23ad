//! How often an examination logs in to one mailbox: one at a time, and after a refused login not at once again. Providers lock
//! accounts that are tried again and again, also by a person's impatience.

use crate::mail::Name;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, sleep_until, timeout},
};

/// Between a refused login and the next one.
const PAUSE: Duration = Duration::from_secs(3);

/// For another examination of the same mailbox to end its login.
const WAIT: Duration = Duration::from_secs(20);

/// When each mailbox was last refused.
type Last = Arc<tokio::sync::Mutex<Option<Instant>>>;

/// By mailbox.
#[derive(Debug)]
pub(super) struct Paces {
    last: Mutex<BTreeMap<Name, Last>>,
    pause: Duration,
    wait: Duration,
}

impl Default for Paces {
    fn default() -> Self {
        Self { last: Mutex::default(), pause: PAUSE, wait: WAIT }
    }
}

/// The right to log in.
#[derive(Debug)]
pub(super) struct Turn(OwnedMutexGuard<Option<Instant>>);

impl Paces {
    /// Waits for it; `None` while another one takes long.
    pub(super) async fn turn(&self, mailbox: &Name) -> Option<Turn> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).entry(mailbox.clone()).or_default().clone();
        let mut turn = timeout(self.wait, last.lock_owned()).await.ok()?;
        if let Some(refused) = turn.take() {
            sleep_until(refused + self.pause).await;
        }
        Some(Turn(turn))
    }

    /// Forgets mailboxes that are no more.
    pub(super) fn keep(&self, is_configured: impl Fn(&Name) -> bool) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| is_configured(name));
    }
}

impl Turn {
    /// The provider refused it.
    pub(super) fn refused(mut self) {
        *self.0 = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_after_a_refused_login_the_next_one_waits() {
        let (pause, wait) = (Duration::from_millis(200), Duration::from_millis(20));
        let paces = Paces { last: Mutex::default(), pause, wait };
        let (name, begun) = (Name::parse("a").unwrap(), Instant::now());
        drop(paces.turn(&name).await.unwrap());
        paces.turn(&name).await.unwrap().refused();
        let turn = paces.turn(&name).await.unwrap();
        assert!(begun.elapsed() >= pause);
        assert!(paces.turn(&name).await.is_none(), "one at a time");
        assert!(paces.turn(&Name::parse("b").unwrap()).await.is_some(), "another mailbox goes on");
        drop(turn);
        assert!(paces.turn(&name).await.is_some());
        paces.keep(|_| false);
        assert!(paces.last.lock().unwrap().is_empty());
    }
}
