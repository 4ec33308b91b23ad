//! Failed logins: how late they are answered, and from when on they are not even tried. Pure but for the lock: `now` is always an
//! argument.
//!
//! Each failure raises two levels, of the client's address and of the user name; both sink with time. Answers become later with the level.
//! At the top of its level an address is told to come again without a look at the password: one guess a minute is what is left.
//! A name that many addresses guess is refused likewise, but not to an address that logged in under it within the last week: who
//! guesses from elsewhere cannot lock an app out. What is on this machine is only slowed: a wrong password in a cron job must not stop
//! the other jobs.

use crate::listener::customer;
use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Delay of the first failed answer; doubles up to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(8);

/// Failures after which an address is refused, and how long one counts.
const MOST_OF_ADDRESS: u32 = 20;
const SINKS_OF_ADDRESS: Duration = Duration::from_secs(60);

/// The same for a name, from all addresses.
const MOST_OF_NAME: u32 = 100;
const SINKS_OF_NAME: Duration = Duration::from_secs(10);

/// How long an address stays known that logged in.
const KNOWN: Duration = Duration::from_secs(7 * 86_400);

/// Addresses, names and known pairs that are remembered, of each: less than a megabyte. The lowest, or the oldest, gives way.
const MOST: usize = 10_000;

/// Lines in the log about one address in a minute: enough for the slips of one who sets up several apps.
const MOST_LINES: u32 = 5;
const LINES: Duration = Duration::from_secs(60);

/// From where a login comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// An IPv4 address, or the network of 64 bits of an IPv6 address: one customer has that many.
    Address(IpAddr),
    /// A user of this machine, by a Unix socket.
    User(u32),
    /// A load balancer did not say, or told of loopback.
    Unknown,
}

impl Origin {
    pub(super) fn new(address: Option<IpAddr>, user: Option<u32>) -> Self {
        match (address, user) {
            (Some(address), _) => Self::Address(customer(address)),
            (None, Some(user)) => Self::User(user),
            (None, None) => Self::Unknown,
        }
    }

    /// Whether it is this machine.
    fn is_near(self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::User(_) => true,
            Self::Unknown => false,
        }
    }
}

/// What a failure leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// How late it is answered.
    pub(super) delay: Duration,
    /// How many failures a line in the log stands for now; `None`: no line.
    pub(super) told: Option<u32>,
}

/// The failures of the process.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    state: Mutex<State>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<Origin, (Level, Lines)>,
    names: HashMap<u64, Level>,
    /// Who logged in as whom, and when last.
    known: HashMap<(Origin, u64), Instant>,
}

/// A number that sinks by one each `sinks`.
#[derive(Debug, Clone, Copy)]
struct Level {
    height: u32,
    since: Instant,
    sinks: Duration,
}

/// The log's lines about one address.
#[derive(Debug, Clone, Copy)]
struct Lines {
    since: Instant,
    written: u32,
    unsaid: u32,
    /// The name of the last line.
    name: u64,
}

impl Level {
    fn new(now: Instant, sinks: Duration) -> Self {
        Self { height: 0, since: now, sinks }
    }

    fn read(&mut self, now: Instant) -> u32 {
        let steps = now.saturating_duration_since(self.since).as_millis() / self.sinks.as_millis();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        (self.height, self.since) = match self.height.saturating_sub(steps) {
            0 => (0, now),
            height => (height, self.since + self.sinks * steps),
        };
        self.height
    }

    fn raise(&mut self, now: Instant, most: u32) -> u32 {
        self.height = (self.read(now) + 1).min(most);
        self.height
    }

    /// When it is below `most` again.
    fn wait(&mut self, now: Instant, most: u32) -> Option<Duration> {
        (self.read(now) >= most).then(|| (self.since + self.sinks).saturating_duration_since(now))
    }
}

