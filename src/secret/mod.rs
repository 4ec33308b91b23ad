//! Values that never show themselves, and what proves that somebody knows one.
//!
//! Layer 0.

mod password;
mod recent;
mod sealing;

pub use password::{InvalidHash, Memory, PasswordHash};
pub use recent::Recent;
pub use sealing::{InvalidRing, InvalidSealed, Key, KeyId, Ring, Sealed, Unsealed};

use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// A password, token, client secret or key: wiped when dropped, and `[secret]` wherever it is printed.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends, hashes or stores it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl PartialEq for Secret {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("marked".into())), "[secret]");
        assert_eq!(format!("{:?}", Some(Secret::new("marked".into()))), "Some([secret])");
    }
}
