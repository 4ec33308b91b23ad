//! Device authorization (RFC 8628): a short code that a person types in a browser elsewhere, while the device keeps asking.
//!
//! Microsoft has its own names for the end of it; Google gives no scope for mail to devices.

use super::super::{Shared, bounded::Bounded, faults::Fault, random_bytes, random_text};
use super::{
    Form,
    asker::Asker,
    authorize, check_client, check_scopes,
    code::Agreed,
    first_tokens, is_offline, page,
    refusal::{Polled, Refusal},
    respond,
};
use crate::provider::Provider;
use axum::{
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

/// Life of a device code: Microsoft's.
const LIFE: Duration = Duration::from_secs(900);

/// By so much the interval grows with each `slow_down` (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// Most codes remembered.
const MOST: usize = 1000;

enum Answer {
    Waiting,
    Allowed(String),
    Denied,
    /// The tokens were given.
    Spent,
}

struct Device {
    user_code: String,
    scope: String,
    given: SystemTime,
    interval: Duration,
    polled: Option<SystemTime>,
    answer: Answer,
}

/// All device codes of one sandbox.
pub(in crate::sandbox) struct Devices(Mutex<Bounded<Device>>);

impl Default for Devices {
    fn default() -> Self {
        Self(Mutex::new(Bounded::new(MOST)))
    }
}

impl Devices {
    fn lock(&self) -> MutexGuard<'_, Bounded<Device>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scope of a code that waits for its person.
    fn waiting(&self, user_code: &str, now: SystemTime) -> Option<String> {
        let mut devices = self.lock();
        find(&mut devices, user_code, now).map(|device| device.scope.clone())
    }

    /// Takes the person's answer; whether a code waited for it.
    fn decide(&self, user_code: &str, account: Option<String>, now: SystemTime) -> bool {
        let mut devices = self.lock();
        let Some(device) = find(&mut devices, user_code, now) else { return false };
        device.answer = account.map_or(Answer::Denied, Answer::Allowed);
        true
    }

    /// What the device hears that asks for its token: who agreed, and to what.
    fn poll(&self, device_code: &str, now: SystemTime) -> Result<(String, String), Polled> {
        let mut devices = self.lock();
        let device = devices.get_mut(device_code).ok_or(Polled::Unknown)?;
        if now.duration_since(device.given).is_ok_and(|age| age >= LIFE) {
            return Err(Polled::Expired);
        }
        let early = device.polled.is_some_and(|last| now < last + device.interval);
        device.polled = Some(now);
        if early {
            device.interval += SLOWER;
            return Err(Polled::SlowDown);
        }
        match std::mem::replace(&mut device.answer, Answer::Spent) {
            Answer::Waiting => {
                device.answer = Answer::Waiting;
                Err(Polled::Pending)
            }
            Answer::Allowed(account) => Ok((account, device.scope.clone())),
            Answer::Denied => {
                device.answer = Answer::Denied;
                Err(Polled::Denied)
            }
            Answer::Spent => Err(Polled::Unknown),
        }
    }
}

/// The code that waits for a person; letters count alike, what is between them not (RFC 8628 §6.1).
fn find<'a>(devices: &'a mut Bounded<Device>, user_code: &str, now: SystemTime) -> Option<&'a mut Device> {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    let wanted = plain(user_code);
    devices.values_mut().find(|device| {
        matches!(device.answer, Answer::Waiting)
            && now.duration_since(device.given).is_ok_and(|age| age < LIFE)
            && plain(&device.user_code) == wanted
    })
}

/// `POST /devicecode`.
pub(in crate::sandbox) async fn begin(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = super::form(&headers, &body).and_then(|form| give(&shared, &form));
    respond(&shared, answer)
}

