//! What a configuration may say already, but this version cannot do: `check` notes it, `run` refuses it.

use super::settings::Settings;

impl Settings {
    /// One sentence for each thing that `run` has to refuse, with its key; empty when all can be done.
    pub fn not_yet(&self) -> Vec<String> {
        let mut refused = Vec::new();
        let mut say = |key: String, what: &str| refused.push(format!("{key}: {what}"));
        for (name, app) in &self.apps {
            if app.mailbox.as_str() == super::mailbox::BY_SENDER {
                say(format!("app.{name}.mailbox"), "routing by sender comes in a later version; name one mailbox");
            }
        }
        refused
    }
}
