//! Links as the loader reads them: each way to prove a client, the way through a proxy, parameters, accounts.

#![allow(clippy::unwrap_used)]

use outlink::config::{self, Fault, Link, Proof, Proxy, SecretMethod, SecretSource, Settings, Variables};
use std::{fs, path::Path};

/// Writes `files` beside an `outlink.toml` of one link with `lines`, and loads it.
fn load(directory: &Path, lines: &str) -> Result<(Settings, Vec<Fault>), Vec<Fault>> {
    let file = directory.join("outlink.toml");
    fs::write(&file, format!("[link.main]\nclient-id = 'outlink'\n{lines}")).unwrap();
    let variables = [("TEST_SECRET", "s3cret"), ("STATE_DIRECTORY", "/nonexistent/outlink")];
    let variables: Variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    config::load_with(&file, &variables)
}

const CUSTOM: &str =
    "provider = 'custom'\ngrant = 'client-credentials'\nscopes = ['mail']\ntoken-endpoint = 'https://login.example.com/t'\n";
const SECRET: &str = "client-secret = { env = 'TEST_SECRET' }\n";

fn link(lines: &str) -> Link {
    let directory = tempfile::tempdir().unwrap();
    let (settings, _) = load(directory.path(), lines).unwrap();
    Link::clone(settings.links.values().next().unwrap())
}

fn environment(name: &str) -> SecretSource {
    SecretSource::Environment(name.into())
}

#[test]
fn a_secret_is_posted_unless_it_is_said_otherwise() {
    let secret = |method| Proof::Secret { source: environment("TEST_SECRET"), method };
    for (method, proof) in [
        ("", secret(SecretMethod::Post)),
        ("client-authentication = 'post'\n", secret(SecretMethod::Post)),
        ("client-authentication = 'basic'\n", secret(SecretMethod::Basic)),
        ("client-authentication = 'none'\n", Proof::None),
    ] {
        assert_eq!(link(&format!("{CUSTOM}{SECRET}{method}")).proof, proof, "{method}");
    }
}

#[test]
fn a_federated_token_is_known_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "e30.e30.c2ln").unwrap();
    let (settings, notes) = load(directory.path(), &format!("{CUSTOM}federated-token = 'token'\n")).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    assert_eq!(settings.links.values().next().unwrap().proof, Proof::FederatedToken(file));
}

#[test]
fn a_proxy_is_the_environments_unless_the_link_has_its_own_or_none() {
    let url = |text| url::Url::parse(text).unwrap();
    let plain = Proxy::Url { url: url("http://proxy.example.com:3128"), user: None, password: None };
    let named = Proxy::Url {
        url: url("http://proxy.example.com:3128"),
        user: Some("relay".into()),
        password: Some(environment("TEST_SECRET")),
    };
    for (lines, proxy) in [
        ("", Proxy::Environment),
        ("proxy = 'none'\n", Proxy::None),
        ("proxy = 'http://proxy.example.com:3128'\n", plain),
        ("proxy = 'http://proxy.example.com:3128'\nproxy-user = 'relay'\nproxy-password = { env = 'TEST_SECRET' }\n", named),
    ] {
        assert_eq!(link(&format!("{CUSTOM}{SECRET}{lines}")).proxy, proxy, "{lines}");
    }
}

#[test]
fn issuer_revocation_and_parameters_are_kept_as_they_are_written() {
    let lines = "issuer = 'https://login.example.com'\nrevocation-endpoint = 'https://login.example.com/revoke'\nkey-id = 'k1'\n\
                 [link.main.parameters]\naudience = 'https://api.example.com'\nX_Y = '1'\n";
    let found = link(&format!("{CUSTOM}{SECRET}{lines}"));
    assert_eq!(found.issuer.as_deref(), Some("https://login.example.com"));
    assert_eq!(found.revocation_endpoint.unwrap().as_str(), "https://login.example.com/revoke");
    assert_eq!(found.key_id.as_deref(), Some("k1"));
    let parameters: Vec<_> = found.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(parameters, [("X_Y", "1"), ("audience", "https://api.example.com")]);
}

#[test]
fn device_codes_are_taken_with_a_warning_at_microsoft() {
    let directory = tempfile::tempdir().unwrap();
    let lines = "provider = 'microsoft'\ngrant = 'device-code'\ntenant = 'contoso.com'\n";
    let (settings, notes) = load(directory.path(), lines).unwrap();
    assert!(settings.not_yet().is_empty(), "{:?}", settings.not_yet());
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].message.contains("AADSTS530036") && notes[0].hint.contains("authorization-code"), "{notes:?}");
    let lines = "provider = 'custom'\ngrant = 'device-code'\nscopes = ['mail']\n\
                 token-endpoint = 'https://login.example.com/t'\ndevice-endpoint = 'https://login.example.com/d'\n";
    assert!(load(directory.path(), lines).unwrap().1.is_empty());
}

#[test]
fn google_revokes_at_its_own_place_and_microsoft_nowhere() {
    let google = link(&format!("provider = 'google'\ngrant = 'authorization-code'\n{SECRET}"));
    assert_eq!(google.revocation_endpoint.unwrap().as_str(), "https://oauth2.googleapis.com/revoke");
    let microsoft = link(&format!("provider = 'microsoft'\ngrant = 'authorization-code'\ntenant = 'contoso.com'\n{SECRET}"));
    assert_eq!(microsoft.revocation_endpoint, None);
}

#[test]
fn the_account_of_a_mailbox_is_who_signs_in_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let mailbox = "[mailbox.shared]\nlink = 'main'\naddress = 'shared@example.com'\nserver = 'smtp.example.com:587'\n";
    let (settings, _) = load(directory.path(), &format!("{CUSTOM}{SECRET}{mailbox}account = 'person@example.com'\n")).unwrap();
    let account = settings.mailboxes.values().next().unwrap().account.as_ref().map(|account| account.as_str());
    assert_eq!(account, Some("person@example.com"));
    let (settings, _) = load(directory.path(), &format!("{CUSTOM}{SECRET}{mailbox}")).unwrap();
    assert_eq!(settings.mailboxes.values().next().unwrap().account, None);
}
