//! Which mailbox a message goes through, or why none. Pure: settings and senders in, a choice out.
//!
//! An app routed by sender belongs to the first mailbox that one of the [`Rule`]s finds; whoever is found by none, to its `fallback`. Of
//! several mailboxes, the first that may send this message and works takes it. A mailbox that stands in for another one has to be
//! allowed to send as this author, or to rewrite him: else what only waits would be refused.

use crate::{
    config::{Allowed, App, Mailbox, Route, Settings, WhenFromDiffers},
    mail::{Address, Name, author},
    smtp::Reply,
};
use std::sync::Arc;

/// From whom a message is, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Senders<'a> {
    /// The one address in From.
    pub author: Option<&'a Address>,
    /// The envelope sender; `None` is nobody.
    pub sender: Option<&'a Address>,
}

/// How a mailbox is found by sender, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The author is its address.
    Author,
    /// The envelope sender is its address.
    Sender,
    /// Its `allowed-from` names the author, more closely than others' do.
    AuthorAllowed,
    /// Its `allowed-from` names the envelope sender, more closely than others' do.
    SenderAllowed,
}

impl Rule {
    /// All of them, the first that finds a mailbox wins.
    pub const ALL: [Self; 4] = [Self::Author, Self::Sender, Self::AuthorAllowed, Self::SenderAllowed];

    /// The mailbox that it finds. Of equal ones the first by name.
    pub fn find<'a>(self, settings: &'a Settings, senders: Senders<'_>) -> Option<&'a Arc<Mailbox>> {
        let all = || settings.mailboxes.values();
        let wanted = match self {
            Self::Author | Self::AuthorAllowed => senders.author?,
            Self::Sender | Self::SenderAllowed => senders.sender?,
        };
        match self {
            Self::Author | Self::Sender => all().find(|mailbox| mailbox.address.is_same(wanted)),
            Self::AuthorAllowed | Self::SenderAllowed => {
                let close = all().filter_map(|mailbox| Some((mailbox.allowed_from.closeness(wanted)?, mailbox)));
                close.rev().max_by_key(|(closeness, _)| *closeness).map(|(_, mailbox)| mailbox)
            }
        }
    }
}

/// What a mailbox does with a message from these senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Author and sender are its own, or its `allowed-from` names them.
    Allowed,
    /// It sends them as they are, and the provider decides.
    Kept,
    /// It puts its address in their place.
    Rewritten,
    /// It refuses them.
    Refused,
}

/// What `mailbox` does with a message from `senders`. Nobody as envelope sender is allowed everywhere: bounces come so.
pub fn fit(mailbox: &Mailbox, senders: Senders<'_>) -> Fit {
    // A mailbox that refuses names its own address too, if it is to pass.
    let is_own = |address: &Address| {
        mailbox.when_from_differs != WhenFromDiffers::Refuse && address.is_same(&mailbox.address)
    };
    let passes = |address: &Address| is_own(address) || mailbox.allowed_from.matches(address);
    let is_allowed = senders.author.is_some_and(passes) && senders.sender.is_none_or(passes);
    match mailbox.when_from_differs {
        _ if is_allowed => Fit::Allowed,
        WhenFromDiffers::Keep => Fit::Kept,
        WhenFromDiffers::Rewrite => Fit::Rewritten,
        WhenFromDiffers::Refuse => Fit::Refused,
    }
}

impl Fit {
    /// Whether a mailbox of this fit may stand in for another one.
    pub fn may_stand_in(self) -> bool {
        matches!(self, Self::Allowed | Self::Rewritten)
    }
}

/// The mailboxes for a message, best first; empty where nothing is found.
pub fn candidates<'a>(settings: &'a Settings, route: &Route, senders: Senders<'_>) -> Vec<&'a Arc<Mailbox>> {
    let found = match route {
        Route::Listed(_) => None,
        Route::BySender { .. } => Rule::ALL.into_iter().find_map(|rule| rule.find(settings, senders)),
    };
    let named = route.named().iter().filter_map(|name| settings.mailboxes.get(name));
    let named = named.filter(|mailbox| found.is_none_or(|found| found.name != mailbox.name));
    found.into_iter().chain(named).collect()
}

/// Why a message has no mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMailbox {
    /// No mailbox belongs to its senders, and the app has no fallback.
    Nobodys,
    /// None of them may send it.
    Refused,
}

/// The mailbox that takes a message: the first candidate that may send it and is not held; where all are held, the first that may.
pub fn choose<'a>(
    candidates: &[&'a Arc<Mailbox>],
    senders: Senders<'_>,
    is_held: impl Fn(&Name) -> bool,
) -> Result<&'a Arc<Mailbox>, NoMailbox> {
    let may = |(index, mailbox): &(usize, &&Arc<Mailbox>)| match fit(mailbox, senders) {
        Fit::Refused => false,
        Fit::Kept => *index == 0,
        Fit::Allowed | Fit::Rewritten => true,
    };
    let mut fitting = candidates.iter().enumerate().filter(may).map(|(_, mailbox)| *mailbox);
    let first = fitting.clone().next();
    match fitting.find(|mailbox| !is_held(&mailbox.name)).or(first) {
        Some(mailbox) => Ok(mailbox),
        None if candidates.is_empty() => Err(NoMailbox::Nobodys),
        None => Err(NoMailbox::Refused),
    }
}

/// Whether `app` may send as these: the author has to be there and allowed, the envelope sender where there is one.
pub fn is_allowed(app: &App, senders: Senders<'_>) -> bool {
    let Some(allowed) = &app.allowed_from else { return true };
    senders.author.is_some_and(|author| allowed.matches(author)) && may_be_sender(allowed, senders.sender)
}

/// Whether this envelope sender is allowed. A name without a domain says nothing: cron's `root` has its author checked.
pub fn may_be_sender(allowed: &Allowed, sender: Option<&Address>) -> bool {
    sender.is_none_or(|sender| sender.domain().is_none() || allowed.matches(sender))
}

/// The author that a From field names, where it names exactly one.
pub fn author_of(from: Option<&str>) -> Option<Address> {
    from.and_then(author)
}

/// What an app hears whose message belongs to no mailbox.
pub(super) fn nobodys(senders: Senders<'_>) -> Reply {
    let text = match senders.author.or(senders.sender) {
        Some(address) => format!("no mailbox is configured for <{address}>; `outlink route {address}` says more"),
        None => "no mailbox is configured for a message without a From address".to_owned(),
    };
    Reply::new(550, Some((7, 1)), text)
}
