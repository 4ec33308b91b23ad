//! The listeners' certificates while the daemon runs: their files are looked at every minute, and at a reload.

use crate::{
    admin::Listening,
    listener::{CERTIFICATE_INTERVAL, Presented},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{interval, timeout},
};

/// Longest wait of a reload for the files. They are read to their end all the same.
const LONGEST: Duration = Duration::from_secs(5);

/// Looks at the files of `listeners` now and then, until `stop` is true.
pub(super) async fn watch(listeners: watch::Receiver<Vec<Listening>>, mut stop: watch::Receiver<bool>) {
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    tokio::pin!(stopped);
    let mut turns = interval(CERTIFICATE_INTERVAL);
    turns.tick().await;
    loop {
        tokio::select! {
            () = &mut stopped => return,
            _ = turns.tick() => refresh(&listeners).await,
        }
    }
}

/// Looks at the files now.
pub(super) async fn refresh(listeners: &watch::Receiver<Vec<Listening>>) {
    let all: Vec<Arc<Presented>> = listeners.borrow().iter().filter_map(|listening| listening.presented.clone()).collect();
    if all.is_empty() {
        return;
    }
    let look = tokio::task::spawn_blocking(move || all.iter().for_each(|presented| presented.refresh()));
    if timeout(LONGEST, look).await.is_err() {
        tracing::error!(
            "the files of the listeners' certificates were not read within 5 seconds; is their disk or network share gone?"
        );
    }
}
