//! The life of grants beside an OAuth server that is not ours (oidc-provider), which spends refresh tokens by their use and ends a
//! grant whose old one comes again: clients with keys, many at once, replaced and revoked grants, commands beside the
//! daemon.

mod support;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use std::{
    fs,
    process::{Command, Output},
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
use support::{
    Program, SOON,
    browser::Person,
    client_key::Key,
    proxy::{HOST, Proxy},
    run,
    story::App,
    tunnel::Tunnel,
    world::{APP_PASSWORD, MAILBOX, Proof, Setup, World, swaks},
};

const LINK: &str = r#"
issuer = "{oauth}"
revocation-endpoint = "{oauth}/token/revocation"

[link.theirs.parameters]
prompt = "consent"
"#;

/// The head of a signed token.
fn head(token: &Value) -> Value {
    let head = token.as_str().and_then(|token| token.split('.').next()).expect("a signed token");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(head).expect("base64url")).expect("JSON")
}

#[test]
fn a_client_proves_itself_by_a_key_of_openssl() {
    for (proof, algorithm) in [
        (Proof::Pem(Key::Rsa), "PS256"),
        (Proof::Pem(Key::P256), "ES256"),
        (Proof::Pkcs12(Key::Rsa), "PS256"),
        (Proof::Pkcs12(Key::P256), "ES256"),
        (Proof::Pkcs12(Key::RsaInOldFile), "PS256"),
    ] {
        let setup = Setup { grant: "client-credentials", tls: "implicit", proof, scopes: &[], ..Setup::default() };
        let mut world = World::with(&setup);
        world.start();
        world.expect_taken();
        // The server takes each assertion once.
        world.forget();
        world.expect_taken();
        let tokens = world.provider.events("token");
        assert_eq!((tokens.len(), &head(&tokens[0]["assertion"])["alg"]), (2, &Value::from(algorithm)));
        world.expect_no_refusal();
        world.stop();
        world.expect_no_secret();
    }
}

#[test]
fn a_token_comes_over_tls_with_a_private_ca_by_a_proxy_that_alone_knows_the_way() {
    for by_link in [true, false] {
        let setup = Setup { grant: "client-credentials", scopes: &[], ..Setup::default() };
        let mut world = World::with(&setup);
        let server = Proxy::start(world.directory.path(), world.oauth);
        let tunnel = Tunnel::start(server.address);
        let proxy = format!("http://{}", tunnel.address);
        let own = if by_link { format!("proxy = \"{proxy}\"\n") } else { String::new() };
        let direct = format!("token-endpoint = \"http://{}/token\"\n", world.oauth);
        let text = fs::read_to_string(&world.config).expect("it was written");
        let text = text.replace(&direct, &format!("token-endpoint = \"https://{HOST}/token\"\n{own}"));
        fs::write(&world.config, text).expect("it can be written");
        let environment = [("HTTPS_PROXY", proxy.as_str())];
        world.start_with(if by_link { &[] } else { &environment });
        world.expect_taken();
        assert_eq!((tunnel.asked(), world.tokens("client_credentials")), (vec![format!("{HOST}:443")], 1), "{by_link}");
        world.stop();
    }
}

#[test]
fn a_key_proves_the_client_at_renewals_too() {
    let mut world = World::with(&Setup { proof: Proof::Pkcs12(Key::Rsa), ..Setup::default() });
    world.import();
    world.start();
    world.expect_taken();
    world.forget();
    world.expect_taken();
    assert_eq!(world.tokens("refresh_token"), 2);
    world.expect_no_refusal();
    world.stop();
    world.expect_no_secret();
}

const CROWD: usize = 40;

#[test]
fn forty_clients_at_once_make_one_renewal_of_an_expired_token() {
    let mut world = World::with(&Setup { life: 2, ..Setup::default() });
    world.import();
    world.start();
    // The token that the daemon fetched at its start. Nobody uses it, so it is not renewed ahead of need.
    world.provider.event("expired", SOON);
    world.life(3600);
    assert_eq!(world.tokens("refresh_token"), 1);
    // The clock ended the first token; the provider ends the second before its time.
    for renewals in [2, 3] {
        let together = Barrier::new(CROWD);
        let apps: Vec<App> = (0..CROWD).map(|_| App::login(world.relay, "crowd", APP_PASSWORD)).collect();
        let said: Vec<String> = thread::scope(|scope| {
            let begin = &together;
            let crowd = apps.into_iter().map(|mut app| {
                scope.spawn(move || {
                    begin.wait();
                    app.send()
                })
            });
            let crowd: Vec<_> = crowd.collect();
            crowd.into_iter().map(|app| app.join().expect("an app that ends")).collect()
        });
        assert!(said.iter().all(|said| said.starts_with("250 ")), "{said:?}\noutlink:\n{}", world.output());
        assert_eq!(world.tokens("refresh_token"), renewals, "renewals at the server");
        assert_eq!(world.provider.events("received").len(), CROWD * (renewals - 1));
        world.forget();
    }
    world.expect_no_refusal();
    world.stop();
    world.expect_no_secret();
}

