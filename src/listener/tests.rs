//! The listener over real loopback sockets, with a host that keeps what it is given.

use super::*;
use crate::{
    config::{App, Auth, Bind, Delivery, Listener, ListenerLimits, ListenerTls},
    mail::{Address, Case, Envelope, Name, Recipient},
    secret::{PasswordHash, Secret},
    smtp::Reply,
    store::{Body, Spool},
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
    time::timeout,
};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn listener() -> Listener {
    Listener {
        name: Name::parse("local").unwrap(),
        bind: Bind::Tcp("127.0.0.1:0".parse().unwrap()),
        socket_mode: 0o660,
        socket_group: None,
        tls: ListenerTls::Off,
        auth: Auth::Required,
        allow_plaintext_auth: false,
        networks: vec!["127.0.0.0/8".parse().unwrap()],
        proxy_protocol_from: vec![],
        delivery: Delivery::Direct,
        direct_wait: Duration::from_secs(60),
        limits: ListenerLimits {
            message_size: 1_000_000,
            recipients: 100,
            connections: 100,
            connections_per_address: 100,
            errors: 10,
            idle: PATIENCE,
        },
        repair: crate::mail::Repair::Standard,
    }
}

fn app() -> Arc<App> {
    Arc::new(App {
        name: Name::parse("crowd").unwrap(),
        user: "crowd".into(),
        enabled: true,
        passwords: vec![],
        networks: vec![],
        certificates: vec![],
        unix_users: vec![],
        limits: crate::config::AppLimits::default(),
        allowed_from: None,
        allowed_recipients: None,
        mailbox: crate::config::Route::Listed(vec![Name::parse("alerts").unwrap()]),
        delivery: None,
        direct_wait: None,
        expire_after: None,
        warn_after: None,
        bounce_to: None,
        repair: None,
    })
}

fn hash() -> PasswordHash {
    PasswordHash::make(&Secret::new("secret".into()), &[1; 16]).unwrap()
}

#[derive(Default)]
struct FakeHost {
    is_known: bool,
    /// `message` waits for it where set.
    gate: Option<Arc<Semaphore>>,
    reached: Notify,
    taken: Mutex<Vec<Submission>>,
}

impl Host for FakeHost {
    fn known(&self, _: &Listener, _: &Peer) -> Option<Arc<App>> {
        self.is_known.then(app)
    }

    async fn authenticate(&self, _: &Listener, _: &Peer, user: &str, password: Secret) -> Result<Login, Reply> {
        let is_right = user == "crowd" && password.expose() == "secret";
        if is_right { Ok(Login { app: app(), hash: hash() }) } else { Err(crate::smtp::server::authentication_failed()) }
    }

    fn still(&self, _: &Listener, _: &Peer, _: &App, _: Option<&PasswordHash>) -> Result<(), Reply> {
        Ok(())
    }

    fn mail(&self, _: &Listener, _: &App, sender: Option<&Address>) -> Result<(), Reply> {
        let is_denied = sender.is_some_and(|sender| sender.local() == "denied");
        if is_denied { Err(Reply::new(550, Some((7, 1)), "not yours")) } else { Ok(()) }
    }

    fn case(&self, _: &Listener, _: &App, envelope: &Envelope) -> Case {
        Case { author: envelope.sender.clone(), ..Case::default() }
    }

    fn recipient(&self, _: &Listener, _: &App, accepted: usize, _: &Recipient) -> Result<(), Reply> {
        if accepted < 2 { Ok(()) } else { Err(Reply::new(452, Some((5, 3)), "enough")) }
    }

    async fn message(self: Arc<Self>, submission: Submission) -> Reply {
        self.reached.notify_one();
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        let reply = Reply::new(250, Some((0, 0)), format!("accepted as {}", submission.id));
        self.taken.lock().unwrap().push(submission);
        reply
    }
}

struct Served {
    address: SocketAddr,
    host: Arc<FakeHost>,
    stop: watch::Sender<bool>,
    running: Running<FakeHost>,
    sockets: Vec<Arc<Socket>>,
    task: JoinHandle<()>,
    directory: tempfile::TempDir,
}

impl Served {
    async fn start(listener: Listener, host: FakeHost) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path().join("spool")).unwrap();
        let sockets = open(&listener).await;
        let address = at(&sockets);
        let (stop, stopped) = watch::channel(false);
        let host = Arc::new(host);
        let (running, serving) = serve(sockets.clone(), service(listener, &host, spool), stopped);
        Self { address, host, stop, running, sockets, task: tokio::spawn(serving), directory }
    }

    fn spool(&self) -> Spool {
        Spool::open(self.directory.path().join("spool")).unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// All replies to `input`, sent at once, until the server closes.
    async fn talk(&self, input: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(input).await.unwrap();
        rest(&mut stream).await
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        timeout(PATIENCE, self.task).await.expect("the listener does not stop").unwrap();
    }
}

