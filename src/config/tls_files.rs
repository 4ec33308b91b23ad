//! What a listener shows its clients: certificate, key and the CAs of client certificates, read from their files and proved to belong
//! together. The same reading for `outlink check`, the start and every time that a file changes.

use super::{
    settings::TlsFiles,
    table::{Table, Wrong},
};
use chrono::{DateTime, Utc};
use rustls::{
    RootCertStore,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Octets of a file; a chain of four RSA certificates has 8 KB, a bundle of many CAs some 100.
const LARGEST: u64 = 1 << 20;

/// A certificate that ends within this time is worth a word: the CAs that renew by themselves do it earlier.
const WARNING: Duration = Duration::from_secs(30 * 86_400);

/// What the files held.
#[derive(Debug, Clone)]
pub struct TlsMaterial {
    /// Certificate with chain, and the key that fits.
    pub certified: CertifiedKey,
    /// Who issues the certificates of clients.
    pub client_roots: Option<Arc<RootCertStore>>,
    /// From when the certificate counts.
    pub not_before: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
}

/// Why they cannot be used: the key of the configuration, what happened, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}; {step}")]
pub struct TlsFileError {
    /// `certificate`, `key` or `client-ca`.
    pub key: &'static str,
    /// What was tried, on what file, and what happened.
    pub why: String,
    /// The next step.
    pub step: String,
}

impl TlsFiles {
    /// Reads them as they are now. Waits for the disk.
    pub fn read(&self) -> Result<TlsMaterial, TlsFileError> {
        let chain = certificates("certificate", &self.certificate)?;
        let (not_before, not_after) = time_of(&chain[0], &self.certificate)?;
        let key = private_key(self)?;
        let signing = any_supported_type(&key).map_err(|error| {
            let why = format!("the private key in {} cannot be used: {error}", self.key.display());
            fault("key", why, "use an RSA key of 2048 bits or more, or one of the curves P-256, P-384, or Ed25519")
        })?;
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match().map_err(|_| {
            let why =
                format!("the key in {} is not the one of the certificate in {}", self.key.display(), self.certificate.display());
            fault(
                "key",
                why,
                "give the key with which this certificate was made; in the certificate's file its own certificate comes first",
            )
        })?;
        let client_roots = self.client_ca.as_deref().map(roots).transpose()?.map(Arc::new);
        Ok(TlsMaterial { certified, client_roots, not_before, not_after })
    }

    /// The files, each once.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let key = Some(self.key.as_path()).filter(|key| *key != self.certificate);
        [Some(self.certificate.as_path()), key, self.client_ca.as_deref()].into_iter().flatten()
    }
}

impl TlsMaterial {
    /// What is to be said of the certificate's time at `now`; `None`: it counts, and will for a while.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let day = |time| DateTime::<Utc>::from(time).format("%Y-%m-%d");
        if self.not_after <= now {
            return Some(format!("the certificate ended on {}: apps that look at it refuse the connection", day(self.not_after)));
        }
        if self.not_before > now {
            return Some(format!("the certificate begins to count on {}: is this machine's clock right?", day(self.not_before)));
        }
        let left = self.not_after.duration_since(now).unwrap_or_default();
        (left < WARNING).then(|| format!("the certificate ends on {}, in {} days", day(self.not_after), left.as_secs() / 86_400))
    }
}

fn fault(key: &'static str, why: impl Into<String>, step: impl Into<String>) -> TlsFileError {
    TlsFileError { key, why: why.into(), step: step.into() }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let mut octets = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut octets));
    read.map_err(|error| {
        let step = match error.kind() {
            io::ErrorKind::NotFound => "write the path of a file in PEM form",
            io::ErrorKind::PermissionDenied => {
                "let the service's user read it and the folders above it: chgrp outlink, chmod 0640"
            }
            _ => "see to the file",
        };
        fault(key, format!("cannot read {}: {error}", path.display()), step)
    })?;
    match octets.len() as u64 > LARGEST {
        true => Err(fault(key, format!("{} has more than 1 MiB", path.display()), "give a file in PEM form")),
        false => Ok(octets),
    }
}

/// The certificates of a file, at least one.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let octets = read(key, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    let why = match found {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => format!("there is no certificate in {}", path.display()),
        Err(error) => format!("the certificates in {} cannot be read: {error}", path.display()),
    };
    Err(fault(key, why, "give a file in PEM form, with -----BEGIN CERTIFICATE-----"))
}

fn time_of(certificate: &CertificateDer<'_>, path: &Path) -> Result<(SystemTime, SystemTime), TlsFileError> {
    let wrong = |why: String| {
        fault("certificate", format!("the first certificate in {} cannot be read: {why}", path.display()), "make it anew")
    };
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| wrong(error.to_string()))?;
    let time = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let validity = parsed.validity();
    Ok((time(validity.not_before.timestamp()), time(validity.not_after.timestamp())))
}

