//! What to do about OAuth errors, by number and by name.

use crate::provider::advice::advice;

/// How a person's new consent comes in.
macro_rules! sign_in {
    () => {
        "sign in again as {address} with `outlink authorize {mailbox}`"
    };
}

advice! {
    // Any provider.
    PROVIDER_BUSY = "sign-in-service-busy",
        "the provider's sign-in service is unavailable or asks to wait",
        "nothing to do: mail waits, and the token is asked for again";
    GRANT_ENDED = "grant-ended",
        "the provider no longer accepts the consent that was given for {address}",
        sign_in!();
    LOGIN_NOT_FINISHED = "login-not-finished",
        "the login was cancelled, or its code was used already",
        "start the login again, and accept what it asks for";
    DEVICE_PENDING = "device-code-pending",
        "nobody has entered the device code yet",
        "open the address that was shown and enter the code";
    DEVICE_CODE_ENDED = "device-code-ended",
        "the device code is wrong or has run out",
        "start the login again, and enter the new code in time";
    CLIENT_REFUSED = "client-refused",
        "the provider does not accept the client id or client secret of link {link}",
        "compare both with what the provider shows for the client {client-id}, and give the secret's current value";
    CLIENT_NOT_PERMITTED = "client-not-permitted",
        "the client {client-id} may not obtain tokens in this way",
        "permit the grant of link {link} for this client at the provider";
    SCOPE_REFUSED = "scope-refused",
        "the provider does not accept the scopes of link {link}",
        "compare `scopes` with what the provider documents for SMTP, and with what was permitted to the client";
    GRANT_NOT_SUPPORTED = "grant-not-supported",
        "the provider does not know the grant of link {link}",
        "choose another `grant`, and check that the endpoints are the right ones";
    MALFORMED_REQUEST = "malformed-request",
        "the provider finds a mistake in the request for a token",
        "check client id, endpoints and scopes of link {link} for stray characters; if they are right, please report the \
         log line to outlink's authors";
    CLOCK = "clock",
        "this machine's clock is wrong, so what it signs looks outdated or not yet valid",
        "set the clock right and keep it so with NTP (`timedatectl` shows the state)";

    // Google.
    GOOGLE_GRANT_ENDED = "google-grant-ended",
        "Google has revoked the consent of {address}; usual causes: the consent screen is in Testing (consents last 7 \
         days), the password was changed, the access was removed, it lay unused for 6 months, or more than 100 were given \
         to this client",
        concat!(sign_in!(), ", and set the consent screen to Internal or In production so that it lasts");
    GOOGLE_GRANT_MALFORMED = "google-grant-malformed",
        "Google does not recognise the refresh token: it is damaged, used up, or was given to another client id",
        concat!("check that {client-id} is the client for which it was given, then ", sign_in!());
    GOOGLE_SESSION_CONTROL = "google-session-control",
        "a session rule of your Google Workspace wants {address} to sign in again",
        concat!(sign_in!(), ", and exempt the app under Security, Google Cloud session control, so that it lasts");
    GOOGLE_NO_SUCH_USER = "google-no-such-user",
        "Google knows no user {address} (an alias or a group is none)",
        "set the mailbox's address to the user's primary address";
    GOOGLE_KEY = "google-service-account-key",
        "Google does not accept the signature: the service account's key was deleted or disabled, or belongs to another account",
        "make a new key for the service account in the Cloud console, and give it to link {link}";
    GOOGLE_ASSERTION = "google-service-account-assertion",
        "Google does not accept what the service account signed",
        "check that `token-endpoint` of link {link} is https://oauth2.googleapis.com/token, or absent; if it is, please report \
         the log line to outlink's authors";
    GOOGLE_CLIENT = "google-client",
        "Google does not accept client id or client secret",
        "compare both with the client in the Cloud console under Credentials; the secret is shown only when it is made, so \
         make a new one if in doubt";
    GOOGLE_DELEGATION = "google-delegation",
        "the client may not be used in this way, or the service account is not permitted to act for users",
        "in the Admin console under Security, API controls, Domain-wide delegation add the service account's numeric client \
         id (not its mail address) with the scope https://mail.google.com/ and allow up to 24 hours; for a person's consent \
         use a client of type Desktop or Web";
    GOOGLE_CLIENT_DELETED = "google-client-deleted",
        "the OAuth client was deleted; Google does so by itself after 6 months without use",
        "restore it in the Cloud console within 30 days, or make a new one";
    GOOGLE_CLIENT_DISABLED = "google-client-disabled",
        "the OAuth client, the service account or its key was disabled, perhaps because the key was found in public",
        "find out why in the Cloud console, then enable it or make a new key";
    GOOGLE_REDIRECT = "google-redirect",
        "the redirect URL is not registered for this client",
        "register the redirect URL of link {link} exactly as it is at the client of type Web, or make a client of type Desktop";
    GOOGLE_SECRET_MISSING = "google-secret-missing",
        "Google wants the client secret for clients of type Desktop too",
        "set `client-secret` of link {link}";
    GOOGLE_PRIVATE_ADDRESS = "google-private-address",
        "Google does not redirect to private network addresses",
        "use http://127.0.0.1 as redirect URL, and copy the address out of the browser when it cannot be reached";
    GOOGLE_DEVICE_FLOW = "google-device-flow",
        "Google gives no mail permission by device code",
        "set `grant` of link {link} to authorization-code or service-account";
    GOOGLE_SCOPE = "google-scope",
        "Google does not know the scope",
        "it must be exactly https://mail.google.com/ with the slash at the end, and nothing else";
    GOOGLE_ACCESS_DENIED = "google-access-denied",
        "Google denied the access: the login was cancelled, or the account is no tester of an app in Testing, or the \
         service account lacks the scope",
        "for a person, start again and add the account under Test users if the app is in Testing; for a service account put \
         exactly https://mail.google.com/ into its entry under Security, API controls, Domain-wide delegation";
    GOOGLE_ADMIN_POLICY = "google-admin-policy",
        "the administrator of your Google Workspace blocks this app",
        "in the Admin console under Security, API controls, App access control mark the client {client-id} as Trusted";
    GOOGLE_INTERNAL = "google-internal-app",
        "the app is for one organisation (Internal), and {address} belongs to another",
        "use an account of the app's organisation, or make the app External";
    GOOGLE_BROWSER_NEEDED = "google-browser-needed",
        "Google does not allow logins in this browser window",
        "open the login address in an ordinary browser such as Firefox, Chrome, Edge or Safari";

    // Microsoft.
    MICROSOFT_TOKEN_LOOP = "microsoft-token-loop",
        "Microsoft has seen too many requests for the same token",
        "nothing to do: outlink waits; check whether another program asks for tokens with client {client-id}";
    MICROSOFT_GRANT_ENDED = "microsoft-grant-ended",
        "Microsoft no longer accepts the consent that was given for {address}",
        sign_in!();
    MICROSOFT_UNUSED = "microsoft-unused-90-days",
        "the refresh token was not used for 90 days and has ended",
        concat!(sign_in!(), "; while outlink runs it keeps tokens in use");
    MICROSOFT_SIGN_IN_FREQUENCY = "microsoft-sign-in-frequency",
        "a Conditional Access rule limits how long a sign-in lasts",
        concat!(sign_in!(), ", and exclude {address} from the rule on sign-in frequency, or use client credentials");
    MICROSOFT_LOGIN_PAGE_OLD = "microsoft-login-page-old",
        "the login page was open for too long",
        "start the login again";
    MICROSOFT_SESSIONS_REVOKED = "microsoft-sessions-revoked",
        "the password of {address} was changed or its sessions were revoked",
        concat!(sign_in!(), "; client credentials do not depend on a password");
    MICROSOFT_SECOND_FACTOR = "microsoft-second-factor",
        "Microsoft wants a second factor from {address} after a change of policy",
        concat!(sign_in!(), ", answering the second factor");
    MICROSOFT_USER_PASSWORD = "microsoft-user-password",
        "the password of {address} is wrong or has expired",
        concat!("give the account a valid password, then ", sign_in!());
    MICROSOFT_CONSENT_MISSING = "microsoft-consent-missing",
        "nobody has permitted the app {client-id} to send mail for {address}",
        "an administrator opens https://{entra}/{tenant}/v2.0/adminconsent?client_id={client-id}&scope={exchange} and accepts, \
         or in the Entra admin centre chooses App registrations, API permissions, Grant admin consent; where the tenant lets \
         users consent, `outlink authorize {mailbox}` is enough";
    MICROSOFT_DEVICE_NEEDED = "microsoft-device-needed",
        "a policy allows sign-ins only from registered devices",
        "exclude {address} from that Conditional Access rule, or use client credentials";
    MICROSOFT_DEVICE_CODE_BLOCKED = "microsoft-device-code-blocked",
        "the consent was given by device code, which a Conditional Access rule now blocks, for renewals too",
        "set `grant` of link {link} to authorization-code and sign in again with a browser, or exclude {address} from the \
         rule on device code flow";
    MICROSOFT_CONDITIONAL_ACCESS = "microsoft-conditional-access",
        "Conditional Access or security defaults block the sign-in of {address}",
        "in the Entra admin centre under Monitoring, Sign-in logs find the failed sign-in of {address} (the log line has \
         the correlation id); it names the rule that has to make an exception";
    MICROSOFT_ACCOUNT_LOCKED = "microsoft-account-locked",
        "the account {address} is locked after too many wrong passwords, or this network address is blocked",
        "wait, or let an administrator unlock the account, and find who tries passwords";
    MICROSOFT_USER_DISABLED = "microsoft-user-disabled",
        "the user {address} is disabled or was deleted",
        "enable or restore the user in the Entra admin centre; for a shared mailbox sign in as a user who may send as it, or use \
         client credentials";
    MICROSOFT_USER_NOT_ASSIGNED = "microsoft-user-not-assigned",
        "the app is open to assigned users only, and {address} is none",
        "in the Entra admin centre under Enterprise applications, the app, Users and groups add {address}";
    MICROSOFT_APP_DISABLED = "microsoft-app-disabled",
        "the app {client-id} is disabled or not installed in the tenant",
        "in the Entra admin centre under Enterprise applications, the app, Properties set Enabled for users to sign-in to Yes";
    MICROSOFT_SPA_REDIRECT = "microsoft-spa-redirect",
        "the redirect URL is registered as Single-page application, whose tokens end after 24 hours",
        "in the app registration under Authentication move the redirect URL to Web or to Mobile and desktop applications, \
         then sign in again";
    MICROSOFT_SECRET_WRONG = "microsoft-secret-wrong",
        "Microsoft does not know the client secret: often the secret's ID was pasted instead of its Value, or it was deleted",
        "in the app registration under Certificates & secrets make a new secret and give link {link} its Value, which is \
         shown only once";
    MICROSOFT_SECRET_EXPIRED = "microsoft-secret-expired",
        "the client secret of app {client-id} has expired",
        "in the app registration under Certificates & secrets make a new secret (24 months at most), give link {link} its \
         Value and set `client-secret-expires`";
    MICROSOFT_SECRET_MISSING = "microsoft-secret-missing",
        "Microsoft wants a client secret or certificate for this app",
        "set `client-secret` of link {link}, or in the app registration under Authentication set Allow public client flows \
         to Yes";
    MICROSOFT_PUBLIC_CLIENT = "microsoft-public-client",
        "the app is a public client and must not send a secret",
        "remove `client-secret` from link {link}, or register the redirect URL under the platform Web";
    MICROSOFT_CERTIFICATE = "microsoft-certificate",
        "Microsoft does not accept the signature: the certificate is not uploaded to the app, or it is another one",
        "in the app registration under Certificates & secrets upload the certificate that link {link} uses, and compare the \
         thumbprints";
    MICROSOFT_CERTIFICATE_EXPIRED = "microsoft-certificate-expired",
        "the certificate that signs for app {client-id} has expired, or is not valid yet",
        "make a new certificate, upload it in the app registration under Certificates & secrets, and give it to link {link}; if \
         its dates are right, set this machine's clock";
    MICROSOFT_ASSERTION_AUDIENCE = "microsoft-assertion-audience",
        "the client assertion is made out to another address than the tenant's token endpoint",
        "compare `tenant` and `cloud` of link {link} with the app registration's overview page, and remove `token-endpoint` if \
         it is set: the assertion's audience has to be https://{entra}/{tenant}/oauth2/v2.0/token";
    MICROSOFT_ASSERTION_CLIENT = "microsoft-assertion-client",
        "the client assertion speaks of another app than {client-id}",
        "compare `client-id` of link {link} with the Application ID on the overview page; a federated token must come from \
         issuer and subject that stand under Certificates & secrets, Federated credentials of this very app";
    MICROSOFT_ASSERTION_FORM = "microsoft-assertion-form",
        "Microsoft cannot read or check the client assertion: it is malformed, its algorithm is not one that Microsoft takes, or \
         it names no key",
        "let the issuer of `federated-token` sign with RS256 and name its key (`kid`) in the header; a certificate of link \
         {link} needs an RSA key";
    MICROSOFT_APP_NOT_FOUND = "microsoft-app-not-found",
        "there is no app {client-id} in the tenant {tenant}",
        "compare `client-id` (Application ID, not Object ID) and `tenant` of link {link} with the app registration's \
         overview page";
    MICROSOFT_TENANT_NOT_FOUND = "microsoft-tenant-not-found",
        "there is no tenant {tenant} in this cloud",
        "compare `tenant` of link {link} with the Directory ID on the app registration's overview page, and check `cloud`";
    MICROSOFT_WRONG_CLOUD = "microsoft-wrong-cloud",
        "the tenant {tenant} belongs to another of Microsoft's clouds",
        "set `cloud` of link {link} to gcc-high, dod or china, as it is";
    MICROSOFT_SINGLE_TENANT = "microsoft-single-tenant",
        "the app belongs to one tenant, but the request went to the address for all",
        "set `tenant` of link {link} to the Directory ID from the app registration's overview page";
    MICROSOFT_TENANT_NEEDED = "microsoft-tenant-needed",
        "this grant needs a tenant of its own; common, organizations and consumers are none",
        "set `tenant` of link {link} to the Directory ID from the app registration's overview page";
    MICROSOFT_KIND_OF_ACCOUNT = "microsoft-kind-of-account",
        "the app is for the other kind of account: personal, or of an organisation",
        "set `cloud` of link {link} to consumer for personal accounts; for an organisation set `tenant` to the Directory ID";
    MICROSOFT_FOREIGN_ACCOUNT = "microsoft-foreign-account",
        "the account is not one of the tenant {tenant}",
        "sign in with an account of that tenant, or set `tenant` of link {link} to the account's own";
    MICROSOFT_REDIRECT = "microsoft-redirect",
        "the redirect URL is not registered for this app",
        "in the app registration under Authentication add the redirect URL of link {link}; http://localhost belongs to \
         Mobile and desktop applications";
    MICROSOFT_PERMISSION_MISSING = "microsoft-permission-missing",
        "the app has no permission for Exchange Online",
        "in the app registration under API permissions add Office 365 Exchange Online: SMTP.Send for a person's consent or \
         SMTP.SendAsApp for client credentials, then grant admin consent";
    MICROSOFT_SCOPE = "microsoft-scope",
        "Microsoft does not accept the scopes: misspelt, or of two services at once (700023 may also mean the audience of a client \
         assertion)",
        "set `scopes` of link {link} to https://outlook.office.com/SMTP.Send and offline_access; for client credentials to \
         {exchange} alone; if it speaks of a client assertion, compare `tenant` and `cloud` of link {link}";
    MICROSOFT_STALE_LOGIN = "microsoft-stale-login",
        "the code does not belong to this login, perhaps because an old login page was used",
        "start the login again; if it happens each time, please report the log line to outlink's authors";
    MICROSOFT_FEDERATION = "microsoft-federated-credential",
        "the federated token does not match the credential registered for the app",
        "compare issuer, subject and audience in the app registration under Certificates & secrets, Federated credentials; \
         each must match letter by letter";
}
