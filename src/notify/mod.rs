//! Hooks: who is told when a link or a mailbox changes its state, by a command, a webhook or a mail (`[notify.NAME]`).
//!
//! Layer 6. Which hooks a change runs, what they are told and how it is signed is pure (`event`, `letter`, `signature`, `waiting`); each
//! hook has a queue and a task of its own (`desk`), so that one that hangs keeps back nobody: not mail, not the other hooks, not the relay
//! that tells of the change.

mod attempt;
mod command;
mod desk;
mod event;
mod letter;
mod signature;
mod waiting;
mod webhook;

use crate::{
    config::{Hook, Settings},
    mail::Name,
    relay::{self, Change, Relay},
};
use desk::Desk;
use event::Event;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
    time::timeout,
};

/// How long hooks may go on when the daemon stops: below what it waits for its last tasks.
const LAST: Duration = Duration::from_secs(4);

/// Runs the hooks of `relay` for all `changes`, until `end` says so (or its sender is gone); `configured` tells of other settings.
pub async fn run(
    relay: Arc<Relay>,
    mut changes: broadcast::Receiver<Change>,
    mut configured: watch::Receiver<()>,
    mut end: watch::Receiver<bool>,
) {
    let mut hooks = Hooks::new(relay);
    loop {
        tokio::select! {
            _ = end.wait_for(|end| *end) => break,
            changed = configured.changed() => match changed {
                Ok(()) => hooks.fit(),
                Err(_) => break,
            },
            change = changes.recv() => match change {
                Ok(change) => hooks.tell(&change),
                Err(broadcast::error::RecvError::Lagged(missed)) => say_missed(missed),
                Err(broadcast::error::RecvError::Closed) => break,
            },
        }
    }
    while let Ok(change) = changes.try_recv() {
        hooks.tell(&change);
    }
    hooks.stop().await;
}

fn say_missed(missed: u64) {
    tracing::warn!(
        event = "notify.failed",
        missed,
        advice = "look at `outlink status`",
        "so many links and mailboxes changed at once that hooks were not told of all of them"
    );
}

/// All hooks at work.
struct Hooks {
    relay: Arc<Relay>,
    settings: Arc<Settings>,
    desks: BTreeMap<Name, Arc<Desk>>,
    tasks: JoinSet<()>,
}

impl Hooks {
    fn new(relay: Arc<Relay>) -> Self {
        let settings = relay.configured();
        let mut hooks = Self { relay, settings, desks: BTreeMap::new(), tasks: JoinSet::new() };
        hooks.take_up();
        hooks
    }

    /// Takes up other settings, if there are.
    fn fit(&mut self) {
        let settings = self.relay.configured();
        if !Arc::ptr_eq(&settings, &self.settings) {
            self.settings = settings;
            self.take_up();
        }
    }

    fn take_up(&mut self) {
        let Self { settings, desks, .. } = self;
        desks.retain(|name, desk| {
            let stays = settings.hooks.contains_key(name);
            if !stays {
                desk.clear();
                desk.close();
            }
            stays
        });
        for (name, hook) in &settings.hooks {
            match desks.get(name) {
                Some(desk) => desk.configure(hook.clone()),
                None => {
                    let desk = Desk::new(hook.clone());
                    let relay = self.relay.clone();
                    let attempt = move |hook: Arc<Hook>, event: Event| {
                        let relay = relay.clone();
                        async move { attempt::attempt(&relay, &hook, &event).await }
                    };
                    self.tasks.spawn(desk.clone().work(desk::PAUSES, attempt));
                    desks.insert(name.clone(), desk);
                }
            }
        }
        // Those that ended.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Lets the hooks that ask for it tell this change.
    fn tell(&mut self, change: &Change) {
        // The settings that brought the change are there before it.
        self.fit();
        let now = SystemTime::now();
        let mut event = None;
        for desk in self.desks.values().filter(|desk| event::runs(&desk.hook(), change, &self.settings)) {
            let event = event.get_or_insert_with(|| Event::of(change, self.relay.hostname(), relay::new_id(now), now));
            desk.push(event.clone());
        }
    }

    /// Lets what is under way come to its end for a while.
    async fn stop(mut self) {
        self.desks.values().for_each(|desk| desk.close());
        let ended = timeout(LAST, async { while self.tasks.join_next().await.is_some() {} });
        if ended.await.is_err() {
            for (name, desk) in &self.desks {
                let waiting = desk.clear();
                if waiting > 0 {
                    tracing::warn!(event = "notify.failed", hook = %name, waiting, advice = "look at `outlink status` after the next start",
                        "stopping: a hook was not told of the last changes");
                }
            }
            // With their tasks, commands and connections end.
            self.tasks.shutdown().await;
        }
    }
}

/// How a hook went that somebody tried.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Trial {
    /// Its name.
    pub hook: String,
    /// What it does.
    pub action: String,
    /// Whether it went well.
    pub done: bool,
    /// What it said, or why it failed.
    pub said: String,
    /// What to do about a failure.
    pub advice: Option<String>,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// Runs the hook `name` once with an example, beside what waits for it; `None` when there is no such hook.
pub async fn test(relay: &Arc<Relay>, name: &Name) -> Option<Trial> {
    let settings = relay.configured();
    let hook = settings.hooks.get(name)?;
    let now = SystemTime::now();
    let event = Event::example(hook, &settings, relay.hostname(), relay::new_id(now), now);
    let begun = Instant::now();
    let attempted = attempt::attempt(relay, hook, &event).await;
    let (done, said, advice) = match attempted {
        Ok(done) => (true, done.0, None),
        Err(failure) => (false, failure.why, Some(failure.step.to_owned())),
    };
    let (action, ms) = (attempt::in_words(&hook.action), begun.elapsed().as_millis() as u64);
    tracing::info!(event = if done { "notify.sent" } else { "notify.failed" }, hook = %name, notification = event.id, test = true, ms,
        "a hook was tried: {said}");
    Some(Trial { hook: name.to_string(), action, done, said, advice, ms })
}
