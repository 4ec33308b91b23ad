//! Times as they cross the control socket: RFC 3339, UTC, milliseconds.

use chrono::{DateTime, SecondsFormat, Utc};
use std::time::SystemTime;

/// Writes a time.
pub fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads a time.
pub fn parse_time(text: &str) -> Option<SystemTime> {
    DateTime::parse_from_rfc3339(text).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_read_as_they_are_written() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_511_045_123);
        assert_eq!(rfc3339(time), "2026-11-24T09:04:05.123Z");
        assert_eq!(parse_time(&rfc3339(time)), Some(time));
        assert_eq!(parse_time("yesterday"), None);
    }
}
