//! The vocabulary of mail: addresses, envelopes, ids, outcomes, what is done to a header before it is relayed, and bounces.
//!
//! Layer 0: values only. Nothing here knows a socket, a file, a clock or a provider.

mod address;
mod advice;
mod author;
pub mod bounce;
mod envelope;
mod id;
mod name;
mod outcome;
mod passage;
mod preparation;
mod state;

pub use address::{Address, InvalidAddress};
pub use advice::Advice;
pub use author::author;
pub use envelope::{BodyType, Envelope, InvalidParameter, Notify, Recipient, Ret, Xtext};
pub use id::{Id, InvalidId};
pub use name::{InvalidName, Name};
pub use outcome::{Hold, Outcome};
pub use preparation::{Findings, Preparation};
pub use state::State;
