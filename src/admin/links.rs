//! Links with their mailboxes, as people and programs are told: how each is authorised, how it stands, what waits for it.

use super::{Refused, Standing, Summary, Tally, queue, rfc3339};
use crate::{
    config::{DomainMailbox, Link, Mailbox, Settings},
    mail::{Name, State},
    provider::{Grant, Provider},
    relay::{Relay, Subject},
    store, tokens,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All links.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// By name.
    pub links: Vec<LinkState>,
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// Its name.
    pub link: String,
    /// google, microsoft, custom.
    pub provider: String,
    /// Microsoft's cloud.
    pub cloud: Option<String>,
    /// Microsoft's directory.
    pub tenant: Option<String>,
    /// How it obtains access tokens.
    pub grant: String,
    /// OAuth client id.
    pub client_id: String,
    /// The last day of its client secret, as the administrator said.
    pub client_secret_expires: Option<String>,
    /// When its certificate ends.
    pub certificate_expires: Option<String>,
    /// Where the browser comes back to.
    pub redirect_url: Option<String>,
    /// How it stands.
    #[serde(flatten)]
    pub standing: Standing,
    /// Its mailboxes, by name.
    pub mailboxes: Vec<MailboxState>,
    /// Its mailboxes for whole domains.
    #[serde(default)]
    pub domains: Vec<DomainState>,
}

/// A mailbox for a whole domain; its addresses in use are among the mailboxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainState {
    /// Its name.
    pub mailbox: String,
    /// Its link.
    pub link: String,
    /// `*@DOMAIN`.
    pub address: String,
    /// The apps that send through it.
    pub apps: Vec<String>,
    /// Addresses in use.
    pub addresses_in_use: usize,
    /// Addresses that it sends for at the same time, at most.
    pub addresses: usize,
}

/// One mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxState {
    /// Its name.
    pub mailbox: String,
    /// Its link.
    pub link: String,
    /// The link's grant.
    pub grant: String,
    /// Its address.
    pub address: String,
    /// Its SMTP server.
    pub server: String,
    /// The apps that send through it.
    pub apps: Vec<String>,
    /// How it stands.
    #[serde(flatten)]
    pub standing: Standing,
    /// When its access token ends; `None` when there is none that lives.
    pub access_token_until: Option<String>,
    /// When its refresh token is expected to end.
    pub refresh_token_expires: Option<String>,
    /// Since when it has its grant.
    pub authorised_since: Option<String>,
    /// Who brought the grant.
    pub authorised_by: Option<String>,
    /// Who signed in.
    pub account: Option<String>,
    /// How the grant came here.
    pub origin: Option<String>,
    /// Messages that go out when they are due.
    pub waiting: Tally,
    /// Messages that are held, or wait in a held mailbox.
    pub held: Tally,
    /// Messages that are not tried again.
    pub failed: Tally,
    /// What was sent in the last day.
    pub sent_in_24_hours: Sent,
    /// What may be; 0 is no limit.
    pub limits: Limits,
    /// The limit that keeps messages back now.
    pub limit_reached: Option<String>,
}

/// What was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Messages.
    pub messages: u64,
    /// Recipients.
    pub recipients: u64,
}

/// What may be sent; 0 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Messages a minute.
    pub messages_per_minute: u64,
    /// Messages a day.
    pub messages_per_day: u64,
    /// Recipients a day.
    pub recipients_per_day: u64,
}

/// The links of these settings, where nothing was ever kept.
pub fn links_of(settings: &Settings) -> Links {
    let link = |link: &Link| LinkState {
        link: link.name.to_string(),
        provider: link.provider.to_string(),
        cloud: (link.provider == Provider::Microsoft).then(|| link.cloud.to_string()),
        tenant: link.tenant.clone(),
        grant: link.grant.to_string(),
        client_id: link.client_id.clone(),
        client_secret_expires: link.client_secret_expires.map(|date| date.to_string()),
        certificate_expires: None,
        redirect_url: link.redirect_url.as_ref().map(ToString::to_string),
        standing: Standing::unknown(),
        mailboxes: settings.mailboxes.values().filter(|it| it.link == link.name).map(|it| mailbox(settings, link, it)).collect(),
        domains: settings.domains.values().filter(|it| it.common().link == link.name).map(|it| domain(settings, it)).collect(),
    };
    Links { links: settings.links.values().map(|it| link(it)).collect() }
}

fn domain(settings: &Settings, domain: &DomainMailbox) -> DomainState {
    let Mailbox { name, link, address, .. } = domain.common();
    DomainState {
        mailbox: name.to_string(),
        link: link.to_string(),
        address: address.to_string(),
        apps: apps(settings, name),
        addresses_in_use: settings.mailboxes.keys().filter(|it| !it.is_configured() && it.is_of(name)).count(),
        addresses: domain.addresses,
    }
}

/// The apps that send through `mailbox`.
fn apps(settings: &Settings, mailbox: &Name) -> Vec<String> {
    settings.apps.values().filter(|app| app.mailbox.names(mailbox)).map(|app| app.name.to_string()).collect()
}

