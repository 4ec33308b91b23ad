//! Why there is no outcome: what was tried, on which server, what went wrong, and the next step.

use super::wire::Broken;
use crate::{
    config::Server,
    smtp::{Reply, Step},
};
use std::{fmt, io};

/// An attempt that ended without a verdict on the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where in the dialogue.
    pub step: Step,
    /// Why.
    pub reason: Reason,
    /// Which server, as `host:port`.
    pub server: Box<str>,
    /// The connection was of no use, and nothing of this message can have been taken: try again at once over another one.
    pub stale: bool,
    /// The last octet may have been sent, and no verdict came: the provider may have taken the message.
    pub unknown: bool,
    /// The decoded text of the `334` by which a token was refused.
    pub challenge: Option<String>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The server said so.
    Reply(Reply),
    /// The host's name has no address.
    Name(String),
    /// The connection could not be made or broke.
    Io(String),
    /// The server closed the connection without a word.
    Closed,
    /// Nothing came in time.
    TimedOut,
    /// TLS could not be agreed on, or the certificate is not to be trusted.
    Tls(String),
    /// The server spoke, but not SMTP.
    Malformed(String),
    /// The server lacks what is needed.
    Unsupported(&'static str),
    /// All connections that the mailbox may have are busy.
    Busy(u32),
    /// The message could not be read from the spool, or what goes with it could not be sent.
    Local(String),
    /// The waiter gave up first.
    Aborted,
}

impl Failure {
    pub(super) fn new(step: Step, server: &Server, reason: impl Into<Reason>) -> Self {
        let server = server.to_string().into();
        Self { step, reason: reason.into(), server, stale: false, unknown: false, challenge: None }
    }
}

/// The extension without which no token is sent.
pub(super) const STARTTLS: &str = "STARTTLS, and no token is sent without TLS";

impl From<Broken> for Reason {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Closed => Self::Closed,
            Broken::TimedOut => Self::TimedOut,
            // rustls reports a connection that ended without close_notify as an unexpected end.
            Broken::Io(why) if why.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            Broken::Io(why) => Self::Io(why.to_string()),
            Broken::Malformed(why) => Self::Malformed(why.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.step, self.server, self.reason)?;
        if let Some(challenge) = &self.challenge {
            write!(f, " ({challenge})")?;
        }
        if self.unknown {
            f.write_str("; the message was sent completely, whether it was taken is unknown")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => write!(f, "the server answered {reply}"),
            Self::Name(why) => write!(f, "cannot look up the name: {why}; check `server` and this machine's DNS"),
            Self::Io(why) => write!(f, "{why}; check that a firewall lets this machine out to that port"),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::TimedOut => f.write_str("no answer in time; check that a firewall lets this machine out to that port"),
            Self::Tls(why) => write!(f, "no trusted TLS connection: {why}"),
            Self::Malformed(why) => write!(f, "{why}; check that `server` is an SMTP server and `tls` fits its port"),
            Self::Unsupported(what) => write!(f, "the server does not offer {what}; check `server` and `tls`"),
            Self::Busy(limit) => {
                write!(f, "all {limit} connections are busy; raise limits.connections if the provider allows it")
            }
            Self::Local(why) => f.write_str(why),
            Self::Aborted => f.write_str("given up before the message was sent completely; nothing was delivered"),
        }
    }
}

impl std::error::Error for Failure {}
