//! Private keys that sign assertions: RSA, or the curve P-256. Signatures come from aws-lc-rs; a JWT (RFC 7519) is three pieces of
//! base64 around one, so that no crate for it is needed.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair},
};
use rustls::pki_types::{PrivateKeyDer, pem, pem::PemObject};
use std::fmt;

/// Why something is no key that signs, or why key and certificate are none of one client. Texts name no file: who reads one does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No private key.
    #[error("it holds no private key in PEM form")]
    NoKey,
    /// A key that a password protects.
    #[error("its private key is encrypted")]
    Encrypted,
    /// Not PEM, or damaged.
    #[error("its PEM cannot be read: {0}")]
    Pem(String),
    /// A key of another kind.
    #[error("its private key is neither RSA of 2048 bits or more nor of the curve P-256 ({0})")]
    OtherKind(String),
    /// No certificate.
    #[error("it holds no certificate in PEM form")]
    NoCertificate,
    /// A certificate that cannot be read.
    #[error("its certificate cannot be read: {0}")]
    Certificate(String),
    /// Two that do not belong together.
    #[error("private key and certificate do not belong together")]
    Mismatch,
    /// A PKCS#12 file that the password does not open.
    #[error("the password does not open it")]
    Password,
    /// A PKCS#12 file that cannot be read.
    #[error("it is no PKCS#12 file that can be read: {0}")]
    Pkcs12(String),
    /// A service account's key file.
    #[error("{0}")]
    ServiceAccount(String),
}

impl KeyError {
    /// What to do about it.
    pub fn step(&self) -> &'static str {
        match self {
            Self::NoKey => "put the key there, from -----BEGIN PRIVATE KEY----- to its end line",
            Self::Encrypted => {
                "decrypt it into a file that only the service can read: openssl pkey -in KEY.pem -out PLAIN.pem, or put key and \
                 certificate into a pkcs12 with its pkcs12-password"
            }
            Self::OtherKind(_) => "make one with openssl req -x509 -newkey rsa:3072 -nodes -keyout KEY.pem -out CERT.pem",
            Self::NoCertificate => "put the certificate there, from -----BEGIN CERTIFICATE----- to its end line",
            Self::Mismatch => {
                "give the certificate that was made for this key: openssl pkey -pubout and openssl x509 -pubkey agree"
            }
            Self::Password => "compare pkcs12-password; the file may also be damaged",
            Self::Pem(_) | Self::Certificate(_) => "export it again, in PEM form",
            Self::Pkcs12(_) => "export it again: openssl pkcs12 -export -inkey KEY.pem -in CERT.pem -out FILE.p12",
            Self::ServiceAccount(_) => {
                "in the Cloud console under IAM, Service accounts, Keys make a key of type JSON and give that file as it is"
            }
        }
    }
}

/// How an assertion is signed (RFC 7518 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RSASSA-PKCS1-v1_5.
    Rs256,
    /// RSASSA-PSS.
    Ps256,
    /// ECDSA on P-256.
    Es256,
}

impl Algorithm {
    /// Its name in a JWT's head.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
        }
    }
}

/// A private key.
pub(super) enum SigningKey {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_rsa() { "SigningKey(RSA)" } else { "SigningKey(P-256)" })
    }
}

impl SigningKey {
    /// The first private key of a PEM text: PKCS#8, PKCS#1 or SEC1, all unencrypted.
    pub(super) fn from_pem(text: &str) -> Result<Self, KeyError> {
        // RFC 7468 §11; and OpenSSL's own way before it.
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
            pem::Error::NoItemsFound => KeyError::NoKey,
            other => KeyError::Pem(other.to_string()),
        })?;
        match key {
            PrivateKeyDer::Pkcs1(key) => rsa(RsaKeyPair::from_der(key.secret_pkcs1_der())),
            PrivateKeyDer::Sec1(key) => p256(EcdsaKeyPair::from_private_key_der(P256, key.secret_sec1_der())),
            PrivateKeyDer::Pkcs8(key) => Self::from_pkcs8(key.secret_pkcs8_der()),
            _ => Err(KeyError::NoKey),
        }
    }

    /// A key in PKCS#8 form (RFC 5958).
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let curve = p256(EcdsaKeyPair::from_pkcs8(P256, der));
        curve.or_else(|_| rsa(RsaKeyPair::from_pkcs8(der)))
    }

    pub(super) fn is_rsa(&self) -> bool {
        matches!(self, Self::Rsa(_))
    }

    /// The public key as a certificate's subjectPublicKey holds it (RFC 5280 §4.1.2.7).
    pub(super) fn public(&self) -> &[u8] {
        match self {
            Self::Rsa(pair) => pair.public_key().as_ref(),
            Self::P256(pair) => pair.public_key().as_ref(),
        }
    }

    /// Signs `message`; a key of the curve knows one algorithm only.
    pub(super) fn sign(&self, rsa: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let padding = if rsa == Algorithm::Rs256 { &signature::RSA_PKCS1_SHA256 } else { &signature::RSA_PSS_SHA256 };
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signed).ok()?;
                Some(signed)
            }
            Self::P256(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
        }
    }
}

/// JWS wants the two numbers of a signature one after the other (RFC 7518 §3.4), not in ASN.1.
static P256: &signature::EcdsaSigningAlgorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;

fn rsa(pair: Result<RsaKeyPair, aws_lc_rs::error::KeyRejected>) -> Result<SigningKey, KeyError> {
    let pair = pair.map_err(|error| KeyError::OtherKind(error.to_string()))?;
    match pair.public_modulus_len() {
        256.. => Ok(SigningKey::Rsa(pair)),
        short => Err(KeyError::OtherKind(format!("RSA of {} bits", short * 8))),
    }
}

fn p256(pair: Result<EcdsaKeyPair, aws_lc_rs::error::KeyRejected>) -> Result<SigningKey, KeyError> {
    pair.map(SigningKey::P256).map_err(|error| KeyError::OtherKind(error.to_string()))
}
