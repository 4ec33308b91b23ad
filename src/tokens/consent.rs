//! A person's consent: from the address of a login to a refresh token that is tried before it becomes the mailbox's.
//!
//! A [`Consent`] keeps the link as it was when the login began, since the code belongs to that client. What comes of it is a
//! [`Candidate`], and nothing is stored before [`Tokens::adopt`].

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use url::Url;

use super::{
    AccessToken, Route, Tokens, World, client_of,
    exchange::exchange,
    proof::{self, Shown},
    renewal::Renewal,
    same_tokens,
    source::{Context, Source},
    was_given_to,
};
use crate::{
    config::{Evidence, Link},
    mail::{Advice, Name},
    oauth::{
        self, Fault, Granted, Health, Kind, Token, Trouble, What,
        consent::{Issuer, Login, Opening},
        device::{self, Polling, Started},
        forecast::Known,
    },
    provider::{Grant, Provider},
    secret::Secret,
    store::{self, NewGrant, Touch},
};

/// Who answers at Google's authorization endpoint (its discovery document).
const GOOGLE: &str = "https://accounts.google.com";

/// Why a consent came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {advice}")]
pub struct Refusal {
    /// What was tried, on what, and what came of it; no secrets.
    pub reason: String,
    /// The next step.
    pub advice: Advice,
}

impl From<Trouble> for Refusal {
    fn from(Trouble { kind, reason, advice, .. }: Trouble) -> Self {
        // A login is not tried again by itself.
        let advice = if kind == Kind::Transient {
            Advice { text: "start the login again in some minutes".to_owned(), ..advice }
        } else {
            advice
        };
        Self { reason, advice }
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        Self { reason: error.to_string(), advice: "mend the state directory, then start the login again".into() }
    }
}

/// How a refresh token came here, as the store names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A browser.
    AuthorizationCode,
    /// Another device.
    DeviceCode,
}

impl Origin {
    /// The word in the store and in logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization-code",
            Self::DeviceCode => "device-code",
        }
    }
}

/// What a login brought; not yet the mailbox's.
#[derive(Debug)]
pub struct Candidate {
    /// What becomes the mailbox's grant.
    pub refresh_token: Secret,
    /// What shows whether it works.
    pub access: AccessToken,
    /// The scopes granted, where they were named.
    pub scopes: Option<Vec<String>>,
    /// Addresses of the account that signed in, where it is told.
    pub accounts: Vec<String>,
    /// When the refresh token ends, where the provider says.
    pub refresh_until: Option<SystemTime>,
    /// How it came.
    pub origin: Origin,
    token: Token,
    context: Context,
}

impl Candidate {
    /// Whether the account that signed in is one of those that may, as far as it is told.
    pub fn is_of(&self, expected: &[&str]) -> bool {
        self.accounts.is_empty() || self.named(expected).is_some()
    }

    /// Who signed in, where it is told: by the expected name if it is among several.
    pub fn account(&self, expected: &[&str]) -> Option<String> {
        self.named(expected).or(self.accounts.first()).cloned()
    }

    fn named(&self, expected: &[&str]) -> Option<&String> {
        self.accounts.iter().find(|account| expected.iter().any(|expected| expected.eq_ignore_ascii_case(account)))
    }
}

/// One login under way, with the link as it was when it began.
pub struct Consent {
    world: Arc<World>,
    source: Arc<Source>,
    context: Context,
}

impl std::fmt::Debug for Consent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consent").field("mailbox", &self.context.mailbox).finish_non_exhaustive()
    }
}

impl Tokens {
    /// The beginning of a login for `mailbox`.
    pub fn consent(&self, mailbox: &Name) -> Result<Consent, Refusal> {
        let board = self.board();
        let entry = board.mailboxes.get(mailbox).ok_or_else(|| Refusal {
            reason: format!("mailbox {mailbox} is not configured"),
            advice: format!("add [mailbox.{mailbox}], or name another; `outlink reload` makes a running outlink know it").into(),
        })?;
        let source = match (&entry.route, entry.grant) {
            (Route::Source(source), Some(Grant::AuthorizationCode | Grant::DeviceCode)) => source.clone(),
            (Route::Repair { reason, advice }, _) => return Err(Refusal { reason: reason.clone(), advice: advice.clone() }),
            (Route::Source(_), grant) => {
                let grant = grant.map_or_else(|| "unknown".to_owned(), |grant| grant.to_string());
                let (link, reason) = (&entry.link, format!("mailbox {mailbox} needs no login"));
                return Err(Refusal {
                    reason: format!("{reason}: its link {link} has grant = \"{grant}\""),
                    advice: format!("send through it; or write grant = \"authorization-code\" in [link.{link}]").into(),
                });
            }
        };
        let context = source.context();
        Ok(Consent { world: self.world.clone(), source, context })
    }

