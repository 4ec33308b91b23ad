//! Secrets by reference or sealed: how they stand in a configuration, and how they are read when they are needed.

use super::{
    settings::{SealedSecret, SecretSource, Settings},
    table::{Table, Wrong, placeholder, text},
};
use crate::{
    key,
    secret::{KeyId, Ring, Sealed, Secret, Unsealed},
};
use config::{Value, ValueKind};
use std::{
    collections::BTreeMap,
    env, fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Octets of a secret: a key in PEM has 3 KB, a token of Entra 5.
const LONGEST: u64 = 64 * 1024;
/// Where systemd says that a unit's credentials are.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The ways to say where a secret is.
const KINDS: [&str; 4] = ["file", "env", "credential", "sealed"];

/// Why a secret could not be read, from which source, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the secret from {from}: {why}; {step}")]
pub struct SecretError {
    /// The source, never the secret.
    pub from: String,
    /// What happened.
    pub why: String,
    /// The next step.
    pub step: &'static str,
}

impl SecretSource {
    /// Reads the secret as it is now; one trailing line end is removed. `ring` opens what is sealed.
    pub fn read(&self, ring: &Ring) -> Result<Secret, SecretError> {
        self.read_with(&|name| env::var(name).ok(), Some(ring))
    }

    /// The same with the environment as an argument, and perhaps without keys.
    pub(super) fn read_with(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
        ring: Option<&Ring>,
    ) -> Result<Secret, SecretError> {
        let fail = |why: String, step| Err(SecretError { from: format!("{self:?}"), why, step });
        let text = match self {
            Self::Plain(secret) => return Ok(secret.clone()),
            Self::Sealed(sealed) => {
                let Some(ring) = ring else { return fail("there is no key here".into(), PUT_BACK) };
                return sealed.open(ring).or_else(|why| fail(why.to_string(), step(&why)));
            }
            Self::Environment(name) => match variable(name) {
                Some(text) => text,
                None => return fail("it is not set".into(), "set it for the service, such as by EnvironmentFile= in its unit"),
            },
            Self::File(path) => match read_file(path) {
                Ok(text) => text,
                Err(why) => return fail(why, "create the file and let the service's user read it"),
            },
            Self::Credential(name) => {
                let Some(directory) = variable(CREDENTIALS) else {
                    return fail(format!("{CREDENTIALS} is not set"), "run this in its systemd unit, with LoadCredential= there");
                };
                match read_file(&Path::new(&directory).join(name)) {
                    Ok(text) => text,
                    Err(why) => return fail(why, "name it in LoadCredential= or LoadCredentialEncrypted= of the unit"),
                }
            }
        };
        let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        match text.is_empty() {
            true => fail("it is empty".into(), "put the secret there"),
            false => Ok(Secret::new(text.to_owned())),
        }
    }
}

/// What helps when the key is another one.
const PUT_BACK: &str = "put back the key that sealed it (the file `key` in the state directory, or the credential outlink-key), or write \
                        the secret anew";

/// What helps when a value does not open.
fn step(why: &Unsealed) -> &'static str {
    match why {
        Unsealed::OtherKey { .. } => PUT_BACK,
        Unsealed::Altered { .. } => "write the secret anew: a sealed value opens only at the key for which it was made",
    }
}

impl SealedSecret {
    fn open(&self, ring: &Ring) -> Result<Secret, Unsealed> {
        ring.open(&self.binding, &self.sealed)
    }
}

impl Settings {
    /// One sentence for each sealed value that `ring` does not open.
    pub fn unopened(&self, ring: &Ring) -> Vec<String> {
        let say = |sealed: &SealedSecret| {
            let why = sealed.open(ring).err()?;
            Some(format!("{}: cannot open this sealed value: {why}; {}", sealed.binding, step(&why)))
        };
        self.sealed.iter().filter_map(say).collect()
    }

