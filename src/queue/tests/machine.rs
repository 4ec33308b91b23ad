//! The whole queue against its model, over random lives: what is accepted, claimed, settled, held, ordered, forgotten, and what comes
//! after a crash. The clock is an argument, so that days pass in microseconds.
//!
//! `PROPTEST_CASES=2000 cargo test --lib queue::tests` tries more lives than the few of every run.

use super::{
    model::{Answer, Entry, Held, Model, entry},
    steps::{How, Start, Step, step},
};
use crate::{
    config,
    mail::{Id, Name, Recipient},
    queue::{
        Claimed, Event, Filter, HeldBy, LEASE, MailboxClock, Message, NewMessage, Next, Order, Queue, RecipientState, Report,
        Settled, Settlement, State, Wanted,
    },
    store::{
        Body, Kept, LARGEST_IN_MEMORY, Store,
        tests::{at, id, message as message_of, name},
    },
};
use proptest::{collection::vec, prelude::*};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Lives in each run.
const CASES: u32 = 64;

/// The longest life, in steps.
const STEPS: usize = 60;

pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const LIFE: Duration = Duration::from_secs(24 * 3600);
pub(super) const MAILBOXES: [&str; 2] = ["alerts", "billing"];
pub(super) const APPS: [&str; 3] = ["crowd", "jira", "nas"];
pub(super) const AUTHORS: [&str; 2] = ["crowd@example.com", "jira@example.com"];

/// The queue, its model, and those who work.
struct Machine {
    directory: tempfile::TempDir,
    store: Store,
    queues: [Arc<Queue>; 2],
    model: Model,
    /// Claims under which somebody works, or thinks so.
    work: Vec<Claimed>,
    accepted: u64,
    /// How many processes there were; each one draws other owners.
    life: u32,
}

fn settings() -> config::Queue {
    let (keep_trace, keep_failed, keep_held) = (20 * HOUR, 40 * HOUR, 25 * HOUR);
    config::Queue { expire_after: LIFE, keep_trace, keep_failed, keep_held, minimum_free: 0, ..config::Queue::default() }
}

/// The owners of the claims of one life, of two processes at once.
fn owners(life: u32) -> [u32; 2] {
    [4 * life, 4 * life + 2]
}

