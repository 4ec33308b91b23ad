//! The address in a From field (RFC 5322 §3.6.2), found tolerantly: enough to compare it with what a mailbox may send.

use super::Address;

/// The one address of a From field's value; `None` when there is none, several, or something that is no address.
pub fn author(value: &str) -> Option<Address> {
    let bare = without_quotes_and_comments(value);
    if bare.contains(',') {
        return None;
    }
    let address = match (bare.rfind('<'), bare.rfind('>')) {
        (Some(open), Some(close)) if open < close && bare.matches('<').count() == 1 => &bare[open + 1..close],
        (None, None) => &bare,
        _ => return None,
    };
    Address::parse(address.trim()).ok().filter(|address| address.domain().is_some())
}

/// Removes display names in quotes and comments in parentheses; a quoted local part goes too, and then no address is found.
fn without_quotes_and_comments(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let (mut quoted, mut depth) = (false, 0usize);
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted || depth > 0 => drop(characters.next()),
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => depth -= 1,
            _ if quoted || depth > 0 => {}
            _ => out.push(character),
        }
    }
    out
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
            ("\"open", None),
        ] {
            assert_eq!(author(value).as_ref().map(Address::as_str), expected, "{value}");
        }
    }
}
