//! Listeners that change while the daemon runs: rules, sockets, new and removed ones. No connection is lost by it, and what cannot be had
//! leaves everything as it was.

mod support;

use serde_json::Value;
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};
use support::{
    LONG, Program, SOON, free_port, outlink,
    queued::{Mail, one_more_app, queue, until},
    start_ready,
    story::{App, Story},
    wire::{Authority, Wire, connect, encrypt},
};

impl Story {
    fn write(&self, edit: impl Fn(String) -> String) {
        let text = fs::read_to_string(&self.config).expect("it is there");
        fs::write(&self.config, edit(text)).expect("it can be written");
    }

    /// Writes these lines into `[listener.local]`.
    fn write_rules(&self, lines: &str) {
        self.write(|text| text.replacen("[listener.local]\n", &format!("[listener.local]\n{lines}\n"), 1));
    }

    fn take_up(&self) {
        assert!(self.good(&["reload"]).contains("the configuration was taken up"));
    }

    /// The reload is refused, and says all of `texts`.
    fn refused(&self, daemon: &Program, texts: &[&str]) {
        let (status, said) = self.command(&["reload"]);
        assert_eq!(status, Some(69), "{said}");
        for text in texts {
            assert!(said.contains(text), "{text}: {said}");
        }
        daemon.logged("the old settings stay", SOON);
    }

    /// Where each listener listens, as `outlink status` says.
    fn listening(&self) -> Vec<(String, String)> {
        let status: Value = serde_json::from_str(&self.good(&["status", "--json"])).expect("JSON");
        let listeners = status["listeners"].as_array().expect("a list").iter();
        let text = |it: &Value, key: &str| it[key].as_str().expect("a text").to_owned();
        listeners.map(|it| (text(it, "name"), text(it, "address"))).collect()
    }
}