fn queues(store: &Store, life: u32) -> [Arc<Queue>; 2] {
    owners(life).map(|owner| Queue::new(store.clone(), settings(), owner))
}

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let model = Model { now: at(0), clocks: Default::default(), entries: Vec::new(), settings: settings() };
        Self { directory, queues: queues(&store, 0), store, model, work: Vec::new(), accepted: 0, life: 0 }
    }

    async fn step(&mut self, step: &Step) {
        let (mailbox_of, now) = (|mailbox: &usize| name(MAILBOXES[*mailbox]), self.model.now);
        match step {
            Step::Accept { .. } => self.accept(step).await,
            Step::Claim { owner, mailbox, app, most } => {
                self.claim(*owner, &mailbox_of(mailbox), &name(APPS[*app]), *most).await;
            }
            Step::Probe { owner, mailbox, author } => self.probe(*owner, &mailbox_of(mailbox), AUTHORS[*author]).await,
            Step::Settle { which, how } => {
                if let Some(claimed) = self.take_work(*which, true) {
                    self.settle(claimed, *how).await;
                }
            }
            Step::SettleLate { which, how } => {
                if let Some(claimed) = self.take_work(*which, false) {
                    self.settle(claimed, *how).await;
                }
            }
            Step::Unclaim { which } => self.unclaim(*which).await,
            Step::HoldClaimed { which } => self.hold_claimed(*which).await,
            Step::Crash { unnamed } => self.crash(*unnamed).await,
            Step::Renew { owner } => {
                let freed = self.store.renew_claims(owners(self.life)[*owner], now, now + LEASE).await.unwrap();
                assert_eq!(freed, self.model.renew(*owner, now + LEASE));
            }
            Step::Advance(by) => self.model.advance(*by),
            Step::Stop { mailbox } => self.set_clock(&mailbox_of(mailbox), |clock| clock.stop(now)).await,
            Step::GoOn { mailbox } => self.set_clock(&mailbox_of(mailbox), |clock| clock.go_on(now)).await,
            Step::Order { order, which, mailbox } => self.order(order, *which, &mailbox_of(mailbox)).await,
            Step::ReleaseSender { mailbox, author } => {
                let (mailbox, author) = (mailbox_of(mailbox), AUTHORS[*author]);
                let times = (now, self.model.clock(&mailbox));
                let released = self.queues[0].release_sender(&mailbox, author, times).await.unwrap();
                assert_eq!(released, self.model.release(&mailbox, HeldBy::Sender, |entry| entry.author == author));
            }
            Step::FitTo { mailboxes, apps } => self.fit_to(*mailboxes, *apps).await,
            Step::FailHeld { mailbox, since } => {
                let mailbox = mailbox_of(mailbox);
                let times = (now, self.model.clock(&mailbox));
                let failed = self.queues[0].fail_held(&mailbox, since.map(|since| now - since), times).await.unwrap();
                assert_eq!(failed, self.model.fail_held(&mailbox, since.is_some()));
            }
            Step::Forget => {
                self.queues[0].forget(now).await.unwrap();
                self.model.forget();
            }
        }
    }

    async fn set_clock(&mut self, mailbox: &Name, change: impl Fn(&mut MailboxClock)) {
        let clock = self.model.clocks.entry(mailbox.clone()).or_default();
        change(clock);
        self.store.put_clock(mailbox.clone(), *clock).await.unwrap();
    }

    async fn accept(&mut self, step: &Step) {
        let Step::Accept { mailbox, app, author, recipients, settled, octets, start } = step else { return };
        self.accepted += 1;
        let (now, mailbox) = (self.model.now, name(MAILBOXES[*mailbox]));
        let (clock, new) = (self.model.clock(&mailbox), message_of(self.accepted));
        let recipient = |place: usize| Recipient::to(crate::mail::Address::parse(&format!("{place}@example.org")).unwrap());
        let delivered = |position| report(position, RecipientState::Delivered);
        let mut new = NewMessage {
            app: name(APPS[*app]),
            author: AUTHORS[*author].to_owned(),
            settled: (0..*settled).map(delivered).collect(),
            accepted_at: now,
            due_at: now,
            expires_at: clock + LIFE,
            warn_at: Some(clock + LIFE - HOUR),
            held: (*start == Start::Held).then(|| (HeldBy::Sender, "denied".to_owned(), clock)),
            mailbox,
            ..new
        };
        new.envelope.recipients = (0..*recipients).map(recipient).collect();
        let owner = if let Start::Claimed { owner } = start { Some(*owner) } else { None };
        let claim = owner.map(|owner| (self.queues[owner].new_claim(), now + LEASE));
        new.claim = claim;
        let octets: Vec<u8> = (0..*octets).map(|place| (place as u64 + self.accepted) as u8).collect();
        let body = received(&self.store, &octets).await;
        let number = self.queues[owner.unwrap_or(0)].accept(new.clone(), body).await.unwrap().number();
        let accepted = Message::of(&new, number, octets.len() as u64);
        let kept = self.store.message(number).await.unwrap().unwrap();
        assert_eq!(format!("{accepted:?}"), format!("{kept:?}"), "what goes out at once is what is kept");
        let entry = entry(&new, kept, octets, owner.zip(claim).map(|(owner, (claim, until))| Held { owner, claim, until }));
        self.model.entries.push(entry);
        if let Some((claim, _)) = claim {
            self.work.push(Claimed { message: accepted, claim, body: None });
        }
    }

    async fn claim(&mut self, owner: usize, mailbox: &Name, app: &Name, most: usize) {
        let wanted = Wanted { mailbox: mailbox.clone(), app: app.clone(), author: None, most };
        let found = self.queues[owner].claim(wanted, self.model.now).await.unwrap();
        let ids: Vec<Id> = found.iter().map(|claimed| claimed.message.id).collect();
        assert_eq!(ids, self.model.due(mailbox, app, most), "the longest due first, then the one accepted first, each once");
        for claimed in found {
            self.claimed(owner, claimed).await;
        }
    }

    async fn probe(&mut self, owner: usize, mailbox: &Name, author: &str) {
        let found = self.queues[owner].claim_held(mailbox, author, self.model.now).await.unwrap();
        assert_eq!(found.as_ref().map(|claimed| claimed.message.id), self.model.probe(mailbox, author));
        if let Some(claimed) = found {
            self.claimed(owner, claimed).await;
        }
    }

    async fn claimed(&mut self, owner: usize, claimed: Claimed) {
        let (message, now) = (&claimed.message, self.model.now);
        let body = self.queues[owner].body(message).await.unwrap().expect("what waits has a body");
        let entry = self.model.entry(message.id);
        entry.claim = Some(Held { owner, claim: claimed.claim, until: now + LEASE });
        assert!(body.beginning(usize::MAX).await.unwrap() == entry.octets.0, "the octets are those that were accepted");
        assert_eq!(message.positions, entry.waiting(), "no settled recipient comes again");
        assert_eq!(message.settled, entry.recipients.len() - message.positions.len());
        let addresses: Vec<_> = message.envelope.recipients.iter().map(|to| to.address.as_str().to_owned()).collect();
        assert_eq!(addresses, message.positions.iter().map(|place| format!("{place}@example.org")).collect::<Vec<_>>());
        self.work.push(claimed);
    }

    /// Work whose claim holds, or has ended.
    fn take_work(&mut self, which: usize, holds: bool) -> Option<Claimed> {
        let holds_still = |claimed: &Claimed| {
            self.model
                .entries
                .iter()
                .any(|entry| entry.claim.is_some_and(|held| held.claim == claimed.claim) && entry.id == claimed.message.id)
        };
        let fitting: Vec<usize> = (0..self.work.len()).filter(|at| holds_still(&self.work[*at]) == holds).collect();
        let at = *fitting.get(which.checked_rem(fitting.len())?)?;
        Some(self.work.swap_remove(at))
    }

    async fn settle(&mut self, claimed: Claimed, how: How) {
        let Claimed { message, claim, .. } = claimed;
        let (now, clock) = (self.model.now, self.model.clock(&message.mailbox));
        let (reports, next) = if clock >= message.expires_at {
            let expired = message.positions.iter().map(|place| report(*place, RecipientState::Expired));
            (expired.collect(), Next::Failed { reason: "expired".to_owned() })
        } else {
            verdict(&message, how, (now, clock), self.model.entries.iter().find(|entry| entry.id == message.id))
        };
        let notices: Vec<_> = match next {
            Next::Failed { .. } => vec![self.bounce(&message)],
            _ => Vec::new(),
        };
        let counts = self.model.settle(message.id, claim, &reports, &next);
        let event = Event { at: now, event: "tried".to_owned(), detail: String::new(), took: None };
        let settlement = Settlement {
            number: message.number,
            id: message.id,
            claim,
            reports,
            next,
            unsure: false,
            event,
            notices: notices.clone(),
        };
        let settled = self.queues[0].settle(settlement).await.unwrap();
        assert_eq!(settled, if counts { Settled::Done } else { Settled::TooLate });
        for (notice, _) in notices.into_iter().filter(|_| counts) {
            let number = self.queues[0].find(notice.id).await.unwrap().expect("the bounce came with the verdict").number;
            let kept = self.store.message(number).await.unwrap().unwrap();
            self.model.entries.push(entry(&notice, kept, b"bounce".to_vec(), None));
        }
    }

    fn bounce(&mut self, message: &Message) -> (NewMessage, Kept) {
        self.accepted += 1;
        let (now, mailbox) = (self.model.now, message.mailbox.clone());
        let clock = self.model.clock(&mailbox);
        let mut new = message_of(self.accepted);
        new.envelope.recipients = vec![Recipient::to(crate::mail::Address::parse("0@example.org").unwrap())];
        let bounce = NewMessage {
            mailbox,
            app: message.app.clone(),
            bounce_of: Some(message.id),
            accepted_at: now,
            due_at: now,
            expires_at: clock + LIFE,
            warn_at: None,
            ..new
        };
        (bounce, Kept::small(b"bounce"[..].into()).unwrap())
    }

    async fn unclaim(&mut self, which: usize) {
        let Some(claimed) = self.take_work(which, true) else { return };
        self.queues[0].unclaim(vec![(claimed.message.number, claimed.claim)]).await.unwrap();
        self.model.entry(claimed.message.id).claim = None;
    }

    /// As the relay does with a message at hand whose sender was denied meanwhile; a probe is never held that way.
    async fn hold_claimed(&mut self, which: usize) {
        let Some(claimed) = self.take_work(which, true) else { return };
        let clock = self.model.clock(&claimed.message.mailbox);
        let entry = self.model.entry(claimed.message.id);
        if entry.state == State::Held {
            return self.work.push(claimed);
        }
        entry.hold(HeldBy::Sender, clock);
        self.queues[0]
            .hold_claimed((claimed.message.number, claimed.claim), (HeldBy::Sender, "denied".to_owned()), clock)
            .await
            .unwrap();
    }

    /// The process ends with no chance to do anything, and the next one opens the directory.
    async fn crash(&mut self, unnamed: bool) {
        if unnamed {
            let body = received(&self.store, &vec![0; LARGEST_IN_MEMORY + 1]).await;
            drop(self.store.keep(body, id(u64::MAX - 1)).await.unwrap());
            assert_eq!(self.files().len(), self.large().len() + 1);
        }
        let elsewhere = Store::open(tempfile::tempdir().unwrap().path()).unwrap();
        self.queues = queues(&elsewhere, 0);
        drop(std::mem::replace(&mut self.store, elsewhere));
        self.store = Store::open(self.directory.path()).unwrap();
        self.life += 1;
        self.queues = queues(&self.store, self.life);
        self.model.entries.iter_mut().for_each(|entry| entry.claim = None);
        assert_eq!(self.store.clocks().await.unwrap(), self.model.clocks);
    }

    async fn order(&mut self, order: &Order, which: Option<usize>, mailbox: &Name) {
        let (clocks, now) = (self.model.clocks.clone(), self.model.now);
        let clock = |mailbox: &Name| clocks.get(mailbox).copied().unwrap_or_default().read(now);
        let chosen = which.filter(|_| self.accepted > 0).map(|which| id(which as u64 % self.accepted + 1));
        let states: &[State] = match order {
            Order::Retry => &[State::Waiting, State::Failed],
            Order::Hold => &[State::Waiting],
            Order::Release => &[State::Held],
            Order::Discard | Order::Move(_) => &[State::Waiting, State::Held, State::Failed],
        };
        let filter = Filter { mailbox: Some(mailbox.clone()), states: states.to_vec(), ..Filter::default() };
        let ids = match chosen {
            Some(id) => vec![id],
            None => self.store.list(filter, None).await.unwrap().lines.iter().map(|line| line.id).collect(),
        };
        let changed = self.queues[0].order(order, ids, now, clock).await.unwrap();
        let meant = |entry: &&Entry| match chosen {
            Some(id) => entry.id == id,
            None => entry.mailbox == *mailbox && states.contains(&entry.state),
        };
        let meant: Vec<Id> = self.model.entries.iter().filter(meant).map(|entry| entry.id).collect();
        let unknown: Vec<Id> = chosen.into_iter().filter(|id| !meant.contains(id)).collect();
        let answers: Vec<_> = meant.into_iter().map(|id| (id, self.model.order(order, id))).collect();
        let of = |wanted: fn(Answer) -> bool| answers.iter().filter(move |(_, answer)| wanted(*answer)).map(|(id, _)| *id);
        assert_eq!(changed.done, of(|answer| answer == Answer::Done).count() as u64);
        assert_eq!(changed.unknown, unknown);
        let under_way: BTreeSet<Id> = changed.under_way.into_iter().collect();
        assert_eq!(under_way, of(|answer| answer == Answer::UnderWay).collect());
        let not_now: BTreeSet<Id> = changed.not_now.into_iter().map(|(id, _)| id).collect();
        assert_eq!(not_now, of(|answer| matches!(answer, Answer::NotNow(_))).collect());
    }

    async fn fit_to(&mut self, mailboxes: usize, apps: usize) {
        let chosen = |all: &[&str], mask: usize| -> Vec<Name> {
            all.iter().enumerate().filter(|(place, _)| mask >> place & 1 == 1).map(|(_, text)| name(text)).collect()
        };
        let (mailboxes, apps) = (chosen(&MAILBOXES, mailboxes), chosen(&APPS, apps));
        let (clocks, now) = (self.model.clocks.clone(), self.model.now);
        let clock = |mailbox: &Name| clocks.get(mailbox).copied().unwrap_or_default().read(now);
        self.queues[0].fit_to(&mailboxes, &apps, now, clock).await.unwrap();
        self.model.fit_to(&MAILBOXES.map(name), &mailboxes, &apps);
    }

    /// The ids that name files.
    fn files(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.directory.path().join("bodies")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The ids that should.
    fn large(&self) -> BTreeSet<String> {
        let large = |entry: &&Entry| entry.has_body && entry.octets.0.len() > LARGEST_IN_MEMORY;
        self.model.entries.iter().filter(large).map(|entry| entry.id.to_string()).collect()
    }

    /// What must hold after each step.
    async fn compare(&self) {
        let states = vec![State::Waiting, State::Held, State::Delivered, State::Failed];
        let page = self.store.list(Filter { states, ..Filter::default() }, None).await.unwrap();
        let lines: Vec<String> = page
            .lines
            .iter()
            .map(|line| {
                let (holds, due_at) = (line.is_claimed, line.due_at);
                format!(
                    "{} {} {} {} {:?} {} {due_at:?} {holds} {} {} {} {}",
                    line.id,
                    line.app,
                    line.mailbox,
                    line.state,
                    line.held_by,
                    line.attempts,
                    line.waiting,
                    line.has_body,
                    line.size,
                    line.recipients
                )
            })
            .collect();
        let mut entries: Vec<&Entry> = self.model.entries.iter().collect();
        entries.sort_by_key(|entry| entry.number);
        let expected: Vec<String> = entries
            .iter()
            .map(|entry| {
                let (holds, due_at) = (entry.claim.is_some(), entry.due_at);
                format!(
                    "{} {} {} {} {:?} {} {due_at:?} {holds} {} {} {} {}",
                    entry.id,
                    entry.app,
                    entry.mailbox,
                    entry.state,
                    entry.held_by,
                    entry.attempts,
                    entry.waiting().len(),
                    entry.has_body,
                    entry.octets.0.len(),
                    entry.recipients.len()
                )
            })
            .collect();
        assert_eq!(lines, expected);
        assert_eq!(self.store.octets_kept(), self.model.octets());
        assert_eq!(self.files(), self.large());
    }

    /// What costs more to look at: each recipient, each body, each message's time.
    async fn compare_all(&self) {
        for entry in &self.model.entries {
            let message = self.store.message(entry.number).await.unwrap().unwrap();
            let (standings, _) = self.store.story(entry.number).await.unwrap();
            assert_eq!(standings.iter().map(|standing| standing.state).collect::<Vec<_>>(), entry.recipients, "{}", entry.id);
            let body = self.store.body(entry.number, entry.id, message.size).await.unwrap();
            assert_eq!(body.is_some(), entry.has_body);
            if let Some(body) = body {
                assert!(body.beginning(usize::MAX).await.unwrap() == entry.octets.0, "{}", entry.id);
            }
            let stands_at = match entry.state {
                State::Waiting => self.model.clock(&entry.mailbox),
                State::Held => entry.held_since,
                State::Delivered | State::Failed => continue,
            };
            let warned = entry.warned.map(|before| message.expires_at - before);
            assert_eq!(message.warn_at, warned, "{entry:?}");
            assert_eq!(millis_from(stands_at, message.expires_at), entry.left, "time in a hold does not count: {entry:?}");
        }
    }
}

