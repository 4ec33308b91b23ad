//! The way through the drop directory, where everybody may put as many names as the disk holds.
//!
//! A round goes a bounded part of the way and the next one goes on from there, so that no number of names hides those behind them. Of
//! what it finds each owner has a turn. What is no message and was never finished goes after an hour.

use super::{READY, take::changed};
use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, Metadata, ReadDir},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// Names looked at in one round: a fraction of a second.
const MOST_NAMES: usize = 20_000;

/// Messages taken in one round.
const MOST_TAKEN: usize = 500;

/// How long a file that was never finished stays, or one of another name. Whoever leaves a message has all of it before, and writes it
/// at once.
const UNFINISHED: Duration = Duration::from_secs(3600);

/// A walk through the directory.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Where it goes on; `None` at the beginning.
    rest: Option<ReadDir>,
    /// Whether the directory is longer than one round goes, which was said.
    is_long: bool,
}

impl Walk {
    /// The names of messages that are due, each owner's oldest first; those in `later` only when their time has come.
    pub(super) fn round(
        &mut self,
        directory: &Path,
        later: &HashMap<String, SystemTime>,
        now: SystemTime,
    ) -> io::Result<Vec<String>> {
        self.part(directory, later, now, MOST_NAMES)
    }

    fn part(
        &mut self,
        directory: &Path,
        later: &HashMap<String, SystemTime>,
        now: SystemTime,
        most: usize,
    ) -> io::Result<Vec<String>> {
        let (begins, mut entries) = match self.rest.take() {
            Some(rest) => (false, rest),
            None => (true, fs::read_dir(directory)?),
        };
        let mut due: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        let (mut owners, mut swept, mut seen): (BTreeMap<u32, usize>, _, _) = (BTreeMap::new(), 0, 0);
        while seen < most {
            let Some(entry) = entries.next() else { break };
            let entry = entry?;
            seen += 1;
            let name = entry.file_name().into_string().ok();
            let is_ready = |name: &String| name.starts_with(READY);
            if name.as_ref().filter(|name| is_ready(name)).and_then(|name| later.get(name)).is_some_and(|due| *due > now) {
                continue;
            }
            // Of the name itself, wherever a link leads. It may have gone.
            let Ok(about) = entry.metadata() else { continue };
            *owners.entry(about.uid()).or_default() += 1;
            match name.filter(is_ready) {
                Some(name) => due.entry(about.uid()).or_default().push(name),
                None if is_old(&about, now) => swept += usize::from(sweep(&entry.path())),
                None => {}
            }
        }
        let is_whole = seen < most;
        if !is_whole {
            self.rest = Some(entries);
        }
        self.tell(directory, (begins, is_whole), (swept, &owners));
        Ok(fair(due, MOST_TAKEN))
    }

    fn tell(&mut self, directory: &Path, (begins, is_whole): (bool, bool), (swept, owners): (usize, &BTreeMap<u32, usize>)) {
        let user = owners.iter().max_by_key(|(_, count)| **count).map(|(uid, _)| super::user(*uid)).unwrap_or_default();
        let directory = directory.display();
        if swept > 0 {
            tracing::warn!(event = "drop.swept", %directory, names = swept, user,
                "names in the drop directory that are no messages were removed; `user` has the most names there");
        }
        if !is_whole && !self.is_long {
            self.is_long = true;
            tracing::warn!(event = "drop.crowded", %directory, user,
                "the drop directory has very many names, it is gone through in parts; `user` has the most names there");
        } else if is_whole && begins {
            self.is_long = false;
        }
    }
}

/// In turn from each owner, the oldest first: ids sort by time.
fn fair(mut due: BTreeMap<u32, Vec<String>>, most: usize) -> Vec<String> {
    due.values_mut().for_each(|names| names.sort_unstable_by(|a, b| b.cmp(a)));
    let mut chosen = Vec::new();
    while chosen.len() < most && !due.is_empty() {
        chosen.extend(due.values_mut().filter_map(Vec::pop));
        due.retain(|_, names| !names.is_empty());
    }
    chosen.truncate(most);
    chosen
}

/// Removes what stands under a name that is none of ours. A directory of somebody else that is not empty stays.
fn sweep(path: &Path) -> bool {
    fs::remove_file(path).or_else(|_| fs::remove_dir(path)).is_ok()
}

/// Whether it has been as it is for long.
fn is_old(about: &Metadata, now: SystemTime) -> bool {
    now.duration_since(changed(about)).is_ok_and(|passed| passed > UNFINISHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_names_hides_those_behind_them() {
        let drop = tempfile::tempdir().unwrap();
        for n in 0..50 {
            fs::write(drop.path().join(format!("junk-{n}")), "").unwrap();
        }
        fs::write(drop.path().join("msg-1"), "").unwrap();
        fs::write(drop.path().join("msg-2"), "").unwrap();
        let (mut walk, later, now) = (Walk::default(), HashMap::new(), SystemTime::now());
        let mut found: Vec<String> = (0..6).flat_map(|_| walk.part(drop.path(), &later, now, 10).unwrap()).collect();
        found.sort();
        assert_eq!(found, ["msg-1", "msg-2"]);
        // It begins again.
        assert_eq!(walk.part(drop.path(), &later, now, 1000).unwrap().len(), 2);
    }

    #[test]
    fn each_owner_has_a_turn() {
        let names = |letter: &str, count: usize| (0..count).map(|n| format!("msg-{letter}{n:03}")).collect::<Vec<_>>();
        let due = BTreeMap::from([(1, names("!", 900)), (2, names("z", 2)), (3, names("a", 3))]);
        let chosen = fair(due, 10);
        assert_eq!(chosen[..5], ["msg-!000", "msg-z000", "msg-a000", "msg-!001", "msg-z001"]);
        assert_eq!(chosen.len(), 10);
    }

    #[test]
    fn what_is_no_message_goes_after_a_while() {
        let drop = tempfile::tempdir().unwrap();
        for name in ["new-1", "other", "msg-1"] {
            fs::write(drop.path().join(name), "x").unwrap();
        }
        fs::create_dir(drop.path().join("empty")).unwrap();
        let (mut walk, now, mut later) = (Walk::default(), SystemTime::now(), HashMap::new());
        assert_eq!(walk.round(drop.path(), &later, now).unwrap(), ["msg-1"]);
        assert_eq!(fs::read_dir(drop.path()).unwrap().count(), 4);
        later.insert("msg-1".to_owned(), now + UNFINISHED * 3);
        assert_eq!(walk.round(drop.path(), &later, now + UNFINISHED * 2).unwrap(), Vec::<String>::new());
        assert_eq!(fs::read_dir(drop.path()).unwrap().count(), 1);
        assert_eq!(walk.round(drop.path(), &later, now + UNFINISHED * 4).unwrap(), ["msg-1"]);
    }
}