    /// The keys that its sealed values need.
    pub fn keys_needed(&self) -> Vec<KeyId> {
        self.sealed.iter().map(|sealed| sealed.sealed.key()).collect()
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    String::from_utf8(read_octets(path)?).map_err(|_| "it is not text (UTF-8)".into())
}

/// The octets of a small regular file; `Err` says why there are none.
pub(super) fn read_octets(path: &Path) -> Result<Vec<u8>, String> {
    let say = |error: std::io::Error| error.to_string();
    // Anything but a regular file could keep us waiting.
    if !fs::metadata(path).map_err(say)?.is_file() {
        return Err("it is not a regular file".into());
    }
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(say)?.take(LONGEST + 1).read_to_end(&mut bytes).map_err(say)?;
    match bytes.len() as u64 > LONGEST {
        true => Err("it is longer than 64 KiB".into()),
        false => Ok(bytes),
    }
}

/// Whether a secret can be read by a command, and not only by the daemon in its unit.
pub(super) fn can_be_read(table: &Table<'_>, source: &SecretSource) -> bool {
    match source {
        SecretSource::Sealed(_) => false,
        SecretSource::Credential(_) => table.sources().variables.contains_key(CREDENTIALS),
        SecretSource::File(_) | SecretSource::Environment(_) | SecretSource::Plain(_) => true,
    }
}

/// Reads one with the variables that the configuration is read with.
pub(super) fn read_here(table: &Table<'_>, source: &SecretSource) -> Result<Secret, SecretError> {
    let sources = table.sources();
    let keys = match source {
        SecretSource::Sealed(_) => {
            key::find(&sources.state_directory, sources.variables.get(CREDENTIALS).map(Path::new)).ok().flatten()
        }
        _ => None,
    };
    source.read_with(&|name| sources.variables.get(name).cloned(), keys.as_ref().map(|keys| &*keys.ring))
}

/// Takes a secret that is a file's content, a key in PEM or JSON form: a path in its place is a frequent slip.
pub(super) fn take_content(table: &mut Table<'_>, key: &'static str) -> Option<SecretSource> {
    let source = take(table, key)?;
    match &source {
        SecretSource::Plain(text) if !text.expose().contains(['\n', '{']) => {
            table.fault(key, Wrong::new("this is no key but perhaps its path", "write { file = \"/path\" }"));
            None
        }
        _ => Some(source),
    }
}

/// Takes a secret by reference, or plain with a note, and tries to read it.
pub(super) fn take(table: &mut Table<'_>, key: &'static str) -> Option<SecretSource> {
    let value = table.raw(key)?;
    let source = match value.kind {
        ValueKind::Table(entries) => by_reference(table, key, entries.into_iter().collect())?,
        _ => plain(table, key, value)?,
    };
    check(table, key, &source);
    Some(source)
}

fn plain(table: &Table<'_>, key: &'static str, value: Value) -> Option<SecretSource> {
    if placeholder(&value) {
        table.fault(
            key,
            Wrong::new("this is still a placeholder", "put the real secret into a file and write { file = \"/path\" }"),
        );
        return None;
    }
    let value = text(value).map_err(|wrong| table.fault(key, wrong)).ok()?;
    if value.is_empty() {
        table.fault(key, "this secret is empty");
        return None;
    }
    if table.sources().find(&table.path_of(key)).is_some_and(|(_, layer, _)| layer.numbered) {
        let hint =
            "put it into a file that only the service can read and write { file = \"/path\" }, or { credential = \"name\" }";
        table.note(key, Wrong::new("a secret stands here in clear text", hint));
    }
    Some(SecretSource::Plain(Secret::new(value)))
}

/// One way is taken. A later layer's way wins over an earlier one's, although the two tables were merged.
fn by_reference(table: &Table<'_>, key: &'static str, mut entries: BTreeMap<String, Value>) -> Option<SecretSource> {
    let layer_of = |kind: &str| {
        let path: Vec<_> = table.path_of(key).into_iter().chain([kind.to_owned()]).collect();
        table.sources().find(&path).map(|(index, ..)| index)
    };
    let last = entries.keys().filter_map(|kind| layer_of(kind)).max();
    entries.retain(|kind, _| layer_of(kind) == last);
    let ways = "write one of { file = \"/path\" }, { env = \"NAME\" }, { credential = \"name\" }";
    let Some((kind, value)) = entries.pop_first().filter(|(kind, _)| entries.is_empty() && KINDS.contains(&kind.as_str())) else {
        table.fault(key, Wrong::new("this does not say where the secret is", ways));
        return None;
    };
    let from = match placeholder(&value) {
        true => Err(Wrong::new("this is still a placeholder", ways)),
        false => text(value),
    };
    let from = from.map_err(|wrong| table.fault(key, wrong)).ok()?;
    match kind.as_str() {
        "file" => Some(SecretSource::File(directory(table, key).join(from))),
        "env" if !from.is_empty() && !from.contains(['=', '\0']) => Some(SecretSource::Environment(from)),
        "credential" if !from.is_empty() && from != "." && from != ".." && !from.contains(['/', '\0']) => {
            Some(SecretSource::Credential(from))
        }
        "sealed" => {
            let wrong = |why| Wrong::new(format!("{why}"), "let `outlink key seal` make it anew, or use { file = \"/path\" }");
            let sealed = Sealed::parse(&from).map_err(|why| table.fault(key, wrong(why))).ok()?;
            let sealed = SealedSecret { binding: table.path_of(key).join("."), sealed };
            table.found_sealed(sealed.clone());
            Some(SecretSource::Sealed(sealed))
        }
        _ => {
            table.fault(key, Wrong::new(format!("this is no name for `{kind}`"), ways));
            None
        }
    }
}

fn directory(table: &Table<'_>, key: &str) -> PathBuf {
    let path: Vec<_> = table.path_of(key).into_iter().chain(["file".to_owned()]).collect();
    table.sources().directory(&path)
}

/// Reads the secret once, so that a missing one is known before mail needs it.
fn check(table: &Table<'_>, key: &str, source: &SecretSource) {
    let variables = table.sources().variables;
    match source {
        SecretSource::Plain(_) => return,
        SecretSource::Sealed(sealed) => return check_sealed(table, key, sealed),
        SecretSource::Credential(name) if !variables.contains_key(CREDENTIALS) => {
            let message = format!("credential `{name}` cannot be checked outside its systemd unit");
            return table.note(key, Wrong::new(message, format!("the unit needs LoadCredential={name}:/path")));
        }
        SecretSource::File(_) | SecretSource::Environment(_) | SecretSource::Credential(_) => {}
    }
    if let Err(error) = read_here(table, source) {
        return table.fault(key, Wrong::new(format!("cannot read the secret from {}: {}", error.from, error.why), error.step));
    }
    if let SecretSource::File(path) = source
        && fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o007 != 0)
    {
        let message = format!("every user of this machine can read {}", path.display());
        table.note(key, Wrong::new(message, "chmod 0640, owned by root and the service's group"));
    }
}

/// Opens a sealed value where the keys can be read; where they cannot, the daemon will.
fn check_sealed(table: &Table<'_>, key: &str, sealed: &SealedSecret) {
    let sources = table.sources();
    let credentials = sources.variables.get(CREDENTIALS).map(Path::new);
    let id = sealed.sealed.key();
    match key::find(&sources.state_directory, credentials) {
        Ok(Some(keys)) => {
            if let Err(why) = sealed.open(&keys.ring) {
                let message = format!("cannot open this sealed value with {}: {why}", keys.file.display());
                table.fault(key, Wrong::new(message, step(&why)));
            }
        }
        Ok(None) => {
            let file = key::file_of(&sources.state_directory);
            let hint = "a credential is seen only in its systemd unit; without one, put back the file from where you keep a copy";
            let message =
                format!("this value is sealed under key {id}, and cannot be checked here: there is no {}", file.display());
            table.note(key, Wrong::new(message, hint));
        }
        Err(why) if why.is_of_permission() => {
            let message = format!("this value is sealed under key {id}, which this user cannot read");
            table.note(key, Wrong::new(message, "run this as root or as the service's user to check it"));
        }
        Err(why) => table.fault(key, Wrong::new(why.to_string(), "")),
    }
}
