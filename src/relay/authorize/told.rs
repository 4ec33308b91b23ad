//! What is told of a login: to commands and programs, in the words of JSON, and to people.

use super::{
    entry::Entry,
    redirect::{Listens, Redirect},
};
use crate::{
    config::{Link, Mailbox},
    mail::Name,
    oauth::device::Started,
    provider::Provider,
    tokens::Refusal,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Advice where only another login helps.
pub(super) const AGAIN: &str = "start the login again with `outlink authorize`";

/// Advice where somebody else answered.
pub(super) const MIXED_UP: &str =
    "start the login again; if this happens twice, compare authorization-endpoint and issuer of the link";

/// By which way a person signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A browser, which is sent back to us.
    Browser,
    /// A code that is entered on another device.
    Device,
}

impl Kind {
    /// The word in logs and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Device => "device",
        }
    }
}

/// The wish for a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// For which mailbox.
    pub mailbox: String,
    /// By which way; the link's own unless given.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// A loopback port on which the asker listens, for links without a redirect of their own.
    #[serde(default)]
    pub port: Option<u16>,
    /// Who asks.
    #[serde(default)]
    pub by: Option<String>,
}

/// A login that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// By what it is asked about.
    pub id: String,
    /// The mailbox.
    pub mailbox: String,
    /// Its link.
    pub link: String,
    /// The way.
    pub kind: Kind,
    /// Who is expected to sign in.
    pub account: String,
    /// The address to open, with a browser.
    pub url: Option<String>,
    /// Where the browser is sent back to.
    pub redirect_url: Option<String>,
    /// Who listens there.
    pub listens: Option<Listens>,
    /// The code to enter, with a device.
    pub user_code: Option<String>,
    /// Where to enter it.
    pub verification_uri: Option<String>,
    /// The same with the code in it, where there is one.
    pub verification_uri_complete: Option<String>,
    /// What has to be registered at the provider, and other things that somebody should know before.
    pub note: Option<String>,
    /// When it ends.
    pub expires: DateTime<Utc>,
}

/// How a login stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Progress {
    /// It waits for the person.
    Pending,
    /// The answer came and is being tried.
    Working,
    /// There is a new grant.
    Done {
        /// Who signed in, where the provider tells it.
        account: Option<String>,
        /// Whether it took the place of another grant.
        replaced: bool,
        /// When the access token ends that came with it.
        access_token_until: DateTime<Utc>,
        /// When the grant ends, where the provider tells it.
        refresh_until: Option<DateTime<Utc>>,
        /// Whether the provider's mail server took it.
        login: Login,
    },
    /// There is none.
    Failed {
        /// In one word.
        why: Why,
        /// What happened.
        reason: String,
        /// The next step.
        advice: String,
        /// Whether the mailbox still has the grant from before, which works.
        kept: bool,
    },
}

/// What the provider's mail server said to the new grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Login {
    /// It let the mailbox in.
    Accepted,
    /// It did not, or could not be asked.
    Failed {
        /// What happened.
        reason: String,
        /// The next step.
        advice: String,
    },
}

/// Why there is no new grant, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The provider, its mail server, or what it gave.
    Refused,
    /// Nobody finished it in time.
    Expired,
    /// Whoever began it gave it up.
    Cancelled,
    /// A newer login of the same mailbox took its place.
    Replaced,
    /// outlink stops.
    Stopping,
    /// Its answer came before; what comes again, or from somebody else, counts no more.
    Answered,
}

impl Progress {
    /// Whether nothing more comes.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. })
    }

    pub(super) fn refused(Refusal { reason, advice }: Refusal) -> Self {
        Self::Failed { why: Why::Refused, reason, advice: advice.text, kept: false }
    }

    /// What a second answer to a login hears.
    pub(super) fn answered(Refusal { reason, advice }: Refusal) -> Self {
        Self::Failed { why: Why::Answered, reason, advice: advice.text, kept: false }
    }
}

