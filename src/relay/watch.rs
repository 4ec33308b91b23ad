//! Who watches how links and mailboxes stand: whenever something happened, and once a minute, each is looked at as a whole, and what
//! changed is told once: in the log, to those who asked, in the counters, and to the store, where the next process finds it.

use super::{
    Relay,
    board::Board,
    standing::{Change, Standing, Subject},
    states::{self, Found, Last, LinkFacts, MailboxFacts, News, Renewing},
};
use crate::{
    config::Settings,
    mail::{Advice, Name, State},
    oauth::forecast,
    queue::{Told, ToldOf},
    store,
    tokens::{self, Ending},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{broadcast, watch},
    time::timeout,
};

/// Changes beyond which a slow listener misses some; it is told how many.
pub(super) const MOST_CHANGES: usize = 1024;

/// How often all is looked at although nothing was heard of: ends come nearer.
const LOOK: Duration = Duration::from_secs(60);

/// The pause between two looks: what happens together is told together.
const BREATH: Duration = Duration::from_millis(20);

/// Longest wait for the store to say what ends; what it said before counts meanwhile.
const ENDINGS: Duration = Duration::from_secs(5);

/// What was told, and what of it is not written yet.
#[derive(Debug, Default)]
pub(super) struct Standings {
    last: BTreeMap<ToldOf, Entry>,
    unsaved: BTreeSet<ToldOf>,
    endings: Vec<Ending>,
}

#[derive(Debug)]
struct Entry {
    last: Last,
    /// How often it came into each state.
    entered: BTreeMap<State, u64>,
    /// How often was warned of what ends.
    warnings: u64,
}

/// What one look found.
type Findings = Vec<(Subject, Found)>;

impl Standings {
    /// Takes up what an earlier process told.
    fn restore(&mut self, told: Vec<Told>) {
        for Told { of, state, reason, advice, since, until, warned } in told {
            let standing = Standing { state, reason, advice, since, until, next: None };
            self.last.insert(of, Entry { last: Last { standing, warned }, entered: BTreeMap::new(), warnings: 0 });
        }
    }

    fn last(&self, of: &ToldOf, now: SystemTime) -> Last {
        self.last.get(of).map_or_else(|| Last::new(now), |entry| entry.last.clone())
    }

    /// Forgets what is no longer configured.
    fn retain(&mut self, settings: &Settings) {
        let is_configured = |of: &ToldOf| match of {
            ToldOf::Link(name) => settings.links.contains_key(name),
            ToldOf::Mailbox(name) => settings.mailboxes.contains_key(name),
        };
        let gone: Vec<ToldOf> = self.last.keys().filter(|of| !is_configured(of)).cloned().collect();
        for of in gone {
            self.last.remove(&of);
            self.unsaved.insert(of);
        }
    }

    /// Notes how something was found to stand; what of it is to be told, and for how long it had stood as before.
    fn note(&mut self, subject: Subject, found: Found, now: SystemTime) -> Option<(Change, Duration)> {
        let of = told_of(&subject);
        let before = self.last(&of, now);
        let (last, news) = before.follow(found, now);
        // When it is tried next is nothing that outlives the process.
        let lasting = |last: &Last| Last { standing: Standing { next: None, ..last.standing.clone() }, ..last.clone() };
        let is_new = !self.last.contains_key(&of);
        if is_new || lasting(&last) != lasting(&before) {
            self.unsaved.insert(of.clone());
        }
        let standing = last.standing.clone();
        let entry = self.last.entry(of).or_insert_with(|| Entry { last: before.clone(), entered: BTreeMap::new(), warnings: 0 });
        entry.last = last;
        if news == News::State {
            *entry.entered.entry(standing.state).or_default() += 1;
        }
        entry.warnings += u64::from(news != News::None && standing.state == State::Expiring);
        let lasted = now.duration_since(before.standing.since).unwrap_or_default();
        (news != News::None).then_some((Change { subject, before: before.standing.state, standing }, lasted))
    }

    /// What has to be written, once; `None` of what is to be forgotten.
    fn take_unsaved(&mut self) -> Vec<(ToldOf, Option<Told>)> {
        let told = |of: &ToldOf| {
            let Last { standing, warned } = self.last.get(of)?.last.clone();
            let Standing { state, reason, advice, since, until, .. } = standing;
            Some(Told { of: of.clone(), state, reason, advice, since, until, warned })
        };
        let all = self.unsaved.iter().map(|of| (of.clone(), told(of))).collect();
        self.unsaved.clear();
        all
    }
}

fn told_of(subject: &Subject) -> ToldOf {
    match subject {
        Subject::Link(name) => ToldOf::Link(name.clone()),
        Subject::Mailbox { mailbox, .. } => ToldOf::Mailbox(mailbox.clone()),
    }
}

