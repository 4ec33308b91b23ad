//! One row for each OAuth error that is known of Google and Entra, and a walk over every AADSTS number.

use super::*;
use OAuthOutcome::*;
use proptest::prelude::*;
use std::collections::HashSet;

const GOOGLE: Provider = Provider::Google;
const MICROSOFT: Provider = Provider::Microsoft;
const CUSTOM: Provider = Provider::Custom;

/// Provider, `error`, `error_description`, subtype, outcome, name of the advice.
type Example = (Provider, &'static str, &'static str, &'static str, OAuthOutcome, &'static str);

const BY_NAME: &[Example] = &[
    // Service accounts.
    (GOOGLE, "unauthorized_client", "Unauthorized client or scope in request.", "", NeedsAdministrator, "google-delegation"),
    (
        GOOGLE,
        "unauthorized_client",
        "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes \
         requested.",
        "",
        NeedsAdministrator,
        "google-delegation",
    ),
    (GOOGLE, "access_denied", "Requested client not authorized.", "", NeedsAdministrator, "google-access-denied"),
    (GOOGLE, "admin_policy_enforced", "", "", NeedsAdministrator, "google-admin-policy"),
    (GOOGLE, "invalid_client", "", "", NeedsConfiguration, "google-client"),
    (GOOGLE, "invalid_grant", "Not a valid email.", "", NeedsAdministrator, "google-no-such-user"),
    (GOOGLE, "invalid_grant", "Invalid email or User ID", "", NeedsAdministrator, "google-no-such-user"),
    (GOOGLE, "invalid_grant", "Invalid grant: account not found", "", NeedsAdministrator, "google-no-such-user"),
    (GOOGLE, "invalid_grant", "Invalid JWT: Failed audience check.", "", NeedsConfiguration, "google-service-account-assertion"),
    (
        GOOGLE,
        "invalid_grant",
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp \
         values in the JWT claim.",
        "",
        NeedsConfiguration,
        "clock",
    ),
    (GOOGLE, "invalid_grant", "Invalid JWT Signature.", "", NeedsConfiguration, "google-service-account-key"),
    (GOOGLE, "invalid_scope", "Invalid OAuth scope or ID token audience provided.", "", NeedsConfiguration, "google-scope"),
    (GOOGLE, "invalid_scope", "Some requested scopes were invalid.", "", NeedsConfiguration, "google-scope"),
    (GOOGLE, "disabled_client", "The OAuth client was disabled.", "", NeedsConfiguration, "google-client-disabled"),
    (GOOGLE, "deleted_client", "The OAuth client was deleted.", "", NeedsConfiguration, "google-client-deleted"),
    (GOOGLE, "org_internal", "", "", NeedsConfiguration, "google-internal-app"),
    // People's consents.
    (GOOGLE, "invalid_grant", "Token has been expired or revoked.", "", NeedsConsent, "google-grant-ended"),
    (GOOGLE, "invalid_grant", "Bad Request", "", NeedsConsent, "google-grant-malformed"),
    (GOOGLE, "invalid_grant", "reauth related error (invalid_rapt)", "invalid_rapt", NeedsConsent, "google-session-control"),
    (GOOGLE, "invalid_grant", "Bad Request", "invalid_rapt", NeedsConsent, "google-session-control"),
    (GOOGLE, "invalid_grant", "Account has been deleted", "", NeedsConsent, "google-grant-ended"),
    (GOOGLE, "invalid_client", "The OAuth client was not found.", "", NeedsConfiguration, "google-client"),
    (GOOGLE, "invalid_client", "Unauthorized", "", NeedsConfiguration, "google-client"),
    (GOOGLE, "unauthorized_client", "Unauthorized", "", NeedsAdministrator, "google-delegation"),
    (GOOGLE, "redirect_uri_mismatch", "Bad Request", "", NeedsConfiguration, "google-redirect"),
    (GOOGLE, "invalid_request", "client_secret is missing.", "", NeedsConfiguration, "google-secret-missing"),
    (
        GOOGLE,
        "invalid_request",
        "device_id and device_name are required for private IP: http://192.168.1.2/callback",
        "",
        NeedsConfiguration,
        "google-private-address",
    ),
    (
        GOOGLE,
        "invalid_scope",
        "Invalid device flow scope: https://mail.google.com/",
        "",
        NeedsConfiguration,
        "google-device-flow",
    ),
    (GOOGLE, "access_denied", "", "", NeedsAdministrator, "google-access-denied"),
    (GOOGLE, "disallowed_useragent", "", "", NeedsConfiguration, "google-browser-needed"),
    // By name alone: Entra's errors with an unknown number, and any server's.
    (MICROSOFT, "temporarily_unavailable", "", "", Transient, "sign-in-service-busy"),
    (MICROSOFT, "server_error", "", "", Transient, "sign-in-service-busy"),
    (MICROSOFT, "authorization_pending", "", "", Transient, "device-code-pending"),
    (MICROSOFT, "slow_down", "", "", Transient, "device-code-pending"),
    (MICROSOFT, "authorization_declined", "", "", NeedsConsent, "login-not-finished"),
    (MICROSOFT, "bad_verification_code", "", "", NeedsConsent, "device-code-ended"),
    (MICROSOFT, "expired_token", "", "", NeedsConsent, "device-code-ended"),
    (MICROSOFT, "invalid_grant", "AADSTS999999: Something new.", "bad_token", NeedsConsent, "grant-ended"),
    (MICROSOFT, "interaction_required", "AADSTS999999: Something new.", "basic_action", NeedsConsent, "grant-ended"),
    (MICROSOFT, "login_required", "", "", NeedsConsent, "grant-ended"),
    (MICROSOFT, "consent_required", "", "", NeedsConsent, "grant-ended"),
    (MICROSOFT, "invalid_resource", "", "", NeedsConfiguration, "scope-refused"),
    (CUSTOM, "invalid_grant", "", "", NeedsConsent, "grant-ended"),
    (CUSTOM, "invalid_client", "", "", NeedsConfiguration, "client-refused"),
    (CUSTOM, "unauthorized_client", "", "", NeedsAdministrator, "client-not-permitted"),
    (CUSTOM, "access_denied", "", "", NeedsConsent, "login-not-finished"),
    (CUSTOM, "invalid_scope", "", "", NeedsConfiguration, "scope-refused"),
    (CUSTOM, "invalid_target", "", "", NeedsConfiguration, "scope-refused"),
    (CUSTOM, "invalid_request", "", "", NeedsConfiguration, "malformed-request"),
    (CUSTOM, "unsupported_grant_type", "", "", NeedsConfiguration, "grant-not-supported"),
    (CUSTOM, "unsupported_response_type", "", "", NeedsConfiguration, "grant-not-supported"),
    (CUSTOM, "out_of_coffee", "", "", Transient, ""),
    (
        MICROSOFT,
        "invalid_client",
        "AADSTS700023: Client assertion audience claim does not match Realm issuer.",
        "",
        NeedsConfiguration,
        "microsoft-assertion-audience",
    ),
    (
        CUSTOM,
        "invalid_client",
        "AADSTS7000222: The provided client secret keys are expired.",
        "",
        NeedsConfiguration,
        "microsoft-secret-expired",
    ),
];