fn private_key(files: &TlsFiles) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let octets = read("key", &files.key)?;
    let holds = |text: &[u8]| memchr::memmem::find(&octets, text).is_some();
    PrivateKeyDer::from_pem_slice(&octets).map_err(|_| {
        let path = files.key.display();
        if holds(b"ENCRYPTED") {
            let step = "nobody is there to type it at a start: write the key without (openssl pkey -in FILE -out FILE.key)";
            return fault("key", format!("the private key in {path} is protected by a password"), step);
        }
        let step = match files.key == files.certificate {
            true => "name the key's file as `key`",
            false => "give a file in PEM form, with -----BEGIN PRIVATE KEY-----",
        };
        fault("key", format!("there is no private key in {path}"), step)
    })
}

/// The CAs of a file.
fn roots(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client-ca", path)? {
        roots.add(certificate).map_err(|error| {
            let why = format!("a certificate in {} cannot be a CA: {error}", path.display());
            fault("client-ca", why, "give the certificates of the CAs that issue your clients' certificates")
        })?;
    }
    Ok(roots)
}

/// Reads the files of a listener once, so that what is wrong with them is known early.
pub(super) fn check(table: &Table<'_>, files: &TlsFiles) {
    // A key that stands in the certificate's file is shown there.
    let shown = |key: &'static str| if key == "key" && files.key == files.certificate { "certificate" } else { key };
    match files.read() {
        Err(error) => table.fault(shown(error.key), Wrong::new(error.why, error.step)),
        Ok(material) => {
            if let Some(warning) = material.warning(SystemTime::now()) {
                table.note(
                    "certificate",
                    Wrong::new(warning, "put a new one in its place; a running outlink takes it up by itself"),
                );
            }
        }
    }
    if std::fs::metadata(&files.key).is_ok_and(|file| file.permissions().mode() & 0o007 != 0) {
        let message = format!("every user of this machine can read the private key in {}", files.key.display());
        table.note(shown("key"), Wrong::new(message, "chmod 0640, owned by root and the service's group"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::path::PathBuf;

    fn files(directory: &Path) -> TlsFiles {
        TlsFiles { certificate: directory.join("cert"), key: directory.join("key"), client_ca: None }
    }

    /// A certificate for `relay.example` that counts for `days` from now, and its key, in PEM form.
    fn made(days: i64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["relay.example".to_owned()]).unwrap();
        let now = SystemTime::now();
        params.not_before = (now - Duration::from_secs(86_400)).into();
        params.not_after = (now + Duration::from_secs(days as u64 * 86_400 + 3600)).into();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn what_belongs_together_is_read_and_the_rest_says_why_not() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| -> PathBuf { directory.path().join(name) };
        let (certificate, key) = made(10);
        let (_, other) = made(10);
        let both = format!("{key}{certificate}");
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (certificate, key, wrong, said) in [
            (certificate.as_str(), key.as_str(), "", ""),
            (&both, &both, "", ""),
            (&key, &key, "certificate", "no certificate"),
            (&certificate, &certificate, "key", "no private key"),
            (&certificate, &other, "key", "is not the one"),
            (&certificate, encrypted, "key", "protected by a password"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key, "certificate", "cannot be read"),
            ("", &key, "certificate", "no certificate"),
        ] {
            std::fs::write(at("cert"), certificate).unwrap();
            std::fs::write(at("key"), key).unwrap();
            match files(directory.path()).read() {
                Ok(_) => assert_eq!(wrong, ""),
                Err(error) => assert!(error.key == wrong && error.why.contains(said), "{error}, not {wrong} {said}"),
            }
        }
        std::fs::remove_file(at("key")).unwrap();
        std::fs::write(at("cert"), certificate).unwrap();
        assert!(files(directory.path()).read().unwrap_err().why.contains("No such file"));
    }

    #[test]
    fn a_certificate_is_worth_a_word_thirty_days_before_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = made(40);
        std::fs::write(directory.path().join("cert"), certificate).unwrap();
        std::fs::write(directory.path().join("key"), key).unwrap();
        let material = files(directory.path()).read().unwrap();
        let days = |days: i64| match days {
            0.. => SystemTime::now() + Duration::from_secs(days as u64 * 86_400),
            _ => SystemTime::now() - Duration::from_secs(days.unsigned_abs() * 86_400),
        };
        assert_eq!(material.warning(days(0)), None);
        assert!(material.warning(days(11)).unwrap().contains("in 29 days"));
        assert!(material.warning(days(41)).unwrap().contains("ended on"));
        assert!(material.warning(days(-2)).unwrap().contains("begins to count"));
    }
}
