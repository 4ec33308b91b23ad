//! INI files as Python's configparser reads them without interpolation, which is how email-oauth2-proxy keeps its configuration.
//!
//! What could surprise: `=` and `:` both end a key, whichever comes first; a line that stands further in than its key goes on with the
//! value, also after empty lines; `#` and `;` begin a comment only at the start of a line; keys are in lower case; `[DEFAULT]` gives every
//! section what it does not say itself. What Python refuses (no section yet, no delimiter, a name twice) is refused here too, with its line.

/// A file.
#[derive(Debug, Default)]
pub struct Ini {
    sections: Vec<Section>,
    defaults: Vec<Entry>,
}

/// A section.
#[derive(Debug)]
pub struct Section {
    /// Between the brackets.
    pub name: String,
    /// Where it begins.
    pub line: usize,
    entries: Vec<Entry>,
}

/// A key and its value. A value may be a secret: it is not printed.
struct Entry {
    key: String,
    lines: Vec<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What is wrong, in which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// Without what the line says: it may be a secret.
    pub why: String,
}

impl Ini {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut reader = Reader::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            reader.line(index + 1, line)?;
        }
        Ok(reader.ini)
    }

    /// Its sections in their order.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The section of this name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// What a section, or else `[DEFAULT]`, says for a key.
    pub fn get(&self, section: &str, key: &str) -> Option<String> {
        let entries = &self.section(section)?.entries;
        let found = entries.iter().chain(&self.defaults).find(|entry| entry.key == key)?;
        Some(found.lines.join("\n").trim_end().to_owned())
    }

    /// A yes or no as configparser's `getboolean` reads it; `None` for anything else.
    pub fn boolean(&self, section: &str, key: &str) -> Option<bool> {
        match self.get(section, key)?.to_ascii_lowercase().as_str() {
            "1" | "yes" | "true" | "on" => Some(true),
            "0" | "no" | "false" | "off" => Some(false),
            _ => None,
        }
    }

    /// The keys that a section says itself.
    pub fn keys(&self, section: &str) -> impl Iterator<Item = &str> {
        self.section(section).into_iter().flat_map(|section| section.entries.iter().map(|entry| entry.key.as_str()))
    }
}

/// Where entries go to.
#[derive(Clone, Copy, Default)]
enum Into {
    #[default]
    Nowhere,
    Defaults,
    Section(usize),
}

#[derive(Default)]
struct Reader {
    ini: Ini,
    into: Into,
    /// How far in the last key stood, while its value may go on.
    going_on: Option<usize>,
    indent: usize,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), Fault> {
        let value = line.trim();
        if value.starts_with(['#', ';']) {
            return Ok(());
        }
        if value.is_empty() {
            if let Some(entry) = self.open_entry() {
                entry.lines.push(String::new());
            }
            return Ok(());
        }
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        let deeper = indent > self.indent;
        if let Some(entry) = self.open_entry().filter(|_| deeper) {
            entry.lines.push(value.to_owned());
            return Ok(());
        }
        self.indent = indent;
        let header = value.strip_prefix('[').and_then(|rest| rest.rfind(']').map(|end| &rest[..end])).filter(|it| !it.is_empty());
        match header {
            Some(name) => self.begin(number, name),
            None => self.entry(number, value),
        }
    }

    fn begin(&mut self, line: usize, name: &str) -> Result<(), Fault> {
        self.going_on = None;
        if name == "DEFAULT" {
            self.into = Into::Defaults;
            return Ok(());
        }
        if let Some(other) = self.ini.section(name) {
            return Err(Fault { line, why: format!("the section [{name}] stands in line {} already", other.line) });
        }
        self.into = Into::Section(self.ini.sections.len());
        self.ini.sections.push(Section { name: name.to_owned(), line, entries: Vec::new() });
        Ok(())
    }

    fn entry(&mut self, line: usize, text: &str) -> Result<(), Fault> {
        let fault = |why: &str| Err(Fault { line, why: why.to_owned() });
        if let Into::Nowhere = self.into {
            return fault("something stands before the first [section]");
        }
        let Some((key, value)) = text.split_once(['=', ':']) else {
            return fault("this is neither `key = value` nor a [section], and does not go on with the line before it");
        };
        let key = key.trim_end().to_lowercase();
        if key.is_empty() {
            return fault("nothing stands before the `=`");
        }
        let entries = self.entries().ok_or_else(|| Fault { line, why: "no section is open".to_owned() })?;
        if entries.iter().any(|entry| entry.key == key) {
            return fault(&format!("the key `{key}` stands in this section already"));
        }
        entries.push(Entry { key, lines: vec![value.trim().to_owned()] });
        self.going_on = Some(entries.len() - 1);
        Ok(())
    }

    fn entries(&mut self) -> Option<&mut Vec<Entry>> {
        match self.into {
            Into::Nowhere => None,
            Into::Defaults => Some(&mut self.ini.defaults),
            Into::Section(at) => self.ini.sections.get_mut(at).map(|section| &mut section.entries),
        }
    }

    fn open_entry(&mut self) -> Option<&mut Entry> {
        let at = self.going_on?;
        self.entries()?.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_go_on_while_they_stand_further_in() {
        let text = "\u{feff}# head\n[one]\nKey = first\n\tsecond = not a key\n\n\t; no comment ends it\n\tthird\nnext: a = b\n  [two]\n  a=\n";
        let ini = Ini::parse(text).unwrap();
        assert_eq!(ini.get("one", "key").as_deref(), Some("first\nsecond = not a key\n\nthird"));
        assert_eq!(ini.get("one", "next").as_deref(), Some("a = b\n[two]\na="), "a header that stands further in is text");
        assert_eq!(ini.sections().len(), 1);
    }

    #[test]
    fn defaults_fill_every_section_and_percent_signs_stay() {
        let ini =
            Ini::parse("[DEFAULT]\na = 1%%\nb = 2\n[x]\nb = %(a)s ; not a comment\n[emailproxy]\non = Yes\noff = 0\n").unwrap();
        assert_eq!((ini.get("x", "a").as_deref(), ini.get("x", "b").as_deref()), (Some("1%%"), Some("%(a)s ; not a comment")));
        assert_eq!((ini.get("DEFAULT", "a"), ini.sections().len()), (None, 2));
        assert_eq!((ini.boolean("emailproxy", "on"), ini.boolean("emailproxy", "off")), (Some(true), Some(false)));
        assert_eq!((ini.boolean("x", "a"), ini.boolean("x", "none")), (None, None));
    }

    #[test]
    fn what_python_refuses_is_refused_with_its_line_and_without_its_text() {
        for (text, line, why) in [
            ("a = b\n", 1, "before the first"),
            ("[x]\n\nmarked\n", 3, "neither"),
            ("[x]\na = 1\nA: 2\n", 3, "`a` stands in this section already"),
            ("[x]\n[y]\n[x]\n", 3, "[x] stands in line 1 already"),
            ("[x]\n= marked\n", 2, "nothing stands before"),
            ("[]\n", 1, "before the first"),
        ] {
            let fault = Ini::parse(text).unwrap_err();
            assert!(fault.line == line && fault.why.contains(why), "{text:?}: {fault:?}");
            assert!(!fault.why.contains("marked"), "{fault:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\[[a-zA-Z@.]{0,6}\\]|[ \t]{0,3}[a-z#;=:\\[\\]]{0,5}|\n|\\PC){0,40}") {
            let _ = Ini::parse(&text);
        }
    }
}
