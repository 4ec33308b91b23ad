//! Who works on which message: a claim is a lease with an end, and nothing is settled without it.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::time::SystemTime;

use super::{
    Error, Store, id_of,
    message::{Claim, Message, Number, read_parameters},
    millis, optional_id, time,
};
use crate::mail::{Address, Envelope, Name, Notify, Recipient, Xtext};

/// Which messages are wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Through this mailbox.
    pub mailbox: Name,
    /// Of this app.
    pub app: Name,
    /// Only those of this From; for probing a sender that was denied.
    pub author: Option<String>,
    /// At most so many.
    pub most: usize,
}

/// An app that has mail waiting in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The app.
    pub app: Name,
    /// When its next message may go out.
    pub at: SystemTime,
}

impl Store {
    /// Claims messages that are due, the longest due first, until `until`.
    pub async fn claim(&self, wanted: Wanted, claim: Claim, now: SystemTime, until: SystemTime) -> Result<Vec<Message>, Error> {
        let work = move |connection: &Connection| take(connection, &wanted, claim, (now, until));
        self.0.committer.run("claim messages", work).await
    }

    /// Claims one held message of a sender, the oldest that was not tried last.
    pub async fn claim_held(
        &self,
        mailbox: &Name,
        author: &str,
        (claim, until): (Claim, SystemTime),
    ) -> Result<Option<Message>, Error> {
        let (mailbox, author) = (mailbox.clone(), author.to_owned());
        let work = move |connection: &Connection| {
            let sql = "UPDATE messages SET claim = :claim, claimed_until = :until WHERE number = (
                           SELECT number FROM messages WHERE mailbox = :mailbox AND author = :author AND state = 1
                               AND hold = 'sender' AND claim IS NULL ORDER BY attempts, number LIMIT 1)
                       RETURNING *";
            let values = named_params! {
                ":claim": claim.0, ":until": millis(until), ":mailbox": mailbox.as_str(), ":author": author
            };
            let mut found = read(connection, sql, values)?;
            Ok(found.pop())
        };
        self.0.committer.run("claim a held message", work).await
    }

    /// Gives back what was claimed and not worked on.
    pub async fn unclaim(&self, claims: Vec<(Number, Claim)>) -> Result<(), Error> {
        let work = move |connection: &Connection| {
            let sql = "UPDATE messages SET claim = NULL, claimed_until = NULL WHERE number = ?1 AND claim = ?2";
            let mut update = connection.prepare_cached(sql)?;
            claims.iter().try_for_each(|(number, claim)| update.execute(params![number.0, claim.0]).map(drop))
        };
        self.0.committer.run("give messages back", work).await
    }

    /// Gives back what may have been sent, so that no other mailbox takes it.
    pub async fn unclaim_unsure(&self, (number, claim): (Number, Claim)) -> Result<(), Error> {
        let work = move |connection: &Connection| {
            let sql = "UPDATE messages SET claim = NULL, claimed_until = NULL, stays = 1 WHERE number = ?1 AND claim = ?2";
            connection.prepare_cached(sql)?.execute(params![number.0, claim.0]).map(drop)
        };
        self.0.committer.run("give the message back", work).await
    }

    /// Gives back all messages that were claimed under `claim`, whichever they are.
    pub async fn unclaim_all(&self, claim: Claim) -> Result<usize, Error> {
        let sql = "UPDATE messages SET claim = NULL, claimed_until = NULL WHERE claim = ?1";
        let work = move |connection: &Connection| connection.prepare_cached(sql)?.execute([claim.0]);
        self.0.committer.run("give messages back", work).await
    }

    /// Makes the claims of `owner` last until `until`, and gives back those of others whose time is over, which stay with their mailbox:
    /// they may have been sent. How many those were.
    pub async fn renew_claims(&self, owner: u32, now: SystemTime, until: SystemTime) -> Result<usize, Error> {
        let (first, last) = (Claim::new(owner, 0).0, Claim::new(owner, u32::MAX).0);
        let work = move |connection: &Connection| {
            let sql = "UPDATE messages SET claimed_until = ?3 WHERE claim BETWEEN ?1 AND ?2";
            connection.prepare_cached(sql)?.execute(params![first, last, millis(until)])?;
            let sql = "UPDATE messages SET claim = NULL, claimed_until = NULL, stays = 1
                       WHERE claim IS NOT NULL AND claim NOT BETWEEN ?1 AND ?2 AND claimed_until < ?3";
            connection.prepare_cached(sql)?.execute(params![first, last, millis(now)])
        };
        self.0.committer.run("renew claims", work).await
    }

    /// The apps that have mail waiting in `mailbox`, each with when its next message is due.
    pub async fn due(&self, mailbox: &Name) -> Result<Vec<Due>, Error> {
        let mailbox = mailbox.clone();
        self.0.reader.read("look for waiting messages", move |connection| due(connection, &mailbox)).await
    }

    /// The senders in `mailbox` whose messages are held because it may not send as them.
    pub async fn held_senders(&self, mailbox: &Name) -> Result<Vec<String>, Error> {
        let mailbox = mailbox.clone();
        self.0.reader.read("look for held messages", move |connection| held_senders(connection, &mailbox)).await
    }

    /// The mailboxes through which mail waits or is held.
    pub async fn mailboxes_with_mail(&self) -> Result<Vec<Name>, Error> {
        self.0.reader.read("look for waiting messages", |connection| names(connection, NEXT_MAILBOX)).await
    }

    /// The apps whose mail waits or is held.
    pub async fn apps_with_mail(&self) -> Result<Vec<Name>, Error> {
        self.0
            .reader
            .read("look for waiting messages", |connection| {
                let mut statement = connection.prepare_cached("SELECT DISTINCT app FROM messages WHERE state IN (0, 1)")?;
                let all = statement.query_map([], |row| name(row.get(0)?))?;
                all.collect()
            })
            .await
    }
}

