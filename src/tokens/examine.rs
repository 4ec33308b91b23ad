//! What a person's examination asks for besides mail: a renewal at once, what proves a link's client, the way to its endpoints.

use super::{AccessToken, Tokens, Unavailable, WAIT, clients, proof, source::Key};
use crate::{
    config::{Evidence, Link},
    mail::{Advice, Name},
    oauth::{Flight, Life, Trouble},
    provider::Grant,
    tls,
};
use std::{sync::Arc, time::SystemTime};
use tokio::time::{Instant, timeout_at};

/// Whether a renewal sets off.
#[derive(Debug)]
pub(super) enum Wish {
    /// It does.
    Go(Flight),
    /// One is in the air, and serves as well.
    InAir,
    /// None may: a consent is needed, or the provider asked to wait.
    Denied(Trouble),
}

/// What a renewal that is wished for now may do. What was only waiting for its time goes; what the provider asked to wait for, and
/// a grant that it has refused, does not: whoever repeats that gets accounts locked.
pub(super) fn wish(life: &mut Life, now: SystemTime) -> Wish {
    let asked_to_wait = life.health().trouble().is_some_and(|trouble| trouble.retry_after.is_some());
    if !asked_to_wait {
        life.retry_now(now);
    }
    match life.begin(now) {
        Some(flight) => Wish::Go(flight),
        None if life.is_in_flight() => Wish::InAir,
        None => life.health().trouble().cloned().map_or(Wish::InAir, Wish::Denied),
    }
}

impl Tokens {
    /// A new access token for `mailbox`, asked for at the provider now, by the same single flight as every renewal.
    pub async fn renew(&self, mailbox: &Name) -> Result<AccessToken, Unavailable> {
        let until = Instant::now() + WAIT;
        let (source, _) = self.enter(mailbox, self.world.now())?;
        let shared = matches!(source.key, Key::Link(_));
        let before = source.stamp();
        loop {
            // Before asking, lest a landing in between is missed.
            let mut landings = source.landings();
            match source.wish(self.world.now()) {
                Wish::Go(flight) => self.start(source.clone(), flight),
                Wish::InAir => {}
                Wish::Denied(trouble) => return Err(Unavailable::of(trouble, shared)),
            }
            if timeout_at(until, landings.changed()).await.is_err() {
                let reason = format!("{} did not answer within {} seconds", source.endpoint(), WAIT.as_secs());
                return Err(Unavailable::Transient { reason, advice: None });
            }
            let (health, _) = source.look();
            if let Some(trouble) = health.trouble() {
                return Err(Unavailable::of(trouble.clone(), shared));
            }
            // A landing for settings that are no more brought nothing.
            if let Some(token) = source.token().filter(|token| token.stamp != before) {
                return Ok(token.into());
            }
        }
    }

    /// What proves the client of `link` now; else why not, and the next step.
    pub async fn evidence(&self, link: &Arc<Link>) -> Result<Evidence, (String, Advice)> {
        proof::read(link, &self.world).await.map_err(|trouble| (trouble.reason, trouble.advice))
    }

    /// The way to the endpoints of `link`; else why there is none, and the next step.
    pub fn way(&self, link: &Link) -> Result<tls::Proxy, (String, Advice)> {
        clients::proxy(link, &self.world.store.ring()).map_err(|hindrance| (hindrance.reason, hindrance.advice))
    }

    /// Whether a renewal is in the air whose answer can cost a grant when nobody keeps it.
    pub fn has_to_land(&self) -> bool {
        let is_refresh = |link: &Link| matches!(link.grant, Grant::AuthorizationCode | Grant::DeviceCode);
        self.board().sources.values().any(|source| source.is_in_flight() && is_refresh(&source.context().link))
    }

    /// Waits until there is none, for a process that ends.
    pub async fn landed(&self) {
        let mut flights = std::mem::take(&mut *self.flights());
        while self.has_to_land() && flights.join_next().await.is_some() {}
    }
}
