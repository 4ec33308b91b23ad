//! What happens without being asked, and beside what was asked.

use super::*;

#[tokio::test]
async fn the_background_renews_ahead_what_is_used_and_daily_what_is_not() {
    let bench = Bench::with_grant(numbered).await;
    let tick = async |passed| {
        bench.pass(passed);
        bench.tokens.tick().await;
        bench.settle().await;
        bench.endpoint.asked()
    };
    // Mailbox b has no grant: that asks nobody.
    assert_eq!(tick(0).await, 1, "the first look at a new grant");
    assert_eq!(tick(3600).await, 1, "nobody uses it");
    assert_eq!(tick(23 * 3600).await, 2, "the day is over");
    bench.access("a").await.unwrap();
    assert_eq!(tick(2999).await, 2);
    assert_eq!(tick(1).await, 3, "ten minutes ahead, because it is used");
}

#[tokio::test]
async fn the_background_ends_when_told_and_lets_renewals_land() {
    let bench =
        Bench::with_grant(|_, _| json(200, r#"{"access_token":"at","expires_in":3600,"refresh_token":"r2"}"#.into())).await;
    bench.endpoint.leave.forget_permits(10_000);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let background = tokio::spawn(bench.tokens.clone().run(stopped.clone(), stopped));
    while bench.endpoint.asked() == 0 {
        tokio::task::yield_now().await;
    }
    stop.send(true).unwrap();
    bench.endpoint.leave.add_permits(10_000);
    background.await.unwrap();
    assert_eq!(bench.stored().await, "r2");
}

#[tokio::test]
async fn a_daemon_that_stops_renews_only_what_is_asked_for() {
    let bench =
        Bench::with_grant(|_, _| json(200, r#"{"access_token":"at","expires_in":3600,"refresh_token":"r2"}"#.into())).await;
    let (stop, stopped) = tokio::sync::watch::channel(true);
    let (end, ended) = tokio::sync::watch::channel(false);
    let background = tokio::spawn(bench.tokens.clone().run(stopped, ended));
    let begun = tokio::time::timeout(Duration::from_secs(1), async {
        while bench.endpoint.asked() == 0 && !background.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(begun.await.is_err(), "a renewal, or the end, although messages are under way");
    assert_eq!(bench.access("a").await.unwrap(), "at");
    end.send(true).unwrap();
    background.await.unwrap();
    assert_eq!(bench.stored().await, "r2");
    drop(stop);
}

#[tokio::test]
async fn a_token_still_valid_is_given_at_once_while_the_server_is_slow_or_fails() {
    let bench = Bench::new(Grant::ClientCredentials, numbered).await;
    assert_eq!(bench.access("a").await.unwrap(), "at1");
    bench.endpoint.leave.forget_permits(10_000);
    bench.pass(3000);
    for _ in 0..3 {
        assert_eq!(bench.access("a").await.unwrap(), "at1");
    }
    bench.endpoint.now_answers(refuses("temporarily_unavailable"));
    bench.endpoint.leave.add_permits(10_000);
    bench.settle().await;
    assert_eq!((bench.endpoint.asked(), bench.state()), (2, State::RenewingFails));
    assert_eq!(bench.access("a").await.unwrap(), "at1");
    bench.pass(600);
    assert!(matches!(bench.access("a").await, Err(Unavailable::Transient { .. })));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_however_many_say_so() {
    let bench = Bench::new(Grant::ClientCredentials, numbered).await;
    let token = bench.tokens.access(&name("a")).await.unwrap();
    for _ in 0..20 {
        let _ = bench.tokens.refused(&name("a"), &token);
    }
    assert_eq!(bench.access("b").await.unwrap(), "at1", "it may be the mailbox that is not permitted");
    bench.tokens.tick().await;
    for _ in 0..20 {
        assert_eq!(bench.access("a").await.unwrap(), "at2");
        let _ = bench.tokens.refused(&name("a"), &token);
    }
    bench.tokens.tick().await;
    bench.settle().await;
    assert_eq!(bench.endpoint.asked(), 2);
    // Messages on their way together find the second one refused, too: a third would fare no better, but may later.
    let second = bench.tokens.access(&name("a")).await.unwrap();
    assert!(!bench.tokens.refused(&name("a"), &second));
    assert_eq!(bench.access("a").await.unwrap(), "at2");
    bench.pass(10);
    assert!(bench.tokens.refused(&name("a"), &second));
    assert_eq!(bench.access("a").await.unwrap(), "at3");
}
