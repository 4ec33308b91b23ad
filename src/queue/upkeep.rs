//! What the queue does by itself: renews its claims, forgets what is old, gives space back.

use super::{LEASE, Lost, Queue};
use crate::{
    mail::Name,
    store::{self, Before},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// How often claims are renewed, many times in their life: what nobody works under is given back then, and waits no longer.
const RENEW: Duration = Duration::from_secs(30);

/// How often old messages are forgotten.
const FORGET: Duration = Duration::from_secs(10 * 60);

impl Queue {
    /// Keeps the queue until `stop` says so (or its sender is gone).
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let (mut renew, mut forget) = (interval(RENEW), interval(FORGET));
        for each in [&mut renew, &mut forget] {
            each.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let renews = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = renew.tick() => true,
                _ = forget.tick() => false,
            };
            let result = match renews {
                true => self.renew(SystemTime::now()).await,
                false => self.forget(SystemTime::now()).await,
            };
            if let Err(error) = result {
                tracing::warn!(%error, "the queue's upkeep failed; it is tried again by itself");
            }
        }
    }

    /// Gives back what nobody works on, and lets the other claims go on.
    pub(super) async fn renew(&self, now: SystemTime) -> Result<(), store::Error> {
        let Lost { claims, messages } = std::mem::take(&mut *self.lost());
        let mut given = self.unclaim(messages).await;
        for claim in claims {
            given = given.and(self.abandon(claim).await.map(drop));
        }
        given?;
        let taken_over = self.store.renew_claims(self.owner, now, now + LEASE).await?;
        if taken_over > 0 {
            tracing::warn!(messages = taken_over, "messages of a process that is gone are taken over; some may arrive twice");
        }
        Ok(())
    }

    /// Forgets traces and failed messages whose time is over at `now`.
    pub async fn forget(&self, now: SystemTime) -> Result<(), store::Error> {
        let settings = self.settings();
        let ago = |span| now.checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH);
        let before = Before { delivered: ago(settings.keep_trace), failed: ago(settings.keep_failed) };
        let count = self.store.forget_settled(before).await?;
        if count > 0 {
            tracing::info!(
                messages = count,
                "old traces and failed messages were forgotten (queue.keep-trace, queue.keep-failed)"
            );
        }
        self.store.shrink().await
    }

    /// Fails what has been held for longer than `keep-held`. `mailbox_held_since` is set where the mailbox itself is held.
    pub async fn fail_held(
        &self,
        mailbox: &Name,
        mailbox_held_since: Option<SystemTime>,
        (now, clock): (SystemTime, SystemTime),
    ) -> Result<usize, store::Error> {
        let keep = self.settings().keep_held;
        let ago = |time: SystemTime| time.checked_sub(keep).unwrap_or(SystemTime::UNIX_EPOCH);
        let mailbox_held = mailbox_held_since.is_some_and(|since| since <= ago(now));
        self.store.fail_held(mailbox.clone(), (ago(now), ago(clock), mailbox_held), now).await
    }
}
