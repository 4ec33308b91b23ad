//! What is done with the keys of sealed secrets: a secret is sealed for a key of the configuration, the key is changed, old ones are
//! dropped. No answer holds a key.

use super::Refused;
use crate::{
    config::{self, Resealed},
    secret::{KeyId, Ring, Secret},
    store::{self, Store},
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Characters of a key's full name: two names of 63 and the longest key.
const LONGEST_BINDING: usize = 200;

/// A secret that shall be sealed, as it is sent. It has no `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToSeal {
    pub(super) binding: String,
    pub(super) secret: String,
}

/// The text for `{ sealed = … }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedText {
    /// `outlink1:…`.
    pub sealed: String,
}

/// Seals `secret` for the configuration's key `binding`, such as `link.contoso.client-secret`.
pub fn seal(ring: &Ring, binding: &str, secret: &Secret) -> Result<SealedText, Refused> {
    // The store's own places have another form: nobody is given what would open in one of those.
    let part = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    let is_key = binding.len() <= LONGEST_BINDING && binding.contains('.') && binding.split('.').all(part);
    if !is_key {
        let text = format!("{binding:?} is no full name of a key, such as link.contoso.client-secret");
        return Err(Refused::Nonsense(text));
    }
    if secret.expose().is_empty() {
        return Err(Refused::Nonsense(format!("the secret for {binding} is empty")));
    }
    Ok(SealedText { sealed: ring.seal(binding, secret).text() })
}

/// A file of the configuration that still needs an old key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLeft {
    /// Which; `environment` for variables.
    pub file: PathBuf,
    /// Why it was left.
    pub why: String,
}

/// What became of the configuration's sealed values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Sealed anew.
    pub changed: Vec<PathBuf>,
    /// Not.
    pub left: Vec<FileLeft>,
}

impl From<Resealed> for Files {
    fn from(resealed: Resealed) -> Self {
        let left = resealed.left.into_iter().map(|(file, why)| FileLeft { file, why }).collect();
        Self { changed: resealed.changed, left }
    }
}

/// A changed key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotated {
    /// The id of the key that seals from now on.
    pub key: String,
    /// Refresh tokens that were sealed anew.
    pub resealed: usize,
    /// Values of the configuration.
    pub files: Files,
}

/// Makes a new key, and seals everything under it that can be reached: the store, and the files of the configuration `main` that commands wrote.
pub async fn rotate_key(store: &Store, main: &Path) -> Result<KeyRotated, Refused> {
    let rotated = store.rotate_key().await.map_err(refused)?;
    let files = match reseal(store, main).await {
        Ok(resealed) => resealed.into(),
        // The key is changed; what the configuration needs opens as before.
        Err(why) => Files { changed: Vec::new(), left: vec![FileLeft { file: main.to_owned(), why }] },
    };
    Ok(KeyRotated { key: rotated.key.to_string(), resealed: rotated.resealed, files })
}

/// Dropped keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysDropped {
    /// The ids of those that are gone.
    pub dropped: Vec<String>,
    /// The ids of the old ones that stay.
    pub kept: Vec<String>,
    /// Who needs those.
    pub left: Vec<FileLeft>,
}

/// Drops the old keys that neither the store, nor the configuration `main`, nor anything of `elsewhere` needs.
pub async fn drop_keys(store: &Store, main: &Path, elsewhere: &[KeyId]) -> Result<KeysDropped, Refused> {
    let resealed = reseal(store, main).await.map_err(|why| {
        Refused::Nonsense(format!("no key was dropped, because it cannot be told which keys the configuration needs:\n{why}"))
    })?;
    let needed: Vec<KeyId> = resealed.needed.iter().chain(elsewhere).copied().collect();
    let dropped = store.drop_keys(&needed).await.map_err(refused)?;
    let text = |keys: &[KeyId]| keys.iter().map(KeyId::to_string).collect();
    Ok(KeysDropped { dropped: text(&dropped), kept: text(&store.ring().ids()[1..]), left: Files::from(resealed).left })
}

async fn reseal(store: &Store, main: &Path) -> Result<Resealed, String> {
    let (main, ring) = (main.to_owned(), store.ring());
    let resealed = tokio::task::spawn_blocking(move || config::reseal(&main, &ring)).await.map_err(|error| error.to_string())?;
    resealed.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// A key that is not ours to change is no fault of the store.
fn refused(error: store::Error) -> Refused {
    match error {
        error @ store::Error::KeyIsCredential { .. } => Refused::Nonsense(error.to_string()),
        error => Refused::Store(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_the_configuration_are_sealed_for() {
        let ring = Ring::new(crate::key::fresh().unwrap());
        let secret = Secret::new("x".into());
        for binding in ["link.contoso.client-secret", "link.a.proxy-password"] {
            let text = seal(&ring, binding, &secret).unwrap().sealed;
            let sealed = crate::secret::Sealed::parse(&text).unwrap();
            assert_eq!(ring.open(binding, &sealed), Ok(secret.clone()));
        }
        let long = format!("link.{}.x", "a".repeat(200));
        for binding in ["", "link", "grants/a/refresh-token", "link..x", "Link.a.b", "link.a.", &long] {
            assert!(seal(&ring, binding, &secret).is_err(), "{binding}");
        }
        assert!(seal(&ring, "link.a.b", &Secret::new(String::new())).is_err());
    }
}
