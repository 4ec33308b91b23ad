//! `outlink sandbox` as a person meets it: the commands that it prints work, faults go on and off, limits hold, ports may be taken.

mod support;

use std::{net::TcpListener, process::Command};
use support::{Program, SOON, Sandbox, http, outlink, run, story::App};

/// The command that begins with `first` in what was printed, with its continuation lines.
fn printed_command(output: &str, first: &str) -> String {
    let mut lines = output.lines().skip_while(|line| !line.trim_start().starts_with(first));
    let mut command = String::new();
    for line in &mut lines {
        command += line;
        if !line.ends_with('\\') {
            break;
        }
        command.push('\n');
    }
    assert!(!command.is_empty(), "no {first} command in:\n{output}");
    command
}

fn shell(text: &str) -> (bool, String) {
    let mut command = Command::new("sh");
    command.args(["-c", text]);
    let output = run(command, b"", SOON);
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// `outlink sandbox fault …` for this sandbox.
fn fault(sandbox: &Sandbox, words: &[&str]) -> (Option<i32>, String) {
    let mut command = outlink();
    command.args(["sandbox", "fault"]).args(words).args(["--port-http", &sandbox.http.port().to_string()]);
    let output = run(command, b"", SOON);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// One message through swaks: whether it was taken, and the dialogue.
fn send(sandbox: &Sandbox) -> (bool, String) {
    let (address, user, password) = (sandbox.smtp, &sandbox.user, &sandbox.password);
    shell(&format!(
        "swaks --server {address} --ehlo client.example --auth PLAIN --auth-user {user} --auth-password {password} \
         --from robot@sandbox.example --to team@example.org"
    ))
}

#[test]
fn the_printed_commands_send_and_ctrl_c_ends_it() {
    for personality in ["google", "microsoft", "custom"] {
        let mut command = outlink();
        command.args(["sandbox", "--port-relay", "0", "--port-smtp", "0", "--port-http", "0", "--provider", personality]);
        let sandbox = Program::start(command);
        sandbox.printed("What the provider receives", SOON);
        let page = sandbox.output();
        for (first, subject) in [("printf", "hello"), ("swaks", "test ")] {
            let command = printed_command(&page, first);
            let (sent, said) = shell(&command);
            assert!(sent, "{personality}: {command}\n{said}\n{}", sandbox.output());
            let line = sandbox.printed(&format!("subject \"{subject}"), SOON);
            assert!(line.contains("from sandbox@example.com to you@example.com") && line.contains("token"), "{line}");
        }
        sandbox.signal("INT");
        let (status, output) = sandbox.ended();
        assert_eq!(status, Some(0), "{personality}: {output}");
    }
}

#[test]
fn a_taken_port_is_said_in_one_sentence_with_its_option() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let options = ["--port-relay", "--port-smtp", "--port-http"];
    for option in options {
        let mut command = outlink();
        command.arg("sandbox");
        for other in options {
            command.args([other, if other == option { &port } else { "0" }]);
        }
        let output = run(command, b"", SOON);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{option}: {said}");
        assert!(said.contains(option) && said.contains(&port) && said.lines().count() == 1, "{option}: {said}");
        assert!(output.stdout.is_empty(), "{option}: {output:?}");
    }
}

#[test]
fn faults_are_switched_from_the_command_line() {
    let mut sandbox = Sandbox::start(&[]);
    assert_eq!(fault(&sandbox, &["recipient-refused", "on", "--times", "1"]), (Some(0), String::new()));
    let (sent, said) = send(&sandbox);
    assert!(!sent && said.contains("550 5.1.1"), "{said}");
    let (sent, said) = send(&sandbox);
    assert!(sent, "it struck once:\n{said}");
    sandbox.received(SOON);
    assert_eq!(fault(&sandbox, &["send-as-denied", "on"]).0, Some(0));
    let (sent, said) = send(&sandbox);
    assert!(!sent && said.contains("550 5.7."), "{said}");
    assert_eq!(fault(&sandbox, &["send-as-denied", "off"]).0, Some(0));
    assert!(send(&sandbox).0);

    let (status, said) = fault(&sandbox, &["earthquake", "on"]);
    assert!(status == Some(1) && said.contains("expired-token") && said.contains("round-trip"), "{status:?} {said}");
    let (http, port) = (sandbox.http, sandbox.http.port().to_string());
    assert_eq!(sandbox.program.stop().0, Some(0));
    let mut command = outlink();
    command.args(["sandbox", "fault", "quota", "on", "--port-http", &port]);
    let output = run(command, b"", SOON);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(69) && said.contains(&http.to_string()), "{said}");
}

#[test]
fn a_link_by_consent_sends_through_every_personality() {
    for personality in ["google", "microsoft", "custom"] {
        let mut sandbox = Sandbox::start(&["--provider", personality, "--grant", "authorization-code"]);
        let said = App::login(sandbox.smtp, &sandbox.user, &sandbox.password).send();
        assert!(said.starts_with("250 "), "{personality}: {said}");
        sandbox.received(SOON);
    }
    let mut command = outlink();
    command.args(["sandbox", "--provider", "google", "--grant", "client-credentials"]);
    let output = run(command, b"", SOON);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(64) && said.contains("google has no grant client-credentials"), "{said}");
}

