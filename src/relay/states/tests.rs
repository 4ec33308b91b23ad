//! Every state by what makes it, and what is news.

use super::{super::health::Probe, *};
use crate::mail::Name;
use std::time::Duration;

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn advice(name: &'static str) -> Advice {
    Advice { name: name.into(), text: format!("do what {name} says") }
}

fn met(kind: Kind) -> Option<Met> {
    let trouble = Trouble { kind, probe: Probe::Login, reason: "met".into(), advice: Some(advice("met")) };
    Some(Met { trouble, since: at(1), next: at(60) })
}

fn fails(state: State, of_link: bool) -> Renewing {
    let found = Found { reason: Some("renewing".into()), advice: Some(advice("renewing")), ..Found::plain(state) };
    Renewing::Fails { found, of_link }
}

fn stood(state: State) -> Standing {
    Standing { state, ..Last::new(at(0)).standing }
}

fn ends(at: SystemTime) -> Ending {
    let link = Name::parse("contoso").unwrap();
    Ending { link, mailbox: None, what: "certificate", from: None, at, reason: "it ends".into(), advice: advice("ending") }
}

fn facts(met: Option<Met>, renewing: Renewing) -> MailboxFacts {
    MailboxFacts { paused: None, met, renewing, endings: Vec::new(), link: None }
}

#[test]
fn a_mailbox_is_in_the_gravest_of_the_states_that_are_true() {
    use State::*;
    let works = || Renewing::Works;
    let paused = |facts| MailboxFacts { paused: Some((at(0), advice("release"))), ..facts };
    let soon = |facts| MailboxFacts { endings: vec![ends(at(30 * DAY))], ..facts };
    let of_link = |facts, state| MailboxFacts { link: Some(Found::plain(state)), ..facts };
    let table = [
        (facts(None, works()), Ready),
        (soon(facts(None, works())), Expiring),
        (soon(facts(met(Kind::Passing), works())), Failing),
        (facts(met(Kind::Logins), works()), Failing),
        (facts(met(Kind::Quota), works()), OverQuota),
        (facts(met(Kind::Account), works()), NeedsRepair),
        (facts(met(Kind::Quota), fails(NeedsConsent, false)), NeedsConsent),
        (facts(met(Kind::Account), fails(NeedsConsent, false)), NeedsConsent),
        (facts(met(Kind::Account), fails(Failing, false)), NeedsRepair),
        (facts(met(Kind::Token), fails(NeedsRepair, false)), NeedsRepair),
        (facts(met(Kind::Token), fails(NeedsConsent, false)), NeedsConsent),
        (facts(met(Kind::Token), Renewing::Unknown), Failing),
        (facts(None, fails(Failing, false)), Failing),
        (of_link(facts(None, works()), NeedsRepair), NeedsRepair),
        (of_link(facts(met(Kind::Passing), works()), NeedsRepair), NeedsRepair),
        (of_link(facts(None, fails(NeedsConsent, false)), Failing), NeedsConsent),
        (paused(facts(met(Kind::Account), fails(NeedsConsent, false))), Paused),
        (paused(facts(None, works())), Paused),
    ];
    for (facts, expected) in table {
        let found = mailbox(&facts, &stood(Ready), at(9));
        assert_eq!((found.state, found.is_doubtful), (expected, false), "{facts:?}");
    }
}

#[test]
fn a_link_is_in_trouble_where_its_client_is() {
    use State::*;
    let look = |met, renewing: Vec<Renewing>, endings| link(&LinkFacts { met, renewing, endings }, &stood(Ready), at(9)).state;
    assert_eq!(look(None, vec![], vec![]), Ready);
    assert_eq!(look(None, vec![Renewing::Works, fails(NeedsConsent, false)], vec![]), Ready, "one mailbox's own");
    assert_eq!(look(None, vec![Renewing::Works, fails(NeedsRepair, true)], vec![]), NeedsRepair);
    assert_eq!(look(None, vec![fails(Failing, true), fails(NeedsRepair, true)], vec![]), NeedsRepair);
    assert_eq!(look(met(Kind::Token), vec![fails(NeedsRepair, true)], vec![ends(at(9))]), NeedsRepair);
    assert_eq!(look(None, vec![Renewing::Works], vec![ends(at(30 * DAY))]), Expiring);
    assert_eq!(look(None, vec![Renewing::Works], vec![ends(at(61 * DAY))]), Ready);
}

#[test]
fn what_was_told_stands_until_something_shows_otherwise() {
    use State::*;
    for state in [Failing, NeedsRepair, NeedsConsent] {
        let last = Standing { reason: Some("told".into()), advice: Some(advice("told")), ..stood(state) };
        let look = |met, renewing| mailbox(&facts(met, renewing), &last, at(9));
        let found = look(None, Renewing::Unknown);
        assert_eq!((found.state, found.reason.as_deref(), found.is_doubtful), (state, Some("told"), true), "after a start");
        let found = look(met(Kind::Token), Renewing::Unknown);
        assert_eq!((found.state, found.is_doubtful, found.next), (state, false, Some(at(60))), "a login finds out");
        assert_eq!(look(met(Kind::Token), Renewing::Works).state, state, "the token was not all, perhaps");
        assert_eq!(look(None, Renewing::Works).state, Ready);
        assert_eq!(look(None, fails(NeedsConsent, false)).state, NeedsConsent);
        assert_eq!(look(met(Kind::Quota), Renewing::Works).state, OverQuota, "a login was possible");
        assert_eq!(look(met(Kind::Passing), Renewing::Unknown).state, state, "a lesser trouble beside it mends nothing");
        assert_eq!(look(met(Kind::Quota), Renewing::Unknown).state, state.max(OverQuota), "nor does a quota");
        let link = link(&LinkFacts { met: None, renewing: vec![Renewing::Unknown], endings: vec![] }, &last, at(9));
        assert_eq!((link.state, link.is_doubtful), (state, true));
    }
    let repair = stood(NeedsRepair);
    assert_eq!(mailbox(&facts(None, fails(Failing, false)), &repair, at(9)).state, NeedsRepair, "an outage mends nothing");
    for state in [Ready, Expiring, OverQuota, Paused] {
        assert_eq!(mailbox(&facts(None, Renewing::Unknown), &stood(state), at(9)).state, Ready, "{state} is known by itself");
    }
}

