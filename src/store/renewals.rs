//! Who renews a grant: one at a time, over all processes, under a lease that ends by itself. The lease is longer than the longest wait
//! for an answer, so that nobody asks with a one-time refresh token while another's answer may still come.
//!
//! A lease that nobody ended tells of a process that died between asking and keeping the answer. That is remembered until an
//! answer was kept, because the provider's next word may be that the refresh token is spent.

use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

use super::{Error, Store, Version, millis, time};
use crate::mail::Name;

/// Whether a renewal may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Began {
    /// It has begun: the lease is this caller's.
    Go {
        /// When an earlier renewal began whose answer, if one came, nobody kept.
        interrupted: Option<SystemTime>,
    },
    /// Somebody else renews it.
    Busy {
        /// When the other's lease ends, if it does not end before.
        until: SystemTime,
    },
    /// The mailbox has another refresh token now, or none.
    Changed,
}

impl Store {
    /// Takes the lease to renew `expected` until `until`: compare-and-swap. It ends with [`Store::replace_refresh_token`] or
    /// [`Store::touch`], which keep an answer, or with [`Store::end_renewal`], where there is none to keep.
    pub async fn begin_renewal(
        &self,
        mailbox: &Name,
        expected: Version,
        until: SystemTime,
        now: SystemTime,
    ) -> Result<Began, Error> {
        let mailbox = mailbox.clone();
        let work = move |connection: &Connection| begin(connection, &mailbox, expected, until, now);
        self.0.committer.run("begin a renewal", work).await
    }

    /// Gives the lease back that was taken until `until`: the provider answered, and gave nothing.
    pub async fn end_renewal(&self, mailbox: &Name, until: SystemTime) -> Result<(), Error> {
        let mailbox = mailbox.clone();
        let work = move |connection: &Connection| {
            let sql = "UPDATE grants SET renewing_since = NULL, renewing_until = NULL WHERE mailbox = ?1 AND renewing_until = ?2";
            connection.execute(sql, params![mailbox.as_str(), millis(until)]).map(drop)
        };
        self.0.committer.run("end a renewal", work).await
    }
}

