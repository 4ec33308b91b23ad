//! What a person's examination does with a mailbox: the same tokens, connections and pace as mail, and what it finds out counts for
//! the mail that waits.

use super::{
    Relay, Standing,
    attempt::{Attempt, Errand, Unsent, attempt},
    gate::Closed,
    judge::{Case, Judgement, shortened},
    may_send_as, new_id,
    work::was_seen,
};
use crate::{
    config::{Evidence, Link, Mailbox},
    mail::{Address, Advice, Envelope, Id, Name, Outcome, Recipient, State},
    provider::{Verdict, classify},
    store::Body,
    tls,
    tokens::{AccessToken, Unavailable},
    upstream::{Failure, Policy, Progress, Reason, Slot},
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// What became of a message that was sent to find out.
#[derive(Debug, Clone)]
pub struct Tested {
    /// Its id.
    pub id: Id,
    /// Whether the provider took it.
    pub taken: bool,
    /// What the provider or the system said.
    pub reason: String,
    /// What to do about it.
    pub advice: Option<Advice>,
    /// How long it took.
    pub took: Duration,
}

/// Why a mailbox's mail waits.
#[derive(Debug, Clone)]
pub struct Held {
    /// How it stands.
    pub standing: Standing,
    /// Whether the provider counts its logins, so that none is to be made now.
    pub counts_logins: bool,
}

/// What follows for a mailbox's mail when a login worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freed {
    /// Nothing: nothing waited for it.
    Nothing,
    /// What waited goes out.
    All,
    /// One message finds out whether the others may go.
    One,
    /// It waits on: the provider's quota must reset.
    Waits,
}

impl Relay {
    /// Whether a renewal is in the air whose answer can cost a grant when nobody keeps it.
    pub fn has_to_land(&self) -> bool {
        self.tokens.has_to_land()
    }

    /// Waits until there is none, for a process that ends.
    pub async fn landed(&self) {
        self.tokens.landed().await;
    }

    /// A new access token for `mailbox`, asked for now.
    pub async fn renew(&self, mailbox: &Name) -> Result<AccessToken, Unavailable> {
        self.tokens.renew(mailbox).await
    }

    /// What proves the client of `link` now; else why not, and the next step.
    pub async fn evidence(&self, link: &Arc<Link>) -> Result<Evidence, (String, Advice)> {
        self.tokens.evidence(link).await
    }

    /// The way to the endpoints of `link`; else why there is none, and the next step.
    pub fn way(&self, link: &Link) -> Result<tls::Proxy, (String, Advice)> {
        self.tokens.way(link)
    }

    /// A place among the connections of `mailbox`.
    pub async fn place(&self, mailbox: &Arc<Mailbox>, within: Duration) -> Result<Slot, Failure> {
        self.upstream.slot(mailbox, tokio::time::Instant::now() + within).await
    }

    /// Why the mail of `mailbox` waits; `None` when it does not.
    pub fn held(&self, mailbox: &Name) -> Option<Held> {
        let standing = self.holds().remove(mailbox)?;
        let counts_logins = self.board().counts_logins(mailbox);
        Some(Held { standing, counts_logins })
    }

    /// Notes that `mailbox` could log in and begin a message: what waited for that goes at once.
    pub fn found_working(&self, mailbox: &Mailbox) -> Freed {
        let held = self.held(&mailbox.name).map(|held| held.standing.state);
        let needs_delivery = self.board().needs_delivery(&mailbox.name);
        match held {
            None | Some(State::Paused) => Freed::Nothing,
            Some(State::OverQuota) => Freed::Waits,
            Some(_) if needs_delivery => {
                self.forgive(Some(&mailbox.name));
                Freed::One
            }
            Some(_) => {
                self.note_works(mailbox, SystemTime::now());
                Freed::All
            }
        }
    }

    /// Notes that the provider refused the login or the sender, as if mail had found it out.
    pub fn found_refused(&self, mailbox: &Mailbox, link: &Link, failure: &Failure) {
        let Reason::Reply(reply) = &failure.reason else { return };
        let Verdict { outcome, .. } = classify(mailbox.provider, failure.step, reply);
        if matches!(outcome, Outcome::Hold(_) | Outcome::Renew) {
            let envelope = Envelope::from(None);
            let case = Case::of(Id::from_u128(0), (mailbox, link), &envelope);
            self.note_trouble(mailbox, &case.failed(failure), SystemTime::now());
        }
    }

