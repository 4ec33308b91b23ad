//! The JSON key of one of Google's service accounts.

use serde::Deserialize;

use super::key::{KeyError, SigningKey};
use crate::secret::Secret;

/// A service account that can sign.
#[derive(Debug)]
pub struct ServiceAccount {
    pub(super) key: SigningKey,
    /// Google's name for the key.
    pub(super) key_id: Option<String>,
    /// The account's address.
    pub email: String,
    /// The numeric id, which the Admin console asks for.
    pub client_id: Option<String>,
    /// Where Google would have the assertion sent.
    pub token_uri: Option<String>,
}

impl PartialEq for ServiceAccount {
    fn eq(&self, other: &Self) -> bool {
        self.key.public() == other.key.public() && self.key_id == other.key_id && self.email == other.email
    }
}

/// The file, as far as it matters.
#[derive(Deserialize)]
struct File {
    r#type: Option<String>,
    client_email: Option<String>,
    client_id: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
    /// What the files of OAuth clients have.
    #[serde(alias = "web")]
    installed: Option<serde::de::IgnoredAny>,
}

impl ServiceAccount {
    /// Reads the file.
    pub fn from_json(text: &Secret) -> Result<Self, KeyError> {
        let wrong = |what: &str| KeyError::ServiceAccount(what.to_owned());
        // The parser's own text may repeat what stands there.
        let file: File = serde_json::from_str(text.expose()).map_err(|error| {
            KeyError::ServiceAccount(format!("it is not the JSON of a key (line {}, column {})", error.line(), error.column()))
        })?;
        match file.r#type.as_deref() {
            _ if file.installed.is_some() => {
                return Err(wrong("it is the JSON of an OAuth client, not of a service account's key"));
            }
            Some("service_account") => {}
            Some("authorized_user") => return Err(wrong("it holds a person's consent, not a service account's key")),
            _ => return Err(wrong("it does not say type = service_account")),
        }
        let (Some(email), Some(key)) = (file.client_email.filter(|email| !email.is_empty()), file.private_key.map(Secret::new))
        else {
            return Err(wrong("client_email or private_key is missing in it"));
        };
        let key = SigningKey::from_pem(key.expose())?;
        match key.is_rsa() {
            true => Ok(Self {
                key,
                key_id: file.private_key_id.filter(|id| !id.is_empty()),
                email,
                client_id: file.client_id.filter(|id| !id.is_empty()),
                token_uri: file.token_uri,
            }),
            false => Err(wrong("its private key is not RSA")),
        }
    }
}