fn begin(
    connection: &Connection,
    mailbox: &Name,
    expected: Version,
    until: SystemTime,
    now: SystemTime,
) -> rusqlite::Result<Began> {
    let sql = "SELECT renewing_since, renewing_until, interrupted_at FROM grants
               WHERE mailbox = ?1 AND consent = ?2 AND generation = ?3";
    let values = params![mailbox.as_str(), expected.consent, expected.generation];
    let lease = connection.query_row(sql, values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let Some((since, ends, interrupted)): Option<(Option<i64>, Option<i64>, Option<i64>)> = lease else {
        return Ok(Began::Changed);
    };
    if let Some(ends) = ends.filter(|ends| *ends > millis(now)) {
        return Ok(Began::Busy { until: time(ends) });
    }
    // The first that was interrupted is the one that may have spent the refresh token.
    let interrupted = interrupted.or(since);
    let sql = "UPDATE grants SET renewing_since = ?2, renewing_until = ?3, interrupted_at = ?4 WHERE mailbox = ?1";
    connection.execute(sql, params![mailbox.as_str(), millis(now), millis(until), interrupted])?;
    Ok(Began::Go { interrupted: interrupted.map(time) })
}

/// Whoever opens the state directory is alone with it: leases of an ended process end now.
pub(super) fn interrupt(connection: &Connection) -> rusqlite::Result<usize> {
    let sql = "UPDATE grants SET interrupted_at = coalesce(interrupted_at, renewing_since), renewing_since = NULL,
                   renewing_until = NULL WHERE renewing_since IS NOT NULL";
    connection.execute(sql, [])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secret::Secret,
        store::{
            NewGrant, Touch,
            tests::{at, name},
        },
    };

    async fn with_grant(directory: &std::path::Path) -> (Store, Version) {
        let store = Store::open(directory).unwrap();
        let version = store.put_grant(&name("alerts"), grant("r1"), at(0)).await.unwrap();
        (store, version)
    }

    fn grant(text: &str) -> NewGrant {
        NewGrant::new(Secret::new(text.into()), "import")
    }

    const GO: Began = Began::Go { interrupted: None };

    #[tokio::test]
    async fn one_renews_at_a_time_and_each_way_to_end_lets_the_next_begin() {
        let directory = tempfile::tempdir().unwrap();
        let (store, version) = with_grant(directory.path()).await;
        let alerts = name("alerts");
        let begin = async |version, now| store.begin_renewal(&alerts, version, at(now + 60), at(now)).await.unwrap();
        assert_eq!(begin(version, 1).await, GO);
        assert_eq!(begin(version, 2).await, Began::Busy { until: at(61) });
        store.end_renewal(&alerts, at(60)).await.unwrap();
        assert_eq!(begin(version, 2).await, Began::Busy { until: at(61) }, "that was another's lease");
        store.end_renewal(&alerts, at(61)).await.unwrap();
        assert_eq!(begin(version, 3).await, GO);
        store.touch(&alerts, (version.consent, Some(at(63))), Touch::default(), at(4)).await.unwrap();
        assert_eq!(begin(version, 5).await, GO);
        store.replace_refresh_token(&alerts, version, &Secret::new("r2".into()), at(6)).await.unwrap();
        assert_eq!(begin(version, 7).await, Began::Changed);
        let version = store.grant(&alerts).await.unwrap().unwrap().version;
        assert_eq!(begin(version, 7).await, GO);
        let version = store.put_grant(&alerts, grant("s1"), at(8)).await.unwrap();
        assert_eq!(begin(version, 9).await, GO);
        assert!(store.drop_grant(&alerts, version.consent).await.unwrap());
        assert_eq!(begin(version, 10).await, Began::Changed);
    }

    #[tokio::test]
    async fn an_interrupted_renewal_is_told_until_an_answer_was_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (store, version) = with_grant(directory.path()).await;
        let alerts = name("alerts");
        store.begin_renewal(&alerts, version, at(61), at(1)).await.unwrap();
        // It is over by time, or because its process has ended.
        let told = Began::Go { interrupted: Some(at(1)) };
        assert_eq!(store.begin_renewal(&alerts, version, at(121), at(61)).await.unwrap(), told);
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.begin_renewal(&alerts, version, at(122), at(62)).await.unwrap(), told);
        store.end_renewal(&alerts, at(122)).await.unwrap();
        assert_eq!(store.begin_renewal(&alerts, version, at(123), at(63)).await.unwrap(), told);
        store.touch(&alerts, (version.consent, Some(at(123))), Touch::default(), at(64)).await.unwrap();
        assert_eq!(store.begin_renewal(&alerts, version, at(125), at(65)).await.unwrap(), GO);
    }

    #[tokio::test]
    async fn one_who_notes_his_renewal_late_does_not_end_the_lease_of_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let (store, first) = with_grant(directory.path()).await;
        let alerts = name("alerts");
        store.begin_renewal(&alerts, first, at(61), at(1)).await.unwrap();
        store.replace_refresh_token(&alerts, first, &Secret::new("r2".into()), at(2)).await.unwrap();
        let version = store.grant(&alerts).await.unwrap().unwrap().version;
        // Another one uses r2 already.
        assert_eq!(store.begin_renewal(&alerts, version, at(63), at(3)).await.unwrap(), GO);
        store.touch(&alerts, (first.consent, Some(at(61))), Touch::default(), at(4)).await.unwrap();
        store.touch(&alerts, (first.consent, None), Touch::default(), at(4)).await.unwrap();
        assert_eq!(store.begin_renewal(&alerts, version, at(65), at(5)).await.unwrap(), Began::Busy { until: at(63) });
        assert_eq!(store.grant(&alerts).await.unwrap().unwrap().last_renewed_at, Some(at(4)));
    }
}
