//! Sockets on which apps submit mail (RFC 6409): accept, count, encrypt, run the pure session over the bytes, ask the host, spool bodies.
//!
//! Layer 4. It knows neither apps nor mailboxes: whoever implements [`Host`] says who may send what, and takes the message.
//! Memory is bounded for each connection by its buffers, whatever the size of a message.

mod connection;
mod doors;
mod entry;
mod exhaustion;
mod file;
mod handshake;
mod host;
mod incoming;
mod pace;
mod passed;
mod peer;
mod presented;
mod proxy;
mod received;
mod serve;
mod socket;
mod stream;
#[cfg(test)]
mod tests;

pub use file::Regrouped;
pub use host::{Host, Login, Submission};
pub use passed::Passed;
pub use peer::{Peer, PeerCertificate, UnixPeer, customer};
pub use presented::{CertificateState, INTERVAL as CERTIFICATE_INTERVAL, Presented};
pub use serve::{Running, Service, attend, serve};
pub use socket::{BindError, Socket, bind};
