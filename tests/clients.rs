//! Mail programs that others wrote send through the real binary, and what arrives at the provider is compared octet by octet. Kinds of
//! encryption, logins and wrong passwords are in `matrix.rs`.
//!
//! Every letter carries Date and Message-ID, so that all the relay may add is one Received field on top (RFC 6409 §8).

mod support;

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};
use support::{LONG, SOON, Sandbox, run};

const FROM: &str = "crowd@example.com";

/// One message to send.
struct Letter {
    _directory: tempfile::TempDir,
    file: PathBuf,
    octets: Vec<u8>,
    recipients: Vec<String>,
}

impl Letter {
    fn new(recipients: usize, subject: &str, body: &[u8]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut octets = format!(
            "Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nFrom: Crowd <{FROM}>\r\nTo: team@example.org\r\n\
             Message-ID: <letter@client.example>\r\nSubject: {subject}\r\n\r\n"
        )
        .into_bytes();
        octets.extend_from_slice(body);
        let file = directory.path().join("letter.eml");
        fs::write(&file, &octets).expect("it can be written");
        let recipients = (1..=recipients).map(|number| format!("recipient{number}@example.org")).collect();
        Self { _directory: directory, file, octets, recipients }
    }

    fn small() -> Self {
        Self::new(1, "small", b"Hello.\r\n")
    }

    /// What is easily damaged on the way, by name.
    fn all() -> Vec<(&'static str, Self)> {
        vec![
            ("dots at line starts", Self::new(2, "dots", b".\r\n..\r\n.hidden\r\n...\r\n\r\n. .\r\nend\r\n")),
            ("a body that is only a dot", Self::new(1, "dot", b".\r\n")),
            ("UTF-8 header, 8-bit body", Self::new(1, "Gr\u{fc}\u{df}e \u{2014} \u{7d42}", b"latin \xe9\xff, utf \xc3\xa9\r\n")),
            ("100 recipients", Self::new(100, "many", b"Hello, all.\r\n")),
            ("an attachment of 25 MB", Self::new(1, "large", &attachment())),
        ]
    }
}

/// 25 MB in base64, as a mail program would write them.
fn attachment() -> Vec<u8> {
    let line = [b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0".as_slice(), b"\r\n"].concat();
    line.repeat(25_000_000 / 57)
}

type Client = fn(&Sandbox, &str, &Letter) -> (Command, Vec<u8>);

/// The programs, each with how it is told to send a letter with `PLAIN` or `LOGIN`; the octets are for its standard input.
const CLIENTS: &[(&str, Client)] =
    &[("curl", curl), ("swaks", swaks), ("smtplib", smtplib), ("msmtp", msmtp), ("nodemailer", nodemailer)];

fn curl(sandbox: &Sandbox, mechanism: &str, letter: &Letter) -> (Command, Vec<u8>) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--verbose", "--url", &format!("smtp://{}/client.example", sandbox.smtp)]);
    command.args(["--user", &format!("{}:{}", sandbox.user, sandbox.password), "--login-options", &format!("AUTH={mechanism}")]);
    command.args(["--mail-from", FROM]).args(letter.recipients.iter().flat_map(|recipient| ["--mail-rcpt", recipient]));
    command.arg("--upload-file").arg(&letter.file);
    (command, Vec::new())
}

/// With PIPELINING, which the others do not use.
fn swaks(sandbox: &Sandbox, mechanism: &str, letter: &Letter) -> (Command, Vec<u8>) {
    let mut command = Command::new("swaks");
    command.args([
        "--pipeline",
        "--timeout",
        "170",
        "--server",
        &sandbox.smtp.ip().to_string(),
        "--port",
        &sandbox.smtp.port().to_string(),
    ]);
    command.args([
        "--ehlo",
        "client.example",
        "--auth",
        mechanism,
        "--auth-user",
        &sandbox.user,
        "--auth-password",
        &sandbox.password,
    ]);
    command.args(["--from", FROM, "--to", &letter.recipients.join(","), "--hide-send"]);
    // It takes a lone dot off the end before it adds its own.
    let file = letter.file.with_extension("swaks");
    fs::write(&file, [letter.octets.as_slice(), b"."].concat()).expect("it can be written");
    command.arg("--data").arg(format!("@{}", file.display()));
    (command, Vec::new())
}

