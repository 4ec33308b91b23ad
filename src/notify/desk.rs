//! One hook at work: its events wait in order, one is told at a time, and what fails is tried again for a while.

use super::{attempt::attempt, event::Event, waiting::Waiting};
use crate::{config::Hook, relay::Relay};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// The pauses between the tries of one event: a restart of the receiver, a dropped connection, an outage of some minutes. Then whoever
/// reads the log has to help, and newer events have their turn.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(300)];

/// A hook with what waits for it.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// Wakes the task: something waits, or it ends.
    wake: Notify,
    /// Ends a pause: the hook is another, or there is no time left.
    hurry: Notify,
}

#[derive(Debug)]
struct State {
    hook: Arc<Hook>,
    waiting: Waiting,
    /// Nothing more comes: what waits is told once more, then it ends.
    is_closed: bool,
}

impl Desk {
    pub(super) fn new(hook: Arc<Hook>) -> Arc<Self> {
        let state = State { hook, waiting: Waiting::default(), is_closed: false };
        Arc::new(Self { state: Mutex::new(state), wake: Notify::new(), hurry: Notify::new() })
    }

    /// The hook as it is now.
    pub(super) fn hook(&self) -> Arc<Hook> {
        self.state().hook.clone()
    }

    /// Takes up another configuration; what waits is told by it.
    pub(super) fn configure(&self, hook: Arc<Hook>) {
        let before = std::mem::replace(&mut self.state().hook, hook.clone());
        if before != hook {
            self.hurry.notify_waiters();
        }
    }

    /// One more event.
    pub(super) fn push(&self, event: Event) {
        self.state().waiting.push(event);
        self.wake.notify_one();
    }

    /// Nothing more comes; what waits is still told.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.wake.notify_one();
        self.hurry.notify_waiters();
    }

    /// Forgets what waits; how many those were.
    pub(super) fn clear(&self) -> usize {
        self.state().waiting.clear()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next event, with the hook as it is then; `None` when nothing more comes.
    async fn next(&self) -> Option<(Arc<Hook>, Event)> {
        loop {
            {
                let mut state = self.state();
                if let Some(event) = state.waiting.next() {
                    return Some((state.hook.clone(), event));
                }
                if state.is_closed {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Tells one event after the other.
    pub(super) async fn work(self: Arc<Self>, relay: Arc<Relay>) {
        let mut failures = 0;
        while let Some((hook, event)) = self.next().await {
            let begun = std::time::Instant::now();
            let attempted = attempt(&relay, &hook, &event).await;
            let ms = begun.elapsed().as_millis() as u64;
            let tries = failures + 1;
            let Event { id, mailbox, link, state, left_out, .. } = &event;
            let mailbox = mailbox.as_ref().map(tracing::field::display);
            let pause = PAUSES.get(failures).filter(|_| !self.state().is_closed);
            match (attempted, pause) {
                (Ok(done), _) => {
                    tracing::info!(event = "notify.sent", hook = %hook.name, notification = %id, mailbox, %link, %state, left_out, tries, ms,
                        "{}", done.0);
                    self.state().waiting.works();
                    failures = 0;
                }
                (Err(failure), Some(pause)) if failure.is_passing => {
                    tracing::debug!(hook = %hook.name, notification = %id, why = failure.why, seconds = pause.as_secs(), "a hook is tried again");
                    failures += 1;
                    let hurry = self.hurry.notified();
                    tokio::pin!(hurry);
                    // From here on a change is noticed.
                    hurry.as_mut().enable();
                    self.state().waiting.put_back(event);
                    if !self.state().is_closed && timeout(*pause, hurry).await.is_ok() {
                        failures = 0;
                    }
                }
                (Err(failure), _) => {
                    tracing::warn!(event = "notify.failed", hook = %hook.name, notification = %id, mailbox, %link, %state, left_out, tries, ms,
                        reason = failure.why, advice = failure.step, "a hook failed: nobody was told of this change by it");
                    failures = 0;
                }
            }
        }
    }
}
