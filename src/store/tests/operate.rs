//! What an operator does with kept messages.

use super::*;

async fn settle(store: &Store, number: u64, claim: Claim, next: Next) -> Settled {
    let row = store.list(Filter { ids: vec![id(number)], ..Filter::default() }, None).await.unwrap().lines[0].number;
    let event = Event { at: at(2), event: "tried".to_owned(), detail: String::new(), took: None };
    let (reports, notices) = (Vec::new(), Vec::new());
    store.settle(Settlement { number: row, id: id(number), claim, reports, next, unsure: false, event, notices }).await.unwrap()
}

#[tokio::test]
async fn a_failed_message_that_is_tried_again_has_its_warning_as_long_before_its_end_as_before() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let claim = Claim::new(2, 0);
    let new = NewMessage { warn_at: Some(at(600)), claim: Some((claim, at(100))), ..message(1) };
    let number = store.accept(new, body(10)).await.unwrap().number();
    assert_eq!(settle(&store, 1, claim, Next::Failed { reason: "refused".to_owned() }).await, Settled::Done);
    let (late, life) = (at(50_000), Duration::from_secs(3600));
    assert_eq!(store.operate(id(1), Verb::Retry(life), late, late).await.unwrap(), Done::Yes);
    let message = store.message(number).await.unwrap().unwrap();
    assert_eq!((message.expires_at, message.warn_at), (late + life, Some(late + Duration::from_secs(600))));
}
