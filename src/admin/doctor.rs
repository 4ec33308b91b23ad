//! An examination, asked of a running daemon: by the same tokens, connections and pace as its mail.

use super::Refused;
use crate::doctor::{self, Doctor, Report, Wish};
use std::sync::Arc;

/// Examines what is wished for.
pub async fn examine(doctor: &Arc<Doctor>, wish: &Wish) -> Result<Report, Refused> {
    Ok(doctor.examine(wish).await?)
}

impl From<doctor::Refused> for Refused {
    fn from(refused: doctor::Refused) -> Self {
        match refused {
            doctor::Refused::Unknown { .. } => Self::Unknown(refused.to_string()),
            doctor::Refused::Address(..) => Self::Nonsense(refused.to_string()),
        }
    }
}
