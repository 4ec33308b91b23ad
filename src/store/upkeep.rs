//! What is forgotten in time, in small steps: traces, failed messages, those held for too long; and the space that they took.

use rusqlite::{Connection, params};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use super::{
    Bodies, Error, Store, id_octets, id_of,
    message::{Number, State},
    millis,
    settle::{Left, drop_body, fail},
};
use crate::mail::{Id, Name};

/// Messages changed in one transaction.
const STEP: usize = 200;

/// Free pages that stay in the database for what comes next: 16 MiB.
const SPARE_PAGES: i64 = 4096;

/// Free pages given back in one transaction: 1 MiB.
const PAGES: i64 = 256;

/// Messages whose bodies are kept, and their octets.
#[derive(Debug, Default)]
pub(super) struct Totals {
    messages: AtomicU64,
    octets: AtomicU64,
}

impl Totals {
    pub(super) fn add(&self, messages: u64, octets: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.octets.fetch_add(octets, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, messages: u64, octets: u64) {
        self.messages.fetch_sub(messages, Ordering::Relaxed);
        self.octets.fetch_sub(octets, Ordering::Relaxed);
    }

    /// Counts what is there, before anybody else uses the database.
    pub(super) fn count(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT count(*), coalesce(sum(size), 0) FROM bodies JOIN messages ON number = message";
        let (messages, octets): (i64, i64) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self { messages: messages.cast_unsigned().into(), octets: octets.cast_unsigned().into() })
    }

    pub(super) fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }
}

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Traces of messages delivered before.
    pub delivered: SystemTime,
    /// Messages that failed before.
    pub failed: SystemTime,
}

impl Store {
    /// Forgets what was settled before; how many messages those were.
    pub async fn forget_settled(&self, before: Before) -> Result<usize, Error> {
        let mut all = 0;
        for (state, before) in [(State::Delivered, before.delivered), (State::Failed, before.failed)] {
            loop {
                let work = move |connection: &Connection| forget(connection, state, before);
                let (count, left) = self.0.committer.run("forget old messages", work).await?;
                all += count;
                self.left(left);
                if count < STEP {
                    break;
                }
            }
        }
        Ok(all)
    }

    /// Fails messages that were held too long: those held themselves since `held_before`, and where `mailbox_held`, those of the
    /// mailbox that were accepted before it. `clock` is what the mailbox's clock shows now.
    pub async fn fail_held(
        &self,
        mailbox: Name,
        (accepted_before, held_before, mailbox_held): (SystemTime, SystemTime, bool),
        now: SystemTime,
    ) -> Result<usize, Error> {
        let mut all = 0;
        loop {
            let mailbox = mailbox.clone();
            let work = move |connection: &Connection| {
                let sql = "SELECT number FROM messages WHERE mailbox = ?1 AND claim IS NULL AND accepted_at < ?2
                               AND (state = 1 AND held_since < ?3 OR state = 0 AND ?4) LIMIT ?5";
                let values = params![mailbox.as_str(), millis(accepted_before), millis(held_before), mailbox_held, STEP];
                let numbers = numbers(connection, sql, values)?;
                for number in &numbers {
                    fail(connection, *number, "held for longer than keep-held", now)?;
                }
                Ok(numbers.len())
            };
            let count = self.0.committer.run("end what was held too long", work).await?;
            all += count;
            if count < STEP {
                return Ok(all);
            }
        }
    }

    /// Gives free pages back to the disk, as long as there are many and nobody waits.
    pub async fn shrink(&self) -> Result<(), Error> {
        let work = |connection: &Connection| {
            let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
            if free > SPARE_PAGES {
                let give = PAGES.min(free - SPARE_PAGES);
                connection.execute_batch(&format!("PRAGMA incremental_vacuum({give})"))?;
            }
            Ok(free - SPARE_PAGES)
        };
        // Bounded: at most 64 MiB each time.
        for _ in 0..64 {
            if self.0.committer.run("give space back", work).await? <= PAGES {
                break;
            }
        }
        Ok(())
    }

    /// Octets of the messages that are kept with their bodies.
    pub fn octets_kept(&self) -> u64 {
        self.0.totals.octets()
    }

    /// Octets of the database that are free for new messages.
    pub async fn octets_free_inside(&self) -> Result<u64, Error> {
        self.0
            .reader
            .read("look for free space", |connection| {
                let pages: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
                let size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
                Ok((pages * size).cast_unsigned())
            })
            .await
    }

    fn left(&self, left: Vec<(Id, Left)>) {
        for (id, Left { octets, in_file }) in left {
            self.0.totals.remove(1, octets);
            if in_file {
                self.0.bodies.remove(id);
            }
        }
    }
}

fn numbers(connection: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<Vec<Number>> {
    let mut statement = connection.prepare_cached(sql)?;
    let all = statement.query_map(values, |row| Ok(Number(row.get(0)?)))?;
    all.collect()
}

fn forget(connection: &Connection, state: State, before: SystemTime) -> rusqlite::Result<(usize, Vec<(Id, Left)>)> {
    let sql = "SELECT number, id FROM messages WHERE state = ?1 AND settled_at < ?2 LIMIT ?3";
    let found: Vec<(Number, Id)> = connection
        .prepare_cached(sql)?
        .query_map(params![state.code(), millis(before), STEP], |row| Ok((Number(row.get(0)?), id_of(row.get(1)?))))?
        .collect::<rusqlite::Result<_>>()?;
    let mut left = Vec::new();
    for (number, id) in &found {
        left.extend(drop_body(connection, *number)?.map(|body| (*id, body)));
        connection.prepare_cached("DELETE FROM messages WHERE number = ?1")?.execute([number.0])?;
    }
    Ok((found.len(), left))
}

/// Removes the files that no row names: a process ended between the file and its row, or between the row and its file.
pub(super) fn remove_unnamed(connection: &Connection, bodies: &Bodies) -> rusqlite::Result<usize> {
    let files = match bodies.all() {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%error, "the directory of message bodies cannot be read; see to its permissions");
            return Ok(0);
        }
    };
    let sql = "SELECT EXISTS (SELECT 1 FROM messages JOIN bodies ON message = number WHERE id = ?1 AND octets IS NULL)";
    let mut statement = connection.prepare_cached(sql)?;
    let mut removed = 0;
    // What has another name is not ours.
    for id in files.into_iter().flatten() {
        if !statement.query_row([id_octets(id)], |row| row.get::<_, bool>(0))? {
            bodies.remove(id);
            removed += 1;
        }
    }
    Ok(removed)
}
