//! Which mailbox a message goes through, or why none. Pure: settings and senders in, a choice out.
//!
//! An app routed by sender belongs to the first mailbox that one of the [`Rule`]s finds; whoever is found by none, to its `fallback`. Of
//! several mailboxes, the first that may send this message and works takes it. A mailbox that stands in for another one has to be
//! allowed to send as this author, or to rewrite him: else what only waits would be refused.

use crate::{
    config::{App, DomainMailbox, Mailbox, Route, Settings, WhenFromDiffers},
    mail::{Address, Name, author},
    smtp::Reply,
};
use std::{collections::BTreeMap, sync::Arc};

/// All mailboxes, by name.
#[derive(Debug, Clone, Copy)]
pub struct Mailboxes<'a> {
    one: &'a BTreeMap<Name, Arc<Mailbox>>,
    domains: &'a BTreeMap<Name, Arc<DomainMailbox>>,
}

impl<'a> Mailboxes<'a> {
    /// Those of these settings.
    pub fn of(settings: &'a Settings) -> Self {
        Self { one: &settings.mailboxes, domains: &settings.domains }
    }

    /// Those of one address that stand in the configuration.
    fn configured(self) -> impl DoubleEndedIterator<Item = &'a Arc<Mailbox>> {
        self.one.iter().filter(|(name, _)| name.is_configured()).map(|(_, mailbox)| mailbox)
    }

    /// The mailbox with this address, else of its domain. Of equal ones the first by name.
    fn with_address(self, address: &Address) -> Option<Arc<Mailbox>> {
        let one = self.configured().find(|mailbox| mailbox.address.is_same(address));
        one.cloned().or_else(|| self.domains.values().find_map(|domain| self.of_domain(domain, address)))
    }

    /// That of `address` in a mailbox for a whole domain.
    fn of_domain(self, domain: &DomainMailbox, address: &Address) -> Option<Arc<Mailbox>> {
        let mailbox = domain.mailbox(address)?;
        Some(self.one.get(&mailbox.name).cloned().unwrap_or_else(|| Arc::new(mailbox)))
    }

    /// The mailbox that an app names: of a domain, that of the author, else of the envelope sender.
    fn named(self, name: &Name, senders: Senders<'_>) -> Option<Arc<Mailbox>> {
        let Some(domain) = self.domains.get(name) else { return self.one.get(name).cloned() };
        senders.author.into_iter().chain(senders.sender).find_map(|address| self.of_domain(domain, address))
    }
}

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
    /// The author is its address, or lies in its domain.
    Author,
    /// The envelope sender does.
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
    pub fn find(self, mailboxes: Mailboxes<'_>, senders: Senders<'_>) -> Option<Arc<Mailbox>> {
        let wanted = match self {
            Self::Author | Self::AuthorAllowed => senders.author?,
            Self::Sender | Self::SenderAllowed => senders.sender?,
        };
        match self {
            Self::Author | Self::Sender => mailboxes.with_address(wanted),
            Self::AuthorAllowed | Self::SenderAllowed => {
                let close = mailboxes.configured().filter_map(|mailbox| Some((mailbox.allowed_from.closeness(wanted)?, mailbox)));
                close.rev().max_by_key(|(closeness, _)| *closeness).map(|(_, mailbox)| mailbox.clone())
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
    let is_own = |address: &Address| mailbox.when_from_differs != WhenFromDiffers::Refuse && address.is_same(&mailbox.address);
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
pub fn candidates(mailboxes: Mailboxes<'_>, route: &Route, senders: Senders<'_>) -> Vec<Arc<Mailbox>> {
    let found = match route {
        Route::Listed(_) => None,
        Route::BySender { .. } => Rule::ALL.into_iter().find_map(|rule| rule.find(mailboxes, senders)),
    };
    let mut all: Vec<Arc<Mailbox>> = Vec::new();
    for mailbox in found.into_iter().chain(route.named().iter().filter_map(|name| mailboxes.named(name, senders))) {
        if all.iter().all(|before| before.name != mailbox.name) {
            all.push(mailbox);
        }
    }
    all
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
    candidates: &'a [Arc<Mailbox>],
    senders: Senders<'_>,
    is_held: impl Fn(&Name) -> bool,
) -> Result<&'a Arc<Mailbox>, NoMailbox> {
    let may = |(index, mailbox): &(usize, &Arc<Mailbox>)| match fit(mailbox, senders) {
        Fit::Refused => false,
        Fit::Kept => *index == 0,
        Fit::Allowed | Fit::Rewritten => true,
    };
    let mut fitting = candidates.iter().enumerate().filter(may).map(|(_, mailbox)| mailbox);
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
    senders.author.is_some_and(|author| allowed.matches(author)) && senders.sender.is_none_or(|sender| allowed.matches(sender))
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

#[cfg(test)]
mod tests {
    use super::{super::judge::parts, *};
    use crate::config::Allowed;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// A mailbox of this name, address, patterns and `when-from-differs`.
    fn mailbox(text: &str, own: &str, allowed: &[&str], when: WhenFromDiffers) -> Arc<Mailbox> {
        let (mut mailbox, _) = parts("microsoft");
        (mailbox.name, mailbox.address, mailbox.when_from_differs) = (name(text), address(own), when);
        mailbox.allowed_from = Allowed::new(allowed.iter().map(|pattern| (*pattern).to_owned()).collect());
        Arc::new(mailbox)
    }

    fn mailboxes() -> BTreeMap<Name, Arc<Mailbox>> {
        use WhenFromDiffers::*;
        let all = [
            mailbox("alerts", "alerts@a.example", &["alerts@a.example"], Keep),
            mailbox("all", "all@a.example", &["*"], Keep),
            mailbox("domain", "domain@a.example", &["*@a.example"], Keep),
            mailbox("one", "one@b.example", &["jira@a.example"], Refuse),
        ];
        all.into_iter().map(|mailbox| (mailbox.name.clone(), mailbox)).collect()
    }

    /// One for `d.example`, of which `jo` has sent already.
    fn domains() -> BTreeMap<Name, Arc<DomainMailbox>> {
        let common = mailbox("whole", "*@d.example", &[], WhenFromDiffers::Keep);
        let domain = DomainMailbox { common: (*common).clone(), domain: "d.example".into(), allowed_from: None, addresses: 10 };
        [(name("whole"), Arc::new(domain))].into()
    }

    fn by_sender(rule: Rule, author: Option<&str>, sender: Option<&str>) -> Option<String> {
        let (author, sender) = (author.map(address), sender.map(address));
        let senders = Senders { author: author.as_ref(), sender: sender.as_ref() };
        let (one, domains) = (mailboxes(), domains());
        rule.find(Mailboxes { one: &one, domains: &domains }, senders).map(|mailbox| mailbox.name.to_string())
    }

    #[test]
    fn each_rule_finds_its_mailbox_and_the_closest_pattern_wins() {
        for (rule, author, sender, found) in [
            (Rule::Author, Some("Alerts@A.example"), None, Some("alerts")),
            (Rule::Author, Some("jira@a.example"), Some("alerts@a.example"), None),
            (Rule::Sender, Some("jira@a.example"), Some("alerts@a.example"), Some("alerts")),
            (Rule::Sender, Some("alerts@a.example"), None, None),
            (Rule::Author, Some("Jo@D.example"), None, Some("whole/jo@d.example")),
            (Rule::Sender, Some("jira@a.example"), Some("jo@d.example"), Some("whole/jo@d.example")),
            (Rule::Author, Some("jo@sub.d.example"), None, None),
            (Rule::AuthorAllowed, Some("jira@a.example"), None, Some("one")),
            (Rule::AuthorAllowed, Some("crowd@a.example"), None, Some("domain")),
            (Rule::AuthorAllowed, Some("crowd@c.example"), None, Some("all")),
            (Rule::AuthorAllowed, None, Some("jira@a.example"), None),
            (Rule::SenderAllowed, None, Some("JIRA@a.example"), Some("one")),
            (Rule::SenderAllowed, None, Some("root"), Some("all")),
        ] {
            assert_eq!(by_sender(rule, author, sender).as_deref(), found, "{rule:?} {author:?} {sender:?}");
        }
    }

    #[test]
    fn the_rules_come_in_their_order_and_the_fallback_last() {
        let (one, domains) = (mailboxes(), domains());
        let all = Mailboxes { one: &one, domains: &domains };
        for (author, sender, fallback, expected) in [
            (Some("alerts@a.example"), Some("one@b.example"), None, &["alerts"][..]),
            (Some("jira@a.example"), Some("alerts@a.example"), None, &["alerts"][..]),
            (Some("jira@a.example"), Some("root"), Some("all"), &["one", "all"][..]),
            (Some("x@c.example"), None, Some("all"), &["all"][..]),
            (None, None, Some("domain"), &["domain"][..]),
            (Some("x@c.example"), None, Some("whole"), &["all"][..]),
            (Some("jo@d.example"), None, Some("whole"), &["whole/jo@d.example"][..]),
            (Some("x@c.example"), Some("root@d.example"), Some("all"), &["whole/root@d.example", "all"][..]),
            (None, None, None, &[][..]),
        ] {
            let (author, sender) = (author.map(address), sender.map(address));
            let senders = Senders { author: author.as_ref(), sender: sender.as_ref() };
            let route = Route::BySender { fallback: fallback.map(name) };
            let found = candidates(all, &route, senders);
            let found: Vec<&str> = found.iter().map(|mailbox| mailbox.name.as_str()).collect();
            assert_eq!(found, expected, "{author:?} {sender:?} {fallback:?}");
        }
    }

    #[test]
    fn a_mailbox_stands_in_only_for_whom_it_may_send_or_rewrites() {
        use WhenFromDiffers::*;
        let jira = address("jira@a.example");
        let senders = Senders { author: Some(&jira), sender: Some(&jira) };
        // The first mailbox's rule; the second's rule and whether it names the author; held ones; which takes it.
        for (first, second, names, held, taken) in [
            (Keep, Keep, false, "", Some("first")),
            (Keep, Keep, false, "first", Some("first")),
            (Keep, Keep, true, "first", Some("second")),
            (Keep, Rewrite, false, "first", Some("second")),
            (Keep, Refuse, false, "first", Some("first")),
            (Keep, Keep, true, "first second", Some("first")),
            (Refuse, Rewrite, false, "", Some("second")),
            (Refuse, Keep, false, "", None),
            (Refuse, Refuse, false, "first", None),
        ] {
            let all = [
                mailbox("first", "first@a.example", &["first@a.example"], first),
                mailbox("second", "second@a.example", &[if names { "*@a.example" } else { "second@a.example" }], second),
            ];
            let found = choose(&all, senders, |name| held.split(' ').any(|it| it == name.as_str()));
            let found = found.map(|mailbox| mailbox.name.to_string());
            assert_eq!(found.as_deref().ok(), taken, "{first:?} {second:?} {names} {held}");
            if taken.is_none() {
                assert_eq!(found, Err(NoMailbox::Refused));
            }
        }
        assert_eq!(choose(&[], senders, |_| false), Err(NoMailbox::Nobodys));
    }

    #[test]
    fn an_app_may_name_a_whole_domain_beside_others() {
        let (one, domains) = (mailboxes(), domains());
        let all = Mailboxes { one: &one, domains: &domains };
        let route = Route::Listed(vec![name("whole"), name("all")]);
        for (author, sender, expected) in [
            (Some("jo@d.example"), Some("al@d.example"), &["whole/jo@d.example", "all"][..]),
            (Some("x@c.example"), Some("al@d.example"), &["whole/al@d.example", "all"][..]),
            (Some("x@c.example"), Some("root"), &["all"][..]),
        ] {
            let (author, sender) = (author.map(address), sender.map(address));
            let found = candidates(all, &route, Senders { author: author.as_ref(), sender: sender.as_ref() });
            let found: Vec<&str> = found.iter().map(|mailbox| mailbox.name.as_str()).collect();
            assert_eq!(found, expected, "{author:?} {sender:?}");
        }
        let jo = domains.values().next().unwrap().mailbox(&address("Jo@D.example")).unwrap();
        assert_eq!((jo.address.as_str(), jo.xoauth2_user.as_str()), ("jo@d.example", "jo@d.example"));
        assert!(jo.allowed_from.matches(&jo.address) && !jo.allowed_from.matches(&address("al@d.example")));
    }
}
