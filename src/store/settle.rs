//! What became of an attempt, in one commit: recipients, the message's next state, its story, and the bounce if there is one.
//!
//! Compare-and-swap: who lost the claim meanwhile changes nothing.

use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

use super::{
    Error, Kept, Store,
    accept::{insert, note, tell},
    id_octets,
    message::{Claim, Event, HeldBy, NewMessage, Number, Report, State},
    millis,
};
use crate::mail::Id;

/// What an attempt comes to.
#[derive(Debug)]
pub struct Settlement {
    /// The message.
    pub number: Number,
    /// Its id.
    pub id: Id,
    /// The claim under which it was worked on.
    pub claim: Claim,
    /// The recipients that changed.
    pub reports: Vec<Report>,
    /// How the message stands now.
    pub next: Next,
    /// Whether the provider may have it although nobody says so: then no other mailbox takes it over.
    pub unsure: bool,
    /// For its story.
    pub event: Event,
    /// Messages about it, with their bodies: a bounce, a warning, a confirmation.
    pub notices: Vec<(NewMessage, Kept)>,
}

/// How a message stands after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It waits until it is due.
    Waits {
        /// When.
        due_at: SystemTime,
        /// Attempts spent on it so far.
        attempts: u32,
        /// Why it waits.
        reason: String,
        /// When its sender is to be warned, on the mailbox's clock.
        warn_at: Option<SystemTime>,
    },
    /// It is held.
    Held {
        /// By whom.
        by: HeldBy,
        /// Why.
        reason: String,
        /// Since when, on the mailbox's clock.
        since: SystemTime,
        /// Attempts spent on it so far; a probe counts, so that the next one tries another message.
        attempts: u32,
    },
    /// Every recipient has it.
    Delivered,
    /// It is not tried again, and not every recipient has it.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Whether a settlement counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is durable.
    Done,
    /// Somebody else has the message now, or an operator removed it.
    TooLate,
}

impl Store {
    /// Settles an attempt; durable when it returns. May be asked again after an error.
    pub async fn settle(&self, settlement: Settlement) -> Result<Settled, Error> {
        let id = settlement.id;
        let notices: u64 = settlement.notices.iter().map(|(_, body)| body.len()).sum();
        let (work, totals) = (move |connection: &Connection| settle(connection, &settlement), self.0.totals.clone());
        let then = move |(settled, left): &(Settled, Option<Left>)| {
            if *settled == Settled::Done {
                totals.add(notices);
            }
            left.iter().for_each(|left| totals.remove(left.octets));
        };
        let (settled, left) = self.0.committer.run_then("settle the message", work, then).await?;
        self.remove_file(id, left);
        Ok(settled)
    }

    /// Removes the file of a body whose row is gone. Where nobody waited for the row's end, the next start does.
    pub(super) fn remove_file(&self, id: Id, left: Option<Left>) {
        if left.is_some_and(|left| left.in_file) {
            self.0.bodies.remove(id);
        }
    }
}

/// A body whose row is gone.
pub(super) struct Left {
    pub(super) octets: u64,
    pub(super) in_file: bool,
}

fn settle(connection: &Connection, settlement: &Settlement) -> rusqlite::Result<(Settled, Option<Left>)> {
    let Settlement { number, claim, reports, next, unsure, event, notices, .. } = settlement;
    let at = millis(event.at);
    if !advance(connection, *number, *claim, next, at)? {
        return Ok((Settled::TooLate, None));
    }
    if *unsure {
        connection.prepare_cached("UPDATE messages SET stays = 1 WHERE number = ?1")?.execute([number.0])?;
    }
    for report in reports {
        note(connection, *number, report, at)?;
    }
    tell(connection, *number, event)?;
    for (notice, body) in notices {
        insert(connection, notice, body)?;
    }
    let left = if *next == Next::Delivered { drop_body(connection, *number)? } else { None };
    crate::crash::point("settling");
    Ok((Settled::Done, left))
}

/// Changes the message's row, if the claim still holds.
fn advance(connection: &Connection, number: Number, claim: Claim, next: &Next, at: i64) -> rusqlite::Result<bool> {
    const FREE: &str = "claim = NULL, claimed_until = NULL WHERE number = ?1 AND claim = ?2";
    let changed = match next {
        Next::Waits { due_at, attempts, reason, warn_at } => {
            let sql = format!("UPDATE messages SET due_at = ?3, attempts = ?4, reason = ?5, warn_at = ?6, {FREE}");
            let values = params![number.0, claim.0, millis(*due_at), attempts, reason, warn_at.map(millis)];
            connection.prepare_cached(&sql)?.execute(values)?
        }
        Next::Held { by, reason, since, attempts } => {
            let sql = format!(
                "UPDATE messages SET state = 1, hold = ?3, reason = ?4, attempts = ?6,
                     held_since = CASE WHEN state = 1 THEN held_since ELSE ?5 END, {FREE}"
            );
            let values = params![number.0, claim.0, by.word(), reason, millis(*since), attempts];
            connection.prepare_cached(&sql)?.execute(values)?
        }
        Next::Delivered => {
            let sql = format!(
                "UPDATE messages SET state = 2, hold = NULL, attempts = attempts + 1, reason = NULL, settled_at = ?3, {FREE}"
            );
            connection.prepare_cached(&sql)?.execute(params![number.0, claim.0, at])?
        }
        Next::Failed { reason } => {
            let sql = format!(
                "UPDATE messages SET state = 3, hold = NULL, attempts = attempts + 1, reason = ?4, settled_at = ?3, {FREE}"
            );
            connection.prepare_cached(&sql)?.execute(params![number.0, claim.0, at, reason])?
        }
    };
    Ok(changed > 0)
}

/// Removes a body's row; its file is removed when the commit stands.
pub(super) fn drop_body(connection: &Connection, number: Number) -> rusqlite::Result<Option<Left>> {
    let sql = "DELETE FROM bodies WHERE message = ?1
               RETURNING octets IS NULL, (SELECT size FROM messages WHERE messages.number = bodies.message)";
    connection
        .prepare_cached(sql)?
        .query_row([number.0], |row| Ok(Left { in_file: row.get(0)?, octets: row.get::<_, i64>(1)?.cast_unsigned() }))
        .optional()
}

/// Marks what an operator or upkeep gives up as failed.
pub(super) fn fail(connection: &Connection, number: Number, reason: &str, at: SystemTime) -> rusqlite::Result<()> {
    let sql = "UPDATE messages SET state = 3, hold = NULL, reason = ?2, settled_at = ?3, claim = NULL, claimed_until = NULL
               WHERE number = ?1";
    connection.prepare_cached(sql)?.execute(params![number.0, reason, millis(at)])?;
    tell(connection, number, &Event { at, event: "failed".to_owned(), detail: reason.to_owned(), took: None })
}

/// The row of the message with this id.
pub(super) fn number_of(connection: &Connection, id: Id) -> rusqlite::Result<Option<(Number, State)>> {
    connection
        .prepare_cached("SELECT number, state FROM messages WHERE id = ?1")?
        .query_row([id_octets(id)], |row| Ok((Number(row.get(0)?), State::read(row.get(1)?)?)))
        .optional()
}
