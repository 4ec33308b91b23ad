//! Listeners as apps, load balancers, systemd and certificate robots meet them: TLS of every kind, Unix and passed sockets, the PROXY
//! protocol, limits, and what the log says of apps that are set wrongly. The counterparts are openssl, curl, swaks, haproxy and systemd.

mod support;

use serde_json::{Value, json};
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};
use support::{
    LONG, Program, SOON, free_port, outlink, run, start_ready,
    story::{Story, id},
    wire::{Authority, Wire, connect, encrypt},
};

const MESSAGE: &str = "Subject: listeners\r\n\r\nHello.";

/// A provider and a relay with listeners of its own beside `local`.
struct World {
    story: Story,
    authority: Authority,
    ports: Vec<u16>,
}

impl World {
    /// `listeners` is a template: `{0}`, `{1}` … are free ports, `{dir}` the folder with `cert.pem`, `key.pem` and `clients.pem`.
    fn new(listeners: &str) -> Self {
        let authority = Authority::new("outlink test CA");
        let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
        let story = Story::new("custom", |text| text);
        let directory = story.directory.path();
        authority.write(directory, 90);
        fs::write(directory.join("clients.pem"), authority.pem()).expect("it can be written");
        let world = Self { story, authority, ports };
        let text = world.fill(listeners);
        let written = fs::read_to_string(&world.story.config).expect("it is there");
        fs::write(&world.story.config, format!("{written}\n{text}")).expect("it can be written");
        world
    }

    fn fill(&self, template: &str) -> String {
        let mut text = template.replace("{dir}", &self.directory().display().to_string());
        for (index, port) in self.ports.iter().enumerate() {
            text = text.replace(&format!("{{{index}}}"), &port.to_string());
        }
        text
    }

    fn directory(&self) -> &Path {
        self.story.directory.path()
    }

    fn address(&self, index: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[index]))
    }

    fn implicit(&self, index: usize) -> Wire<impl std::io::Read + std::io::Write + use<>> {
        let mut wire = Wire::over(encrypt(connect(self.address(index)), &self.authority.client(None)).expect("a handshake"));
        assert!(wire.reply().starts_with("220 "));
        wire
    }

    /// The one Received field that the relay added to the last message.
    fn received(&self) -> String {
        let (_, list) = support::http(self.story.http, "GET", "/received", "");
        let list: Value = serde_json::from_slice(&list).expect("JSON");
        let number = &list.as_array().and_then(|all| all.last()).expect("a message")["number"];
        let (_, octets) = support::http(self.story.http, "GET", &format!("/received/{number}"), "");
        let text = String::from_utf8(octets).expect("text").replace("\r\n\t", " ");
        text.lines().find(|line| line.starts_with("Received:") && line.contains("relay.sandbox")).expect("our field").to_owned()
    }
}

const TLS: &str = "
[listener.submission]
bind = \"127.0.0.1:{0}\"
tls = \"starttls\"
certificate = \"{dir}/cert.pem\"
key = \"{dir}/key.pem\"
delivery = \"direct\"
[listener.submissions]
bind = \"127.0.0.1:{1}\"
tls = \"implicit\"
certificate = \"{dir}/cert.pem\"
key = \"{dir}/key.pem\"
delivery = \"direct\"
";

