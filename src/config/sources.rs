//! The layers of the configuration, found, read and merged; the later wins (design §6).

use super::{
    Variables,
    fault::{Fault, Severity},
    locate::{Broken, Layer, Place},
};
use config::{Config, Environment, Map, Value};
use std::{
    collections::BTreeMap,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

/// Octets of one file. A thousand links need a third of it.
const LONGEST_FILE: u64 = 1024 * 1024;
/// Files of one `conf.d`: one per object that commands write.
const MOST_FILES: usize = 10_000;
/// Where state lives when nothing says otherwise.
const STATE_DIRECTORY: &str = "/var/lib/outlink";
/// What begins the name of every variable that is a key.
const PREFIX: &str = "OUTLINK_";

/// All layers in order, with the environment.
pub(super) struct Sources<'a> {
    /// The main file.
    pub(super) main: PathBuf,
    pub(super) layers: Vec<Layer>,
    pub(super) variables: &'a Variables,
    /// The state directory whose `conf.d` was read.
    pub(super) state_directory: PathBuf,
}

/// A file of a `conf.d` that is read as if it held this text; without one, as if it were not there.
#[derive(Clone, Copy)]
pub(super) struct Instead<'t> {
    pub(super) file: &'t Path,
    pub(super) text: Option<&'t str>,
}

impl<'a> Sources<'a> {
    /// Reads the main file, `conf.d` beside it, `conf.d` in the state directory, and the environment.
    pub(super) fn read(main: &Path, variables: &'a Variables) -> Result<Self, Vec<Fault>> {
        Self::read_instead(main, variables, None)
    }

    /// The same with another text in the place of one file.
    pub(super) fn read_instead(main: &Path, variables: &'a Variables, instead: Option<Instead<'_>>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut layers: Vec<_> = read_layer(main, &mut faults).into_iter().collect();
        read_directory(&directory_of(main).join("conf.d"), instead, &mut layers, &mut faults);
        let environment = environment(variables, &mut faults);

        // The state directory can be named by any layer but those that lie in it.
        let named = [&layers[..], std::slice::from_ref(&environment)].concat();
        let state_directory = state_directory(&named, variables);
        let below = state_directory.join("conf.d");
        if below != directory_of(main).join("conf.d") {
            read_directory(&below, instead, &mut layers, &mut faults);
        }
        layers.push(environment);
        match faults.is_empty() {
            true => Ok(Self { main: main.into(), layers, variables, state_directory }),
            false => Err(faults),
        }
    }

    /// Takes one text and the environment, and reads no `conf.d`.
    pub(super) fn from_text(text: &str, variables: &'a Variables) -> Result<Self, Vec<Fault>> {
        let main = PathBuf::from("outlink.toml");
        let mut faults = Vec::new();
        let mut layers: Vec<_> = parse_layer(&main, text.into(), &mut faults).into_iter().collect();
        layers.push(environment(variables, &mut faults));
        match faults.is_empty() {
            true => Ok(Self { state_directory: state_directory(&layers, variables), main, layers, variables }),
            false => Err(faults),
        }
    }

    /// All layers in one.
    pub(super) fn merged(&self) -> BTreeMap<String, Value> {
        merge(&self.layers)
    }

    /// The last layer that has `path`: the one whose value counts.
    pub(super) fn find(&self, path: &[String]) -> Option<(usize, &Layer, &Place)> {
        let places = self.layers.iter().enumerate().rev();
        places.filter_map(|(index, layer)| Some((index, layer, layer.place(path)?))).next()
    }

    /// The directory against which a relative path at `path` counts: that of the file which names it.
    pub(super) fn directory(&self, path: &[String]) -> PathBuf {
        match self.find(path) {
            Some((_, layer, _)) if layer.numbered => directory_of(&layer.file),
            _ => PathBuf::new(),
        }
    }
}

fn merge(layers: &[Layer]) -> BTreeMap<String, Value> {
    let builder = layers.iter().fold(Config::builder(), |builder, layer| builder.add_source(layer.clone()));
    // Layers were read before, so collecting them cannot fail.
    let merged = builder.build().ok().and_then(|merged| merged.cache.into_table().ok());
    merged.unwrap_or_default().into_iter().collect()
}

