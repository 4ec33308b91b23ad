//! The TLS handshake with an app: bounded in time, and when it fails, in words that say what to set where.

use super::{PeerCertificate, stream::Wire};
use rustls::{
    AlertDescription, Error as TlsError, InvalidMessage, PeerIncompatible, ProtocolVersion, ServerConfig, ServerConnection,
    pki_types::CertificateDer,
};
use std::{fmt, io, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_parser::{extensions::GeneralName, prelude::FromDer, x509::X509Name};

/// Longest handshake. Devices need seconds to compute one; who waits for a greeting in clear will never begin it.
const LONGEST: Duration = Duration::from_secs(60);

/// About an app that ends the handshake well and says nothing: some look at the certificate only then, as GnuTLS does.
pub(super) const SILENT: &str = "the app may not trust the listener's certificate; its own log may say more. A port scan or a health check \
                                 ends in the same way";

/// How a handshake begins (RFC 8446 §5.1: content type 22).
const HANDSHAKE: u8 = 0x16;

/// Names kept of one certificate.
const MOST_NAMES: usize = 32;

/// Why there is no TLS.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing came.
    Silence,
    /// It began, and did not end in time.
    TooSlow,
    /// The app closed the connection.
    Closed,
    /// What came is no handshake; its first octet.
    Plain(u8),
    /// The two sides do not agree.
    Tls(TlsError),
    /// The connection broke.
    Broken(io::Error),
}

/// What the handshake found out.
#[derive(Debug)]
pub(super) struct Encrypted {
    pub(super) stream: Box<TlsStream<Wire>>,
    /// `TLSv1.3`.
    pub(super) version: &'static str,
    pub(super) certificate: Option<PeerCertificate>,
}

/// Shakes hands. Where what came is no TLS, the wire is given back: the app may be told in clear.
pub(super) async fn shake(mut wire: Wire, config: Arc<ServerConfig>) -> Result<Encrypted, (Failure, Option<Wire>)> {
    let deadline = Instant::now() + LONGEST;
    match timeout_at(deadline, wire.peek()).await {
        Err(_) => return Err((Failure::Silence, Some(wire))),
        Ok(Err(error)) => return Err((Failure::Broken(error), None)),
        Ok(Ok(None)) => return Err((Failure::Closed, None)),
        Ok(Ok(Some(HANDSHAKE))) => {}
        Ok(Ok(Some(other))) => return Err((Failure::Plain(other), Some(wire))),
    }
    match timeout_at(deadline, TlsAcceptor::from(config).accept(wire)).await {
        Err(_) => Err((Failure::TooSlow, None)),
        Ok(Err(error)) => Err((Failure::of(error), None)),
        Ok(Ok(stream)) => {
            let connection = stream.get_ref().1;
            let version = version(connection);
            let certificate = connection.peer_certificates().and_then(|chain| chain.first()).map(certificate);
            Ok(Encrypted { stream: Box::new(stream), version, certificate })
        }
    }
}

impl Failure {
    fn of(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
            Some(error) => Self::Tls(error.clone()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Broken(error),
        }
    }

    /// What to do about it.
    pub(super) fn advice(&self, is_implicit: bool) -> &'static str {
        match self {
            Self::Silence | Self::Plain(_) if is_implicit => {
                "this listener speaks TLS from the first octet: set the app to SSL/TLS (\"implicit\", often port 465), or point it to a \
                 listener with tls = \"starttls\" or \"off\""
            }
            Self::Silence | Self::Plain(_) => {
                "the app said STARTTLS and then went on in clear text: set it to no encryption, or update it"
            }
            Self::TooSlow => "see to the network, or to a device that is too slow for TLS",
            Self::Closed => {
                "the app may not trust the certificate, or know no protocol that is spoken here; its own log may say more"
            }
            Self::Broken(_) => "see to the network",
            Self::Tls(error) => advice(error),
        }
    }
}

/// Whether the app knows nothing newer than TLS 1.1: it says so, or leaves out what came with TLS 1.2.
fn is_old(error: &TlsError) -> bool {
    matches!(
        error,
        TlsError::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) | TlsError::AlertReceived(AlertDescription::ProtocolVersion)
    )
}

fn advice(error: &TlsError) -> &'static str {
    const OLD: &str = "TLS 1.0 and 1.1 are not spoken here: update the app, or give it a listener with tls = \"off\" on a network that you \
                       trust";
    const TRUST: &str = "the app does not trust the listener's certificate: install its CA there, use a certificate that it trusts, or \
                         check that the name that the app connects to stands in it and that both clocks are right";
    match error {
        error if is_old(error) => OLD,
        TlsError::PeerIncompatible(_) => {
            "the app offers only ciphers or curves that are no longer safe: update it, try a certificate with an RSA key, or give it a \
             listener with tls = \"off\" on a network that you trust"
        }
        TlsError::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked,
        ) => TRUST,
        TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented => {
            "the app showed a certificate that none of the listener's client-ca issued, or that has ended: renew it, or let the app show \
             none"
        }
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the app went on in clear text: set it to the listener's `tls`"
        }
        _ => "the app's own log may say more",
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("no TLS handshake came; the app seems to wait for a greeting in clear text"),
            Self::TooSlow => f.write_str("the TLS handshake did not end in time"),
            Self::Closed => f.write_str("the app closed the connection within the TLS handshake"),
            Self::Plain(octet) if octet.is_ascii_graphic() || octet.is_ascii_whitespace() => {
                f.write_str("the app speaks plain SMTP where a TLS handshake was due")
            }
            Self::Plain(0x80) => f.write_str("the app begins with SSL 2, which nobody speaks any more"),
            Self::Plain(_) => f.write_str("something else came where a TLS handshake was due"),
            Self::Tls(error) if is_old(error) => f.write_str("the app offers only TLS 1.0 or 1.1"),
            Self::Tls(TlsError::PeerIncompatible(
                PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon,
            )) => f.write_str("the app offers no cipher or key exchange that is spoken here"),
            Self::Tls(error) => write!(f, "the TLS handshake failed: {error}"),
            Self::Broken(error) => write!(f, "the connection broke within the TLS handshake: {error}"),
        }
    }
}

fn version(connection: &ServerConnection) -> &'static str {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    }
}

/// Which certificate it was; it is verified already.
fn certificate(der: &CertificateDer<'_>) -> PeerCertificate {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let sha256 = digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    PeerCertificate { sha256, names: names(der).unwrap_or_default() }
}

fn names(der: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    let mut names = Vec::new();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        for name in &alternative.value.general_names {
            if let GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) = name {
                names.push((*name).to_owned());
            }
        }
    }
    names.extend(common_name(certificate.subject()).map(str::to_owned));
    names.truncate(MOST_NAMES);
    Some(names)
}

fn common_name<'a>(subject: &'a X509Name<'_>) -> Option<&'a str> {
    subject.iter_common_name().next()?.as_str().ok()
}
