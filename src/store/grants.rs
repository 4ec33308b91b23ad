//! The grants: one refresh token per mailbox, replaced by compare-and-swap, the one before it kept.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::time::{Duration, SystemTime};

use super::{
    Error, Store, millis,
    sealing::{self, Kept},
    time,
};
use crate::{
    mail::Name,
    secret::{Ring, Secret},
};

/// Which refresh token of a mailbox: the consent that it comes from, and a number that grows with each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Another number: another grant.
    pub consent: i64,
    /// Grows with each change of the refresh token, over all consents.
    pub generation: i64,
}

/// What a provider just gave for a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// The refresh token.
    pub refresh_token: Secret,
    /// To which client of which server it was given, where it is known: it is of no use to another one.
    pub client: Option<String>,
    /// How it came here: `import`, `authorization-code`, `device-code`.
    pub origin: &'static str,
    /// Who signed in at the provider, where it was told.
    pub account: Option<String>,
    /// The user of this machine who ran the command, where it is known.
    pub by: Option<String>,
    /// The scopes granted, where they are known.
    pub scopes: Option<Vec<String>>,
    /// When the refresh token ends, where it was told.
    pub refresh_until: Option<SystemTime>,
}

impl NewGrant {
    /// One of which nothing more is known.
    pub fn new(refresh_token: Secret, origin: &'static str) -> Self {
        Self { refresh_token, client: None, origin, account: None, by: None, scopes: None, refresh_until: None }
    }
}

/// What the provider gave for a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The refresh token.
    pub refresh_token: Secret,
    /// Which one it is.
    pub version: Version,
    /// To which client of which server it was given, where it is known.
    pub client: Option<String>,
    /// How it came here: `import`, `authorization-code`, `device-code`.
    pub origin: String,
    /// Who signed in at the provider, where it was told.
    pub account: Option<String>,
    /// The user of this machine who ran the command, where it is known.
    pub by: Option<String>,
    /// The scopes granted, where they are known.
    pub scopes: Option<Vec<String>>,
    /// When the grant was given.
    pub obtained_at: SystemTime,
    /// When an access token was last made from it.
    pub last_renewed_at: Option<SystemTime>,
    /// When the refresh token ends, where it was told.
    pub refresh_until: Option<SystemTime>,
    /// Whether a renewal moved that; `None`: not known yet.
    pub refresh_moves: Option<bool>,
    /// How long the consent before it lasted, where that was a life that the provider documents.
    pub lasted: Option<Duration>,
}

/// What was told with an access token that was made of a grant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touch {
    /// The scopes, where they were named.
    pub scopes: Option<Vec<String>>,
    /// When the refresh token ends, and whether that moves.
    pub refresh: Option<(SystemTime, Option<bool>)>,
}

/// What became of a refresh token that a provider gave in place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// It is the mailbox's token now, and durable.
    Done(Version),
    /// Another one of the same consent came before it; it is kept beside that one.
    Late,
    /// The mailbox has another grant now, or none; it was dropped.
    Superseded,
}

impl Store {
    /// The grant of `mailbox`.
    pub async fn grant(&self, mailbox: &Name) -> Result<Option<Grant>, Error> {
        let name = mailbox.clone();
        let Some(row) = self.0.committer.run("read the grant", move |connection| read(connection, &name)).await? else {
            return Ok(None);
        };
        let opened = row.token.open(&self.ring(), mailbox.as_str());
        let refresh_token = opened.map_err(sealing::unreadable(mailbox, self.file()))?;
        Ok(Some(row.grant(refresh_token)))
    }

    /// Gives `mailbox` a new grant. The refresh token before it is kept beside; a renewal of it under way ends in vain.
    pub async fn put_grant(&self, mailbox: &Name, grant: NewGrant, now: SystemTime) -> Result<Version, Error> {
        let (mailbox, keyring) = (mailbox.clone(), self.0.keyring.clone());
        let work = move |connection: &Connection| put(connection, &keyring.ring(), &mailbox, &grant, now);
        self.0.committer.run("keep the grant", work).await
    }

