//! `[queue]`: when a kept message is tried again, how long it is kept, how much of the disk it may take.

use super::{
    settings::Queue,
    table::{Table, Wrong},
    units, words,
};
use std::{ops::RangeInclusive, time::Duration};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// Below a second a provider in trouble would be hammered; a week is longer than any outage that one waits for.
const RETRY: RangeInclusive<Duration> = SECOND..=Duration::from_secs(7 * DAY.as_secs());
/// More steps than anybody has a reason for.
const MOST_RETRIES: usize = 50;
/// What `expire-after` and `warn-after` may be. Within a minute not even the first try need have ended.
pub(super) const EXPIRY: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(366 * DAY.as_secs());
/// How long something may be kept.
const KEEPING: RangeInclusive<Duration> = SECOND..=*EXPIRY.end();
/// Below one message of common size nothing would ever be taken; so `0 B`, which elsewhere means "no limit", is no value.
const MAXIMUM_SIZE: RangeInclusive<u64> = 1 << 20..=1 << 50;
const MINIMUM_FREE: RangeInclusive<u64> = 0..=1 << 50;

/// Reads it.
pub(super) fn read(table: &mut Table<'_>) -> Queue {
    let default = Queue::default();
    let queue = Queue {
        retry: table.durations("retry", RETRY).unwrap_or(default.retry),
        expire_after: table.duration("expire-after", EXPIRY).unwrap_or(default.expire_after),
        warn_after: table.duration("warn-after", EXPIRY),
        keep_held: table.duration("keep-held", KEEPING).unwrap_or(default.keep_held),
        keep_failed: table.duration("keep-failed", KEEPING).unwrap_or(default.keep_failed),
        keep_trace: table.duration("keep-trace", KEEPING).unwrap_or(default.keep_trace),
        maximum_size: table.size("maximum-size", MAXIMUM_SIZE).unwrap_or(default.maximum_size),
        minimum_free: table.size("minimum-free", MINIMUM_FREE).unwrap_or(default.minimum_free),
        bounce_to: table.parsed("bounce-to", words::address),
    };
    table.finish();
    match queue.retry.len() {
        0 => {
            table.fault("retry", Wrong::new("an empty list gives no time for the next try", "leave the key out for the default"))
        }
        1..=MOST_RETRIES => {}
        _ => table.fault("retry", Wrong::new(format!("at most {MOST_RETRIES} waits are taken"), "the last one repeats")),
    }
    if let Some(wrong) = queue.warn_after.and_then(|warn_after| late_warning(warn_after, queue.expire_after)) {
        table.fault("warn-after", wrong);
    }
    queue
}

/// What is wrong with a warning that would come after the bounce.
pub(super) fn late_warning(warn_after: Duration, expire_after: Duration) -> Option<Wrong> {
    (warn_after >= expire_after).then(|| {
        let message = format!("a warning is due before the message expires, after {}", units::show_duration(expire_after));
        Wrong::new(message, "write a shorter warn-after, or a longer expire-after")
    })
}
