//! One login: waiting, answered, or over.

use super::told::{self, Progress};
use crate::{config::Mailbox, mail::Name, oauth::consent::Opening, tokens::Consent};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// See the module.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) mailbox: Name,
    /// Who began it.
    pub(super) by: Option<String>,
    pub(super) opening: Opening,
    /// The redirect as the authorization request had it.
    pub(super) redirect: String,
    pub(super) until: Instant,
    pub(super) expires: SystemTime,
    stage: Mutex<Stage>,
    progress: watch::Sender<Progress>,
    /// It is not waited for any more.
    pub(super) ended: CancellationToken,
}

/// What its answer is taken with.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) opening: Opening,
    pub(super) redirect: String,
    /// With a device the task that asks has it.
    pub(super) consent: Option<Consent>,
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// Its answer is awaited.
    Waiting(Option<Box<Consent>>),
    /// Its answer came; nothing can stop it now.
    Taken,
    Over,
}

impl Entry {
    /// One that waits for its answer.
    pub(super) fn new((id, mailbox, by): (String, &Mailbox, Option<String>), way: Way, life: Duration) -> Self {
        let Way { opening, redirect, consent } = way;
        Self {
            id,
            mailbox: mailbox.name.clone(),
            by,
            opening,
            redirect,
            until: Instant::now() + life,
            expires: SystemTime::now() + life,
            stage: Mutex::new(Stage::Waiting(consent.map(Box::new))),
            progress: watch::Sender::new(Progress::Pending),
            ended: CancellationToken::new(),
        }
    }

    /// Its answer came: what to go on with. `None` when one came before, or it is over.
    pub(super) fn take(&self) -> Option<Consent> {
        let mut stage = self.stage();
        let Stage::Waiting(kept) = &mut *stage else { return None };
        let consent = kept.take()?;
        *stage = Stage::Taken;
        drop(stage);
        self.ended.cancel();
        self.progress.send_replace(Progress::Working);
        Some(*consent)
    }

    /// A device's tokens came; false when it is over.
    pub(super) fn take_device(&self) -> bool {
        let mut stage = self.stage();
        let waits = matches!(*stage, Stage::Waiting(_));
        if waits {
            *stage = Stage::Taken;
            drop(stage);
            self.progress.send_replace(Progress::Working);
        }
        waits
    }

    /// Ends it while it waits; whether it did.
    pub(super) fn end(&self, progress: Progress) -> bool {
        let mut stage = self.stage();
        let waits = matches!(*stage, Stage::Waiting(_));
        if waits {
            // In one step, lest an answer is taken between the two.
            *stage = Stage::Over;
            drop(stage);
            self.tell_end(progress);
        }
        waits
    }

    /// Ends it.
    pub(super) fn finish(&self, progress: Progress) {
        *self.stage() = Stage::Over;
        self.tell_end(progress);
    }

    fn tell_end(&self, progress: Progress) {
        self.ended.cancel();
        self.progress.send_replace(progress);
    }

    pub(super) fn is_over(&self) -> bool {
        self.progress.borrow().is_over()
    }

    /// How it stands.
    pub(super) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// How it stands at its end, or at `deadline`.
    pub(super) async fn ended_by(&self, deadline: Instant) -> Progress {
        let mut progress = self.progress.subscribe();
        let _ = timeout_at(deadline, progress.wait_for(Progress::is_over)).await;
        progress.borrow().clone()
    }

    /// Ends it when its time is over.
    pub(super) async fn expire(self: Arc<Self>) {
        if timeout_at(self.until, self.ended.cancelled()).await.is_err() && self.end(told::expired(&self.mailbox)) {
            tracing::warn!(event = "consent.refused", mailbox = %self.mailbox, "nobody finished the login in time");
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
