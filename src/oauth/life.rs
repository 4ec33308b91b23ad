//! The life of an access token: when it is renewed, how long it is used, and what happens after a renewal failed.
//!
//! One renewal is in the air at a time ([`Flight`]); it carries the generation under which it set off. When the ground has
//! changed meanwhile (other settings, another grant) its access token is dropped. A refresh token that came with it is not
//! kept here but in the store, by the flight itself and before it lands: that one is kept whatever the generation says.

use std::time::{Duration, SystemTime};

use crate::{mail::Advice, secret::Secret};

/// A token is renewed this long before its end. Exchange's high-volume service refuses tokens in their last ten minutes.
pub const AHEAD: Duration = Duration::from_secs(600);

/// A token is not handed out in its last seconds: it must outlive the login that it is for.
const SLACK: Duration = Duration::from_secs(30);

/// The first pause after a transient failure; doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The first pause before a probe of what an administrator must mend; doubled each time up to [`LONGEST_PROBE`].
const FIRST_PROBE: Duration = Duration::from_secs(60);
/// The longest pause between two probes.
pub const LONGEST_PROBE: Duration = Duration::from_secs(3600);

/// How long before its end a token of this life is renewed: ten minutes, a fifth of the life for those below fifty minutes.
pub fn ahead(life: Duration) -> Duration {
    AHEAD.min(life / 5)
}

/// The pause after the `tries`th transient failure in a row (from 1): 1, 2, 4 … 600 seconds, less up to a quarter by `jitter`
/// (0 to 1), never below what the server asked for. Its own jitter above that keeps links from returning all at once.
pub fn backoff(tries: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let jitter = jitter.clamp(0.0, 1.0);
    let asked = retry_after.unwrap_or_default();
    doubled(FIRST_PAUSE, tries, LONGEST_PAUSE).mul_f64(1.0 - jitter / 4.0).max(asked.mul_f64(1.0 + jitter / 10.0))
}

/// The pause before the next probe, after `tries` failures in a row (from 1): 1, 2, 4 … 60 minutes, less up to a quarter.
pub fn probe_interval(tries: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let pause = doubled(FIRST_PROBE, tries, LONGEST_PROBE).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0);
    pause.max(retry_after.unwrap_or_default())
}

fn doubled(first: Duration, tries: u32, longest: Duration) -> Duration {
    // 2^20 times any first pause is beyond any longest one.
    first.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(longest)
}

/// An access token with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token.
    pub secret: Secret,
    /// When it was asked for.
    pub obtained: SystemTime,
    /// When it ends.
    pub expires: SystemTime,
    /// Which one it is; set when it lands, different for every token of a life.
    pub stamp: u64,
}

impl Token {
    fn life(&self) -> Duration {
        self.expires.duration_since(self.obtained).unwrap_or_default()
    }

    /// When it is to be renewed.
    pub fn renew_at(&self) -> SystemTime {
        self.expires - ahead(self.life())
    }

    /// Whether it can still serve a login: not in its last half minute, or last tenth of a short life.
    pub fn is_usable(&self, now: SystemTime) -> bool {
        now < self.expires - SLACK.min(self.life() / 10)
    }
}

/// Who can mend a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Time.
    Transient,
    /// A person's new consent.
    Consent,
    /// An administrator, at the provider.
    Administrator,
    /// An administrator, here.
    Configuration,
}

/// Why there is no new token, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Who can mend it.
    pub kind: Kind,
    /// What was tried, on what, and what came of it; no secrets.
    pub reason: String,
    /// The next step.
    pub advice: Advice,
    /// The pause that the server asked for.
    pub retry_after: Option<Duration>,
}

