//! What a client signs with: a private key, and mostly the certificate that makes the key known to the provider.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use p12_keystore::{Pkcs12Archive, error::Error as Pkcs12Error};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::time::{Duration, SystemTime};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::key::{KeyError, SigningKey};
use crate::secret::Secret;

/// Certificates of one file that are looked at: a chain has a few.
const MOST: usize = 32;

/// A private key with its certificate, or without one.
#[derive(Debug)]
pub struct Identity {
    pub(super) key: SigningKey,
    certificate: Option<Certificate>,
}

/// A certificate, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of the whole (RFC 7515 §4.1.8).
    pub(super) thumbprint: [u8; 32],
    /// SHA-1 of the whole in hexadecimal, as Entra's pages show it.
    pub shown_thumbprint: String,
    /// The first moment at which it counts.
    pub not_before: SystemTime,
    /// The last.
    pub not_after: SystemTime,
}

impl Identity {
    /// A key alone.
    pub fn from_key(key: &Secret) -> Result<Self, KeyError> {
        Ok(Self { key: SigningKey::from_pem(key.expose())?, certificate: None })
    }

    /// A key, and the one of the PEM text's certificates that was made for it.
    pub fn from_pem(certificates: &str, key: &Secret) -> Result<Self, KeyError> {
        let key = SigningKey::from_pem(key.expose())?;
        let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates.as_bytes())
            .take(MOST)
            .collect::<Result<_, _>>()
            .map_err(|error| KeyError::Pem(error.to_string()))?;
        match found.is_empty() {
            true => Err(KeyError::NoCertificate),
            false => Self::joined(key, found.iter().map(|der| &**der)),
        }
    }

    /// The same out of a PKCS#12 file (RFC 7292).
    pub fn from_pkcs12(octets: &[u8], password: Option<&Secret>) -> Result<Self, KeyError> {
        let password = password.map_or("", Secret::expose);
        let archive = Pkcs12Archive::from_pkcs12(octets, password).map_err(|error| match error {
            Pkcs12Error::MacError(_) | Pkcs12Error::UnpadError => KeyError::Password,
            other => KeyError::Pkcs12(other.to_string()),
        })?;
        let key = archive.keys.first().ok_or_else(|| KeyError::Pkcs12("it holds no private key".into()))?;
        let key = SigningKey::from_pkcs8(key.key.as_der())?;
        Self::joined(key, archive.certs.iter().take(MOST).map(|bag| bag.cert.as_der()))
    }

    fn joined<'a>(key: SigningKey, certificates: impl Iterator<Item = &'a [u8]>) -> Result<Self, KeyError> {
        for der in certificates {
            let (_, parsed) = X509Certificate::from_der(der).map_err(|error| KeyError::Certificate(error.to_string()))?;
            if *parsed.public_key().subject_public_key.data == *key.public() {
                return Ok(Self { key, certificate: Some(Certificate::new(der, &parsed)) });
            }
        }
        Err(KeyError::Mismatch)
    }

    /// Its certificate.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Whether the key is RSA; else it is of the curve P-256.
    pub fn is_rsa(&self) -> bool {
        self.key.is_rsa()
    }
}

impl PartialEq for Identity {
    /// The same public key is the same private one.
    fn eq(&self, other: &Self) -> bool {
        self.key.public() == other.key.public() && self.certificate == other.certificate
    }
}

impl Certificate {
    fn new(der: &[u8], parsed: &X509Certificate<'_>) -> Self {
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest(&SHA256, der).as_ref());
        let short = digest(&SHA1_FOR_LEGACY_USE_ONLY, der);
        let validity = parsed.validity();
        Self {
            thumbprint,
            shown_thumbprint: short.as_ref().iter().map(|octet| format!("{octet:02X}")).collect(),
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
        }
    }
}

/// Seconds of 1970; what lies before is the beginning.
fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
