//! What proves a link's client, read from its files as they are now. `check` does so once, `tokens` at each use.

use super::{
    secrets::{SecretError, read_octets},
    settings::{Certificate, Link, Proof, SecretMethod, SecretSource},
};
use crate::{
    oauth::{Identity, KeyError, ServiceAccount, check_token},
    provider::Grant,
    secret::{Ring, Secret},
};
use std::{path::Path, sync::Arc};

/// How a secret is read.
pub(super) type Read<'a> = &'a dyn Fn(&SecretSource) -> Result<Secret, SecretError>;

/// What proves a link's client.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// Nothing: a public client.
    None,
    /// A client secret.
    Secret {
        /// The secret.
        secret: Secret,
        /// How it is sent.
        method: SecretMethod,
    },
    /// A key that signs, mostly with its certificate.
    Identity(Arc<Identity>),
    /// An assertion that somebody else made.
    Assertion(Secret),
    /// A service account's key.
    ServiceAccount(Arc<ServiceAccount>),
}

/// Why there is no proof just now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}; {step}")]
pub struct EvidenceError {
    /// The key of the configuration whose file is at fault.
    pub key: &'static str,
    /// What was tried and what came of it.
    pub why: String,
    /// The next step.
    pub step: String,
    /// Whether a secret could not be read at all.
    pub(super) unread: bool,
}

impl Link {
    /// Reads what proves the client; `ring` opens what is sealed.
    pub fn evidence(&self, ring: &Ring) -> Result<Evidence, EvidenceError> {
        let service_account = self.service_account.as_ref().filter(|_| self.grant == Grant::ServiceAccount);
        read(&self.proof, service_account, &|source| source.read(ring))
    }
}

/// The same from its parts; a service account's key is what counts where there is one.
pub(super) fn read(proof: &Proof, service_account: Option<&SecretSource>, secret: Read<'_>) -> Result<Evidence, EvidenceError> {
    if let Some(source) = service_account {
        let account = ServiceAccount::from_json(&take("service-account", source, secret)?);
        let account = account.map_err(|error| unfit("service-account", &format!("{source:?}"), &error))?;
        return Ok(Evidence::ServiceAccount(Arc::new(account)));
    }
    Ok(match proof {
        Proof::None => Evidence::None,
        Proof::Secret { source, method } => Evidence::Secret { secret: take("client-secret", source, secret)?, method: *method },
        Proof::Certificate(certificate) => Evidence::Identity(Arc::new(identity(certificate, secret)?)),
        Proof::PrivateKey(source) => {
            let key = Identity::from_key(&take("private-key", source, secret)?);
            Evidence::Identity(Arc::new(key.map_err(|error| unfit("private-key", &format!("{source:?}"), &error))?))
        }
        Proof::FederatedToken(file) => Evidence::Assertion(federated_token(file)?),
    })
}

fn identity(certificate: &Certificate, secret: Read<'_>) -> Result<Identity, EvidenceError> {
    match certificate {
        Certificate::Pem { certificate: file, private_key } => {
            let text = text("certificate", file)?;
            let key = match private_key {
                Some(source) => take("private-key", source, secret)?,
                None => Secret::new(text.clone()),
            };
            Identity::from_pem(&text, &key).map_err(|error| match (&error, private_key) {
                (KeyError::NoKey, None) => EvidenceError {
                    step: "add private-key = { file = \"/path\" }, or append the key to this file".into(),
                    ..unfit("certificate", &named(file), &error)
                },
                (KeyError::NoCertificate | KeyError::Certificate(_), _) | (_, None) => unfit("certificate", &named(file), &error),
                (_, Some(source)) => unfit("private-key", &format!("{source:?}"), &error),
            })
        }
        Certificate::Pkcs12 { file, password } => {
            let octets = read_octets(file).map_err(|why| unreadable("pkcs12", file, why))?;
            let password = password.as_ref().map(|source| take("pkcs12-password", source, secret)).transpose()?;
            Identity::from_pkcs12(&octets, password.as_ref()).map_err(|error| match error {
                KeyError::Password => unfit("pkcs12-password", &named(file), &error),
                _ => unfit("pkcs12", &named(file), &error),
            })
        }
    }
}

/// It is rotated by its issuer, so that it may be missing for a moment.
fn federated_token(file: &Path) -> Result<Secret, EvidenceError> {
    let key = "federated-token";
    let text = text(key, file)?;
    let token = text.trim();
    check_token(token, "federated token").map_err(|why| EvidenceError {
        key,
        why: format!("{}: {why}", named(file)),
        step: "let its issuer write the token there, alone".into(),
        unread: false,
    })?;
    Ok(Secret::new(token.to_owned()))
}

fn take(key: &'static str, source: &SecretSource, secret: Read<'_>) -> Result<Secret, EvidenceError> {
    let unread = |SecretError { from, why, step }| EvidenceError {
        key,
        why: format!("cannot read the secret from {from}: {why}"),
        step: format!("{step}; it is taken up at once"),
        unread: true,
    };
    secret(source).map_err(unread)
}

fn text(key: &'static str, file: &Path) -> Result<String, EvidenceError> {
    let octets = read_octets(file).map_err(|why| unreadable(key, file, why))?;
    String::from_utf8(octets).map_err(|_| unreadable(key, file, "it is not text (UTF-8); PEM is, DER is not".into()))
}

fn named(file: &Path) -> String {
    format!("file {}", file.display())
}

fn unreadable(key: &'static str, file: &Path, why: String) -> EvidenceError {
    EvidenceError {
        key,
        why: format!("cannot read {}: {why}", named(file)),
        step: "let the service's user read it; it is taken up at once".into(),
        unread: false,
    }
}

fn unfit(key: &'static str, from: &str, error: &KeyError) -> EvidenceError {
    EvidenceError { key, why: format!("{from}: {error}"), step: error.step().into(), unread: false }
}
