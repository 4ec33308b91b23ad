//! The sockets of a listener: bound to an address, made in a folder, or passed by systemd. What goes wrong says what to do.

use super::{
    file::{self, Regrouped, SocketFile},
    passed::Passed,
    peer::UnixPeer,
    stream::Wire,
};
use crate::{
    config::{Bind, Listener},
    mail::Name,
};
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseport};
use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 1024;

/// Ports below need a privilege.
const LOWEST_FREE_PORT: u16 = 1024;

/// A socket on which apps connect.
#[derive(Debug)]
pub struct Socket {
    kind: Kind,
    /// By systemd, which keeps it open whatever we do with ours.
    is_passed: bool,
}

#[derive(Debug)]
enum Kind {
    /// By address.
    Tcp(TcpListener),
    /// By path; the file goes with the socket if it was made here.
    Unix(UnixListener, Option<SocketFile>),
}

/// Where an accepted connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    Tcp(SocketAddr),
    Unix(UnixPeer),
}

/// Why a listener has no socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {bind} for listener.{listener}: {why}; {step}")]
pub struct BindError {
    /// Which listener.
    pub listener: Name,
    /// What it is bound to.
    pub bind: Bind,
    /// What happened.
    pub why: io::Error,
    /// The next step.
    pub step: String,
}

impl BindError {
    /// Whether only systemd can open it, which it does before a start.
    pub fn is_for_a_start(&self) -> bool {
        match &self.bind {
            Bind::Tcp(address) => self.why.kind() == ErrorKind::PermissionDenied && address.port() < LOWEST_FREE_PORT,
            Bind::Unix(_) => false,
            Bind::Passed(_) => true,
        }
    }

    pub(super) fn new(listener: &Listener, why: io::Error) -> Self {
        let step = step(&listener.bind, &listener.name, &why);
        Self { listener: listener.name.clone(), bind: listener.bind.clone(), why, step }
    }
}

/// Opens the sockets of `listener`: one, or all that systemd passed under its name. `leaving` are own ones that will be closed when
/// this one is open: it may have their port, on other addresses.
pub async fn bind(listener: &Listener, passed: &mut Passed, leaving: &[Arc<Socket>]) -> Result<Vec<Arc<Socket>>, BindError> {
    let bound = match &listener.bind {
        Bind::Tcp(address) => tcp(*address, leaving).map(|socket| vec![Arc::new(Socket::own(Kind::Tcp(socket)))]),
        Bind::Unix(path) => {
            file::make(path, listener).await.map(|(socket, file)| vec![Arc::new(Socket::own(Kind::Unix(socket, Some(file))))])
        }
        Bind::Passed(name) => passed.take(name),
    };
    bound.map_err(|why| BindError::new(listener, why))
}

impl Socket {
    fn own(kind: Kind) -> Self {
        Self { kind, is_passed: false }
    }

    pub(super) fn passed_tcp(socket: TcpListener) -> Self {
        Self { kind: Kind::Tcp(socket), is_passed: true }
    }

    pub(super) fn passed_unix(socket: UnixListener) -> Self {
        Self { kind: Kind::Unix(socket, None), is_passed: true }
    }

    /// Whether systemd passed it.
    pub fn is_passed(&self) -> bool {
        self.is_passed
    }

    /// What it is bound to, as logs show it.
    pub fn address(&self) -> io::Result<String> {
        Ok(match &self.kind {
            Kind::Tcp(socket) => socket.local_addr()?.to_string(),
            Kind::Unix(_, Some(file)) => file.to_string(),
            Kind::Unix(socket, None) => match socket.local_addr()?.as_pathname() {
                Some(path) => format!("unix:{}", path.display()),
                None => "unix".to_owned(),
            },
        })
    }

    /// Whether apps still find it: somebody may have removed its file.
    pub fn is_in_place(&self) -> bool {
        match &self.kind {
            Kind::Unix(_, Some(file)) => file.is_in_place(),
            Kind::Tcp(_) | Kind::Unix(_, None) => true,
        }
    }

