//! Reloads under load: fifty connections send without a pause, in clear text, over STARTTLS and over TLS from the first octet, while
//! passwords rotate, apps come and go and certificates are replaced. No connection ends but by its QUIT, or because its own password
//! was taken out, and what was accepted arrives once.

mod support;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use support::{
    LONG, Program, SOON, free_port,
    queued::{queue, until},
    run,
    story::Story,
    wire::{Authority, Wire, connect, encrypt},
};

/// Connections that send all the time.
const CLIENTS: usize = 50;

/// Reloads while they do.
const ROUNDS: usize = 24;

/// Messages that are accepted between two reloads, at least.
const BETWEEN: u64 = 100;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Starttls,
    Implicit,
}

const KINDS: [Kind; 3] = [Kind::Plain, Kind::Starttls, Kind::Implicit];

/// Whatever carries the octets.
trait Octets: Read + Write + Send {}
impl<T: Read + Write + Send> Octets for T {}

/// What all clients share.
struct Load {
    addresses: [SocketAddr; 3],
    tls: Arc<rustls::ClientConfig>,
    is_running: AtomicBool,
    /// Milliseconds after each message.
    pause: AtomicU64,
    /// The Message-IDs that got their `250`.
    accepted: Mutex<Vec<String>>,
    /// Sessions that ended because their password was taken out.
    ended: AtomicU64,
    steady: String,
    /// The password of the app `rotating`; held while somebody logs in with it.
    rotating: RwLock<String>,
}

impl Load {
    /// A greeted connection of this kind, encrypted where it is to be.
    fn open(&self, kind: Kind) -> Wire<Box<dyn Octets>> {
        let stream = connect(self.addresses[kind as usize]);
        let mut wire = match kind {
            Kind::Implicit => Wire::over(self.encrypt(stream)),
            Kind::Plain | Kind::Starttls => Wire::over(Box::new(stream) as Box<dyn Octets>),
        };
        let said = wire.reply();
        assert!(said.starts_with("220 "), "{kind:?}: {said}");
        if kind == Kind::Starttls {
            let said = wire.say("STARTTLS");
            assert!(said.starts_with("220 "), "{said}");
            wire = Wire::over(self.encrypt(wire.0.into_inner()));
        }
        let said = wire.say("EHLO load");
        assert!(said.starts_with("250-"), "{kind:?}: {said}");
        wire
    }

    fn encrypt(&self, stream: impl Octets + 'static) -> Box<dyn Octets> {
        Box::new(encrypt(stream, &self.tls).expect("every handshake succeeds"))
    }

    /// The certificate that a new connection is shown.
    fn shown(&self, kind: Kind) -> CertificateDer<'static> {
        let mut plain = Wire::over(connect(self.addresses[kind as usize]));
        if kind == Kind::Starttls {
            assert!(plain.reply().starts_with("220 ") && plain.say("STARTTLS").starts_with("220 "));
        }
        let encrypted = encrypt(plain.0.into_inner(), &self.tls).expect("a handshake");
        let chain = encrypted.conn.peer_certificates().expect("a certificate");
        let shown = chain[0].clone().into_owned();
        let mut wire = Wire::over(encrypted);
        if kind == Kind::Implicit {
            assert!(wire.reply().starts_with("220 "));
        }
        assert!(wire.say("QUIT").starts_with("221 "));
        shown
    }

    /// What a login is answered, on a connection of its own.
    fn login(&self, kind: Kind, user: &str, password: &str) -> String {
        let mut wire = self.open(kind);
        let said = wire.login(user, password);
        assert!(wire.say("QUIT").starts_with("221 "));
        said
    }

    /// Sends until the end, over one connection or over many.
    fn send(&self, client: usize) {
        let kind = KINDS[client % 3];
        let is_long = client.is_multiple_of(5);
        let mut number = 0;
        'connections: while self.is_running.load(Ordering::Relaxed) {
            let mut wire = self.open(kind);
            let said = if client.is_multiple_of(2) {
                wire.login("sandbox", &self.steady)
            } else {
                let password = self.rotating.read().expect("nobody panics with it");
                wire.login("rotating", &password)
            };
            assert!(said.starts_with("235 "), "client {client}: {said}");
            let mut left = 1 + (client + number) % 6;
            while (is_long || left > 0) && self.is_running.load(Ordering::Relaxed) {
                let id = format!("<{client}-{number}@load.example>");
                let said = wire.send(&format!("From: robot@sandbox.example\r\nMessage-ID: {id}\r\nSubject: load\r\n\r\nHello."));
                if !client.is_multiple_of(2) && said.starts_with("421 4.7.0 the password of this login is no longer valid") {
                    // Its password was taken out meanwhile: it connects again with the new one.
                    assert_eq!(wire.rest(), "", "client {client}");
                    self.ended.fetch_add(1, Ordering::Relaxed);
                    continue 'connections;
                }
                assert!(said.starts_with("250 2.0.0 OK queued as "), "client {client}, message {number}: {said:?}");
                self.accepted.lock().expect("nobody panics with it").push(id);
                (number, left) = (number + 1, left.saturating_sub(1));
                thread::sleep(Duration::from_millis(self.pause.load(Ordering::Relaxed)));
            }
            let said = wire.say("QUIT");
            assert!(said.starts_with("221 "), "client {client}: {said:?}");
            assert_eq!(wire.rest(), "", "client {client}");
        }
    }

    fn await_more(&self, count: u64, clients: &[thread::JoinHandle<()>]) {
        let accepted = || self.accepted.lock().expect("nobody panics with it").len() as u64;
        let wanted = accepted() + count;
        until("messages under load", LONG, || {
            assert!(clients.iter().all(|client| !client.is_finished()), "a client gave up");
            accepted() >= wanted
        });
    }
}

