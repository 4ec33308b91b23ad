//! One try of a hook, whatever it does.

use super::{command, event::Event, letter, webhook};
use crate::{
    config::{Action, Hook},
    mail::{Address, Letter, Name},
    relay::{self, NotSent, Own, Relay},
};
use std::{sync::Arc, time::SystemTime};
use tokio::time::timeout;

/// What was done, in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done(pub(super) String);

/// Why it was not done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) why: String,
    /// The next step for a person.
    pub(super) step: &'static str,
    /// Whether it may go well in a while.
    pub(super) is_passing: bool,
}

impl Failure {
    /// One that may be over in a while.
    pub(super) fn passing(why: String, step: &'static str) -> Self {
        Self { why, step, is_passing: true }
    }

    /// One that a person has to mend.
    pub(super) fn lasting(why: String, step: &'static str) -> Self {
        Self { why, step, is_passing: false }
    }
}

/// Tells the hook once.
pub(super) async fn attempt(relay: &Arc<Relay>, hook: &Hook, event: &Event) -> Result<Done, Failure> {
    match &hook.action {
        Action::Command(words) => command::run(words, event, event.json(), hook.timeout).await,
        Action::Webhook(to) => webhook::post(to, event, event.json(), (relay.ring(), SystemTime::now()), hook.timeout).await,
        Action::Mail { to, mailbox } => {
            let late = "the store is slow, or its disk is in trouble";
            let sent = timeout(hook.timeout, mail(relay, hook, event, (to, mailbox))).await;
            sent.unwrap_or_else(|_| {
                Err(Failure::passing(format!("the mail was not stored within {} seconds", hook.timeout.as_secs()), late))
            })
        }
    }
}

/// What the hook does, as it may be shown.
pub(super) fn in_words(action: &Action) -> String {
    match action {
        Action::Command(words) => format!("command {}", words.first().map_or("", String::as_str)),
        Action::Webhook(webhook) => format!("webhook {}", webhook.place()),
        Action::Mail { to, mailbox } => {
            let to: Vec<&str> = to.iter().map(Address::as_str).collect();
            format!("mail to {} through mailbox {mailbox}", to.join(", "))
        }
    }
}

async fn mail(relay: &Arc<Relay>, hook: &Hook, event: &Event, (to, mailbox): (&[Address], &Name)) -> Result<Done, Failure> {
    let step = "name another mailbox in the hook";
    let settings = relay.configured();
    let Some(from) = settings.mailboxes.get(mailbox).map(|mailbox| &mailbox.address) else {
        return Err(Failure::lasting(format!("mailbox {mailbox} is not configured"), step));
    };
    let now = SystemTime::now();
    let (id, subject) = (relay::new_id(now), letter::subject(event));
    let paragraphs = letter::paragraphs(event, hook.name.as_str());
    let octets = Letter { id, hostname: relay.hostname(), from, to, subject: &subject, paragraphs: &paragraphs, now }.write();
    let own = Own { id, mailbox: mailbox.clone(), to: to.to_vec(), subject, octets };
    match relay.send_own(own, now).await {
        Ok(()) => Ok(Done(format!("message {id} is queued in mailbox {mailbox}"))),
        Err(error @ NotSent::NoMailbox(_)) => Err(Failure::lasting(error.to_string(), step)),
        Err(NotSent::Refused(why)) => Err(Failure::passing(
            format!("the mail could not be queued: {why}"),
            "mend the store or make room; the log says more",
        )),
    }
}
