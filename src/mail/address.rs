//! A mail address as it stands between angle brackets (RFC 5321 §4.1.2), kept exactly as the app wrote it.
//!
//! Tolerant in grammar (a missing domain, a local part that ought to be quoted), strict in what could end a command:
//! no control character, no space outside quotes, no angle bracket outside quotes. So an address that parsed can be
//! put between `<` and `>` without ever becoming a second command upstream.

use std::fmt;

/// Longest address taken, in octets. RFC 5321 §4.5.3.1.3 says 256 for a path; some systems send longer ones.
const LONGEST: usize = 512;

/// An address: `local@domain`, or a bare local name such as `root`.
///
/// Compared with [`Address::is_same`] (domain without case); `==` compares the text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    text: Box<str>,
    /// Where the `@` before the domain stands; the length of the text when there is none.
    at: usize,
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Nothing there.
    #[error("the address is empty")]
    Empty,
    /// Longer than 512 octets.
    #[error("the address is longer than 512 octets")]
    TooLong,
    /// A control character, or a space or bracket outside quotes.
    #[error("the address holds a character that may not stand there")]
    Character,
    /// A quoted local part that never ends.
    #[error("the quoted local part has no closing quote")]
    OpenQuote,
    /// An `@` with nothing before or after it, or a domain that is none.
    #[error("the address has an `@` but no local part or no valid domain")]
    Part,
}

impl Address {
    /// Reads `local@domain` or `local`, without angle brackets; RFC 5321 source routes must have been removed.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        if text.is_empty() {
            return Err(InvalidAddress::Empty);
        }
        if text.len() > LONGEST {
            return Err(InvalidAddress::TooLong);
        }
        let at = end_of_local(text)?;
        if at < text.len() && (at == 0 || !is_domain(&text[at + 1..])) {
            return Err(InvalidAddress::Part);
        }
        Ok(Self { text: text.into(), at })
    }

    /// The whole address as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the `@`, with its quotes if it has any.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// The part after the `@`; `None` for a bare local name.
    pub fn domain(&self) -> Option<&str> {
        self.text.get(self.at + 1..)
    }

    /// Whether it can be sent without SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// Whether both name the same mailbox as far as a relay may tell: all compared without ASCII case, as the
    /// providers do. A doubtful one is the same as none.
    pub fn is_same(&self, other: &Self) -> bool {
        self.text.eq_ignore_ascii_case(&other.text) && !self.is_doubtful()
    }

    /// Whether its local part holds an `@` outside of quotes, as in `ceo@evil.example@example.com`. Some servers read such an address up to
    /// the first `@`, others up to the last: what it names is in doubt, and no rule may take it for one that is allowed.
    pub fn is_doubtful(&self) -> bool {
        !self.text.starts_with('"') && self.local().contains('@')
    }
}

/// Finds the `@` that ends the local part, walking over a quoted string.
fn end_of_local(text: &str) -> Result<usize, InvalidAddress> {
    let bytes = text.as_bytes();
    if bytes[0] == b'"' {
        let close = end_of_quoted(bytes)?;
        return match bytes.get(close + 1) {
            None | Some(b'@') => Ok(close + 1),
            Some(_) => Err(InvalidAddress::Character),
        };
    }
    // An unquoted local part may hold what ought to be quoted (`first..last`, `a@b@example.com`): the last `@` counts.
    let at = text.rfind('@').unwrap_or(text.len());
    let forbidden = |b: &u8| b.is_ascii_control() || matches!(b, b' ' | b'<' | b'>' | b'"' | b'\\');
    match bytes[..at].iter().any(forbidden) {
        true => Err(InvalidAddress::Character),
        false => Ok(at),
    }
}

/// The index of the quote that closes the string opened at index 0.
fn end_of_quoted(bytes: &[u8]) -> Result<usize, InvalidAddress> {
    let mut index = 1;
    while let Some(&byte) = bytes.get(index) {
        match byte {
            b'"' => return Ok(index),
            b'\\' => index += 1,
            _ if byte.is_ascii_control() => return Err(InvalidAddress::Character),
            _ => {}
        }
        // What a backslash quotes must be printable too, or a line end could hide behind it.
        if bytes.get(index).is_some_and(u8::is_ascii_control) {
            return Err(InvalidAddress::Character);
        }
        index += 1;
    }
    Err(InvalidAddress::OpenQuote)
}

/// A domain, tolerant of underscores and non-ASCII labels, or an address literal (RFC 5321 §4.1.3).
fn is_domain(domain: &str) -> bool {
    if let Some(literal) = domain.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(|inside| {
            !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-'))
        });
    }
    domain.strip_suffix('.').unwrap_or(domain).split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_') || !b.is_ascii())
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apps_write_is_taken_and_kept() {
        for (text, local, domain) in [
            ("a@example.com", "a", Some("example.com")),
            ("first..last@example.com", "first..last", Some("example.com")),
            ("\"john doe\"@example.com", "\"john doe\"", Some("example.com")),
            ("\"a\\\"b\"@example.com", "\"a\\\"b\"", Some("example.com")),
            ("root", "root", None),
            ("a@my_host.local", "a", Some("my_host.local")),
            ("a@[127.0.0.1]", "a", Some("[127.0.0.1]")),
            ("a@[IPv6:::1]", "a", Some("[IPv6:::1]")),
            ("jörg@bücher.example", "jörg", Some("bücher.example")),
            ("a@b@example.com", "a@b", Some("example.com")),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.local(), address.domain(), address.as_str()), (local, domain, text));
        }
    }

    #[test]
    fn an_address_with_an_inner_at_is_doubtful_and_the_same_as_none() {
        for (text, doubtful) in [
            ("a@example.com", false),
            ("root", false),
            ("\"a@b\"@example.com", false),
            ("a@b@example.com", true),
            ("@b@example.com", true),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.is_doubtful(), address.is_same(&address)), (doubtful, !doubtful), "{text}");
        }
    }

    #[test]
    fn what_could_end_a_command_is_refused() {
        for (text, why) in [
            ("", InvalidAddress::Empty),
            ("a b@example.com", InvalidAddress::Character),
            ("a>b@example.com", InvalidAddress::Character),
            ("a@example.com>", InvalidAddress::Part),
            ("a\r\nRCPT TO:<b@example.com>", InvalidAddress::Character),
            ("\"a\r\nb\"@example.com", InvalidAddress::Character),
            ("\"a\\\r\nb\"@example.com", InvalidAddress::Character),
            ("\"a@example.com", InvalidAddress::OpenQuote),
            ("\"a\"b@example.com", InvalidAddress::Character),
            ("@example.com", InvalidAddress::Part),
            ("a@", InvalidAddress::Part),
            ("a@exa mple.com", InvalidAddress::Part),
            ("a@example..com", InvalidAddress::Part),
            ("a@[]", InvalidAddress::Part),
        ] {
            assert_eq!(Address::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(Address::parse(&"a".repeat(513)), Err(InvalidAddress::TooLong));
    }
}
