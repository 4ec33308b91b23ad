//! The octets of a message, from DATA or BDAT to the verdict.

use super::{Action, Closing, Message, Question, Session, State};
use crate::smtp::{
    Reply,
    server::text::{Text, too_large},
};

/// What is swallowed of a message that is too large, beyond twice its limit, before the session is given up.
const SWALLOWED_BEYOND: u64 = 1024 * 1024;

impl Message {
    /// One of at most `largest` octets.
    pub(super) fn new(largest: u64) -> Self {
        Self { text: Text::new(largest), taken: 0, is_discarded: false }
    }
}

impl Session {
    /// How many octets of one message are taken at all, refused ones and dots counted.
    pub(super) fn most_swallowed(&self) -> u64 {
        self.rules.message_size.saturating_mul(2).saturating_add(SWALLOWED_BEYOND)
    }

    /// The app sends on and on: say why, and end it.
    pub(super) fn flood(&mut self) {
        self.actions.push_back(Action::Reply(too_large(self.rules.message_size)));
        self.close(Closing::Flood);
    }

    /// Takes octets after DATA.
    pub(super) fn take_data(&mut self, input: &mut &[u8], body: &mut Vec<u8>) -> Option<()> {
        let before = input.len();
        if before == 0 {
            return None;
        }
        let message = self.transaction.as_mut()?.message.as_mut()?;
        let State::Data(data) = &mut self.state else { return None };
        let is_over = data.push(input, &mut message.text, body);
        message.taken += (before - input.len()) as u64;
        if self.is_flood() {
            body.clear();
            self.flood();
            return Some(());
        }
        if is_over {
            self.finish(body);
        } else {
            self.announce(body);
        }
        Some(())
    }

    /// Takes octets after BDAT.
    pub(super) fn take_chunk(&mut self, input: &mut &[u8], body: &mut Vec<u8>) -> Option<()> {
        let before = input.len();
        let State::Chunk(chunk) = &mut self.state else { return None };
        if before == 0 && !chunk.is_complete() {
            return None;
        }
        let is_wanted = chunk.refusal.is_none();
        let mut message = self.transaction.as_mut().and_then(|transaction| transaction.message.as_mut()).filter(|_| is_wanted);
        chunk.push(input, message.as_mut().map(|message| &mut message.text), body);
        if let Some(message) = message {
            message.taken += (before - input.len()) as u64;
        }
        if self.is_flood() {
            body.clear();
            self.flood();
        } else {
            self.end_chunk(body);
        }
        Some(())
    }

    fn is_flood(&self) -> bool {
        let message = self.transaction.as_ref().and_then(|transaction| transaction.message.as_ref());
        message.is_some_and(|message| message.taken > self.most_swallowed())
    }

    fn end_chunk(&mut self, body: &mut Vec<u8>) {
        let State::Chunk(chunk) = &mut self.state else { return };
        if !chunk.is_complete() {
            return self.announce(body);
        }
        let (refusal, octets, is_last) = (chunk.refusal.take(), chunk.octets, chunk.is_last);
        self.state = State::Command;
        match refusal {
            Some(reply) => self.error(reply),
            None if is_last => self.finish(body),
            None => {
                self.announce(body);
                let refusal = self.transaction.as_ref().and_then(|transaction| transaction.message.as_ref()?.text.refusal());
                let taken = || Reply::new(250, Some((0, 0)), format!("{octets} octets received"));
                self.actions.push_back(Action::Reply(refusal.unwrap_or_else(taken)));
            }
        }
    }

    /// Hands over what is in `body`, or says once that the message is refused.
    fn announce(&mut self, body: &mut Vec<u8>) {
        let Some(message) = self.transaction.as_mut().and_then(|transaction| transaction.message.as_mut()) else { return };
        if message.text.is_refused() {
            body.clear();
            if !std::mem::replace(&mut message.is_discarded, true) {
                self.actions.push_back(Action::Discard);
            }
        } else if !body.is_empty() {
            self.actions.push_back(Action::Body);
        }
    }

    /// The message is whole.
    fn finish(&mut self, body: &mut Vec<u8>) {
        if let Some(message) = self.transaction.as_mut().and_then(|transaction| transaction.message.as_mut()) {
            message.text.finish(body);
        }
        self.announce(body);
        let Some(transaction) = self.transaction.take() else { return };
        match transaction.message.and_then(|message| message.text.refusal()) {
            Some(reply) => {
                self.state = State::Command;
                self.actions.push_back(Action::Reply(reply));
            }
            None => {
                self.state = State::Asked(Question::Message);
                self.actions.push_back(Action::Message(transaction.envelope));
            }
        }
    }
}