fn mailbox(settings: &Settings, link: &Link, mailbox: &Mailbox) -> MailboxState {
    let limits = &mailbox.limits;
    let mut state = MailboxState {
        mailbox: mailbox.name.to_string(),
        link: link.name.to_string(),
        grant: link.grant.to_string(),
        address: mailbox.address.to_string(),
        server: mailbox.server.to_string(),
        apps: apps(settings, &mailbox.name),
        standing: Standing::unknown(),
        access_token_until: None,
        refresh_token_expires: None,
        authorised_since: None,
        authorised_by: None,
        account: None,
        origin: None,
        waiting: Tally::default(),
        held: Tally::default(),
        failed: Tally::default(),
        sent_in_24_hours: Sent::default(),
        limits: Limits {
            messages_per_minute: limits.messages_per_minute.into(),
            messages_per_day: limits.messages_per_day.into(),
            recipients_per_day: limits.recipients_per_day.into(),
        },
        limit_reached: None,
    };
    without_grant(&mut state, link.grant);
    state
}

/// The links of a relay, with how they stand.
pub async fn links(relay: &Relay) -> Result<Links, Refused> {
    let summary = queue::summary(relay).await?;
    Ok(links_with(relay, Some(&summary)).await)
}

/// The same beside what is kept, where that is known.
pub(super) async fn links_with(relay: &Relay, summary: Option<&Summary>) -> Links {
    let settings = relay.configured();
    let mut links = links_of(&settings);
    let grants = relay.grants().await;
    let grants: BTreeMap<_, _> = grants.iter().map(|grant| (grant.mailbox.as_str(), grant)).collect();
    let kept: BTreeMap<_, _> =
        summary.iter().flat_map(|summary| &summary.mailboxes).map(|kept| (kept.mailbox.as_str(), kept)).collect();
    let standings: BTreeMap<_, _> = relay.standings().into_iter().collect();
    for link in &mut links.links {
        let Some(configured) = Name::parse(&link.link).ok().and_then(|name| settings.links.get(&name)) else { continue };
        if let Some(standing) = standings.get(&Subject::Link(configured.name.clone())) {
            link.standing = standing.into();
        }
        for state in &mut link.mailboxes {
            let Ok(mailbox) = Name::parse_mailbox(&state.mailbox) else { continue };
            let subject = Subject::Mailbox { mailbox: mailbox.clone(), link: configured.name.clone() };
            if let Some(standing) = standings.get(&subject) {
                state.standing = standing.into();
            }
            if let Some(grant) = grants.get(state.mailbox.as_str()) {
                fill(state, grant);
            }
            without_grant(state, configured.grant);
            if let Some(kept) = kept.get(state.mailbox.as_str()) {
                (state.waiting, state.held, state.failed) = (kept.waiting.clone(), kept.held.clone(), kept.failed.clone());
            }
            let (messages, recipients) = relay.sent_today(&mailbox);
            state.sent_in_24_hours = Sent { messages, recipients };
            state.limit_reached = relay.limit_reached(&mailbox).map(|(limit, _)| limit.to_owned());
        }
    }
    fill_endings(&mut links, relay);
    links
}

fn fill(state: &mut MailboxState, grant: &tokens::Status) {
    state.access_token_until = grant.access_token_until.map(rfc3339);
    state.refresh_token_expires = grant.refresh_until.map(rfc3339);
    if let Some(store::Granted { origin, account, by, obtained_at, .. }) = grant.granted.clone() {
        state.authorised_since = Some(rfc3339(obtained_at));
        (state.origin, state.account, state.authorised_by) = (Some(origin), account, by);
    }
}

/// A mailbox that nobody has authorised yet needs that, before any renewal has found it out.
fn without_grant(state: &mut MailboxState, grant: Grant) {
    let by_consent = matches!(grant, Grant::AuthorizationCode | Grant::DeviceCode);
    if by_consent && state.authorised_since.is_none() && state.standing.state == State::Ready {
        state.standing.state = State::NeedsConsent;
        state.standing.reason = Some(format!("mailbox {} has no grant yet", state.mailbox));
        state.standing.advice = Some(format!("authorise it with `outlink authorize {}`", state.mailbox));
    }
}

/// When what they need ends.
fn fill_endings(links: &mut Links, relay: &Relay) {
    for ending in relay.endings() {
        let Some(link) = links.links.iter_mut().find(|link| link.link == ending.link.as_str()) else { continue };
        let place = match (&ending.mailbox, ending.what) {
            (Some(name), "refresh token") => {
                let mailbox = link.mailboxes.iter_mut().find(|mailbox| mailbox.mailbox == name.as_str());
                mailbox.map(|mailbox| &mut mailbox.refresh_token_expires)
            }
            (_, "certificate") => Some(&mut link.certificate_expires),
            _ => None,
        };
        if let Some(place) = place {
            *place = Some(rfc3339(ending.at));
        }
    }
}
