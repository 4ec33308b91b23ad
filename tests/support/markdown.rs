//! The commands in the fences of a Markdown text.

use std::{fs, path::Path};

/// A fence of a guide.
pub(crate) struct Block {
    /// The heading of second rank above it; empty before the first.
    pub(crate) heading: String,
    pub(crate) language: String,
    /// Its place among those of its language under that heading, from 0.
    pub(crate) number: usize,
    pub(crate) lines: Vec<String>,
}

/// The fences of a file in `docs`.
pub(crate) fn blocks(guide: &str) -> Vec<Block> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(guide);
    parse(&fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())))
}

/// The fences of a text, with their lines joined at `\\`, without comments and empty ones.
pub(crate) fn parse(text: &str) -> Vec<Block> {
    let (mut found, mut heading, mut open): (Vec<Block>, _, bool) = (Vec::new(), String::new(), false);
    let mut begun = String::new();
    for line in text.lines().map(str::trim) {
        match (line.strip_prefix("```"), found.last_mut()) {
            (Some(_), _) if open => open = false,
            (Some(language), _) => {
                let number = found.iter().filter(|it| it.heading == heading && it.language == language).count();
                found.push(Block { heading: heading.clone(), language: language.to_owned(), number, lines: Vec::new() });
                open = true;
            }
            (None, Some(block)) if open => {
                begun.push_str(without_comment(line));
                if !begun.ends_with('\\') {
                    block.lines.extend(Some(std::mem::take(&mut begun)).filter(|line| !line.is_empty()));
                } else {
                    begun.pop();
                }
            }
            _ => heading = line.strip_prefix("## ").map_or(heading, str::to_owned),
        }
    }
    assert!(!open && begun.is_empty(), "a fence is not closed");
    found
}

/// The line up to a `#` that begins a word outside of quotes.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (None, '#') if before == ' ' => return line[..at].trim_end(),
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
        before = character;
    }
    line
}
