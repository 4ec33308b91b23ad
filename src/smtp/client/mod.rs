//! The client's side of SMTP, pure: what to say to the provider and what its replies mean for one message.
//!
//! Nothing here reads or writes; `upstream` owns the sockets and feeds these machines.

mod capabilities;
mod replies;
mod sasl;
mod stuffing;
mod transaction;

pub use capabilities::Capabilities;
pub use replies::{Malformed, Replies};
pub use sasl::{Login, LoginAction, Mechanism, UnsafeCredential};
pub use stuffing::Stuffing;
pub use transaction::{Awaited, Framing, LARGEST_GROUPED, Message, Next, Policy, Sent, Transaction};
