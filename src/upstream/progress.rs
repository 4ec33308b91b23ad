//! Who was first: the sender, about to write the last octets, or the waiter, who gives up.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

const OPEN: u8 = 0;
const COMMITTED: u8 = 1;
const ABORTED: u8 = 2;

/// Shared between the sender of one message and the one who waits for its verdict. Exactly one of both wins.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU8>);

impl Progress {
    /// Nothing decided.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sender, just before the last octets: whether it may send them.
    pub fn try_commit(&self) -> bool {
        self.decide(COMMITTED)
    }

    /// The waiter: whether the message will certainly not be sent; `false` means that it may have been.
    pub fn try_abort(&self) -> bool {
        self.decide(ABORTED)
    }

    /// Whether the last octets may have gone out.
    pub fn is_committed(&self) -> bool {
        self.0.load(Ordering::Acquire) == COMMITTED
    }

    /// Whether the waiter has given up.
    pub(super) fn is_aborted(&self) -> bool {
        self.0.load(Ordering::Acquire) == ABORTED
    }

    fn decide(&self, wanted: u8) -> bool {
        match self.0.compare_exchange(OPEN, wanted, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(decided) => decided == wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_wins() {
        let (sender, aborted) = (Progress::new(), Progress::new());
        let waiter = sender.clone();
        assert!(sender.try_commit() && !waiter.try_abort() && sender.try_commit());
        assert!(aborted.try_abort() && !aborted.try_commit() && aborted.is_aborted());
    }
}
