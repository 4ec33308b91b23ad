//! An outside issuer whose tokens speak for the application: what a cluster or a build service is in earnest. Its key is made when
//! first wanted.

use super::super::{clock::unix_seconds, random_text};
use super::{clients::Federation, jwt::PublicKey};
use crate::secret::Secret;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Its URL, whom its tokens speak of, and to whom (Microsoft's name for itself).
const ISSUER: &str = "https://issuer.sandbox.example";
const SUBJECT: &str = "system:serviceaccount:mail:outlink";
pub(super) const AUDIENCE: &str = "api://AzureADTokenExchange";

/// Life of a token, in seconds.
const LIFE: u64 = 3600;

struct Key {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

/// The issuer.
#[derive(Default)]
pub(in crate::sandbox) struct Issuer(Mutex<Option<Key>>);

impl Issuer {
    /// A new token, and what has to be registered for it.
    pub(in crate::sandbox) fn token(&self, now: SystemTime) -> Result<(Secret, Federation), String> {
        let mut key = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match &mut *key {
            Some(key) => key,
            none => none.insert(new_key()?),
        };
        let now = unix_seconds(now);
        let claims = json!({
            "iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + LIFE, "jti": random_text(16),
        });
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&json!({ "typ": "JWT", "alg": "ES256", "kid": "sandbox" })), encode(&claims));
        let signature = key.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| "cannot sign a federated token".to_owned())?;
        let federation = Federation {
            issuer: ISSUER.into(),
            subject: SUBJECT.into(),
            audience: AUDIENCE.into(),
            key: Some(key.public.clone()),
        };
        Ok((Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))), federation))
    }
}

fn new_key() -> Result<Key, String> {
    let pair = rcgen::KeyPair::generate().map_err(|why| format!("cannot make the issuer's key: {why}"))?;
    Ok(Key {
        public: PublicKey::from_pem(pair.public_key_pem().as_bytes())?,
        pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der())
            .map_err(|why| format!("cannot use the issuer's key: {why}"))?,
    })
}