/// Every number that is known of Entra, with what it means.
const BY_NUMBER: &[(&[u64], OAuthOutcome, &str)] = &[
    (&[50033, 50087, 70012, 90006, 90012, 90024, 90033, 90090, 90091, 90055], Transient, "sign-in-service-busy"),
    (&[50196], Transient, "microsoft-token-loop"),
    (&[70000, 70008, 50085], NeedsConsent, "microsoft-grant-ended"),
    (&[700082], NeedsConsent, "microsoft-unused-90-days"),
    (&[70043, 70044], NeedsConsent, "microsoft-sign-in-frequency"),
    (&[50089], NeedsConsent, "microsoft-login-page-old"),
    (&[50173, 50132, 50133], NeedsConsent, "microsoft-sessions-revoked"),
    (&[50076, 50079, 50072, 50074, 50078, 50158], NeedsConsent, "microsoft-second-factor"),
    (&[50097], NeedsAdministrator, "microsoft-device-needed"),
    (&[65001, 90094, 90095], NeedsAdministrator, "microsoft-consent-missing"),
    (&[65004, 54005], NeedsConsent, "login-not-finished"),
    (&[700084, 9002327], NeedsConfiguration, "microsoft-spa-redirect"),
    (&[530036], NeedsAdministrator, "microsoft-device-code-blocked"),
    (
        &[50131, 53000, 53001, 53002, 53003, 53004, 53010, 53011, 530003, 530032, 530034, 530035],
        NeedsAdministrator,
        "microsoft-conditional-access",
    ),
    (&[50053], NeedsAdministrator, "microsoft-account-locked"),
    (&[50055, 50126, 50056, 50144], NeedsConsent, "microsoft-user-password"),
    (&[50057, 500341], NeedsAdministrator, "microsoft-user-disabled"),
    (&[50105], NeedsAdministrator, "microsoft-user-not-assigned"),
    (&[7000215, 70002], NeedsConfiguration, "microsoft-secret-wrong"),
    (&[7000222], NeedsConfiguration, "microsoft-secret-expired"),
    (&[7000218, 7000216], NeedsConfiguration, "microsoft-secret-missing"),
    (&[700025], NeedsConfiguration, "microsoft-public-client"),
    (&[700027, 50012, 700030], NeedsConfiguration, "microsoft-certificate"),
    (&[1000502], NeedsConfiguration, "microsoft-certificate-expired"),
    (&[700021, 50048], NeedsConfiguration, "microsoft-assertion-client"),
    (&[5002723, 5002738, 50027], NeedsConfiguration, "microsoft-assertion-form"),
    (&[500133, 700024], NeedsConfiguration, "clock"),
    (&[700016, 700011, 7000229], NeedsConfiguration, "microsoft-app-not-found"),
    (&[90002, 50059, 50128, 90019, 900023], NeedsConfiguration, "microsoft-tenant-not-found"),
    (&[90038, 900432, 900382], NeedsConfiguration, "microsoft-wrong-cloud"),
    (&[50194], NeedsConfiguration, "microsoft-single-tenant"),
    (&[9001023, 90124, 90130], NeedsConfiguration, "microsoft-tenant-needed"),
    (&[9002331, 9002332], NeedsConfiguration, "microsoft-kind-of-account"),
    (&[50014, 50020, 50034, 51004, 500208, 90072], NeedsConfiguration, "microsoft-foreign-account"),
    (&[50011, 70004, 500113], NeedsConfiguration, "microsoft-redirect"),
    (&[500011, 65005, 650052, 650054, 650056, 650057], NeedsConfiguration, "microsoft-permission-missing"),
    (&[70011, 28000, 28002, 28003, 700022, 700023], NeedsConfiguration, "microsoft-scope"),
    (&[7000112, 70001], NeedsAdministrator, "microsoft-app-disabled"),
    (&[900144, 9002313, 90014], NeedsConfiguration, "malformed-request"),
    (&[70003], NeedsConfiguration, "grant-not-supported"),
    (&[501481], NeedsConfiguration, "microsoft-stale-login"),
    (&[70016], Transient, "device-code-pending"),
    (&[70018, 70019], NeedsConsent, "device-code-ended"),
    (&[700229, 70021, 700211, 700212, 700213], NeedsConfiguration, "microsoft-federated-credential"),
];

