//! Where listener, queue, tokens and upstream meet: which app may send what through which mailbox, what it hears, and what becomes of
//! what was accepted.
//!
//! Layer 5. Only here is a provider's verdict, or the queue's proof, turned into the app's reply. A message comes in by a contract
//! (`direct`, `queued`); what is kept goes out by `dispatch`, each message as one `work`, behind the `gate` of its mailbox; `judge`
//! and `settle` say what a reply means, `board` knows how everything stands.

mod access;
mod addresses;
mod admission;
mod attempt;
pub mod authorize;
mod board;
mod direct;
mod dispatch;
mod examine;
mod gate;
mod guesses;
mod health;
mod judge;
mod keeper;
mod lanes;
mod log;
mod notices;
mod operate;
mod outgoing;
mod own;
mod pace;
mod queued;
mod reroute;
mod returned;
pub mod route;
mod routing;
mod rules;
mod settle;
mod standing;
mod states;
mod turns;
mod usage;
mod watch;
mod work;

pub use examine::{Freed, Held, Tested};
pub use log::span;
pub use own::{NotSent, Own};
pub use standing::{Change, Standing, Subject};

use crate::{
    config::{App, Delivery, Link, Listener, Mailbox, Settings, WhenFromDiffers},
    listener::{Host, Login, Peer, Submission},
    mail::{Address, Case, Envelope, Id, Name, Recipient},
    queue::{Budget, Queue},
    secret::{PasswordHash, Secret},
    smtp::Reply,
    tokens::Tokens,
    upstream::Upstream,
};
use access::Access;
use addresses::Addresses;
use authorize::Authorizations;
use board::Board;
use gate::Gates;
use lanes::Lanes;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::SystemTime,
};
use tokio::sync::{Notify, broadcast};
use tokio_util::task::TaskTracker;
use usage::Usage;
use watch::Standings;

/// Octets of bodies that wait at hand in memory; what goes beyond is read from the store.
const BODIES_AT_HAND: u64 = 16 << 20;

/// Received fields beyond which a message runs in a circle (RFC 5321 §6.3 asks for at least 100).
const MOST_HOPS: usize = 100;

/// Passages through this very relay after which a message runs in a circle. One or two may be a mailbox that forwards to an application
/// which sends on; each further one costs the provider's quota.
const MOST_PASSAGES: usize = 3;

/// The relay: one for the process, shared by all sessions.
#[derive(Debug)]
pub struct Relay {
    settings: RwLock<Arc<Settings>>,
    /// Our name in EHLO, Received and bounces.
    hostname: Arc<str>,
    access: Access,
    /// Those of mailboxes for whole domains.
    addresses: Addresses,
    /// What each app has sent.
    usage: Usage,
    queue: Arc<Queue>,
    tokens: Arc<Tokens>,
    upstream: Arc<Upstream>,
    board: Mutex<Board>,
    gates: Gates,
    lanes: Lanes,
    bodies: Budget,
    /// Wakes the keeper: the board changed.
    keeper: Notify,
    /// Wakes those who wait for a probe.
    health_changed: Notify,
    /// Wakes the dispatcher: the settings changed.
    configured: Notify,
    /// Wakes the dispatcher: an address has its own mailbox now.
    added: Notify,
    /// Attempts under way, some of them longer than their app waited.
    attempts: TaskTracker,
    /// Logins of people under way.
    authorizations: Authorizations,
    /// How links and mailboxes were told to stand.
    told: Mutex<Standings>,
    /// Wakes who watches that: something happened.
    noted: Notify,
    /// Tells how something stands otherwise than before.
    changes: broadcast::Sender<Change>,
}

/// What a relay works with.
#[derive(Debug)]
pub struct Parts {
    /// Our name in EHLO, Received and bounces.
    pub hostname: Arc<str>,
    /// Kept mail.
    pub queue: Arc<Queue>,
    /// Good tokens.
    pub tokens: Arc<Tokens>,
    /// Connections to providers.
    pub upstream: Arc<Upstream>,
    /// Fresh random octets: remembered logins are bound to them.
    pub key: [u8; 32],
}

