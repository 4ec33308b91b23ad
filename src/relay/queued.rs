//! The contracts `queue` and `direct-then-queue`: `250` as soon as the message is durable, at once or when the provider's verdict is
//! not final or not there in time.

use super::{
    Relay,
    attempt::{Attempt, Errand, Unsent, attempt},
    gate::Pass,
    health::May,
    judge::{Case, Judgement},
    log,
    work::{Attempted, Work, was_seen},
};
use crate::{
    config::{Link, Mailbox},
    listener::Submission,
    mail::{Outcome, author, changes_in_words},
    queue::{Claim, Claimed, Event, HeldBy, LEASE, Message, NewMessage, Refused, Stored},
    smtp::Reply,
    upstream::{Policy, Progress},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::oneshot, time::Instant};

/// How long giving back is tried again while the store fails: as long as settling.
const FREE: Duration = Duration::from_secs(3600);

/// The pause between two tries: the database is opened again once a second at most.
const FREE_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the message and says so.
pub(super) async fn keep(relay: &Arc<Relay>, submission: &Submission, mailbox: &Mailbox) -> Reply {
    let now = SystemTime::now();
    let handle = relay.lanes.of(&mailbox.name);
    let mut new = relay.new_message(submission, mailbox, now);
    // What cannot go out now goes to the store alone.
    let may_go = new.held.is_none() && relay.board().may(&mailbox.name, now) == May::Go;
    let claim = (may_go && handle.lane().reserve(&new.app)).then(|| relay.queue.new_claim());
    new.claim = claim.map(|claim| (claim, now + LEASE));
    let reservation = Reservation { relay, mailbox, app: &submission.app.name, claim };
    match relay.queue.accept(new.clone(), submission.body.clone()).await {
        Ok(stored) => {
            accepted(submission, mailbox, "message queued");
            match claim {
                Some(claim) => {
                    reservation.keep();
                    let message = Message::of(&new, stored.number(), submission.body.len());
                    let body = relay.bodies.take(submission.body.clone());
                    handle.lane().push(Claimed { message, claim, body });
                }
                None if new.held.is_none() => handle.lane().stored(&submission.app.name),
                None => relay.free_stray(&mailbox.name, &new.author, SystemTime::now()).await,
            }
            handle.wake();
            promise(&stored, submission)
        }
        Err(why) => {
            if claim.is_none() {
                relay.free_unsure(mailbox, None);
            }
            refused(relay, submission, mailbox, &why)
        }
    }
}

/// A place in the lane that is promised to a message. When the app's connection ends just then, the message may be in the store under
/// this claim, and nobody would deliver it before the claim ends.
struct Reservation<'a> {
    relay: &'a Arc<Relay>,
    mailbox: &'a Mailbox,
    app: &'a crate::mail::Name,
    claim: Option<Claim>,
}

impl Reservation<'_> {
    fn keep(mut self) {
        self.claim = None;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else { return };
        self.relay.lanes.of(&self.mailbox.name).lane().cancel(self.app);
        self.relay.free_unsure(self.mailbox, Some(claim));
    }
}

/// The reply that makes us responsible. There is no other way to it than the store's proof.
fn promise(_: &Stored, submission: &Submission) -> Reply {
    crate::crash::point("before-250");
    Reply::new(250, Some((0, 0)), format!("OK queued as {}", submission.id))
}

fn accepted(submission: &Submission, mailbox: &Mailbox, text: &'static str) {
    tracing::info!(event = "message.accepted", id = %submission.id, app = %submission.app.name, mailbox = %mailbox.name,
        link = %mailbox.link, client = %submission.peer, from = log::sender(&submission.envelope),
        to = log::recipients(&submission.envelope), bytes = submission.body.len(),
        message_id = submission.findings.message_id, changes = changes_in_words(&submission.findings.changes), "{text}");
}

/// What the app hears when the message could not be kept.
fn refused(relay: &Relay, submission: &Submission, mailbox: &Mailbox, why: &Refused) -> Reply {
    let event = if why.is_for_room() { "queue.full" } else { "message.refused" };
    tracing::error!(event, id = %submission.id, app = %submission.app.name, mailbox = %mailbox.name, client = %submission.peer,
        bytes = submission.body.len(), error = %why, "a message was not accepted: the app was told to try again");
    relay.no_room(why, submission.id)
}

