//! The thread that commits: who stands and falls together, and what is left undone.

use super::*;
use rusqlite::Connection;
use std::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};

/// Work that holds the thread up until it is let go.
struct Stopped {
    begun: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
    asked: JoinHandle<Result<(), Error>>,
}

impl Stopped {
    fn ask(store: &Store) -> Self {
        let ((tell, begun), (go, wait)) = (mpsc::channel(), mpsc::channel());
        let store = store.clone();
        let work = move |_: &Connection| {
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
