//! Messages that programs of this machine left while the daemon was down: how `outlink sendmail` leaves them, and how the daemon takes
//! them up.
//!
//! Layer 6. What was left goes through a listener's session like all other mail, with the file's owner as its peer, so that apps,
//! limits, repairs and refusals are the same. A file is removed only after its message is durable in the queue. Where the daemon ends
//! between the two, the next one finds the file's name in the message's story and only removes the file.

mod dialogue;
mod leave;
mod parcel;
mod take;

pub use dialogue::{At, NotTaken, Said, hand_over};
pub use leave::leave;
pub use parcel::{Foreign, LONGEST_ENVID, Parcel};

use crate::{
    config::{App, Delivery, Listener, of_drops},
    crash,
    listener::{Host, Login, Peer, Service, Submission, UnixPeer, attend},
    mail::{Address, Case, Envelope, Id, Recipient},
    relay::Relay,
    secret::{PasswordHash, Secret},
    smtp::Reply,
    store::{Error, Spool, Store},
};
use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use take::Found;
use tokio::{net::UnixStream, sync::watch};

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
        let look = move || -> Result<Vec<String>, String> {
            let checked =
                take::check(&directory).map_err(|fault| format!("{fault}; `install -d -o outlink -g outlink -m 3733` makes it"));
            let Some(()) = checked? else { return Ok(Vec::new()) };
            take::forget(&directory, now);
            take::names(&directory, &waiting, now).map_err(|error| format!("it cannot be listed: {error}"))
        };
        let names = beside(look).await.map_err(|error| error.to_string())??;
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
            host: Arc::new(Queued(self.relay.clone())),
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
                Fate::Refused(format!("no app is known by the user {uid}: unix-user = [\"…\"] of an app names its users"))
            }
            Ok(Err(NotTaken::Refused(at, Said { code, text }))) => Fate::Refused(match at {
                At::Recipient(recipient) => format!("<{recipient}>: {code} {text}"),
                At::Sender | At::Message => format!("{code} {text}"),
            }),
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
                beside(move || fs::remove_file(directory.join(file))).await.unwrap_or_else(Err)
            }
            Fate::Refused(why) => {
                let kept = take::refused(&directory).display().to_string();
                tracing::error!(
                    event = "drop.refused",
                    file = path,
                    why,
                    kept,
                    "a message from the drop directory was refused; it is kept there for 14 days; once the cause is mended, move it back"
                );
                beside(move || take::put_aside(&directory, &file)).await.unwrap_or_else(Err)
            }
            Fate::Later(why) => {
                tracing::warn!(
                    event = "drop.deferred",
                    file = path,
                    why,
                    "a message in the drop directory is tried again in a minute"
                );
                Err(io::ErrorKind::Interrupted.into())
            }
        };
        let Err(error) = moved else { return };
        if !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::NotFound) {
            tracing::error!(%error, file = path, "cannot move or remove a file of the drop directory: is the unit's ReadWritePaths= right?");
        }
        // What was queued and cannot be removed must not be sent in every round.
        if is_taken || later.len() < MOST_LATER {
            later.insert(name, SystemTime::now() + if is_taken { NEVER } else { LATER });
        }
    }
}

/// The relay, with the contract `queue` for everybody: who left a message is gone.
#[derive(Debug)]
struct Queued(Arc<Relay>);

impl Host for Queued {
    fn known(&self, listener: &Listener, peer: &Peer) -> Option<Arc<App>> {
        let app = self.0.known(listener, peer)?;
        Some(Arc::new(App { delivery: Some(Delivery::Queue), ..App::clone(&app) }))
    }

    async fn authenticate(&self, listener: &Listener, peer: &Peer, user: &str, password: Secret) -> Result<Login, Reply> {
        self.0.authenticate(listener, peer, user, password).await
    }

    fn still(&self, listener: &Listener, peer: &Peer, app: &App, hash: Option<&PasswordHash>) -> Result<(), Reply> {
        self.0.still(listener, peer, app, hash)
    }

    fn mail(&self, listener: &Listener, app: &App, sender: Option<&Address>) -> Result<(), Reply> {
        self.0.mail(listener, app, sender)
    }

    fn case(&self, listener: &Listener, app: &App, envelope: &Envelope) -> Case {
        self.0.case(listener, app, envelope)
    }

    fn recipient(&self, listener: &Listener, app: &App, accepted: usize, recipient: &Recipient) -> Result<(), Reply> {
        self.0.recipient(listener, app, accepted, recipient)
    }

    async fn message(self: Arc<Self>, submission: Submission) -> Reply {
        self.0.clone().message(submission).await
    }
}

fn nonblocking(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Runs what waits for a disk or a socket beside the runtime.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
