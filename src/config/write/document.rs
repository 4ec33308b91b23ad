//! The text of a written file: a head that says whose it is, one table, its keys in the order in which they are set.

use super::{Kind, MARK};
use crate::mail::Name;
use std::{fmt, path::Path};

/// How a secret stands in a file: never in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretText {
    /// `{ file = "…" }`.
    File(String),
    /// `{ credential = "…" }`.
    Credential(String),
    /// `{ sealed = "outlink1:…" }`.
    Sealed(String),
}

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, value) = match self {
            Self::File(path) => ("file", path),
            Self::Credential(name) => ("credential", name),
            Self::Sealed(text) => ("sealed", text),
        };
        write!(f, "{{ {kind} = {} }}", quoted(value))
    }
}

/// A file as it grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    text: String,
    table: String,
}

impl Document {
    /// Begins the file of `name`.
    pub fn new(kind: Kind, name: &Name) -> Self {
        let table = format!("{kind}.{name}");
        let head = match kind {
            // No command of its own writes it or takes it away.
            Kind::Listener => format!("{MARK} import. Every key: docs/reference.md. After a change by hand: restart outlink\n"),
            Kind::Link | Kind::Mailbox | Kind::App => format!(
                "{MARK} {kind} add; `outlink {kind} remove {name}` removes this file, `--replace` writes it anew.\n\
                 # Every key: docs/reference.md. After a change by hand: outlink reload\n"
            ),
        };
        Self { text: format!("{head}[{table}]\n"), table }
    }

    /// A line for people.
    pub fn comment(&mut self, text: &str) {
        self.line(format_args!("# {text}"));
    }

    /// A text, where there is one.
    pub fn text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.line(format_args!("{key} = {}", quoted(value)));
        }
    }

    /// A number, where there is one.
    pub fn number(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.line(format_args!("{key} = {value}"));
        }
    }

    /// Yes or no.
    pub fn boolean(&mut self, key: &str, value: bool) {
        self.line(format_args!("{key} = {value}"));
    }

    /// Begins a table below; what is set from here on stands in it.
    pub fn begin(&mut self, name: &str) {
        self.line(format_args!("\n[{}.{name}]", self.table.clone()));
    }

    /// A path.
    pub fn path(&mut self, key: &str, value: Option<&Path>) {
        self.text(key, value.map(|path| path.to_string_lossy()).as_deref());
    }

    /// A list, where it has elements.
    pub fn list(&mut self, key: &str, values: &[impl AsRef<str>]) {
        if !values.is_empty() {
            let all: Vec<_> = values.iter().map(|value| quoted(value.as_ref())).collect();
            self.line(format_args!("{key} = [{}]", all.join(", ")));
        }
    }

    /// A secret.
    pub fn secret(&mut self, key: &str, value: Option<&SecretText>) {
        if let Some(value) = value {
            self.line(format_args!("{key} = {value}"));
        }
    }

    /// A date; a text that is none is left to whoever reads it.
    pub fn date(&mut self, key: &str, value: Option<&str>) {
        match value.map(|text| (text, text.parse::<chrono::NaiveDate>())) {
            Some((_, Ok(date))) => self.line(format_args!("{key} = {date}")),
            Some((text, Err(_))) => self.text(key, Some(text)),
            None => {}
        }
    }

    /// A table below, where it has entries.
    pub fn table(&mut self, name: &str, entries: &[(String, String)]) {
        if !entries.is_empty() {
            self.begin(name);
            entries.iter().for_each(|(key, value)| self.line(format_args!("{} = {}", key_text(key), quoted(value))));
        }
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        self.text.push_str(&line.to_string());
        self.text.push('\n');
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A key needs quotes unless it is a plain word.
fn key_text(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain { key.to_owned() } else { serde_json::Value::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn document() -> Document {
        Document::new(Kind::Link, &Name::parse("contoso").unwrap())
    }

    #[test]
    fn keys_stand_in_the_order_in_which_they_are_set_and_none_without_a_value() {
        let mut document = document();
        document.text("provider", Some("google"));
        document.text("tenant", None);
        document.list("scopes", &["a", "b"]);
        document.list("none", &[] as &[&str]);
        document.date("client-secret-expires", Some("2027-05-01"));
        document.date("no-date", Some("soon"));
        document.comment("Sealed.");
        document.secret("client-secret", Some(&SecretText::Sealed("outlink1:k:x".into())));
        document.table("parameters", &[("audience".into(), "a\"b".into()), ("a b".into(), "c".into())]);
        let (head, keys) = document.as_str().split_once("[link.contoso]\n").unwrap();
        assert!(head.starts_with("# Written by outlink link add; `outlink link remove contoso`"), "{head}");
        let expected = "provider = \"google\"\nscopes = [\"a\", \"b\"]\nclient-secret-expires = 2027-05-01\nno-date = \"soon\"\n# Sealed.\nclient-secret = { sealed = \"outlink1:k:x\" }\n\n\
                        [link.contoso.parameters]\naudience = 'a\"b'\n\"a b\" = \"c\"\n";
        assert_eq!(keys, expected);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(key in "\\PC{1,12}", values in proptest::collection::vec("\\PC*|.*", 1..4)) {
            let mut document = document();
            document.text("one", Some(&values[0]));
            document.list("all", &values);
            document.table("below", &[(key.clone(), values[0].clone())]);
            let read: toml::Table = document.as_str().parse().unwrap();
            let table = &read["link"]["contoso"];
            prop_assert_eq!(table["one"].as_str(), Some(values[0].as_str()));
            let all: Vec<_> = table["all"].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect();
            prop_assert_eq!(all, values.clone());
            prop_assert_eq!(table["below"][key.as_str()].as_str(), Some(values[0].as_str()));
        }
    }
}
