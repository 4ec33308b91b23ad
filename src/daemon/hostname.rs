//! The name that we give ourselves in EHLO and Received. Both providers refuse one that is not fully qualified.

/// Where the name came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// The machine's own.
    Machine(String),
    /// A mailbox's domain, because the machine has none.
    Borrowed(String),
}

/// The machine's fully qualified name, else `fallback`. `name` is its host name, `hosts` the text of /etc/hosts.
pub(super) fn find(name: &str, hosts: &str, fallback: &str) -> Found {
    if is_qualified(name) {
        return Found::Machine(name.to_owned());
    }
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let named = lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>()).find(|names| names.contains(&name));
    match named.and_then(|names| names.into_iter().find(|name| is_qualified(name))) {
        Some(qualified) => Found::Machine(qualified.to_owned()),
        None => Found::Borrowed(fallback.to_owned()),
    }
}

/// At least two labels of letters, digits and hyphens, and no name that means "this machine" everywhere.
fn is_qualified(name: &str) -> bool {
    let is_label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        plain && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    name.contains('.') && name.split('.').all(is_label) && !name.ends_with(".localdomain") && !name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_domain_is_looked_up_and_else_borrowed() {
        let hosts = "127.0.0.1 localhost.localdomain localhost\n127.0.1.1 erp.contoso.com erp # comment\n::1 other.example other";
        let machine = |name: &str| Found::Machine(name.to_owned());
        for (name, expected) in [
            ("relay.contoso.com", machine("relay.contoso.com")),
            ("erp", machine("erp.contoso.com")),
            ("localhost", Found::Borrowed("fallback.example".into())),
            ("my_host", Found::Borrowed("fallback.example".into())),
            ("my_host.example", Found::Borrowed("fallback.example".into())),
            ("", Found::Borrowed("fallback.example".into())),
        ] {
            assert_eq!(find(name, hosts, "fallback.example"), expected, "{name}");
        }
    }
}
