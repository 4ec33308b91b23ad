//! The sandbox over real loopback sockets: tokens, dialogues, faults.

mod assertions;
mod consents;
mod crashes;
mod devices;
mod dialogues;
mod ends;
mod faults;
mod grants;
mod revocations;
mod service_accounts;
mod spoken;
mod written;

use super::*;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const WAIT: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

struct Client(BufStream<Box<dyn Stream>>);

impl Client {
    async fn plain(address: SocketAddr) -> Self {
        Self(BufStream::new(Box::new(TcpStream::connect(address).await.unwrap())))
    }

    /// A client that has said EHLO under TLS.
    async fn secure(provider: &Provider) -> Self {
        let mut client = Self::plain(provider.smtp()).await;
        if !provider.shared.personality.implicit_tls {
            client.read().await;
            assert!(!client.ask("EHLO relay.example.com").await.contains("AUTH"), "no AUTH before TLS");
            assert!(client.ask("AUTH XOAUTH2").await.starts_with("530"));
            assert!(client.ask("STARTTLS").await.starts_with("220"));
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(provider.ca_pem().as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, client.0.into_inner()).await.unwrap();
        let mut client = Self(BufStream::new(Box::new(stream)));
        if provider.shared.personality.implicit_tls {
            assert!(client.read().await.starts_with("220 smtp.gmail.com ESMTP"));
        }
        assert!(client.ask("EHLO relay.example.com").await.contains("AUTH"));
        client
    }

    /// A client that is logged in with a good token.
    async fn ready(provider: &Provider) -> Self {
        let mut client = Self::secure(provider).await;
        let token = provider.shared.tokens.issue(None, "c", access_scope(provider));
        assert!(client.xoauth2(ADDRESS, token.expose()).await.starts_with("235"));
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// One whole reply; empty when the connection has ended.
    async fn read(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            let read = timeout(WAIT, self.0.read_line(&mut reply)).await.expect("a reply in time");
            if read.unwrap_or(0) == 0 || reply.as_bytes().get(start + 3) == Some(&b' ') {
                return reply;
            }
        }
    }

    async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.read().await
    }

    async fn xoauth2(&mut self, user: &str, token: &str) -> String {
        assert_eq!(self.ask("AUTH XOAUTH2").await, "334 \r\n");
        self.ask(&STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"))).await
    }

    /// Sends a message by DATA, each command on its own; the last reply.
    async fn message(&mut self, text: &str) -> String {
        for command in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<a@example.com>"] {
            let reply = self.ask(command).await;
            if !reply.starts_with("250") {
                return reply;
            }
        }
        assert!(self.ask("DATA").await.starts_with("354"));
        self.send(text.as_bytes()).await;
        self.ask(".").await
    }
}

fn access_scope(provider: &Provider) -> &'static str {
    match provider.shared.options.provider {
        provider::Provider::Microsoft => "https://outlook.office365.com/.default",
        other => scope_of_smtp(other),
    }
}

fn options(provider: provider::Provider) -> Options {
    Options { provider, smtp_port: 0, http_port: 0, ..Options::default() }
}

async fn start(provider: provider::Provider) -> Provider {
    Provider::start(options(provider)).await.unwrap()
}

const GOOGLE: provider::Provider = provider::Provider::Google;
const MICROSOFT: provider::Provider = provider::Provider::Microsoft;
const CUSTOM: provider::Provider = provider::Provider::Custom;

/// One HTTP request; status, head and body.
async fn http(provider: &Provider, method: &str, path: &str, body: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(provider.http()).await.unwrap();
    let host = provider.http();
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(WAIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let end = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head[9..12].parse().unwrap(), head, answer[end + 4..].to_vec())
}

async fn http_json(provider: &Provider, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, _, body) = http(provider, method, path, body).await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn ask_token(provider: &Provider, fields: &[(&str, &str)]) -> (u16, Value) {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", provider.client_id()).append_pair("client_secret", provider.client_secret().expose());
    form.extend_pairs(fields);
    http_json(provider, "POST", "/token", &form.finish()).await
}

async fn refresh(provider: &Provider, token: &str) -> (u16, Value) {
    ask_token(provider, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}