    /// Forgets the grant of `mailbox` and what is kept beside it, if it is still the one of `consent`: only when a person revokes it.
    pub async fn drop_grant(&self, mailbox: &Name, consent: i64) -> Result<bool, Error> {
        let mailbox = mailbox.clone();
        let work = move |connection: &Connection| {
            let sql = "DELETE FROM grants WHERE mailbox = ?1 AND consent = ?2";
            overwriting(connection, || Ok(connection.execute(sql, params![mailbox.as_str(), consent])? > 0))
        };
        self.0.committer.run("forget the grant", work).await
    }

    /// Puts `token` in the place of the refresh token `expected`: compare-and-swap. Durable when it returns.
    ///
    /// May be asked again after an error: a token that is already there is `Done`. Ends the renewal.
    pub async fn replace_refresh_token(
        &self,
        mailbox: &Name,
        expected: Version,
        token: &Secret,
        now: SystemTime,
    ) -> Result<Replaced, Error> {
        let (mailbox, keyring, token) = (mailbox.clone(), self.0.keyring.clone(), token.clone());
        let work = move |connection: &Connection| {
            let changed = Changed { mailbox: &mailbox, expected, token: &token, now };
            replace(connection, &keyring.ring(), &changed)
        };
        self.0.committer.run("keep the new refresh token", work).await
    }

    /// Notes that an access token was made of the grant `consent`, and what was told with it. Ends the renewal whose lease was
    /// taken until `lease`: another's goes on.
    pub async fn touch(
        &self,
        mailbox: &Name,
        (consent, lease): (i64, Option<SystemTime>),
        told: Touch,
        now: SystemTime,
    ) -> Result<(), Error> {
        let mailbox = mailbox.clone();
        let work = move |connection: &Connection| {
            let sql = "UPDATE grants SET last_renewed_at = :now, scopes = coalesce(:scopes, scopes),
                           refresh_moves = CASE WHEN :until IS NULL THEN refresh_moves ELSE :moves END,
                           refresh_until = coalesce(:until, refresh_until),
                           interrupted_at = CASE WHEN renewing_until = :lease THEN NULL ELSE interrupted_at END,
                           renewing_since = CASE WHEN renewing_until = :lease THEN NULL ELSE renewing_since END,
                           renewing_until = nullif(renewing_until, :lease)
                       WHERE mailbox = :mailbox AND consent = :consent";
            let scopes = told.scopes.as_ref().map(|scopes| scopes.join(" "));
            let (until, moves) = told.refresh.unzip();
            let values = named_params! {
                ":now": millis(now), ":scopes": scopes, ":lease": lease.map(millis), ":mailbox": mailbox.as_str(),
                ":consent": consent, ":until": until.map(millis), ":moves": moves.flatten()
            };
            connection.execute(sql, values).map(drop)
        };
        self.0.committer.run("note the renewal", work).await
    }

    /// Notes that the grant `consent` has ended after a life that the next one may have, too.
    pub async fn note_life(&self, mailbox: &Name, consent: i64, life: Duration) -> Result<(), Error> {
        let mailbox = mailbox.clone();
        let life = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
        let work = move |connection: &Connection| {
            let sql = "UPDATE grants SET lasted = ?3 WHERE mailbox = ?1 AND consent = ?2";
            connection.execute(sql, params![mailbox.as_str(), consent, life]).map(drop)
        };
        self.0.committer.run("note how long a grant lasted", work).await
    }
}

/// A row: the token sealed, and the grant that it belongs in.
struct Entry {
    token: Kept,
    version: Version,
    client: Option<String>,
    origin: String,
    account: Option<String>,
    by: Option<String>,
    scopes: Option<String>,
    obtained_at: i64,
    last_renewed_at: Option<i64>,
    refresh_until: Option<i64>,
    refresh_moves: Option<bool>,
    lasted: Option<i64>,
}

