//! A connection on which the mailbox is logged in. It can only be made of one whose server's certificate was verified.

use super::{
    connect::Secured,
    failure::{Failure, Reason},
    limits,
    wire::Wire,
};
use crate::{
    config::Mailbox,
    secret::Secret,
    smtp::{
        Step,
        client::{Capabilities, Login, LoginAction, Mechanism},
    },
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::client::TlsStream;

/// An authenticated connection over verified TLS.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) wire: Wire<TlsStream<TcpStream>>,
    pub(super) offered: Capabilities,
    pub(super) mailbox: Arc<Mailbox>,
    /// Messages sent over it.
    pub(super) messages: u32,
    /// When its server last answered.
    pub(super) last_heard: Instant,
    /// When it is closed whatever happens: by age or by its token's end.
    until: Instant,
    /// What goes out next; kept, to keep its memory.
    pub(super) out: Vec<u8>,
}

impl Secured {
    /// Logs the mailbox in. The one place where a token is sent.
    pub(super) async fn login(mut self, mailbox: Arc<Mailbox>, token: &Secret, expires: SystemTime) -> Result<Session, Failure> {
        let server = mailbox.server.clone();
        let fail = |reason: Reason| Failure::new(Step::Auth, &server, reason);
        let offered = Mechanism::choose(&self.offered).ok_or_else(|| fail(Reason::Unsupported("AUTH XOAUTH2 or OAUTHBEARER")))?;
        let mut login = Login::new(offered, &mailbox.xoauth2_user, (&server.host, server.port), token)
            .map_err(|why| fail(Reason::Local(why.to_string())))?;
        let begun = Instant::now();
        let mut reply = self.wire.ask(login.command().as_bytes(), limits::LOGIN).await.map_err(|why| fail(why.into()))?;
        loop {
            let line = match login.answer(reply).map_err(|why| fail(Reason::Malformed(why.to_string())))? {
                LoginAction::Accepted => break,
                LoginAction::SendToken(line) => self.wire.ask(line.expose().as_bytes(), limits::LOGIN).await,
                LoginAction::Send(line) => self.wire.ask(line, limits::LOGIN).await,
                LoginAction::Refused { reply, challenge } => {
                    return Err(Failure { challenge, ..fail(Reason::Reply(reply)) });
                }
            };
            reply = line.map_err(|why| fail(why.into()))?;
        }
        let (now, ms) = (Instant::now(), begun.elapsed().as_millis() as u64);
        tracing::debug!(mailbox = %mailbox.name, %server, mechanism = offered.name(), ms, "logged in");
        let until = now + limits::AGE.min(usable(expires));
        let (wire, offered) = (self.wire, self.offered);
        Ok(Session { wire, offered, mailbox, messages: 0, last_heard: now, until, out: Vec::new() })
    }
}

/// How long a connection may use a token that ends at `expires`.
fn usable(expires: SystemTime) -> Duration {
    let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
    left - limits::TOKEN_MARGIN.min(left / 10)
}

impl Session {
    /// Whether another message may go over it, as far as can be known without asking the server.
    pub(super) fn is_usable(&mut self, now: Instant) -> bool {
        let limit = self.mailbox.limits.messages_per_connection;
        let fresh = now < self.until && now.duration_since(self.last_heard) < limits::IDLE;
        fresh && (limit == 0 || self.messages < limit) && self.wire.is_silent()
    }

    /// Whether its server may be gone without our knowing.
    pub(super) fn is_doubtful(&self) -> bool {
        self.messages > 0 && self.last_heard.elapsed() > limits::TRUSTED_IDLE
    }

    /// Says goodbye without waiting for an answer.
    pub(super) fn leave(self) {
        tracing::debug!(mailbox = %self.mailbox.name, server = %self.mailbox.server, messages = self.messages, "closed");
        self.wire.leave();
    }
}
