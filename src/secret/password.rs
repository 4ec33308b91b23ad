//! Passwords of apps, kept as argon2id hashes in PHC form (RFC 9106; `$argon2id$v=19$m=…,t=…,p=…$salt$hash`).
//!
//! Pure: salts come in as arguments. A hash is read from a file, so what it may cost is bounded before it is ever computed.

use super::Secret;
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher, Version};
use std::{fmt, sync::LazyLock};
use subtle::ConstantTimeEq;

/// Memory that a hash may ask for, in KiB: 256 MiB, 13 times what [`PasswordHash::make`] takes. A few logins at once must fit into a small machine.
const MOST_MEMORY: u32 = 256 * 1024;
/// Passes over the memory, and lanes, that a hash may ask for; RFC 9106 recommends 1 to 4 of each.
const MOST_PASSES: u32 = 16;
/// Memory times passes, in KiB: about a second of one core. Bounds the two together.
const MOST_WORK: u32 = 1024 * 1024;
/// Octets of salt that [`PasswordHash::make`] takes (RFC 9106 §3.1).
const SALT: usize = 16;
/// Octets of output below which a hash proves too little.
const LEAST_OUTPUT: usize = 16;

/// An argon2id hash in PHC form.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

/// Why a text is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    /// It does not begin with `$`: most likely the password itself.
    #[error("this is not a hash but looks like a password in clear text")]
    Clear,
    /// Another algorithm's hash.
    #[error("only argon2id hashes are taken, this is another kind")]
    OtherAlgorithm,
    /// Not in PHC form, or a part is missing, too short or unknown.
    #[error("this is not a complete argon2id hash in PHC form; was it cut while copying?")]
    Malformed,
    /// Its parameters would cost too much memory or time at each login.
    #[error("this hash asks for more than 256 MiB, 16 lanes, 16 passes or 1 GiB of work in all at each login")]
    TooCostly,
}

/// What an unknown name is checked against, so that it takes as long as a known one. No password belongs to it: the
/// answer is thrown away.
static NOBODY: LazyLock<Option<PasswordHash>> =
    LazyLock::new(|| PasswordHash::make(&Secret::new("nobody".into()), &[0x5a; SALT]).ok());

impl PasswordHash {
    /// Reads a hash, and refuses what would be dear to verify.
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        if !text.starts_with('$') {
            return Err(InvalidHash::Clear);
        }
        if !text.starts_with("$argon2id$") {
            return Err(InvalidHash::OtherAlgorithm);
        }
        let hash = argon2::PasswordHash::new(text).map_err(|_| InvalidHash::Malformed)?;
        let known = hash.params.iter().all(|(name, _)| matches!(name.as_str(), "m" | "t" | "p"));
        let output = hash.hash.as_ref().map_or(0, |output| output.len());
        if !known || hash.salt.is_none() || output < LEAST_OUTPUT || hash.version.is_some_and(|version| version != 19) {
            return Err(InvalidHash::Malformed);
        }
        let params = Params::try_from(&hash).map_err(|_| InvalidHash::Malformed)?;
        let dear = params.m_cost() > MOST_MEMORY || params.t_cost() > MOST_PASSES || params.p_cost() > MOST_PASSES;
        if dear || params.m_cost().saturating_mul(params.t_cost()) > MOST_WORK {
            return Err(InvalidHash::TooCostly);
        }
        Ok(Self(text.into()))
    }

    /// Hashes `password` with RFC 9106's small profile as OWASP recommends it (19 MiB, 2 passes, 1 lane: about 16 ms); `salt` is
    /// fresh randomness.
    pub fn make(password: &Secret, salt: &[u8; SALT]) -> Result<Self, InvalidHash> {
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
        let hash = hasher.hash_password_with_salt(password.expose().as_bytes(), salt).map_err(|_| InvalidHash::Malformed)?;
        Ok(Self(hash.to_string().into()))
    }

    /// Whether `password` is the one. Costs what the hash says, right or wrong; the comparison takes constant time.
    pub fn verify(&self, password: &Secret, memory: &mut Memory) -> bool {
        let expected = argon2::PasswordHash::new(&self.0)
            .ok()
            .and_then(|hash| Some((Params::try_from(&hash).ok()?, hash.salt?, hash.hash?)));
        let Some((params, salt, expected)) = expected else { return false };
        let blocks = params.block_count();
        if memory.0.len() < blocks {
            memory.0.resize(blocks, Block::default());
        }
        let mut found = vec![0; expected.len()];
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hashed =
            hasher.hash_password_into_with_memory(password.expose().as_bytes(), &salt, &mut found, &mut memory.0[..blocks]);
        hashed.is_ok() && bool::from(found.ct_eq(expected.as_bytes()))
    }

    /// The hash of `hashes` that `password` fits. Finding none takes as long as `rounds` of [`make`](Self::make)'s hashes, however few
    /// there are: an unknown name has none, and must not be told by the time.
    pub fn find<'a>(hashes: &'a [Self], password: &Secret, rounds: usize, memory: &mut Memory) -> Option<&'a Self> {
        let found = hashes.iter().find(|hash| hash.verify(password, memory));
        // Asked for only when needed: making it takes another 19 MiB.
        if found.is_none()
            && let Some(nobody) = NOBODY.as_ref()
        {
            for _ in hashes.len()..rounds {
                std::hint::black_box(nobody.verify(password, memory));
            }
        }
        found
    }

    /// The text for a configuration file.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What verifications work in, kept from one to the next: taken and given back each time, 19 MiB at once leave holes that the
