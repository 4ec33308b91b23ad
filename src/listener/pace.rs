//! How long a message may take to arrive.

use std::time::Duration;
use tokio::time::Instant;

/// What every message has, however few octets come.
const FIRST: Duration = Duration::from_secs(600);

/// Octets a second that there have to be on the average after that. Slower than any line in use; who sends one octet now and then does
/// not hold a place for good.
const LEAST_RATE: u64 = 1024;

/// The arrival of one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    began: Instant,
    octets: u64,
}

impl Pace {
    /// It begins at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, octets: 0 }
    }

    /// More came.
    pub(super) fn add(&mut self, octets: usize) {
        self.octets += octets as u64;
    }

    /// By when more has to come.
    pub(super) fn deadline(&self) -> Instant {
        self.began + FIRST + Duration::from_secs(self.octets / LEAST_RATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_octet_now_and_then_gains_no_time_and_a_slow_line_does() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        (0..600).for_each(|_| pace.add(1));
        assert_eq!(pace.deadline() - begun, Duration::from_secs(600));
        // 35 MiB at 2 KiB a second are there long before.
        pace.add(35 << 20);
        assert!(pace.deadline() - begun > Duration::from_secs((35 << 20) / 2048));
    }
}
