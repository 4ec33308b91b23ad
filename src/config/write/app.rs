//! An app as a command writes it.

use super::{Document, Kind};
use crate::{mail::Name, secret::PasswordHash};

/// What was given.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each field is the key of this name")]
pub struct App {
    pub user: Option<String>,
    pub password: Option<PasswordHash>,
    pub networks: Vec<String>,
    pub certificate: Vec<String>,
    pub unix_user: Vec<String>,
    pub mailbox: Name,
    pub delivery: Option<String>,
    pub bounce_to: Option<String>,
}

impl App {
    /// Its file.
    pub fn document(&self, name: &Name) -> Document {
        let mut document = Document::new(Kind::App, name);
        document.text("user", self.user.as_deref());
        if self.password.is_some() {
            document.comment("The hash alone: the password was shown once. `--replace` makes another one.");
        }
        document.text("password", self.password.as_ref().map(PasswordHash::as_str));
        if !self.networks.is_empty() {
            document.comment("Whoever has one of these addresses may send as this app.");
        }
        document.list("networks", &self.networks);
        document.list("certificate", &self.certificate);
        document.list("unix-user", &self.unix_user);
        document.text("mailbox", Some(self.mailbox.as_str()));
        document.text("delivery", self.delivery.as_deref());
        document.text("bounce-to", self.bounce_to.as_deref());
        document
    }
}
