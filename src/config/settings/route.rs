//! Where the mail of an app goes, and what stands for recipients without a domain.

use crate::mail::{Address, Name};
use std::{collections::BTreeMap, fmt};

/// The mailboxes of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The first that may send it and works; never empty.
    Listed(Vec<Name>),
    /// The one that the author or the sender belongs to.
    BySender {
        /// For whom no mailbox is found, and while that one is held.
        fallback: Option<Name>,
    },
}

impl Route {
    /// The mailboxes that it names.
    pub fn named(&self) -> &[Name] {
        match self {
            Self::Listed(names) => names,
            Self::BySender { fallback } => fallback.as_slice(),
        }
    }

    /// Whether it names `mailbox`, or the one for a whole domain that this is an address of.
    pub fn names(&self, mailbox: &Name) -> bool {
        self.named().iter().any(|named| mailbox.is_of(named))
    }

    /// Whether the senders of a message decide.
    pub fn is_by_sender(&self) -> bool {
        matches!(self, Self::BySender { .. })
    }

    /// Whether mail can come by it to another mailbox than the one which it waits for.
    pub fn has_choice(&self) -> bool {
        match self {
            Self::Listed(names) => names.len() > 1,
            Self::BySender { fallback } => fallback.is_some(),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.named().iter().map(Name::as_str).collect();
        match self {
            Self::Listed(_) => f.write_str(&names.join(", ")),
            Self::BySender { fallback: None } => f.write_str("by-sender"),
            Self::BySender { fallback: Some(fallback) } => write!(f, "by-sender, else {fallback}"),
        }
    }
}

/// Addresses that stand for recipients without a domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aliases(BTreeMap<String, Address>);

impl Aliases {
    /// Whatever is not named.
    pub const ALL_OTHERS: &str = "*";

    /// Takes names in lower case.
    pub(crate) fn new(all: BTreeMap<String, Address>) -> Self {
        Self(all)
    }

    /// What stands for `recipient`; `None` for those with a domain, and those that nobody named.
    pub fn of(&self, recipient: &Address) -> Option<&Address> {
        if recipient.domain().is_some() {
            return None;
        }
        self.0.get(&recipient.as_str().to_lowercase()).or_else(|| self.0.get(Self::ALL_OTHERS))
    }
}
