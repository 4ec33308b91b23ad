//! How much each app has sent, against its own limits, when it sent last, and in how many of its messages what was changed. Pure but
//! for the lock: `now` is always an argument.
//!
//! A message is counted when the whole of it is there, and given back when it is refused then: messages that arrive at once cannot
//! exceed a limit together. Counts of a day, the last message, and what was changed ever, outlive the process by `Relay::flush`.

use super::pace::{DAY, MINUTE, SECOND, Window, floor};
use crate::{
    config::App,
    mail::{Change, Name},
    queue::{AppChange, AppCount, AppUsage, Seen},
    smtp::Reply,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// What every app has sent.
#[derive(Debug, Default)]
pub(super) struct Usage(Mutex<BTreeMap<Name, Entry>>);

#[derive(Debug)]
struct Entry {
    minute: Window,
    day: Window,
    /// Its last message that was taken.
    seen: Option<Seen>,
    is_seen_unsaved: bool,
    /// Minutes whose counts are not in the store yet.
    unsaved: BTreeSet<SystemTime>,
    /// In how many messages something was changed; one row a word, so it cannot grow.
    changes: BTreeMap<Change, u64>,
    /// Those whose numbers are not in the store yet.
    unsaved_changes: BTreeSet<Change>,
}

impl Default for Entry {
    fn default() -> Self {
        let (minute, day) = (Window::new(MINUTE, SECOND), Window::new(DAY, MINUTE));
        let (unsaved, changes, unsaved_changes) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
        Self { minute, day, seen: None, is_seen_unsaved: false, unsaved, changes, unsaved_changes }
    }
}

impl Usage {
    /// Takes up what an earlier process knew.
    pub(super) fn restore(&self, usage: AppUsage) {
        let mut apps = self.apps();
        for count in &usage.counts {
            let entry = apps.entry(count.app.clone()).or_default();
            // They may have come at the end of their minute.
            entry.minute.add(count.start + MINUTE - SECOND, count.messages.into());
            entry.day.add(count.start, count.messages.into());
        }
        for seen in usage.seen {
            let app = seen.app.clone();
            apps.entry(app).or_default().seen = Some(seen);
        }
        for AppChange { app, change, messages } in usage.changes {
            *apps.entry(app).or_default().changes.entry(change).or_default() += messages;
        }
    }

    /// Whether `app` may send one more message now.
    pub(super) fn check(&self, app: &App, now: SystemTime) -> Result<(), Reply> {
        let mut apps = self.apps();
        match apps.get_mut(&app.name) {
            Some(entry) => entry.check(app, now),
            None => Ok(()),
        }
    }

    /// Counts a message of `app`, if it may send one more.
    pub(super) fn count(&self, app: &App, now: SystemTime) -> Result<(), Reply> {
        let mut apps = self.apps();
        let entry = apps.entry(app.name.clone()).or_default();
        entry.check(app, now)?;
        entry.minute.add(now, 1);
        entry.day.add(now, 1);
        entry.unsaved.insert(floor(now, MINUTE));
        Ok(())
    }

    /// What was counted at `at` was not taken.
    pub(super) fn give_back(&self, app: &Name, at: SystemTime) {
        if let Some(entry) = self.apps().get_mut(app) {
            entry.minute.remove(at, 1);
            entry.day.remove(at, 1);
            entry.unsaved.insert(floor(at, MINUTE));
        }
    }

    /// A message of an app was taken.
    pub(super) fn saw(&self, seen: Seen) {
        let mut apps = self.apps();
        let entry = apps.entry(seen.app.clone()).or_default();
        (entry.seen, entry.is_seen_unsaved) = (Some(seen), true);
    }

    /// One more message of `app` was changed so, each word once.
    pub(super) fn changed(&self, app: &Name, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let mut apps = self.apps();
        let entry = apps.entry(app.clone()).or_default();
        for change in BTreeSet::from_iter(changes.iter().copied()) {
            let messages = entry.changes.entry(change).or_default();
            *messages = messages.saturating_add(1);
            entry.unsaved_changes.insert(change);
        }
    }

    /// When each app sent last, how many messages in the last 24 hours, and in how many ever what was changed.
    pub(super) fn all(&self, now: SystemTime) -> Vec<(Seen, u64, BTreeMap<Change, u64>)> {
        let mut apps = self.apps();
        let entry = |entry: &mut Entry| {
            entry.day.forget(now);
            Some((entry.seen.clone()?, entry.day.sum(), entry.changes.clone()))
        };
        apps.values_mut().filter_map(entry).collect()
    }

    /// What changed since it was last asked for.
    pub(super) fn take_unsaved(&self) -> AppUsage {
        let AppUsage { mut counts, mut seen, mut changes } = AppUsage::default();
        for (app, entry) in self.apps().iter_mut() {
            let starts = std::mem::take(&mut entry.unsaved);
            counts.extend(starts.into_iter().map(|start| AppCount { app: app.clone(), start, messages: entry.day.at(start) }));
            if std::mem::take(&mut entry.is_seen_unsaved) {
                seen.extend(entry.seen.clone());
            }
            let words = std::mem::take(&mut entry.unsaved_changes).into_iter();
            let change =
                |change| AppChange { app: app.clone(), change, messages: entry.changes.get(&change).copied().unwrap_or(0) };
            changes.extend(words.map(change));
        }
        AppUsage { counts, seen, changes }
    }

    /// What could not be kept is unsaved again.
    pub(super) fn put_back(&self, usage: &AppUsage) {
        let mut apps = self.apps();
        for count in &usage.counts {
            apps.entry(count.app.clone()).or_default().unsaved.insert(count.start);
        }
        for it in &usage.seen {
            apps.entry(it.app.clone()).or_default().is_seen_unsaved = true;
        }
        for it in &usage.changes {
            apps.entry(it.app.clone()).or_default().unsaved_changes.insert(it.change);
        }
    }

    fn apps(&self) -> MutexGuard<'_, BTreeMap<Name, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn check(&mut self, app: &App, now: SystemTime) -> Result<(), Reply> {
        self.minute.forget(now);
        self.day.forget(now);
        let rows = [
            (&self.minute, app.limits.messages_per_minute, "messages-per-minute"),
            (&self.day, app.limits.messages_per_day, "messages-per-day"),
        ];
        let waits = rows.into_iter().filter_map(|(window, limit, key)| Some((window.fits_at(limit?, 1, now), limit?, key)));
        match waits.max_by_key(|(until, ..)| *until) {
            Some((until, limit, key)) if until > now => {
                let wait = until.duration_since(now).unwrap_or_default().as_secs().max(1);
                let text = format!("{key} = {limit} of [app.{}.limits] is reached: come again in {wait} s", app.name);
                Err(Reply::new(450, Some((7, 1)), text))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Variables};
    use std::{sync::Arc, time::Duration};

    fn app(limits: &str) -> Arc<App> {
        let text = format!(
            "[app.crowd]\nnetworks = [\"10.1.2.3\"]\nmailbox = \"m\"\nlimits = {{ {limits} }}\n[mailbox.m]\nlink = \"l\"\n\
             address = \"m@b.example\"\n[link.l]\nprovider = \"google\"\ngrant = \"authorization-code\"\nclient-id = \"c\"\n"
        );
        let (settings, _) = config::parse(&text, &Variables::new()).unwrap();
        settings.apps.values().next().unwrap().clone()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_020 + seconds)
    }

    #[test]
    fn a_limit_holds_for_every_span_of_its_length_and_the_answer_says_when_to_come_again() {
        let (usage, app) = (Usage::default(), app("messages-per-minute = 2, messages-per-day = 3"));
        usage.count(&app, at(0)).unwrap();
        usage.count(&app, at(30)).unwrap();
        let refused = usage.count(&app, at(31)).unwrap_err();
        assert_eq!(refused.code, 450);
        assert_eq!(refused.text(), "messages-per-minute = 2 of [app.crowd.limits] is reached: come again in 30 s");
        assert_eq!(usage.check(&app, at(31)).unwrap_err(), refused);
        usage.count(&app, at(61)).unwrap();
        let refused = usage.count(&app, at(1000)).unwrap_err().text();
        assert!(refused.starts_with("messages-per-day = 3 of"), "{refused}");
        usage.count(&app, at(86_400 + 60)).unwrap();
    }

    #[test]
    fn a_message_that_was_not_taken_does_not_count() {
        let (usage, app) = (Usage::default(), app("messages-per-minute = 1"));
        usage.count(&app, at(0)).unwrap();
        usage.count(&app, at(1)).unwrap_err();
        usage.give_back(&app.name, at(0));
        usage.count(&app, at(1)).unwrap();
    }

    #[test]
    fn what_an_earlier_process_counted_counts() {
        let (before, after, app) = (Usage::default(), Usage::default(), app("messages-per-day = 2"));
        for second in [0, 100] {
            before.count(&app, at(second)).unwrap();
        }
        let (client, listener, proof) = ("10.1.2.3".into(), "office".into(), Some(crate::queue::Proof::Network));
        let seen = Seen { app: app.name.clone(), at: at(100), client, listener, encrypted: true, proof };
        before.saw(seen.clone());
        let unsaved = before.take_unsaved();
        assert_eq!((unsaved.counts.len(), before.take_unsaved()), (2, AppUsage::default()));
        after.restore(unsaved);
        after.count(&app, at(200)).unwrap_err();
        assert_eq!(after.all(at(200)), [(seen, 2, BTreeMap::new())]);
    }

    #[test]
    fn a_message_counts_once_for_each_word_and_what_was_counted_goes_on_after_a_restart() {
        use Change::{AddedDate, AddedFrom};
        let (before, after, name) = (Usage::default(), Usage::default(), Name::parse("crowd").unwrap());
        before.changed(&name, &[]);
        assert!(before.take_unsaved().is_empty());
        before.changed(&name, &[AddedDate, AddedFrom, AddedDate]);
        before.changed(&name, &[AddedDate]);
        let kept = |change, messages| AppChange { app: name.clone(), change, messages };
        let unsaved = before.take_unsaved();
        assert_eq!(unsaved.changes, [kept(AddedDate, 2), kept(AddedFrom, 1)]);
        assert!(before.take_unsaved().is_empty());
        // The store failed: all of it is there the next time, with what came meanwhile.
        before.put_back(&unsaved);
        before.changed(&name, &[AddedFrom]);
        let unsaved = before.take_unsaved();
        assert_eq!(unsaved.changes, [kept(AddedDate, 2), kept(AddedFrom, 2)]);
        after.restore(unsaved);
        after.changed(&name, &[AddedFrom]);
        assert_eq!(after.take_unsaved().changes, [kept(AddedFrom, 3)]);
    }
}
