//! The state directory as a whole, and what the tests of store and queue share.

mod claims;
mod committer;
mod listing;
mod moves;
mod operate;
mod sealing;
mod upkeep;

use super::*;
use crate::mail::{Address, Envelope, Name, Recipient};

/// `seconds` after an arbitrary moment; nothing below the daemon looks at a clock.
pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn id(number: u64) -> Id {
    Id::from_u128(u128::from(number) + 1)
}

pub(crate) fn body(octets: usize) -> Kept {
    Kept::small(vec![b'x'; octets].into()).unwrap()
}

/// A message to one recipient, of app `crowd` through mailbox `alerts`, accepted and due at `at(0)`, with an hour to live.
pub(crate) fn message(number: u64) -> NewMessage {
    let mut envelope = Envelope::from(Some(Address::parse("crowd@example.com").unwrap()));
    envelope.recipients = vec![Recipient::to(Address::parse("team@example.org").unwrap())];
    NewMessage {
        id: id(number),
        app: name("crowd"),
        mailbox: name("alerts"),
        client: "127.0.0.1:4000".to_owned(),
        envelope,
        author: "crowd@example.com".to_owned(),
        bounce_of: None,
        message_id: format!("<{number}@example.com>"),
        subject: None,
        accepted_at: at(0),
        due_at: at(0),
        expires_at: at(3600),
        warn_at: None,
        attempts: 0,
        claim: None,
        held: None,
        stays: false,
        settled: Vec::new(),
        events: Vec::new(),
    }
}

/// Accepts as many messages as `numbers` has, at the same time, so that they share commits.
pub(crate) async fn fill(store: &Store, numbers: std::ops::Range<u64>, make: impl Fn(u64) -> NewMessage) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in numbers {
        let (store, message) = (store.clone(), make(number));
        tasks.spawn(async move { store.accept(message, body(10)).await.unwrap() });
    }
    tasks.join_all().await;
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn directory_and_files_are_for_their_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/state");
    let store = Store::open(&directory).unwrap();
    assert_eq!(mode(&directory), 0o700);
    for file in ["outlink.db", "outlink.db-wal", "outlink.lock"] {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
    drop(store);
    std::fs::set_permissions(directory.join("outlink.db"), Permissions::from_mode(0o644)).unwrap();
    let _store = Store::open(&directory).unwrap();
    assert_eq!(mode(&directory.join("outlink.db")), 0o600);
}

#[test]
fn what_is_no_database_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("outlink.db");
    std::fs::write(&file, "not a database, but long enough to look like one".repeat(100)).unwrap();
    let text = Store::open(directory.path()).unwrap_err().to_string();
    assert!(text.contains("outlink.db") && text.contains("not a database"), "{text}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("not a database, but"));
}

#[test]
fn a_path_that_is_no_directory_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("file");
    std::fs::write(&path, "").unwrap();
    let text = Store::open(&path.join("state")).unwrap_err().to_string();
    assert!(text.contains("file/state") && text.contains("state-directory"), "{text}");
}
