//! The command that a reply answers. The same code means different things after different commands, so the classifier asks.

/// Where in the dialogue with the upstream a reply came, or a failure happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Name lookup, TCP connect; no reply exists.
    Connect,
    /// The `220` greeting.
    Greeting,
    /// `EHLO`.
    Ehlo,
    /// `STARTTLS` and the handshake.
    Tls,
    /// `AUTH`, up to its final reply.
    Auth,
    /// `MAIL FROM`.
    Mail,
    /// `RCPT TO`.
    Rcpt,
    /// `DATA`, before the message.
    Data,
    /// After the message: the reply to the final dot or to `BDAT … LAST`.
    Body,
    /// `RSET`, `NOOP`, `QUIT`.
    Other,
}

impl Step {
    /// Whether a failure here belongs to the mailbox and says nothing about the message (design: before `MAIL`).
    pub fn is_before_mail(self) -> bool {
        matches!(self, Self::Connect | Self::Greeting | Self::Ehlo | Self::Tls | Self::Auth)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Ehlo => "EHLO",
            Self::Tls => "TLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Body => "end of message",
            Self::Other => "RSET",
        })
    }
}
