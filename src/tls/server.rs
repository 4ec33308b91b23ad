//! TLS towards apps: what a listener shows, and which clients it believes. TLS 1.2 and 1.3.

use super::Error;
use rustls::{
    RootCertStore, ServerConfig,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::sync::Arc;

/// A server that shows this certificate. With `client_roots` it asks clients for one issued by them, and takes those that have none.
pub fn server_config(certified: CertifiedKey, client_roots: Option<Arc<RootCertStore>>) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients: Arc<dyn ClientCertVerifier> = match client_roots {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(roots) => WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|error| Error::Server(error.to_string()))?,
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Server(error.to_string()))?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    Ok(Arc::new(config))
}
