//! AUTH as the provider's server answers it: XOAUTH2 and OAUTHBEARER (RFC 7628) with the sandbox's own tokens, PLAIN and LOGIN
//! with its password where that was asked for.
//!
//! Google explains a refused token in a 334 with JSON and gives its reply only after the client's next line; Microsoft answers
//! at once.

use super::{
    faults::{Fault, Step},
    session::{Login, Session, Turn, Way},
    token::Refused,
    usage::Counted,
};
use crate::secret::Secret;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::sync::atomic::Ordering::Relaxed;

/// What the client's next line is.
#[derive(Clone)]
pub(super) enum Pending {
    /// The token.
    Token(Mechanism),
    /// The empty line after a 334 that explained the refusal; then comes this, or what the provider always says.
    Refused(Option<String>),
    /// User and password in one.
    Plain,
    /// The user name.
    LoginUser,
    /// The password.
    LoginPassword(String),
}

/// How a token comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    Xoauth2,
    Oauthbearer,
}

impl Session {
    pub(super) fn auth(&mut self, rest: &str, length: usize, out: &mut Vec<u8>) -> Turn {
        let texts = self.texts();
        self.shared.usage.login_attempts.fetch_add(1, Relaxed);
        if self.login.is_some() {
            return self.fail(out, texts.auth_twice);
        }
        if self.way == Way::Starttls && !self.secure {
            return self.fail(out, texts.tls_required);
        }
        if self.is_in_transaction() || !self.has_greeted() {
            return self.fail(out, texts.bad_sequence);
        }
        let (mechanism, initial) = match rest.split_once(' ') {
            Some((mechanism, initial)) => (mechanism, Some(initial.trim())),
            None => (rest, None),
        };
        let mechanism = mechanism.to_ascii_uppercase();
        if initial.is_some() && length > self.shared.personality.longest_inline_auth {
            return self.fail(out, texts.auth_too_long);
        }
        let offered = self.shared.personality.mechanisms.split(' ').any(|m| m == mechanism);
        let pending = match mechanism.as_str() {
            "XOAUTH2" if self.way != Way::Plain && offered => Pending::Token(Mechanism::Xoauth2),
            "OAUTHBEARER" if self.way != Way::Plain && offered => Pending::Token(Mechanism::Oauthbearer),
            "PLAIN" if offered || self.shared.options.accept_password => Pending::Plain,
            "LOGIN" if offered || self.shared.options.accept_password => Pending::LoginUser,
            _ => return self.fail(out, texts.mechanism_unknown),
        };
        match initial {
            Some(initial) => self.auth_continues(pending, initial.as_bytes(), out),
            None => {
                let prompt = if matches!(pending, Pending::LoginUser) { "334 VXNlcm5hbWU6" } else { "334 " };
                self.say(out, prompt, &[]);
                self.await_auth(pending)
            }
        }
    }

