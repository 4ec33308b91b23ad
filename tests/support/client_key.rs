//! A client's key and certificate, made by the real openssl as an administrator would: in PEM and in PKCS#12.

use super::{SOON, run};
use std::{fs, path::Path, process::Command};

const PKCS12_PASSWORD: &str = "marked-pkcs12-password-2357";

/// Writes `client.pem` (certificate), `client.key`, `client.p12` and `client.p12.password`; gives what is secret of them.
pub(crate) fn write(directory: &Path) -> Vec<String> {
    openssl(
        directory,
        &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=outlink"],
        &["-keyout", "client.key", "-out", "client.pem"],
    );
    fs::write(directory.join("client.p12.password"), format!("{PKCS12_PASSWORD}\n")).expect("it can be written");
    openssl(
        directory,
        &["pkcs12", "-export", "-inkey", "client.key", "-in", "client.pem", "-out", "client.p12"],
        &["-passout", "file:client.p12.password"],
    );
    let key = fs::read_to_string(directory.join("client.key")).expect("openssl wrote it");
    // Any whole line of the key's body is enough to know it by; the first holds what all keys of a kind begin with.
    let lines = key.lines().filter(|line| line.len() == 64).skip(1).map(str::to_owned);
    lines.chain([PKCS12_PASSWORD.to_owned()]).collect()
}

fn openssl(directory: &Path, words: &[&str], more: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(words).args(more).current_dir(directory);
    let output = run(command, b"", SOON);
    assert!(output.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
