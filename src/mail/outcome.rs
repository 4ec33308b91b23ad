//! What one attempt at the upstream meant.
//!
//! The classifier of `provider` makes it, `relay` acts on it. The difference that other programs miss: most failures say
//! nothing about the message, but something about the mailbox or the link; those cost no message its attempts.

/// The meaning of a reply or failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The provider took responsibility.
    Delivered,
    /// Only this message (or recipient), later.
    RetryMessage,
    /// Too many recipients in one envelope: the same message again with fewer.
    SplitRecipients,
    /// Slow this mailbox down; spends no attempt.
    RetryMailbox,
    /// The token was refused: renew once per token and log in again; a fresh one refused is a hold.
    Renew,
    /// Nothing will work until a person acts or a quota resets; messages wait.
    Hold(Hold),
    /// Final for this recipient: tell the sender.
    RefuseRecipient,
    /// Final for this message: tell the sender.
    RefuseMessage,
}

/// Whom a hold holds, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// The mailbox: its account, permission or grant needs a person.
    Mailbox,
    /// The mailbox, until the provider's quota resets (24 hours at most).
    Quota,
    /// Every mailbox of the link: its OAuth client needs a person.
    Link,
    /// This From through this mailbox: its messages wait, others flow.
    Sender,
}

impl Outcome {
    /// Whether a `5xx` with this outcome may reach the app as final. All else is trouble of ours, of the link or of a quota.
    pub fn is_final_refusal(self) -> bool {
        match self {
            Self::RefuseRecipient | Self::RefuseMessage | Self::Hold(Hold::Sender) => true,
            Self::Delivered
            | Self::RetryMessage
            | Self::SplitRecipients
            | Self::RetryMailbox
            | Self::Renew
            | Self::Hold(Hold::Mailbox | Hold::Quota | Hold::Link) => false,
        }
    }
}
