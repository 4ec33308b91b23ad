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
#[derive(Debug, Default)]
pub(super) struct Paces(Mutex<BTreeMap<Name, Last>>);

/// The right to log in.
#[derive(Debug)]
pub(super) struct Turn(OwnedMutexGuard<Option<Instant>>);

impl Paces {
    /// Waits for it; `None` while another one takes long.
    pub(super) async fn turn(&self, mailbox: &Name) -> Option<Turn> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(mailbox.clone()).or_default().clone();
        let mut turn = timeout(WAIT, last.lock_owned()).await.ok()?;
        if let Some(refused) = turn.take() {
            sleep_until(refused + PAUSE).await;
        }
        Some(Turn(turn))
    }

    /// Forgets mailboxes that are no more.
    pub(super) fn keep(&self, is_configured: impl Fn(&Name) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| is_configured(name));
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

    #[tokio::test(start_paused = true)]
    async fn only_after_a_refused_login_the_next_one_waits() {
        let (paces, name, begun) = (Paces::default(), Name::parse("a").unwrap(), Instant::now());
        drop(paces.turn(&name).await.unwrap());
        paces.turn(&name).await.unwrap().refused();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let turn = paces.turn(&name).await.unwrap();
        assert_eq!(begun.elapsed(), PAUSE);
        assert!(paces.turn(&name).await.is_none(), "one at a time");
        drop(turn);
        assert!(paces.turn(&name).await.is_some());
    }
}