impl Relay {
    /// A relay for `settings`; [`Relay::restore`] brings back what an earlier process left.
    pub fn new(settings: Arc<Settings>, parts: Parts) -> Arc<Self> {
        let Parts { hostname, queue, tokens, upstream, key } = parts;
        let mut board = Board::default();
        board.configure(&settings, SystemTime::now());
        Arc::new(Self {
            settings: RwLock::new(settings),
            hostname,
            access: Access::new(key),
            addresses: Addresses::default(),
            usage: Usage::default(),
            queue,
            tokens,
            upstream,
            board: Mutex::new(board),
            gates: Gates::default(),
            lanes: Lanes::default(),
            bodies: Budget::new(BODIES_AT_HAND),
            keeper: Notify::new(),
            health_changed: Notify::new(),
            configured: Notify::new(),
            added: Notify::new(),
            attempts: TaskTracker::new(),
            authorizations: Authorizations::default(),
            told: Mutex::default(),
            noted: Notify::new(),
            changes: broadcast::Sender::new(watch::MOST_CHANGES),
        })
    }

    /// Lets `mailbox`, or all, try again at once: a grant or a setting was mended.
    pub fn forgive(&self, mailbox: Option<&Name>) {
        self.board().forgive(mailbox, SystemTime::now());
        self.noted();
        self.wake_all();
    }

    /// Closes the connections of `mailbox`, those in use after their message: the grant that logged them in is no more.
    pub fn disconnect(&self, mailbox: &Name) {
        self.upstream.forget(mailbox);
    }

    /// How many messages are on their way to a provider.
    pub fn under_way(&self) -> usize {
        self.attempts.len()
    }

    /// Waits until no message is on its way any more, and no login; no new one may be accepted by then.
    pub async fn drained(&self) {
        self.authorizations.close().await;
        self.attempts.close();
        self.attempts.wait().await;
    }

    fn wake_all(&self) {
        self.lanes.all().iter().for_each(|handle| handle.wake());
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailbox and its link as configured now.
    fn mailbox(&self, name: &Name) -> Option<(Arc<Mailbox>, Arc<Link>)> {
        let settings = self.settings();
        let mailbox = settings.mailbox(name)?;
        let link = settings.links.get(&mailbox.link)?.clone();
        Some((mailbox, link))
    }
}

impl Host for Relay {
    fn known(&self, listener: &Listener, peer: &Peer) -> Option<Arc<App>> {
        access::known(&self.settings(), listener, peer)
    }

    async fn authenticate(&self, listener: &Listener, peer: &Peer, user: &str, password: Secret) -> Result<Login, Reply> {
        self.access.by_password(&self.settings(), listener, (peer, user), password).await
    }

    fn still(&self, listener: &Listener, peer: &Peer, app: &App, hash: Option<&PasswordHash>) -> Result<(), Reply> {
        access::still(&self.settings(), listener, (peer, app), hash)
    }

    fn mail(&self, listener: &Listener, app: &App, sender: Option<&Address>) -> Result<(), Reply> {
        self.admit_sender(listener, app, sender)?;
        self.may_begin(listener, app, sender)
    }

    fn case(&self, listener: &Listener, app: &App, envelope: &Envelope) -> Case {
        let repair = app.repair.unwrap_or(listener.repair);
        let sender = envelope.sender.as_ref().filter(|sender| sender.domain().is_some());
        // Who may send as itself is its message's author; of others, such as `root`, the mailbox answers.
        let author = match self.likely_mailbox(app, envelope.sender.as_ref()) {
            Ok(Some(mailbox)) => {
                Some(sender.filter(|sender| mailbox.allowed_from.matches(sender)).unwrap_or(&mailbox.address).clone())
            }
            Ok(None) | Err(_) => sender.cloned(),
        };
        Case { repair, author, smtputf8: envelope.smtputf8 }
    }

    fn recipient(&self, listener: &Listener, app: &App, accepted: usize, recipient: &Recipient) -> Result<(), Reply> {
        self.admit_recipient(listener, app, accepted, recipient)?;
        // By sender the header decides, and `route_of` says whether these are too many for the mailbox that it finds.
        let likely = if app.mailbox.is_by_sender() { None } else { self.likely_mailbox(app, None)? };
        let most = likely.map_or(0, |mailbox| mailbox.limits.recipients_per_message as usize);
        // What is kept is sent to so many at a time; one verdict for all needs all at once.
        if delivery(listener, app) == Delivery::Direct && most > 0 && accepted >= most {
            let text = format!("too many recipients: the provider takes {most} a message, send the rest separately");
            return Err(Reply::new(452, Some((5, 3)), text));
        }
        routing::has_address(&self.settings(), recipient)
    }

