//! Silence at a named place: a command is read, or a message taken, and nothing is said until the fault is switched off. So a
//! test can end the relay, or cut it off, exactly there.

use super::{
    faults::Fault,
    session::{Session, Turn, verb},
};

/// What waits for its reply.
pub(super) enum Held {
    /// A command that is not yet worked off.
    Command { fault: Fault, line: Vec<u8> },
    /// A message that is taken.
    Message { id: String },
}

impl Session {
    /// Whether a fault silences this command. BDAT is silenced before its octets are read, as DATA is.
    pub(super) fn silences(&mut self, line: &[u8]) -> bool {
        let fault = match verb(line).as_slice() {
            b"MAIL" => Fault::SilentAtMail,
            b"DATA" | b"BDAT" => Fault::SilentAtData,
            _ => return false,
        };
        let silent = self.strikes(fault);
        if silent {
            self.held = Some(Held::Command { fault, line: line.to_vec() });
        }
        silent
    }

    /// Whether what is held is to be held on.
    pub(super) fn is_silent(&self) -> bool {
        let fault = match &self.held {
            Some(Held::Command { fault, .. }) => *fault,
            Some(Held::Message { .. }) => Fault::SilentAtEnd,
            None => return false,
        };
        self.shared.faults.is_on(fault, &self.shared.clock)
    }

    /// Goes on as if there had been no silence.
    pub(super) fn resume(&mut self, out: &mut Vec<u8>) -> Turn {
        match self.held.take() {
            Some(Held::Command { line, .. }) => self.obey(&line, out),
            Some(Held::Message { .. }) => {
                self.say(out, self.texts().accepted, &[]);
                Turn::Again
            }
            None => Turn::Again,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(Held::Message { id }) = &self.held {
            self.shared.mailroom.lose_reply(id);
        }
    }
}
