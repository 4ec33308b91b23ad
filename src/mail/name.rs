//! The names that configuration gives to listeners, links, mailboxes and apps, and that logs, commands and metrics repeat.

use std::{fmt, sync::Arc};

/// The name of a listener, link, mailbox or app: `[a-z0-9-]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Takes `[a-z0-9-]`, 1 to 63 characters, not beginning with `-`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        match plain && (1..=63).contains(&text.len()) && !text.starts_with('-') {
            true => Ok(Self(text.into())),
            false => Err(InvalidName),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 63 characters of a-z, 0-9 and `-`, and does not begin with `-`")]
pub struct InvalidName;
