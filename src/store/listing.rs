//! What is kept, a page at a time: a page looks at a bounded number of rows, so that no reading takes long.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};
use std::time::{Duration, SystemTime};

use super::{
    Body, Error, Store,
    claims::{add_recipients, message, name, recipient},
    id_octets, id_of,
    message::{Event, HeldBy, Message, Number, RecipientState, State},
    millis, optional_id, time,
};
use crate::mail::{Id, Name, Recipient};

/// Rows that one page looks at.
const PAGE: usize = 2000;

/// Which messages are asked for. What is empty does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// These alone.
    pub ids: Vec<Id>,
    /// Through this mailbox, or any address of this one for a whole domain.
    pub mailbox: Option<Name>,
    /// Of this app.
    pub app: Option<Name>,
    /// Standing like this; none: all but the delivered ones.
    pub states: Vec<State>,
    /// Accepted before.
    pub accepted_before: Option<SystemTime>,
    /// From or to this address, without case.
    pub address: Option<String>,
    /// To this address, without case.
    pub recipient: Option<String>,
}

/// One message of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
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
    /// Envelope sender; `None` is the null sender.
    pub sender: Option<String>,
    /// The first recipient.
    pub to: String,
    /// All its recipients.
    pub recipients: u32,
    /// Those that are not settled.
    pub waiting: u32,
    /// Octets.
    pub size: u64,
    /// Its Subject.
    pub subject: Option<String>,
    /// Its Message-ID.
    pub message_id: String,
    /// In a bounce, the message that it speaks of.
    pub bounce_of: Option<Id>,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// How it stands.
    pub state: State,
    /// What holds it.
    pub held_by: Option<HeldBy>,
    /// Attempts spent on it.
    pub attempts: u32,
    /// When it may go out.
    pub due_at: SystemTime,
    /// Whether somebody works on it.
    pub is_claimed: bool,
    /// Why it waits, is held or failed.
    pub reason: Option<String>,
    /// Whether its body is still kept.
    pub has_body: bool,
}

/// A page, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What was found.
    pub lines: Vec<Line>,
    /// `None` at the end.
    pub next: Option<Number>,
}

/// One recipient with its story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// To whom.
    pub recipient: Recipient,
    /// How it stands.
    pub state: RecipientState,
    /// The last reply's code.
    pub code: Option<u16>,
    /// What was said last, by whom.
    pub reply: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
    /// When that was.
    pub changed_at: Option<SystemTime>,
}

/// Counts of one kind of message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Through which mailbox.
    pub mailbox: Name,
    /// How they stand.
    pub state: State,
    /// How many.
    pub messages: u64,
    /// How many of them still have their octets: discarded ones are known, but gone.
    pub with_body: u64,
    /// Their octets.
    pub size: u64,
    /// When the oldest was accepted.
    pub oldest: SystemTime,
}

impl Store {
    /// A page of messages in the order of acceptance, from behind `after` on.
    pub async fn list(&self, filter: Filter, after: Option<Number>) -> Result<Page, Error> {
        self.0.reader.read("list messages", move |connection| page(connection, &filter, after.map_or(0, |after| after.0))).await
    }

    /// Every recipient of a message, and its story.
    pub async fn story(&self, number: Number) -> Result<(Vec<Standing>, Vec<Event>), Error> {
        self.0.reader.read("read a message's story", move |c| Ok((standings(c, number)?, events(c, number)?))).await
    }

    /// The mailboxes and the apps of all messages, delivered ones too.
    pub async fn names(&self) -> Result<(Vec<Name>, Vec<Name>), Error> {
        let work = |connection: &Connection| {
            let all = |sql: &str| {
                let mut statement = connection.prepare_cached(sql)?;
                let names = statement.query_map([], |row| name(row.get(0)?))?;
                names.collect::<rusqlite::Result<Vec<Name>>>()
            };
            Ok((all("SELECT DISTINCT mailbox FROM messages")?, all("SELECT DISTINCT app FROM messages")?))
        };
        self.0.reader.read("look for names", work).await
    }

    /// The bounces and other notices about a message that are still known, with the times at which they were made.
    pub async fn notices_about(&self, id: Id, number: Number) -> Result<Vec<(Id, SystemTime)>, Error> {
        let work = move |connection: &Connection| {
            // A notice comes after what it speaks of.
            let sql = "SELECT id, accepted_at FROM messages WHERE number > ?1 AND bounce_of = ?2 ORDER BY number";
            let mut statement = connection.prepare_cached(sql)?;
            let all = statement.query_map(params![number.0, id_octets(id)], |row| Ok((id_of(row.get(0)?), time(row.get(1)?))))?;
            all.collect()
        };
        self.0.reader.read("look for notices", work).await
    }

