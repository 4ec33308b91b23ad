//! Memory for bodies that wait for their turn: what goes beyond it is read from the store when it is needed.

use crate::store::Body;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The octets that all may use together.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: u64,
    used: AtomicU64,
}

/// A body within the budget; gives its octets back when it is dropped.
#[derive(Debug)]
pub struct Share {
    body: Body,
    octets: u64,
    budget: Budget,
}

impl Budget {
    /// A budget of `most` octets.
    pub fn new(most: u64) -> Self {
        Self(Arc::new(Inner { most, used: AtomicU64::new(0) }))
    }

    /// Keeps `body` within the budget, if it fits. One in a file takes nothing.
    pub fn take(&self, body: Body) -> Option<Share> {
        let octets = match &body {
            Body::Memory(octets) => octets.len() as u64,
            Body::File(_) | Body::Headed(_) => 0,
        };
        let used = self.0.used.fetch_add(octets, Ordering::Relaxed);
        let share = Share { body, octets, budget: self.clone() };
        (used + octets <= self.0.most).then_some(share)
    }
}

impl Share {
    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_kept_and_what_leaves_makes_room() {
        let budget = Budget::new(10);
        let body = |octets: usize| Body::Memory(vec![0; octets].into());
        let first = budget.take(body(6));
        assert!(first.is_some() && budget.take(body(5)).is_none());
        let second = budget.take(body(4));
        assert!(second.is_some() && budget.take(body(1)).is_none());
        drop(first);
        assert!(budget.take(body(6)).is_some());
    }
}
