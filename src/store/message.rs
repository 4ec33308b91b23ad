//! A kept message as its rows say it: what it was accepted with, how it stands, what became of its recipients.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use crate::mail::{BodyType, Envelope, Id, InvalidParameter, Name, Ret, Xtext};

/// The row of a message; grows in the order of acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Number(pub(super) i64);

impl Number {
    /// As a plain number, for a page's end in another process's hands.
    pub fn to_i64(self) -> i64 {
        self.0
    }

    /// The row of this number; there need not be one.
    pub fn from_i64(number: i64) -> Self {
        Self(number)
    }
}

/// Who works on a message: whoever shows another one comes too late. Unique over all claims of all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim(pub(super) i64);

impl Claim {
    /// The `number`th claim of the process that drew `owner` by chance.
    pub fn new(owner: u32, number: u32) -> Self {
        // 31 bits of owner, so that claims sort by owner and stay positive.
        Self(i64::from(owner >> 1) << 32 | i64::from(number))
    }
}

/// How a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It goes out when it is due, and its mailbox may send.
    Waiting,
    /// It waits until what holds it is lifted.
    Held,
    /// Every recipient has it; its trace is kept for a while.
    Delivered,
    /// Not every recipient has it, and it is not tried again; kept for a while.
    Failed,
}

/// Why a message itself is held, whatever its mailbox does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeldBy {
    /// An operator said so.
    Operator,
    /// Its From may not be used by its mailbox.
    Sender,
    /// Its app is no longer configured.
    App,
    /// Its mailbox is no longer configured.
    Mailbox,
}

/// How one recipient stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecipientState {
    /// Not yet settled.
    Waiting,
    /// The provider took responsibility.
    Delivered,
    /// The provider refused it for good.
    Refused,
    /// Its time was over.
    Expired,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its place in the envelope as accepted, from 0.
    pub position: usize,
    /// How it stands now.
    pub state: RecipientState,
    /// The reply's code.
    pub code: Option<u16>,
    /// What was said, by whom.
    pub reply: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// One line of a message's story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// What happened, in one word of the log's events.
    pub event: String,
    /// In words.
    pub detail: String,
    /// How long it took.
    pub took: Option<Duration>,
}

/// A message to be kept.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its id, in its Received field too.
    pub id: Id,
    /// Who sent it.
    pub app: Name,
    /// Through which mailbox it goes.
    pub mailbox: Name,
    /// From where it came.
    pub client: String,
    /// From whom, to whom.
    pub envelope: Envelope,
    /// Whom a provider may deny: the address in From, else the sender.
    pub author: String,
    /// In a bounce, the message that it speaks of.
    pub bounce_of: Option<Id>,
    /// Its Message-ID.
    pub message_id: String,
    /// Its Subject.
    pub subject: Option<String>,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// When it may go out.
    pub due_at: SystemTime,
    /// When its time is over, on the mailbox's clock.
    pub expires_at: SystemTime,
    /// When its sender is warned, on the mailbox's clock.
    pub warn_at: Option<SystemTime>,
    /// Attempts already spent on it.
    pub attempts: u32,
    /// Who works on it from the beginning.
    pub claim: Option<(Claim, SystemTime)>,
    /// What holds it from the beginning: by whom, why, since when on the mailbox's clock.
    pub held: Option<(HeldBy, String, SystemTime)>,
    /// Whether no other mailbox may take it over: whom it is from is not known.
    pub stays: bool,
    /// Recipients settled already.
    pub settled: Vec<Report>,
    /// The beginning of its story.
    pub events: Vec<Event>,
}

/// A message that somebody works on.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its row.
    pub number: Number,
    /// Its id.
    pub id: Id,
    /// Who sent it.
    pub app: Name,
    /// Through which mailbox it goes.
    pub mailbox: Name,
    /// From where it came.
    pub client: String,
    /// From whom, and to whom it is still to go.
    pub envelope: Envelope,
    /// The place of each of those recipients in the envelope as accepted.
    pub positions: Vec<usize>,
    /// How many recipients are settled.
    pub settled: usize,
    /// Whom a provider may deny.
    pub author: String,
    /// In a bounce, the message that it speaks of.
    pub bounce_of: Option<Id>,
    /// Octets.
    pub size: u64,
    /// Its Message-ID.
    pub message_id: String,
    /// Its Subject.
    pub subject: Option<String>,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// Attempts spent on it.
    pub attempts: u32,
    /// When its time is over, on the mailbox's clock.
    pub expires_at: SystemTime,
    /// When its sender is warned, on the mailbox's clock.
    pub warn_at: Option<SystemTime>,
}

