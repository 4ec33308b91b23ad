//! `outlink run`: the daemon in the foreground, as systemd wants it.

use super::{Config, Exit, Failed, Outcome, check, logging, runtime};
use crate::{
    daemon::{self, StartError},
    listener::Passed,
};

/// Runs until it is told to stop.
pub(super) fn run(config: &Config) -> Outcome {
    let (settings, notes) = check::load(config)?;
    logging::start(&settings.log)?;
    for note in notes {
        tracing::warn!(file = %note.file.display(), line = note.line, key = note.key, "{}", note.message);
    }
    // Before there are threads.
    let passed = Passed::from_environment();
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let daemon = daemon::start(config.file().to_owned(), settings, passed).await.map_err(not_started)?;
        daemon
            .run(std::future::pending())
            .await
            .map_err(|error| Failed(Exit::InputOutput, format!("cannot take signals: {error}")))
    });
    // Threads that still block on a file or a password must not keep a stopped daemon alive.
    runtime.shutdown_background();
    result.map(|()| Exit::Good)
}

/// The exit status for each reason not to start.
pub(super) fn not_started(error: StartError) -> Failed {
    let exit = match &error {
        StartError::Tls(_) | StartError::Unopened(_) | StartError::Certificate(_) => Exit::Configuration,
        StartError::Store(why) if why.is_of_the_key() && !why.is_of_permission() => Exit::Configuration,
        StartError::Listen(error) if error.why.kind() == std::io::ErrorKind::PermissionDenied => Exit::Permission,
        StartError::Listen(_) => Exit::Unavailable,
        StartError::Store(_) | StartError::System(_) => Exit::InputOutput,
    };
    Failed(exit, error.to_string())
}
