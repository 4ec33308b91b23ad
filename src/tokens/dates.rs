//! From when until when the certificates of links count. Their files are looked at each time, and read again when they changed:
//! a PKCS#12 file costs much to open.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};
use tokio::task::JoinSet;

use super::{
    World,
    proof::{WAIT, beside},
};
use crate::{
    config::{Certificate as Files, Evidence, Link, Proof},
    mail::Name,
    oauth::Certificate,
};

/// What tells that a file is still the same: its number, length and time.
type Mark = (u64, u64, Option<SystemTime>);

/// What was read of a link.
#[derive(Debug, Clone)]
struct Read {
    link: Arc<Link>,
    mark: Option<Mark>,
    certificate: Option<Certificate>,
}

/// What was read last, by link.
#[derive(Debug, Default)]
pub(super) struct Dates(Mutex<BTreeMap<Name, Read>>);

impl Dates {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Read>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The certificates of those `links` that have one. What cannot be read now is as it was read last: the renewals say what is wrong.
pub(super) async fn certificates(links: &[Arc<Link>], world: &World) -> BTreeMap<Name, Certificate> {
    let mut readings = JoinSet::new();
    for link in links.iter().filter(|link| matches!(link.proof, Proof::Certificate(_))) {
        let before = world.dates.lock().get(&link.name).cloned().filter(|read| read.link == *link);
        let (link, ring, places) = (link.clone(), world.store.ring(), world.readings.of(&link.name));
        readings.spawn(async move {
            let (asked, old) = (link.clone(), before.clone());
            let read = beside(places, WAIT, move || {
                let mark = mark(&asked);
                match old {
                    Some(old) if mark.is_some() && old.mark == mark => Some(old),
                    _ => match asked.evidence(&ring) {
                        Ok(Evidence::Identity(identity)) => {
                            Some(Read { link: asked, mark, certificate: identity.certificate().cloned() })
                        }
                        Ok(_) | Err(_) => None,
                    },
                }
            });
            read.await.and_then(Result::ok).flatten().or(before)
        });
    }
    let read: Vec<Read> = readings.join_all().await.into_iter().flatten().collect();
    let mut dates = world.dates.lock();
    *dates = read.into_iter().map(|read| (read.link.name.clone(), read)).collect();
    dates.iter().filter_map(|(name, read)| Some((name.clone(), read.certificate.clone()?))).collect()
}

/// Of the file that holds the certificate: another key needs another certificate.
fn mark(link: &Link) -> Option<Mark> {
    let Proof::Certificate(Files::Pem { certificate: file, .. } | Files::Pkcs12 { file, .. }) = &link.proof else { return None };
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()))
}
