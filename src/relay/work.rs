//! One kept message: an attempt, and what follows from it for the message, its mailbox, its sender and the log.

use super::{
    Relay,
    attempt::{Attempt, Errand, Unsent, attempt},
    board::Of,
    gate::Pass,
    health::{Kind as TroubleKind, Trouble},
    judge::{Case, Judgement},
    lanes::Handle,
    log::{self, Entry},
    notices::{Fate, Subject, fates},
    own,
    settle::{Plan, Tried, expired},
};
use crate::{
    config::{Link, Mailbox},
    mail::{Change, Hold, Name, Outcome, bounce, changes_in_words},
    queue::{
        Claimed, Event, HeldBy, Kept, Message, NO_APP, NO_MAILBOX, NewMessage, Next, RecipientState, Report, Settled, Settlement,
    },
    store::Body,
    upstream::{Policy, Progress, Sent},
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Longest wait for a place among the connections: the gate has one free, so only a reload can make this long.
const PLACE: Duration = Duration::from_secs(300);

/// How long settling is tried again while the store fails. The claim is renewed meanwhile; what cannot be settled is sent again.
const SETTLE: Duration = Duration::from_secs(3600);

/// The longest pause between two tries to settle.
const SETTLE_PAUSE: Duration = Duration::from_secs(10);

/// Messages about a message, with their bodies.
type Notices = Vec<(NewMessage, Kept)>;

/// A claimed message on its way.
pub(super) struct Work {
    pub(super) relay: Arc<Relay>,
    pub(super) handle: Arc<Handle>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) link: Arc<Link>,
    pub(super) claimed: Claimed,
    /// Whether it finds out if its sender may send again.
    pub(super) probes_sender: bool,
}

/// What becomes of a message without asking the provider.
pub(super) enum End {
    /// Its time is over.
    Expired,
    /// It waits for somebody.
    Held(HeldBy, String),
}

/// What an attempt brought: the dialogue's end, for the first recipients of the message.
pub(super) struct Attempted {
    pub(super) sent: Result<Sent, Unsent>,
    /// Whether the provider may have the message although it did not say so.
    pub(super) unsure: bool,
    /// What went out otherwise than it is kept.
    pub(super) changes: Vec<Change>,
    pub(super) recipients: usize,
    pub(super) took: Duration,
}

impl Work {
    /// Attempts and settles; whatever happens, the message is given back.
    pub(super) async fn run(self, pass: Pass) {
        let now = SystemTime::now();
        // It may have changed since it was taken.
        if let Some(end) = self.relay.end_of(&self.mailbox.name, &self.claimed.message, self.probes_sender, now) {
            drop(pass);
            return self.end(end, now).await;
        }
        let message = &self.claimed.message;
        let body = match self.body().await {
            Ok(body) => body,
            Err(reason) => {
                drop(pass);
                return self.put_off(reason).await;
            }
        };
        let recipients = message.envelope.recipients.len().min(self.handle.gate(&self.relay, &self.mailbox).recipients(now));
        let mut envelope = message.envelope.clone();
        envelope.recipients.truncate(recipients);
        let (progress, begun) = (Progress::new(), Instant::now());
        let until = tokio::time::Instant::now() + PLACE;
        let errand = Errand { envelope: &envelope, body: &body, policy: Policy::Each, progress: &progress, until };
        let Attempt { sent, changes } = attempt(&self.relay, &self.mailbox, errand).await;
        // The connection is free for the next one; settling needs none.
        pass.leave(was_seen(&sent));
        crate::crash::point("answered");
        let unsure = sent.is_err() && progress.is_committed();
        let result = Attempted { sent, unsure, changes, recipients, took: begun.elapsed() };
        self.conclude(result, Some(&body)).await;
    }

