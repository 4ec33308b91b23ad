//! The queue's rows: what is taken in comes out, once, by whom it was claimed.
