//! Whom we trust, and what we show: one rustls configuration for the provider's SMTP server, one for our own listeners, one HTTPS client
//! for token endpoints, and the way it takes.
//!
//! Layer 3. Certificates are always verified, by the system's trust store and, per link, a private CA besides it; TLS 1.2 at least.

mod proxy;
mod seen;
mod server;

pub use proxy::Proxy;
pub use seen::{Certificate, Seen};
pub use server::server_config;

use rustls::{
    ClientConfig, RootCertStore, client::danger::ServerCertVerifier, pki_types::CertificateDer, pki_types::pem::PemObject,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Longest wait for one HTTP exchange with a token endpoint, connect and TLS included.
pub const HTTP_WAIT: Duration = Duration::from_secs(30);

/// Longest wait for an HTTPS connection.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The private CA could not be read.
    #[error("cannot read certificates from {}: {why}; give a file with one or more PEM certificates as ca-file", file.display())]
    CaFile {
        /// Which file.
        file: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// The system's trust store could not be used.
    #[error("cannot set up certificate verification: {0}; on Debian the package ca-certificates brings the trust store")]
    Verifier(rustls::Error),
    /// No TLS towards apps.
    #[error("cannot set up TLS towards apps: {0}")]
    Server(String),
    /// The HTTPS client could not be built.
    #[error("cannot set up the HTTPS client: {0}")]
    Client(reqwest::Error),
}

/// Chooses aws-lc-rs for every TLS connection of the process; must be called once before any other function here.
pub fn choose_provider() {
    // A second call finds the first one's choice: the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// The configuration for a TLS client that trusts the system's store, and the certificates of `ca_file` besides it.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    configured(|verifier| verifier, ca_file)
}

/// The same, with what the server shows.
pub fn watching_config(ca_file: Option<&Path>) -> Result<(Arc<ClientConfig>, Arc<Seen>), Error> {
    let seen = Arc::<Seen>::default();
    let watching = |verifier| Arc::new(seen::Watching { verifier, seen: seen.clone() }) as Arc<dyn ServerCertVerifier>;
    Ok((configured(watching, ca_file)?, seen))
}

fn configured(
    wrap: impl FnOnce(Arc<dyn ServerCertVerifier>) -> Arc<dyn ServerCertVerifier>,
    ca_file: Option<&Path>,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let extra = ca_file.map(certificates).transpose()?.unwrap_or_default();
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone()).map_err(Error::Verifier)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Verifier)?
        .dangerous() // A misnomer here: the verifier given is the system's own.
        .with_custom_certificate_verifier(wrap(Arc::new(verifier)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// An HTTPS client with the same trust; every exchange ends within [`HTTP_WAIT`], and redirects are not followed: a token endpoint has none.
pub fn https_client(ca_file: Option<&Path>, proxy: &Proxy) -> Result<reqwest::Client, Error> {
    client(&*client_config(ca_file)?, proxy, (CONNECT_WAIT, HTTP_WAIT))
}

/// The same for a look at an endpoint that ends after `wait`, with what the server shows.
pub fn watching_client(ca_file: Option<&Path>, proxy: &Proxy, wait: Duration) -> Result<(reqwest::Client, Arc<Seen>), Error> {
    let (config, seen) = watching_config(ca_file)?;
    Ok((client(&config, proxy, (wait, wait))?, seen))
}

fn client(config: &ClientConfig, proxy: &Proxy, (connect, all): (Duration, Duration)) -> Result<reqwest::Client, Error> {
    let builder = proxy.lead(reqwest::Client::builder()).map_err(Error::Client)?;
    builder
        .tls_backend_preconfigured(config.clone())
        .timeout(all)
        .connect_timeout(connect)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("outlink/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(Error::Client)
}

/// The certificates of a PEM file, at least one, each fit to be a trust anchor.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let fault = |why: String| Error::CaFile { file: file.to_owned(), why };
    let found: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|e| fault(e.to_string()))?;
    if found.is_empty() {
        return Err(fault("it holds no certificate".into()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        roots.add(certificate.clone()).map_err(|e| fault(e.to_string()))?;
    }
    Ok(found)
}
