//! What a link's proof signs with, looked at before mail needs it: keys, certificates and their time.

use super::{
    evidence::{self, Evidence},
    secrets,
    settings::{Certificate, Proof, SecretSource},
    table::{Table, Wrong},
};
use crate::{oauth, provider::Provider};
use chrono::{DateTime, Utc};
use std::time::SystemTime;
use url::Url;

/// Reads what signs once, so that a fault in it is known early. What cannot be read here and now is left to `run`.
///
/// A service account comes with the token endpoint of its link.
pub(super) fn check(table: &Table<'_>, provider: Provider, proof: &Proof, service_account: Option<(&SecretSource, &Url)>) {
    let (service_account, endpoint) = service_account.unzip();
    let sources = [sources(proof), service_account.into_iter().collect()].concat();
    if !sources.iter().all(|source| secrets::can_be_read(table, source)) || matches!(proof, Proof::Secret { .. }) {
        return;
    }
    let read = |source: &SecretSource| secrets::read_here(table, source);
    match evidence::read(proof, service_account, &read) {
        // Whoever took the secret has said so.
        Err(error) if error.unread => {}
        Err(error) => table.fault(error.key, Wrong::new(error.why, error.step)),
        Ok(Evidence::Identity(identity)) => look_at(table, provider, key_of(proof), &identity),
        Ok(Evidence::ServiceAccount(account)) => {
            let is_used = |uri: &str| Url::parse(uri).ok().as_ref() == endpoint;
            if let Some(uri) = account.token_uri.as_deref().filter(|uri| !is_used(uri)) {
                let hint = "if it is right, write it as token-endpoint, too";
                table.note("service-account", Wrong::new(format!("its token_uri {uri} is not used"), hint));
            }
        }
        Ok(Evidence::None | Evidence::Secret { .. } | Evidence::Assertion(_)) => {}
    }
}

/// The secrets that have to be read for it.
fn sources(proof: &Proof) -> Vec<&SecretSource> {
    match proof {
        Proof::Certificate(Certificate::Pem { private_key: source, .. } | Certificate::Pkcs12 { password: source, .. }) => {
            source.iter().collect()
        }
        Proof::PrivateKey(source) | Proof::Secret { source, .. } => vec![source],
        Proof::FederatedToken(_) | Proof::None => Vec::new(),
    }
}

/// The key under which the certificate stands.
fn key_of(proof: &Proof) -> &'static str {
    match proof {
        Proof::Certificate(Certificate::Pkcs12 { .. }) => "pkcs12",
        Proof::Certificate(Certificate::Pem { .. }) => "certificate",
        Proof::PrivateKey(_) | Proof::Secret { .. } | Proof::FederatedToken(_) | Proof::None => "private-key",
    }
}

fn look_at(table: &Table<'_>, provider: Provider, key: &str, identity: &oauth::Identity) {
    if provider == Provider::Microsoft && !identity.is_rsa() {
        let hint = "make a certificate with an RSA key, and upload that";
        table.note(key, Wrong::new("Microsoft documents RSA keys only, and this one is of the curve P-256", hint));
    }
    let Some(certificate) = identity.certificate() else { return };
    let (now, day) = (SystemTime::now(), |time| DateTime::<Utc>::from(time).format("%Y-%m-%d"));
    if certificate.not_after < now {
        let hint = "make a new one, upload it to the provider, and put it here; mail waits until then";
        table.note(key, Wrong::new(format!("the certificate ended on {}", day(certificate.not_after)), hint));
    } else if certificate.not_before > now {
        let hint = "wait, or look at this machine's clock";
        table.note(key, Wrong::new(format!("the certificate begins to count on {}", day(certificate.not_before)), hint));
    }
}