#[test]
fn programs_of_others_send_over_starttls_implicit_tls_and_a_unix_socket() {
    let unix = "[listener.unix]\nbind = \"unix:{dir}/smtp.sock\"\nsocket-mode = \"0600\"\ndelivery = \"direct\"\n";
    let world = World::new(&format!("{TLS}{unix}"));
    let _daemon = world.story.start();
    let letter = world.directory().join("letter");
    fs::write(&letter, "From: robot@sandbox.example\r\nSubject: x\r\n\r\nHello.\r\n").expect("it can be written");
    let curl = |url: String, more: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--url", &url, "--user", &format!("sandbox:{}", world.story.password)]);
        command.arg("--cacert").arg(world.directory().join("clients.pem"));
        command.args(["--mail-from", "robot@sandbox.example", "--mail-rcpt", "team@example.org", "--upload-file"]);
        command.arg(&letter).args(more);
        command
    };
    let swaks = |more: &[&str]| {
        let mut command = Command::new("swaks");
        command.args(["--from", "robot@sandbox.example", "--to", "team@example.org", "--ehlo", "app.example"]);
        command.args(["--auth", "PLAIN", "--auth-user", "sandbox", "--auth-password", &world.story.password]).args(more);
        command
    };
    let (starttls, implicit) = (world.ports[0].to_string(), world.ports[1].to_string());
    let socket = world.directory().join("smtp.sock");
    for (name, command, expected) in [
        (
            "curl, STARTTLS",
            curl(format!("smtp://localhost:{starttls}/app.example"), &["--ssl-reqd"]),
            "with ESMTPSA (TLSv1.3) id ",
        ),
        ("curl, implicit", curl(format!("smtps://localhost:{implicit}/app.example"), &[]), "with ESMTPSA (TLSv1.3) id "),
        (
            "curl, TLS 1.2",
            curl(format!("smtps://localhost:{implicit}/app.example"), &["--tls-max", "1.2"]),
            "with ESMTPSA (TLSv1.2) id ",
        ),
        ("swaks, STARTTLS", swaks(&["--server", "127.0.0.1", "--port", &starttls, "--tls"]), "with ESMTPSA (TLSv1.3) id "),
        ("swaks, implicit", swaks(&["--server", "127.0.0.1", "--port", &implicit, "--tls-on-connect"]), "with ESMTPSA (TLSv1."),
        ("swaks, Unix socket", swaks(&["--socket", socket.to_str().expect("a name")]), "(local user "),
    ] {
        let output = run(command, b"", LONG);
        assert!(output.status.success(), "{name}: {output:?}");
        assert!(world.received().contains(expected), "{name}: {}", world.received());
    }
    assert_eq!(fs::symlink_metadata(&socket).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(world.story.command(&["stop"]).0, Some(0));
    assert!(!socket.exists(), "the socket goes with the daemon");
}

#[test]
fn tls_12_and_13_are_spoken_and_an_older_device_is_named() {
    let world = World::new(TLS);
    let daemon = world.story.start();
    let openssl = |version: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-connect",
            &world.address(1).to_string(),
            version,
            "-quiet",
            "-verify_return_error",
            "-CAfile",
        ]);
        command.arg(world.directory().join("clients.pem")).args(more);
        let output = run(command, b"QUIT\r\n", SOON);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let said = openssl(version, &[]);
        assert!(said.contains("220 relay.sandbox.example ESMTP outlink"), "{version}: {said}");
    }
    for version in ["-tls1", "-tls1_1"] {
        let said = openssl(version, &["-cipher", "ALL:@SECLEVEL=0"]);
        assert!(!said.contains("220 "), "{version}: {said}");
    }
    daemon.await_count(2, &["session.refused", "the app offers only TLS 1.0 or 1.1", "on a network that you trust"]);
    // Ciphers without forward secrecy.
    openssl("-tls1_2", &["-cipher", "AES128-SHA"]);
    daemon.logged("the app offers no cipher or key exchange that is spoken here", SOON);
}

#[test]
fn what_stands_behind_starttls_in_clear_is_not_obeyed() {
    let world = World::new(TLS);
    let daemon = world.story.start();
    let mut wire = Wire::over(connect(world.address(0)));
    wire.reply();
    let hello = wire.say("EHLO app.example");
    assert!(hello.contains("250-STARTTLS\r\n"), "{hello}");
    wire.login("sandbox", &world.story.password);
    assert!(wire.say("MAIL FROM:<robot@sandbox.example>").starts_with("250 "));
    // One packet, as somebody on the way would write it.
    wire.write(b"STARTTLS\r\nRSET\r\nMAIL FROM:<injected@example.org>\r\n");
    assert!(wire.reply().starts_with("220 2.0.0 "));
    let mut wire = Wire::over(encrypt(wire.0.into_inner(), &world.authority.client(None)).expect("a handshake"));
    let said = wire.say("RCPT TO:<team@example.org>");
    assert!(said.starts_with("503 "), "neither the message before nor the one behind STARTTLS counts: {said}");
    let hello = wire.say("EHLO app.example");
    assert!(!hello.contains("STARTTLS") && hello.contains("AUTH LOGIN PLAIN"), "{hello}");
    assert!(wire.say("MAIL FROM:<robot@sandbox.example>").starts_with("530 "), "the login before it does not count");
    assert!(wire.say("STARTTLS").starts_with("503 "));
    assert!(wire.login("sandbox", &world.story.password).starts_with("235 "));
    assert!(wire.send(MESSAGE).starts_with("250 "));
    daemon.logged("octets behind STARTTLS in clear text were discarded", SOON);
}

