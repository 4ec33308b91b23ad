//! A mailbox as a command writes it.

use super::{Document, Kind};
use crate::mail::Name;

/// What was given; the rest is the preset's.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each field is the key of this name")]
pub struct Mailbox {
    pub link: Name,
    pub address: String,
    pub xoauth2_user: Option<String>,
    pub account: Option<String>,
    pub server: Option<String>,
    pub tls: Option<String>,
    pub allowed_from: Vec<String>,
    pub when_from_differs: Option<String>,
}

impl Mailbox {
    /// Its file.
    pub fn document(&self, name: &Name) -> Document {
        let mut document = Document::new(Kind::Mailbox, name);
        document.text("link", Some(self.link.as_str()));
        document.text("address", Some(&self.address));
        document.text("xoauth2-user", self.xoauth2_user.as_deref());
        document.text("account", self.account.as_deref());
        document.text("server", self.server.as_deref());
        document.text("tls", self.tls.as_deref());
        if !self.allowed_from.is_empty() {
            document.comment("Senders that pass unchanged; what becomes of all others says when-from-differs.");
        }
        document.list("allowed-from", &self.allowed_from);
        document.text("when-from-differs", self.when_from_differs.as_deref());
        document
    }
}
