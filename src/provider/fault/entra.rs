//! Errors of Microsoft Entra by their AADSTS number.
//!
//! Microsoft asks programs to branch on `error`; but `invalid_grant` and `invalid_client` each cover dozens of causes with
//! different cures, and the numbers are what its own documentation lists. An unknown number falls back to `error`.

use super::{Codes, OAuthOutcome::*, advice::*};

/// Numbers with a second meaning, which only the description tells: the fragment in lower case, and what it means then.
pub(super) static SPOKEN: &[(&str, Codes)] = &[(
    "client assertion audience",
    Codes { codes: &[700023], outcome: NeedsConfiguration, advice: &MICROSOFT_ASSERTION_AUDIENCE },
)];

/// Each number stands once.
pub(super) static ROWS: &[Codes] = &[
    // Time.
    Codes { codes: &[50033, 50087, 70012, 90006, 90012, 90024, 90033, 90090, 90091], outcome: Transient, advice: &PROVIDER_BUSY },
    Codes { codes: &[90055], outcome: Transient, advice: &PROVIDER_BUSY },
    Codes { codes: &[50196], outcome: Transient, advice: &MICROSOFT_TOKEN_LOOP },
    Codes { codes: &[70016], outcome: Transient, advice: &DEVICE_PENDING },
    // A person's new consent.
    Codes { codes: &[70000, 70008, 50085], outcome: NeedsConsent, advice: &MICROSOFT_GRANT_ENDED },
    Codes { codes: &[700082], outcome: NeedsConsent, advice: &MICROSOFT_UNUSED },
    Codes { codes: &[70043, 70044], outcome: NeedsConsent, advice: &MICROSOFT_SIGN_IN_FREQUENCY },
    Codes { codes: &[50089], outcome: NeedsConsent, advice: &MICROSOFT_LOGIN_PAGE_OLD },
    Codes { codes: &[50173, 50132, 50133], outcome: NeedsConsent, advice: &MICROSOFT_SESSIONS_REVOKED },
    Codes { codes: &[50076, 50079, 50072, 50074, 50078, 50158], outcome: NeedsConsent, advice: &MICROSOFT_SECOND_FACTOR },
    Codes { codes: &[65004, 54005], outcome: NeedsConsent, advice: &LOGIN_NOT_FINISHED },
    Codes { codes: &[70018, 70019], outcome: NeedsConsent, advice: &DEVICE_CODE_ENDED },
    // Nobody but the person can change or give a password, and the old grant ends with it.
    Codes { codes: &[50055, 50126, 50056, 50144], outcome: NeedsConsent, advice: &MICROSOFT_USER_PASSWORD },
    // An administrator at the provider. 65001 and 530036 may also be mended by a new consent; probing finds out either way.
    Codes { codes: &[65001, 90094, 90095], outcome: NeedsAdministrator, advice: &MICROSOFT_CONSENT_MISSING },
    Codes { codes: &[50097], outcome: NeedsAdministrator, advice: &MICROSOFT_DEVICE_NEEDED },
    Codes { codes: &[530036], outcome: NeedsAdministrator, advice: &MICROSOFT_DEVICE_CODE_BLOCKED },
    Codes {
        codes: &[50131, 53000, 53001, 53002, 53003, 53004, 53010, 53011, 530003, 530032, 530034, 530035],
        outcome: NeedsAdministrator,
        advice: &MICROSOFT_CONDITIONAL_ACCESS,
    },
    Codes { codes: &[50053], outcome: NeedsAdministrator, advice: &MICROSOFT_ACCOUNT_LOCKED },
    Codes { codes: &[50057, 500341], outcome: NeedsAdministrator, advice: &MICROSOFT_USER_DISABLED },
    Codes { codes: &[50105], outcome: NeedsAdministrator, advice: &MICROSOFT_USER_NOT_ASSIGNED },
    Codes { codes: &[7000112, 70001], outcome: NeedsAdministrator, advice: &MICROSOFT_APP_DISABLED },
    // The link's settings, here or in the app registration.
    Codes { codes: &[700084, 9002327], outcome: NeedsConfiguration, advice: &MICROSOFT_SPA_REDIRECT },
    Codes { codes: &[7000215, 70002], outcome: NeedsConfiguration, advice: &MICROSOFT_SECRET_WRONG },
    Codes { codes: &[7000222], outcome: NeedsConfiguration, advice: &MICROSOFT_SECRET_EXPIRED },
    Codes { codes: &[7000218, 7000216], outcome: NeedsConfiguration, advice: &MICROSOFT_SECRET_MISSING },
    Codes { codes: &[700025], outcome: NeedsConfiguration, advice: &MICROSOFT_PUBLIC_CLIENT },
    Codes { codes: &[700027, 50012, 700030], outcome: NeedsConfiguration, advice: &MICROSOFT_CERTIFICATE },
    Codes { codes: &[1000502], outcome: NeedsConfiguration, advice: &MICROSOFT_CERTIFICATE_EXPIRED },
    Codes { codes: &[700021, 50048], outcome: NeedsConfiguration, advice: &MICROSOFT_ASSERTION_CLIENT },
    Codes { codes: &[5002723, 5002738, 50027], outcome: NeedsConfiguration, advice: &MICROSOFT_ASSERTION_FORM },
    Codes { codes: &[500133, 700024], outcome: NeedsConfiguration, advice: &CLOCK },
    Codes { codes: &[700016, 700011, 7000229], outcome: NeedsConfiguration, advice: &MICROSOFT_APP_NOT_FOUND },
    Codes { codes: &[90002, 50059, 50128, 90019, 900023], outcome: NeedsConfiguration, advice: &MICROSOFT_TENANT_NOT_FOUND },
    Codes { codes: &[90038, 900432, 900382], outcome: NeedsConfiguration, advice: &MICROSOFT_WRONG_CLOUD },
    Codes { codes: &[50194], outcome: NeedsConfiguration, advice: &MICROSOFT_SINGLE_TENANT },
    Codes { codes: &[9001023, 90124, 90130], outcome: NeedsConfiguration, advice: &MICROSOFT_TENANT_NEEDED },
    Codes { codes: &[9002331, 9002332], outcome: NeedsConfiguration, advice: &MICROSOFT_KIND_OF_ACCOUNT },
    Codes {
        codes: &[50014, 50020, 50034, 51004, 500208, 90072],
        outcome: NeedsConfiguration,
        advice: &MICROSOFT_FOREIGN_ACCOUNT,
    },
    Codes { codes: &[50011, 70004, 500113], outcome: NeedsConfiguration, advice: &MICROSOFT_REDIRECT },
    Codes {
        codes: &[500011, 65005, 650052, 650054, 650056, 650057],
        outcome: NeedsConfiguration,
        advice: &MICROSOFT_PERMISSION_MISSING,
    },
    Codes { codes: &[70011, 28002, 28003, 700022, 700023, 28000], outcome: NeedsConfiguration, advice: &MICROSOFT_SCOPE },
    Codes { codes: &[900144, 9002313, 90014], outcome: NeedsConfiguration, advice: &MALFORMED_REQUEST },
    Codes { codes: &[70003], outcome: NeedsConfiguration, advice: &GRANT_NOT_SUPPORTED },
    Codes { codes: &[501481], outcome: NeedsConfiguration, advice: &MICROSOFT_STALE_LOGIN },
    Codes { codes: &[700229, 70021, 700211, 700212, 700213], outcome: NeedsConfiguration, advice: &MICROSOFT_FEDERATION },
];
