//! What is wrong with one mailbox, link or sender, and when it is tried again. Pure: `now` is always an argument.
//!
//! A refused login repeated for every message is how other programs get accounts locked. So trouble keeps messages back, and one
//! probe at a time finds out whether it is over, at growing intervals.

use crate::{
    mail::Advice,
    queue::{Hold, Scope},
};
use std::time::{Duration, SystemTime};

/// When a probe is tried again that found no place.
const PUT_OFF: Duration = Duration::from_secs(2);

/// What is told of a mailbox that a login is to show to work or not.
const UNKNOWN: &str = "it is not known yet whether it works";

/// What kind of trouble it is; decides the intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Connect, TLS, busy server: often over at once, so the first failure costs no wait.
    Passing,
    /// The provider counts logins (`454 4.7.0`): it asks for ten minutes.
    Logins,
    /// There is no access token. `tokens` paces its own requests, so looking again costs nothing.
    Token,
    /// A person must act.
    Account,
    /// The provider's quota must reset.
    Quota,
    /// This From may not be used.
    Sender,
}

impl Kind {
    /// Seconds before the first, second … probe; the last repeats.
    fn intervals(self) -> &'static [u64] {
        match self {
            Self::Passing => &[0, 1, 2, 5, 10, 30, 60],
            Self::Logins => &[60, 120, 300, 600],
            Self::Token => &[10],
            Self::Account | Self::Quota | Self::Sender => &[60, 120, 300, 600, 1800, 3600],
        }
    }

    /// The word in listings and in the store.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Logins => "logins",
            Self::Token => "token",
            Self::Account => "account",
            Self::Quota => "quota",
            Self::Sender => "sender",
        }
    }

    fn named(word: &str) -> Option<Self> {
        [Self::Passing, Self::Logins, Self::Token, Self::Account, Self::Quota, Self::Sender]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

/// What can show that trouble is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// A login: the trouble came before any message.
    Login,
    /// One real message.
    Message,
}

impl Probe {
    fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Message => "message",
        }
    }
}

/// What went wrong, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    pub(super) probe: Probe,
    pub(super) reason: String,
    pub(super) advice: Option<Advice>,
}

impl Trouble {
    /// What stays the same while the same trouble goes on: a provider's reply has a different id each time, its advice has not.
    fn cause(&self) -> &str {
        self.advice.as_ref().map_or(&self.reason, |advice| &advice.text)
    }
}

/// Whether messages may go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    /// They may.
    Go,
    /// One may, to find out; or a login.
    Probe(Probe),
    /// Not before this.
    Wait(SystemTime),
    /// A probe is under way, and says before this.
    Probing(SystemTime),
}

/// How something stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Health(Option<State>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    trouble: Trouble,
    since: SystemTime,
    tries: u32,
    next: SystemTime,
    /// A probe is under way and has not said yet.
    probing: bool,
}

impl State {
    fn new(trouble: Trouble, since: SystemTime, tries: u32, now: SystemTime) -> Self {
        let intervals = trouble.kind.intervals();
        let wait = intervals[usize::try_from(tries).unwrap_or(usize::MAX).min(intervals.len() - 1)];
        Self { next: now + Duration::from_secs(wait), trouble, since, tries, probing: false }
    }

    /// Passing trouble that may be over already: the first failure is only noted.
    fn is_only_noted(&self) -> bool {
        self.trouble.kind == Kind::Passing && self.tries == 0
    }
}

impl Health {
    /// Whether messages may go now.
    pub(super) fn may(&self, now: SystemTime) -> May {
        match &self.0 {
            None => May::Go,
            Some(state) if now < state.next && state.probing => May::Probing(state.next),
            Some(state) if now < state.next => May::Wait(state.next),
            Some(state) if state.is_only_noted() => May::Go,
            Some(state) => May::Probe(state.trouble.probe),
        }
    }

    /// A probe begins; it keeps the others out for as long as it may take.
    pub(super) fn probe(&mut self, now: SystemTime, patience: Duration) {
        if let Some(state) = self.0.as_mut().filter(|state| !state.is_only_noted()) {
            (state.next, state.probing) = (now + patience, true);
        }
    }

    /// Notes a failure. Whether this is news: it was not in this trouble, for this reason, before.
    pub(super) fn failed(&mut self, trouble: Trouble, now: SystemTime) -> bool {
        // A probe that did not even get to the login does not say that a hold is over.
        let goes_on = |before: Kind| before == trouble.kind || trouble.kind == Kind::Passing;
        let known = self.0.take().filter(|state| goes_on(state.trouble.kind));
        let is_news = known.as_ref().is_none_or(|s| s.trouble.kind == trouble.kind && s.trouble.cause() != trouble.cause());
        let next = match known {
            // Messages that were under way together fail together: that is one failure.
            Some(state) if now < state.next && !state.probing => State { trouble: merged(&state, trouble), ..state },
            Some(state) => {
                let tries = state.tries + u32::from(state.trouble.kind == trouble.kind);
                let since = state.since;
                State::new(merged(&state, trouble), since, tries, now)
            }
            None => State::new(trouble, now, 0, now),
        };
        self.0 = Some(next);
        is_news
    }

