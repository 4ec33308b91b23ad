//! The listeners' certificates while the daemon runs: their files are looked at every minute, and at a reload.

use crate::{
    listener::{CERTIFICATE_INTERVAL, Presented},
    mail::Name,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{interval, timeout},
};

/// Longest wait of a reload for the files. They are read to their end all the same.
const LONGEST: Duration = Duration::from_secs(5);

/// The certificate of each listener that has one.
pub(super) type Certificates = Arc<BTreeMap<Name, Arc<Presented>>>;

/// Looks at the files now and then, until `stop` is true.
pub(super) async fn watch(all: Certificates, mut stop: watch::Receiver<bool>) {
    if all.is_empty() {
        return;
    }
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    tokio::pin!(stopped);
    let mut turns = interval(CERTIFICATE_INTERVAL);
    turns.tick().await;
    loop {
        tokio::select! {
            () = &mut stopped => return,
            _ = turns.tick() => refresh(&all).await,
        }
    }
}

/// Looks at the files now.
pub(super) async fn refresh(all: &Certificates) {
    let all = all.clone();
    let look = tokio::task::spawn_blocking(move || all.values().for_each(|presented| presented.refresh()));
    if timeout(LONGEST, look).await.is_err() {
        tracing::error!(
            "the files of the listeners' certificates were not read within 5 seconds; is their disk or network share gone?"
        );
    }
}
