//! Which messages another mailbox may take over.

use super::*;

async fn movable(store: &Store) -> Vec<u64> {
    let found = store.movable(&name("alerts"), &name("crowd"), Number::default(), 100).await.unwrap();
    found.into_iter().map(|it| u64::try_from(it.id.to_u128()).unwrap() - 1).collect()
}

#[tokio::test]
async fn only_what_nobody_works_on_and_nobody_may_have_sent_moves() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (ours, theirs) = (Claim::new(2, 0), Claim::new(3, 0));
    let accept = async |new: NewMessage| store.accept(new, body(10)).await.unwrap().number();
    let waits = accept(message(1)).await;
    accept(NewMessage { stays: true, ..message(2) }).await;
    let claimed = accept(NewMessage { claim: Some((ours, at(100))), ..message(3) }).await;
    let lost = accept(NewMessage { claim: Some((theirs, at(100))), ..message(4) }).await;
    let denied = accept(NewMessage { held: Some((HeldBy::Sender, "denied".into(), at(5))), ..message(5) }).await;
    accept(NewMessage { held: Some((HeldBy::Operator, "wait".into(), at(5))), ..message(6) }).await;
    accept(NewMessage { app: name("jira"), ..message(7) }).await;
    accept(NewMessage { mailbox: name("other"), ..message(8) }).await;
    assert_eq!(movable(&store).await, [1, 5]);

    // Given back untouched it may move; given back by somebody who may have sent it, not.
    store.unclaim(vec![(claimed, ours)]).await.unwrap();
    store.renew_claims(2, at(200), at(300)).await.unwrap();
    assert_eq!(movable(&store).await, [1, 3, 5]);
    assert!(store.message(lost).await.unwrap().is_some());
    let wanted = Wanted { mailbox: name("alerts"), app: name("crowd"), author: None, most: 1 };
    assert_eq!(store.claim(wanted, ours, at(200), at(300)).await.unwrap()[0].number, waits);
    let event = Event { at: at(200), event: "deferred".to_owned(), detail: String::new(), took: None };
    let next = Next::Waits { due_at: at(900), attempts: 1, reason: "cut".to_owned(), warn_at: None };
    let (reports, notices) = (Vec::new(), Vec::new());
    let settlement = Settlement { number: waits, id: id(1), claim: ours, reports, next, unsure: true, event, notices };
    assert_eq!(store.settle(settlement).await.unwrap(), Settled::Done);
    assert_eq!(movable(&store).await, [3, 5]);

    let to = |number| Move { number, to: name("other"), shift: 7000, why: "from alerts to other".to_owned() };
    let moved = store.move_all(&name("alerts"), vec![to(claimed), to(waits), to(denied)], (at(210), at(15))).await.unwrap();
    assert_eq!(moved, [claimed, denied]);
    let denied = store.message(denied).await.unwrap().unwrap();
    // Ten seconds in the hold do not count, and the other clock is seven later.
    assert_eq!((denied.mailbox, denied.expires_at), (name("other"), at(3600 + 10 + 7)));
    let due = store.due(&name("other")).await.unwrap();
    assert_eq!((due[0].app.clone(), due[0].at), (name("crowd"), at(0)));
}

#[tokio::test]
async fn what_was_claimed_when_the_process_ended_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.accept(NewMessage { claim: Some((Claim::new(2, 0), at(100))), ..message(1) }, body(10)).await.unwrap();
    store.accept(message(2), body(10)).await.unwrap();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(movable(&store).await, [2]);
}
