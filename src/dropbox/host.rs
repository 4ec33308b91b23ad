//! Who decides about a message from the drop directory: the relay, under the contract `queue` for everybody, since who left it is gone.
//! A recipient that it refuses does not stop the others, and the sender hears of it by a bounce.

use crate::{
    config::{App, Delivery, Listener},
    listener::{Host, Login, Peer, Submission},
    mail::{Address, Case, Envelope, Recipient},
    relay::Relay,
    secret::{PasswordHash, Secret},
    smtp::Reply,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The relay, for one message.
#[derive(Debug)]
pub(super) struct Queued {
    relay: Arc<Relay>,
    refused: Mutex<Vec<(Recipient, Reply)>>,
}

impl Queued {
    pub(super) fn new(relay: Arc<Relay>) -> Self {
        Self { relay, refused: Mutex::default() }
    }

    fn refused(&self) -> MutexGuard<'_, Vec<(Recipient, Reply)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the answer would be the same at any later time; 452 4.5.3 is about too many recipients.
fn is_final(reply: &Reply) -> bool {
    (reply.code >= 500 && reply.code != 530)
        || (reply.code == 452 && reply.enhanced.is_some_and(|it| (it.subject, it.detail) == (5, 3)))
}

impl Host for Queued {
    fn known(&self, listener: &Listener, peer: &Peer) -> Option<Arc<App>> {
        let app = self.relay.known(listener, peer)?;
        Some(Arc::new(App { delivery: Some(Delivery::Queue), ..App::clone(&app) }))
    }

    async fn authenticate(&self, listener: &Listener, peer: &Peer, user: &str, password: Secret) -> Result<Login, Reply> {
        self.relay.authenticate(listener, peer, user, password).await
    }

    fn still(&self, listener: &Listener, peer: &Peer, app: &App, hash: Option<&PasswordHash>) -> Result<(), Reply> {
        self.relay.still(listener, peer, app, hash)
    }

    fn mail(&self, listener: &Listener, app: &App, sender: Option<&Address>) -> Result<(), Reply> {
        self.relay.mail(listener, app, sender)
    }

    fn case(&self, listener: &Listener, app: &App, envelope: &Envelope) -> Case {
        self.relay.case(listener, app, envelope)
    }

    fn recipient(&self, listener: &Listener, app: &App, accepted: usize, recipient: &Recipient) -> Result<(), Reply> {
        let mut refused = self.refused();
        match self.relay.recipient(listener, app, accepted.saturating_sub(refused.len()), recipient) {
            Err(reply) if is_final(&reply) => {
                refused.push((recipient.clone(), reply));
                Ok(())
            }
            answer => answer,
        }
    }

    async fn message(self: Arc<Self>, submission: Submission) -> Reply {
        let refused = std::mem::take(&mut *self.refused());
        self.relay.message_or_bounce(submission, refused).await
    }
}
