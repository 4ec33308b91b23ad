//! Routes as a relay takes them: the pure choice of `route`, by how the mailboxes stand now.

use super::{
    Relay, Standing, delivery,
    health::{May, Probe},
    judge, not_allowed,
    route::{self, Mailboxes, NoMailbox, Senders},
};
use crate::{
    config::{App, Delivery, Link, Listener, Mailbox, Settings},
    listener::Submission,
    mail::{Address, Name, Recipient},
    smtp::Reply,
};
use std::{sync::Arc, time::SystemTime};

/// A mailbox and its link.
type Way = (Arc<Mailbox>, Arc<Link>);

impl Relay {
    /// What `app` may hear at MAIL: by what is known before the header, and where the app is routed by sender that is not all.
    pub(super) fn may_begin(&self, listener: &Listener, app: &App, sender: Option<&Address>) -> Result<(), Reply> {
        let settings = self.settings();
        let app = settings.apps.get(&app.name).ok_or_else(gone)?;
        let senders = Senders { author: sender, sender };
        let candidates = route::candidates(Mailboxes::of(&settings), &app.mailbox, senders);
        let now = SystemTime::now();
        let chosen = route::choose(&candidates, senders, |mailbox| self.is_held(mailbox, sender, now));
        let mailbox = match (chosen, sender) {
            (Ok(mailbox), _) => mailbox,
            (Err(NoMailbox::Refused), Some(sender)) if !app.mailbox.is_by_sender() => return Err(not_allowed(sender)),
            (Err(_), _) => return Ok(()),
        };
        // A message that would only hear 451 after all its octets hears it before them.
        let is_sure = !app.mailbox.is_by_sender();
        if is_sure && delivery(listener, app) == Delivery::Direct && matches!(self.board().may(&mailbox.name, now), May::Wait(_))
        {
            tracing::debug!(app = %app.name, mailbox = %mailbox.name, "a message is put off: the mailbox is in trouble");
            return Err(judge::bland(None));
        }
        Ok(())
    }

    /// The mailbox that mail of `app` goes through as long as only its envelope sender is known; `None` where the header decides.
    pub(super) fn likely_mailbox(&self, app: &App, sender: Option<&Address>) -> Result<Option<Arc<Mailbox>>, Reply> {
        let settings = self.settings();
        let app = settings.apps.get(&app.name).ok_or_else(gone)?;
        let senders = Senders { author: sender, sender };
        Ok(route::candidates(Mailboxes::of(&settings), &app.mailbox, senders).into_iter().next())
    }

    /// The way of a whole message, or what its app hears.
    pub(super) fn route_of(&self, submission: &Submission) -> Result<Way, Reply> {
        let settings = self.settings();
        let app = settings.apps.get(&submission.app.name).ok_or_else(gone)?;
        let author = route::author_of(submission.findings.from.as_deref());
        let senders = Senders { author: author.as_ref(), sender: submission.envelope.sender.as_ref() };
        let candidates = route::candidates(Mailboxes::of(&settings), &app.mailbox, senders);
        let now = SystemTime::now();
        let has_choice = candidates.len() > 1;
        let is_held = |mailbox: &Name| has_choice && self.is_held(mailbox, senders.author.or(senders.sender), now);
        let mailbox = match route::choose(&candidates, senders, is_held) {
            Ok(mailbox) => mailbox,
            Err(NoMailbox::Nobodys) => return Err(route::nobodys(senders)),
            Err(NoMailbox::Refused) => return Err(senders.author.map_or_else(no_author, not_allowed)),
        };
        if let Some(first) = candidates.first().filter(|first| first.name != mailbox.name) {
            tracing::info!(event = "message.rerouted", id = %submission.id, app = %app.name, mailbox = %mailbox.name, before = %first.name,
                "the message goes through another mailbox than usual: the first one is held, or may not send it");
        }
        check_recipients(submission, mailbox)?;
        let link = settings.links.get(&mailbox.link).ok_or_else(gone)?;
        self.take_in(mailbox, now)?;
        Ok((mailbox.clone(), link.clone()))
    }

