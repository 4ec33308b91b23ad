//! Secrets at rest: sealed with AES-256-GCM (NIST SP 800-38D) under a key that lies apart from them, and bound to the place where they lie,
//! so that a sealed value that is put in another's place does not open.
//!
//! A `Ring` holds the keys: the first seals, all open. What encrypts and what names a key are both derived from it (HKDF, RFC 5869), so
//! that a key's id tells nothing of it. A nonce is 96 random bits: a key is good for 2^32 values, which no relay ever reaches.

use super::Secret;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    hkdf,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Octets of a key.
const KEY: usize = 32;
/// Octets of a nonce, and of the tag that proves what was opened.
const NONCE: usize = 12;
const TAG: usize = 16;
/// Before the text form of a sealed value, and of a key.
const SEALED: &str = "outlink1";
const KEY_WORD: &str = "outlink-key1";
/// Keys of one ring. Each rotation adds one, and old ones are dropped; more means that something turns in a circle.
const MOST_KEYS: usize = 64;

/// Which key: eight hexadecimal digits that tell nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// Reads the eight digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |octet: u8| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet);
        let digits = Some(text).filter(|text| text.len() == 8 && text.bytes().all(is_digit))?;
        u32::from_str_radix(digits, 16).ok().map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A key: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    octets: Zeroizing<[u8; KEY]>,
    id: KeyId,
}

impl Key {
    /// Takes fresh randomness over.
    pub fn new(octets: Zeroizing<[u8; KEY]>) -> Self {
        let mut id = [0; 4];
        derive(&octets, b"outlink key id", &mut id);
        Self { octets, id: KeyId(id) }
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    fn cipher(&self) -> RandomizedNonceKey {
        let mut octets = Zeroizing::new([0; KEY]);
        derive(&self.octets, b"outlink sealing", octets.as_mut());
        RandomizedNonceKey::new(&AES_256_GCM, octets.as_ref()).expect("the key has the length that AES-256 asks for")
    }
}

/// HKDF with SHA-256 and no salt: a key is random already.
fn derive(key: &[u8; KEY], what: &[u8], octets: &mut [u8]) {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(key);
    let filled = extracted.expand(&[what], Length(octets.len())).and_then(|expanded| expanded.fill(octets));
    filled.expect("HKDF gives far more octets than these");
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[key {}]", self.id)
    }
}

/// A sealed secret. Its text is no secret, but nobody needs to see it either: `Debug` shows only the key's id.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    key: KeyId,
    /// Nonce, encrypted text, tag.
    octets: Vec<u8>,
}

impl Sealed {
    /// Puts together what [`Sealed::key`] and [`Sealed::octets`] gave.
    pub fn from_parts(key: KeyId, octets: Vec<u8>) -> Self {
        Self { key, octets }
    }

    /// Reads `outlink1:KEYID:BASE64URL`.
    pub fn parse(text: &str) -> Result<Self, InvalidSealed> {
        let rest = text.strip_prefix(SEALED).and_then(|rest| rest.strip_prefix(':')).ok_or(InvalidSealed::OtherKind)?;
        let (key, octets) = rest.split_once(':').ok_or(InvalidSealed::Cut)?;
        let key = KeyId::parse(key).ok_or(InvalidSealed::Cut)?;
        let octets = URL_SAFE_NO_PAD.decode(octets).map_err(|_| InvalidSealed::Cut)?;
        match octets.len() < NONCE + TAG {
            true => Err(InvalidSealed::Cut),
            false => Ok(Self { key, octets }),
        }
    }

    /// The text for a configuration file.
    pub fn text(&self) -> String {
        format!("{SEALED}:{}:{}", self.key, URL_SAFE_NO_PAD.encode(&self.octets))
    }

    /// The key that opens it.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// What a database keeps beside the key's id.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[sealed under key {}]", self.key)
    }
}

/// Why a text is no sealed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSealed {
    /// It begins otherwise.
    #[error("this is no sealed value of this version, which begins with `{SEALED}:`")]
    OtherKind,
    /// Something is missing or not in base64.
    #[error("this sealed value is not complete; was it cut while copying?")]
    Cut,
}

