//! What ends one day, and when: refresh tokens, client secrets, certificates.

use super::Tokens;
use crate::mail::{Advice, Name};
use std::time::SystemTime;
use tokio::sync::watch;

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The link whose client needs it; for a refresh token the mailbox's.
    pub link: Name,
    /// The mailbox whose grant it is; `None`: every mailbox of the link needs it.
    pub mailbox: Option<Name>,
    /// What: `refresh token`, `client secret`, `certificate`.
    pub what: &'static str,
    /// When.
    pub at: SystemTime,
    /// Why then, in words.
    pub reason: String,
    /// What to do before.
    pub advice: Advice,
}

impl Tokens {
    /// What ends, as far as it is known.
    pub async fn endings(&self) -> Vec<Ending> {
        Vec::new()
    }

    /// Tells that a status or an ending may be another.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.world.changed.subscribe()
    }
}
