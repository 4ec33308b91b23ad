//! What an operator does with kept messages. Each verb changes only messages on which nobody works at the moment, in steps of bounded
//! size, and adds a line to the story of each.

use rusqlite::{Connection, named_params, params};
use std::time::{Duration, SystemTime};

use super::{
    Error, Store,
    accept::tell,
    message::{Event, HeldBy, Number, State},
    millis,
    moves::relocate,
    settle::{Left, drop_body, number_of},
};
use crate::mail::{Id, Name};

/// Messages changed in one transaction.
const STEP: usize = 1000;

/// What is done to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// It goes out at once; a failed one begins anew and has this long.
    Retry(Duration),
    /// It is held.
    Hold,
    /// What holds it is lifted.
    Release,
    /// It is given up, its body removed.
    Discard,
    /// It goes through another mailbox, on whose clock it is this much later.
    Move {
        /// Which.
        mailbox: Name,
        /// The other mailbox's clock less that of its own, in milliseconds.
        shift: i64,
    },
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was done.
    Yes,
    /// There is no such message.
    Unknown,
    /// It is on its way to the provider at this moment.
    UnderWay,
    /// It stands so that this makes no sense.
    NotNow(State),
}

/// Which messages are released together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Of this mailbox.
    pub mailbox: Name,
    /// Held by this.
    pub by: HeldBy,
    /// Of this From.
    pub author: Option<String>,
    /// Of this app.
    pub app: Option<Name>,
}

impl Store {
    /// Does `verb` to the message `id`; `clock` is what its mailbox's clock shows now.
    pub async fn operate(&self, id: Id, verb: Verb, now: SystemTime, clock: SystemTime) -> Result<Done, Error> {
        let work = move |connection: &Connection| operate(connection, id, &verb, (now, clock));
        let totals = self.0.totals.clone();
        let then = move |(_, left): &(Done, Option<Left>)| left.iter().for_each(|left| totals.remove(left.octets));
        let (done, left) = self.0.committer.run_then("change the message", work, then).await?;
        self.remove_file(id, left);
        Ok(done)
    }

    /// Lifts what holds these messages; how many those were. `clock` is what their mailbox's clock shows now.
    pub async fn release(&self, which: Released, now: SystemTime, clock: SystemTime) -> Result<usize, Error> {
        let mut all = 0;
        loop {
            let which = which.clone();
            let work = move |connection: &Connection| release(connection, &which, (now, clock));
            let count = self.0.committer.run("release held messages", work).await?;
            all += count;
            if count < STEP {
                return Ok(all);
            }
        }
    }

    /// Holds what waits in `mailbox`, of `app` or `author` where one is named; how many those were.
    pub async fn hold(&self, which: Released, reason: &'static str, clock: SystemTime) -> Result<usize, Error> {
        let mut all = 0;
        loop {
            let which = which.clone();
            let work = move |connection: &Connection| {
                let sql = "UPDATE messages SET state = 1, hold = :by, reason = :reason, held_since = :clock WHERE number IN (
                               SELECT number FROM messages WHERE mailbox = :mailbox AND state = 0 AND claim IS NULL
                                   AND (:author IS NULL OR author = :author) AND (:app IS NULL OR app = :app) LIMIT :most)";
                connection.prepare_cached(sql)?.execute(named_params! {
                    ":by": which.by.word(), ":reason": reason, ":clock": millis(clock), ":mailbox": which.mailbox.as_str(),
                    ":author": which.author, ":app": which.app.as_ref().map(Name::as_str), ":most": STEP
                })
            };
            let count = self.0.committer.run("hold messages", work).await?;
            all += count;
            if count < STEP {
                return Ok(all);
            }
        }
    }

    /// Holds one message that nobody works on, as its provider denied its sender before it was its turn.
    pub async fn hold_claimed(
        &self,
        (number, claim): (Number, super::Claim),
        by: HeldBy,
        reason: String,
        clock: SystemTime,
    ) -> Result<(), Error> {
        let work = move |connection: &Connection| {
            let sql = "UPDATE messages SET state = 1, hold = ?3, reason = ?4, held_since = ?5, claim = NULL, claimed_until = NULL
                       WHERE number = ?1 AND claim = ?2";
            connection.prepare_cached(sql)?.execute(params![number.0, claim.0, by.word(), reason, millis(clock)]).map(drop)
        };
        self.0.committer.run("hold the message", work).await
    }
}

