//! Errors of Google, whose useful part is the description; service accounts (RFC 7523) and people's consents use the same names.

use super::{OAuthOutcome::*, Row, advice::*, row};

/// The particular before the general. Where both say the same, the particular row is for texts of which nobody says whose they are.
pub(super) static ROWS: &[Row] = &[
    // A signed assertion of a service account. Nothing in these is about consent.
    // A wrong address is one mailbox's trouble; the link's others go on.
    row(
        "invalid_grant",
        "not a valid email|invalid email or user id|account not found",
        NeedsAdministrator,
        &GOOGLE_NO_SUCH_USER,
    ),
    row("invalid_grant", "short-lived token", NeedsConfiguration, &CLOCK),
    row("invalid_grant", "invalid jwt signature", NeedsConfiguration, &GOOGLE_KEY),
    row("invalid_grant", "invalid jwt", NeedsConfiguration, &GOOGLE_ASSERTION),
    // A person's consent.
    row("invalid_grant", "invalid_rapt", NeedsConsent, &GOOGLE_SESSION_CONTROL),
    row("invalid_grant", "bad request", NeedsConsent, &GOOGLE_GRANT_MALFORMED),
    row("invalid_grant", "expired or revoked", NeedsConsent, &GOOGLE_GRANT_ENDED),
    row("invalid_grant", "", NeedsConsent, &GOOGLE_GRANT_ENDED),
    // The client.
    row("invalid_client", "oauth client was not found", NeedsConfiguration, &GOOGLE_CLIENT),
    row("invalid_client", "", NeedsConfiguration, &GOOGLE_CLIENT),
    row(
        "unauthorized_client",
        "unauthorized client or scope|unauthorized to retrieve access tokens",
        NeedsAdministrator,
        &GOOGLE_DELEGATION,
    ),
    row("unauthorized_client", "", NeedsAdministrator, &GOOGLE_DELEGATION),
    row("deleted_client", "", NeedsConfiguration, &GOOGLE_CLIENT_DELETED),
    row("disabled_client", "", NeedsConfiguration, &GOOGLE_CLIENT_DISABLED),
    row("redirect_uri_mismatch", "", NeedsConfiguration, &GOOGLE_REDIRECT),
    // The request.
    row("invalid_request", "client_secret is missing", NeedsConfiguration, &GOOGLE_SECRET_MISSING),
    row("invalid_request", "private ip", NeedsConfiguration, &GOOGLE_PRIVATE_ADDRESS),
    row("invalid_scope", "device flow", NeedsConfiguration, &GOOGLE_DEVICE_FLOW),
    row("invalid_scope", "invalid oauth scope or id token", NeedsConfiguration, &GOOGLE_SCOPE),
    row("invalid_scope", "", NeedsConfiguration, &GOOGLE_SCOPE),
    // Said to a person who pressed Cancel, but also to a service account without this scope, which an administrator mends: so
    // it is probed, which costs the former nothing.
    row("access_denied", "requested client not authorized", NeedsAdministrator, &GOOGLE_ACCESS_DENIED),
    row("access_denied", "", NeedsAdministrator, &GOOGLE_ACCESS_DENIED),
    row("admin_policy_enforced", "", NeedsAdministrator, &GOOGLE_ADMIN_POLICY),
    row("org_internal", "", NeedsConfiguration, &GOOGLE_INTERNAL),
    row("disallowed_useragent", "", NeedsConfiguration, &GOOGLE_BROWSER_NEEDED),
];
