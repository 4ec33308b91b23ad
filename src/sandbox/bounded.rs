//! A map that forgets its oldest entries, so that a looping client cannot fill the memory.

use std::collections::{HashMap, VecDeque};

/// At most so many entries by name.
pub(super) struct Bounded<V> {
    most: usize,
    entries: HashMap<String, V>,
    /// Oldest first, to be forgotten first.
    order: VecDeque<String>,
}

impl<V> Bounded<V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, entries: HashMap::new(), order: VecDeque::new() }
    }

    /// Adds one, or puts it in the place of its namesake.
    pub(super) fn insert(&mut self, name: String, value: V) {
        if self.entries.insert(name.clone(), value).is_none() {
            self.order.push_back(name);
        }
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.entries.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.entries.get_mut(name)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut()
    }

    /// Forgets one. Costs as much as there are entries.
    pub(super) fn remove(&mut self, name: &str) -> Option<V> {
        let value = self.entries.remove(name)?;
        self.order.retain(|other| other != name);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut bounded = Bounded::new(2);
        for (name, value) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            bounded.insert(name.into(), value);
        }
        assert_eq!(["a", "b", "c"].map(|name| bounded.get(name).copied()), [None, Some(2), Some(4)]);
        assert_eq!((bounded.remove("b"), bounded.remove("b")), (Some(2), None));
        bounded.insert("d".into(), 5);
        assert_eq!(["c", "d"].map(|name| bounded.get(name).copied()), [Some(4), Some(5)]);
    }
}
