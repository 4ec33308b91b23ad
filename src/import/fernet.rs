//! Fernet tokens whose key is made from a password by PBKDF2, as email-oauth2-proxy keeps its secrets: opened, never made.
//!
//! A token is base64url of version (0x80), time (8 octets), IV (16), AES-128-CBC with PKCS#7, and HMAC-SHA256 over all before it. The key's
//! first half signs, its second half encrypts (github.com/fernet/spec).

use crate::secret::Secret;
use aws_lc_rs::{
    cipher::{AES_128, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey},
    hmac, pbkdf2,
};
use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// Iterations that a file may ask for: eight times what the newest version does, some seconds of work.
pub(super) const MOST_ITERATIONS: u32 = 10_000_000;

const VERSION: u8 = 0x80;
/// Version, time and IV.
const HEAD: usize = 1 + 8 + 16;
const TAG: usize = 32;

const BASE64: GeneralPurpose =
    GeneralPurpose::new(&URL_SAFE, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// A key.
pub(super) struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Made from a password.
    pub(super) fn derive(password: &Secret, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.expose().as_bytes(), &mut *key);
        Self(key)
    }

    /// What `token` holds; `None` for another key's, and for no token at all.
    pub(super) fn open(&self, token: &str) -> Option<Secret> {
        let octets = BASE64.decode(token.trim()).ok()?;
        let (signed, tag) = octets.split_at_checked(octets.len().checked_sub(TAG)?)?;
        let (head, encrypted) = signed.split_at_checked(HEAD)?;
        let (signing, encrypting) = self.0.split_at(16);
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, signing), signed, tag).ok()?;
        if head[0] != VERSION {
            return None;
        }
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_128, encrypting).ok()?).ok()?;
        let iv: [u8; 16] = head.get(9..)?.try_into().ok()?;
        let mut text = Zeroizing::new(encrypted.to_vec());
        let opened = key.decrypt(&mut text, DecryptionContext::Iv128(iv.into())).ok()?;
        Some(Secret::new(std::str::from_utf8(opened).ok()?.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The vector of the specification (`verify.json`): its key, not from a password.
    const TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

    fn key() -> Key {
        let octets = BASE64.decode("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap();
        Key(Zeroizing::new(octets.try_into().unwrap()))
    }

    #[test]
    fn the_vector_of_the_specification_opens_and_nothing_near_it() {
        assert_eq!(key().open(TOKEN).unwrap().expose(), "hello");
        assert_eq!(key().open(TOKEN.trim_end_matches('=')).unwrap().expose(), "hello");
        let mut other = key();
        other.0[0] ^= 1;
        assert!(other.open(TOKEN).is_none());
        for at in [0, 3, 20, 60, TOKEN.len() - 3] {
            let mut changed = TOKEN.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(key().open(std::str::from_utf8(&changed).unwrap()).is_none(), "octet {at}");
        }
    }

    proptest! {
        #[test]
        fn no_token_panics(octets in proptest::collection::vec(any::<u8>(), 0..120), text in ".*") {
            prop_assert!(key().open(&BASE64.encode(&octets)).is_none());
            prop_assert!(key().open(&text).is_none());
        }
    }
}
