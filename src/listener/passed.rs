//! The sockets that systemd passed. They are kept as long as the process runs, also while no listener uses them: systemd has them open
//! all the same, and a reload may give them to another listener.

use super::socket::Socket;
use listenfd::ListenFd;
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, ErrorKind},
    sync::Arc,
};
use tokio::net::{TcpListener, UnixListener};

/// The sockets that systemd passed to this process, by name.
#[derive(Default)]
pub struct Passed {
    open: Option<(ListenFd, Vec<String>)>,
    taken: BTreeMap<String, Vec<Arc<Socket>>>,
}

impl Passed {
    /// Takes them from the environment (`LISTEN_FDS`, sd_listen_fds(3)). To be called before there are threads: it removes them
    /// from there.
    pub fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let passed = ListenFd::from_env();
        let names = (0..passed.len()).zip(names.split(':').chain(std::iter::repeat("unknown")));
        let names = names.map(|(_, name)| if name.is_empty() { "unknown" } else { name }.to_owned()).collect();
        Self { open: Some((passed, names)), taken: BTreeMap::new() }
    }

    /// All of this name.
    pub(super) fn take(&mut self, name: &str) -> io::Result<Vec<Arc<Socket>>> {
        if let Some(sockets) = self.taken.get(name) {
            return Ok(sockets.clone());
        }
        let Some((passed, names)) = &mut self.open else { return Err(none_of(name, &[])) };
        let mut sockets = Vec::new();
        for index in (0..names.len()).filter(|index| names[*index] == name) {
            sockets.extend(one(passed, index)?.map(Arc::new));
        }
        if sockets.is_empty() {
            return Err(none_of(name, names));
        }
        self.taken.insert(name.to_owned(), sockets.clone());
        Ok(sockets)
    }
}

impl fmt::Debug for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passed").field("taken", &self.taken).finish_non_exhaustive()
    }
}

fn none_of(name: &str, names: &[String]) -> io::Error {
    let passed = if names.is_empty() { "none at all".to_owned() } else { names.join(", ") };
    io::Error::new(ErrorKind::NotFound, format!("systemd passed no socket of the name {name} (passed: {passed})"))
}

/// The passed socket at this place; `None` when it was taken before.
fn one(passed: &mut ListenFd, index: usize) -> io::Result<Option<Socket>> {
    if let Ok(taken) = passed.take_tcp_listener(index) {
        let Some(socket) = taken else { return Ok(None) };
        must_listen(&socket)?;
        socket.set_nonblocking(true)?;
        return TcpListener::from_std(socket).map(|socket| Some(Socket::passed_tcp(socket)));
    }
    let Some(socket) = passed.take_unix_listener(index)? else { return Ok(None) };
    must_listen(&socket)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket).map(|socket| Some(Socket::passed_unix(socket)))
}

fn must_listen(socket: impl std::os::fd::AsFd) -> io::Result<()> {
    match rustix::net::sockopt::socket_acceptconn(socket)? {
        true => Ok(()),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is one connection, not a socket that listens")),
    }
}
