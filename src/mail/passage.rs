//! Recognises in a message's trace that it went through here before (RFC 5321 §6.3). Pure.

use super::Id;

/// The id under which a Received field says that `hostname` took the message; `None` for a field of anybody else. `value` is unfolded
/// or not, and in any spelling that servers on the way give it.
pub(super) fn own_id(value: &[u8], hostname: &str) -> Option<Id> {
    let text = String::from_utf8_lossy(value);
    let words = without_comments(&text);
    let mut words = words.split_ascii_whitespace();
    let (mut is_ours, mut id) = (false, None);
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case("by") {
            is_ours = words.next().is_some_and(|name| name.trim_end_matches(';').eq_ignore_ascii_case(hostname));
        } else if word.eq_ignore_ascii_case("id") {
            id = words.next().and_then(|word| word.trim_end_matches(';').parse().ok());
        }
        // What follows is the date.
        if word.ends_with(';') {
            break;
        }
    }
    id.filter(|_| is_ours && !hostname.is_empty())
}

/// The text outside of parentheses.
fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    let mut is_outside = |c: char| {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => {
                depth -= 1;
                return false;
            }
            _ => {}
        }
        depth == 0
    };
    text.chars().filter(|c| is_outside(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::SystemTime;

    #[test]
    fn only_our_own_field_is_recognised() {
        let id = Id::new(SystemTime::UNIX_EPOCH, [7; 10]);
        for (value, is_ours) in [
            (
                format!("from app ([127.0.0.1])\r\n\tby relay.example with ESMTPA id {id}\r\n\tfor <a@b>;\r\n\tMon, 23 Nov 2026"),
                true,
            ),
            (format!("from app ([127.0.0.1]) by RELAY.example with ESMTPSA (TLSv1.3) id {id}; Mon, 23 Nov 2026"), true),
            (format!("from x (by relay.example id {id}) by other.example with SMTP id 4711; Mon"), false),
            (format!("from x by other.example with SMTP id {id}; Mon"), false),
            ("from x by relay.example with SMTP id 4711abc; Mon".to_owned(), false),
            (format!("from x by relay.example.org id {id}; Mon"), false),
            (format!("from x; by relay.example id {id}"), false),
            ("by".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(own_id(value.as_bytes(), "relay.example"), is_ours.then_some(id), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_field_makes_it_fail(value in prop::collection::vec(any::<u8>(), 0..200), words in "((by|id|relay[.]example|[(;)]| |a) ?){0,30}") {
            own_id(&value, "relay.example");
            prop_assert_eq!(own_id(words.as_bytes(), "relay.example"), None);
        }
    }
}
