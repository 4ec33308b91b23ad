//! One renewal, from the files that prove the client to the landed token.
//!
//! The order matters: a rotated refresh token is durable before the access token that came with it lands. Should the store fail
//! just then, both wait in memory, and the next attempt begins with saving them instead of spending another refresh token.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    World, client_of,
    ending::{days, known_of},
    exchange::{self, exchange},
    proof::{self, Shown},
    same_tokens,
    source::{Context, Key, Source, Unsaved},
    status::rfc3339,
    was_given_to,
};
use crate::{
    config::{Evidence, Link},
    mail::Name,
    oauth::{
        self, Failure, Fault, Flight, Granted, Kind, Landing, Token, Trouble, What,
        forecast::{Known, Why},
    },
    provider::{self, AdviceEntry, NetworkFault, OAuthFault, OAuthOutcome, Provider, own},
    secret::Secret,
    store::{self, Began, Grant, Replaced, Touch, Version},
    tls::HTTP_WAIT,
};

/// The life of a token whose server does not tell it: half of what is usual, since one that ends earlier is refused upstream and
/// then renewed, at the cost of a failed login.
const ASSUMED_LIFE: Duration = Duration::from_secs(1800);

/// How long a renewal may keep others from renewing the same grant: longer than the longest wait for an answer, with time to keep it.
const LEASE: Duration = HTTP_WAIT.saturating_add(Duration::from_secs(30));

/// Makes a new access token and lands it, whatever happens.
pub(super) async fn fly(source: Arc<Source>, world: Arc<World>, flight: Flight) {
    let begun = Instant::now();
    let mut landing = Approach { source: &source, world: &world, flight: Some(flight), begun };
    let result = renew(&source, &world).await;
    landing.land(result);
}

/// A flight that lands even when the renewal is torn down.
struct Approach<'a> {
    source: &'a Source,
    world: &'a World,
    flight: Option<Flight>,
    begun: Instant,
}

impl Approach<'_> {
    fn land(&mut self, result: Result<Token, Trouble>) {
        let Some(flight) = self.flight.take() else { return };
        let trouble = result.as_ref().err().cloned();
        let until = result.as_ref().ok().map(|token| rfc3339(token.expires));
        let landing = self.source.land(flight, result, self.world.now());
        self.log(landing, until, trouble);
        self.world.tell();
    }

    fn log(&self, landing: Landing, until: Option<String>, trouble: Option<Trouble>) {
        let ms = self.begun.elapsed().as_millis() as u64;
        let link = self.source.link();
        let mailbox = match &self.source.key {
            Key::Mailbox(mailbox) => Some(tracing::field::display(mailbox)),
            Key::Link(_) => None,
        };
        // Trouble made by the landing itself (an access token without life) is found there.
        let trouble = trouble.or_else(|| self.source.look().0.trouble().cloned());
        let text = trouble.map_or(String::new(), |trouble| format!("{}; {}", trouble.reason, trouble.advice));
        match landing {
            Landing::Renewed => {
                let until = until.unwrap_or_default();
                tracing::info!(event = "token.renewed", mailbox, link = %link, ms, "access token good until {until}");
            }
            Landing::Failed { news: true, next } => {
                let next = next.map_or("not before the grant is another".into(), rfc3339);
                tracing::warn!(event = "token.failed", mailbox, link = %link, ms, next, "no new access token: {text}");
            }
            // The same trouble again is no news; how often it was tried still shows at this level.
            Landing::Failed { news: false, next } => {
                let next = next.map(rfc3339);
                tracing::debug!(event = "token.failed", mailbox, link = %link, ms, next, "still no new access token: {text}");
            }
            Landing::Outdated => {
                tracing::debug!(event = "token.outdated", mailbox, link = %link, ms, "settings or grant changed during a renewal");
            }
        }
    }
}

impl Drop for Approach<'_> {
    fn drop(&mut self) {
        self.land(Err(transient("the renewal was interrupted".into())));
    }
}

pub(super) fn transient(reason: String) -> Trouble {
    Trouble { kind: Kind::Transient, reason, advice: own::BY_ITSELF.step_of(&[]), retry_after: None }
}