impl Entry {
    fn grant(self, refresh_token: Secret) -> Grant {
        Grant {
            refresh_token,
            version: self.version,
            client: self.client,
            origin: self.origin,
            account: self.account,
            by: self.by,
            scopes: self.scopes.map(|scopes| scopes.split_ascii_whitespace().map(str::to_owned).collect()),
            obtained_at: time(self.obtained_at),
            last_renewed_at: self.last_renewed_at.map(time),
            refresh_until: self.refresh_until.map(time),
            refresh_moves: self.refresh_moves,
            lasted: self.lasted.map(length),
        }
    }
}

/// Milliseconds as the store keeps a length of time.
pub(super) fn length(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

fn read(connection: &Connection, mailbox: &Name) -> rusqlite::Result<Option<Entry>> {
    let sql = "SELECT consent, generation, refresh_token, refresh_token_key, client, origin, account, brought_by, scopes,
                   obtained_at, last_renewed_at, refresh_until, refresh_moves, lasted FROM grants WHERE mailbox = ?1";
    connection.query_row(sql, [mailbox.as_str()], entry).optional()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        token: Kept::read(row, "refresh_token")?.ok_or(rusqlite::Error::QueryReturnedNoRows)?,
        version: Version { consent: row.get("consent")?, generation: row.get("generation")? },
        client: row.get("client")?,
        origin: row.get("origin")?,
        account: row.get("account")?,
        by: row.get("brought_by")?,
        scopes: row.get("scopes")?,
        obtained_at: row.get("obtained_at")?,
        last_renewed_at: row.get("last_renewed_at")?,
        refresh_until: row.get("refresh_until")?,
        refresh_moves: row.get("refresh_moves")?,
        lasted: row.get("lasted")?,
    })
}

fn put(connection: &Connection, ring: &Ring, mailbox: &Name, grant: &NewGrant, now: SystemTime) -> rusqlite::Result<Version> {
    let token = Kept::seal(ring, mailbox.as_str(), &grant.refresh_token);
    // The time makes a consent's number unlike those of a mailbox that was removed and added again.
    let sql = "INSERT INTO grants (mailbox, consent, generation, refresh_token, refresh_token_key, client, origin, account,
                   brought_by, scopes, obtained_at, refresh_until)
               VALUES (:mailbox, :now, 1, :token, :key, :client, :origin, :account, :by, :scopes, :now, :until)
               ON CONFLICT (mailbox) DO UPDATE SET
                   consent = max(consent + 1, excluded.consent), generation = generation + 1,
                   spare_token = refresh_token, spare_token_key = refresh_token_key,
                   refresh_token = excluded.refresh_token, refresh_token_key = excluded.refresh_token_key,
                   client = excluded.client, origin = excluded.origin, account = excluded.account, brought_by = excluded.brought_by,
                   scopes = excluded.scopes, obtained_at = excluded.obtained_at, refresh_until = excluded.refresh_until,
                   -- A consent that outlived it has shown that it is no rule any more.
                   lasted = CASE WHEN last_renewed_at > obtained_at + lasted THEN NULL ELSE lasted END, refresh_moves = NULL,
                   last_renewed_at = NULL, renewing_since = NULL, renewing_until = NULL, interrupted_at = NULL
               RETURNING consent, generation";
    let values = named_params! {
        ":mailbox": mailbox.as_str(), ":now": millis(now), ":token": token.octets(), ":key": token.key(),
        ":client": grant.client, ":origin": grant.origin, ":account": grant.account, ":by": grant.by,
        ":scopes": grant.scopes.as_ref().map(|scopes| scopes.join(" ")), ":until": grant.refresh_until.map(millis)
    };
    overwriting(connection, || {
        connection.query_row(sql, values, |row| Ok(Version { consent: row.get(0)?, generation: row.get(1)? }))
    })
}

/// A refresh token that came in the place of another.
struct Changed<'a> {
    mailbox: &'a Name,
    expected: Version,
    token: &'a Secret,
    now: SystemTime,
}