/// Why a sealed value did not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// It was sealed under another key.
    #[error("it was sealed under key {key}, but there is only {}", list(have))]
    OtherKey {
        /// The key that it asks for.
        key: KeyId,
        /// The keys that there are.
        have: Vec<KeyId>,
    },
    /// The key is there and does not open it: it was changed, or was sealed for another place.
    #[error("key {key} does not open it in this place: it was damaged, or was sealed for another one")]
    Altered {
        /// The key.
        key: KeyId,
    },
}

fn list(keys: &[KeyId]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| format!("key {key}")).collect();
    keys.join(", ")
}

/// The keys: the first seals, all open. Never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Ring {
    first: Key,
    others: Vec<Key>,
}

impl Ring {
    /// A ring of one key.
    pub fn new(key: Key) -> Self {
        Self { first: key, others: Vec::new() }
    }

    /// The same with `key` before the others: it seals from now on. `None`: there are too many, or it is among them.
    pub fn with_first(&self, key: Key) -> Option<Self> {
        let others: Vec<Key> = self.keys().cloned().collect();
        let is_new = !self.has(key.id);
        (is_new && others.len() < MOST_KEYS).then_some(Self { first: key, others })
    }

    /// The same without those others that `needed` does not name.
    pub fn keeping(&self, needed: impl Fn(KeyId) -> bool) -> Self {
        let others = self.others.iter().filter(|key| needed(key.id)).cloned().collect();
        Self { first: self.first.clone(), others }
    }

    /// The id of the key that seals.
    pub fn current(&self) -> KeyId {
        self.first.id
    }