impl Relay {
    /// The reply for what could not be kept.
    pub(super) fn no_room(&self, why: &Refused, id: impl std::fmt::Display) -> Reply {
        match why.is_for_room() {
            true => Reply::new(452, Some((3, 1)), format!("{id} no room for the message, try again later")),
            false => Reply::new(451, Some((3, 0)), format!("{id} the message could not be kept, try again later")),
        }
    }

    /// Sees to a message that may be in the store although its app was told that it is not: a commit whose sync failed may come back to
    /// life when the database is opened again. Nobody works on it, and its claim is renewed with all others of this process; so it is
    /// given back, however long the store fails, and looked for.
    fn free_unsure(self: &Arc<Self>, mailbox: &Mailbox, claim: Option<Claim>) {
        let (relay, handle) = (self.clone(), self.lanes.of(&mailbox.name));
        let Some(claim) = claim else { return handle.look() };
        self.attempts.spawn(async move {
            let begun = Instant::now();
            loop {
                match relay.queue.abandon(claim).await {
                    Ok(0) => return,
                    Ok(_) => return handle.look(),
                    Err(_) if begun.elapsed() < FREE => tokio::time::sleep(FREE_PAUSE).await,
                    Err(error) => return tracing::warn!(%error, "a message may stay claimed until the next start"),
                }
            }
        });
    }

    pub(super) fn new_message(&self, submission: &Submission, mailbox: &Mailbox, now: SystemTime) -> NewMessage {
        let (app, queue) = (&submission.app, self.queue.settings());
        let clock = self.board().clock(&mailbox.name, now);
        let life = app.expire_after.unwrap_or(queue.expire_after);
        let warn_after = app.warn_after.or(queue.warn_after).filter(|warn_after| *warn_after < life);
        let author = author_of(submission);
        let held = self.board().sender_held(&mailbox.name, &author).map(|reason| (HeldBy::Sender, reason, clock));
        NewMessage {
            id: submission.id,
            app: app.name.clone(),
            mailbox: mailbox.name.clone(),
            client: submission.peer.to_string(),
            envelope: submission.envelope.clone(),
            author,
            bounce_of: None,
            message_id: submission.findings.message_id.clone(),
            subject: submission.findings.subject.clone(),
            accepted_at: now,
            due_at: now,
            expires_at: clock + life,
            warn_at: warn_after.map(|warn_after| clock + warn_after),
            attempts: 0,
            claim: None,
            held,
            stays: super::route::author_of(submission.findings.from.as_deref()).is_none(),
            settled: Vec::new(),
            events: changed(submission, now),
        }
    }
}

/// What a message's story says of its repairs and aliases.
fn changed(submission: &Submission, at: SystemTime) -> Vec<Event> {
    let event = |detail| Event { at, event: "changed".into(), detail, took: None };
    let changes = &submission.findings.changes;
    let repairs = (!changes.is_empty()).then(|| changes_in_words(changes));
    let aliases = submission.aliased.iter().map(|(before, after)| format!("aliased {before} to {after}"));
    repairs.into_iter().chain(aliases).map(event).collect()
}

/// Whom a provider may deny: the address in From, else the sender.
pub(super) fn author_of(submission: &Submission) -> String {
    let from = submission.findings.from.as_deref().and_then(author);
    let address = from.as_ref().or(submission.envelope.sender.as_ref());
    address.map_or(String::new(), |address| address.as_str().to_ascii_lowercase())
}

