//! Microsoft's words: an AADSTS number, a sentence, and ids for its support.

use super::super::{
    super::{Shared, clock::rfc3339, faults::Answer, random_bytes, token::Dead},
    refusal::{BadCode, Doubt, Polled, Refusal},
};
use super::clip;
use axum::http::StatusCode;
use serde_json::{Value, json};

const BAD: StatusCode = StatusCode::BAD_REQUEST;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

/// Status, error, AADSTS number and text.
type Words = (StatusCode, &'static str, u32, String);

pub(super) fn worded(shared: &Shared, refusal: &Refusal) -> (StatusCode, Value) {
    let (status, error, code, text) = match refusal {
        Refusal::Said(said) => {
            let (status, _) = super::said(said, &[("unauthorized_client", BAD)]);
            (status, said.error.as_str(), said.aadsts.unwrap_or(70_000), said.description.clone())
        }
        refusal => words(shared, refusal),
    };
    let id = || uuid::Uuid::from_bytes(random_bytes()).to_string();
    let (trace, correlation, at) = (id(), id(), rfc3339(shared.clock.now()));
    let description = format!("AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}");
    let mut body = json!({
        "error": error, "error_description": description, "error_codes": [code], "timestamp": at, "trace_id": trace,
        "correlation_id": correlation, "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
    });
    match refusal {
        Refusal::Said(Answer { subtype: Some(subtype), .. }) => body["suberror"] = subtype.as_str().into(),
        _ if error == "invalid_grant" => body["suberror"] = "bad_token".into(),
        _ => {}
    }
    (status, body)
}

fn words(shared: &Shared, refusal: &Refusal) -> Words {
    let app = shared.client_id();
    match refusal {
        Refusal::Missing(name) => {
            (BAD, "invalid_request", 900_144, format!("The request body must contain the following parameter: '{name}'."))
        }
        Refusal::Twice => (BAD, "invalid_request", 9_002_313, "Invalid request. Request is malformed or invalid.".into()),
        Refusal::UnknownClient(_)
        | Refusal::MissingSecret
        | Refusal::WrongSecret
        | Refusal::SecretExpired
        | Refusal::PublicClient => client(app, refusal),
        Refusal::Assertion(doubt) => assertion(shared, doubt),
        Refusal::Grant(grant) => {
            (BAD, "unsupported_grant_type", 70_003, format!("The app requested an unsupported grant type '{}'.", clip(grant)))
        }
        Refusal::Scope(scope) | Refusal::DeviceScope(scope) => {
            let text =
                format!("The provided request must include a valid 'scope' input parameter; '{}' is not valid.", clip(scope));
            (BAD, "invalid_scope", 70_011, text)
        }
        Refusal::MixedScopes(scope) => {
            let text = format!("Provided value for the input parameter scope '{}' asks for more than one resource.", clip(scope));
            (BAD, "invalid_request", 28_003, text)
        }
        Refusal::NotAgreed(_) => {
            let text = format!(
                "The user or administrator has not consented to use the application with ID '{app}'. Send an interactive \
                 authorization request for this user and resource."
            );
            (BAD, "invalid_grant", 65_001, text)
        }
        Refusal::Dead(Dead::Inactive) => {
            (BAD, "invalid_grant", 700_082, "The refresh token has expired due to inactivity.".into())
        }
        Refusal::Dead(Dead::Over) => {
            let text = "The refresh token was issued to a single page app (SPA), and therefore has a fixed, limited lifetime, which \
                        can't be extended. It is now expired and a new sign in request must be sent by the SPA to the sign in page.";
            (BAD, "invalid_grant", 700_084, text.into())
        }
        // Microsoft has no one-time refresh tokens for confidential clients: by fault only.
        Refusal::Dead(Dead::Reused) => {
            let text = "Provided grant is invalid or malformed. The refresh token was used twice.";
            (BAD, "invalid_grant", 70_000, text.into())
        }
        Refusal::Dead(Dead::Unknown) | Refusal::ServiceAccount(_) | Refusal::Said(_) => {
            (BAD, "invalid_grant", 70_000, "Provided grant is invalid or malformed.".into())
        }
        Refusal::Dead(Dead::Revoked) | Refusal::Revoked => {
            let text = "The provided grant has expired due to it being revoked, a fresh auth token is needed.";
            (BAD, "invalid_grant", 50_173, text.into())
        }
        Refusal::Code(code) => bad_code(code),
        Refusal::Device(polled) => device(*polled),
    }
}

/// What is wrong with the client itself.
fn client(app: &str, refusal: &Refusal) -> Words {
    let unauthorized = |code, text| (UNAUTHORIZED, "invalid_client", code, text);
    match refusal {
        Refusal::UnknownClient(id) => {
            let text = format!("Application with identifier '{}' was not found in the directory 'Sandbox'.", clip(id));
            (BAD, "unauthorized_client", 700_016, text)
        }
        Refusal::MissingSecret => {
            let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
            unauthorized(7_000_218, text.into())
        }
        Refusal::SecretExpired => unauthorized(
            7_000_222,
            format!(
                "The provided client secret keys for app '{app}' are expired. Visit the Azure portal to create new keys for \
                 your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: \
                 https://aka.ms/certCreds."
            ),
        ),
        Refusal::PublicClient => {
            let text = "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.";
            unauthorized(700_025, text.into())
        }
        _ => unauthorized(
            7_000_215,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, \
                 not the client secret ID, for a secret added to app '{app}'."
            ),
        ),
    }
}

