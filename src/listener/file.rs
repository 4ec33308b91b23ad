//! The file of a Unix socket that is made here: its place, its mode and its group.

use crate::config::Listener;
use std::{
    fmt, fs,
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};
use tokio::net::{UnixListener, UnixStream};

/// The file of a socket that was made here. It goes with the socket.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: what lies there later may be another's.
    identity: (u64, u64),
    is_removed: AtomicBool,
}

/// A file that has another mode or group for now: it gets the former ones back when this is dropped and was not [kept](Self::keep).
#[derive(Debug)]
pub struct Regrouped {
    path: PathBuf,
    former: Rights,
    is_kept: bool,
}

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rights {
    mode: u32,
    group: u32,
}

impl SocketFile {
    /// Removes it, once.
    pub(super) fn remove(&self) {
        if !self.is_removed.swap(true, Ordering::Relaxed) && self.is_in_place() {
            _ = fs::remove_file(&self.path);
        }
    }

    /// Whether it still lies where apps look for it.
    pub(super) fn is_in_place(&self) -> bool {
        self.found().is_ok()
    }

    fn found(&self) -> io::Result<fs::Metadata> {
        let file = fs::symlink_metadata(&self.path)?;
        match (file.dev(), file.ino()) == self.identity {
            true => Ok(file),
            false => Err(io::Error::new(ErrorKind::AlreadyExists, "another file lies there now")),
        }
    }

    /// Lets in whom `listener` lets in.
    pub(super) fn regroup(&self, listener: &Listener) -> io::Result<Regrouped> {
        let file = self.found()?;
        let former = Rights { mode: file.mode() & 0o777, group: file.gid() };
        let group = listener.socket_group.as_deref().map(group).transpose()?;
        let group = group.unwrap_or_else(|| rustix::process::getegid().as_raw());
        let regrouped = Regrouped { path: self.path.clone(), former, is_kept: false };
        change(&self.path, former, Rights { mode: listener.socket_mode, group })?;
        Ok(regrouped)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

impl fmt::Display for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.path.display())
    }
}

impl Regrouped {
    /// It stays as it is now.
    pub fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Regrouped {
    fn drop(&mut self) {
        if !self.is_kept
            && let Ok(file) = fs::symlink_metadata(&self.path)
            && let Err(error) = change(&self.path, Rights { mode: file.mode() & 0o777, group: file.gid() }, self.former)
        {
            tracing::error!(%error, socket = %self.path.display(), "cannot give a socket its former mode and group back");
        }
    }
}

/// Nobody has more rights in between than before or after.
fn change(path: &Path, from: Rights, to: Rights) -> io::Result<()> {
    let set_mode = |mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    if from.group != to.group {
        set_mode(from.mode & to.mode)?;
        chown(path, None, Some(to.group))?;
    }
    set_mode(to.mode)
}

/// Makes a socket under another name and puts it into its place with mode and group: nobody finds it with others.
pub(super) async fn make(path: &Path, listener: &Listener) -> io::Result<(UnixListener, SocketFile)> {
    make_room(path).await?;
    let group = listener.socket_group.as_deref().map(group).transpose()?;
    let made = path.with_file_name(format!(".outlink-{}", std::process::id()));
    let bound = bind_at(&made, path, listener.socket_mode, group);
    if bound.is_err() {
        _ = fs::remove_file(&made);
    }
    bound
}

fn bind_at(made: &Path, path: &Path, mode: u32, group: Option<u32>) -> io::Result<(UnixListener, SocketFile)> {
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
    let identity = (file.dev(), file.ino());
    Ok((socket, SocketFile { path: path.to_owned(), identity, is_removed: AtomicBool::new(false) }))
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
