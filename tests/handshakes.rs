//! TLS as openssl sees it, at once and after STARTTLS: which versions are spoken, which certificates are shown, and that a client's own
//! certificate is a login.

mod support;

use std::{fs, path::Path, process::Command};
use support::{
    Program, SOON,
    office::{Mode, Office},
    run,
    wire::Authority,
};

const MODES: [Mode; 2] = [Mode::Starttls, Mode::Implicit];

/// `openssl s_client`, which fails unless `ca` vouches for the certificate.
fn openssl(office: &Office, mode: Mode, ca: &Path, more: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &office.address(mode).to_string(), "-verify_return_error", "-CAfile"]).arg(ca);
    if mode == Mode::Starttls {
        command.args(["-starttls", "smtp"]);
    }
    command.args(more);
    command
}

/// What it says when there is nothing to say to the server.
fn look(office: &Office, mode: Mode, ca: &Path, more: &[&str]) -> (bool, String) {
    let output = run(openssl(office, mode, ca, more), b"QUIT\r\n", SOON);
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn openssl_is_shown_the_configured_chain_by_any_name() {
    let office = Office::open();
    let root = Authority::new("outlink test root");
    let intermediate = root.below("outlink test intermediate");
    let (leaf, key) = intermediate.issue(&["localhost"], 90);
    let ca = office.path("root.pem");
    let etc = office.story.config.parent().expect("a directory");
    fs::write(&ca, root.pem()).expect("it can be written");
    fs::write(etc.join("key.pem"), key).expect("it can be written");
    // Without the intermediate, whoever knows only the root cannot verify.
    fs::write(etc.join("cert.pem"), &leaf).expect("it can be written");
    office.story.good(&["reload"]);
    office.daemon.await_count(2, &["certificate.changed"]);
    let (trusted, said) = look(&office, Mode::Implicit, &ca, &[]);
    assert!(!trusted && said.contains("unable to get local issuer certificate"), "{said}");
    fs::write(etc.join("cert.pem"), format!("{leaf}{}", intermediate.pem())).expect("it can be written");
    office.story.good(&["reload"]);
    office.daemon.await_count(4, &["certificate.changed"]);
    let expected: Vec<String> = [leaf, intermediate.pem()].iter().map(|pem| pem.replace('\r', "").trim().to_owned()).collect();
    for mode in MODES {
        for (version, names) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            for server in [&["-servername", "localhost"][..], &["-servername", "other.example"], &["-noservername"]] {
                let options = [&[version, "-showcerts", "-verify_hostname", "localhost"], server].concat();
                let (trusted, said) = look(&office, mode, &ca, &options);
                assert!(trusted && said.contains("Verify return code: 0 (ok)"), "{mode:?} {options:?}: {said}");
                assert!(said.contains(&format!("New, {names}, ")), "{mode:?} {options:?}: {said}");
                let shown: Vec<&str> =
                    said.split("-----BEGIN ").skip(1).filter_map(|part| part.split("-----END ").next()).collect();
                let matches = shown.iter().zip(&expected).all(|(shown, pem)| pem.contains(shown.trim()));
                assert!(matches && shown.iter().skip(2).all(|again| *again == shown[0]), "{mode:?} {options:?}: {said}");
            }
        }
    }
}

#[test]
fn openssl_speaks_12_and_13_and_a_refused_older_one_is_told_with_what_to_do() {
    let office = Office::open();
    let ca = office.path("company-ca.crt");
    for mode in MODES {
        for version in ["-tls1_2", "-tls1_3"] {
            let (good, said) = look(&office, mode, &ca, &[version]);
            assert!(good && said.contains("Verify return code: 0 (ok)"), "{mode:?} {version}: {said}");
        }
        for version in ["-tls1", "-tls1_1"] {
            let (good, said) = look(&office, mode, &ca, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
            assert!(!good && said.contains("SSL alert number "), "{mode:?} {version}: {said}");
        }
        let listener = format!("\"listener\":\"{}\"", mode.word());
        let advice = "on a network that you trust";
        office.daemon.await_count(2, &[&listener, "session.refused", "the app offers only TLS 1.0 or 1.1", advice]);
    }
}

#[test]
fn openssl_with_a_clients_certificate_is_an_app() {
    let app = "[app.erp]\ncertificate = \"erp.example.org\"\nmailbox = \"sandbox\"\n";
    let office = Office::with("client-ca = \"company-ca.crt\"\nauth = \"none\"", app);
    let ca = office.path("company-ca.crt");
    let certificate = |name: &str| {
        let (certificate, key) = office.authority.issue(&[name], 30);
        office.settings(&format!("{name}.pem"), &(certificate + &key)).display().to_string()
    };
    let (known, unknown) = (certificate("erp.example.org"), certificate("other.example.org"));
    for mode in MODES {
        for version in ["-tls1_2", "-tls1_3"] {
            let before = office.count();
            for (file, mail) in [(&known, "250 2.1.0"), (&unknown, "530 5.7.0")] {
                let mut client = Program::start(openssl(&office, mode, &ca, &[version, "-quiet", "-crlf", "-cert", file]));
                client.tell("EHLO erp.example.org");
                client.printed("250 ", SOON);
                client.tell("MAIL FROM:<robot@sandbox.example>");
                client.printed(mail, SOON);
                if file == &unknown {
                    continue;
                }
                for (line, reply) in [
                    ("RCPT TO:<you@example.org>", "250 2.1.5"),
                    ("DATA", "354 "),
                    ("Subject: openssl\n\nHello.\n.", "250 2.0.0"),
                    ("QUIT", "221 "),
                ] {
                    client.tell(line);
                    client.printed(reply, SOON);
                }
            }
            assert_eq!(office.count(), before + 1, "{mode:?} {version}");
        }
    }
    office.daemon.await_count(4, &["message.accepted", "\"app\":\"erp\""]);
}
