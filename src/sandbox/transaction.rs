//! From MAIL to the verdict on the message: envelope, DATA, BDAT (RFC 3030), and the faults that strike there.

use super::{
    faults::{Fault, Step},
    mailroom::{Draft, Envelope},
    random_text,
    receive::Dots,
    session::{Dialogue, Session, Turn, Way},
    silence::Held,
    usage::Over,
};
use bytes::{Buf, BytesMut};

/// What becomes of a chunk's octets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    /// Swallowed; the reply is this one (RFC 3030 §2: the octets come all the same).
    Refuse(Refusal),
}

/// Why a chunk is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownCommand,
    BadSequence,
    NoRecipients,
    /// By the fault `smtp-reply`.
    Spoken,
}

/// The message being put together.
#[derive(Default)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    recipients_asked: usize,
    /// Chunks so far; DATA is out once there is one.
    chunks: Option<Draft>,
}

impl Session {
    pub(super) fn mail(&mut self, rest: &str, out: &mut Vec<u8>) -> Turn {
        let texts = self.texts();
        let Some(login) = &self.login else {
            let text = if self.way == Way::Starttls && !self.secure { texts.tls_required } else { texts.authentication_required };
            return self.error(out, text, &[]);
        };
        let (user, token) = (login.user.clone(), login.token.clone());
        if self.transaction.is_some() {
            return self.error(out, texts.bad_sequence, &[]);
        }
        let Some((from, parameters)) = path(rest, "FROM:") else { return self.error(out, texts.syntax, &[]) };
        if self.strikes(Fault::Busy) {
            self.say(out, texts.busy, &[]);
            return Turn::Close;
        }
        let announced = parameters.iter().find_map(|p| p.to_ascii_uppercase().strip_prefix("SIZE=")?.parse::<u64>().ok());
        if announced.is_some_and(|size| size > self.shared.personality.size) {
            self.say(out, texts.too_large, &[]);
            return Turn::Again;
        }
        self.id = random_text(12);
        let envelope = Envelope {
            from,
            mail_parameters: parameters,
            token,
            user,
            helo: self.helo.clone().unwrap_or_default(),
            tls: self.secure,
            ..Envelope::default()
        };
        self.transaction = Some(Transaction { envelope, ..Transaction::default() });
        self.say(out, texts.sender_ok, &[]);
        Turn::Again
    }

    pub(super) fn rcpt(&mut self, rest: &str, out: &mut Vec<u8>) -> Turn {
        let texts = self.texts();
        let most = self.shared.personality.limits.recipients_per_message;
        let Some((to, parameters)) = path(rest, "TO:").filter(|(to, _)| !to.is_empty()) else {
            return self.error(out, texts.syntax, &[]);
        };
        let Some(transaction) = self.transaction.as_mut().filter(|t| t.chunks.is_none()) else {
            return self.error(out, texts.bad_sequence, &[]);
        };
        transaction.recipients_asked += 1;
        let (first, taken) = (transaction.recipients_asked == 1, transaction.envelope.to.len());
        let full = taken >= most;
        if (first || begins(&to, "refused")) && self.strikes(Fault::RecipientRefused) {
            self.say(out, texts.recipient_refused, &[("recipient", &to)]);
            return Turn::Again;
        }
        if begins(&to, "later") && self.strikes(Fault::RcptTemporary) {
            self.say(out, texts.recipient_deferred, &[("recipient", &to)]);
            return Turn::Again;
        }
        if self.shared.faults.strikes_beyond(Fault::TooManyRecipients, self.user(), &self.shared.clock, taken) {
            self.say(out, texts.too_many_recipients, &[]);
            return Turn::Again;
        }
        if full {
            self.shared.usage.too_many_recipients(self.user().unwrap_or_default());
        }
        // Even unenforced the number is bounded, far above any limit.
        if full && (self.shared.options.limits || transaction_is_huge(self.transaction.as_ref())) {
            self.say(out, texts.too_many_recipients, &[]);
            return Turn::Again;
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.envelope.to.push(to);
            transaction.envelope.recipient_parameters.push(parameters);
        }
        self.say(out, texts.recipient_ok, &[]);
        Turn::Again
    }

