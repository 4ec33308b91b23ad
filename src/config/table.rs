//! Reading one table: each known key is taken with its parser, every fault is recorded with its place, and what is left at the
//! end is unknown. Nothing stops at the first fault.

use super::{
    fault::{Fault, Severity},
    locate::{distance, element_name},
    settings::SealedSecret,
    sources::Sources,
    units,
};
use crate::mail::Name;
use config::{Value, ValueKind};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

/// The layers, and the faults found so far.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources<'a>,
    faults: RefCell<Vec<(Order, Fault)>>,
    sealed: RefCell<Vec<SealedSecret>>,
}

/// Faults are shown in the order of the text: layer, line, column.
type Order = (usize, usize);

/// What a parser says about a value that it does not take.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: String,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl<T: Into<String>> From<T> for Wrong {
    fn from(message: T) -> Self {
        Self::new(message, "")
    }
}

/// Where in an entry the fault lies.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Key,
    Value,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a Sources<'a>) -> Self {
        Self { sources, faults: RefCell::default(), sealed: RefCell::default() }
    }

    /// The outermost table.
    pub(super) fn root(&'a self) -> Table<'a> {
        Table { reader: self, path: Vec::new(), entries: self.sources.merged(), known: BTreeSet::new() }
    }

    /// The sealed values that were found.
    pub(super) fn take_sealed(&self) -> Vec<SealedSecret> {
        self.sealed.take()
    }

    /// All faults in the order of the text.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|(order, _)| *order);
        faults.dedup_by(|(_, left), (_, right)| left == right);
        faults.into_iter().map(|(_, fault)| fault).collect()
    }

    /// Refuses the configuration for a key that is named in full.
    pub(super) fn fault(&self, path: &[&str], wrong: impl Into<Wrong>) {
        self.report(Severity::Fault, &owned(path), Part::Value, wrong.into());
    }

    /// Says something about a key that is named in full.
    pub(super) fn note(&self, path: &[&str], wrong: impl Into<Wrong>) {
        self.report(Severity::Note, &owned(path), Part::Value, wrong.into());
    }

    /// Records a fault at a key that may be missing: then it is shown at the table that ought to have it.
    fn report(&self, severity: Severity, path: &[String], part: Part, wrong: Wrong) {
        let shown: Vec<_> = path.iter().filter(|segment| !segment.starts_with('#')).map(String::as_str).collect();
        let mut fault = Fault {
            severity,
            file: self.sources.main.clone(),
            line: None,
            column: None,
            key: shown.join("."),
            message: wrong.message,
            source_line: String::new(),
            hint: wrong.hint,
        };
        let mut order = (0, 0);
        let existing = (1..=path.len()).rev().find_map(|length| Some((length, self.sources.find(&path[..length])?)));
        if let Some((length, (layer_index, layer, place))) = existing {
            // A text alone can stand for a list of one: its element is the value.
            let whole = path[length..].iter().all(|segment| segment.starts_with('#'));
            let offset = if part == Part::Value && whole { place.value.start } else { place.key.start };
            let position = layer.position(offset);
            fault.file.clone_from(&layer.file);
            (fault.line, fault.column, fault.source_line) = (position.line, position.column, position.source_line);
            order = (layer_index, offset + 1);
        }
        self.faults.borrow_mut().push((order, fault));
    }
}

/// One table, with its place.
pub(super) struct Table<'a> {
    reader: &'a Reader<'a>,
    path: Vec<String>,
    entries: BTreeMap<String, Value>,
    known: BTreeSet<&'static str>,
}

impl<'a> Table<'a> {
    /// The layers and the environment behind it.
    pub(super) fn sources(&self) -> &'a Sources<'a> {
        self.reader.sources
    }

    /// Remembers a sealed value.
    pub(super) fn found_sealed(&self, sealed: SealedSecret) {
        self.reader.sealed.borrow_mut().push(sealed);
    }

