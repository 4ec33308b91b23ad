//! The events that wait for their hook, in order. While the hook keeps up, each is told. When it fails, or too many wait, only the
//! newest of each link and mailbox waits, and says how many were left out before it.

use super::event::Event;
use std::collections::{BTreeMap, VecDeque};

/// Events that wait one by one. A hook that needs a second for each is a minute late then: beyond that, old news help nobody.
const MOST: usize = 64;

/// What waits; at most [`MOST`], or one for each link and mailbox.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    events: VecDeque<Event>,
    /// Whether only the newest of each waits.
    only_newest: bool,
}

impl Waiting {
    /// One more.
    pub(super) fn push(&mut self, event: Event) {
        if self.events.len() >= MOST && !self.only_newest {
            self.keep_newest();
        }
        let older = self.events.iter_mut().find(|older| self.only_newest && older.subject == event.subject);
        match older {
            // In the place of the older one: whoever changes often must not wait for ever.
            Some(older) => replace(older, event),
            None => self.events.push_back(event),
        }
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Puts back what could not be told; what is newer of the same link or mailbox takes its place.
    pub(super) fn put_back(&mut self, event: Event) {
        self.events.push_front(event);
        self.keep_newest();
    }

    /// The hook works: each is told again.
    pub(super) fn works(&mut self) {
        self.only_newest = false;
    }

    /// Forgets all; how many those were.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.events).len()
    }

    fn keep_newest(&mut self) {
        self.only_newest = true;
        let mut places = BTreeMap::new();
        let mut kept: VecDeque<Event> = VecDeque::new();
        for event in self.events.drain(..) {
            match places.get(&event.subject) {
                Some(place) => replace(&mut kept[*place], event),
                None => {
                    places.insert(event.subject.clone(), kept.len());
                    kept.push_back(event);
                }
            }
        }
        self.events = kept;
    }
}

fn replace(older: &mut Event, newer: Event) {
    let left_out = older.left_out + 1 + newer.left_out;
    *older = Event { left_out, ..newer };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mail::State, notify::event::tests::event};
    use State::{Failing, NeedsConsent, Ready};

    fn told(waiting: &mut Waiting) -> Vec<(String, State, u64)> {
        std::iter::from_fn(|| waiting.next()).map(|event| (event.what(), event.state, event.left_out)).collect()
    }

    fn of(mailbox: &str, state: State, left_out: u64) -> (String, State, u64) {
        (format!("mailbox {mailbox}"), state, left_out)
    }

    #[test]
    fn each_change_is_told_in_order_while_the_hook_keeps_up() {
        let mut waiting = Waiting::default();
        for state in [Failing, Ready, Failing] {
            waiting.push(event("a", Ready, state));
            waiting.push(event("b", Ready, state));
        }
        let expected = [Failing, Ready, Failing].map(|state| [of("a", state, 0), of("b", state, 0)]).concat();
        assert_eq!(told(&mut waiting), expected);
    }

    #[test]
    fn of_a_hook_that_fails_the_newest_of_each_waits_in_the_place_of_the_first() {
        let mut waiting = Waiting::default();
        for state in [Failing, Ready, NeedsConsent] {
            waiting.push(event("a", Ready, state));
        }
        waiting.push(event("b", Ready, Failing));
        let first = waiting.next().unwrap();
        waiting.put_back(first);
        waiting.push(event("c", Ready, Failing));
        waiting.push(event("b", Failing, Ready));
        assert_eq!(told(&mut waiting), [of("a", NeedsConsent, 2), of("b", Ready, 1), of("c", Failing, 0)]);
        waiting.push(event("a", Ready, Failing));
        waiting.push(event("a", Failing, Ready));
        assert_eq!(told(&mut waiting), [of("a", Ready, 1)], "until it works");
        waiting.works();
        waiting.push(event("a", Ready, Failing));
        waiting.push(event("a", Failing, Ready));
        assert_eq!(told(&mut waiting).len(), 2);
    }

    #[test]
    fn what_waits_is_bounded_and_nothing_is_left_out_unsaid() {
        let mut waiting = Waiting::default();
        for round in 0..10_000 {
            let (before, state) = if round % 2 == 0 { (Ready, Failing) } else { (Failing, Ready) };
            waiting.push(event(["a", "b", "c"][round % 3], before, state));
            assert!(waiting.events.len() <= MOST);
        }
        let told = told(&mut waiting);
        assert_eq!(told.iter().map(|(_, _, left_out)| left_out + 1).sum::<u64>(), 10_000);
        assert!(told.len() >= 3);
    }

    #[test]
    fn as_many_wait_as_there_are_mailboxes() {
        let mut waiting = Waiting::default();
        for round in 0..3 {
            for number in 0..500 {
                waiting.push(event(&format!("m{number}"), Ready, if round == 1 { Ready } else { Failing }));
            }
        }
        assert_eq!(waiting.clear(), 500);
    }
}