impl Guesses {
    /// How long a login is refused yet; `None`: it may be tried.
    pub(super) fn refused(&self, origin: Origin, name: &str, now: Instant) -> Option<Duration> {
        if origin.is_near() {
            return None;
        }
        let (name, mut state) = (self.key(name), self.state());
        let address = state.addresses.get_mut(&origin).and_then(|(level, _)| level.wait(now, MOST_OF_ADDRESS));
        let is_known = state.known.get(&(origin, name)).is_some_and(|last| now.saturating_duration_since(*last) < KNOWN);
        let named = state.names.get_mut(&name).filter(|_| !is_known).and_then(|level| level.wait(now, MOST_OF_NAME));
        address.max(named)
    }

    /// A login failed.
    pub(super) fn failed(&self, origin: Origin, name: &str, now: Instant) -> Failed {
        let (name, mut state) = (self.key(name), self.state());
        make_room(&mut state.names, &name, |level| level.read(now));
        let of_name = state.names.entry(name).or_insert_with(|| Level::new(now, SINKS_OF_NAME)).raise(now, MOST_OF_NAME);
        make_room(&mut state.addresses, &origin, |(level, _)| level.read(now));
        let lines = Lines { since: now, written: 0, unsaid: 0, name };
        let (level, lines) = state.addresses.entry(origin).or_insert_with(|| (Level::new(now, SINKS_OF_ADDRESS), lines));
        let height = level.raise(now, MOST_OF_ADDRESS).max(of_name.saturating_sub(MOST_OF_NAME / 2));
        let delay = LONGEST_DELAY.min(FIRST_DELAY * 2_u32.saturating_pow(height.saturating_sub(1).min(16)));
        Failed { delay, told: lines.tell(name, now) }
    }