impl App {
    /// Sends a message up to the middle of its body.
    fn begin(&mut self, subject: &str) {
        for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<team@example.org>", "DATA"] {
            let said = self.say(line);
            assert!(said.starts_with(['2', '3']), "{line}: {said}");
        }
        self.write(&format!("From: robot@sandbox.example\r\nSubject: {subject}\r\n\r\nThe first half,\r\n"));
    }

    fn end(&mut self) -> String {
        self.say("the second half.\r\n.")
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

fn hello(address: SocketAddr) -> String {
    let mut wire = Wire::over(connect(address));
    assert!(wire.reply().starts_with("220 "));
    wire.say("EHLO app.example")
}

fn one_more_listener(text: String, name: &str, bind: &str) -> String {
    format!("{text}\n[listener.{name}]\nbind = \"{bind}\"\n")
}

#[test]
fn rules_of_the_same_socket_are_those_of_the_next_connection() {
    let authority = Authority::new("outlink test CA");
    let story = Story::new("custom", queue);
    let directory = story.directory.path();
    authority.write(directory, 90);
    fs::write(directory.join("clients.pem"), authority.pem()).expect("it can be written");
    let plain = fs::read_to_string(&story.config).expect("it is there");
    let daemon = story.start();
    let mut before = story.app();
    before.begin("before");
    let rules = |lines: &str| {
        fs::write(&story.config, &plain).expect("it can be written");
        story.write_rules(lines);
    };

    rules("");
    story.write(|text| format!("{text}\n[listener.local.limits]\nmessage-size = \"1 MiB\"\nconnections-per-address = 2\n"));
    daemon.signal("HUP");
    daemon.await_count(1, &["listener.changed", "\"listener\":\"local\""]);
    let mut second = Wire::over(connect(story.relay));
    assert!(second.reply().starts_with("220 "));
    assert!(second.say("EHLO app.example").contains("SIZE 1048576\r\n"));
    // Who is there by the old rules counts as well.
    assert!(Wire::over(connect(story.relay)).reply().starts_with("421 4.7.0 too many connections from this address"));
    drop(second);

    rules("networks = [\"192.0.2.0/24\"]\nallow-plaintext-auth = true");
    story.take_up();
    assert!(Wire::over(connect(story.relay)).reply().starts_with("554 5.7.1 "));
    rules("proxy-protocol-from = [\"127.0.0.1\"]\nallow-plaintext-auth = true");
    story.take_up();
    let mut wire = Wire::over(connect(story.relay));
    wire.write(b"PROXY TCP4 127.0.0.9 127.0.0.1 4711 25\r\n");
    assert!(wire.reply().starts_with("220 "));
    daemon.logged("\"client\":\"127.0.0.9:4711\"", SOON);

    // A command that writes lets it be taken up, too.
    rules("auth = \"optional\"");
    story.write(|text| one_more_app(text, "here", "networks = [\"127.0.0.0/8\"]"));
    let said = story.good(&["app", "add", "third", "--mailbox", "sandbox"]);
    assert!(said.contains("the running daemon has taken it up"), "{said}");
    let mut unproven = Wire::over(connect(story.relay));
    unproven.reply();
    assert!(unproven.say("MAIL FROM:<robot@sandbox.example>").starts_with("250 "), "its network proves it now");
    rules("");
    story.write(|text| text.replacen("delivery = \"queue\"", "delivery = \"direct\"", 1));
    story.take_up();
    let said = story.app().send();
    assert!(!said.contains("queued") && said.starts_with("250 "), "the contract has changed: {said}");

    // TLS comes, becomes another, shows another certificate, asks for the client's, and goes.
    let files = format!("certificate = \"{0}/cert.pem\"\nkey = \"{0}/key.pem\"", directory.display());
    rules(&format!("tls = \"starttls\"\n{files}"));
    story.take_up();
    assert!(hello(story.relay).contains("STARTTLS"));
    let status = story.good(&["status", "--json"]);
    assert!(status.contains("\"certificate\"") && status.contains("\"until\""), "{status}");
    rules(&format!("tls = \"implicit\"\n{files}\nclient-ca = \"{}/clients.pem\"\nauth = \"optional\"", directory.display()));
    story.write(|text| format!("{text}\n[app.erp]\ncertificate = \"erp.example.org\"\nmailbox = \"sandbox\"\n"));
    story.take_up();
    let client = authority.issue(&["erp.example.org"], 1);
    let mut wire = Wire::over(encrypt(connect(story.relay), &authority.client(Some(&client))).expect("a handshake"));
    assert!(wire.reply().starts_with("220 "));
    assert!(wire.say("MAIL FROM:<robot@sandbox.example>").starts_with("250 "), "known by its certificate");
    let other = Authority::new("another CA");
    fs::create_dir(directory.join("other")).expect("it can be made");
    other.write(&directory.join("other"), 90);
    rules(&format!(
        "tls = \"implicit\"\n{}",
        files.replace("/cert.pem", "/other/cert.pem").replace("/key.pem", "/other/key.pem")
    ));
    story.take_up();
    assert!(encrypt(connect(story.relay), &authority.client(None)).is_err());
    let mut wire = Wire::over(encrypt(connect(story.relay), &other.client(None)).expect("a handshake"));
    assert!(wire.reply().starts_with("220 "));
    fs::write(&story.config, &plain).expect("it can be written");
    story.take_up();
    assert!(!hello(story.relay).contains("STARTTLS"));
    assert!(!story.good(&["status", "--json"]).contains("\"certificate\": {"));

    // Who was connected all the time noticed nothing.
    assert!(before.end().starts_with("250 "));
    before.queue(Mail { id: "after", ..Mail::default() });
    story.with_subject("before");
    story.with_subject("after");
    assert_eq!(daemon.count(&["listener.closed"]), 0);
}

#[test]
fn a_listener_that_moves_is_open_there_before_it_is_closed_here() {
    let story = Story::new("custom", queue);
    let notified = story.directory.path().join("systemd");
    let systemd = UnixDatagram::bind(&notified).expect("a notify socket can be made");
    systemd.set_read_timeout(Some(SOON)).expect("a time-out can be set");
    let mut command = outlink();
    command.args(["run", "--config"]).arg(&story.config).env("NOTIFY_SOCKET", &notified);
    let daemon = Program::start(command);
    let hears = |wanted: &str| {
        let mut octets = [0; 4096];
        loop {
            let length = systemd.recv(&mut octets).unwrap_or_else(|e| panic!("{wanted}: {e}\n{}", daemon.output()));
            if String::from_utf8_lossy(&octets[..length]).contains(wanted) {
                return;
            }
        }
    };
    hears(&format!("local on {}", story.relay));
    let mut app = story.app();
    app.begin("amid the move");
    let new = local(free_port());
    story.write(|text| text.replace(&format!("bind = \"{}\"", story.relay), &format!("bind = \"{new}\"")));
    story.take_up();
    hears(&format!("local on {new}"));
    assert_eq!(story.listening(), [("local".to_owned(), new.to_string())]);
    let line = daemon.logged("listener.changed", SOON);
    assert!(line.contains(&new.to_string()) && line.contains(&story.relay.to_string()), "{line}");
    assert!(!is_open(story.relay), "nobody listens there any more");
    assert!(app.end().starts_with("250 "));
    app.queue(Mail { id: "after the move", ..Mail::default() });
    App::login(new, "sandbox", &story.password).queue(Mail { id: "at the new place", ..Mail::default() });
    ["amid the move", "after the move", "at the new place"].iter().for_each(|subject| _ = story.with_subject(subject));
}

#[test]
fn listeners_come_go_change_names_and_swap_sockets() {
    let story = Story::new("custom", queue);
    let (one, two) = (local(free_port()), local(free_port()));
    let daemon = story.start();
    story.write(|text| one_more_listener(text, "one", &one.to_string()));
    story.take_up();
    daemon.logged("listener.opened", SOON);
    assert!(App::login(one, "sandbox", &story.password).mail(Mail { id: "at a new one", ..Mail::default() }).starts_with("250 "));
    story.write(|text| one_more_listener(text, "two", &two.to_string()));
    // Two swap, and both have what the other had.
    story.take_up();
    story.write(|text| {
        let text = text.replace(&one.to_string(), "ONE").replace(&two.to_string(), &one.to_string());
        format!("{}\n[listener.two.limits]\nmessage-size = \"1 MiB\"\n", text.replace("ONE", &two.to_string()))
    });
    let kept = App::login(one, "sandbox", &story.password);
    story.take_up();
    let named = |name: &str, address: SocketAddr| (name.to_owned(), address.to_string());
    assert_eq!(story.listening(), [named("local", story.relay), named("one", two), named("two", one)]);
    assert!(hello(one).contains("SIZE 1048576\r\n") && !hello(two).contains("SIZE 1048576\r\n"));
    // A new name for the same socket.
    story.write(|text| text.replace("listener.two", "listener.office"));
    let (mut idle, mut amid) = (App::login(one, "sandbox", &story.password), App::login(one, "sandbox", &story.password));
    amid.begin("amid a removal");
    story.take_up();
    assert_eq!(story.listening(), [named("local", story.relay), named("office", one), named("one", two)]);
    assert!(hello(one).contains("SIZE 1048576\r\n"));
    assert!(idle.reply().starts_with("421 4.3.2 "), "its listener is gone");
    assert!(amid.end().starts_with("250 "), "a message is finished");
    assert!(amid.reply().starts_with("421 4.3.2 "));
    drop(kept);
    // A removed one is gone.
    story.write(|text| text[..text.find("[listener.one]").expect("it was added")].to_owned());
    story.take_up();
    daemon.await_count(2, &["listener.closed"]);
    assert_eq!(story.listening(), [named("local", story.relay)]);
    assert!(!is_open(one) && !is_open(two) && is_open(story.relay));
    let free = |address: SocketAddr| until("the port is free", SOON, || TcpListener::bind(address).is_ok());
    free(one);
    free(two);
    ["at a new one", "amid a removal"].iter().for_each(|subject| _ = story.with_subject(subject));
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_socket_that_cannot_be_had_refuses_the_whole_reload() {
    let story = Story::new("custom", queue);
    let daemon = story.start();
    let good = fs::read_to_string(&story.config).expect("it is there");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("an address");
    let free = local(free_port());
    let all = |text: String| {
        let text = one_more_listener(one_more_app(text, "new", ""), "a-new-one", &free.to_string());
        one_more_listener(text, "taken", &taken.to_string())
    };
    story.write(all);
    let texts = [&format!("cannot listen on {taken} for listener.taken"), "ss -ltnp", "change listener.taken.bind"];
    story.refused(&daemon, &texts);
    daemon.signal("HUP");
    daemon.await_count(2, &["config.reloaded", "the old settings stay", "another program has this port"]);
    let named = |name: &str, address: SocketAddr| (name.to_owned(), address.to_string());
    assert_eq!(story.listening(), [named("local", story.relay)]);
    assert!(!is_open(free), "nor is what could be had");
    assert!(App::connect(story.relay).auth("new", &story.password).starts_with("535 "), "and no app either");
    // What a command writes is taken back with the same words.
    let (status, said) = story.command(&["app", "add", "third", "--mailbox", "sandbox"]);
    assert!(status == Some(69) && said.contains("it was taken back") && said.contains(texts[0]), "{status:?} {said}");
    assert!(!story.directory.path().join("conf.d/app-third.toml").exists());
    drop(other);
    story.take_up();
    App::login(taken, "new", &story.password).queue(Mail { id: "after all", ..Mail::default() });
    story.with_subject("after all");

    // Addresses that this machine does not have, folders that are not there, files that are no sockets.
    let directory = story.directory.path().display().to_string();
    fs::write(story.directory.path().join("precious"), "precious").expect("it can be written");
    for (bind, text) in [
        ("192.0.2.1:2525".to_owned(), "this machine has no such address now"),
        (format!("unix:{directory}/no/smtp.sock"), "see to the folder"),
        (format!("unix:{directory}/precious"), "something else than a socket lies there"),
        ("systemd:smtp".to_owned(), "sockets are passed at the start alone, so that needs systemctl restart outlink"),
    ] {
        fs::write(&story.config, &good).expect("it can be written");
        story.write(|text| text.replace(&format!("bind = \"{}\"", story.relay), &format!("bind = \"{bind}\"")));
        story.refused(&daemon, &[text, &format!("cannot listen on {bind} for listener.local")]);
        assert!(hello(story.relay).contains("AUTH"), "{bind}");
    }
    assert_eq!(fs::read(story.directory.path().join("precious")).expect("it is there"), b"precious");
    // A certificate that cannot be read is a fault of the configuration, found before.
    fs::write(&story.config, &good).expect("it can be written");
    story.write_rules("tls = \"starttls\"\ncertificate = \"no.pem\"\nkey = \"no.pem\"");
    assert_eq!(story.command(&["reload"]).0, Some(78));
}

/// Senders that connect without a pause, each time anew.
struct Load {
    running: Arc<AtomicBool>,
    sessions: Arc<AtomicU32>,
    senders: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn on(address: SocketAddr) -> Self {
        let (running, sessions) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
        let sender = |_| {
            let (running, sessions) = (running.clone(), sessions.clone());
            thread::spawn(move || {
                while running.load(Ordering::Relaxed) {
                    let mut wire = Wire::over(connect(address));
                    assert!(wire.reply().starts_with("220 "), "every connection is greeted");
                    assert!(wire.say("EHLO load").starts_with("250"));
                    assert!(wire.say("QUIT").starts_with("221 "));
                    sessions.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let senders = (0..4).map(sender).collect();
        Self { running, sessions, senders }
    }

    fn more(&self, count: u32) {
        let until_then = self.sessions.load(Ordering::Relaxed) + count;
        until("sessions under load", LONG, || self.sessions.load(Ordering::Relaxed) >= until_then);
    }

    fn end(self) {
        self.running.store(false, Ordering::Relaxed);
        self.senders.into_iter().for_each(|sender| sender.join().expect("no connection was lost"));
    }
}

#[test]
fn no_connection_is_lost_while_rules_and_addresses_change_under_load() {
    let story = Story::new("custom", queue);
    let daemon = story.start();
    let load = Load::on(story.relay);
    let own = format!("bind = \"{}\"", story.relay);
    let everywhere = format!("bind = \"0.0.0.0:{}\"\nallow-plaintext-auth = true", story.relay.port());
    for round in 1..=10 {
        load.more(20);
        // To all addresses and back: the port is the same all the time.
        let (from, to) = if round % 2 == 1 { (&own, &everywhere) } else { (&everywhere, &own) };
        story.write(|text| text.replace(from, to));
        daemon.signal("HUP");
        daemon.await_count(round, &["config.reloaded", "was taken up"]);
    }
    load.more(20);
    load.end();
    assert_eq!(daemon.count(&["the old settings stay"]), 0, "{}", daemon.output());
}

#[test]
fn a_unix_socket_gets_other_rights_moves_and_comes_back() {
    let story = Story::new("custom", |text| {
        let text = queue(text);
        format!("{text}\n[listener.unix]\nbind = \"unix:smtp.sock\"\nsocket-mode = \"0600\"\n")
    });
    let socket = story.directory.path().join("smtp.sock");
    story.write(|text| text.replace("unix:smtp.sock", &format!("unix:{}", socket.display())));
    let daemon = story.start();
    let mode = |path: &Path| fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777;
    let open = |path: &Path| {
        let stream = UnixStream::connect(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        stream.set_read_timeout(Some(LONG)).expect("a time-out can be set");
        let mut wire = Wire::over(stream);
        assert!(wire.reply().starts_with("220 "));
        wire
    };
    let mut kept = open(&socket);
    story.write(|text| text.replace("socket-mode = \"0600\"", "socket-mode = \"0666\""));
    story.take_up();
    assert_eq!(mode(&socket), 0o666);
    // A group that is not there leaves the mode, too.
    story.write(|text| text.replace("socket-mode = \"0666\"", "socket-mode = \"0640\"\nsocket-group = \"no-such-group\""));
    story.refused(&daemon, &["there is no group `no-such-group`"]);
    assert_eq!(mode(&socket), 0o666);
    story.write(|text| text.replace("socket-group = \"no-such-group\"", ""));
    story.take_up();
    assert_eq!(mode(&socket), 0o640);
    // One that somebody removed is made anew.
    fs::remove_file(&socket).expect("it was there");
    story.take_up();
    open(&socket);
    // It moves, over what a killed program left, and its former file goes.
    let moved = story.directory.path().join("moved.sock");
    drop(UnixListener::bind(&moved).expect("it can be bound"));
    story.write(|text| text.replace(&socket.display().to_string(), &moved.display().to_string()));
    story.take_up();
    open(&moved);
    assert!(!socket.exists());
    assert_eq!(kept.say("NOOP").get(..4), Some("250 "));
    story.write(|text| text[..text.find("[listener.unix]").expect("it was added")].to_owned());
    story.take_up();
    assert!(!moved.exists());
    assert!(kept.reply().starts_with("421 4.3.2 "));
}

#[test]
fn sockets_of_systemd_stay_as_they_were_passed() {
    let story = Story::new("custom", queue);
    let (first, second) = (local(free_port()), local(free_port()));
    story.write(|text| one_more_listener(text, "low", "systemd:smtp"));
    let mut command = Command::new("systemd-socket-activate");
    command.args([format!("--listen={first}"), format!("--listen={second}"), "--fdname=smtp:other".to_owned()]);
    command.arg(outlink().get_program()).args(["run", "--config"]).arg(&story.config);
    let activator = Program::start(command);
    until("systemd-socket-activate listens", SOON, || is_open(first));
    let mut kept = App::login(first, "sandbox", &story.password);
    // Another rule, another passed socket, one that was not passed.
    story.write(|text| format!("{text}\n[listener.low.limits]\nmessage-size = \"1 MiB\"\n"));
    story.take_up();
    assert!(hello(first).contains("SIZE 1048576\r\n"));
    story.write(|text| text.replace("systemd:smtp", "systemd:other"));
    let said = story.good(&["reload"]);
    assert!(said.contains(&format!("listener.low has left {first}")) && said.contains("disable its socket unit"), "{said}");
    assert!(hello(second).contains("SIZE 1048576\r\n"));
    story.write(|text| text.replace("systemd:other", "systemd:third"));
    story.refused(&activator, &["systemd passed no socket of the name third (passed: smtp, other)", "systemctl restart outlink"]);
    assert!(hello(second).contains("SIZE 1048576\r\n"));
    // The port that systemd has open can only be had by its name.
    story.write(|text| text.replace("systemd:third", &first.to_string()));
    story.refused(&activator, &[&format!("cannot listen on {first} for listener.low"), "another program has this port"]);
    story.write(|text| text.replace(&first.to_string(), "systemd:third"));
    // Back to the first, where somebody waits meanwhile.
    let mut waits = Wire::over(connect(first));
    story.write(|text| text.replace("systemd:third", "systemd:smtp"));
    story.take_up();
    assert!(waits.reply().starts_with("220 "));
    assert!(kept.say("NOOP").starts_with("250 "));
    assert_eq!(story.command(&["stop"]).0, Some(0));
}

#[test]
fn who_connects_while_the_daemon_stops_is_told_or_refused() {
    let story = Story::new("custom", queue);
    let mut command = outlink();
    command.args(["run", "--config"]).arg(&story.config);
    let daemon = start_ready(command, story.directory.path());
    let mut amid = story.app();
    amid.begin("amid a stop");
    daemon.signal("TERM");
    daemon.logged("stopping: no new connections", SOON);
    until("nobody listens", SOON, || match TcpStream::connect(story.relay) {
        Err(_) => true,
        Ok(stream) => {
            stream.set_read_timeout(Some(LONG)).expect("a time-out can be set");
            let said = Wire::over(stream).reply();
            assert!(said.starts_with("421 ") || said.is_empty() || said.starts_with("220 "), "{said}");
            false
        }
    });
    assert!(amid.end().starts_with("250 "));
    assert_eq!(daemon.ended().0, Some(0));
}
