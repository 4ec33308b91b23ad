//! What is known of all grants, for people; without their tokens.

use super::{Error, Store, time};
use std::time::SystemTime;

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
}

impl Store {
    /// All grants, by mailbox.
    pub async fn granted(&self) -> Result<Vec<Granted>, Error> {
        let read = |connection: &rusqlite::Connection| {
            let mut statement = connection
                .prepare_cached("SELECT mailbox, origin, account, brought_by, obtained_at FROM grants ORDER BY mailbox")?;
            let rows = statement.query_map([], |row| {
                Ok(Granted {
                    mailbox: row.get("mailbox")?,
                    origin: row.get("origin")?,
                    account: row.get("account")?,
                    by: row.get("brought_by")?,
                    obtained_at: time(row.get("obtained_at")?),
                })
            })?;
            rows.collect()
        };
        self.0.reader.read("read the grants", read).await
    }
}