fn kept_badly(error: store::Error) -> Trouble {
    transient(error.to_string())
}

async fn renew(source: &Source, world: &World) -> Result<Token, Trouble> {
    let context = source.context();
    let evidence = proof::read(&context.link, world).await;
    source.remember_evidence(evidence.as_ref().ok().cloned());
    match &source.key {
        Key::Link(_) => {
            let renewal = Renewal { source, world, context: &context, evidence: evidence? };
            Ok(renewal.ask(What::ClientCredentials).await?.0)
        }
        Key::Mailbox(_) if context.link.grant == provider::Grant::ServiceAccount => {
            let renewal = Renewal { source, world, context: &context, evidence: evidence? };
            let assertion = proof::service_account(&renewal.evidence, &context, world.now())?;
            Ok(renewal.ask(What::JwtBearer(&assertion)).await?.0)
        }
        Key::Mailbox(mailbox) => {
            // What is unsaved comes first: it needs no secret.
            if let Some(unsaved) = source.take_unsaved() {
                let serves = same_tokens(&unsaved.context, &context);
                if let Some(token) = save(source, world, mailbox, unsaved).await?
                    && serves
                {
                    return Ok(token);
                }
            }
            Renewal { source, world, context: &context, evidence: evidence? }.refresh(mailbox).await
        }
    }
}

/// The last try to keep what the store did not take.
pub(super) async fn save_unsaved(source: &Source, world: &World) {
    if let Key::Mailbox(mailbox) = &source.key
        && let Some(unsaved) = source.take_unsaved()
        && let Err(trouble) = save(source, world, mailbox, unsaved).await
    {
        let advice = own::GRANT_LOST.step_of(&[("mailbox", mailbox.as_str())]);
        tracing::error!(event = "grant.lost", mailbox = %mailbox, reason = trouble.reason, advice = advice.text, advice_name = advice.name(),
            "a refresh token that the provider gave in place of another could not be kept");
    }
}

/// Makes a rotated refresh token durable; only then gives the access token out. `None`: the mailbox has another grant by now.
async fn save(source: &Source, world: &World, mailbox: &Name, unsaved: Unsaved) -> Result<Option<Token>, Trouble> {
    let Unsaved { expected, refresh_token, token, .. } = &unsaved;
    match world.store.replace_refresh_token(mailbox, *expected, refresh_token, world.now()).await {
        Ok(Replaced::Done(version)) => {
            source.remember_tried(Some(version));
            Ok(Some(token.clone()))
        }
        Ok(Replaced::Late) => {
            tracing::warn!(event = "grant.late", mailbox = %mailbox, "another process renewed the grant too; both tokens are kept");
            Ok(Some(token.clone()))
        }
        Ok(Replaced::Superseded) => Ok(None),
        Err(error) => {
            source.keep_unsaved(unsaved);
            Err(kept_badly(error))
        }
    }
}

/// The right to renew a grant, for a while.
struct Lease {
    until: SystemTime,
    /// When an earlier renewal began whose answer nobody kept.
    interrupted: Option<SystemTime>,
}

impl Lease {
    /// Names the likely cause of a refused grant that the provider cannot know.
    fn explain(&self, mut trouble: Trouble) -> Trouble {
        if let (Kind::Consent, Some(at)) = (trouble.kind, self.interrupted) {
            trouble.reason = format!(
                "{}; a process of outlink ended during a renewal at {}: a one-time refresh token that the provider gave then is lost",
                trouble.reason,
                rfc3339(at)
            );
        }
        trouble
    }
}

/// What one renewal works with.
pub(super) struct Renewal<'a> {
    pub(super) source: &'a Source,
    pub(super) world: &'a World,
    pub(super) context: &'a Context,
    pub(super) evidence: Evidence,
}