    async fn message(self: Arc<Self>, submission: Submission) -> Reply {
        if submission.findings.received >= MOST_HOPS {
            tracing::warn!(event = "message.refused", id = %submission.id, app = %submission.app.name, received = submission.findings.received,
                "the message has run through too many servers: a mail loop; look for the server that sends it back here");
            return Reply::new(554, Some((4, 6)), format!("{} too many Received fields, a mail loop", submission.id));
        }
        if let [latest, .., first] = submission.findings.passed[..]
            && submission.findings.passed.len() >= MOST_PASSAGES
        {
            tracing::warn!(event = "message.refused", id = %submission.id, app = %submission.app.name, client = %submission.peer,
                passed = submission.findings.passed.len(), %latest, %first,
                advice = "look for the mailbox, list or application that sends it back here; outlink trace tells of the earlier ids",
                "the message came through this relay before and came back: a mail loop");
            let text = format!("{} a mail loop: this message went through here before, as {latest}", submission.id);
            return Reply::new(554, Some((4, 6)), text);
        }
        let arrival = match self.admit_message(&submission) {
            Ok(arrival) => arrival,
            Err(reply) => return reply,
        };
        let repairs = submission.findings.changes.clone();
        let reply = Arc::clone(&self).deliver(submission).await;
        self.answered(arrival, &repairs, &reply);
        reply
    }
}

impl Relay {
    /// Sends or keeps a message, as its contract is.
    async fn deliver(self: Arc<Self>, mut submission: Submission) -> Reply {
        let way = match routing::apply_aliases(&self.settings(), &mut submission) {
            Ok(()) => self.route_of(&submission),
            Err(reply) => Err(reply),
        };
        let (mailbox, link) = match way {
            Ok(way) => way,
            // Why was logged.
            Err(reply) if reply == routing::gone() || reply.code == 451 => return reply,
            Err(reply) => {
                tracing::warn!(event = "message.refused", id = %submission.id, app = %submission.app.name, client = %submission.peer,
                    from = log::sender(&submission.envelope), author = queued::author_of(&submission), bytes = submission.body.len(),
                    code = reply.code, reply = %reply.text(),
                    advice = "`outlink route FROM --app APP` explains; name the sender in the allowed-from of app and mailbox",
                    "refused: no mailbox of this app may send it");
                return Reply { lines: vec![format!("{} {}", submission.id, reply.text())], ..reply };
            }
        };
        if let Err(why) = outgoing::check(&mailbox, &submission.findings, &submission.body).await {
            let reply = why.reply();
            tracing::warn!(event = "message.refused", id = %submission.id, app = %submission.app.name, mailbox = %mailbox.name,
                client = %submission.peer, from = log::sender(&submission.envelope), bytes = submission.body.len(), code = reply.code,
                reply = %why, "refused: the mailbox could not send it under its own address");
            return Reply { lines: vec![format!("{} {}", submission.id, reply.text())], ..reply };
        }
        match delivery(&submission.listener, &submission.app) {
            Delivery::Direct => direct::deliver(&self, submission, mailbox, link).await,
            Delivery::Queue => queued::keep(&self, &submission, &mailbox).await,
            Delivery::DirectThenQueue => queued::deliver_or_keep(&self, submission, mailbox, link).await,
        }
    }
}

/// The contract with `app` on `listener`.
fn delivery(listener: &Listener, app: &App) -> Delivery {
    app.delivery.unwrap_or(listener.delivery)
}

/// A number from 0 to 1, by chance. Without a source of chance there is no jitter, which only costs evenness.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// An id for a message or an event of our own.
pub fn new_id(now: SystemTime) -> Id {
    let mut random = [0; 10];
    // Without a source of chance the id stays valid, and unique to the millisecond.
    let _ = aws_lc_rs::rand::fill(&mut random);
    Id::new(now, random)
}

/// Whether `sender` passes the rules of `mailbox`.
fn may_send_as(mailbox: &Mailbox, sender: &Address) -> bool {
    mailbox.when_from_differs != WhenFromDiffers::Refuse || mailbox.allowed_from.matches(sender)
}

fn not_allowed(sender: &Address) -> Reply {
    Reply::new(550, Some((7, 1)), format!("this application may not send as <{sender}>"))
}