fn fault<'a>(error: &'a str, description: &'a str, codes: &'a [u64]) -> OAuthFault<'a> {
    OAuthFault { status: 400, error: Some(error), description: Some(description), subtype: None, codes }
}

fn told(provider: Provider, fault: &OAuthFault<'_>) -> (OAuthOutcome, &'static str) {
    let verdict = classify_oauth(provider, fault);
    (verdict.outcome, verdict.advice.map_or("", |advice| advice.name))
}

#[test]
fn every_known_error_is_judged_and_explained() {
    for &(provider, error, description, subtype, outcome, advice) in BY_NAME {
        let fault = OAuthFault { subtype: Some(subtype), ..fault(error, description, &[]) };
        assert_eq!(told(provider, &fault), (outcome, advice), "{provider}: {error} {description}");
    }
}

#[test]
fn every_number_of_entra_is_read_from_the_list_and_from_the_text() {
    for &(codes, outcome, advice) in BY_NUMBER {
        for &code in codes {
            let listed = [code];
            assert_eq!(told(MICROSOFT, &fault("invalid_grant", "", &listed)), (outcome, advice), "{code}");
            let text = format!("AADSTS{code}: What happened. Trace ID: 1 Correlation ID: 2 Timestamp: 2026-11-23 10:00:00Z");
            assert_eq!(told(MICROSOFT, &fault("invalid_grant", &text, &[])), (outcome, advice), "{code}");
            assert_eq!(told(MICROSOFT, &OAuthFault { error: None, ..fault("", &text, &[]) }), (outcome, advice), "{code}");
        }
    }
}