fn failed(why: Why, reason: impl Into<String>, advice: impl Into<String>) -> Progress {
    Progress::Failed { why, reason: reason.into(), advice: advice.into(), kept: false }
}

pub(super) fn expired(mailbox: &Name) -> Progress {
    failed(Why::Expired, "nobody finished the login in time", format!("start it again with `outlink authorize {mailbox}`"))
}

pub(super) fn cancelled() -> Progress {
    failed(Why::Cancelled, "the login was given up", AGAIN)
}

pub(super) fn stopping() -> Progress {
    failed(Why::Stopping, "outlink stops, and the login ends with it", "start the login again when it runs")
}

pub(super) fn replaced(mailbox: &Name, by: Option<&str>) -> Progress {
    let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
    failed(Why::Replaced, format!("a newer login for mailbox {mailbox} was begun{by}"), "finish that one")
}

pub(super) fn refusal(reason: impl Into<String>, advice: impl Into<String>) -> Refusal {
    Refusal { reason: reason.into(), advice: advice.into().into() }
}

pub(super) fn unknown_mailbox(mailbox: &str) -> Refusal {
    refusal(format!("no mailbox is named {mailbox:?}"), "`outlink reload` makes a running outlink know a new one")
}

pub(super) fn unknown_login() -> Refusal {
    refusal("there is no such login: it ended long ago, or outlink was restarted", AGAIN)
}

pub(super) fn unknown_state() -> Refusal {
    refusal(
        "this answer belongs to no login that waits here: it came too late, is of another machine, or outlink was restarted",
        AGAIN,
    )
}

pub(super) fn other_state() -> Refusal {
    let reason = "this answer belongs to another login: its state is not the one that this login began with";
    refusal(reason, "open the address of this login, and paste what the browser shows after that")
}

/// Of an answer to a login that was answered or ended before; `progress` is how it stands.
pub(super) fn used(progress: &Progress) -> Refusal {
    let once = "this login was answered already, or is over; an answer works once";
    match progress {
        Progress::Done { .. } => refusal(format!("{once}. It authorised the mailbox"), "nothing is left to do here"),
        Progress::Working => refusal(format!("{once}. What came first is being tried"), "look how that ends"),
        Progress::Pending | Progress::Failed { .. } => refusal(once, AGAIN),
    }
}

pub(super) fn no_device_at_google() -> Refusal {
    let advice = "leave out --device: the address can be opened on any machine, and what the browser shows then be pasted";
    refusal("Google gives no permission for mail to a device code", advice)
}

impl Begun {
    fn new(entry: &Entry, (mailbox, link): (&Mailbox, &Link), kind: Kind) -> Self {
        Self {
            id: entry.id.clone(),
            mailbox: mailbox.name.to_string(),
            link: link.name.to_string(),
            kind,
            account: mailbox.account.as_ref().unwrap_or(&mailbox.address).as_str().to_owned(),
            url: None,
            redirect_url: None,
            listens: None,
            user_code: None,
            verification_uri: None,
            verification_uri_complete: None,
            note: None,
            expires: entry.expires.into(),
        }
    }

    pub(super) fn browser(entry: &Entry, about: (&Mailbox, &Link), url: &str, redirect: Redirect) -> Self {
        Self {
            url: Some(url.to_owned()),
            redirect_url: Some(redirect.text),
            listens: Some(redirect.listens),
            note: Some(redirect.register),
            ..Self::new(entry, about, Kind::Browser)
        }
    }

    pub(super) fn device(entry: &Entry, about: (&Mailbox, &Link), started: &Started) -> Self {
        let blocked =
            "many organisations block device codes by Conditional Access, later renewals too; a browser is the safer way";
        Self {
            user_code: Some(started.user_code.clone()),
            verification_uri: Some(started.verification_uri.clone()),
            verification_uri_complete: started.complete_uri.clone(),
            note: (about.1.provider == Provider::Microsoft).then(|| blocked.to_owned()),
            ..Self::new(entry, about, Kind::Device)
        }
    }
}
