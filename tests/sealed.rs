//! Sealed secrets with the real program: in the configuration, over the control socket, through a change of the key, and without it.

mod support;

use outlink::{
    admin::{Client, socket_path},
    key,
    secret::{Ring, Secret},
};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};
use support::story::Story;

/// The place of the sandbox's client secret.
const PLACE: &str = "link.sandbox.client-secret";

fn state(story: &Story) -> PathBuf {
    story.directory.path().join("state")
}

fn ring(story: &Story) -> Ring {
    let keys = key::find(&state(story), None).expect("it can be read").expect("there is a key");
    Ring::clone(&keys.ring)
}

fn client_secret(story: &Story) -> Secret {
    let text = fs::read_to_string(story.directory.path().join("client-secret")).expect("the sandbox wrote it");
    Secret::new(text.trim_end().to_owned())
}

/// Writes a file as commands do, whose client secret is sealed.
fn write(story: &Story, sealed: &str) -> PathBuf {
    let directory = story.directory.path().join("conf.d");
    fs::create_dir_all(&directory).expect("it can be made");
    let file = directory.join("link-sandbox.toml");
    let text = format!("# Written by outlink link add.\n[link.sandbox]\nclient-secret = {{ sealed = \"{sealed}\" }}\n");
    fs::write(&file, text).expect("it can be written");
    file
}

/// A story whose client secret is sealed under the key of a state directory where nothing ran yet, and is nowhere else.
fn sealed() -> (Story, PathBuf) {
    let story = Story::new("custom", |text| text);
    fs::create_dir(state(&story)).expect("it can be made");
    let keys = key::make(&state(&story)).expect("a key");
    let secret = client_secret(&story);
    let file = write(&story, &keys.ring.seal(PLACE, &secret).text());
    fs::remove_file(story.directory.path().join("client-secret")).expect("it was there");
    (story, file)
}

/// Sends one message through a fresh daemon, so that a token is needed.
fn sends(story: &Story) {
    let daemon = story.start();
    let said = story.app().send();
    assert!(said.starts_with("250 "), "{said}");
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_sealed_client_secret_serves_and_check_opens_it() {
    let (story, _) = sealed();
    story.good(&["check"]);
    sends(&story);
    // What is sealed for another place does not open, and no mail is lost by starting with it.
    let secret = Secret::new("x".into());
    write(&story, &ring(&story).seal("link.other.client-secret", &secret).text());
    for words in [["check"], ["run"]] {
        let (status, said) = story.command(&words);
        assert_eq!(status, Some(78), "{said}");
        assert!(said.contains("link-sandbox.toml:3") && said.contains("was sealed for another"), "{said}");
        assert!(!said.contains("outlink1:"), "a sealed value is not shown: {said}");
    }
}

#[test]
fn a_person_seals_a_secret_before_anything_ever_ran_and_beside_the_daemon() {
    let story = Story::new("custom", |text| text);
    let secret = client_secret(&story);
    let ask = || {
        let mut command = support::outlink();
        command.args(["key", "seal", PLACE, "--config"]).arg(&story.config);
        let output = support::run(command, secret.expose().as_bytes(), support::SOON);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).expect("text"))
    };
    let seal = || {
        let (status, said) = ask();
        assert_eq!(status, Some(0), "{said}");
        said.split('"').nth(1).expect("a sealed value").to_owned()
    };
    write(&story, &seal());
    fs::remove_file(story.directory.path().join("client-secret")).expect("it was there");
    let daemon = story.start();
    assert!(story.app().send().starts_with("250 "));
    write(&story, &seal());
    story.good(&["reload"]);
    daemon.stop();
    sends(&story);
    fs::remove_file(key::file_of(&state(&story))).expect("it was made");
    let (status, said) = ask();
    assert!(status == Some(78) && said.contains("there is no key at"), "no key is made beside a database: {status:?} {said}");
}

