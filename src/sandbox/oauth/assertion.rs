//! Client assertions (RFC 7523 §2.2): a JWT, signed with a registered key, in the place of a client secret; at Microsoft also
//! one of an outside issuer that was registered (workload identity federation).

use super::super::{Shared, clock::unix_seconds};
use super::{
    Form,
    clients::Federation,
    jwt::{Jwt, PublicKey},
    refusal::{Doubt, Refusal},
};
use crate::provider::Provider;
use std::sync::atomic::Ordering::Relaxed;

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far clocks may differ, in seconds: Microsoft's five minutes. Custom takes none, the hardest case for a client.
fn leeway(provider: Provider) -> u64 {
    if provider == Provider::Custom { 0 } else { 300 }
}

/// Whether the assertion proves the client.
pub(super) fn check(shared: &Shared, form: &Form, assertion: &str) -> Result<(), Refusal> {
    let provider = shared.options.provider;
    let kind = form.get("client_assertion_type").ok_or(Refusal::Missing("client_assertion_type"))?;
    if kind != TYPE {
        return Err(Refusal::Assertion(Doubt::Type(kind.clone())));
    }
    // RFC 6749 §2.3: one way at a time.
    if provider == Provider::Custom && form.contains_key("client_secret") {
        return Err(Refusal::Assertion(Doubt::Malformed("there is a client_secret beside it")));
    }
    let doubt = match Jwt::read(assertion) {
        None => Err(Doubt::Malformed("it is not a JSON web token")),
        Some(jwt) if provider == Provider::Microsoft && jwt.text("iss") != shared.client_id() => federated(shared, &jwt),
        Some(jwt) => own(shared, &jwt),
    };
    doubt.map_err(Refusal::Assertion)?;
    shared.usage.assertions.fetch_add(1, Relaxed);
    Ok(())
}

/// One that the client signed itself.
fn own(shared: &Shared, jwt: &Jwt<'_>) -> Result<(), Doubt> {
    let provider = shared.options.provider;
    let keys = shared.clients.lock().keys.clone();
    let now = unix_seconds(shared.clock.now());
    match provider {
        Provider::Microsoft => check_certificate(&keys, jwt, now)?,
        _ if keys.is_empty() => return Err(Doubt::UnknownKey(String::new())),
        _ => match keys.iter().find(|key| jwt.is_signed_by(key)) {
            Some(key) if key.counts(now) => {}
            Some(_) => return Err(Doubt::Outdated),
            None => return Err(Doubt::Signature),
        },
    }
    if jwt.text("iss") != shared.client_id() || jwt.text("sub") != shared.client_id() {
        return Err(Doubt::Application);
    }
    if !jwt.is_for(|audience| shared.is_here(audience)) {
        return Err(Doubt::Audience(jwt.claims["aud"].to_string()));
    }
    let end = check_time(shared, jwt)?;
    if provider == Provider::Custom {
        let jti = jwt.text("jti");
        if jti.is_empty() {
            return Err(Doubt::Malformed("it has no jti"));
        }
        if !shared.clients.is_first(jti, end, shared.clock.now()) {
            return Err(Doubt::Replayed);
        }
    }
    Ok(())
}

/// Microsoft looks the certificate up by its thumbprint, then checks the signature.
fn check_certificate(keys: &[PublicKey], jwt: &Jwt<'_>, now: u64) -> Result<(), Doubt> {
    let algorithm = jwt.algorithm();
    if !["PS256", "RS256"].contains(&algorithm) {
        return Err(Doubt::Algorithm(algorithm.to_owned()));
    }
    let names = [jwt.header["x5t#S256"].as_str(), jwt.header["x5t"].as_str()];
    let named = names[0].or(names[1]).ok_or(Doubt::NoThumbprint)?;
    let key = keys.iter().find(|key| key.is_named(names)).ok_or_else(|| Doubt::UnknownKey(named.to_owned()))?;
    match jwt.is_signed_by(key) {
        true if key.counts(now) => Ok(()),
        true => Err(Doubt::Outdated),
        false => Err(Doubt::Signature),
    }
}

/// Its time, by the sandbox's clock; gives the end.
fn check_time(shared: &Shared, jwt: &Jwt<'_>) -> Result<u64, Doubt> {
    let (now, leeway) = (unix_seconds(shared.clock.now()), leeway(shared.options.provider));
    let end = jwt.seconds("exp").ok_or(Doubt::Malformed("it has no exp"))?;
    let early = ["nbf", "iat"].iter().filter_map(|claim| jwt.seconds(claim)).any(|from| from > now.saturating_add(leeway));
    if early || now >= end.saturating_add(leeway) { Err(Doubt::Time) } else { Ok(end) }
}

/// One of an outside issuer: issuer, subject and audience letter for letter.
fn federated(shared: &Shared, jwt: &Jwt<'_>) -> Result<(), Doubt> {
    let known = shared.clients.lock().federations.clone();
    let by_issuer: Vec<&Federation> = known.iter().filter(|federation| federation.issuer == jwt.text("iss")).collect();
    let by_subject: Vec<&&Federation> = by_issuer.iter().filter(|federation| federation.subject == jwt.text("sub")).collect();
    let doubt = |claim: &'static str, value: &str| Doubt::Federated(claim, value.to_owned());
    if by_issuer.is_empty() {
        return Err(doubt("issuer", jwt.text("iss")));
    }
    if by_subject.is_empty() {
        return Err(doubt("subject", jwt.text("sub")));
    }
    let Some(federation) = by_subject.iter().find(|federation| jwt.is_for(|audience| audience == federation.audience)) else {
        return Err(doubt("audience", &jwt.claims["aud"].to_string()));
    };
    if federation.key.as_ref().is_some_and(|key| !jwt.is_signed_by(key)) {
        return Err(Doubt::Signature);
    }
    check_time(shared, jwt).map(drop)
}
