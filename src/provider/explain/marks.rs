//! The ids by which Microsoft's support and an Entra administrator find a request, and what must not have been pasted.

use super::paste::Paste;

/// Ids of one request at Microsoft.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Of the request, as the sign-in log shows it.
    pub correlation_id: Option<String>,
    /// Of the trace.
    pub trace_id: Option<String>,
    /// When, in UTC.
    pub timestamp: Option<String>,
}

impl Marks {
    pub(super) fn of(paste: &Paste<'_>) -> Self {
        let lower = paste.text.to_ascii_lowercase();
        let after = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| Some(lower[lower.find(name)? + name.len()..].trim_start_matches([':', '=', '"', ' ', '\''])))
        };
        let id = |names: &[&str]| after(names).and_then(guid);
        let correlation_id = id(&["correlation id", "correlation_id", "correlationid"]);
        let trace_id = id(&["trace id", "trace_id", "traceid"]);
        // Every line of a log has a time; only beside such an id it is the request's.
        let is_request = correlation_id.is_some() || trace_id.is_some();
        let timestamp = after(&["timestamp"]).filter(|_| is_request).and_then(time);
        Self { correlation_id, trace_id, timestamp }
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `8-4-4-4-12` hexadecimal digits.
fn guid(text: &str) -> Option<String> {
    let id = text.get(..36)?;
    let fits =
        id.bytes().enumerate().all(|(at, b)| if [8, 13, 18, 23].contains(&at) { b == b'-' } else { b.is_ascii_hexdigit() });
    let ends = text[36..].chars().next().is_none_or(|c| !c.is_ascii_alphanumeric() && c != '-');
    (fits && ends).then(|| id.to_owned())
}

/// `2026-11-23 10:00:00z`, as Entra writes it but for the capital.
fn time(text: &str) -> Option<String> {
    let time = text.get(..20)?;
    let fits = time.bytes().zip(*b"dddd-dd-dd dd:dd:ddz").all(|(b, form)| match form {
        b'd' => b.is_ascii_digit(),
        b' ' => b == b' ' || b == b't',
        form => b == form,
    });
    fits.then(|| time.to_ascii_uppercase())
}

/// Whether something in `text` looks like a token, a password or a key, by the forms that the providers give them. It decides only
/// whether a person is warned.
pub(super) fn holds_secret(text: &str) -> bool {
    let begins = [("ya29.", 20), ("1//", 20), ("GOCSPX-", 20), ("dXNlcj", 60), ("8Q~", 25), ("7Q~", 25)];
    let longer = |(begin, least): (&str, usize)| text.match_indices(begin).any(|(at, _)| is_run(&text[at..], least));
    let fields = ["client_secret", "client-secret", "refresh_token", "access_token", "password", "assertion", "Bearer "];
    let field = |name: &str| {
        let value = |rest: &str| {
            let value = rest.trim_start_matches(['"', '\'', ' ', '=', ':']);
            (name.ends_with(' ') || rest.trim_start_matches(['"', '\'', ' ']).starts_with(['=', ':'])) && is_run(value, 8)
        };
        text.match_indices(name).take(MOST).any(|(at, _)| value(&text[at + name.len()..]))
    };
    // A JWT has two more parts than Gmail's challenge, which is one piece of base64.
    let jwt = |piece: &str| piece.starts_with("eyJ") && piece.matches('.').count() == 2;
    begins.into_iter().any(longer)
        || fields.into_iter().any(field)
        || text.contains("PRIVATE KEY-----")
        || text.split(|c: char| !is_token(c)).any(|piece| piece.len() >= LONG || jwt(piece))
}

/// Most places at which a field of one name is looked at.
const MOST: usize = 64;
/// No word, id or address that is pasted has so many letters without a space, but most tokens have.
const LONG: usize = 200;

/// Whether `text` begins with at least `least` octets as tokens have them.
fn is_run(text: &str, least: usize) -> bool {
    text.bytes().take(least).filter(|b| is_token(char::from(*b))).count() == least
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/=".contains(c)
}
