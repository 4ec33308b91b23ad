//! The addresses in a To, Cc or Bcc field, or in a program's argument (RFC 5322 §3.4), read tolerantly: names, comments and groups
//! fall away, and what is left has to be an address.

use super::{Address, InvalidAddress};

/// All addresses of a list, in order; else the first element that is none, and why.
pub fn addresses(value: &str) -> Result<Vec<Address>, (String, InvalidAddress)> {
    let mut found = Vec::new();
    for element in elements(value) {
        let bare = match (element.rfind('<'), element.rfind('>')) {
            (Some(open), Some(close)) if open < close => &element[open + 1..close],
            _ => &element,
        };
        let bare = bare.trim();
        if !bare.is_empty() {
            found.push(Address::parse(bare).map_err(|why| (element.trim().to_owned(), why))?);
        }
    }
    Ok(found)
}

/// The list without comments and group names, split where an element ends. What stands in quotes belongs to a display name unless no
/// angle bracket follows.
fn elements(value: &str) -> Vec<String> {
    let (mut all, mut element) = (Vec::new(), String::new());
    let (mut quoted, mut depth, mut angle) = (false, 0usize, false);
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if depth > 0 => drop(characters.next()),
            '\\' if quoted => {
                element.push(character);
                element.extend(characters.next());
            }
            '"' if depth == 0 => {
                quoted = !quoted;
                element.push(character);
            }
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            '<' if !quoted => {
                angle = true;
                // A display name, whatever it holds.
                element.clear();
                element.push(character);
            }
            '>' if !quoted => {
                angle = false;
                element.push(character);
            }
            // The end of a group's name.
            ':' if !quoted && !angle => element.clear(),
            ',' | ';' if !quoted && !angle => all.push(std::mem::take(&mut element)),
            _ => element.push(character),
        }
    }
    all.push(element);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_in_every_form_give_their_addresses() {
        for (value, expected) in [
            ("a@b.example", "a@b.example"),
            ("root", "root"),
            ("a@b.example,c@d.example", "a@b.example c@d.example"),
            ("A <a@b.example>,\r\n \"D, C\" <c@d.example>", "a@b.example c@d.example"),
            ("a@b.example (the, one), c@d.example", "a@b.example c@d.example"),
            ("\"x <y@z>\" <a@b.example>", "a@b.example"),
            ("team: a@b.example, c@d.example;, e@f.example", "a@b.example c@d.example e@f.example"),
            ("undisclosed-recipients:;", ""),
            ("\"a b\"@c.example", "\"a b\"@c.example"),
            (" , ,", ""),
        ] {
            let found = addresses(value).unwrap_or_else(|wrong| panic!("{value}: {wrong:?}"));
            assert_eq!(found.iter().map(Address::as_str).collect::<Vec<_>>().join(" "), expected, "{value}");
        }
        for value in ["John Doe", "a@b.example c@d.example", "<a b@c.example>"] {
            assert!(addresses(value).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail_otherwise(value in ".{0,60}") {
            drop(addresses(&value));
        }
    }
}