#[test]
fn no_number_stands_twice_and_none_without_a_test() {
    let tested: HashSet<u64> = BY_NUMBER.iter().flat_map(|(codes, ..)| *codes).copied().collect();
    let mut listed = HashSet::new();
    for code in entra::ROWS.iter().flat_map(|row| row.codes) {
        assert!(listed.insert(*code), "{code} twice");
    }
    assert_eq!(listed, tested);
}

#[test]
fn every_row_of_names_has_its_example() {
    for row in google::ROWS.iter().chain(any::ROWS) {
        let reached = BY_NAME.iter().any(|&(provider, error, description, subtype, ..)| {
            let fault = OAuthFault { subtype: Some(subtype), ..fault(error, description, &[]) };
            find(provider, &fault).is_some_and(|found| std::ptr::eq(found, row))
        });
        assert!(reached, "no example reaches {} {:?}", row.error, row.detail);
    }
}

#[test]
fn every_advice_is_reached_by_an_error() {
    let reached: HashSet<&str> =
        BY_NAME.iter().map(|(.., advice)| *advice).chain(BY_NUMBER.iter().map(|(.., advice)| *advice)).collect();
    for advice in ADVICE {
        assert!(reached.contains(advice.name), "{}", advice.name);
    }
}

#[test]
fn an_ill_service_says_nothing_about_the_grant() {
    for provider in [GOOGLE, MICROSOFT, CUSTOM] {
        for status in [429, 500, 502, 503, 504] {
            let fault = OAuthFault { status, ..fault("invalid_grant", "AADSTS70008: expired", &[70008]) };
            assert_eq!(told(provider, &fault), (Transient, "sign-in-service-busy"), "{provider} {status}");
        }
    }
}

#[test]
fn what_no_table_knows_is_temporary() {
    for provider in [GOOGLE, MICROSOFT, CUSTOM] {
        for (status, advice) in [(0, ""), (200, "not-a-token-endpoint"), (404, "not-a-token-endpoint"), (407, "proxy-password")] {
            let fault = OAuthFault { status, error: None, description: None, subtype: None, codes: &[] };
            assert_eq!(told(provider, &fault), (Transient, advice), "{provider} {status}");
        }
        for status in [0, 200, 400] {
            assert_eq!(
                told(provider, &OAuthFault { status, ..fault("news", "AADSTS1: x", &[1]) }),
                (Transient, ""),
                "{provider}"
            );
        }
    }
}

#[test]
fn a_known_number_beats_unknown_ones_around_it() {
    let fault = fault("invalid_client", "AADSTS1: x AADSTS: y AADSTS99999999999999999999999: z AADSTS7000222: expired", &[2]);
    assert_eq!(told(MICROSOFT, &fault), (NeedsConfiguration, "microsoft-secret-expired"));
}

proptest! {
    #[test]
    fn no_error_text_panics(
        provider in prop::sample::select(vec![GOOGLE, MICROSOFT, CUSTOM]),
        status: u16,
        error in prop::option::of(any::<String>()),
        description in prop::option::of("(AADSTS[0-9é]{0,25}|.){0,5}"),
        subtype in prop::option::of(any::<String>()),
        codes: Vec<u64>,
    ) {
        let (error, description, subtype) = (error.as_deref(), description.as_deref(), subtype.as_deref());
        let verdict = classify_oauth(provider, &OAuthFault { status, error, description, subtype, codes: &codes });
        prop_assert!(status < 500 || verdict.outcome == Transient);
    }
}