    async fn body(&self) -> Result<Body, String> {
        if let Some(share) = &self.claimed.body {
            return Ok(share.body().clone());
        }
        match self.relay.queue.body(&self.claimed.message).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => Err("its body is missing in the store; restore a backup, or discard it".to_owned()),
            Err(error) => Err(format!("its body cannot be read: {error}")),
        }
    }

    /// Draws the conclusions from an attempt.
    pub(super) async fn conclude(self, result: Attempted, body: Option<&Body>) {
        let (message, now) = (&self.claimed.message, SystemTime::now());
        let judgements = self.judge(&result);
        let dsn = result.sent.as_ref().is_ok_and(|sent| sent.dsn);
        let loudest = log::loudest(&judgements).cloned();
        let says_nothing = judgements.iter().all(Judgement::says_nothing);
        let mut tried = Tried::sum_up(message, judgements);
        self.note(&mut tried, says_nothing, now).await;
        let clock = self.relay.board().clock(&self.mailbox.name, now);
        let settings = self.relay.queue.settings();
        let plan = Plan { retry: &settings.retry, now, clock, chance: super::chance() };
        let is_done = tried.reports.len() == message.positions.len();
        let (next, notices) = match is_done {
            true => self.finish(&tried.reports, body, dsn, now).await,
            false => self.go_on(tried.next(message, plan), (body, clock, now)).await,
        };
        let next = self.unless_removed(next, clock);
        let word = word(&next, &tried);
        let mut detail = loudest.as_ref().map_or_else(String::new, |judgement| judgement.reason.clone());
        if tried.is_delivered() && !result.changes.is_empty() {
            detail.push_str(&format!("; sent with {}", changes_in_words(&result.changes)));
            self.relay.sent_with(&message.app, &result.changes, message.settled);
        }
        let event = Event { at: now, event: word.to_owned(), detail, took: Some(result.took) };
        if let Some(judgement) = &loudest {
            let entry = Entry { message, mailbox: &self.mailbox, next: &next, took: result.took };
            entry.write(judgement, &tried);
        }
        // A probe that was delivered in part freed its sender, and is held still.
        let may_stray = self.probes_sender || matches!(next, Next::Held { .. });
        let (waits_for_others, handle) = (tried.sender.is_some() || tried.trouble.is_some(), self.handle.clone());
        let stray = may_stray.then(|| (self.relay.clone(), self.mailbox.name.clone(), message.author.clone()));
        self.settle((tried.reports, next, result.unsure), event, notices).await;
        if waits_for_others {
            handle.changed();
        }
        if let Some((relay, mailbox, author)) = stray {
            relay.free_stray(&mailbox, &author, now).await;
        }
    }

    fn judge(&self, result: &Attempted) -> Vec<Judgement> {
        let message = &self.claimed.message;
        let case = Case::of(message.id, (&self.mailbox, &self.link), &message.envelope);
        match &result.sent {
            Ok(sent) => case.each(sent),
            Err(Unsent::Failed(failure)) => vec![case.failed(failure); result.recipients],
            Err(Unsent::NoToken(unavailable)) => vec![case.without_token(unavailable); result.recipients],
        }
    }

    /// Tells board and gate what the attempt says of the mailbox and the sender.
    async fn note(&self, tried: &mut Tried, says_nothing: bool, now: SystemTime) {
        let (relay, name, message) = (&self.relay, &self.mailbox.name, &self.claimed.message);
        if let Some(taken) = tried.too_many {
            self.handle.gate(relay, &self.mailbox).learn(taken, now);
        }
        match &tried.trouble {
            Some(judgement) => relay.note_trouble(&self.mailbox, judgement, now),
            // A refused recipient, or a cut, does not show that a quota has reset.
            None if says_nothing || (!tried.is_delivered() && relay.board().needs_delivery(name)) => {
                relay.note_nothing(&self.mailbox, now);
            }
            None => relay.note_works(&self.mailbox, now),
        }
        if let Some(judgement) = &tried.sender {
            let trouble = Trouble {
                kind: TroubleKind::Sender,
                probe: super::health::Probe::Message,
                reason: judgement.reason.clone(),
                advice: judgement.advice.clone(),
            };
            let (is_held, is_news) = relay.board().sender_failed(name, &message.author, trouble, now);
            if is_news {
                tracing::warn!(event = "sender.changed", mailbox = %name, link = %self.mailbox.link, state = "held",
                    from = message.author, reason = judgement.reason, advice = judgement.advice_text(), advice_name = judgement.advice_name(),
                    "the provider does not let this mailbox send as this sender: its messages wait, others go on");
            }
            if !is_held {
                tried.hold_nobody();
            }
            relay.keeper.notify_one();
        } else if tried.is_delivered() {
            relay.free_sender(name, &message.author, now).await;
        } else if self.probes_sender {
            relay.board().sender_given_up(name, &message.author, now);
        }
    }

    /// A message that would wait in a mailbox which a reload removed meanwhile is held for that, as those that lay there were.
    fn unless_removed(&self, next: Next, clock: SystemTime) -> Next {
        match next {
            Next::Waits { attempts, .. } if self.relay.mailbox(&self.mailbox.name).is_none() => {
                Next::Held { by: HeldBy::Mailbox, reason: NO_MAILBOX.to_owned(), since: clock, attempts }
            }
            next => next,
        }
    }

    /// Every recipient is settled: how the message ends, and who is told.
    async fn finish(&self, reports: &[Report], body: Option<&Body>, dsn: bool, now: SystemTime) -> (Next, Notices) {
        let message = &self.claimed.message;
        let mut all = fates(message, reports);
        if message.settled > 0 {
            // Those that were settled by earlier attempts belong into the same notices.
            match self.relay.queue.standings(message.number).await {
                Ok(standings) => {
                    all.extend(standings.into_iter().map(Fate::from).filter(|fate| fate.state != RecipientState::Waiting));
                }
                Err(error) => tracing::warn!(id = %message.id, %error, "earlier recipients are missing in the bounce"),
            }
        }
        let subject = Subject { mailbox: &self.mailbox, message, body, now };
        let mut notices = Vec::new();
        if !dsn {
            notices.extend(self.relay.notice(subject, bounce::Kind::Relayed, &all).await);
        }
        let failed = all.iter().filter(|fate| fate.state != RecipientState::Delivered).count();
        if failed == 0 {
            return (Next::Delivered, notices);
        }
        crate::crash::point("bouncing");
        notices.extend(self.relay.notice(subject, bounce::Kind::Failed, &all).await);
        let reason = format!("{failed} of {} recipients failed", message.settled + message.positions.len());
        (Next::Failed { reason }, notices)
    }

    /// The message waits on: its sender is warned when it is time.
    async fn go_on(&self, next: Next, (body, clock, now): (Option<&Body>, SystemTime, SystemTime)) -> (Next, Notices) {
        let message = &self.claimed.message;
        let Next::Waits { due_at, attempts, reason, warn_at: Some(warn_at) } = next else { return (next, Vec::new()) };
        if clock < warn_at {
            return (Next::Waits { due_at, attempts, reason, warn_at: Some(warn_at) }, Vec::new());
        }
        let until = now + message.expires_at.duration_since(clock).unwrap_or_default();
        let waiting: Vec<Fate> = message.envelope.recipients.iter().map(|recipient| Fate::waiting(recipient, &reason)).collect();
        let subject = Subject { mailbox: &self.mailbox, message, body, now };
        let notice = self.relay.notice(subject, bounce::Kind::Delayed { until }, &waiting).await;
        (Next::Waits { due_at, attempts, reason, warn_at: None }, notice.into_iter().collect())
    }

    /// Its time is over.
    async fn expire(self, now: SystemTime) {
        let message = &self.claimed.message;
        let reason = format!(
            "not delivered within {}; last: {}",
            log::span(message.expires_at.duration_since(message.accepted_at).unwrap_or_default()),
            self.last_reason().await
        );
        let reports = expired(message, &reason);
        let body = self.body().await.ok();
        let (next, notices) = self.finish(&reports, body.as_ref(), true, now).await;
        tracing::warn!(event = "message.failed", id = %message.id, app = %message.app, mailbox = %self.mailbox.name,
            link = %self.mailbox.link, client = message.client, from = log::sender(&message.envelope),
            to = log::recipients(&message.envelope), bytes = message.size, attempt = message.attempts, reply = reason,
            "given up: its time is over");
        let event = Event { at: now, event: "expired".to_owned(), detail: reason, took: None };
        self.settle((reports, next, false), event, notices).await;
    }

    async fn last_reason(&self) -> String {
        let found = self.relay.queue.find(self.claimed.message.id).await;
        found.ok().flatten().and_then(|line| line.reason).unwrap_or_else(|| "it was never tried".to_owned())
    }

    /// Does what is to be done without the provider.
    pub(super) async fn end(self, end: End, now: SystemTime) {
        match end {
            End::Expired => self.expire(now).await,
            End::Held(by, reason) => self.hold((by, reason), now).await,
        }
    }

    /// Its sender was denied, or its app removed, while it waited at hand.
    async fn hold(self, (by, reason): (HeldBy, String), now: SystemTime) {
        let (message, claim) = (&self.claimed.message, self.claimed.claim);
        let clock = self.relay.board().clock(&self.mailbox.name, now);
        if let Err(error) = self.relay.queue.hold_claimed((message.number, claim), (by, reason), clock).await {
            tracing::warn!(id = %message.id, %error, "a message that is to be held stays claimed until its lease ends");
        }
        if by == HeldBy::Sender {
            self.relay.free_stray(&self.mailbox.name, &message.author, now).await;
        }
        self.handle.settled(None);
    }

    /// It cannot even be tried.
    async fn put_off(self, reason: String) {
        let message = &self.claimed.message;
        tracing::error!(event = "message.deferred", id = %message.id, app = %message.app, mailbox = %self.mailbox.name, reply = reason,
            "a message could not be tried");
        let (now, attempts) = (SystemTime::now(), message.attempts + 1);
        let due_at = crate::queue::due_after(&self.relay.queue.settings().retry, attempts, now, super::chance());
        let event = Event { at: now, event: "deferred".to_owned(), detail: reason.clone(), took: None };
        let next = Next::Waits { due_at, attempts, reason, warn_at: message.warn_at };
        self.settle((Vec::new(), next, false), event, Vec::new()).await;
    }

    /// Makes it durable. Should the store fail now, the provider has the message and the store does not know: so it is tried again, for
    /// as long as the process lives, before the message could go out twice.
    async fn settle(self, (reports, next, unsure): (Vec<Report>, Next, bool), event: Event, notices: Notices) {
        let Claimed { message: Message { number, id, app, .. }, claim, .. } = &self.claimed;
        let (begun, mut pause) = (Instant::now(), Duration::from_millis(100));
        let has_notices = !notices.is_empty();
        loop {
            let settlement = Settlement {
                number: *number,
                id: *id,
                claim: *claim,
                reports: reports.clone(),
                next: next.clone(),
                unsure,
                event: event.clone(),
                notices: notices.clone(),
            };
            match self.relay.queue.settle(settlement).await {
                Ok(Settled::Done) => {
                    crate::crash::point("settled");
                    break;
                }
                Ok(Settled::TooLate) => {
                    tracing::warn!(%id, "a verdict came too late: the message was taken over or removed meanwhile");
                    break;
                }
                Err(error) if begun.elapsed() < SETTLE => {
                    tracing::error!(%id, %error, "what became of a message cannot be kept; tried again, else it is sent twice");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(SETTLE_PAUSE);
                }
                Err(error) => {
                    tracing::error!(%id, %error, "what became of a message was not kept: it will be sent again");
                    // What this cannot give back, the queue's upkeep does.
                    let _ = self.relay.queue.unclaim_unsure((*number, *claim)).await;
                    break;
                }
            }
        }
        let due = match &next {
            Next::Waits { due_at, .. } => Some((app.clone(), *due_at)),
            Next::Held { .. } | Next::Delivered | Next::Failed { .. } => None,
        };
        self.handle.settled(due.map(|(_, at)| at));
        if has_notices {
            self.handle.look();
        }
    }
}

