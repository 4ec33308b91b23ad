//! A person's consent in a browser: the address that begins it (RFC 6749 §4.1, PKCE by RFC 7636), and what the provider's redirect
//! brings back.
//!
//! The redirect comes from wherever a browser can be sent, so nothing of it counts before its `state` was found to be ours, not
//! even an error. People also paste it, with quotes and line ends around it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, basic::BasicClient};
use std::{borrow::Cow, collections::BTreeMap};
use url::{ParseError, Url};

use super::fault::{Fault, tidy};
use crate::secret::Secret;

/// Longest text that is read. Google's codes have up to 256 characters, Entra's some 1,500.
const LONGEST: usize = 16 * 1024;

/// Parameters of the authorization request that are outlink's own: nobody else may set them.
pub const OWN_PARAMETERS: [&str; 7] =
    ["response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"];

/// What makes one consent unlike every other. It lives as long as the login, and is never written down.
#[derive(Debug)]
pub struct Opening {
    state: Secret,
    verifier: Secret,
}

/// What the authorization request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// The authorization endpoint; parameters that it has stay.
    pub endpoint: &'a Url,
    /// The client's id.
    pub client_id: &'a str,
    /// Where the browser is sent back to, letter by letter as it is registered.
    pub redirect: &'a str,
    /// The scopes asked for.
    pub scopes: &'a [String],
    /// What the provider wants besides, such as `access_type`.
    pub usual: &'a [(&'a str, &'a str)],
    /// What a person configured; wins over the usual.
    pub chosen: &'a BTreeMap<String, String>,
}

/// Who is expected to answer (RFC 9207): a server that says its name in `iss` must say this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuer {
    /// This very text.
    Exact(String),
    /// An address on this host: Entra names the tenant, which the link may not know.
    Host(String),
    /// Nothing is known of it.
    Unknown,
}

/// What came back, before anything of it is believed.
#[derive(Debug)]
pub struct Return {
    state: Secret,
    issuer: Option<String>,
    result: Result<Secret, Box<Fault>>,
}

/// Why a text is not what a login ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// There is no text.
    #[error("there is no address; paste the one that the browser shows after the login")]
    Empty,
    /// More than any address has.
    #[error("this is too long to be the address after a login")]
    TooLong,
    /// A code and nothing else.
    #[error(
        "this looks like the code alone; paste the whole address, from http to its end: its state shows that it is the answer to this login"
    )]
    CodeAlone,
    /// A code or an error without state.
    #[error(
        "this address has no state, so that nobody can tell which login it belongs to; paste the whole address, from http to its end"
    )]
    NoState,
    /// The address where the login begins.
    #[error(
        "this is the address where the login begins; open it, finish the login, and paste the address that the browser shows then"
    )]
    LoginPage,
    /// Something else.
    #[error("there is neither a code nor an error in this address; paste the one that the browser shows after the login")]
    Nothing,
    /// RFC 6749 §3.1 forbids it.
    #[error("this address has {0} twice, which no provider does")]
    Twice(&'static str),
}

/// Why a login did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It belongs to no login, or to another one.
    #[error("the answer does not belong to this login: its state is another")]
    State,
    /// Another server than the one that was asked answered (RFC 9207 §2.4).
    #[error("the answer comes from {found}, but {expected} was asked")]
    Issuer {
        /// Whom the link names.
        expected: String,
        /// Who answered.
        found: String,
    },
    /// The provider said no.
    #[error("the provider answered {0}")]
    Refused(Box<Fault>),
}

impl Opening {
    /// An opening from 64 fresh octets: 256 bits for the state, 256 for the verifier (RFC 7636 §4.1 asks for as many).
    pub fn new(random: &[u8; 64]) -> Self {
        let text = |octets: &[u8]| Secret::new(BASE64_URL_SAFE_NO_PAD.encode(octets));
        Self { state: text(&random[..32]), verifier: text(&random[32..]) }
    }

    /// What the code is exchanged with.
    pub fn verifier(&self) -> &Secret {
        &self.verifier
    }

