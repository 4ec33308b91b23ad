//! The provider's server as we talk to it: connections, kept warm and bounded per mailbox, and messages sent over them.
//!
//! Layer 4. It asks nobody for anything: the caller brings mailbox, token and message, and judges the replies. What may surprise:
//! - A [`Slot`] is a place below the mailbox's limit of connections; it carries a warm connection when there is one.
//! - A token is sent only over a `Session`'s predecessor, a type that exists only after a verified TLS handshake.
//! - mail-send does STARTTLS, the handshake and EHLO; greeting, AUTH and all after it are read by our own reader.

mod connect;
mod failure;
mod limits;
mod pool;
mod probe;
mod progress;
mod send;
mod session;
mod slot;
mod trust;
mod wire;

pub use crate::smtp::client::{Policy, Sent};
pub use failure::{Failure, Reason};
pub use probe::{Met, Shown};
pub use progress::Progress;
pub use slot::{Slot, Upstream};

#[cfg(test)]
mod tests;
