//! What is cleared away, copied, given back.

use super::*;
use std::collections::BTreeSet;

async fn large(store: &Store, number: u64) -> Kept {
    let mut body = store.spool().receive();
    body.write(&vec![number as u8; LARGEST_IN_MEMORY + 1]).await.unwrap();
    store.keep(body.finish().await.unwrap(), id(number)).await.unwrap()
}

fn files(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory.join("bodies")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_start_removes_bodies_that_no_row_names_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (named, unnamed) = (large(&store, 1).await, large(&store, 2).await);
    store.accept(message(1), named).await.unwrap();
    drop(unnamed);
    // A row whose body is in the database does not speak of a file.
    fill(&store, 3..4, message).await;
    drop(large(&store, 3).await);
    let others = directory.path().join("bodies/notes.txt");
    std::fs::write(&others, "not ours").unwrap();
    drop(store);
    let _store = Store::open(directory.path()).unwrap();
    assert_eq!(files(directory.path()), [id(1).to_string(), "notes.txt".to_owned()].into());
}

async fn pages(store: &Store) -> (i64, i64) {
    let look = |connection: &rusqlite::Connection| {
        let value = |name| connection.pragma_query_value(None, name, |row| row.get(0));
        Ok((value("page_count")?, value("freelist_count")?))
    };
    store.0.committer.run("look", look).await.unwrap()
}

#[tokio::test]
async fn space_that_is_free_is_given_back_but_for_some_that_comes_in_handy() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for number in 0..300 {
        store.accept(message(number), body(100_000)).await.unwrap();
    }
    for number in 0..300 {
        store.operate(id(number), Verb::Discard, at(1), at(1)).await.unwrap();
    }
    let (full, free) = pages(&store).await;
    assert!(free > 7000, "{free} of {full}");
    store.shrink().await.unwrap();
    let (left, free) = pages(&store).await;
    assert!(free == 4096 && left < full - 2500, "{free} free of {left}, before of {full}");
}

#[tokio::test]
async fn a_backup_is_made_while_messages_come_and_go_and_can_be_started() {
    let parent = tempfile::tempdir().unwrap();
    let (from, to) = (parent.path().join("state"), parent.path().join("copy"));
    let store = Store::open(&from).unwrap();
    let grant = NewGrant::new(crate::secret::Secret::new("r1".into()), "import");
    store.put_grant(&name("alerts"), grant, at(1)).await.unwrap();
    fill(&store, 0..100, message).await;
    for number in 100..110 {
        let body = large(&store, number).await;
        store.accept(message(number), body).await.unwrap();
    }
    let copying = tokio::task::spawn_blocking({
        let (store, to) = (store.clone(), to.clone());
        move || store.backup(&to).unwrap()
    });
    let mut next = 1000;
    while !copying.is_finished() {
        fill(&store, next..next + 10, message).await;
        store.operate(id(next % 110), Verb::Discard, at(1), at(1)).await.unwrap();
        next += 10;
    }
    let copied = copying.await.unwrap();
    std::fs::copy(from.join("key"), to.join("key")).unwrap();
    let copy = Store::open(&to).unwrap();
    let mut with_body = 0;
    for line in copy.list(Filter::default(), None).await.unwrap().lines.iter().filter(|line| line.has_body) {
        let body = copy.body(line.number, line.id, line.size).await.unwrap().unwrap();
        assert_eq!(body.beginning(usize::MAX).await.unwrap().len() as u64, line.size);
        with_body += 1;
    }
    assert_eq!(with_body, copied);
    assert!(copied > 50, "{copied}");
    assert_eq!(copy.grant(&name("alerts")).await.unwrap().unwrap().refresh_token.expose(), "r1");
    let auto_vacuum = |c: &rusqlite::Connection| c.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0));
    assert_eq!(copy.0.committer.run("look", auto_vacuum).await.unwrap(), 2, "the copy can shrink, too");
    assert!(store.backup(&to).is_err(), "nothing is written over");
}

#[tokio::test]
async fn what_was_held_for_too_long_fails_however_much_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let make = |number: u64| NewMessage {
        held: number.is_multiple_of(2).then(|| (HeldBy::Operator, "held".to_owned(), at(0))),
        ..message(number)
    };
    fill(&store, 0..1000, make).await;
    let (alerts, late) = (name("alerts"), at(100));
    assert_eq!(store.fail_held(alerts.clone(), (at(0), at(0), true), late).await.unwrap(), 0, "not yet");
    assert_eq!(store.fail_held(name("billing"), (at(1), at(1), true), late).await.unwrap(), 0, "another's");
    assert_eq!(store.fail_held(alerts.clone(), (at(1), at(1), false), late).await.unwrap(), 500);
    assert_eq!(store.fail_held(alerts, (at(1), at(1), true), late).await.unwrap(), 500, "the mailbox itself is held");
}
