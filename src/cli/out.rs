//! Standard output. A reader that went away (`outlink status | head -1`) is no reason to panic, as `println!` would.

use std::{
    fmt::Display,
    io::{Write, stdout},
};

/// Prints a line.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(stdout().lock(), "{line}");
}