fn give(shared: &Shared, form: &Form) -> Result<Value, Refusal> {
    let provider = shared.options.provider;
    match provider {
        // RFC 8628 §3.1: as at the token endpoint. Google and Microsoft ask for the id alone.
        Provider::Custom => check_client(shared, form)?,
        Provider::Google | Provider::Microsoft => match form.get("client_id") {
            Some(id) if shared.knows_client(id) => {}
            Some(id) => return Err(Refusal::UnknownClient(id.clone())),
            None => return Err(Refusal::Missing("client_id")),
        },
    }
    if let Some(answer) = shared.faults.answer(Fault::DeviceRefused, Asker::of(shared, form).who(), &shared.clock) {
        return Err(Refusal::Said(answer));
    }
    let scope = form.get("scope").filter(|scope| !scope.trim().is_empty()).ok_or(Refusal::Missing("scope"))?;
    let for_devices = |word: &str| ["openid", "email", "profile"].contains(&word);
    if provider == Provider::Google && !scope.split_whitespace().all(for_devices) {
        return Err(Refusal::DeviceScope(scope.clone()));
    }
    check_scopes(provider, scope)?;
    let (device_code, user_code, interval) = (random_text(96), user_code(provider), shared.options.device_interval);
    let device = Device {
        user_code: user_code.clone(),
        scope: scope.clone(),
        given: shared.clock.now(),
        interval,
        polled: None,
        answer: Answer::Waiting,
    };
    shared.devices.lock().insert(device_code.clone(), device);
    shared.usage.device_codes.fetch_add(1, Relaxed);
    let page = format!("{}/device", shared.issuer());
    let mut body = json!({ "device_code": device_code, "user_code": user_code, "expires_in": LIFE.as_secs(), "interval": interval.as_secs() });
    match provider {
        Provider::Google => body["verification_url"] = page.into(),
        Provider::Microsoft => {
            let text =
                format!("To sign in, use a web browser to open the page {page} and enter the code {user_code} to authenticate.");
            body["verification_uri"] = page.into();
            body["message"] = text.into();
        }
        Provider::Custom => {
            body["verification_uri_complete"] = format!("{page}?user_code={user_code}").into();
            body["verification_uri"] = page.into();
        }
    }
    Ok(body)
}

/// Nine letters and digits at Microsoft, two groups of four consonants elsewhere (RFC 8628 §6.1).
fn user_code(provider: Provider) -> String {
    let bytes: [u8; 9] = random_bytes();
    let of = |alphabet: &[u8], count: usize| -> String {
        bytes[..count].iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
    };
    match provider {
        Provider::Microsoft => of(b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789", 9),
        Provider::Google | Provider::Custom => {
            let text = of(b"BCDFGHJKLMNPQRSTVWXZ", 8);
            format!("{}-{}", &text[..4], &text[4..])
        }
    }
}

/// The grant of the token endpoint.
pub(super) fn token(shared: &Shared, form: &Form) -> Result<Value, Refusal> {
    let code = form.get("device_code").ok_or(Refusal::Missing("device_code"))?;
    let (account, scope) = shared.devices.poll(code, shared.clock.now()).map_err(Refusal::Device)?;
    let lasting = shared.options.provider == Provider::Google || is_offline(&scope);
    let consent = shared.tokens.begin(&account, Some(&scope));
    Ok(first_tokens(shared, &consent, &Agreed { account, scope, nonce: None, lasting }))
}

/// `GET /device`: the page; `?user_code=…` fills the code in.
pub(in crate::sandbox) async fn ask(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let code = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "user_code");
    let code = code.map(|(_, code)| code.into_owned()).unwrap_or_default();
    let scope = shared.devices.waiting(&code, shared.clock.now()).unwrap_or_default();
    let field = format!(
        "<p><label>Code <input name=\"user_code\" required size=\"12\" autocomplete=\"off\" value=\"{}\"></label></p>\n",
        page::escaped(&code)
    );
    page::question("Connect a device", "/device", (shared.client_id(), &scope, super::super::ADDRESS), &field)
}

/// `POST /device`: the answer.
pub(in crate::sandbox) async fn answer(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let form: Form = url::form_urlencoded::parse(&body).into_owned().collect();
    let (code, now) = (form.get("user_code").map_or("", String::as_str), shared.clock.now());
    if shared.devices.waiting(code, now).is_none() {
        return page::wrong(StatusCode::BAD_REQUEST, "Unknown code", "That code did not work: it was mistyped, or it is over.");
    }
    let account = match authorize::decision(&shared, &form) {
        Ok(account) => account,
        Err(page) => return *page,
    };
    let count = if account.is_some() { &shared.usage.consents } else { &shared.usage.denials };
    count.fetch_add(1, Relaxed);
    let said = if account.is_some() { "The device is connected." } else { "The device was turned away." };
    shared.devices.decide(code, account, now);
    page::wrong(StatusCode::OK, said, "You can close this page and go back to the device.")
}
