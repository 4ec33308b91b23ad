//! Mail that outlink writes itself, about no message: what its hooks tell. It is kept and sent like all other mail.
//!
//! It belongs to an app that nobody has to configure, and its sender is empty, so that no bounce of it ever leads to another.

use super::Relay;
use crate::{
    mail::{Address, BodyType, Envelope, Id, Name, Notify, Recipient},
    queue::{HeldBy, NewMessage, Refused},
    secret::Ring,
    store::Body,
};
use std::{sync::Arc, time::SystemTime};

/// The app of such mail, in listings and in the log.
const APP: &str = "outlink";

/// A message of our own, complete.
#[derive(Debug)]
pub struct Own {
    /// Its id; `<id@hostname>` is its Message-ID.
    pub id: Id,
    /// Through which mailbox it goes.
    pub mailbox: Name,
    /// Whom it goes to.
    pub to: Vec<Address>,
    /// Its Subject.
    pub subject: String,
    /// The message, in CRLF lines.
    pub octets: Vec<u8>,
}

/// Why a message of our own was not kept.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// There is no such mailbox any more.
    #[error("mailbox {0} is no longer configured")]
    NoMailbox(Name),
    /// It was not kept.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// The app of mail that outlink writes itself.
pub(super) fn app() -> Name {
    Name::parse(APP).expect("it is a name")
}

impl Relay {
    /// Our name in EHLO, Received and mail of our own.
    pub fn hostname(&self) -> &Arc<str> {
        &self.hostname
    }

    /// The keys that open sealed secrets.
    pub fn ring(&self) -> Arc<Ring> {
        self.tokens.ring()
    }

    /// Keeps a message of our own; when it returns `Ok`, it is durable, and goes out when its mailbox may send.
    pub async fn send_own(self: &Arc<Self>, own: Own, now: SystemTime) -> Result<(), NotSent> {
        let Some((mailbox, _)) = self.mailbox(&own.mailbox) else { return Err(NotSent::NoMailbox(own.mailbox)) };
        let body = Body::Memory(own.octets.clone().into());
        let new = self.own_message(own, &mailbox.address, now);
        let (handle, is_held) = (self.lanes.of(&mailbox.name), new.held.is_some());
        match self.queue.accept(new, body).await {
            Ok(_) => {
                if !is_held {
                    handle.lane().stored(&app());
                }
                handle.wake();
                Ok(())
            }
            Err(error) => {
                // Its commit may come back to life with the database.
                handle.look();
                Err(error.into())
            }
        }
    }

    fn own_message(&self, own: Own, from: &Address, now: SystemTime) -> NewMessage {
        let clock = self.board().clock(&own.mailbox, now);
        let author = from.as_str().to_ascii_lowercase();
        let held = self.board().sender_held(&own.mailbox, &author).map(|reason| (HeldBy::Sender, reason, clock));
        let mut envelope = Envelope::from(None);
        envelope.smtputf8 = !from.is_ascii() || own.to.iter().any(|to| !to.is_ascii());
        envelope.body = if own.octets.is_ascii() { BodyType::SevenBit } else { BodyType::EightBitMime };
        let never = Notify { success: false, failure: false, delay: false };
        let recipient = |address| Recipient { address, notify: Some(never), orcpt: None };
        envelope.recipients = own.to.into_iter().map(recipient).collect();
        NewMessage {
            id: own.id,
            app: app(),
            mailbox: own.mailbox,
            client: APP.to_owned(),
            envelope,
            author,
            bounce_of: None,
            message_id: format!("<{}@{}>", own.id, self.hostname),
            subject: Some(own.subject),
            accepted_at: now,
            due_at: now,
            expires_at: clock + self.queue.settings().expire_after,
            warn_at: None,
            attempts: 0,
            claim: None,
            held,
            stays: true,
            settled: Vec::new(),
            events: Vec::new(),
        }
    }
}
