//! How everything stands: mailboxes, links, senders, what an operator paused, and the mailboxes' clocks. What outlives the process is
//! marked, and written by the keeper.

use super::{
    health::{Health, Kind, May, Trouble},
    states::Met,
};
use crate::{
    config::{Mailbox, Settings},
    mail::Name,
    queue::{Hold, MailboxClock, Scope},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

/// How long a paused mailbox is not looked at; whoever ends the pause wakes it.
const PAUSED: Duration = Duration::from_secs(3600);

/// Why it is not.
pub(super) const PAUSED_WHY: &str = "held by an operator";

/// Senders of one mailbox held at most. An app that makes up senders must not fill the memory; beyond that many, their messages
/// are tried like others that fail for now.
const MOST_SENDERS: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Board {
    mailboxes: BTreeMap<Name, Entry>,
    links: BTreeMap<Name, Health>,
    unsaved: BTreeSet<Scope>,
    unsaved_clocks: BTreeSet<Name>,
}

#[derive(Debug, Default)]
struct Entry {
    link: Option<Name>,
    health: Health,
    paused: Option<SystemTime>,
    clock: MailboxClock,
    senders: BTreeMap<String, Health>,
}

/// Whether trouble is the mailbox's own or of its link's OAuth client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Mailbox,
    Link,
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unsaved {
    Put(Hold),
    Drop(Scope),
    Clock(Name, MailboxClock),
}

impl Board {
    /// Takes up the settings: each mailbox and the link that authorises it.
    pub(super) fn configure(&mut self, settings: &Settings, now: SystemTime) {
        for entry in self.mailboxes.values_mut() {
            entry.link = None;
        }
        for mailbox in settings.mailboxes.values() {
            self.mailboxes.entry(mailbox.name.clone()).or_default().link = Some(mailbox.link.clone());
        }
        self.set_clocks(now);
    }

    /// Takes up one more mailbox.
    pub(super) fn add(&mut self, mailbox: &Mailbox, now: SystemTime) {
        self.mailboxes.entry(mailbox.name.clone()).or_default().link = Some(mailbox.link.clone());
        self.set_clocks(now);
    }

    /// Whether something is known of `mailbox` itself that must not be forgotten.
    pub(super) fn is_marked(&self, mailbox: &Name) -> bool {
        let is_plain = |entry: &Entry| entry.health == Health::default() && entry.paused.is_none() && entry.senders.is_empty();
        self.mailboxes.get(mailbox).is_some_and(|entry| !is_plain(entry))
    }

    /// Forgets a mailbox that is not marked.
    pub(super) fn remove(&mut self, mailbox: &Name) {
        self.mailboxes.remove(mailbox);
    }

    /// Takes up what an earlier process left.
    pub(super) fn restore(&mut self, holds: &[Hold], clocks: BTreeMap<Name, MailboxClock>, now: SystemTime) {
        for (name, clock) in clocks {
            self.mailboxes.entry(name).or_default().clock = clock;
        }
        for hold in holds {
            let health = Health::restored(hold, now);
            match hold.scope.clone() {
                Scope::Mailbox(name) => self.mailboxes.entry(name).or_default().health = health,
                Scope::Link(name) => drop(self.links.insert(name, health)),
                Scope::Sender(name, author) => {
                    drop(self.mailboxes.entry(name).or_default().senders.insert(author, health));
                }
                Scope::Paused(name) => self.mailboxes.entry(name).or_default().paused = Some(hold.since),
            }
        }
        self.set_clocks(now);
    }

    /// Whether messages may go through `mailbox` now.
    pub(super) fn may(&self, mailbox: &Name, now: SystemTime) -> May {
        let Some(entry) = self.mailboxes.get(mailbox) else { return May::Go };
        if entry.paused.is_some() {
            return May::Wait(now + PAUSED);
        }
        let link = entry.link.as_ref().and_then(|link| self.links.get(link)).map_or(May::Go, |health| health.may(now));
        match (link, entry.health.may(now)) {
            (May::Wait(one), May::Wait(other)) => May::Wait(one.max(other)),
            (May::Wait(until), _) | (_, May::Wait(until)) => May::Wait(until),
            (May::Probing(until), _) | (_, May::Probing(until)) => May::Probing(until),
            (May::Probe(probe), _) | (May::Go, May::Probe(probe)) => May::Probe(probe),
            (May::Go, May::Go) => May::Go,
        }
    }

    /// A probe begins, if one is due; whether it was. Of several who ask at the same time one probes.
    pub(super) fn probe(&mut self, mailbox: &Name, now: SystemTime, patience: Duration) -> bool {
        if !matches!(self.may(mailbox, now), May::Probe(_)) {
            return false;
        }
        self.both(mailbox, |health| {
            if matches!(health.may(now), May::Probe(_)) {
                health.probe(now, patience);
            }
        });
        true
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, mailbox: &Name, of: Of, trouble: Trouble, now: SystemTime) {
        let entry = self.mailboxes.entry(mailbox.clone()).or_default();
        let (health, scope) = match (of, &entry.link) {
            (Of::Link, Some(link)) => (self.links.entry(link.clone()).or_default(), Scope::Link(link.clone())),
            _ => (&mut entry.health, Scope::Mailbox(mailbox.clone())),
        };
        health.failed(trouble, now);
        self.unsaved.insert(scope);
        self.set_clocks(now);
    }

    /// Notes that messages go through `mailbox`; whether this is news.
    pub(super) fn worked(&mut self, mailbox: &Name, now: SystemTime) -> bool {
        let mut is_news = false;
        let mut changed = Vec::new();
        let Some(entry) = self.mailboxes.get_mut(mailbox) else { return false };
        if entry.health != Health::default() {
            is_news = entry.health.worked();
            changed.push(Scope::Mailbox(mailbox.clone()));
        }
        if let Some(link) = &entry.link
            && let Some(mut health) = self.links.remove(link)
        {
            is_news |= health.worked();
            changed.push(Scope::Link(link.clone()));
        }
        if !changed.is_empty() {
            self.unsaved.extend(changed);
            self.set_clocks(now);
        }
        is_news
    }

    /// What was told of `mailbox` may be over: a login finds out, one of a link at a time, unless a probe will show it anyway. Whether it
    /// begins now.
    pub(super) fn doubt(&mut self, mailbox: &Name, now: SystemTime) -> bool {
        let Some(link) = self.mailboxes.get(mailbox).map(|entry| entry.link.clone()) else { return false };
        let asks = |health: &Health| health.trouble().is_some_and(|(trouble, ..)| trouble.kind == Kind::Token);
        let of_link = link.as_ref().and_then(|link| self.links.get(link));
        let mut beside = self.mailboxes.values().filter(|entry| entry.link == link).map(|entry| &entry.health);
        if of_link.is_some_and(asks) || beside.any(asks) {
            return false;
        }
        let begun = self.mailboxes.get_mut(mailbox).is_some_and(|entry| entry.health.doubt(now));
        self.set_clocks(now);
        begun
    }

    /// Whether the provider counts the logins of this mailbox.
    pub(super) fn counts_logins(&self, mailbox: &Name) -> bool {
        self.mailboxes.get(mailbox).is_some_and(|entry| entry.health.counts_logins())
    }

    /// Whether nothing but a delivered message shows that the mailbox works again.
    pub(super) fn needs_delivery(&self, mailbox: &Name) -> bool {
        self.mailboxes.get(mailbox).is_some_and(|entry| entry.health.needs_delivery())
    }

    /// Notes that a probe found out nothing.
    pub(super) fn given_up(&mut self, mailbox: &Name, now: SystemTime) {
        self.both(mailbox, |health| health.given_up(now));
    }

    /// Lets `mailbox` (and its link), or everything, be tried at once: also by a process that starts after this one.
    pub(super) fn forgive(&mut self, mailbox: Option<&Name>, now: SystemTime) {
        self.unsaved.extend(self.in_trouble(mailbox));
        match mailbox {
            Some(mailbox) => self.both(mailbox, |health| health.forgive(now)),
            None => {
                self.links.values_mut().for_each(|health| health.forgive(now));
                for entry in self.mailboxes.values_mut() {
                    entry.health.forgive(now);
                    entry.senders.values_mut().for_each(|health| health.forgive(now));
                }
            }
        }
    }

    /// What keeps messages of `mailbox`, or of all, back.
    fn in_trouble(&self, mailbox: Option<&Name>) -> Vec<Scope> {
        let entries = self.mailboxes.iter().filter(|(name, _)| mailbox.is_none_or(|mailbox| mailbox == *name));
        let (mut found, mut links) = (Vec::new(), BTreeSet::new());
        for (name, entry) in entries {
            let own = entry.health.stands_still().then(|| Scope::Mailbox(name.clone()));
            let senders = entry.senders.keys().filter(|_| mailbox.is_none());
            found.extend(own.into_iter().chain(senders.map(|author| Scope::Sender(name.clone(), author.clone()))));
            links.extend(entry.link.clone());
        }
        let stands = |link: &Name| self.links.get(link).is_some_and(Health::stands_still);
        found.extend(links.into_iter().filter(stands).map(Scope::Link));
        found
    }

    /// An operator holds the mailbox, or lets it go on; whether that changed anything.
    pub(super) fn pause(&mut self, mailbox: &Name, paused: bool, now: SystemTime) -> bool {
        let entry = self.mailboxes.entry(mailbox.clone()).or_default();
        if entry.paused.is_some() == paused {
            return false;
        }
        entry.paused = paused.then_some(now);
        self.unsaved.insert(Scope::Paused(mailbox.clone()));
        self.set_clocks(now);
        true
    }

    /// Notes that `author` may not send through `mailbox`: whether it is held now, and whether that is news.
    pub(super) fn sender_failed(&mut self, mailbox: &Name, author: &str, trouble: Trouble, now: SystemTime) -> (bool, bool) {
        let senders = &mut self.mailboxes.entry(mailbox.clone()).or_default().senders;
        if senders.len() >= MOST_SENDERS && !senders.contains_key(author) {
            return (false, false);
        }
        let is_news = senders.entry(author.to_owned()).or_default().failed(trouble, now);
        self.unsaved.insert(Scope::Sender(mailbox.clone(), author.to_owned()));
        (true, is_news)
    }

    /// Lets `author` send through `mailbox` again; whether it was held.
    pub(super) fn sender_worked(&mut self, mailbox: &Name, author: &str) -> bool {
        let removed = self.mailboxes.get_mut(mailbox).and_then(|entry| entry.senders.remove(author));
        if removed.is_some() {
            self.unsaved.insert(Scope::Sender(mailbox.clone(), author.to_owned()));
        }
        removed.is_some()
    }

    /// Whether some of its senders are held.
    pub(super) fn holds_senders(&self, mailbox: &Name) -> bool {
        self.mailboxes.get(mailbox).is_some_and(|entry| !entry.senders.is_empty())
    }

    /// Why `author` is held in `mailbox`.
    pub(super) fn sender_held(&self, mailbox: &Name, author: &str) -> Option<String> {
        let health = self.mailboxes.get(mailbox)?.senders.get(author)?;
        health.trouble().map(|(trouble, ..)| trouble.reason.clone())
    }

    /// A sender of `mailbox` that is to be probed now, with the probe begun.
    pub(super) fn sender_to_probe(&mut self, mailbox: &Name, now: SystemTime, patience: Duration) -> Option<String> {
        let senders = &mut self.mailboxes.get_mut(mailbox)?.senders;
        let (author, health) = senders.iter_mut().find(|(_, health)| matches!(health.may(now), May::Probe(_)))?;
        health.probe(now, patience);
        Some(author.clone())
    }

    /// A probe of a sender found out nothing.
    pub(super) fn sender_given_up(&mut self, mailbox: &Name, author: &str, now: SystemTime) {
        let health = self.mailboxes.get_mut(mailbox).and_then(|entry| entry.senders.get_mut(author));
        if let Some(health) = health {
            health.given_up(now);
        }
    }

    /// A probe of a sender could not begin.
    pub(super) fn sender_put_off(&mut self, mailbox: &Name, author: &str, now: SystemTime) {
        let health = self.mailboxes.get_mut(mailbox).and_then(|entry| entry.senders.get_mut(author));
        if let Some(health) = health {
            health.put_off(now);
        }
    }

    /// When the next probe of a sender is due.
    pub(super) fn next_sender(&self, mailbox: &Name) -> Option<SystemTime> {
        let senders = &self.mailboxes.get(mailbox)?.senders;
        senders.values().filter_map(|health| health.trouble().map(|(.., next)| next)).min()
    }

    /// What the mailbox's clock shows.
    pub(super) fn clock(&self, mailbox: &Name, now: SystemTime) -> SystemTime {
        self.mailboxes.get(mailbox).map_or(now, |entry| entry.clock.read(now))
    }

    /// Since when `mailbox` sends nothing, and why; `None` when it does.
    pub(super) fn held(&self, mailbox: &Name) -> Option<(SystemTime, &str)> {
        let entry = self.mailboxes.get(mailbox)?;
        if let Some(since) = entry.paused {
            return Some((since, PAUSED_WHY));
        }
        let link = entry.link.as_ref().and_then(|link| self.links.get(link));
        let (trouble, since, _) = link.and_then(Health::trouble).or(entry.health.trouble())?;
        Some((since, &trouble.reason))
    }

    /// Since when an operator holds `mailbox`.
    pub(super) fn paused(&self, mailbox: &Name) -> Option<SystemTime> {
        self.mailboxes.get(mailbox)?.paused
    }

    /// The trouble of `mailbox` alone.
    pub(super) fn own_trouble(&self, mailbox: &Name) -> Option<Met> {
        met(&self.mailboxes.get(mailbox)?.health)
    }

    /// The trouble of the OAuth client of `link`.
    pub(super) fn link_trouble(&self, link: &Name) -> Option<Met> {
        met(self.links.get(link)?)
    }

    /// What has to be written, once.
    pub(super) fn take_unsaved(&mut self) -> Vec<Unsaved> {
        let scopes = std::mem::take(&mut self.unsaved);
        let mut all: Vec<Unsaved> = scopes
            .into_iter()
            .map(|scope| match self.hold(&scope) {
                Some(hold) => Unsaved::Put(hold),
                None => Unsaved::Drop(scope),
            })
            .collect();
        for name in std::mem::take(&mut self.unsaved_clocks) {
            let clock = self.mailboxes.get(&name).map(|entry| entry.clock).unwrap_or_default();
            all.push(Unsaved::Clock(name, clock));
        }
        all
    }

    /// Marks what could not be written.
    pub(super) fn put_back(&mut self, unsaved: Unsaved) {
        match unsaved {
            Unsaved::Put(Hold { scope, .. }) | Unsaved::Drop(scope) => drop(self.unsaved.insert(scope)),
            Unsaved::Clock(name, _) => drop(self.unsaved_clocks.insert(name)),
        }
    }

    fn hold(&self, scope: &Scope) -> Option<Hold> {
        match scope {
            Scope::Mailbox(name) => self.mailboxes.get(name)?.health.hold(scope.clone()),
            Scope::Link(name) => self.links.get(name)?.hold(scope.clone()),
            Scope::Sender(name, author) => self.mailboxes.get(name)?.senders.get(author)?.hold(scope.clone()),
            Scope::Paused(name) => {
                let since = self.mailboxes.get(name)?.paused?;
                let word = |text: &str| text.to_owned();
                let (kind, probe, reason) = (word("paused"), word("none"), word(PAUSED_WHY));
                Some(Hold { scope: scope.clone(), kind, probe, reason, advice: None, since, tries: 0, next: since })
            }
        }
    }

    fn both(&mut self, mailbox: &Name, mut act: impl FnMut(&mut Health)) {
        let Some(entry) = self.mailboxes.get_mut(mailbox) else { return };
        act(&mut entry.health);
        if let Some(health) = entry.link.as_ref().and_then(|link| self.links.get_mut(link)) {
            act(health);
        }
    }

    /// Stops and starts the clocks, as mailboxes and links stand now.
    fn set_clocks(&mut self, now: SystemTime) {
        for (name, entry) in &mut self.mailboxes {
            let link = entry.link.as_ref().and_then(|link| self.links.get(link));
            let stands = entry.paused.is_some() || entry.health.stands_still() || link.is_some_and(Health::stands_still);
            let before = entry.clock;
            if stands {
                entry.clock.stop(now)
            } else {
                entry.clock.go_on(now)
            }
            if entry.clock != before {
                self.unsaved_clocks.insert(name.clone());
            }
        }
    }
}

fn met(health: &Health) -> Option<Met> {
    let (trouble, since, next) = health.trouble()?;
    Some(Met { trouble: trouble.clone(), since, next })
}

#[cfg(test)]
mod tests {
    use super::{super::health::*, *};

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn trouble(kind: Kind) -> Trouble {
        Trouble { kind, probe: Probe::Login, reason: "because".into(), advice: None }
    }

    /// Two mailboxes of one link.
    fn board() -> Board {
        let mut board = Board::default();
        for mailbox in ["a", "b"] {
            board.mailboxes.entry(name(mailbox)).or_default().link = Some(name("l"));
        }
        board
    }

    #[test]
    fn a_link_in_trouble_holds_all_its_mailboxes_and_one_that_works_frees_them() {
        let mut board = board();
        board.failed(&name("a"), Of::Link, trouble(Kind::Token), at(0));
        for mailbox in ["a", "b"] {
            assert_eq!(board.may(&name(mailbox), at(5)), May::Wait(at(10)));
            assert_eq!(board.clock(&name(mailbox), at(50)), at(0), "nothing expires meanwhile");
        }
        assert_eq!(board.may(&name("b"), at(10)), May::Probe(Probe::Login));
        board.probe(&name("b"), at(10), Duration::from_secs(30));
        assert_eq!(board.may(&name("a"), at(11)), May::Probing(at(40)), "one probe for the link");
        assert!(board.worked(&name("b"), at(12)));
        assert_eq!(board.may(&name("a"), at(12)), May::Go);
        assert_eq!(board.clock(&name("a"), at(13)), at(1));
        assert!(!board.worked(&name("b"), at(13)), "said once");
    }

    #[test]
    fn a_pause_stands_beside_trouble_and_only_an_operator_ends_it() {
        let mut board = board();
        assert!(board.pause(&name("a"), true, at(0)) && !board.pause(&name("a"), true, at(1)));
        board.failed(&name("a"), Of::Mailbox, trouble(Kind::Quota), at(1));
        board.worked(&name("a"), at(2));
        board.forgive(None, at(2));
        assert!(matches!(board.may(&name("a"), at(3)), May::Wait(_)));
        assert_eq!(board.held(&name("a")), Some((at(0), PAUSED_WHY)));
        assert!(board.pause(&name("a"), false, at(100)));
        assert_eq!((board.may(&name("a"), at(100)), board.clock(&name("a"), at(101))), (May::Go, at(1)));
    }

    #[test]
    fn what_outlives_the_process_is_written_once_and_restored() {
        let mut board = board();
        board.failed(&name("a"), Of::Mailbox, trouble(Kind::Quota), at(0));
        board.failed(&name("a"), Of::Mailbox, trouble(Kind::Quota), at(1));
        board.pause(&name("b"), true, at(1));
        assert_eq!(board.sender_failed(&name("b"), "x@y.z", trouble(Kind::Sender), at(2)), (true, true));
        let unsaved = board.take_unsaved();
        assert_eq!(board.take_unsaved(), []);
        let (mut holds, mut clocks) = (Vec::new(), BTreeMap::new());
        for change in unsaved {
            match change {
                Unsaved::Put(hold) => holds.push(hold),
                Unsaved::Clock(name, clock) => drop(clocks.insert(name, clock)),
                Unsaved::Drop(scope) => panic!("{scope:?}"),
            }
        }
        assert_eq!((holds.len(), clocks.len()), (3, 2));
        let mut restored = Board::default();
        restored.restore(&holds, clocks, at(10));
        assert_eq!(restored.held(&name("a")), Some((at(0), "because")));
        assert_eq!(restored.held(&name("b")), Some((at(1), PAUSED_WHY)));
        assert_eq!(restored.sender_held(&name("b"), "x@y.z").as_deref(), Some("because"));
        assert_eq!(restored.clock(&name("a"), at(50)), at(0));
        restored.worked(&name("a"), at(60));
        assert!(restored.take_unsaved().contains(&Unsaved::Drop(Scope::Mailbox(name("a")))));
    }

    #[test]
    fn what_is_doubted_is_asked_by_one_login_of_a_link_at_a_time_and_outlives_nothing() {
        let mut board = board();
        assert!(board.doubt(&name("a"), at(0)));
        assert_eq!(board.may(&name("a"), at(0)), May::Probe(Probe::Login));
        assert!(!board.doubt(&name("a"), at(0)) && !board.doubt(&name("b"), at(0)), "one asks already");
        assert!(board.take_unsaved().iter().all(|unsaved| matches!(unsaved, Unsaved::Clock(..))));
        assert!(board.worked(&name("a"), at(1)) && board.doubt(&name("b"), at(1)));
        board.failed(&name("a"), Of::Mailbox, trouble(Kind::Quota), at(2));
        board.worked(&name("b"), at(2));
        assert!(!board.doubt(&name("a"), at(3)), "its own probe will show it");
    }

    #[test]
    fn what_was_forgiven_is_forgiven_by_the_next_process_too() {
        let mut board = board();
        board.failed(&name("a"), Of::Mailbox, trouble(Kind::Account), at(0));
        board.failed(&name("b"), Of::Link, trouble(Kind::Account), at(0));
        board.take_unsaved();
        board.forgive(Some(&name("a")), at(1));
        let changes = board.take_unsaved();
        let next: Vec<_> =
            changes.iter().filter_map(|change| if let Unsaved::Put(hold) = change { Some(hold.next) } else { None }).collect();
        assert_eq!(next, [at(1), at(1)], "the mailbox and its link: {changes:?}");
    }

    #[test]
    fn senders_are_bounded() {
        let mut board = board();
        for number in 0..MOST_SENDERS {
            let (held, _) = board.sender_failed(&name("a"), &format!("{number}@x"), trouble(Kind::Sender), at(0));
            assert!(held);
        }
        assert_eq!(board.sender_failed(&name("a"), "more@x", trouble(Kind::Sender), at(0)), (false, false));
        assert_eq!(board.sender_failed(&name("a"), "0@x", trouble(Kind::Sender), at(0)), (true, false));
        assert!(board.sender_worked(&name("a"), "0@x") && !board.sender_worked(&name("a"), "0@x"));
    }
}
