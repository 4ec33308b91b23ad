//! `[link.NAME.parameters]`: what a provider wants besides, in the request that begins the grant.

use super::table::{Table, Wrong};
use crate::provider::Provider;
use std::collections::BTreeMap;

/// What outlink sets itself (RFC 6749, 7521, 7523, 7636, 8628); said twice, a server would take either.
const OWN: [&str; 20] = [
    "access_type",
    "assertion",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "device_code",
    "grant_type",
    "login_hint",
    "password",
    "redirect_uri",
    "refresh_token",
    "response_mode",
    "response_type",
    "scope",
    "state",
];
/// Far beyond what anybody needs.
const MOST: usize = 50;

/// Takes the table.
pub(super) fn take(table: &mut Table<'_>) -> BTreeMap<String, String> {
    let Some(mut parameters) = table.table("parameters") else { return BTreeMap::new() };
    let (count, taken) = parameters.texts(parameter);
    if count > MOST {
        parameters.fault_here(format!("{count} parameters are too many; at most {MOST}"));
    }
    taken
}

fn parameter(name: &str, value: String) -> Result<String, Wrong> {
    if OWN.contains(&name) {
        return Err(Wrong::new(
            format!("outlink sets `{name}` itself"),
            "take it out; scopes, redirect-url and account have keys",
        ));
    }
    match name.bytes().all(|b| b.is_ascii_graphic()) && !value.chars().any(char::is_control) && value.len() <= 4096 {
        true => Ok(value),
        false => Err("a parameter is one short line".into()),
    }
}

/// Google gives a refresh token only where it may ask for consent, so that `prompt` is not free there.
pub(super) fn check(table: &Table<'_>, provider: Provider, parameters: &BTreeMap<String, String>) {
    if provider == Provider::Google && parameters.contains_key("prompt") {
        let hint = "take it out: Google gives a refresh token only with prompt=consent, which outlink sends";
        table.fault("parameters", Wrong::new("outlink sets `prompt` itself at Google", hint));
    }
}
