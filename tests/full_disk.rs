//! The disk of the queue is full, by itself or by what the configuration allows: apps hear `452 4.3.1` and keep what does not fit, what
//! fits goes on, and when there is room again everything goes on by itself.
//!
//! The disk is a small tmpfs. It is mounted in a mount namespace of its own (`unshare`), for which no test needs to be root and which
//! leaves nothing behind: the test runs itself there.

mod support;

use serde_json::json;
use std::{collections::BTreeSet, fs, path::Path};
use support::{
    LONG, Program, SOON,
    letters::{Client, LARGE, Letter, Row, await_drained, await_that, lost, queueing, rows},
    mounts::{self, may_mount},
    story::Story,
};

fn mount(words: &[&str], directory: &Path) {
    mounts::mount(&[words, &[directory.to_str().expect("a name")]].concat());
}

/// A story whose state directory lies on a disk of this size.
fn on_a_disk(size: &str) -> Story {
    let story = queueing("custom", &[], |text| text.replace("/state\"", "/disk/state\""));
    let disk = disk(&story);
    fs::create_dir(&disk).expect("a directory can be made");
    mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "none"], &disk);
    story
}

fn disk(story: &Story) -> std::path::PathBuf {
    story.directory.path().join("disk")
}

/// Sends letters of this size until one is refused; gives those that were accepted and the refusal.
fn fill(story: &Story, name: &str, octets: usize) -> (Vec<Letter>, String) {
    let mut accepted = Vec::new();
    let mut client = Client::login(story).expect("a login");
    loop {
        let letter = Letter::new(&format!("{name}{}", accepted.len()), octets);
        let reply = client.submit(&letter).expect("an answer");
        if !reply.starts_with("250 ") {
            return (accepted, reply);
        }
        accepted.push(letter);
        assert!(accepted.len() < 5_000, "it never was full");
    }
}

/// Sends a letter again and again until it is accepted, as apps do.
fn send_until_accepted(story: &Story, letter: &Letter) {
    let mut client = Client::login(story).expect("a login");
    await_that("the letter is accepted", LONG, || client.submit(letter).expect("an answer").starts_with("250 ").then_some(()));
}

#[test]
fn what_does_not_fit_is_refused_for_now_and_the_rest_goes_on() {
    if !may_mount("what_does_not_fit_is_refused_for_now_and_the_rest_goes_on") {
        return;
    }
    let story = on_a_disk("24m");
    let (state, ballast) = (disk(&story).join("state"), disk(&story).join("ballast"));
    fs::write(&ballast, vec![0; 6 << 20]).expect("there is room for it");
    let daemon = story.start();
    story.fault("silent-at-mail", &json!({}));
    let (mut accepted, refusal) = fill(&story, "large", 5 * LARGE);
    assert!(refusal.starts_with("452 4.3.1 "), "{refusal}");
    let line = daemon.logged("No space left on device", SOON);
    assert!(line.contains("\"level\":\"ERROR\""), "{line}");
    // One that fits is still taken, until they do not fit either.
    let (small, refusal) = fill(&story, "small", 20_000);
    assert!(!small.is_empty(), "{refusal}");
    assert!(refusal.starts_with("452 4.3.1 "), "{refusal}");
    accepted.extend(small);
    assert!(story.status().contains("sandbox"), "{}", story.status());
    let kept = rows(&state);
    assert!(accepted.iter().all(|letter| kept.get(&letter.id) == Some(&Row::Kept)), "what was accepted stays");
    assert_eq!(kept.len(), accepted.len(), "what was refused is not kept");
    fs::remove_file(&ballast).expect("it is there");
    let late = Letter::new("late", 5 * LARGE);
    send_until_accepted(&story, &late);
    accepted.push(late);
    story.mend("silent-at-mail");
    await_drained(&state, &daemon, LONG);
    all_arrived_once(&story, &accepted, daemon);
}

