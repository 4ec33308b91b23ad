//! What was changed about a message, by the words that trace, log and counters use.

use std::fmt;

/// One kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// A Date, where there was none.
    AddedDate,
    /// A Message-ID, where there was none.
    AddedMessageId,
    /// Bcc and Resent-Bcc are gone.
    RemovedBcc,
    /// A From, where there was none.
    AddedFrom,
    /// A MIME-Version, where only the fields that need it were.
    AddedMimeVersion,
    /// A display name with `@` stands in quotes.
    QuotedDisplayName,
    /// Octets above 127 in the header are encoded words (RFC 2047).
    EncodedHeader,
    /// Header lines above 998 octets are folded.
    FoldedHeader,
    /// A field that may stand once stood twice: the first counts.
    RemovedDuplicate,
    /// Several To, or Cc, are one.
    MergedRecipients,
    /// A line that separates messages in a file stood before the header.
    RemovedSeparator,
    /// The blank line between header and body, where there was none.
    AddedBlankLine,
    /// The body is quoted-printable, for lines above 998 octets (RFC 5322 §2.1.1).
    EncodedBody,
    /// Lines above 998 octets passed, where the body may not be changed, or a field cannot be folded.
    PassedLongLines,
    /// The header is longer than what is looked at; it passed as it was.
    PassedLongHeader,
    /// From is the mailbox's address.
    RewroteFrom,
    /// The envelope sender is the mailbox's address.
    RewroteSender,
    /// The former From is the Reply-To.
    AddedReplyTo,
    /// A Sender that is not the mailbox is gone.
    RemovedSender,
}

impl Change {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::AddedDate,
        Self::AddedMessageId,
        Self::RemovedBcc,
        Self::AddedFrom,
        Self::AddedMimeVersion,
        Self::QuotedDisplayName,
        Self::EncodedHeader,
        Self::FoldedHeader,
        Self::RemovedDuplicate,
        Self::MergedRecipients,
        Self::RemovedSeparator,
        Self::AddedBlankLine,
        Self::EncodedBody,
        Self::PassedLongLines,
        Self::PassedLongHeader,
        Self::RewroteFrom,
        Self::RewroteSender,
        Self::AddedReplyTo,
        Self::RemovedSender,
    ];

    /// The change of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|change| change.word() == word)
    }

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::AddedDate => "added-date",
            Self::AddedMessageId => "added-message-id",
            Self::RemovedBcc => "removed-bcc",
            Self::AddedFrom => "added-from",
            Self::AddedMimeVersion => "added-mime-version",
            Self::QuotedDisplayName => "quoted-display-name",
            Self::EncodedHeader => "encoded-header",
            Self::FoldedHeader => "folded-header",
            Self::RemovedDuplicate => "removed-duplicate",
            Self::MergedRecipients => "merged-recipients",
            Self::RemovedSeparator => "removed-separator",
            Self::AddedBlankLine => "added-blank-line",
            Self::EncodedBody => "encoded-body",
            Self::PassedLongLines => "passed-long-lines",
            Self::PassedLongHeader => "passed-long-header",
            Self::RewroteFrom => "rewrote-from",
            Self::RewroteSender => "rewrote-sender",
            Self::AddedReplyTo => "added-reply-to",
            Self::RemovedSender => "removed-sender",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// `added-from,quoted-display-name`, each once.
pub fn changes_in_words(changes: &[Change]) -> String {
    let mut sorted = changes.to_owned();
    sorted.sort();
    sorted.dedup();
    sorted.iter().map(|change| change.word()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_once_each_in_their_order() {
        assert_eq!(
            changes_in_words(&[Change::EncodedHeader, Change::AddedFrom, Change::EncodedHeader]),
            "added-from,encoded-header"
        );
        assert!(Change::ALL.into_iter().all(|change| Change::parse(change.word()) == Some(change)));
        let mut words: Vec<&str> = Change::ALL.iter().map(|change| change.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Change::ALL.len());
    }
}