#[test]
fn an_app_that_is_set_to_the_other_kind_of_tls_is_told_so() {
    let world = World::new(TLS);
    let daemon = world.story.start();
    // Plain SMTP to the listener that begins with TLS: readable for whoever looks at the device's log.
    let mut wire = Wire::over(connect(world.address(1)));
    wire.write(b"EHLO printer\r\n");
    let said = wire.rest();
    assert!(said.starts_with("421 4.7.0 this port speaks TLS from the first octet"), "{said}");
    let line = daemon.logged("the app speaks plain SMTP where a TLS handshake was due", SOON);
    assert!(line.contains("listener\":\"submissions") && line.contains("often port 465"), "{line}");
    // TLS to the one that waits for STARTTLS, and to the plain one.
    for (address, advice) in [(world.address(0), "set the app to STARTTLS"), (world.story.relay, "set the app to no encryption")]
    {
        assert!(encrypt(connect(address), &world.authority.client(None)).is_err());
        daemon.await_count(1, &["a TLS handshake came where plain SMTP was due", advice]);
    }
    // An app that does not trust the certificate says so within the handshake.
    let stranger = Authority::new("another CA");
    assert!(encrypt(connect(world.address(1)), &stranger.client(None)).is_err());
    daemon.logged("the app does not trust the listener's certificate", SOON);
    // One that goes on in clear after STARTTLS.
    let mut wire = Wire::over(connect(world.address(0)));
    wire.reply();
    assert!(wire.say("STARTTLS").starts_with("220 "));
    wire.write(b"EHLO again\r\n");
    wire.rest();
    daemon.logged("the app said STARTTLS and then went on in clear text", SOON);
}

#[test]
fn a_client_certificate_is_asked_for_and_verified() {
    let app = "[app.erp]\ncertificate = \"Crowd.example.org\"\nmailbox = \"sandbox\"\n";
    let world = World::new(&format!("{TLS}client-ca = \"{{dir}}/clients.pem\"\nauth = \"optional\"\n{app}"));
    let daemon = world.story.start();
    let hello = |client: Option<&(String, String)>| {
        let mut wire = Wire::over(encrypt(connect(world.address(1)), &world.authority.client(client)).ok()?);
        wire.reply().starts_with("220 ").then(|| wire.say("MAIL FROM:<robot@sandbox.example>"))
    };
    assert!(hello(None).expect("it is optional").starts_with("530 5.7.0 "));
    let app = hello(Some(&world.authority.issue(&["crowd.example.org"], 1))).expect("it is verified");
    assert!(app.starts_with("250 "), "the app is known by its certificate: {app}");
    let other = hello(Some(&world.authority.issue(&["other.example.org"], 1))).expect("it is verified");
    assert!(other.starts_with("530 5.7.0 "), "a certificate of no app: {other}");
    // With TLS 1.3 the client learns of it by the next octets.
    assert!(hello(Some(&Authority::new("another CA").issue(&["crowd.example.org"], 1))).is_none());
    daemon.logged("none of the listener's client-ca issued", SOON);
}

