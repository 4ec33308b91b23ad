//! The sandbox's clock: the system's, moved by hand, so that an hour of a token's life passes in one request.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

/// Furthest the clock can be moved either way: a hundred years, so that no date overflows.
const FURTHEST: i64 = 100 * 365 * 24 * 3600 * 1000;

/// System time plus a shift in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicI64);

impl Clock {
    pub(super) fn now(&self) -> SystemTime {
        let shift = self.0.load(Ordering::Relaxed);
        let distance = Duration::from_millis(shift.unsigned_abs());
        let now = SystemTime::now();
        let moved = if shift < 0 { now.checked_sub(distance) } else { now.checked_add(distance) };
        moved.unwrap_or(now)
    }

    /// Moves by milliseconds; negative goes back.
    pub(super) fn advance(&self, milliseconds: i64) {
        let shift = self.0.load(Ordering::Relaxed).saturating_add(milliseconds);
        self.0.store(shift.clamp(-FURTHEST, FURTHEST), Ordering::Relaxed);
    }

    /// Makes it `milliseconds` after 1970 now; it goes on from there.
    pub(super) fn set(&self, milliseconds: i64) {
        self.0.store(0, Ordering::Relaxed);
        self.advance(milliseconds.saturating_sub(unix_milliseconds(self.now())));
    }
}

/// Milliseconds since 1970.
pub(super) fn unix_milliseconds(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Seconds since 1970.
pub(super) fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// RFC 3339 in UTC, for JSON.
pub(super) fn rfc3339(at: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(at).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_both_ways_and_never_overflows() {
        let clock = Clock::default();
        let before = clock.now();
        clock.advance(3_600_000);
        assert!(clock.now() >= before + Duration::from_secs(3600));
        clock.set(1_000_000);
        assert_eq!(unix_seconds(clock.now()), 1000);
        clock.advance(i64::MAX);
        clock.advance(i64::MIN);
        clock.set(i64::MIN);
        clock.now();
    }
}