fn hash(password: &str) -> String {
    let mut command = support::outlink();
    command.args(["app", "hash"]);
    let output = run(command, format!("{password}\n").as_bytes(), SOON);
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Puts a file in its place as a careful program does.
fn put(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("it can be written");
    fs::rename(new, file).expect("it can be put in its place");
}

/// What changes from round to round: the passwords of `rotating`, and the guests.
fn configuration(base: &str, passwords: &[String], round: usize) -> String {
    let (old, new) = (&passwords[round], &passwords[round + 1]);
    let mut text = format!("{base}\n[app.rotating]\npassword = [\"{old}\", \"{new}\"]\nmailbox = \"sandbox\"\n");
    write!(text, "[app.guest-{round}]\npassword = \"{new}\"\nmailbox = \"sandbox\"\n").expect("memory");
    // Every other guest stays, switched off.
    if let Some(last) = round.checked_sub(1).filter(|last| last.is_multiple_of(2)) {
        write!(text, "[app.guest-{last}]\npassword = \"{old}\"\nmailbox = \"sandbox\"\nenabled = false\n").expect("memory");
    }
    text
}

/// A provider, a relay with listeners of three kinds, and the load on it.
struct World {
    story: Story,
    daemon: Program,
    authority: Authority,
    /// The configuration but for what changes.
    base: String,
    secrets: Vec<String>,
    hashes: Vec<String>,
    load: Arc<Load>,
    clients: Vec<thread::JoinHandle<()>>,
    /// Logins that must fail: answered late, so they are awaited beside the load.
    refused: Vec<thread::JoinHandle<(String, String)>>,
}

impl World {
    fn start() -> Self {
        let authority = Authority::new("outlink test CA");
        let ports = [free_port(), free_port()];
        let story = Story::new("custom", queue);
        let directory = story.directory.path();
        authority.write(directory, 90);
        let mut base = fs::read_to_string(&story.config).expect("it is there");
        for (port, tls) in ports.iter().zip(["starttls", "implicit"]) {
            let files = format!("certificate = \"{0}/cert.pem\"\nkey = \"{0}/key.pem\"", directory.display());
            write!(base, "\n[listener.{tls}]\nbind = \"127.0.0.1:{port}\"\ntls = \"{tls}\"\n{files}\n").expect("memory");
        }
        let secrets: Vec<String> = (0..=ROUNDS + 1).map(|round| format!("secret{round}of{}", std::process::id())).collect();
        let hashes: Vec<String> = secrets.iter().map(|secret| hash(secret)).collect();
        put(&story.config, &configuration(&base, &hashes, 0));
        let daemon = story.start();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let load = Arc::new(Load {
            addresses: [story.relay, local(ports[0]), local(ports[1])],
            tls: authority.client(None),
            is_running: AtomicBool::new(true),
            pause: AtomicU64::new(0),
            accepted: Mutex::default(),
            ended: AtomicU64::new(0),
            steady: story.password.clone(),
            rotating: RwLock::new(secrets[1].clone()),
        });
        let clients = (0..CLIENTS).map(|client| {
            let load = load.clone();
            thread::spawn(move || load.send(client))
        });
        let clients = clients.collect();
        Self { story, daemon, authority, base, secrets, hashes, load, clients, refused: Vec::new() }
    }

    /// The certificate in the file.
    fn certificate(&self) -> CertificateDer<'static> {
        let pem = fs::read(self.story.directory.path().join("cert.pem")).expect("it is there");
        CertificateDer::from_pem_slice(&pem).expect("a certificate").into_owned()
    }

    /// Whether new handshakes see it.
    fn is_shown(&self) -> bool {
        let certificate = self.certificate();
        [Kind::Starttls, Kind::Implicit].into_iter().all(|kind| self.load.shown(kind) == certificate)
    }

    fn reload(&mut self, round: usize) {
        let before = self.certificate();
        self.authority.write(self.story.directory.path(), 90 + round as u64);
        assert!(self.certificate() != before);
        put(&self.story.config, &configuration(&self.base, &self.hashes, round));
        if round.is_multiple_of(2) {
            assert!(self.story.good(&["reload"]).contains("the configuration was taken up"));
            assert!(self.is_shown(), "round {round}: a new handshake sees the old certificate");
        } else {
            // Nobody waits for an answer to a signal.
            self.daemon.signal("HUP");
            self.daemon.await_count(round, &["config.reloaded", "the configuration was taken up"]);
            until("the new certificate is shown", SOON, || self.is_shown());
        }
        // The newest password counts from now on, and the new guest.
        let newest = &self.secrets[round + 1];
        self.load.rotating.write().expect("nobody panics with it").clone_from(newest);
        for user in ["rotating", &format!("guest-{round}")] {
            let said = self.load.login(KINDS[round % 3], user, newest);
            assert!(said.starts_with("235 "), "round {round}, {user}: {said}");
        }
        let gone = [("rotating".to_owned(), round - 1), (format!("guest-{}", round - 1), round)];
        for (user, secret) in gone {
            let (load, secret) = (self.load.clone(), self.secrets[secret].clone());
            let login = move || (load.login(KINDS[round % 3], &user, &secret), format!("round {round}, {user}"));
            self.refused.push(thread::spawn(login));
        }
    }

    /// Ends the load; gives the ids that were accepted.
    fn end(&mut self) -> Vec<String> {
        self.load.is_running.store(false, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("no connection was lost");
        }
        for login in self.refused.drain(..) {
            let (said, which) = login.join().expect("an answer");
            assert!(said.starts_with("535 "), "{which}, with what was taken away: {said}");
        }
        self.load.accepted.lock().expect("nobody panics with it").clone()
    }
}