fn service(listener: Listener, host: &Arc<FakeHost>, spool: Spool) -> Service<FakeHost> {
    Service { listener: Arc::new(listener), host: host.clone(), spool, hostname: "relay.example".into(), presented: None }
}

async fn open(listener: &Listener) -> Vec<Arc<Socket>> {
    bind(listener, &mut Passed::default(), &[]).await.unwrap()
}

fn at(sockets: &[Arc<Socket>]) -> SocketAddr {
    sockets[0].address().unwrap().parse().unwrap()
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("the server does not close").unwrap();
    String::from_utf8(all).unwrap()
}

/// Reads until what came ends with `text`.
async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(text.as_bytes()) {
        let count = timeout(PATIENCE, stream.read_buf(&mut all)).await.expect("the reply does not come").unwrap();
        assert!(count > 0, "closed after {}", all.escape_ascii());
    }
    String::from_utf8(all).unwrap()
}

async fn octets(body: &Body) -> Vec<u8> {
    let (mut reader, mut all) = (body.reader().await.unwrap(), Vec::new());
    loop {
        let piece = reader.next().await.unwrap();
        if piece.is_empty() {
            return all;
        }
        all.extend_from_slice(&piece);
    }
}

fn codes(replies: &str) -> String {
    let last_lines = replies.lines().filter(|line| line.as_bytes().get(3) == Some(&b' '));
    last_lines.map(|line| &line[..3]).collect::<Vec<_>>().join(" ")
}

const LOGIN: &str = "EHLO app\r\nAUTH PLAIN AGNyb3dkAHNlY3JldA==\r\n";

#[tokio::test]
async fn a_pipelined_message_reaches_the_host_prepared() {
    let served = Served::start(listener(), FakeHost::default()).await;
    let message = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\n..a\nb\r\n.\r\n";
    let chunked = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT 4 LAST\r\nb\r\n.QUIT\r\n";
    let replies = served.talk(format!("{LOGIN}{message}{chunked}").as_bytes()).await;
    assert_eq!(codes(&replies), "220 250 235 250 250 354 250 250 250 250 221", "{replies}");
    {
        let taken = served.host.taken.lock().unwrap().clone();
        let [first, second] = taken.as_slice() else { panic!("{} messages", taken.len()) };
        let text = String::from_utf8(octets(&first.body).await).unwrap();
        assert!(text.starts_with("Received: from app ([127.0.0.1])\r\n\tby relay.example with ESMTPA id "), "{text}");
        assert!(text.contains(&first.id.to_string()) && text.contains("for <b@example.com>;"), "{text}");
        assert!(text.contains("\r\nSubject: x\r\n") && text.ends_with("\r\n\r\n.a\r\nb\r\n"), "{text}");
        assert!(octets(&second.body).await.ends_with(b"b\r\n."));
        assert_eq!((first.app.name.as_str(), first.envelope.recipients.len()), ("crowd", 1));
        assert_ne!(first.id, second.id);
    }
    served.end().await;
}

#[tokio::test]
async fn the_host_decides_about_password_sender_and_recipients() {
    let served = Served::start(listener(), FakeHost { is_known: true, ..FakeHost::default() }).await;
    let wrong = "AUTH PLAIN AGNyb3dkAHdyb25n\r\nMAIL FROM:<>\r\n";
    let senders = "MAIL FROM:<denied@b>\r\nMAIL FROM:<>\r\n";
    let recipients = "RCPT TO:<a>\r\n".repeat(3);
    let replies = served.talk(format!("{wrong}{LOGIN}{senders}{recipients}QUIT\r\n").as_bytes()).await;
    assert_eq!(codes(&replies), "220 535 530 250 235 550 250 250 250 452 221");
    served.end().await;

    // By address alone, where the listener allows that.
    let optional = Listener { auth: Auth::Optional, ..listener() };
    let served = Served::start(optional, FakeHost { is_known: true, ..FakeHost::default() }).await;
    assert_eq!(codes(&served.talk(b"MAIL FROM:<>\r\nQUIT\r\n").await), "220 250 221");
    served.end().await;
}

