//! Who may come in: the listener's networks, and how many connections there are, in all and from one address.

use crate::{config::Listener, smtp::Reply};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// The connections of one listener, counted.
#[derive(Debug, Default)]
pub(super) struct Doors(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Only addresses that have a connection, so it is no larger than `all`.
    by_address: HashMap<IpAddr, usize>,
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    doors: Arc<Doors>,
    peer: IpAddr,
}

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Network,
    Full,
    FullForAddress,
}

impl Doors {
    /// A place for `peer`, whose IPv4 address is not wrapped in an IPv6 one.
    pub(super) fn enter(self: &Arc<Self>, listener: &Listener, peer: IpAddr) -> Result<Place, Refusal> {
        if !listener.networks.iter().any(|network| network.contains(&peer)) {
            return Err(Refusal::Network);
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= listener.limits.connections {
            return Err(Refusal::Full);
        }
        let from_peer = counts.by_address.get(&peer).copied().unwrap_or(0);
        if from_peer >= listener.limits.connections_per_address {
            return Err(Refusal::FullForAddress);
        }
        counts.by_address.insert(peer, from_peer + 1);
        counts.all += 1;
        Ok(Place { doors: Arc::clone(self), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.doors.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        match counts.by_address.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = counts.by_address.remove(&self.peer),
        }
    }
}

impl Refusal {
    /// What the peer hears instead of a greeting.
    pub(super) fn reply(self) -> Reply {
        match self {
            Self::Network => Reply::new(554, Some((7, 1)), "this address may not connect here"),
            Self::Full => Reply::new(421, Some((7, 0)), "too many connections, try again later"),
            Self::FullForAddress => Reply::new(421, Some((7, 0)), "too many connections from this address, try again later"),
        }
    }

    /// What the log says, with the setting that changes it.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Network => "the address is in none of the listener's `networks`",
            Self::Full => "the listener's `limits.connections` is reached",
            Self::FullForAddress => "the listener's `limits.connections-per-address` is reached",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::listener;
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let mut listener = listener();
        (listener.limits.connections, listener.limits.connections_per_address) = (3, 2);
        let (doors, here, there) = (Arc::new(Doors::default()), [127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let enter = |peer| doors.enter(&listener, peer);
        assert_eq!(enter([192, 0, 2, 1].into()).unwrap_err(), Refusal::Network);
        let (first, _second) = (enter(here).unwrap(), enter(here).unwrap());
        assert_eq!(enter(here).unwrap_err(), Refusal::FullForAddress);
        let third = enter(there).unwrap();
        assert_eq!(enter(there).unwrap_err(), Refusal::Full);
        drop(first);
        let _fourth = enter(here).unwrap();
        drop(third);
        assert_eq!(doors.0.lock().unwrap().by_address.len(), 1);
    }
}
