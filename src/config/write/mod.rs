//! The files that commands write: one link, mailbox or app each, `KIND-NAME.toml` in a `conf.d` (design §6).
//!
//! A file is checked before it is written, with all others as they are, and never takes the place of a name that a person defined.
//! Only a whole file that a command wrote is ever replaced or removed.

mod app;
mod document;
mod file;
mod link;
mod listener;
mod mailbox;

pub use app::{App, AppLimits, NoPasswords, Passwords, with_passwords};
pub use document::{Document, SecretText};
pub use file::{Alone, Place};
pub use link::Link;
pub use listener::Listener;
pub use mailbox::Mailbox;

use super::{
    Fault, environment,
    locate::Layer,
    sources::{Sources, directory_of},
};
use crate::mail::Name;
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// How each file begins that a command wrote.
pub(super) const MARK: &str = "# Written by outlink";

/// What a command can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `[link.NAME]`.
    Link,
    /// `[mailbox.NAME]`.
    Mailbox,
    /// `[app.NAME]`.
    App,
    /// `[listener.NAME]`.
    Listener,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Link, Self::Mailbox, Self::App, Self::Listener];

    /// Its word in tables, files and commands.
    pub fn word(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Mailbox => "mailbox",
            Self::App => "app",
            Self::Listener => "listener",
        }
    }

    /// What a table of this kind names by keys of its own.
    fn needs(self) -> Option<(Self, &'static [&'static str])> {
        match self {
            Self::Link | Self::Listener => None,
            Self::Mailbox => Some((Self::Link, &["link"])),
            Self::App => Some((Self::Mailbox, &["mailbox", "fallback"])),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The configuration cannot be read as it is.
    #[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n\n"))]
    Faults(Vec<Fault>),
    /// A person wrote it.
    #[error("{kind} {name} stands in {}:{line}, where no command wrote it: edit that file", file.display())]
    ByHand {
        /// What.
        kind: Kind,
        /// Its name.
        name: Name,
        /// Where it stands.
        file: PathBuf,
        /// In which line.
        line: usize,
    },
    /// There is none.
    #[error("no {kind} is named {name}; there {}", are(known))]
    Unknown {
        /// What.
        kind: Kind,
        /// Its name.
        name: Name,
        /// Those that there are.
        known: Vec<Name>,
    },
    /// A file that no command wrote has the name.
    #[error("{} is there, and no command wrote it: move it away, or choose another name", .0.display())]
    Taken(PathBuf),
    /// Another command was faster.
    #[error("{} was changed meanwhile: nothing was written; look at what it says now, then repeat this", .0.display())]
    Changed(PathBuf),
    /// Another command takes long.
    #[error("another command changes the configuration {} just now: nothing was written; repeat this when it is done", .0.display())]
    Busy(PathBuf),
    /// The system said no.
    #[error("cannot write {}: {why}; {step}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        why: io::Error,
        /// What to do.
        step: &'static str,
    },
}

