//! The authorization endpoint: who is asked, what is wrong with the question, and where the browser goes with the answer.
//!
//! A redirect that is not registered is never followed (RFC 6749 §4.1.2.1): the fault stays on the provider's own page. Google
//! shows every other fault there too; Microsoft and Custom send the rest back to the application.

use super::super::{
    Shared,
    faults::{Answer, Fault, Via},
    random_bytes,
};
use super::{
    Form,
    asker::Asker,
    check_scopes,
    code::{Agreed, Challenge},
    page,
    refusal::Refusal,
    worded,
};
use crate::provider::Provider;
use axum::{
    body::Bytes,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{
    borrow::Cow,
    net::Ipv4Addr,
    sync::{Arc, atomic::Ordering::Relaxed},
};
use url::{Host, Url};

/// Whom the fault `other-account` takes for the person that agrees.
pub(super) const OTHER: &str = "other@sandbox.example";

/// A question that can be put.
struct Question {
    redirect: Url,
    /// As it came, to be compared when the code comes back.
    redirect_text: String,
    scope: String,
    state: Option<String>,
    challenge: Option<Challenge>,
    account: String,
    nonce: Option<String>,
    offline: bool,
    prompt: String,
}

/// Why it cannot be put.
enum Wrong {
    /// Said on the provider's own page.
    Here(StatusCode, String),
    /// Said to the application: error and description.
    There(Box<Url>, Option<String>, Cow<'static, str>, String),
}

/// `GET /authorize`: the page.
pub(in crate::sandbox) async fn ask(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    match read(&shared, &query) {
        Ok(question) if question.prompt == "none" => {
            let (error, text) = match shared.options.provider {
                Provider::Microsoft => {
                    ("login_required", "AADSTS50058: A silent sign-in request was sent but no user is signed in.")
                }
                Provider::Google => ("interaction_required", ""),
                Provider::Custom => ("login_required", "nobody is signed in"),
            };
            refuse(&shared, question.redirect, question.state, (error, text))
        }
        Ok(question) => {
            let about = (shared.client_id(), question.scope.as_str(), question.account.as_str());
            page::question("Allow access?", &format!("/authorize?{query}"), about, "")
        }
        Err(wrong) => explain(&shared, wrong),
    }
}

/// `POST /authorize`: the answer, beside the question that it belongs to.
pub(in crate::sandbox) async fn answer(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let question = match read(&shared, &query.unwrap_or_default()) {
        Ok(question) => question,
        Err(wrong) => return explain(&shared, wrong),
    };
    let form: Form = url::form_urlencoded::parse(&body).into_owned().collect();
    match decision(&shared, &form) {
        Ok(Some(account)) => allow(&shared, question, account),
        Ok(None) => deny(&shared, question),
        Err(page) => *page,
    }
}

/// Who agrees, or nobody; the page where the form says neither.
pub(super) fn decision(shared: &Shared, form: &Form) -> Result<Option<String>, Box<Response>> {
    let incomplete = |text| Err(Box::new(page::wrong(StatusCode::BAD_REQUEST, "Nothing was decided", text)));
    let account = form.get("account").map_or("", |account| account.trim());
    match form.get("decision").map(String::as_str) {
        Some("deny") => Ok(None),
        Some("allow") if !account.contains('@') || account.len() > 254 || account.contains(char::is_whitespace) => {
            incomplete("Enter the account's address.")
        }
        Some("allow") if shared.faults.strikes(Fault::ConsentDenied, Some(account), &shared.clock) => Ok(None),
        Some("allow") if shared.faults.strikes(Fault::OtherAccount, Some(account), &shared.clock) => Ok(Some(OTHER.into())),
        Some("allow") => Ok(Some(account.to_owned())),
        _ => incomplete("Choose Allow or Deny."),
    }
}

fn allow(shared: &Shared, question: Question, account: String) -> Response {
    shared.usage.consents.fetch_add(1, Relaxed);
    let provider = shared.options.provider;
    let first = shared.codes.agree(&account);
    let lasting = is_lasting(provider, &question, first);
    let agreed = Agreed { account, scope: question.scope.clone(), nonce: question.nonce, lasting };
    let code = shared.codes.give(provider, agreed, (question.redirect_text, question.challenge), shared.clock.now());
    let mut redirect = question.redirect;
    let session = uuid::Uuid::from_bytes(random_bytes()).to_string();
    {
        let mut pairs = redirect.query_pairs_mut();
        if let Some(state) = &question.state {
            pairs.append_pair("state", state);
        }
        match provider {
            Provider::Google => {
                pairs.append_pair("iss", GOOGLE).append_pair("code", &code).append_pair("scope", &question.scope);
                pairs.append_pair("authuser", "0").append_pair("prompt", "consent");
            }
            Provider::Microsoft => drop(pairs.append_pair("code", &code).append_pair("session_state", &session)),
            Provider::Custom => drop(pairs.append_pair("code", &code).append_pair("iss", &shared.issuer())),
        }
    }
    go(&redirect)
}

/// Google's issuer, as it sends it with its answers (RFC 9207).
const GOOGLE: &str = "https://accounts.google.com";

/// Whether a refresh token comes of it. Google gives one for offline access only, and after the first consent only to who asks
/// for another consent; it is more generous to desktop clients, but a client should not have to know its kind.
fn is_lasting(provider: Provider, question: &Question, first: bool) -> bool {
    let prompt = |word: &str| question.prompt.split(' ').any(|prompt| prompt == word);
    match provider {
        Provider::Google => question.offline && (first || prompt("consent")),
        Provider::Microsoft | Provider::Custom => super::is_offline(&question.scope),
    }
}

fn deny(shared: &Shared, question: Question) -> Response {
    shared.usage.denials.fetch_add(1, Relaxed);
    let text = match shared.options.provider {
        Provider::Google => "",
        Provider::Microsoft => "AADSTS65004: User declined to consent to access the app.",
        Provider::Custom => "the person said no",
    };
    refuse(shared, question.redirect, question.state, ("access_denied", text))
}

/// Sends the browser back with an error.
fn refuse(shared: &Shared, mut redirect: Url, state: Option<String>, (error, text): (&str, &str)) -> Response {
    {
        let mut pairs = redirect.query_pairs_mut();
        pairs.append_pair("error", error);
        if !text.is_empty() {
            pairs.append_pair("error_description", text);
        }
        if let Some(state) = state {
            pairs.append_pair("state", &state);
        }
        match shared.options.provider {
            Provider::Google => drop(pairs.append_pair("iss", GOOGLE)),
            Provider::Microsoft => {}
            Provider::Custom => drop(pairs.append_pair("iss", &shared.issuer())),
        }
    }
    go(&redirect)
}

fn go(to: &Url) -> Response {
    let headers =
        [(header::LOCATION, to.as_str()), (header::CACHE_CONTROL, "no-store"), (header::REFERRER_POLICY, "no-referrer")];
    (StatusCode::FOUND, headers).into_response()
}

fn explain(shared: &Shared, wrong: Wrong) -> Response {
    match wrong {
        Wrong::Here(status, text) => {
            let title = match shared.options.provider {
                Provider::Google => "Access blocked: this app's request is invalid",
                Provider::Microsoft => "Sign in: sorry, but we're having trouble signing you in",
                Provider::Custom => "This request cannot be answered",
            };
            page::wrong(status, title, &text)
        }
        Wrong::There(redirect, state, error, text) => refuse(shared, *redirect, state, (&error, &text)),
    }
}

fn read(shared: &Shared, query: &str) -> Result<Question, Wrong> {
    let mut form = Form::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()).into_owned() {
        if form.insert(name.clone(), value).is_some() {
            // RFC 6749 §3.1.
            return Err(Wrong::Here(StatusCode::BAD_REQUEST, format!("Error 400: invalid_request: {name} stands there twice")));
        }
    }
    check_client(shared, &form)?;
    let said = shared.faults.answer(Fault::AuthorizeRefused, Asker::of(shared, &form).who(), &shared.clock);
    let redirect = redirect(shared, &form)?;
    let state = form.get("state").cloned();
    if let Some(answer) = said {
        return Err(said_instead(shared, answer, redirect, state));
    }
    let question = Question {
        challenge: challenge(shared.options.provider, &form)
            .map_err(|text| fault(shared, (&redirect, &state), "invalid_request", text))?,
        scope: form.get("scope").cloned().unwrap_or_default(),
        account: form.get("login_hint").cloned().unwrap_or_else(|| super::super::ADDRESS.into()),
        nonce: form.get("nonce").cloned(),
        offline: form.get("access_type").is_some_and(|kind| kind == "offline"),
        prompt: form.get("prompt").cloned().unwrap_or_default(),
        redirect_text: form.get("redirect_uri").cloned().unwrap_or_default(),
        redirect,
        state,
    };
    match check(shared, &form, &question) {
        Some((error, text)) => Err(fault(shared, (&question.redirect, &question.state), error, text)),
        None => Ok(question),
    }
}

/// What the fault `authorize-refused` says. Google sends back only that somebody said no, or has to be asked; Microsoft nothing
/// that puts the application or its redirect in doubt.
fn said_instead(shared: &Shared, answer: Answer, redirect: Url, state: Option<String>) -> Wrong {
    let (error, via) = (answer.error.clone(), answer.via);
    let page = match shared.options.provider {
        Provider::Google => !["access_denied", "interaction_required", "login_required"].contains(&error.as_str()),
        Provider::Microsoft => answer.aadsts.is_some_and(|number| [50_011, 50_194, 90_002, 700_016].contains(&number)),
        Provider::Custom => false,
    };
    let (status, body) = worded::worded(shared, &Refusal::Said(answer));
    let text = body["error_description"].as_str().unwrap_or_default();
    match via.unwrap_or(if page { Via::Page } else { Via::Redirect }) {
        Via::Page => Wrong::Here(status, format!("Error {}: {error}: {text}", status.as_u16())),
        Via::Redirect => Wrong::There(Box::new(redirect), state, error.into(), text.into()),
    }
}

/// A fault that is not the redirect's.
fn fault(shared: &Shared, (redirect, state): (&Url, &Option<String>), error: &'static str, text: String) -> Wrong {
    match shared.options.provider {
        Provider::Google => Wrong::Here(StatusCode::BAD_REQUEST, format!("Error 400: {error}: {text}")),
        _ => Wrong::There(Box::new(redirect.clone()), state.clone(), error.into(), text),
    }
}

fn check_client(shared: &Shared, form: &Form) -> Result<(), Wrong> {
    let refusal = match form.get("client_id") {
        Some(id) if shared.knows_client(id) => return Ok(()),
        Some(id) => Refusal::UnknownClient(id.clone()),
        None => Refusal::Missing("client_id"),
    };
    let (status, body) = worded::worded(shared, &refusal);
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    Err(Wrong::Here(status, format!("Error {}: {}: {}", status.as_u16(), text("error"), text("error_description"))))
}

/// Where the answer goes.
fn redirect(shared: &Shared, form: &Form) -> Result<Url, Wrong> {
    let here = |text: String| Err(Wrong::Here(StatusCode::BAD_REQUEST, text));
    let provider = shared.options.provider;
    let Some(text) = form.get("redirect_uri") else {
        return here(match provider {
            Provider::Google => "Error 400: invalid_request: Missing required parameter: redirect_uri".into(),
            Provider::Microsoft => "AADSTS900971: No reply address provided.".into(),
            Provider::Custom => "redirect_uri is missing".into(),
        });
    };
    let plain = |url: &Url| url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let parsed = Url::parse(text).ok().filter(plain);
    match parsed {
        Some(url) if shared.clients.knows_redirect(&url) => Ok(url),
        parsed => here(match provider {
            Provider::Google => google_redirect(text, parsed.as_ref()),
            Provider::Microsoft => format!(
                "AADSTS50011: The redirect URI '{}' specified in the request does not match the redirect URIs configured for the \
                 application '{}'. Make sure the redirect URI sent in the request matches one added to your application in the \
                 Azure portal.",
                worded::clip(text),
                shared.client_id()
            ),
            Provider::Custom => format!("the redirect_uri {} is not registered for this client", worded::clip(text)),
        }),
    }
}

fn google_redirect(text: &str, parsed: Option<&Url>) -> String {
    let text = worded::clip(text);
    match parsed.and_then(Url::host) {
        _ if text.starts_with("urn:ietf:wg:oauth:2.0:oob") => {
            "Error 400: invalid_request: The out-of-band (OOB) flow has been blocked in order to keep users secure.".into()
        }
        Some(Host::Ipv4(address)) if Ipv4Addr::is_private(&address) => {
            format!("Error 400: invalid_request: device_id and device_name are required for private IP: {text}")
        }
        _ => format!(
            "Error 400: redirect_uri_mismatch: You can't sign in because this app sent an invalid request: redirect_uri={text}"
        ),
    }
}

/// The challenge of RFC 7636, or what is wrong with it. Custom insists on S256 (RFC 9700 §2.1.1).
fn challenge(provider: Provider, form: &Form) -> Result<Option<Challenge>, String> {
    let strict = provider == Provider::Custom;
    let Some(text) = form.get("code_challenge") else {
        return if strict || form.contains_key("code_challenge_method") {
            Err("Missing required parameter: code_challenge".into())
        } else {
            Ok(None)
        };
    };
    let is_fit = (43..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    match form.get("code_challenge_method").map_or("plain", String::as_str) {
        _ if !is_fit => Err("Invalid code_challenge: it has 43 to 128 unreserved characters".into()),
        "S256" => Ok(Some(Challenge::S256(text.clone()))),
        "plain" if !strict => Ok(Some(Challenge::Plain(text.clone()))),
        other => Err(format!("Invalid code_challenge_method: {}", worded::clip(other))),
    }
}

/// What is wrong with the rest: error and description.
fn check(shared: &Shared, form: &Form, question: &Question) -> Option<(&'static str, String)> {
    let microsoft = shared.options.provider == Provider::Microsoft;
    let missing = |name: &str| match microsoft {
        true => format!("AADSTS900144: The request body must contain the following parameter: '{name}'."),
        false => format!("Missing required parameter: {name}"),
    };
    match form.get("response_type").map(String::as_str) {
        Some("code") => {}
        None => return Some(("invalid_request", missing("response_type"))),
        Some(other) if microsoft => {
            let text = format!("AADSTS700054: response_type '{}' is not enabled for the application.", worded::clip(other));
            return Some(("unsupported_response_type", text));
        }
        Some(other) => return Some(("unsupported_response_type", format!("Invalid response_type: {}", worded::clip(other)))),
    }
    if form.get("response_mode").is_some_and(|mode| mode != "query") {
        return Some(("invalid_request", "the sandbox answers with response_mode query alone".into()));
    }
    let prompts = ["none", "consent", "select_account", "login"];
    if !question.prompt.split(' ').all(|word| word.is_empty() || prompts.contains(&word)) {
        return Some(("invalid_request", format!("Invalid parameter value for prompt: {}", worded::clip(&question.prompt))));
    }
    if question.scope.trim().is_empty() {
        return Some(("invalid_request", missing("scope")));
    }
    let refusal = check_scopes(shared.options.provider, &question.scope).err()?;
    let (_, body) = worded::worded(shared, &refusal);
    Some(("invalid_scope", body["error_description"].as_str().unwrap_or_default().to_owned()))
}
