//! Keeps the house in order: modules stand in layers and import only downward, never a sibling; every file says what it is for and
//! stays short. Rust itself allows import cycles, so nothing but this test prevents them.
//!
//! Reads the text, not the syntax tree: `crate::name`, `crate::{a, b::c}` and `super::` chains that end at the root. Tests count too.

use std::{fs, path::Path};

/// From the bottom; a module imports only what stands in a line above its own.
const LAYERS: &[&[&str]] = &[
    &["mail", "secret"],
    &["smtp", "oauth"],
    &["provider"],
    // For tests alone, and what store and configuration both need; they have no number of their own in the map.
    &["crash", "whole"],
    &["key"],
    &["config", "store", "tls"],
    &["listener", "queue", "tokens", "upstream"],
    &["relay"],
    &["doctor", "dropbox", "import", "notify", "sandbox"],
    &["admin", "web"],
    &["daemon"],
    &["cli"],
];

/// Layers that touch nothing: no clock, file, socket, task, environment. `src/lib.rs` fences them with `.clippy.toml`.
const PURE: usize = 3;

/// Lines of a file before its tests; longer ones hide a second job.
const LONGEST: usize = 500;

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The module that owns `file`, a path below `src`, and how many `super` lead from there to the root.
fn place(file: &str) -> (&str, usize) {
    let stem = file.strip_suffix("/mod.rs").or(file.strip_suffix(".rs")).unwrap_or(file);
    (stem.split('/').next().unwrap_or(stem), stem.split('/').count())
}

