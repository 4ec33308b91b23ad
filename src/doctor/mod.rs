//! `outlink doctor`: everything that a link and a mailbox need, tried for real, with the cause and the fix of what fails.
//!
//! Layer 6. It goes the way of mail: the same tokens with their single flight, the same limit of connections, the same pace; what it
//! finds out counts for the mail that waits. No message is sent unless somebody wishes so. What may surprise:
//! - Its waits are shorter than mail's, since a person waits; so a server that is only slow may fail here and not there.
//! - It asks for a new access token each time. A renewal that it no longer waits for goes on, lest its answer is lost.
//! - Without a store (a full disk, another user) it examines what needs no grant.

mod claims;
mod endpoint;
mod finding;
mod mailbox;
mod network;
mod pace;
mod server;
mod settings;
pub mod state;
mod words;

pub use finding::{Finding, Report, Status, Wish};

use crate::{
    config::{Link, Mailbox, Settings},
    mail::{Address, Name},
    relay::Relay,
    tls,
    upstream::{Failure, Slot, Upstream},
};
use endpoint::Endpoint;
use finding::Of;
use mailbox::{Shared, Test};
use pace::Paces;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Mailboxes examined side by side.
const AT_ONCE: usize = 8;

/// Why there is nothing to examine.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such thing.
    #[error("no {what} is named {name:?}; there are: {known}")]
    Unknown {
        /// Link, mailbox, or either.
        what: &'static str,
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// No message can go there.
    #[error("{0:?} is no address to send to or from: {1}")]
    Address(String, String),
}

/// What examines; one for the process.
#[derive(Debug)]
pub struct Doctor {
    means: Means,
    paces: Paces,
}

/// What it can use.
#[derive(Debug)]
enum Means {
    /// All that mail uses.
    Relay(Arc<Relay>),
    /// Connections alone.
    WithoutStore { settings: Arc<Settings>, upstream: Arc<Upstream>, why: String },
}

impl Doctor {
    /// One that uses what mail uses.
    pub fn new(relay: Arc<Relay>) -> Self {
        Self { means: Means::Relay(relay), paces: Paces::default() }
    }

    /// One without grants, since the store cannot be used for the reason `why`.
    pub fn without_store(settings: Settings, hostname: String, why: String) -> Self {
        let (settings, upstream) = (Arc::new(settings), Upstream::new(hostname));
        Self { means: Means::WithoutStore { settings, upstream, why }, paces: Paces::default() }
    }

    fn relay(&self) -> Option<&Arc<Relay>> {
        match &self.means {
            Means::Relay(relay) => Some(relay),
            Means::WithoutStore { .. } => None,
        }
    }

    fn settings(&self) -> Arc<Settings> {
        match &self.means {
            Means::Relay(relay) => relay.configured(),
            Means::WithoutStore { settings, .. } => settings.clone(),
        }
    }

    fn hostname(&self) -> &str {
        match &self.means {
            Means::Relay(relay) => relay.hostname(),
            Means::WithoutStore { upstream, .. } => upstream.hostname(),
        }
    }

