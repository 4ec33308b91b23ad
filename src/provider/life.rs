//! How long refresh tokens live, as the providers document it.

use super::Provider;
use crate::oauth::forecast::{DAY, Facts};

/// What is documented of this provider's refresh tokens.
///
/// Google: 7 days while the consent screen is in Testing, else until they lie unused for six months; where it tells an end, a
/// person chose it or the screen is in Testing. Microsoft: 90 days unused; what it tells are the 24 hours of a single-page
/// application, which no renewal moves.
pub fn refresh_tokens(provider: Provider) -> Facts {
    match provider {
        Provider::Google => Facts { unused: Some(DAY * 182), testing: Some(DAY * 7), told_stays: true },
        Provider::Microsoft => Facts { unused: Some(DAY * 90), testing: None, told_stays: true },
        Provider::Custom => Facts { unused: None, testing: None, told_stays: false },
    }
}
