//! Turns at what is scarce: each source of logins has few there at a time, so that one that sends many waits for itself and nobody else for
//! it.

use super::guesses::Origin;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Logins of one source at a time: the next is at hand when one is done.
const AT_ONCE: usize = 2;

/// Who waits for a turn, or has one.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Origin, Line>>);

/// Of one source. It is there as long as somebody is in it, so there are no more than connections.
#[derive(Debug)]
struct Line {
    turns: Arc<Semaphore>,
    length: usize,
}

/// A turn, over when dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    all: &'a Turns,
    origin: Origin,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for a turn of `origin`, behind those that came before.
    pub(super) async fn take(&self, origin: Origin) -> Turn<'_> {
        let turns = {
            let mut lines = self.lines();
            let line = lines.entry(origin).or_insert_with(|| Line { turns: Arc::new(Semaphore::new(AT_ONCE)), length: 0 });
            line.length += 1;
            Arc::clone(&line.turns)
        };
        // Before the wait, which may be given up.
        let mut turn = Turn { all: self, origin, permit: None };
        // It is never closed.
        turn.permit = turns.acquire_owned().await.ok();
        turn
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Origin, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut lines = self.all.lines();
        match lines.get_mut(&self.origin) {
            Some(line) if line.length > 1 => line.length -= 1,
            _ => _ = lines.remove(&self.origin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    /// What is there at once.
    fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_source_waits_for_itself_and_nobody_else_for_it() {
        let turns = Turns::default();
        let (crowd, one) = (Origin::new(None, Some(33)), Origin::new(Some([192, 0, 2, 7].into()), None));
        let first = at_once(turns.take(crowd)).expect("there is a turn");
        let second = at_once(turns.take(crowd)).expect("there are two");
        let mut third = Box::pin(turns.take(crowd));
        assert!(at_once(&mut third).is_none());
        assert!(at_once(turns.take(crowd)).is_none(), "given up");
        let other = at_once(turns.take(one)).expect("another source has turns of its own");
        drop(first);
        let third = at_once(third).expect("it was the next one's turn");
        assert_eq!(turns.lines().len(), 2);
        drop((other, second, third));
        assert!(turns.lines().is_empty(), "nothing is kept of who is gone");
    }
}
