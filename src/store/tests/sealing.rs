//! What a thief of the files can read, and what happens without the right key.

use super::*;
use crate::{
    key,
    secret::{KeyId, Ring, Secret, Unsealed},
    store::sealing::in_use,
};
use rusqlite::Connection;

/// In every token of these tests, and nowhere else.
const MARK: &str = "MARKED-token";

fn grant(text: &str) -> NewGrant {
    NewGrant::new(Secret::new(text.into()), "import")
}

async fn token(store: &Store, mailbox: &str) -> String {
    store.grant(&name(mailbox)).await.unwrap().unwrap().refresh_token.expose().to_owned()
}

/// The files of a directory, and those below it, that hold the mark.
fn marked(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(marked(&path));
        } else if std::fs::read(&path).unwrap().windows(MARK.len()).any(|octets| octets == MARK.as_bytes()) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

/// A database of `schema` as an ended process left it: tokens in clear text in rows, in space that is free again, and in the log.
fn earlier(directory: &Path, schema: usize) {
    let made = tempfile::tempdir().unwrap();
    let file = made.path().join(DATABASE);
    std::fs::write(&file, "").unwrap();
    let connection = schema::open_at(&file, schema).unwrap();
    connection.pragma_update(None, "secure_delete", "OFF").unwrap();
    // Some longer than a page has room for.
    for number in 0..40 {
        let (kept, spare) = (format!("{MARK}-{number}"), format!("{MARK}-spare-{number}").repeat(200));
        let sql = "INSERT INTO grants (mailbox, consent, generation, refresh_token, spare_token, origin, obtained_at)
                   VALUES (?1, 1, 1, CAST(?2 AS BLOB), CAST(?3 AS BLOB), 'import', 1000)";
        connection.execute(sql, (format!("m{number}"), kept, spare)).unwrap();
    }
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); DELETE FROM grants WHERE mailbox > 'm20'").unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0)).unwrap();
    assert!(free > 20, "{free} free pages");
    let sql = format!("UPDATE grants SET refresh_token = CAST('{MARK}-newer' AS BLOB) WHERE mailbox = 'm1'");
    connection.execute(&sql, []).unwrap();
    for name in ["outlink.db", "outlink.db-wal"] {
        std::fs::copy(made.path().join(name), directory.join(name)).unwrap();
    }
    assert_eq!(marked(directory), ["outlink.db", "outlink.db-wal"], "the test sees what it looks for");
}

#[tokio::test]
async fn tokens_of_earlier_versions_are_sealed_and_no_clear_text_stays() {
    for schema in [1, 2] {
        let directory = tempfile::tempdir().unwrap();
        earlier(directory.path(), schema);
        let store = Store::open_with(directory.path(), None).unwrap();
        assert_eq!((token(&store, "m1").await, token(&store, "m10").await), (format!("{MARK}-newer"), format!("{MARK}-10")));
        assert_eq!(marked(directory.path()), Vec::<String>::new(), "while it is open");
        drop(store);
        assert_eq!(marked(directory.path()), Vec::<String>::new(), "when it is closed");
        let store = Store::open_with(directory.path(), None).unwrap();
        assert_eq!(token(&store, "m20").await, format!("{MARK}-20"));
    }
}

#[tokio::test]
async fn no_token_ever_reaches_a_file_in_clear_text() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    let store = Store::open_with(&directory, None).unwrap();
    let first = store.put_grant(&name("alerts"), grant(&format!("{MARK}-1")), at(1)).await.unwrap();
    for number in 2..50 {
        let new = Secret::new(format!("{MARK}-{number}").repeat(number));
        store.replace_refresh_token(&name("alerts"), first, &new, at(2)).await.unwrap();
        store.put_grant(&name("other"), grant(&format!("{MARK}-{number}")), at(3)).await.unwrap();
    }
    store.backup(&parent.path().join("copy")).unwrap();
    assert_eq!(marked(parent.path()), Vec::<String>::new());
    assert!(!parent.path().join("copy/key").exists(), "a backup has no key");
}

