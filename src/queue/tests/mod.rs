//! The queue as its users see it.