/// system's allocator fills with small things, and the process grows to several times as much.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[test]
    fn a_made_hash_is_taken_and_fits_its_password_alone() {
        let hash = PasswordHash::make(&secret("correct horse"), &[7; 16]).unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let hash = PasswordHash::parse(hash.as_str()).unwrap();
        assert!(hash.verify(&secret("correct horse"), &mut Memory::default()));
        assert!(!hash.verify(&secret("correct horsf"), &mut Memory::default()));
        assert!(!hash.verify(&secret(""), &mut Memory::default()));
    }

    #[test]
    fn one_of_several_hashes_is_found_and_an_unknown_name_finds_none() {
        let hashes = [[1; 16], [2; 16]].map(|salt| PasswordHash::make(&secret(&format!("p{}", salt[0])), &salt).unwrap());
        assert_eq!(PasswordHash::find(&hashes, &secret("p2"), 2, &mut Memory::default()), Some(&hashes[1]));
        assert_eq!(PasswordHash::find(&hashes, &secret("p3"), 2, &mut Memory::default()), None);
        assert_eq!(PasswordHash::find(&[], &secret("nobody"), 2, &mut Memory::default()), None);
    }

    #[test]
    fn what_is_no_bounded_argon2id_hash_is_refused() {
        let tail = "$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObGRdescudvJCs";
        let with = |head: &str| format!("{head}{tail}");
        assert!(PasswordHash::parse(&with("$argon2id$v=19$m=19456,t=2,p=1")).is_ok());
        assert!(PasswordHash::parse(&with("$argon2id$v=19$m=65536,t=3,p=4")).is_ok());
        for (text, why) in [
            ("hunter2".into(), InvalidHash::Clear),
            (String::new(), InvalidHash::Clear),
            ("$2y$10$abcdefghijklmnopqrstuv".into(), InvalidHash::OtherAlgorithm),
            (with("$argon2i$v=19$m=19456,t=2,p=1"), InvalidHash::OtherAlgorithm),
            ("$argon2id$".into(), InvalidHash::Malformed),
            ("$argon2id$v=19$m=19456,t=2,p=1".into(), InvalidHash::Malformed),
            ("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ".into(), InvalidHash::Malformed),
            (with("$argon2id$v=16$m=19456,t=2,p=1"), InvalidHash::Malformed),
            (with("$argon2id$v=19$m=19456,t=2,p=1,x=1"), InvalidHash::Malformed),
            (with("$argon2id$v=19$m=104857600,t=1,p=1"), InvalidHash::TooCostly),
            (with("$argon2id$v=19$m=262144,t=5,p=1"), InvalidHash::TooCostly),
            (with("$argon2id$v=19$m=19456,t=4000000000,p=1"), InvalidHash::TooCostly),
            (with("$argon2id$v=19$m=19456,t=2,p=1000"), InvalidHash::TooCostly),
        ] {
            assert_eq!(PasswordHash::parse(&text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_hash_is_not_printed() {
        let hash = PasswordHash::make(&secret("x"), &[7; 16]).unwrap();
        assert_eq!(format!("{hash:?}"), "[hash]");
    }
}
