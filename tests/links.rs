//! Links as the loader reads them: each way to prove a client, the way through a proxy, parameters, accounts.

#![allow(clippy::unwrap_used)]

use outlink::{
    config::{self, Certificate, Fault, Link, Proof, Proxy, SecretMethod, SecretSource, Settings, Variables},
    secret::Ring,
};
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

/// The path of a key of the tests.
fn key(file: &str) -> String {
    format!("{}/tests/keys/{file}", env!("CARGO_MANIFEST_DIR"))
}

const MICROSOFT: &str = "provider = 'microsoft'\ngrant = 'client-credentials'\ntenant = 'contoso.com'\n";

#[test]
fn keys_and_certificates_are_taken_in_each_of_their_forms() {
    let pem = |certificate: &str, private_key: Option<&str>| {
        let private_key = private_key.map(|file| SecretSource::File(key(file).into()));
        Proof::Certificate(Certificate::Pem { certificate: key(certificate).into(), private_key })
    };
    let file = |file: &str| format!("{{ file = '{}' }}", key(file));
    for (base, lines, proof) in [
        (
            MICROSOFT,
            format!("certificate = '{}'\nprivate-key = {}\n", key("rsa.crt"), file("rsa-pkcs1.pem")),
            pem("rsa.crt", Some("rsa-pkcs1.pem")),
        ),
        (MICROSOFT, format!("certificate = '{}'\n", key("rsa-both.pem")), pem("rsa-both.pem", None)),
        (
            CUSTOM,
            format!("certificate = '{}'\nprivate-key = {}\n", key("p256.crt"), file("p256.pem")),
            pem("p256.crt", Some("p256.pem")),
        ),
        (
            MICROSOFT,
            format!("pkcs12 = '{}'\n", key("modern-without-password.p12")),
            Proof::Certificate(Certificate::Pkcs12 { file: key("modern-without-password.p12").into(), password: None }),
        ),
        (
            CUSTOM,
            format!("private-key = {}\nclient-authentication = 'private-key-jwt'\n", file("p256-sec1.pem")),
            Proof::PrivateKey(SecretSource::File(key("p256-sec1.pem").into())),
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (settings, notes) = load(directory.path(), &format!("{base}{lines}")).unwrap();
        let notes: Vec<_> = notes.iter().filter(|note| !note.message.starts_with("every user of this machine")).collect();
        assert!(notes.is_empty(), "{notes:?}");
        let link = settings.links.values().next().unwrap();
        assert_eq!(link.proof, proof);
        assert!(link.evidence(&Ring::new(outlink::key::fresh().unwrap())).is_ok());
    }
}

#[test]
fn a_certificate_that_does_not_count_is_noted_with_its_day_and_its_kind() {
    for (lines, said) in [
        (format!("certificate = '{}'\nprivate-key = {{ file = '{}' }}\n", key("rsa-expired.crt"), key("rsa.pem")), "ended on 20"),
        (format!("certificate = '{}'\nprivate-key = {{ file = '{}' }}\n", key("p256.crt"), key("p256.pem")), "RSA keys only"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (_, notes) = load(directory.path(), &format!("{MICROSOFT}{lines}")).unwrap();
        let found: Vec<_> = notes.iter().filter(|note| note.key == "link.main.certificate").collect();
        assert!(found.len() == 1 && found[0].message.contains(said), "{notes:?}");
    }
}

#[test]
fn a_service_account_needs_no_client_id_and_its_own_endpoint_is_pointed_out() {
    let directory = tempfile::tempdir().unwrap();
    let json = fs::read_to_string(key("service-account.json")).unwrap();
    let lines = "provider = 'google'\ngrant = 'service-account'\nservice-account = { file = 'key.json' }\n";
    let noted = |json: &str, more: &str| {
        fs::write(directory.path().join("key.json"), json).unwrap();
        let (settings, notes) = load(directory.path(), &format!("{lines}{more}")).unwrap();
        assert_eq!(settings.links.values().next().unwrap().scopes, ["https://mail.google.com/"]);
        notes.into_iter().filter(|note| note.message.contains("token_uri")).count()
    };
    let elsewhere = json.replace("oauth2.googleapis.com", "elsewhere.example.com");
    assert_eq!(noted(&json, ""), 0);
    assert_eq!(noted(&elsewhere, ""), 1);
    assert_eq!(noted(&elsewhere, "token-endpoint = 'https://elsewhere.example.com/token'\n"), 0);
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
    let (_, notes) = load(directory.path(), lines).unwrap();
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
