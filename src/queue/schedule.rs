//! When a message is tried again. Pure.

use std::time::{Duration, SystemTime};

/// A pause made up to a tenth longer or shorter by `chance` (0 to 1), so that what failed together does not come back together.
pub fn jittered(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
}

/// When a message is due after its `attempts`th attempt (from 1) failed at `now`; the last pause of `retry` repeats.
pub fn due_after(retry: &[Duration], attempts: u32, now: SystemTime, chance: f64) -> SystemTime {
    let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let pause = retry.get(index).or(retry.last()).copied().unwrap_or(Duration::from_secs(3600));
    now + jittered(pause, chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_as_configured_and_the_last_repeats() {
        let minutes = |number: u64| Duration::from_secs(60 * number);
        let (retry, now) = ([minutes(1), minutes(5), minutes(60)], SystemTime::UNIX_EPOCH);
        for (attempts, expected) in [(0, 1), (1, 1), (2, 5), (3, 60), (4, 60), (u32::MAX, 60)] {
            assert_eq!(due_after(&retry, attempts, now, 0.5), now + minutes(expected), "{attempts}");
        }
        let (least, most) = (due_after(&retry, 3, now, 0.0), due_after(&retry, 3, now, 1.0));
        assert_eq!((least, most), (now + minutes(54), now + minutes(66)));
    }
}
