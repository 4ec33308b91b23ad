//! One attempt: a place among the mailbox's connections, a token where a login is needed, the message.

use super::Relay;
use crate::{
    config::Mailbox,
    listener::Submission,
    mail::Outcome,
    provider::classify,
    tokens::Unavailable,
    upstream::{Failure, Policy, Progress, Reason, Sent, Slot},
};
use std::sync::Arc;
use tokio::time::Instant;

/// Warm connections that may turn out dead before all are given up and a fresh one is made.
const MOST_STALE: usize = 2;

/// Why nothing was sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The dialogue broke, or the provider refused the login.
    Failed(Failure),
    /// There was no access token.
    NoToken(Unavailable),
}

impl From<Failure> for Unsent {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Sends the message over a warm connection or a new one. A connection found dead and a token refused for the first time are
/// replaced without the message noticing.
pub(super) async fn attempt(
    relay: &Relay,
    mailbox: &Arc<Mailbox>,
    submission: &Submission,
    progress: &Progress,
    until: Instant,
) -> Result<Sent, Unsent> {
    let (mut stale, mut refused) = (0, None);
    loop {
        let mut slot = relay.upstream.slot(mailbox, until).await?;
        if !slot.is_warm() && !login(relay, mailbox, &mut slot, &mut refused).await? {
            continue;
        }
        match slot.send(&submission.envelope, &submission.body, Policy::AllOrNone, progress).await {
            Err(failure) if failure.stale => {
                stale += 1;
                if stale >= MOST_STALE {
                    relay.upstream.forget(&mailbox.name);
                }
                if stale > 2 * MOST_STALE {
                    return Err(failure.into());
                }
            }
            result => return Ok(result?),
        }
    }
}

/// Logs in. False when the token was refused and another one is worth a try; the stamp of the refused one is kept in `refused`.
async fn login(relay: &Relay, mailbox: &Mailbox, slot: &mut Slot, refused: &mut Option<u64>) -> Result<bool, Unsent> {
    let token = relay.tokens.access(&mailbox.name).await.map_err(Unsent::NoToken)?;
    let Err(failure) = slot.login(&token.secret, token.expires).await else { return Ok(true) };
    let wants_renewal = match &failure.reason {
        Reason::Reply(reply) => classify(mailbox.provider, failure.step, reply).outcome == Outcome::Renew,
        _ => false,
    };
    if !wants_renewal || refused.is_some_and(|stamp| stamp != token.stamp) {
        return Err(failure.into());
    }
    if refused.replace(token.stamp) == Some(token.stamp) {
        return Err(failure.into());
    }
    relay.tokens.refused(&mailbox.name, &token);
    Ok(false)
}