/// How renewing goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known to be wrong.
    Well,
    /// Time will mend it; tried again with growing pauses.
    Failing {
        /// Failures in a row.
        tries: u32,
        /// When it is tried again.
        next: SystemTime,
        /// The last failure.
        trouble: Trouble,
    },
    /// An administrator can mend it; probed at growing intervals.
    Probing {
        /// Failures in a row.
        tries: u32,
        /// When it is tried again.
        next: SystemTime,
        /// The last failure.
        trouble: Trouble,
    },
    /// Only a new consent mends it; not tried again until the grant is another.
    Stopped {
        /// The failure.
        trouble: Trouble,
    },
}

impl Health {
    /// What is wrong.
    pub fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Well => None,
            Self::Failing { trouble, .. } | Self::Probing { trouble, .. } | Self::Stopped { trouble } => Some(trouble),
        }
    }

    /// When a next attempt is allowed; `None` when none is.
    fn next(&self) -> Option<SystemTime> {
        match self {
            Self::Well => Some(SystemTime::UNIX_EPOCH),
            Self::Failing { next, .. } | Self::Probing { next, .. } => Some(*next),
            Self::Stopped { .. } => None,
        }
    }

    fn tries(&self) -> u32 {
        match self {
            Self::Failing { tries, .. } | Self::Probing { tries, .. } => *tries,
            Self::Well | Self::Stopped { .. } => 0,
        }
    }
}

/// A renewal in the air. Whoever holds it lands or abandons it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a flight that never lands blocks every later renewal"]
pub struct Flight {
    generation: u64,
}

/// The answer to one who needs a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// Use this one; where a flight comes with it, a renewal is due besides and is the asker's to start.
    Use(Token, Option<Flight>),
    /// A renewal is due: start it and wait for it.
    Renew(Flight),
    /// One is in the air: wait for it.
    Wait,
    /// None can be had now.
    Denied(Trouble),
}

/// What a landing meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Landing {
    /// A new token serves from now on.
    Renewed,
    /// The failure was taken note of; whether it is news, and when the next attempt is.
    Failed {
        /// Whether the trouble before it was of another kind or reason.
        news: bool,
        /// When it is tried again; `None`: not by itself.
        next: Option<SystemTime>,
    },
    /// The answer was for settings or a grant that are no more.
    Outdated,
}

/// One access token's life.
#[derive(Debug)]
pub struct Life {
    generation: u64,
    stamp: u64,
    token: Option<Token>,
    health: Health,
    in_flight: bool,
}

impl Life {
    /// A life without a token. Stamps begin above `stamp`, so that lives following each other under one name share none.
    pub fn new(stamp: u64) -> Self {
        Self { generation: 0, stamp, token: None, health: Health::Well, in_flight: false }
    }

    /// Answers one who needs a token now; `refused` is the stamp of a token that did not serve him.
    pub fn ask(&mut self, now: SystemTime, refused: Option<u64>) -> Ask {
        let flight = self.wants_renewal(now, refused).then(|| self.begin(now)).flatten();
        let usable = self.token.as_ref().filter(|token| token.is_usable(now) && Some(token.stamp) != refused);
        match (usable, flight) {
            (Some(token), flight) => Ask::Use(token.clone(), flight),
            (None, Some(flight)) => Ask::Renew(flight),
            (None, None) if self.in_flight => Ask::Wait,
            (None, None) => match self.health.trouble() {
                Some(trouble) => Ask::Denied(trouble.clone()),
                // Well, not in the air, no usable token: then a renewal is due and `begin` allows it.
                None => Ask::Wait,
            },
        }
    }

    /// Whether the token is missing, refused, or near its end.
    pub fn wants_renewal(&self, now: SystemTime, refused: Option<u64>) -> bool {
        self.token.as_ref().is_none_or(|token| now >= token.renew_at() || Some(token.stamp) == refused)
    }

    /// Begins a renewal, unless one is in the air or none is allowed yet.
    pub fn begin(&mut self, now: SystemTime) -> Option<Flight> {
        let allowed = !self.in_flight && self.health.next().is_some_and(|next| now >= next);
        allowed.then(|| {
            self.in_flight = true;
            Flight { generation: self.generation }
        })
    }

