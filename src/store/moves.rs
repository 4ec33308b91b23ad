//! Messages that go through another mailbox than the one which they waited for.

use rusqlite::{Connection, named_params, params};
use std::time::SystemTime;

use super::{
    Error, Store,
    accept::tell,
    claims::damaged,
    id_of,
    message::{Event, Number},
    millis,
    operate::lift,
};
use crate::mail::{Address, Id, Name};

/// A message that another mailbox may take: nobody works on it, and no attempt on it ended without a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movable {
    /// Its row.
    pub number: Number,
    /// Its id.
    pub id: Id,
    /// The envelope sender.
    pub sender: Option<Address>,
    /// The one address in From.
    pub author: Address,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Its row.
    pub number: Number,
    /// Through this mailbox.
    pub to: Name,
    /// How much later it is on that one's clock, in milliseconds.
    pub shift: i64,
    /// Why, for its story.
    pub why: String,
}

impl Store {
    /// Messages of `app` that wait for `mailbox`, or are held there for their sender's sake, and may go through another one: those
    /// accepted after `after`, at most so many, in the order of acceptance.
    pub async fn movable(&self, mailbox: &Name, app: &Name, after: Number, most: usize) -> Result<Vec<Movable>, Error> {
        let (mailbox, app) = (mailbox.clone(), app.clone());
        let work = move |connection: &Connection| {
            let sql = "SELECT number, id, sender, author FROM messages WHERE mailbox = :mailbox AND app = :app AND claim IS NULL
                           AND stays = 0 AND (state = 0 OR state = 1 AND hold = 'sender') AND number > :after
                       ORDER BY number LIMIT :most";
            let mut statement = connection.prepare_cached(sql)?;
            let values = named_params! {
                ":mailbox": mailbox.as_str(), ":app": app.as_str(), ":after": after.0, ":most": most
            };
            let all = statement.query_map(values, |row| {
                let sender: Option<String> = row.get(2)?;
                let sender = sender.map(|sender| Address::parse(&sender).map_err(damaged)).transpose()?;
                let author = Address::parse(&row.get::<_, String>(3)?).map_err(damaged)?;
                Ok(Movable { number: Number(row.get(0)?), id: id_of(row.get(1)?), sender, author })
            })?;
            all.collect()
        };
        self.0.reader.read("look for messages that may move", work).await
    }

    /// Moves messages out of `from`, whose clock shows `clock` now; those that moved. Who was claimed or changed meanwhile stays.
    pub async fn move_all(
        &self,
        from: &Name,
        moves: Vec<Move>,
        (now, clock): (SystemTime, SystemTime),
    ) -> Result<Vec<Number>, Error> {
        let from = from.clone();
        let work = move |connection: &Connection| {
            let mut moved = Vec::new();
            for it in &moves {
                if may_move(connection, it.number, &from)? {
                    relocate(connection, (it.number, &it.to, it.shift), (millis(now), millis(clock)))?;
                    let event = Event { at: now, event: "moved".to_owned(), detail: it.why.clone(), took: None };
                    tell(connection, it.number, &event)?;
                    moved.push(it.number);
                }
            }
            Ok(moved)
        };
        self.0.committer.run("move messages", work).await
    }
}

fn may_move(connection: &Connection, number: Number, from: &Name) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM messages WHERE number = ?1 AND mailbox = ?2 AND claim IS NULL AND stays = 0
                   AND (state = 0 OR state = 1 AND hold = 'sender'))";
    connection.prepare_cached(sql)?.query_row(params![number.0, from.as_str()], |row| row.get(0))
}

/// Gives a message another mailbox; it waits again and is due at once.
pub(super) fn relocate(
    connection: &Connection,
    (number, to, shift): (Number, &Name, i64),
    (now, clock): (i64, i64),
) -> rusqlite::Result<()> {
    lift(connection, number, (now, clock))?;
    let sql = "UPDATE messages SET mailbox = ?2, expires_at = expires_at + ?3, warn_at = warn_at + ?3, due_at = min(due_at, ?4)
               WHERE number = ?1";
    connection.prepare_cached(sql)?.execute(params![number.0, to.as_str(), shift, now]).map(drop)
}
