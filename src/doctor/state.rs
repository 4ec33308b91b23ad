//! The state directory: whether something can be written there, and how much room is left.

use super::finding::{Finding, Of};
use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// The check's name.
pub const CHECK: &str = "state-directory";

/// For a disk that hangs.
const WAIT: Duration = Duration::from_secs(5);

/// Examines `directory`, in which `minimum_free` octets are to stay.
pub async fn directory(directory: &Path, minimum_free: u64) -> Finding {
    let (of, owned) = (Of::default(), directory.to_owned());
    let looked = timeout(WAIT, tokio::task::spawn_blocking(move || look(&owned, minimum_free))).await;
    match looked {
        Ok(Ok(finding)) => finding,
        Ok(Err(_)) | Err(_) => of
            .failed(CHECK, format!("{} does not answer", directory.display()))
            .why(format!("nothing could be written there within {} seconds", WAIT.as_secs()))
            .fix("look at the disk or network share on which it lies"),
    }
}

fn look(directory: &Path, minimum_free: u64) -> Finding {
    let (of, begun, place) = (Of::default(), Instant::now(), directory.display());
    if !directory.is_dir() {
        let what = format!("{place} does not exist yet; `outlink run` makes it");
        return of.good(CHECK, what);
    }
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix("doctor-").tempfile_in(directory)?;
        file.write_all(&[0; 4096])?;
        file.as_file().sync_all()
    };
    if let Err(why) = write() {
        let full = why.kind() == std::io::ErrorKind::StorageFull || why.kind() == std::io::ErrorKind::QuotaExceeded;
        let fix = match full {
            true => "free space on that disk: until then nothing is accepted, and grants that are renewed cannot be kept",
            false => {
                "let the service's user write there (`chown -R outlink: DIR`), and look whether the disk is mounted read-only"
            }
        };
        return of.failed(CHECK, format!("nothing can be written to {place}")).why(why.to_string()).fix(fix);
    }
    let free = rustix::fs::statvfs(directory).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if free < minimum_free {
        let mib = |octets: u64| octets >> 20;
        let why = format!("queue.minimum-free asks for {} MiB to stay: below that no message is accepted", mib(minimum_free));
        let what = format!("the disk of {place} has {} MiB free", mib(free));
        return of.failed(CHECK, what).why(why).fix("free some space, or lower queue.minimum-free");
    }
    let room = if free == u64::MAX { String::new() } else { format!(", {} MiB free", free >> 20) };
    of.good(CHECK, format!("{place} can be written{room}")).took(begun.elapsed())
}
