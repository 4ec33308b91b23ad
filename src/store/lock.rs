//! One process at a time uses a state directory: it holds a lock on `outlink.lock`, which ends with the process however it ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::Error;

/// How long a start waits for a running command: commands hold the directory for fractions of a second.
const WAIT: Duration = Duration::from_secs(5);

/// The file whose presence says that a daemon is about to start.
const STARTING: &str = "outlink.starting";

/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// Says that a daemon is about to start, for commands that would keep the directory long; the word is taken back when this is dropped.
#[derive(Debug)]
pub struct Starting(PathBuf);

impl Starting {
    /// Leaves the word. Where that fails, the start waits no less, and may fail for a command that never hears it.
    pub fn tell(directory: &Path) -> Self {
        let word = directory.join(STARTING);
        if let Err(error) = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&word) {
            tracing::debug!(%error, file = %word.display(), "commands are not told that a daemon starts");
        }
        Self(word)
    }

    /// Whether one does.
    pub fn is_told(directory: &Path) -> bool {
        directory.join(STARTING).exists()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        // What stays makes one command give way for nothing.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes the lock; it lasts as long as the file is open.
pub(super) fn take(directory: &Path) -> Result<File, Error> {
    take_within(directory, WAIT)
}

fn take_within(directory: &Path, wait: Duration) -> Result<File, Error> {
    let path = directory.join("outlink.lock");
    let fault = |why| Error::File { file: path.clone(), why };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fault)?;
    let end = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse { directory: directory.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(why)) => return Err(fault(why)),
        }
    }
    // Only a courtesy to whoever is refused: the lock is the lock, not the number.
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(fault)?;
    Ok(file)
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let held = take(directory.path()).unwrap();
        let text = take_within(directory.path(), Duration::from_millis(50)).unwrap_err().to_string();
        assert!(text.contains(&format!("in use by process {}", std::process::id())), "{text}");
        drop(held);
        take_within(directory.path(), Duration::ZERO).unwrap();
    }

    #[test]
    fn a_start_waits_for_a_command_that_is_about_to_end() {
        let directory = tempfile::tempdir().unwrap();
        let held = take(directory.path()).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| take(directory.path()).map(drop));
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }
}
