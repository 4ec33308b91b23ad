//! Google's service accounts (RFC 7523 §2.1): an assertion signed with the account's key, for a user of a domain that delegated
//! its scopes to the account.
//!
//! The sandbox makes the key when somebody first wants it. Users are all addresses of its domain but those that begin with
//! `nobody`.

use super::super::{Shared, TENANT, clock::unix_seconds, random_bytes};
use super::{
    Form, body, check_scopes,
    jwt::{Jwt, PublicKey},
    refusal::{Refusal, Unfit},
};
use crate::{provider::Provider, secret::Secret};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Its address, and the number by which an administrator delegates to it.
const EMAIL: &str = "relay@outlink-sandbox.iam.gserviceaccount.com";
const CLIENT: &str = "100000000000000000001";

/// Longest life of an assertion, and how far clocks may differ, in seconds.
const LONGEST: u64 = 3600;
const LEEWAY: u64 = 300;

/// The real token endpoint, which may be the audience too.
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";

struct Key {
    id: String,
    private: Secret,
    public: PublicKey,
}

/// By client id the scopes that an administrator delegated.
pub(in crate::sandbox) type Delegations = BTreeMap<String, Vec<String>>;

/// The one service account of a sandbox.
#[derive(Default)]
pub(in crate::sandbox) struct ServiceAccount {
    key: Mutex<Option<Key>>,
    /// `None`: mail is delegated to it.
    delegations: Mutex<Option<Delegations>>,
}

impl ServiceAccount {
    /// Takes the place of the old key, which stops working.
    pub(in crate::sandbox) fn renew(&self) -> Result<(), String> {
        *self.lock() = Some(new_key()?);
        Ok(())
    }

    /// The key file as Google's console gives it.
    pub(in crate::sandbox) fn file(&self, server: &str) -> Result<Secret, String> {
        let mut key = self.lock();
        let key = match &mut *key {
            Some(key) => key,
            none => none.insert(new_key()?),
        };
        let file = json!({
            "type": "service_account",
            "project_id": "outlink-sandbox",
            "private_key_id": key.id,
            "private_key": key.private.expose(),
            "client_email": EMAIL,
            "client_id": CLIENT,
            "auth_uri": format!("{server}/authorize"),
            "token_uri": format!("{server}/token"),
            "universe_domain": "googleapis.com",
        });
        Ok(Secret::new(format!("{file:#}\n")))
    }

    /// What an administrator delegated; `None` is what a sandbox begins with.
    pub(in crate::sandbox) fn delegate(&self, delegations: Option<Delegations>) {
        *self.delegations.lock().unwrap_or_else(PoisonError::into_inner) = delegations;
    }

    /// Whether all of `scope` is delegated to the account.
    fn check_delegation(&self, scope: &str) -> Result<(), Unfit> {
        let delegations = self.delegations.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(delegations) = &*delegations else { return Ok(()) };
        let delegated = delegations.get(CLIENT).ok_or(Unfit::NotDelegated)?;
        let is_delegated = |word: &str| delegated.iter().any(|scope| scope == word);
        match scope.split_whitespace().filter(|word| is_delegated(word)).count() {
            0 => Err(Unfit::ScopeNotDelegated),
            some if some < scope.split_whitespace().count() => Err(Unfit::PartlyDelegated),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Key>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_key() -> Result<Key, String> {
    let fault = |why: rcgen::Error| format!("cannot make the service account's key: {why}");
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).map_err(fault)?;
    let id: [u8; 20] = random_bytes();
    Ok(Key {
        id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
        private: Secret::new(pair.serialize_pem()),
        public: PublicKey::from_pem(pair.public_key_pem().as_bytes())?,
    })
}

/// The grant of the token endpoint.
pub(super) fn token(shared: &Shared, form: &Form) -> Result<Value, Refusal> {
    let assertion = form.get("assertion").ok_or(Refusal::Missing("assertion"))?;
    let (user, scope) = check(shared, assertion).map_err(Refusal::ServiceAccount)?;
    shared.usage.assertions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Ok(body(shared, &shared.tokens.issue(Some(&user), EMAIL, &scope)))
}

/// For whom it asks, and what.
fn check(shared: &Shared, assertion: &str) -> Result<(String, String), Unfit> {
    let jwt = Jwt::read(assertion).ok_or(Unfit::Malformed("Could not parse the assertion."))?;
    if jwt.algorithm() != "RS256" {
        return Err(Unfit::Malformed("Invalid signature algorithm."));
    }
    if jwt.text("iss") != EMAIL {
        return Err(Unfit::UnknownAccount);
    }
    if !shared.service_account.lock().as_ref().is_some_and(|key| jwt.is_signed_by(&key.public)) {
        return Err(Unfit::Signature);
    }
    check_time(&jwt, unix_seconds(shared.clock.now()))?;
    if !jwt.is_for(|audience| audience == AUDIENCE || shared.is_here(audience)) {
        return Err(Unfit::Audience);
    }
    let scope = jwt.text("scope");
    if scope.trim().is_empty() || scope.contains(',') || check_scopes(Provider::Google, scope).is_err() {
        return Err(Unfit::Scope);
    }
    // Without a subject it speaks for itself, which needs no delegation, and has no mailbox.
    let subject = jwt.text("sub");
    if subject.is_empty() || subject == EMAIL {
        return Ok((EMAIL.into(), scope.into()));
    }
    if !is_user(subject) {
        return Err(Unfit::Subject);
    }
    shared.service_account.check_delegation(scope)?;
    Ok((subject.into(), scope.into()))
}

fn check_time(jwt: &Jwt<'_>, now: u64) -> Result<(), Unfit> {
    let (Some(from), Some(end)) = (jwt.seconds("iat"), jwt.seconds("exp")) else { return Err(Unfit::Lifetime) };
    let fits = from <= now.saturating_add(LEEWAY) && now < end.saturating_add(LEEWAY);
    match fits && end.checked_sub(from).is_some_and(|life| life <= LONGEST) {
        true => Ok(()),
        false => Err(Unfit::Lifetime),
    }
}

fn is_user(address: &str) -> bool {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    domain.eq_ignore_ascii_case(TENANT) && !local.is_empty() && !local.starts_with("nobody")
}
