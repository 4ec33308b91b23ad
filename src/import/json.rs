//! JSON as the programs write it and as people edit it: with comments, which jsoncpp allows, and with numbers and booleans where a text
//! would do.

use super::{Broken, Input};
use serde_json::{Map, Value};

/// The object that a file holds.
pub(super) fn object(input: &Input) -> Result<Object, Broken> {
    let text = without_comments(input.text.expose());
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(Object(map)),
        Ok(_) => Err(Broken { file: input.name.clone(), line: Some(1), why: "it is JSON, but no object: `{ … }`".to_owned() }),
        // Its own words may repeat what stands there.
        Err(error) => {
            let why = match error.classify() {
                serde_json::error::Category::Eof => "it is JSON that ends too early",
                _ => "it is no JSON here: a quote, comma or bracket is missing or too many",
            };
            // The end of a line counts there as the beginning of the next one.
            let line = if error.column() == 0 { error.line().saturating_sub(1).max(1) } else { error.line() };
            Err(Broken { file: input.name.clone(), line: Some(line), why: why.to_owned() })
        }
    }
}

/// An object whose values are texts.
pub(super) struct Object(Map<String, Value>);

impl Object {
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// A value that says something.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let text = match self.0.get(key)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(is_so) => is_so.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// `yes` or `true`.
    pub(super) fn says_yes(&self, key: &str) -> bool {
        self.text(key).is_some_and(|text| ["yes", "true"].iter().any(|yes| text.eq_ignore_ascii_case(yes)))
    }
}

/// Comments become spaces, so that lines and columns stay where they are.
pub(super) fn without_comments(text: &str) -> String {
    #[derive(PartialEq)]
    enum In {
        Code,
        Text,
        Line,
        Block,
    }
    let (mut at, mut result) = (In::Code, String::with_capacity(text.len()));
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (&at, character) {
            (In::Text, '\\') => {
                result.push(character);
                result.extend(characters.next());
                continue;
            }
            (In::Text, '"') => at = In::Code,
            (In::Code, '"') => at = In::Text,
            (In::Code, '/') if matches!(characters.peek(), Some('/' | '*')) => {
                at = if characters.next() == Some('/') { In::Line } else { In::Block };
                result.push_str("  ");
                continue;
            }
            (In::Line, '\n') => at = In::Code,
            (In::Block, '*') if characters.peek() == Some(&'/') => {
                characters.next();
                at = In::Code;
                result.push_str("  ");
                continue;
            }
            _ => {}
        }
        let hidden = matches!(at, In::Line | In::Block) && character != '\n';
        result.push(if hidden { ' ' } else { character });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Object, Broken> {
        object(&Input { name: "file".into(), text: Secret::new(text.into()) })
    }

    #[test]
    fn comments_numbers_and_booleans_are_read_as_jsoncpp_does() {
        let text = "{ // the client\n \"client_id\": \"a//b/*c*/\\\"d\", /* two\n lines */ \"expiry\": 0, \"on\": true, \"off\": \"No\", \"none\": \"\"}";
        let object = read(text).unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(object.text("client_id").as_deref(), Some("a//b/*c*/\"d"));
        assert_eq!((object.text("expiry").as_deref(), object.text("none")), (Some("0"), None));
        assert_eq!((object.says_yes("on"), object.says_yes("off"), object.has("none")), (true, false, true));
    }

    #[test]
    fn a_broken_file_is_told_by_its_line_without_its_text() {
        for (text, line) in [("{\n \"a\": \"marked\n}", 2), ("{\n\"a\": \"marked\"", 2), ("[1]", 1), ("{\"a\": /* marked", 1)] {
            let broken = read(text).err().unwrap();
            assert!(broken.line == Some(line) && !broken.to_string().contains("marked"), "{text:?}: {broken}");
        }
    }

    proptest! {
        #[test]
        fn what_is_hidden_leaves_every_character_in_its_place(text in "([\"/*\\\\\n {}:a]|\\PC){0,60}") {
            prop_assert_eq!(without_comments(&text).chars().count(), text.chars().count());
            prop_assert_eq!(without_comments(&text).lines().count(), text.lines().count());
            let _ = read(&text);
        }
    }
}