    /// How each of `mailboxes` stands, and whether mail of `author` rather goes another way; where it is only this author's, why.
    pub fn ways_of(&self, mailboxes: &[Name], author: &Address) -> Vec<(Name, Standing, bool, Option<String>)> {
        let (now, standings, lower) = (SystemTime::now(), self.standings(), author.as_str().to_ascii_lowercase());
        let of = |name: &Name| standings.iter().find(|(subject, _)| subject.mailbox() == Some(name)).map(|(_, it)| it.clone());
        let way = |name: &Name| {
            let denied = self.board().sender_held(name, &lower);
            Some((name.clone(), of(name)?, self.is_held(name, Some(author), now), denied))
        };
        mailboxes.iter().filter_map(way).collect()
    }

    /// Whether mail of `author` should rather go through another mailbox than `mailbox`. One whose trouble only a message can end gets
    /// that message when its probe is due, else it would never be used again.
    pub(super) fn is_held(&self, mailbox: &Name, author: Option<&Address>, now: SystemTime) -> bool {
        let board = self.board();
        let author = author.map_or(String::new(), |author| author.as_str().to_ascii_lowercase());
        if board.sender_held(mailbox, &author).is_some() {
            return true;
        }
        let waits = matches!(board.may(mailbox, now), May::Wait(_) | May::Probing(_) | May::Probe(Probe::Login));
        drop(board);
        waits && self.is_out(mailbox, now)
    }
}

/// Under `direct` all recipients have to go at once; where the mailbox was not known at RCPT this is the place to say so.
fn check_recipients(submission: &Submission, mailbox: &Mailbox) -> Result<(), Reply> {
    let (most, count) = (mailbox.limits.recipients_per_message as usize, submission.envelope.recipients.len());
    if delivery(&submission.listener, &submission.app) == Delivery::Direct && most > 0 && count > most {
        let text = format!("too many recipients: the provider takes {most} a message, send to fewer at once");
        return Err(Reply::new(550, Some((5, 3)), text));
    }
    Ok(())
}

/// Whether this recipient can be sent to at all: it has a domain, or an alias.
pub(super) fn has_address(settings: &Settings, recipient: &Recipient) -> Result<(), Reply> {
    let address = &recipient.address;
    if address.domain().is_some() || settings.aliases.of(address).is_some() {
        return Ok(());
    }
    let text = format!(
        "<{address}> has no domain: write user@domain, or name its address as aliases.{address} in outlink's configuration"
    );
    Err(Reply::new(550, Some((1, 3)), text))
}

/// Puts the addresses that stand for recipients without a domain in their place; each address gets the message once.
pub(super) fn apply_aliases(settings: &Settings, submission: &mut Submission) -> Result<(), Reply> {
    if submission.envelope.recipients.iter().all(|recipient| recipient.address.domain().is_some()) {
        return Ok(());
    }
    let mut recipients: Vec<Recipient> = Vec::with_capacity(submission.envelope.recipients.len());
    for mut recipient in std::mem::take(&mut submission.envelope.recipients) {
        has_address(settings, &recipient)?;
        if let Some(address) = settings.aliases.of(&recipient.address) {
            submission.aliased.push((recipient.address.clone(), address.clone()));
            recipient.address = address.clone();
        }
        if !recipients.iter().any(|before| before.address.is_same(&recipient.address)) {
            recipients.push(recipient);
        }
    }
    submission.envelope.recipients = recipients;
    Ok(())
}

/// The app was removed from the configuration while it was connected.
pub(super) fn gone() -> Reply {
    Reply::new(530, Some((7, 0)), "this application is no longer configured here")
}

fn no_author() -> Reply {
    Reply::new(550, Some((7, 1)), "the From field must hold exactly one address")
}
