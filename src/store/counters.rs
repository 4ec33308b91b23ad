//! What was sent through each mailbox, by the minute: the limits of a day and a minute outlive the process.

use rusqlite::{Connection, params};
use std::time::SystemTime;

use super::{Error, Store, claims::name, millis, time};
use crate::mail::Name;

/// What was sent through a mailbox in one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The mailbox.
    pub mailbox: Name,
    /// The beginning of the minute.
    pub start: SystemTime,
    /// Messages.
    pub messages: u32,
    /// Recipients.
    pub recipients: u32,
}

impl Store {
    /// Keeps the counts of these minutes.
    pub async fn put_counts(&self, counts: Vec<Count>) -> Result<(), Error> {
        let work = move |connection: &Connection| {
            let sql = "INSERT OR REPLACE INTO counters (mailbox, start, messages, recipients) VALUES (?1, ?2, ?3, ?4)";
            let mut insert = connection.prepare_cached(sql)?;
            counts.iter().try_for_each(|count| {
                let values = params![count.mailbox.as_str(), millis(count.start), count.messages, count.recipients];
                insert.execute(values).map(drop)
            })
        };
        self.0.committer.run("keep the counters", work).await
    }

    /// The counts since `from`, oldest first; older ones are forgotten.
    pub async fn counts(&self, from: SystemTime) -> Result<Vec<Count>, Error> {
        let work = move |connection: &Connection| {
            connection.prepare_cached("DELETE FROM counters WHERE start < ?1")?.execute([millis(from)])?;
            let mut statement =
                connection.prepare_cached("SELECT mailbox, start, messages, recipients FROM counters ORDER BY start")?;
            let all = statement.query_map([], |row| {
                let (mailbox, start) = (name(row.get(0)?)?, time(row.get(1)?));
                Ok(Count { mailbox, start, messages: row.get(2)?, recipients: row.get(3)? })
            })?;
            all.collect()
        };
        self.0.committer.run("read the counters", work).await
    }
}
