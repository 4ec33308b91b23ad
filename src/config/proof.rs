//! How a link's client proves itself: a secret, a certificate, a key, somebody else's token, or the key of a service account.
//!
//! Exactly one of them. What a file of theirs holds is looked at by `certificate`.

use super::{
    certificate, secrets,
    settings::{Certificate, Proof, SecretMethod, SecretSource},
    table::{Table, Wrong},
    words,
};
use crate::provider::{Grant, Provider};
use std::path::PathBuf;
use url::Url;

/// The keys of which one proves the client. A private key beside a certificate belongs to it.
const KEYS: [&str; 5] = ["client-secret", "certificate", "pkcs12", "private-key", "federated-token"];
/// The key that proves a service account.
const SERVICE_ACCOUNT: &str = "service-account";

/// The words of `client-authentication`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Post,
    Basic,
    PrivateKeyJwt,
    None,
}

/// What the table says of it.
pub(super) struct Given {
    /// Which keys stand there, well or ill.
    present: Vec<&'static str>,
    method: Option<Method>,
    secret: Option<SecretSource>,
    certificate: Option<PathBuf>,
    private_key: Option<SecretSource>,
    pkcs12: Option<PathBuf>,
    pkcs12_password: Option<SecretSource>,
    federated_token: Option<PathBuf>,
    /// Of Google's service account.
    pub(super) service_account: Option<SecretSource>,
    /// The `kid` of assertions.
    pub(super) key_id: Option<String>,
}

/// Takes its keys.
pub(super) fn take(table: &mut Table<'_>) -> Given {
    let present = KEYS.into_iter().chain([SERVICE_ACCOUNT, "pkcs12-password"]).filter(|key| table.has(key)).collect();
    let words =
        [("post", Method::Post), ("basic", Method::Basic), ("private-key-jwt", Method::PrivateKeyJwt), ("none", Method::None)];
    Given {
        present,
        method: table.choice("client-authentication", &words),
        secret: secrets::take(table, "client-secret"),
        certificate: file(table, "certificate", "write the path of the certificate in PEM form"),
        private_key: secrets::take_content(table, "private-key"),
        pkcs12: file(table, "pkcs12", "write the path of a PKCS#12 file (.p12, .pfx) with certificate and private key"),
        pkcs12_password: secrets::take(table, "pkcs12-password"),
        federated_token: file(table, "federated-token", "write the path at which the token's issuer keeps it up to date"),
        service_account: secrets::take_content(table, SERVICE_ACCOUNT),
        key_id: table.parsed("key-id", words::word),
    }
}

/// The path of a file that is there.
fn file(table: &mut Table<'_>, key: &'static str, hint: &str) -> Option<PathBuf> {
    let file = table.path(key)?;
    match file.is_file() {
        true => Some(file),
        false => {
            let hint = format!("{hint}, readable by the service's user");
            table.fault(key, Wrong::new(format!("there is no file {}", file.display()), hint));
            None
        }
    }
}

impl Given {
    fn has(&self, key: &str) -> bool {
        self.present.contains(&key)
    }

    /// What proves the client, checked against the grant; `None` after a fault.
    pub(super) fn settle(
        &mut self,
        table: &Table<'_>,
        provider: Provider,
        grant: Grant,
        endpoint: Option<&Url>,
    ) -> Option<Proof> {
        let proofs = self.proofs(grant);
        if let [first, second, ..] = proofs[..] {
            let hint = format!("take out `{second}` or `{first}`: a client proves itself in one way");
            table.fault(second, Wrong::new(format!("`{first}` stands here, too"), hint));
            return None;
        }
        let proof = proofs.first().copied();
        self.check_companions(table, grant);
        self.check_presence(table, provider, grant, proof);
        self.check_method(table, proof);
        check_provider(table, provider, proof)?;
        if self.key_id.is_some() && !matches!(proof, Some("certificate" | "pkcs12" | "private-key")) {
            table.note("key-id", "this names the key of an assertion, and none is signed here");
        }
        let proof = self.proof(proof)?;
        let service_account = self.service_account.as_ref().filter(|_| grant == Grant::ServiceAccount);
        certificate::check(table, provider, &proof, service_account.zip(endpoint));
        Some(proof)
    }

