//! Keys and certificates as OpenSSL makes them (`tests/keys/make.sh`), and what is signed with them, verified.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::Value;
use std::time::{Duration, SystemTime};
use url::Url;
use uuid::Uuid;

use super::{ClientAssertion, Identity, KeyError, ServiceAccount, key::SigningKey};
use crate::secret::Secret;

macro_rules! keys {
    ($file:literal) => {
        include_bytes!(concat!("../../tests/keys/", $file))
    };
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

fn secret(octets: &[u8]) -> Secret {
    Secret::new(text(octets))
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// Head, claims, and whether the signature is one by `key`.
fn opened(token: &Secret, key: &SigningKey, algorithm: &'static dyn VerificationAlgorithm) -> (Value, Value) {
    let parts: Vec<_> = token.expose().split('.').collect();
    let [head, claims, signed] = parts[..] else { panic!("{parts:?}") };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let message = format!("{head}.{claims}");
    UnparsedPublicKey::new(algorithm, key.public()).verify(message.as_bytes(), &decode(signed)).unwrap();
    let json = |part: &str| serde_json::from_slice(&decode(part)).unwrap();
    (json(head), json(claims))
}

#[test]
fn keys_are_read_in_every_form_that_is_not_encrypted() {
    for (file, is_rsa) in [
        (&keys!("rsa.pem")[..], true),
        (keys!("rsa-pkcs1.pem"), true),
        (keys!("rsa-both.pem"), true),
        (keys!("p256.pem"), false),
        (keys!("p256-sec1.pem"), false),
    ] {
        let key = SigningKey::from_pem(&text(file)).unwrap();
        assert_eq!(key.is_rsa(), is_rsa);
        assert!(!format!("{key:?}").contains("["), "{key:?}");
    }
}

#[test]
fn what_is_no_key_that_signs_says_why_and_what_to_do() {
    let kind = |error: KeyError| (error.to_string(), error.step());
    for (file, why, step) in [
        (&b"nothing"[..], "no private key", "BEGIN PRIVATE KEY"),
        (keys!("rsa.crt"), "no private key", "BEGIN PRIVATE KEY"),
        (keys!("rsa-encrypted.pem"), "encrypted", "openssl pkey -in"),
        (keys!("rsa-pkcs1-encrypted.pem"), "encrypted", "openssl pkey -in"),
        (keys!("p384.pem"), "neither RSA of 2048 bits", "openssl req"),
        (keys!("rsa-short.pem"), "neither RSA of 2048 bits", "openssl req"),
        (b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n", "PEM cannot be read", "export it again"),
    ] {
        let found = kind(SigningKey::from_pem(&text(file)).unwrap_err());
        assert!(found.0.contains(why) && found.1.contains(step), "{found:?}");
    }
}

#[test]
fn the_certificate_of_the_key_is_found_wherever_it_stands() {
    let alone = Identity::from_pem(&text(keys!("rsa.crt")), &secret(keys!("rsa.pem"))).unwrap();
    let both = text(keys!("rsa-both.pem"));
    assert_eq!(Identity::from_pem(&both, &Secret::new(both.clone())).unwrap(), alone);
    for (file, password) in [
        (&keys!("modern.p12")[..], Some("secret")),
        (keys!("modern-without-password.p12"), None),
        (keys!("legacy.p12"), Some("secret")),
    ] {
        let found = Identity::from_pkcs12(file, password.map(|text| Secret::new(text.into())).as_ref()).unwrap();
        assert_eq!(found, alone);
    }
    let certificate = alone.certificate().unwrap();
    assert!(certificate.not_before < certificate.not_after && certificate.not_after > now());
    assert_eq!(certificate.shown_thumbprint.len(), 40);
    let expired = Identity::from_pem(&text(keys!("rsa-expired.crt")), &secret(keys!("rsa.pem"))).unwrap();
    assert!(expired != alone && expired.certificate().unwrap().not_after < now());
    assert!(Identity::from_pem(&text(keys!("p256.crt")), &secret(keys!("p256.pem"))).unwrap().certificate().is_some());
}

#[test]
fn files_that_do_not_fit_are_told_apart() {
    let pem = |certificate, key| Identity::from_pem(&text(certificate), &secret(key)).unwrap_err();
    assert_eq!(pem(keys!("rsa-other.crt"), keys!("rsa.pem")), KeyError::Mismatch);
    assert_eq!(pem(keys!("p256.crt"), keys!("rsa.pem")), KeyError::Mismatch);
    assert_eq!(pem(keys!("rsa.pem"), keys!("rsa.pem")), KeyError::NoCertificate);
    let bundle = |octets, password: &str| Identity::from_pkcs12(octets, Some(&Secret::new(password.into()))).unwrap_err();
    assert_eq!(bundle(keys!("modern.p12"), "wrong"), KeyError::Password);
    assert_eq!(bundle(keys!("legacy.p12"), "wrong"), KeyError::Password);
    assert!(matches!(bundle(keys!("rsa.pem"), "secret"), KeyError::Pkcs12(_)));
    let without_key = bundle(keys!("without-key.p12"), "secret");
    assert!(without_key.to_string().contains("no private key"), "{without_key}");
}

#[test]
fn a_clients_assertion_is_what_microsoft_documents() {
    let identity = Identity::from_pem(&text(keys!("rsa.crt")), &secret(keys!("rsa.pem"))).unwrap();
    let audience = Url::parse("https://login.microsoftonline.com/t/oauth2/v2.0/token").unwrap();
    let assertion = ClientAssertion { identity: &identity, client_id: "me", key_id: None, audience: &audience };
    let id = Uuid::from_u128(7);
    let token = assertion.sign(now(), id).unwrap();
    let (head, claims) = opened(&token, &identity.key, &signature::RSA_PSS_2048_8192_SHA256);
    let thumbprint = URL_SAFE_NO_PAD.encode(identity.certificate().unwrap().thumbprint);
    assert_eq!(head, serde_json::json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint}));
    let expected = serde_json::json!({
        "aud": audience.as_str(), "iss": "me", "sub": "me", "jti": id.to_string(),
        "nbf": 1_799_999_940_u64, "iat": 1_800_000_000_u64, "exp": 1_800_000_480_u64,
    });
    assert_eq!(claims, expected);
}

#[test]
fn a_key_of_the_curve_signs_with_its_own_algorithm_and_names_itself_where_asked() {
    let identity = Identity::from_key(&secret(keys!("p256-sec1.pem"))).unwrap();
    let audience = Url::parse("https://login.example.com/token").unwrap();
    let assertion = ClientAssertion { identity: &identity, client_id: "me", key_id: Some("k1"), audience: &audience };
    let token = assertion.sign(now(), Uuid::nil()).unwrap();
    let (head, _) = opened(&token, &identity.key, &signature::ECDSA_P256_SHA256_FIXED);
    assert_eq!(head, serde_json::json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}));
}

