//! What a configuration may say already, but this version cannot do: `check` notes it, `run` refuses it.

use super::settings::Settings;

impl Settings {
    /// One sentence for each thing that `run` has to refuse, with its key; empty when all can be done.
    pub fn not_yet(&self) -> Vec<String> {
        // Nothing at present: all that can be said can be done.
        Vec::new()
    }
}
