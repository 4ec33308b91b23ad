//! The thread that commits: who stands and falls together, and what is left undone.

use super::*;
use rusqlite::Connection;
use std::{collections::BTreeSet, sync::mpsc};
use tokio::task::{JoinHandle, yield_now};

/// Work that holds the thread up until it is let go.
struct Stopped {
    begun: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
    asked: JoinHandle<Result<(), Error>>,
}

impl Stopped {
    fn ask(store: &Store) -> Self {
        Self::after(store, |_| Ok(()))
    }

    fn after(store: &Store, mut first: impl FnMut(&Connection) -> rusqlite::Result<()> + Send + 'static) -> Self {
        let ((tell, begun), (go, wait)) = (mpsc::channel(), mpsc::channel());
        let store = store.clone();
        let work = move |connection: &Connection| {
            first(connection)?;
            tell.send(()).unwrap();
            wait.recv().unwrap();
            Ok(())
        };
        let asked = tokio::spawn(async move { store.0.committer.run("hold up", work).await });
        Self { begun, go, asked }
    }
}

/// Lets everything that was spawned ask.
async fn all_have_asked() {
    for _ in 0..10 {
        yield_now().await;
    }
}

fn number_of_messages(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM messages", [], |row| row.get(0))
}

#[tokio::test]
async fn a_message_counts_though_nobody_waits_any_more_when_it_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let first = Stopped::ask(&store);
    all_have_asked().await;
    first.begun.recv().unwrap();
    // These two share the next transaction, so the message is looked at before its app goes away.
    let second = Stopped::ask(&store);
    let accepting = tokio::spawn({
        let store = store.clone();
        async move { store.accept(message(1), body(1000)).await.map(drop) }
    });
    all_have_asked().await;
    first.go.send(()).unwrap();
    second.begun.recv().unwrap();
    accepting.abort();
    assert!(accepting.await.unwrap_err().is_cancelled());
    second.go.send(()).unwrap();
    for stopped in [first, second] {
        stopped.asked.await.unwrap().unwrap();
    }
    assert_eq!(store.0.committer.run("look", number_of_messages).await.unwrap(), 1);
    assert_eq!(store.octets_kept(), 1000);
    assert_eq!(store.operate(id(1), Verb::Discard, at(1), at(1)).await.unwrap(), Done::Yes);
    assert_eq!(store.octets_kept(), 0, "or every later message would be refused for want of room");
}

#[tokio::test]
async fn a_message_for_which_nobody_waits_when_its_turn_comes_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let stopped = Stopped::ask(&store);
    all_have_asked().await;
    stopped.begun.recv().unwrap();
    let accepting = tokio::spawn({
        let store = store.clone();
        async move { store.accept(message(1), body(1000)).await.map(drop) }
    });
    all_have_asked().await;
    accepting.abort();
    assert!(accepting.await.unwrap_err().is_cancelled());
    stopped.go.send(()).unwrap();
    assert_eq!(store.0.committer.run("look", number_of_messages).await.unwrap(), 0);
    assert_eq!(store.octets_kept(), 0);
}

#[tokio::test]
async fn the_bodies_of_discarded_messages_do_not_count_after_a_start_either() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    fill(&store, 0..3, message).await;
    store.operate(id(1), Verb::Discard, at(1), at(1)).await.unwrap();
    assert_eq!(store.octets_kept(), 20);
    drop(store);
    assert_eq!(Store::open(directory.path()).unwrap().octets_kept(), 20);
}

/// The commits in the write-ahead log: frames that say how large the database is then (<https://www.sqlite.org/fileformat2.html#walformat>).
fn commits(directory: &Path) -> usize {
    let log = std::fs::read(directory.join("outlink.db-wal")).unwrap();
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    let salts = &log[16..24];
    log[32..].chunks(24 + page).filter(|frame| frame[8..16] == *salts && frame[4..8] != [0; 4]).count()
}

#[tokio::test]
async fn all_that_wait_share_one_commit() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let stopped = Stopped::ask(&store);
    all_have_asked().await;
    stopped.begun.recv().unwrap();
    let filling = tokio::spawn({
        let store = store.clone();
        async move { fill(&store, 0..200, message).await }
    });
    all_have_asked().await;
    let before = commits(directory.path());
    stopped.go.send(()).unwrap();
    filling.await.unwrap();
    assert_eq!(commits(directory.path()) - before, 1);
}

