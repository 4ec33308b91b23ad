//! Why something that was asked for was not done, whether a daemon was asked or the store of a stopped one.

use crate::{mail::Name, store, tokens::Refusal};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such thing.
    #[error("{0}")]
    Unknown(String),
    /// It was asked for in a way that makes no sense.
    #[error("{0}")]
    Nonsense(String),
    /// A login that gave nothing.
    #[error(transparent)]
    Consent(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Refused {
    /// There is no `what` of this name; these are `known`.
    pub(super) fn no_such(what: &str, name: &str, known: &[Name]) -> Self {
        let known: Vec<&str> = known.iter().map(Name::as_str).collect();
        let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are: {}", known.join(", ")) };
        Self::Unknown(format!("no {what} is named {name:?}; {known}"))
    }
}
