//! The language of SMTP as pure state machines (RFC 5321, 4954, 3030, 3461): bytes in, what to do out.
//!
//! Layer 1: no socket, clock, file or task. `server` is the side that apps talk to, `client` the side that talks to the
//! provider; both share the reply.

pub mod client;
mod reply;
pub mod server;
mod step;

pub use reply::{Enhanced, Reply};
pub use step::Step;
