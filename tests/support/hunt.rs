//! Looks for secrets where none may be, in every form in which one could slip out.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use memchr::memmem::Finder;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The shortest secret that can be told from chance.
const SHORTEST: usize = 12;

/// Forms of secrets to look for.
pub(crate) struct Hunt {
    forms: Vec<Finder<'static>>,
}

impl Hunt {
    pub(crate) fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut forms = BTreeSet::new();
        for secret in secrets {
            let secret = secret.as_ref();
            assert!(secret.len() >= SHORTEST, "a secret of {} octets would be found by chance", secret.len());
            forms.extend(spellings(secret));
        }
        Self { forms: forms.iter().map(|form| Finder::new(form).into_owned()).collect() }
    }

    /// Whether one of them stands in `octets`.
    pub(crate) fn finds(&self, octets: &[u8]) -> bool {
        self.forms.iter().any(|form| form.find(octets).is_some())
    }

    /// Fails with the lines that hold something secret; `what` says whose they are.
    pub(crate) fn text(&self, what: &str, text: &str) {
        let leaks: Vec<&str> = text.lines().filter(|line| self.finds(line.as_bytes())).collect();
        // Values may be broken over lines.
        let leaks = if leaks.is_empty() && self.finds(text.as_bytes()) { vec![text] } else { leaks };
        assert!(leaks.is_empty(), "secrets were written ({what}):\n{}", leaks.join("\n"));
    }

    /// Fails when a file below `directory` holds something secret, or has it in its name; `but` are left out.
    pub(crate) fn directory(&self, directory: &Path, but: &[&Path]) {
        for file in files(directory).iter().filter(|file| !but.contains(&file.as_path())) {
            assert!(!self.finds(file.to_string_lossy().as_bytes()), "the name of a file in {} is a secret", directory.display());
            // One that goes while it is looked at, such as a temporary one, holds nothing for long.
            let octets = fs::read(file).unwrap_or_default();
            assert!(!self.finds(&octets), "a secret stands in {} ({} octets)", file.display(), octets.len());
        }
    }

    /// Fails when the arguments or the environment of a running process or its children hold something secret.
    pub(crate) fn process(&self, id: u32) {
        for id in family(id) {
            for place in ["cmdline", "environ"] {
                let octets = fs::read(format!("/proc/{id}/{place}")).unwrap_or_default();
                assert!(!self.finds(&octets), "a secret stands in /proc/{id}/{place}");
            }
        }
    }
}

/// In clear, in base64 of both alphabets wherever it begins in what was encoded, percent-encoded, in hexadecimal.
fn spellings(octets: &[u8]) -> Vec<Vec<u8>> {
    let lower: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let percent = url::form_urlencoded::byte_serialize(octets).collect::<String>();
    let mut forms = vec![octets.to_vec(), percent.clone().into_bytes(), percent.replace('+', "%20").into_bytes()];
    forms.extend([lower.to_uppercase().into_bytes(), lower.into_bytes()]);
    for before in 0..3 {
        let shifted = [&[0; 2][..before], octets].concat();
        // Its first and last characters may hold bits of what stands around it.
        let inner = |text: String| text.as_bytes()[(before * 4).div_ceil(3)..shifted.len() * 4 / 3].to_vec();
        forms.extend([inner(BASE64_STANDARD_NO_PAD.encode(&shifted)), inner(BASE64_URL_SAFE_NO_PAD.encode(&shifted))]);
    }
    forms
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|e| panic!("{} cannot be listed: {e}", directory.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else if path.is_file() {
                vec![path]
            } else {
                Vec::new()
            }
        })
        .collect()
}

/// A process and all below it.
fn family(id: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let children = threads.flat_map(|thread| fs::read_to_string(thread.path().join("children")));
    let children: Vec<u32> = children.flat_map(|ids| ids.split_whitespace().flat_map(str::parse).collect::<Vec<u32>>()).collect();
    std::iter::once(id).chain(children.into_iter().flat_map(family)).collect()
}
