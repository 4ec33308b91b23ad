//! What ends one day, and when: refresh tokens, client secrets, certificates.

use chrono::{DateTime, Utc};
use std::{
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::sync::watch;

use super::{Route, Tokens, dates, status::rfc3339};
use crate::{
    config::{Link, Proof},
    mail::{Advice, Name},
    oauth::{
        Certificate, Health,
        forecast::{self, DAY, Forecast, Known, Warning, Why},
    },
    provider::{self, Grant, Provider, own},
    store::{self, Granted},
};

/// The longest life of a refresh token of a single-page application, and what clocks may differ.
const SINGLE_PAGE: Duration = Duration::from_secs(25 * 3600);

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The link whose client needs it; for a refresh token the mailbox's.
    pub link: Name,
    /// The mailbox whose grant it is; `None`: every mailbox of the link needs it.
    pub mailbox: Option<Name>,
    /// What: `refresh token`, `client secret`, `certificate`.
    pub what: &'static str,
    /// When it begins to count, where that is still to come.
    pub from: Option<SystemTime>,
    /// When it ends.
    pub at: SystemTime,
    /// Why then, in words.
    pub reason: String,
    /// What to do before.
    pub advice: Advice,
}

impl Ending {
    /// The days that remain, the one that has begun counted; 0 when it is over.
    pub fn days_left(&self, now: SystemTime) -> u64 {
        forecast::days_left(self.at, now)
    }

    /// Which warning is due. Each is given once for an `at`; of several the last.
    pub fn warning(&self, now: SystemTime) -> Option<Warning> {
        match self.from {
            Some(from) if now < from => Some(Warning::NotYet),
            Some(_) | None => forecast::warning(self.at, now),
        }
    }
}

/// What is asked of one mailbox.
struct Holder {
    mailbox: Name,
    link: Arc<Link>,
    /// Whether renewals work, as far as is known.
    works: bool,
    /// Whether only a new consent helps.
    stopped: bool,
}

impl Tokens {
    /// What ends, as far as it is known, whether soon or not. What each renewal moves is none while renewals work.
    pub async fn endings(&self) -> Vec<Ending> {
        let now = self.world.now();
        let (links, holders) = self.who_has_what();
        let certificates = dates::certificates(&links, &self.world).await;
        let mut endings = Vec::new();
        for link in &links {
            endings.extend(secret(link, now));
            endings.extend(certificates.get(&link.name).map(|found| certificate(link, found, now)));
        }
        let grants = self.granted().await;
        for holder in &holders {
            let found = grants.binary_search_by(|grant| grant.mailbox.as_str().cmp(holder.mailbox.as_str()));
            endings.extend(found.ok().and_then(|at| refresh_token(holder, &grants[at], now)));
        }
        endings
    }

    /// Tells that a status or an ending may be another.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.world.changed.subscribe()
    }

    fn who_has_what(&self) -> (Vec<Arc<Link>>, Vec<Holder>) {
        let board = self.board();
        let holder = |(mailbox, entry): (&Name, &super::Entry)| {
            let link = board.links.get(&entry.link)?.clone();
            let health = match &entry.route {
                Route::Source(source) => source.look().0,
                Route::Repair { .. } => return Some(Holder { mailbox: mailbox.clone(), link, works: false, stopped: false }),
            };
            let (works, stopped) = (health == Health::Well, matches!(health, Health::Stopped { .. }));
            Some(Holder { mailbox: mailbox.clone(), link, works, stopped })
        };
        let with_consent = |holder: &Holder| matches!(holder.link.grant, Grant::AuthorizationCode | Grant::DeviceCode);
        (board.links.values().cloned().collect(), board.mailboxes.iter().filter_map(holder).filter(with_consent).collect())
    }

    /// What the store knows of the grants; while it cannot be asked, what it knew last.
    pub(super) async fn granted(&self) -> Arc<[Granted]> {
        let read = self.world.store.granted().await;
        let mut last = self.world.granted.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(grants) => *last = grants.into(),
            Err(error) => tracing::warn!(event = "grants.unknown", "what is known of the grants may be outdated: {error}"),
        }
        last.clone()
    }
}

pub(super) fn known_of(grant: &store::Grant) -> Known {
    Known {
        obtained: grant.obtained_at,
        renewed: grant.last_renewed_at,
        told: grant.refresh_until,
        moves: grant.refresh_moves,
        lasted: grant.lasted,
    }
}

fn known(grant: &Granted) -> Known {
    Known {
        obtained: grant.obtained_at,
        renewed: grant.last_renewed_at,
        told: grant.refresh_until,
        moves: grant.refresh_moves,
        lasted: grant.lasted,
    }
}