#[test]
fn a_service_account_asks_for_a_mailbox_as_google_documents() {
    let account = ServiceAccount::from_json(&secret(keys!("service-account.json"))).unwrap();
    assert_eq!(account.client_id.as_deref(), Some("100000000000000000001"));
    let audience = Url::parse("https://oauth2.googleapis.com/token").unwrap();
    let scopes = ["https://mail.google.com/".to_owned(), "openid".to_owned()];
    let token = account.assert("alerts@example.com", &scopes, &audience, now()).unwrap();
    let (head, claims) = opened(&token, &account.key, &signature::RSA_PKCS1_2048_8192_SHA256);
    assert_eq!(head, serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": "0123456789abcdef"}));
    let expected = serde_json::json!({
        "iss": "relay@outlink-test.iam.gserviceaccount.com", "sub": "alerts@example.com",
        "scope": "https://mail.google.com/ openid", "aud": audience.as_str(),
        "iat": 1_799_999_990_u64, "exp": 1_800_003_590_u64,
    });
    assert_eq!(claims, expected);
}

#[test]
fn another_file_of_googles_is_told_from_a_service_accounts_key() {
    let read = |text: &str| ServiceAccount::from_json(&Secret::new(text.into())).unwrap_err().to_string();
    for (file, why) in [
        (r#"{"installed":{"client_id":"x"}}"#, "OAuth client"),
        (r#"{"web":{"client_id":"x"}}"#, "OAuth client"),
        (r#"{"type":"authorized_user"}"#, "a person's consent"),
        (r#"{"type":"external_account"}"#, "type = service_account"),
        (r#"{"type":"service_account","client_email":"a@b"}"#, "missing"),
        (r#"{"type":"service_account","client_email":"a@b","private_key":"x"}"#, "no private key"),
        ("MARKED", "line 1, column 1"),
        (r#"{"type": 5, "private_key": "MARKED"}"#, "not the JSON of a key"),
    ] {
        let found = read(file);
        assert!(found.contains(why) && !found.contains("MARKED"), "{file}: {found}");
    }
    let other = text(keys!("service-account.json")).replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE");
    assert!(read(&other).contains("encrypted"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    /// Whatever a file holds, and wherever a good one is damaged: an error, never a panic.
    #[test]
    fn no_file_panics(octets in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..2000, by: u8) {
        let (lossy, password) = (String::from_utf8_lossy(&octets).into_owned(), Secret::new("secret".into()));
        let _ = SigningKey::from_pem(&lossy);
        let _ = ServiceAccount::from_json(&Secret::new(lossy));
        let _ = Identity::from_pkcs12(&octets, Some(&password));
        for file in [&keys!("modern.p12")[..], keys!("legacy.p12")] {
            let mut damaged = file.to_vec();
            let at = at % damaged.len();
            damaged[at] ^= by;
            let _ = Identity::from_pkcs12(&damaged, Some(&password));
        }
    }
}
