//! Pages of a listing.

use super::*;
use std::collections::BTreeSet;

/// Every page for a filter: the ids on each.
async fn pages(store: &Store, filter: &Filter) -> Vec<Vec<Id>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(filter.clone(), after).await.unwrap();
        pages.push(page.lines.iter().map(|line| line.id).collect());
        after = page.next;
        if after.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn pages_look_at_a_bounded_number_of_rows_and_miss_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let make = |number: u64| NewMessage {
        mailbox: name(if number == 4500 { "billing" } else { "alerts" }),
        accepted_at: at(number),
        ..message(number)
    };
    fill(&store, 0..5000, make).await;
    let all = pages(&store, &Filter::default()).await;
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [2000, 2000, 1000]);
    assert_eq!(all.concat().into_iter().collect::<BTreeSet<_>>(), (0..5000).map(id).collect());
    // What is rare is looked for page by page as well.
    let rare = pages(&store, &Filter { mailbox: Some(name("billing")), ..Filter::default() }).await;
    assert_eq!((rare.len(), rare.concat()), (3, vec![id(4500)]));
    let counts = store.count().await.unwrap();
    let counts: BTreeSet<_> = counts.iter().map(|count| (count.mailbox.as_str(), count.messages, count.size)).collect();
    assert_eq!(counts, [("alerts", 4999, 49_990), ("billing", 1, 10)].into());
}

#[tokio::test]
async fn the_page_ends_where_the_messages_end() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(pages(&store, &Filter::default()).await, [Vec::new()]);
    fill(&store, 0..2000, message).await;
    assert_eq!(pages(&store, &Filter::default()).await.concat().len(), 2000);
}

#[tokio::test]
async fn each_part_of_a_filter_counts_with_and_without_ids() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let make = |number: u64| {
        let mut new = NewMessage { accepted_at: at(number), ..message(number) };
        match number {
            1 => new.app = name("jira"),
            2 => new.mailbox = name("billing"),
            3 => new.held = Some((HeldBy::Sender, "denied".to_owned(), at(0))),
            4 => new.envelope.recipients.push(Recipient::to(Address::parse("Boss@Example.org").unwrap())),
            5 => new.envelope.sender = None,
            _ => {}
        }
        new
    };
    fill(&store, 0..7, make).await;
    store.operate(id(6), Verb::Discard, at(10), at(10)).await.unwrap();
    let none = Filter::default;
    let rows = [
        (none(), vec![0, 1, 2, 3, 4, 5, 6]),
        (Filter { app: Some(name("jira")), ..none() }, vec![1]),
        (Filter { mailbox: Some(name("billing")), ..none() }, vec![2]),
        (Filter { states: vec![State::Held], ..none() }, vec![3]),
        (Filter { states: vec![State::Held, State::Failed], ..none() }, vec![3, 6]),
        (Filter { states: vec![State::Delivered], ..none() }, vec![]),
        (Filter { accepted_before: Some(at(2)), ..none() }, vec![0, 1]),
        (Filter { address: Some("boss@example.ORG".to_owned()), ..none() }, vec![4]),
        (Filter { address: Some("crowd@example.com".to_owned()), ..none() }, vec![0, 1, 2, 3, 4, 6]),
        (Filter { app: Some(name("jira")), mailbox: Some(name("billing")), ..none() }, vec![]),
    ];
    for (filter, expected) in rows {
        let expected: BTreeSet<Id> = expected.into_iter().map(id).collect();
        for ids in [Vec::new(), (0..9).map(id).collect()] {
            let filter = Filter { ids, ..filter.clone() };
            let found = pages(&store, &filter).await.concat();
            assert_eq!((found.len(), found.into_iter().collect()), (expected.len(), expected.clone()), "{filter:?}");
        }
    }
}
