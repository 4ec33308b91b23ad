//! Whether there is room for one more message: below `maximum-size` in all, with `minimum-free` left on the disk.

use crate::{config, store::Store};
use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long an answer about the disk is good for. In this time a fast disk takes a few hundred megabytes, less than `minimum-free`.
const FRESH: Duration = Duration::from_secs(1);

/// The room of one state directory.
#[derive(Debug)]
pub struct Room {
    store: Store,
    directory: PathBuf,
    free: Mutex<Option<(Instant, u64)>>,
}

impl Room {
    /// The room around `store`.
    pub(super) fn new(store: Store) -> Self {
        let directory = store.file().parent().map(PathBuf::from).unwrap_or_default();
        Self { store, directory, free: Mutex::default() }
    }

    /// Whether `size` more octets fit; else which bound they break, and what to do.
    pub(super) async fn check(&self, settings: &config::Queue, size: u64) -> Result<(), String> {
        let kept = self.store.octets_kept();
        if kept.saturating_add(size) > settings.maximum_size {
            return Err(format!(
                "the queue holds {} MiB, queue.maximum-size allows {} MiB; see `outlink queue list` for what waits and why",
                kept >> 20,
                settings.maximum_size >> 20
            ));
        }
        if settings.minimum_free == 0 {
            return Ok(());
        }
        let free = self.free().await;
        match free.saturating_sub(size) >= settings.minimum_free {
            true => Ok(()),
            false => Err(format!(
                "the disk of {} has {} MiB free, queue.minimum-free asks for {} MiB to stay; free some space",
                self.directory.display(),
                free >> 20,
                settings.minimum_free >> 20
            )),
        }
    }

    /// Octets free on the disk and in the database. Where the system does not tell, there is room: the write will say.
    async fn free(&self) -> u64 {
        let known = *self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, free)) = known.filter(|(at, _)| at.elapsed() < FRESH) {
            return free;
        }
        let on_disk = rustix::fs::statvfs(&self.directory).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        let inside = self.store.octets_free_inside().await.unwrap_or(0);
        let free = on_disk.saturating_add(inside);
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), free));
        free
    }
}
