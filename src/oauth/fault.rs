//! A token endpoint's refusal (RFC 6749 §5.2), with what Google and Microsoft add to it, and what is left when the body is none
//! (an HTML page of a proxy, an empty 503). Texts are bounded and freed from control characters before anybody prints them.

use chrono::{DateTime, NaiveDateTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    fmt,
    time::{Duration, SystemTime},
};

use crate::secret::Secret;

/// Longest text kept of a description: Entra's fill about 300 characters and carry ids at their end.
const LONGEST_TEXT: usize = 600;

/// Octets of a secret's beginning that tell nobody anything.
const SHORTEST_CUT: usize = 8;

/// Longest code-like text kept.
const LONGEST_CODE: usize = 100;

/// Most error codes kept; Entra sends one or two.
const MOST_CODES: usize = 16;

/// Longest pause that a server may ask for; a day, since a larger number is a mistake that would silence a mailbox for good.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// What a token endpoint answered instead of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status; 0 where there is none.
    pub status: u16,
    /// `error`; `None` when the body is not the JSON of RFC 6749.
    pub error: Option<String>,
    /// `error_description`.
    pub description: Option<String>,
    /// `error_uri`.
    pub uri: Option<String>,
    /// Google's `error_subtype` or Microsoft's `suberror`.
    pub subtype: Option<String>,
    /// Microsoft's `error_codes`: the numbers after AADSTS.
    pub codes: Vec<u64>,
    /// Microsoft's id of this request, for its support.
    pub correlation_id: Option<String>,
    /// Microsoft's id of this trace.
    pub trace_id: Option<String>,
    /// The pause that the server asked for.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// Puts together what the HTTP head said and, where there was one, the body.
    pub(super) fn new(status: u16, retry_after: Option<Duration>, body: Option<ErrorBody>) -> Self {
        let mut fault = body.map(|body| body.0).unwrap_or_default();
        (fault.status, fault.retry_after) = (status, retry_after);
        fault
    }

    /// What an authorization endpoint's redirect says (RFC 6749 §4.1.2.1). It has no HTTP status of its own.
    pub(super) fn of_redirect(error: &str, description: Option<&str>, uri: Option<&str>) -> Self {
        Self {
            error: Some(tidy(error, LONGEST_CODE)),
            description: description.map(|text| tidy(text, LONGEST_TEXT)),
            uri: uri.map(|text| tidy(text, LONGEST_TEXT)),
            ..Self::default()
        }
    }

    /// Removes `secrets`, should the server have repeated one of them.
    pub fn scrub(&mut self, secrets: &[&Secret]) {
        let texts = [
            &mut self.error,
            &mut self.description,
            &mut self.uri,
            &mut self.subtype,
            &mut self.correlation_id,
            &mut self.trace_id,
        ];
        for text in texts.into_iter().flatten() {
            for secret in secrets.iter().filter(|secret| !secret.expose().is_empty()) {
                let encoded: String = url::form_urlencoded::byte_serialize(secret.expose().as_bytes()).collect();
                *text = text.replace(secret.expose(), "[secret]").replace(&encoded, "[secret]");
                [secret.expose(), &encoded].iter().for_each(|form| hide_end(text, form));
            }
        }
    }
}

/// Hides the beginning of a secret at the end of `text`: a long text was cut, and perhaps in the midst of it.
fn hide_end(text: &mut String, secret: &str) {
    let mut begins = (0..text.len().saturating_sub(SHORTEST_CUT)).filter(|at| text.is_char_boundary(*at));
    if let Some(at) = begins.find(|at| secret.starts_with(&text[*at..])) {
        text.replace_range(at.., "[secret]");
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status > 0 {
            write!(f, "{} ", self.status)?;
        }
        match &self.error {
            Some(error) => f.write_str(error)?,
            None => f.write_str("without an OAuth error")?,
        }
        if let Some(subtype) = &self.subtype {
            write!(f, " ({subtype})")?;
        }
        if let Some(description) = &self.description {
            write!(f, ": {description}")?;
        }
        // Entra's descriptions carry the id themselves.
        let told = |id: &&String| !self.description.as_ref().is_some_and(|text| text.contains(id.as_str()));
        if let Some(id) = self.correlation_id.as_ref().filter(told) {
            write!(f, " (correlation id {id})")?;
        }
        Ok(())
    }
}

/// The refusal as the `oauth2` crate passes it on.
#[derive(Debug, Default)]
pub(super) struct ErrorBody(Fault);

impl ErrorBody {
    /// Whether the body named an error at all.
    pub(super) fn names_error(&self) -> bool {
        self.0.error.is_some()
    }
}