    /// Examines what is wished for.
    pub async fn examine(self: &Arc<Self>, wish: &Wish) -> Result<Report, Refused> {
        let settings = self.settings();
        let (links, mailboxes) = chosen(&settings, wish)?;
        if let Some(relay) = self.relay() {
            mailboxes.iter().for_each(|mailbox| relay.take_in_named(&mailbox.name));
        }
        let test = test(wish)?;
        self.paces.keep(|name| settings.mailbox(name).is_some());
        let shared: BTreeMap<Name, Arc<Shared>> =
            links.iter().map(|link| (link.name.clone(), Arc::new(Shared::new(link.clone())))).collect();
        let examined: Vec<Name> = mailboxes.iter().map(|mailbox| mailbox.name.clone()).collect();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut visits = JoinSet::new();
        for shared in shared.values().cloned() {
            let (doctor, places) = (self.clone(), places.clone());
            visits.spawn(async move {
                let _place = places.acquire_owned().await;
                ((shared.link.name.clone(), None), doctor.link(&shared).await)
            });
        }
        for mailbox in mailboxes {
            let Some(shared) = shared.get(&mailbox.link).cloned() else { continue };
            let (doctor, places, test) = (self.clone(), places.clone(), test.clone());
            visits.spawn(async move {
                let _place = places.acquire_owned().await;
                let name = (shared.link.name.clone(), Some(mailbox.name.clone()));
                (name, mailbox::examine(&doctor, mailbox, &shared, test.as_ref()).await)
            });
        }
        for domain in settings.domains.values().map(|domain| domain.common()) {
            if shared.contains_key(&domain.link) && !examined.iter().any(|name| name.is_of(&domain.name)) {
                let of = Of { link: Some(domain.link.to_string()), mailbox: Some(domain.name.to_string()) };
                let why = format!("no address of it has sent yet; `outlink doctor {}/ADDRESS` examines one", domain.name);
                let key = (domain.link.clone(), Some(domain.name.clone()));
                visits.spawn(async move { (key, of.all_skipped(&["login", "sender"], &why)) });
            }
        }
        let mut findings = self.everything(&settings).await;
        // The link before its mailboxes.
        let by_name: BTreeMap<(Name, Option<Name>), Vec<Finding>> = visits.join_all().await.into_iter().collect();
        findings.extend(by_name.into_values().flatten());
        if let Some(relay) = self.relay() {
            // What was found out counts for the next process too; where it cannot be kept, the check of the directory says so.
            let _ = relay.flush().await;
        }
        Ok(Report { findings })
    }

    /// Whether [`Doctor::leave`] has something to wait for.
    pub fn has_to_stay(&self) -> bool {
        self.relay().is_some_and(|relay| relay.has_to_land())
    }

    /// Waits for renewals that nobody waits for any more, for a process that ends: an answer that is lost can cost a grant.
    pub async fn leave(&self) {
        if let Some(relay) = self.relay() {
            relay.landed().await;
        }
    }

    /// What concerns all links.
    async fn everything(&self, settings: &Settings) -> Vec<Finding> {
        let mut findings = Vec::new();
        // Whoever found the store unusable has told why.
        if self.relay().is_some() {
            findings.push(state::directory(&settings.state_directory, settings.queue.minimum_free).await);
        }
        findings.push(settings::hostname(self.hostname()));
        findings
    }

    /// What concerns a link and all its mailboxes.
    async fn link(&self, shared: &Shared) -> Vec<Finding> {
        let link = &shared.link;
        let of = Of { link: Some(link.name.to_string()), mailbox: None };
        let mut findings = Vec::new();
        if let Some(relay) = self.relay() {
            findings.push(match relay.evidence(link).await {
                Ok(evidence) => settings::client(&of, link, &evidence, SystemTime::now()),
                Err((reason, advice)) => {
                    let finding = of.failed(settings::CLIENT, "what proves the client cannot be read");
                    words::Names::of(link, None).advise(finding, &advice, Some(&reason))
                }
            });
        }
        let Endpoint { findings: found, answers } = self.endpoint(shared).await;
        let left: Vec<&str> = match answers {
            true => Vec::new(),
            false => endpoint::CHECKS.into_iter().filter(|check| is_left(check, found, link)).collect(),
        };
        findings.extend(found.iter().cloned());
        findings.extend(of.all_skipped(&left, "the step before failed"));
        findings
    }

    /// The token endpoint of a link, examined once.
    async fn endpoint<'a>(&self, shared: &'a Shared) -> &'a Endpoint {
        let link = &shared.link;
        let of = Of { link: Some(link.name.to_string()), mailbox: None };
        let way = match &self.means {
            Means::Relay(relay) => relay.way(link),
            // A proxy's password may need the store's key.
            Means::WithoutStore { .. } => Ok(plain_way(link)),
        };
        shared.endpoint.get_or_init(|| endpoint::examine(&of, link, way)).await
    }

    async fn place(&self, mailbox: &Arc<Mailbox>, within: Duration) -> Result<Slot, Failure> {
        match &self.means {
            Means::Relay(relay) => relay.place(mailbox, within).await,
            Means::WithoutStore { upstream, .. } => upstream.slot(mailbox, tokio::time::Instant::now() + within).await,
        }
    }
}