/// Looks at everything: links first, since their mailboxes stand no better.
fn look(board: &Board, told: &Standings, settings: &Settings, statuses: &[tokens::Status], now: SystemTime) -> Findings {
    let renewing: BTreeMap<&Name, Renewing> = statuses.iter().map(|status| (&status.mailbox, Renewing::of(status))).collect();
    let endings = |link: &Name, mailbox: Option<&Name>| {
        let all = told.endings.iter();
        all.filter(|ending| ending.link == *link && ending.mailbox.as_ref() == mailbox).cloned().collect::<Vec<_>>()
    };
    let mut all = Findings::new();
    for link in settings.links.keys() {
        let mailboxes = settings.mailboxes.values().filter(|mailbox| mailbox.link == *link);
        let facts = LinkFacts {
            met: board.link_trouble(link),
            renewing: mailboxes.clone().filter_map(|mailbox| renewing.get(&mailbox.name).cloned()).collect(),
            endings: endings(link, None),
        };
        let found = states::link(&facts, &told.last(&ToldOf::Link(link.clone()), now).standing, now);
        let of_link = Some(found.clone()).filter(|found| !found.state.is_working());
        all.push((Subject::Link(link.clone()), found));
        for mailbox in mailboxes {
            let name = &mailbox.name;
            let facts = MailboxFacts {
                paused: board.paused(name).map(|since| (since, release(name))),
                met: board.own_trouble(name),
                renewing: renewing.get(name).cloned().unwrap_or(Renewing::Unknown),
                endings: endings(link, Some(name)),
                link: of_link.clone(),
            };
            let found = states::mailbox(&facts, &told.last(&ToldOf::Mailbox(name.clone()), now).standing, now);
            all.push((Subject::Mailbox { mailbox: name.clone(), link: link.clone() }, found));
        }
    }
    all
}

/// What ends an operator's hold.
fn release(mailbox: &Name) -> Advice {
    format!("`outlink queue release --mailbox {mailbox}` lets it send again").into()
}

impl Relay {
    /// How every link and mailbox stands now, each link before its mailboxes.
    pub fn standings(&self) -> Vec<(Subject, Standing)> {
        let now = SystemTime::now();
        let (settings, statuses) = (self.settings(), self.tokens.status());
        let (board, told) = (self.board(), self.told());
        let found = look(&board, &told, &settings, &statuses, now).into_iter();
        found
            .map(|(subject, found)| (subject.clone(), told.last(&told_of(&subject), now).follow(found, now).0.standing))
            .collect()
    }

    /// How `mailbox` stands now, where it is configured.
    pub fn standing(&self, mailbox: &Name) -> Option<Standing> {
        self.standings().into_iter().find_map(|(subject, standing)| (subject.mailbox() == Some(mailbox)).then_some(standing))
    }

    /// Whether `mailbox` was last told to be out of work.
    pub(super) fn is_out(&self, mailbox: &Name, now: SystemTime) -> bool {
        let told = self.told();
        told.last.get(&ToldOf::Mailbox(mailbox.clone())).is_some_and(|entry| entry.last.standing.is_out(now))
    }

    /// Every change from now on, once.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// How often was warned of what ends, since the start, by the same names; who was not warned is not among them.
    pub fn warnings(&self) -> BTreeMap<String, u64> {
        self.told().last.iter().filter(|(_, entry)| entry.warnings > 0).map(|(of, entry)| (key(of), entry.warnings)).collect()
    }

    /// How often each link and mailbox came into each state since the start, by `link.NAME` and `mailbox.NAME`.
    pub fn entered(&self) -> BTreeMap<String, BTreeMap<State, u64>> {
        let told = self.told();
        told.last.iter().map(|(of, entry)| (key(of), entry.entered.clone())).collect()
    }

    /// What ends one day, as far as it is known.
    pub fn endings(&self) -> Vec<Ending> {
        self.told().endings.clone()
    }

    /// Tells what changes until `end` says so (or its sender is gone).
    pub async fn watch(self: Arc<Self>, mut end: watch::Receiver<bool>) {
        let (mut tokens, mut configured) = (self.tokens.changes(), None);
        let mut may_end_otherwise = true;
        loop {
            let settings = self.settings();
            if may_end_otherwise || configured.as_ref().is_none_or(|before| !Arc::ptr_eq(before, &settings)) {
                tokens.mark_unchanged();
                self.read_endings().await;
            }
            configured = Some(settings);
            self.compare(SystemTime::now());
            tokio::time::sleep(BREATH).await;
            may_end_otherwise = tokio::select! {
                _ = end.wait_for(|end| *end) => return,
                () = self.noted.notified() => false,
                Ok(()) = tokens.changed() => true,
                () = tokio::time::sleep(LOOK) => true,
            };
        }
    }

