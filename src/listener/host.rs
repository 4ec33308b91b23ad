//! What a listener asks, and what it hands over.

use super::Peer;
use crate::{
    config::{App, Listener},
    mail::{Address, Case, Envelope, Findings, Id, Recipient},
    secret::{PasswordHash, Secret},
    smtp::Reply,
    store::Body,
};
use std::{future::Future, sync::Arc};

/// An app that a login proved.
#[derive(Debug, Clone)]
pub struct Login {
    /// Which.
    pub app: Arc<App>,
    /// What its password matched.
    pub hash: PasswordHash,
}

/// Who decides about apps and messages.
pub trait Host: Send + Sync + 'static {
    /// The app that `peer` proves by what it is: certificate, Unix user, address. Never asked where the listener requires a
    /// password; asked again once the connection is encrypted.
    fn known(&self, listener: &Listener, peer: &Peer) -> Option<Arc<App>>;

    /// The app whose password this is, or what to answer: `535 5.7.8`, after whatever delay and log line the host finds right, or
    /// `454 4.7.0` when it cannot tell now. Must end in bounded time.
    fn authenticate(
        &self,
        listener: &Listener,
        peer: &Peer,
        user: &str,
        password: Secret,
    ) -> impl Future<Output = Result<Login, Reply>> + Send;

    /// Whether `peer` is still `app` by what proved it: the password with this hash, or else what it is. The refusal ends the session.
    fn still(&self, listener: &Listener, peer: &Peer, app: &App, hash: Option<&PasswordHash>) -> Result<(), Reply>;

    /// Whether `app` may send from `sender` now; `None` is the null sender.
    fn mail(&self, listener: &Listener, app: &App, sender: Option<&Address>) -> Result<(), Reply>;

    /// What a message of `app` is repaired for.
    fn case(&self, listener: &Listener, app: &App, envelope: &Envelope) -> Case;

    /// Whether one more recipient is taken, beside the `accepted` ones.
    fn recipient(&self, listener: &Listener, app: &App, accepted: usize, recipient: &Recipient) -> Result<(), Reply>;

    /// Takes a whole message; the reply is the app's final one. Must end in bounded time. If the connection task is dropped, the
    /// wait ends with it.
    fn message(self: Arc<Self>, submission: Submission) -> impl Future<Output = Reply> + Send;
}

/// A message as it was submitted, prepared for relaying (RFC 6409 §8).
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its id, already in its Received field.
    pub id: Id,
    /// Who sent it.
    pub app: Arc<App>,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// From whom.
    pub peer: Arc<Peer>,
    /// Whether a password proved the app, and not what its connection shows.
    pub by_password: bool,
    /// From whom, to whom.
    pub envelope: Envelope,
    /// Recipients that the host put another address in the place of: the former, the present.
    pub aliased: Vec<(Address, Address)>,
    /// Its octets.
    pub body: Body,
    /// What was seen in its header.
    pub findings: Findings,
}
