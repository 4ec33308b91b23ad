//! When what a mailbox lives by ends, and how far ahead of that an operator is told.
//!
//! Some servers tell how long a refresh token lives; others document how long one may lie unused. What was told is not believed
//! for ever: a renewal that succeeds after the told end shows that it was wrong.

use std::time::{Duration, SystemTime};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// A day.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// How often a refresh token is used at least that lives for months: it shows what is wrong early.
const LONGEST_PAUSE: Duration = DAY;

/// How often one is used at most.
const SHORTEST_PAUSE: Duration = MINUTE;

/// So many uses fit into a life: three may fail before it ends.
const USES: u32 = 4;

/// Whether an end moves shows only in renewals that lie so far apart.
const APART: Duration = MINUTE;

/// How far the end of a consent may lie from a documented life and still be told by it.
const CLOSE: Duration = HOUR;

/// What is documented of a provider's refresh tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// One that is not used for so long ends.
    pub unused: Option<Duration>,
    /// One of a client that is not published yet ends so long after the consent, used or not.
    pub testing: Option<Duration>,
    /// An end that the server tells stays where it is.
    pub told_stays: bool,
}

/// What is known of a mailbox's refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// When the consent was given.
    pub obtained: SystemTime,
    /// When an access token was last made from it.
    pub renewed: Option<SystemTime>,
    /// Its end, as the server told it last.
    pub told: Option<SystemTime>,
    /// Whether a renewal moved that; `None`: not known yet.
    pub moves: Option<bool>,
    /// How long the consent before it lasted, where that was a documented life.
    pub lasted: Option<Duration>,
}

/// Why it ends then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The server said so; nothing moves it.
    Told,
    /// The server said so; a renewal moves it, or may.
    Moves,
    /// It may lie unused for so long.
    Unused(Duration),
    /// The client is not published: consents last so long.
    Testing(Duration),
}

/// When a refresh token is expected to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// When.
    pub at: SystemTime,
    /// Why then.
    pub why: Why,
}

impl Known {
    /// When it was last good for sure.
    fn last(&self) -> SystemTime {
        self.renewed.map_or(self.obtained, |renewed| renewed.max(self.obtained))
    }

    /// The told end, unless it was wrong.
    fn told(&self) -> Option<SystemTime> {
        self.told.filter(|told| *told > self.last())
    }

    fn moves(&self, facts: &Facts) -> Option<bool> {
        if facts.told_stays { Some(false) } else { self.moves }
    }

    /// Its end, of several the first.
    pub fn forecast(&self, facts: &Facts) -> Option<Forecast> {
        let after = |from: SystemTime, life: Option<Duration>| Some((from.checked_add(life?)?, life?));
        let testing = after(self.obtained, facts.testing);
        let told = self.told().map(|at| Forecast {
            at,
            why: match (self.moves(facts), testing) {
                (Some(false), Some((end, life))) if apart(at, end) <= CLOSE => Why::Testing(life),
                (Some(false), _) => Why::Told,
                (Some(true) | None, _) => Why::Moves,
            },
        });
        let again = testing.filter(|(end, life)| self.told.is_none() && self.lasted == Some(*life) && *end > self.last());
        let again = again.map(|(at, life)| Forecast { at, why: Why::Testing(life) });
        let unused = after(self.last(), facts.unused).map(|(at, life)| Forecast { at, why: Why::Unused(life) });
        [told, again, unused].into_iter().flatten().min_by_key(|forecast| forecast.at)
    }

