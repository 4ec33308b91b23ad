//! Standard output, and the words in which numbers and times are told. A reader that went away (`outlink status | head -1`) is no
//! reason to panic, as `println!` would.

use super::{Exit, Failed};
use crate::{admin::parse_time, relay::span};
use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, BufWriter, StdoutLock, Write, stdout},
    time::SystemTime,
};

/// Prints a line.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(stdout().lock(), "{line}");
}

/// Many lines.
#[derive(Debug)]
pub(super) struct Lines(BufWriter<StdoutLock<'static>>);

impl Lines {
    pub(super) fn new() -> Self {
        Self(BufWriter::new(stdout().lock()))
    }

    /// Prints a line.
    pub(super) fn say(&mut self, line: impl Display) -> Result<(), Failed> {
        writeln!(self.0, "{line}").map_err(unwritten)
    }

    /// Prints without a line's end.
    pub(super) fn write(&mut self, octets: &[u8]) -> Result<(), Failed> {
        self.0.write_all(octets).map_err(unwritten)
    }

    /// Prints what is still in memory.
    pub(super) fn flush(&mut self) -> Result<(), Failed> {
        self.0.flush().map_err(unwritten)
    }
}

/// A reader that has seen enough is no fault: the command ends with a silent `Good`.
fn unwritten(error: io::Error) -> Failed {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failed(Exit::Good, String::new()),
        _ => Failed(Exit::InputOutput, format!("cannot write to standard output: {error}")),
    }
}

/// `one` or `many` of a number.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Octets in the unit that suits them.
pub(super) fn size(octets: u64) -> String {
    let mut value = octets as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{octets} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// How long ago an RFC 3339 time was.
pub(super) fn age(time: &str, now: SystemTime) -> String {
    let time = parse_time(time).unwrap_or(now);
    span(now.duration_since(time).unwrap_or_default())
}

/// How far ahead an RFC 3339 time is: `in 5m`, `now`.
pub(super) fn ahead(time: &str, now: SystemTime) -> String {
    let left = parse_time(time).unwrap_or(now).duration_since(now).unwrap_or_default();
    if left.as_secs() == 0 { "now".to_owned() } else { format!("in {}", span(left)) }
}

/// Text of others as a terminal may show it: a message's field must not steer it.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    match text.chars().any(char::is_control) {
        true => Cow::Owned(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_told_so_that_people_can_read_them() {
        let sizes = [0, 1023, 1024, 1_500_000, 3 << 30, 5 << 40].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.4 MiB", "3.0 GiB", "5.0 TiB"]);
        let now = parse_time("2026-11-24T09:00:00Z").unwrap();
        assert_eq!(age("2026-11-24T06:58:00Z", now), "2h 2m");
        assert_eq!((ahead("2026-11-24T09:05:00Z", now), ahead("2026-11-24T08:00:00Z", now)), ("in 5m".into(), "now".into()));
        assert_eq!(plain("\u{1b}[31mred\r\n"), " [31mred  ");
    }
}
