//! Who may come in: the listener's networks, and how many connections there are, in all and from one address or user.

use super::peer::customer;
use crate::{config::Listener, smtp::Reply};
use ipnet::IpNet;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The connections of one listener, counted.
#[derive(Debug, Default)]
pub(super) struct Doors(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Only those that have a connection, so it is no larger than `all`.
    by_source: HashMap<Source, usize>,
}

/// Whose connections count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A [customer]'s addresses.
    Address(IpAddr),
    /// A user of this machine.
    User(u32),
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    doors: Arc<Doors>,
    /// Whose it is, once that is known.
    source: Option<Source>,
}

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Network,
    Full,
    FullForSource,
    /// It came to a socket that is closed.
    Closing,
}

impl Doors {
    /// A place for a connection of whomever.
    pub(super) fn enter(self: &Arc<Self>, listener: &Listener) -> Result<Place, Refusal> {
        let mut counts = self.counts();
        if counts.all >= listener.limits.connections {
            return Err(Refusal::Full);
        }
        counts.all += 1;
        Ok(Place { doors: Arc::clone(self), source: None })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Lets the client in; its IPv4 address is not wrapped in an IPv6 one. To be asked once.
    pub(super) fn admit(&mut self, listener: &Listener, address: IpAddr) -> Result<(), Refusal> {
        is_of(&listener.networks, address)?;
        self.count(listener, Source::Address(customer(address)))
    }

    /// Takes one of the places that `source` has. To be asked once.
    pub(super) fn count(&mut self, listener: &Listener, source: Source) -> Result<(), Refusal> {
        let mut counts = self.doors.counts();
        let here = counts.by_source.entry(source).or_default();
        if *here >= listener.limits.connections_per_address {
            return Err(Refusal::FullForSource);
        }
        *here += 1;
        self.source = Some(source);
        Ok(())
    }
}

/// Whether one of `networks` holds `address`.
pub(super) fn is_of(networks: &[IpNet], address: IpAddr) -> Result<(), Refusal> {
    networks.iter().any(|network| network.contains(&address)).then_some(()).ok_or(Refusal::Network)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.doors.counts();
        counts.all = counts.all.saturating_sub(1);
        let Some(source) = self.source else { return };
        match counts.by_source.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = counts.by_source.remove(&source),
        }
    }
}

impl Refusal {
    /// What the peer hears instead of a greeting.
    pub(super) fn reply(self) -> Reply {
        match self {
            Self::Network => Reply::new(554, Some((7, 1)), "this address may not connect here"),
            Self::Full => Reply::new(421, Some((7, 0)), "too many connections, try again later"),
            Self::FullForSource => {
                Reply::new(421, Some((7, 0)), "too many connections from this address or user, try again later")
            }
            Self::Closing => Reply::new(421, Some((3, 2)), "this listener stops, try again later"),
        }
    }

    /// What the log says, with the setting that changes it.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Network => "the address is in none of the listener's `networks`",
            Self::Full => "the listener's `limits.connections` is reached",
            Self::FullForSource => "the listener's `limits.connections-per-address` is reached",
            Self::Closing => "the listener stops",
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
        let enter = |address: IpAddr| {
            let mut place = doors.enter(&listener)?;
            place.admit(&listener, address).map(|()| place)
        };
        assert_eq!(enter([192, 0, 2, 1].into()).unwrap_err(), Refusal::Network);
        let (first, _second) = (enter(here).unwrap(), enter(here).unwrap());
        assert_eq!(enter(here).unwrap_err(), Refusal::FullForSource);
        let third = enter(there).unwrap();
        assert_eq!(enter(there).unwrap_err(), Refusal::Full);
        drop(first);
        let _fourth = enter(here).unwrap();
        drop(third);
        assert_eq!(doors.counts().by_source.len(), 1);
        // One whose address is not known has a place all the same.
        let _fifth = doors.enter(&listener).unwrap();
        assert_eq!(doors.enter(&listener).unwrap_err(), Refusal::Full);
    }

    #[test]
    fn a_customers_ipv6_addresses_and_a_users_processes_count_together() {
        let mut listener = listener();
        (listener.limits.connections_per_address, listener.networks) = (1, vec!["::/0".parse().unwrap()]);
        let doors = Arc::new(Doors::default());
        let enter = |address: &str| {
            let mut place = doors.enter(&listener)?;
            place.admit(&listener, address.parse().unwrap()).map(|()| place)
        };
        let _first = enter("2001:db8:1:2::1").unwrap();
        assert_eq!(enter("2001:db8:1:2:ffff::9").unwrap_err(), Refusal::FullForSource);
        let _second = enter("2001:db8:1:3::1").unwrap();
        let count = |uid| {
            let mut place = doors.enter(&listener)?;
            place.count(&listener, Source::User(uid)).map(|()| place)
        };
        let user = count(33).unwrap();
        assert_eq!(count(33).unwrap_err(), Refusal::FullForSource);
        let _other = count(34).unwrap();
        drop(user);
        let _again = count(33).unwrap();
    }
}
