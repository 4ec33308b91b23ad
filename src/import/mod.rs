//! What other programs left behind, read and understood: email-oauth2-proxy, sasl-xoauth2 behind Postfix, and mutt_oauth2.py.
//!
//! Layer 6. Texts in, findings out: nothing here opens a file, asks a person or writes one. `kind` tells whose a text is; a reader for each
//! program makes [`Account`]s of it; `client` fits what it says of an OAuth client into a link; `plan` finds names and what is there already.

mod client;
mod email_oauth2_proxy;
mod fernet;
pub mod ini;
mod json;
mod kind;
mod mutt_oauth2;
mod plan;
mod postfix;
mod sasl_xoauth2;
#[cfg(test)]
mod tests;

pub use client::{Client, Proof, Secrets};
pub use email_oauth2_proxy::{Passwords, email_oauth2_proxy};
pub use kind::{Kind, recognise};
pub use mutt_oauth2::mutt_oauth2;
pub use plan::{Plan, PlannedLink, PlannedMailbox, Standing, plan};
pub use postfix::{Entry as MapEntry, read as read_map};
pub use sasl_xoauth2::{Setup, TokenFile, sasl_xoauth2};

use crate::{mail::Address, secret::Secret};
use std::{fmt, net::IpAddr, path::PathBuf};

/// Octets of one file; the largest real ones have some hundred accounts of 4 KiB.
pub const LONGEST: u64 = 4 << 20;

/// A program whose files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// simonrob/email-oauth2-proxy.
    EmailOauth2Proxy,
    /// tarickb/sasl-xoauth2, Postfix's plugin.
    SaslXoauth2,
    /// The script of mutt and neomutt.
    MuttOauth2,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::EmailOauth2Proxy, Self::SaslXoauth2, Self::MuttOauth2];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::EmailOauth2Proxy => "email-oauth2-proxy",
            Self::SaslXoauth2 => "sasl-xoauth2",
            Self::MuttOauth2 => "mutt_oauth2",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Input {
    /// How messages name it.
    pub name: String,
    /// What it holds; with secrets in it.
    pub text: Secret,
}

/// What is given beside the files, because a program does not keep it.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// The OAuth client's id.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<Secret>,
    /// Microsoft's directory.
    pub tenant: Option<String>,
    /// The SMTP server of a provider that is neither Google nor Microsoft, `host:port`.
    pub server: Option<String>,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// Where a person signs in there.
    pub authorization_endpoint: Option<String>,
    /// A private CA of that provider.
    pub ca_file: Option<PathBuf>,
}

/// Why a file cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {why}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct Broken {
    /// Which.
    pub file: String,
    /// In which line, where that is known.
    pub line: Option<usize>,
    /// What is wrong, and the way out; nothing of what the file holds.
    pub why: String,
}

/// What a program's files say.
#[derive(Debug, Default)]
pub struct Finding {
    /// Its accounts that can become mailboxes, in their order.
    pub accounts: Vec<Account>,
    /// Clients that served any address of a domain.
    pub shared: Vec<Shared>,
    /// Where it listened.
    pub doors: Vec<Door>,
    /// What cannot be taken.
    pub left: Vec<Left>,
    /// What should be known.
    pub notes: Vec<String>,
}

/// One account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its address.
    pub address: Address,
    /// The user of the login at the provider, where it is another.
    pub xoauth2_user: Option<String>,
    /// The OAuth client.
    pub client: Client,
    /// The SMTP server, `host:port`, where no preset knows it.
    pub server: Option<String>,
    /// How its connection is protected, where its port does not say so.
    pub tls: Option<&'static str>,
    /// What the provider granted.
    pub grant: Granted,
    /// How applications logged in to the old program as this account.
    pub login: Login,
}

/// What the provider granted to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// A refresh token.
    Token(Secret),
    /// Nothing is kept: the application has its own right.
    NotNeeded,
    /// There is none to be had, and why.
    Missing(String),
}

/// A local login of the old program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// It had none.
    None,
    /// By a password that is not known.
    Unknown,
    /// By this password: it opened what the account had encrypted.
    Password(Secret),
}

/// A client of a catch-all section.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The section: `@example.com`, or `@` for all domains.
    pub section: String,
    /// The client.
    pub client: Client,
}

/// Where the old program took SMTP, IMAP or POP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Its section, such as `SMTP-1587`.
    pub section: String,
    /// Whether it took SMTP, the one thing that can be taken over.
    pub is_smtp: bool,
    /// Its address; `None` for all addresses of the machine.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Whether it spoke TLS to its applications.
    pub tls: bool,
}

/// Something that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What.
    pub what: String,
    /// Why.
    pub reason: String,
    /// What to do instead.
    pub step: String,
}

impl Left {
    fn new(what: impl Into<String>, reason: impl Into<String>, step: impl Into<String>) -> Self {
        Self { what: what.into(), reason: reason.into(), step: step.into() }
    }
}

/// An address with a domain; everything else is no mailbox.
fn address(text: &str) -> Option<Address> {
    Address::parse(text).ok().filter(|address| address.domain().is_some())
}