    /// Whether a key stands there and was not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether a list without elements stands there.
    pub(super) fn has_empty_list(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| matches!(&value.kind, ValueKind::Array(values) if values.is_empty()))
    }

    /// The path of a key in here.
    pub(super) fn path_of(&self, key: &str) -> Vec<String> {
        self.path.iter().cloned().chain([key.to_owned()]).collect()
    }

    /// Refuses the configuration for what a key says or lacks.
    pub(super) fn fault(&self, key: &str, wrong: impl Into<Wrong>) {
        self.reader.report(Severity::Fault, &self.path_of(key), Part::Value, wrong.into());
    }

    /// Refuses one element of a list.
    pub(super) fn fault_in(&self, key: &str, index: usize, wrong: impl Into<Wrong>) {
        let mut path = self.path_of(key);
        path.push(element_name(index));
        self.reader.report(Severity::Fault, &path, Part::Value, wrong.into());
    }

    /// Says something about an element of the list at a key.
    pub(super) fn note_in(&self, key: &str, index: usize, wrong: impl Into<Wrong>) {
        let mut path = self.path_of(key);
        path.push(element_name(index));
        self.reader.report(Severity::Note, &path, Part::Value, wrong.into());
    }

    /// Refuses the table itself.
    pub(super) fn fault_here(&self, wrong: impl Into<Wrong>) {
        self.reader.report(Severity::Fault, &self.path, Part::Key, wrong.into());
    }

    /// Says something about a key.
    pub(super) fn note(&self, key: &str, wrong: impl Into<Wrong>) {
        self.reader.report(Severity::Note, &self.path_of(key), Part::Value, wrong.into());
    }

    /// Says something about the table itself.
    pub(super) fn note_here(&self, wrong: impl Into<Wrong>) {
        self.reader.report(Severity::Note, &self.path, Part::Key, wrong.into());
    }

    /// A key that has to be there is not.
    pub(super) fn missing(&self, key: &str, hint: impl Into<String>) {
        self.fault(key, Wrong::new("this key is missing", hint));
    }

    /// Takes a value with its parser.
    pub(super) fn take<T>(&mut self, key: &'static str, parse: impl FnOnce(Value) -> Result<T, Wrong>) -> Option<T> {
        self.known.insert(key);
        let value = self.entries.remove(key)?;
        let parsed = match placeholder(&value) {
            true => Err(Wrong::new("this is still a placeholder", "put your own value in its place")),
            false => parse(value),
        };
        parsed.map_err(|wrong| self.fault(key, wrong)).ok()
    }

    /// Takes a text.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.take(key, text)
    }

    /// Takes a text and makes something of it.
    pub(super) fn parsed<T>(&mut self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        self.take(key, |value| parse(&text(value)?))
    }

    /// Takes one of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(key, |word| {
            let found = words.iter().find(|(known, _)| *known == word);
            let known: Vec<_> = words.iter().map(|(known, _)| format!("`{known}`")).collect();
            found.map(|(_, choice)| *choice).ok_or_else(|| Wrong::from(format!("`{word}` is none of {}", known.join(", "))))
        })
    }

    /// Takes a list of texts, each with the parser; one text alone is a list of one, and a variable is cut at its commas.
    pub(super) fn list<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<Vec<T>> {
        self.known.insert(key);
        let value = self.entries.remove(key)?;
        let from_variable = self.sources().find(&self.path_of(key)).is_some_and(|(_, layer, _)| !layer.numbered);
        let values = match value.kind {
            ValueKind::Array(values) => values,
            ValueKind::String(text) if from_variable => text.split(',').map(|part| Value::new(None, part.trim())).collect(),
            kind => vec![Value::new(None, kind)],
        };
        let count = values.len();
        let parsed: Vec<_> = values
            .into_iter()
            .enumerate()
            .filter_map(|(index, value)| {
                let parsed = match placeholder(&value) {
                    true => Err(Wrong::new("this is still a placeholder", "put your own value in its place")),
                    false => text(value).and_then(|text| parse(&text)),
                };
                parsed.map_err(|wrong| self.fault_in(key, index, wrong)).ok()
            })
            .collect();
        (parsed.len() == count).then_some(parsed)
    }

    /// Takes a whole number.
    pub(super) fn number<T: TryFrom<i64>>(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<T> {
        self.take(key, |value| {
            let number = match value.kind {
                ValueKind::I64(number) => Some(number),
                // Variables are texts.
                ValueKind::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            let wrong = || Wrong::from(format!("this has to be a whole number from {} to {}", range.start(), range.end()));
            number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok()).ok_or_else(wrong)
        })
    }

    /// Takes `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.take(key, |value| match value.kind {
            ValueKind::Boolean(value) => Ok(value),
            ValueKind::String(text) if text == "true" => Ok(true),
            ValueKind::String(text) if text == "false" => Ok(false),
            _ => Err("this has to be true or false".into()),
        })
    }

    /// Takes a duration with its unit.
    pub(super) fn duration(&mut self, key: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.parsed(key, |text| duration(text, &range))
    }

    /// Takes a list of durations.
    pub(super) fn durations(&mut self, key: &'static str, range: RangeInclusive<Duration>) -> Option<Vec<Duration>> {
        self.list(key, |text| duration(text, &range))
    }

    /// Takes a size with its unit.
    pub(super) fn size(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.parsed(key, |text| {
            let value = units::size(text).ok_or_else(|| {
                Wrong::new(format!("`{text}` is no size"), "write a whole number with B, KiB, MiB or GiB, such as \"25 MiB\"")
            })?;
            let (least, most) = (units::show_size(*range.start()), units::show_size(*range.end()));
            range.contains(&value).then_some(value).ok_or_else(|| format!("this has to be from {least} to {most}").into())
        })
    }

    /// Takes a path; a relative one counts from the directory of the file that names it.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let directory = self.sources().directory(&self.path_of(key));
        self.parsed(key, |text| match text.is_empty() {
            true => Err("this path is empty".into()),
            false => Ok(directory.join(text)),
        })
    }

    /// Takes a key that a later version will obey, and says so.
    pub(super) fn later(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.known.insert(key);
            if self.entries.remove(*key).is_some() {
                self.note(key, "this is read but has no effect in this version");
            }
        }
    }

    /// Takes a table.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        self.known.insert(key);
        let value = self.entries.remove(key)?;
        self.below(key.to_owned(), value, "")
    }

    /// Takes all entries as texts, each with the parser; tells how many there were.
    pub(super) fn texts(&mut self, parse: impl Fn(&str, String) -> Result<String, Wrong>) -> (usize, BTreeMap<String, String>) {
        let entries = std::mem::take(&mut self.entries);
        let count = entries.len();
        let take = |(key, value): (String, Value)| {
            let parsed = match placeholder(&value) {
                true => Err(Wrong::new("this is still a placeholder", "put your own value in its place")),
                false => text(value).and_then(|value| parse(&key, value)),
            };
            let parsed = parsed.map_err(|wrong| self.fault(&key, wrong)).ok();
            parsed.map(|value| (key, value))
        };
        (count, entries.into_iter().filter_map(take).collect())
    }

    /// Takes a table of named tables.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<(Name, Table<'a>)> {
        self.known.insert(key);
        let Some(value) = self.entries.remove(key) else { return Vec::new() };
        let Some(mut all) = self.below(key.to_owned(), value, key) else { return Vec::new() };
        let mut tables = Vec::new();
        for (text, value) in std::mem::take(&mut all.entries) {
            let name = Name::parse(&text);
            if let Err(error) = &name {
                let wrong = Wrong::new(error.to_string(), format!("write [{key}.NAME], such as [{key}.crowd]"));
                self.reader.report(Severity::Fault, &all.path_of(&text), Part::Key, wrong);
            }
            if let (Some(table), Ok(name)) = (all.below(text, value, key), name) {
                tables.push((name, table));
            }
        }
        tables
    }

    fn below(&self, key: String, value: Value, named: &str) -> Option<Table<'a>> {
        let path = self.path_of(&key);
        match value.kind {
            ValueKind::Table(entries) => {
                Some(Table { reader: self.reader, path, entries: entries.into_iter().collect(), known: BTreeSet::new() })
            }
            _ => {
                let header = if named.is_empty() { key } else { format!("{named}.NAME") };
                let wrong =
                    Wrong::new("a table has to stand here", format!("write [{header}] on a line of its own, its keys below"));
                self.reader.report(Severity::Fault, &path, Part::Key, wrong);
                None
            }
        }
    }

    /// Reports what is left: unknown keys, each with the known one that it resembles.
    pub(super) fn finish(&mut self) {
        for key in std::mem::take(&mut self.entries).into_keys() {
            let nearest = self.known.iter().map(|known| (distance(&key, known), *known)).min();
            let known: Vec<_> = self.known.iter().copied().collect();
            let hint = match nearest {
                Some((far, nearest)) if far <= 3.min(key.len() / 2) => format!("did you mean `{nearest}`?"),
                _ if nearest.is_some() => format!("known here: {}", known.join(", ")),
                _ => String::new(),
            };
            self.reader.report(Severity::Fault, &self.path_of(&key), Part::Key, Wrong::new("unknown key", hint));
        }
    }

    /// Removes the entries that `unwanted` picks and returns their keys.
    pub(super) fn drop_where(&mut self, unwanted: impl Fn(&str) -> bool) -> Vec<String> {
        let keys: Vec<_> = self.entries.keys().filter(|key| unwanted(key)).cloned().collect();
        keys.iter().for_each(|key| drop(self.entries.remove(key)));
        keys
    }

    /// Takes an entry whole, for values that can have several shapes.
    pub(super) fn raw(&mut self, key: &'static str) -> Option<Value> {
        self.known.insert(key);
        self.entries.remove(key)
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|segment| (*segment).to_owned()).collect()
}

