//! A client's key and certificate, made by the real openssl as an administrator would: in PEM and in PKCS#12.

use super::{SOON, run};
use std::{fs, path::Path, process::Command};

const PKCS12_PASSWORD: &str = "marked-pkcs12-password-2357";

/// Kinds of keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Rsa,
    P256,
    /// RSA, its PKCS#12 file locked as older programs do: 3DES and RC2.
    RsaInOldFile,
}

/// Writes `client.pem` (certificate), `client.key`, `client.p12` and `client.p12.password`; gives what is secret of them.
pub(crate) fn write(directory: &Path, key: Key) -> Vec<String> {
    let kind: &[&str] = match key {
        Key::Rsa | Key::RsaInOldFile => &["-newkey", "rsa:2048"],
        Key::P256 => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    };
    let certificate =
        ["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=outlink", "-keyout", "client.key", "-out", "client.pem"];
    openssl(directory, &[&certificate, kind].concat());
    fs::write(directory.join("client.p12.password"), format!("{PKCS12_PASSWORD}\n")).expect("it can be written");
    let old: &[&str] = if key == Key::RsaInOldFile { &["-legacy"] } else { &[] };
    let both = ["pkcs12", "-export", "-inkey", "client.key", "-in", "client.pem", "-out", "client.p12"];
    openssl(directory, &[&both[..], &["-passout", "file:client.p12.password"], old].concat());
    let text = fs::read_to_string(directory.join("client.key")).expect("openssl wrote it");
    // Any line of the key is enough to know it by, but the first, which is the same for all keys of a kind.
    let lines = text.lines().filter(|line| !line.starts_with('-') && line.len() > 40).skip(1).map(str::to_owned);
    lines.chain([PKCS12_PASSWORD.to_owned()]).collect()
}

fn openssl(directory: &Path, words: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(words).current_dir(directory);
    let output = run(command, b"", SOON);
    assert!(output.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
