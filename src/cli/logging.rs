//! Log lines on standard error, as text or JSON.

use super::{Exit, Failed};
use crate::config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts logging. A plain level speaks for outlink alone: what libraries say at `trace` is not ours to vouch for.
pub(super) fn start(log: &Log) -> Result<(), Failed> {
    let directives = match log.level.contains(['=', ',']) {
        true => log.level.clone(),
        false => format!("warn,outlink={}", log.level),
    };
    let filter = EnvFilter::try_new(&directives)
        .map_err(|error| Failed(Exit::Configuration, format!("log.level {:?} is no filter: {error}; try \"info\"", log.level)))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match log.format {
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).init(),
        LogFormat::Text | LogFormat::Journald => lines.with_target(false).init(),
    }
    Ok(())
}