fn are(known: &[Name]) -> String {
    match known {
        [] => "is none".to_owned(),
        known => format!("are: {}", known.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")),
    }
}

/// Where one table stands.
#[derive(Debug, Clone)]
struct Definition {
    kind: Kind,
    name: Name,
    file: PathBuf,
    line: usize,
    /// Whether the file holds nothing else and a command wrote it.
    written: bool,
}

/// All links, mailboxes and apps of a configuration, whatever is wrong with them: which files define them, and who needs whom.
#[derive(Debug)]
pub struct Definitions {
    main: PathBuf,
    state_directory: PathBuf,
    defined: Vec<Definition>,
    /// Who names whom.
    needs: Vec<((Kind, Name), (Kind, Name))>,
}

impl Definitions {
    /// Those of the configuration `main`, an absolute path.
    pub fn read(main: &Path) -> Result<Self, WriteError> {
        let variables = environment();
        let sources = Sources::read(main, &variables).map_err(WriteError::Faults)?;
        let files = sources.layers.iter().filter(|layer| layer.numbered);
        let merged = sources.merged();
        Ok(Self {
            main: main.to_owned(),
            state_directory: sources.state_directory.clone(),
            defined: files.flat_map(definitions).collect(),
            needs: Kind::ALL.into_iter().flat_map(|kind| needs(&merged, kind)).collect(),
        })
    }

    /// Where the state lives.
    pub fn state_directory(&self) -> &Path {
        &self.state_directory
    }

    /// The names of a kind, sorted.
    pub fn names(&self, kind: Kind) -> Vec<Name> {
        let mut names: Vec<_> = self.defined.iter().filter(|it| it.kind == kind).map(|it| it.name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The last file that defines it.
    pub fn file(&self, kind: Kind, name: &Name) -> Option<&Path> {
        self.of(kind, name).last().map(|it| it.file.as_path())
    }

    /// Who names it: mailboxes a link, apps a mailbox.
    pub fn users(&self, kind: Kind, name: &Name) -> Vec<Name> {
        let named = |(_, needed): &&((Kind, Name), (Kind, Name))| needed.0 == kind && needed.1 == *name;
        self.needs.iter().filter(named).map(|((_, user), _)| user.clone()).collect()
    }

    /// Where `name` is written: where a command wrote it before, else where it can be.
    pub fn place(&self, kind: Kind, name: &Name) -> Result<Place, WriteError> {
        if let Some(place) = self.written(kind, name)? {
            return Ok(place);
        }
        let file = self.directory()?.join(file_name(kind, name));
        match file.symlink_metadata() {
            Ok(_) => Err(WriteError::Taken(file)),
            Err(_) => Ok(Place { main: self.main.clone(), file, old: None }),
        }
    }

    /// Where a command wrote `name`, which is there.
    pub fn existing(&self, kind: Kind, name: &Name) -> Result<Place, WriteError> {
        let unknown = || WriteError::Unknown { kind, name: name.clone(), known: self.names(kind) };
        self.written(kind, name)?.ok_or_else(unknown)
    }

    fn written(&self, kind: Kind, name: &Name) -> Result<Option<Place>, WriteError> {
        let (written, by_hand): (Vec<_>, Vec<_>) = self.of(kind, name).partition(|it| it.written);
        if let Some(Definition { file, line, .. }) = by_hand.first() {
            return Err(WriteError::ByHand { kind, name: name.clone(), file: file.clone(), line: *line });
        }
        let Some(found) = written.last() else { return Ok(None) };
        let step = "run this as root or as the service's user";
        let old = fs::read_to_string(&found.file).map_err(|why| WriteError::File { file: found.file.clone(), why, step })?;
        Ok(Some(Place { main: self.main.clone(), file: found.file.clone(), old: Some(old) }))
    }

    fn of(&self, kind: Kind, name: &Name) -> impl Iterator<Item = &Definition> {
        self.defined.iter().filter(move |it| it.kind == kind && it.name == *name)
    }

    /// `conf.d` beside the main file; where that cannot be written, in the state directory.
    fn directory(&self) -> Result<PathBuf, WriteError> {
        let beside = directory_of(&self.main).join("conf.d");
        let why = match file::writable(&beside) {
            Ok(()) => return Ok(beside),
            Err(why) => why,
        };
        let below = self.state_directory.join("conf.d");
        match file::writable(&below) {
            Ok(()) => Ok(below),
            Err(_) => {
                let step = "run this as root or as the service's user; where it is read-only even so, start outlink once, which makes \
                            the state directory: then that one is taken";
                Err(WriteError::File { file: beside, why, step })
            }
        }
    }
}

fn file_name(kind: Kind, name: &Name) -> String {
    format!("{kind}-{name}.toml")
}

/// The tables of a layer.
fn definitions(layer: &Layer) -> Vec<Definition> {
    let tables: Vec<_> = layer.paths().filter(|path| path.len() == 2).collect();
    let mut found = Vec::new();
    for path in &tables {
        let kind = Kind::ALL.into_iter().find(|kind| kind.word() == path[0]);
        if let (Some(kind), Ok(name)) = (kind, Name::parse(&path[1])) {
            let alone = layer.paths().all(|other| other[0] == path[0] && other.get(1).is_none_or(|second| *second == path[1]));
            let named = layer.file.file_name().is_some_and(|file| file == file_name(kind, &name).as_str());
            let line = layer.place(path).and_then(|place| layer.position(place.key.start).line).unwrap_or(1);
            let written = alone && named && layer.begins_with(MARK);
            found.push(Definition { kind, name, file: layer.file.clone(), line, written });
        }
    }
    found
}

/// Who of `kind` names whom.
fn needs(merged: &BTreeMap<String, config::Value>, kind: Kind) -> Vec<((Kind, Name), (Kind, Name))> {
    let tables = merged.get(kind.word()).and_then(|tables| tables.clone().into_table().ok()).unwrap_or_default();
    let Some((needed, keys)) = kind.needs() else { return Vec::new() };
    let mut found = Vec::new();
    for (name, table) in tables {
        let (Ok(name), Ok(mut table)) = (Name::parse(&name), table.into_table()) else { continue };
        let values = keys.iter().filter_map(|key| table.remove(*key));
        let texts = values
            .flat_map(|value| value.clone().into_array().unwrap_or_else(|_| vec![value]))
            .filter_map(|it| it.into_string().ok());
        found.extend(texts.filter_map(|named| Some(((kind, name.clone()), (needed, Name::parse(&named).ok()?)))));
    }
    found.sort();
    found.dedup();
    found
}
