//! The one state of each link and each mailbox, decided from what its mail met, how renewing its tokens goes, what ends soon and what
//! an operator holds. Pure: `now` is always an argument.
//!
//! Of several that are true the gravest is told, in the order of [`State`]. What nobody knows anything of, since the process has just
//! started or what was wrong may have been mended, stands as it was told last until a login shows otherwise: a restart is no news.

use super::{
    health::{Kind, Trouble},
    standing::Standing,
};
use crate::{
    mail::{Advice, State},
    oauth::forecast::{self, Warning},
    tokens::{self, Ending},
};
use std::time::SystemTime;

/// Failures of a renewal in a row that are no news yet: the fourth comes after seven seconds.
const PASSING_RENEWALS: u32 = 3;

/// What the board says of one of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) trouble: Trouble,
    pub(super) since: SystemTime,
    pub(super) next: SystemTime,
}

/// How renewing the tokens of a mailbox goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Renewing {
    /// There is a token that lives.
    Works,
    /// There is none, and nothing is known to be wrong.
    Unknown,
    /// It fails, for the mailbox or for every mailbox of its link.
    Fails { found: Found, of_link: bool },
}

/// What is known of a link.
#[derive(Debug, Default)]
pub(super) struct LinkFacts {
    pub(super) met: Option<Met>,
    /// Of each of its mailboxes.
    pub(super) renewing: Vec<Renewing>,
    pub(super) endings: Vec<Ending>,
}

/// What is known of a mailbox.
#[derive(Debug)]
pub(super) struct MailboxFacts {
    /// Since when an operator holds it.
    pub(super) paused: Option<(SystemTime, Advice)>,
    pub(super) met: Option<Met>,
    pub(super) renewing: Renewing,
    pub(super) endings: Vec<Ending>,
    /// How its link stands, where that does not work.
    pub(super) link: Option<Found>,
}

/// How something was found to stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) state: State,
    pub(super) reason: Option<String>,
    pub(super) advice: Option<Advice>,
    /// Since when, where that is known.
    pub(super) since: Option<SystemTime>,
    pub(super) until: Option<SystemTime>,
    pub(super) next: Option<SystemTime>,
    /// It was told so before, and nothing that is known now says that it still is: a login finds out.
    pub(super) is_doubtful: bool,
}

/// What was told of a link or mailbox last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) standing: Standing,
    /// At how many days before the end it was warned of.
    pub(super) warned: Option<u32>,
}

/// Whether something is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing.
    None,
    /// It is in another state.
    State,
    /// It is in the same state for another reason, or its end has come nearer, or is another's.
    Again,
}

impl Renewing {
    /// What `status` says.
    pub(super) fn of(status: &tokens::Status) -> Self {
        let is_alive = status.access_token_until.is_some();
        let Some(failure) = &status.failure else { return if is_alive { Self::Works } else { Self::Unknown } };
        let state = match status.state {
            tokens::State::NeedsConsent => State::NeedsConsent,
            tokens::State::NeedsRepair => State::NeedsRepair,
            // Mail goes out as long as the token lives.
            _ if is_alive => return Self::Works,
            _ if failure.tries <= PASSING_RENEWALS => return Self::Unknown,
            _ => State::Failing,
        };
        let (reason, advice) = (Some(failure.reason.clone()), Some(failure.advice.clone()));
        let found = Found { reason, advice, next: failure.next, ..Found::plain(state) };
        Self::Fails { found, of_link: failure.of_link }
    }
}

impl Renewing {
    /// Whether it shows how the grant and the client are.
    fn is_known(&self) -> bool {
        match self {
            Self::Works => true,
            Self::Fails { found, .. } => needs_a_person(found.state),
            Self::Unknown => false,
        }
    }
}

impl Found {
    fn plain(state: State) -> Self {
        Self { state, reason: None, advice: None, since: None, until: None, next: None, is_doubtful: false }
    }

    /// As it was told last.
    fn still(standing: &Standing) -> Self {
        let Standing { state, reason, advice, .. } = standing.clone();
        Self { reason, advice, ..Self::plain(state) }
    }

    fn of_met(Met { trouble, since, next }: &Met) -> Self {
        let state = match trouble.kind {
            Kind::Passing | Kind::Logins | Kind::Token => State::Failing,
            Kind::Quota => State::OverQuota,
            Kind::Account | Kind::Sender => State::NeedsRepair,
        };
        let (reason, advice) = (Some(trouble.reason.clone()), trouble.advice.clone());
        Self { reason, advice, since: Some(*since), next: Some(*next), ..Self::plain(state) }
    }

    fn of_ending(ending: &Ending) -> Self {
        let (reason, advice) = (Some(ending.reason.clone()), Some(ending.advice.clone()));
        Self { reason, advice, until: Some(ending.at), ..Self::plain(State::Expiring) }
    }
}

/// How a link stands.
pub(super) fn link(facts: &LinkFacts, last: &Standing, now: SystemTime) -> Found {
    let failing = facts.renewing.iter().filter_map(|renewing| match renewing {
        Renewing::Fails { found, of_link: true } => Some(found.clone()),
        Renewing::Fails { .. } | Renewing::Works | Renewing::Unknown => None,
    });
    let mut found: Vec<Found> = failing.collect();
    // A renewal that a mailbox's own grant ends shows that the client is well.
    let is_known = facts.renewing.is_empty() || facts.renewing.iter().any(Renewing::is_known);
    found.extend(unexplained(facts.met.as_ref(), explains(&found, last), is_known, last));
    found.extend(ending(&facts.endings, now));
    gravest(found)
}

