//! The vocabulary of mail: addresses, envelopes, ids, outcomes, what is done to a header before it is relayed, bounces, and
//! other mail that this program writes.
//!
//! Layer 0: values only. Nothing here knows a socket, a file, a clock or a provider.

mod address;
mod advice;
mod author;
pub mod bounce;
mod change;
mod encode;
mod envelope;
mod header;
mod id;
mod letter;
mod name;
mod outcome;
mod page;
mod parameter;
mod passage;
mod phrase;
mod preparation;
mod recipients;
mod repair;
mod rewrite;
mod state;

pub use address::{Address, InvalidAddress};
pub use advice::Advice;
pub use author::author;
pub use change::{Change, changes_in_words};
pub use encode::Encoder;
pub use envelope::{BodyType, Envelope, InvalidParameter, Notify, Recipient, Ret, Xtext};
pub use header::{Field, Header};
pub use id::{Id, InvalidId};
pub use letter::Letter;
pub use name::{InvalidMailboxName, InvalidName, Name};
pub use outcome::{Hold, Outcome};
pub(crate) use phrase::{encoded, text};
pub use preparation::{Findings, Preparation};
pub use recipients::addresses;
pub use repair::{Case, Repair, repair};
pub use rewrite::rewrite;
pub use state::State;
