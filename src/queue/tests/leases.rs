//! Claims that nobody uses.

use crate::{
    config,
    queue::{HeldBy, LEASE, Queue, Wanted},
    store::{
        Error, Store,
        tests::{at, fill, message, name},
    },
};

#[tokio::test]
async fn what_could_not_be_given_back_is_given_back_before_claims_are_renewed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    fill(&store, 0..3, message).await;
    let queue = Queue::new(store.clone(), config::Queue::default(), 2);
    let wanted = Wanted { mailbox: name("alerts"), app: name("crowd"), author: None, most: 10 };
    let claimed = queue.claim(wanted.clone(), at(1)).await.unwrap();
    let [first, second, third] = &claimed[..] else { panic!("{claimed:?}") };
    // The store fails for a while.
    let other = rusqlite::Connection::open(store.file()).unwrap();
    other.execute_batch("ALTER TABLE messages RENAME TO elsewhere").unwrap();
    queue.unclaim(vec![(first.message.number, first.claim)]).await.unwrap_err();
    queue.hold_claimed((second.message.number, second.claim), (HeldBy::Sender, "denied".to_owned()), at(1)).await.unwrap_err();
    queue.renew(at(2)).await.unwrap_err();
    other.execute_batch("ALTER TABLE elsewhere RENAME TO messages").unwrap();
    queue.renew(at(3)).await.unwrap();
    let again = queue.claim(wanted, at(4)).await.unwrap();
    let ids: Vec<_> = again.iter().map(|claimed| claimed.message.id).collect();
    assert_eq!(ids, [first.message.id, second.message.id], "the third one is still worked on: {}", third.message.id);
}

#[tokio::test]
async fn what_was_claimed_after_nobody_waited_for_it_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    fill(&store, 0..3, message).await;
    let queue = Queue::new(store.clone(), config::Queue::default(), 2);
    let wanted = Wanted { mailbox: name("alerts"), app: name("crowd"), author: None, most: 10 };
    let claim = queue.new_claim();
    store.claim(wanted.clone(), claim, at(1), at(1) + LEASE).await.unwrap();
    let slow = Error::Slow { what: "claim messages", file: store.file().to_owned(), seconds: 20 };
    queue.never_came(&slow, claim);
    queue.renew(at(2)).await.unwrap();
    assert_eq!(queue.claim(wanted, at(3)).await.unwrap().len(), 3);
}
