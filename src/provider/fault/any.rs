//! Errors by name, as RFC 6749 §4.1.2.1 and §5.2, RFC 8628 §3.5 and OpenID Connect have them; asked after what is known of the
//! provider.

use super::{OAuthOutcome::*, Row, advice::*, row};

/// An error that is not here is temporary.
pub(super) static ROWS: &[Row] = &[
    row("temporarily_unavailable", "", Transient, &PROVIDER_BUSY),
    row("server_error", "", Transient, &PROVIDER_BUSY),
    row("authorization_pending", "", Transient, &DEVICE_PENDING),
    row("slow_down", "", Transient, &DEVICE_PENDING),
    row("invalid_grant", "", NeedsConsent, &GRANT_ENDED),
    row("interaction_required", "", NeedsConsent, &GRANT_ENDED),
    row("login_required", "", NeedsConsent, &GRANT_ENDED),
    row("consent_required", "", NeedsConsent, &GRANT_ENDED),
    row("access_denied", "", NeedsConsent, &LOGIN_NOT_FINISHED),
    row("authorization_declined", "", NeedsConsent, &LOGIN_NOT_FINISHED),
    row("expired_token", "", NeedsConsent, &DEVICE_CODE_ENDED),
    row("bad_verification_code", "", NeedsConsent, &DEVICE_CODE_ENDED),
    row("invalid_client", "", NeedsConfiguration, &CLIENT_REFUSED),
    row("unauthorized_client", "", NeedsAdministrator, &CLIENT_NOT_PERMITTED),
    row("invalid_scope", "", NeedsConfiguration, &SCOPE_REFUSED),
    row("invalid_resource", "", NeedsConfiguration, &SCOPE_REFUSED),
    row("invalid_target", "", NeedsConfiguration, &SCOPE_REFUSED),
    row("invalid_request", "", NeedsConfiguration, &MALFORMED_REQUEST),
    row("unsupported_grant_type", "", NeedsConfiguration, &GRANT_NOT_SUPPORTED),
    row("unsupported_response_type", "", NeedsConfiguration, &GRANT_NOT_SUPPORTED),
];