fn day(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%Y-%m-%d").to_string()
}

/// `ends` or `ended`.
fn ends(at: SystemTime, now: SystemTime) -> &'static str {
    if at <= now { "ended" } else { "ends" }
}

pub(super) fn days(life: Duration) -> u64 {
    life.as_secs() / DAY.as_secs()
}

/// The secret ends with its last day: in UTC, since nobody knows the console's time.
fn secret(link: &Link, now: SystemTime) -> Option<Ending> {
    let last = link.client_secret_expires.filter(|_| matches!(link.proof, Proof::Secret { .. }))?;
    let at: SystemTime = last.succ_opt()?.and_time(chrono::NaiveTime::MIN).and_utc().into();
    let ends = ends(at, now);
    let link = &link.name;
    Some(Ending {
        link: link.clone(),
        mailbox: None,
        what: "client secret",
        from: None,
        at,
        reason: format!("the client secret of link {link} {ends} with {last}, as client-secret-expires says"),
        advice: own::SECRET_ENDS.step_of(&[("link", link.as_str())]),
    })
}

fn certificate(link: &Link, found: &Certificate, now: SystemTime) -> Ending {
    let from = Some(found.not_before).filter(|from| now < *from);
    let (name, thumbprint) = (&link.name, &found.shown_thumbprint);
    let what = match from {
        Some(from) => format!("begins to count at {}", rfc3339(from)),
        None => format!("{} at {}", ends(found.not_after, now), rfc3339(found.not_after)),
    };
    let advice = if from.is_some() { &own::CERTIFICATE_NOT_YET } else { &own::CERTIFICATE_ENDS };
    Ending {
        link: name.clone(),
        mailbox: None,
        what: "certificate",
        from,
        at: found.not_after,
        reason: format!("the certificate of link {name} (thumbprint {thumbprint}) {what}"),
        advice: advice.step_of(&[("link", name.as_str())]),
    }
}

fn refresh_token(Holder { mailbox, link, works, stopped }: &Holder, grant: &Granted, now: SystemTime) -> Option<Ending> {
    let (known, facts) = (known(grant), provider::refresh_tokens(link.provider));
    let forecast = known.forecast(&facts)?;
    // One that has ended before its time is told of as such.
    if known.is_kept_off(&forecast, *works, now) || *stopped && now < forecast.at {
        return None;
    }
    let names = [("mailbox", mailbox.as_str()), ("link", link.name.as_str()), ("client-id", link.client_id.as_str())];
    let life = forecast.at.duration_since(known.obtained).unwrap_or_default();
    let spa =
        provider::advice_named("microsoft-spa-redirect").filter(|_| link.provider == Provider::Microsoft && life <= SINGLE_PAGE);
    let advice = match (forecast.why, spa) {
        (Why::Told, Some(spa)) => spa.step_of(&names),
        (Why::Told, None) => own::REFRESH_TOKEN_ENDS.step_of(&names),
        (Why::Testing(_), _) => own::TESTING_CONSENT.step_of(&names),
        (Why::Moves | Why::Unused(_), _) => own::REFRESH_TOKEN_UNUSED.step_of(&names),
    };
    let at = format!("{} at {}", ends(forecast.at, now), rfc3339(forecast.at));
    Some(Ending {
        link: link.name.clone(),
        mailbox: Some(mailbox.clone()),
        what: "refresh token",
        from: None,
        at: forecast.at,
        reason: format!("the refresh token of mailbox {mailbox} {at}: {}", why(&known, &forecast)),
        advice,
    })
}

/// When the refresh token of `grant` is expected to end, and why then.
pub(super) fn expected(grant: &Granted, provider: Provider) -> Option<(SystemTime, String)> {
    let known = known(grant);
    let forecast = known.forecast(&provider::refresh_tokens(provider))?;
    Some((forecast.at, why(&known, &forecast)))
}

fn why(known: &Known, forecast: &Forecast) -> String {
    let used = day(known.renewed.unwrap_or(known.obtained));
    match forecast.why {
        Why::Told => "the provider told so, and no renewal moves it".to_owned(),
        Why::Moves => format!("the provider told so; it was last used on {used}, and a renewal moves it"),
        Why::Unused(life) => format!("{} days after its last use, on {used}; each renewal moves it", days(life)),
        Why::Testing(life) if known.told.is_some() => {
            format!("{} days after the consent, because Google's consent screen is in Testing", days(life))
        }
        Why::Testing(life) => {
            format!("the consent before it lasted exactly {} days, because Google's consent screen is in Testing", days(life))
        }
    }
}
