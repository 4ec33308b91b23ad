//! A provider that each test plays by hand: a TLS server on loopback with a CA of its own.

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use std::{path::PathBuf, sync::Arc};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub(super) fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

/// Who signs the server's certificate.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
    /// The server shows the CA's own certificate.
    shows_itself: bool,
}

impl Authority {
    pub(super) fn new() -> Self {
        Self::make(false)
    }

    pub(super) fn self_signed() -> Self {
        Self::make(true)
    }

    fn make(shows_itself: bool) -> Self {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = NamedTempFile::new().unwrap();
        // Each its own name, or one authority would be taken for another with a wrong signature.
        params.distinguished_name.push(rcgen::DnType::CommonName, file.path().display().to_string());
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(file.path(), issuer.pem()).unwrap();
        Self { issuer, file, shows_itself }
    }

    pub(super) fn ca_file(&self) -> Option<PathBuf> {
        Some(self.file.path().to_owned())
    }

    fn server_config(&self, name: &str) -> ServerConfig {
        let (certificate, key) = if self.shows_itself {
            (self.issuer.der().clone(), self.issuer.key().serialize_der())
        } else {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key.serialize_der())
        };
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.into()))
            .unwrap()
    }
}

/// The listening provider.
pub(super) struct Simulated {
    authority: Authority,
    acceptor: TlsAcceptor,
    listener: TcpListener,
}

impl Simulated {
    pub(super) async fn start() -> Self {
        Self::with(Authority::new(), "127.0.0.1").await
    }

    pub(super) async fn with(authority: Authority, name: &str) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(authority.server_config(name)));
        Self { authority, acceptor, listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub(super) fn ca_file(&self) -> PathBuf {
        self.authority.file.path().to_owned()
    }

    /// Nobody listens any more.
    pub(super) fn close(self) -> Authority {
        self.authority
    }

    pub(super) async fn accept_plain(&self) -> Peer<TcpStream> {
        let (tcp, _) = self.listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Peer(BufStream::new(tcp))
    }

    pub(super) async fn secure(&self, plain: Peer<TcpStream>) -> Peer<TlsStream<TcpStream>> {
        Peer(BufStream::new(self.acceptor.accept(plain.0.into_inner()).await.unwrap()))
    }

    pub(super) async fn accept_tls(&self) -> Peer<TlsStream<TcpStream>> {
        let plain = self.accept_plain().await;
        self.secure(plain).await
    }

    /// A client that refuses the certificate.
    pub(super) async fn accept_failing(&self) {
        let (tcp, _) = self.listener.accept().await.unwrap();
        if let Ok(mut tls) = self.acceptor.accept(tcp).await {
            assert!(matches!(tls.read(&mut [0; 1]).await, Ok(0) | Err(_)), "the client went on");
        }
    }

    /// A client that is logged in.
    pub(super) async fn accept(&self, offers: &str) -> Peer<TlsStream<TcpStream>> {
        let mut peer = self.accept_tls().await;
        peer.say("220 mail.example.com ESMTP").await;
        peer.hello(offers).await;
        peer.login().await;
        peer
    }
}

/// One connection, seen from the provider.
pub(super) struct Peer<S>(BufStream<S>)
where
    S: AsyncRead + AsyncWrite;

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(super) async fn say(&mut self, text: &str) {
        self.say_raw(&format!("{text}\r\n")).await;
    }

    pub(super) async fn say_raw(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    pub(super) async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("a command without line end: {line:?}")).to_owned()
    }

    pub(super) async fn lines(&mut self, count: usize) {
        for _ in 0..count {
            self.line().await;
        }
    }

    pub(super) async fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        self.0.read_exact(&mut octets).await.unwrap();
        octets
    }

    /// A message by DATA, with its final dot.
    pub(super) async fn until_dot(&mut self) -> Vec<u8> {
        let mut message = Vec::new();
        loop {
            let begin = message.len();
            assert!(self.0.read_until(b'\n', &mut message).await.unwrap() > 0, "the message has no end");
            if &message[begin..] == b".\r\n" {
                return message;
            }
        }
    }

    /// Everything until the client is gone.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // How the client left does not matter here.
        let _ = self.0.read_to_end(&mut rest).await;
        rest
    }

    pub(super) async fn close(mut self) {
        self.0.shutdown().await.unwrap();
    }

    pub(super) async fn hello(&mut self, offers: &str) {
        assert_eq!(self.line().await, "EHLO relay.example.com");
        let offers: String = offers.split(' ').map(|offer| format!("250-{offer}\r\n")).collect();
        self.say(&format!("250-hello\r\n{offers}250 AUTH XOAUTH2")).await;
    }

    pub(super) async fn login(&mut self) {
        assert_eq!(self.line().await, "AUTH XOAUTH2");
        self.say("334 ").await;
        assert_eq!(self.line().await, encoded("user=a@example.com\x01auth=Bearer marked-token\x01\x01"));
        self.say("235 2.7.0 accepted").await;
    }

    /// Takes a message by pipelined DATA.
    pub(super) async fn take_by_data(&mut self, recipients: usize) -> Vec<u8> {
        self.lines(1 + recipients).await;
        assert_eq!(self.line().await, "DATA");
        self.say(&format!("250 ok\r\n{}354 go", "250 ok\r\n".repeat(recipients))).await;
        let message = self.until_dot().await;
        self.say("250 2.0.0 taken").await;
        message
    }
}
