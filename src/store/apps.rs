//! When each app sent last, and how much: what its limits and `outlink app list` need over a restart.

use rusqlite::{Connection, params};
use std::time::SystemTime;

use super::{Error, Store, claims::name, millis, time};
use crate::mail::Name;

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

impl Store {
    /// Keeps counts and last messages.
    pub async fn put_usage(&self, counts: Vec<AppCount>, seen: Vec<Seen>) -> Result<(), Error> {
        let work = move |connection: &Connection| {
            let sql = "INSERT OR REPLACE INTO app_counters (app, start, messages) VALUES (?1, ?2, ?3)";
            let mut insert = connection.prepare_cached(sql)?;
            for count in &counts {
                insert.execute(params![count.app.as_str(), millis(count.start), count.messages])?;
            }
            let sql =
                "INSERT OR REPLACE INTO apps (name, at, client, listener, encrypted, proof) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let mut insert = connection.prepare_cached(sql)?;
            for it in &seen {
                let proof = it.proof.map(Proof::word);
                insert.execute(params![it.app.as_str(), millis(it.at), it.client, it.listener, it.encrypted, proof])?;
            }
            Ok(())
        };
        self.0.committer.run("keep what apps sent", work).await
    }

    /// The counts since `from`, oldest first, and each app's last message; older counts are forgotten.
    pub async fn usage(&self, from: SystemTime) -> Result<(Vec<AppCount>, Vec<Seen>), Error> {
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
            Ok((counts?, seen?))
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
        store.put_usage(vec![count(0, 1), count(60, 2)], vec![seen.clone()]).await.unwrap();
        let later = Seen { at: at(62), encrypted: true, proof: Some(Proof::UnixUser), ..seen };
        store.put_usage(vec![count(60, 3)], vec![later.clone()]).await.unwrap();
        assert_eq!(store.usage(at(0)).await.unwrap(), (vec![count(0, 1), count(60, 3)], vec![later.clone()]));
        assert_eq!(store.usage(at(30)).await.unwrap(), (vec![count(60, 3)], vec![later.clone()]));
        assert_eq!(store.usage(at(0)).await.unwrap().0, [count(60, 3)]);
    }
}
