//! What a listener does when the system gives it no connection: it pauses, longer each time, and says so once.

use crate::mail::Name;
use std::{
    io::{self, ErrorKind},
    time::Duration,
};
use tokio::time::Instant;

/// The first pause. What fails here (too many open files) is not mended by trying at once.
const SHORTEST: Duration = Duration::from_millis(50);
/// The longest: apps wait in the system's queue meanwhile.
const LONGEST: Duration = Duration::from_secs(1);

/// Accepting that fails, or does not.
#[derive(Debug, Default)]
pub(super) struct Exhaustion {
    /// How long the last pause was, while it lasts.
    pause: Option<Duration>,
    until: Option<Instant>,
}

impl Exhaustion {
    /// Until when nothing is accepted.
    pub(super) fn pause(&self) -> Option<Instant> {
        self.until
    }

    /// The pause has ended.
    pub(super) fn retry(&mut self) {
        self.until = None;
    }

    /// Accepting failed.
    pub(super) fn met(&mut self, listener: &Name, error: &io::Error) {
        if is_of_one(error) {
            return tracing::debug!(%listener, %error, "a connection was gone before it was accepted");
        }
        if self.pause.is_none() {
            tracing::warn!(%listener, %error, "cannot accept connections, which wait; raise the limit of open files (LimitNOFILE= of the \
                unit), or lower limits.connections");
        }
        let pause = self.pause.map_or(SHORTEST, |last| (last * 2).min(LONGEST));
        self.pause = Some(pause);
        self.until = Some(Instant::now() + pause);
    }

    /// Accepting did not fail.
    pub(super) fn is_over(&mut self, listener: &Name) {
        if self.pause.take().is_some() {
            tracing::info!(%listener, "connections are accepted again");
        }
    }
}

/// Whether what failed is one connection, and the next one may be well (accept(2)).
fn is_of_one(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let of_network = [
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
        Errno::PERM,
    ];
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted | ErrorKind::NotConnected
    ) || Errno::from_io_error(error).is_some_and(|errno| of_network.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_grow_to_a_second_and_begin_anew_after_a_success() {
        let (name, full) = (Name::parse("local").unwrap(), || io::Error::from(rustix::io::Errno::MFILE));
        let mut exhaustion = Exhaustion::default();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            exhaustion.met(&name, &full());
            assert!(exhaustion.pause().is_some());
            pauses.push(exhaustion.pause.unwrap().as_millis());
            exhaustion.retry();
            assert!(exhaustion.pause().is_none());
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
        exhaustion.is_over(&name);
        // One connection that is gone holds up no other.
        exhaustion.met(&name, &ErrorKind::ConnectionAborted.into());
        assert!(exhaustion.pause().is_none());
        exhaustion.met(&name, &full());
        assert_eq!(exhaustion.pause, Some(SHORTEST));
    }
}
