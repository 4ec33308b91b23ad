//! What outlives the process beside the messages: holds, clocks, counters, and how links and mailboxes were told to stand. Written when it changes, read at start.

use super::{Relay, board::Unsaved};
use crate::store;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::watch, time::timeout};

/// How often counters are written; a kill loses what was counted since.
const COUNTERS: Duration = Duration::from_secs(1);

/// The longest window of the counters.
const DAY: Duration = Duration::from_secs(24 * 3600 + 60);

impl Relay {
    /// Takes up what an earlier process left.
    pub async fn restore(&self) -> Result<(), store::Error> {
        let now = SystemTime::now();
        let (holds, clocks) = (self.queue.holds().await?, self.queue.clocks().await?);
        let counts = self.queue.counts(now.checked_sub(DAY).unwrap_or(SystemTime::UNIX_EPOCH)).await?;
        self.gates.restore(&counts);
        let counted = counts.into_iter().map(|count| count.mailbox).collect();
        self.usage.restore(self.queue.usage(now.checked_sub(DAY).unwrap_or(SystemTime::UNIX_EPOCH)).await?);
        self.board().restore(&holds, clocks, now);
        self.restore_addresses(&holds, counted, now).await?;
        for hold in &holds {
            tracing::info!(scope = ?hold.scope, kind = hold.kind, reason = hold.reason, "held since before the start");
        }
        self.restore_told().await
    }

    /// Writes what changes until `stop` says so (or its sender is gone), and once more at the end.
    pub async fn keep(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut failing = false;
        loop {
            let stopped = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                _ = timeout(COUNTERS, self.keeper.notified()) => false,
            };
            match self.flush().await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(%error, "holds, states and counters cannot be kept; tried again");
                }
                Err(_) => {}
            }
            if stopped {
                return;
            }
        }
    }

    /// Writes what changed.
    pub async fn flush(&self) -> Result<(), store::Error> {
        let unsaved = self.board().take_unsaved();
        let mut result = Ok(());
        for change in unsaved {
            let written = match change.clone() {
                Unsaved::Put(hold) => self.queue.put_hold(hold).await,
                Unsaved::Drop(scope) => self.queue.drop_hold(scope).await,
                Unsaved::Clock(mailbox, clock) => self.queue.put_clock(mailbox, clock).await,
            };
            if let Err(error) = written {
                self.board().put_back(change);
                result = Err(error);
            }
        }
        result = result.and(self.save_told().await);
        let usage = self.usage.take_unsaved();
        if !usage.is_empty()
            && let Err(error) = self.queue.put_usage(usage.clone()).await
        {
            self.usage.put_back(&usage);
            result = Err(error);
        }
        let counts = self.gates.take_unsaved();
        if !counts.is_empty() {
            // What is lost here is counted again with the next message of its minute.
            self.queue.put_counts(counts).await?;
        }
        result
    }
}
