//! A certificate authority made at start and forgotten at the end, and the TLS server that it vouches for; certificates for the
//! OAuth client.

use crate::secret::Secret;
use chrono::{Datelike as _, NaiveDate};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use std::sync::Arc;

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0}")]
    Certificate(#[from] rcgen::Error),
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("the key is not usable: {0}")]
    Key(&'static str),
}

/// The server's TLS configuration, and the PEM of the authority that clients are to trust.
pub(super) fn make() -> Result<(Arc<ServerConfig>, String), Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "outlink sandbox CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);

    let mut params = CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(String::from))?;
    params.distinguished_name.push(DnType::CommonName, "outlink sandbox");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let leaf = params.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(Error::Key)?;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone(), authority.der().clone()], key)?;
    Ok((Arc::new(config), authority.pem()))
}

/// A certificate for a client's assertions and its key, both in PEM. Of RSA, as Microsoft takes no other. It counts until the end of
/// the day `until`.
pub(super) fn client(until: Option<NaiveDate>) -> Result<(String, Secret), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    if let Some(end) = until.and_then(|last| last.succ_opt()) {
        let part = |number: u32| u8::try_from(number).unwrap_or(1);
        params.not_after = rcgen::date_time_ymd(end.year(), part(end.month()), part(end.day()));
    }
    params.distinguished_name.push(DnType::CommonName, "outlink sandbox client");
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)?;
    Ok((params.self_signed(&key)?.pem(), Secret::new(key.serialize_pem())))
}
