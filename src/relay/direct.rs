//! The contract `direct`: the app waits, and its final reply is the provider's verdict for all recipients together.
//!
//! `direct-wait` ends the app's wait, not ours. Before the last octet has gone upstream the attempt is broken off and nothing was
//! delivered; after it the provider may have taken the message, so the app is told so and the late verdict goes to the log.

use super::{
    Relay,
    attempt::{Attempt, Errand, Unsent, attempt},
    gate::{Closed, Pass},
    health::{Kind, May, Probe, Trouble},
    judge::{Case, Judgement, bland, unknown},
    log,
    queued::author_of,
    work::was_seen,
};
use crate::{
    config::{Link, Mailbox},
    listener::Submission,
    mail::{Hold, Outcome},
    smtp::Reply,
    upstream::{Policy, Progress},
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::oneshot;

/// How long a probe keeps other messages of a mailbox in trouble out, beyond its own wait.
const PROBE: Duration = Duration::from_secs(5);

/// Delivers one message under `direct` and says what the app hears.
pub(super) async fn deliver(relay: &Arc<Relay>, submission: Submission, mailbox: Arc<Mailbox>, link: Arc<Link>) -> Reply {
    let id = submission.id;
    let wait = submission.app.direct_wait.unwrap_or(submission.listener.direct_wait);
    tracing::info!(event = "message.accepted", %id, app = %submission.app.name, mailbox = %mailbox.name, link = %mailbox.link,
        client = %submission.peer, from = log::sender(&submission.envelope), to = log::recipients(&submission.envelope),
        bytes = submission.body.len(), message_id = submission.findings.message_id, "message received");
    let until = tokio::time::Instant::now() + wait;
    let pass = match enter(relay, &submission, &mailbox, (wait, until)).await {
        Ok(pass) => pass,
        Err(reason) => {
            tracing::info!(event = "message.deferred", %id, app = %submission.app.name, mailbox = %mailbox.name, link = %mailbox.link,
                client = %submission.peer, from = log::sender(&submission.envelope), to = log::recipients(&submission.envelope),
                bytes = submission.body.len(), code = 451, reply = reason, "not tried; the app was told to try again");
            return bland(Some(id));
        }
    };
    let progress = Progress::new();
    let (tell, mut told) = oneshot::channel();
    let story = Story { relay: relay.clone(), submission, mailbox: mailbox.clone(), link, until, began: Instant::now() };
    let task = relay.attempts.spawn(story.run(progress.clone(), pass, tell));
    let verdict = match tokio::time::timeout_at(until, &mut told).await {
        Ok(verdict) => Some(verdict),
        // It may have come between the end of the wait and here.
        Err(_) => told.try_recv().ok().map(Ok),
    };
    match verdict {
        Some(Ok(reply)) => reply,
        // The attempt ended without a word: only a panic does that, and it was logged.
        Some(Err(_)) => bland(Some(id)),
        None if progress.try_abort() => {
            task.abort();
            relay.note_silence(&mailbox);
            tracing::warn!(event = "message.deferred", %id, seconds = wait.as_secs(),
                "the provider did not take the message within direct-wait; nothing was delivered, the app was told to try again");
            bland(Some(id))
        }
        None => {
            tracing::warn!(event = "message.deferred", %id, seconds = wait.as_secs(),
                "the provider has the whole message but gave no verdict within direct-wait; its verdict follows under this id");
            unknown(id)
        }
    }
}

/// A way to the provider: the mailbox takes mail, and there is a place and room within its pace before the wait ends.
async fn enter(
    relay: &Relay,
    submission: &Submission,
    mailbox: &Mailbox,
    (wait, until): (Duration, tokio::time::Instant),
) -> Result<Pass, String> {
    loop {
        let changed = relay.health_changed.notified();
        tokio::pin!(changed);
        // From here on a change is not missed.
        changed.as_mut().enable();
        let now = SystemTime::now();
        let (may, probes) = {
            let mut board = relay.board();
            (board.may(&mailbox.name, now), board.probe(&mailbox.name, now, wait + PROBE))
        };
        match may {
            May::Go => break,
            May::Probe(_) if probes => break,
            May::Probe(_) => {}
            // A moment, and the probe says whether this one may go.
            May::Probing(_) if tokio::time::timeout_at(until, changed).await.is_ok() => {}
            May::Probing(_) | May::Wait(_) => {
                let board = relay.board();
                return Err(board.held(&mailbox.name).map_or("the mailbox is in trouble", |(_, why)| why).to_owned());
            }
        }
    }
    let gate = relay.gates.of(mailbox);
    gate.enter(submission.envelope.recipients.len(), until).await.map_err(|closed| {
        relay.note_nothing(mailbox, SystemTime::now());
        match closed {
            Closed::Busy => "all connections of the mailbox were busy for as long as the app waits".to_owned(),
            Closed::TooMuch(wait) => format!("limits.{} of the mailbox is reached", wait.limit),
        }
    })
}

impl Relay {
    /// Notes that the provider said nothing for as long as an app waits. Unnoted, a server that takes connections and is silent would
    /// cost every app its whole wait.
    pub(super) fn note_silence(&self, mailbox: &Mailbox) {
        let now = SystemTime::now();
        let mut board = self.board();
        if board.held(&mailbox.name).is_some() {
            board.given_up(&mailbox.name, now);
        } else {
            let reason = "no verdict from the provider within direct-wait".to_owned();
            let trouble = Trouble { kind: Kind::Passing, probe: Probe::Login, reason, advice: None };
            board.failed(&mailbox.name, super::board::Of::Mailbox, trouble, now);
        }
        drop(board);
        self.health_changed.notify_waiters();
        self.noted();
    }
}

/// One message on its way.
struct Story {
    relay: Arc<Relay>,
    submission: Submission,
    mailbox: Arc<Mailbox>,
    link: Arc<Link>,
    until: tokio::time::Instant,
    began: Instant,
}

impl Story {
    /// Attempts, logs the verdict, and tells the app if it still waits.
    async fn run(self, progress: Progress, pass: Pass, tell: oneshot::Sender<Reply>) {
        let (envelope, body) = (&self.submission.envelope, &self.submission.body);
        let errand = Errand { envelope, body, policy: Policy::AllOrNone, progress: &progress, until: self.until };
        let Attempt { sent: result, changes } = attempt(&self.relay, &self.mailbox, errand).await;
        pass.leave(was_seen(&result));
        let case = Case::of(self.submission.id, (&self.mailbox, &self.link), &self.submission.envelope);
        let judgement = match result {
            Ok(sent) => case.sent(&sent),
            Err(Unsent::Failed(failure)) => case.failed(&failure),
            Err(Unsent::NoToken(unavailable)) => case.without_token(&unavailable),
        };
        let is_late = tell.is_closed();
        self.note(&judgement);
        if judgement.outcome == Outcome::Delivered {
            self.relay.sent_with(&self.submission.app.name, &changes, 0);
            self.relay.free_sender(&self.mailbox.name, &author_of(&self.submission), SystemTime::now()).await;
        }
        self.log(&judgement, is_late);
        // An app that no longer waits has had its answer.
        let _ = tell.send(judgement.reply);
    }

    /// Tells the board what happened.
    fn note(&self, judgement: &Judgement) {
        let now = SystemTime::now();
        match judgement.trouble {
            Some(_) => self.relay.note_trouble(&self.mailbox, judgement, now),
            None if judgement.says_nothing() => self.relay.note_nothing(&self.mailbox, now),
            None => self.relay.note_works(&self.mailbox, now),
        }
    }

    fn log(&self, judgement: &Judgement, is_late: bool) {
        let Self { submission, mailbox, .. } = self;
        let ms = self.began.elapsed().as_millis() as u64;
        let (id, app, reply, reason) = (submission.id, &submission.app.name, &judgement.reply, judgement.reason.as_str());
        let code = reply.code;
        let enhanced = reply.enhanced.map(tracing::field::display);
        let (to, bytes) = (log::recipients(&submission.envelope), submission.body.len());
        let mailbox = &mailbox.name;
        match judgement.outcome {
            Outcome::Delivered => tracing::info!(event = "message.delivered", %id, %app, %mailbox, link = %self.mailbox.link,
                client = %submission.peer, from = log::sender(&submission.envelope), to, bytes, code, enhanced,
                reply = reason, ms, late = is_late, attempt = 1, "delivered"),
            Outcome::RefuseRecipient | Outcome::RefuseMessage | Outcome::Hold(Hold::Sender) => {
                tracing::warn!(event = "message.refused", %id, %app, %mailbox, link = %self.mailbox.link, client = %submission.peer,
                    from = log::sender(&submission.envelope), to, bytes, code, enhanced, reply = reason, advice = judgement.advice_text(), advice_name = judgement.advice_name(), ms,
                    late = is_late, attempt = 1, "refused by the provider");
            }
            _ => {
                tracing::warn!(event = "message.deferred", %id, %app, %mailbox, link = %self.mailbox.link, client = %submission.peer,
                from = log::sender(&submission.envelope), to, bytes, code, enhanced, reply = reason, advice = judgement.advice_text(), advice_name = judgement.advice_name(), ms,
                late = is_late, attempt = 1, "{}", not_delivered(*reply == unknown(id)))
            }
        }
    }
}

/// What the log says of a message without a verdict that counts.
fn not_delivered(may_be: bool) -> &'static str {
    match may_be {
        true => "no verdict: the provider may have delivered it; the app was told so",
        false => "not delivered; the app was told to try again",
    }
}
