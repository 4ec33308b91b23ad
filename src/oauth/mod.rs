//! The language of OAuth 2.0 token endpoints: what is asked, what is answered, and the life of the token that comes of it.
//!
//! Layer 1: pure. The HTTP exchange, the clock and the chance for jitter come in as arguments; `tokens` brings them.

mod answer;
mod assertion;
mod claims;
pub mod consent;
pub mod device;
mod exchange;
mod fault;
pub mod forecast;
mod form;
mod identity;
mod key;
mod life;
mod request;
mod revocation;
mod service_account;
#[cfg(test)]
mod signed_tests;

pub use answer::{Granted, check_token};
pub use assertion::{ClientAssertion, Unsigned};
pub use claims::jwt_payload;
pub use exchange::{HttpRequest, HttpResponse};
pub use fault::{Fault, retry_after};
pub use identity::{Certificate, Identity};
pub use key::KeyError;
pub use life::{AHEAD, Ask, Flight, Health, Kind, LONGEST_PROBE, Landing, Life, Token, Trouble, ahead, backoff, probe_interval};
pub use request::{Authentication, Failure, Request, What};
pub use revocation::{Revocation, Revoked};
pub use service_account::ServiceAccount;
