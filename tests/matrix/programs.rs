//! How each program is told its settings, and made to send the mail: a command, and what it reads on standard input.

use crate::support::{
    LONG, SOON,
    office::{FROM, Office, SUBJECT, TO, text},
    run,
};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

pub(crate) type Run = (Command, Vec<u8>);

/// What the settings are is the program's whole command.
pub(crate) fn shell(_: &Office, settings: &str) -> Run {
    let mut command = Command::new("sh");
    command.args(["-ec", settings]);
    (command, Vec::new())
}

pub(crate) fn msmtp(office: &Office, settings: &str) -> Run {
    let mut command = Command::new("msmtp");
    command.args(["--debug", "--file"]).arg(office.settings("msmtprc", settings)).args(TO);
    (command, fs::read(office.path("letter.eml")).expect("it is there"))
}

/// A script of ours around a library: the file with the settings, and the mail.
fn composes(office: &Office, program: &str, script: &str, settings: &Path) -> Run {
    let mut command = Command::new(program);
    command.arg(format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR"))).arg(settings);
    command.args([FROM, SUBJECT]).arg(office.path("text")).args(TO);
    (command, Vec::new())
}

pub(crate) fn smtplib(office: &Office, settings: &str) -> Run {
    composes(office, "python3", "compose.py", &office.settings("settings.py", settings))
}

pub(crate) fn nodemailer(office: &Office, settings: &str) -> Run {
    composes(office, "node", "compose.mjs", &office.settings("settings.js", settings))
}

pub(crate) fn phpmailer(office: &Office, settings: &str) -> Run {
    composes(office, "php", "compose.php", &office.settings("settings.inc", settings))
}

pub(crate) fn javamail(office: &Office, settings: &str) -> Run {
    let user = if settings.contains("mail.smtp.auth=true") { "sandbox" } else { "" };
    let mut command = java();
    // What the documentation exports, as words for this process.
    let store = office.path("truststore.p12");
    command.arg(format!("-Djavax.net.ssl.trustStore={}", store.display())).arg("-Djavax.net.ssl.trustStorePassword=changeit");
    command.arg("Compose").arg(office.settings("mail.properties", &format!("{settings}\nmail.debug=true"))).args([
        user,
        &office.password,
        FROM,
        SUBJECT,
    ]);
    command.arg(office.path("text")).args(TO);
    (command, Vec::new())
}

/// `java` with JavaMail and our class, compiled once.
pub(crate) fn java() -> Command {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    const LIBRARIES: &str = "/usr/share/java/javax.mail.jar:/usr/share/java/javax.activation.jar";
    let classes = CLASSES.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("java");
        let mut compiler = Command::new("ecj");
        compiler.args(["-8", "-proc:none", "-classpath", LIBRARIES, "-d"]).arg(&directory);
        compiler.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/Compose.java"));
        let output = run(compiler, b"", LONG);
        assert!(output.status.success(), "{output:?}");
        directory
    });
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-classpath", &format!("{LIBRARIES}:{}", classes.display())]);
    command
}

pub(crate) fn git(office: &Office, settings: &str) -> Run {
    let letter = fs::read_to_string(office.path("letter.eml")).expect("it is there").replace("\r\n", "\n");
    fs::write(office.path("0001.patch"), format!("From {} Mon Sep 17 00:00:00 2001\n{letter}", "0".repeat(40)))
        .expect("it can be written");
    let mut command = Command::new("git");
    command.args([
        "-c",
        "user.name=R",
        "-c",
        &format!("user.email={FROM}"),
        "send-email",
        "--confirm=never",
        "--suppress-cc=all",
    ]);
    // `self` would not be shown what the server says; the debug output is.
    command.args(["--smtp-debug=1", &format!("--to={}", TO[0]), &format!("--to={}", TO[1])]).arg("0001.patch");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", office.settings("gitconfig", settings));
    (command, Vec::new())
}

pub(crate) fn s_nail(office: &Office, settings: &str) -> Run {
    let mut command = Command::new("s-nail");
    command.args(["-n", "-v", "-v", "-s", SUBJECT, "-S", "sendwait", "-S", "sendcharsets=utf-8"]).args(TO);
    command.env("MAILRC", office.settings("mailrc", settings));
    (command, text().into_bytes())
}

/// Runs the documented commands that make a trust store of the CA.
pub(crate) fn trust(office: &Office, commands: &str) {
    let mut shell = Command::new("sh");
    let commands = commands.replace("truststore.p12", &office.path("truststore.p12").display().to_string());
    shell.args([OsStr::new("-ec"), OsStr::new(&commands)]);
    let output = run(shell, b"", SOON);
    assert!(output.status.success(), "{output:?}");
}