/// `text` without comments, strings left alone.
fn code(text: &str) -> String {
    text.lines()
        .map(|line| line.find("//").filter(|at| !line[..*at].ends_with(':')).map_or(line, |at| &line[..at]))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The first names of what follows a path's root: one, or each of a group.
fn first_names(rest: &str) -> Vec<String> {
    let word =
        |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || "_*".contains(*c)).collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(word(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(word(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The modules of this crate that `text` names, where `depth` times `super` is the root.
fn imports(text: &str, depth: usize) -> Vec<String> {
    let text = code(text);
    let root = "super::".repeat(depth);
    let after = |pattern: &str| {
        let follows = |at: usize| text[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && !"_:$".contains(c));
        let found = text.match_indices(pattern).filter(|(at, _)| follows(*at));
        found.flat_map(|(at, found)| first_names(&text[at + found.len()..])).collect::<Vec<_>>()
    };
    // `super::` also leads from an inner module to its own file; only the name of another module makes it the root.
    let by_super = after(&root).into_iter().filter(|name| layer(name).is_some());
    after("crate::").into_iter().chain(by_super).collect()
}

/// Everything wrong with one file, a path below `src`.
fn faults(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |why: String| faults.push(format!("src/{file}: {why}"));
    let before_tests = text.lines().take_while(|line| !line.trim_start().starts_with("#[cfg(test)]")).count();
    if !text.starts_with("//! ") {
        fault("its first line does not say what it is for (`//! …`)".into());
    }
    if before_tests > LONGEST {
        fault(format!("{before_tests} lines before its tests; {LONGEST} at most: which part is a job of its own?"));
    }
    if ["lib.rs", "main.rs"].contains(&file) {
        return faults;
    }
    let (module, depth) = place(file);
    let Some(own) = layer(module) else {
        fault(format!("the module `{module}` has no layer; give it one in tests/architecture.rs and in src/lib.rs"));
        return faults;
    };
    for import in imports(text, depth).iter().filter(|import| *import != module) {
        match layer(import) {
            Some(other) if other < own => {}
            Some(other) if other == own => fault(format!("`{module}` imports `{import}`, its sibling on layer {own}")),
            Some(other) => fault(format!("`{module}` on layer {own} imports `{import}`, which stands above it on layer {other}")),
            None => fault(format!("imports `crate::{import}`, which is no module with a layer")),
        }
    }
    faults
}

/// All source files below `directory`, as paths below `src`, with their text.
fn sources(directory: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(src()).expect("it lies below src").to_string_lossy().into_owned();
            files.push((name, fs::read_to_string(&path).expect("a source file can be read")));
        }
    }
}

fn src() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

#[test]
fn the_house_stands_in_its_layers() {
    let mut files = Vec::new();
    sources(src(), &mut files);
    let mut all: Vec<String> = files.iter().flat_map(|(file, text)| faults(file, text)).collect();
    let map = fs::read_to_string(src().join("lib.rs")).expect("src/lib.rs can be read");
    for (number, module) in LAYERS.iter().enumerate().flat_map(|(number, layer)| layer.iter().map(move |module| (number, module)))
    {
        let fence = "#[deny(clippy::disallowed_types, clippy::disallowed_methods)]\n";
        let declared = format!("pub mod {module};");
        if !map.contains(&declared) {
            all.push(format!("src/lib.rs: `{module}` has a layer but no `{declared}`"));
        }
        if number < PURE && !map.contains(&format!("{fence}{declared}")) {
            all.push(format!("src/lib.rs: `{module}` is pure, but its fence is missing: {fence}"));
        }
    }
    assert!(all.is_empty(), "\n{}\n", all.join("\n"));
    let seen: usize = files.iter().map(|(file, text)| imports(text, place(file).1).len()).sum();
    assert!(files.len() >= LAYERS.concat().len() && seen >= 5, "only {} files and {seen} imports were seen", files.len());
}

#[test]
fn every_file_of_tests_is_in_their_map() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let map = fs::read_to_string(tests.join("README.md")).expect("the map can be read");
    let files = fs::read_dir(&tests).expect("the folder can be read").map(|entry| entry.expect("an entry").path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|extension| extension == "rs")).collect();
    let named = |file: &Path| map.contains(&format!("`{}`", file.file_stem().unwrap_or_default().to_string_lossy()));
    let missing: Vec<_> = files.iter().filter(|file| !named(file)).collect();
    assert!(missing.is_empty() && files.len() > 10, "tests/README.md does not name {missing:?}");
}

#[test]
fn each_kind_of_fault_is_seen() {
    let good = "//! Purpose.\nuse crate::{mail::{Id, Name}, smtp::Reply};\n// crate::cli is only spoken of\n";
    assert_eq!(faults("relay/mod.rs", good), Vec::<String>::new());
    let long = format!("//! Purpose.\n{}", "\n".repeat(LONGEST));
    let tests_do_not_count = format!("//! Purpose.\n#[cfg(test)]\nmod tests {{\n{}}}", "\n".repeat(LONGEST));
    assert_eq!(faults("mail/id.rs", &tests_do_not_count), Vec::<String>::new());
    let bad = [
        ("mail/id.rs", "use std::fmt;\n", "does not say what it is for"),
        ("lib.rs", "// The map.\n", "does not say what it is for"),
        ("mail/id.rs", long.as_str(), "lines before its tests"),
        ("helpers.rs", "//! Purpose.\n", "`helpers` has no layer"),
        ("helpers/deep/one.rs", "//! Purpose.\n", "`helpers` has no layer"),
        ("mail/id.rs", "//! Purpose.\nuse crate::smtp::Reply;\n", "`smtp`, which stands above"),
        ("tokens/mod.rs", "//! Purpose.\nuse crate::{\n    mail::{Id, Name},\n    relay,\n};\n", "`relay`, which stands above"),
        ("tokens/mod.rs", "//! Purpose.\nfn a() { crate::upstream::send() }\n", "`upstream`, its sibling"),
        ("tokens/mod.rs", "//! Purpose.\nfn a(_: &crate::upstream::Slot) {}\n", "`upstream`, its sibling"),
        ("tokens/one.rs", "//! Purpose.\nuse super::super::cli;\n", "`cli`, which stands above"),
        ("tokens/mod.rs", "//! Purpose.\nuse super::{listener, mail};\n", "`listener`, its sibling"),
        (
            "tokens/mod.rs",
            "//! Purpose.\n#[cfg(test)]\nmod tests {\n    use crate::sandbox::Provider;\n}\n",
            "`sandbox`, which stands above",
        ),
        ("tokens/mod.rs", "//! Purpose.\nuse crate::*;\n", "`crate::*`, which is no module"),
        ("cli/mod.rs", "//! Purpose.\nuse crate::broker;\n", "`crate::broker`, which is no module"),
    ];
    for (file, text, expected) in bad {
        let found = faults(file, text);
        assert!(found.len() == 1 && found[0].contains(expected), "{file}: {text}\nexpected: {expected}\nfound: {found:?}");
    }
}