#[test]
fn a_disk_filled_by_others_delays_and_loses_nothing() {
    if !may_mount("a_disk_filled_by_others_delays_and_loses_nothing") {
        return;
    }
    let story = on_a_disk("24m");
    let (state, ballast) = (disk(&story).join("state"), disk(&story).join("ballast"));
    let daemon = story.start();
    story.fault("silent-at-mail", &json!({}));
    let mut accepted: Vec<Letter> = (0..20).map(|number| Letter::new(&number.to_string(), 60_000)).collect();
    let mut client = Client::login(&story).expect("a login");
    assert!(accepted.iter().all(|letter| client.submit(letter).expect("an answer").starts_with("250 ")));
    // Not one octet is left when their verdicts are to be kept.
    let full = fs::write(&ballast, vec![0; 24 << 20]).expect_err("it is larger than the disk");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let (_, refusal) = fill(&story, "small", 20_000);
    assert!(refusal.starts_with("452 4.3.1 "), "{refusal}");
    story.mend("silent-at-mail");
    daemon.logged("what became of a message cannot be kept", LONG);
    fs::remove_file(&ballast).expect("it is there");
    let late = Letter::new("late", LARGE);
    send_until_accepted(&story, &late);
    accepted.push(late);
    await_drained(&state, &daemon, LONG);
    all_arrived_once(&story, &accepted, daemon);
}

fn all_arrived_once(story: &Story, accepted: &[Letter], daemon: Program) {
    let arrived = story.arrived();
    assert_eq!(lost(accepted.iter().map(|letter| &letter.id), &arrived), BTreeSet::new());
    let more: Vec<_> =
        arrived.iter().filter(|(id, count)| **count > 1 || accepted.iter().all(|letter| letter.id != **id)).collect();
    assert!(more.is_empty(), "twice, or though refused: {more:?}");
    assert_eq!(daemon.stop().0, Some(0));
}

/// Changes the `[queue]` table and takes it up.
fn reload(story: &Story, from: &str, to: &str) {
    let text = fs::read_to_string(&story.config).expect("it was written");
    assert!(text.contains(from), "{text}");
    fs::write(&story.config, text.replace(from, to)).expect("it can be written");
    let (status, said) = story.command(&["reload"]);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn the_bounds_of_the_configuration_are_kept_and_named() {
    let story = queueing("custom", &[], |text| format!("{text}\n[queue]\nminimum-free = \"1000 TiB\"\n"));
    let daemon = story.start();
    await_that("commands reach it", SOON, || (story.command(&["status"]).0 == Some(0)).then_some(()));
    let letter = Letter::new("first", 1_000);
    let reply = Client::login(&story).and_then(|mut client| client.submit(&letter)).expect("an answer");
    assert!(reply.starts_with("452 4.3.1 "), "{reply}");
    let line = daemon.logged("queue.minimum-free", SOON);
    assert!(line.contains("queue.full"), "{line}");
    reload(&story, "minimum-free = \"1000 TiB\"", "minimum-free = \"0 B\"\nmaximum-size = \"1 MiB\"");
    send_until_accepted(&story, &letter);
    await_drained(&story.state(), &daemon, LONG);

    story.fault("silent-at-mail", &json!({}));
    let (accepted, refusal) = fill(&story, "large", 2 * LARGE);
    assert_eq!(accepted.len(), 2, "1 MiB has room for two of 400 kB: {refusal}");
    assert!(refusal.starts_with("452 4.3.1 "), "{refusal}");
    let line = daemon.logged("queue.maximum-size", SOON);
    assert!(line.contains("queue.full"), "{line}");
    let small = Letter::new("small", 1_000);
    send_until_accepted(&story, &small);
    story.mend("silent-at-mail");
    let late = Letter::new("late", 2 * LARGE);
    send_until_accepted(&story, &late);
    await_drained(&story.state(), &daemon, LONG);
    let all: Vec<Letter> = accepted.into_iter().chain([letter, small, late]).collect();
    all_arrived_once(&story, &all, daemon);
}

#[test]
fn a_read_only_disk_ends_the_start_with_a_clear_sentence() {
    if !may_mount("a_read_only_disk_ends_the_start_with_a_clear_sentence") {
        return;
    }
    let story = on_a_disk("24m");
    let letter = Letter::new("kept", LARGE);
    let daemon = story.start();
    story.fault("silent-at-mail", &json!({}));
    assert!(Client::login(&story).and_then(|mut client| client.submit(&letter)).is_ok_and(|reply| reply.starts_with("250 ")));
    daemon.kill();
    story.mend("silent-at-mail");
    mount(&["-o", "remount,ro"], &disk(&story));
    let (status, said) = story.command(&["run"]);
    assert_eq!(status, Some(74), "{said}");
    assert!(said.contains("Read-only file system") && said.contains("state"), "{said}");
    mount(&["-o", "remount,rw"], &disk(&story));
    let daemon = story.start();
    await_drained(&disk(&story).join("state"), &daemon, LONG);
    all_arrived_once(&story, &[letter], daemon);
}
