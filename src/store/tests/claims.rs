//! Who gets which message.

use super::*;
use std::collections::BTreeSet;

fn wanted(most: usize) -> Wanted {
    Wanted { mailbox: name("alerts"), app: name("crowd"), author: None, most }
}

#[tokio::test]
async fn of_two_owners_that_ask_at_once_each_message_goes_to_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    fill(&store, 0..500, message).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (store, claim) = (store.clone(), Claim::new(2 + 2 * (number % 2), number));
        tasks.spawn(async move { store.claim(wanted(7), claim, at(1), at(600)).await.unwrap() });
    }
    let all: Vec<Id> = tasks.join_all().await.into_iter().flatten().map(|message| message.id).collect();
    assert_eq!((all.len(), all.into_iter().collect::<BTreeSet<_>>()), (500, (0..500).map(id).collect()));
}
