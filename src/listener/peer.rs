//! Who is at the other end of a connection, as far as the connection itself tells.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// The client of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address: of the connection, or as a load balancer's PROXY header says. `None` for a Unix socket, and where the header
    /// names nobody; then no address proves anything. IPv4 is never wrapped in IPv6.
    pub address: Option<IpAddr>,
    /// Whether a load balancer told the address.
    pub is_told: bool,
    /// As logs and traces show it: `192.0.2.7:50123`, `unix:uid=33,pid=4711`.
    pub shown: String,
    /// The process at the other end of a Unix socket, as the kernel says.
    pub local: Option<UnixPeer>,
    /// The certificate that it showed, issued by one of the listener's `client-ca`.
    pub certificate: Option<PeerCertificate>,
    /// Whether the connection is encrypted now.
    pub encrypted: bool,
}

/// A process of this machine, as it was when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixPeer {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its number, where the system tells.
    pub pid: Option<i32>,
}

/// A client's certificate, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The SHA-256 of the whole certificate: 64 hexadecimal digits in lower case.
    pub sha256: String,
    /// The names in it: host names and mail addresses of the subject's alternative names, then its common name.
    pub names: Vec<String>,
}

/// What stands for all addresses that one customer has: an IPv4 address, or the network of 64 bits of an IPv6 address.
pub fn customer(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) if !address.is_loopback() => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        _ => address,
    }
}

impl Peer {
    /// The address, as far as it proves something. Loopback, told by a load balancer, is some other machine's, or a lie.
    pub fn proven(&self) -> Option<IpAddr> {
        self.address.filter(|address| !(self.is_told && address.is_loopback()))
    }

    /// Whether it is a program of this machine: what it says in clear text stays here.
    pub fn is_near(&self) -> bool {
        self.local.is_some() || self.proven().is_some_and(|address| address.is_loopback())
    }

    /// What all connections of this client have in common: its address, where it has one.
    pub fn source(&self) -> String {
        self.address.map_or_else(|| self.shown.clone(), |address| address.to_string())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for UnixPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:uid={}", self.uid)?;
        self.pid.map_or(Ok(()), |pid| write!(f, ",pid={pid}"))
    }
}
