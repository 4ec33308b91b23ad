//! Programs that others wrote, times the kinds of encryption, times the ways to log in: each sends one mail by the settings that
//! `docs/clients.md` tells, and it is looked at where the provider got it. What such programs send octet by octet is in `clients.rs`,
//! those that call sendmail are in `machine.rs`.

#[path = "matrix/programs.rs"]
mod programs;
mod support;

use programs::Run;
use std::{fs, path::Path};
use support::{
    SOON,
    markdown::{Block, blocks},
    office::{Mode, Office, TO},
    wire::Authority,
};

/// A program.
struct Client {
    /// The heading in the documentation.
    name: &'static str,
    /// The settings changed so that this mechanism is used, as the documentation tells.
    insist: fn(&str, &str) -> String,
    run: fn(&Office, &str) -> Run,
}

/// The matrix: each of these sends in each mode, with the mechanism of its own choice, with PLAIN and with LOGIN.
const CLIENTS: [Client; 9] = [
    Client {
        name: "curl",
        insist: |all, it| before(all, "--user", &format!("--login-options AUTH={it} ")),
        run: programs::shell,
    },
    Client { name: "swaks", insist: |all, it| all.replacen("--auth ", &format!("--auth {it} "), 1), run: programs::shell },
    Client { name: "msmtp", insist: msmtp, run: programs::msmtp },
    Client {
        name: "Python smtplib",
        insist: |all, it| all.replace("smtp.login(", &format!("insist(smtp, '{it}', ")),
        run: programs::smtplib,
    },
    Client {
        name: "nodemailer",
        insist: |all, it| before(all, "auth:", &format!("authMethod: '{it}', ")),
        run: programs::nodemailer,
    },
    Client {
        name: "JavaMail",
        insist: |all, it| before(all, "mail.smtp.auth", &format!("mail.smtp.auth.mechanisms={it}\n")),
        run: programs::javamail,
    },
    Client {
        name: "PHPMailer",
        insist: |all, it| before(all, "$mail->Host", &format!("$mail->AuthType = '{it}';\n")),
        run: programs::phpmailer,
    },
    Client {
        name: "git send-email",
        insist: |all, it| before(all, "smtpUser", &format!("smtpAuth = {it}\n")),
        run: programs::git,
    },
    Client {
        name: "s-nail",
        insist: |all, it| all.replace("smtp-auth=plain", &format!("smtp-auth={}", it.to_lowercase())),
        run: programs::s_nail,
    },
];

fn before(settings: &str, place: &str, text: &str) -> String {
    settings.replacen(place, &format!("{text}{place}"), 1)
}

fn msmtp(settings: &str, mechanism: &str) -> String {
    let set = format!("auth {}", mechanism.to_lowercase());
    settings.replace("auth on", &set).replace("auth plain", &set)
}

/// The settings in the documentation under this heading.
fn documented(name: &str, kind: &str) -> String {
    let blocks = blocks("clients.md");
    let found = blocks.iter().find(|block| block.heading == name && word(block) == kind);
    found.unwrap_or_else(|| panic!("docs/clients.md has no block `{kind}` under {name}")).lines.join("\n")
}

/// The last word behind the fence.
fn word(block: &Block) -> &str {
    block.language.rsplit(' ').next().unwrap_or_default()
}