    /// Gives the file of a Unix socket that was made here the mode and group of `listener`; back to the former ones unless that is kept.
    pub fn regroup(&self, listener: &Listener) -> Result<Option<Regrouped>, BindError> {
        let Kind::Unix(_, Some(file)) = &self.kind else { return Ok(None) };
        file.regroup(listener).map(Some).map_err(|why| BindError::new(listener, why))
    }

    pub(super) fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(Wire, Origin)>> {
        Poll::Ready(match &self.kind {
            Kind::Tcp(socket) => ready!(socket.poll_accept(context)).map(of_tcp),
            Kind::Unix(socket, _) => ready!(socket.poll_accept(context)).and_then(|(stream, _)| of_unix(stream)),
        })
    }

    /// Nobody finds it any more by its path.
    pub(super) fn hide(&self) {
        if let Kind::Unix(_, Some(file)) = &self.kind {
            file.remove();
        }
    }

    /// Listens no more, whoever still has it. What systemd passed stays open.
    pub(super) fn close(&self) {
        if !self.is_passed
            && let Err(error) = rustix::net::shutdown(self, rustix::net::Shutdown::Both)
        {
            tracing::debug!(%error, "a socket was not shut down; it closes with its last use");
        }
    }

    /// The next connection that waits now, by asking the system: what the runtime has heard of may be less. `None`: no more do.
    pub(super) fn accept_waiting(&self) -> io::Result<Option<(Wire, Origin)>> {
        let same = self.as_fd().try_clone_to_owned()?;
        let accepted = match &self.kind {
            Kind::Tcp(_) => std::net::TcpListener::from(same).accept().and_then(|(stream, client)| {
                stream.set_nonblocking(true)?;
                Ok(of_tcp((TcpStream::from_std(stream)?, client)))
            }),
            Kind::Unix(..) => std::os::unix::net::UnixListener::from(same).accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                of_unix(UnixStream::from_std(stream)?)
            }),
        };
        match accepted {
            Ok(accepted) => Ok(Some(accepted)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Tcp(socket) => socket.as_fd(),
            Kind::Unix(socket, _) => socket.as_fd(),
        }
    }
}

fn of_tcp((stream, client): (TcpStream, SocketAddr)) -> (Wire, Origin) {
    // On a socket for both families an IPv4 address comes wrapped in an IPv6 one.
    (stream.into(), Origin::Tcp(SocketAddr::new(client.ip().to_canonical(), client.port())))
}

fn of_unix(stream: UnixStream) -> io::Result<(Wire, Origin)> {
    let process = stream.peer_cred()?;
    Ok((stream.into(), Origin::Unix(UnixPeer { uid: process.uid(), gid: process.gid(), pid: process.pid() })))
}

impl Origin {
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(client) => Some(client.ip()),
            Self::Unix(_) => None,
        }
    }
}

fn tcp(address: SocketAddr, leaving: &[Arc<Socket>]) -> io::Result<TcpListener> {
    let error = match open(address, false) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => error,
        other => return other,
    };
    let has_port = |socket: &TcpListener| {
        socket.local_addr().is_ok_and(|own| own.port() == address.port() && own.is_ipv4() == address.is_ipv4())
    };
    // Not those of systemd: they stay open, and the system would share connections out.
    let own = leaving.iter().filter(|socket| !socket.is_passed).filter_map(|socket| match &socket.kind {
        Kind::Tcp(socket) if has_port(socket) => Some(socket),
        Kind::Tcp(_) | Kind::Unix(..) => None,
    });
    let own: Vec<&TcpListener> = own.collect();
    if own.is_empty() {
        return Err(error);
    }
    // From 127.0.0.1:25 to 0.0.0.0:25 and back: both are open for a moment, and share the port with who runs as the same user and asks
    // for that, as nobody else does.
    let share = |is_shared| own.iter().try_for_each(|socket| set_socket_reuseport(socket, is_shared));
    let opened = share(true).map_err(io::Error::from).and_then(|()| open(address, true));
    let ended = share(false).map_err(io::Error::from);
    let opened = opened?;
    ended?;
    set_socket_reuseport(&opened, false)?;
    Ok(opened)
}

