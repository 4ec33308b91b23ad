//! `redirect-url`: where a provider sends the browser back to after a login, and which of these a provider refuses.
//!
//! What it refuses is known (its answer would come in the browser, in other words), so it is said before anybody signs in.

use super::table::{Table, Wrong};
use crate::provider::{Grant, Provider, is_loopback};
use url::{Host, Url};

/// Last labels that no public name has: Google takes only hosts below the public suffix list.
const PRIVATE: [&str; 8] = ["local", "internal", "lan", "home", "corp", "localdomain", "intranet", "test"];

/// Reads one: http or https, with a host and nothing that no redirect has (RFC 6749 §3.1.2).
pub(super) fn parse(text: &str) -> Result<Url, Wrong> {
    let hint = "write it as it is registered at the provider, such as \"https://relay.example.com/oauth/callback\"";
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("`{text}` is no URL: {error}"), hint))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Wrong::new(format!("`{text}` is neither https nor http"), hint));
    }
    match url.username().is_empty() && url.password().is_none() && url.fragment().is_none() {
        true => Ok(url),
        false => Err(Wrong::new("a redirect has no user name, password or fragment in it", hint)),
    }
}

/// What the provider would refuse, and what has no effect.
pub(super) fn check(table: &Table<'_>, provider: Provider, grant: Grant, url: &Url) {
    let fault = |message: String, hint: &str| table.fault("redirect-url", Wrong::new(message, hint));
    if grant != Grant::AuthorizationCode {
        table.note("redirect-url", format!("the grant {grant} sends no browser anywhere; this has no effect"));
        return;
    }
    if is_loopback(url) {
        if provider == Provider::Microsoft && !matches!(url.host(), Some(Host::Domain(_))) {
            let hint = "write http://localhost, and register it under \"Mobile and desktop applications\"";
            let message =
                "Microsoft takes an address such as 127.0.0.1 only by an edit of the app's manifest, and [::1] not at all";
            table.note("redirect-url", Wrong::new(message, hint));
        }
        return;
    }
    let hint = "put a web server with a certificate before outlink and write its https address, or leave redirect-url out: then \
                `outlink authorize` listens on loopback, and the address can be pasted from another machine";
    match (provider, url.scheme()) {
        (Provider::Google | Provider::Microsoft, "http") => {
            return fault(format!("`{url}` is not https: {} redirects over http only to this machine", named(provider)), hint);
        }
        (Provider::Custom, "http") => {
            table.note("redirect-url", "the code crosses the network readable; only PKCE protects it");
        }
        _ => {}
    }
    if provider == Provider::Google
        && let Some(what) = unroutable(url)
    {
        fault(format!("Google does not redirect to {what}"), hint);
    }
}

fn named(provider: Provider) -> &'static str {
    match provider {
        Provider::Google => "Google",
        Provider::Microsoft => "Microsoft",
        Provider::Custom => "the provider",
    }
}

/// Why Google refuses this host, if it does: it takes no addresses but loopback, and only names that are public.
fn unroutable(url: &Url) -> Option<String> {
    match url.host() {
        Some(Host::Ipv4(address)) => Some(format!("the address {address}, private or not, only to names")),
        Some(Host::Ipv6(address)) => Some(format!("the address [{address}], private or not, only to names")),
        Some(Host::Domain(name)) => {
            let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
            let is_private = !name.contains('.') || PRIVATE.contains(&last);
            is_private.then(|| format!("{name}, which is no public name"))
        }
        None => None,
    }
}