    /// Whether `mailbox` has a grant that a new one must not replace before it was tried.
    pub async fn has_working_grant(&self, mailbox: &Name) -> Result<bool, store::Error> {
        let (stopped, link) = match self.board().mailboxes.get(mailbox).map(|entry| &entry.route) {
            Some(Route::Source(source)) => (matches!(source.look().0, Health::Stopped { .. }), Some(source.context().link)),
            Some(Route::Repair { .. }) | None => (true, None),
        };
        match self.world.store.grant(mailbox).await {
            // One that was given to another client is worth nothing, either.
            Ok(grant) => Ok(!stopped && grant.is_some_and(|grant| link.is_none_or(|link| was_given_to(&grant, &link)))),
            // One that does not open is worth nothing.
            Err(store::Error::Unsealed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes `candidate` the grant of `mailbox`; durable when it returns. Its access token serves from now on.
    pub async fn adopt(&self, mailbox: &Name, candidate: Candidate, by: Option<String>) -> Result<(), Refusal> {
        let source = match self.board().mailboxes.get(mailbox).map(|entry| entry.route.clone()) {
            Some(Route::Source(source)) if same_tokens(&source.context(), &candidate.context) => source,
            _ => {
                return Err(Refusal {
                    reason: format!(
                        "mailbox {mailbox} or its link {} was changed while the login went on",
                        candidate.context.link.name
                    ),
                    advice: "start the login again".into(),
                });
            }
        };
        let account = candidate.account(&[source.context().account.as_str()]);
        let client = Some(client_of(&candidate.context.link));
        let Candidate { refresh_token, scopes, refresh_until, origin, token, .. } = candidate;
        let grant = NewGrant { refresh_token, client, origin: origin.word(), account, by, scopes, refresh_until };
        let now = self.world.now();
        let version = self.world.store.put_grant(mailbox, grant, now).await?;
        source.new_grant(Some((token, version)), now);
        let known = Known { obtained: now, renewed: Some(now), told: refresh_until, moves: None, lasted: None };
        source.note_known(known);
        if let Err(error) = self.world.store.touch(mailbox, (version.consent, None), Touch::default(), now).await {
            // Only the daily renewal after a restart reads it.
            tracing::warn!(event = "grant.untouched", %mailbox, "cannot note when the grant was renewed: {error}");
        }
        self.world.tell();
        Ok(())
    }
}

impl Consent {
    /// The link as it was when the login began.
    pub fn link(&self) -> &Link {
        &self.context.link
    }

    /// Who is expected to sign in.
    pub fn account(&self) -> &str {
        self.context.account.as_str()
    }

    /// Who must have answered the login.
    pub fn issuer(&self) -> Issuer {
        issuer(&self.context.link)
    }

    /// The address that a person opens to sign in.
    pub fn address(&self, opening: &Opening, redirect: &str) -> Result<Url, Refusal> {
        let link = self.link();
        let endpoint = link.authorization_endpoint.as_ref().ok_or_else(|| Refusal {
            reason: format!("link {} has no authorization-endpoint, where a person could sign in", link.name),
            advice: format!("add authorization-endpoint to [link.{}]; the provider's manual names it", link.name).into(),
        })?;
        let mut usual = usual_parameters(link);
        usual.push(("login_hint", self.context.account.as_str()));
        let login = Login {
            endpoint,
            client_id: &link.client_id,
            redirect,
            scopes: &link.scopes,
            usual: &usual,
            chosen: &link.parameters,
        };
        opening.address(&login).map_err(|error| Refusal {
            reason: format!("the redirect {redirect} is no URL: {error}"),
            advice: format!("correct redirect-url of [link.{}]", link.name).into(),
        })
    }

    /// Exchanges the code of a login for tokens. A code works once.
    pub async fn exchange(&self, code: &Secret, verifier: &Secret, redirect: &str) -> Result<Candidate, Refusal> {
        let (token, granted) = self.renewal().await?.ask(What::Code { code, redirect, verifier }).await?;
        self.candidate(token, granted, Origin::AuthorizationCode)
    }

    /// Asks for a code that a person enters on another device.
    pub async fn start_device(&self) -> Result<Started, Refusal> {
        let link = self.link();
        let Some(endpoint) = link.device_endpoint.as_ref().filter(|_| link.provider != Provider::Google) else {
            return Err(no_device_endpoint(link));
        };
        let (renewal, now) = (self.renewal().await?, self.world.now());
        let shown = Shown::of(&renewal.evidence, link, now)?;
        let what = What::ClientCredentials;
        let request = oauth::Request {
            endpoint,
            client_id: &link.client_id,
            authentication: shown.authentication(),
            scopes: &link.scopes,
            what,
            parameters: &link.parameters,
        };
        let http = self.context.http.clone();
        let started = device::start(&request, move |request| exchange(http.clone(), request), now).await;
        let at = format!("device endpoint {endpoint}");
        started.map_err(|failure| renewal.trouble(failure, what, (&shown, &at)).into())
    }

    /// Asks once whether the code was entered; `None`: ask again when `polling` says.
    pub async fn ask_device(&self, code: &Secret, polling: &mut Polling) -> Result<Option<Candidate>, Refusal> {
        let renewal = self.renewal().await?;
        let what = What::DeviceCode(code);
        let shown = Shown::of(&renewal.evidence, self.link(), self.world.now())?;
        let failure = match renewal.send(what, &shown).await {
            Ok((token, granted)) => return self.candidate(token, granted, Origin::DeviceCode).map(Some),
            Err(failure) => failure,
        };
        let now = self.world.now();
        let goes_on = match &failure {
            oauth::Failure::Refused(fault) => polling.refused(fault, now),
            oauth::Failure::Exchange(_) | oauth::Failure::Unreadable { .. } => {
                polling.failed(None, now);
                true
            }
        };
        let trouble = || renewal.trouble(failure, what, (&shown, &self.source.endpoint()));
        match goes_on {
            true => Ok(None),
            false => Err(trouble().into()),
        }
    }

    /// What the provider's refusal at the authorization endpoint means.
    pub fn refusal(&self, fault: &Fault) -> Refusal {
        let renewal = Renewal { source: &self.source, world: &self.world, context: &self.context, evidence: Evidence::None };
        // What it stands for is a person's consent, like a code.
        let code = Secret::new(String::new());
        renewal.judge(fault, format!("the provider answered the login with {fault}"), What::DeviceCode(&code)).into()
    }

    async fn renewal(&self) -> Result<Renewal<'_>, Trouble> {
        let evidence = proof::read(&self.context.link, &self.world).await?;
        Ok(Renewal { source: &self.source, world: &self.world, context: &self.context, evidence })
    }

    fn candidate(&self, token: Token, granted: Granted, origin: Origin) -> Result<Candidate, Refusal> {
        let Granted { refresh_token, refresh_lifetime, scopes, accounts, .. } = granted;
        let Some(refresh_token) = refresh_token else { return Err(no_refresh_token(self.link())) };
        let refresh_until = refresh_lifetime.and_then(|life: Duration| token.obtained.checked_add(life));
        let (access, context) = (token.clone().into(), self.context.clone());
        Ok(Candidate { refresh_token, access, scopes, accounts, refresh_until, origin, token, context })
    }
}

/// What the authorization request of this provider needs besides what RFC 6749 names.
fn usual_parameters(link: &Link) -> Vec<(&'static str, &str)> {
    match link.provider {
        // Without the first there is no refresh token, without the second none but at the first consent.
        Provider::Google => vec![("access_type", "offline"), ("prompt", "consent")],
        Provider::Microsoft => Vec::new(),
        // OpenID Connect Core §11: without it a server passes over offline_access.
        Provider::Custom if link.scopes.iter().any(|scope| scope == "offline_access") => vec![("prompt", "consent")],
        Provider::Custom => Vec::new(),
    }
}

fn issuer(link: &Link) -> Issuer {
    if let Some(issuer) = &link.issuer {
        return Issuer::Exact(issuer.clone());
    }
    let host = link.authorization_endpoint.as_ref().and_then(Url::host_str);
    match (link.provider, host) {
        (Provider::Google, Some("accounts.google.com")) => Issuer::Exact(GOOGLE.to_owned()),
        (Provider::Microsoft, Some(host)) => Issuer::Host(host.to_owned()),
        (Provider::Google | Provider::Microsoft | Provider::Custom, _) => Issuer::Unknown,
    }
}

fn no_device_endpoint(link: &Link) -> Refusal {
    let name = &link.name;
    match link.provider {
        Provider::Google => Refusal {
            reason: "Google gives no permission for mail to a device code".into(),
            advice: "leave out --device: the address can be opened on any machine, and what the browser shows then be pasted"
                .into(),
        },
        Provider::Microsoft | Provider::Custom => Refusal {
            reason: format!("link {name} has no device-endpoint, which gives out device codes"),
            advice: format!("add device-endpoint to [link.{name}], or leave out --device").into(),
        },
    }
}

fn no_refresh_token(link: &Link) -> Refusal {
    let name = &link.name;
    let advice = match link.provider {
        Provider::Google => format!(
            "remove the app's access at https://myaccount.google.com/permissions and start the login again; \
             access_type = \"offline\" and prompt = \"consent\" must not be replaced in [link.{name}.parameters]"
        ),
        Provider::Microsoft => format!("add \"offline_access\" to `scopes` of [link.{name}], and start the login again"),
        Provider::Custom => format!(
            "ask for one as the provider's manual says, mostly by the scope \"offline_access\" in [link.{name}], \
             and permit refresh tokens to the client there; then start the login again"
        ),
    };
    Refusal {
        reason: "the provider gave an access token but no refresh token, so that mail would stop within the hour".into(),
        advice: advice.into(),
    }
}
