//! The files of a link's certificate, looked at.

use super::{settings::Proof, table::Table};

/// Reads what signs once, so that a fault in it is known before mail needs it.
pub(super) fn check(_table: &Table<'_>, _proof: &Proof) {}