    /// Asks what ends, if the store answers in time.
    pub(super) async fn read_endings(&self) {
        if let Ok(endings) = timeout(ENDINGS, self.tokens.endings()).await {
            self.told().endings = endings;
        }
    }

    /// Looks at everything and tells what changed; what only a login can show is asked.
    fn compare(&self, now: SystemTime) {
        let (settings, statuses) = (self.settings(), self.tokens.status());
        let mut news = Vec::new();
        let doubted = {
            let (mut board, mut told) = (self.board(), self.told());
            let found = look(&board, &told, &settings, &statuses, now);
            let doubted: Vec<Name> = found.iter().filter_map(in_doubt).filter(|mailbox| board.doubt(mailbox, now)).collect();
            told.retain(&settings);
            news.extend(found.into_iter().filter_map(|(subject, found)| told.note(subject, found, now)));
            doubted
        };
        for (change, lasted) in news {
            log(&change, lasted, now);
            // What waits elsewhere may find another way now.
            self.lanes.all().iter().for_each(|handle| handle.changed());
            // Nobody may be listening.
            let _ = self.changes.send(change);
        }
        doubted.iter().for_each(|mailbox| self.lanes.of(mailbox).wake());
        if !self.told().unsaved.is_empty() {
            self.keeper.notify_one();
        }
    }

    /// Something happened that may be news.
    pub(super) fn noted(&self) {
        self.keeper.notify_one();
        self.noted.notify_one();
    }

    /// Takes up what an earlier process told.
    pub(super) async fn restore_told(&self) -> Result<(), store::Error> {
        let told = self.queue.told().await?;
        self.told().restore(told);
        self.read_endings().await;
        Ok(())
    }

    /// Writes what was told.
    pub(super) async fn save_told(&self) -> Result<(), store::Error> {
        let unsaved = self.told().take_unsaved();
        let mut result = Ok(());
        for (of, told) in unsaved {
            let written = match told {
                Some(told) => self.queue.put_told(told).await,
                None => self.queue.drop_told(of.clone()).await,
            };
            if let Err(error) = written {
                self.told().unsaved.insert(of);
                result = Err(error);
            }
        }
        result
    }

    fn told(&self) -> MutexGuard<'_, Standings> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a counter.
fn key(of: &ToldOf) -> String {
    match of {
        ToldOf::Link(name) => format!("link.{name}"),
        ToldOf::Mailbox(name) => format!("mailbox.{name}"),
    }
}

fn in_doubt((subject, found): &(Subject, Found)) -> Option<Name> {
    subject.mailbox().filter(|_| found.is_doubtful).cloned()
}

fn log(change: &Change, lasted: Duration, now: SystemTime) {
    let Change { subject, before, standing } = change;
    let Standing { state, reason, advice, since, until, .. } = standing;
    let (event, before, state, seconds) = (subject.event(), before.word(), state.word(), lasted.as_secs());
    let (mailbox, link) = (subject.mailbox().map(tracing::field::display), subject.link());
    let advice_name = advice.as_ref().and_then(Advice::name);
    let (reason, advice) = (reason.as_deref(), advice.as_ref().map(|advice| advice.text.as_str()));
    let days = until.map(|until| forecast::days_left(until, now));
    let (since, until) = (rfc3339(*since), until.map(rfc3339));
    let text = text(change);
    match change.is_bad() {
        true => {
            tracing::warn!(event, mailbox, %link, state, before, reason, advice, advice_name, since, until, days, seconds, "{text}")
        }
        false => {
            tracing::info!(event, mailbox, %link, state, before, reason, advice, advice_name, since, until, days, seconds, "{text}")
        }
    }
}

/// What a change means for mail.
fn text(Change { subject, before, standing }: &Change) -> String {
    let again = *before == standing.state;
    let means = match standing.state {
        State::Ready => "nothing is known to be wrong any more: what waits goes out",
        State::Expiring if again => "an end has come nearer, or something else that it needs ends next",
        State::Expiring => "it works, and something that it needs ends soon",
        State::Failing => {
            "it fails for now and is tried again by itself: queued messages wait, apps under the contract direct hear 451"
        }
        State::OverQuota => "the provider's quota is reached: queued messages wait, apps under the contract direct hear 451",
        State::NeedsRepair | State::NeedsConsent if again => "it still needs a person, for another reason",
        State::NeedsRepair => {
            "it needs repair: queued messages wait, at the latest when its access token ends, and apps under the contract direct hear 451"
        }
        State::NeedsConsent => {
            "it needs a new consent: queued messages wait, at the latest when its access token ends, and apps under the contract direct hear 451"
        }
        State::Paused => "an operator holds it: its messages wait",
    };
    format!("{subject}: {means}")
}

fn rfc3339(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