impl Message {
    /// The message as accepted just now, in its row.
    pub fn of(new: &NewMessage, number: Number, size: u64) -> Self {
        let is_settled = |position: usize| new.settled.iter().any(|report| report.position == position);
        let positions: Vec<usize> = (0..new.envelope.recipients.len()).filter(|position| !is_settled(*position)).collect();
        let recipients = positions.iter().map(|position| new.envelope.recipients[*position].clone()).collect();
        Self {
            number,
            id: new.id,
            app: new.app.clone(),
            mailbox: new.mailbox.clone(),
            client: new.client.clone(),
            envelope: Envelope { recipients, ..new.envelope.clone() },
            positions,
            settled: new.settled.len(),
            author: new.author.clone(),
            bounce_of: new.bounce_of,
            size,
            message_id: new.message_id.clone(),
            subject: new.subject.clone(),
            accepted_at: new.accepted_at,
            attempts: new.attempts,
            expires_at: new.expires_at,
            warn_at: new.warn_at,
        }
    }
}

/// The word for each state in listings and commands, and back.
macro_rules! words {
    ($type:ident, $what:literal, $($variant:ident = $word:literal),+) => {
        impl $type {
            #[doc = concat!("The word for ", $what, ".")]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            #[doc = concat!("What the word for ", $what, " means.")]
            pub fn named(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words!(State, "how a message stands", Waiting = "waiting", Held = "held", Delivered = "delivered", Failed = "failed");
words!(
    RecipientState,
    "how a recipient stands",
    Waiting = "waiting",
    Delivered = "delivered",
    Refused = "refused",
    Expired = "expired"
);
words!(HeldBy, "what holds a message", Operator = "operator", Sender = "sender", App = "app", Mailbox = "mailbox");

/// The numbers in the rows' `state` columns.
macro_rules! codes {
    ($type:ident, $($variant:ident = $number:literal),+) => {
        impl $type {
            pub(super) const fn code(self) -> i64 {
                match self { $(Self::$variant => $number),+ }
            }

            pub(super) fn read(code: i64) -> rusqlite::Result<Self> {
                match code {
                    $($number => Ok(Self::$variant),)+
                    _ => Err(rusqlite::Error::IntegralValueOutOfRange(0, code)),
                }
            }
        }
    };
}

codes!(State, Waiting = 0, Held = 1, Delivered = 2, Failed = 3);
codes!(RecipientState, Waiting = 0, Delivered = 1, Refused = 2, Expired = 3);

/// The envelope's parameters as `MAIL` writes them.
pub(super) fn parameters(envelope: &Envelope) -> String {
    let mut words = Vec::new();
    if envelope.body == BodyType::EightBitMime {
        words.push("BODY=8BITMIME".to_owned());
    }
    if envelope.smtputf8 {
        words.push("SMTPUTF8".to_owned());
    }
    match envelope.ret {
        Some(Ret::Full) => words.push("RET=FULL".to_owned()),
        Some(Ret::Hdrs) => words.push("RET=HDRS".to_owned()),
        None => {}
    }
    words.extend(envelope.envid.as_ref().map(|envid| format!("ENVID={}", envid.as_str())));
    words.join(" ")
}

/// Reads them back into an envelope.
pub(super) fn read_parameters(text: &str, envelope: &mut Envelope) -> Result<(), InvalidParameter> {
    for word in text.split_ascii_whitespace() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("BODY", "8BITMIME") => envelope.body = BodyType::EightBitMime,
            ("SMTPUTF8", "") => envelope.smtputf8 = true,
            ("RET", "FULL") => envelope.ret = Some(Ret::Full),
            ("RET", "HDRS") => envelope.ret = Some(Ret::Hdrs),
            ("ENVID", envid) => envelope.envid = Some(Xtext::parse(envid, envid.len())?),
            _ => return Err(InvalidParameter),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_they_are_written() {
        for text in ["", "BODY=8BITMIME", "SMTPUTF8 RET=HDRS", "BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=a+3Db"] {
            let mut envelope = Envelope::from(None);
            read_parameters(text, &mut envelope).unwrap();
            assert_eq!(parameters(&envelope), text);
        }
        assert!(read_parameters("BODY=BINARYMIME", &mut Envelope::from(None)).is_err());
    }

    #[test]
    fn claims_of_one_process_sort_together_and_are_never_negative() {
        let (low, high) = (Claim::new(u32::MAX, 0), Claim::new(u32::MAX, u32::MAX));
        assert!(low.0 >= 0 && high.0 > low.0 && Claim::new(u32::MAX - 2, u32::MAX).0 < low.0);
    }
}