/// Steps from one mailbox to the next along the index.
const NEXT_MAILBOX: &str = "SELECT min(mailbox) FROM (
        SELECT min(mailbox) AS mailbox FROM messages WHERE state = 0 AND claim IS NULL AND mailbox > ?1
        UNION ALL SELECT min(mailbox) FROM messages WHERE state = 1 AND mailbox > ?1
        UNION ALL SELECT min(mailbox) FROM messages WHERE claim IS NOT NULL AND mailbox > ?1)";

fn names(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<Name>> {
    let mut statement = connection.prepare_cached(sql)?;
    let (mut names, mut last) = (Vec::new(), String::new());
    while let Some(next) = statement.query_row([&last], |row| row.get::<_, Option<String>>(0))? {
        names.push(name(next.clone())?);
        last = next;
    }
    Ok(names)
}

fn due(connection: &Connection, mailbox: &Name) -> rusqlite::Result<Vec<Due>> {
    let sql = "SELECT app, due_at FROM messages WHERE mailbox = ?1 AND app > ?2 AND state = 0 AND claim IS NULL
               ORDER BY app, due_at LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut all, mut last) = (Vec::new(), String::new());
    loop {
        let mut rows = statement.query(params![mailbox.as_str(), last])?;
        let Some(row) = rows.next()? else { return Ok(all) };
        last = row.get(0)?;
        all.push(Due { app: name(last.clone())?, at: time(row.get(1)?) });
    }
}

/// Steps from one sender to the next along the index.
fn held_senders(connection: &Connection, mailbox: &Name) -> rusqlite::Result<Vec<String>> {
    const HELD: &str = "SELECT author FROM messages WHERE mailbox = ?1 AND state = 1 AND hold = 'sender'";
    let first = format!("{HELD} ORDER BY author LIMIT 1");
    let mut next = connection.prepare_cached(&format!("{HELD} AND author > ?2 ORDER BY author LIMIT 1"))?;
    let mut all = Vec::new();
    let mut found: Option<String> =
        connection.prepare_cached(&first)?.query_row([mailbox.as_str()], |row| row.get(0)).optional()?;
    while let Some(author) = found {
        found = next.query_row([mailbox.as_str(), &author], |row| row.get(0)).optional()?;
        all.push(author);
    }
    Ok(all)
}

