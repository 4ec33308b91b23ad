//! What a request shows of its client: read from the files of the moment, signed at the moment.

use chrono::{DateTime, Utc};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{sync::Semaphore, task::JoinError, time::timeout};
use uuid::Uuid;

use super::{World, renewal::transient, source::Context};
use crate::{
    config::{Evidence, EvidenceError, Link, SecretMethod},
    mail::{Advice, Name},
    oauth::{Authentication, ClientAssertion, Kind, Trouble, Unsigned},
    provider::own,
    secret::Secret,
};

/// Longest wait for the files, which may lie on a disk that hangs.
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// Readings of one link's files that may hang at once: each holds a thread, and without end they would take those of everybody.
const MOST: usize = 4;

/// The readings under way, by link.
#[derive(Default)]
pub(super) struct Readings(Mutex<BTreeMap<Name, Arc<Semaphore>>>);

impl Readings {
    pub(super) fn of(&self, link: &Name) -> Arc<Semaphore> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.entry(link.clone()).or_insert_with(|| Arc::new(Semaphore::new(MOST))).clone()
    }
}

/// What proves the client of `link`, read afresh.
pub(super) async fn read(link: &Arc<Link>, world: &World) -> Result<Evidence, Trouble> {
    let (asked, ring, name) = (link.clone(), world.store.ring(), &link.name);
    match beside(world.readings.of(name), WAIT, move || asked.evidence(&ring)).await {
        Some(Ok(read)) => read.map_err(|EvidenceError { key, why, step, .. }| {
            fault(format!("{key} of link {name}: {why}"), own::PROOF_UNREADABLE.saying(step))
        }),
        Some(Err(_)) => Err(transient("reading what proves the client was interrupted".into())),
        None => {
            let why = format!("what proves the client of link {name} was not read within {} seconds", WAIT.as_secs());
            Err(fault(why, own::PROOF_TOO_SLOW.step_of(&[])))
        }
    }
}

/// Does `work` in a thread of its own, once there is a place; `None` when it takes longer than `wait`. Its place is its own until it ends.
pub(super) async fn beside<T: Send + 'static>(
    places: Arc<Semaphore>,
    wait: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<Result<T, JoinError>> {
    let working = async {
        let place = places.acquire_owned().await;
        let work = move || {
            let _place = place;
            work()
        };
        tokio::task::spawn_blocking(work).await
    };
    timeout(wait, working).await.ok()
}

fn fault(reason: String, advice: Advice) -> Trouble {
    Trouble { kind: Kind::Configuration, reason, advice, retry_after: None }
}

fn unsigned(Unsigned: Unsigned) -> Trouble {
    transient(format!("{Unsigned}"))
}

/// What one request shows of the client.
pub(super) enum Shown {
    Nothing,
    Post(Secret),
    Basic(Secret),
    Assertion(Secret),
}

impl Shown {
    pub(super) fn of(evidence: &Evidence, link: &Link, now: SystemTime) -> Result<Self, Trouble> {
        Ok(match evidence {
            Evidence::None | Evidence::ServiceAccount(_) => Self::Nothing,
            Evidence::Secret { secret, method: SecretMethod::Post } => Self::Post(secret.clone()),
            Evidence::Secret { secret, method: SecretMethod::Basic } => Self::Basic(secret.clone()),
            Evidence::Assertion(assertion) => Self::Assertion(assertion.clone()),
            Evidence::Identity(identity) => {
                let (client_id, key_id, audience) = (&link.client_id, link.key_id.as_deref(), &link.token_endpoint);
                let assertion = ClientAssertion { identity, client_id, key_id, audience };
                Self::Assertion(assertion.sign(now, id()).map_err(unsigned)?)
            }
        })
    }

    pub(super) fn authentication(&self) -> Authentication<'_> {
        match self {
            Self::Nothing => Authentication::None,
            Self::Post(secret) => Authentication::Post(secret),
            Self::Basic(secret) => Authentication::Basic(secret),
            Self::Assertion(assertion) => Authentication::Assertion(assertion),
        }
    }

    /// What must not be repeated in a text.
    pub(super) fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Nothing => None,
            Self::Post(secret) | Self::Basic(secret) | Self::Assertion(secret) => Some(secret),
        }
    }
}

/// The assertion with which a service account asks for its mailbox.
pub(super) fn service_account(evidence: &Evidence, context: &Context, now: SystemTime) -> Result<Secret, Trouble> {
    let Context { link, user, .. } = context;
    match evidence {
        Evidence::ServiceAccount(account) => account.assert(user, &link.scopes, &link.token_endpoint, now).map_err(unsigned),
        _ => {
            let advice = own::PROOF_UNREADABLE.saying("set service-account".into());
            Err(fault(format!("link {} has no service account", link.name), advice))
        }
    }
}

/// Which certificate or account signed, for a refusal's text: only so can it be compared with the provider's page.
pub(super) fn signed_with(evidence: &Evidence) -> String {
    let day = |time| DateTime::<Utc>::from(time).format("%Y-%m-%d");
    match evidence {
        Evidence::Identity(identity) => identity.certificate().map_or_else(String::new, |certificate| {
            let (thumbprint, last) = (&certificate.shown_thumbprint, day(certificate.not_after));
            format!(" (signed with the certificate of thumbprint {thumbprint}, which counts until {last})")
        }),
        Evidence::ServiceAccount(account) => {
            let id = account.client_id.as_ref().map_or_else(String::new, |id| format!(", client id {id}"));
            format!(" (signed by the service account {}{id})", account.email)
        }
        Evidence::None | Evidence::Secret { .. } | Evidence::Assertion(_) => String::new(),
    }
}

/// Version 4, from the same source of chance as every key here.
fn id() -> Uuid {
    let mut octets = [0; 16];
    // Without chance there is no signature either.
    let _ = aws_lc_rs::rand::fill(&mut octets);
    uuid::Builder::from_random_bytes(octets).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn files_that_hang_take_few_threads_and_those_of_one_link_alone() {
        let (readings, (began, beginnings)) = (Readings::default(), mpsc::channel());
        let mut held = Vec::new();
        for _ in 0..3 * MOST {
            let (end, ended) = mpsc::channel::<()>();
            held.push(end);
            let began = began.clone();
            let work = move || {
                began.send(()).unwrap();
                ended.recv().is_err()
            };
            let link = readings.of(&Name::parse("a").unwrap());
            assert!(beside(link, Duration::from_millis(20), work).await.is_none());
        }
        assert_eq!(beginnings.try_iter().count(), MOST);
        let long = Duration::from_secs(60);
        assert_eq!(beside(readings.of(&Name::parse("b").unwrap()), long, || 7).await.unwrap().unwrap(), 7);
        // Once they end, so does the jam.
        drop(held);
        assert_eq!(beside(readings.of(&Name::parse("a").unwrap()), long, || 8).await.unwrap().unwrap(), 8);
    }
}