#[test]
fn certificates_change_under_load_and_no_connection_notices() {
    let world = World::new(TLS);
    let daemon = world.story.start();
    let mut standing = world.implicit(1);
    assert!(standing.login("sandbox", &world.story.password).starts_with("235 "));
    let (running, sessions) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (running, sessions) = (running.clone(), sessions.clone());
            let (address, config) = (world.address(number % 2), world.authority.client(None));
            thread::spawn(move || {
                while running.load(Ordering::Relaxed) {
                    let stream = if number % 2 == 0 {
                        let mut wire = Wire::over(connect(address));
                        assert!(wire.reply().starts_with("220 "));
                        assert!(wire.say("STARTTLS").starts_with("220 "));
                        wire.0.into_inner()
                    } else {
                        connect(address)
                    };
                    let mut wire = Wire::over(encrypt(stream, &config).expect("every handshake succeeds"));
                    if number % 2 == 1 {
                        assert!(wire.reply().starts_with("220 "));
                    }
                    assert!(wire.say("EHLO load").starts_with("250"), "every session goes on");
                    assert!(wire.say("QUIT").starts_with("221 "));
                    sessions.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more = |count: u32| {
        let until = sessions.load(Ordering::Relaxed) + count;
        support::queued::until("sessions under load", LONG, || sessions.load(Ordering::Relaxed) >= until);
    };
    for round in 1..=5 {
        more(4);
        world.authority.write(world.directory(), 90 + round);
        daemon.signal("HUP");
        daemon.await_count(2 * round as usize, &["certificate.changed"]);
    }
    // A certificate without its key: a robot that was interrupted, or a slip.
    let broken = world.authority.issue(&["localhost"], 90).0;
    fs::write(world.directory().join("cert.pem"), broken).expect("it can be written");
    let said = world.story.command(&["reload"]);
    assert!(said.0 != Some(0) && said.1.contains("is not the one of the certificate"), "{said:?}");
    daemon.await_count(2, &["certificate.refused", "the old certificate stays"]);
    more(8);
    let status = world.story.good(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let trouble = |status: &Value| {
        let listeners = status["listeners"].as_array().expect("a list").clone();
        let listener = listeners.into_iter().find(|it| it["name"] == "submissions").expect("it is listed");
        listener["certificate"]["trouble"].as_str().unwrap_or_default().to_owned()
    };
    assert!(trouble(&status).contains("its changed files cannot be used"), "{status}");
    // One that ends soon is taken up, with a warning.
    world.authority.write(world.directory(), 10);
    world.story.good(&["reload"]);
    daemon.await_count(2, &["certificate.ends", "in 9 days"]);
    let status: Value = serde_json::from_str(&world.story.good(&["status", "--json"])).expect("JSON");
    assert!(trouble(&status).contains("in 9 days"), "{status}");
    assert!(world.story.good(&["status"]).contains("in 9 days"));
    more(4);
    running.store(false, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no connection was lost");
    }
    assert!(standing.send(MESSAGE).starts_with("250 "), "who was connected all the time still is");
}

const PROXIED: &str = "
[listener.behind]
bind = \"127.0.0.1:{0}\"
networks = [\"10.0.0.0/8\", \"127.0.0.0/8\"]
proxy-protocol-from = [\"127.0.0.1\"]
auth = \"optional\"
delivery = \"direct\"
[listener.behind.limits]
connections-per-address = 2
[listener.tls-behind]
bind = \"127.0.0.1:{1}\"
networks = [\"10.0.0.0/8\", \"127.0.0.0/8\"]
proxy-protocol-from = [\"127.0.0.1\"]
tls = \"implicit\"
certificate = \"{dir}/cert.pem\"
key = \"{dir}/key.pem\"
delivery = \"direct\"
[app.scanner]
networks = [\"10.1.2.3\"]
mailbox = \"sandbox\"
[app.here]
networks = [\"127.0.0.0/8\"]
mailbox = \"sandbox\"
";

/// Version 2 with this command and source address.
fn second(command: u8, from: [u8; 4]) -> Vec<u8> {
    let addresses = [&from[..], &[127, 0, 0, 1], &4711_u16.to_be_bytes(), &25_u16.to_be_bytes()].concat();
    let tlv = [4, 0, 3, 0, 0, 0];
    let length = u16::try_from(addresses.len() + tlv.len()).expect("short").to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, 0x11], &length, &addresses, &tlv].concat()
}

#[test]
fn rules_limits_and_logs_use_the_address_that_a_load_balancer_names() {
    let world = World::new(PROXIED);
    let daemon = world.story.start();
    let open = |header: &[u8]| {
        let mut wire = Wire::over(connect(world.address(0)));
        wire.write(header);
        let greeting = wire.reply();
        (wire, greeting)
    };
    // The app follows from the address in the header, in both versions.
    let (mut first, greeting) = open(b"PROXY TCP4 10.1.2.3 127.0.0.1 4711 25\r\n");
    assert!(greeting.starts_with("220 "), "{greeting}");
    let hello = first.say("EHLO scanner");
    assert!(!hello.contains("AUTH"), "a password of another machine would cross the network in clear text: {hello}");
    assert!(first.login("sandbox", &world.story.password).starts_with("538 5.7.11 "));
    let said = first.send(MESSAGE);
    assert!(said.starts_with("250 "), "{said}");
    assert!(world.received().contains("([10.1.2.3])"), "{}", world.received());
    let line = support::story::logged(&daemon, "message.accepted", id(&said));
    assert_eq!((&line["client"], &line["app"]), (&json!("10.1.2.3:4711"), &json!("scanner")));
    let (mut second_one, _) = open(&second(1, [10, 1, 2, 3]));
    assert!(second_one.send(MESSAGE).starts_with("250 "));
    // Limits are the client's, not the load balancer's.
    let (_third, greeting) = open(&second(1, [10, 1, 2, 3]));
    assert!(greeting.starts_with("421 4.7.0 too many connections from this address"), "{greeting}");
    let (mut other, greeting) = open(&second(1, [10, 9, 9, 9]));
    assert!(greeting.starts_with("220 "));
    assert!(other.say("MAIL FROM:<robot@sandbox.example>").starts_with("530 "), "no app has this address");
    let (_, greeting) = open(b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 25\r\n");
    assert!(greeting.starts_with("554 5.7.1 "), "its network is not let in: {greeting}");
    // LOCAL and UNKNOWN may come in, as their load balancer may, and prove nothing, although an app has its address.
    let mut unknown = Vec::new();
    for header in [second(0, [10, 1, 2, 3]), b"PROXY UNKNOWN\r\n".to_vec()] {
        let (mut wire, greeting) = open(&header);
        assert!(greeting.starts_with("220 "), "{greeting}");
        assert!(wire.say("MAIL FROM:<robot@sandbox.example>").starts_with("530 "));
        assert!(wire.login("sandbox", &world.story.password).starts_with("538 "));
        unknown.push(wire);
    }
    let (_, greeting) = open(b"PROXY UNKNOWN\r\n");
    assert!(greeting.starts_with("421 4.7.0 too many connections"), "they count as the load balancer's: {greeting}");
    drop(unknown);
    // Loopback in a header is another machine's, or a lie: it proves no app, although one has that network.
    let (mut wire, greeting) = open(b"PROXY TCP4 127.0.0.2 127.0.0.1 4711 25\r\n");
    assert!(greeting.starts_with("220 "), "{greeting}");
    assert!(!wire.say("EHLO x").contains("AUTH"), "its password would cross the network in clear text");
    assert!(wire.login("sandbox", &world.story.password).starts_with("538 5.7.11 "));
    assert!(wire.say("MAIL FROM:<robot@sandbox.example>").starts_with("530 "));
    // Without a header nobody comes in from there, and what is none ends the connection.
    let (_, greeting) = open(b"EHLO x\r\n");
    assert_eq!(greeting, "");
    let line = daemon.logged("does not begin with a PROXY header", SOON);
    assert!(line.contains("send-proxy-v2"), "{line}");
    // A listener that names no load balancer never reads one.
    let mut wire = Wire::over(connect(world.story.relay));
    wire.reply();
    assert!(wire.say("PROXY TCP4 10.1.2.3 127.0.0.1 4711 25").starts_with("500 "));
    // The header stands before the handshake.
    let mut stream = connect(world.address(1));
    std::io::Write::write_all(&mut stream, &second(1, [10, 1, 2, 3])).expect("it can be sent");
    let mut wire = Wire::over(encrypt(stream, &world.authority.client(None)).expect("a handshake"));
    assert!(wire.reply().starts_with("220 "));
    assert!(wire.login("sandbox", &world.story.password).starts_with("235 "), "encrypted, passwords are taken from anywhere");
    assert!(wire.send(MESSAGE).starts_with("250 "));
    assert!(world.received().contains("([10.1.2.3]) by relay.sandbox.example with ESMTPSA (TLSv1.3)"), "{}", world.received());
}

#[test]
fn a_proxy_header_may_come_in_pieces_or_with_what_follows_and_has_to_end() {
    let world = World::new(PROXIED);
    let daemon = world.story.start();
    let pieces = |stream: &mut TcpStream, octets: &[u8]| {
        stream.set_nodelay(true).expect("an option");
        for octet in octets {
            std::io::Write::write_all(stream, &[*octet]).expect("it can be sent");
            thread::yield_now();
        }
    };
    let mut hosts = 10..;
    let mut named = |version: u8| {
        let host = hosts.next().expect("enough");
        let line = format!("PROXY TCP4 10.1.2.{host} 127.0.0.1 4711 25\r\n").into_bytes();
        (if version == 1 { line } else { second(1, [10, 1, 2, host]) }, format!("\"client\":\"10.1.2.{host}:4711\""))
    };
    for version in [1, 2] {
        // Octet by octet.
        let (header, client) = named(version);
        let mut stream = connect(world.address(0));
        pieces(&mut stream, &header);
        assert!(Wire::over(stream).reply().starts_with("220 "));
        daemon.logged(&client, SOON);
        // With the first commands behind it, none of which is lost.
        let (header, client) = named(version);
        let mut wire = Wire::over(connect(world.address(0)));
        wire.write(&[&header[..], b"EHLO x\r\nNOOP\r\nQUIT\r\n"].concat());
        assert!(wire.reply().starts_with("220 "));
        assert!(wire.reply().starts_with("250-"));
        assert!(wire.rest().starts_with("250 2.0.0 "));
        daemon.logged(&client, SOON);
        // With the whole beginning of a handshake behind it.
        let (mut octets, client) = named(version);
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let mut connection = rustls::ClientConnection::new(world.authority.client(None), name).expect("a configuration");
        let header = octets.len();
        connection.write_tls(&mut octets).expect("it is a list");
        assert!(octets.len() > header + 100);
        let mut stream = connect(world.address(1));
        std::io::Write::write_all(&mut stream, &octets).expect("it can be sent");
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).expect("a handshake");
        }
        let mut wire = Wire::over(rustls::StreamOwned::new(connection, stream));
        assert!(wire.reply().starts_with("220 "));
        assert!(wire.login("sandbox", &world.story.password).starts_with("235 "));
        daemon.logged(&client, SOON);
    }
    let first = b"PROXY TCP4 10.1.2.3 127.0.0.1 4711 25\r\n";
    // What is no header, or ends within it, lets nobody in; each is said in its own words.
    let long = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(), vec![0; 4096]].concat();
    let unix = [b"\r\n\r\n\0\r\nQUIT\n\x21\x31\x00\xd8".to_vec(), vec![b'/'; 216]].concat();
    for (octets, said) in [
        (first[..first.len() - 1].to_vec(), "it ended within the header"),
        (second(1, [10, 1, 2, 3])[..20].to_vec(), "it ended within the header"),
        (long, "the PROXY header has more than 4,096 octets"),
        (format!("PROXY UNKNOWN {}\r\n", "x".repeat(200)).into_bytes(), "does not end with CRLF within 107 octets"),
        (b"PROXY TCP4 10.1.2.3 127.0.0.1 4711\r\n".to_vec(), "the PROXY line cannot be read"),
    ] {
        let stream = connect(world.address(0));
        let mut wire = Wire::over(stream);
        wire.write(&octets);
        // It may be closed already.
        _ = wire.0.get_ref().shutdown(std::net::Shutdown::Write);
        assert_eq!(wire.rest(), "");
        daemon.logged(said, SOON);
    }
    // A process of the load balancer's own machine is nobody that a network would prove.
    let mut wire = Wire::over(connect(world.address(0)));
    wire.write(&unix);
    assert!(wire.reply().starts_with("220 "));
    assert!(wire.say("MAIL FROM:<robot@sandbox.example>").starts_with("530 "));
}

#[test]
fn too_few_open_files_make_apps_wait_and_are_said_once() {
    let world = World::new("[listener.many]\nbind = \"127.0.0.1:{0}\"\n[listener.many.limits]\nconnections-per-address = 1000\n");
    let mut command = Command::new("prlimit");
    command.arg("--nofile=96:96").arg(outlink().get_program()).args(["run", "--config"]).arg(&world.story.config);
    let daemon = start_ready(command, world.directory());
    daemon.logged("fewer open files than its listeners may have connections", SOON);
    let all: Vec<TcpStream> = (0..150).map(|_| connect(world.address(0))).collect();
    daemon.logged("cannot accept connections, which wait", SOON);
    let mut greeted = 0;
    let last = all.len() - 1;
    for (at, stream) in all.into_iter().enumerate() {
        // As each one goes, one of those who wait comes in.
        let mut wire = Wire::over(stream);
        assert!(wire.reply().starts_with("220 "), "{at}: {}", daemon.output());
        greeted += 1;
        if at < last {
            assert!(wire.say("QUIT").starts_with("221 "));
        }
    }
    assert_eq!(greeted, 150);
    assert_eq!(daemon.count(&["cannot accept connections, which wait"]), 1, "{}", daemon.output());
    let mut app = Wire::over(connect(world.address(0)));
    assert!(app.reply().starts_with("220 "));
}

#[test]
fn haproxy_in_front_is_understood_in_both_versions() {
    let world = World::new(PROXIED);
    let daemon = world.story.start();
    let (first, second) = (free_port(), free_port());
    let config = world.directory().join("haproxy.cfg");
    let text = format!(
        "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n\
         listen one\n  bind 127.0.0.1:{first}\n  tcp-request connection set-src ipv4(10.1.2.3)\n  server relay 127.0.0.1:{} send-proxy\n\
         listen two\n  bind 127.0.0.1:{second}\n  server relay 127.0.0.1:{} send-proxy-v2\n",
        world.ports[0], world.ports[1]
    );
    fs::write(&config, text).expect("it can be written");
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(&config);
    let _haproxy = Program::start(command);
    support::queued::until("haproxy listens", SOON, || {
        [first, second].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
    });
    let mut wire = Wire::over(connect(SocketAddr::from(([127, 0, 0, 1], first))));
    assert!(wire.reply().starts_with("220 "));
    let client = wire.0.get_ref().local_addr().expect("an address");
    assert!(wire.send(MESSAGE).starts_with("250 "), "known by the address in the header");
    daemon.logged(&format!("\"client\":\"10.1.2.3:{}\"", client.port()), SOON);
    let stream = connect(SocketAddr::from(([127, 0, 0, 1], second)));
    let mut wire = Wire::over(encrypt(stream, &world.authority.client(None)).expect("a handshake"));
    assert!(wire.reply().starts_with("220 "));
    assert!(wire.login("sandbox", &world.story.password).starts_with("235 "));
    assert!(wire.send(MESSAGE).starts_with("250 "));
}

#[test]
fn sockets_that_systemd_passes_are_found_by_name() {
    let world = World::new("[listener.low]\nbind = \"systemd:smtp\"\ndelivery = \"direct\"\n");
    // Without its sockets the daemon says what to start.
    let (status, said) = world.story.command(&["run"]);
    assert!(status == Some(69) && said.contains("FileDescriptorName=smtp"), "{status:?} {said}");
    let socket = world.directory().join("passed.sock");
    let mut command = Command::new("systemd-socket-activate");
    command.arg(format!("--listen=127.0.0.1:{}", world.ports[0])).arg(format!("--listen={}", socket.display()));
    command.arg("--fdname=smtp:smtp");
    command.arg(outlink().get_program()).args(["run", "--config"]).arg(&world.story.config);
    let activator = Program::start(command);
    activator.logged("Listening on", SOON);
    support::queued::until("systemd-socket-activate listens", SOON, || TcpStream::connect(world.address(0)).is_ok());
    // The first connection starts the daemon, and waits for it.
    let mut tcp = Wire::over(connect(world.address(0)));
    assert!(tcp.reply().starts_with("220 "));
    assert!(tcp.login("sandbox", &world.story.password).starts_with("235 "));
    assert!(tcp.send(MESSAGE).starts_with("250 "));
    let stream = UnixStream::connect(&socket).expect("it is there");
    stream.set_read_timeout(Some(LONG)).expect("a time-out can be set");
    let mut unix = Wire::over(stream);
    assert!(unix.reply().starts_with("220 "));
    assert!(unix.login("sandbox", &world.story.password).starts_with("235 "), "what is said over a Unix socket stays here");
    assert!(unix.send(MESSAGE).starts_with("250 "));
    activator.logged("unix:uid=", SOON);
    assert_eq!(world.story.command(&["stop"]).0, Some(0));
    assert!(socket.exists(), "a passed socket is systemd's");
}

#[test]
fn a_message_without_a_true_end_is_named_when_its_time_is_over() {
    let hasty = "[listener.hasty]\nbind = \"127.0.0.1:{0}\"\n[listener.hasty.limits]\nidle = \"1s\"\n";
    let world = World::new(hasty);
    let daemon = world.story.start();
    for (end, name) in [("\n.\n", "LF.LF"), ("\n.\r\n", "LF.CRLF"), ("\r\n.\n", "CRLF.LF")] {
        let mut wire = Wire::over(connect(world.address(0)));
        wire.reply();
        assert!(wire.login("sandbox", &world.story.password).starts_with("235 "));
        for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<team@example.org>", "DATA"] {
            wire.say(line);
        }
        wire.write(format!("Subject: x\n\nHello.{end}").as_bytes());
        let said = wire.reply();
        assert!(said.starts_with("421 4.4.2 ") && said.contains(name), "{said}");
        daemon.logged(&format!("the app ends its message with {name} instead of CRLF.CRLF"), SOON);
    }
    // An app that gives up before we do is named, too.
    let mut wire = world.story.app();
    for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<team@example.org>", "DATA"] {
        wire.say(line);
    }
    wire.write("Subject: x\n\nHello.\n.\n");
    drop(wire);
    daemon.await_count(1, &["\"listener\":\"local\"", "the app ends its message with LF.LF instead of CRLF.CRLF"]);
}

#[test]
fn a_message_that_comes_back_again_and_again_is_refused() {
    let world = World::new("");
    let daemon = world.story.start();
    let mut app = world.story.app();
    let returned = |earlier: &[&str]| {
        let field = |id: &&str| {
            format!(
                "Received: from x ([127.0.0.1])\r\n\tby relay.sandbox.example with ESMTPA id {id};\r\n\tMon, 23 Nov 2026 12:00:00 +0000\r\n"
            )
        };
        earlier.iter().map(field).collect::<String>()
    };
    let mut send = |trace: &str, body: &str| {
        for line in ["MAIL FROM:<robot@sandbox.example>", "RCPT TO:<team@example.org>", "DATA"] {
            assert!(app.say(line).starts_with(['2', '3']));
        }
        app.say(&format!("{trace}Subject: loop\r\n\r\n{body}\r\n."))
    };
    let first = send("", "Hello.");
    let earlier = id(&first).to_owned();
    let three = [earlier.as_str(); 3];
    assert!(send(&returned(&three[..2]), "Forwarded twice.").starts_with("250 "));
    let said = send(&returned(&three), "Once more.");
    assert!(said.starts_with("554 5.4.6 ") && said.contains(&earlier), "{said}");
    let line = daemon.logged("the message came through this relay before and came back: a mail loop", SOON);
    assert!(line.contains(&format!("\"latest\":\"{earlier}\"")), "{line}");
    // What a bounce quotes is no trace of its own, nor is that of another relay.
    assert!(send("", &returned(&three)).starts_with("250 "));
    assert!(
        send(&returned(&three).replace("relay.sandbox.example", "relay.example.net"), "Two relays in a row.").starts_with("250 ")
    );
}

#[test]
fn a_socket_in_use_and_a_certificate_that_cannot_be_read_are_said_at_the_start() {
    let world = World::new("[listener.unix]\nbind = \"unix:{dir}/smtp.sock\"\n");
    let socket = world.directory().join("smtp.sock");
    let other = std::os::unix::net::UnixListener::bind(&socket).expect("it can be bound");
    let (status, said) = world.story.command(&["run"]);
    assert!(status == Some(69) && said.contains("another program listens there"), "{status:?} {said}");
    // What a killed program left is replaced.
    drop(other);
    let mut command = outlink();
    command.args(["run", "--config"]).arg(&world.story.config);
    let daemon = start_ready(command, world.directory());
    let mut wire = Wire::over(UnixStream::connect(&socket).expect("it is there"));
    assert!(wire.reply().starts_with("220 "));
    drop(daemon);

    let world = World::new(TLS);
    fs::remove_file(world.directory().join("key.pem")).expect("it was there");
    let (status, said) = world.story.command(&["check"]);
    assert!(status == Some(78) && said.contains("listener.submission.key: cannot read"), "{status:?} {said}");
    let (status, said) = world.story.command(&["run"]);
    assert!(status == Some(78) && said.contains("listener.submissions.key: cannot read"), "{status:?} {said}");
}
