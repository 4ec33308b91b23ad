//! The signature of a webhook, by the scheme of Standard Webhooks (v1): HMAC-SHA256 of `id.timestamp.body`.

use crate::{config::BASE64_SECRET, secret::Secret};
use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};

/// What `webhook-signature` says; `None` where the secret begins as base64 and is none.
pub(super) fn sign(secret: &Secret, id: &str, timestamp: u64, body: &str) -> Option<String> {
    let octets = match secret.expose().strip_prefix(BASE64_SECRET) {
        Some(text) => zeroize::Zeroizing::new(BASE64_STANDARD.decode(text).ok().filter(|octets| !octets.is_empty())?),
        None => zeroize::Zeroizing::new(secret.expose().as_bytes().to_vec()),
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &octets);
    let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    Some(format!("v1,{}", BASE64_STANDARD.encode(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the scheme's own specification.
    #[test]
    fn the_example_of_the_specification_is_signed_as_it_says() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into());
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(&secret, id, 1_614_265_330, body).as_deref(), Some(expected));
    }

    #[test]
    fn another_secret_is_taken_letter_by_letter_and_broken_base64_is_none() {
        // echo -n '1.2.{}' | openssl dgst -sha256 -hmac plain -binary | base64
        let plain = sign(&Secret::new("plain".into()), "1", 2, "{}").unwrap();
        assert_eq!(plain, sign(&Secret::new("whsec_cGxhaW4=".into()), "1", 2, "{}").unwrap());
        assert_ne!(plain, sign(&Secret::new("plain".into()), "1", 3, "{}").unwrap());
        for broken in ["whsec_", "whsec_no base64", "whsec_cGxhaW4"] {
            assert_eq!(sign(&Secret::new(broken.into()), "1", 2, "{}"), None, "{broken}");
        }
    }
}
