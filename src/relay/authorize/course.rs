//! From the answer of a login to the mailbox's grant, to the end whoever waits.
//!
//! A grant that works is only replaced by one that the provider's mail server has taken; where there is none to lose, the new one is
//! durable first.

use super::{
    Relay,
    entry::Entry,
    told::{self, Login, Progress, Why},
};
use crate::{
    config::{Link, Mailbox},
    crash,
    mail::Envelope,
    oauth::device::{Polling, Started},
    relay::{judge::Case, new_id},
    secret::Secret,
    tokens::{AccessToken, Candidate, Consent, Refusal},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, timeout_at};

/// Longest wait for the login at the provider's mail server, a place among the connections included: a person waits for it.
const LOGIN: Duration = Duration::from_secs(45);

/// Advice where the mail server's answer has none of its own.
const TRY_LATER: &str = "`outlink status` tells whether it works by now";

/// A login that ends even when its task is torn down.
struct Course {
    relay: Arc<Relay>,
    entry: Arc<Entry>,
}

impl Drop for Course {
    fn drop(&mut self) {
        if !self.entry.is_over() {
            self.entry.finish(Progress::refused(told::refusal("the login was interrupted", told::AGAIN)));
        }
    }
}

/// Exchanges the code of a login.
pub(super) async fn exchange(relay: Arc<Relay>, entry: Arc<Entry>, consent: Consent, code: Secret) {
    let course = Course { relay, entry };
    let (verifier, redirect) = (course.entry.opening.verifier(), &course.entry.redirect);
    let candidate = consent.exchange(&code, verifier, redirect).await;
    course.end(candidate).await;
}

/// Asks until the code of a device was entered.
pub(super) async fn poll(relay: Arc<Relay>, entry: Arc<Entry>, consent: Consent, started: Started) {
    let course = Course { relay, entry };
    let entry = &course.entry;
    let mut polling = Polling::new(&started, SystemTime::now());
    while let Some(next) = polling.next() {
        let pause = next.duration_since(SystemTime::now()).unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = entry.ended.cancelled() => return,
        }
        // Not given up half-way: the tokens of an answer are given once.
        let candidate = match consent.ask_device(&started.device_code, &mut polling).await {
            Ok(None) => continue,
            Ok(Some(candidate)) => Ok(candidate),
            Err(refusal) => Err(refusal),
        };
        if entry.take_device() {
            course.end(candidate).await;
        }
        return;
    }
    let left = polling.until().duration_since(SystemTime::now()).unwrap_or_default();
    let _ = tokio::time::timeout(left, entry.ended.cancelled()).await;
    if entry.end(told::expired(&entry.mailbox)) {
        tracing::warn!(event = "consent.refused", mailbox = %entry.mailbox, "nobody entered the device code in time");
    }
}

impl Course {
    async fn end(&self, candidate: Result<Candidate, Refusal>) {
        let progress = match candidate {
            Ok(candidate) => {
                crash::point("consent-exchanged");
                self.conclude(candidate).await
            }
            Err(refusal) => Err(refusal),
        };
        let name = &self.entry.mailbox;
        self.entry.finish(progress.unwrap_or_else(|refusal| Progress::refused(self.relay.refuse(name, refusal))));
    }

