//! `outlink run` between programs that are not ours: an app (swaks) on one side, oidc-provider and nodemailer's smtp-server with
//! XOAUTH2 over TLS on the other (`tests/clients/provider.mjs`). Every secret in here is known, so its absence from all output of
//! every story can be checked.

mod support;

use serde_json::Value;
use std::{fs, net::SocketAddr, path::PathBuf, process::Command};
use support::{Program, SOON, free_port, http, outlink, run, start_daemon, write_certificates};

const CLIENT_SECRET: &str = "marked-client-secret-4711";
const APP_PASSWORD: &str = "marked-app-password-0815";
const WRONG_PASSWORD: &str = "marked-wrong-password-1234";
const MAILBOX: &str = "robot@example.com";

/// The provider, a configuration for it, and the daemon when it was started.
struct World {
    directory: tempfile::TempDir,
    provider: Program,
    oauth: SocketAddr,
    refresh_token: String,
    relay: u16,
    config: PathBuf,
    daemon: Option<Program>,
    /// What earlier programs of this story wrote.
    written: String,
}

impl World {
    /// `tls` is `starttls` or `implicit`, `authentication` is `post` or `basic`.
    fn new(grant: &str, tls: &str, authentication: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ca = write_certificates(directory.path());
        let mut command = Command::new("node");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/provider.mjs")).arg(directory.path()).arg(tls);
        command.env("CLIENT_SECRET", CLIENT_SECRET).env("CLIENT_AUTHENTICATION", format!("client_secret_{authentication}"));
        let mut provider = Program::start(command);
        let ready = provider.event("ready", SOON);
        let text = |key: &str| ready[key].as_str().unwrap_or_else(|| panic!("`{key}` is missing in {ready}")).to_owned();
        let oauth = text("oauth");
        let relay = free_port();
        fs::write(directory.path().join("client.secret"), format!("{CLIENT_SECRET}\n")).expect("it can be written");
        let offline = if grant == "authorization-code" { r#", "offline_access""# } else { "" };
        let config = format!(
            r#"
state-directory = "{state}"
hostname = "relay.example.com"

[listener.local]
bind = "127.0.0.1:{relay}"
delivery = "direct"

[link.theirs]
provider = "custom"
grant = "{grant}"
client-id = "outlink"
client-secret = {{ file = "{secret}" }}
client-authentication = "{authentication}"
scopes = ["mail.send"{offline}]
authorization-endpoint = "{oauth}/auth"
token-endpoint = "{oauth}/token"
redirect-url = "http://127.0.0.1:8025/oauth/callback"
ca-file = "{ca}"

[mailbox.robot]
link = "theirs"
address = "{MAILBOX}"
server = "{smtp}"
tls = "{tls}"

[app.crowd]
password = "{password}"
mailbox = "robot"

[http]
bind = "127.0.0.1:{http}"

[log]
level = "trace"
"#,
            state = directory.path().join("state").display(),
            secret = directory.path().join("client.secret").display(),
            ca = ca.display(),
            smtp = text("smtp"),
            password = hash(APP_PASSWORD),
            http = free_port(),
        );
        let file = directory.path().join("outlink.toml");
        fs::create_dir(directory.path().join("state")).expect("it can be made");
        fs::write(&file, config).expect("it can be written");
        let oauth = oauth.trim_start_matches("http://").parse().expect("an address");
        let refresh_token = text("refresh");
        Self { directory, provider, oauth, refresh_token, relay, config: file, daemon: None, written: String::new() }
    }

    fn start(&mut self) {
        self.daemon = Some(start_daemon(&self.config, self.directory.path(), &[("RUST_LOG", "trace")]));
    }

    fn import(&mut self) {
        let mut command = outlink();
        command.args(["grant", "import", "robot", "--config"]).arg(&self.config);
        let output = run(command, format!("{}\n", self.refresh_token).as_bytes(), SOON);
        self.keep(&output);
        assert!(output.status.success(), "grant import: {output:?}");
    }

    fn keep(&mut self, output: &std::process::Output) {
        self.written += &format!("{}\n{}\n", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }

    /// Makes the provider misbehave, or `well` again.
    fn mode(&self, name: &str) {
        assert_eq!(http(self.oauth, "PUT", &format!("/mode/{name}"), "").0, 204);
    }

    /// Sends as the app does; gives whether it was taken, and what swaks saw.
    fn send(&self, password: &str, to: &str) -> (bool, String) {
        let mut command = Command::new("swaks");
        command.args(["--timeout", "80", "--server", "127.0.0.1", "--port", &self.relay.to_string(), "--ehlo", "client.example"]);
        command.args(["--auth", "PLAIN", "--auth-user", "crowd", "--auth-password", password]);
        command.args(["--from", MAILBOX, "--to", to, "--header", "Subject: counterpart", "--body", ".\n..two\nend"]);
        let output = run(command, b"", SOON * 3);
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn expect_taken(&self) {
        let (taken, said) = self.send(APP_PASSWORD, "team@example.org");
        assert!(taken, "{said}\noutlink:\n{}", self.output());
    }

    fn output(&self) -> String {
        self.daemon.as_ref().map_or_else(String::new, Program::output)
    }

    /// Stops the daemon cleanly; what it wrote is kept.
    fn stop(&mut self) {
        let (status, output) = self.daemon.take().expect("it was started").stop();
        assert_eq!(status, Some(0), "{output}");
        self.written += &output;
    }

    /// Everything secret of this story, in every form in which it could slip out.
    fn secrets(&self) -> Vec<String> {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let mut plain: Vec<String> =
            [CLIENT_SECRET, APP_PASSWORD, WRONG_PASSWORD, "marked-broken-access-token", "marked-broken-refresh-token"]
                .map(str::to_owned)
                .to_vec();
        plain.push(self.refresh_token.clone());
        let mut encoded =
            vec![format!("\0crowd\0{APP_PASSWORD}"), format!("\0crowd\0{WRONG_PASSWORD}"), format!("outlink:{CLIENT_SECRET}")];
        for token in self.provider.events("token") {
            let text = |key: &str| token[key].as_str().map(str::to_owned);
            encoded.extend(text("access").map(|access| format!("user={MAILBOX}\x01auth=Bearer {access}\x01\x01")));
            plain.extend(text("access").into_iter().chain(text("refresh")));
        }
        encoded.extend(plain.iter().cloned());
        plain
            .into_iter()
            .chain(encoded.into_iter().map(|text| BASE64_STANDARD.encode(text).trim_end_matches('=').to_owned()))
            .collect()
    }

    /// Fails when anything secret stands in anything written. Shows where, not what.
    fn expect_no_secret(&self) {
        let written = format!("{}\n{}", self.written, self.output());
        assert!(written.contains("crowd"), "nothing was logged at all, so nothing is proven:\n{written}");
        let leaks: Vec<&str> =
            written.lines().filter(|line| self.secrets().iter().any(|secret| line.contains(secret.as_str()))).collect();
        assert!(leaks.is_empty(), "secrets were written:\n{}", leaks.join("\n"));
    }
}

fn hash(password: &str) -> String {
    let mut command = outlink();
    command.args(["app", "hash"]);
    let output = run(command, format!("{password}\n").as_bytes(), SOON);
    assert!(output.status.success(), "app hash: {output:?}");
    String::from_utf8(output.stdout).expect("a hash is text").trim().to_owned()
}

fn text_of(event: &Value) -> String {
    fs::read_to_string(event["file"].as_str().expect("a file")).expect("the message was kept")
}

#[test]
fn client_credentials_and_a_mail_server_that_are_not_ours() {
    for (tls, authentication) in [("starttls", "post"), ("implicit", "basic")] {
        let mut world = World::new("client-credentials", tls, authentication);
        world.start();
        world.expect_taken();
        let received = world.provider.event("received", SOON);
        assert_eq!((received["from"].as_str(), &received["to"]), (Some(MAILBOX), &serde_json::json!(["team@example.org"])));
        let text = text_of(&received);
        assert!(text.starts_with("Received: ") && text.contains("\r\nSubject: counterpart\r\n"), "{text}");
        assert!(text.contains("\r\n\r\n.\r\n..two\r\nend\r\n"), "{text}");
        world.expect_taken();
        let tokens = world.provider.events("token").len();
        assert_eq!(tokens, 1, "one token serves all messages");
        world.stop();
        world.expect_no_secret();
    }
}

#[test]
fn an_imported_refresh_token_is_renewed_and_its_successor_survives_a_restart() {
    let mut world = World::new("authorization-code", "starttls", "post");
    world.import();
    world.start();
    world.expect_taken();
    world.stop();
    // The provider spends a refresh token by using it: only the stored successor brings a second access token.
    world.start();
    world.expect_taken();
    world.stop();
    assert_eq!(world.provider.events("token").len(), 2, "one renewal for each start");
    assert!(world.provider.events("token-refused").is_empty(), "a spent refresh token was used again");
    assert_eq!(world.provider.events("received").len(), 2);
    world.expect_no_secret();
}

#[test]
fn a_running_daemon_takes_up_an_imported_grant() {
    let mut world = World::new("authorization-code", "implicit", "post");
    world.start();
    let (taken, said) = world.send(APP_PASSWORD, "team@example.org");
    assert!(!taken && said.contains("451 4."), "no grant yet: {said}");
    world.import();
    world.expect_taken();
    world.stop();
    world.expect_no_secret();
}

/// Each: the provider's mode, the recipient, and what the app hears.
const TROUBLE: &[(&str, &str, &str)] = &[
    ("token-down", "team@example.org", "451 4."),
    ("token-garbage", "team@example.org", "451 4."),
    ("token-odd", "team@example.org", "451 4."),
    ("token-denied", "team@example.org", "451 4."),
    ("login-refused", "team@example.org", "451 4."),
    ("message-refused", "team@example.org", "554 5.6.0"),
    ("well", "refused@example.org", "550 5.1.1"),
];

#[test]
fn no_error_path_writes_a_secret() {
    for (mode, to, expected) in TROUBLE {
        // A grant each: after `token-denied` and the like a mailbox rests, and the next row would not reach the provider.
        let mut world = World::new("authorization-code", "starttls", "post");
        world.import();
        world.mode(mode);
        world.start();
        let (taken, said) = world.send(APP_PASSWORD, to);
        assert!(!taken && said.contains(expected), "{mode}: no {expected}\n{said}\noutlink:\n{}", world.output());
        let (taken, said) = world.send(WRONG_PASSWORD, to);
        assert!(!taken && said.contains("535 5.7.8"), "{mode}: no 535\n{said}");
        for command in [&["status"][..], &["status", "--json"], &["check"], &["reload"]] {
            let mut asked = outlink();
            asked.args(command).arg("--config").arg(&world.config);
            let output = run(asked, b"", SOON);
            world.keep(&output);
        }
        world.stop();
        world.expect_no_secret();
    }
}

#[test]
fn a_faulty_configuration_is_reported_without_its_secrets() {
    let mut world = World::new("client-credentials", "starttls", "post");
    world.written = "crowd".into();
    let text = fs::read_to_string(&world.config).expect("it was written");
    let from = text.find("client-secret = ").expect("it has one");
    let to = from + text[from..].find('\n').expect("a line ends");
    let plain = format!("{}client-secret = \"{CLIENT_SECRET}\"{}", &text[..from], &text[to..]);
    let clear = plain.replace(
        &text[text.find("password = \"").expect("it has one")..text.find("\nmailbox = ").expect("it has one")],
        "PASSWORD",
    );
    for faulty in [
        plain.replace("grant = ", "grunt = "),
        clear.replace("PASSWORD", &format!("password = \"{APP_PASSWORD}\"")),
        plain.replace(&format!("\"{CLIENT_SECRET}\""), &format!("\"{CLIENT_SECRET}")),
        plain.replace(&format!("\"{CLIENT_SECRET}\""), &format!("[\"{CLIENT_SECRET}\"]")),
    ] {
        fs::write(&world.config, faulty).expect("it can be written");
        for command in [&["check"][..], &["check", "--json"], &["run"]] {
            let mut asked = outlink();
            asked.args(command).arg("--config").arg(&world.config);
            let output = run(asked, b"", SOON);
            assert_eq!(output.status.code(), Some(78), "{output:?}");
            world.keep(&output);
        }
    }
    world.expect_no_secret();
}
