//! The queue as its users see it.

mod lane;
mod leases;
mod machine;
mod model;
mod room;
mod steps;
