//! How a secret that was given to a command comes into the configuration.

use super::{Exit, Failed, app::read_secret, key};
use crate::{config::write::SecretText, secret::Secret};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// A secret as it was given.
#[derive(Debug, Clone)]
pub(super) enum Given {
    /// Entered by a person, or read from standard input or a file that is not to be referred to.
    Here(Secret),
    /// A file that stays where it is and is read at each use.
    File(PathBuf),
    /// A credential of systemd.
    Credential(String),
}

/// Reads a secret from a file; `-` is standard input.
pub(super) fn from_file(flag: &str, file: &Path, reference: bool) -> Result<Given, Failed> {
    let is_input = file == Path::new("-");
    match (is_input, reference) {
        (true, true) => Err(Failed(Exit::Usage, format!("{flag} -: standard input is no file that --reference could refer to"))),
        (true, false) => read_secret(flag).map(Given::Here),
        (false, true) => absolute(flag, file).map(Given::File),
        (false, false) => {
            let text = text_of(file)
                .map_err(|why| Failed(Exit::InputOutput, format!("{flag}: cannot read {}: {why}", file.display())))?;
            let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
            match text.is_empty() {
                true => Err(Failed(Exit::InputOutput, format!("{flag}: {} is empty", file.display()))),
                false => Ok(Given::Here(Secret::new(text.to_owned()))),
            }
        }
    }
}

/// The text of a secret's file; none has more octets than a key in PEM by far.
pub(super) fn text_of(file: &Path) -> io::Result<String> {
    const LONGEST: u64 = 64 * 1024;
    let mut text = String::new();
    match File::open(file)?.take(LONGEST + 1).read_to_string(&mut text)? as u64 > LONGEST {
        true => Err(io::Error::other("it is longer than 64 KiB, and so no secret")),
        false => Ok(text),
    }
}

/// The path from the root: the daemon has another working directory.
pub(super) fn absolute(flag: &str, file: &Path) -> Result<PathBuf, Failed> {
    std::path::absolute(file).map_err(|why| Failed(Exit::Usage, format!("{flag}: {} is no path: {why}", file.display())))
}

/// How `given` is written for `place`, such as `link.contoso.client-secret`: what was given here is sealed for this place alone.
pub(super) fn written(given: &Given, place: &str, state_directory: &Path) -> Result<SecretText, Failed> {
    match given {
        Given::Here(secret) => key::seal(state_directory, place, secret).map(SecretText::Sealed),
        Given::File(file) => Ok(SecretText::File(file.to_string_lossy().into_owned())),
        Given::Credential(name) => Ok(SecretText::Credential(name.clone())),
    }
}