fn take(
    connection: &Connection,
    wanted: &Wanted,
    claim: Claim,
    (now, until): (SystemTime, SystemTime),
) -> rusqlite::Result<Vec<Message>> {
    let sql = "UPDATE messages SET claim = :claim, claimed_until = :until WHERE number IN (
                   SELECT number FROM messages WHERE mailbox = :mailbox AND app = :app AND state = 0 AND claim IS NULL
                       AND due_at <= :now AND (:author IS NULL OR author = :author)
                   ORDER BY due_at, number LIMIT :most)
               RETURNING *";
    read(
        connection,
        sql,
        named_params! {
            ":claim": claim.0, ":until": millis(until), ":now": millis(now), ":most": wanted.most,
            ":mailbox": wanted.mailbox.as_str(), ":app": wanted.app.as_str(), ":author": wanted.author
        },
    )
}

fn read(connection: &Connection, sql: &str, values: &[(&str, &dyn rusqlite::ToSql)]) -> rusqlite::Result<Vec<Message>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut messages = statement
        .query_map(values, |row| Ok((row.get("due_at")?, message(row)?)))?
        .collect::<rusqlite::Result<Vec<(i64, Message)>>>()?;
    // SQLite returns changed rows in any order.
    messages.sort_by_key(|(due, message)| (*due, message.number));
    messages
        .into_iter()
        .map(|(_, mut message)| {
            add_recipients(connection, &mut message)?;
            Ok(message)
        })
        .collect()
}

/// A message without its recipients.
pub(super) fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let sender: Option<String> = row.get("sender")?;
    let mut envelope = Envelope::from(sender.map(|sender| Address::parse(&sender).map_err(damaged)).transpose()?);
    read_parameters(&row.get::<_, String>("parameters")?, &mut envelope).map_err(damaged)?;
    Ok(Message {
        number: Number(row.get("number")?),
        id: id_of(row.get("id")?),
        app: name(row.get("app")?)?,
        mailbox: name(row.get("mailbox")?)?,
        client: row.get("client")?,
        envelope,
        positions: Vec::new(),
        settled: 0,
        author: row.get("author")?,
        bounce_of: optional_id(row.get("bounce_of")?),
        size: row.get::<_, i64>("size")?.cast_unsigned(),
        message_id: row.get("message_id")?,
        subject: row.get("subject")?,
        accepted_at: time(row.get("accepted_at")?),
        attempts: row.get("attempts")?,
        expires_at: time(row.get("expires_at")?),
        warn_at: row.get::<_, Option<i64>>("warn_at")?.map(time),
    })
}

pub(super) fn add_recipients(connection: &Connection, message: &mut Message) -> rusqlite::Result<()> {
    let sql = "SELECT position, address, notify, orcpt, state FROM recipients WHERE message = ?1 ORDER BY position";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([message.number.0])?;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(4)? != 0 {
            message.settled += 1;
            continue;
        }
        message.positions.push(row.get(0)?);
        message.envelope.recipients.push(recipient(row.get(1)?, row.get(2)?, row.get(3)?)?);
    }
    Ok(())
}

pub(super) fn recipient(address: String, notify: Option<String>, orcpt: Option<String>) -> rusqlite::Result<Recipient> {
    Ok(Recipient {
        address: Address::parse(&address).map_err(damaged)?,
        notify: notify.map(|notify| Notify::parse(&notify).map_err(damaged)).transpose()?,
        orcpt: orcpt.map(|orcpt| Xtext::parse(&orcpt, orcpt.len()).map_err(damaged)).transpose()?,
    })
}

pub(super) fn name(text: String) -> rusqlite::Result<Name> {
    Name::parse_mailbox(&text).map_err(damaged)
}

/// What was valid when it was written is valid when it is read, unless the row was damaged.
pub(super) fn damaged(why: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(why))
}
