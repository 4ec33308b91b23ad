//! What the token endpoint is shown of the client: certificates, keys, tokens of others, service accounts.

use super::*;
use crate::config::Certificate;

/// A bench whose link proves itself in another way.
async fn proving(grant: Grant, change: impl FnOnce(&mut Link, &std::path::Path)) -> Bench {
    let mut bench = Bench::new(grant, |number, form| {
        let mut shown = form.clone();
        shown.insert("number".into(), number.to_string());
        json(
            200,
            serde_json::json!({"access_token": serde_json::to_string(&shown).unwrap().replace(' ', ""), "expires_in": 3600})
                .to_string(),
        )
    })
    .await;
    let mut link = Link::clone(&bench.settings.links[&name("contoso")]);
    change(&mut link, bench.directory.path());
    bench.settings.links.insert(name("contoso"), Arc::new(link));
    bench.tokens.configure(&bench.settings).unwrap();
    bench
}

/// What the endpoint was sent, which it gave back as the access token.
async fn sent(bench: &Bench, mailbox: &str) -> Parameters {
    serde_json::from_str(&bench.access(mailbox).await.unwrap()).unwrap()
}

fn key(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(file)
}

fn claims(token: &str) -> serde_json::Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_certificate_signs_another_assertion_for_each_request() {
    let bench = proving(Grant::ClientCredentials, |link, _| {
        let (file, password) = (key("modern.p12"), Some(SecretSource::Plain(Secret::new("secret".into()))));
        link.proof = Proof::Certificate(Certificate::Pkcs12 { file, password });
        link.parameters.insert("audience".into(), "mail".into());
    })
    .await;
    let first = sent(&bench, "a").await;
    assert_eq!(first["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_eq!((first["client_id"].as_str(), first["audience"].as_str(), first.get("client_secret")), ("me", "mail", None));
    let said = claims(&first["client_assertion"]);
    assert_eq!((&said["iss"], &said["sub"], &said["iat"]), (&"me".into(), &"me".into(), &1_800_000_000_u64.into()));
    assert_eq!(said["aud"], bench.settings.links[&name("contoso")].token_endpoint.as_str());
    bench.pass(3600);
    let second = sent(&bench, "a").await;
    assert_ne!(claims(&second["client_assertion"])["jti"], said["jti"]);
}

#[tokio::test]
async fn a_certificate_proves_renewals_of_a_consent_too_and_parameters_stay_out_of_them() {
    let bench = proving(Grant::AuthorizationCode, |link, _| {
        link.proof = Proof::PrivateKey(SecretSource::File(key("p256.pem")));
        link.parameters.insert("audience".into(), "mail".into());
    })
    .await;
    bench.tokens.import(&name("a"), Secret::new("r1".into()), None).await.unwrap();
    let shown = sent(&bench, "a").await;
    assert!(shown.contains_key("client_assertion") && !shown.contains_key("audience"), "{shown:?}");
    assert_eq!(shown["refresh_token"], "r1");
}

#[tokio::test]
async fn a_federated_token_is_read_at_each_use() {
    let bench = proving(Grant::ClientCredentials, |link, directory| {
        std::fs::write(directory.join("token"), "first\n").unwrap();
        link.proof = Proof::FederatedToken(directory.join("token"));
    })
    .await;
    assert_eq!(sent(&bench, "a").await["client_assertion"], "first");
    std::fs::write(bench.directory.path().join("token"), "second").unwrap();
    bench.pass(3600);
    assert_eq!(sent(&bench, "a").await["client_assertion"], "second");
    std::fs::remove_file(bench.directory.path().join("token")).unwrap();
    bench.pass(3600);
    let error = bench.access("a").await.unwrap_err();
    assert!(matches!(error, Unavailable::NeedsRepair { .. }) && error.to_string().contains("federated-token of link"), "{error}");
    // Its issuer writes it again.
    std::fs::write(bench.directory.path().join("token"), "third").unwrap();
    bench.tokens.tick().await;
    assert_eq!(sent(&bench, "a").await["client_assertion"], "third");
}

fn service_account(link: &mut Link, _: &std::path::Path) {
    link.provider = Provider::Google;
    link.client_id = String::new();
    link.proof = Proof::None;
    link.service_account = Some(SecretSource::File(key("service-account.json")));
    link.parameters.insert("more".into(), "1".into());
}

#[tokio::test]
async fn a_service_account_asks_for_each_mailbox_by_itself_and_needs_no_grant() {
    let mut bench = proving(Grant::ServiceAccount, service_account).await;
    for mailbox in ["a", "b"] {
        let shown = sent(&bench, mailbox).await;
        let mut keys: Vec<_> = shown.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["assertion", "grant_type", "more", "number"]);
        assert_eq!(shown["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let said = claims(&shown["assertion"]);
        assert_eq!((&said["sub"], &said["scope"]), (&format!("{mailbox}@example.com").into(), &"mail".into()));
    }
    assert_eq!(bench.endpoint.asked(), 2);
    assert_eq!(sent(&bench, "a").await["number"], "1");
    // Another user is another token.
    let user = Mailbox { xoauth2_user: "other@example.com".into(), ..mailbox("a") };
    bench.settings.mailboxes.insert(name("a"), Arc::new(user));
    bench.tokens.configure(&bench.settings).unwrap();
    assert_eq!(claims(&sent(&bench, "a").await["assertion"])["sub"], "other@example.com");
    assert_eq!(sent(&bench, "b").await["number"], "2");
    let imported = bench.tokens.import(&name("a"), Secret::new("r1".into()), None).await;
    assert!(matches!(imported, Err(Error::OtherGrant { .. })));
}

#[tokio::test]
async fn a_refused_service_account_is_told_with_its_mailbox_and_its_number() {
    let bench = proving(Grant::ServiceAccount, service_account).await;
    bench.endpoint.now_answers(|_, form| {
        let description = format!("Invalid email or User ID {}", form["assertion"]);
        json(400, serde_json::json!({"error": "invalid_grant", "error_description": description}).to_string())
    });
    let Err(Unavailable::NeedsRepair { reason, advice, of_link }) = bench.access("a").await else { panic!() };
    assert!(advice.text.contains("no user a@example.com") && !of_link, "{advice} {of_link}");
    assert!(reason.contains("100000000000000000001") && !reason.contains("eyJ"), "{reason}");
    // What no row knows says nothing of a person's consent.
    bench.endpoint.now_answers(refuses("invalid_grant"));
    let Err(Unavailable::NeedsRepair { advice, .. }) = bench.access("b").await else { panic!() };
    assert!(!advice.text.contains("consent"), "{advice}");
}

#[tokio::test]
async fn a_refused_certificate_is_named_by_its_thumbprint() {
    let bench = proving(Grant::ClientCredentials, |link, _| {
        link.proof = Proof::Certificate(Certificate::Pem { certificate: key("rsa-both.pem"), private_key: None });
    })
    .await;
    bench.endpoint.now_answers(|_, _| json(401, r#"{"error":"invalid_client","error_codes":[700027]}"#.into()));
    let Err(Unavailable::NeedsRepair { reason, advice, .. }) = bench.access("a").await else { panic!() };
    assert!(reason.contains("certificate of thumbprint ") && advice.text.contains("upload the certificate"), "{reason} {advice}");
}
