//! `outlink app hash`: from a password to what the configuration may hold.

use super::super::{Exit, Failed, Outcome, out::say};
use crate::secret::{PasswordHash, Secret};
use anyhow::Context;
use std::io::{IsTerminal, Read, stdin};

/// Longest password, in octets.
const LONGEST: u64 = 1024;

/// Reads a password, prints its hash alone.
pub(super) fn hash() -> Outcome {
    let password = read_secret("Password for the app")?;
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).ok().context("the system gives no random bytes")?;
    let hash = PasswordHash::make(&password, &salt).context("cannot hash this password")?;
    say(hash.as_str());
    Ok(Exit::Good)
}

/// A secret from standard input, or from a person at a terminal, without its line end.
pub(in crate::cli) fn read_secret(prompt: &str) -> Result<Secret, Failed> {
    let text = if stdin().is_terminal() {
        dialoguer::Password::new().with_prompt(prompt).interact().context("cannot ask at this terminal")?
    } else {
        let mut text = String::new();
        stdin().take(64 * LONGEST).read_to_string(&mut text).context("cannot read standard input as text")?;
        text
    };
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    match text.is_empty() {
        true => Err(Failed(Exit::Usage, format!("{prompt}: nothing was given on standard input"))),
        false => Ok(Secret::new(text.to_owned())),
    }
}
