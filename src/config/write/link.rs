//! A link as a command writes it: what was given, in the order of the provider's page.

use super::{Document, Kind, SecretText};
use crate::{
    mail::Name,
    provider::{Cloud, Grant, Provider},
};
use std::path::PathBuf;

/// What was given; the rest is the preset's.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each field is the key of this name")]
pub struct Link {
    pub provider: Provider,
    pub cloud: Option<Cloud>,
    pub tenant: Option<String>,
    pub grant: Grant,
    pub client_id: Option<String>,
    pub client_secret: Option<SecretText>,
    pub client_secret_expires: Option<String>,
    pub client_authentication: Option<String>,
    pub certificate: Option<PathBuf>,
    pub private_key: Option<SecretText>,
    pub key_id: Option<String>,
    pub pkcs12: Option<PathBuf>,
    pub pkcs12_password: Option<SecretText>,
    pub federated_token: Option<PathBuf>,
    pub service_account: Option<SecretText>,
    pub scopes: Vec<String>,
    pub authorization_endpoint: Option<String>,
    pub token_endpoint: Option<String>,
    pub device_endpoint: Option<String>,
    pub revocation_endpoint: Option<String>,
    pub issuer: Option<String>,
    pub redirect_url: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub proxy: Option<String>,
    pub proxy_user: Option<String>,
    pub proxy_password: Option<SecretText>,
    pub parameters: Vec<(String, String)>,
}

impl Link {
    /// Its file.
    pub fn document(&self, name: &Name) -> Document {
        let mut document = Document::new(Kind::Link, name);
        document.text("provider", Some(&self.provider.to_string()));
        document.text("cloud", self.cloud.map(|cloud| cloud.to_string()).as_deref());
        document.text("tenant", self.tenant.as_deref());
        document.text("grant", Some(&self.grant.to_string()));
        document.text("client-id", self.client_id.as_deref());
        self.proof(&mut document);
        if self.scopes.is_empty() && self.provider != Provider::Custom {
            document.comment("Scopes and endpoints are the provider's, unless they are written here.");
        }
        document.list("scopes", &self.scopes);
        document.text("authorization-endpoint", self.authorization_endpoint.as_deref());
        document.text("token-endpoint", self.token_endpoint.as_deref());
        document.text("device-endpoint", self.device_endpoint.as_deref());
        document.text("revocation-endpoint", self.revocation_endpoint.as_deref());
        document.text("issuer", self.issuer.as_deref());
        document.text("redirect-url", self.redirect_url.as_deref());
        document.path("ca-file", self.ca_file.as_deref());
        document.text("proxy", self.proxy.as_deref());
        document.text("proxy-user", self.proxy_user.as_deref());
        document.secret("proxy-password", self.proxy_password.as_ref());
        document.table("parameters", &self.parameters);
        document
    }

    fn proof(&self, document: &mut Document) {
        let secrets =
            [&self.client_secret, &self.private_key, &self.pkcs12_password, &self.service_account, &self.proxy_password];
        if secrets.iter().any(|secret| matches!(secret, Some(SecretText::Sealed(_)))) {
            document.comment("Sealed values open with the key in the state directory alone, each at its own place in this link.");
        }
        document.secret("client-secret", self.client_secret.as_ref());
        document.date("client-secret-expires", self.client_secret_expires.as_deref());
        document.text("client-authentication", self.client_authentication.as_deref());
        document.path("certificate", self.certificate.as_deref());
        document.secret("private-key", self.private_key.as_ref());
        document.text("key-id", self.key_id.as_deref());
        document.path("pkcs12", self.pkcs12.as_deref());
        document.secret("pkcs12-password", self.pkcs12_password.as_ref());
        document.path("federated-token", self.federated_token.as_deref());
        document.secret("service-account", self.service_account.as_ref());
    }
}
