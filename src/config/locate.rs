//! Where each key stands: in which file, line and column, or in which environment variable; and its source line with
//! plain secrets masked.

use config::{Map, Value, ValueKind};
use std::{collections::BTreeMap, fmt, ops::Range, path::PathBuf};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Characters of a source line that are shown. Longer ones are hashes and pasted tokens.
const SHOWN: usize = 160;

/// One layer of the configuration: a file, or the environment as lines of `NAME=value`.
#[derive(Clone)]
pub(super) struct Layer {
    /// The file, or `environment`.
    pub(super) file: PathBuf,
    /// Whether lines and columns mean anything.
    pub(super) numbered: bool,
    /// Its keys and values.
    pub(super) values: Map<String, Value>,
    text: String,
    places: BTreeMap<Vec<String>, Place>,
    /// Octets of `text` that hold plain secrets.
    secrets: Vec<Range<usize>>,
}

/// Where a key and its value stand, in octets.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// A place as people count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: Option<usize>,
    pub(super) column: Option<usize>,
    pub(super) source_line: String,
}

/// A fault of the text itself: where, and what.
pub(super) type Broken = (Position, String);

impl Layer {
    /// Reads TOML; or says all that is wrong with it as text.
    pub(super) fn from_toml(file: PathBuf, text: String) -> Result<Self, Vec<Broken>> {
        let mut layer = Self { file, numbered: true, values: Map::new(), text, places: BTreeMap::new(), secrets: Vec::new() };
        let text = std::mem::take(&mut layer.text);
        let (document, errors) = DeTable::parse_recoverable(&text);
        let mut broken: Vec<_> = errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message().to_owned())).collect();
        if broken.is_empty() {
            layer.values = layer.table(document.get_ref(), &mut Vec::new(), false, &mut broken);
        }
        let readable = errors.is_empty();
        layer.text = text;
        match broken.is_empty() {
            true => Ok(layer),
            false => Err(broken.into_iter().map(|(span, message)| (layer.broken(span.start, readable), message)).collect()),
        }
    }

    /// Takes variables that were chosen and named as keys: path, variable name, value.
    pub(super) fn from_environment(values: Map<String, Value>, variables: &[(Vec<String>, String, String)]) -> Self {
        let mut layer = Self {
            file: "environment".into(),
            numbered: false,
            values,
            text: String::new(),
            places: BTreeMap::new(),
            secrets: Vec::new(),
        };
        for (path, name, value) in variables {
            let start = layer.text.len();
            layer.text.push_str(&format!("{name}={}\n", value.replace(|c: char| c.is_control(), " ")));
            let secret =
                path.iter().skip(1).any(|segment| is_secret(segment)) && path.last().is_none_or(|last| !is_reference(last));
            let secret = secret || holds_credentials(value);
            let (key, value) = (start..start + name.len(), start + name.len() + 1..layer.text.len() - 1);
            if secret {
                layer.secrets.push(value.clone());
            }
            // A variable makes the tables above its key, too.
            for length in 1..path.len() {
                layer.places.entry(path[..length].to_vec()).or_insert(Place { key: key.clone(), value: key.clone() });
            }
            layer.places.insert(path.clone(), Place { key, value });
        }
        layer
    }

    /// The paths of all its keys.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Vec<String>> {
        self.places.keys()
    }

    /// The place of `path`, when this layer has it.
    pub(super) fn place(&self, path: &[String]) -> Option<&Place> {
        self.places.get(path)
    }

    /// The text that stands at `path`, where it is written without escapes.
    pub(super) fn text_of(&self, path: &[String]) -> Option<String> {
        let value = self.text.get(self.place(path)?.value.clone())?;
        Some(value.trim_matches(['"', '\'']).to_owned())
    }

    /// Whether its text begins like this.
    pub(super) fn begins_with(&self, text: &str) -> bool {
        self.text.starts_with(text)
    }

    /// Variables that are named by a reference `{ env = … }`.
    pub(super) fn variables_referred_to(&self) -> Vec<String> {
        fn walk(values: &Map<String, Value>, found: &mut Vec<String>) {
            // The environment's keys are whole paths.
            for (key, value) in values {
                match &value.kind {
                    ValueKind::Table(below) => walk(below, found),
                    ValueKind::String(name) if key.rsplit('.').next() == Some("env") => found.push(name.clone()),
                    _ => {}
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.values, &mut found);
        found
    }

    /// The line around an octet.
    pub(super) fn position(&self, offset: usize) -> Position {
        let (line, column, range) = self.line_around(offset);
        let (mut shown, mut at) = (String::new(), range.start);
        for secret in self.secrets.iter().filter(|secret| secret.start < range.end && secret.end > range.start) {
            shown.push_str(self.text.get(at..secret.start.max(at)).unwrap_or_default());
            shown.push_str("[secret]");
            at = secret.end.clamp(at, range.end);
        }
        shown.push_str(self.text.get(at..range.end).unwrap_or_default());
        let number = |number| self.numbered.then_some(number);
        Position { line: number(line), column: number(column), source_line: printable(&shown) }
    }

    /// The same where the text could not be read, so that it is not known which of its octets are secret: only lines that cannot
    /// hold one are shown.
    fn broken(&self, offset: usize, readable: bool) -> Position {
        let mut position = self.position(offset);
        let line = position.source_line.trim_start();
        let name: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
        // `[` with a quote after it may as well be a list of passwords.
        let header = line.starts_with('[')
            && !line.contains(['"', '\''])
            && line[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '[');
        let assigns = !name.is_empty()
            && !name.contains(|c: char| c.is_ascii_uppercase())
            && line[name.len()..].trim_start().starts_with('=');
        // A secret can stand behind another key of the same line in an inline table.
        let suspicious = ["secret", "passw", "sealed", "private", "service-account"];
        let suspicious = suspicious.iter().any(|word| line.to_ascii_lowercase().contains(word)) || holds_credentials(line);
        let harmless = header || assigns && !is_secret(&name) && !suspicious;
        if !(readable || line.is_empty() || harmless) {
            position.source_line = match name.is_empty() || !assigns {
                true => "[not shown: it may hold a secret]".into(),
                false => format!("{name} = [secret]"),
            };
        }
        position
    }

    fn line_around(&self, offset: usize) -> (usize, usize, Range<usize>) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let start = self.text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[offset..].find('\n').map_or(self.text.len(), |at| offset + at);
        let line = self.text[..start].matches('\n').count() + 1;
        (line, self.text[start..offset].chars().count() + 1, start..end)
    }

    fn table(
        &mut self,
        table: &DeTable<'_>,
        path: &mut Vec<String>,
        secret: bool,
        broken: &mut Vec<(Range<usize>, String)>,
    ) -> Map<String, Value> {
        let mut values = Map::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            // Names of links and apps (the second level) may hold `password` and mean nothing by it.
            let secret = path.len() > 1 && (secret || is_secret(name)) && !(secret && is_reference(name));
            path.push(name.to_owned());
            self.places.insert(path.clone(), Place { key: key.span(), value: value.span() });
            let in_a_url = value.get_ref().as_str().is_some_and(holds_credentials);
            if secret && !value.get_ref().is_table() || in_a_url {
                self.secrets.push(value.span());
            }
            let kind = self.value(value, path, secret, broken);
            values.insert(name.to_owned(), Value::new(None, kind));
            path.pop();
        }
        values
    }

    fn value(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        path: &mut Vec<String>,
        secret: bool,
        broken: &mut Vec<(Range<usize>, String)>,
    ) -> ValueKind {
        match value.get_ref() {
            DeValue::String(text) => ValueKind::String(text.clone().into_owned()),
            DeValue::Boolean(value) => ValueKind::Boolean(*value),
            DeValue::Datetime(value) => ValueKind::String(value.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).map_or_else(
                |_| {
                    broken.push((value.span(), "this number is too large".into()));
                    ValueKind::Nil
                },
                ValueKind::I64,
            ),
            DeValue::Float(number) => ValueKind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Table(table) => ValueKind::Table(self.table(table, path, secret, broken)),
            DeValue::Array(array) => {
                let mut values = Vec::with_capacity(array.len());
                for (index, element) in array.iter().enumerate() {
                    path.push(element_name(index));
                    self.places.insert(path.clone(), Place { key: element.span(), value: element.span() });
                    let kind = self.value(element, path, secret, broken);
                    values.push(Value::new(None, kind));
                    path.pop();
                }
                ValueKind::Array(values)
            }
        }
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layer({})", self.file.display())
    }
}

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.values.clone())
    }
}

