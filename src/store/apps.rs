//! When each app sent last, how much, and what was changed about it: what its limits and `outlink app list` need over a restart.

use rusqlite::{Connection, params};
use std::time::SystemTime;

use super::{Error, Store, claims::name, millis, time};
use crate::mail::{Change, Name};

/// What an app sent in one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppCount {
    /// The app.
    pub app: Name,
    /// The beginning of the minute.
    pub start: SystemTime,
    /// Messages.
    pub messages: u32,
}

/// How an app proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By user name and password.
    Password,
    /// By a client certificate.
    Certificate,
    /// As a process of a user of this machine.
    UnixUser,
    /// By its address.
    Network,
    /// As the owner of a file in the drop directory.
    DroppedFile,
}

impl Proof {
    const ALL: [Self; 5] = [Self::Password, Self::Certificate, Self::UnixUser, Self::Network, Self::DroppedFile];

    /// Its word in the database, and for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Certificate => "certificate",
            Self::UnixUser => "unix-user",
            Self::Network => "network",
            Self::DroppedFile => "dropped-file",
        }
    }

    /// The one of this word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|proof| proof.word() == word)
    }
}

/// The last message of an app that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The app.
    pub app: Name,
    /// When it came.
    pub at: SystemTime,
    /// From whom, as logs show it.
    pub client: String,
    /// The listener's name.
    pub listener: String,
    /// Whether the connection was encrypted.
    pub encrypted: bool,
    /// How the app proved itself; `None` for messages from before this was kept.
    pub proof: Option<Proof>,
}

/// In how many messages of an app something was changed, ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppChange {
    /// The app.
    pub app: Name,
    /// What was changed.
    pub change: Change,
    /// Messages.
    pub messages: u64,
}

/// What is kept of apps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppUsage {
    /// What they sent, by the minute.
    pub counts: Vec<AppCount>,
    /// Their last messages.
    pub seen: Vec<Seen>,
    /// What was changed about their messages.
    pub changes: Vec<AppChange>,
}

impl AppUsage {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.seen.is_empty() && self.changes.is_empty()
    }
}

impl Store {
    /// Keeps counts, last messages and changes.
    pub async fn put_usage(&self, usage: AppUsage) -> Result<(), Error> {
        let work = move |connection: &Connection| {
            let sql = "INSERT OR REPLACE INTO app_counters (app, start, messages) VALUES (?1, ?2, ?3)";
            let mut insert = connection.prepare_cached(sql)?;
            for count in &usage.counts {
                insert.execute(params![count.app.as_str(), millis(count.start), count.messages])?;
            }
            let sql =
                "INSERT OR REPLACE INTO apps (name, at, client, listener, encrypted, proof) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let mut insert = connection.prepare_cached(sql)?;
            for it in &usage.seen {
                let proof = it.proof.map(Proof::word);
                insert.execute(params![it.app.as_str(), millis(it.at), it.client, it.listener, it.encrypted, proof])?;
            }
            let sql = "INSERT OR REPLACE INTO app_changes (app, change, messages) VALUES (?1, ?2, ?3)";
            let mut insert = connection.prepare_cached(sql)?;
            for it in &usage.changes {
                insert.execute(params![it.app.as_str(), it.change.word(), it.messages])?;
            }
            Ok(())
        };
        self.0.committer.run("keep what apps sent", work).await
    }

    /// The counts since `from`, oldest first, each app's last message, and its changes; older counts are forgotten.
    pub async fn usage(&self, from: SystemTime) -> Result<AppUsage, Error> {
        let work = move |connection: &Connection| {
            connection.prepare_cached("DELETE FROM app_counters WHERE start < ?1")?.execute([millis(from)])?;
            let mut statement = connection.prepare_cached("SELECT app, start, messages FROM app_counters ORDER BY start")?;
            let counts = statement
                .query_map([], |row| Ok(AppCount { app: name(row.get(0)?)?, start: time(row.get(1)?), messages: row.get(2)? }))?;
            let counts: rusqlite::Result<Vec<_>> = counts.collect();
            let mut statement =
                connection.prepare_cached("SELECT name, at, client, listener, encrypted, proof FROM apps ORDER BY name")?;
            let seen = statement.query_map([], |row| {
                let (app, at, client) = (name(row.get(0)?)?, time(row.get(1)?), row.get(2)?);
                let proof: Option<String> = row.get(5)?;
                let proof = proof.as_deref().and_then(Proof::named);
                Ok(Seen { app, at, client, listener: row.get(3)?, encrypted: row.get(4)?, proof })
            })?;
            let seen: rusqlite::Result<Vec<_>> = seen.collect();
            let mut statement =
                connection.prepare_cached("SELECT app, change, messages FROM app_changes ORDER BY app, change")?;
            // A word that a later version wrote is none of ours, and stays.
            let changes = statement.query_map([], |row| {
                let (app, messages) = (name(row.get(0)?)?, row.get(2)?);
                Ok(Change::parse(row.get_ref(1)?.as_str()?).map(|change| AppChange { app, change, messages }))
            })?;
            let changes: rusqlite::Result<Vec<_>> = changes.filter_map(Result::transpose).collect();
            Ok(AppUsage { counts: counts?, seen: seen?, changes: changes? })
        };
        self.0.committer.run("read what apps sent", work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_proof_is_read_by_its_word() {
        for proof in Proof::ALL {
            assert_eq!(Proof::named(proof.word()), Some(proof));
        }
        assert_eq!(Proof::named("of a later version"), None);
    }

    #[tokio::test]
    async fn what_apps_sent_is_read_as_it_was_kept_and_old_counts_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        let app = Name::parse("crowd").unwrap();
        let count = |start, messages| AppCount { app: app.clone(), start: at(start), messages };
        let (client, listener) = ("unix:uid=33".into(), "local".into());
        let seen = Seen { app: app.clone(), at: at(61), client, listener, encrypted: false, proof: None };
        let change = |change, messages| AppChange { app: app.clone(), change, messages };
        let usage = |counts, seen: &Seen, changes| AppUsage { counts, seen: vec![seen.clone()], changes };
        let first =
            usage(vec![count(0, 1), count(60, 2)], &seen, vec![change(Change::AddedDate, 1), change(Change::AddedFrom, 2)]);
        store.put_usage(first).await.unwrap();
        let later = Seen { at: at(62), encrypted: true, proof: Some(Proof::UnixUser), ..seen };
        store.put_usage(usage(vec![count(60, 3)], &later, vec![change(Change::AddedDate, 7)])).await.unwrap();
        let changes = vec![change(Change::AddedDate, 7), change(Change::AddedFrom, 2)];
        let kept = usage(vec![count(0, 1), count(60, 3)], &later, changes.clone());
        assert_eq!(store.usage(at(0)).await.unwrap(), kept);
        assert_eq!(store.usage(at(30)).await.unwrap(), usage(vec![count(60, 3)], &later, changes));
        assert_eq!(store.usage(at(0)).await.unwrap().counts, [count(60, 3)]);
        let sql = "INSERT INTO app_changes (app, change, messages) VALUES ('crowd', 'of-a-later-version', 1)";
        store.0.committer.run("test", |connection: &Connection| connection.execute(sql, [])).await.unwrap();
        assert_eq!(store.usage(at(0)).await.unwrap().changes.len(), 2);
    }
}
