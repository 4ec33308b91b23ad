//! Sealed values under another key than the first: found in all files, and sealed anew in those that a command wrote.
//!
//! What a person wrote is left to that person, and told. A file is replaced whole, with its owner, group and mode.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Fault, environment, locate::Layer, sources::Sources, write::MARK};
use crate::{
    secret::{KeyId, Ring, Sealed},
    whole::{Like, Unfinished},
};

/// The last part of a sealed value's path.
const SEALED: &str = "sealed";

/// What was done, and what is left to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Files whose values were sealed anew.
    pub changed: Vec<PathBuf>,
    /// Files that still need another key than the first, each with the reason.
    pub left: Vec<(PathBuf, String)>,
    /// The other keys that are still needed.
    pub needed: BTreeSet<KeyId>,
}

/// Seals anew what the first key of `ring` does not open in the files of the configuration `main`.
pub fn reseal(main: &Path, ring: &Ring) -> Result<Resealed, Vec<Fault>> {
    let variables = environment();
    let sources = Sources::read(main, &variables)?;
    let mut resealed = Resealed::default();
    for layer in &sources.layers {
        layer_anew(layer, ring, &mut resealed);
    }
    Ok(resealed)
}

/// A sealed value that stands somewhere.
struct Found {
    binding: String,
    text: String,
    sealed: Sealed,
}

fn layer_anew(layer: &Layer, ring: &Ring, resealed: &mut Resealed) {
    let found: Vec<Found> = found(layer).into_iter().filter(|found| found.sealed.key() != ring.current()).collect();
    if found.is_empty() {
        return;
    }
    match file_anew(layer, ring, &found) {
        Ok(()) => resealed.changed.push(layer.file.clone()),
        Err(why) => {
            resealed.left.push((layer.file.clone(), why));
            resealed.needed.extend(found.iter().map(|found| found.sealed.key()));
        }
    }
}

/// The sealed values of a layer: the environment has them too, and nobody can change those.
fn found(layer: &Layer) -> Vec<Found> {
    let of = |path: &Vec<String>| {
        let (last, above) = path.split_last()?;
        let text = (last == SEALED).then(|| layer.text_of(path)).flatten()?;
        let sealed = Sealed::parse(&text).ok()?;
        Some(Found { binding: above.join("."), text, sealed })
    };
    layer.paths().filter_map(of).collect()
}

fn file_anew(layer: &Layer, ring: &Ring, found: &[Found]) -> Result<(), String> {
    if !layer.numbered {
        return Err("the environment is not changed by commands".to_owned());
    }
    let say = |why: io::Error| format!("it cannot be written: {why}");
    let mut text = fs::read_to_string(&layer.file).map_err(say)?;
    if !text.starts_with(MARK) {
        return Err("a person wrote it: put the secret there anew".to_owned());
    }
    for Found { binding, text: old, sealed } in found {
        let secret = ring.open(binding, sealed).map_err(|why| format!("{binding} does not open: {why}"))?;
        text = text.replace(old, &ring.seal(binding, &secret).text());
    }
    replace(&layer.file, &text).map_err(say)?;
    crate::crash::point("file-resealed");
    Ok(())
}

/// Puts `text` in the place of what `file` holds, with its owner, group and mode; durable when it returns.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let old = fs::metadata(file)?;
    let like = Like { owner: Some(old.uid()), group: Some(old.gid()), mode: old.mode() };
    Unfinished::write(file, text.as_bytes(), like)?.replace()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key, secret::Secret};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_a_command_wrote_is_sealed_anew_and_the_rest_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let old = Ring::new(key::fresh().unwrap());
        let new = old.with_first(key::fresh().unwrap()).unwrap();
        let (foreign, secret) = (Ring::new(key::fresh().unwrap()), Secret::new("marked".into()));
        let place = |name: &str| format!("link.{name}.client-secret");
        let text = |head: &str, name: &str, ring: &Ring| {
            let sealed = ring.seal(&place(name), &secret).text();
            format!("{head}\n[link.{name}]\nclient-secret = {{ sealed = '{sealed}' }} # kept\n")
        };
        let main = directory.path().join("outlink.toml");
        fs::write(&main, format!("state-directory = \"/nonexistent\"\n{}", text("# mine", "main", &old))).unwrap();
        fs::create_dir(directory.path().join("conf.d")).unwrap();
        let file = |name: &str| directory.path().join("conf.d").join(name);
        fs::write(file("a.toml"), text(MARK, "a", &old)).unwrap();
        fs::set_permissions(file("a.toml"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(file("b.toml"), text(MARK, "b", &new)).unwrap();
        fs::write(file("c.toml"), text(MARK, "c", &foreign)).unwrap();
        let resealed = reseal(&main, &new).unwrap();
        assert_eq!(resealed.changed, [file("a.toml")]);
        assert_eq!(resealed.needed, BTreeSet::from([old.current(), foreign.current()]));
        let left: Vec<_> = resealed.left.iter().map(|(file, _)| file.clone()).collect();
        assert_eq!(left, [main.clone(), file("c.toml")]);
        assert!(resealed.left[0].1.contains("a person wrote it") && resealed.left[1].1.contains("does not open"), "{resealed:?}");
        let written = fs::read_to_string(file("a.toml")).unwrap();
        assert!(written.ends_with(" # kept\n"), "{written}");
        let sealed = written.split('\'').nth(1).unwrap();
        assert_eq!(Ring::open(&new, &place("a"), &Sealed::parse(sealed).unwrap()), Ok(secret));
        assert_eq!(fs::metadata(file("a.toml")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path().join("conf.d")).unwrap().count(), 3, "nothing unfinished stays");
        assert_eq!(reseal(&main, &new).unwrap().changed, Vec::<PathBuf>::new(), "nothing is left to do");
    }
}
