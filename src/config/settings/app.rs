//! What an app may do, and what proves it besides passwords and addresses.

use crate::mail::Address;
use std::fmt;

/// What an app may send. `None`: no limit but the listener's and the mailbox's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppLimits {
    /// Messages in any minute.
    pub messages_per_minute: Option<u32>,
    /// Messages in any 24 hours.
    pub messages_per_day: Option<u32>,
    /// Recipients of a message.
    pub recipients: Option<usize>,
    /// Octets of a message.
    pub message_size: Option<u64>,
}

/// A client certificate that proves an app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientCertificate {
    /// By the SHA-256 of the whole certificate: 64 hexadecimal digits in lower case.
    Fingerprint(String),
    /// By a name in it, in lower case.
    Name(String),
}

impl fmt::Display for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint(digits) => write!(f, "sha256:{digits}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A user of this machine whose processes are an app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixUser {
    /// As the configuration has it.
    pub name: String,
    /// Its number; `None`: there was no such user when the configuration was read, and nobody is it.
    pub uid: Option<u32>,
}

/// Patterns of recipients: `a@example.com`, `*@example.com`, `*@*.example.com`, `team-*@example.com`, `root`, `*`. In lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedRecipients(Vec<String>);

impl AllowedRecipients {
    /// Takes patterns in lower case whose stars are checked.
    pub(crate) fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// Whether `address` matches one of them, without case.
    pub fn matches(&self, address: &Address) -> bool {
        // Of `ceo@evil.example@example.com` nobody knows where a provider ends it.
        if address.is_doubtful() {
            return false;
        }
        let (local, domain) = (address.local().to_ascii_lowercase(), address.domain().map(str::to_ascii_lowercase));
        self.0.iter().any(|pattern| match (pattern.rsplit_once('@'), &domain) {
            _ if pattern == "*" => true,
            (Some((wanted, of)), Some(domain)) => is_like(wanted, &local) && in_domain(of, domain),
            (None, None) => is_like(pattern, &local),
            _ => false,
        })
    }
}

/// `example.com` is itself alone, `*.example.com` all below it.
fn in_domain(pattern: &str, domain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    match pattern.strip_prefix('*') {
        Some(below) => domain.len() > below.len() && domain.ends_with(below),
        None => pattern == domain,
    }
}

/// Whether `text` is `pattern` with something, or nothing, for each star. Each piece between stars is looked for once, from the left.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_match_by_address_local_part_domain_and_those_below_it() {
        for (pattern, matching, others) in [
            ("*", vec!["a@b.example", "root"], vec![]),
            ("a@b.example", vec!["A@B.example", "a@b.example."], vec!["aa@b.example", "a", "a@a.b.example"]),
            ("*@b.example", vec!["a@b.example", "\"x@y\"@b.example"], vec!["a@c.b.example", "a@b.example.org", "a@xb.example"]),
            ("*@*.b.example", vec!["a@c.b.example", "a@d.c.b.example"], vec!["a@b.example", "a@xb.example", "a@b.example.org"]),
            ("team-*@b.example", vec!["team-it@b.example", "team-@b.example"], vec!["steam-it@b.example", "team@b.example"]),
            ("a*b*c@b.example", vec!["abc@b.example", "axbxc@b.example"], vec!["acb@b.example", "ab@b.example"]),
            ("ab*ba@b.example", vec!["abba@b.example"], vec!["aba@b.example"]),
            ("root", vec!["root", "ROOT"], vec!["root@b.example", "roots"]),
            // An inner `@` leaves in doubt where the address ends.
            ("*@b.example", vec![], vec!["a@b.example@c.example", "a@c.example@b.example"]),
            ("*", vec!["\"a@c.example\"@b.example"], vec!["a@c.example@b.example"]),
            ("a*@b.example", vec![], vec!["a@c.example@b.example"]),
        ] {
            let allowed = AllowedRecipients::new(vec![pattern.to_owned()]);
            let matches = |text: &&str| Address::parse(text).is_ok_and(|address| allowed.matches(&address));
            for text in &matching {
                assert!(matches(text), "{pattern} {text}");
            }
            for text in &others {
                assert!(!matches(text), "{pattern} {text}");
            }
        }
    }
}
