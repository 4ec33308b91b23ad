//! One renewal of a grant at a time, also over processes, and what is said of one that was interrupted.

use super::*;
use crate::store;

#[tokio::test]
async fn a_grant_that_another_process_renews_is_left_to_it() {
    let bench = Bench::with_grant(numbered).await;
    let now = *bench.clock.lock().unwrap();
    let version = bench.store.grant(&name("a")).await.unwrap().unwrap().version;
    bench.store.begin_renewal(&name("a"), version, now + Duration::from_secs(60), now).await.unwrap();
    let Err(Unavailable::Transient { reason, .. }) = bench.access("a").await else { panic!() };
    assert!(reason.contains("another process renews the grant of mailbox a"), "{reason}");
    assert_eq!((bench.endpoint.asked(), bench.state()), (0, State::RenewingFails));
    // The other one is done, and kept what it was given.
    bench.store.replace_refresh_token(&name("a"), version, &Secret::new("r2".into()), now).await.unwrap();
    bench.pass(60);
    assert_eq!(bench.access("a").await.unwrap(), "at1");
}

#[tokio::test]
async fn a_renewal_gives_its_lease_back_whatever_came_of_it() {
    let bench = Bench::with_grant(refuses("temporarily_unavailable")).await;
    assert!(bench.access("a").await.is_err());
    bench.endpoint.now_answers(numbered);
    bench.pass(20);
    assert_eq!(bench.access("a").await.unwrap(), "at2");
    let version = bench.store.grant(&name("a")).await.unwrap().unwrap().version;
    let now = *bench.clock.lock().unwrap();
    let began = bench.store.begin_renewal(&name("a"), version, now + Duration::from_secs(60), now).await.unwrap();
    assert_eq!(began, store::Began::Go { interrupted: None });
}

#[tokio::test]
async fn a_refused_grant_names_the_renewal_that_was_interrupted() {
    let bench = Bench::with_grant(refuses("invalid_grant")).await;
    let now = *bench.clock.lock().unwrap();
    let version = bench.store.grant(&name("a")).await.unwrap().unwrap().version;
    bench.store.begin_renewal(&name("a"), version, now + Duration::from_secs(60), now).await.unwrap();
    bench.pass(60);
    let Err(Unavailable::NeedsConsent { reason, .. }) = bench.access("a").await else { panic!() };
    assert!(reason.contains("ended during a renewal at 2027-01-15T08:00:00Z") && reason.contains("is lost"), "{reason}");
}
