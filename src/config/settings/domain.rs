//! A mailbox for a whole domain: one identity for each address that sends, all authorised by one application.

use super::{Allowed, Mailbox};
use crate::mail::Address;

/// `[mailbox.NAME]` with `address = "*@DOMAIN"`.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainMailbox {
    /// What all of its addresses have in common; its own address is the pattern.
    pub(crate) common: Mailbox,
    /// The domain, in lower case.
    pub domain: String,
    /// Senders that pass unchanged; `None`: each address its own.
    pub(crate) allowed_from: Option<Allowed>,
    /// Addresses that it sends for at the same time, at most.
    pub addresses: usize,
}

impl DomainMailbox {
    /// What all of its addresses have in common.
    pub fn common(&self) -> &Mailbox {
        &self.common
    }

    /// The mailbox of `address`, where it lies in the domain.
    pub fn mailbox(&self, address: &Address) -> Option<Mailbox> {
        if !address.domain().is_some_and(|domain| domain.eq_ignore_ascii_case(&self.domain)) {
            return None;
        }
        let lower = address.as_str().to_ascii_lowercase();
        let own = Address::parse(&lower).ok()?;
        let allowed_from = self.allowed_from.clone().unwrap_or_else(|| Allowed::new(vec![lower.clone()]));
        let name = self.common.name.with(&own);
        Some(Mailbox { name, address: own, xoauth2_user: lower, allowed_from, ..self.common.clone() })
    }
}
