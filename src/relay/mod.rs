//! Where listener, tokens and upstream meet: which app may send what through which mailbox, and what it hears.
//!
//! Layer 5. Only here is a provider's verdict turned into the app's reply. The one contract so far is `direct`.

mod access;
mod attempt;
mod backoff;
mod direct;
mod judge;

use crate::{
    config::{App, Link, Listener, Mailbox, Settings, WhenFromDiffers},
    listener::{Host, Submission},
    mail::{Address, Name, Recipient, author},
    secret::Secret,
    smtp::Reply,
    tokens::Tokens,
    upstream::Upstream,
};
use access::Access;
use backoff::Backoffs;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Instant,
};
use tokio_util::task::TaskTracker;

/// Received fields beyond which a message runs in a circle (RFC 5321 §6.3 asks for at least 100).
const MOST_HOPS: usize = 100;

/// The relay: one for the process, shared by all sessions.
#[derive(Debug)]
pub struct Relay {
    settings: RwLock<Arc<Settings>>,
    access: Access,
    tokens: Arc<Tokens>,
    upstream: Arc<Upstream>,
    backoffs: Mutex<Backoffs>,
    /// Attempts under way, some of them longer than their app waited.
    attempts: TaskTracker,
}

impl Relay {
    /// A relay for `settings`. `key` is fresh random: remembered logins are bound to it.
    pub fn new(settings: Arc<Settings>, tokens: Arc<Tokens>, upstream: Arc<Upstream>, key: [u8; 32]) -> Arc<Self> {
        Arc::new(Self {
            settings: RwLock::new(settings),
            access: Access::new(key),
            tokens,
            upstream,
            backoffs: Mutex::default(),
            attempts: TaskTracker::new(),
        })
    }

    /// Takes up other settings. Connections and messages under way keep what they began with.
    pub fn configure(&self, settings: Arc<Settings>) {
        let before = std::mem::replace(&mut *self.settings.write().unwrap_or_else(PoisonError::into_inner), settings.clone());
        for (name, mailbox) in &before.mailboxes {
            if settings.mailboxes.get(name) != Some(mailbox) {
                self.upstream.forget(name);
            }
        }
        self.forgive(None);
    }

    /// Lets `mailbox`, or all, try again at once: a grant or a setting was mended.
    pub fn forgive(&self, mailbox: Option<&Name>) {
        self.backoffs().forgive(mailbox, Instant::now());
    }

    /// Why `mailbox` takes no mail now, for the status; `None` when it does.
    pub fn trouble(&self, mailbox: &Name) -> Option<String> {
        self.backoffs().refuses(mailbox, Instant::now()).map(str::to_owned)
    }

    /// How many messages are on their way to a provider.
    pub fn under_way(&self) -> usize {
        self.attempts.len()
    }

    /// Waits until no message is on its way any more; no new one may be accepted by then.
    pub async fn drained(&self) {
        self.attempts.close();
        self.attempts.wait().await;
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn backoffs(&self) -> MutexGuard<'_, Backoffs> {
        self.backoffs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailbox and link of `app` as configured now; `None` once the app or its mailbox is gone.
    fn route(&self, app: &App) -> Option<(Arc<Mailbox>, Arc<Link>)> {
        let settings = self.settings();
        let app = settings.apps.get(&app.name)?;
        let mailbox = settings.mailboxes.get(&app.mailbox)?;
        Some((mailbox.clone(), settings.links.get(&mailbox.link)?.clone()))
    }
}

impl Host for Relay {
    fn known_by_address(&self, listener: &Listener, peer: IpAddr) -> Option<Arc<App>> {
        access::by_address(&self.settings(), listener, peer)
    }

    async fn authenticate(&self, listener: &Listener, peer: IpAddr, user: &str, password: Secret) -> Result<Arc<App>, Reply> {
        self.access.by_password(&self.settings(), listener, (peer, user), password).await
    }

    fn mail(&self, app: &App, sender: Option<&Address>) -> Result<(), Reply> {
        let (mailbox, _) = self.route(app).ok_or_else(gone)?;
        if let Some(reason) = self.backoffs().refuses(&mailbox.name, Instant::now()) {
            tracing::debug!(app = %app.name, mailbox = %mailbox.name, reason, "a message is put off: the mailbox is in trouble");
            return Err(judge::bland(None));
        }
        match sender {
            Some(sender) if !may_send_as(&mailbox, sender) => Err(not_allowed(sender)),
            Some(_) | None => Ok(()),
        }
    }

    fn recipient(&self, app: &App, accepted: usize, recipient: &Recipient) -> Result<(), Reply> {
        let (mailbox, _) = self.route(app).ok_or_else(gone)?;
        let most = mailbox.limits.recipients_per_message as usize;
        if most > 0 && accepted >= most {
            let text = format!("too many recipients: the provider takes {most} a message, send the rest separately");
            return Err(Reply::new(452, Some((5, 3)), text));
        }
        match recipient.address.domain() {
            Some(_) => Ok(()),
            None => Err(Reply::new(550, Some((1, 3)), format!("<{}> has no domain, write user@domain", recipient.address))),
        }
    }

    async fn message(self: Arc<Self>, submission: Submission) -> Reply {
        if submission.findings.received >= MOST_HOPS {
            tracing::warn!(event = "message.refused", id = %submission.id, app = %submission.app.name, received = submission.findings.received,
                "the message has run through too many servers: a mail loop; look for the server that sends it back here");
            return Reply::new(554, Some((4, 6)), format!("{} too many Received fields, a mail loop", submission.id));
        }
        let Some((mailbox, link)) = self.route(&submission.app) else { return gone() };
        if let Err(reply) = may_write_from(&mailbox, submission.findings.from.as_deref()) {
            tracing::warn!(event = "message.refused", id = %submission.id, app = %submission.app.name, mailbox = %mailbox.name,
                link = %mailbox.link, client = %submission.client, bytes = submission.body.len(), code = reply.code, reply = %reply.text(),
                advice = "name this sender in the mailbox's allowed-from, or let the application send from the mailbox's address",
                "refused: the From field is not one that the mailbox's when-from-differs lets pass");
            return Reply { lines: vec![format!("{} {}", submission.id, reply.text())], ..reply };
        }
        direct::deliver(&self, submission, mailbox, link).await
    }
}

/// Whether `sender` passes the rules of `mailbox`.
fn may_send_as(mailbox: &Mailbox, sender: &Address) -> bool {
    mailbox.when_from_differs != WhenFromDiffers::Refuse || mailbox.allowed_from.matches(sender)
}

/// Whether this From field passes the rules of `mailbox`.
fn may_write_from(mailbox: &Mailbox, from: Option<&str>) -> Result<(), Reply> {
    if mailbox.when_from_differs != WhenFromDiffers::Refuse {
        return Ok(());
    }
    match from.and_then(author) {
        Some(author) if may_send_as(mailbox, &author) => Ok(()),
        Some(author) => Err(not_allowed(&author)),
        None => Err(Reply::new(550, Some((7, 1)), "the From field must hold exactly one address")),
    }
}

fn not_allowed(sender: &Address) -> Reply {
    Reply::new(550, Some((7, 1)), format!("this application may not send as <{sender}>"))
}

/// The app was removed from the configuration while it was connected.
fn gone() -> Reply {
    Reply::new(530, Some((7, 0)), "this application is no longer configured here")
}