    /// The proofs that stand there.
    fn proofs(&self, grant: Grant) -> Vec<&'static str> {
        let belongs = |key: &str| key == "private-key" && (self.has("certificate"));
        let mut proofs: Vec<_> = KEYS.into_iter().filter(|key| self.has(key) && !belongs(key)).collect();
        if grant == Grant::ServiceAccount && self.has(SERVICE_ACCOUNT) {
            proofs.push(SERVICE_ACCOUNT);
        }
        proofs
    }

    /// Keys that belong to another that is not there.
    fn check_companions(&self, table: &Table<'_>, grant: Grant) {
        if self.has("pkcs12-password") && !self.has("pkcs12") {
            table.fault("pkcs12-password", Wrong::new("there is no pkcs12 that this would open", "add pkcs12 = \"/path\""));
        }
        if self.has(SERVICE_ACCOUNT) && grant != Grant::ServiceAccount {
            table.note(SERVICE_ACCOUNT, Wrong::new("this is not used with this grant", "write grant = \"service-account\""));
        }
    }

    /// Whether there is a proof where one has to be.
    fn check_presence(&self, table: &Table<'_>, provider: Provider, grant: Grant, proof: Option<&str>) {
        if proof.is_some() {
            return;
        }
        match grant {
            Grant::ServiceAccount if provider == Provider::Google => table.missing(
                SERVICE_ACCOUNT,
                "write service-account = { file = \"/path\" }: the JSON key that the Cloud console lets you download",
            ),
            Grant::ClientCredentials => table.missing(
                "client-secret",
                "write client-secret = { file = \"/path\" }, { env = \"NAME\" } or { credential = \"name\" }, or use certificate, \
                 pkcs12 or federated-token",
            ),
            Grant::AuthorizationCode if provider == Provider::Google => {
                let hint = "desktop clients have one, too: it stands in the JSON that the console lets you download";
                table.note_here(Wrong::new("Google refuses renewals without the client secret", hint));
            }
            Grant::ServiceAccount | Grant::AuthorizationCode | Grant::DeviceCode => {}
        }
    }

    /// Whether `client-authentication` fits what is there.
    fn check_method(&self, table: &Table<'_>, proof: Option<&str>) {
        let key = "client-authentication";
        let fault = |message: &str, hint: &str| table.fault(key, Wrong::new(message, hint));
        match (self.method, proof) {
            (None, _) | (Some(Method::None), None) => {}
            (Some(Method::Post | Method::Basic), Some("client-secret")) => {}
            (Some(Method::PrivateKeyJwt), Some("certificate" | "pkcs12" | "private-key")) => {}
            (Some(Method::None), Some(proof)) => table.note(key, format!("the {proof} is not used with \"none\"")),
            (Some(Method::Post | Method::Basic), _) => {
                fault("there is no client-secret to authenticate with", "add client-secret, or write \"none\"");
            }
            (Some(Method::PrivateKeyJwt), Some("federated-token")) => {
                fault("the federated token is the assertion already", "take this key out");
            }
            (Some(Method::PrivateKeyJwt), _) => {
                fault("there is no private key to sign with", "add certificate or pkcs12, or private-key alone");
            }
        }
    }

    fn proof(&mut self, proof: Option<&str>) -> Option<Proof> {
        if self.method == Some(Method::None) {
            return Some(Proof::None);
        }
        Some(match proof {
            Some("client-secret") => {
                let method = if self.method == Some(Method::Basic) { SecretMethod::Basic } else { SecretMethod::Post };
                Proof::Secret { source: self.secret.take()?, method }
            }
            Some("certificate") => {
                let (certificate, private_key) = (self.certificate.take()?, self.private_key.take());
                if self.has("private-key") && private_key.is_none() {
                    return None;
                }
                Proof::Certificate(Certificate::Pem { certificate, private_key })
            }
            Some("pkcs12") => {
                let (file, password) = (self.pkcs12.take()?, self.pkcs12_password.take());
                Proof::Certificate(Certificate::Pkcs12 { file, password })
            }
            Some("private-key") => Proof::PrivateKey(self.private_key.take()?),
            Some("federated-token") => Proof::FederatedToken(self.federated_token.take()?),
            _ => Proof::None,
        })
    }
}

/// Proofs that the provider does not take.
fn check_provider(table: &Table<'_>, provider: Provider, proof: Option<&'static str>) -> Option<()> {
    let (key, message, hint) = match (provider, proof) {
        (Provider::Google, Some(key @ ("certificate" | "pkcs12" | "private-key" | "federated-token"))) => {
            (key, "Google takes no assertion of a client", "write client-secret, or use grant = \"service-account\"")
        }
        (Provider::Microsoft, Some(key @ "private-key")) => (
            key,
            "Microsoft knows keys by their certificate, and there is none",
            "add certificate = \"/path\": the one uploaded to the app registration",
        ),
        _ => return Some(()),
    };
    table.fault(key, Wrong::new(message, hint));
    None
}