    /// How long after a renewal the next one is due, so that it does not die unused.
    pub fn pause(&self, facts: &Facts) -> Duration {
        let moves = self.told().filter(|_| self.moves(facts) != Some(false));
        let life = moves.and_then(|told| told.duration_since(self.last()).ok()).into_iter().chain(facts.unused).min();
        life.map_or(LONGEST_PAUSE, |life| (life / USES).clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
    }

    /// Whether renewals keep `forecast` off: they move it, and `work` or had no reason yet to be missed.
    pub fn is_kept_off(&self, forecast: &Forecast, work: bool, now: SystemTime) -> bool {
        let length = |from: SystemTime| forecast.at.duration_since(from).unwrap_or_default();
        match forecast.why {
            Why::Told | Why::Testing(_) => false,
            Why::Moves | Why::Unused(_) => length(now) > Duration::ZERO && (work || length(now) > length(self.last()) / 2),
        }
    }

    /// What a renewal told at `now`: the end, and whether that moves.
    pub fn told_again(&self, told: SystemTime, now: SystemTime) -> (SystemTime, Option<bool>) {
        let Some(before) = self.told else { return (told, None) };
        let passed = now.duration_since(self.last()).unwrap_or_default();
        if passed < APART {
            return (told, self.moves);
        }
        // A server that counts down to the same end may be some seconds off.
        let moved = told.duration_since(before).is_ok_and(|moved| moved > passed / 2);
        (told, Some(moved))
    }

    /// The life that a grant has had which is refused at `now`, if that explains it.
    pub fn outlived(&self, facts: &Facts, now: SystemTime) -> Option<Why> {
        let (since, idle) = (age(self.obtained, now), age(self.last(), now));
        if let Some(unused) = facts.unused.filter(|unused| idle >= *unused) {
            return Some(Why::Unused(unused));
        }
        if let Some(told) = self.told().filter(|told| *told <= now) {
            let by_testing = facts.testing.filter(|life| apart(told, self.obtained + *life) <= CLOSE);
            return Some(match (by_testing, self.moves(facts)) {
                (Some(life), _) => Why::Testing(life),
                (None, Some(false)) => Why::Told,
                (None, Some(true) | None) => Why::Moves,
            });
        }
        // Good until shortly before, and refused after it: somebody watched.
        let testing = facts.testing.filter(|life| {
            let last = age(self.obtained, self.last());
            last <= *life + CLOSE
                && last + 2 * LONGEST_PAUSE > *life
                && since + CLOSE >= *life
                && since <= *life + 2 * LONGEST_PAUSE
        });
        testing.map(Why::Testing)
    }
}

fn age(from: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(from).unwrap_or_default()
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

/// How near an end is; the later ones are nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Warning {
    /// At most 60 days.
    Days60,
    /// At most 30 days.
    Days30,
    /// At most 7 days.
    Days7,
    /// At most one day.
    Day1,
    /// It is over.
    Ended,
    /// It has not begun yet, so that it does not serve either.
    NotYet,
}

impl Warning {
    /// Those of an end, from the farthest.
    pub const ALL: [Self; 5] = [Self::Days60, Self::Days30, Self::Days7, Self::Day1, Self::Ended];

    /// How many days remain at most.
    pub fn days(self) -> u32 {
        match self {
            Self::Days60 => 60,
            Self::Days30 => 30,
            Self::Days7 => 7,
            Self::Day1 => 1,
            Self::Ended | Self::NotYet => 0,
        }
    }

    /// The word in logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Days60 => "60-days",
            Self::Days30 => "30-days",
            Self::Days7 => "7-days",
            Self::Day1 => "1-day",
            Self::Ended => "ended",
            Self::NotYet => "not-yet",
        }
    }
}

/// The days that remain until `at`, the one that has begun counted; 0 when it is over.
pub fn days_left(at: SystemTime, now: SystemTime) -> u64 {
    let left = at.duration_since(now).unwrap_or_default();
    left.as_secs().div_ceil(DAY.as_secs()).max(u64::from(!left.is_zero()))
}

