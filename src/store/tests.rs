//! The state directory as a whole.

use super::*;

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

/// A message of so many octets.
async fn accept(store: &Store, octets: usize) -> Id {
    let now = SystemTime::now();
    let mut envelope = crate::mail::Envelope::from(None);
    envelope.recipients = vec![crate::mail::Recipient::to(crate::mail::Address::parse("you@example.org").unwrap())];
    let name = |text| crate::mail::Name::parse(text).unwrap();
    let id = Id::new(now, [7; 10]);
    let message = NewMessage {
        id,
        app: name("crowd"),
        mailbox: name("alerts"),
        client: String::new(),
        envelope,
        author: String::new(),
        bounce_of: None,
        message_id: String::new(),
        subject: None,
        accepted_at: now,
        due_at: now,
        expires_at: now,
        warn_at: None,
        attempts: 0,
        claim: None,
        held: None,
        settled: Vec::new(),
        events: Vec::new(),
    };
    let kept = store.keep(Body::Memory(vec![b'x'; octets].into()), id).await.unwrap();
    store.accept(message, kept).await.unwrap();
    id
}

#[tokio::test]
async fn a_discarded_message_takes_no_room_after_a_restart_either() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let id = accept(&store, 1000).await;
    assert_eq!(store.octets_kept(), 1000);
    let now = SystemTime::now();
    assert_eq!(store.operate(id, Verb::Discard, now, now).await.unwrap(), Done::Yes);
    assert_eq!(store.octets_kept(), 0);
    drop(store);
    assert_eq!(Store::open(directory.path()).unwrap().octets_kept(), 0);
}
