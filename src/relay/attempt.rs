//! One attempt: a place among the mailbox's connections, a token where a login is needed, the message.

use super::{
    Relay,
    outgoing::{NotOutgoing, Outgoing},
};
use crate::{
    config::Mailbox,
    mail::{Change, Envelope, Outcome},
    provider::classify,
    store::Body,
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

/// What an attempt came to.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) sent: Result<Sent, Unsent>,
    /// What went out otherwise than it is kept.
    pub(super) changes: Vec<Change>,
}

/// What is to be sent, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) body: &'a Body,
    pub(super) policy: Policy,
    pub(super) progress: &'a Progress,
    /// By when there must be a place among the connections.
    pub(super) until: Instant,
}

/// Sends the message over a warm connection or a new one. A connection found dead and a token refused for the first time are
/// replaced without the message noticing.
pub(super) async fn attempt(relay: &Relay, mailbox: &Arc<Mailbox>, errand: Errand<'_>) -> Attempt {
    match Outgoing::of(mailbox, errand.envelope, errand.body).await {
        Ok(outgoing) => Attempt { sent: send(relay, mailbox, errand, &outgoing).await, changes: outgoing.changes },
        Err(why) => {
            let failure = match &why {
                NotOutgoing::Unreadable(_) => Failure::local(&mailbox.server, why.to_string()),
                NotOutgoing::LongHeader(_) => Failure::unfit(&mailbox.server, why.reply()),
            };
            Attempt { sent: Err(failure.into()), changes: Vec::new() }
        }
    }
}

async fn send(relay: &Relay, mailbox: &Arc<Mailbox>, errand: Errand<'_>, outgoing: &Outgoing<'_>) -> Result<Sent, Unsent> {
    let (mut stale, mut refused) = (0, None);
    loop {
        let mut slot = relay.upstream.slot(mailbox, errand.until).await?;
        if !slot.is_warm() && !login(relay, mailbox, &mut slot, &mut refused).await? {
            continue;
        }
        match slot.send(&outgoing.envelope, &outgoing.body, errand.policy, errand.progress).await {
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

/// Logs in over a new connection, without a message: whether what was wrong with the mailbox is over.
pub(super) async fn try_login(relay: &Relay, mailbox: &Arc<Mailbox>, until: Instant) -> Result<(), Unsent> {
    let mut refused = None;
    relay.upstream.forget(&mailbox.name);
    loop {
        let mut slot = relay.upstream.slot(mailbox, until).await?;
        if slot.is_warm() || login(relay, mailbox, &mut slot, &mut refused).await? {
            return Ok(());
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
    match relay.tokens.refused(&mailbox.name, &token) {
        true => Ok(false),
        false => Err(failure.into()),
    }
}
