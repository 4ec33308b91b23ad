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

#[tokio::test]
async fn the_senders_of_held_messages_are_told_each_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let make = |number: u64| NewMessage {
        author: format!("{}@example.com", number % 3),
        mailbox: name(if number == 8 { "billing" } else { "alerts" }),
        held: Some((if number == 2 { HeldBy::Operator } else { HeldBy::Sender }, "held".to_owned(), at(0))),
        ..message(number)
    };
    fill(&store, 0..5, make).await;
    fill(&store, 8..9, make).await;
    assert_eq!(store.held_senders(&name("alerts")).await.unwrap(), ["0@example.com", "1@example.com"]);
    assert_eq!(store.held_senders(&name("billing")).await.unwrap(), ["2@example.com"]);
}
