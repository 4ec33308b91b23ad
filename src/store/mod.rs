//! What is kept: the one database and the message bodies beside it, in the state directory.
//!
//! Layer 3. All SQL and every body file live here.

mod body;

pub use body::{Body, BodyReader, LARGEST_IN_MEMORY, Receiving, Spool};
