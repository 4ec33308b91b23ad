//! mutt_oauth2.py: its token file as a text (JSON; gpg has decrypted it before), and, for versions that keep the client in the script itself,
//! the table `registrations` of the script.

use super::{
    Account, Broken, Extra, Finding, Granted, Input, Left, Login, address,
    client::{Described, Proof},
    json,
};
use crate::{
    provider::{Grant, Provider},
    secret::Secret,
};
use std::collections::BTreeMap;

/// A registration of the script: its keys.
type Registration = BTreeMap<String, String>;

/// Reads token files, with the script where it was given.
pub fn mutt_oauth2(tokens: &[Input], script: Option<&Input>, extra: &Extra) -> Result<Finding, Broken> {
    let registrations = script.map(|script| registrations(script.text.expose())).unwrap_or_default();
    if tokens.is_empty() {
        let file = script.map_or_else(|| "mutt_oauth2".to_owned(), |script| script.name.clone());
        let why = "the tokens stand in another file: gpg -d TOKENFILE | outlink import - SCRIPT";
        return Err(Broken { file, line: None, why: why.to_owned() });
    }
    let mut finding = Finding::default();
    for input in tokens {
        let token = json::object(input)?;
        let email = token.text("email").unwrap_or_else(|| input.name.clone());
        match account(&token, &email, &registrations, extra, &mut finding.notes) {
            Ok(account) => finding.accounts.push(account),
            Err((reason, step)) => finding.left.push(Left::new(email, reason, step)),
        }
    }
    Ok(finding)
}

fn account(
    token: &json::Object,
    email: &str,
    registrations: &BTreeMap<String, Registration>,
    extra: &Extra,
    notes: &mut Vec<String>,
) -> Result<Account, (String, String)> {
    let by_hand = || "add it by hand: outlink link add, outlink mailbox add, outlink grant import".to_owned();
    let address = address(email).ok_or_else(|| ("its token file has no address as `email`".to_owned(), by_hand()))?;
    let name = token.text("registration").ok_or_else(|| ("its token file names no registration".to_owned(), by_hand()))?;
    let registration = registrations.get(&name);
    let get =
        |key: &str| token.text(key).or_else(|| registration.and_then(|it| it.get(key).cloned()).filter(|it| !it.is_empty()));
    let Some(client_id) = extra.client_id.clone().or_else(|| get("client_id")) else {
        let step = "give the script too (gpg -d TOKENFILE | outlink import - /path/to/mutt_oauth2.py), or --client-id and \
                    --client-secret-file";
        return Err(("its client's id stands in the script, not in the token file".to_owned(), step.to_owned()));
    };
    let tenant = extra.tenant.clone().or_else(|| get("tenant")).unwrap_or_else(|| "common".to_owned());
    let microsoft = |end: &str| format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/{end}");
    let (token_url, permission_url) = match (name.as_str(), get("token_endpoint")) {
        // The script's own address may say another tenant than the token file, which wins.
        ("microsoft", endpoint) if endpoint.as_deref().is_none_or(|url| url.contains("/common/")) => {
            (microsoft("token"), Some(microsoft("authorize")))
        }
        (_, Some(endpoint)) => (endpoint, get("authorize_endpoint")),
        ("google", None) => ("https://oauth2.googleapis.com/token".to_owned(), None),
        (_, None) => {
            let step = "give the script too: gpg -d TOKENFILE | outlink import - /path/to/mutt_oauth2.py";
            return Err((format!("the registration `{name}` stands in the script, not in the token file"), step.to_owned()));
        }
    };
    let is_device = token.text("authflow").as_deref() == Some("devicecode");
    let secret = extra.client_secret.clone().or_else(|| get("client_secret").map(Secret::new));
    let scopes = get("scope").map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let device = get("devicecode_endpoint");
    let described = Described {
        address: address.as_str(),
        grant: if is_device { Grant::DeviceCode } else { Grant::AuthorizationCode },
        client_id: Some(client_id),
        proof: secret.map_or(Proof::None, Proof::Secret),
        token_url: &token_url,
        permission_url: if is_device { device.as_deref() } else { permission_url.as_deref() },
        scopes: scopes.or_else(|| Some(extra.scopes.clone()).filter(|scopes| !scopes.is_empty())),
        redirect_url: None,
    };
    let fitted = described.fit().map_err(|why| (why, by_hand()))?;
    let mut client = fitted.client;
    let custom = client.provider == Provider::Custom;
    client.ca_file = extra.ca_file.clone().filter(|_| custom);
    if custom && client.scopes.is_empty() {
        let why = "neither the script nor the token file has the scopes of this provider";
        return Err((why.to_owned(), "run this again with --scope for each (with that for offline access)".to_owned()));
    }
    let server = get("smtp_endpoint").map(|host| if host.contains(':') { host } else { format!("{host}:587") });
    let server = extra.server.clone().or(server).filter(|_| custom);
    if custom && server.is_none() {
        let why = "the script names no smtp_endpoint for this provider";
        return Err((why.to_owned(), "run this again with --server HOST:PORT".to_owned()));
    }
    notes.extend(fitted.notes.iter().map(|note| format!("{address}: {note}")));
    let grant = match token.text("refresh_token") {
        _ if !fitted.sends => {
            Granted::Missing("the consent was for reading mail alone: its scopes have none for SMTP".to_owned())
        }
        Some(token) => Granted::Token(Secret::new(token)),
        None => Granted::Missing("its token file has no refresh_token".to_owned()),
    };
    Ok(Account { address, xoauth2_user: None, client, server, tls: None, grant, login: Login::None })
}

