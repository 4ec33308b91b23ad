//! The queue as its users see it.

mod machine;
mod model;
mod steps;
