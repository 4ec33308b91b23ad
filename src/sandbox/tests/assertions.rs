//! Client assertions: signatures, claims, times, and whose keys they are.

use super::*;
use aws_lc_rs::{rand::SystemRandom, signature};
use rustls::pki_types::PrivatePkcs8KeyDer;

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A JWT of these claims; `algorithm` is what really signs.
pub(super) fn signed(algorithm: &str, key: &str, header: &Value, claims: &Value) -> String {
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(header), encode(claims));
    let random = SystemRandom::new();
    let rsa = |padding: &'static dyn signature::RsaEncoding| {
        let key = signature::RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(padding, &random, text.as_bytes(), &mut signature).unwrap();
        signature
    };
    let signature = match algorithm {
        "PS256" => rsa(&signature::RSA_PSS_SHA256),
        "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
        "ES256" => {
            let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
            let key = signature::EcdsaKeyPair::from_pkcs8(algorithm, key.secret_pkcs8_der()).unwrap();
            key.sign(&random, text.as_bytes()).unwrap().as_ref().to_vec()
        }
        other => panic!("{other}"),
    };
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A certificate that the sandbox knows, its key, and how the header names it.
struct Keys {
    key: String,
    sha256: String,
    sha1: String,
}

fn keys(provider: &Provider) -> Keys {
    let (certificate, key) = provider.shared.client_certificate().unwrap();
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let hash = |algorithm| URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(algorithm, &der));
    Keys {
        key: key.expose().to_owned(),
        sha256: hash(&aws_lc_rs::digest::SHA256),
        sha1: hash(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY),
    }
}

fn now(provider: &Provider) -> i64 {
    i64::try_from(clock::unix_seconds(provider.shared.clock.now())).unwrap()
}

/// Good claims; `change` replaces.
fn claims(provider: &Provider, change: Value) -> Value {
    let now = now(provider);
    let mut claims = json!({
        "aud": format!("http://{}/token", provider.http()), "iss": provider.client_id(), "sub": provider.client_id(),
        "jti": random_text(16), "nbf": now, "iat": now, "exp": now + 300,
    });
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    claims
}

async fn present(provider: &Provider, assertion: &str) -> (u16, Value) {
    let scope = access_scope(provider);
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", provider.client_id()).append_pair("grant_type", "client_credentials");
    form.append_pair("scope", scope).append_pair("client_assertion_type", TYPE).append_pair("client_assertion", assertion);
    http_json(provider, "POST", "/token", &form.finish()).await
}

#[tokio::test]
async fn a_registered_certificate_speaks_for_the_application() {
    let provider = start(MICROSOFT).await;
    let keys = keys(&provider);
    for (algorithm, name) in [("PS256", ("x5t#S256", &keys.sha256)), ("RS256", ("x5t", &keys.sha1))] {
        let header = json!({ "alg": algorithm, "typ": "JWT", name.0: name.1 });
        let assertion = signed(algorithm, &keys.key, &header, &claims(&provider, json!({})));
        let (status, answer) = present(&provider, &assertion).await;
        assert_eq!(status, 200, "{algorithm} {answer}");
        let mut client = Client::secure(&provider).await;
        assert!(client.xoauth2(ADDRESS, answer["access_token"].as_str().unwrap()).await.starts_with("235"));
    }
    assert_eq!(provider.stats()["assertions"], 2);
}