fn script(program: &str, script: &str, sandbox: &Sandbox, mechanism: &str, letter: &Letter) -> (Command, Vec<u8>) {
    let mut command = Command::new(program);
    command.arg(format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR")));
    command.args([&sandbox.smtp.ip().to_string(), &sandbox.smtp.port().to_string(), &sandbox.user, &sandbox.password]);
    command.args([mechanism, FROM]).arg(&letter.file).args(&letter.recipients);
    (command, Vec::new())
}

fn smtplib(sandbox: &Sandbox, mechanism: &str, letter: &Letter) -> (Command, Vec<u8>) {
    script("python3", "send.py", sandbox, mechanism, letter)
}

fn nodemailer(sandbox: &Sandbox, mechanism: &str, letter: &Letter) -> (Command, Vec<u8>) {
    script("node", "send.mjs", sandbox, mechanism, letter)
}

fn msmtp(sandbox: &Sandbox, mechanism: &str, letter: &Letter) -> (Command, Vec<u8>) {
    let mut command = Command::new("msmtp");
    command.args([format!("--host={}", sandbox.smtp.ip()), format!("--port={}", sandbox.smtp.port()), "--tls=off".into()]);
    command.args([format!("--auth={}", mechanism.to_lowercase()), format!("--user={}", sandbox.user)]);
    command.args([
        format!("--passwordeval=printf %s '{}'", sandbox.password),
        format!("--from={FROM}"),
        "--domain=client.example".into(),
    ]);
    command.arg("--file=/dev/null").args(&letter.recipients);
    (command, letter.octets.clone())
}

/// Sends `letter` and returns what the program said; whether it should have worked is the caller's matter.
fn send(client: Client, sandbox: &Sandbox, mechanism: &str, letter: &Letter) -> (bool, String) {
    let (command, input) = client(sandbox, mechanism, letter);
    let output = run(command, &input, LONG);
    (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// What was received without the Received field that the relay put on top.
fn without_received(octets: &[u8]) -> &[u8] {
    assert!(
        octets.starts_with(b"Received: "),
        "no Received field on top: {}",
        String::from_utf8_lossy(&octets[..octets.len().min(400)])
    );
    let next_field = |at: &usize| octets[at - 2..*at] == *b"\r\n" && !matches!(octets.get(*at), Some(b' ' | b'\t'));
    &octets[(2..octets.len()).find(next_field).expect("a field has an end")..]
}

/// Says where two messages part, not 34 MB of them.
fn compare(what: &str, sent: &[u8], received: &[u8]) {
    let Some(at) = sent
        .iter()
        .zip(received)
        .position(|(a, b)| a != b)
        .or((sent.len() != received.len()).then(|| sent.len().min(received.len())))
    else {
        return;
    };
    let mut text = format!("{what}: {} octets sent, {} received, the first other one at {at}", sent.len(), received.len());
    for (name, octets) in [("sent", sent), ("received", received)] {
        let shown = &octets[at.saturating_sub(40)..octets.len().min(at + 40)];
        let _ = write!(text, "\n{name}: …{:?}…", String::from_utf8_lossy(shown));
    }
    panic!("{text}");
}

fn expect_arrival(name: &str, client: Client, sandbox: &mut Sandbox, mechanism: &str, letter: &Letter) {
    let (sent, said) = send(client, sandbox, mechanism, letter);
    assert!(sent, "{name} with {mechanism} failed:\n{said}\noutlink:\n{}", sandbox.program.output());
    let (event, octets) = sandbox.received(SOON);
    assert_eq!(event["from"], FROM, "{name}");
    assert_eq!(event["to"], serde_json::json!(letter.recipients), "{name}");
    compare(name, &letter.octets, without_received(&octets));
}

/// Switches a fault on. A token fetched ahead of need, before the fault of the token server, must not serve.
fn switch_on(sandbox: &Sandbox, fault: &str) {
    sandbox.fault(fault);
    if ["invalid-grant", "token-server-down"].contains(&fault) {
        sandbox.fault("expired-token");
    }
}

#[test]
fn every_letter_of_every_client_arrives_unchanged() {
    let mut sandbox = Sandbox::start(&[]);
    for (content, letter) in Letter::all() {
        for (number, (client, command)) in CLIENTS.iter().enumerate() {
            expect_arrival(&format!("{client}: {content}"), *command, &mut sandbox, ["PLAIN", "LOGIN"][number % 2], &letter);
        }
    }
    let (status, output) = sandbox.program.stop();
    assert_eq!(status, Some(0), "{output}");
}

#[test]
fn a_microsoft_sandbox_takes_mail_too() {
    let mut sandbox = Sandbox::start(&["--provider", "microsoft"]);
    for (content, letter) in Letter::all().iter().take(3) {
        expect_arrival(content, smtplib, &mut sandbox, "PLAIN", letter);
    }
}

#[test]
fn nothing_is_relayed_without_a_login() {
    let sandbox = Sandbox::start(&[]);
    let mut command = Command::new("swaks");
    command.args(["--server", &sandbox.smtp.ip().to_string(), "--port", &sandbox.smtp.port().to_string()]);
    command.args(["--ehlo", "client.example", "--from", FROM, "--to", "anyone@example.org"]);
    let output = run(command, b"", SOON);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("<** 530 5.7.0"), "{said}");
    assert!(sandbox.program.events("received").is_empty());
}

#[test]
fn trouble_of_the_link_is_temporary_for_the_app() {
    for fault in ["quota", "smtp-auth-disabled", "invalid-grant", "too-many-connections", "final-reply-lost"] {
        let sandbox = Sandbox::start(&[]);
        switch_on(&sandbox, fault);
        let (sent, said) = send(swaks, &sandbox, "PLAIN", &Letter::small());
        assert!(!sent && said.contains("451 4."), "{fault}: no 451\n{said}\noutlink:\n{}", sandbox.program.output());
    }
}

#[test]
fn mail_flows_again_when_the_trouble_has_passed() {
    for fault in ["busy", "token-server-down", "drop-in-data"] {
        let mut sandbox = Sandbox::start(&[]);
        switch_on(&sandbox, fault);
        let (sent, said) = send(swaks, &sandbox, "PLAIN", &Letter::small());
        assert!(!sent && said.contains("451 4."), "{fault}: no 451\n{said}\noutlink:\n{}", sandbox.program.output());
        sandbox.mend(fault);
        // A mailbox that backed off may answer 451 a little longer: that is the promise, not a failure.
        let deadline = Instant::now() + LONG;
        loop {
            let (sent, said) = send(swaks, &sandbox, "PLAIN", &Letter::small());
            if sent {
                break;
            }
            assert!(said.contains("451 4.") && Instant::now() < deadline, "{fault}, after its end:\n{said}");
            // The end of a back-off has no event that an app could await.
            thread::sleep(Duration::from_millis(500));
        }
        sandbox.received(SOON);
    }
}

#[test]
fn a_refused_recipient_is_the_apps_to_hear_and_nobody_gets_the_message() {
    let sandbox = Sandbox::start(&[]);
    sandbox.fault("recipient-refused");
    let mut letter = Letter::small();
    letter.recipients.extend(["second@example.org".into(), "third@example.org".into()]);
    let (sent, said) = send(swaks, &sandbox, "PLAIN", &letter);
    assert!(!sent && said.contains("550 5.1.1") && said.contains("recipient1@example.org"), "{said}");
    assert!(sandbox.program.events("received").is_empty());
}
