//! The addresses of mailboxes for whole domains. Each becomes a mailbox of its own with its first message: own connections, own limits,
//! own holds. It is forgotten when it has sent nothing for a day, nothing of it waits, and nothing is known to be wrong with it.

use super::Relay;
use crate::{
    config::{Mailbox, Settings},
    mail::Name,
    queue::{Hold, Scope},
    smtp::Reply,
    store, tls,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// How long an address that sends nothing keeps its place: as long as the providers' limits count.
const REST: Duration = Duration::from_secs(24 * 3600);

/// When each address was used last, by the name of its mailbox. Whoever changes the settings holds the lock.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<BTreeMap<Name, SystemTime>>);

impl Addresses {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, SystemTime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `name` needs nothing to be done before mail goes through it.
fn is_there(used: &mut BTreeMap<Name, SystemTime>, name: &Name, now: SystemTime) -> bool {
    name.is_configured() || used.get_mut(name).map(|at| *at = now.max(*at)).is_some()
}

impl Relay {
    /// Takes up other settings: connections and messages under way keep what they began with, addresses in use stay. On an error the old
    /// settings stay.
    pub fn configure(&self, settings: Settings) -> Result<Arc<Settings>, tls::Error> {
        let mut used = self.addresses.lock();
        used.retain(|name, _| settings.mailbox(name).is_some());
        let settings = Arc::new(with(&settings, used.keys()));
        self.tokens.configure(&settings)?;
        let before = self.set_settings(settings.clone());
        drop(used);
        for (name, mailbox) in &before.mailboxes {
            if settings.mailboxes.get(name) != Some(mailbox) {
                self.upstream.forget(name);
            }
        }
        self.queue.configure(settings.queue.clone());
        self.board().configure(&settings, SystemTime::now());
        self.forgive(None);
        self.configured.notify_one();
        Ok(settings)
    }

    /// Sees to it that mail can go through `mailbox`: an address that was not used yet gets its place, if there is one.
    pub(super) fn take_in(&self, mailbox: &Mailbox, now: SystemTime) -> Result<(), Reply> {
        let mut used = self.addresses.lock();
        if is_there(&mut used, &mailbox.name, now) {
            return Ok(());
        }
        let Some((domain, address)) = mailbox.name.of_domain() else { return Ok(()) };
        let most = self.settings().domains.get(&domain).map_or(0, |domain| domain.addresses);
        if used.keys().filter(|name| name.is_of(&domain)).count() >= most {
            tracing::warn!(event = "message.refused", mailbox = %domain, %address, addresses = most,
                advice = "raise addresses in the mailbox's table, or narrow the allowed-from of the apps that use it",
                "the mailbox sends for as many addresses as it may: a further one was told to try again");
            let text =
                format!("mailbox {domain} sends for {most} addresses already (addresses in [mailbox.{domain}]), try again later");
            return Err(Reply::new(451, Some((4, 5)), text));
        }
        self.add(&mut used, [mailbox.name.clone()], now);
        tracing::info!(event = "mailbox.added", mailbox = %mailbox.name, link = %mailbox.link, "an address of a mailbox for a whole domain sends for the first time");
        Ok(())
    }

    /// Takes in an address for whoever names its mailbox, however many there are: what was accepted has to go out, and an operator
    /// knows what he asks for.
    pub fn take_in_named(&self, name: &Name) {
        let now = SystemTime::now();
        let mut used = self.addresses.lock();
        if !is_there(&mut used, name, now) && self.settings().mailbox(name).is_some() {
            self.add(&mut used, [name.clone()], now);
        }
    }

    fn add(&self, used: &mut BTreeMap<Name, SystemTime>, names: impl IntoIterator<Item = Name>, now: SystemTime) {
        let new: Vec<Name> = names.into_iter().collect();
        used.extend(new.iter().map(|name| (name.clone(), now)));
        let settings = Arc::new(with(&self.settings(), new.iter()));
        for mailbox in new.iter().filter_map(|name| settings.mailboxes.get(name)) {
            self.tokens.add(mailbox);
            self.board().add(mailbox, now);
        }
        self.set_settings(settings);
        self.added.notify_one();
    }

    /// Takes in the addresses that an earlier process left something of.
    pub(super) async fn restore_addresses(
        &self,
        holds: &[Hold],
        counted: BTreeSet<Name>,
        now: SystemTime,
    ) -> Result<(), store::Error> {
        let held = holds.iter().filter_map(|hold| match &hold.scope {
            Scope::Mailbox(name) | Scope::Sender(name, _) | Scope::Paused(name) => Some(name.clone()),
            Scope::Link(_) => None,
        });
        let with_mail = self.queue.mailboxes_with_mail().await?;
        self.take_in_all(held.chain(counted).chain(with_mail), now);
        Ok(())
    }

    fn take_in_all(&self, names: impl Iterator<Item = Name>, now: SystemTime) {
        let mut used = self.addresses.lock();
        let settings = self.settings();
        let is_new = |name: &Name| !name.is_configured() && !used.contains_key(name) && settings.mailbox(name).is_some();
        let new: BTreeSet<Name> = names.filter(is_new).collect();
        if !new.is_empty() {
            self.add(&mut used, new, now);
        }
    }

    /// Takes in those with mail, and forgets those that rest.
    pub(super) async fn tend_addresses(&self, now: SystemTime) {
        if self.settings().domains.is_empty() {
            return;
        }
        let with_mail: BTreeSet<Name> = match self.queue.mailboxes_with_mail().await {
            Ok(names) => names.into_iter().collect(),
            Err(error) => return tracing::warn!(%error, "cannot look which addresses have mail; tried again"),
        };
        self.take_in_all(with_mail.iter().cloned(), now);
        let mut used = self.addresses.lock();
        let rests = |name: &Name, at: SystemTime| {
            now.duration_since(at).is_ok_and(|span| span > REST) && !with_mail.contains(name) && !self.board().is_marked(name)
        };
        let resting: BTreeSet<Name> = used.iter().filter(|(name, at)| rests(name, **at)).map(|(name, _)| name.clone()).collect();
        if resting.is_empty() {
            return;
        }
        used.retain(|name, _| !resting.contains(name));
        let mut settings = (*self.settings()).clone();
        settings.mailboxes.retain(|name, _| !resting.contains(name));
        self.set_settings(Arc::new(settings));
        drop(used);
        for name in &resting {
            self.tokens.remove(name);
            self.board().remove(name);
            self.upstream.remove(name);
            self.gates.remove(name);
            self.lanes.remove(name);
        }
        tracing::info!(
            event = "mailbox.removed",
            addresses = resting.len(),
            "addresses that sent nothing for a day were forgotten"
        );
    }

    fn set_settings(&self, settings: Arc<Settings>) -> Arc<Settings> {
        std::mem::replace(&mut *self.settings.write().unwrap_or_else(PoisonError::into_inner), settings)
    }
}

/// The settings with these addresses.
fn with<'a>(settings: &Settings, names: impl Iterator<Item = &'a Name>) -> Settings {
    let added: Vec<_> = names.filter_map(|name| Some((name.clone(), settings.mailbox(name)?))).collect();
    let mut settings = settings.clone();
    settings.mailboxes.extend(added);
    settings
}
