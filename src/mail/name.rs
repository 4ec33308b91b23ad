//! The names that configuration gives to listeners, links, mailboxes and apps, and that logs, commands and metrics repeat.

use super::Address;
use std::{fmt, sync::Arc};

/// Between the name of a mailbox for a whole domain and the address that it sends for.
const DIVIDER: char = '/';

/// The name of a listener, link, mailbox or app: `[a-z0-9-]`. A mailbox for a whole domain has one more for each address that it sends
/// for, such as `contoso/scans@contoso.com`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Takes `[a-z0-9-]`, 1 to 63 characters, not beginning with `-`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        match plain && (1..=63).contains(&text.len()) && !text.starts_with('-') {
            true => Ok(Self(text.into())),
            false => Err(InvalidName),
        }
    }

    /// Takes the name of a mailbox: a plain one, or that of a mailbox for a whole domain with an address.
    pub fn parse_mailbox(text: &str) -> Result<Self, InvalidMailboxName> {
        let Some((domain, address)) = text.split_once(DIVIDER) else { return Ok(Self::parse(text)?) };
        let (domain, address) = (Self::parse(domain)?, Address::parse(address).map_err(|_| InvalidMailboxName)?);
        Ok(domain.with(&address))
    }

    /// The name under which this mailbox for a whole domain sends for `address`.
    pub fn with(&self, address: &Address) -> Self {
        Self(format!("{self}{DIVIDER}{}", address.as_str().to_ascii_lowercase()).into())
    }

    /// The mailbox for a whole domain that this is one address of, and the address.
    pub fn of_domain(&self) -> Option<(Self, Address)> {
        let (domain, address) = self.0.split_once(DIVIDER)?;
        Some((Self(domain.into()), Address::parse(address).ok()?))
    }

    /// Whether it stands in the configuration: an address of a mailbox for a whole domain does not.
    pub fn is_configured(&self) -> bool {
        !self.0.contains(DIVIDER)
    }

    /// Whether this is `mailbox`, or one of its addresses.
    pub fn is_of(&self, mailbox: &Self) -> bool {
        match self.0.split_once(DIVIDER) {
            Some((domain, _)) => domain == mailbox.as_str() || self == mailbox,
            None => self == mailbox,
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 63 characters of a-z, 0-9 and `-`, and does not begin with `-`")]
pub struct InvalidName;

/// A text that names no mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mailbox is named as in its table, [mailbox.NAME]; an address of one for a whole domain is NAME/ADDRESS")]
pub struct InvalidMailboxName;

impl From<InvalidName> for InvalidMailboxName {
    fn from(_: InvalidName) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_whole_domain_has_a_name_that_is_read_again() {
        let domain = Name::parse("contoso").unwrap();
        let address = Address::parse("Scans/2@Contoso.com").unwrap();
        let name = domain.with(&address);
        assert_eq!(name.as_str(), "contoso/scans/2@contoso.com");
        assert_eq!(Name::parse_mailbox("contoso/Scans/2@Contoso.com"), Ok(name.clone()));
        let (of, found) = name.of_domain().unwrap();
        assert!(of == domain && found.is_same(&address) && !name.is_configured() && domain.is_configured());
        assert!(name.is_of(&domain) && name.is_of(&name) && !domain.is_of(&name) && domain.is_of(&domain));
    }

    #[test]
    fn what_names_no_mailbox_is_refused() {
        for text in ["", "/", "Contoso/a@contoso.com", "contoso/", "contoso/a b@contoso.com", "contoso/a@x\n", "-a", "a/b@"] {
            assert_eq!(Name::parse_mailbox(text), Err(InvalidMailboxName), "{text}");
        }
        assert_eq!(Name::parse("contoso/a@contoso.com"), Err(InvalidName));
        assert_eq!(Name::parse_mailbox("contoso"), Ok(Name::parse("contoso").unwrap()));
    }
}