    /// Ends a renewal. `jitter` is by chance from 0 to 1.
    pub fn land(&mut self, flight: Flight, result: Result<Token, Trouble>, now: SystemTime, jitter: f64) -> Landing {
        self.in_flight = false;
        if flight.generation != self.generation {
            return Landing::Outdated;
        }
        match result {
            // Without this check a server's `expires_in: 0` would be asked again at once, for ever.
            Ok(token) if !token.is_usable(now) => self.fail(expired_on_arrival(), now, jitter),
            Ok(token) => {
                self.stamp += 1;
                self.token = Some(Token { stamp: self.stamp, ..token });
                self.health = Health::Well;
                Landing::Renewed
            }
            Err(trouble) => self.fail(trouble, now, jitter),
        }
    }

    fn fail(&mut self, trouble: Trouble, now: SystemTime, jitter: f64) -> Landing {
        let tries = self.health.tries().saturating_add(1);
        let news =
            self.health.trouble().is_none_or(|old| (old.kind, lasting(&old.reason)) != (trouble.kind, lasting(&trouble.reason)));
        self.health = match trouble.kind {
            Kind::Transient => Health::Failing { tries, next: now + backoff(tries, trouble.retry_after, jitter), trouble },
            Kind::Administrator | Kind::Configuration => {
                Health::Probing { tries, next: now + probe_interval(tries, trouble.retry_after, jitter), trouble }
            }
            Kind::Consent => Health::Stopped { trouble },
        };
        Landing::Failed { news, next: self.health.next() }
    }

    /// The settings or the grant changed: whatever was wrong may be mended, and a renewal in the air is outdated. The token
    /// goes too when it is no longer the right one.
    pub fn renew_ground(&mut self, keep_token: bool) {
        self.generation += 1;
        self.health = Health::Well;
        if !keep_token {
            self.token = None;
        }
    }

    /// What was wrong may be mended (its secret's file changed): the next attempt may be made at once.
    pub fn retry_now(&mut self, now: SystemTime) {
        if let Health::Failing { next, .. } | Health::Probing { next, .. } = &mut self.health {
            *next = now;
        }
    }

    /// How renewing goes.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The token, usable or not.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// The stamp of the last token.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Whether a renewal is in the air.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// When a renewal may begin; `None` while one is in the air, or when none helps.
    pub fn allowed(&self) -> Option<SystemTime> {
        self.health.next().filter(|_| !self.in_flight)
    }

    /// When something is to be done next for one that is in use: the renewal, or the next attempt.
    pub fn due(&self) -> Option<SystemTime> {
        let wanted = self.token.as_ref().map_or(SystemTime::UNIX_EPOCH, Token::renew_at);
        self.allowed().map(|next| next.max(wanted))
    }
}

fn expired_on_arrival() -> Trouble {
    Trouble {
        kind: Kind::Transient,
        reason: "the token endpoint gave an access token that had already expired when it arrived".into(),
        // A row of the provider's tables, which stand above.
        advice: Advice {
            name: "token-dead-on-arrival".into(),
            text: "check this machine's clock, and expires_in in the answers of the token endpoint".into(),
        },
        retry_after: None,
    }
}