    /// Whose client begins so, newest first: what it is called, and when its message was accepted; `most` of them.
    pub async fn clients(&self, beginning: &'static str, most: usize) -> Result<Vec<(String, SystemTime)>, Error> {
        let work = move |connection: &Connection| {
            let sql = "SELECT client, accepted_at FROM messages WHERE substr(client, 1, ?2) = ?1 ORDER BY number DESC LIMIT ?3";
            let mut statement = connection.prepare_cached(sql)?;
            let all =
                statement.query_map(params![beginning, beginning.len(), most], |row| Ok((row.get(0)?, time(row.get(1)?))))?;
            all.collect()
        };
        self.0.reader.read("look for clients", work).await
    }

    /// A message as it was accepted: with its recipients that still wait.
    pub async fn message(&self, number: Number) -> Result<Option<Message>, Error> {
        let work = move |connection: &Connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM messages WHERE number = ?1")?;
            let found = statement.query_row([number.0], message).optional()?;
            found
                .map(|mut message| {
                    add_recipients(connection, &mut message)?;
                    Ok(message)
                })
                .transpose()
        };
        self.0.reader.read("read a message", work).await
    }

    /// The body of a message; `None` when it is no longer kept.
    pub async fn body(&self, number: Number, id: Id, size: u64) -> Result<Option<Body>, Error> {
        let work = move |connection: &Connection| {
            let sql = "SELECT octets FROM bodies WHERE message = ?1";
            connection.prepare_cached(sql)?.query_row([number.0], |row| row.get::<_, Option<Vec<u8>>>(0)).optional()
        };
        let found = self.0.reader.read("read a message's body", work).await?;
        Ok(found.map(|octets| match octets {
            Some(octets) => Body::Memory(octets.into()),
            None => self.0.bodies.file(id, size),
        }))
    }

    /// How many messages stand how, in each mailbox; delivered ones are not counted.
    pub async fn count(&self) -> Result<Vec<Count>, Error> {
        let mut counts: Vec<Count> = Vec::new();
        let mut after = 0;
        loop {
            let (rows, last) = self.0.reader.read("count messages", move |connection| count(connection, after)).await?;
            for row in rows {
                match counts.iter_mut().find(|count| count.mailbox == row.mailbox && count.state == row.state) {
                    Some(count) => {
                        (count.messages, count.size) = (count.messages + row.messages, count.size + row.size);
                        count.with_body += row.with_body;
                        count.oldest = count.oldest.min(row.oldest);
                    }
                    None => counts.push(row),
                }
            }
            let Some(last) = last else { return Ok(counts) };
            after = last;
        }
    }
}

fn page(connection: &Connection, filter: &Filter, after: i64) -> rusqlite::Result<Page> {
    if filter.ids.is_empty() {
        let rows = format!("(SELECT * FROM messages WHERE number > :from ORDER BY number LIMIT {PAGE})");
        let lines = lines(connection, &rows, filter, &after)?;
        return Ok(Page { lines, next: last_of_page(connection, after)?.map(Number) });
    }
    let mut found = Vec::new();
    for id in &filter.ids {
        found.extend(lines(connection, "(SELECT * FROM messages WHERE id = :from)", filter, &id_octets(*id))?);
    }
    Ok(Page { lines: found, next: None })
}

/// The lines of those `rows`, which begin at `from`, that the filter takes.
fn lines(connection: &Connection, rows: &str, filter: &Filter, from: &dyn ToSql) -> rusqlite::Result<Vec<Line>> {
    // Whoever names messages means them however they stand.
    let all: &[State] = if filter.ids.is_empty() {
        &[State::Waiting, State::Held, State::Failed]
    } else {
        &[State::Waiting, State::Held, State::Failed, State::Delivered]
    };
    let states = if filter.states.is_empty() { all } else { &filter.states };
    let mut wanted = [-1; 4];
    states.iter().zip(&mut wanted).for_each(|(state, place)| *place = state.code());
    let sql = format!(
        "{LINES} FROM {rows} m
         WHERE state IN (:a, :b, :c, :d) AND (:mailbox IS NULL OR mailbox = :mailbox OR mailbox BETWEEN :mailbox || '/' AND :mailbox || '0') AND (:app IS NULL OR app = :app)
             AND (:before IS NULL OR accepted_at < :before)
             AND (:address IS NULL OR lower(sender) = :address
                  OR EXISTS (SELECT 1 FROM recipients r WHERE r.message = m.number AND lower(r.address) = :address))
             AND (:recipient IS NULL
                  OR EXISTS (SELECT 1 FROM recipients r WHERE r.message = m.number AND lower(r.address) = :recipient))
         ORDER BY number"
    );
    let lower = |address: &Option<String>| address.as_ref().map(|address| address.to_ascii_lowercase());
    let values = named_params! {
        ":from": from, ":a": wanted[0], ":b": wanted[1], ":c": wanted[2], ":d": wanted[3],
        ":mailbox": filter.mailbox.as_ref().map(Name::as_str), ":app": filter.app.as_ref().map(Name::as_str),
        ":before": filter.accepted_before.map(millis), ":address": lower(&filter.address), ":recipient": lower(&filter.recipient),
    };
    connection.prepare_cached(&sql)?.query_map(values, line)?.collect()
}