    pub(super) fn begin_data(&mut self, out: &mut Vec<u8>) -> Turn {
        let texts = self.texts();
        let Some(transaction) = self.transaction.as_ref().filter(|t| t.chunks.is_none()) else {
            return self.error(out, texts.bad_sequence, &[]);
        };
        if transaction.envelope.to.is_empty() {
            return self.error(out, texts.no_recipients, &[]);
        }
        self.say(out, texts.go_ahead, &[]);
        self.dialogue = Dialogue::Data(Dots::new(), Draft::new(&self.shared.mailroom));
        Turn::Again
    }

    pub(super) fn data(&mut self, buf: &mut BytesMut, out: &mut Vec<u8>) -> Turn {
        if !buf.is_empty() && self.strikes(Fault::DropInData) {
            return Turn::Drop;
        }
        let Dialogue::Data(dots, draft) = &mut self.dialogue else { return Turn::Again };
        let (read, ended) = dots.read(buf, |part| draft.push(part));
        buf.advance(read);
        if !ended {
            return Turn::Wait;
        }
        match std::mem::replace(&mut self.dialogue, Dialogue::Command) {
            Dialogue::Data(_, draft) => self.end_of_message(draft, "DATA", out),
            _ => Turn::Again,
        }
    }

    pub(super) fn begin_chunk(&mut self, rest: &str, out: &mut Vec<u8>) -> Turn {
        let mut words = rest.split_ascii_whitespace();
        let size = words.next().and_then(|word| word.parse::<u64>().ok());
        let last = words.next().map(|word| word.eq_ignore_ascii_case("LAST"));
        let (Some(left), None | Some(true)) = (size, last) else {
            // What follows cannot be told from commands.
            self.say(out, self.texts().syntax, &[]);
            return Turn::Close;
        };
        let refused = self.shared.options.chunking == Some(false) || self.strikes(Fault::BdatRefused);
        self.unsaid = self.spoken(Step::Data, self.user());
        let fate = match &self.transaction {
            _ if refused => Fate::Refuse(Refusal::UnknownCommand),
            _ if self.unsaid.is_some() => Fate::Refuse(Refusal::Spoken),
            None => Fate::Refuse(Refusal::BadSequence),
            Some(transaction) if transaction.envelope.to.is_empty() => Fate::Refuse(Refusal::NoRecipients),
            Some(_) => Fate::Keep,
        };
        self.dialogue = Dialogue::Chunk { left, last: last.is_some(), fate };
        Turn::Again
    }

    pub(super) fn chunk(&mut self, buf: &mut BytesMut, out: &mut Vec<u8>) -> Turn {
        if !buf.is_empty() && self.strikes(Fault::DropInData) {
            return Turn::Drop;
        }
        let Dialogue::Chunk { left, last, fate } = &mut self.dialogue else { return Turn::Again };
        let part = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
        if *fate == Fate::Keep
            && let Some(transaction) = &mut self.transaction
        {
            transaction.chunks.get_or_insert_with(|| Draft::new(&self.shared.mailroom)).push(&buf[..part]);
        }
        *left -= part as u64;
        buf.advance(part);
        if *left > 0 {
            return Turn::Wait;
        }
        let (last, fate) = (*last, *fate);
        self.dialogue = Dialogue::Command;
        let texts = self.texts();
        match fate {
            Fate::Refuse(Refusal::UnknownCommand) => return self.error(out, texts.unknown_command, &[("command", "BDAT")]),
            Fate::Refuse(Refusal::BadSequence) => return self.error(out, texts.bad_sequence, &[]),
            Fate::Refuse(Refusal::Spoken) => {
                let Some((reply, turn)) = self.unsaid.take() else { return Turn::Again };
                out.extend_from_slice(reply.as_bytes());
                return turn;
            }
            Fate::Refuse(Refusal::NoRecipients) => return self.error(out, texts.no_recipients, &[]),
            Fate::Keep if !last => self.say(out, texts.chunk_ok, &[]),
            Fate::Keep => {
                if let Some(draft) = self.transaction.as_mut().and_then(|t| t.chunks.take()) {
                    return self.end_of_message(draft, "BDAT", out);
                }
            }
        }
        Turn::Again
    }

