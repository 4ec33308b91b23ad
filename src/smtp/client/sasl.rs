//! Logging in with an access token: XOAUTH2 (Google's and Microsoft's own), or OAUTHBEARER (RFC 7628) where that is missing.
//!
//! Always in two steps. Google refuses `AUTH XOAUTH2 <token>` for its length, and RFC 4954 §4 forbids an initial response that
//! makes the line too long. A refused token is answered by `334` with a JSON text first, which is kept: it says more
//! than the `535`.

use super::Capabilities;
use crate::{
    secret::Secret,
    smtp::{Reply, client::Malformed},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// How much of a challenge is kept.
const LONGEST_CHALLENGE: usize = 2048;

/// A way to log in with an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// Google, Microsoft.
    Xoauth2,
    /// RFC 7628.
    Oauthbearer,
}

/// A user name or token with a control character, which would end a field of the SASL string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user name or the access token holds a control character")]
pub struct UnsafeCredential;

impl Mechanism {
    /// The best one that is offered.
    pub fn choose(offered: &Capabilities) -> Option<Self> {
        match (offered.xoauth2, offered.oauthbearer) {
            (true, _) => Some(Self::Xoauth2),
            (false, true) => Some(Self::Oauthbearer),
            (false, false) => None,
        }
    }

    /// Its SASL name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xoauth2 => "XOAUTH2",
            Self::Oauthbearer => "OAUTHBEARER",
        }
    }

    /// The token's line without its line end: base64 of the SASL string.
    pub fn response(self, user: &str, (host, port): (&str, u16), token: &Secret) -> Result<Secret, UnsafeCredential> {
        let token = token.expose();
        if user.chars().chain(token.chars()).any(char::is_control) {
            return Err(UnsafeCredential);
        }
        let text = Secret::new(match self {
            Self::Xoauth2 => format!("user={user}\x01auth=Bearer {token}\x01\x01"),
            Self::Oauthbearer => {
                // RFC 5801 §4: `=` and `,` are spelled out in the GS2 header.
                let user = user.replace('=', "=3D").replace(',', "=2C");
                format!("n,a={user},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01")
            }
        });
        Ok(Secret::new(STANDARD.encode(text.expose())))
    }

    /// What a client says to the JSON of a refused token.
    fn acknowledgement(self) -> &'static [u8] {
        match self {
            Self::Xoauth2 => b"\r\n",
            // RFC 7628 §3.2.3: a lone 0x01.
            Self::Oauthbearer => b"AQ==\r\n",
        }
    }
}

/// What to do after a reply.
#[derive(Debug, PartialEq, Eq)]
pub enum LoginAction {
    /// Send the token's line, then wait for a reply.
    SendToken(Secret),
    /// Send this, then wait for a reply.
    Send(&'static [u8]),
    /// Logged in.
    Accepted,
    /// Not logged in.
    Refused {
        /// The final reply.
        reply: Reply,
        /// The decoded text of the `334` before it.
        challenge: Option<String>,
    },
}

/// The dialogue of one login. It begins with [`Login::command`].
#[derive(Debug)]
pub struct Login {
    mechanism: Mechanism,
    token: Secret,
    response: Secret,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Asked,
    TokenSent,
    Challenged(String),
}

impl Login {
    /// Prepares a login of `user` at `server`.
    pub fn new(mechanism: Mechanism, user: &str, server: (&str, u16), token: &Secret) -> Result<Self, UnsafeCredential> {
        let response = mechanism.response(user, server, token)?;
        Ok(Self { mechanism, token: token.clone(), response, stage: Stage::Asked })
    }

    /// The first line to send.
    pub fn command(&self) -> String {
        format!("AUTH {}\r\n", self.mechanism.name())
    }

    /// Takes a reply.
    pub fn answer(&mut self, reply: Reply) -> Result<LoginAction, Malformed> {
        let is_challenge = reply.code == 334;
        match std::mem::replace(&mut self.stage, Stage::TokenSent) {
            Stage::Asked if is_challenge => {
                let mut line = String::with_capacity(self.response.expose().len() + 2);
                line.push_str(self.response.expose());
                line.push_str("\r\n");
                Ok(LoginAction::SendToken(Secret::new(line)))
            }
            Stage::TokenSent if is_challenge => {
                self.stage = Stage::Challenged(self.decoded(&reply));
                Ok(LoginAction::Send(self.mechanism.acknowledgement()))
            }
            // Anything that comes after the token ends the login; only `235` says yes.
            Stage::TokenSent if reply.code == 235 => Ok(LoginAction::Accepted),
            stage if reply.is_transient() || reply.is_permanent() => {
                let challenge = if let Stage::Challenged(text) = stage { Some(text) } else { None };
                Ok(LoginAction::Refused { reply: self.scrubbed(reply), challenge })
            }
            _ => Err(Malformed::Unasked),
        }
    }

