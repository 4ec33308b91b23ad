//! The clock that stories move (`tests/support/clock.rs`) is the clock that the daemon and its provider go by.

mod support;

use std::time::{Duration, Instant};
use support::{
    Program, SOON,
    clock::{Clock, DAY, Passing},
    story::Story,
};

fn begun(passing: Passing) -> (Story, Clock, Program) {
    let story = Story::new("microsoft", |text| format!("{text}\n[mailbox.sandbox.limits]\nmessages-per-connection = 1\n"));
    let clock = Clock::new(passing, story.directory.path(), story.http, story.relay);
    let daemon = clock.start(&story.config, story.directory.path());
    assert!(story.app().send().starts_with("250 "), "{}", daemon.output());
    (story, clock, daemon)
}

/// Waits for the provider's count of access tokens.
fn given(story: &Story, at_least: u64, daemon: &Program) {
    let deadline = Instant::now() + SOON;
    while story.stat("tokens_given") < at_least {
        assert!(Instant::now() < deadline, "no {at_least} access tokens\n{}", daemon.output());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_daemon_whose_date_was_moved_takes_its_token_for_expired() {
    let (story, mut clock, daemon) = begun(Passing::Date);
    assert_eq!(story.stat("tokens_given"), 1);
    clock.forward(Duration::from_secs(2 * 3600));
    assert!(story.app().send().starts_with("250 "), "{}", daemon.output());
    assert_eq!(story.stat("tokens_given"), 2, "{}", daemon.output());
    // The sandbox and the daemon show the same.
    let (ours, theirs) = (clock.now(), clock.provider_now());
    let apart = ours.duration_since(theirs).unwrap_or_else(|e| e.duration());
    assert!(apart < Duration::from_secs(5), "{apart:?}");
    let (status, output) = daemon.stop();
    assert_eq!(status, Some(0), "{output}");
}

#[test]
fn a_daemon_for_which_time_passed_renews_what_became_due() {
    let (story, mut clock, daemon) = begun(Passing::All);
    for day in 1..=40 {
        let before = story.stat("tokens_given");
        clock.forward(DAY);
        given(&story, before + 1, &daemon);
        if day % 20 == 0 {
            assert!(story.app().send().starts_with("250 "), "day {day}: {}", daemon.output());
        }
    }
    let log = daemon.output();
    let shown = chrono::DateTime::<chrono::Utc>::from(clock.now()).format("%Y-%m-%d").to_string();
    assert!(log.lines().last().is_some_and(|line| line.contains(&shown)), "the log does not show {shown}:\n{log}");
    let (status, output) = daemon.stop();
    assert_eq!(status, Some(0), "{output}");
}
