//! How each link and mailbox stands, as it is told: one state each, with reason, advice and time.

use crate::mail::{Advice, Name, State};
use std::{
    fmt,
    time::{Duration, SystemTime},
};

/// How long a mailbox fails until its mail goes another way: most trouble that mends itself is shorter, and who takes another way for
/// each of it would spread an app's mail over its mailboxes without need.
const FAILS_FOR: Duration = Duration::from_secs(300);

/// What has a state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An outgoing link.
    Link(Name),
    /// A mailbox.
    Mailbox {
        /// Its name.
        mailbox: Name,
        /// Its link.
        link: Name,
    },
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The state.
    pub state: State,
    /// Why; `None` when it is ready.
    pub reason: Option<String>,
    /// What to do.
    pub advice: Option<Advice>,
    /// Since when it is in this state.
    pub since: SystemTime,
    /// When what it needs ends, for `expiring`.
    pub until: Option<SystemTime>,
    /// When it is tried again; `None`: not by itself, or nothing is wrong.
    pub next: Option<SystemTime>,
}

/// Something stands otherwise than before. Where `before` is the same state, its reason is another, or the end that it tells of has
/// come nearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub subject: Subject,
    /// The state before.
    pub before: State,
    /// How it stands now.
    pub standing: Standing,
}

impl Standing {
    /// Whether it does not work, and not only for a moment: its mail may go another way.
    pub fn is_out(&self, now: SystemTime) -> bool {
        match self.state {
            State::Ready | State::Expiring => false,
            State::Failing => now.duration_since(self.since).is_ok_and(|lasts| lasts >= FAILS_FOR),
            State::OverQuota | State::NeedsRepair | State::NeedsConsent | State::Paused => true,
        }
    }
}

impl Subject {
    /// The event that tells its changes.
    pub fn event(&self) -> &'static str {
        match self {
            Self::Link(_) => "link.changed",
            Self::Mailbox { .. } => "mailbox.changed",
        }
    }
}

impl Subject {
    /// What it is called among both kinds: `mailbox.alerts`.
    pub fn key(&self) -> String {
        match self {
            Self::Link(name) => format!("link.{name}"),
            Self::Mailbox { mailbox, .. } => format!("mailbox.{mailbox}"),
        }
    }

    /// The link that it is or belongs to.
    pub fn link(&self) -> &Name {
        match self {
            Self::Link(link) | Self::Mailbox { link, .. } => link,
        }
    }

    /// The mailbox, where it is one.
    pub fn mailbox(&self) -> Option<&Name> {
        match self {
            Self::Link(_) => None,
            Self::Mailbox { mailbox, .. } => Some(mailbox),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(name) => write!(f, "link {name}"),
            Self::Mailbox { mailbox, .. } => write!(f, "mailbox {mailbox}"),
        }
    }
}

impl Change {
    /// Whether it is bad news.
    pub fn is_bad(&self) -> bool {
        super::states::is_bad(self.standing.state, self.before)
    }
}