fn millis_from(from: SystemTime, to: SystemTime) -> i64 {
    to.duration_since(from).map_or_else(|earlier| -(earlier.duration().as_millis() as i64), |later| later.as_millis() as i64)
}

fn report(position: usize, state: RecipientState) -> Report {
    Report { position, state, code: Some(250), reply: "said".to_owned(), advice: None }
}

/// What a worker concludes of an attempt.
fn verdict(message: &Message, how: How, (now, clock): (SystemTime, SystemTime), entry: Option<&Entry>) -> (Vec<Report>, Next) {
    let all = |state| message.positions.iter().map(|place| report(*place, state)).collect::<Vec<_>>();
    let (reason, attempts) = ("tried".to_owned(), message.attempts + 1);
    let was_refused = entry.is_some_and(|entry| entry.recipients.contains(&RecipientState::Refused));
    let ends = |refused: bool| match refused {
        true => Next::Failed { reason: "refused".to_owned() },
        false => Next::Delivered,
    };
    let waits = |pause, warn_at| Next::Waits { due_at: now + pause, attempts, reason: reason.clone(), warn_at };
    match how {
        How::Delivered => (all(RecipientState::Delivered), ends(was_refused)),
        How::Refused => (all(RecipientState::Refused), ends(true)),
        How::InPart(most) if most < message.positions.len() => {
            let state = if most == 1 { RecipientState::Refused } else { RecipientState::Delivered };
            (all(state).into_iter().take(most).collect(), waits(Duration::ZERO, message.warn_at))
        }
        How::InPart(_) => (all(RecipientState::Delivered), ends(was_refused)),
        How::Retry(pause) => (Vec::new(), waits(pause, message.warn_at)),
        How::Warned => (Vec::new(), waits(HOUR, None)),
        How::Hold => (Vec::new(), Next::Held { by: HeldBy::Sender, reason, since: clock, attempts }),
    }
}

/// A body as it arrives from an app.
async fn received(store: &Store, octets: &[u8]) -> Body {
    let mut body = store.spool().receive();
    for piece in octets.chunks(60_000) {
        body.write(piece).await.unwrap();
    }
    body.finish().await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_does_what_its_model_does_and_loses_nothing(steps in vec(step(), 1..=STEPS)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut machine = Machine::new();
            for step in &steps {
                machine.step(step).await;
                machine.compare().await;
            }
            machine.compare_all().await;
        });
    }
}

/// `PROPTEST_CASES` where it is set.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}