#[tokio::test]
async fn a_row_in_another_ones_place_does_not_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_with(directory.path(), None).unwrap();
    for mailbox in ["a", "b"] {
        store.put_grant(&name(mailbox), grant(mailbox), at(1)).await.unwrap();
    }
    let key = store.ring().current();
    drop(store);
    let disk = Connection::open(directory.path().join(DATABASE)).unwrap();
    let sql = "UPDATE grants SET refresh_token = (SELECT refresh_token FROM grants WHERE mailbox = 'b') WHERE mailbox = 'a'";
    disk.execute(sql, []).unwrap();
    drop(disk);
    let store = Store::open_with(directory.path(), None).unwrap();
    let fault = store.grant(&name("a")).await.unwrap_err();
    assert!(matches!(fault, Error::Unsealed { why: Unsealed::Altered { key: found }, .. } if found == key), "{fault}");
    assert!(fault.to_string().contains("refresh token of mailbox a"), "{fault}");
    assert_eq!(token(&store, "b").await, "b", "the others open");
    store.put_grant(&name("a"), grant("new"), at(2)).await.unwrap();
    assert_eq!(token(&store, "a").await, "new");
}

#[tokio::test]
async fn without_the_right_key_nothing_is_opened_and_nothing_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_with(directory.path(), None).unwrap();
    store.put_grant(&name("a"), grant("a"), at(1)).await.unwrap();
    let id = store.ring().current();
    drop(store);
    let file = key::file_of(directory.path());
    let right = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let text = Store::open_with(directory.path(), None).unwrap_err().to_string();
    assert!(text.contains(&format!("under key {id}, and there is no key at {}", file.display())), "{text}");
    assert!(!file.exists());
    let other = key::make(directory.path()).unwrap().ring.current();
    let before = std::fs::read(&file).unwrap();
    let text = Store::open_with(directory.path(), None).unwrap_err().to_string();
    assert!(text.contains(&id.to_string()) && text.contains(&format!("holds {other}")), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    std::fs::write(&file, right).unwrap();
    assert_eq!(token(&Store::open_with(directory.path(), None).unwrap(), "a").await, "a");
}

#[tokio::test]
async fn a_credential_takes_over_from_the_file_and_only_its_service_opens_then() {
    let (directory, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open_with(directory.path(), None).unwrap();
    store.put_grant(&name("a"), grant("a"), at(1)).await.unwrap();
    let ring = store.ring();
    drop(store);
    // A new key before the old one, as its administrator writes it.
    let both = ring.with_first(key::fresh().unwrap()).unwrap();
    std::fs::write(credentials.path().join("outlink-key"), both.text().as_bytes()).unwrap();
    std::fs::remove_file(key::file_of(directory.path())).unwrap();
    let store = Store::open_with(directory.path(), Some(credentials.path())).unwrap();
    assert_eq!((token(&store, "a").await, keys_in_use(&store).await), ("a".into(), vec![both.current()]));
    let refused = store.rotate_key().await.unwrap_err();
    assert!(refused.to_string().contains("LoadCredential"), "{refused}");
    drop(store);
    let fault = Store::open_with(directory.path(), None).unwrap_err();
    assert!(fault.is_of_the_key() && fault.to_string().contains("start the daemon"), "{fault}");
}

async fn keys_in_use(store: &Store) -> Vec<KeyId> {
    store.0.committer.run("look", in_use).await.unwrap()
}

#[tokio::test]
async fn a_rotation_seals_every_row_anew_and_the_old_key_goes_when_nothing_needs_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_with(directory.path(), None).unwrap();
    for mailbox in ["a", "b"] {
        store.put_grant(&name(mailbox), grant("old"), at(1)).await.unwrap();
        store.put_grant(&name(mailbox), grant(mailbox), at(1)).await.unwrap();
    }
    let old = store.ring().current();
    let rotated = store.rotate_key().await.unwrap();
    assert!(rotated.key != old && rotated.resealed == 4, "{rotated:?}");
    assert_eq!((store.ring().ids(), keys_in_use(&store).await), (vec![rotated.key, old], vec![rotated.key]));
    assert_eq!(token(&store, "a").await, "a");
    assert_eq!(store.drop_keys(&[old]).await.unwrap(), [], "somebody needs it");
    assert_eq!(store.drop_keys(&[]).await.unwrap(), [old]);
    drop(store);
    let kept = Ring::parse(&std::fs::read_to_string(key::file_of(directory.path())).unwrap()).unwrap();
    assert_eq!(kept.ids(), [rotated.key]);
    let store = Store::open_with(directory.path(), None).unwrap();
    assert_eq!((token(&store, "a").await, token(&store, "b").await), ("a".into(), "b".into()));
}

