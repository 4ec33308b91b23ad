//! A hook as it is configured: what it does, and which changes of state run it.

use super::{Proxy, SecretSource};
use crate::mail::{Address, Name, State};
use std::{collections::BTreeSet, fmt, path::PathBuf, time::Duration};
use url::Url;

/// What is done when a link or a mailbox changes its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its name.
    pub name: Name,
    /// What it does.
    pub action: Action,
    /// The states that are told when they begin.
    pub states: BTreeSet<State>,
    /// Whose changes; `None` means all.
    pub only: Option<Only>,
    /// How long one try may take.
    pub timeout: Duration,
}

/// The links and mailboxes whose changes run a hook.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Only {
    /// These links, and their mailboxes.
    pub links: BTreeSet<Name>,
    /// These mailboxes.
    pub mailboxes: BTreeSet<Name>,
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs a program, without a shell; the first word is its absolute path.
    Command(Vec<String>),
    /// Posts JSON.
    Webhook(Box<Webhook>),
    /// Sends mail.
    Mail {
        /// To whom.
        to: Vec<Address>,
        /// Through which mailbox.
        mailbox: Name,
    },
}

/// Where and how JSON is posted.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where; its path may be a secret, so that only scheme, host and port are ever shown.
    pub url: Url,
    /// What signs it.
    pub secret: Option<SecretSource>,
    /// A private CA, trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The way there.
    pub proxy: Proxy,
}

impl Webhook {
    /// Where it goes, as it may be shown: `https://pager.example.com`.
    pub fn place(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret, ca_file, proxy, .. } = self;
        let place = self.place();
        f.debug_struct("Webhook")
            .field("url", &place)
            .field("secret", secret)
            .field("ca_file", ca_file)
            .field("proxy", proxy)
            .finish()
    }
}