fn replace(connection: &Connection, ring: &Ring, changed: &Changed<'_>) -> rusqlite::Result<Replaced> {
    let Changed { mailbox, expected, token, now } = *changed;
    let Some(current) = read(connection, mailbox)?.filter(|row| row.version.consent == expected.consent) else {
        return Ok(Replaced::Superseded);
    };
    // One that does not open is another.
    if current.token.open(ring, mailbox.as_str()).is_ok_and(|kept| kept == *token) {
        return Ok(Replaced::Done(current.version));
    }
    let in_time = current.version == expected;
    let sql = match in_time {
        true => {
            "UPDATE grants SET generation = generation + 1, last_renewed_at = :now,
                 renewing_since = NULL, renewing_until = NULL, interrupted_at = NULL,
                 spare_token = refresh_token, spare_token_key = refresh_token_key,
                 refresh_token = :token, refresh_token_key = :key WHERE mailbox = :mailbox"
        }
        false => {
            "UPDATE grants SET last_renewed_at = :now, spare_token = :token, spare_token_key = :key WHERE mailbox = :mailbox"
        }
    };
    let sealed = Kept::seal(ring, mailbox.as_str(), token);
    let values =
        named_params! { ":now": millis(now), ":token": sealed.octets(), ":key": sealed.key(), ":mailbox": mailbox.as_str() };
    overwriting(connection, || connection.execute(sql, values))?;
    Ok(match in_time {
        true => Replaced::Done(Version { generation: expected.generation + 1, ..expected }),
        false => Replaced::Late,
    })
}