/// Delivers under `direct-then-queue`: the provider's verdict where it is final and there in time; else the message is kept.
pub(super) async fn deliver_or_keep(relay: &Arc<Relay>, submission: Submission, mailbox: Arc<Mailbox>, link: Arc<Link>) -> Reply {
    let now = SystemTime::now();
    let wait = submission.app.direct_wait.unwrap_or(submission.listener.direct_wait);
    let until = Instant::now() + wait;
    let gate = relay.lanes.of(&mailbox.name).gate(relay, &mailbox);
    let recipients = submission.envelope.recipients.len();
    let may_go = {
        let board = relay.board();
        board.may(&mailbox.name, now) == May::Go && board.sender_held(&mailbox.name, &author_of(&submission)).is_none()
    };
    if !may_go || recipients > gate.recipients(now) {
        return keep(relay, &submission, &mailbox).await;
    }
    let Ok(pass) = gate.enter(recipients, until).await else { return keep(relay, &submission, &mailbox).await };
    let submitted = Submitted { relay: relay.clone(), submission: Arc::new(submission), mailbox, link };
    let id = submitted.submission.id;
    // In a task of its own: what began is brought to its end, though the app's connection may end before. Its message may be in the
    // store by then, under a claim that nobody else would settle.
    let story = relay.attempts.spawn(submitted.run(pass, (wait, until)));
    story.await.unwrap_or_else(|_| super::judge::bland(Some(id)))
}

async fn send(
    relay: Arc<Relay>,
    submission: Arc<Submission>,
    (mailbox, pass): (Arc<Mailbox>, Pass),
    progress: Progress,
    until: Instant,
) -> Attempted {
    let begun = std::time::Instant::now();
    let (envelope, body) = (&submission.envelope, &submission.body);
    let errand = Errand { envelope, body, policy: Policy::Each, progress: &progress, until };
    let Attempt { sent, changes } = attempt(&relay, &mailbox, errand).await;
    pass.leave(was_seen(&sent));
    let unsure = sent.is_err() && progress.is_committed();
    Attempted { sent, unsure, changes, recipients: envelope.recipients.len(), took: begun.elapsed() }
}

/// A message under `direct-then-queue` whose attempt has begun.
struct Submitted {
    relay: Arc<Relay>,
    submission: Arc<Submission>,
    mailbox: Arc<Mailbox>,
    link: Arc<Link>,
}

impl Submitted {
    /// Attempts, and says what the app hears.
    async fn run(self, pass: Pass, (wait, until): (Duration, Instant)) -> Reply {
        let Self { relay, submission, mailbox, .. } = &self;
        let (progress, (tell, mut told)) = (Progress::new(), oneshot::channel());
        let sending = send(relay.clone(), submission.clone(), (mailbox.clone(), pass), progress.clone(), until);
        let task = relay.attempts.spawn(async move {
            // Whoever waited has gone only when the process ends.
            let _ = tell.send(sending.await);
        });
        let verdict = match tokio::time::timeout_at(until, &mut told).await {
            Ok(verdict) => verdict.ok(),
            Err(_) => told.try_recv().ok(),
        };
        match verdict {
            Some(result) => self.conclude(result).await,
            None if progress.try_abort() => {
                // Its connection is of no use any more, and the place is for others.
                task.abort();
                relay.note_silence(mailbox);
                tracing::info!(id = %submission.id, seconds = wait.as_secs(), "no verdict within direct-wait: the message is queued");
                keep(relay, submission, mailbox).await
            }
            None => self.keep_open(told).await,
        }
    }

    /// The verdict is there: final for all, or the message is kept with what became of each recipient.
    async fn conclude(&self, result: Attempted) -> Reply {
        let Self { relay, submission, mailbox, link } = self;
        let case = Case::of(submission.id, (mailbox, link), &submission.envelope);
        let judgements = match &result.sent {
            Ok(sent) => case.each(sent),
            Err(Unsent::Failed(failure)) => vec![case.failed(failure)],
            Err(Unsent::NoToken(unavailable)) => vec![case.without_token(unavailable)],
        };
        let is = |wanted: fn(Outcome) -> bool| judgements.iter().all(|judgement| wanted(judgement.outcome));
        let is_delivered = is(|outcome| outcome == Outcome::Delivered);
        let is_refused = is(|outcome| matches!(outcome, Outcome::RefuseRecipient | Outcome::RefuseMessage));
        let wants_notice = submission.envelope.recipients.iter().any(|to| to.notify.is_some_and(|notify| notify.success));
        if (is_delivered && !wants_notice) || is_refused {
            relay.note_works(mailbox, SystemTime::now());
            accepted_directly(submission, mailbox, &judgements, result.took);
            if is_delivered {
                relay.sent_with(&submission.app.name, &result.changes, 0);
            }
            return log::loudest(&judgements).map_or_else(|| super::judge::bland(Some(submission.id)), |j| j.reply.clone());
        }
        let (kept, reply) = match self.keep_claimed().await {
            Ok(kept) => kept,
            Err(reply) => return reply,
        };
        let work = self.work(kept);
        let body = submission.body.clone();
        relay.attempts.spawn(async move { work.conclude(result, Some(&body)).await });
        reply
    }