#[tokio::test]
async fn entra_says_what_is_wrong_with_an_assertion() {
    let provider = start(MICROSOFT).await;
    let (known, other) = (keys(&provider), certificate::client(None).unwrap().1);
    let named = json!({ "alg": "PS256", "x5t#S256": known.sha256 });
    let now = now(&provider);
    for (header, key, change, code) in [
        (json!({ "alg": "PS256", "x5t#S256": "AAAA" }), known.key.as_str(), json!({}), 700_027),
        (json!({ "alg": "PS256" }), &known.key, json!({}), 5_002_723),
        (json!({ "alg": "HS256", "x5t#S256": known.sha256 }), &known.key, json!({}), 5_002_738),
        (json!({ "alg": "RS256", "x5t#S256": known.sha256 }), &known.key, json!({}), 50_012),
        (named.clone(), other.expose(), json!({}), 50_012),
        (named.clone(), &known.key, json!({ "sub": "other" }), 700_021),
        (named.clone(), &known.key, json!({ "aud": "https://login.microsoftonline.com/x/token" }), 700_023),
        (named.clone(), &known.key, json!({ "exp": now - 301, "nbf": now - 700 }), 700_024),
        (named.clone(), &known.key, json!({ "nbf": now + 330 }), 700_024),
        (named.clone(), &known.key, json!({ "exp": null }), 50_027),
        (named.clone(), &known.key, json!({ "iss": "https://other.example" }), 700_211),
    ] {
        let (status, answer) = present(&provider, &signed("PS256", key, &header, &claims(&provider, change.clone()))).await;
        assert_eq!((status, &answer["error_codes"]), (401, &json!([code])), "{header} {change} {answer}");
        assert_eq!(answer["error"], "invalid_client");
    }
    assert_eq!(present(&provider, "a.b").await.1["error_codes"], json!([50_027]));
    assert_eq!(provider.stats()["assertions"], 0);
}

#[tokio::test]
async fn an_assertion_ends_by_the_sandboxs_clock() {
    let provider = start(MICROSOFT).await;
    let keys = keys(&provider);
    let header = json!({ "alg": "PS256", "x5t#S256": keys.sha256 });
    let assertion = signed("PS256", &keys.key, &header, &claims(&provider, json!({})));
    assert_eq!(present(&provider, &assertion).await.0, 200);
    provider.advance(Duration::from_secs(3600));
    assert_eq!(present(&provider, &assertion).await.1["error_codes"], json!([700_024]));
    assert_eq!(http(&provider, "DELETE", "/clients/certificate", "").await.0, 204);
    let assertion = signed("PS256", &keys.key, &header, &claims(&provider, json!({})));
    assert_eq!(present(&provider, &assertion).await.1["error_codes"], json!([700_027]), "nothing is registered");
}

#[tokio::test]
async fn custom_takes_each_algorithm_with_its_key_and_each_assertion_once() {
    let provider = start(CUSTOM).await;
    let elliptic = rcgen::KeyPair::generate().unwrap();
    assert_eq!(http(&provider, "PUT", "/clients/certificate", &elliptic.public_key_pem()).await.0, 204, "a key alone");
    let rsa = keys(&provider).key;
    let elliptic = elliptic.serialize_pem();
    for (algorithm, key) in [("PS256", &rsa), ("RS256", &rsa), ("ES256", &elliptic)] {
        let assertion = signed(algorithm, key, &json!({ "alg": algorithm }), &claims(&provider, json!({})));
        assert_eq!(present(&provider, &assertion).await.0, 200, "{algorithm}");
        let (status, answer) = present(&provider, &assertion).await;
        assert_eq!(
            (status, answer["error_description"].as_str()),
            (401, Some("a client assertion with this jti was used before"))
        );
    }
    let now = now(&provider);
    for (algorithm, key, change, said) in [
        ("ES256", &rsa, json!({}), "signature"),
        ("none", &rsa, json!({}), "signature"),
        ("PS256", &rsa, json!({ "jti": "" }), "it has no jti"),
        ("PS256", &rsa, json!({ "exp": now }), "not valid at this time"),
        ("PS256", &rsa, json!({ "aud": ["https://other.example"] }), "not for this server"),
        ("PS256", &rsa, json!({ "iss": "other" }), "are not the client"),
    ] {
        let assertion = signed("PS256", key, &json!({ "alg": algorithm }), &claims(&provider, change.clone()));
        let answer = present(&provider, &assertion).await.1;
        assert!(answer["error_description"].as_str().unwrap().contains(said), "{algorithm} {change} {answer}");
    }
    let issuer = json!({ "aud": format!("http://localhost:{}", provider.http().port()) });
    let assertion = signed("PS256", &rsa, &json!({ "alg": "PS256" }), &claims(&provider, issuer));
    assert_eq!(present(&provider, &assertion).await.0, 200, "the issuer is an audience too");
}

