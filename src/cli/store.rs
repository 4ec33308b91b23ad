//! `outlink store backup`: a copy of all that is kept.

use super::{
    Config, Exit, Failed, Outcome,
    out::{counted, say},
    reach,
};
use crate::admin::{BackedUp, Backup};
use std::path::Path;

/// Copies all that is kept into a new directory.
pub(super) fn backup(directory: &Path, config: &Config) -> Outcome {
    // The daemon has another working directory.
    let directory = std::path::absolute(directory)
        .map_err(|error| Failed(Exit::Usage, format!("{} is no path: {error}", directory.display())))?;
    reach::work(config, async |reached| {
        let BackedUp { directory, messages } = reached.backup(Backup { directory }).await?;
        let messages = counted(messages, "message", "messages");
        say(format_args!("copied to {}: the database with its grants, holds and traces, and {messages}", directory.display()));
        say(format_args!(
            "not copied: the key under which the grants are sealed; a restored copy needs it, so keep it elsewhere"
        ));
        Ok(Exit::Good)
    })
}