#[test]
fn reloads_under_load_lose_no_connection_and_no_message() {
    let mut world = World::start();
    for round in 1..=ROUNDS {
        world.load.await_more(BETWEEN, &world.clients);
        world.reload(round);
    }
    // The files alone, without a reload: they are looked at once a minute.
    world.load.pause.store(500, Ordering::Relaxed);
    world.authority.write(world.story.directory.path(), 200);
    until("the changed files are noticed", LONG, || {
        // Nothing else tells a client of it.
        thread::sleep(Duration::from_millis(500));
        world.is_shown()
    });
    world.load.await_more(BETWEEN, &world.clients);
    let accepted = world.end();
    let ended = world.load.ended.load(Ordering::Relaxed);
    assert!(accepted.len() as u64 >= BETWEEN * ROUNDS as u64, "{}", accepted.len());
    let expected: BTreeMap<String, u64> = accepted.iter().map(|id| (id.clone(), 1)).collect();
    assert_eq!(expected.len(), accepted.len(), "each id was used once");
    assert_eq!(world.story.drained(&world.daemon, LONG), expected);
    let (status, output) = world.daemon.stop();
    assert_eq!(status, Some(0));
    let count = |texts: &[&str]| output.lines().filter(|line| texts.iter().all(|text| line.contains(text))).count();
    let opened = count(&["session.opened"]);
    let quits = count(&["session.closed", "the app said QUIT"]);
    assert_eq!((quits as u64 + ended, count(&["session.closed"])), (opened as u64, opened));
    assert_eq!(count(&["session.refused"]), 0);
    println!("{} messages over {opened} connections, {ROUNDS} reloads", accepted.len());
}
