//! Questions to a person at a terminal, on standard error. Who is not there is not asked.

use super::{Exit, Failed};
use crate::secret::Secret;
use std::{
    fmt::Display,
    io::{IsTerminal, stderr, stdin},
};

/// Somebody who can be asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person(());

/// Somebody, if both ends are a terminal.
pub(super) fn person() -> Option<Person> {
    (stdin().is_terminal() && stderr().is_terminal()).then_some(Person(()))
}

/// Somebody for questions without whose answers it cannot go on; nobody: the flags that would have answered them.
pub(super) fn person_for(what: &str, missing: &[&str]) -> Result<Person, Failed> {
    let text = || format!("{what} needs {}; there is no terminal to ask at (--help explains each)", missing.join(", "));
    person().ok_or_else(|| Failed(Exit::Usage, text()))
}

impl Person {
    /// A line. The answer without a key pressed is `default`; one that `fault` complains about is asked for again.
    pub(super) fn text(
        self,
        prompt: &str,
        default: Option<&str>,
        fault: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, Failed> {
        let mut input = dialoguer::Input::<String>::new().with_prompt(prompt).allow_empty(true);
        if let Some(default) = default {
            input = input.default(default.to_owned());
        }
        let asked = input.validate_with(|answer: &String| fault(answer.trim()).map_or(Ok(()), Err)).interact_text();
        let answer = asked.map_err(broken)?.trim().to_owned();
        Ok(Some(answer).filter(|answer| !answer.is_empty()))
    }

    /// One of a few, by its number.
    pub(super) fn choose(self, prompt: &str, items: &[impl Display], default: usize) -> Result<usize, Failed> {
        dialoguer::Select::new().with_prompt(prompt).items(items).default(default).interact().map_err(broken)
    }

    /// Something that is not shown.
    pub(super) fn secret(self, prompt: &str) -> Result<Option<Secret>, Failed> {
        let asked = dialoguer::Password::new().with_prompt(prompt).allow_empty_password(true).interact();
        let answer = asked.map_err(broken)?;
        Ok(Some(Secret::new(answer.trim().to_owned())).filter(|secret| !secret.expose().is_empty()))
    }

    /// Yes or no; no without a key pressed.
    pub(super) fn agrees(self, prompt: &str) -> Result<bool, Failed> {
        dialoguer::Confirm::new().with_prompt(prompt).default(false).interact().map_err(broken)
    }
}

/// A complaint about an empty answer to a question that needs one.
pub(super) fn needed(answer: &str) -> Option<String> {
    answer.is_empty().then(|| "this is needed".to_owned())
}

fn broken(error: dialoguer::Error) -> Failed {
    Failed(Exit::InputOutput, format!("cannot ask at this terminal: {error}"))
}