#[tokio::test]
async fn grants_that_come_during_a_rotation_are_sealed_under_the_new_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_with(directory.path(), None).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100 {
        let store = store.clone();
        tasks.spawn(async move {
            store.put_grant(&name(&format!("m{number}")), grant(&number.to_string()), at(1)).await.unwrap();
        });
    }
    let rotated = store.rotate_key().await.unwrap();
    tasks.join_all().await;
    assert_eq!(keys_in_use(&store).await, [rotated.key]);
    store.drop_keys(&[]).await.unwrap();
    for number in 0..100 {
        assert_eq!(token(&store, &format!("m{number}")).await, number.to_string());
    }
}

#[tokio::test]
async fn a_restored_copy_needs_the_key() {
    let parent = tempfile::tempdir().unwrap();
    let (from, to) = (parent.path().join("state"), parent.path().join("copy"));
    let store = Store::open_with(&from, None).unwrap();
    store.put_grant(&name("a"), grant("a"), at(1)).await.unwrap();
    store.backup(&to).unwrap();
    let id = store.ring().current().to_string();
    let text = Store::open_with(&to, None).unwrap_err().to_string();
    assert!(text.contains(&id) && text.contains("copy/key"), "{text}");
    std::fs::copy(key::file_of(&from), key::file_of(&to)).unwrap();
    assert_eq!(token(&Store::open_with(&to, None).unwrap(), "a").await, "a");
}

#[tokio::test]
async fn a_lost_key_costs_its_grants_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_with(directory.path(), None).unwrap();
    store.put_grant(&name("alerts"), grant("a"), at(1)).await.unwrap();
    fill(&store, 0..3, message).await;
    drop(store);
    assert!(matches!(Store::replace_lost_key(directory.path()), Err(Error::NothingLost { .. })), "it is there");
    std::fs::remove_file(key::file_of(directory.path())).unwrap();
    let forgotten = Store::replace_lost_key(directory.path()).unwrap();
    assert_eq!(forgotten.mailboxes, ["alerts"]);
    let store = Store::open_with(directory.path(), None).unwrap();
    assert_eq!((store.ring().current().to_string(), store.grant(&name("alerts")).await.unwrap()), (forgotten.key, None));
    assert_eq!(store.list(Filter::default(), None).await.unwrap().lines.len(), 3);
}

#[tokio::test]
async fn a_configuration_that_needs_another_key_keeps_one_from_being_made() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let needed = key::make(other.path()).unwrap().ring.current();
    let text = Store::open_with_keys(directory.path(), &[needed]).unwrap_err().to_string();
    assert!(text.contains(&format!("under key {needed}")) && !key::file_of(directory.path()).exists(), "{text}");
    std::fs::copy(key::file_of(other.path()), key::file_of(directory.path())).unwrap();
    assert_eq!(Store::open_with_keys(directory.path(), &[needed]).unwrap().ring().current(), needed);
}