#[test]
fn without_the_key_the_daemon_says_which_and_makes_no_other() {
    let (story, _) = sealed();
    let id = ring(&story).current().to_string();
    let file = key::file_of(&state(&story));
    let text = fs::read(&file).expect("it is there");
    fs::remove_file(&file).expect("it is there");
    let (status, said) = story.command(&["check"]);
    assert!(status == Some(0) && said.contains(&format!("sealed under key {id}, and cannot be checked here")), "{said}");
    for _ in 0..2 {
        let (status, said) = story.command(&["run"]);
        assert!(status == Some(78) && said.contains(&format!("sealed under key {id}")), "{status:?}: {said}");
        assert!(!file.exists(), "no other key is made");
    }
    fs::write(&file, &text).expect("it can be written");
    let (status, said) = story.command(&["run"]);
    assert!(status == Some(78) && said.contains("chmod 0600"), "everybody reads it: {said}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    sends(&story);
}

#[test]
fn the_daemon_seals_for_commands_and_what_it_seals_is_taken_up() {
    let story = Story::new("custom", |text| text);
    let daemon = story.start();
    let secret = client_secret(&story);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    outlink::tls::choose_provider();
    let client = Client::connect(&socket_path(&state(&story), None)).expect("it runs");
    let sealed = runtime.block_on(client.seal(PLACE, &secret)).expect("it seals");
    let refused = runtime.block_on(client.seal("grants/sandbox/refresh-token", &secret)).expect_err("no key of a configuration");
    assert!(!refused.to_string().contains(secret.expose()), "{refused}");
    write(&story, &sealed);
    fs::remove_file(story.directory.path().join("client-secret")).expect("it was there");
    story.good(&["reload"]);
    assert!(story.app().send().starts_with("250 "));
    let (_, log) = daemon.stop();
    assert!(!log.contains(secret.expose()) && !log.contains("outlink1:"), "neither is logged");
}

#[test]
fn the_key_is_changed_beside_a_running_daemon_and_beside_a_stopped_one() {
    let (story, file) = sealed();
    let first = ring(&story).current();
    let daemon = story.start();
    let said = story.good(&["key", "rotate"]);
    let second = ring(&story).current();
    assert!(said.contains(&second.to_string()) && said.contains(&format!("sealed anew: {}", file.display())), "{said}");
    assert_eq!(ring(&story).ids(), [second, first], "the old key stays");
    assert!(fs::read_to_string(&file).expect("text").contains(&format!("outlink1:{second}:")));
    assert!(story.app().send().starts_with("250 "));
    assert_eq!(daemon.stop().0, Some(0));
    sends(&story);

    let said = story.good(&["key", "rotate", "--drop-old"]);
    let third = ring(&story).current();
    assert!(said.contains(&format!("dropped: key {first}")) && said.contains(&format!("dropped: key {second}")), "{said}");
    assert_eq!(ring(&story).ids(), [third]);
    story.good(&["check"]);
    sends(&story);

    let daemon = story.start();
    story.good(&["key", "rotate", "--drop-old"]);
    assert_eq!(ring(&story).ids().len(), 1);
    assert!(story.app().send().starts_with("250 "), "the daemon took the new values up before the key went");
    let (status, log) = daemon.stop();
    assert!(status == Some(0) && !log.contains("outlink-key1"), "{log}");
}

#[test]
fn a_key_stays_as_long_as_a_file_that_a_person_wrote_needs_it() {
    let (story, file) = sealed();
    let text = fs::read_to_string(&file).expect("text");
    fs::write(&file, text.replacen("# Written by outlink", "# By hand", 1)).expect("it can be written");
    let first = ring(&story).current();
    let said = story.good(&["key", "rotate", "--drop-old"]);
    assert!(said.contains(&format!("still under an old key: {}: a person wrote it", file.display())), "{said}");
    assert!(said.contains(&format!("kept, because something above needs it: key {first}")), "{said}");
    assert!(ring(&story).has(first));
    sends(&story);
}

#[test]
fn a_lost_key_is_replaced_and_its_grants_are_named() {
    let story = Story::with("google", &["--grant", "authorization-code"], |text| text);
    story.import_grant();
    fs::remove_file(key::file_of(&state(&story))).expect("it was made");
    let (status, said) = story.command(&["run"]);
    assert!(status == Some(78) && said.contains("outlink key rotate --lost"), "{status:?}: {said}");
    let said = story.good(&["key", "rotate", "--lost"]);
    assert!(said.contains("needs a new consent: sandbox"), "{said}");
    story.import_grant();
    let daemon = story.start();
    assert!(story.app().send().starts_with("250 "));
    let (status, said) = story.command(&["key", "rotate", "--lost"]);
    assert!(status == Some(1) && said.contains("nothing is lost"), "{said}");
    daemon.stop();
}

#[test]
fn a_credential_is_used_before_a_file_and_only_its_administrator_changes_it() {
    let story = Story::new("custom", |text| text);
    let credentials = tempfile::tempdir().expect("a directory");
    let ring = Ring::new(key::fresh().expect("a key"));
    fs::write(credentials.path().join("outlink-key"), ring.text().as_bytes()).expect("it can be written");
    let variable = [("CREDENTIALS_DIRECTORY", credentials.path().to_str().expect("a name"))];
    let daemon = support::start_daemon(&story.config, story.directory.path(), &variable);
    assert!(story.app().send().starts_with("250 "));
    let (status, said) = story.command(&["key", "rotate"]);
    assert!(status == Some(1) && said.contains("LoadCredential"), "{said}");
    assert!(!key::file_of(&state(&story)).exists());
    daemon.stop();
    let (status, said) = story.command(&["queue", "list"]);
    assert!(status == Some(78) && said.contains("start the daemon"), "{status:?}: {said}");
}
