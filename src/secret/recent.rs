//! Logins that were verified a short while ago, so that an app that logs in for each message does not cost an argon2 each time.
//!
//! Kept is a MAC (HMAC-SHA-256, RFC 2104) over app, hash and password, under a key that was made when the process started: whoever
//! reads this memory cannot try passwords against it without the key, and a changed hash never hits. The clock comes in as
//! an argument.

use super::{PasswordHash, Secret};
use aws_lc_rs::hmac;
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Verified logins remembered at most: 56 KB of them. A site has tens of apps; more means passwords that rotate.
const MOST: usize = 1024;
/// How long one is remembered; not prolonged by use, so that a password is really verified from time to time.
const AGE: Duration = Duration::from_secs(600);

type Mac = [u8; 32];

/// Verified logins of the last ten minutes, at most 1,024; the oldest gives way.
pub struct Recent {
    key: hmac::Key,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    verified: HashMap<Mac, Instant>,
    /// In order of insertion, so that the oldest is found at once; every entry of `verified` stands here once.
    order: VecDeque<Mac>,
}

impl Recent {
    /// Starts with nothing remembered; `key` is fresh randomness.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), kept: Mutex::default() }
    }

    /// Whether exactly this app, hash and password were [remembered](Self::remember) less than ten minutes before `now`.
    /// Costs microseconds.
    pub fn knows(&self, app: &str, hash: &PasswordHash, password: &Secret, now: Instant) -> bool {
        let mac = self.mac(app, hash, password);
        self.kept().verified.get(&mac).is_some_and(|since| now.saturating_duration_since(*since) < AGE)
    }

    /// Remembers a login that [`PasswordHash::verify`] found right.
    pub fn remember(&self, app: &str, hash: &PasswordHash, password: &Secret, now: Instant) {
        let mac = self.mac(app, hash, password);
        let mut kept = self.kept();
        if kept.verified.insert(mac, now).is_some() {
            kept.order.retain(|other| *other != mac);
        }
        kept.order.push_back(mac);
        while kept.order.len() > MOST {
            if let Some(oldest) = kept.order.pop_front() {
                kept.verified.remove(&oldest);
            }
        }
    }

    /// Each part goes in with its length, so that no two triples give the same bytes.
    fn mac(&self, app: &str, hash: &PasswordHash, password: &Secret) -> Mac {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [app, hash.as_str(), password.expose()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut mac = Mac::default();
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }

    /// A panic elsewhere cannot leave the two halves in disorder in a way that matters: at worst a login is verified again.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recent({})", self.kept().verified.len())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn hash(salt: u8) -> PasswordHash {
        PasswordHash::make(&secret("right"), &[salt; 16]).unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[test]
    fn only_the_same_app_hash_and_password_hit() {
        let (recent, now, first) = (Recent::new(&[1; 32]), Instant::now(), hash(1));
        recent.remember("crowd", &first, &secret("right"), now);
        assert!(recent.knows("crowd", &first, &secret("right"), now));
        assert!(!recent.knows("jira", &first, &secret("right"), now));
        assert!(!recent.knows("crowd", &hash(2), &secret("right"), now));
        assert!(!recent.knows("crowd", &first, &secret("wrong"), now));
    }

    #[test]
    fn a_login_is_forgotten_after_ten_minutes_however_often_it_hits() {
        let (recent, now, first) = (Recent::new(&[1; 32]), Instant::now(), hash(1));
        recent.remember("crowd", &first, &secret("right"), now);
        assert!(recent.knows("crowd", &first, &secret("right"), now + AGE - Duration::from_secs(1)));
        assert!(!recent.knows("crowd", &first, &secret("right"), now + AGE));
    }

    #[test]
    fn the_number_is_bounded_and_the_oldest_gives_way() {
        let (recent, now, first) = (Recent::new(&[1; 32]), Instant::now(), hash(1));
        for number in 0..MOST + 10 {
            recent.remember(&format!("app-{number}"), &first, &secret("right"), now);
        }
        recent.remember("app-20", &first, &secret("right"), now);
        assert_eq!(format!("{recent:?}"), format!("Recent({MOST})"));
        assert!(!recent.knows("app-9", &first, &secret("right"), now));
        assert!(recent.knows("app-10", &first, &secret("right"), now));
    }
}