    /// Notes that a probe was given up before it found out anything: the next one has to wait.
    pub(super) fn given_up(&mut self, now: SystemTime) {
        if let Some(state) = self.0.take() {
            self.0 = Some(match state.probing {
                true => State::new(state.trouble, state.since, state.tries + 1, now),
                false => state,
            });
        }
    }

    /// Notes that a probe could not even begin, for want of a place: it is tried again soon.
    pub(super) fn put_off(&mut self, now: SystemTime) {
        if let Some(state) = &mut self.0 {
            (state.next, state.probing) = (now + PUT_OFF, false);
        }
    }

    /// Notes that it works; whether this is news.
    pub(super) fn worked(&mut self) -> bool {
        self.0.take().is_some_and(|state| !state.is_only_noted())
    }

    /// Lets a login find out at once whether it works, unless trouble is known; whether it is to. Nothing is held for it beyond that
    /// login, and whether there is a token is what it shows first.
    pub(super) fn doubt(&mut self, now: SystemTime) -> bool {
        if self.stands_still() {
            return false;
        }
        let trouble = Trouble { kind: Kind::Token, probe: Probe::Login, reason: UNKNOWN.to_owned(), advice: None };
        self.0 = Some(State { trouble, since: now, tries: 0, next: now, probing: false });
        true
    }

    /// Lets it be tried at once: what was wrong may have been mended. It counts as in trouble until something shows otherwise.
    pub(super) fn forgive(&mut self, now: SystemTime) {
        if let Some(state) = self.0.as_mut().filter(|state| !state.is_only_noted()) {
            (state.next, state.tries, state.probing) = (now, state.tries.max(1), false);
        }
    }

    /// Whether it is in trouble that lasts: then nothing expires meanwhile.
    pub(super) fn stands_still(&self) -> bool {
        self.0.as_ref().is_some_and(|state| !state.is_only_noted())
    }

    /// Whether the provider counts logins, so that none is to be made before its time.
    pub(super) fn counts_logins(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.trouble.kind == Kind::Logins)
    }

    /// Whether nothing but a delivered message shows that it is over: the account or a quota refused whole messages.
    pub(super) fn needs_delivery(&self) -> bool {
        let whole = |trouble: &Trouble| trouble.probe == Probe::Message && matches!(trouble.kind, Kind::Account | Kind::Quota);
        self.0.as_ref().is_some_and(|state| whole(&state.trouble))
    }

    /// What is wrong, since when, and when it is tried again.
    pub(super) fn trouble(&self) -> Option<(&Trouble, SystemTime, SystemTime)> {
        let state = self.0.as_ref().filter(|state| !state.is_only_noted())?;
        Some((&state.trouble, state.since, state.next))
    }

    /// As it outlives the process; passing trouble does not.
    pub(super) fn hold(&self, scope: Scope) -> Option<Hold> {
        let state = self.0.as_ref().filter(|state| state.trouble.kind != Kind::Passing)?;
        let Trouble { kind, probe, reason, advice } = state.trouble.clone();
        Some(Hold {
            scope,
            kind: kind.word().to_owned(),
            probe: probe.word().to_owned(),
            reason,
            advice,
            since: state.since,
            tries: state.tries,
            next: state.next,
        })
    }

    /// As an earlier process left it. A start is a person's act, so it is probed soon; but not at once, lest a daemon that is
    /// restarted again and again hammers the provider.
    pub(super) fn restored(hold: &Hold, now: SystemTime) -> Self {
        let Some(kind) = Kind::named(&hold.kind) else { return Self(None) };
        let probe = if hold.probe == Probe::Login.word() { Probe::Login } else { Probe::Message };
        let trouble = Trouble { kind, probe, reason: hold.reason.clone(), advice: hold.advice.clone() };
        let next = hold.next.min(now + Duration::from_secs(kind.intervals()[0]));
        Self(Some(State { trouble, since: hold.since, tries: hold.tries, next, probing: false }))
    }
}

