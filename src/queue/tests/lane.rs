//! Which message of a mailbox goes next.

use crate::{
    mail::Id,
    queue::{Claim, Claimed, Fill, Lane, Message, NewMessage, Number},
    store::tests::{id, message, name},
};

fn claimed(app: &str, number: u64) -> Claimed {
    let new = NewMessage { app: name(app), ..message(number) };
    let claim = Claim::new(2, u32::try_from(number).unwrap());
    Claimed { message: Message::of(&new, Number::default(), 10), claim, body: None }
}

/// Accepts a message of `app`; whether it is at hand at once.
fn accept(lane: &mut Lane, app: &str, number: u64) -> bool {
    let is_promised = lane.reserve(&name(app));
    match is_promised {
        true => lane.push(claimed(app, number)),
        false => lane.stored(&name(app)),
    }
    is_promised
}

fn fill(lane: &mut Lane, fill: &Fill, numbers: std::ops::Range<u64>) -> bool {
    let app = fill.app.clone();
    lane.filled(fill, numbers.map(|number| claimed(app.as_str(), number)).collect())
}

fn take_all(lane: &mut Lane) -> Vec<Id> {
    let mut all = Vec::new();
    while lane.peek().is_some() {
        all.extend(lane.take().map(|claimed| claimed.message.id));
        lane.settled();
    }
    all
}

fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<Id> {
    numbers.into_iter().map(id).collect()
}

#[test]
fn apps_take_turns_and_within_one_the_order_stays() {
    let mut lane = Lane::default();
    for (app, number) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("c", 6)] {
        assert!(accept(&mut lane, app, number));
    }
    assert_eq!(take_all(&mut lane), ids([1, 4, 5, 2, 6, 3]));
    assert!(lane.peek().is_none() && lane.take().is_none());
}

#[test]
fn an_app_whose_last_message_left_waits_its_turn_again() {
    let mut lane = Lane::default();
    accept(&mut lane, "a", 1);
    accept(&mut lane, "b", 2);
    accept(&mut lane, "b", 3);
    assert_eq!(lane.take().unwrap().message.id, id(1));
    accept(&mut lane, "a", 4);
    assert_eq!(take_all(&mut lane), ids([2, 4, 3]));
}

#[test]
fn what_comes_while_older_ones_are_in_the_store_goes_there_too() {
    let mut lane = Lane::default();
    lane.stored(&name("a"));
    assert!(!accept(&mut lane, "a", 10), "it would overtake");
    assert!(accept(&mut lane, "b", 20), "another app's has nobody before it");
    let wanted = lane.wanted().unwrap();
    assert_eq!((wanted.app.as_str(), wanted.most), ("a", 64));
    assert!(lane.wanted().is_none(), "somebody fetches them already");
    assert!(!accept(&mut lane, "a", 11), "those that are fetched are not here yet");
    assert!(fill(&mut lane, &wanted, 1..11), "the store said that it has no more");
    assert!(!accept(&mut lane, "a", 12), "but one came meanwhile");
    let wanted = lane.wanted().expect("so it is asked again");
    assert!(fill(&mut lane, &wanted, 11..13));
    assert!(accept(&mut lane, "a", 13) && lane.wanted().is_none());
    assert_eq!(take_all(&mut lane), ids([20].into_iter().chain(1..14).collect::<Vec<_>>()));
}

#[test]
fn as_many_as_wanted_means_that_there_may_be_more() {
    let mut lane = Lane::default();
    lane.stored(&name("a"));
    let wanted = lane.wanted().unwrap();
    assert!(!fill(&mut lane, &wanted, 0..64));
    assert!(lane.wanted().is_none(), "there are enough at hand");
    for _ in 0..41 {
        lane.take();
        lane.settled();
    }
    assert_eq!(lane.wanted().map(|wanted| wanted.most), Some(64 - 23));
}

#[test]
fn fetching_that_failed_is_wanted_again() {
    let mut lane = Lane::default();
    lane.stored(&name("a"));
    let wanted = lane.wanted().unwrap();
    lane.not_filled(&wanted);
    assert_eq!(lane.wanted(), Some(wanted));
}

#[test]
fn an_app_has_a_bounded_number_at_hand_with_those_that_are_promised() {
    let mut lane = Lane::default();
    let promised = (0..100).filter(|_| lane.reserve(&name("a"))).count();
    assert_eq!(promised, 64);
    lane.stored(&name("a"));
    assert!(lane.wanted().is_none(), "every place is promised");
    for _ in 0..50 {
        lane.cancel(&name("a"));
    }
    let wanted = lane.wanted().unwrap();
    assert_eq!(wanted.most, 50);
    fill(&mut lane, &wanted, 0..50);
    for number in 50..64 {
        lane.push(claimed("a", number));
    }
    assert_eq!(lane.drain().len(), 64);
}

#[test]
fn a_place_that_is_not_needed_can_be_promised_again() {
    let mut lane = Lane::default();
    for _ in 0..64 {
        assert!(lane.reserve(&name("a")));
    }
    assert!(!lane.reserve(&name("a")));
    lane.cancel(&name("a"));
    assert!(lane.reserve(&name("a")) && !lane.reserve(&name("a")));
    lane.cancel(&name("nobody"));
}

#[test]
fn what_is_given_back_is_fetched_again_before_anything_new() {
    let mut lane = Lane::default();
    accept(&mut lane, "a", 1);
    accept(&mut lane, "b", 2);
    accept(&mut lane, "a", 3);
    let mut given: Vec<_> = lane.drain().into_iter().map(|(_, claim)| claim).collect();
    given.sort_by_key(|claim| format!("{claim:?}"));
    assert_eq!(given, [1, 2, 3].map(|number| Claim::new(2, number)));
    assert!(lane.peek().is_none() && lane.drain().is_empty());
    assert!(!accept(&mut lane, "a", 4) && !accept(&mut lane, "b", 5));
    let wanted = [lane.wanted().unwrap(), lane.wanted().unwrap()];
    assert_eq!(wanted.map(|wanted| wanted.app), ["a", "b"].map(name));
}

#[test]
fn what_is_given_back_while_the_store_is_asked_is_not_forgotten() {
    let mut lane = Lane::default();
    accept(&mut lane, "a", 1);
    lane.stored(&name("a"));
    let wanted = lane.wanted().unwrap();
    lane.drain();
    assert!(fill(&mut lane, &wanted, 2..3), "the store was asked before 1 was back");
    assert!(lane.wanted().is_some());
}

#[test]
fn too_many_that_are_not_settled_stop_the_lane_until_some_are() {
    let mut lane = Lane::default();
    for _ in 0..255 {
        lane.begun();
    }
    accept(&mut lane, "a", 1);
    accept(&mut lane, "a", 2);
    assert_eq!(lane.peek().map(|message| message.id), Some(id(1)));
    lane.take();
    assert!(lane.peek().is_none() && lane.unsettled() == 256);
    lane.settled();
    assert_eq!(lane.peek().map(|message| message.id), Some(id(2)));
}
