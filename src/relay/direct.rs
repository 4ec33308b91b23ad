//! The contract `direct`: the app waits, and its final reply is the provider's verdict for all recipients together.
//!
//! `direct-wait` ends the app's wait, not ours. Before the last octet has gone upstream the attempt is broken off and nothing was
//! delivered; after it the provider may have taken the message, so the app is told so and the late verdict goes to the log.

use super::{
    Relay,
    attempt::{Unsent, attempt},
    backoff::Trouble,
    judge::{Case, Judgement, bland, unknown},
};
use crate::{
    config::{Link, Mailbox},
    listener::Submission,
    mail::{Address, Hold, Outcome},
    smtp::Reply,
    tokens::Unavailable,
    upstream::Progress,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How long a probe keeps other messages of a mailbox in trouble out, beyond its own wait.
const PROBE: Duration = Duration::from_secs(5);

/// Delivers one message under `direct` and says what the app hears.
pub(super) async fn deliver(relay: &Arc<Relay>, submission: Submission, mailbox: Arc<Mailbox>, link: Arc<Link>) -> Reply {
    let id = submission.id;
    let wait = submission.app.direct_wait.unwrap_or(submission.listener.direct_wait);
    tracing::info!(event = "message.accepted", %id, app = %submission.app.name, mailbox = %mailbox.name, link = %mailbox.link,
        client = %submission.client, from = sender(&submission), to = recipients(&submission),
        bytes = submission.body.len(), message_id = submission.findings.message_id, "message received");
    if let Err(reason) = relay.backoffs().begin(&mailbox.name, Instant::now(), wait + PROBE) {
        tracing::info!(event = "message.deferred", %id, app = %submission.app.name, mailbox = %mailbox.name, link = %mailbox.link,
            client = %submission.client, from = sender(&submission), to = recipients(&submission), bytes = submission.body.len(), code = 451,
            reply = reason, "not tried: the mailbox is in trouble; the app was told to try again");
        return bland(Some(id));
    }
    let (progress, name) = (Progress::new(), mailbox.name.clone());
    let (tell, mut told) = oneshot::channel();
    let until = tokio::time::Instant::now() + wait;
    let story = Story { relay: relay.clone(), submission, mailbox, link, until, began: Instant::now() };
    let task = relay.attempts.spawn(story.run(progress.clone(), tell));
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
            relay.backoffs().silent(&name, Instant::now());
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
    async fn run(self, progress: Progress, tell: oneshot::Sender<Reply>) {
        let result = attempt(&self.relay, &self.mailbox, &self.submission, &progress, self.until).await;
        let case = Case {
            id: self.submission.id,
            mailbox: &self.mailbox,
            client_id: &self.link.client_id,
            tenant: self.link.tenant.as_deref().unwrap_or("your tenant"),
            envelope: &self.submission.envelope,
        };
        let judgement = match result {
            Ok(sent) => case.sent(&sent),
            Err(Unsent::Failed(failure)) => case.failed(&failure),
            Err(Unsent::NoToken(unavailable)) => without_token(&self, &unavailable),
        };
        let is_late = tell.is_closed();
        self.note(&judgement);
        self.log(&judgement, is_late);
        // An app that no longer waits has had its answer.
        let _ = tell.send(judgement.reply);
    }

    /// Tells the mailbox's backoff what happened, and the log when that is news.
    fn note(&self, judgement: &Judgement) {
        let (mailbox, link) = (&self.mailbox.name, &self.mailbox.link);
        let mut backoffs = self.relay.backoffs();
        if judgement.says_nothing() {
            return backoffs.given_up(mailbox, Instant::now());
        }
        let Some(trouble) = judgement.trouble else {
            if backoffs.worked(mailbox) {
                tracing::info!(event = "mailbox.changed", %mailbox, %link, state = "ready", "the mailbox works again");
            }
            return;
        };
        if backoffs.failed(mailbox, trouble, judgement.cause(), Instant::now()) {
            let state = if trouble == Trouble::Passing { "failing" } else { "held" };
            tracing::warn!(event = "mailbox.changed", %mailbox, %link, state, reason = judgement.reason,
                advice = judgement.advice.as_deref().unwrap_or("none: it is tried again by itself"),
                "the mailbox is in trouble: apps hear 451 until it works");
        }
    }

    fn log(&self, judgement: &Judgement, is_late: bool) {
        let Self { submission, mailbox, .. } = self;
        let ms = self.began.elapsed().as_millis() as u64;
        let (id, app, reply, reason) = (submission.id, &submission.app.name, &judgement.reply, judgement.reason.as_str());
        let code = reply.code;
        let enhanced = reply.enhanced.map(tracing::field::display);
        let (to, bytes) = (recipients(submission), submission.body.len());
        let mailbox = &mailbox.name;
        match judgement.outcome {
            Outcome::Delivered => tracing::info!(event = "message.delivered", %id, %app, %mailbox, link = %self.mailbox.link,
                client = %submission.client, from = sender(submission), to, bytes, code, enhanced,
                reply = reason, ms, late = is_late, attempt = 1, "delivered"),
            Outcome::RefuseRecipient | Outcome::RefuseMessage | Outcome::Hold(Hold::Sender) => {
                tracing::warn!(event = "message.refused", %id, %app, %mailbox, link = %self.mailbox.link, client = %submission.client,
                    from = sender(submission), to, bytes, code, enhanced, reply = reason, advice = judgement.advice.as_deref(), ms,
                    late = is_late, attempt = 1, "refused by the provider");
            }
            _ => {
                tracing::warn!(event = "message.deferred", %id, %app, %mailbox, link = %self.mailbox.link, client = %submission.client,
                from = sender(submission), to, bytes, code, enhanced, reply = reason, advice = judgement.advice.as_deref(), ms,
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

/// The recipients for the log, the first twenty by name.
fn recipients(submission: &Submission) -> String {
    const NAMED: usize = 20;
    let all = &submission.envelope.recipients;
    let named: Vec<&str> = all.iter().take(NAMED).map(|recipient| recipient.address.as_str()).collect();
    match all.len() > NAMED {
        true => format!("{} and {} more", named.join(","), all.len() - NAMED),
        false => named.join(","),
    }
}

/// The envelope sender for the log; empty for the null sender.
fn sender(submission: &Submission) -> &str {
    submission.envelope.sender.as_ref().map_or("", Address::as_str)
}

/// A message without a token: `tokens` paces its own renewals and logs their failures, so the mailbox is left alone only briefly.
fn without_token(story: &Story, unavailable: &Unavailable) -> Judgement {
    let advice = match unavailable {
        Unavailable::Transient { .. } => None,
        Unavailable::NeedsConsent { advice, .. } | Unavailable::NeedsRepair { advice, .. } => Some(advice.clone()),
    };
    Judgement {
        reply: bland(Some(story.submission.id)),
        outcome: Outcome::RetryMailbox,
        trouble: Some(Trouble::Passing),
        reason: unavailable.to_string(),
        advice,
    }
}