/// The last row that a page looked at, where there may be more behind it.
fn last_of_page(connection: &Connection, after: i64) -> rusqlite::Result<Option<i64>> {
    let sql = format!("SELECT number FROM messages WHERE number > ?1 ORDER BY number LIMIT 1 OFFSET {}", PAGE - 1);
    connection.prepare_cached(&sql)?.query_row([after], |row| row.get(0)).optional()
}

/// What a line is made of.
const LINES: &str =
    "SELECT number, id, app, mailbox, client, sender, size, subject, message_id, bounce_of, accepted_at, state, hold,
    attempts, due_at, claim IS NOT NULL AS is_claimed, reason,
    (SELECT address FROM recipients WHERE message = number ORDER BY position LIMIT 1) AS first,
    (SELECT count(*) FROM recipients WHERE message = number) AS recipients,
    (SELECT count(*) FROM recipients WHERE message = number AND state = 0) AS waiting,
    EXISTS (SELECT 1 FROM bodies WHERE message = number) AS has_body";

fn line(row: &Row<'_>) -> rusqlite::Result<Line> {
    Ok(Line {
        number: Number(row.get("number")?),
        id: id_of(row.get("id")?),
        app: name(row.get("app")?)?,
        mailbox: name(row.get("mailbox")?)?,
        client: row.get("client")?,
        sender: row.get("sender")?,
        to: row.get::<_, Option<String>>("first")?.unwrap_or_default(),
        recipients: row.get("recipients")?,
        waiting: row.get("waiting")?,
        size: row.get::<_, i64>("size")?.cast_unsigned(),
        subject: row.get("subject")?,
        message_id: row.get("message_id")?,
        bounce_of: optional_id(row.get("bounce_of")?),
        accepted_at: time(row.get("accepted_at")?),
        state: State::read(row.get("state")?)?,
        held_by: row.get::<_, Option<String>>("hold")?.and_then(|word| HeldBy::named(&word)),
        attempts: row.get("attempts")?,
        due_at: time(row.get("due_at")?),
        is_claimed: row.get("is_claimed")?,
        reason: row.get("reason")?,
        has_body: row.get("has_body")?,
    })
}

fn standings(connection: &Connection, number: Number) -> rusqlite::Result<Vec<Standing>> {
    let sql = "SELECT address, notify, orcpt, state, code, reply, advice, changed_at FROM recipients WHERE message = ?1
               ORDER BY position";
    let mut statement = connection.prepare_cached(sql)?;
    let all = statement.query_map([number.0], |row| {
        Ok(Standing {
            recipient: recipient(row.get(0)?, row.get(1)?, row.get(2)?)?,
            state: RecipientState::read(row.get(3)?)?,
            code: row.get(4)?,
            reply: row.get(5)?,
            advice: row.get(6)?,
            changed_at: row.get::<_, Option<i64>>(7)?.map(time),
        })
    })?;
    all.collect()
}

fn events(connection: &Connection, number: Number) -> rusqlite::Result<Vec<Event>> {
    let sql = "SELECT at, event, detail, ms FROM attempts WHERE message = ?1 ORDER BY at, rowid";
    let mut statement = connection.prepare_cached(sql)?;
    let all = statement.query_map([number.0], |row| {
        let took = row.get::<_, Option<i64>>(3)?.map(|ms| Duration::from_millis(ms.cast_unsigned()));
        Ok(Event { at: time(row.get(0)?), event: row.get(1)?, detail: row.get(2)?, took })
    })?;
    all.collect()
}

fn count(connection: &Connection, after: i64) -> rusqlite::Result<(Vec<Count>, Option<i64>)> {
    /// Rows of a page that is only counted: cheap ones.
    const COUNTED: usize = 20_000;
    let sql = format!(
        "SELECT mailbox, state, count(*), sum(size), min(accepted_at), max(number),
             sum(CASE state WHEN 3 THEN EXISTS (SELECT 1 FROM bodies WHERE message = number) ELSE 1 END)
         FROM (SELECT * FROM messages WHERE number > ?1 ORDER BY number LIMIT {COUNTED}) GROUP BY mailbox, state"
    );
    let (mut counts, mut last, mut seen) = (Vec::new(), None, 0_u64);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([after])?;
    while let Some(row) = rows.next()? {
        let state = State::read(row.get(1)?)?;
        let messages = row.get::<_, i64>(2)?.cast_unsigned();
        seen += messages;
        last = last.max(row.get::<_, Option<i64>>(5)?);
        if state != State::Delivered {
            let (size, oldest) = (row.get::<_, i64>(3)?.cast_unsigned(), time(row.get(4)?));
            let with_body = row.get::<_, i64>(6)?.cast_unsigned();
            counts.push(Count { mailbox: name(row.get(0)?)?, state, messages, with_body, size, oldest });
        }
    }
    Ok((counts, last.filter(|_| seen >= COUNTED as u64)))
}
