//! What a request shows of its client: read from the files of the moment, signed at the moment.

use chrono::{DateTime, Utc};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use uuid::Uuid;

use super::{renewal::transient, source::Context};
use crate::{
    config::{Evidence, EvidenceError, Link, SecretMethod},
    oauth::{Authentication, ClientAssertion, Kind, Trouble, Unsigned},
    secret::{Ring, Secret},
};

/// Longest wait for the files, which may lie on a disk that hangs.
const WAIT: Duration = Duration::from_secs(5);

/// What proves the client of `link`, read afresh; `ring` opens what is sealed.
pub(super) async fn read(link: &Arc<Link>, ring: Arc<Ring>) -> Result<Evidence, Trouble> {
    let (asked, name) = (link.clone(), &link.name);
    let reading = tokio::task::spawn_blocking(move || asked.evidence(&ring));
    match tokio::time::timeout(WAIT, reading).await {
        Ok(Ok(read)) => read.map_err(|EvidenceError { key, why, step, .. }| fault(format!("{key} of link {name}: {why}"), step)),
        Ok(Err(_)) => Err(transient("reading what proves the client was interrupted".into())),
        Err(_) => {
            let why = format!("what proves the client of link {name} was not read within {} seconds", WAIT.as_secs());
            Err(fault(why, "look at the disk on which its files lie; they are read again by themselves".into()))
        }
    }
}

fn fault(reason: String, advice: String) -> Trouble {
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
        _ => Err(fault(format!("link {} has no service account", link.name), "set service-account".into())),
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
