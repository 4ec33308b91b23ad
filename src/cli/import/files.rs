//! The files of other programs, read and sorted by whose they are.

use super::super::{Exit, Failed};
use crate::{
    import::{self, Broken, Extra, Finding, Input, Kind, LONGEST, MapEntry, Program, Setup, TokenFile},
    mail::Address,
    secret::Secret,
};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Where a Postfix in a chroot has the files that its maps name.
const CHROOT: &str = "/var/spool/postfix";

/// Files that were given, each known.
pub(super) struct Files {
    files: Vec<(Kind, Input)>,
    cache: Option<Input>,
}

impl Files {
    pub(super) fn read(paths: &[PathBuf], cache: Option<&Path>, from: Option<Program>) -> Result<Self, Failed> {
        let mut files = Vec::new();
        for path in paths {
            let input = read(path)?;
            files.push((import::recognise(&input, from).map_err(broken)?, input));
        }
        let cache = cache.map(read).transpose()?;
        if cache.is_some() && !files.iter().any(|(kind, _)| *kind == Kind::EmailProxy) {
            return Err(Failed(
                Exit::Usage,
                "--cache-store stands beside email-oauth2-proxy's own configuration: give that too".to_owned(),
            ));
        }
        Ok(Self { files, cache })
    }

    pub(super) fn programs(&self) -> Vec<Program> {
        let mut programs: Vec<Program> = self.files.iter().map(|(kind, _)| kind.program()).collect();
        programs.sort();
        programs.dedup();
        programs
    }

    /// What they say.
    pub(super) fn find(
        &self,
        extra: &Extra,
        passwords: &mut dyn FnMut(&Address, usize) -> Option<Secret>,
    ) -> Result<Finding, Failed> {
        let mut all = Finding::default();
        for config in self.of(Kind::EmailProxy) {
            add(&mut all, import::email_oauth2_proxy(config, self.cache.as_ref(), extra, passwords).map_err(broken)?);
        }
        if self.programs().contains(&Program::SaslXoauth2) {
            let setup = self.setup(&mut all)?;
            add(&mut all, import::sasl_xoauth2(&setup, extra).map_err(broken)?);
        }
        if self.programs().contains(&Program::MuttOauth2) {
            let tokens: Vec<Input> = self.of(Kind::MuttToken).cloned().collect();
            add(&mut all, import::mutt_oauth2(&tokens, self.of(Kind::MuttScript).next(), extra).map_err(broken)?);
        }
        Ok(all)
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Input> {
        self.files.iter().filter(move |(it, _)| *it == kind).map(|(_, input)| input)
    }

    /// The token files that maps name, and those that were given themselves.
    fn setup(&self, finding: &mut Finding) -> Result<Setup, Failed> {
        let mut configs = self.of(Kind::SaslConfig);
        let config = configs.next().cloned();
        if let Some(other) = configs.next() {
            return Err(Failed(Exit::Usage, format!("{} is a second sasl-xoauth2.conf: one at a time", other.name)));
        }
        let entries: Vec<MapEntry> = self.of(Kind::PostfixMap).flat_map(|map| import::read_map(map, finding)).collect();
        let given: Vec<&Input> = self.of(Kind::SaslToken).collect();
        let mut tokens: Vec<TokenFile> = Vec::new();
        for MapEntry { server, user, path } in entries {
            // One that was given itself wins over what the map's path leads to.
            let itself = given.iter().find(|input| file_name(&input.name) == file_name(&path));
            let (name, content) = match itself {
                Some(input) => (input.name.clone(), Ok(input.text.clone())),
                None => found(&path, finding),
            };
            tokens.push(TokenFile { name, user, server, content });
        }
        for input in given {
            if !tokens.iter().any(|token| token.name == input.name) {
                let (name, content) = (input.name.clone(), Ok(input.text.clone()));
                tokens.push(TokenFile { user: file_name(&name).to_owned(), name, server: None, content });
            }
        }
        Ok(Setup { config, tokens })
    }
}

fn add(all: &mut Finding, more: Finding) {
    let Finding { accounts, shared, doors, left, notes } = more;
    all.accounts.extend(accounts);
    all.shared.extend(shared);
    all.doors.extend(doors);
    all.left.extend(left);
    all.notes.extend(notes);
}

/// The token file at a map's path, or below Postfix's chroot; of two the one that was written last.
fn found(path: &str, finding: &mut Finding) -> (String, Result<Secret, String>) {
    let inside = format!("{CHROOT}{path}");
    let written = |path: &str| std::fs::metadata(path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let both = Path::new(path).exists() && Path::new(&inside).exists();
    if both {
        finding.notes.push(format!("there are {path} and {inside}: the one that was written last is taken"));
    }
    let name = if written(&inside) > written(path) { inside } else { path.to_owned() };
    let content = text(Path::new(&name)).map_err(|why| why.to_string());
    (name, content)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn read(path: &Path) -> Result<Input, Failed> {
    let from_input = path.as_os_str() == "-";
    let name = if from_input { "standard input".to_owned() } else { path.display().to_string() };
    let text = if from_input { text_of(io::stdin()) } else { text(path) };
    match text {
        Ok(text) => Ok(Input { name, text }),
        Err(why) => {
            let exit = if why.kind() == io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::InputOutput };
            Err(Failed(exit, format!("cannot read {name}: {why}")))
        }
    }
}

fn text(path: &Path) -> io::Result<Secret> {
    let file = File::open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(io::Error::other("it is a directory; give its files")),
        false => text_of(file),
    }
}

fn text_of(reader: impl Read) -> io::Result<Secret> {
    let mut octets = Vec::new();
    if reader.take(LONGEST + 1).read_to_end(&mut octets)? as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 4 MiB, and so no file of these programs"));
    }
    let no_text = "it is no text; a file that gpg encrypted is decrypted first: gpg -d FILE | outlink import -";
    Ok(Secret::new(String::from_utf8(octets).map_err(|_| io::Error::other(no_text))?))
}

fn broken(broken: Broken) -> Failed {
    Failed(Exit::InputOutput, format!("{broken}\nnothing was changed"))
}