fn status(state: tokens::State, is_alive: bool, tries: u32) -> tokens::Status {
    let name = Name::parse("alerts").unwrap();
    let failure =
        tokens::RenewalFailure { reason: "no answer".into(), advice: advice("wait"), of_link: false, tries, next: Some(at(10)) };
    tokens::Status {
        mailbox: name.clone(),
        link: name,
        grant: None,
        state,
        access_token_until: is_alive.then(|| at(3600)),
        failure: (tries > 0).then_some(failure),
        granted: None,
        refresh_until: None,
        refresh_end_reason: None,
    }
}

#[test]
fn a_renewal_that_fails_for_a_moment_is_no_news_and_one_that_needs_a_person_is() {
    use tokens::State as Token;
    let state = |status: tokens::Status| match Renewing::of(&status) {
        Renewing::Fails { found, .. } => Some(found.state),
        Renewing::Works | Renewing::Unknown => None,
    };
    for (status, expected) in [
        (status(Token::Ready, true, 0), None),
        (status(Token::None, false, 0), None),
        (status(Token::RenewingFails, false, 3), None),
        (status(Token::RenewingFails, false, 4), Some(State::Failing)),
        (status(Token::RenewingFails, true, 40), None),
        (status(Token::NeedsConsent, true, 1), Some(State::NeedsConsent)),
        (status(Token::NeedsRepair, false, 1), Some(State::NeedsRepair)),
    ] {
        assert_eq!(state(status.clone()), expected, "{status:?}");
    }
    assert_eq!(Renewing::of(&status(Token::Ready, false, 0)), Renewing::Unknown, "a token of yesterday shows nothing");
}

#[test]
fn a_change_is_told_once_with_its_time_and_another_cause_only_where_a_person_is_needed() {
    use State::*;
    let ready = Last::new(at(0));
    let repair = |name| Found { advice: Some(advice(name)), since: Some(at(5)), ..Found::plain(NeedsRepair) };
    let (first, news) = ready.follow(repair("one"), at(9));
    assert_eq!((news, first.standing.since), (News::State, at(5)), "since it was met");
    assert_eq!(first.follow(repair("one"), at(10)).1, News::None);
    let (second, news) = first.follow(repair("other"), at(10));
    assert_eq!((news, second.standing.since), (News::Again, at(5)), "another cause of the same state");
    let failing = |name| Found { advice: Some(advice(name)), ..Found::plain(Failing) };
    let (failed, _) = ready.follow(failing("one"), at(9));
    assert_eq!((failed.follow(failing("other"), at(10)).1, failed.standing.since), (News::None, at(9)));
    let (paused, _) = first.follow(Found { since: Some(at(20)), ..Found::plain(Paused) }, at(20));
    let (released, news) = paused.follow(Found { since: Some(at(25)), ..repair("one") }, at(30));
    assert_eq!((news, released.standing.since), (News::State, at(30)), "what lay beneath a pause comes up at its end");
}

#[test]
fn an_end_is_warned_of_when_it_has_come_nearer() {
    let until = at(100 * DAY);
    let ending = || Found { until: Some(until), ..Found::plain(State::Expiring) };
    let mut last = Last::new(at(0));
    let mut told = Vec::new();
    for day in 0..110 {
        let now = at(day * DAY + 1);
        let found = if until <= now + Duration::from_secs(60 * DAY) { ending() } else { Found::plain(State::Ready) };
        let (next, news) = last.follow(found, now);
        if news != News::None {
            told.push(forecast::days_left(until, now));
        }
        last = next;
    }
    assert_eq!(told, [60, 30, 7, 1, 0]);
    let later = Found { until: Some(at(150 * DAY)), ..Found::plain(State::Expiring) };
    let (renewed, news) = last.follow(later, at(110 * DAY));
    assert_eq!((news, renewed.warned), (News::None, Some(60)), "a new end begins anew");
    let secret = Found { until: Some(at(112 * DAY)), advice: Some(advice("secret")), ..Found::plain(State::Expiring) };
    let certificate = Found { until: Some(at(113 * DAY)), advice: Some(advice("certificate")), ..secret.clone() };
    let (told, _) = Last::new(at(0)).follow(secret, at(110 * DAY));
    let (told, news) = told.follow(certificate.clone(), at(110 * DAY));
    assert_eq!(news, News::Again, "the certificate ends, too, when the secret is mended");
    assert_eq!(told.follow(certificate, at(110 * DAY)).1, News::None);
}

#[test]
fn trouble_is_bad_news_and_a_pause_is_not() {
    use State::*;
    for (before, state, expected) in [
        (Ready, Failing, true),
        (Failing, NeedsRepair, true),
        (NeedsRepair, NeedsRepair, true),
        (Expiring, Expiring, true),
        (NeedsConsent, Failing, true),
        (Failing, Expiring, false),
        (Ready, Expiring, true),
        (Failing, Ready, false),
        (Ready, Paused, false),
        (Paused, Ready, false),
        (Paused, NeedsRepair, true),
    ] {
        assert_eq!(is_bad(state, before), expected, "{before} → {state}");
    }
}
