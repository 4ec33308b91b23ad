//! What holds mailboxes, links and senders, and the mailboxes' clocks, which stand still meanwhile.

use rusqlite::{Connection, Row, named_params, params};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::{Error, Store, claims::name, millis, time};
use crate::mail::{Advice, Name};

/// What is held.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// A mailbox.
    Mailbox(Name),
    /// Every mailbox of a link.
    Link(Name),
    /// One From of a mailbox.
    Sender(Name, String),
    /// A mailbox, by an operator, beside whatever else is wrong with it.
    Paused(Name),
}

/// A hold, as it outlives the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What is held.
    pub scope: Scope,
    /// What is wrong, in one word.
    pub kind: String,
    /// What can end it, in one word.
    pub probe: String,
    /// Why.
    pub reason: String,
    /// What to do about it.
    pub advice: Option<Advice>,
    /// Since when.
    pub since: SystemTime,
    /// Probes that failed.
    pub tries: u32,
    /// When the next one is due.
    pub next: SystemTime,
}

/// A mailbox's clock. It stands still while the mailbox or its link is held, so that nothing expires for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailboxClock {
    /// How long it has stood still, until `since` where it stands.
    pub stood: Duration,
    /// It stands still since then.
    pub since: Option<SystemTime>,
}

impl MailboxClock {
    /// What it shows at `now`.
    pub fn read(&self, now: SystemTime) -> SystemTime {
        let moving_until = self.since.map_or(now, |since| since.min(now));
        moving_until.checked_sub(self.stood).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Stops it.
    pub fn stop(&mut self, now: SystemTime) {
        self.since.get_or_insert(now);
    }

    /// Lets it go on.
    pub fn go_on(&mut self, now: SystemTime) {
        if let Some(since) = self.since.take() {
            self.stood += now.duration_since(since).unwrap_or_default();
        }
    }
}

impl Scope {
    fn columns(&self) -> (&'static str, &str, &str) {
        match self {
            Self::Mailbox(name) => ("mailbox", name.as_str(), ""),
            Self::Link(name) => ("link", name.as_str(), ""),
            Self::Sender(name, author) => ("sender", name.as_str(), author),
            Self::Paused(name) => ("paused", name.as_str(), ""),
        }
    }
}

impl Store {
    /// Keeps a hold, or what changed about it.
    pub async fn put_hold(&self, hold: Hold) -> Result<(), Error> {
        self.0.committer.run("keep the hold", move |connection| put(connection, &hold)).await
    }

    /// Forgets the hold.
    pub async fn drop_hold(&self, scope: Scope) -> Result<(), Error> {
        let work = move |connection: &Connection| {
            let (scope, name, author) = scope.columns();
            let sql = "DELETE FROM holds WHERE scope = ?1 AND name = ?2 AND author = ?3";
            connection.prepare_cached(sql)?.execute([scope, name, author]).map(drop)
        };
        self.0.committer.run("end the hold", work).await
    }

    /// All holds.
    pub async fn holds(&self) -> Result<Vec<Hold>, Error> {
        self.0
            .reader
            .read("read the holds", |connection| {
                let mut statement = connection.prepare_cached("SELECT * FROM holds ORDER BY scope, name, author")?;
                let all = statement.query_map([], read)?;
                all.collect()
            })
            .await
    }

    /// Keeps a mailbox's clock.
    pub async fn put_clock(&self, mailbox: Name, clock: MailboxClock) -> Result<(), Error> {
        let work = move |connection: &Connection| {
            let sql = "INSERT OR REPLACE INTO clocks (mailbox, stood, since) VALUES (?1, ?2, ?3)";
            let (stood, since) = (clock.stood.as_millis() as i64, clock.since.map(millis));
            connection.prepare_cached(sql)?.execute(params![mailbox.as_str(), stood, since]).map(drop)
        };
        self.0.committer.run("keep the mailbox's clock", work).await
    }

    /// All clocks that ever stood still.
    pub async fn clocks(&self) -> Result<BTreeMap<Name, MailboxClock>, Error> {
        self.0
            .reader
            .read("read the mailboxes' clocks", |connection| {
                let mut statement = connection.prepare_cached("SELECT mailbox, stood, since FROM clocks")?;
                let all = statement.query_map([], |row| {
                    let stood = Duration::from_millis(row.get::<_, i64>(1)?.cast_unsigned());
                    Ok((name(row.get(0)?)?, MailboxClock { stood, since: row.get::<_, Option<i64>>(2)?.map(time) }))
                })?;
                all.collect()
            })
            .await
    }
}

fn put(connection: &Connection, hold: &Hold) -> rusqlite::Result<()> {
    let (scope, name, author) = hold.scope.columns();
    let sql =
        "INSERT OR REPLACE INTO holds (scope, name, author, kind, probe, reason, advice, advice_name, since, tries, next_at)
               VALUES (:scope, :name, :author, :kind, :probe, :reason, :advice, :advice_name, :since, :tries, :next)";
    let values = named_params! {
        ":scope": scope, ":name": name, ":author": author, ":kind": hold.kind, ":probe": hold.probe, ":reason": hold.reason,
        ":advice": hold.advice.as_ref().map(|advice| &advice.text),
        ":advice_name": hold.advice.as_ref().and_then(Advice::name), ":since": millis(hold.since), ":tries": hold.tries, ":next": millis(hold.next)
    };
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Hold> {
    let (scope, name) = (row.get::<_, String>("scope")?, name(row.get("name")?)?);
    Ok(Hold {
        scope: match scope.as_str() {
            "mailbox" => Scope::Mailbox(name),
            "link" => Scope::Link(name),
            "paused" => Scope::Paused(name),
            _ => Scope::Sender(name, row.get("author")?),
        },
        kind: row.get("kind")?,
        probe: row.get("probe")?,
        reason: row.get("reason")?,
        advice: advice(row)?,
        since: time(row.get("since")?),
        tries: row.get("tries")?,
        next: time(row.get("next_at")?),
    })
}

/// What the columns `advice` and `advice_name` hold.
pub(super) fn advice(row: &Row<'_>) -> rusqlite::Result<Option<Advice>> {
    let name: Option<String> = row.get("advice_name")?;
    let text: Option<String> = row.get("advice")?;
    Ok(text.map(|text| Advice { name: name.unwrap_or_default().into(), text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_does_not_count_the_time_in_which_it_stood_still() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        let mut clock = MailboxClock::default();
        assert_eq!(clock.read(at(0)), at(0));
        clock.stop(at(10));
        clock.stop(at(20));
        assert_eq!((clock.read(at(15)), clock.read(at(500))), (at(10), at(10)));
        clock.go_on(at(110));
        clock.go_on(at(120));
        assert_eq!(clock.read(at(200)), at(100));
    }
}
