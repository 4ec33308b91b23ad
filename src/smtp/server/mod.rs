//! The side that apps talk to: bytes in, what to do out. Tolerant in grammar, because the apps are old and nobody mends them;
//! strict in framing, because what ends a line or a message decides who wrote the next command.
//!
//! `Session` is the state machine. Below it: `line` cuts commands, `command` reads them, `auth` leads the AUTH exchange, `data`
//! and `bdat` know where a message ends, `text` cleans what is inside one.

mod auth;
mod bdat;
mod command;
mod data;
mod line;
mod session;
mod text;

pub use session::{Action, Closing, Encryption, Hello, Rules, Session};

/// What a wrong password, and a name that does not exist, are answered (RFC 4954 §6).
pub fn authentication_failed() -> crate::smtp::Reply {
    crate::smtp::Reply::new(535, Some((7, 8)), "authentication failed")
}
