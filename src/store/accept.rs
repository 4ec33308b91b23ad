//! Takes messages in: the row, its recipients and its body in one commit.

use rusqlite::{Connection, named_params, params};

use super::{
    Error, Kept, Store, id_octets,
    message::{Event, NewMessage, Number, Report, State, parameters},
    millis,
};

/// The proof that a message is kept durably: made here alone, after the commit.
#[derive(Debug)]
pub struct Stored {
    number: Number,
}

impl Stored {
    /// Its row.
    pub fn number(&self) -> Number {
        self.number
    }
}

impl Store {
    /// Keeps a message whose body is kept already; durable when it returns. Nothing is kept where nobody waits for the answer any
    /// more when its turn comes.
    pub async fn accept(&self, message: NewMessage, body: Kept) -> Result<Stored, Error> {
        let (size, id) = (body.len(), message.id);
        let (work, totals) = (move |connection: &Connection| insert(connection, &message, &body), self.0.totals.clone());
        match self.0.committer.run_while_awaited("keep the message", work, move |_| totals.add(size)).await {
            Ok(number) => Ok(Stored { number }),
            Err(error) => {
                tracing::debug!(%id, %error, "a message was not kept");
                Err(error)
            }
        }
    }
}

/// Inserts the rows of a message.
pub(super) fn insert(connection: &Connection, message: &NewMessage, body: &Kept) -> rusqlite::Result<Number> {
    let is_settled = message.settled.len() == message.envelope.recipients.len();
    debug_assert!(!is_settled, "a message without waiting recipients is not kept");
    let state = if message.held.is_some() { State::Held } else { State::Waiting };
    let sql = "INSERT INTO messages (id, app, mailbox, client, sender, author, parameters, bounce_of, size, message_id, subject,
                   accepted_at, state, hold, held_since, attempts, due_at, expires_at, warn_at, claim, claimed_until, reason,
                   stays)
               VALUES (:id, :app, :mailbox, :client, :sender, :author, :parameters, :bounce_of, :size, :message_id, :subject,
                   :accepted_at, :state, :hold, :held_since, :attempts, :due_at, :expires_at, :warn_at, :claim, :claimed_until,
                   :reason, :stays)";
    let (claim, until) = message.claim.map_or((None, None), |(claim, until)| (Some(claim.0), Some(millis(until))));
    let held = message.held.as_ref();
    connection.prepare_cached(sql)?.execute(named_params! {
        ":id": id_octets(message.id),
        ":app": message.app.as_str(),
        ":mailbox": message.mailbox.as_str(),
        ":client": message.client,
        ":sender": message.envelope.sender.as_ref().map(|sender| sender.as_str()),
        ":author": message.author,
        ":parameters": parameters(&message.envelope),
        ":bounce_of": message.bounce_of.map(id_octets),
        ":size": body.len().cast_signed(),
        ":message_id": message.message_id,
        ":subject": message.subject,
        ":accepted_at": millis(message.accepted_at),
        ":state": state.code(),
        ":hold": held.map(|(by, ..)| by.word()),
        ":held_since": held.map(|(.., since)| millis(*since)),
        ":attempts": message.attempts,
        ":due_at": millis(message.due_at),
        ":expires_at": millis(message.expires_at),
        ":warn_at": message.warn_at.map(millis),
        ":claim": claim,
        ":claimed_until": until,
        ":stays": message.stays,
        ":reason": held.map(|(_, reason, _)| reason),
    })?;
    let number = Number(connection.last_insert_rowid());
    insert_recipients(connection, number, message)?;
    connection
        .prepare_cached("INSERT INTO bodies (message, octets) VALUES (?1, ?2)")?
        .execute(params![number.0, body.inline()])?;
    for event in &message.events {
        tell(connection, number, event)?;
    }
    crate::crash::point("uncommitted");
    Ok(number)
}

fn insert_recipients(connection: &Connection, number: Number, message: &NewMessage) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO recipients (message, position, address, notify, orcpt, state) VALUES (?1, ?2, ?3, ?4, ?5, 0)",
    )?;
    for (position, recipient) in message.envelope.recipients.iter().enumerate() {
        let notify = recipient.notify.map(|notify| notify.to_string());
        let orcpt = recipient.orcpt.as_ref().map(|orcpt| orcpt.as_str());
        insert.execute(params![number.0, position, recipient.address.as_str(), notify, orcpt])?;
    }
    message.settled.iter().try_for_each(|report| note(connection, number, report, millis(message.accepted_at)))
}

/// Writes what became of a recipient.
pub(super) fn note(connection: &Connection, number: Number, report: &Report, at: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE recipients SET state = ?3, code = ?4, reply = ?5, advice = ?6, changed_at = ?7
               WHERE message = ?1 AND position = ?2 AND state = 0";
    let Report { position, state, code, reply, advice } = report;
    connection.prepare_cached(sql)?.execute(params![number.0, position, state.code(), code, reply, advice, at]).map(drop)
}

/// Adds a line to a message's story.
pub(super) fn tell(connection: &Connection, number: Number, event: &Event) -> rusqlite::Result<()> {
    let took = event.took.map(|took| took.as_millis() as i64);
    connection
        .prepare_cached("INSERT INTO attempts (message, at, event, detail, ms) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![number.0, millis(event.at), event.event, event.detail, took])
        .map(drop)
}
