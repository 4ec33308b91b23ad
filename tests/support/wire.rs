//! An SMTP client over whatever carries octets, encrypted or not, and certificates to encrypt with.

use super::{LONG, SOON};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

/// One that speaks in lines.
pub(crate) struct Wire<S: Read + Write>(pub(crate) BufReader<S>);

/// A connection to `address`, with a deadline on every read.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, SOON).unwrap_or_else(|e| panic!("nobody listens on {address}: {e}"));
    stream.set_read_timeout(Some(LONG)).expect("a time-out can be set");
    stream
}

impl<S: Read + Write> Wire<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// The next reply, all its lines; empty when the server closed.
    pub(crate) fn reply(&mut self) -> String {
        let mut all = String::new();
        loop {
            let before = all.len();
            let count = self.0.read_line(&mut all).unwrap_or_default();
            if count == 0 || all.as_bytes().get(before + 3) != Some(&b'-') {
                return all;
            }
        }
    }

    pub(crate) fn write(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).and_then(|()| self.0.get_mut().flush()).expect("it can be sent");
    }

    pub(crate) fn say(&mut self, line: &str) -> String {
        self.write(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// Logs in with PLAIN.
    pub(crate) fn login(&mut self, user: &str, password: &str) -> String {
        use base64::{Engine, prelude::BASE64_STANDARD};
        self.say(&format!("AUTH PLAIN {}", BASE64_STANDARD.encode(format!("\0{user}\0{password}"))))
    }

    /// Sends one message; gives the reply that ended it.
    pub(crate) fn send(&mut self, message: &str) -> String {
        for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<team@example.org>", "DATA"] {
            let said = self.say(line);
            if !said.starts_with(['2', '3']) {
                return said;
            }
        }
        self.say(&format!("{message}\r\n."))
    }

    /// All until the server closes.
    pub(crate) fn rest(&mut self) -> String {
        let mut all = Vec::new();
        _ = self.0.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// A CA that makes certificates for servers on this machine, and for clients.
pub(crate) struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(rcgen::CertifiedIssuer::self_signed(params, key).expect("a CA"))
    }

    /// A CA that this one vouches for.
    pub(crate) fn below(&self, name: &str) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(rcgen::CertifiedIssuer::signed_by(params, key, &self.0).expect("a CA"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `names` and its key in PEM form; it ends after `days`.
    pub(crate) fn issue(&self, names: &[&str], days: u64) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).expect("names");
        let day = std::time::Duration::from_secs(86_400);
        params.not_before = (std::time::SystemTime::now() - day).into();
        params.not_after = (std::time::SystemTime::now() + day * u32::try_from(days).expect("few")).into();
        params.distinguished_name.push(rcgen::DnType::CommonName, names[0]);
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a server's certificate and key as a careful program does: each whole and at once.
    pub(crate) fn write(&self, directory: &Path, days: u64) {
        let (certificate, key) = self.issue(&["localhost", "127.0.0.1"], days);
        for (name, text) in [("cert.pem", certificate), ("key.pem", key)] {
            let new = directory.join(format!("{name}.new"));
            fs::write(&new, text).expect("it can be written");
            fs::rename(new, directory.join(name)).expect("it can be put in its place");
        }
    }

    /// TLS with a server that this CA vouches for; `client` is a certificate to show, and its key.
    pub(crate) fn client(&self, client: Option<&(String, String)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).expect("a certificate")).expect("a CA");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let builder = builder.with_root_certificates(roots);
        Arc::new(match client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
                builder
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key"))
                    .expect("they fit")
            }
        })
    }
}

/// Encrypts `stream`; the handshake is done when this returns, as far as the client knows.
pub(crate) fn encrypt<S: Read + Write>(
    mut stream: S,
    config: &Arc<ClientConfig>,
) -> std::io::Result<StreamOwned<ClientConnection, S>> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(config.clone(), name).expect("a configuration that can be used");
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}