/// The client of this name sends in every mode, with every mechanism, and hears of a wrong password.
fn sends(name: &str) {
    let client = CLIENTS.iter().find(|client| client.name == name).expect("it is in the table");
    let mut office = Office::open();
    programs::trust(&office, &office.fill(&documented("JavaMail", "truststore")));
    for mode in Mode::ALL {
        let settings = documented(name, mode.word());
        for mechanism in [None, Some("PLAIN"), Some("LOGIN")] {
            let what = format!("{name}, {}, AUTH {}", mode.word(), mechanism.unwrap_or("of its own choice"));
            let settings = mechanism.map_or(settings.clone(), |mechanism| (client.insist)(&settings, mechanism));
            let before = office.count();
            let (command, input) = (client.run)(&office, &office.fill(&settings));
            let (sent, said) = office.run(command, &input);
            assert!(sent, "{what}:\n{said}\noutlink:\n{}", office.daemon.output());
            assert_eq!(office.count(), before + 1, "{what}:\n{said}");
            let used = mechanism.is_none_or(|mechanism| said.to_uppercase().contains(&format!("AUTH {mechanism}")));
            assert!(used, "{what}: another one was used:\n{said}");
            let received = office.expect_arrival(&what, &TO);
            let with = if mode == Mode::None { "with ESMTPA id " } else { "with ESMTPSA (TLSv1.3) id " };
            assert!(received.contains(with), "{what}: {received}");
        }
    }
    let before = office.count();
    office.password = "not-the-password".into();
    let (command, input) = (client.run)(&office, &office.fill(&documented(name, "starttls")));
    let (sent, said) = office.run(command, &input);
    assert!(!sent && office.count() == before, "{name} was let in:\n{said}");
    assert!(said.contains("535") && said.contains("5.7.8"), "{name} does not show 535 5.7.8:\n{said}");
    // The documented settings verify the certificate: with another CA nobody sends, and outlink's log tells why.
    office.password.clone_from(&office.story.password);
    fs::write(office.path("company-ca.crt"), Authority::new("another CA").pem()).expect("it can be written");
    fs::remove_file(office.path("truststore.p12")).expect("it was made");
    programs::trust(&office, &office.fill(&documented("JavaMail", "truststore")));
    for mode in [Mode::Starttls, Mode::Implicit] {
        let (command, input) = (client.run)(&office, &office.fill(&documented(name, mode.word())));
        let (sent, said) = office.run(command, &input);
        assert!(!sent && office.count() == before, "{name} trusts anybody:\n{said}");
        office.daemon.await_count(1, &[&format!("\"listener\":\"{}\"", mode.word()), " trust the "]);
    }
    assert_eq!(office.daemon.stop().0, Some(0));
}

#[test]
fn curl_sends_as_documented() {
    sends("curl");
}

#[test]
fn swaks_sends_as_documented() {
    sends("swaks");
}

#[test]
fn msmtp_sends_as_documented() {
    sends("msmtp");
}

#[test]
fn python_sends_as_documented() {
    sends("Python smtplib");
}

/// How programs speak that were written long ago, or by hand; each is Python for `compose.py`.
const OLD_WAYS: [(&str, &str); 10] = [
    ("HELO, then AUTH PLAIN", "smtp.helo('MY_PC')\ninsist(smtp, 'PLAIN', USER, PASSWORD)"),
    ("HELO, then AUTH LOGIN", "smtp.helo('MY_PC')\ninsist(smtp, 'LOGIN', USER, PASSWORD)"),
    (
        "HELO without a name, then AUTH",
        "smtp.putcmd('HELO ')\nsmtp.helo_resp = smtp.getreply()[1]\ninsist(smtp, 'LOGIN', USER, PASSWORD)",
    ),
    ("EHLO without a name", "smtp.putcmd('EHLO')\nsmtp.ehlo_resp = smtp.getreply()[1]\ninsist(smtp, 'LOGIN', USER, PASSWORD)"),
    ("EHLO with a name of several words", "smtp.ehlo('Printer 2nd floor (left)')\nsmtp.login(USER, PASSWORD)"),
    ("EHLO with an address without brackets", "smtp.ehlo('10.1.2.3')\nsmtp.login(USER, PASSWORD)"),
    (
        "AUTH LOGIN without an initial response",
        "smtp.ehlo()\nsmtp.user, smtp.password = USER, PASSWORD\nsmtp.auth('LOGIN', smtp.auth_login, initial_response_ok=False)",
    ),
    (
        "AUTH PLAIN without an initial response",
        "smtp.ehlo()\nsmtp.user, smtp.password = USER, PASSWORD\nsmtp.auth('PLAIN', smtp.auth_plain, initial_response_ok=False)",
    ),
    (
        ".NET's SmtpClient: the mechanism in small letters, the user beside it",
        "import base64\ncode = lambda text: base64.b64encode(text.encode()).decode()\nsmtp.ehlo()\n\
         assert smtp.docmd('AUTH', 'login ' + code(USER))[0] == 334\nassert smtp.docmd(code(PASSWORD))[0] == 235",
    ),
    ("NOOP, VRFY and RSET before the mail", "smtp.noop()\nsmtp.login(USER, PASSWORD)\nsmtp.vrfy('you@example.org')\nsmtp.rset()"),
];

