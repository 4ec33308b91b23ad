//! Messages that programs of this machine left while the daemon was down: how `outlink sendmail` leaves them, and how the daemon takes
//! them up.
//!
//! Layer 6. What was left goes through a listener's session like all other mail, with the file's owner as its peer, so that apps,
//! limits, repairs and refusals are the same. A file is removed only after its message is durable in the queue. Where the daemon ends
//! between the two, the next one finds the file's name in the message's story and only removes the file.

mod dialogue;
mod host;
mod leave;
mod parcel;
mod take;
mod walk;

pub use dialogue::{At, NotTaken, Said, hand_over};
pub use leave::leave;
pub use parcel::{Foreign, LONGEST_ENVID, Parcel};

use crate::{
    config::{Listener, of_drops},
    crash,
    listener::{Peer, Service, UnixPeer, attend},
    mail::Id,
    relay::Relay,
    store::{Error, Spool, Store},
};
use host::Queued;
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use take::{Aside, Found};
use tokio::{net::UnixStream, sync::watch};
use walk::Walk;

/// How a file's name begins while it is written, and once it is whole.
const NEW: &str = "new-";
const READY: &str = "msg-";

/// How the peer of a message from here begins.
const PEER: &str = "drop:";

/// What stands before the file's own name in it.
const FILE: &str = ",file=";

/// How often the directory is looked at.
const TURN: Duration = Duration::from_secs(3);

/// After so long a message that could not be taken is tried again.
const LATER: Duration = Duration::from_secs(60);

/// As long as a daemon runs.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Messages that wait for that; beyond, they are tried in every round.
const MOST_LATER: usize = 10_000;

/// What the drop directory is served with.
#[derive(Debug)]
pub struct Dropbox {
    /// Where it is.
    pub directory: PathBuf,
    /// Who takes the messages.
    pub relay: Arc<Relay>,
    /// Where they are kept.
    pub store: Store,
    /// Where bodies are kept while they arrive.
    pub spool: Spool,
    /// Our name.
    pub hostname: Arc<str>,
}

/// What became of one message.
enum Fate {
    Taken(String),
    Later(String),
    Refused(String),
    /// The daemon stops.
    Stopped,
}

/// What is known of files from one round to the next.
#[derive(Default)]
struct Memory {
    /// Those that could not be taken, or removed, and when they are tried again.
    later: HashMap<String, SystemTime>,
    /// Peers whose message is in the queue, and since when; `None` until the first file.
    queued: Option<HashMap<String, SystemTime>>,
    /// How far the directory was gone through.
    walk: Walk,
}

impl Memory {
    /// Whether the file of this peer, which lies there `since`, is in the queue. Another file of the same name came later.
    fn was_queued(&self, peer: &str, since: SystemTime) -> bool {
        let queued = self.queued.as_ref().and_then(|queued| queued.get(peer));
        queued.is_some_and(|accepted| since <= *accepted)
    }
}

/// The peer of a file's message. A name that is no id of ours is not repeated: whoever made the file chose it.
fn shown(name: &str, uid: u32) -> String {
    match name.strip_prefix(READY).and_then(|id| id.parse::<Id>().ok()) {
        Some(id) => format!("{PEER}uid={uid}{FILE}{id}"),
        None => format!("{PEER}uid={uid}"),
    }
}

