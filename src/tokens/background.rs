//! What happens without being asked: renewals ahead of need, those that keep alive what nobody uses, and looking whether what
//! was wrong has been mended.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::watch, time::timeout};

use super::{
    Route, Tokens,
    ending::known_of,
    proof, renewal,
    source::{Key, Source, USED},
};
use crate::{oauth::Health, store};

/// Renewals in the air beyond which the background starts none: after a night without network all are due at once.
const MOST: usize = 16;

/// How long the background sleeps at most, and when a changed secret or grant could mend something.
const LOOK: Duration = Duration::from_secs(60);
const LOOK_FOR_MENDED: Duration = Duration::from_secs(10);

/// The shortest sleep, whatever is due.
const BREATH: Duration = Duration::from_millis(500);

/// How long the end waits for renewals in the air: longer than any of them may take.
const DRAIN: Duration = Duration::from_secs(60);

/// What a source's mailboxes ask of the background.
struct Use {
    source: Arc<Source>,
    /// In the last day.
    used: bool,
    /// The stamp of a token that one of them saw refused.
    refused: Option<u64>,
}

impl Tokens {
    /// Renews in the background until `stop` says so (or its sender is gone). What is asked for is renewed until `end`; then the
    /// renewals in the air are waited for, and what is not saved yet is saved.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>, mut end: watch::Receiver<bool>) {
        let background = async {
            loop {
                let pause = self.tick().await;
                // Either way it is time to look.
                let _ = timeout(pause, self.world.wake.notified()).await;
                tokio::time::sleep(BREATH).await;
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = background => {}
        }
        // One begun now could be broken off with the process, and a one-time refresh token be lost.
        let _ = end.wait_for(|end| *end).await;
        let mut flights = std::mem::take(&mut *self.flights());
        if timeout(DRAIN, async { while flights.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!(event = "token.abandoned", "{} renewals did not end within {DRAIN:?}", flights.len());
        }
        let sources: Vec<Arc<Source>> = self.board().sources.values().cloned().collect();
        for source in sources {
            renewal::save_unsaved(&source, &self.world).await;
        }
    }

    /// Starts what is due; says when to look again.
    pub(super) async fn tick(&self) -> Duration {
        let now = self.world.now();
        let mut pause = LOOK;
        for Use { source, used, refused } in self.uses(now) {
            pause = pause.min(self.look_for_mended(&source, now).await);
            if self.flights().len() < MOST
                && let Some(flight) = source.begin_background(now, used, refused)
            {
                self.start(source, flight);
            } else if let Some(due) = source.due(used) {
                pause = pause.min(due.duration_since(now).unwrap_or_default());
            }
        }
        pause
    }

    fn uses(&self, now: SystemTime) -> Vec<Use> {
        let board = self.board();
        let of = |source: &Arc<Source>| {
            let entries =
                || board.mailboxes.values().filter(|entry| matches!(&entry.route, Route::Source(s) if Arc::ptr_eq(s, source)));
            let recent = |last: SystemTime| now.duration_since(last).is_ok_and(|since| since < USED);
            let current = source.stamp();
            Use {
                source: source.clone(),
                used: entries().any(|entry| entry.last_used.is_some_and(recent)),
                refused: entries().filter_map(|entry| entry.refused).find(|stamp| *stamp == current),
            }
        };
        board.sources.values().map(of).collect()
    }

    /// Looks at what could have mended a source's trouble, and at what the store knows of it; says when to look again.
    async fn look_for_mended(&self, source: &Source, now: SystemTime) -> Duration {
        let (health, _) = source.look();
        match (&source.key, health) {
            (Key::Mailbox(mailbox), _) if !source.knows_last_renewal() => {
                match self.world.store.grant(mailbox).await {
                    Ok(grant) => source.note_grant(grant.as_ref().map(known_of)),
                    // The renewal that is due now says what that means.
                    Err(store::Error::Unsealed { .. }) => source.note_grant(None),
                    Err(error) => tracing::warn!(event = "token.unknown", mailbox = %mailbox, "{error}"),
                }
                LOOK
            }
            (Key::Mailbox(mailbox), Health::Stopped { .. }) => {
                // Another process may have brought a new grant.
                if let Ok(grant) = self.world.store.grant(mailbox).await {
                    source.note_stored(grant.map(|grant| grant.version));
                }
                LOOK
            }
            (_, Health::Probing { .. }) => {
                let evidence = proof::read(&source.context().link, &self.world).await;
                source.note_evidence(evidence.ok().as_ref(), now);
                LOOK_FOR_MENDED
            }
            (_, Health::Well | Health::Failing { .. } | Health::Stopped { .. }) => LOOK,
        }
    }
}