fn bad_code(code: &BadCode) -> Words {
    let (number, text) = match code {
        BadCode::Unknown => {
            (70_000, "The provided value for the 'code' parameter is not valid. The code has expired or is malformed.".into())
        }
        BadCode::Used => {
            let text = "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing \
                        refresh token.";
            (54_005, text.into())
        }
        BadCode::Expired => {
            let text = "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive \
                        authorization request for this user and resource.";
            (70_008, text.into())
        }
        BadCode::Redirect { given, wanted } => {
            let text = format!(
                "The reply address '{}' does not match the reply address '{}' provided when requesting Authorization code.",
                clip(given),
                clip(wanted)
            );
            (50_011, text)
        }
        BadCode::Verifier => {
            (501_481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.".into())
        }
    };
    (BAD, "invalid_grant", number, text)
}

/// Entra has words of its own where RFC 8628 says `access_denied`; it has none for `slow_down`, whose number is the pending one.
fn device(polled: Polled) -> Words {
    match polled {
        Polled::Pending => {
            let text = "OAuth 2.0 device flow error. Authorization is pending. Continue polling.";
            (BAD, "authorization_pending", 70_016, text.into())
        }
        Polled::SlowDown => (BAD, "slow_down", 70_016, "OAuth 2.0 device flow error. Polling too often.".into()),
        Polled::Denied => (BAD, "authorization_declined", 65_004, "User declined to consent to access the app.".into()),
        Polled::Expired => (BAD, "expired_token", 70_019, "Verification code expired. Have the user retry the sign-in.".into()),
        Polled::Unknown => (BAD, "bad_verification_code", 70_018, "Invalid verification code.".into()),
    }
}

fn assertion(shared: &Shared, doubt: &Doubt) -> Words {
    let app = shared.client_id();
    let client = |code, text| (UNAUTHORIZED, "invalid_client", code, text);
    match doubt {
        Doubt::Type(kind) => {
            let text = format!("The input parameter 'client_assertion_type' has the unsupported value '{}'.", clip(kind));
            (BAD, "invalid_request", 9_002_313, text)
        }
        Doubt::Malformed(why) => client(50_027, format!("JWT token is invalid or malformed: {why}.")),
        Doubt::NoThumbprint => client(
            5_002_723,
            "Invalid JWT token. No certificate SHA-1 thumbprint, certificate SHA-256 thumbprint, nor keyId specified in token \
             header."
                .into(),
        ),
        Doubt::Algorithm(name) => {
            client(5_002_738, format!("Invalid JWT token. '{}' is not a supported signature algorithm.", clip(name)))
        }
        Doubt::UnknownKey(thumbprint) => client(
            700_027,
            format!(
                "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - \
                 The key was not found., Thumbprint of key used by client: '{}', Configured keys: see the app '{app}'.]",
                clip(thumbprint)
            ),
        ),
        Doubt::Outdated => client(
            700_027,
            "The certificate with identifier used to sign the client assertion is expired on application. [Reason - The key used is \
             expired.]"
                .into(),
        ),
        Doubt::Signature => client(
            50_012,
            "Client assertion contains an invalid signature. [Reason - The provided signature value did not match the expected \
             signature value.]"
                .into(),
        ),
        Doubt::Application => {
            client(700_021, "Client assertion application identifier doesn't match 'client_id' parameter.".into())
        }
        Doubt::Audience(_) => client(700_023, "Client assertion audience claim does not match Realm issuer.".into()),
        Doubt::Time => {
            let now = rfc3339(shared.clock.now());
            client(700_024, format!("Client assertion is not within its valid time range. Current time: {now}."))
        }
        Doubt::Replayed => client(50_012, "Client assertion was used before.".into()),
        Doubt::Federated(claim, value) => {
            let code = match *claim {
                "issuer" => 700_211,
                "audience" => 700_212,
                _ => 700_213,
            };
            let text = format!(
                "No matching federated identity record found for presented assertion {claim} '{}'. Check your federated \
                 identity credential Subject, Audience and Issuer against the presented assertion.",
                clip(value)
            );
            client(code, text)
        }
    }
}
