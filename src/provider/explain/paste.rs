//! Takes a pasted text apart: JSON anywhere in it, queries of addresses, base64, names of advice, and the plain text that is left.
//! No piece is read twice as long as it is; JSON is tried at a bounded number of places.

use super::{AdviceEntry, advice_called, marks};
use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

/// Most places at which JSON is looked for.
const MOST_OBJECTS: usize = 64;
/// Most errors, numbers and names that are kept of each kind.
pub(super) const MOST_OF_A_KIND: usize = 16;
/// Longest error name, code or description that is looked at.
const LONGEST_DESCRIPTION: usize = 2000;

/// What was found in a text.
#[derive(Debug, Default)]
pub(super) struct Paste<'a> {
    /// All that is readable: the text outside of JSON and the texts inside, a line each.
    pub(super) text: String,
    /// The text as it came, without space around it.
    pub(super) whole: &'a str,
    /// Errors that stood in a field of their own.
    pub(super) errors: Vec<Said>,
    /// Microsoft's numbers in `error_codes`.
    pub(super) numbers: Vec<u64>,
    /// Advice that was named.
    pub(super) names: Vec<&'static AdviceEntry>,
    /// The status in Gmail's challenge.
    pub(super) challenge: Option<u16>,
    pub(super) holds_secret: bool,
}

/// An error of RFC 6749 from its fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) error: String,
    pub(super) description: String,
    pub(super) subtype: String,
    /// It stood in the query of an address, as after a login.
    pub(super) is_login: bool,
}

impl<'a> Paste<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let mut paste = Self { whole: text.trim(), holds_secret: marks::holds_secret(text), ..Self::default() };
        // An escape of JSON inside of a text inside of JSON.
        let text = text.replace("\\u0026", "&").replace("\\\"", "\"");
        paste.outside_and_inside(&text);
        paste.name(paste.whole.trim_matches(['`', '"', '\'']));
        paste.queries(&text);
        paste.challenges(&text);
        let all = std::mem::take(&mut paste.text);
        paste.named_in(&all);
        paste.text = all;
        paste
    }

    /// JSON objects are taken apart, what is around them stays as it is.
    fn outside_and_inside(&mut self, text: &str) {
        let mut rest = text;
        for _ in 0..MOST_OBJECTS {
            let Some(at) = rest.find('{') else { break };
            let mut values = serde_json::Deserializer::from_str(&rest[at..]).into_iter::<Map<String, Value>>();
            let (end, inside) = match values.next() {
                Some(Ok(object)) => (at + values.byte_offset(), Some(object)),
                _ => (at + 1, None),
            };
            self.text.push_str(&rest[..if inside.is_some() { at } else { end }]);
            if let Some(object) = inside {
                self.text.push('\n');
                self.object(&object);
            }
            rest = &rest[end..];
        }
        self.text.push_str(rest);
    }

    /// serde_json reads no more than 128 levels.
    fn object(&mut self, object: &Map<String, Value>) {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(error) = object.get("error") {
            let inner = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut said = Said { error: text("error"), description: text("error_description"), ..Said::default() };
            said.subtype = [text("error_subtype"), text("suberror")].concat();
            // Google's other interfaces answer an object.
            if error.is_object() {
                said = Said { error: inner("status").to_ascii_lowercase(), description: inner("message"), ..said };
            }
            self.error(said);
        }
        if object.contains_key("schemes") || object.contains_key("scope") {
            let status = object.get("status").and_then(|status| status.as_str()?.parse().ok());
            self.challenge = self.challenge.or(status.filter(|status| (100..600).contains(status)));
        }
        for (key, value) in object {
            match (key.as_str(), value) {
                // Our own words about another text in the same object.
                ("advice", _) => {}
                ("advice_name", Value::String(name)) => self.name(name),
                ("error_codes", Value::Array(codes)) => {
                    self.numbers.extend(codes.iter().filter_map(Value::as_u64).take(MOST_OF_A_KIND));
                    self.numbers.truncate(MOST_OF_A_KIND);
                }
                (key, Value::String(text)) => self.line(key, text),
                // `"code": 535` of outlink's own events.
                (key, Value::Number(number)) => self.line(key, &number.to_string()),
                (_, value) => self.value(value),
            }
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(object) => self.object(object),
            Value::Array(values) => values.iter().for_each(|value| self.value(value)),
            Value::String(text) => self.line("", text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A field as a line: what a log in text would have.
    fn line(&mut self, key: &str, text: &str) {
        let named = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !key.is_empty() && key.len() < 40;
        if named {
            self.text.extend([key, ": "]);
        }
        self.text.extend([text, "\n"]);
    }

    /// `error=…` with what belongs to it, in an address, a form or a line of a log.
    fn queries(&mut self, text: &str) {
        for line in text.lines() {
            let starts = line.match_indices("error=").map(|(at, _)| at);
            let begins =
                |at: &usize| line[..*at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '-');
            for at in starts.filter(begins).take(MOST_OF_A_KIND) {
                let pairs: Vec<_> = url::form_urlencoded::parse(&line.as_bytes()[at..]).take(32).collect();
                let value =
                    |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim_matches('"').to_owned());
                let before = &line[..at];
                let mut said = Said {
                    error: word(&value("error").unwrap_or_default()),
                    description: value("error_description").unwrap_or_default(),
                    subtype: value("error_subtype").or_else(|| value("error_subcode")).unwrap_or_default(),
                    is_login: before.contains("://") || before.contains('?') || pairs.iter().any(|(key, _)| key == "state"),
                };
                said.description.truncate(said.description.floor_char_boundary(LONGEST_DESCRIPTION));
                self.text.extend(["\n", &said.description, "\n"]);
                self.error(said);
            }
        }
    }

    fn error(&mut self, mut said: Said) {
        said.description.truncate(said.description.floor_char_boundary(LONGEST_DESCRIPTION));
        if !said.error.is_empty() && self.errors.len() < MOST_OF_A_KIND {
            self.errors.push(said);
        }
    }

    /// Gmail's challenge in base64, wherever it stands.
    fn challenges(&mut self, text: &str) {
        let pieces = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=-_".contains(c)));
        for piece in pieces.filter(|piece| piece.starts_with("eyJ") && (16..4096).contains(&piece.len())).take(MOST_OF_A_KIND) {
            if let Some(Ok(object)) = decoded(piece).map(|octets| serde_json::from_slice::<Map<String, Value>>(&octets)) {
                self.object(&object);
            }
        }
    }

    fn name(&mut self, name: &str) {
        if let Some(advice) = advice_called(name)
            && self.names.len() < MOST_OF_A_KIND
        {
            self.names.push(advice);
        }
    }

    /// Names in a log's field, and those with a provider in front, which are no other words.
    fn named_in(&mut self, text: &str) {
        for part in text.split("advice_name").skip(1).take(MOST_OF_A_KIND) {
            let name = part.trim_start_matches(['=', ':', ' ', '"', '\'']);
            self.name(name.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default());
        }
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let own = words.filter(|word| word.starts_with("google-") || word.starts_with("microsoft-"));
        own.take(MOST_OF_A_KIND).for_each(|word| self.name(word));
    }
}

/// What an error's name may consist of.
fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').collect()
}

fn decoded(piece: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if piece.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, lenient).decode(piece).ok()
}
