//! Why there is no access token, and why a grant was not taken or not given up.

use crate::{
    mail::{Advice, Name},
    oauth::{Kind, Trouble},
    store,
};

/// Why there is no access token. Its text is one line for logs, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Time mends it.
    #[error("no access token for now: {reason}")]
    Transient {
        /// What was tried and what came of it, and the next step.
        reason: String,
        /// The next step, where a table knows the trouble.
        advice: Option<Advice>,
    },
    /// Only a person's new consent mends it.
    #[error("no access token until there is a new consent: {reason}; {advice}")]
    NeedsConsent {
        /// What was tried and what came of it.
        reason: String,
        /// The next step.
        advice: Advice,
    },
    /// An administrator mends it, here or at the provider.
    #[error("no access token until this is repaired: {reason}; {advice}")]
    NeedsRepair {
        /// What was tried and what came of it.
        reason: String,
        /// The next step.
        advice: Advice,
        /// Whether every mailbox of the link has the same trouble: its OAuth client is what needs repair.
        of_link: bool,
    },
}

impl Unavailable {
    /// What `trouble` means; a token may be `shared` by all mailboxes of its link.
    pub(super) fn of(Trouble { kind, reason, advice, .. }: Trouble, shared: bool) -> Self {
        match kind {
            Kind::Transient => Self::Transient { reason: format!("{reason}; {advice}"), advice: Some(advice) },
            Kind::Consent => Self::NeedsConsent { reason, advice },
            Kind::Administrator => Self::NeedsRepair { reason, advice, of_link: shared },
            Kind::Configuration => Self::NeedsRepair { reason, advice, of_link: true },
        }
    }
}

/// Why a grant was not taken, or not given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such mailbox.
    #[error("mailbox {mailbox} is not configured; the names are those of the [mailbox.NAME] tables")]
    UnknownMailbox {
        /// Which.
        mailbox: Name,
    },
    /// Its link uses no refresh token.
    #[error(
        "mailbox {mailbox} takes no refresh token: its link {link} has grant = \"{grant}\"; only links with grant = \"authorization-code\" or \"device-code\" keep one"
    )]
    OtherGrant {
        /// Which mailbox.
        mailbox: Name,
        /// Its link.
        link: Name,
        /// The link's grant.
        grant: String,
    },
    /// What was given is no token.
    #[error("this cannot be a refresh token: {why}; give the token alone, as the provider issued it")]
    NoToken {
        /// What is wrong with it.
        why: String,
    },
    /// There is nothing to revoke.
    #[error("mailbox {mailbox} has no grant")]
    NoGrant {
        /// Which mailbox.
        mailbox: Name,
    },
    /// The provider did not revoke it.
    #[error(
        "the grant of mailbox {mailbox} is not revoked and still kept: {reason}; try it again, or end it in the provider's console"
    )]
    NotRevoked {
        /// Which mailbox.
        mailbox: Name,
        /// What was tried and what came of it.
        reason: String,
    },
    /// The store did not keep it.
    #[error(transparent)]
    Store(#[from] store::Error),
}
