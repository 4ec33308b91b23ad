//! `outlink notify test`: runs a hook now, by the running daemon, or in this process while none runs.

use super::{Config, Exit, Failed, Outcome, out::say, reach};
use crate::notify::Trial;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum NotifyCommand {
    /// Run a hook now with an example event, and say how it went
    Test {
        /// The hook, as in [notify.NAME]
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: Config,
    },
}

pub(super) fn notify(command: NotifyCommand) -> Outcome {
    let NotifyCommand::Test { name, json, config } = command;
    reach::begin(&config, async |reached| {
        let trial = reached.test_hook(&name).await?;
        if json {
            let text = serde_json::to_string_pretty(&trial).map_err(|error| Failed(Exit::InputOutput, error.to_string()))?;
            say(text);
        } else {
            print(&trial, reached.is_running());
        }
        Ok(if trial.done { Exit::Good } else { Exit::Findings })
    })
}

fn print(trial: &Trial, is_running: bool) {
    let Trial { hook, action, done, said, advice, ms } = trial;
    let verdict = if *done { "done" } else { "failed" };
    say(format_args!("hook {hook}: {action}: {verdict} after {ms} ms"));
    say(format_args!("  {said}"));
    if let Some(advice) = advice {
        say(format_args!("  to do: {advice}"));
    }
    if *done && !is_running && action.starts_with("mail") {
        say("  no daemon runs: the mail goes out when it is started");
    }
}
