//! When there is no room, and what is said then.

use crate::{
    config,
    queue::Queue,
    store::{
        Body, Store, Verb,
        tests::{at, id, message},
    },
};

fn body(octets: usize) -> Body {
    Body::Memory(vec![0; octets].into())
}

#[tokio::test]
async fn messages_are_refused_above_the_largest_size_and_below_the_least_space() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let settings = config::Queue { maximum_size: 3 << 20, minimum_free: 0, ..config::Queue::default() };
    let queue = Queue::new(store.clone(), settings.clone(), 2);
    for number in 1..=24 {
        queue.accept(message(number), body(128 << 10)).await.unwrap();
    }
    let full = queue.accept(message(25), body(1)).await.unwrap_err();
    assert!(full.is_for_room());
    let text = full.to_string();
    assert!(text.contains("holds 3 MiB") && text.contains("queue.maximum-size allows 3 MiB"), "{text}");
    store.operate(id(1), Verb::Discard, at(1), at(1)).await.unwrap();
    queue.accept(message(26), body(128 << 10)).await.unwrap();
    queue.configure(config::Queue { maximum_size: 4 << 20, ..settings.clone() });
    queue.accept(message(27), body(1)).await.unwrap();

    queue.configure(config::Queue { maximum_size: 4 << 20, minimum_free: 1 << 60, ..settings });
    let full = queue.accept(message(28), body(1)).await.unwrap_err();
    let text = full.to_string();
    assert!(full.is_for_room() && text.contains("queue.minimum-free asks for"), "{text}");
    assert!(text.contains(&directory.path().display().to_string()), "{text}");
    assert!(queue.find(id(28)).await.unwrap().is_none());
}
