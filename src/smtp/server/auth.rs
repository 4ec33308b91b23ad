//! The AUTH exchange (RFC 4954) for PLAIN (RFC 4616) and LOGIN (an expired draft that every old device speaks).
//!
//! The prompts of LOGIN are exactly `Username:` and `Password:` in base64: some Xerox devices give up at any other.

use crate::{secret::Secret, smtp::Reply};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

/// Standard base64, tolerant of missing padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// What the exchange waits for.
#[derive(Debug)]
pub(super) enum Exchange {
    /// PLAIN: the one response.
    Plain,
    /// LOGIN: the user name.
    User,
    /// LOGIN: the password of `user`.
    Password { user: String },
}

/// How an exchange goes on.
#[derive(Debug)]
pub(super) enum Turn {
    /// Send the prompt and wait.
    Prompt(Exchange, Reply),
    /// Ask the host.
    Credentials { user: String, password: Secret },
    /// Over.
    Refused(Reply),
}

/// Begins with `AUTH mechanism [initial]`.
pub(super) fn begin(mechanism: &str, initial: Option<&Secret>) -> Turn {
    // `=` is an initial response of no octets (RFC 4954 §4).
    match (mechanism, initial.map(Secret::expose)) {
        ("PLAIN", None) => Turn::Prompt(Exchange::Plain, prompt("")),
        ("PLAIN", Some("=")) => Exchange::Plain.respond(b""),
        ("PLAIN", Some(response)) => Exchange::Plain.respond(response.as_bytes()),
        ("LOGIN", None | Some("=")) => Turn::Prompt(Exchange::User, prompt("VXNlcm5hbWU6")),
        ("LOGIN", Some(response)) => Exchange::User.respond(response.as_bytes()),
        _ => Turn::Refused(Reply::new(504, Some((5, 4)), "mechanism not known here: use PLAIN or LOGIN")),
    }
}

fn prompt(text: &str) -> Reply {
    Reply::new(334, None, text)
}

impl Exchange {
    /// Takes a line of the app.
    pub(super) fn respond(self, line: &[u8]) -> Turn {
        let line = line.trim_ascii();
        if line == b"*" {
            return Turn::Refused(Reply::new(501, Some((7, 0)), "authentication cancelled"));
        }
        let Some(text) = decode(line) else { return not_readable() };
        match self {
            Self::Plain => plain(&text),
            Self::User => Turn::Prompt(Self::Password { user: text.to_string() }, prompt("UGFzc3dvcmQ6")),
            Self::Password { user } => Turn::Credentials { user, password: Secret::new(text.to_string()) },
        }
    }
}

fn not_readable() -> Turn {
    Turn::Refused(Reply::new(501, Some((5, 2)), "the response cannot be read"))
}

fn decode(line: &[u8]) -> Option<Zeroizing<String>> {
    let bytes = Zeroizing::new(BASE64.decode(line).ok()?);
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// `[authzid] NUL authcid NUL password`. Nobody may act as somebody else here, so another authzid is refused.
fn plain(text: &str) -> Turn {
    let mut parts = text.split('\0');
    let (Some(actor), Some(user), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return not_readable();
    };
    match actor.is_empty() || actor.eq_ignore_ascii_case(user) {
        true => Turn::Credentials { user: user.to_owned(), password: Secret::new(password.to_owned()) },
        false => Turn::Refused(Reply::new(535, Some((7, 8)), "authentication failed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(turn: Turn) -> String {
        match turn {
            Turn::Prompt(exchange, reply) => format!("{reply} {exchange:?}"),
            Turn::Credentials { user, password } => format!("{user} {}", password.expose()),
            Turn::Refused(reply) => reply.to_string()[..9].to_owned(),
        }
    }

    #[test]
    fn each_form_of_auth_is_understood() {
        for (mechanism, initial, expected) in [
            ("PLAIN", None, "334  Plain"),
            ("PLAIN", Some("AGFwcABzZWNyZXQ="), "app secret"),
            ("PLAIN", Some("AGFwcABzZWNyZXQ"), "app secret"),
            ("PLAIN", Some("YXBwAGFwcABzZWNyZXQ="), "app secret"),
            ("PLAIN", Some("cm9vdABhcHAAc2VjcmV0"), "535 5.7.8"),
            ("PLAIN", Some("="), "501 5.5.2"),
            ("PLAIN", Some("YXBw"), "501 5.5.2"),
            ("PLAIN", Some("AGFwcABzZWNyZXQA"), "501 5.5.2"),
            ("PLAIN", Some("????"), "501 5.5.2"),
            ("PLAIN", Some("AP8A/w=="), "501 5.5.2"),
            ("LOGIN", None, "334 VXNlcm5hbWU6 User"),
            ("LOGIN", Some("="), "334 VXNlcm5hbWU6 User"),
            ("LOGIN", Some("YXBw"), "334 UGFzc3dvcmQ6 Password { user: \"app\" }"),
            ("LOGIN", Some("*"), "501 5.7.0"),
            ("XOAUTH2", Some("YXBw"), "504 5.5.4"),
        ] {
            let initial = initial.map(|text| Secret::new(text.to_owned()));
            assert_eq!(show(begin(mechanism, initial.as_ref())), expected, "{mechanism}");
        }
    }

    #[test]
    fn an_exchange_ends_with_its_last_line() {
        assert_eq!(show(Exchange::Plain.respond(b"AGFwcABzZWNyZXQ= ")), "app secret");
        assert_eq!(show(Exchange::Plain.respond(b"*")), "501 5.7.0");
        assert_eq!(show(Exchange::Password { user: "app".into() }.respond(b"c2VjcmV0")), "app secret");
        assert_eq!(show(Exchange::Password { user: "app".into() }.respond(b"")), "app ");
        assert_eq!(show(Exchange::Password { user: "app".into() }.respond(b"a b")), "501 5.5.2");
    }
}
