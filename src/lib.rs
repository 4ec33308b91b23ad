//! outlink, the map. Modules stand in layers and import only downward, never a sibling; `tests/architecture.rs` checks it.
//!
//! The way of a message: `listener` reads bytes, the pure `smtp` session answers and ends in an envelope and a body; `relay` finds
//! the app's mailbox and contract, asks `tokens` for an access token and hands the message to `upstream`; the provider's reply is
//! judged by `provider`, and its verdict goes back to the app.

// Layer 0: the vocabulary.
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod mail;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod secret;

// Layer 1: the two languages, as pure state machines.
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod oauth;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod smtp;

// Layer 2: what is known of providers, as data.
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod provider;

// Between: where tests end the process, how files come to their place, and where keys lie.
pub mod crash;
pub mod key;
pub mod whole;

// Layer 3: settings, storage, trust.
pub mod config;
pub mod store;
pub mod tls;

// Layer 4: one outside matter each.
pub mod listener;
pub mod queue;
pub mod tokens;
pub mod upstream;

// Layer 5: the only place where those meet.
pub mod relay;

// Layer 6: what tries everything for real; other programs' files; who is told of changes; the simulated provider.
pub mod doctor;
pub mod dropbox;
pub mod import;
pub mod notify;
pub mod sandbox;

// Layer 7: the control socket, and the listener for browsers after a login.
pub mod admin;
pub mod web;

// Layer 8: the life of the process.
pub mod daemon;

// Layer 9: what a person can ask for.
pub mod cli;