impl Renewal<'_> {
    /// Renews with the stored refresh token. When that is refused or replaced meanwhile, the store is read again, and another
    /// token found there is tried: once, since servers lock accounts that repeat an `invalid_grant`.
    async fn refresh(&self, mailbox: &Name) -> Result<Token, Trouble> {
        let mut grant = self.stored(mailbox).await?;
        for first in [true, false] {
            self.source.remember_tried(Some(grant.version));
            let Some(lease) = self.begin(mailbox, grant.version).await? else {
                grant = self.stored(mailbox).await?;
                continue;
            };
            match self.ask(What::Refresh(&grant.refresh_token)).await {
                Ok(answer) => match self.keep(mailbox, (&grant, &lease), answer).await? {
                    Some(token) => return Ok(token),
                    None if first => grant = self.stored(mailbox).await?,
                    None => return Err(transient("the grant was replaced twice during one renewal".into())),
                },
                Err(trouble) => {
                    self.end(mailbox, &lease).await;
                    let stored = match first && trouble.kind == Kind::Consent {
                        true => Some(self.stored(mailbox).await?).filter(|stored| stored.refresh_token != grant.refresh_token),
                        false => None,
                    };
                    grant = match stored {
                        Some(stored) => stored,
                        None => return Err(self.explain(mailbox, &grant, lease.explain(trouble)).await),
                    };
                }
            }
        }
        Err(transient("the grant changed during the renewal".into()))
    }

    /// Adds what is known here of why the provider ended `grant`.
    async fn explain(&self, mailbox: &Name, grant: &Grant, mut trouble: Trouble) -> Trouble {
        let (known, link) = (known_of(grant), &self.context.link);
        let Some(why) =
            known.outlived(&provider::refresh_tokens(link.provider), self.world.now()).filter(|_| trouble.kind == Kind::Consent)
        else {
            return trouble;
        };
        let used = rfc3339(known.renewed.unwrap_or(known.obtained));
        let more = match why {
            Why::Testing(life) => {
                let names = [("mailbox", mailbox.as_str()), ("link", link.name.as_str())];
                trouble.advice = own::TESTING_CONSENT.step_of(&names);
                if let Err(error) = self.world.store.note_life(mailbox, grant.version.consent, life).await {
                    tracing::warn!(event = "grant.untouched", mailbox = %mailbox, "cannot note how long the grant lasted: {error}");
                }
                format!("the consent lasted exactly {} days: the consent screen is in Testing", days(life))
            }
            Why::Unused(life) => format!("it was last used at {used}, and one that is not used for {} days ends", days(life)),
            Why::Told => "the provider had told that it ends then".to_owned(),
            Why::Moves => format!("it was last used at {used}, too long ago"),
        };
        trouble.reason = format!("{}; {more}", trouble.reason);
        trouble
    }

    /// Takes the lease. `None`: the mailbox has another refresh token by now.
    async fn begin(&self, mailbox: &Name, version: Version) -> Result<Option<Lease>, Trouble> {
        let now = self.world.now();
        let until = now + LEASE;
        match self.world.store.begin_renewal(mailbox, version, until, now).await.map_err(kept_badly)? {
            Began::Go { interrupted } => Ok(Some(Lease { until, interrupted })),
            Began::Changed => Ok(None),
            Began::Busy { until } => {
                let reason =
                    format!("another process renews the grant of mailbox {mailbox}, until {} at the latest", rfc3339(until));
                Err(transient(reason))
            }
        }
    }

    /// Gives the lease back after an answer that left nothing to keep.
    async fn end(&self, mailbox: &Name, lease: &Lease) {
        if let Err(error) = self.world.store.end_renewal(mailbox, lease.until).await {
            tracing::warn!(event = "grant.untouched", mailbox = %mailbox, "the next renewal has to wait a minute: {error}");
        }
    }

    /// The stored grant, if it is for the link of this renewal.
    async fn stored(&self, mailbox: &Name) -> Result<Grant, Trouble> {
        let stored = self.world.store.grant(mailbox).await;
        // Looked at after the reading: what was brought in for another link must not be shown to the server of this one.
        if !same_tokens(&self.source.context(), self.context) {
            return Err(transient(format!("the link of mailbox {mailbox} was changed during the renewal")));
        }
        let tried = stored.as_ref().ok().and_then(|grant| grant.as_ref().map(|grant| grant.version));
        let (advice, reason) = match stored {
            Ok(Some(grant)) if was_given_to(&grant, &self.context.link) => return Ok(grant),
            // Another server must not see it, and another client of the same one may cost it.
            Ok(Some(grant)) => {
                let (client, now) = (grant.client.unwrap_or_default(), client_of(&self.context.link));
                let link = &self.context.link.name;
                (
                    &own::OTHER_CLIENT,
                    format!("the grant of mailbox {mailbox} was given to client {client}, and link {link} is {now} now"),
                )
            }
            Ok(None) => (&own::NO_GRANT_YET, format!("mailbox {mailbox} has no grant yet")),
            Err(error @ store::Error::Unsealed { .. }) => (&own::GRANT_SEALED, error.to_string()),
            Err(error) => return Err(kept_badly(error)),
        };
        self.source.remember_tried(tried);
        let advice = advice.step_of(&[("mailbox", mailbox.as_str())]);
        Err(Trouble { kind: Kind::Consent, reason, advice, retry_after: None })
    }

    /// Keeps what came with the access token. `None`: the mailbox has another grant by now.
    async fn keep(
        &self,
        mailbox: &Name,
        (grant, lease): (&Grant, &Lease),
        (token, granted): (Token, Granted),
    ) -> Result<Option<Token>, Trouble> {
        let Version { consent, .. } = grant.version;
        let now = self.world.now();
        let mut known = known_of(grant);
        let told = granted.refresh_lifetime.and_then(|life| token.obtained.checked_add(life));
        let refresh = told.map(|told| known.told_again(told, now));
        if let Some((told, moves)) = refresh {
            (known.told, known.moves) = (Some(told), moves);
        }
        crate::crash::point("token-answered");
        let token = match granted.refresh_token.filter(|new| *new != grant.refresh_token) {
            Some(refresh_token) => {
                let context = self.context.clone();
                let unsaved = Unsaved { expected: grant.version, refresh_token, token, context };
                save(self.source, self.world, mailbox, unsaved).await?
            }
            None => Some(token),
        };
        crate::crash::point("token-kept");
        if token.is_some() {
            self.source.note_known(Known { renewed: Some(now), ..known });
            let told = Touch { scopes: granted.scopes, refresh };
            if let Err(error) = self.world.store.touch(mailbox, (consent, Some(lease.until)), told, now).await {
                // Only the first renewal after a restart, and what is told of its end, go by it.
                tracing::warn!(event = "grant.untouched", mailbox = %mailbox, "cannot note when the grant was renewed: {error}");
            }
        }
        Ok(token)
    }

    /// One request to the token endpoint.
    pub(super) async fn ask(&self, what: What<'_>) -> Result<(Token, Granted), Trouble> {
        let shown = Shown::of(&self.evidence, &self.context.link, self.world.now())?;
        let answer = self.send(what, &shown).await;
        answer.map_err(|failure| self.trouble(failure, what, (&shown, &self.source.endpoint())))
    }

    /// The same with the failure as it came.
    pub(super) async fn send(&self, what: What<'_>, shown: &Shown) -> Result<(Token, Granted), Failure<exchange::Error>> {
        let link = &self.context.link;
        // The life counts from here: an answer that took long has less of it left.
        let obtained = self.world.now();
        let request = oauth::Request {
            endpoint: &link.token_endpoint,
            client_id: &link.client_id,
            authentication: shown.authentication(),
            scopes: scopes(link, what),
            what,
            parameters: parameters(link, what),
        };
        let http = self.context.http.clone();
        let granted = request.send(move |request| exchange(http.clone(), request), obtained).await?;
        let expires = obtained + granted.lifetime.unwrap_or(ASSUMED_LIFE);
        Ok((Token { secret: granted.access_token.clone(), obtained, expires, stamp: 0 }, granted))
    }

    /// What a failure of the endpoint `at` means.
    pub(super) fn trouble(&self, failure: Failure<exchange::Error>, what: What<'_>, (shown, at): (&Shown, &str)) -> Trouble {
        match failure {
            Failure::Refused(mut fault) => {
                let secrets: Vec<&Secret> = shown.secret().into_iter().chain(what.secrets()).collect();
                fault.scrub(&secrets);
                let signed = proof::signed_with(&self.evidence);
                self.judge(&fault, format!("{at} answered {fault}{signed}"), what)
            }
            Failure::Exchange(error) => self.on_the_way(error.fault(), format!("{at} {error}")),
            failure @ Failure::Unreadable { .. } => self.on_the_way(Some(NetworkFault::NotAnEndpoint), format!("{at} {failure}")),
        }
    }

    /// Trouble that time mends, or whoever sees to the network.
    fn on_the_way(&self, fault: Option<NetworkFault>, reason: String) -> Trouble {
        let names = [("mailbox", self.context.mailbox.as_str()), ("link", self.context.link.name.as_str())];
        let advice = fault.map_or(&own::BY_ITSELF, NetworkFault::advice).step_of(&names);
        Trouble { advice, ..transient(reason) }
    }

    pub(super) fn judge(&self, fault: &Fault, reason: String, what: What<'_>) -> Trouble {
        let link = &self.context.link;
        let verdict = provider::classify_oauth(
            link.provider,
            &OAuthFault {
                status: fault.status,
                error: fault.error.as_deref(),
                description: fault.description.as_deref(),
                subtype: fault.subtype.as_deref(),
                codes: &fault.codes,
            },
        );
        let (kind, advice) = match (verdict.outcome, what) {
            (OAuthOutcome::Transient, _) => (Kind::Transient, verdict.advice),
            (OAuthOutcome::NeedsConsent, What::Refresh(_) | What::Code { .. } | What::DeviceCode(_)) => {
                (Kind::Consent, verdict.advice)
            }
            // What acts for itself has no person's consent to lose, and advice about one would mislead.
            (OAuthOutcome::NeedsConsent, What::ClientCredentials | What::JwtBearer(_)) => (Kind::Administrator, None),
            (OAuthOutcome::NeedsAdministrator, _) => (Kind::Administrator, verdict.advice),
            (OAuthOutcome::NeedsConfiguration, _) => (Kind::Configuration, verdict.advice),
        };
        let mailbox = self.context.mailbox.as_str();
        let [entra, exchange] = provider::cloud_names(link.cloud);
        let names = [
            ("mailbox", mailbox),
            ("address", self.context.account.as_str()),
            ("link", link.name.as_str()),
            ("client-id", &link.client_id),
            ("tenant", link.tenant.as_deref().unwrap_or("common")),
            entra,
            exchange,
        ];
        let advice = advice.map_or_else(|| plain_advice(kind).step_of(&names), |advice| advice.advise(&names));
        Trouble { kind, reason, advice, retry_after: fault.retry_after }
    }
}