fn open(address: SocketAddr, shares: bool) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // So that 0.0.0.0 and [::] can both be bound, whatever the system's default is.
            set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    // A restart does not wait for the last connections of the daemon before.
    socket.set_reuseaddr(true)?;
    if shares {
        set_socket_reuseport(&socket, true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What to do about it.
fn step(bind: &Bind, listener: &Name, why: &io::Error) -> String {
    match (bind, why.kind()) {
        (Bind::Tcp(_), ErrorKind::AddrInUse) => {
            format!("another program has this port (ss -ltnp shows which): stop it, or change listener.{listener}.bind")
        }
        (Bind::Tcp(address), ErrorKind::PermissionDenied) if address.port() < LOWEST_FREE_PORT => {
            let port = address.port();
            format!(
                "ports below 1024 need a privilege that the service does not have: let systemd open it (outlink.socket with \
                 ListenStream={port}) and write listener.{listener}.bind = \"systemd:smtp\", as docs/guide.md shows"
            )
        }
        (Bind::Tcp(_), ErrorKind::AddrNotAvailable) => {
            format!("this machine has no such address now: change listener.{listener}.bind (ip addr shows what it has)")
        }
        (Bind::Tcp(_), _) => format!("change listener.{listener}.bind"),
        (Bind::Unix(_), ErrorKind::AddrInUse) => {
            format!("another program listens there: stop it, or change listener.{listener}.bind")
        }
        (Bind::Unix(_), ErrorKind::AlreadyExists) => format!("remove it, or change listener.{listener}.bind"),
        (Bind::Unix(_), ErrorKind::PermissionDenied) => format!(
            "the service's user must be allowed to write to the folder, and belong to listener.{listener}.socket-group \
             (SupplementaryGroups= of the unit)"
        ),
        (Bind::Unix(_), ErrorKind::NotFound) => {
            format!("see to the folder (RuntimeDirectory= of the unit makes one), or to listener.{listener}.socket-group")
        }
        (Bind::Unix(_), _) => format!("change listener.{listener}.bind"),
        (Bind::Passed(name), ErrorKind::InvalidInput) => {
            format!("the socket unit of {name} must have ListenStream= and Accept=no")
        }
        (Bind::Passed(name), _) => format!(
            "start it by its socket unit, which needs FileDescriptorName={name} (systemctl start outlink.socket), or change \
             listener.{listener}.bind"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::listener;
    use super::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
        path::Path,
    };

    fn at(path: &Path) -> Listener {
        Listener { bind: Bind::Unix(path.to_owned()), socket_mode: 0o620, ..listener() }
    }

    async fn bound(listener: &Listener) -> Result<Arc<Socket>, BindError> {
        bind(listener, &mut Passed::default(), &[]).await.map(|mut sockets| sockets.remove(0))
    }

    #[tokio::test]
    async fn a_unix_socket_takes_the_place_of_a_dead_one_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("smtp.sock");
        // A program that was killed leaves its socket.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = bound(&at(&path)).await.unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!((first.address().unwrap(), mode & 0o7777), (format!("unix:{}", path.display()), 0o620));
        let error = bound(&at(&path)).await.unwrap_err();
        assert!(
            error.why.kind() == ErrorKind::AddrInUse && error.to_string().contains("another program listens there"),
            "{error}"
        );
        drop(first);
        assert!(!path.exists(), "the file goes with the socket");

        fs::write(&path, "precious").unwrap();
        let error = bound(&at(&path)).await.unwrap_err();
        assert!(error.to_string().contains("something else than a socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn the_file_of_another_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("smtp.sock");
        let first = bound(&at(&path)).await.unwrap();
        fs::rename(&path, directory.path().join("elsewhere")).unwrap();
        let _second = bound(&at(&path)).await.unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_group_or_folder_that_is_not_there_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("smtp.sock");
        let of = |name: &str| Listener { socket_group: Some(name.to_owned()), ..at(&path) };
        let error = bound(&of("no such group")).await.unwrap_err();
        assert!(error.to_string().contains("no group `no such group`"), "{error}");
        let own = rustix::process::getgid().as_raw();
        let socket = bound(&of(&own.to_string())).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().gid(), own);
        drop(socket);
        let error = bound(&at(&directory.path().join("no/smtp.sock"))).await.unwrap_err();
        assert!(error.to_string().contains("see to the folder"), "{error}");
    }

    #[tokio::test]
    async fn both_families_can_have_one_port() {
        let tcp = |text: String| Listener { bind: Bind::Tcp(text.parse().unwrap()), ..listener() };
        let six = bound(&tcp("[::]:0".to_owned())).await.unwrap();
        let port = six.address().unwrap().rsplit_once(':').unwrap().1.to_owned();
        let _four = bound(&tcp(format!("0.0.0.0:{port}"))).await.unwrap();
        let error = bound(&tcp(format!("127.0.0.1:{port}"))).await.unwrap_err();
        assert!(error.to_string().contains("another program has this port"), "{error}");
    }

    #[tokio::test]
    async fn a_port_of_our_own_that_is_given_up_can_be_had_on_other_addresses() {
        let tcp = |text: String| Listener { bind: Bind::Tcp(text.parse().unwrap()), ..listener() };
        for (from, to) in [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1"), ("[::1]", "[::]")] {
            let old = bound(&tcp(format!("{from}:0"))).await.unwrap();
            let port = old.address().unwrap().rsplit_once(':').unwrap().1.to_owned();
            let new = tcp(format!("{to}:{port}"));
            assert_eq!(bound(&new).await.unwrap_err().why.kind(), ErrorKind::AddrInUse);
            let other = bind(&new, &mut Passed::default(), std::slice::from_ref(&old)).await.unwrap().remove(0);
            // Another program cannot have it, with the old one or without.
            assert_eq!(bound(&new).await.unwrap_err().why.kind(), ErrorKind::AddrInUse);
            drop(old);
            assert_eq!(bound(&new).await.unwrap_err().why.kind(), ErrorKind::AddrInUse);
            drop(other);
        }
    }

    #[tokio::test]
    async fn a_socket_gets_other_rights_and_its_former_ones_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("smtp.sock");
        let socket = bound(&at(&path)).await.unwrap();
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let open = Listener { socket_mode: 0o666, ..at(&path) };
        drop(socket.regroup(&open).unwrap().unwrap());
        assert_eq!(mode(), 0o620);
        socket.regroup(&open).unwrap().unwrap().keep();
        assert_eq!(mode(), 0o666);
        let error = socket.regroup(&Listener { socket_group: Some("no such group".into()), ..at(&path) }).unwrap_err();
        assert!(error.to_string().contains("there is no group") && mode() == 0o666, "{error}");
        assert!(socket.is_in_place());
        fs::remove_file(&path).unwrap();
        assert!(!socket.is_in_place() && socket.regroup(&open).is_err());
    }

    #[test]
    fn a_low_port_and_a_socket_that_was_not_passed_lead_to_the_socket_unit() {
        let name = Name::parse("office").unwrap();
        let low = step(&Bind::Tcp("0.0.0.0:25".parse().unwrap()), &name, &ErrorKind::PermissionDenied.into());
        assert!(low.contains("ListenStream=25") && low.contains("listener.office.bind = \"systemd:smtp\""), "{low}");
        let error = Passed::default().take("smtp").unwrap_err();
        assert!(error.to_string().contains("passed: none at all"), "{error}");
        assert!(step(&Bind::Passed("smtp".into()), &name, &error).contains("FileDescriptorName=smtp"));
    }
}