    /// The address that a person opens.
    pub fn address(&self, login: &Login<'_>) -> Result<Url, ParseError> {
        let verifier = PkceCodeVerifier::new(self.verifier.expose().to_owned());
        let client = BasicClient::new(ClientId::new(login.client_id.to_owned()))
            .set_auth_uri(AuthUrl::from_url(login.endpoint.clone()))
            .set_redirect_uri(RedirectUrl::new(login.redirect.to_owned())?);
        let mut request = client
            .authorize_url(|| CsrfToken::new(self.state.expose().to_owned()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_scopes(login.scopes.iter().map(|scope| Scope::new(scope.clone())));
        let usual = login.usual.iter().copied().filter(|(name, _)| !login.chosen.contains_key(*name));
        let chosen = login.chosen.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in usual.chain(chosen).filter(|(name, _)| !OWN_PARAMETERS.contains(name)) {
            request = request.add_extra_param(name, value);
        }
        Ok(request.url().0)
    }

    /// Whether `answer` is the answer to this opening. Takes the same time wherever the two differ.
    pub fn is_answered_by(&self, answer: &Return) -> bool {
        self.state == answer.state
    }

    /// The code, if the answer is ours, comes from `issuer`, and is none of refusal.
    pub fn code(&self, answer: Return, issuer: &Issuer) -> Result<Secret, Refusal> {
        if !self.is_answered_by(&answer) {
            return Err(Refusal::State);
        }
        if let Some(found) = &answer.issuer
            && let Err(expected) = issuer.check(found)
        {
            return Err(Refusal::Issuer { expected, found: tidy(found, 200) });
        }
        answer.result.map_err(Refusal::Refused)
    }
}

impl Issuer {
    /// `Err` names whom we expected.
    fn check(&self, found: &str) -> Result<(), String> {
        let host = |text: &str| Url::parse(text).ok()?.host_str().map(str::to_owned);
        match self {
            Self::Exact(expected) if expected != found => Err(expected.clone()),
            Self::Host(expected) if host(found).as_ref() != Some(expected) => Err(expected.clone()),
            Self::Exact(_) | Self::Host(_) | Self::Unknown => Ok(()),
        }
    }
}

impl Return {
    /// Reads the whole address, or its query alone, as a browser sends it or a person pastes it.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        if text.len() > LONGEST {
            return Err(Unreadable::TooLong);
        }
        let text = plain(text);
        if text.is_empty() {
            return Err(Unreadable::Empty);
        }
        let whole = text.split('#').next().unwrap_or_default();
        let query = whole.split_once('?').map_or(whole, |(_, query)| query);
        let is_address = whole.contains("://") || whole.starts_with(['?', '/']);
        if !query.contains('=') {
            return Err(if is_address { Unreadable::Nothing } else { Unreadable::CodeAlone });
        }
        let found = Found::new(query)?;
        let state = match (found.state, found.begins_login, found.code.is_some() || found.error.is_some()) {
            (_, true, _) => return Err(Unreadable::LoginPage),
            (_, _, false) => return Err(Unreadable::Nothing),
            (None, ..) => return Err(Unreadable::NoState),
            (Some(state), ..) => Secret::new(state.into_owned()),
        };
        let result = match (found.error, found.code) {
            (Some(error), _) => Err(Box::new(Fault::of_redirect(&error, found.description.as_deref(), found.uri.as_deref()))),
            (None, Some(code)) => Ok(Secret::new(code.into_owned())),
            (None, None) => return Err(Unreadable::Nothing),
        };
        Ok(Self { state, issuer: found.issuer.map(Cow::into_owned), result })
    }
}

/// The text without what pasting brings: blanks and line ends anywhere, quotes and brackets around it, `&amp;` for `&`.
fn plain(text: &str) -> String {
    let joined: String = text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let quotes = ['"', '\'', '`', '<', '>', '(', ')', '“', '”', '„', '‘', '’', '«', '»'];
    joined.trim_matches(quotes).replace("&amp;", "&")
}

/// The parameters of a redirect, each at most once.
#[derive(Default)]
struct Found<'a> {
    code: Option<Cow<'a, str>>,
    state: Option<Cow<'a, str>>,
    issuer: Option<Cow<'a, str>>,
    error: Option<Cow<'a, str>>,
    description: Option<Cow<'a, str>>,
    uri: Option<Cow<'a, str>>,
    begins_login: bool,
}

impl<'a> Found<'a> {
    fn new(query: &'a str) -> Result<Self, Unreadable> {
        let mut found = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let (name, place) = match name.as_ref() {
                "code" => ("code", &mut found.code),
                "state" => ("state", &mut found.state),
                "iss" => ("iss", &mut found.issuer),
                "error" => ("error", &mut found.error),
                "error_description" => ("error_description", &mut found.description),
                "error_uri" => ("error_uri", &mut found.uri),
                "response_type" | "code_challenge" => {
                    found.begins_login = true;
                    continue;
                }
                _ => continue,
            };
            if value.is_empty() {
                continue;
            }
            if place.replace(value).is_some() {
                return Err(Unreadable::Twice(name));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
