//! The id of a message: one name in the reply to the app, every log line, the Received field and the trace.
//!
//! A UUIDv7 (RFC 9562 §5.7) as 26 characters of lower-case base32 (RFC 4648 §6): it sorts by time and can be read out over a
//! telephone.

use std::{fmt, str::FromStr, time::SystemTime};

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const LENGTH: usize = 26;

/// A message's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(u128);

/// A text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message id: it has 26 characters of a-z and 2-7")]
pub struct InvalidId;

impl Id {
    /// The id for a message accepted at `now`; `random` makes it unique.
    pub fn new(now: SystemTime, random: [u8; 10]) -> Self {
        let millis = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().as_u128())
    }

    /// As a number, for keeping.
    pub fn to_u128(self) -> u128 {
        self.0
    }

    /// The id that was kept as this number.
    pub fn from_u128(number: u128) -> Self {
        Self(number)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 26 groups of 5 bits hold 130: the value is shifted up by two, as base32 pads at the end. `u128` cannot hold the
        // shifted value, so the last group is taken apart.
        for index in 0..LENGTH - 1 {
            let group = (self.0 >> (123 - 5 * index)) & 31;
            write!(f, "{}", ALPHABET[group as usize] as char)?;
        }
        write!(f, "{}", ALPHABET[((self.0 & 7) << 2) as usize] as char)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let groups: Vec<u128> = text
            .bytes()
            .map(|b| ALPHABET.iter().position(|a| *a == b).map(|p| p as u128).ok_or(InvalidId))
            .collect::<Result<_, _>>()?;
        let (last, others) = groups.split_last().ok_or(InvalidId)?;
        if groups.len() != LENGTH || last & 3 != 0 {
            return Err(InvalidId);
        }
        Ok(Self(others.iter().fold(0, |value, group| (value << 5) | group) << 3 | last >> 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_id_is_printed_as_it_is_read_and_sorts_by_time() {
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        let early = Id::new(at(1_700_000_000), [0xff; 10]);
        let late = Id::new(at(1_700_000_001), [0; 10]);
        assert_eq!(early.to_string().len(), LENGTH);
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(late.to_string().parse(), Ok(late));
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in ["", "a", &"a".repeat(27), &"A".repeat(26), &"b".repeat(26), "1aaaaaaaaaaaaaaaaaaaaaaaaa"] {
            assert_eq!(text.parse::<Id>(), Err(InvalidId), "{text:?}");
        }
    }
}
