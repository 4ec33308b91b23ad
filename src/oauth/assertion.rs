//! Signed statements in place of a secret (RFC 7521, RFC 7523): a client says who it is, a service account for whom it acts.
//!
//! Clock and id come in as arguments. Claims are few: what is not asked for only gives a server a reason to refuse.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime};
use url::Url;
use uuid::Uuid;

use super::{
    identity::Identity,
    key::{Algorithm, SigningKey},
    service_account::ServiceAccount,
};
use crate::secret::Secret;

/// How far a server's clock may be behind ours.
const SLACK: Duration = Duration::from_secs(60);
/// How long a client's assertion counts, with [`SLACK`] nine minutes: Microsoft wants five to ten.
const CLIENT_LIFE: Duration = Duration::from_secs(480);
/// The same of a service account's: Google takes at most an hour from `iat` on, and reads `iat` strictly.
const ACCOUNT_LIFE: Duration = Duration::from_secs(3600);
const ACCOUNT_SLACK: Duration = Duration::from_secs(10);

/// The signature could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the assertion could not be signed")]
pub struct Unsigned;

/// What a client says of itself.
#[derive(Debug, Clone, Copy)]
pub struct ClientAssertion<'a> {
    /// What it signs with.
    pub identity: &'a Identity,
    /// Its id.
    pub client_id: &'a str,
    /// The `kid`, where the server wants one.
    pub key_id: Option<&'a str>,
    /// Whom it speaks to: the token endpoint.
    pub audience: &'a Url,
}

impl ClientAssertion<'_> {
    /// Signs it: PS256 with RSA, ES256 with P-256. `id` is another one each time, lest somebody uses it twice.
    pub fn sign(&self, now: SystemTime, id: Uuid) -> Result<Secret, Unsigned> {
        let algorithm = if self.identity.is_rsa() { Algorithm::Ps256 } else { Algorithm::Es256 };
        let mut head = head(algorithm, self.key_id);
        if let Some(certificate) = self.identity.certificate() {
            head.insert("x5t#S256".into(), URL_SAFE_NO_PAD.encode(certificate.thumbprint).into());
        }
        let claims = json!({
            "aud": self.audience.as_str(),
            "iss": self.client_id,
            "sub": self.client_id,
            "jti": id.to_string(),
            "nbf": seconds(now - SLACK),
            "iat": seconds(now),
            "exp": seconds(now + CLIENT_LIFE),
        });
        sign(&self.identity.key, algorithm, head, &claims)
    }
}

impl ServiceAccount {
    /// Asks for `scopes` in the name of `subject`, always with RS256.
    pub fn assert(&self, subject: &str, scopes: &[String], audience: &Url, now: SystemTime) -> Result<Secret, Unsigned> {
        let issued = now - ACCOUNT_SLACK;
        let claims = json!({
            "iss": self.email,
            "sub": subject,
            "scope": scopes.join(" "),
            "aud": audience.as_str(),
            "iat": seconds(issued),
            "exp": seconds(issued + ACCOUNT_LIFE),
        });
        sign(&self.key, Algorithm::Rs256, head(Algorithm::Rs256, self.key_id.as_deref()), &claims)
    }
}

fn head(algorithm: Algorithm, key_id: Option<&str>) -> Map<String, Value> {
    let mut head = Map::from_iter([("alg".into(), algorithm.name().into()), ("typ".into(), "JWT".into())]);
    head.extend(key_id.map(|id| ("kid".to_owned(), id.into())));
    head
}

/// RFC 7515 §7.1.
fn sign(key: &SigningKey, algorithm: Algorithm, head: Map<String, Value>, claims: &Value) -> Result<Secret, Unsigned> {
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(Value::Object(head).to_string()), encode(claims.to_string()));
    let signature = key.sign(algorithm, message.as_bytes()).ok_or(Unsigned)?;
    Ok(Secret::new(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