/// A hold stays what it is when its probe meets passing trouble; only the words are new.
fn merged(state: &State, trouble: Trouble) -> Trouble {
    match state.trouble.kind == trouble.kind {
        true => trouble,
        false => Trouble { reason: trouble.reason, ..state.trouble.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn trouble(kind: Kind, reason: &str) -> Trouble {
        Trouble { kind, probe: Probe::Message, reason: reason.into(), advice: None }
    }

    #[test]
    fn a_hold_is_probed_once_at_growing_intervals() {
        let (mut health, mut now) = (Health::default(), 0);
        assert!(health.failed(trouble(Kind::Account, "no permission"), at(now)));
        for wait in [60, 120, 300, 600, 1800, 3600, 3600] {
            assert_eq!(health.may(at(now + wait - 1)), May::Wait(at(now + wait)));
            now += wait;
            assert_eq!(health.may(at(now)), May::Probe(Probe::Message));
            health.probe(at(now), PATIENCE);
            assert!(matches!(health.may(at(now)), May::Probing(_)), "others wait for the probe");
            assert!(!health.failed(trouble(Kind::Account, "no permission"), at(now)), "said once");
        }
        assert!(health.worked());
        assert_eq!(health.may(at(now)), May::Go);
    }

    #[test]
    fn only_a_delivery_ends_what_refused_whole_messages() {
        for (kind, probe, expected) in [
            (Kind::Quota, Probe::Message, true),
            (Kind::Account, Probe::Message, true),
            (Kind::Account, Probe::Login, false),
            (Kind::Passing, Probe::Message, false),
        ] {
            let mut health = Health::default();
            assert!(!health.needs_delivery());
            health.failed(Trouble { probe, ..trouble(kind, "x") }, at(0));
            assert_eq!(health.needs_delivery(), expected, "{kind:?} {probe:?}");
        }
    }

    #[test]
    fn a_first_passing_failure_costs_no_wait() {
        let mut health = Health::default();
        health.failed(trouble(Kind::Passing, "refused"), at(0));
        assert_eq!((health.may(at(0)), health.stands_still()), (May::Go, false));
        health.failed(trouble(Kind::Passing, "refused"), at(0));
        assert_eq!((health.may(at(0)), health.stands_still()), (May::Wait(at(1)), true));
        health.forgive(at(0));
        assert_eq!(health.may(at(0)), May::Probe(Probe::Message));
        assert!(health.worked(), "the end of forgiven trouble is news");
    }

    #[test]
    fn a_probe_without_a_place_comes_soon_again_and_a_reload_makes_no_trouble() {
        let mut health = Health::default();
        health.failed(trouble(Kind::Sender, "denied"), at(0));
        for now in [60, 62, 64] {
            assert_eq!(health.may(at(now)), May::Probe(Probe::Message));
            health.probe(at(now), PATIENCE);
            health.put_off(at(now));
            assert_eq!(health.may(at(now)), May::Wait(at(now + 2)));
        }
        let mut noted = Health::default();
        noted.failed(trouble(Kind::Passing, "refused"), at(0));
        noted.forgive(at(1));
        assert_eq!((noted.may(at(1)), noted.worked()), (May::Go, false));
    }

    #[test]
    fn messages_that_fail_together_count_as_one_failure() {
        let mut health = Health::default();
        for _ in 0..50 {
            health.failed(trouble(Kind::Quota, "quota"), at(0));
        }
        assert_eq!(health.may(at(60)), May::Probe(Probe::Message));
    }

    #[test]
    fn a_probe_that_finds_out_nothing_does_not_end_a_hold() {
        let mut health = Health::default();
        health.failed(trouble(Kind::Account, "no permission"), at(0));
        health.probe(at(60), PATIENCE);
        health.failed(trouble(Kind::Passing, "no route"), at(61));
        assert_eq!(health.may(at(120)), May::Wait(at(121)), "held for the same interval again");
        assert_eq!(health.trouble().map(|(trouble, ..)| trouble.kind), Some(Kind::Account));
        health.probe(at(121), PATIENCE);
        health.given_up(at(130));
        assert_eq!(health.may(at(131)), May::Wait(at(250)), "the next interval, not the probe's patience");
        assert_eq!(health.may(at(250)), May::Probe(Probe::Message));
    }

    #[test]
    fn a_hold_outlives_the_process_and_passing_trouble_does_not() {
        let name = crate::mail::Name::parse("alerts").unwrap();
        let mut health = Health::default();
        health.failed(trouble(Kind::Passing, "no route"), at(0));
        assert_eq!(health.hold(Scope::Mailbox(name.clone())), None);
        for time in [0, 60, 180, 480, 1080] {
            health.probe(at(time), PATIENCE);
            health.failed(trouble(Kind::Quota, "quota"), at(time));
        }
        let hold = health.hold(Scope::Mailbox(name)).unwrap();
        let mut restored = Health::restored(&hold, at(2000));
        assert_eq!(restored.may(at(2000)), May::Wait(at(2060)), "soon, but not at once");
        restored.probe(at(2060), PATIENCE);
        assert!(!restored.failed(trouble(Kind::Quota, "quota"), at(2060)), "no news");
        assert_eq!(restored.may(at(2061)), May::Wait(at(2060 + 3600)), "where it had been");
        assert_eq!(restored.trouble().map(|(_, since, _)| since), Some(at(0)));
        assert!(restored.worked());
    }
}