/// Whether the provider saw the message, although the dialogue broke: then it counts.
pub(super) fn was_seen(sent: &Result<Sent, Unsent>) -> bool {
    match sent {
        Ok(sent) => sent.mail.is_positive(),
        Err(Unsent::Failed(failure)) => !failure.step.is_before_mail(),
        Err(Unsent::NoToken(_)) => false,
    }
}

/// What happened, in one word of the message's story.
fn word(next: &Next, tried: &Tried) -> &'static str {
    match next {
        Next::Delivered => "delivered",
        Next::Held { .. } => "held",
        Next::Failed { .. } => "refused",
        Next::Waits { .. } if tried.reports.is_empty() => "deferred",
        Next::Waits { .. } => "in part",
    }
}

impl Relay {
    /// Whether this message is not to be tried at all.
    pub(super) fn end_of(&self, mailbox: &Name, message: &Message, probes_sender: bool, now: SystemTime) -> Option<End> {
        if !self.settings().apps.contains_key(&message.app) && message.app != own::app() {
            return Some(End::Held(HeldBy::App, NO_APP.to_owned()));
        }
        // A sender's hold does not count as the message's time; its end is moved when the hold is lifted.
        if probes_sender {
            return None;
        }
        let board = self.board();
        if board.clock(mailbox, now) >= message.expires_at {
            return Some(End::Expired);
        }
        board.sender_held(mailbox, &message.author).map(|reason| End::Held(HeldBy::Sender, reason))
    }

    /// Tells the board of trouble.
    pub(super) fn note_trouble(&self, mailbox: &Mailbox, judgement: &Judgement, now: SystemTime) {
        let Some(trouble) = judgement.trouble() else { return self.note_nothing(mailbox, now) };
        if judgement.wants_fewer_connections() {
            self.gates.of(mailbox).shrink(now);
        }
        let of = if judgement.outcome == Outcome::Hold(Hold::Link) { Of::Link } else { Of::Mailbox };
        self.board().failed(&mailbox.name, of, trouble, now);
        self.health_changed.notify_waiters();
        self.noted();
    }

    /// Tells the board that an attempt found out nothing about the mailbox.
    pub(super) fn note_nothing(&self, mailbox: &Mailbox, now: SystemTime) {
        self.board().given_up(&mailbox.name, now);
        self.health_changed.notify_waiters();
    }

    /// Tells the board that messages go through.
    pub(super) fn note_works(&self, mailbox: &Mailbox, now: SystemTime) {
        let is_news = self.board().worked(&mailbox.name, now);
        self.health_changed.notify_waiters();
        if is_news {
            self.noted();
            self.wake_all();
        }
    }
}