#[test]
fn python_sends_in_the_ways_of_old_programs() {
    let office = Office::open();
    let opened = documented("Python smtplib", "none").lines().next().expect("the connection").to_owned();
    for (what, way) in OLD_WAYS {
        let settings = format!("{opened}\nUSER, PASSWORD = 'crowd', 'app-password'\n{way}");
        let (command, input) = programs::smtplib(&office, &office.fill(&settings));
        let before = office.count();
        let (sent, said) = office.run(command, &input);
        assert!(sent && office.count() == before + 1, "{what}:\n{said}\noutlink:\n{}", office.daemon.output());
        let received = office.expect_arrival(what, &TO);
        assert!(received.contains(" with ESMTPA id "), "{what}: {received}");
    }
}

#[test]
fn nodemailer_sends_as_documented() {
    sends("nodemailer");
}

#[test]
fn javamail_sends_as_documented() {
    sends("JavaMail");
}

#[test]
fn javamail_with_a_pinned_version_sends_and_an_old_one_is_named() {
    let office = Office::open();
    programs::trust(&office, &office.fill(&documented("JavaMail", "truststore")));
    for mode in ["starttls", "implicit"] {
        let settings = office.fill(&documented("JavaMail", mode));
        let pinned = [settings.as_str(), &documented("JavaMail", "pinned")].join("\n");
        let (command, input) = programs::javamail(&office, &pinned);
        let (sent, said) = office.run(command, &input);
        assert!(sent, "{said}");
        let received = office.expect_arrival(mode, &TO);
        assert!(received.contains("with ESMTPSA (TLSv1.2) id "), "{received}");
        for old in ["TLSv1", "TLSv1.1"] {
            let (mut command, _) = programs::javamail(&office, &pinned.replace("TLSv1.2", old));
            // Java of today speaks it only when this list is emptied.
            let security = office.settings("java.security", "jdk.tls.disabledAlgorithms=");
            command.env("JAVA_TOOL_OPTIONS", format!("-Djava.security.properties={}", security.display()));
            let (sent, said) = office.run(command, b"");
            assert!(!sent && said.contains("Received fatal alert: "), "{old}: {said}");
        }
        let listener = format!("\"listener\":\"{mode}\"");
        let what = [&listener, "session.refused", "the app offers only TLS 1.0 or 1.1", "on a network that you trust"];
        office.daemon.await_count(2, &what);
    }
}

#[test]
fn javamail_that_says_helo_sends_where_it_is_known_by_its_address() {
    let port = support::free_port();
    let office = Office::with(
        "",
        &format!(
            "[listener.trusted]\nbind = \"127.0.0.1:{port}\"\nauth = \"none\"\ndelivery = \"direct\"\n\
             [app.old]\nnetworks = [\"127.0.0.1\"]\nmailbox = \"sandbox\"\n"
        ),
    );
    let settings = documented("JavaMail", "none") + "\nmail.smtp.ehlo=false";
    let (command, input) = programs::javamail(&office, &office.fill(&settings));
    let (sent, said) = office.run(command, &input);
    assert!(!sent && said.contains("530 5.7.0"), "{said}");
    let known = settings.replace("mail.smtp.auth=true", "").replace("2525", &port.to_string());
    let (command, input) = programs::javamail(&office, &known);
    let (sent, said) = office.run(command, &input);
    assert!(sent && said.contains("HELO "), "{said}");
    let received = office.expect_arrival("HELO", &TO);
    assert!(received.contains(" with SMTP id "), "{received}");
    office.daemon.logged("\"app\":\"old\"", SOON);
}

#[test]
fn phpmailer_sends_as_documented() {
    sends("PHPMailer");
}

#[test]
fn git_sends_as_documented() {
    sends("git send-email");
}

#[test]
fn s_nail_sends_as_documented() {
    sends("s-nail");
}

#[test]
fn the_documentation_tells_this_matrix_and_no_other() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients.md");
    let text = fs::read_to_string(file).expect("it is there");
    let rows = text.lines().filter(|line| line.ends_with("| yes | yes | yes | PLAIN, LOGIN |"));
    let names: Vec<&str> = rows.filter_map(|row| row.split(" | ").next()).map(|cell| cell.trim_start_matches("| ")).collect();
    assert_eq!(names, CLIENTS.map(|client| client.name));
    let others = ["truststore", "pinned"];
    for block in blocks("clients.md") {
        let is_run = Mode::ALL.iter().any(|mode| mode.word() == word(&block)) || others.contains(&word(&block));
        assert!(is_run && CLIENTS.iter().any(|client| client.name == block.heading), "{}: {}", block.heading, block.language);
    }
}
