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

/// How long nothing may have failed until it is over: at the limit each connection that ends makes room for one.
const OVER: Duration = Duration::from_secs(60);

/// Accepting that fails, or does not.
#[derive(Debug, Default)]
pub(super) struct Exhaustion {
    /// The last pause, since the last success.
    pause: Option<Duration>,
    /// Until when nothing is accepted.
    until: Option<Instant>,
    /// The last failure, while it is not over.
    last: Option<Instant>,
}

/// What is to be said of it.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Begins,
    Ends,
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
        if self.failed(Instant::now()) == Said::Begins {
            tracing::warn!(%listener, %error, "cannot accept connections, which wait: raise the limit of open files (LimitNOFILE= of the \
                unit), or lower the listeners' limits.connections");
        }
    }

    /// Accepting did not fail.
    pub(super) fn succeeded(&mut self, listener: &Name) {
        if self.last.is_some() && self.went_well(Instant::now()) == Said::Ends {
            tracing::info!(%listener, "connections are accepted without failure again");
        }
    }

    fn failed(&mut self, now: Instant) -> Said {
        let pause = self.pause.map_or(SHORTEST, |last| (last * 2).min(LONGEST));
        (self.pause, self.until) = (Some(pause), Some(now + pause));
        if self.last.replace(now).is_none() { Said::Begins } else { Said::Nothing }
    }

    fn went_well(&mut self, now: Instant) -> Said {
        self.pause = None;
        match self.last.take_if(|last| now.duration_since(*last) >= OVER) {
            Some(_) => Said::Ends,
            None => Said::Nothing,
        }
    }
}

/// Whether what failed is one connection, and the next one may be well (accept(2)).
fn is_of_one(error: &io::Error) -> bool {
    use rustix::io::Errno;
    const OF_NETWORK: [Errno; 8] = [
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
        Errno::PERM,
    ];
    let of_connection =
        [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::Interrupted, ErrorKind::NotConnected];
    of_connection.contains(&error.kind()) || Errno::from_io_error(error).is_some_and(|errno| OF_NETWORK.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second_and_begin_anew_after_a_success() {
        let (mut exhaustion, now) = (Exhaustion::default(), Instant::now());
        let pauses: Vec<_> = (0..7)
            .map(|_| {
                exhaustion.failed(now);
                let until = exhaustion.pause().unwrap();
                exhaustion.retry();
                assert!(exhaustion.pause().is_none());
                (until - now).as_millis()
            })
            .collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
        exhaustion.went_well(now);
        exhaustion.failed(now);
        assert_eq!(exhaustion.pause(), Some(now + SHORTEST));
    }

    #[test]
    fn what_comes_and_goes_at_the_limit_is_said_once() {
        let (mut exhaustion, start) = (Exhaustion::default(), Instant::now());
        let at = |second: u64| start + Duration::from_secs(second);
        assert_eq!(exhaustion.failed(start), Said::Begins);
        for second in 1..100 {
            assert_eq!((exhaustion.went_well(at(second)), exhaustion.failed(at(second))), (Said::Nothing, Said::Nothing));
        }
        assert_eq!(exhaustion.went_well(at(158)), Said::Nothing);
        assert_eq!(exhaustion.went_well(at(159)), Said::Ends);
        assert_eq!(exhaustion.failed(at(160)), Said::Begins);
    }

    #[test]
    fn one_connection_that_is_gone_holds_up_no_other() {
        let (name, mut exhaustion) = (Name::parse("local").unwrap(), Exhaustion::default());
        for error in [ErrorKind::ConnectionAborted.into(), io::Error::from(rustix::io::Errno::PROTO)] {
            exhaustion.met(&name, &error);
            assert!(exhaustion.pause().is_none(), "{error}");
        }
        exhaustion.met(&name, &rustix::io::Errno::MFILE.into());
        assert!(exhaustion.pause().is_some());
    }
}