/// The segment of a path that stands for an element of a list; no key of a file begins so without being reported.
pub(super) fn element_name(index: usize) -> String {
    format!("#{index}")
}

/// Whether a key of this name holds a secret, also when it is misspelt. Too many are masked rather than too few.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    if name.ends_with("-expires") {
        return false;
    }
    let says_so = ["secret", "passw", "passphrase", "pwd", "sealed", "private-key", "service-account"]
        .iter()
        .any(|word| name.contains(word));
    // Of a webhook or a database, which may hold a secret in it.
    says_so || name == "url" || distance(&name, "client-secret") <= 3 || distance(&name, "password") <= 2
}

/// Whether a URL with a user name or password in it stands there (RFC 3986 §3.2.1).
fn holds_credentials(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')))
}

/// Whether a key below a secret one says where the secret is, not what it is.
fn is_reference(name: &str) -> bool {
    matches!(name, "file" | "env" | "credential")
}

/// How many letters have to be put in, taken out or changed to make one word of the other (Levenshtein).
pub(super) fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (line, from) in left.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, to) in right.chars().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Bounded, and without what a terminal would obey.
fn printable(line: &str) -> String {
    let line = line.trim_end();
    let mut shown: String = line.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    fn layer(text: &str) -> Layer {
        Layer::from_toml("outlink.toml".into(), text.into()).unwrap()
    }

    #[test]
    fn keys_and_elements_of_lists_are_found() {
        let layer = layer("hostname = \"ä\"\n[listener.local]\nnetworks = [\"10.0.0.0/8\",\n  \"x\"]\n");
        let at = |name: &str| layer.position(layer.place(&path(name)).unwrap().value.start);
        let position = at("listener.local.networks.#1");
        assert_eq!((position.line, position.column, position.source_line.as_str()), (Some(4), Some(3), "  \"x\"]"));
        assert_eq!(layer.position(layer.place(&path("listener.local")).unwrap().key.start).column, Some(11));
        assert!(layer.place(&path("listener.other")).is_none());
    }

    #[test]
    fn plain_secrets_are_masked_wherever_they_stand() {
        for (text, name, line) in [
            ("[link.a]\nclient-secret = \"MARKED\" # c", "link.a.client-secret", "client-secret = [secret] # c"),
            ("[link.a]\nclient-secert = 'MARKED'", "link.a.client-secert", "client-secert = [secret]"),
            ("[link.a]\nclient-secret = { file = \"/x\" }", "link.a.client-secret", "client-secret = { file = \"/x\" }"),
            ("[link.a]\nclient-secret = { fille = \"MARKED\" }", "link.a.client-secret", "client-secret = { fille = [secret] }"),
            ("link.a = { client-secret = \"MARKED\", x = 1 }", "link.a", "link.a = { client-secret = [secret], x = 1 }"),
            ("[app.a]\npassword = [\"MARKED\", \"MARKED\"]", "app.a.password", "password = [secret]"),
            ("[app.a]\npassword = [\n\"MARKED\",\n]", "app.a.password.#0", "[secret]"),
            ("[app.a]\npassword = \"\"\"\nMARKED\"\"\"", "app.a.password", "password = [secret]"),
            ("[link.a]\nproxy = 'http://me:MARKED@p:1'", "link.a.proxy", "proxy = [secret]"),
            ("[link.a]\nservice-account = 'MARKED'", "link.a.service-account", "service-account = [secret]"),
            ("[notify.a]\nurl = 'https://chat.example.com/MARKED'", "notify.a.url", "url = [secret]"),
            ("[app.password-reset]\nuser = \"plain\"", "app.password-reset.user", "user = \"plain\""),
        ] {
            let layer = layer(text);
            let position = layer.position(layer.place(&path(name)).unwrap().value.start);
            assert_eq!(position.source_line, line, "{text}");
        }
    }

    #[test]
    fn text_that_cannot_be_read_shows_no_line_that_may_hold_a_secret() {
        for (text, line) in [
            ("[link.a]\nclient-secret = \"MARKED", "client-secret = [secret]"),
            ("[link.a]\nclient-secret = \"a\nMARKED\"", "client-secret = [secret]"),
            ("[app.a]\npassword = [\"x\",\nMARKED]", "[not shown: it may hold a secret]"),
            ("[link.a]\nproxy = 'http://me:MARKED@p:1", "proxy = [secret]"),
            ("[link.a]\ntenant = oops", "tenant = oops"),
            ("[link.a\ntenant = 1", "[link.a"),
        ] {
            let broken = Layer::from_toml("x".into(), text.into()).unwrap_err();
            assert!(broken.iter().any(|(position, _)| position.source_line == line), "{text}: {broken:?}");
            assert!(!format!("{broken:?}").contains("MARKED"), "{text}: {broken:?}");
        }
    }
}