impl Dropbox {
    /// Takes up what lies there, now and every few seconds, until `stop` is true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let Some(listener) = of_drops().map(Arc::new) else { return };
        let (mut memory, mut said) = (Memory::default(), None);
        let stopped = stop.clone();
        loop {
            let fault = self.round(&listener, &mut memory, &stopped).await.err();
            if fault != said {
                match &fault {
                    Some(fault) => tracing::error!(directory = %self.directory.display(), fault,
                        "messages in the drop directory are not taken up"),
                    None => tracing::info!(directory = %self.directory.display(), "the drop directory is in order again"),
                }
                said = fault;
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(TURN) => {}
            }
        }
    }

    /// Works off what is due; an error is a fault of the directory.
    async fn round(&self, listener: &Arc<Listener>, memory: &mut Memory, stop: &watch::Receiver<bool>) -> Result<(), String> {
        let now = SystemTime::now();
        memory.later.retain(|_, due| *due > now);
        let (directory, waiting) = (self.directory.clone(), memory.later.clone());
        let mut walk = std::mem::take(&mut memory.walk);
        let look = move || {
            let names = look(&directory, &mut walk, &waiting, now);
            (names, walk)
        };
        let (names, walk) = beside(look).await.map_err(|error| error.to_string())?;
        memory.walk = walk;
        let names = names?;
        if !names.is_empty() && memory.queued.is_none() {
            let queued =
                self.queued().await.map_err(|error| format!("which of them are queued already cannot be known: {error}"))?;
            memory.queued = Some(queued);
        }
        for name in names {
            if *stop.borrow() {
                break;
            }
            match self.message(&name, listener, memory, stop).await {
                Fate::Stopped => break,
                fate => self.settle(name, fate, &mut memory.later).await,
            }
        }
        Ok(())
    }

    /// The peers of the last messages that were taken from here, and when.
    async fn queued(&self) -> Result<HashMap<String, SystemTime>, Error> {
        // The oldest first, so that the last one of a name is kept.
        let clients = self.store.clients(PEER, MOST_LATER).await?.into_iter().rev();
        Ok(clients.filter(|(client, _)| client.contains(FILE)).collect())
    }

    /// Hands one message over.
    async fn message(&self, name: &str, listener: &Arc<Listener>, memory: &Memory, stop: &watch::Receiver<bool>) -> Fate {
        let (directory, file) = (self.directory.clone(), name.to_owned());
        let Found { parcel, uid, since } = match beside(move || take::read(&directory, &file)).await {
            Ok(Ok(found)) => found,
            Ok(Err(wrong)) if wrong.is_passing() => return Fate::Later(wrong.to_string()),
            Ok(Err(wrong)) => return Fate::Refused(wrong.to_string()),
            Err(error) => return Fate::Later(error.to_string()),
        };
        let shown = shown(name, uid);
        if memory.was_queued(&shown, since) {
            return Fate::Taken("it was queued before; only its file was left".to_owned());
        }
        let (ours, theirs) =
            match std::os::unix::net::UnixStream::pair().and_then(|(ours, theirs)| Ok((nonblocking(ours)?, theirs))) {
                Ok(pair) => pair,
                Err(error) => return Fate::Later(error.to_string()),
            };
        let local = UnixPeer { uid, gid: u32::MAX, pid: None };
        let peer = Peer { address: None, is_told: false, shown, local: Some(local), certificate: None, encrypted: false };
        let service = Service {
            listener: listener.clone(),
            host: Arc::new(Queued::new(self.relay.clone())),
            spool: self.spool.clone(),
            hostname: self.hostname.clone(),
            presented: None,
        };
        let talk = beside(move || hand_over(theirs, &parcel, "localhost"));
        let (said, ()) = tokio::join!(talk, attend(ours, peer, service, stop.clone()));
        match said {
            Ok(Ok(said)) => Fate::Taken(said.text),
            Ok(Err(NotTaken::Down(_))) if *stop.borrow() => Fate::Stopped,
            Ok(Err(NotTaken::Down(why))) => Fate::Later(why),
            Ok(Err(NotTaken::TooMany(most))) => Fate::Refused(format!("it has more than {most} recipients")),
            Ok(Err(NotTaken::Refused(_, Said { code, text }))) if code < 500 => Fate::Later(format!("{code} {text}")),
            Ok(Err(NotTaken::Refused(At::Sender, Said { code: 530, .. }))) => {
                let user = user(uid);
                Fate::Refused(format!("no app is known by the user {user}: unix-user = [\"…\"] of an app names its users"))
            }
            Ok(Err(NotTaken::Refused(at, Said { code, text }))) => {
                let whose = match at {
                    At::Sender => "the sender, ".to_owned(),
                    At::Recipient(recipient) => format!("<{recipient}>, "),
                    At::Message => String::new(),
                };
                Fate::Refused(format!("refused {whose}of the user {}: {code} {text}", user(uid)))
            }
            Err(error) => Fate::Later(error.to_string()),
        }
    }

    /// Removes what is safe, puts aside what never will be.
    async fn settle(&self, name: String, fate: Fate, later: &mut HashMap<String, SystemTime>) {
        let (directory, file) = (self.directory.clone(), name.clone());
        let path = directory.join(&name).display().to_string();
        let is_taken = matches!(fate, Fate::Taken(_));
        let moved: io::Result<()> = match fate {
            Fate::Stopped => return,
            Fate::Taken(said) => {
                tracing::info!(event = "drop.taken", file = path, said, "a message from the drop directory is queued");
                crash::point("drop-queued");
                let removed = beside(move || fs::remove_file(directory.join(file))).await.unwrap_or_else(Err);
                removed.inspect_err(|error| {
                    tracing::error!(%error, file = path, "cannot remove a file of the drop directory: is the unit's ReadWritePaths= right?");
                })
            }
            Fate::Refused(why) => {
                let (kept, reason) = (take::refused(&directory).display().to_string(), why.clone());
                let aside = beside(move || take::put_aside(&directory, &file, &reason)).await.unwrap_or_else(Err);
                match &aside {
                    Ok(Aside::Kept) => tracing::error!(
                        event = "drop.refused",
                        file = path,
                        why,
                        kept,
                        "a message from the drop directory was refused; it is kept there for 14 days; once the cause is mended, move it back"
                    ),
                    Ok(Aside::Removed) => tracing::warn!(
                        event = "drop.refused",
                        file = path,
                        why,
                        "an empty directory in the drop directory was removed"
                    ),
                    Err(error) => tracing::error!(event = "drop.refused", file = path, why, %error,
                        "refused, and it cannot be moved away: it stays where it is until somebody removes it"),
                }
                aside.map(drop)
            }
            Fate::Later(why) => {
                tracing::warn!(
                    event = "drop.deferred",
                    file = path,
                    why,
                    "a message in the drop directory is tried again in a minute"
                );
                if later.len() < MOST_LATER {
                    later.insert(name, SystemTime::now() + LATER);
                }
                return;
            }
        };
        // What was queued and cannot be removed must not be sent in every round; nor is what stays told of again.
        if moved.is_err_and(|error| error.kind() != io::ErrorKind::NotFound) && (is_taken || later.len() < MOST_LATER) {
            later.insert(name, SystemTime::now() + NEVER);
        }
    }
}

/// A user of this machine, as people know it.
fn user(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_user = |line: &&str| line.split(':').nth(2).is_some_and(|number| number.parse() == Ok(uid));
    let name = users.lines().find(is_user).and_then(|line| line.split(':').next());
    name.map_or_else(|| uid.to_string(), |name| format!("{name} ({uid})"))
}

fn nonblocking(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// The names of messages that are due; an error is a fault of the directory.
fn look(directory: &Path, walk: &mut Walk, later: &HashMap<String, SystemTime>, now: SystemTime) -> Result<Vec<String>, String> {
    let checked = take::check(directory).map_err(|fault| format!("{fault}; `install -d -o outlink -g outlink -m 3733` makes it"));
    let Some(()) = checked? else { return Ok(Vec::new()) };
    take::forget(directory, now);
    walk.round(directory, later, now).map_err(|error| format!("it cannot be listed: {error}"))
}

/// Runs what waits for a disk or a socket beside the runtime.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
