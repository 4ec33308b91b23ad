//! Links with their mailboxes, as people and programs are told: how each is authorised, how it stands, what waits for it.

use super::{Hold, Refused, Tally, queue};
use crate::{
    config::{Link, Mailbox, Settings},
    mail::State,
    relay::Relay,
    tokens,
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
    /// Where the browser comes back to.
    pub redirect_url: Option<String>,
    /// Its mailboxes, by name.
    pub mailboxes: Vec<MailboxState>,
}

/// One mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxState {
    /// Its name.
    pub mailbox: String,
    /// Its address.
    pub address: String,
    /// Its SMTP server.
    pub server: String,
    /// The apps that send through it.
    pub apps: Vec<String>,
    /// How renewing its access token goes: ready, failing, needs-consent, needs-repair; none where it is not known yet.
    pub state: String,
    /// When its access token ends.
    pub access_token_until: Option<String>,
    /// Since when it has its grant.
    pub authorised_since: Option<String>,
    /// Who brought the grant.
    pub authorised_by: Option<String>,
    /// Who signed in.
    pub account: Option<String>,
    /// How the grant came here.
    pub origin: Option<String>,
    /// What is wrong with its token.
    pub reason: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
    /// Why it sends nothing.
    pub hold: Option<Hold>,
    /// Messages that go out when they are due.
    pub waiting: Tally,
    /// Messages that are held, or wait in a held mailbox.
    pub held: Tally,
    /// Messages that are not tried again.
    pub failed: Tally,
}

/// The links of these settings, where nothing was ever kept.
pub fn links_of(settings: &Settings) -> Links {
    let link = |link: &Link| LinkState {
        link: link.name.to_string(),
        provider: link.provider.to_string(),
        cloud: (link.provider == crate::provider::Provider::Microsoft).then(|| link.cloud.to_string()),
        tenant: link.tenant.clone(),
        grant: link.grant.to_string(),
        client_id: link.client_id.clone(),
        client_secret_expires: link.client_secret_expires.map(|date| date.to_string()),
        redirect_url: link.redirect_url.as_ref().map(ToString::to_string),
        mailboxes: settings.mailboxes.values().filter(|it| it.link == link.name).map(|it| mailbox(settings, it)).collect(),
    };
    Links { links: settings.links.values().map(|it| link(it)).collect() }
}

fn mailbox(settings: &Settings, mailbox: &Mailbox) -> MailboxState {
    let apps = settings.apps.values().filter(|app| app.mailbox == mailbox.name);
    MailboxState {
        mailbox: mailbox.name.to_string(),
        address: mailbox.address.to_string(),
        server: mailbox.server.to_string(),
        apps: apps.map(|app| app.name.to_string()).collect(),
        state: "none".to_owned(),
        access_token_until: None,
        authorised_since: None,
        authorised_by: None,
        account: None,
        origin: None,
        reason: None,
        advice: None,
        hold: None,
        waiting: Tally::default(),
        held: Tally::default(),
        failed: Tally::default(),
    }
}

/// The links of a relay, with how they stand.
pub async fn links(relay: &Relay) -> Result<Links, Refused> {
    let mut links = links_of(&relay.configured());
    let (grants, summary) = (relay.grants().await, queue::summary(relay).await?);
    let grants: BTreeMap<_, _> = grants.iter().map(|grant| (grant.mailbox.as_str(), grant)).collect();
    let kept: BTreeMap<_, _> = summary.mailboxes.iter().map(|kept| (kept.mailbox.as_str(), kept)).collect();
    for state in links.links.iter_mut().flat_map(|link| &mut link.mailboxes) {
        if let Some(grant) = grants.get(state.mailbox.as_str()) {
            fill(state, grant);
        }
        if let Some(kept) = kept.get(state.mailbox.as_str()) {
            state.hold.clone_from(&kept.hold);
            (state.waiting, state.held, state.failed) = (kept.waiting.clone(), kept.held.clone(), kept.failed.clone());
        }
    }
    Ok(links)
}

fn fill(state: &mut MailboxState, grant: &tokens::Status) {
    state.state = grant.state.map_or("none", State::word).to_owned();
    state.access_token_until.clone_from(&grant.access_token_until);
    state.authorised_since.clone_from(&grant.authorised_since);
    state.authorised_by.clone_from(&grant.authorised_by);
    state.account.clone_from(&grant.account);
    state.origin.clone_from(&grant.origin);
    state.reason.clone_from(&grant.reason);
    state.advice.clone_from(&grant.advice);
}
