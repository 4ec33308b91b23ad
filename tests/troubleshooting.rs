//! `docs/troubleshooting.md` and the program say the same: each advice has its place there, in the words of the tables, and what the
//! page links to exists. `WRITE_DOCS=1 cargo test --test troubleshooting` writes the tables anew.

use outlink::{
    mail::State,
    provider::{AdviceEntry, Topic, all_advice},
};
use std::{collections::HashSet, fmt::Write, fs, path::PathBuf};

fn page() -> (PathBuf, String) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/troubleshooting.md"));
    let text = fs::read_to_string(&path).expect("the page can be read");
    (path, text)
}

/// What stands for names and ids on the page.
const NAMES: [(&str, &str); 5] =
    [("mailbox", "NAME"), ("address", "MAILBOX"), ("link", "LINK"), ("client-id", "CLIENT_ID"), ("tenant", "TENANT")];

/// Whose advice it is, by its name.
fn whose(entry: &AdviceEntry) -> &'static str {
    match entry.name.split('-').next() {
        Some("google") => "Google",
        Some("microsoft") => "Microsoft",
        _ => "",
    }
}

/// The tables of a topic: of any provider, then of each.
fn tables(topic: Topic) -> String {
    let mut out = String::new();
    for (of, title) in [("", "Any provider"), ("Google", "Google"), ("Microsoft", "Microsoft")] {
        let entries: Vec<_> = all_advice().filter(|entry| entry.topic() == topic && whose(entry) == of).collect();
        if entries.is_empty() {
            continue;
        }
        if matches!(topic, Topic::Reply | Topic::SignIn) {
            write!(out, "\n**{title}**\n").expect("a String takes it");
        }
        out.push_str("\n| name | cause | step |\n|---|---|---|\n");
        for entry in entries {
            let [cause, step] = entry.parts(&NAMES).map(|text| outside_of_code(&text));
            writeln!(out, "| <a id=\"{0}\"></a>`{0}` | {cause} | {step} |", entry.name).expect("a String takes it");
        }
    }
    out.push('\n');
    out
}

/// `<` begins a tag in Markdown, but not within backquotes.
fn outside_of_code(text: &str) -> String {
    let part = |(number, part): (usize, &str)| {
        if number % 2 == 0 { part.replace('<', "&lt;").replace('|', "\\|") } else { part.to_owned() }
    };
    text.split('`').enumerate().map(part).collect::<Vec<_>>().join("`")
}

/// The page with the tables of now.
fn written(page: &str) -> String {
    let mut text = page.to_owned();
    for (name, topic) in [("replies", Topic::Reply), ("sign-in", Topic::SignIn), ("way", Topic::Way), ("own", Topic::Own)] {
        let begin = format!("<!-- {name}: made of the tables in src/provider -->\n");
        let end = format!("<!-- end of {name} -->");
        let from = text.find(&begin).unwrap_or_else(|| panic!("the page has no {begin}")) + begin.len();
        let to = from + text[from..].find(&end).unwrap_or_else(|| panic!("the page has no {end}"));
        text.replace_range(from..to, &tables(topic));
    }
    text
}

#[test]
fn each_advice_has_its_place_in_the_words_of_the_tables() {
    let (path, text) = page();
    let wanted = written(&text);
    if std::env::var_os("WRITE_DOCS").is_some() {
        // Whole at once: the other tests read it.
        let beside = path.with_extension("new");
        fs::write(&beside, &wanted).and_then(|()| fs::rename(&beside, &path)).expect("the page can be written");
    }
    let have: HashSet<&str> = text.lines().collect();
    let missing: Vec<&str> = wanted.lines().filter(|line| !have.contains(line)).collect();
    assert!(
        text == wanted || std::env::var_os("WRITE_DOCS").is_some(),
        "docs/troubleshooting.md is not of these tables; WRITE_DOCS=1 cargo test --test troubleshooting writes it. Missing:\n{}",
        missing.join("\n")
    );
    for entry in all_advice() {
        let anchor = format!("<a id=\"{}\"></a>", entry.name);
        assert_eq!(wanted.matches(&anchor).count(), 1, "{}", entry.name);
    }
}

#[test]
fn each_state_is_explained() {
    let (_, text) = page();
    let section =
        text.split("## The states").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("there is a section of states");
    for state in State::ALL {
        assert!(section.contains(&format!("| `{state}` |")), "{state}");
    }
}

#[test]
fn every_link_within_the_page_leads_to_a_heading() {
    let (_, text) = page();
    let plain = |heading: &str| {
        let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-').collect::<String>();
        kept.trim().replace(' ', "-")
    };
    let headings: HashSet<String> = text.lines().filter_map(|line| line.strip_prefix("## ")).map(plain).collect();
    let links: Vec<&str> = text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 5);
    for link in links {
        assert!(headings.contains(link) || all_advice().any(|entry| entry.name == link), "#{link} leads nowhere");
    }
}
