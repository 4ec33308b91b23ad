//! How links and mailboxes were told to stand last, so that a restart neither forgets since when nor tells it again.

use rusqlite::{Connection, Row, named_params};
use std::time::SystemTime;

use super::{Error, Store, claims::name, holds::advice, millis, time};
use crate::mail::{Advice, Name, State};

/// What was told of a link or a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Of what.
    pub of: ToldOf,
    /// The state.
    pub state: State,
    /// Why.
    pub reason: Option<String>,
    /// What to do about it.
    pub advice: Option<Advice>,
    /// Since when.
    pub since: SystemTime,
    /// When what it needs ends.
    pub until: Option<SystemTime>,
    /// The number of days before that end at which it was warned of last.
    pub warned: Option<u32>,
}

/// Of what something was told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ToldOf {
    /// A link.
    Link(Name),
    /// A mailbox.
    Mailbox(Name),
}

impl ToldOf {
    fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::Link(name) => ("link", name.as_str()),
            Self::Mailbox(name) => ("mailbox", name.as_str()),
        }
    }
}

impl Store {
    /// Keeps what was told.
    pub async fn put_told(&self, told: Told) -> Result<(), Error> {
        self.0.committer.run("keep how links and mailboxes stand", move |connection| put(connection, &told)).await
    }

    /// Forgets what was told.
    pub async fn drop_told(&self, of: ToldOf) -> Result<(), Error> {
        let work = move |connection: &Connection| {
            let (subject, name) = of.columns();
            let sql = "DELETE FROM standings WHERE subject = ?1 AND name = ?2";
            connection.prepare_cached(sql)?.execute([subject, name]).map(drop)
        };
        self.0.committer.run("forget how a link or mailbox stood", work).await
    }

    /// All that was told; not what only another version would understand.
    pub async fn told(&self) -> Result<Vec<Told>, Error> {
        let read = |connection: &Connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM standings ORDER BY subject, name")?;
            let all = statement.query_map([], read)?;
            all.filter_map(Result::transpose).collect()
        };
        self.0.reader.read("read how links and mailboxes stood", read).await
    }
}

fn put(connection: &Connection, told: &Told) -> rusqlite::Result<()> {
    let (subject, name) = told.of.columns();
    let sql = "INSERT OR REPLACE INTO standings (subject, name, state, reason, advice, advice_name, since, until, warned)
               VALUES (:subject, :name, :state, :reason, :advice, :advice_name, :since, :until, :warned)";
    let values = named_params! {
        ":subject": subject, ":name": name, ":state": told.state.word(), ":reason": told.reason,
        ":advice": told.advice.as_ref().map(|advice| &advice.text), ":advice_name": told.advice.as_ref().and_then(Advice::name),
        ":since": millis(told.since), ":until": told.until.map(millis), ":warned": told.warned,
    };
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<Told>> {
    let (subject, name) = (row.get::<_, String>("subject")?, name(row.get("name")?)?);
    let Some(state) = State::named(&row.get::<_, String>("state")?) else { return Ok(None) };
    Ok(Some(Told {
        of: if subject == "link" { ToldOf::Link(name) } else { ToldOf::Mailbox(name) },
        state,
        reason: row.get("reason")?,
        advice: advice(row)?,
        since: time(row.get("since")?),
        until: row.get::<_, Option<i64>>("until")?.map(time),
        warned: row.get("warned")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn what_was_told_is_read_as_it_was_kept_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        let alerts = Name::parse("alerts").unwrap();
        let link = Told {
            of: ToldOf::Link(alerts.clone()),
            state: State::Expiring,
            reason: Some("the client secret ends".to_owned()),
            advice: Some(Advice { name: "client-secret-ends".into(), text: "make another".to_owned() }),
            since: at(0),
            until: Some(at(100)),
            warned: Some(30),
        };
        let (of, advice, until, warned) = (ToldOf::Mailbox(alerts), None, None, None);
        let mailbox = Told { of, state: State::NeedsConsent, reason: None, advice, since: at(1), until, warned };
        for told in [&mailbox, &link] {
            store.put_told(told.clone()).await.unwrap();
        }
        store.put_told(Told { warned: Some(7), ..link.clone() }).await.unwrap();
        assert_eq!(store.told().await.unwrap(), [Told { warned: Some(7), ..link.clone() }, mailbox.clone()]);
        store.drop_told(link.of).await.unwrap();
        assert_eq!(store.told().await.unwrap(), [mailbox]);
    }
}