    /// A login succeeded: the address is known under this name. What failed before still counts, or who has one app's password could
    /// guess others' for ever.
    pub(super) fn succeeded(&self, origin: Origin, name: &str, now: Instant) {
        let (name, mut state) = (self.key(name), self.state());
        let pair = (origin, name);
        make_room(&mut state.known, &pair, |last| *last);
        state.known.insert(pair, now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands for a name, whatever its length.
    fn key(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }
}

impl Lines {
    /// Whether this failure is told, and for how many it stands: the first of a burst, those under another name, one a minute.
    fn tell(&mut self, name: u64, now: Instant) -> Option<u32> {
        if now.saturating_duration_since(self.since) >= LINES {
            (self.since, self.written) = (now, 0);
        }
        self.unsaid = self.unsaid.saturating_add(1);
        let is_told = self.written == 0 || name != self.name && self.written < MOST_LINES;
        is_told.then(|| {
            (self.written, self.name) = (self.written + 1, name);
            std::mem::take(&mut self.unsaid)
        })
    }
}

/// Lets the least give way where `key` would be one too many.
fn make_room<K: Hash + Eq + Copy, V, R: Ord>(map: &mut HashMap<K, V>, key: &K, mut rank: impl FnMut(&mut V) -> R) {
    if map.len() < MOST || map.contains_key(key) {
        return;
    }
    let least =
        map.iter_mut().map(|(key, value)| (rank(value), *key)).min_by(|one, other| one.0.cmp(&other.0)).map(|(_, key)| key);
    if let Some(least) = least {
        map.remove(&least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Origin {
        Origin::new(Some(address.parse().unwrap()), None)
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn answers_become_later_and_then_an_address_is_refused_until_its_failures_are_old() {
        let (guesses, now, far) = (Guesses::default(), Instant::now(), origin("192.0.2.7"));
        let delays: Vec<_> = (0..8).map(|_| guesses.failed(far, "crowd", now).delay.as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!(guesses.refused(far, "crowd", now), None);
        for number in 8..MOST_OF_ADDRESS {
            assert_eq!(guesses.refused(far, "crowd", now), None, "{number}");
            guesses.failed(far, "crowd", now);
        }
        for name in ["crowd", "another"] {
            assert_eq!(guesses.refused(far, name, now), Some(seconds(60)));
        }
        // Others are not concerned, and one try a minute is left.
        assert_eq!(guesses.refused(origin("192.0.2.8"), "crowd", now), None);
        assert_eq!(guesses.refused(far, "crowd", now + seconds(59)), Some(seconds(1)));
        assert_eq!(guesses.refused(far, "crowd", now + seconds(60)), None);
        guesses.failed(far, "crowd", now + seconds(60));
        assert_eq!(guesses.refused(far, "crowd", now + seconds(60)), Some(seconds(60)));
        assert_eq!(guesses.failed(far, "crowd", now + seconds(3600)).delay, FIRST_DELAY);
    }

    #[test]
    fn a_name_that_many_guess_is_refused_but_to_an_address_that_knows_its_password() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let (own, new) = (origin("192.0.2.7"), origin("192.0.2.8"));
        guesses.succeeded(own, "crowd", now);
        for number in 0..MOST_OF_NAME {
            guesses.failed(origin(&format!("198.51.100.{}", number % 100)), "crowd", now);
        }
        assert_eq!(guesses.refused(new, "crowd", now), Some(seconds(10)));
        for (origin, name, later) in [(own, "crowd", 0), (new, "jira", 0), (new, "crowd", 10)] {
            assert_eq!(guesses.refused(origin, name, now + seconds(later)), None, "{origin:?} {name} {later}");
        }
        // A slip of its own is answered at once all the same.
        assert_eq!(guesses.failed(new, "jira", now).delay, FIRST_DELAY);
    }

    #[test]
    fn this_machine_is_slowed_and_never_refused() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for near in [origin("127.0.0.1"), origin("::1"), Origin::new(None, Some(33))] {
            for _ in 0..200 {
                guesses.failed(near, "crowd", now);
            }
            assert_eq!(guesses.refused(near, "crowd", now), None);
            assert_eq!(guesses.failed(near, "crowd", now).delay, LONGEST_DELAY);
        }
    }

    #[test]
    fn a_customers_ipv6_addresses_count_together_and_those_without_any_too() {
        assert_eq!(origin("2001:db8:1:2::1"), origin("2001:db8:1:2:ffff::9"));
        assert_ne!(origin("2001:db8:1:2::1"), origin("2001:db8:1:3::1"));
        assert_ne!(Origin::new(None, None), Origin::new(None, Some(0)));
    }

    #[test]
    fn a_burst_gives_one_line_and_another_each_minute_that_counts_the_rest() {
        let (guesses, now, far) = (Guesses::default(), Instant::now(), origin("192.0.2.7"));
        let told = |name: &str, later| guesses.failed(far, name, now + seconds(later)).told;
        assert_eq!(told("crowd", 0), Some(1));
        assert_eq!([told("crowd", 1), told("crowd", 2), told("crowd", 59)], [None; 3]);
        assert_eq!(told("jira", 59), Some(4));
        assert_eq!(told("jira", 60), Some(1));
        let lines = (0..1000).filter(|number| told(&format!("name{number}"), 61).is_some()).count();
        assert_eq!(lines, MOST_LINES as usize - 1);
        assert_eq!(told("crowd", 120), Some(1000 - MOST_LINES + 1 + 1));
    }

    #[test]
    fn memory_is_bounded_and_the_lowest_gives_way() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let far = origin("192.0.2.7");
        for _ in 0..MOST_OF_ADDRESS {
            guesses.failed(far, "crowd", now);
        }
        for number in 0..MOST + 100 {
            let other = Origin::User(u32::try_from(number).unwrap());
            guesses.failed(other, &number.to_string(), now);
            guesses.succeeded(other, &number.to_string(), now);
        }
        let state = guesses.state();
        assert_eq!([state.addresses.len(), state.names.len(), state.known.len()], [MOST; 3]);
        drop(state);
        assert!(guesses.refused(far, "crowd", now).is_some());
    }
}
