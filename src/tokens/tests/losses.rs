//! How a grant could be lost, or shown to the wrong server: rotated tokens that wait for the store, and renewals that outlive their link.

use super::*;
use rusqlite::Connection;

/// A bench whose endpoint rotates `r1` to `r2` once, while the store takes nothing; the other end of the store, to mend that.
async fn with_unsaved() -> (Bench, Connection) {
    let bench = Bench::with_grant(|number, form| {
        let rotated = if form["refresh_token"] == "r1" { "r2" } else { "r3" };
        json(200, format!(r#"{{"access_token":"at{number}-{}","expires_in":3600,"refresh_token":"{rotated}"}}"#, form["scope"]))
    })
    .await;
    let disk = Connection::open(bench.store.file()).unwrap();
    disk.execute_batch(
        "CREATE TRIGGER full BEFORE UPDATE OF refresh_token ON grants BEGIN SELECT raise(FAIL, 'disk is full'); END",
    )
    .unwrap();
    assert!(bench.access("a").await.is_err());
    assert_eq!(bench.stored().await, "r1");
    (bench, disk)
}

fn mend(disk: &Connection) {
    disk.execute_batch("DROP TRIGGER full").unwrap();
}

/// The settings with other scopes.
fn other_scopes(bench: &Bench) -> Settings {
    let mut settings = bench.settings.clone();
    let mut link = Link::clone(&settings.links[&name("contoso")]);
    link.scopes = vec!["other".into()];
    settings.links.insert(link.name.clone(), Arc::new(link));
    settings
}

/// The settings with another client.
fn other_client(bench: &Bench) -> Settings {
    let mut settings = bench.settings.clone();
    let mut link = Link::clone(&settings.links[&name("contoso")]);
    link.client_id = "another".into();
    settings.links.insert(link.name.clone(), Arc::new(link));
    settings
}

#[tokio::test]
async fn an_access_token_that_waited_for_the_store_is_not_given_out_for_other_scopes() {
    let (bench, disk) = with_unsaved().await;
    mend(&disk);
    bench.tokens.configure(&other_scopes(&bench)).unwrap();
    bench.pass(2);
    assert_eq!(bench.access("a").await.unwrap(), "at2-other", "the first one was made for other scopes");
    assert_eq!((bench.stored().await.as_str(), bench.endpoint.asked()), ("r3", 2), "r2 was kept before it was used");
}

#[tokio::test]
async fn a_rotated_token_that_waits_for_the_store_outlives_its_mailbox_in_the_settings() {
    let (bench, disk) = with_unsaved().await;
    let mut without = bench.settings.clone();
    without.mailboxes.remove(&name("a"));
    bench.tokens.configure(&without).unwrap();
    mend(&disk);
    bench.tokens.configure(&bench.settings).unwrap();
    bench.pass(2);
    assert_eq!((bench.access("a").await.unwrap().as_str(), bench.stored().await.as_str()), ("at1-mail", "r2"));
    assert_eq!(bench.endpoint.asked(), 1, "a second request would spend r1 again");
}

#[tokio::test]
async fn a_rotated_token_that_waits_for_the_store_is_saved_when_all_ends() {
    let (bench, disk) = with_unsaved().await;
    mend(&disk);
    let (stop, stopped) = tokio::sync::watch::channel(true);
    bench.tokens.clone().run(stopped.clone(), stopped).await;
    drop(stop);
    assert_eq!(bench.stored().await, "r2");
}

#[tokio::test]
async fn a_renewal_that_outlives_its_link_does_not_show_the_new_grant_to_the_old_server() {
    let shown: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = shown.clone();
    let bench = Bench::with_grant(move |number, form| {
        seen.lock().unwrap().push(format!("{} to {}", form["refresh_token"], form["client_id"]));
        match form["refresh_token"].as_str() {
            "r1" => refuses("invalid_grant")(number, form),
            _ => numbered(number, form),
        }
    })
    .await;
    bench.endpoint.leave.forget_permits(10_000);
    let tokens = bench.tokens.clone();
    let waiter = tokio::spawn(async move { tokens.access(&name("a")).await });
    while bench.endpoint.asked() < 1 {
        tokio::task::yield_now().await;
    }
    bench.tokens.configure(&other_client(&bench)).unwrap();
    bench.tokens.import(&name("a"), Secret::new("new".into()), None).await.unwrap();
    bench.endpoint.leave.add_permits(10_000);
    assert_eq!(waiter.await.unwrap().unwrap().secret.expose(), "at2");
    assert_eq!(*shown.lock().unwrap(), ["r1 to me", "new to another"]);
}

#[tokio::test]
async fn a_grant_is_not_shown_to_another_client_and_serves_again_when_its_own_is_back() {
    let bench = Bench::with_grant(numbered).await;
    bench.tokens.configure(&other_client(&bench)).unwrap();
    let Err(Unavailable::NeedsConsent { reason, advice }) = bench.access("a").await else { panic!() };
    assert!(reason.contains("was given to client me at 127.0.0.1") && reason.contains("is another at 127.0.0.1 now"), "{reason}");
    assert!(advice.text.contains("outlink authorize a"), "{advice}");
    assert_eq!((bench.endpoint.asked(), bench.tokens.has_working_grant(&name("a")).await.unwrap()), (0, false));
    // Nor does the background ask again and again.
    let version = bench.store.grant(&name("a")).await.unwrap().map(|grant| grant.version);
    bench.tokens.tick().await;
    bench.settle().await;
    assert!(version.is_some() && bench.state() == State::NeedsConsent, "{:?}", bench.state());
    bench.tokens.configure(&bench.settings).unwrap();
    assert_eq!((bench.access("a").await.unwrap().as_str(), bench.stored().await.as_str()), ("at1", "r1"));
    bench.tokens.configure(&other_client(&bench)).unwrap();
    let ended = bench.tokens.revoke(&name("a")).await.unwrap();
    assert!(!ended.told && ended.said.contains("given to client me at 127.0.0.1"), "{ended:?}");
    assert_eq!(bench.endpoint.asked(), 1);
}
