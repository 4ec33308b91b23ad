//! A token endpoint's success (RFC 6749 §5.1), read with tolerance for what servers in the field really send.

use oauth2::{AccessToken, RefreshToken, Scope, TokenResponse, basic::BasicTokenType};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, time::Duration};

use super::{claims, exchange::Success};
use crate::secret::Secret;

/// Longest life that is believed; a larger number is a fault of the server's arithmetic.
const LONGEST_LIFE: Duration = Duration::from_secs(400 * 24 * 3600);

/// Longest token that is taken: one that fits, with the user name and base64, into the 12,288 octets of an AUTH line would be
/// 9,000; refresh tokens may be a little longer.
const LONGEST_TOKEN: usize = 16 * 1024;

/// What the token endpoint gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The access token.
    pub access_token: Secret,
    /// How long it lives; `None` when the server does not say.
    pub lifetime: Option<Duration>,
    /// A new refresh token, where the server rotates them; `None` keeps the old one.
    pub refresh_token: Option<Secret>,
    /// How long the refresh token lives, where the server says.
    pub refresh_lifetime: Option<Duration>,
    /// The scopes granted, where they were named.
    pub scopes: Option<Vec<String>>,
    /// Addresses of the account that signed in, where it is told.
    pub accounts: Vec<String>,
}

/// The success as the `oauth2` crate passes it on. It never prints or serialises a token.
#[derive(Deserialize)]
pub(super) struct Answer {
    access_token: AccessToken,
    #[serde(default = "bearer")]
    token_type: TokenType,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<Duration>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
    #[serde(default, deserialize_with = "seconds")]
    refresh_token_expires_in: Option<Duration>,
    /// What others call it.
    #[serde(default, deserialize_with = "seconds")]
    refresh_expires_in: Option<Duration>,
    #[serde(default, deserialize_with = "scopes")]
    scope: Option<Vec<Scope>>,
    #[serde(default, deserialize_with = "text")]
    id_token: Option<Secret>,
}

/// The type of an access token, compared without case (RFC 6749 §5.1).
#[derive(Clone, PartialEq)]
struct TokenType(BasicTokenType);

impl<'de> Deserialize<'de> for TokenType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.to_ascii_lowercase();
        Ok(Self(match text.as_str() {
            "bearer" => BasicTokenType::Bearer,
            _ => BasicTokenType::Extension(text),
        }))
    }
}

/// Some servers leave the type out; nothing but a bearer token could be meant.
fn bearer() -> TokenType {
    TokenType(BasicTokenType::Bearer)
}

/// A number of seconds as number or as string; what is neither counts as not given.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number: &f64| number.is_finite());
    Ok(number.map(|number| Duration::from_secs_f64(number.clamp(0.0, LONGEST_LIFE.as_secs_f64()))))
}

/// Scopes divided by spaces; anything but a string counts as not given.
fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Scope>>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().map(|text| text.split_ascii_whitespace().map(|scope| Scope::new(scope.into())).collect()))
}

/// A text; anything else counts as not given.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().map(|text| Secret::new(text.to_owned())))
}

impl TokenResponse for Answer {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }
    fn token_type(&self) -> &BasicTokenType {
        &self.token_type.0
    }
    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }
    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }
    fn scopes(&self) -> Option<&Vec<Scope>> {
        self.scope.as_ref()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer([secret])")
    }
}

impl Serialize for Answer {
    /// The crate's trait asks for it; nothing here is ever written out.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[secret]")
    }
}

impl Success for Answer {
    type Checked = Granted;
    const WANTED: &str = "an access_token";

    fn check(self) -> Result<Granted, String> {
        if let BasicTokenType::Extension(other) = &self.token_type.0 {
            return Err(format!("the token's type is `{}`, only bearer tokens fit XOAUTH2", super::fault::tidy(other, 40)));
        }
        check_token(self.access_token.secret(), "access token")?;
        // Some servers answer an empty string for "none".
        let refresh_token = self.refresh_token.as_ref().map(RefreshToken::secret).filter(|token| !token.is_empty());
        refresh_token.map(|token| check_token(token, "refresh token")).transpose()?;
        Ok(Granted {
            access_token: Secret::new(self.access_token.secret().clone()),
            lifetime: self.expires_in,
            refresh_token: refresh_token.map(|token| Secret::new(token.clone())),
            // Keycloak says 0 of one that does not end.
            refresh_lifetime: [self.refresh_token_expires_in, self.refresh_expires_in]
                .into_iter()
                .flatten()
                .find(|life| !life.is_zero()),
            accounts: claims::accounts(self.id_token.as_ref().map(Secret::expose), self.access_token.secret()),
            scopes: self.scope.map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect()),
        })
    }
}

