//! A listener as `outlink import` writes it: an address and port that another program had.

use super::{Document, Kind};
use crate::mail::Name;
use std::net::SocketAddr;

/// What was found; the rest is the default's.
#[derive(Debug, Clone, Copy)]
pub struct Listener {
    /// The key `bind`.
    pub bind: SocketAddr,
}

impl Listener {
    /// Its file.
    pub fn document(&self, name: &Name) -> Document {
        let mut document = Document::new(Kind::Listener, name);
        document.text("bind", Some(&self.bind.to_string()));
        document
    }
}
