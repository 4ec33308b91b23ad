//! ID tokens (OpenID Connect Core §2): who agreed. The signature is random, as a client that had it straight from the token
//! endpoint need not look at it (§3.1.3.7).

use super::super::{Shared, TENANT, clock::unix_seconds, random_text, token::LIFE};
use crate::provider::Provider;
use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Who `account` is, as far as `scope` lets the client know.
pub(super) fn id_token(shared: &Shared, account: &str, scope: &str, nonce: Option<&str>) -> String {
    let now = unix_seconds(shared.clock.now());
    let provider = shared.options.provider;
    let issuer = match provider {
        Provider::Google => "https://accounts.google.com".into(),
        Provider::Microsoft => format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        Provider::Custom => shared.issuer(),
    };
    // The same for the same person, and nothing that tells who.
    let subject = digest::digest(&digest::SHA256, account.to_ascii_lowercase().as_bytes());
    let subject = URL_SAFE_NO_PAD.encode(&subject.as_ref()[..16]);
    let mut claims = json!({ "iss": issuer, "aud": shared.client_id(), "sub": subject, "iat": now, "exp": now + LIFE.as_secs() });
    let asked = |word: &str| scope.split_whitespace().any(|other| other == word);
    if asked("email") {
        claims["email"] = account.into();
        if provider != Provider::Microsoft {
            claims["email_verified"] = true.into();
        }
    }
    if asked("profile") {
        claims["name"] = account.split('@').next().unwrap_or_default().into();
        if provider != Provider::Google {
            claims["preferred_username"] = account.into();
        }
    }
    if let Some(nonce) = nonce {
        claims["nonce"] = nonce.into();
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", encode(&json!({ "typ": "JWT", "alg": "RS256", "kid": "sandbox" })), encode(&claims), random_text(256))
}