    fn decoded(&self, challenge: &Reply) -> String {
        let text = challenge.text();
        let decoded = STANDARD.decode(text.trim()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or(text);
        let clean: String = decoded.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut clean = self.without_token(clean);
        clean.truncate(clean.floor_char_boundary(LONGEST_CHALLENGE));
        clean
    }

    /// A server that quotes what it was sent must not write the token into our logs.
    fn scrubbed(&self, mut reply: Reply) -> Reply {
        for line in &mut reply.lines {
            *line = self.without_token(std::mem::take(line));
        }
        reply
    }

    fn without_token(&self, text: String) -> String {
        let mut text = text;
        for secret in [self.token.expose(), self.response.expose()] {
            if !secret.is_empty() && text.contains(secret) {
                text = text.replace(secret, "[secret]");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    fn login(mechanism: Mechanism) -> Login {
        Login::new(mechanism, "a@example.com", ("smtp.example.com", 587), &secret("marked-token")).unwrap()
    }

    #[test]
    fn the_published_vectors_are_met() {
        for (mechanism, user, token, expected) in [
            (
                Mechanism::Xoauth2,
                "someuser@example.com",
                "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg",
                "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==",
            ),
            (
                Mechanism::Xoauth2,
                "test@contoso.onmicrosoft.com",
                "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA",
                "dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ==",
            ),
            (
                Mechanism::Oauthbearer,
                "user@example.com",
                "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
                "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB",
            ),
        ] {
            let response = mechanism.response(user, ("server.example.com", 143), &secret(token)).unwrap();
            assert_eq!(response.expose(), expected);
        }
    }

    #[test]
    fn a_field_cannot_be_ended_from_inside() {
        let server = ("h", 1);
        assert_eq!(Mechanism::Xoauth2.response("a\x01b", server, &secret("t")), Err(UnsafeCredential));
        assert_eq!(Mechanism::Xoauth2.response("a", server, &secret("t\r\n")), Err(UnsafeCredential));
        let response = Mechanism::Oauthbearer.response("a=b,c", server, &secret("t")).unwrap();
        assert!(STANDARD.decode(response.expose()).unwrap().starts_with(b"n,a=a=3Db=2Cc,\x01"));
    }

    #[test]
    fn xoauth2_is_preferred() {
        let offered = |xoauth2, oauthbearer| Capabilities { xoauth2, oauthbearer, ..Default::default() };
        assert_eq!(Mechanism::choose(&offered(true, true)), Some(Mechanism::Xoauth2));
        assert_eq!(Mechanism::choose(&offered(false, true)), Some(Mechanism::Oauthbearer));
        assert_eq!(Mechanism::choose(&offered(false, false)), None);
    }

    #[test]
    fn a_token_is_sent_only_after_the_first_334() {
        let mut login = login(Mechanism::Xoauth2);
        assert_eq!(login.command(), "AUTH XOAUTH2\r\n");
        let LoginAction::SendToken(line) = login.answer(Reply::new(334, None, "")).unwrap() else { panic!("no token") };
        assert!(line.expose().ends_with("\r\n"));
        assert_eq!(login.answer(Reply::new(235, Some((7, 0)), "yes")), Ok(LoginAction::Accepted));
    }

    #[test]
    fn a_235_before_the_token_is_no_login() {
        assert_eq!(login(Mechanism::Xoauth2).answer(Reply::new(235, None, "yes")), Err(Malformed::Unasked));
    }

    #[test]
    fn the_challenge_of_a_refused_token_is_kept() {
        let json = "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9tYWlsLmdvb2dsZS5jb20vIn0K";
        for (mechanism, acknowledgement) in [(Mechanism::Xoauth2, &b"\r\n"[..]), (Mechanism::Oauthbearer, b"AQ==\r\n")] {
            let mut login = login(mechanism);
            login.answer(Reply::new(334, None, "")).unwrap();
            assert_eq!(login.answer(Reply::new(334, None, json)), Ok(LoginAction::Send(acknowledgement)));
            let reply = Reply::new(535, Some((7, 8)), "no");
            let challenge = r#"{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}"#.to_owned();
            assert_eq!(login.answer(reply.clone()), Ok(LoginAction::Refused { reply, challenge: Some(challenge) }));
        }
    }

    #[test]
    fn a_server_that_never_ends_challenging_is_left() {
        let mut login = login(Mechanism::Xoauth2);
        for _ in 0..2 {
            login.answer(Reply::new(334, None, "")).unwrap();
        }
        assert_eq!(login.answer(Reply::new(334, None, "")), Err(Malformed::Unasked));
    }

    #[test]
    fn an_echoed_token_is_not_kept() {
        let mut login = login(Mechanism::Xoauth2);
        let LoginAction::SendToken(line) = login.answer(Reply::new(334, None, "")).unwrap() else { panic!("no token") };
        let echo = format!("cannot decode {} marked-token", line.expose().trim());
        let Ok(LoginAction::Refused { reply, .. }) = login.answer(Reply::new(501, Some((5, 2)), echo)) else { panic!("taken") };
        assert_eq!(reply.text(), "cannot decode [secret] [secret]");
        assert!(!format!("{login:?}").contains("marked"));
    }

    #[test]
    fn a_long_challenge_is_cut() {
        let mut login = login(Mechanism::Xoauth2);
        login.answer(Reply::new(334, None, "")).unwrap();
        login.answer(Reply::new(334, None, STANDARD.encode("ä".repeat(3000)))).unwrap();
        let Ok(LoginAction::Refused { challenge: Some(text), .. }) = login.answer(Reply::new(535, None, "no")) else {
            panic!("no challenge")
        };
        assert!(text.len() <= LONGEST_CHALLENGE && text.starts_with('ä'));
    }
}