/// Asks for three pieces of work in one transaction: a message, `work`, another message; gives what each heard.
async fn together(
    store: &Store,
    work: impl FnMut(&Connection) -> rusqlite::Result<()> + Send + 'static,
) -> (Result<(), Error>, Result<(), Error>, Result<(), Error>) {
    let stopped = Stopped::ask(store);
    all_have_asked().await;
    stopped.begun.recv().unwrap();
    let accept = |number| {
        let store = store.clone();
        tokio::spawn(async move { store.accept(message(number), body(10)).await.map(drop) })
    };
    let first = accept(1);
    all_have_asked().await;
    let between = tokio::spawn({
        let store = store.clone();
        async move { store.0.committer.run("fail", work).await }
    });
    all_have_asked().await;
    let last = accept(2);
    all_have_asked().await;
    stopped.go.send(()).unwrap();
    stopped.asked.await.unwrap().unwrap();
    (first.await.unwrap(), between.await.unwrap(), last.await.unwrap())
}

fn failure(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}

#[tokio::test]
async fn work_that_fails_is_undone_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (first, between, last) = together(&store, |connection| {
        connection.execute("DELETE FROM messages", [])?;
        Err(failure(rusqlite::ffi::SQLITE_CONSTRAINT))
    })
    .await;
    assert!(first.is_ok() && between.is_err() && last.is_ok());
    assert_eq!((store.0.committer.run("look", number_of_messages).await.unwrap(), store.octets_kept()), (2, 20));
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_all_and_nothing_of_it_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    // A recipient without a message is noticed by the commit only.
    let (first, between, last) = together(&store, |connection| {
        connection.pragma_update(None, "defer_foreign_keys", "ON")?;
        let sql = "INSERT INTO recipients (message, position, address, state) VALUES (99, 0, 'a@example.org', 0)";
        connection.execute(sql, []).map(drop)
    })
    .await;
    assert!(first.is_err() && between.is_err() && last.is_err());
    assert_eq!((store.0.committer.run("look", number_of_messages).await.unwrap(), store.octets_kept()), (0, 0));
    fill(&store, 1..3, message).await;
}

#[tokio::test]
async fn after_a_fault_of_the_disk_the_database_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    fill(&store, 10..11, message).await;
    let (first, between, last) = together(&store, |_| Err(failure(rusqlite::ffi::SQLITE_IOERR))).await;
    assert!(first.is_err() && between.is_err() && last.is_err(), "nobody hears that it is kept");
    assert_eq!(store.octets_kept(), 10);
    fill(&store, 1..3, message).await;
    let lines = store.list(Filter::default(), None).await.unwrap().lines;
    assert_eq!(lines.iter().map(|line| line.id).collect::<BTreeSet<_>>(), [10, 1, 2].map(id).into());
}

#[tokio::test]
async fn a_reader_sees_what_is_committed_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let stopped = Stopped::after(&store, |connection| accept::insert(connection, &message(1), &body(10)).map(drop));
    all_have_asked().await;
    stopped.begun.recv().unwrap();
    assert_eq!(store.list(Filter::default(), None).await.unwrap().lines.len(), 0);
    stopped.go.send(()).unwrap();
    stopped.asked.await.unwrap().unwrap();
    assert_eq!(store.list(Filter::default(), None).await.unwrap().lines.len(), 1);
}

#[tokio::test]
async fn one_reading_sees_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let ((tell, begun), (go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let reading = tokio::spawn({
        let store = store.clone();
        let work = move |connection: &Connection| {
            let before = number_of_messages(connection)?;
            tell.send(()).unwrap();
            wait.recv().unwrap();
            Ok((before, number_of_messages(connection)?))
        };
        async move { store.0.reader.read("read twice", work).await }
    });
    all_have_asked().await;
    begun.recv().unwrap();
    fill(&store, 0..1, message).await;
    go.send(()).unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), (0, 0), "else a page could miss what moved between its two questions");
}