/// How a mailbox stands.
pub(super) fn mailbox(facts: &MailboxFacts, last: &Standing, now: SystemTime) -> Found {
    let mut found: Vec<Found> = facts.link.clone().into_iter().collect();
    if let Some((since, advice)) = &facts.paused {
        let reason = Some(super::board::PAUSED_WHY.to_owned());
        let (since, advice) = (Some(*since), Some(advice.clone()));
        found.push(Found { reason, advice, since, ..Found::plain(State::Paused) });
    }
    if let Renewing::Fails { found: renewing, .. } = &facts.renewing {
        found.push(renewing.clone());
    }
    found.extend(unexplained(facts.met.as_ref(), explains(&found, last), facts.renewing.is_known(), last));
    found.extend(ending(&facts.endings, now));
    gravest(found)
}

/// Whether this says why there is no token. That a server is away for now does not say that what needed a person is mended.
fn explains(found: &[Found], last: &Standing) -> bool {
    let says = |state: State| needs_a_person(state) || (state == State::Failing && !needs_a_person(last.state));
    found.iter().any(|found| says(found.state) && !found.is_doubtful)
}

/// What the board says, or what was told last where nobody knows better. A token that is missing is explained by how renewing goes.
fn unexplained(met: Option<&Met>, is_explained: bool, is_known: bool, last: &Standing) -> Option<Found> {
    let stood = Some(last).filter(|last| matches!(last.state, State::Failing | State::NeedsRepair | State::NeedsConsent));
    match (met, stood) {
        (Some(met), _) if met.trouble.kind == Kind::Token && is_explained => None,
        // The token is there again, or asked for: the next login shows whether that was all.
        (Some(met), Some(last)) if met.trouble.kind == Kind::Token => Some(Found { next: Some(met.next), ..Found::still(last) }),
        // Nothing says that the grant or the client is mended, since the process has just started.
        (Some(met), Some(last)) if !is_explained && !is_known && last.state > Found::of_met(met).state => {
            Some(Found { next: Some(met.next), is_doubtful: true, ..Found::still(last) })
        }
        (Some(met), _) => Some(Found::of_met(met)),
        (None, Some(last)) if !is_explained && !is_known => Some(Found { is_doubtful: true, ..Found::still(last) }),
        (None, _) => None,
    }
}

/// What ends soon, the first of them.
fn ending(endings: &[Ending], now: SystemTime) -> Option<Found> {
    // What has not begun to count is no better than what is over.
    let hinders = |ending: &&Ending| ending.from.filter(|from| now < *from).map_or(ending.at, |_| now);
    let soon = endings.iter().filter(|ending| ending.warning(now).is_some());
    soon.min_by_key(hinders).map(Found::of_ending)
}

/// Of the same state the first.
fn gravest(all: Vec<Found>) -> Found {
    all.into_iter().rev().max_by_key(|found| found.state).unwrap_or_else(|| Found::plain(State::Ready))
}

impl Last {
    /// What nothing was told of yet.
    pub(super) fn new(now: SystemTime) -> Self {
        let Found { state, reason, advice, until, next, .. } = Found::plain(State::Ready);
        Self { standing: Standing { state, reason, advice, since: now, until, next }, warned: None }
    }

    /// How it stands now, and whether that is to be told.
    pub(super) fn follow(&self, found: Found, now: SystemTime) -> (Self, News) {
        let before = &self.standing;
        let warned = found.until.and_then(|until| forecast::warning(until, now)).map(Warning::days);
        let Found { state, reason, advice, since, until, next, .. } = found;
        let news = match state == before.state {
            false => News::State,
            true if (needs_a_person(state) || state == State::Expiring)
                && cause(advice.as_ref()) != cause(before.advice.as_ref()) =>
            {
                News::Again
            }
            true if warned.is_some_and(|warned| self.warned.is_some_and(|before| warned < before)) => News::Again,
            true => News::None,
        };
        let since = match news {
            // The board has noted it a moment before this is looked at; but what lay beneath another state comes up only now.
            News::State if before.state == State::Paused => now,
            News::State => since.filter(|since| *since > before.since && *since <= now).unwrap_or(now),
            News::Again | News::None => before.since,
        };
        (Self { standing: Standing { state, reason, advice, since, until, next }, warned }, news)
    }
}

fn needs_a_person(state: State) -> bool {
    matches!(state, State::NeedsConsent | State::NeedsRepair)
}

/// What stays the same while the same trouble goes on: a provider's reply has another id each time, its advice has not.
fn cause(advice: Option<&Advice>) -> Option<&str> {
    advice.map(|advice| advice.name().unwrap_or(&advice.text))
}

/// Whether coming from `before` into `state` is bad news. A hold by an operator is neither, and trouble of any kind is bad.
pub(super) fn is_bad(state: State, before: State) -> bool {
    match state {
        State::Ready | State::Paused => false,
        State::Expiring => before.is_working() || before == State::Paused,
        State::Failing | State::OverQuota | State::NeedsRepair | State::NeedsConsent => true,
    }
}

#[cfg(test)]
mod tests;