fn operate(
    connection: &Connection,
    id: Id,
    verb: &Verb,
    (now, clock): (SystemTime, SystemTime),
) -> rusqlite::Result<(Done, Option<Left>)> {
    let Some((number, state)) = number_of(connection, id)? else { return Ok((Done::Unknown, None)) };
    let sql = "SELECT claim IS NOT NULL, EXISTS (SELECT 1 FROM bodies WHERE message = number) FROM messages WHERE number = ?1";
    let (claimed, has_body): (bool, bool) =
        connection.prepare_cached(sql)?.query_row([number.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if claimed {
        return Ok((Done::UnderWay, None));
    }
    let makes_sense = match verb {
        Verb::Retry(_) => has_body && matches!(state, State::Waiting | State::Failed),
        Verb::Hold => state == State::Waiting,
        Verb::Release => state == State::Held,
        Verb::Discard => has_body,
        Verb::Move { .. } => has_body && matches!(state, State::Waiting | State::Held | State::Failed),
    };
    if !makes_sense {
        return Ok((Done::NotNow(state), None));
    }
    let left = change(connection, (number, state), verb, (now, clock))?;
    Ok((Done::Yes, left))
}

fn change(
    connection: &Connection,
    (number, state): (Number, State),
    verb: &Verb,
    (now, clock): (SystemTime, SystemTime),
) -> rusqlite::Result<Option<Left>> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| connection.prepare_cached(sql)?.execute(values).map(drop);
    let story = |event: &str, detail: &str| {
        tell(connection, number, &Event { at: now, event: event.to_owned(), detail: detail.to_owned(), took: None })
    };
    let (now_ms, clock_ms) = (millis(now), millis(clock));
    match verb {
        Verb::Retry(life) if state == State::Failed => {
            run(
                "UPDATE messages SET state = 0, attempts = 0, reason = NULL, settled_at = NULL, due_at = ?2,
                     warn_at = warn_at + (?3 - expires_at), expires_at = ?3 WHERE number = ?1",
                params![number.0, now_ms, clock_ms.saturating_add(life.as_millis() as i64)],
            )?;
            run("UPDATE recipients SET state = 0 WHERE message = ?1 AND state IN (2, 3)", params![number.0])?;
            story("retried", "an operator lets it be tried again, from the beginning")?;
        }
        Verb::Retry(_) => {
            run("UPDATE messages SET due_at = ?2 WHERE number = ?1", params![number.0, now_ms])?;
            story("retried", "an operator lets it be tried at once")?;
        }
        Verb::Hold => {
            run(
                "UPDATE messages SET state = 1, hold = 'operator', held_since = ?2, reason = 'held by an operator' WHERE number = ?1",
                params![number.0, clock_ms],
            )?;
            story("held", "an operator holds it")?;
        }
        Verb::Release => {
            lift(connection, number, (now_ms, clock_ms))?;
            story("released", "an operator released it")?;
        }
        Verb::Discard => {
            run(
                "UPDATE messages SET state = 3, hold = NULL, settled_at = ?2, reason = 'discarded by an operator' WHERE number = ?1",
                params![number.0, now_ms],
            )?;
            story("discarded", "an operator discarded it; its body was removed")?;
            return drop_body(connection, number);
        }
        Verb::Move { mailbox, shift } => {
            relocate(connection, (number, mailbox, *shift), (now_ms, clock_ms))?;
            story("moved", &format!("an operator moved it to mailbox {mailbox}"))?;
        }
    }
    Ok(None)
}

/// A held message waits again, and the time in which it was held does not count.
const LIFT: &str = "UPDATE messages SET state = 0, hold = NULL, reason = NULL, due_at = :now,
    expires_at = expires_at + (:clock - held_since), warn_at = warn_at + (:clock - held_since), held_since = NULL";

pub(super) fn lift(connection: &Connection, number: Number, (now, clock): (i64, i64)) -> rusqlite::Result<()> {
    let sql = format!("{LIFT} WHERE number = :number AND state = 1");
    connection.prepare_cached(&sql)?.execute(named_params! { ":now": now, ":clock": clock, ":number": number.0 }).map(drop)
}

fn release(connection: &Connection, which: &Released, (now, clock): (SystemTime, SystemTime)) -> rusqlite::Result<usize> {
    let sql = format!(
        "{LIFT} WHERE number IN (
             SELECT number FROM messages WHERE mailbox = :mailbox AND state = 1 AND hold = :by AND claim IS NULL
                 AND (:author IS NULL OR author = :author) AND (:app IS NULL OR app = :app) LIMIT :most)"
    );
    connection.prepare_cached(&sql)?.execute(named_params! {
        ":now": millis(now), ":clock": millis(clock), ":mailbox": which.mailbox.as_str(), ":by": which.by.word(),
        ":author": which.author, ":app": which.app.as_ref().map(Name::as_str), ":most": STEP
    })
}