    /// All ids, in order.
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys().map(Key::id).collect()
    }

    /// Whether it opens what was sealed under `key`.
    pub fn has(&self, key: KeyId) -> bool {
        self.keys().any(|other| other.id == key)
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Seals `secret` for the place `binding`.
    pub fn seal(&self, binding: &str, secret: &Secret) -> Sealed {
        let clear = secret.expose().as_bytes();
        // With room for the tag, lest it moves and leaves clear octets behind.
        let mut text = Vec::with_capacity(clear.len() + TAG);
        text.extend_from_slice(clear);
        let nonce = self.first.cipher().seal_in_place_append_tag(Aad::from(binding.as_bytes()), &mut text);
        let nonce = nonce.expect("what fits into memory can be sealed");
        let octets = [nonce.as_ref().as_slice(), &text].concat();
        Sealed { key: self.first.id, octets }
    }

    /// Opens what was sealed for the place `binding`.
    pub fn open(&self, binding: &str, sealed: &Sealed) -> Result<Secret, Unsealed> {
        let key = self.keys().find(|key| key.id == sealed.key);
        let key = key.ok_or_else(|| Unsealed::OtherKey { key: sealed.key, have: self.ids() })?;
        decrypt(key, binding, &sealed.octets).ok_or(Unsealed::Altered { key: key.id })
    }

    /// Reads a key file: a key a line, `outlink-key1:BASE64`; empty lines and those that begin with `#` say nothing.
    pub fn parse(text: &str) -> Result<Self, InvalidRing> {
        let mut keys: Vec<Key> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let (line, number) = (line.trim(), index + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = parse_key(line, number)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(InvalidRing::Twice { line: number });
            }
            if keys.len() == MOST_KEYS {
                return Err(InvalidRing::TooMany);
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(InvalidRing::Empty)?;
        Ok(Self { first, others: keys.collect() })
    }

    /// The text of a key file.
    pub fn text(&self) -> Zeroizing<String> {
        // All at once: a text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(self.ids().len() * 64));
        for key in self.keys() {
            let octets = Zeroizing::new(STANDARD.encode(key.octets.as_ref()));
            for part in [KEY_WORD, ":", octets.as_str(), "\n"] {
                text.push_str(part);
            }
        }
        text
    }
}

/// The text that `octets` hold, if `key` and `binding` are theirs.
fn decrypt(key: &Key, binding: &str, octets: &[u8]) -> Option<Secret> {
    let (nonce, text) = octets.split_at_checked(NONCE)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = Zeroizing::new(text.to_vec());
    let clear = key.cipher().open_in_place(nonce, Aad::from(binding.as_bytes()), &mut text).ok()?;
    // A copy of just this length: the secret takes it over without moving it.
    Some(Secret::new(std::str::from_utf8(clear).ok()?.to_owned()))
}

fn parse_key(line: &str, number: usize) -> Result<Key, InvalidRing> {
    let text = line.strip_prefix(KEY_WORD).and_then(|rest| rest.strip_prefix(':'));
    let text = text.ok_or(InvalidRing::OtherKind { line: number })?;
    let mut decoded = STANDARD.decode(text).map_err(|_| InvalidRing::Cut { line: number })?;
    let mut octets = Zeroizing::new([0; KEY]);
    let fits = decoded.len() == KEY;
    if fits {
        octets.copy_from_slice(&decoded);
    }
    decoded.zeroize();
    if fits { Ok(Key::new(octets)) } else { Err(InvalidRing::Cut { line: number }) }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}

/// Why a text is no key file. Never tells what stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRing {
    /// There is no key.
    #[error("there is no key in it")]
    Empty,
    /// A line begins otherwise.
    #[error("line {line} does not begin with `{KEY_WORD}:`")]
    OtherKind {
        /// Which line, from 1.
        line: usize,
    },
    /// A line is no whole key.
    #[error("the key in line {line} is not 32 octets in base64; was it cut while copying?")]
    Cut {
        /// Which line, from 1.
        line: usize,
    },
    /// A key stands there twice.
    #[error("line {line} repeats a key")]
    Twice {
        /// Which line, from 1.
        line: usize,
    },
    /// There are too many.
    #[error("there are more than {MOST_KEYS} keys in it")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(seed: u8) -> Key {
        Key::new(Zeroizing::new([seed; KEY]))
    }

    fn ring(seeds: &[u8]) -> Ring {
        let mut seeds = seeds.iter().rev();
        let first = Ring::new(key(*seeds.next().unwrap()));
        seeds.fold(first, |ring, seed| ring.with_first(key(*seed)).unwrap())
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_in_its_place_alone(text in ".{0,200}", binding in "[a-z/.-]{0,40}", other in "[a-z/.-]{0,40}") {
            let ring = ring(&[1]);
            let sealed = ring.seal(&binding, &secret(&text));
            prop_assert_eq!(ring.open(&binding, &sealed), Ok(secret(&text)));
            prop_assert_eq!(&Sealed::parse(&sealed.text()).unwrap(), &sealed);
            prop_assert_eq!(&Sealed::from_parts(sealed.key(), sealed.octets().to_vec()), &sealed);
            if other != binding {
                prop_assert_eq!(ring.open(&other, &sealed), Err(Unsealed::Altered { key: ring.current() }));
            }
        }

        #[test]
        fn one_flipped_bit_is_refused(text in ".{0,40}", at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let ring = ring(&[1]);
            let mut sealed = ring.seal("here", &secret(&text));
            let at = at.index(sealed.octets.len());
            sealed.octets[at] ^= 1 << bit;
            prop_assert_eq!(ring.open("here", &sealed), Err(Unsealed::Altered { key: ring.current() }));
        }

        #[test]
        fn one_cut_off_is_refused(text in ".{0,40}", keep in any::<prop::sample::Index>()) {
            let ring = ring(&[1]);
            let mut sealed = ring.seal("here", &secret(&text));
            sealed.octets.truncate(keep.index(sealed.octets.len()));
            prop_assert_eq!(ring.open("here", &sealed), Err(Unsealed::Altered { key: ring.current() }));
        }

        #[test]
        fn no_text_panics(text in ".{0,200}", tail in "[A-Za-z0-9:=_-]{0,80}") {
            for text in [text, format!("outlink1:{tail}"), format!("outlink1:0123abcd:{tail}"), format!("outlink-key1:{tail}")] {
                if let Ok(sealed) = Sealed::parse(&text) {
                    prop_assert!(ring(&[1]).open("here", &sealed).is_err());
                }
                let _ = (Ring::parse(&text), KeyId::parse(&text));
            }
        }

        #[test]
        fn a_key_file_is_read_as_it_was_written(seeds in prop::collection::btree_set(any::<u8>(), 1..9)) {
            let seeds: Vec<u8> = seeds.into_iter().collect();
            let ring = ring(&seeds);
            prop_assert_eq!(&Ring::parse(&ring.text()).unwrap(), &ring);
            prop_assert_eq!(ring.current(), key(seeds[0]).id());
        }
    }

    #[test]
    fn an_older_key_opens_and_only_the_first_seals() {
        let (old, new) = (ring(&[1]), ring(&[2, 1]));
        let sealed = old.seal("here", &secret("x"));
        assert_eq!(new.open("here", &sealed).unwrap().expose(), "x");
        assert_eq!(new.seal("here", &secret("x")).key(), new.current());
        let fault = ring(&[2]).open("here", &sealed).unwrap_err();
        assert_eq!(fault, Unsealed::OtherKey { key: old.current(), have: vec![new.current()] });
        assert_eq!(new.keeping(|_| false), ring(&[2]));
        assert_eq!(new.keeping(|key| key == old.current()), new);
        assert_eq!(new.with_first(key(1)), None, "it is among them");
    }

    #[test]
    fn the_same_secret_is_sealed_otherwise_each_time() {
        let ring = ring(&[1]);
        assert_ne!(ring.seal("here", &secret("x")), ring.seal("here", &secret("x")));
    }

    #[test]
    fn what_is_no_key_file_is_refused_with_its_line() {
        let good = ring(&[1]).text();
        let good = good.trim_end();
        for (text, why) in [
            (String::new(), InvalidRing::Empty),
            ("# only words\n\n".into(), InvalidRing::Empty),
            ("c2VjcmV0".into(), InvalidRing::OtherKind { line: 1 }),
            (format!("# note\n{good}x"), InvalidRing::Cut { line: 2 }),
            ("outlink-key1:c2VjcmV0".into(), InvalidRing::Cut { line: 1 }),
            (format!("{good}\r\n{good}"), InvalidRing::Twice { line: 2 }),
        ] {
            assert_eq!(Ring::parse(&text), Err(why), "{text}");
        }
        assert_eq!(Ring::parse(&format!("# note\r\n\r\n  {good}\r\n")).unwrap(), ring(&[1]));
    }

    #[test]
    fn what_is_no_sealed_value_is_refused() {
        for (text, why) in [
            ("", InvalidSealed::OtherKind),
            ("outlink2:0123abcd:AAAA", InvalidSealed::OtherKind),
            ("outlink1:abc", InvalidSealed::Cut),
            ("outlink1:0123ABCD:AAAA", InvalidSealed::Cut),
            ("outlink1:0123abcd:AAAA", InvalidSealed::Cut),
            ("outlink1:0123abcd:*", InvalidSealed::Cut),
        ] {
            assert_eq!(Sealed::parse(text), Err(why), "{text}");
        }
    }

    /// The form is kept for ever: files and databases hold it.
    #[test]
    fn a_value_that_was_sealed_long_ago_opens() {
        let ring = ring(&[7]);
        assert_eq!(ring.current().to_string(), "ead691c5");
        let sealed = Sealed::parse("outlink1:ead691c5:AAECAwQFBgcICQoLxkufuiurkVbQR7xf2a2JC-4jkvh6ie6z-sYY8B0").unwrap();
        assert_eq!(ring.open("link.contoso.client-secret", &sealed).unwrap().expose(), "correct horse");
    }

    #[test]
    fn neither_keys_nor_secrets_are_printed() {
        let ring = ring(&[1, 2]);
        let sealed = ring.seal("here", &secret("marked"));
        let shown = format!("{ring:?} {:?} {sealed:?} {:?}", key(1), ring.open("there", &sealed));
        let id = ring.current();
        let second = key(2).id();
        let expected = format!("[[key {id}], [key {second}]] [key {id}] [sealed under key {id}] Err(Altered {{ key: {id} }})");
        assert_eq!(shown, expected);
    }
}
