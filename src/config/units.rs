//! Values with their unit in them: `"30s"`, `"1h 30m"`, `"25 MiB"`.

use std::time::Duration;

/// Milliseconds of each unit of time.
const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// Octets of each unit of size; the decimal ones mean what their makers say.
const SIZES: [(&str, u64); 10] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a duration: whole numbers with `ms`, `s`, `m`, `h` or `d`, one after another.
pub fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text.trim(), 0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = number(rest)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (_, unit) = TIMES.iter().find(|(unit, _)| *unit == &after[..end])?;
        sum = sum.checked_add(number.checked_mul(*unit)?)?;
        rest = after[end..].trim_start();
    }
    Some(Duration::from_millis(sum))
}

/// Reads a size in octets: one whole number with its unit.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number(text.trim())?;
    let (_, octets) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*octets)
}

/// Splits the number off, and the space after it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

/// Writes a duration as [`duration`] reads it, in its largest whole unit.
pub(super) fn show_duration(value: Duration) -> String {
    let (unit, length) =
        TIMES.iter().rev().find(|(_, length)| value.as_millis().is_multiple_of(u128::from(*length))).unwrap_or(&TIMES[0]);
    format!("{}{unit}", value.as_millis() / u128::from(*length))
}

/// Writes a size as [`size`] reads it, in its largest whole binary unit; nothing is `0 B`.
pub(super) fn show_size(value: u64) -> String {
    let (unit, octets) = SIZES[..5].iter().rev().find(|(_, octets)| value.max(1).is_multiple_of(*octets)).unwrap_or(&SIZES[0]);
    format!("{} {unit}", value / octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in
            [("30s", 30), ("5m", 300), ("1h", 3600), ("5d", 432_000), ("1h 30m", 5400), ("1m30s", 90), (" 2 m ", 120)]
        {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for text in ["", "30", "s", "1.5h", "-1s", "1 year", "99999999999999999999s", "999999999999999999d", "1h 30"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, octets) in [("25 MiB", 25 << 20), ("10GiB", 10 << 30), ("1 MB", 1_000_000), ("512 B", 512)] {
            assert_eq!(size(text), Some(octets), "{text}");
        }
        for text in ["", "25", "MiB", "1.5 MiB", "25 mib", "25 MiB 3 B", "99999999999 TiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read() {
        for seconds in [1, 60, 90, 3600, 86_400] {
            let value = Duration::from_secs(seconds);
            assert_eq!(duration(&show_duration(value)), Some(value));
        }
        assert_eq!(
            (show_size(35 << 20), show_size(1000), show_size(0), show_duration(Duration::from_secs(60))),
            ("35 MiB".into(), "1000 B".into(), "0 B".into(), "1m".into())
        );
    }
}