#[tokio::test]
async fn large_messages_go_to_a_file_and_too_large_ones_leave_nothing() {
    let served = Served::start(listener(), FakeHost::default()).await;
    let start = format!("{LOGIN}MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n");
    let line = "0123456789".repeat(7) + "\r\n";
    let fits = line.repeat(10_000);
    let replies = served.talk(format!("{start}{fits}.\r\nQUIT\r\n").as_bytes()).await;
    assert_eq!(codes(&replies), "220 250 235 250 250 354 250 221");
    let body = served.host.taken.lock().unwrap().pop().unwrap().body;
    assert!(matches!(body, Body::File(_)));
    assert!(octets(&body).await.ends_with(fits.as_bytes()));
    drop(body);
    let replies = served.talk(format!("{start}{}.\r\nQUIT\r\n", line.repeat(20_000)).as_bytes()).await;
    assert_eq!(codes(&replies), "220 250 235 250 250 354 552 221");
    assert_eq!(std::fs::read_dir(served.directory.path().join("spool")).unwrap().count(), 0);
    served.end().await;
}

#[tokio::test]
async fn a_failing_disk_is_a_temporary_refusal_after_the_whole_message() {
    let served = Served::start(listener(), FakeHost::default()).await;
    std::fs::remove_dir(served.directory.path().join("spool")).unwrap();
    let message = "a\r\n".repeat(100_000);
    let replies = served.talk(format!("{LOGIN}MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n{message}.\r\nQUIT\r\n").as_bytes()).await;
    assert!(replies.contains("\r\n451 4.3.0 "), "{replies}");
    assert_eq!(codes(&replies), "220 250 235 250 250 354 451 221");
    served.end().await;
}

#[tokio::test]
async fn connections_are_limited_and_networks_kept_out() {
    let mut limited = listener();
    limited.limits.connections_per_address = 1;
    let served = Served::start(limited, FakeHost::default()).await;
    let mut first = served.connect().await;
    until(&mut first, "outlink\r\n").await;
    assert!(rest(&mut served.connect().await).await.starts_with("421 4.7.0 "));
    drop(first);
    served.end().await;

    let elsewhere = Listener { networks: vec!["192.0.2.0/24".parse().unwrap()], ..listener() };
    let served = Served::start(elsewhere, FakeHost::default()).await;
    assert!(rest(&mut served.connect().await).await.starts_with("554 5.7.1 "));
    served.end().await;
}

#[tokio::test]
async fn idle_sessions_are_stopped_and_those_in_a_message_finish_it() {
    let gate = Arc::new(Semaphore::new(0));
    let host = FakeHost { gate: Some(Arc::clone(&gate)), ..FakeHost::default() };
    let served = Served::start(listener(), host).await;
    let (mut idle, mut busy, mut slow) = (served.connect().await, served.connect().await, served.connect().await);
    until(&mut idle, "outlink\r\n").await;
    busy.write_all(format!("{LOGIN}MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n.\r\n").as_bytes()).await.unwrap();
    served.host.reached.notified().await;
    slow.write_all(format!("{LOGIN}MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n").as_bytes()).await.unwrap();
    until(&mut slow, "dot\r\n").await;

    served.stop.send(true).unwrap();
    assert!(rest(&mut idle).await.starts_with("421 4.3.2 "));
    slow.write_all(b".\r\n").await.unwrap();
    served.host.reached.notified().await;
    gate.add_permits(2);
    assert_eq!(codes(&rest(&mut busy).await), "220 250 235 250 250 354 250 421");
    assert_eq!(codes(&rest(&mut slow).await), "250 421");
    served.end().await;
}