/// The nearest warning that is due at `now` of an end at `at`.
pub fn warning(at: SystemTime, now: SystemTime) -> Option<Warning> {
    let left = days_left(at, now);
    Warning::ALL.into_iter().rev().find(|warning| left <= u64::from(warning.days()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOGLE: Facts = Facts {
        unused: Some(Duration::from_secs(182 * 86_400)),
        testing: Some(Duration::from_secs(7 * 86_400)),
        told_stays: true,
    };
    const MICROSOFT: Facts = Facts { unused: Some(Duration::from_secs(90 * 86_400)), testing: None, told_stays: true };
    const CUSTOM: Facts = Facts { unused: None, testing: None, told_stays: false };

    /// Hours after the consent.
    fn at(hours: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + 1_000_000 * HOUR + u32::try_from(hours).unwrap() * HOUR
    }

    fn known(renewed: Option<u64>, told: Option<u64>, moves: Option<bool>) -> Known {
        Known { obtained: at(0), renewed: renewed.map(at), told: told.map(at), moves, lasted: None }
    }

    #[test]
    fn of_several_ends_the_first_is_foretold() {
        let week = Why::Testing(DAY * 7);
        type Row = (Facts, Known, Option<(u64, Why)>);
        let rows: &[Row] = &[
            // Nothing is known of a server that tells nothing.
            (CUSTOM, known(Some(5), None, None), None),
            (CUSTOM, known(None, Some(12), None), Some((12, Why::Moves))),
            (CUSTOM, known(Some(6), Some(18), Some(true)), Some((18, Why::Moves))),
            (CUSTOM, known(Some(6), Some(18), Some(false)), Some((18, Why::Told))),
            // It was wrong: a renewal succeeded after it.
            (CUSTOM, known(Some(13), Some(12), Some(false)), None),
            (MICROSOFT, known(None, None, None), Some((90 * 24, Why::Unused(DAY * 90)))),
            (MICROSOFT, known(Some(48), None, None), Some((92 * 24, Why::Unused(DAY * 90)))),
            // A single-page application: 24 hours, told.
            (MICROSOFT, known(Some(6), Some(24), None), Some((24, Why::Told))),
            (GOOGLE, known(Some(24), None, None), Some((183 * 24, Why::Unused(DAY * 182)))),
            (GOOGLE, known(Some(24), Some(7 * 24), None), Some((7 * 24, week))),
            // A person chose for how long.
            (GOOGLE, known(Some(24), Some(30 * 24), None), Some((30 * 24, Why::Told))),
            (GOOGLE, Known { lasted: Some(DAY * 7), ..known(Some(24), None, None) }, Some((7 * 24, week))),
            // This consent lasted: the screen was published meanwhile.
            (
                GOOGLE,
                Known { lasted: Some(DAY * 7), ..known(Some(8 * 24), None, None) },
                Some((190 * 24, Why::Unused(DAY * 182))),
            ),
            // The clock went back behind the consent.
            (MICROSOFT, Known { renewed: Some(at(0) - HOUR), ..known(None, None, None) }, Some((90 * 24, Why::Unused(DAY * 90)))),
        ];
        for (row, (facts, known, expected)) in rows.iter().enumerate() {
            let found = known.forecast(facts);
            assert_eq!(found, expected.map(|(hours, why)| Forecast { at: at(hours), why }), "row {row}: {known:?}");
        }
    }

    #[test]
    fn a_grant_that_nobody_uses_is_used_four_times_in_its_life_and_daily_at_least() {
        let minutes = |told: u64| Known { told: Some(at(0) + Duration::from_secs(told * 60)), ..known(None, None, None) };
        for (facts, known, pause) in [
            (CUSTOM, known(None, None, None), DAY),
            (CUSTOM, known(None, Some(12), None), HOUR * 3),
            (CUSTOM, known(Some(6), Some(18), Some(true)), HOUR * 3),
            (CUSTOM, known(Some(6), Some(18), Some(false)), DAY),
            (CUSTOM, known(Some(6), Some(6 + 24 * 90), Some(true)), DAY),
            (CUSTOM, minutes(30), MINUTE * 15 / 2),
            (CUSTOM, minutes(1), MINUTE),
            (MICROSOFT, known(Some(6), None, None), DAY),
            (GOOGLE, known(Some(6), Some(7 * 24), None), DAY),
        ] {
            assert_eq!(known.pause(&facts), pause, "{known:?}");
        }
    }

    #[test]
    fn an_end_that_renewals_move_is_one_only_once_they_were_missed() {
        let of = |facts: Facts, known: Known| (known, known.forecast(&facts).unwrap());
        let (sliding, unused) = (of(CUSTOM, known(Some(0), Some(12), Some(true))), of(MICROSOFT, known(Some(0), None, None)));
        let fixed = of(GOOGLE, known(Some(0), Some(7 * 24), None));
        for ((known, forecast), work, hours, kept_off) in [
            (sliding, true, 11, true),
            (sliding, true, 12, false),
            (sliding, false, 5, true),
            (sliding, false, 6, false),
            (unused, true, 80 * 24, true),
            (unused, false, 44 * 24, true),
            (unused, false, 46 * 24, false),
            (fixed, true, 1, false),
        ] {
            assert_eq!(known.is_kept_off(&forecast, work, at(hours)), kept_off, "{forecast:?} at {hours}");
        }
    }

    #[test]
    fn a_renewal_shows_whether_the_end_moves() {
        let seconds = |seconds| Duration::from_secs(seconds);
        for (before, told, now, moves) in [
            (known(None, None, None), at(12), at(0), None),
            (known(None, Some(12), None), at(15), at(3), Some(true)),
            (known(None, Some(12), None), at(12), at(3), Some(false)),
            (known(None, Some(12), None), at(12) + seconds(3), at(3), Some(false)),
            (known(None, Some(12), None), at(12) - seconds(3), at(3), Some(false)),
            // Too soon to tell.
            (known(None, Some(12), None), at(12) + seconds(5), at(0) + seconds(5), None),
            (known(Some(3), Some(15), Some(true)), at(15), at(3) + seconds(5), Some(true)),
        ] {
            assert_eq!(before.told_again(told, now), (told, moves), "{before:?} {told:?}");
        }
    }

    #[test]
    fn a_refused_grant_is_explained_by_the_life_that_it_had() {
        let week = Some(Why::Testing(DAY * 7));
        let rows: &[(Facts, Known, u64, Option<Why>)] = &[
            (GOOGLE, known(Some(6 * 24 + 2), None, None), 7 * 24 + 2, week),
            (GOOGLE, known(Some(167), None, None), 168, week),
            (GOOGLE, known(Some(5 * 24 + 1), None, None), 7 * 24, week),
            // The provider's clock is a little before ours.
            (GOOGLE, known(Some(167), None, None), 167, week),
            // Nobody watched, or it was something else.
            (GOOGLE, known(Some(2 * 24), None, None), 7 * 24 + 2, None),
            (GOOGLE, known(Some(6 * 24 + 2), None, None), 6 * 24 + 3, None),
            (GOOGLE, known(Some(8 * 24), None, None), 9 * 24, None),
            (GOOGLE, known(Some(6 * 24 + 2), None, None), 20 * 24, None),
            (GOOGLE, known(Some(2 * 24), Some(7 * 24), None), 20 * 24, week),
            (GOOGLE, known(Some(2 * 24), Some(30 * 24), None), 31 * 24, Some(Why::Told)),
            (GOOGLE, known(Some(24), None, None), 183 * 24, Some(Why::Unused(DAY * 182))),
            (MICROSOFT, known(Some(24), None, None), 91 * 24, Some(Why::Unused(DAY * 90))),
            (MICROSOFT, known(Some(24), None, None), 90 * 24, None),
            (CUSTOM, known(Some(3), Some(15), Some(true)), 16, Some(Why::Moves)),
            (CUSTOM, known(Some(3), Some(15), Some(true)), 14, None),
        ];
        for (row, (facts, known, hours, expected)) in rows.iter().enumerate() {
            assert_eq!(known.outlived(facts, at(*hours)), *expected, "row {row}: {known:?} at {hours}");
        }
    }

    #[test]
    fn warnings_are_due_at_60_30_7_and_1_days_and_at_the_end() {
        let end = at(100 * 24);
        for (before, days, due) in [
            (DAY * 90, 90, None),
            (DAY * 60 + MINUTE, 61, None),
            (DAY * 60, 60, Some(Warning::Days60)),
            (DAY * 31, 31, Some(Warning::Days60)),
            (DAY * 30, 30, Some(Warning::Days30)),
            (DAY * 7 + MINUTE, 8, Some(Warning::Days30)),
            (DAY * 7, 7, Some(Warning::Days7)),
            (DAY + MINUTE, 2, Some(Warning::Days7)),
            (DAY, 1, Some(Warning::Day1)),
            (MINUTE, 1, Some(Warning::Day1)),
            (Duration::from_millis(1), 1, Some(Warning::Day1)),
            (Duration::ZERO, 0, Some(Warning::Ended)),
        ] {
            let now = end - before;
            assert_eq!((days_left(end, now), warning(end, now)), (days, due), "{before:?}");
        }
        assert_eq!((days_left(end, end + DAY), warning(end, end + DAY)), (0, Some(Warning::Ended)));
        assert!(
            Warning::ALL.is_sorted() && Warning::ALL.map(Warning::word) == ["60-days", "30-days", "7-days", "1-day", "ended"]
        );
    }
}