    /// Sends one small message the way of the contract `direct`, below the limits of the mailbox; what it shows counts for all mail.
    pub async fn send_test(self: &Arc<Self>, mailbox: &Name, addresses: (&Address, &Address), wait: Duration) -> Tested {
        let (id, begun) = (new_id(SystemTime::now()), Instant::now());
        let not_sent = |reason: &str| Tested { id, taken: false, reason: reason.into(), advice: None, took: begun.elapsed() };
        let Some((mailbox, link)) = self.mailbox(mailbox) else { return not_sent("the mailbox is no longer configured") };
        let (from, to) = addresses;
        if !may_send_as(&mailbox, from) {
            let advice = format!("name {from} in allowed-from of mailbox {}, or set its when-from-differs to keep", mailbox.name);
            let reason = format!("when-from-differs of mailbox {} does not let {from} pass", mailbox.name);
            return Tested { advice: Some(advice.into()), ..not_sent(&reason) };
        }
        let until = tokio::time::Instant::now() + wait;
        let pass = match self.gates.of(&mailbox).enter(1, until).await {
            Ok(pass) => pass,
            Err(Closed::Busy) => return not_sent("all connections of the mailbox were busy"),
            Err(Closed::TooMuch(wait)) => return not_sent(&format!("limits.{} of the mailbox is reached", wait.limit)),
        };
        let mut envelope = Envelope::from(Some(from.clone()));
        envelope.recipients = vec![Recipient::to(to.clone())];
        envelope.smtputf8 = !(from.as_str().is_ascii() && to.as_str().is_ascii());
        let body = Body::Memory(text(id, &self.hostname, (&mailbox.name, from, to)).into());
        let progress = Progress::new();
        let errand = Errand { envelope: &envelope, body: &body, policy: Policy::AllOrNone, progress: &progress, until };
        let sent = tokio::time::timeout_at(until, attempt(self, &mailbox, errand)).await;
        let Ok(Attempt { sent: result, .. }) = sent else {
            pass.leave(true);
            return not_sent("the provider gave no verdict in time; it may have taken the message");
        };
        pass.leave(was_seen(&result));
        let case = Case::of(id, (&mailbox, &link), &envelope);
        let judgement = match result {
            Ok(sent) => case.sent(&sent),
            Err(Unsent::Failed(failure)) => case.failed(&failure),
            Err(Unsent::NoToken(unavailable)) => case.without_token(&unavailable),
        };
        self.note_test(&mailbox, from, &judgement).await;
        let taken = judgement.outcome == Outcome::Delivered;
        let took = begun.elapsed();
        tracing::info!(event = "message.tested", %id, mailbox = %mailbox.name, link = %mailbox.link, %from, %to, taken,
            reply = judgement.reason, ms = took.as_millis() as u64, "a message was sent to find out whether the mailbox works");
        Tested { id, taken, reason: shortened(&judgement.reason), advice: judgement.advice, took }
    }

    async fn note_test(&self, mailbox: &Mailbox, from: &Address, judgement: &Judgement) {
        let now = SystemTime::now();
        match judgement.trouble {
            Some(_) => self.note_trouble(mailbox, judgement, now),
            None if judgement.says_nothing() => self.note_nothing(mailbox, now),
            None => self.note_works(mailbox, now),
        }
        if judgement.outcome == Outcome::Delivered {
            self.free_sender(&mailbox.name, &from.as_str().to_ascii_lowercase(), now).await;
        }
    }
}

/// The message: what RFC 5322 wants, and who sent it why.
fn text(id: Id, hostname: &str, (mailbox, from, to): (&Name, &Address, &Address)) -> String {
    let date = chrono::Utc::now().to_rfc2822();
    format!(
        "Date: {date}\r\nFrom: <{from}>\r\nTo: <{to}>\r\nMessage-ID: <{id}@{hostname}>\r\nSubject: outlink doctor: mailbox {mailbox}\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nAuto-Submitted: auto-generated\r\n\r\n\
         Somebody asked outlink on {hostname} to find out by this message whether mailbox {mailbox} may send from {from}.\r\n\
         It may: you are reading it.\r\n"
    )
}
