//! How a link or a mailbox stands, in one word: the same in logs, listings, hooks and exit statuses.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a link or a mailbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing is known to be wrong.
    Ready,
    /// It works, but something that it needs ends soon: refresh token, client secret, certificate.
    Expiring,
    /// It does not work now; time mends it.
    Failing,
    /// The provider's quota must reset.
    OverQuota,
    /// Somebody must mend the configuration, or a policy at the provider.
    NeedsRepair,
    /// A person must consent again.
    NeedsConsent,
    /// An operator holds it.
    Paused,
}

impl State {
    /// All of them; of several that hold the later is told.
    pub const ALL: [Self; 7] =
        [Self::Ready, Self::Expiring, Self::Failing, Self::OverQuota, Self::NeedsRepair, Self::NeedsConsent, Self::Paused];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Expiring => "expiring",
            Self::Failing => "failing",
            Self::OverQuota => "over-quota",
            Self::NeedsRepair => "needs-repair",
            Self::NeedsConsent => "needs-consent",
            Self::Paused => "paused",
        }
    }

    /// The state of that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether mail goes out.
    pub fn is_working(self) -> bool {
        matches!(self, Self::Ready | Self::Expiring)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_found_by_its_word_and_written_by_it() {
        for state in State::ALL {
            assert_eq!(State::named(state.word()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
        assert!(
            State::Paused > State::NeedsConsent && State::NeedsConsent > State::NeedsRepair && State::Expiring > State::Ready
        );
        assert_eq!(State::named("well"), None);
    }
}
