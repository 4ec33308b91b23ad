//! The program's way to a token endpoint through the environment's proxy, and the end of a grant by command, running and stopped.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};
use support::{SOON, outlink, run, start_daemon};

/// A token endpoint, or a proxy that answers as if it had asked one; tells the first line of each request.
struct Endpoint {
    address: SocketAddr,
    heard: Receiver<String>,
}

impl Endpoint {
    fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, (tell, heard)) = (socket.local_addr().unwrap(), channel());
        thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let tell = tell.clone();
                thread::spawn(move || answer(stream, &tell));
            }
        });
        Self { address, heard }
    }

    fn next(&self) -> String {
        self.heard.recv_timeout(SOON).expect("a request comes")
    }
}

fn answer(stream: TcpStream, tell: &Sender<String>) {
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone().unwrap()), stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) < 3 {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        tell.send(format!("{} {body}", first.trim())).unwrap();
        let text = r#"{"access_token":"at","token_type":"Bearer","expires_in":3600}"#;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", text.len());
        writer.write_all(format!("{head}{text}").as_bytes()).unwrap();
    }
}

/// A configuration of one mailbox, whose link has `grant` and asks `endpoint`.
fn configured(directory: &Path, grant: &str, endpoint: SocketAddr) -> PathBuf {
    let file = directory.join("outlink.toml");
    let text = format!(
        "state-directory = '{0}/state'\n[log]\nformat = 'json'\n[listener.local]\nbind = '127.0.0.1:0'\n\
         [link.main]\nprovider = 'custom'\ngrant = '{grant}'\nclient-id = 'me'\nclient-secret = {{ file = '{0}/secret' }}\n\
         scopes = ['mail']\ntoken-endpoint = 'http://{endpoint}/token'\nrevocation-endpoint = 'http://{endpoint}/revoke'\n\
         [mailbox.robot]\nlink = 'main'\naddress = 'robot@example.com'\nserver = 'smtp.example.com:587'\n",
        directory.display()
    );
    fs::write(&file, text).unwrap();
    fs::write(directory.join("secret"), "hidden").unwrap();
    file
}

#[test]
fn the_environment_says_which_proxy_is_taken_and_which_host_needs_none() {
    let (endpoint, proxy) = (Endpoint::start(), Endpoint::start());
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), "client-credentials", endpoint.address);
    let url = format!("http://me:marked@{}", proxy.address);
    let daemon = start_daemon(&config, directory.path(), &[("HTTP_PROXY", &url)]);
    assert!(proxy.next().starts_with(&format!("POST http://{}/token HTTP/1.1", endpoint.address)));
    drop(daemon);
    let _daemon = start_daemon(&config, directory.path(), &[("HTTP_PROXY", &url), ("NO_PROXY", "127.0.0.1")]);
    assert!(endpoint.next().starts_with("POST /token HTTP/1.1"));
    assert!(proxy.heard.try_recv().is_err());
}

#[test]
fn a_proxy_of_the_environment_that_is_not_there_is_named_without_its_password() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), "client-credentials", gone);
    let daemon = start_daemon(&config, directory.path(), &[("HTTP_PROXY", &format!("http://me:marked@{gone}"))]);
    let line = daemon.logged("token.failed", SOON);
    assert!(line.contains(&format!("could not be asked through the proxy {gone}")), "{line}");
    assert!(!daemon.output().contains("marked"), "{}", daemon.output());
}

/// Runs a command; gives its exit status and all that it wrote.
fn ask(words: &[&str], input: &[u8], config: &Path) -> (Option<i32>, String) {
    let mut command = outlink();
    command.args(words).arg("--config").arg(config);
    let output = run(command, input, SOON);
    let text = [output.stdout, output.stderr].map(|octets| String::from_utf8(octets).unwrap()).concat();
    (output.status.code(), text)
}

#[test]
fn a_grant_is_revoked_by_command_beside_a_daemon_and_without_one() {
    let endpoint = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), "authorization-code", endpoint.address);
    let revoke = ["grant", "revoke", "robot", "--yes"];
    let import = || {
        let (status, text) = ask(&["grant", "import", "robot"], b"marked-token", &config);
        assert_eq!(status, Some(0), "{text}");
    };
    import();
    let (status, text) = ask(&revoke[..3], b"", &config);
    assert!(status == Some(64) && text.contains("--yes"), "{text}");
    assert!(endpoint.heard.try_recv().is_err());

    let (status, text) = ask(&revoke, b"", &config);
    assert!(status == Some(0) && text.contains("the provider has revoked it") && !text.contains("marked"), "{text}");
    assert!(endpoint.next().contains("/revoke HTTP/1.1 token=marked-token&"));
    let (status, text) = ask(&revoke, b"", &config);
    assert!(status == Some(1) && text.contains("mailbox robot has no grant"), "{text}");

    import();
    let daemon = start_daemon(&config, directory.path(), &[]);
    assert!(endpoint.next().contains("refresh_token=marked-token"));
    let (status, text) = ask(&revoke, b"", &config);
    assert!(status == Some(0) && text.contains("its mail waits"), "{text}");
    assert!(endpoint.next().contains("/revoke HTTP/1.1 token=marked-token&"));
    daemon.logged("grant.revoked", SOON);
    daemon.logged("has no grant yet", SOON);
    let (_, text) = ask(&["status", "--json"], b"", &config);
    assert!(text.contains("needs-consent") && !daemon.output().contains("marked"), "{text}");
}