/// Does `work` so that what it replaces is overwritten, not left in free space. Off elsewhere: each message's body would be written
/// once more when it leaves.
pub(super) fn overwriting<T>(connection: &Connection, work: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    connection.pragma_update(None, "secure_delete", "ON")?;
    let result = work();
    connection.pragma_update(None, "secure_delete", "FAST")?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn name() -> Name {
        Name::parse("alerts").unwrap()
    }

    fn token(text: &str) -> Secret {
        Secret::new(text.into())
    }

    fn new(text: &str) -> NewGrant {
        NewGrant::new(token(text), "import")
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    async fn spare(store: &Store) -> Option<Secret> {
        let work = |connection: &Connection| {
            let sql = "SELECT spare_token, spare_token_key FROM grants";
            connection.query_row(sql, [], |row| Kept::read(row, "spare_token"))
        };
        let kept = store.0.committer.run("look", work).await.unwrap();
        kept.map(|kept| kept.open(&store.ring(), "alerts").unwrap())
    }

    #[tokio::test]
    async fn a_grant_outlives_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.grant(&name()).await.unwrap(), None);
        let given = NewGrant {
            client: Some("me at b.c".into()),
            origin: "device-code",
            account: Some("alerts@example.com".into()),
            by: Some("ada".into()),
            scopes: Some(vec!["c".into()]),
            refresh_until: Some(at(9)),
            ..new("r1")
        };
        let version = store.put_grant(&name(), given, at(1)).await.unwrap();
        let scopes = Touch { scopes: Some(vec!["a".into(), "b".into()]), ..Touch::default() };
        store.touch(&name(), (version.consent, None), scopes, at(2)).await.unwrap();
        let refresh = Touch { refresh: Some((at(12), Some(true))), ..Touch::default() };
        store.touch(&name(), (version.consent, None), refresh, at(3)).await.unwrap();
        store.touch(&name(), (version.consent, None), Touch::default(), at(3)).await.unwrap();
        store.note_life(&name(), version.consent, Duration::from_secs(7)).await.unwrap();
        store.note_life(&name(), version.consent + 1, Duration::from_secs(8)).await.unwrap();
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        let grant = store.grant(&name()).await.unwrap().unwrap();
        let expected = Grant {
            refresh_token: token("r1"),
            version,
            client: Some("me at b.c".into()),
            origin: "device-code".into(),
            account: Some("alerts@example.com".into()),
            by: Some("ada".into()),
            scopes: Some(vec!["a".into(), "b".into()]),
            obtained_at: at(1),
            last_renewed_at: Some(at(3)),
            refresh_until: Some(at(12)),
            refresh_moves: Some(true),
            lasted: Some(Duration::from_secs(7)),
        };
        assert_eq!(grant, expected);
    }

    #[tokio::test]
    async fn how_long_a_consent_lasted_is_told_of_the_next_until_one_outlives_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut version = store.put_grant(&name(), new("r1"), at(0)).await.unwrap();
        store.note_life(&name(), version.consent, Duration::from_secs(7)).await.unwrap();
        for (renewed, lasted) in [(6, Some(7)), (7, Some(7)), (8, None)] {
            version = store.put_grant(&name(), new("r"), at(0)).await.unwrap();
            store.touch(&name(), (version.consent, None), Touch::default(), at(renewed)).await.unwrap();
            let next = store.put_grant(&name(), new("s"), at(0)).await.unwrap();
            assert!(next.consent > version.consent);
            let grant = store.grant(&name()).await.unwrap().unwrap();
            assert_eq!((grant.lasted, grant.refresh_moves), (lasted.map(Duration::from_secs), None), "{renewed}");
        }
    }

    #[tokio::test]
    async fn a_token_is_replaced_by_compare_and_swap_and_the_one_before_it_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let first = store.put_grant(&name(), new("r1"), at(1)).await.unwrap();
        let Replaced::Done(second) = store.replace_refresh_token(&name(), first, &token("r2"), at(2)).await.unwrap() else {
            panic!()
        };
        assert_eq!(spare(&store).await, Some(token("r1")));
        // Asked again after an answer that did not come: it is there.
        assert_eq!(store.replace_refresh_token(&name(), first, &token("r2"), at(2)).await.unwrap(), Replaced::Done(second));
        // A late one of the same consent is kept beside.
        assert_eq!(store.replace_refresh_token(&name(), first, &token("r2b"), at(3)).await.unwrap(), Replaced::Late);
        assert_eq!(spare(&store).await, Some(token("r2b")));
        let grant = store.grant(&name()).await.unwrap().unwrap();
        assert_eq!((grant.refresh_token, grant.version, grant.last_renewed_at), (token("r2"), second, Some(at(3))));
    }

    #[tokio::test]
    async fn a_token_of_a_grant_that_is_no_more_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let first = store.put_grant(&name(), new("r1"), at(1)).await.unwrap();
        let second = store.put_grant(&name(), new("s1"), at(1)).await.unwrap();
        assert!(second.consent > first.consent && second.generation > first.generation);
        assert_eq!(store.replace_refresh_token(&name(), first, &token("r2"), at(2)).await.unwrap(), Replaced::Superseded);
        assert_eq!(store.grant(&name()).await.unwrap().unwrap().refresh_token, token("s1"));
        let other = Name::parse("other").unwrap();
        assert_eq!(store.replace_refresh_token(&other, first, &token("r2"), at(2)).await.unwrap(), Replaced::Superseded);
    }

    #[tokio::test]
    async fn only_the_grant_that_was_meant_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let first = store.put_grant(&name(), new("r1"), at(1)).await.unwrap();
        let second = store.put_grant(&name(), new("s1"), at(2)).await.unwrap();
        assert!(!store.drop_grant(&name(), first.consent).await.unwrap());
        assert!(store.drop_grant(&name(), second.consent).await.unwrap());
        assert_eq!(store.grant(&name()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn of_many_at_once_one_replaces_and_all_end() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let first = store.put_grant(&name(), new("r1"), at(1)).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..300 {
            let store = store.clone();
            tasks.spawn(async move {
                store.replace_refresh_token(&name(), first, &token(&format!("r2-{number}")), at(2)).await.unwrap()
            });
        }
        let all = tasks.join_all().await;
        assert_eq!(all.iter().filter(|replaced| matches!(replaced, Replaced::Done(_))).count(), 1);
        assert_eq!(all.iter().filter(|replaced| **replaced == Replaced::Late).count(), 299);
    }
}