impl<'de> Deserialize<'de> for ErrorBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = serde_json::Map::<String, serde_json::Value>::deserialize(deserializer)?;
        let text = |key: &str, longest: usize| Some(tidy(body.get(key)?.as_str()?, longest)).filter(|text| !text.is_empty());
        // Google's other interfaces, and gateways before a token endpoint, answer an object here.
        let inner = |key: &str| Some(tidy(body.get("error")?.get(key)?.as_str()?, LONGEST_TEXT));
        let codes = body.get("error_codes").and_then(|codes| codes.as_array());
        Ok(Self(Fault {
            error: text("error", LONGEST_CODE).or_else(|| inner("status")).or_else(|| inner("code")),
            description: text("error_description", LONGEST_TEXT).or_else(|| inner("message")),
            uri: text("error_uri", LONGEST_TEXT),
            subtype: text("error_subtype", LONGEST_CODE).or_else(|| text("suberror", LONGEST_CODE)),
            codes: codes.into_iter().flatten().filter_map(serde_json::Value::as_u64).take(MOST_CODES).collect(),
            correlation_id: text("correlation_id", LONGEST_CODE),
            trace_id: text("trace_id", LONGEST_CODE),
            ..Fault::default()
        }))
    }
}

impl Serialize for ErrorBody {
    /// The crate's trait asks for it; nothing here is ever written out.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl oauth2::ErrorResponse for ErrorBody {}

/// One line of at most `longest` characters, control characters replaced by spaces.
pub(super) fn tidy(text: &str, longest: usize) -> String {
    let line: String = text.chars().take(longest).map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a Retry-After value: seconds or a date (RFC 9110 §10.2.3), at most a day.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let pause = match value.bytes().all(|byte| byte.is_ascii_digit()) {
        true if value.is_empty() => return None,
        true => Duration::from_secs(value.parse().unwrap_or(u64::MAX)),
        false => date(value)?.duration_since(now).unwrap_or_default(),
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// The three forms of an HTTP date (RFC 9110 §5.6.7).
fn date(value: &str) -> Option<SystemTime> {
    let old = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    DateTime::parse_from_rfc2822(value)
        .ok()
        .map(SystemTime::from)
        .or_else(|| old.iter().find_map(|form| Some(NaiveDateTime::parse_from_str(value, form).ok()?.and_utc().into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(body: &str) -> Fault {
        Fault::new(400, None, serde_json::from_str(body).ok())
    }

    #[test]
    fn what_google_and_microsoft_say_is_kept() {
        let microsoft = fault(
            r#"{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired.\r\nTrace ID: t",
            "error_codes":[7000222],"timestamp":"2026-11-23 12:00:00Z","trace_id":"t","correlation_id":"c","suberror":"x",
            "error_uri":"https://login.microsoftonline.com/error?code=7000222"}"#,
        );
        assert_eq!(microsoft.codes, [7_000_222]);
        assert_eq!((microsoft.subtype.as_deref(), microsoft.correlation_id.as_deref()), (Some("x"), Some("c")));
        assert_eq!(
            microsoft.to_string(),
            "400 invalid_client (x): AADSTS7000222: The provided client secret keys are expired. Trace ID: t"
        );
        let google = fault(r#"{"error":"invalid_grant","error_description":"Bad Request","error_subtype":"invalid_rapt"}"#);
        assert_eq!((google.error.as_deref(), google.subtype.as_deref()), (Some("invalid_grant"), Some("invalid_rapt")));
        let gateway = fault(r#"{"error":{"code":503,"status":"UNAVAILABLE","message":"try later"}}"#);
        assert_eq!((gateway.error.as_deref(), gateway.description.as_deref()), (Some("UNAVAILABLE"), Some("try later")));
    }

    #[test]
    fn bodies_that_are_no_oauth_error_leave_the_status() {
        for body in ["<html>", "", "[]", "null", "7", r#"{"error":7,"error_codes":"x","error_description":[]}"#] {
            assert_eq!(fault(body), Fault { status: 400, ..Fault::default() }, "{body}");
        }
    }

    #[test]
    fn texts_are_bounded_and_of_one_line() {
        let found = fault(&format!(r#"{{"error":"e","error_description":"a\u001b[31m\r\nb{}"}}"#, "x".repeat(9000)));
        let description = found.description.unwrap();
        assert!(description.starts_with("a [31m b") && description.chars().count() <= LONGEST_TEXT);
        let many = format!(r#"{{"error":"e","error_codes":[{}1]}}"#, "1,".repeat(100));
        assert_eq!(fault(&many).codes.len(), MOST_CODES);
    }

    #[test]
    fn a_repeated_secret_is_removed() {
        let mut found = fault(r#"{"error":"e","error_description":"secret s+1 (s%2B1) is wrong"}"#);
        found.scrub(&[&Secret::new("s+1".into()), &Secret::new(String::new())]);
        assert_eq!(found.description.unwrap(), "secret [secret] ([secret]) is wrong");
        let mut found = Fault { description: Some("the assertion abcdefghijk".into()), ..Fault::default() };
        found.scrub(&[&Secret::new("abcdefghijklmn".into())]);
        assert_eq!(found.description.unwrap(), "the assertion [secret]");
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999999999999999999999", Some(86_400)),
            ("", None),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