    /// Tries the candidate and makes it the mailbox's grant, in the order that loses nothing.
    async fn conclude(&self, candidate: Candidate) -> Result<Progress, Refusal> {
        let (relay, name) = (&self.relay, &self.entry.mailbox);
        let (mailbox, link) = relay.mailbox(name).ok_or_else(|| told::unknown_mailbox(name.as_str()))?;
        let expected = may_sign_in(&mailbox);
        if !candidate.is_of(&expected) {
            return Err(other_account(&mailbox, &candidate.accounts));
        }
        let (access, account) = (candidate.access.clone(), candidate.account(&expected));
        let refresh_until = candidate.refresh_until.map(Into::into);
        let replaced = relay.tokens.has_working_grant(name).await?;
        let mut candidate = Some(candidate);
        if !replaced && let Some(candidate) = candidate.take() {
            self.adopt(candidate, account.as_deref()).await?;
        }
        let login = try_login(relay, (&mailbox, &link), &access).await;
        crash::point("consent-tried");
        if let Some(candidate) = candidate.take() {
            match &login {
                Login::Accepted => self.adopt(candidate, account.as_deref()).await?,
                Login::Failed { reason, advice } => return Ok(self.keep_old(reason, advice)),
            }
        }
        if let Login::Failed { reason, advice } = &login {
            tracing::warn!(event = "consent.untried", mailbox = %name, reason, advice, "the new grant is stored, but its login failed");
        }
        relay.upstream.forget(name);
        relay.forgive(Some(name));
        // A command that does this for a stopped daemon ends now, and has no keeper.
        if let Err(error) = relay.flush().await {
            tracing::warn!(mailbox = %name, %error, "the end of a hold cannot be kept; the next start tries the mailbox a little later");
        }
        Ok(Progress::Done { account, replaced, access_token_until: access.expires.into(), refresh_until, login })
    }

    async fn adopt(&self, candidate: Candidate, account: Option<&str>) -> Result<(), Refusal> {
        let (name, by, origin) = (&self.entry.mailbox, self.entry.by.as_deref(), candidate.origin.word());
        self.relay.tokens.adopt(name, candidate, by.map(str::to_owned)).await?;
        crash::point("consent-kept");
        tracing::info!(event = "grant.stored", mailbox = %name, account, by, origin, "the mailbox has a new grant");
        Ok(())
    }

    fn keep_old(&self, reason: &str, advice: &str) -> Progress {
        let name = &self.entry.mailbox;
        tracing::warn!(event = "grant.kept", mailbox = %name, reason, advice, "the new grant was not taken: its login failed; the old one stays");
        let reason = format!("the mail server did not take the new login: {reason}; the grant from before stays");
        Progress::Failed { why: Why::Refused, reason, advice: advice.to_owned(), kept: true }
    }
}

/// Whose consent counts for `mailbox`: its own, or that of whoever the configuration names.
fn may_sign_in(mailbox: &Mailbox) -> Vec<&str> {
    let named = mailbox.account.as_ref().map(|account| account.as_str());
    [mailbox.address.as_str(), mailbox.xoauth2_user.as_str()].into_iter().chain(named).collect()
}

fn other_account(mailbox: &Mailbox, accounts: &[String]) -> Refusal {
    let (name, address, found) = (&mailbox.name, &mailbox.address, accounts.join(", "));
    told::refusal(
        format!("{found} signed in, but mailbox {name} is {address}: nothing was stored"),
        format!(
            "start the login again and sign in as {address}, in a private window if the browser chooses by itself; \
             if {} may send as this mailbox, write account = \"{}\" in [mailbox.{name}]",
            accounts[0], accounts[0]
        ),
    )
}

/// Logs in with this very token over a connection of its own, within the mailbox's limit of connections.
async fn try_login(relay: &Relay, (mailbox, link): (&Arc<Mailbox>, &Link), access: &AccessToken) -> Login {
    let until = Instant::now() + LOGIN;
    let attempt = async {
        let mut slot = relay.upstream.slot(mailbox, until).await?;
        slot.close();
        slot.login(&access.secret, access.expires).await
    };
    match timeout_at(until, attempt).await {
        Ok(Ok(())) => Login::Accepted,
        Ok(Err(failure)) => {
            let envelope = Envelope::from(None);
            let judgement = Case::of(new_id(SystemTime::now()), (mailbox, link), &envelope).failed(&failure);
            Login::Failed {
                reason: judgement.reason,
                advice: judgement.advice.map_or_else(|| TRY_LATER.to_owned(), |advice| advice.text),
            }
        }
        Err(_) => {
            let reason = format!("{} did not finish a login within {} seconds", mailbox.server, LOGIN.as_secs());
            Login::Failed { reason, advice: TRY_LATER.to_owned() }
        }
    }
}