    /// The verdict on a whole message.
    fn end_of_message(&mut self, draft: Draft, by: &'static str, out: &mut Vec<u8>) -> Turn {
        let Some(transaction) = self.transaction.take() else { return Turn::Again };
        let mut envelope = transaction.envelope;
        envelope.by = by;
        if let Some(turn) = self.speak(Step::End, out) {
            return turn;
        }
        if let Some(refusal) = self.refusal(&draft, &envelope) {
            self.say(out, refusal, &[("from", &envelope.from)]);
            return Turn::Again;
        }
        // Decided before the message can be seen, so that a test that sees it may switch the fault off.
        let (lost, silent) = (self.strikes(Fault::FinalReplyLost), self.strikes(Fault::SilentAtEnd));
        let received = self.shared.mailroom.take(draft, envelope, self.shared.clock.now());
        if lost {
            self.shared.mailroom.lose_reply(&received.message_id);
            return Turn::Drop;
        }
        if silent {
            self.held = Some(Held::Message { id: received.message_id });
            return Turn::Silent;
        }
        self.say(out, self.texts().accepted, &[]);
        Turn::Again
    }

    /// Why a whole message is refused.
    fn refusal(&self, draft: &Draft, envelope: &Envelope) -> Option<&'static str> {
        let (shared, texts) = (&self.shared, self.texts());
        let (limits, enforced) = (&shared.personality.limits, shared.options.limits);
        for (fault, text) in [
            (Fault::MailboxLogonFailure, texts.logon_failure),
            (Fault::SendAsDenied, texts.send_as_denied),
            (Fault::Quota, texts.quota),
        ] {
            if self.strikes(fault) {
                return Some(text);
            }
        }
        if draft.size() > shared.personality.size {
            return Some(texts.too_large);
        }
        if enforced && limits.message > 0 && draft.size() > limits.message {
            return Some(texts.too_large_after_all);
        }
        let recipients = envelope.to.len() as u64;
        match shared.usage.message(self.user().unwrap_or_default(), recipients, (limits, enforced), &shared.clock) {
            Some(Over::Day) if enforced => Some(texts.quota),
            Some(Over::Rate) if enforced => Some(texts.rate),
            _ => None,
        }
    }
}

fn begins(address: &str, word: &str) -> bool {
    address.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

fn transaction_is_huge(transaction: Option<&Transaction>) -> bool {
    transaction.is_some_and(|t| t.envelope.to.len() >= 10_000)
}

/// Reads `FROM:<path> PARAMETERS`, strictly: no space before `<`, brackets always.
fn path(text: &str, keyword: &str) -> Option<(String, Vec<String>)> {
    let head = text.get(..keyword.len())?;
    let rest = text[keyword.len()..].strip_prefix('<').filter(|_| head.eq_ignore_ascii_case(keyword))?;
    let mut quoted = false;
    let mut escaped = false;
    let end = rest.bytes().position(|b| {
        let ends = b == b'>' && !quoted;
        quoted ^= b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        ends
    })?;
    let parameters = &rest[end + 1..];
    if !parameters.is_empty() && !parameters.starts_with(' ') || rest[..end].bytes().any(|b| b.is_ascii_control()) {
        return None;
    }
    Some((rest[..end].to_owned(), parameters.split_ascii_whitespace().map(String::from).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_strictly() {
        let row = |text| path(text, "FROM:").map(|(path, parameters)| (path, parameters.join(" ")));
        let ok = |path: &str, parameters: &str| Some((path.to_owned(), parameters.to_owned()));
        assert_eq!(row("FROM:<a@b> SIZE=1 BODY=8BITMIME"), ok("a@b", "SIZE=1 BODY=8BITMIME"));
        assert_eq!(row("from:<>"), ok("", ""));
        assert_eq!(row("FROM:<\"a>b\"@c>"), ok("\"a>b\"@c", ""));
        for text in ["FROM: <a@b>", "FROM:a@b", "FROM:<a@b", "FROM:<a@b>SIZE=1", "TO:<a@b>", "", "FRÖM:<a@b>"] {
            assert_eq!(row(text), None, "{text}");
        }
    }
}
