//! The sockets of a listener: bound to an address, made in a folder, or passed by systemd. What goes wrong says what to do.

use super::{peer::UnixPeer, stream::Wire};
use crate::{
    config::{Bind, Listener},
    mail::Name,
};
use listenfd::ListenFd;
use std::{
    fs,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 1024;

/// Ports below need a privilege.
const LOWEST_FREE_PORT: u16 = 1024;

/// A socket on which apps connect.
#[derive(Debug)]
pub enum Socket {
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

/// Opens the sockets of `listener`: one, or all that systemd passed under its name.
pub async fn bind(listener: &Listener, passed: &mut Passed) -> Result<Vec<Socket>, BindError> {
    let bound = match &listener.bind {
        Bind::Tcp(address) => tcp(*address).map(|socket| vec![Socket::Tcp(socket)]),
        Bind::Unix(path) => unix(path, listener).await.map(|socket| vec![socket]),
        Bind::Passed(name) => passed.take(name),
    };
    bound.map_err(|why| {
        let (listener, bind) = (listener.name.clone(), listener.bind.clone());
        let step = step(&bind, &listener, &why);
        BindError { listener, bind, why, step }
    })
}

impl Socket {
    /// What it is bound to, as logs show it.
    pub fn address(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(socket) => socket.local_addr()?.to_string(),
            Self::Unix(_, Some(file)) => format!("unix:{}", file.path.display()),
            Self::Unix(socket, None) => match socket.local_addr()?.as_pathname() {
                Some(path) => format!("unix:{}", path.display()),
                None => "unix".to_owned(),
            },
        })
    }

    pub(super) async fn accept(&self) -> io::Result<(Wire, Origin)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, client) = socket.accept().await?;
                // On a socket for both families an IPv4 address comes wrapped in an IPv6 one.
                Ok((stream.into(), Origin::Tcp(SocketAddr::new(client.ip().to_canonical(), client.port()))))
            }
            Self::Unix(socket, _) => {
                let (stream, _) = socket.accept().await?;
                let process = stream.peer_cred()?;
                let peer = UnixPeer { uid: process.uid(), gid: process.gid(), pid: process.pid() };
                Ok((stream.into(), Origin::Unix(peer)))
            }
        }
    }
}

impl Origin {
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(client) => Some(client.ip()),
            Self::Unix(_) => None,
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // So that 0.0.0.0 and [::] can both be bound, whatever the system's default is.
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    // A restart does not wait for the last connections of the daemon before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The file of a socket that was made here.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: what lies there later may be another's.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.identity) {
            _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a socket under another name and puts it into its place with mode and group: nobody finds it with others.
async fn unix(path: &Path, listener: &Listener) -> io::Result<Socket> {
    make_room(path).await?;
    let group = listener.socket_group.as_deref().map(group).transpose()?;
    let made = path.with_file_name(format!(".outlink-{}", std::process::id()));
    let bound = bind_at(&made, path, listener.socket_mode, group);
    if bound.is_err() {
        _ = fs::remove_file(&made);
    }
    bound
}

fn bind_at(made: &Path, path: &Path, mode: u32, group: Option<u32>) -> io::Result<Socket> {
    match fs::remove_file(made) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(made)?;
    if let Some(group) = group {
        chown(made, None, Some(group))?;
    }
    fs::set_permissions(made, fs::Permissions::from_mode(mode))?;
    let file = fs::symlink_metadata(made)?;
    fs::rename(made, path)?;
    Ok(Socket::Unix(socket, Some(SocketFile { path: path.to_owned(), identity: (file.dev(), file.ino()) })))
}

/// Only the socket of a program that is gone is replaced.
async fn make_room(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if file.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "something else than a socket lies there")),
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        // Who takes the connection, or has no place for one more, lives.
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

/// The number of a group of /etc/group, or a number itself.
fn group(name: &str) -> io::Result<u32> {
    let number = |text: &str| -> Option<u32> {
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
        })
    };
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    number(&fs::read_to_string("/etc/group")?)
        .ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("there is no group `{name}` in /etc/group")))
}

/// The sockets that systemd passed to this process, by name.
#[derive(Default)]
pub struct Passed(Option<(ListenFd, Vec<String>)>);

impl Passed {
    /// Takes them from the environment (`LISTEN_FDS`, sd_listen_fds(3)). To be called before there are threads: it removes them
    /// from there.
    pub fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let passed = ListenFd::from_env();
        let names = (0..passed.len()).zip(names.split(':').chain(std::iter::repeat("unknown")));
        let names = names.map(|(_, name)| if name.is_empty() { "unknown" } else { name }.to_owned()).collect();
        Self(Some((passed, names)))
    }

    fn take(&mut self, name: &str) -> io::Result<Vec<Socket>> {
        let Some((passed, names)) = &mut self.0 else { return Err(none_of(name, &[])) };
        let mut sockets = Vec::new();
        for index in (0..names.len()).filter(|index| names[*index] == name) {
            sockets.extend(one(passed, index)?);
        }
        if sockets.is_empty() { Err(none_of(name, names)) } else { Ok(sockets) }
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
        return TcpListener::from_std(socket).map(|socket| Some(Socket::Tcp(socket)));
    }
    let Some(socket) = passed.take_unix_listener(index)? else { return Ok(None) };
    must_listen(&socket)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket).map(|socket| Some(Socket::Unix(socket, None)))
}

fn must_listen(socket: impl std::os::fd::AsFd) -> io::Result<()> {
    match rustix::net::sockopt::socket_acceptconn(socket)? {
        true => Ok(()),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is one connection, not a socket that listens")),
    }
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

    fn at(path: &Path) -> Listener {
        Listener { bind: Bind::Unix(path.to_owned()), socket_mode: 0o620, ..listener() }
    }

    async fn bound(listener: &Listener) -> Result<Socket, BindError> {
        bind(listener, &mut Passed::default()).await.map(|mut sockets| sockets.remove(0))
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
