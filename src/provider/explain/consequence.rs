//! What outlink does by itself when it meets a reply or an error, and the state that follows, in words for a person.

use crate::{
    mail::{Hold, Outcome, State},
    provider::OAuthOutcome,
};

/// What outlink does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consequence {
    /// A reply of the mail server, or a failure on the way to it.
    Mail(Outcome),
    /// An error of the token endpoint.
    Token(OAuthOutcome),
    /// An error in the browser's address after a login.
    Login,
    /// Something ends soon.
    Ending {
        /// It is the link's: a secret, a certificate; else a mailbox's refresh token.
        of_link: bool,
    },
}

impl Consequence {
    /// What follows from what outlink found on its own machine, by the name of its advice: no table of replies or errors has it.
    pub(super) fn of_own(name: &str) -> Option<Self> {
        match name {
            "no-grant-yet"
            | "grant-of-another-client"
            | "grant-not-opened"
            | "consent-needed"
            | "grant-lost"
            | "google-testing-consent" => Some(Self::Token(OAuthOutcome::NeedsConsent)),
            "client-at-provider" => Some(Self::Token(OAuthOutcome::NeedsAdministrator)),
            "link-refused" | "proof-unreadable" | "proxy-password-unreadable" => {
                Some(Self::Token(OAuthOutcome::NeedsConfiguration))
            }
            "tried-again-by-itself" | "token-dead-on-arrival" | "proof-too-slow" => Some(Self::Token(OAuthOutcome::Transient)),
            "client-secret-ends" | "certificate-ends" => Some(Self::Ending { of_link: true }),
            "refresh-token-ends" | "refresh-token-unused" => Some(Self::Ending { of_link: false }),
            _ => None,
        }
    }

    /// What outlink does, in a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::Mail(Outcome::Delivered) => "the message was taken; there is nothing to do",
            Self::Mail(Outcome::RetryMessage) => {
                "outlink tries this message again by the schedule of [queue] retry until expire-after, then its sender is told; \
                 other mail flows"
            }
            Self::Mail(Outcome::SplitRecipients) => "outlink sends the message again with fewer recipients at a time",
            Self::Mail(Outcome::RetryMailbox) => {
                "outlink leaves the mailbox alone for a moment and tries again, at growing intervals up to some minutes; no message \
                 spends an attempt, and none is bounced for it"
            }
            Self::Mail(Outcome::Renew) => {
                "outlink renews the token once and logs in again; if the new one is refused too, it holds the mailbox: its mail \
                 waits, and one login at growing intervals (1 min to 1 h) finds out whether it is mended"
            }
            Self::Mail(Outcome::Hold(Hold::Mailbox)) => {
                "outlink holds the mailbox: its mail waits without spending attempts or time, one probe at growing intervals (1 min \
                 to 1 h) finds out whether it is mended, then all goes out; apps with the contract direct hear 451"
            }
            Self::Mail(Outcome::Hold(Hold::Quota)) => {
                "outlink holds the mailbox until the limit resets: its mail waits without spending attempts or time, probes at \
                 growing intervals (1 min to 1 h) find out, then all goes out at the allowed rate"
            }
            Self::Mail(Outcome::Hold(Hold::Link)) => {
                "outlink holds every mailbox of the link: mail waits without spending attempts or time, and goes out when the link \
                 is mended"
            }
            Self::Mail(Outcome::Hold(Hold::Sender)) => {
                "outlink holds only the messages with this sender; the mailbox's other mail flows, and one message at growing \
                 intervals (1 min to 1 h) finds out whether it is mended; apps with the contract direct hear 550"
            }
            Self::Mail(Outcome::RefuseRecipient) => {
                "outlink tells the sender by one bounce that this recipient was refused; the others get the message; apps with the \
                 contract direct hear the refusal"
            }
            Self::Mail(Outcome::RefuseMessage) => {
                "outlink tells the sender by one bounce and keeps the message as failed (outlink queue); apps with the contract \
                 direct hear the refusal"
            }
            Self::Token(OAuthOutcome::Transient) => {
                "outlink asks for the token again at growing intervals; while the last one is valid, mail flows, then it waits"
            }
            Self::Token(OAuthOutcome::NeedsConsent) => {
                "outlink asks no more with this grant, but keeps it: mail waits without spending attempts or time, and goes out \
                 after a new consent"
            }
            Self::Token(OAuthOutcome::NeedsAdministrator) => {
                "outlink holds the mailbox: its mail waits without spending attempts or time, and the token is asked for again at \
                 growing intervals up to an hour, so that all goes out when it is mended"
            }
            Self::Token(OAuthOutcome::NeedsConfiguration) => {
                "outlink holds every mailbox of the link: mail waits without spending attempts or time; a changed secret is taken \
                 up at once, what is mended at the provider within an hour"
            }
            Self::Ending { .. } => {
                "mail flows until that day; the log warns when 60, 30, 7 and 1 days are left, and when it has passed"
            }
            Self::Login => "the login ends without a grant; a grant from before stays, and mail goes on with it",
        }
    }

    /// The state that follows; none where links and mailboxes stay as they are.
    pub fn state(self) -> Option<State> {
        match self {
            Self::Ending { .. } => Some(State::Expiring),
            Self::Mail(Outcome::RetryMailbox) | Self::Token(OAuthOutcome::Transient) => Some(State::Failing),
            Self::Mail(Outcome::Hold(Hold::Quota)) => Some(State::OverQuota),
            Self::Mail(Outcome::Renew | Outcome::Hold(Hold::Mailbox | Hold::Link))
            | Self::Token(OAuthOutcome::NeedsAdministrator | OAuthOutcome::NeedsConfiguration) => Some(State::NeedsRepair),
            Self::Token(OAuthOutcome::NeedsConsent) => Some(State::NeedsConsent),
            Self::Mail(
                Outcome::Delivered
                | Outcome::RetryMessage
                | Outcome::SplitRecipients
                | Outcome::Hold(Hold::Sender)
                | Outcome::RefuseRecipient
                | Outcome::RefuseMessage,
            )
            | Self::Login => None,
        }
    }

    /// Whose state it is, or what is concerned: `mailbox`, `link`, `sender`, `message`, `recipient`, `login`.
    pub fn subject(self) -> &'static str {
        match self {
            Self::Mail(Outcome::RetryMailbox | Outcome::Renew | Outcome::Hold(Hold::Mailbox | Hold::Quota))
            | Self::Token(OAuthOutcome::Transient | OAuthOutcome::NeedsConsent | OAuthOutcome::NeedsAdministrator) => "mailbox",
            Self::Ending { of_link: false } => "mailbox",
            Self::Mail(Outcome::Hold(Hold::Link))
            | Self::Token(OAuthOutcome::NeedsConfiguration)
            | Self::Ending { of_link: true } => "link",
            Self::Mail(Outcome::Hold(Hold::Sender)) => "sender",
            Self::Mail(Outcome::RefuseRecipient) => "recipient",
            Self::Mail(Outcome::Delivered | Outcome::RetryMessage | Outcome::SplitRecipients | Outcome::RefuseMessage) => {
                "message"
            }
            Self::Login => "login",
        }
    }
}