#[tokio::test]
async fn a_command_that_trickles_does_not_move_its_deadline() {
    let mut hasty = listener();
    hasty.limits.idle = Duration::from_millis(100);
    let served = Served::start(hasty, FakeHost::default()).await;
    let (mut read, mut write) = served.connect().await.into_split();
    let trickle = async {
        while write.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut all = Vec::new();
    tokio::select! {
        () = trickle => {}
        ended = timeout(PATIENCE, read.read_to_end(&mut all)) => {
            ended.expect("the server does not close").ok();
        }
    }
    assert_eq!(codes(&String::from_utf8(all).unwrap()), "220 421");
    served.end().await;
}

#[tokio::test]
async fn a_browser_is_sent_away() {
    let served = Served::start(listener(), FakeHost { is_known: true, ..FakeHost::default() }).await;
    let replies = served.talk(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nMAIL FROM:<>\r\n").await;
    assert_eq!(codes(&replies), "220 500");
    served.end().await;
}

#[tokio::test]
async fn new_rules_are_those_of_the_next_connection() {
    let served = Served::start(listener(), FakeHost::default()).await;
    let mut before = served.connect().await;
    until(&mut before, "outlink\r\n").await;
    let mut other = listener();
    (other.auth, other.limits.connections_per_address) = (Auth::None, 2);
    let sockets = served.sockets.clone();
    served.running.change(service(other, &served.host, served.spool()), sockets, vec![]).await;
    assert_eq!(codes(&served.talk(LOGIN.replace("\r\nAUTH", "\r\nQUIT\r\nAUTH").as_bytes()).await), "220 250 221");
    assert_eq!(codes(&served.talk(format!("{LOGIN}QUIT\r\n").as_bytes()).await), "220 250 502 221");
    // Who was there counts, and goes on by the old ones.
    let mut second = served.connect().await;
    until(&mut second, "outlink\r\n").await;
    assert!(rest(&mut served.connect().await).await.starts_with("421 4.7.0 "));
    before.write_all(format!("{LOGIN}QUIT\r\n").as_bytes()).await.unwrap();
    assert_eq!(codes(&rest(&mut before).await), "250 235 221");
    served.end().await;
}

#[tokio::test]
async fn who_waits_at_a_socket_that_closes_is_served_and_the_port_is_free_then() {
    let served = Served::start(listener(), FakeHost::default()).await;
    let mut sessions = Vec::new();
    let new = open(&listener()).await;
    // The runtime has one thread: nothing is accepted until this test waits.
    let waiting: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(served.address).unwrap()).collect();
    served.running.change(service(listener(), &served.host, served.spool()), new.clone(), served.sockets.clone()).await;
    for stream in waiting {
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream).unwrap();
        until(&mut stream, "outlink\r\n").await;
        sessions.push(stream);
    }
    let former = served.address;
    let served = Served { address: at(&new), sockets: new, ..served };
    assert!(TcpStream::connect(former).await.is_err());
    assert_eq!(codes(&served.talk(b"QUIT\r\n").await), "220 221");
    for mut session in sessions {
        session.write_all(b"NOOP\r\nQUIT\r\n").await.unwrap();
        assert_eq!(codes(&rest(&mut session).await), "250 221");
    }
    served.end().await;
}

#[tokio::test]
async fn who_waits_at_a_listener_that_is_removed_hears_so_and_a_message_is_finished() {
    let served = Served::start(listener(), FakeHost::default()).await;
    let (mut idle, mut amid) = (served.connect().await, served.connect().await);
    until(&mut idle, "outlink\r\n").await;
    amid.write_all(format!("{LOGIN}MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n").as_bytes()).await.unwrap();
    until(&mut amid, "dot\r\n").await;
    let Served { address, running, sockets, task, stop: _stop, host, directory: _directory } = served;
    let waiting: Vec<_> = (0..5).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    running.end(sockets, PATIENCE).await;
    for stream in waiting {
        stream.set_nonblocking(true).unwrap();
        assert!(rest(&mut TcpStream::from_std(stream).unwrap()).await.starts_with("421 4.3.2 "));
    }
    assert!(TcpStream::connect(address).await.is_err());
    assert!(rest(&mut idle).await.starts_with("421 4.3.2 "));
    amid.write_all(b".\r\n").await.unwrap();
    assert_eq!(codes(&rest(&mut amid).await), "250 421");
    assert_eq!(host.taken.lock().unwrap().len(), 1);
    timeout(PATIENCE, task).await.expect("the listener does not end").unwrap();
}

#[tokio::test]
async fn a_removed_listener_waits_no_longer_than_it_may_for_a_message_without_end() {
    let served = Served::start(listener(), FakeHost::default()).await;
    let mut amid = served.connect().await;
    amid.write_all(format!("{LOGIN}MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n").as_bytes()).await.unwrap();
    until(&mut amid, "dot\r\n").await;
    served.running.end(served.sockets, Duration::from_millis(100)).await;
    timeout(PATIENCE / 2, served.task).await.expect("less than the connection may idle").unwrap();
    assert_eq!(amid.read(&mut [0]).await.unwrap_or_default(), 0);
}

#[tokio::test]
async fn a_socket_can_move_from_one_listener_to_another() {
    let (one, two) = (Served::start(listener(), FakeHost::default()).await, Served::start(listener(), FakeHost::default()).await);
    async fn change(served: &Served, sockets: Vec<Arc<Socket>>) {
        served.running.change(service(listener(), &served.host, served.spool()), sockets, vec![]).await;
    }
    for _ in 0..3 {
        change(&one, vec![]).await;
        change(&two, one.sockets.clone()).await;
        assert_eq!(codes(&one.talk(b"QUIT\r\n").await), "220 221");
        change(&two, vec![]).await;
        change(&one, [one.sockets.clone(), two.sockets.clone()].concat()).await;
        assert_eq!(codes(&one.talk(b"QUIT\r\n").await), "220 221");
        assert_eq!(codes(&two.talk(b"QUIT\r\n").await), "220 221");
    }
    one.end().await;
    two.end().await;
}
