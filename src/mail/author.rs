//! The address in a From field (RFC 5322 §3.6.2), found tolerantly, but never by guessing: it decides as whom a message may be sent. A value
//! that another program could read as somebody else's holds no address.

use super::Address;

/// The one address of a From field's value; `None` when there is none, several, something that is no address, or a value in doubt: with
/// quotes or comments that never end, groups, or text behind the address.
pub fn author(value: &str) -> Option<Address> {
    let bare = without_quotes_and_comments(value)?;
    let (name, address) = match bare.split_once('<') {
        Some((name, rest)) => (name, rest.trim().strip_suffix('>')?),
        None => ("", bare.as_str()),
    };
    // A comma parts addresses, a colon begins a group, a semicolon ends one, and for some programs parts addresses.
    let is_doubtful = name.contains([',', ':', ';', '>']) || address.contains(['<', '>', '(', ')', ',', ';']);
    let address = Address::parse(address.trim()).ok().filter(|address| address.domain().is_some())?;
    (!is_doubtful && !address.is_doubtful() && !address.local().contains([':', '[', ']'])).then_some(address)
}

/// Removes display names in quotes and comments in parentheses; a quoted local part goes too, and then no address is found. `None` where
/// it is in doubt what stands in them.
fn without_quotes_and_comments(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let (mut quoted, mut depth) = (false, 0usize);
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted || depth > 0 => drop(characters.next()?),
            // It means nothing here, but some programs take it to quote what follows.
            '\\' if characters.peek().is_some_and(|next| "\"()<>,:;@\\".contains(*next)) => return None,
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.checked_sub(1)?,
            _ if quoted || depth > 0 => {}
            _ => out.push(character),
        }
    }
    (!quoted && depth == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_where_there_is_exactly_one() {
        for (value, expected) in [
            ("a@example.com", Some("a@example.com")),
            ("Jira <a@example.com>", Some("a@example.com")),
            ("\"Doe, John <x@y.z>\" <a@example.com>", Some("a@example.com")),
            ("(me@there) a@example.com (you)", Some("a@example.com")),
            ("ops@example.com <a@example.com>", Some("a@example.com")),
            ("a@example.com, b@example.com", None),
            ("<a@example.com> <b@example.com>", None),
            ("root", None),
            ("", None),
            ("HP (Floor 2) \"A: B; C\" <a@example.com> (scanner)", Some("a@example.com")),
            ("CONTOSO\\scanner <a@example.com>", Some("a@example.com")),
            ("a@[IPv6:::1]", Some("a@[IPv6:::1]")),
            // In doubt: what others may read as somebody else's.
            ("\"open", None),
            ("a@example.com (, ceo@evil.example", None),
            ("a@example.com \", ceo@evil.example", None),
            ("a@example.com ), ceo@evil.example (", None),
            ("<a@example.com> ceo@evil.example", None),
            ("<a@example.com> <", None),
            ("<a@example.com>>", None),
            ("<<a@example.com>", None),
            ("a@example.com>", None),
            ("ceo@evil.example; <a@example.com>", None),
            ("evil@evil.example:<a@example.com>;", None),
            ("Team: a@example.com;", None),
            ("Team: <a@example.com>", None),
            ("<@evil.example:a@example.com>", None),
            ("ceo@evil.example@example.com", None),
            ("<ceo@evil.example@example.com>", None),
            ("\\\", ceo@evil.example, \\\" <a@example.com>", None),
            ("\"a\\\" <a@example.com>", None),
            ("(a\\) a@example.com", None),
            ("a@example.com (\\", None),
        ] {
            assert_eq!(author(value).as_ref().map(Address::as_str), expected, "{value}");
        }
    }
}
