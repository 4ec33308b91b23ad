//! Why there is no outcome: what was tried, on which server, what went wrong, and which advice there is about it.

use super::wire::Broken;
use crate::{
    config::Server,
    provider::{AdviceEntry, NetworkFault, advice_named},
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
    /// The host's name has no address; nothing where no name server answered.
    Name(Option<String>),
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
    /// The message cannot be sent as it has to be: the reply says so to whoever sent it. No server was asked.
    Unfit(Reply),
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

    /// The message itself is what fails, before the provider saw any of it.
    pub fn local(server: &Server, why: String) -> Self {
        Self::new(Step::Body, server, Reason::Local(why))
    }

    /// The message can never be sent as it has to be.
    pub fn unfit(server: &Server, reply: Reply) -> Self {
        Self::new(Step::Body, server, Reason::Unfit(reply))
    }

    /// What to do about it, as far as it can be known without the provider's tables; a reply is judged by those.
    pub fn advice(&self) -> Option<&'static AdviceEntry> {
        let by_text = |text: &str, otherwise: NetworkFault| NetworkFault::read(text).unwrap_or(otherwise);
        let fault = match &self.reason {
            Reason::Reply(_) | Reason::Busy(_) | Reason::Unfit(_) | Reason::Local(_) | Reason::Aborted => return None,
            Reason::Unsupported(STARTTLS) => NetworkFault::NoStartTls,
            Reason::Unsupported(_) => return advice_named("no-xoauth2"),
            Reason::Name(None) => NetworkFault::NameServerSilent,
            Reason::Name(Some(why)) => by_text(why, NetworkFault::NoSuchName),
            Reason::Tls(why) => by_text(why, NetworkFault::TlsFailed),
            Reason::TimedOut if self.step == Step::Connect => NetworkFault::ConnectTimedOut,
            Reason::TimedOut => NetworkFault::Silent,
            Reason::Closed => NetworkFault::Closed,
            Reason::Malformed(_) => NetworkFault::NotSmtp,
            Reason::Io(why) => return NetworkFault::read(why).map(NetworkFault::advice),
        };
        Some(fault.advice())
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
            Self::Name(None) => f.write_str("cannot look up the name: no answer in time"),
            Self::Name(Some(why)) => write!(f, "cannot look up the name: {why}"),
            Self::Io(why) => f.write_str(why),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Tls(why) => write!(f, "no trusted TLS connection: {why}"),
            Self::Malformed(why) => write!(f, "no SMTP: {why}"),
            Self::Unsupported(what) => write!(f, "the server does not offer {what}"),
            Self::Busy(limit) => {
                write!(f, "all {limit} connections are busy; raise limits.connections if the provider allows it")
            }
            Self::Unfit(reply) => write!(f, "not sent: {}", reply.text()),
            Self::Local(why) => f.write_str(why),
            Self::Aborted => f.write_str("given up before the message was sent completely; nothing was delivered"),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_dialogue_has_its_advice() {
        use Reason::*;
        let table = [
            (Step::Connect, Name(None), "dns-no-answer"),
            (
                Step::Connect,
                Name(Some("failed to lookup address information: Name or service not known".into())),
                "dns-no-such-name",
            ),
            (Step::Connect, Name(Some("Temporary failure in name resolution".into())), "dns-no-answer"),
            (Step::Connect, Name(Some("something new".into())), "dns-no-such-name"),
            (Step::Connect, Io("127.0.0.1:1: Connection refused (os error 111)".into()), "connection-refused"),
            (Step::Connect, Io("[2001:db8::1]:587: Network is unreachable (os error 101)".into()), "network-unreachable"),
            (Step::Connect, Io("something new".into()), ""),
            (Step::Connect, TimedOut, "connect-timed-out"),
            (Step::Connect, Busy(3), ""),
            (Step::Greeting, TimedOut, "server-silent"),
            (Step::Greeting, Closed, "connection-closed"),
            (Step::Greeting, Malformed("a line of the reply does not begin with a code".into()), "not-smtp"),
            (Step::Tls, Unsupported(STARTTLS), "tls-no-starttls"),
            (Step::Tls, Tls("invalid peer certificate: UnknownIssuer".into()), "tls-untrusted-issuer"),
            (Step::Tls, Tls("something new".into()), "tls-failed"),
            (Step::Auth, Unsupported("AUTH XOAUTH2 or OAUTHBEARER"), "no-xoauth2"),
            (Step::Body, Aborted, ""),
            (Step::Body, Unfit(crate::smtp::Reply::new(554, Some((6, 0)), "no")), ""),
            (Step::Body, Local("the spool cannot be read".into()), ""),
            (Step::Auth, Reply(crate::smtp::Reply::new(535, Some((7, 8)), "no")), ""),
        ];
        for (step, reason, expected) in table {
            let server = "smtp.example.com:587".into();
            let failure = Failure { step, reason, server, stale: false, unknown: false, challenge: None };
            assert_eq!(failure.advice().map_or("", |advice| advice.name), expected, "{failure}");
        }
    }
}
