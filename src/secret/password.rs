//! stub
use super::Secret;

/// An argon2id hash in PHC form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an argon2id hash")]
pub struct InvalidHash;

/// Remembered verifications.
#[derive(Debug)]
pub struct Recent(Secret);