/// Ends the flows when it is dropped, also by a failure.
struct Enough<'a>(&'a AtomicBool);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends by swaks, one message after the other, until `enough`; counts what was taken, gives what was not.
fn flow(relay: std::net::SocketAddr, enough: &AtomicBool, taken: &AtomicUsize) -> Vec<String> {
    let mut refused = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        match swaks(relay, APP_PASSWORD, "team@example.org") {
            (true, _) => _ = taken.fetch_add(1, Ordering::Relaxed),
            (false, said) => refused.push(said),
        }
    }
    refused
}

#[test]
fn a_new_grant_replaces_a_working_one_while_mail_flows() {
    let mut world = World::with(&Setup { life: 5, link: LINK, ..Setup::default() });
    world.import();
    world.start();
    world.expect_taken();
    let (enough, taken, relay) = (AtomicBool::new(false), AtomicUsize::new(1), world.relay);
    let refused = thread::scope(|scope| {
        let end = Enough(&enough);
        let flows: Vec<_> = (0..2).map(|_| scope.spawn(|| flow(relay, &enough, &taken))).collect();
        let mut program = Program::start(world.command(&["authorize", "robot", "--json"]));
        let url = program.event("authorize", SOON)["url"].as_str().expect("a URL").to_owned();
        // The old grant serves while the person takes her time: a renewal of it comes in between.
        world.provider.event("token", SOON);
        Person::allowing(MAILBOX).visits(&url, world.directory.path());
        let done = program.event("done", SOON * 2);
        assert_eq!(done["replaced"], true, "{done}");
        world.written += &program.ended().1;
        // And the new one from then on.
        let before = world.tokens("refresh_token");
        while world.tokens("refresh_token") < before + 2 {
            world.provider.event("token", SOON);
        }
        drop(end);
        flows.into_iter().flat_map(|flow| flow.join().expect("it ends")).collect::<Vec<_>>()
    });
    assert!(refused.is_empty(), "{refused:?}\noutlink:\n{}", world.output());
    assert_eq!(world.provider.events("received").len(), taken.load(Ordering::Relaxed));
    let tokens = world.provider.events("token");
    let consented = tokens.iter().find(|token| token["grant"] == "authorization_code").expect("a code was exchanged");
    assert_eq!(tokens.last().expect("tokens")["of"], consented["of"], "the old grant was renewed after it was replaced");
    world.expect_no_refusal();
    world.stop();
    world.expect_no_secret();
}

#[test]
fn a_revoked_grant_ends_at_the_provider() {
    for running in [true, false] {
        let mut world = World::with(&Setup { link: LINK, ..Setup::default() });
        world.import();
        if running {
            world.start();
            world.expect_taken();
        }
        let output = world.run(&["grant", "revoke", "robot", "--yes"], "");
        assert!(output.status.success(), "{output:?}");
        world.provider.event("revoked", SOON);
        if !running {
            world.start();
        }
        let (taken, said) = world.send(APP_PASSWORD, "team@example.org");
        assert!(!taken && said.contains("451 4."), "{said}\noutlink:\n{}", world.output());
        world.stop();
        world.expect_no_secret();
    }
}

/// One of twenty commands: more than half bring another grant, the others look, or reload.
fn words(number: usize) -> &'static [&'static str] {
    match number % 8 {
        1 => &["status", "--json"],
        3 => &["reload"],
        5 => &["link", "list", "--json"],
        7 => &["check"],
        _ => &["grant", "import", "robot"],
    }
}

/// Twenty commands at once.
struct Commands(Vec<(usize, thread::JoinHandle<Output>)>);

impl Commands {
    fn start(world: &mut World) -> Self {
        let commands: Vec<_> = (0..20).map(|number| (number, world.command(words(number)), world.another_grant())).collect();
        let start = |(number, command, token): (usize, Command, String)| {
            (number, thread::spawn(move || run(command, format!("{token}\n").as_bytes(), SOON * 2)))
        };
        Self(commands.into_iter().map(start).collect())
    }

    fn are_done(&self) -> bool {
        self.0.iter().all(|(_, command)| command.is_finished())
    }

    /// All must succeed, but those that need a daemon where there is none.
    fn expect_success(self, world: &mut World) {
        for (number, command) in self.0 {
            let output = command.join().expect("it ends");
            world.keep(&output);
            // EX_UNAVAILABLE: no daemon answers.
            let excused = world.daemon.is_none() && output.status.code() == Some(69);
            assert!(output.status.success() || excused, "{:?}: {output:?}\noutlink:\n{}", words(number), world.output());
        }
    }
}

#[test]
fn twenty_commands_beside_the_daemon_use_no_refresh_token_twice() {
    let mut world = World::with(&Setup { link: LINK, ..Setup::default() });
    world.import();
    world.start();
    let mut rounds = 0;
    while rounds < 3 || world.tokens("refresh_token") < 20 {
        let commands = Commands::start(&mut world);
        // Each message needs a renewal, which meets the imports.
        loop {
            world.forget();
            world.expect_taken();
            if commands.are_done() {
                break;
            }
        }
        commands.expect_success(&mut world);
        rounds += 1;
    }
    world.expect_no_refusal();
    world.stop();
    // Without the daemon they take turns at the store.
    Commands::start(&mut world).expect_success(&mut world);
    world.start();
    world.expect_taken();
    world.expect_no_refusal();
    world.stop();
    world.expect_no_secret();
}
