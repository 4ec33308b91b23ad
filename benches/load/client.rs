//! The load: a lock-step client, as legacy apps are. It logs in once per connection where there is a password, then sends MAIL, RCPT,
//! DATA, message, each after the reply to the one before. The same for whoever is measured.

use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::Barrier,
    task::JoinHandle,
    time::timeout,
};

/// Longest wait for one reply; beyond it the row has failed.
const REPLY: Duration = Duration::from_secs(120);

/// What goes ahead unmeasured, so that what is measured is warm.
const WARM_UP: usize = 10_000;

/// How much is sent at once, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// At most so many messages.
    pub(crate) messages: usize,
    /// No message begins later than this.
    pub(crate) within: Duration,
    pub(crate) octets: usize,
}

/// Whom it is sent to.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) smtp: SocketAddr,
    /// User and password.
    pub(crate) login: Option<(String, String)>,
}

/// How long one message took.
#[derive(Clone, Copy)]
pub(crate) struct Wait {
    /// From MAIL to the final reply.
    pub(crate) whole: Duration,
    /// From the message's last octet to the final reply.
    pub(crate) last: Duration,
}

/// Connections that are logged in and have sent one message each.
pub(crate) struct Warm {
    clients: Vec<JoinHandle<Vec<Wait>>>,
    gate: Arc<Barrier>,
}

impl Warm {
    /// Opens the connections of `load`.
    pub(crate) async fn up(server: &Server, load: Load) -> Self {
        let (octets, small) = (message(load.octets), message(WARM_UP));
        let left = Arc::new(AtomicUsize::new(load.messages));
        let gate = Arc::new(Barrier::new(load.connections + 1));
        let client = |_| {
            let (server, octets, small, left, gate) = (server.clone(), octets.clone(), small.clone(), left.clone(), gate.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(&server).await;
                client.send(&small).await;
                gate.wait().await;
                gate.wait().await;
                let (begun, mut waits) = (Instant::now(), Vec::new());
                let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
                while begun.elapsed() < load.within && take() {
                    waits.push(client.send(&octets).await);
                }
                waits
            })
        };
        let clients = (0..load.connections).map(client).collect();
        gate.wait().await;
        Self { clients, gate }
    }

    /// Lets them send; gives how long each message took.
    pub(crate) async fn send(self) -> Vec<Wait> {
        self.gate.wait().await;
        let mut waits = Vec::new();
        for client in self.clients {
            waits.extend(client.await.expect("a client of the load failed; its message stands above"));
        }
        waits
    }
}

/// One connection of the load.
struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Client {
    async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.smtp).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket option");
        let (reader, writer) = stream.into_split();
        let mut client = Self { reader: BufReader::new(reader), writer };
        client.expect("220").await;
        client.say(b"EHLO load.example\r\n", "250").await;
        if let Some((user, password)) = &server.login {
            let login = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
            client.say(format!("AUTH PLAIN {login}\r\n").as_bytes(), "235").await;
        }
        client
    }

    async fn say(&mut self, octets: &[u8], code: &str) {
        self.write(octets).await;
        self.expect(code).await;
    }

    async fn write(&mut self, octets: &[u8]) {
        timeout(REPLY, self.writer.write_all(octets)).await.expect("it reads in time").expect("it reads");
    }

    async fn expect(&mut self, code: &str) {
        let mut line = String::new();
        loop {
            line.clear();
            timeout(REPLY, self.reader.read_line(&mut line)).await.expect("a reply in time").expect("a reply");
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        assert!(line.starts_with(code), "expected {code}, got {line}");
    }

    async fn send(&mut self, message: &[u8]) -> Wait {
        let begun = Instant::now();
        self.say(b"MAIL FROM:<load@example.com>\r\n", "250").await;
        self.say(b"RCPT TO:<team@example.org>\r\n", "250").await;
        self.say(b"DATA\r\n", "354").await;
        self.write(message).await;
        let written = Instant::now();
        self.expect("250").await;
        Wait { whole: begun.elapsed(), last: written.elapsed() }
    }
}

/// A message of about `octets`, with its final dot.
fn message(octets: usize) -> Arc<[u8]> {
    let mut message = b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nFrom: load@example.com\r\nTo: team@example.org\r\n\
        Message-ID: <load@load.example>\r\nSubject: load\r\n\r\n"
        .to_vec();
    while message.len() < octets {
        message.extend_from_slice(b"The quick brown fox jumps over the lazy dog, and so on to the line's end.\r\n");
    }
    message.extend_from_slice(b".\r\n");
    message.into()
}