    /// The provider has the whole message and has not said yet: kept under a claim, and settled by the late verdict.
    async fn keep_open(&self, told: oneshot::Receiver<Attempted>) -> Reply {
        let (kept, reply) = match self.keep_claimed().await {
            Ok(kept) => kept,
            Err(reply) => return reply,
        };
        tracing::info!(id = %self.submission.id, "no verdict within direct-wait: the message is queued, and settled by the late verdict");
        let (work, handle) = (self.work(kept), self.relay.lanes.of(&self.mailbox.name));
        let (relay, body) = (self.relay.clone(), self.submission.body.clone());
        self.relay.attempts.spawn(async move {
            let claim = (work.claimed.message.number, work.claimed.claim);
            match told.await {
                Ok(result) => work.conclude(result, Some(&body)).await,
                // Only a panic ends an attempt without a word; it was logged.
                Err(_) => {
                    handle.settled(None);
                    let _ = relay.queue.unclaim_unsure(claim).await;
                    handle.look();
                }
            }
        });
        reply
    }

    async fn keep_claimed(&self) -> Result<(Claimed, Reply), Reply> {
        let Self { relay, submission, mailbox, .. } = self;
        let (now, claim) = (SystemTime::now(), relay.queue.new_claim());
        let mut new = relay.new_message(submission, mailbox, now);
        (new.claim, new.held) = (Some((claim, now + LEASE)), None);
        match relay.queue.accept(new.clone(), submission.body.clone()).await {
            Ok(stored) => {
                accepted(submission, mailbox, "message queued");
                relay.lanes.of(&mailbox.name).lane().begun();
                let message = Message::of(&new, stored.number(), submission.body.len());
                Ok((Claimed { message, claim, body: None }, promise(&stored, submission)))
            }
            Err(why) => {
                relay.free_unsure(mailbox, Some(claim));
                Err(refused(relay, submission, mailbox, &why))
            }
        }
    }

    fn work(&self, claimed: Claimed) -> Work {
        Work {
            relay: self.relay.clone(),
            handle: self.relay.lanes.of(&self.mailbox.name),
            mailbox: self.mailbox.clone(),
            link: self.link.clone(),
            claimed,
            probes_sender: false,
        }
    }
}

/// The log of a message that the provider took or refused while its app waited.
fn accepted_directly(submission: &Submission, mailbox: &Mailbox, judgements: &[Judgement], took: Duration) {
    let Some(judgement) = log::loudest(judgements) else { return };
    accepted(submission, mailbox, "message received");
    let (id, app, client) = (submission.id, &submission.app.name, &submission.peer);
    let (from, to, bytes) = (log::sender(&submission.envelope), log::recipients(&submission.envelope), submission.body.len());
    let (code, enhanced) = (judgement.reply.code, judgement.reply.enhanced.map(tracing::field::display));
    let (reply, ms) = (judgement.reason.as_str(), took.as_millis() as u64);
    let (mailbox, link) = (&mailbox.name, &mailbox.link);
    match judgement.outcome {
        Outcome::Delivered => {
            tracing::info!(event = "message.delivered", %id, %app, %mailbox, %link, %client, from, to, bytes, code,
            enhanced, reply, ms, attempt = 1, "delivered")
        }
        _ => {
            tracing::warn!(event = "message.refused", %id, %app, %mailbox, %link, %client, from, to, bytes, code, enhanced, reply,
            advice = judgement.advice_text(), advice_name = judgement.advice_name(), ms, attempt = 1, "refused by the provider")
        }
    }
}
