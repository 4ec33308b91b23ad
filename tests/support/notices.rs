//! Notices that the provider took, as Python's email package reads them, and what the queue keeps as failed.

use super::{Program, SOON, run, story::Story};
use outlink::store::{Filter, State, Store};
use serde_json::Value;
use std::{fs, path::Path, process::Command};

/// What Python finds in a notice that the provider took; fails where that is a defect.
pub(crate) fn read(story: &Story, notice: &Value) -> Value {
    let file = story.directory.path().join("notice.eml");
    let octets = story.octets(notice);
    fs::write(&file, &octets).expect("it can be written");
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/bounce.py")).arg(file);
    let output = run(command, b"", SOON);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}\n{}", String::from_utf8_lossy(&octets));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The value of the field `name` in a list of pairs; empty when it is missing.
pub(crate) fn field<'a>(fields: &'a Value, name: &str) -> &'a str {
    let mut pairs = fields.as_array().expect("a list of fields").iter();
    let found = pairs.find(|pair| pair[0].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name)));
    found.and_then(|pair| pair[1].as_str()).unwrap_or_default()
}

/// Notices that the provider took.
pub(crate) fn notices(story: &Story) -> Vec<Value> {
    let is_notice = |message: &Value| message["subject"].as_str().is_some_and(|subject| subject.contains(" mail"));
    story.received().into_iter().filter(is_notice).collect()
}

/// Ends the daemon; gives the Message-IDs of what it keeps as failed.
pub(crate) fn failed(story: &Story, daemon: Program) -> Vec<String> {
    let (status, output) = daemon.stop();
    assert_eq!(status, Some(0), "{output}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let store = Store::open(&story.directory.path().join("state")).expect("the store opens");
    let filter = Filter { states: vec![State::Failed], ..Filter::default() };
    let page = runtime.block_on(store.list(filter, None)).expect("a list");
    let mut ids: Vec<String> = page.lines.iter().map(|line| line.message_id.clone()).collect();
    ids.sort();
    ids
}