/// The way to a link's endpoints as far as it can be told without secrets.
fn plain_way(link: &Link) -> tls::Proxy {
    match &link.proxy {
        crate::config::Proxy::Environment => tls::Proxy::Environment,
        crate::config::Proxy::None => tls::Proxy::None,
        crate::config::Proxy::Url { url, .. } => tls::Proxy::Through { url: url.clone(), credentials: None },
    }
}

/// Whether a check of the endpoint would have followed.
fn is_left(check: &str, found: &[Finding], link: &Link) -> bool {
    let is_https = link.token_endpoint.scheme() == "https";
    !found.iter().any(|finding| finding.check == check)
        && match check {
            "endpoint-tls" => is_https,
            "clock" => true,
            "endpoint-route" => found.iter().any(|finding| finding.check == "endpoint-name"),
            _ => false,
        }
}

type Chosen = (Vec<Arc<Link>>, Vec<Arc<Mailbox>>);

/// The links and mailboxes that are wished for.
fn chosen(settings: &Settings, wish: &Wish) -> Result<Chosen, Refused> {
    let unknown = |what, name: &str| {
        let links = settings.links.keys().filter(|_| what != "mailbox").map(Name::as_str);
        let mailboxes = settings.mailbox_names().filter(|_| what != "link").map(Name::as_str);
        let known: BTreeSet<&str> = links.chain(mailboxes).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.into_iter().collect::<Vec<_>>().join(", ") };
        Refused::Unknown { what, name: name.to_owned(), known }
    };
    let link = |name: &str| settings.links.keys().find(|known| known.as_str() == name).cloned();
    let mailbox = |text: &str| {
        let name = Name::parse_mailbox(text).ok()?;
        (settings.domains.contains_key(&name) || settings.mailbox(&name).is_some()).then_some(name)
    };
    let (mut links, mut mailboxes) = (BTreeSet::new(), BTreeSet::new());
    for name in &wish.names {
        let found = (link(name), mailbox(name));
        if found == (None, None) {
            return Err(unknown("link or mailbox", name));
        }
        links.extend(found.0);
        mailboxes.extend(found.1);
    }
    for name in &wish.links {
        links.insert(link(name).ok_or_else(|| unknown("link", name))?);
    }
    for name in &wish.mailboxes {
        mailboxes.insert(mailbox(name).ok_or_else(|| unknown("mailbox", name))?);
    }
    let all = wish.names.is_empty() && wish.links.is_empty() && wish.mailboxes.is_empty();
    let wanted = |of: &Mailbox| all || links.contains(&of.link) || mailboxes.iter().any(|name| of.name.is_of(name));
    let there = settings.mailboxes.values().filter(|of| wanted(of)).cloned();
    // An address that has not sent yet is examined when it is named.
    let new = mailboxes.iter().filter(|name| !settings.mailboxes.contains_key(name)).filter_map(|name| settings.mailbox(name));
    let of_domains = mailboxes.iter().filter_map(|name| settings.domains.get(name)).map(|domain| &domain.common().link);
    let of_domains: BTreeSet<&Name> = of_domains.collect();
    let mailboxes: Vec<Arc<Mailbox>> = there.chain(new).collect();
    let is_used = |link: &Link| of_domains.contains(&link.name) || mailboxes.iter().any(|of| of.link == link.name);
    let needed = |link: &Link| all || links.contains(&link.name) || is_used(link);
    Ok((settings.links.values().filter(|link| needed(link)).cloned().collect(), mailboxes))
}

fn test(wish: &Wish) -> Result<Option<Test>, Refused> {
    let address = |text: &String| {
        Address::parse(text).map_err(|why| Refused::Address(text.clone(), why.to_string())).and_then(|address| {
            match address.domain() {
                Some(_) => Ok(address),
                None => Err(Refused::Address(text.clone(), "it has no domain".to_owned())),
            }
        })
    };
    let from = wish.from.as_ref().map(address).transpose()?;
    Ok(wish.send.as_ref().map(address).transpose()?.map(|to| Test { to, from }))
}