#[test]
fn a_link_of_every_proof_sends() {
    for options in [
        &["google", "--grant", "service-account"][..],
        &["microsoft", "--proof", "certificate"],
        &["microsoft", "--proof", "federated-token"],
        &["microsoft", "--grant", "authorization-code", "--proof", "certificate"],
        &["microsoft", "--grant", "authorization-code", "--proof", "none"],
        &["custom", "--proof", "certificate"],
        &["custom", "--grant", "authorization-code", "--proof", "none"],
        &["microsoft", "--grant", "device-code"],
        &["custom", "--grant", "device-code"],
    ] {
        let mut sandbox = Sandbox::start(&[&["--provider"], options].concat());
        let said = App::login(sandbox.smtp, &sandbox.user, &sandbox.password).send();
        assert!(said.starts_with("250 "), "{options:?}: {said}");
        sandbox.received(SOON);
        let stats: serde_json::Value = serde_json::from_slice(&http(sandbox.http, "GET", "/stats", "").1).expect("statistics");
        let signs = options.iter().any(|word| ["certificate", "federated-token", "service-account"].contains(word));
        assert_eq!(stats["assertions"].as_u64().is_some_and(|number| number > 0), signs, "{options:?}: {stats}");
    }
}

#[test]
fn every_setting_of_a_fault_has_an_option() {
    let sandbox = Sandbox::start(&[]);
    let options = [
        ("--times", "7"),
        ("--seconds", "7"),
        ("--mailbox", "7"),
        ("--client", "7"),
        ("--milliseconds", "7"),
        ("--retry-after", "7"),
        ("--count", "7"),
        ("--error", "7"),
        ("--description", "7"),
        ("--aadsts", "7"),
        ("--subtype", "7"),
        ("--status", "407"),
        ("--html", "7"),
        ("--via", "page"),
        ("--step", "auth"),
        ("--reply", "450 7"),
    ];
    let words: Vec<&str> =
        ["smtp-reply", "on"].into_iter().chain(options.iter().flat_map(|(option, value)| [*option, value])).collect();
    assert_eq!(fault(&sandbox, &words), (Some(0), String::new()));
    let faults: serde_json::Value = serde_json::from_slice(&http(sandbox.http, "GET", "/faults", "").1).expect("a list");
    let on = faults.as_array().into_iter().flatten().find(|fault| fault["on"] == true).expect("it is on");
    let setting = on["setting"].as_object().expect("its setting");
    for (option, given) in options {
        let value = &setting[&option[2..].replace('-', "_")];
        assert_eq!(value.as_str().map_or_else(|| value.to_string(), str::to_owned), given, "{option}: {on}");
    }
    assert_eq!(setting.len(), options.len(), "{on}");
    for (words, complaint) in [
        (&["smtp-reply", "on"][..], "give `step`"),
        (&["smtp-reply", "on", "--step", "auth", "--reply", "250 OK"], "from 400 to 599"),
        (&["smtp-reply", "on", "--step", "noop", "--reply", "450 later"], "unknown variant `noop`"),
        (&["token-refused", "on", "--status", "200"], "from 400 to 599"),
    ] {
        let (status, said) = fault(&sandbox, words);
        assert!(status == Some(1) && said.contains(complaint), "{words:?}: {said}");
    }
}

#[test]
fn a_consent_that_is_left_to_a_person_is_asked_for() {
    for personality in ["google", "custom"] {
        let mut command = outlink();
        command.args(["sandbox", "--provider", personality, "--grant", "authorization-code", "--no-grant"]);
        command.args(["--port-relay", "0", "--port-smtp", "0", "--port-http", "0"]);
        let sandbox = Program::start(command);
        let page = sandbox.printed("What the provider receives", SOON);
        assert!(sandbox.output().contains("outlink authorize sandbox --config /"), "{}", sandbox.output());
        let address = page.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        let address = address.parse().expect("an address");
        let (status, answer) = http(address, "GET", "/authorize?client_id=other", "");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!((400..500).contains(&status) && answer.contains("invalid_client"), "{answer}");
    }
}

#[test]
fn every_grant_and_proof_writes_its_files_and_says_what_to_do() {
    for (options, files) in [
        (&["google", "--grant", "authorization-code"][..], &["client-secret", "grant"][..]),
        (&["google", "--grant", "service-account"], &["service-account.json"]),
        (&["microsoft", "--proof", "certificate"], &["client-key.pem", "client.pem"]),
        (&["microsoft", "--proof", "federated-token"], &["federated-token"]),
        (&["microsoft", "--grant", "device-code"], &["grant"]),
        (&["custom", "--grant", "device-code", "--no-grant"], &["client-secret"]),
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = outlink();
        command.args(["sandbox", "--port-smtp", "0", "--port-http", "0", "--provider-only", "--write-config"]);
        command.arg(directory.path()).arg("--provider").args(options);
        let sandbox = Program::start(command);
        sandbox.printed("What the provider receives", SOON);
        let names = std::fs::read_dir(directory.path()).expect("it is there").map(|entry| entry.expect("a file").file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.retain(|name| !["ca.pem", "outlink.toml"].contains(&name.as_str()));
        names.sort();
        assert_eq!(names, files, "{options:?}");
        assert!(sandbox.output().contains("outlink run --config"), "{options:?}");
        assert_eq!(sandbox.output().contains("outlink grant import"), files.contains(&"grant"), "{options:?}");
        assert_eq!(sandbox.output().contains("outlink authorize sandbox"), options.contains(&"--no-grant"), "{options:?}");
    }
    let mut command = outlink();
    command.args(["sandbox", "--provider", "google", "--proof", "certificate"]);
    let output = run(command, b"", SOON);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(64) && said.contains("google takes no proof certificate"), "{said}");
}