/// Whether `token` can be one: visible ASCII (RFC 6749 appendix A.12, and no space), since anything else could end the XOAUTH2
/// field it is put into. `Err` names it as `what` and says what is wrong with it.
pub fn check_token(token: &str, what: &str) -> Result<(), String> {
    if token.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    if token.len() > LONGEST_TOKEN {
        return Err(format!("the {what} has {} octets, more than {LONGEST_TOKEN}", token.len()));
    }
    match token.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(format!("the {what} holds characters that no token may have (RFC 6749 appendix A.12)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Granted, String> {
        serde_json::from_str::<Answer>(body).map_err(|e| e.to_string())?.check()
    }

    #[test]
    fn answers_are_read_as_servers_send_them() {
        let plain = read(r#"{"access_token":"at","token_type":"Bearer","expires_in":3599,"scope":"a b"}"#).unwrap();
        assert_eq!((plain.access_token.expose(), plain.lifetime), ("at", Some(Duration::from_secs(3599))));
        assert_eq!((plain.refresh_token, plain.scopes), (None, Some(vec!["a".to_owned(), "b".to_owned()])));

        for (row, lifetime) in [
            (r#""3599""#, Some(3599)),
            (r#"" 60 ""#, Some(60)),
            ("3599.0", Some(3599)),
            ("-5", Some(0)),
            ("0", Some(0)),
            ("1e300", Some(LONGEST_LIFE.as_secs())),
            ("null", None),
            (r#""soon""#, None),
            ("[]", None),
        ] {
            let found = read(&format!(r#"{{"access_token":"at","expires_in":{row},"scope":null}}"#)).unwrap();
            assert_eq!(found.lifetime, lifetime.map(Duration::from_secs), "{row}");
        }
        let rotated =
            read(r#"{"access_token":"at","token_type":"bearer","refresh_token":"r2","refresh_token_expires_in":"604799"}"#);
        let rotated = rotated.unwrap();
        assert_eq!(rotated.refresh_token.unwrap().expose(), "r2");
        assert_eq!(rotated.refresh_lifetime, Some(Duration::from_secs(604_799)));
        assert_eq!(read(r#"{"access_token":"at","refresh_token":""}"#).unwrap().refresh_token, None);
        for (told, life) in [
            (r#""refresh_expires_in":43200"#, Some(43_200)),
            (r#""refresh_token_expires_in":60,"refresh_expires_in":60"#, Some(60)),
            (r#""refresh_expires_in":0"#, None),
        ] {
            let found = read(&format!(r#"{{"access_token":"at","refresh_token":"r",{told}}}"#)).unwrap();
            assert_eq!(found.refresh_lifetime, life.map(Duration::from_secs), "{told}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_used_says_why() {
        for (body, why) in [
            (r#"{"access_token":"at","token_type":"DPoP"}"#, "`dpop`"),
            (r#"{"access_token":"","token_type":"Bearer"}"#, "empty"),
            (r#"{"access_token":"a\u0001b"}"#, "RFC 6749"),
            (r#"{"access_token":"at","refresh_token":"a b"}"#, "refresh token holds"),
            (r#"{"token_type":"Bearer"}"#, "access_token"),
        ] {
            let found = read(body).unwrap_err();
            assert!(found.contains(why), "{body}: {found}");
        }
        assert!(read(&format!(r#"{{"access_token":"{}"}}"#, "a".repeat(LONGEST_TOKEN + 1))).is_err());
    }

    #[test]
    fn an_answer_does_not_print_its_tokens() {
        let answer: Answer = serde_json::from_str(r#"{"access_token":"marked","refresh_token":"marked"}"#).unwrap();
        assert!(!format!("{answer:?}{}", serde_json::to_string(&answer).unwrap()).contains("marked"));
        assert!(!format!("{:?}", answer.check()).contains("marked"));
    }
}
