//! What is known of all grants, for people; without their tokens.

use super::{Error, Store, grants::length, time};
use std::time::{Duration, SystemTime};

/// A grant as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Whose it is.
    pub mailbox: String,
    /// How it came here.
    pub origin: String,
    /// Who signed in at the provider, where it was told.
    pub account: Option<String>,
    /// The user of this machine who ran the command, where it is known.
    pub by: Option<String>,
    /// When it was given.
    pub obtained_at: SystemTime,
    /// When an access token was last made from it.
    pub last_renewed_at: Option<SystemTime>,
    /// When the refresh token ends, where it was told.
    pub refresh_until: Option<SystemTime>,
    /// Whether a renewal moved that; `None`: not known yet.
    pub refresh_moves: Option<bool>,
    /// How long the consent before it lasted, where that was a life that the provider documents.
    pub lasted: Option<Duration>,
}

impl Store {
    /// All grants, by mailbox.
    pub async fn granted(&self) -> Result<Vec<Granted>, Error> {
        let read = |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare_cached(
                "SELECT mailbox, origin, account, brought_by, obtained_at, last_renewed_at, refresh_until, refresh_moves, lasted
                 FROM grants ORDER BY mailbox",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(Granted {
                    mailbox: row.get("mailbox")?,
                    origin: row.get("origin")?,
                    account: row.get("account")?,
                    by: row.get("brought_by")?,
                    obtained_at: time(row.get("obtained_at")?),
                    last_renewed_at: row.get::<_, Option<i64>>("last_renewed_at")?.map(time),
                    refresh_until: row.get::<_, Option<i64>>("refresh_until")?.map(time),
                    refresh_moves: row.get("refresh_moves")?,
                    lasted: row.get::<_, Option<i64>>("lasted")?.map(length),
                })
            })?;
            rows.collect()
        };
        self.0.reader.read("read the grants", read).await
    }
}