/// The table `registrations` of the script, read as text: `'name': {`, then `'key': 'value',`, where a value in parentheses goes on over
/// several lines. Nothing is run.
fn registrations(script: &str) -> BTreeMap<String, Registration> {
    let mut found: BTreeMap<String, Registration> = BTreeMap::new();
    let (mut name, mut key) = (None, None);
    let lines = script.lines().skip_while(|line| !line.starts_with("registrations")).skip(1);
    for line in lines.map(str::trim_end).take_while(|line| !line.starts_with('}')) {
        let line = line.trim_start();
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with('}') {
            (name, key) = (None, None);
            continue;
        }
        let (first, rest) = quoted(line);
        match (&name, first, rest.trim_start().strip_prefix(':').map(str::trim_start)) {
            (None, Some(first), Some(rest)) if rest.starts_with('{') => {
                found.insert(first.clone(), Registration::new());
                name = Some(first);
            }
            (Some(name), Some(first), Some(rest)) => {
                let (value, rest) = quoted(rest.trim_start_matches(['(', ' ']));
                let goes_on = rest.trim().is_empty();
                if let (Some(registration), Some(value)) = (found.get_mut(name), value) {
                    registration.insert(first.clone(), value);
                }
                key = goes_on.then_some(first);
            }
            // `'value'` alone goes on with the key before it.
            (Some(name), Some(more), None) => {
                if let Some(value) = key.as_ref().and_then(|key| found.get_mut(name)?.get_mut(key)) {
                    value.push_str(&more);
                }
            }
            _ => {}
        }
    }
    found
}

/// The text of a Python literal at the beginning of `text`, and what follows it. Escapes are rare in ids and addresses: such a literal is none.
fn quoted(text: &str) -> (Option<String>, &str) {
    let Some(quote) = text.chars().next().filter(|quote| matches!(quote, '\'' | '"')) else { return (None, text) };
    match text[1..].split_once(quote) {
        Some((inner, rest)) if !inner.contains('\\') => (Some(inner.to_owned()), rest),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn registrations_are_read_from_the_script_as_it_is_shipped() {
        let script = "import x\nregistrations = {\n    'google': {\n        'token_endpoint': 'https://g/token',\n        # 'client_id': 'old',\n\
                      \x20       'client_id': 'me',\n        \"client_secret\": \"s:'e\",\n    },\n    'microsoft': {\n        'scope': ('one '\n\
                      \x20                 'two '\n                  'three'),\n        'client_id': '',\n    },\n}\nother = {'client_id': 'x'}\n";
        let found = registrations(script);
        assert_eq!(found["google"]["client_id"], "me");
        assert_eq!(found["google"]["client_secret"], "s:'e");
        assert_eq!(found["microsoft"]["scope"], "one two three");
        assert_eq!((found.len(), found["microsoft"]["client_id"].as_str()), (2, ""));
    }

    proptest! {
        #[test]
        fn any_script_is_read(text in "(['\":{}(),# \n\\\\a]|\\PC){0,80}") {
            let _ = registrations(&format!("registrations = {{\n{text}"));
        }
    }
}