/// The key, else systemd's variable (which may list several: the first is ours), else the usual place.
fn state_directory(layers: &[Layer], variables: &Variables) -> PathBuf {
    let configured = merge(layers).remove("state-directory").and_then(|value| value.into_string().ok());
    let systemd = variables.get("STATE_DIRECTORY").and_then(|list| list.split(':').next()).filter(|first| !first.is_empty());
    match configured {
        Some(text) => {
            let path = ["state-directory".to_owned()];
            let layer = layers.iter().rev().find(|layer| layer.place(&path).is_some());
            layer.filter(|layer| layer.numbered).map_or_else(PathBuf::new, |layer| directory_of(&layer.file)).join(text)
        }
        None => systemd.unwrap_or(STATE_DIRECTORY).into(),
    }
}

pub(super) fn directory_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Reads every `*.toml` of a directory in the order of names; a directory that is not there has none.
fn read_directory(directory: &Path, instead: Option<Instead<'_>>, layers: &mut Vec<Layer>, faults: &mut Vec<Fault>) {
    let mut files = match list(directory) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let hint = "run this as the service user or as root";
            return faults.push(whole(directory, format!("the directory cannot be read: {error}"), hint));
        }
    };
    let instead = instead.filter(|instead| instead.file.parent() == Some(directory));
    if let Some(Instead { file, text }) = instead {
        files.retain(|listed| listed != file);
        files.extend(text.map(|_| file.to_owned()));
    }
    files.sort();
    layers.extend(files.iter().filter_map(|file| match instead.filter(|instead| instead.file == file) {
        Some(Instead { text: Some(text), .. }) => parse_layer(file, text.to_owned(), faults),
        _ => read_layer(file, faults),
    }));
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)?.take(MOST_FILES) {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

fn read_layer(file: &Path, faults: &mut Vec<Fault>) -> Option<Layer> {
    match read_text(file) {
        Ok(text) => parse_layer(file, text, faults),
        Err(error) => {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "name the file with --config FILE",
                io::ErrorKind::PermissionDenied => "run this as the service user or as root",
                _ => "",
            };
            faults.push(whole(file, format!("the file cannot be read: {error}"), hint));
            None
        }
    }
}

fn read_text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = fs::File::open(file)?.take(LONGEST_FILE + 1).read_to_string(&mut text)?;
    match read as u64 > LONGEST_FILE {
        true => Err(io::Error::other("it is longer than 1 MiB")),
        false => Ok(text),
    }
}

fn parse_layer(file: &Path, text: String, faults: &mut Vec<Fault>) -> Option<Layer> {
    let broken = match Layer::from_toml(file.into(), text) {
        Ok(layer) => return Some(layer),
        Err(broken) => broken,
    };
    // A forgotten quote can make every later line wrong; the first few say it.
    faults.extend(broken.into_iter().take(10).map(|(position, message): Broken| Fault {
        severity: Severity::Fault,
        file: file.into(),
        line: position.line,
        column: position.column,
        key: String::new(),
        message: format!("this is not valid TOML: {message}"),
        source_line: position.source_line,
        hint: "texts stand in quotes, tables begin with [name]; see https://toml.io".into(),
    }));
    None
}

/// A fault of a file or directory as a whole.
fn whole(file: &Path, message: String, hint: &str) -> Fault {
    Fault {
        severity: Severity::Fault,
        file: file.into(),
        line: None,
        column: None,
        key: String::new(),
        message,
        source_line: String::new(),
        hint: hint.into(),
    }
}

/// `OUTLINK_LINK__CONTOSO__CLIENT_ID` is the key `link.contoso.client-id`. Variables with other characters than capitals, digits
/// and `_` are not meant for us; empty ones count as unset, because compose files cannot unset.
fn environment(variables: &Variables, faults: &mut Vec<Fault>) -> Layer {
    let mut keys = Vec::new();
    let mut source = Map::new();
    for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
            continue;
        }
        let segments: Vec<_> = rest.split("__").map(|part| part.replace('_', "-").to_ascii_lowercase()).collect();
        if segments.iter().any(String::is_empty) {
            continue;
        }
        // The crate's own case conversion would cut names at digits (`link.s3` into `s-3`), so `_` is `-` before it looks.
        source.insert(format!("{PREFIX}{}", segments.join("__")), value.clone());
        keys.push((segments, name.clone(), value.clone()));
    }
    let collected =
        config::Source::collect(&Environment::with_prefix("OUTLINK").prefix_separator("_").separator("__").source(Some(source)));
    let values = collected.unwrap_or_else(|error| {
        faults.push(whole(Path::new("environment"), format!("the variables cannot be read: {error}"), ""));
        Map::new()
    });
    Layer::from_environment(values, &keys)
}