    pub(super) fn auth_continues(&mut self, pending: Pending, line: &[u8], out: &mut Vec<u8>) -> Turn {
        let texts = self.texts();
        // Counted with the 334 before: a client may hang up instead of asking for this reply.
        match pending {
            Pending::Refused(None) => return self.error(out, texts.token_refused, &[]),
            Pending::Refused(Some(reply)) => {
                out.extend_from_slice(reply.as_bytes());
                return Turn::Again;
            }
            _ => {}
        }
        if line == b"*" {
            return self.fail(out, texts.auth_cancelled);
        }
        let decoded = if line == b"=" { Some(Vec::new()) } else { STANDARD.decode(line).ok() };
        let Some(text) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) else {
            return self.fail(out, texts.token_malformed);
        };
        match pending {
            Pending::Token(mechanism) => self.token(mechanism, &text, out),
            Pending::Plain => {
                let mut parts = text.split('\0').skip(1);
                let (user, password) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                self.password(user, password, out)
            }
            Pending::LoginUser => {
                self.say(out, "334 UGFzc3dvcmQ6", &[]);
                self.await_auth(Pending::LoginPassword(text))
            }
            Pending::LoginPassword(user) => self.password(&user, &text, out),
            Pending::Refused(_) => Turn::Again,
        }
    }

    /// An attempt that came to nothing.
    fn fail(&mut self, out: &mut Vec<u8>, text: &str) -> Turn {
        self.shared.usage.login_failures.fetch_add(1, Relaxed);
        self.error(out, text, &[])
    }

    fn token(&mut self, mechanism: Mechanism, text: &str, out: &mut Vec<u8>) -> Turn {
        let texts = self.texts();
        let Some((user, token)) = credentials(mechanism, text) else { return self.fail(out, texts.token_malformed) };
        let shared = self.shared.clone();
        let strikes = |fault| shared.faults.strikes(fault, Some(user), &shared.clock);
        for (fault, reply) in [
            (Fault::SmtpAuthDisabled, texts.smtp_auth_disabled),
            (Fault::TooManyConnections, texts.too_many_connections),
            (Fault::TooManyLogins, texts.too_many_logins),
        ] {
            if strikes(fault) {
                return self.fail(out, reply);
            }
        }
        if let Some((reply, turn)) = self.spoken(Step::Auth, Some(user)) {
            // A login that its server refuses is explained first; what else is wrong is said at once.
            if shared.personality.challenges && reply.starts_with("535") {
                return self.challenge("401", Some(reply), out);
            }
            shared.usage.login_failures.fetch_add(1, Relaxed);
            out.extend_from_slice(reply.as_bytes());
            return turn;
        }
        let checked = if strikes(Fault::Auth535) { Err(Refused::Unknown) } else { shared.tokens.check(token, user) };
        match checked {
            Ok(known) => self.welcome(user, format!("access token #{}", known.number), out),
            Err(refused) if shared.personality.challenges => {
                // 400: a good token, but not for this; 401: no good token.
                let status = if matches!(refused, Refused::OtherUser | Refused::OtherScope) { "400" } else { "401" };
                self.challenge(status, None, out)
            }
            Err(_) => self.fail(out, texts.token_refused),
        }
    }

    /// Explains a refused token; the reply itself comes after the client's next line.
    fn challenge(&mut self, status: &str, reply: Option<String>, out: &mut Vec<u8>) -> Turn {
        let scope = super::scope_of_smtp(self.shared.options.provider);
        let challenge = format!("{{\"status\":\"{status}\",\"schemes\":\"bearer mac\",\"scope\":\"{scope}\"}}\n");
        self.say(out, &format!("334 {}", STANDARD.encode(challenge)), &[]);
        self.shared.usage.login_failures.fetch_add(1, Relaxed);
        self.await_auth(Pending::Refused(reply))
    }

    fn password(&mut self, user: &str, password: &str, out: &mut Vec<u8>) -> Turn {
        let shared = self.shared.clone();
        let right = Secret::new(password.to_owned()) == shared.password && user.eq_ignore_ascii_case(super::USER);
        if !shared.options.accept_password || !right {
            return self.fail(out, self.texts().password_refused);
        }
        self.welcome(user, "password".into(), out)
    }

    /// Logs in, unless the mailbox has too many connections.
    fn welcome(&mut self, user: &str, token: String, out: &mut Vec<u8>) -> Turn {
        let shared = self.shared.clone();
        let (counted, over) = Counted::new(&shared.usage, user, shared.personality.limits.connections);
        if over && shared.options.limits {
            return self.fail(out, self.texts().too_many_connections);
        }
        shared.usage.logins.fetch_add(1, Relaxed);
        self.login = Some(Login { user: user.to_owned(), token, _counted: counted });
        self.say(out, self.texts().authenticated, &[]);
        Turn::Again
    }
}

/// User and token out of the decoded response.
fn credentials(mechanism: Mechanism, text: &str) -> Option<(&str, &str)> {
    let mut fields = text.strip_suffix("\x01\x01")?.split('\x01');
    let first = fields.next()?;
    let user = match mechanism {
        Mechanism::Xoauth2 => first.strip_prefix("user=")?,
        Mechanism::Oauthbearer => first.strip_prefix("n,a=")?.strip_suffix(',')?,
    };
    let token = fields.find_map(|field| field.strip_prefix("auth=Bearer "))?;
    Some((user, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_in_the_published_examples() {
        let decode = |text| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
        let google = decode(concat!(
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0",
            "Q2cBAQ=="
        ));
        assert_eq!(
            credentials(Mechanism::Xoauth2, &google),
            Some(("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"))
        );
        let rfc7628 = decode(concat!(
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52",
            "YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        ));
        assert_eq!(
            credentials(Mechanism::Oauthbearer, &rfc7628),
            Some(("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="))
        );
        assert_eq!(credentials(Mechanism::Xoauth2, "user=a\x01auth=Bearer t\x01"), None);
    }
}
