//! Signed JSON web tokens (RFC 7515, RFC 7519) and the keys that prove them: as much as client assertions need.

use aws_lc_rs::{digest, signature};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, pem::PemObject};
use serde_json::Value;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// A public key, and what names its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct PublicKey {
    /// The SubjectPublicKeyInfo in DER.
    spki: Vec<u8>,
    kind: Kind,
    /// SHA-256 and SHA-1 of the certificate as `x5t#S256` and `x5t` have them (RFC 7515 §4.1.7), where there is one.
    thumbprints: Option<[String; 2]>,
    /// From when until when the certificate counts, in Unix time, where there is one.
    validity: Option<[i64; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
}

/// `rsaEncryption` and `prime256v1`, as DER has these object identifiers.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

impl PublicKey {
    /// Reads the first `CERTIFICATE` or `PUBLIC KEY` of `pem`.
    pub(in crate::sandbox) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let (spki, thumbprints, validity) = match CertificateDer::from_pem_slice(pem) {
            Ok(certificate) => {
                let parsed = rustls::server::ParsedCertificate::try_from(&certificate)
                    .map_err(|why| format!("this certificate cannot be read (it must be of version 3): {why}"))?;
                let hash = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, &certificate));
                let thumbprints = [hash(&digest::SHA256), hash(&digest::SHA1_FOR_LEGACY_USE_ONLY)];
                let (_, dated) = X509Certificate::from_der(&certificate)
                    .map_err(|why| format!("this certificate's time cannot be read: {why}"))?;
                let validity = [dated.validity().not_before.timestamp(), dated.validity().not_after.timestamp()];
                (parsed.subject_public_key_info(), Some(thumbprints), Some(validity))
            }
            Err(_) => {
                let key = SubjectPublicKeyInfoDer::from_pem_slice(pem);
                (key.map_err(|_| "there is neither a CERTIFICATE nor a PUBLIC KEY in PEM".to_owned())?, None, None)
            }
        };
        let holds = |id: &[u8]| memchr::memmem::find(spki.get(..40).unwrap_or(&spki), id).is_some();
        let kind = match (holds(RSA), holds(P256)) {
            (true, _) => Kind::Rsa,
            (_, true) => Kind::P256,
            _ => return Err("only keys of RSA and of the curve P-256 are taken".into()),
        };
        Ok(Self { spki: spki.to_vec(), kind, thumbprints, validity })
    }

    /// Whether its certificate counts at `now` in Unix time; a key without one always does.
    pub(super) fn counts(&self, now: u64) -> bool {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.validity.is_none_or(|[from, until]| (from..until).contains(&now))
    }

    /// Whether `x5t#S256`, or else `x5t`, names its certificate.
    pub(super) fn is_named(&self, [sha256, sha1]: [Option<&str>; 2]) -> bool {
        let Some([own_sha256, own_sha1]) = &self.thumbprints else { return false };
        match (sha256, sha1) {
            (Some(named), _) => named == own_sha256,
            (None, named) => named == Some(own_sha1.as_str()),
        }
    }
}

/// A token, not yet believed.
pub(super) struct Jwt<'a> {
    pub(super) header: Value,
    pub(super) claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let json = |part: &str| -> Option<Value> {
            let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
            value.is_object().then_some(value)
        };
        Some(Self { header: json(header)?, claims: json(claims)?, signed, signature: URL_SAFE_NO_PAD.decode(signature).ok()? })
    }

    pub(super) fn algorithm(&self) -> &str {
        self.header["alg"].as_str().unwrap_or_default()
    }

    /// A text among the claims; empty where it is missing.
    pub(super) fn text(&self, claim: &str) -> &str {
        self.claims[claim].as_str().unwrap_or_default()
    }

    /// Seconds since 1970; RFC 7519 §2 allows a fraction.
    pub(super) fn seconds(&self, claim: &str) -> Option<u64> {
        let value = &self.claims[claim];
        value.as_u64().or_else(|| value.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as u64))
    }

    /// Whether `fits` one of its audiences.
    pub(super) fn is_for(&self, fits: impl Fn(&str) -> bool) -> bool {
        match &self.claims["aud"] {
            Value::String(audience) => fits(audience),
            Value::Array(audiences) => audiences.iter().filter_map(Value::as_str).any(fits),
            _ => false,
        }
    }

    pub(super) fn is_signed_by(&self, key: &PublicKey) -> bool {
        let algorithm: &'static dyn signature::VerificationAlgorithm = match (self.algorithm(), key.kind) {
            ("RS256", Kind::Rsa) => &signature::RSA_PKCS1_2048_8192_SHA256,
            ("PS256", Kind::Rsa) => &signature::RSA_PSS_2048_8192_SHA256,
            // The two numbers, one after the other (RFC 7518 §3.4).
            ("ES256", Kind::P256) => &signature::ECDSA_P256_SHA256_FIXED,
            _ => return false,
        };
        signature::UnparsedPublicKey::new(algorithm, &key.spki).verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}
