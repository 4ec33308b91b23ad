//! A mail server with implicit TLS that says what it is told to, under a certificate of its own; and ports where nobody answers.

use super::free_port;
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

/// A running server. Its threads end with their connections, the last one with the process.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    /// The authority that vouches for it, in PEM.
    pub(crate) ca: String,
}

/// What it is.
pub(crate) struct Script<'a> {
    /// The names of its certificate.
    pub(crate) names: &'a [&'a str],
    /// The year in which the certificate ends.
    pub(crate) until: i32,
    /// The answer to EHLO, with its line ends.
    pub(crate) ehlo: &'static str,
}

impl Default for Script<'_> {
    fn default() -> Self {
        let ehlo = "250-scripted.example\r\n250-AUTH XOAUTH2\r\n250 SIZE 1000000\r\n";
        Self { names: &["localhost", "127.0.0.1"], until: 2090, ehlo }
    }
}

impl Scripted {
    pub(crate) fn start(script: &Script<'_>) -> Self {
        let (config, ca) = certified(script);
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (address, ehlo) = (socket.local_addr().expect("an address"), script.ehlo);
        thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let config = config.clone();
                thread::spawn(move || drop(serve(stream, config, ehlo)));
            }
        });
        Self { address, ca }
    }
}

fn certified(script: &Script<'_>) -> (Arc<ServerConfig>, String) {
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "scripted CA");
    let issuer = rcgen::CertifiedIssuer::self_signed(ca, rcgen::KeyPair::generate().expect("a key")).expect("a CA");
    let names: Vec<String> = script.names.iter().map(|name| (*name).to_owned()).collect();
    let mut leaf = rcgen::CertificateParams::new(names).expect("names");
    leaf.not_after = rcgen::date_time_ymd(script.until, 1, 1);
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = leaf.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).expect("a server");
    (Arc::new(config), issuer.pem())
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, ehlo: &str) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut server = BufReader::new(StreamOwned::new(connection, stream));
    server.get_mut().write_all(b"220 scripted.example ESMTP\r\n")?;
    loop {
        let mut line = String::new();
        if server.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let answer = if line.starts_with("EHLO ") { ehlo } else { "502 5.5.1 not here\r\n" };
        server.get_mut().write_all(answer.as_bytes())?;
    }
}

/// A loopback address and port that nobody answers: its queue of connections is full.
pub(crate) struct Silent {
    pub(crate) address: SocketAddr,
    _listener: TcpListener,
    _connections: Vec<TcpStream>,
}

impl Silent {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (listener, connections) = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
            let listener = socket.listen(1).expect("it listens");
            let address = listener.local_addr().expect("an address");
            let attempt = || tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address));
            let mut filling = Vec::new();
            while let Ok(connected) = attempt().await {
                filling.push(connected.and_then(tokio::net::TcpStream::into_std).expect("it is connected"));
            }
            (listener.into_std().expect("a listener"), filling)
        });
        let address = listener.local_addr().expect("an address");
        Self { address, _listener: listener, _connections: connections }
    }
}

/// An HTTP server that gives everybody the same page, as a network does that wants a login first.
pub(crate) fn portal() -> SocketAddr {
    let page = "<!DOCTYPE html><html><head><title>Sign in to the network</title></head></html>";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
    one_answer(format!("{head}Content-Length: {}\r\n\r\n{page}", page.len()))
}

/// An HTTP server that gives everybody the same answer, and then no more.
pub(crate) fn one_answer(answer: String) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || drop(give(stream, &answer)));
        }
    });
    address
}

fn give(stream: TcpStream, answer: &str) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? < 3 {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    // What is not read would break the connection before the answer arrives.
    io::Read::read_exact(&mut reader, &mut vec![0; length])?;
    reader.get_mut().write_all(answer.as_bytes())
}

/// An address at which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}