/// What of a reason stays the same while the same trouble lasts: Entra ends its texts with the ids and the time of the request, and
/// some with its clock.
fn lasting(reason: &str) -> &str {
    let ends = [" Trace ID: ", " Current time: "].into_iter().filter_map(|end| reason.find(end));
    &reason[..ends.min().unwrap_or(reason.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn token(from: u64, life: u64) -> Token {
        Token { secret: Secret::new(format!("t{from}")), obtained: at(from), expires: at(from + life), stamp: 0 }
    }

    fn trouble(kind: Kind) -> Trouble {
        Trouble { kind, reason: "why".into(), advice: "do".into(), retry_after: None }
    }

    fn begin(life: &mut Life, now: u64) -> Flight {
        life.begin(at(now)).expect("allowed")
    }

    #[test]
    fn a_token_is_renewed_ten_minutes_ahead_and_a_short_one_a_fifth_ahead() {
        for (life, renew, usable) in [(3600, 3000, 3569), (5399, 4799, 5368), (600, 480, 569), (60, 48, 53), (10, 8, 8)] {
            let token = token(0, life);
            assert_eq!(token.renew_at(), at(renew), "{life}");
            assert!(token.is_usable(at(usable)) && !token.is_usable(at(usable + 1)), "{life}");
        }
    }

    #[test]
    fn pauses_grow_with_jitter_and_honour_retry_after() {
        let seconds = |tries, asked: Option<u64>, jitter| backoff(tries, asked.map(Duration::from_secs), jitter).as_secs_f64();
        assert_eq!([1, 2, 3, 10, 11, u32::MAX].map(|tries| seconds(tries, None, 0.0)), [1.0, 2.0, 4.0, 512.0, 600.0, 600.0]);
        assert_eq!(seconds(3, None, 1.0), 3.0);
        assert_eq!((seconds(1, Some(120), 0.0), seconds(1, Some(120), 1.0)), (120.0, 132.0));
        assert_eq!(seconds(u32::MAX, Some(1), 7.0), 450.0);
        let probe = |tries| probe_interval(tries, None, 0.0).as_secs();
        assert_eq!([1, 2, 6, 7, 100].map(probe), [60, 120, 1920, 3600, 3600]);
    }

    #[test]
    fn one_renewal_is_in_the_air_and_the_others_wait() {
        let mut life = Life::new(0);
        let Ask::Renew(flight) = life.ask(at(0), None) else { panic!() };
        assert_eq!(life.ask(at(0), None), Ask::Wait);
        assert_eq!(life.land(flight, Ok(token(0, 3600)), at(1), 0.0), Landing::Renewed);
        assert!(matches!(life.ask(at(1), None), Ask::Use(token, None) if token.stamp == 1));
        // Ahead of its end it serves while it is renewed, once.
        assert!(matches!(life.ask(at(3000), None), Ask::Use(_, Some(_))));
        assert!(matches!(life.ask(at(3000), None), Ask::Use(_, None)));
    }

    #[test]
    fn a_token_still_valid_serves_while_renewal_fails() {
        for kind in [Kind::Transient, Kind::Consent, Kind::Administrator, Kind::Configuration] {
            let mut life = Life::new(0);
            let flight = begin(&mut life, 0);
            life.land(flight, Ok(token(0, 3600)), at(0), 0.0);
            let flight = begin(&mut life, 3000);
            assert!(matches!(life.land(flight, Err(trouble(kind)), at(3000), 0.0), Landing::Failed { news: true, .. }));
            assert!(matches!(life.ask(at(3000), None), Ask::Use(_, None)), "{kind:?}");
            match kind {
                Kind::Consent => assert_eq!(life.ask(at(3600), None), Ask::Denied(trouble(kind))),
                Kind::Transient | Kind::Administrator | Kind::Configuration => {
                    let Ask::Renew(flight) = life.ask(at(3600), None) else { panic!() };
                    life.land(flight, Err(trouble(kind)), at(3600), 0.0);
                    assert_eq!(life.ask(at(3600), None), Ask::Denied(trouble(kind)));
                }
            }
        }
    }

    #[test]
    fn the_same_trouble_with_another_request_id_is_no_news() {
        let mut life = Life::new(0);
        let mut lands = |now, reason: &str| {
            let flight = begin(&mut life, now);
            let trouble = Trouble { reason: reason.into(), ..trouble(Kind::Transient) };
            matches!(life.land(flight, Err(trouble), at(now), 0.0), Landing::Failed { news: true, .. })
        };
        assert!(lands(0, "answered 503: AADSTS90033: Busy. Trace ID: 1 Timestamp: 1"));
        assert!(!lands(10, "answered 503: AADSTS90033: Busy. Trace ID: 2 Timestamp: 2"));
        assert!(lands(100, "answered 400: AADSTS700024: Outdated. Current time: 1. Trace ID: 3"));
        assert!(!lands(1000, "answered 400: AADSTS700024: Outdated. Current time: 2. Trace ID: 4"));
    }

    #[test]
    fn failures_are_paced_by_who_can_mend_them() {
        let mut life = Life::new(0);
        for (now, next, news) in [(0, 1, true), (1, 3, false), (3, 7, false)] {
            let flight = begin(&mut life, now);
            let landing = life.land(flight, Err(trouble(Kind::Transient)), at(now), 0.0);
            assert_eq!(landing, Landing::Failed { news, next: Some(at(next)) });
            assert_eq!(life.begin(at(next) - Duration::from_millis(1)), None);
        }
        // The count goes on when the trouble changes: 2^3 minutes.
        let flight = begin(&mut life, 7);
        let landing = life.land(flight, Err(trouble(Kind::Administrator)), at(7), 0.0);
        assert_eq!(landing, Landing::Failed { news: true, next: Some(at(7 + 480)) });
        life.retry_now(at(8));
        let flight = begin(&mut life, 8);
        assert_eq!(life.land(flight, Err(trouble(Kind::Consent)), at(8), 0.0), Landing::Failed { news: true, next: None });
        life.retry_now(at(9));
        assert_eq!((life.begin(at(1_000_000)), life.due()), (None, None));
        life.renew_ground(false);
        let flight = begin(&mut life, 9);
        assert_eq!(life.land(flight, Ok(token(9, 60)), at(9), 0.0), Landing::Renewed);
        assert_eq!((life.health(), life.due()), (&Health::Well, Some(at(57))));
    }

    #[test]
    fn a_late_answer_for_an_old_generation_is_dropped() {
        let mut life = Life::new(7);
        let flight = begin(&mut life, 0);
        life.renew_ground(true);
        assert_eq!(life.begin(at(0)), None, "a second renewal must not start beside the first");
        assert_eq!(life.land(flight, Ok(token(0, 60)), at(0), 0.0), Landing::Outdated);
        assert_eq!(life.token(), None);
        let flight = begin(&mut life, 1);
        assert_eq!(life.land(flight, Ok(token(1, 60)), at(1), 0.0), Landing::Renewed);
        assert_eq!(life.token().map(|token| token.stamp), Some(8));
        let flight = begin(&mut life, 2);
        life.renew_ground(false);
        assert_eq!(life.land(flight, Err(trouble(Kind::Consent)), at(2), 0.0), Landing::Outdated);
        assert_eq!((life.health(), life.token()), (&Health::Well, None));
    }

    #[test]
    fn a_refused_token_is_renewed_once_and_serves_others_meanwhile() {
        let mut life = Life::new(0);
        let flight = begin(&mut life, 0);
        life.land(flight, Ok(token(0, 3600)), at(0), 0.0);
        let Ask::Renew(flight) = life.ask(at(1), Some(1)) else { panic!() };
        assert_eq!(life.ask(at(1), Some(1)), Ask::Wait);
        assert!(matches!(life.ask(at(1), None), Ask::Use(token, None) if token.stamp == 1));
        life.land(flight, Ok(token(1, 3600)), at(1), 0.0);
        assert!(matches!(life.ask(at(2), Some(1)), Ask::Use(token, None) if token.stamp == 2));
    }

    #[test]
    fn a_token_that_has_ended_on_arrival_is_not_asked_for_again_at_once() {
        let mut life = Life::new(0);
        let flight = begin(&mut life, 0);
        assert!(matches!(life.land(flight, Ok(token(0, 0)), at(0), 0.0), Landing::Failed { .. }));
        assert!(matches!(life.ask(at(0), None), Ask::Denied(_)));
    }
}