/// Advice where the provider's tables have none.
fn plain_advice(kind: Kind) -> &'static AdviceEntry {
    match kind {
        Kind::Transient => &own::BY_ITSELF,
        Kind::Consent => &own::CONSENT_NEEDED,
        Kind::Administrator => &own::CLIENT_AT_PROVIDER,
        Kind::Configuration => &own::LINK_REFUSED,
    }
}

/// A renewal names its scopes to Microsoft alone: there one refresh token may serve several resources, and the scopes choose. All
/// others give what was consented when none are named (RFC 6749 §6), and refuse what was not.
fn scopes<'a>(link: &'a Link, what: What<'_>) -> &'a [String] {
    match (what, link.provider) {
        (What::ClientCredentials, _) | (What::Refresh(_), Provider::Microsoft) => &link.scopes,
        (What::Refresh(_), Provider::Google | Provider::Custom) => &[],
        // They were named when the login began.
        (What::Code { .. } | What::DeviceCode(_), _) => &[],
        // They stand in the assertion.
        (What::JwtBearer(_), _) => &[],
    }
}

/// What begins a grant is asked with the link's parameters; a refresh token goes on with what was begun.
fn parameters<'a>(link: &'a Link, what: What<'_>) -> &'a BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    match what {
        What::ClientCredentials | What::JwtBearer(_) => &link.parameters,
        What::Refresh(_) | What::Code { .. } | What::DeviceCode(_) => &NONE,
    }
}