#[tokio::test]
async fn a_federated_token_has_to_fit_what_was_registered() {
    let provider = start(MICROSOFT).await;
    let fetched = http(&provider, "GET", "/federated-token", "").await;
    let token = String::from_utf8(fetched.2).unwrap();
    assert_eq!((fetched.0, present(&provider, &token).await.0), (200, 200));
    provider.advance(Duration::from_secs(2 * 3600));
    assert_eq!(present(&provider, &token).await.1["error_codes"], json!([700_024]));
    let key = rcgen::KeyPair::generate().unwrap();
    let registered = json!([{ "issuer": "https://issuer.example", "subject": "a:b", "key": key.public_key_pem() }]);
    assert_eq!(http(&provider, "PUT", "/clients/federation", &registered.to_string()).await.0, 204);
    let (key, audience) = (key.serialize_pem(), json!("api://AzureADTokenExchange"));
    for (issuer, subject, aud, code) in [
        ("https://issuer.example", "a:b", audience.clone(), None),
        ("https://issuer.example", "a:b", json!(["x", audience]), None),
        ("https://issuer.example/", "a:b", audience.clone(), Some(700_211)),
        ("https://issuer.example", "A:b", audience.clone(), Some(700_213)),
        ("https://issuer.example", "a:b", json!("api://azureadtokenexchange"), Some(700_212)),
    ] {
        let claims = claims(&provider, json!({ "iss": issuer, "sub": subject, "aud": aud }));
        let (status, answer) = present(&provider, &signed("ES256", &key, &json!({ "alg": "ES256" }), &claims)).await;
        assert_eq!(answer["error_codes"][0].as_u64(), code, "{issuer} {subject} {aud} {status} {answer}");
    }
    let claims = claims(&provider, json!({ "iss": "https://issuer.example", "sub": "a:b", "aud": audience }));
    let stranger = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let answer = present(&provider, &signed("ES256", &stranger, &json!({ "alg": "ES256" }), &claims)).await.1;
    assert_eq!(answer["error_codes"], json!([50_012]));
}

#[tokio::test]
async fn what_cannot_be_registered_is_said() {
    let provider = start(MICROSOFT).await;
    for (path, body, said) in [
        ("/clients/certificate", "nothing", "neither a CERTIFICATE nor a PUBLIC KEY"),
        ("/clients/kind", "{}", "give {\"public\": true}"),
        ("/clients/redirects", "[\"nowhere\"]", "is no URL"),
        ("/clients/federation", "{}", "where wanted with audience"),
        ("/delegation", "[]", "100000000000000000001"),
    ] {
        let (status, answer) = http_json(&provider, "PUT", path, body).await;
        assert!(status == 400 && answer["error"].as_str().unwrap().contains(said), "{path} {answer}");
    }
    let key = rcgen::KeyPair::generate().unwrap().public_key_pem();
    for _ in 0..20 {
        assert_eq!(http(&provider, "PUT", "/clients/certificate", &key).await.0, 204);
    }
    assert_eq!(http(&provider, "PUT", "/clients/certificate", &key).await.0, 400, "bounded");
    let (certificate, key) = certificate::client(None).unwrap();
    let provider = Provider::start(Options { certificates: vec![certificate], ..options(CUSTOM) }).await.unwrap();
    let assertion = signed("PS256", key.expose(), &json!({ "alg": "PS256" }), &claims(&provider, json!({})));
    assert_eq!(present(&provider, &assertion).await.0, 200, "registered at start");
    let certificates = vec!["nothing".to_owned()];
    assert!(Provider::start(Options { certificates, ..options(MICROSOFT) }).await.is_err());
}

#[tokio::test]
async fn a_certificate_counts_until_the_end_of_its_last_day() {
    let day = Duration::from_secs(24 * 3600);
    for (who, said) in [(MICROSOFT, "AADSTS700027: "), (CUSTOM, "the client's certificate does not count now")] {
        let provider = Provider::start(Options { certificate_life: Some(day * 10), ..options(who) }).await.unwrap();
        let keys = keys(&provider);
        let header = json!({ "alg": "RS256", "typ": "JWT", "x5t": keys.sha1 });
        let ask = async || present(&provider, &signed("RS256", &keys.key, &header, &claims(&provider, json!({})))).await;
        provider.advance(day * 10);
        assert_eq!(ask().await.0, 200, "{who}");
        provider.advance(day);
        let (status, answer) = ask().await;
        assert_eq!((status, answer["error"].as_str()), (401, Some("invalid_client")), "{who}: {answer}");
        assert!(answer["error_description"].as_str().is_some_and(|text| text.starts_with(said)), "{who}: {answer}");
    }
}