/// The text of a value.
pub(super) fn text(value: Value) -> Result<String, Wrong> {
    match value.kind {
        ValueKind::String(text) => Ok(text),
        _ => Err(Wrong::new("a text has to stand here", "write it in quotes: \"…\"")),
    }
}

fn duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, Wrong> {
    let value = units::duration(text).ok_or_else(|| {
        Wrong::new(format!("`{text}` is no duration"), "write a whole number with ms, s, m, h or d, such as \"30s\" or \"5m\"")
    })?;
    let (least, most) = (units::show_duration(*range.start()), units::show_duration(*range.end()));
    range.contains(&value).then_some(value).ok_or_else(|| format!("this has to be from {least} to {most}").into())
}

/// Whether a text was copied from a manual and never filled in.
pub(super) fn placeholder(value: &Value) -> bool {
    let ValueKind::String(text) = &value.kind else { return false };
    let upper = text.to_ascii_uppercase();
    let bracketed = text.starts_with('<') && text.ends_with('>');
    let begins = ["YOUR-", "YOUR_", "CHANGE-ME", "CHANGEME", "CHANGE_ME", "REPLACE-", "REPLACE_", "XXXX"];
    text.contains('…') || text == "..." || bracketed || begins.iter().any(|begin| upper.starts_with(begin))
}
