//! Replies of Exchange Online and Outlook.com.

use super::{ANY, AUTH, CONTENT, MESSAGE, Means::*, Row, advice::*, row};

/// `5.7.139` and `5.2.2` each mean several things; their texts come before the code alone.
pub(super) static ROWS: &[Row] = &[
    // The login.
    row(ANY, ["535", "5.7.139", "disabled for the tenant"], Hold, &MICROSOFT_SMTP_AUTH_TENANT),
    row(ANY, ["535", "5.7.139", "disabled for the mailbox"], Hold, &MICROSOFT_SMTP_AUTH_MAILBOX),
    row(ANY, ["535", "5.7.139", "basic authentication|credentials were incorrect"], Hold, &MICROSOFT_PASSWORD),
    row(ANY, ["535", "5.7.139", ""], Hold, &MICROSOFT_SIGN_IN_BLOCKED),
    row(AUTH, ["535", "5.7.3", ""], Renew, &MICROSOFT_TOKEN_REFUSED),
    row(AUTH, ["535", "", ""], Renew, &MICROSOFT_TOKEN_REFUSED),
    row(AUTH, ["501", "5.5.124", ""], Hold, &MICROSOFT_AUTH_DATA),
    row(ANY, ["530|550", "5.7.57", ""], Hold, &LOGIN_SKIPPED),
    // X.7.30 alone is RFC 8689's "REQUIRETLS support required".
    row(ANY, ["550", "5.7.30", "basic authentication"], Hold, &MICROSOFT_PASSWORD),
    // A 4xx that no retry mends: the app has no right to the mailbox.
    row(ANY, ["430", "4.2.0", ""], Hold, &MICROSOFT_MAILBOX_LOGON),
    // The sender. An administrator's grant mends it, sometimes seconds later, so it is no refusal.
    row(MESSAGE, ["554|550", "5.2.252|5.7.60", ""], Sender, &MICROSOFT_SEND_AS),
    row(MESSAGE, ["5xx", "", "sendasdenied"], Sender, &MICROSOFT_SEND_AS),
    // The account and its quotas.
    row(MESSAGE, ["5xx", "5.2.0|5.2.2", "submissionquota|submission quota"], Quota, &MICROSOFT_QUOTA),
    row(MESSAGE, ["5xx", "5.1.90", ""], Quota, &MICROSOFT_QUOTA),
    row(MESSAGE, ["5xx", "5.7.232|5.7.233", ""], Quota, &MICROSOFT_TENANT_QUOTA),
    // Not at RCPT: there it would be the recipient's mailbox.
    row(CONTENT, ["554", "5.2.2", ""], Hold, &MICROSOFT_MAILBOX_FULL),
    row(ANY, ["550", "5.1.8", ""], Hold, &MICROSOFT_RESTRICTED),
    row(ANY, ["550", "5.7.501|5.7.502|5.7.503", ""], Hold, &MICROSOFT_BANNED),
    row(ANY, ["550", "5.7.705|5.7.708|5.7.750", ""], Hold, &MICROSOFT_TENANT_BLOCKED),
    // The pace.
    row(ANY, ["432", "4.3.2", ""], Slow, &MICROSOFT_CONNECTIONS),
    // Sessions end after some 20 minutes; the message then goes over a new one.
    row(ANY, ["421", "4.4.*", ""], Retry, &CONNECTION_TIMED_OUT),
    row(ANY, ["421", "", ""], Slow, &SERVER_BUSY),
    row(ANY, ["451", "4.7.5xx|4.7.6xx|4.7.7xx|4.7.8xx", ""], Slow, &SERVER_BUSY),
    row(ANY, ["4xx", "4.3.1|4.3.2", ""], Slow, &SERVER_BUSY),
    // The recipients.
    row(MESSAGE, ["452|550", "4.5.3|5.5.3", ""], Split, &TOO_MANY_RECIPIENTS),
    row(MESSAGE, ["550", "5.5.105", ""], Refuse, &MICROSOFT_INTERNAL_ONLY),
    // The message.
    row(MESSAGE, ["550", "5.7.512|5.1.20", ""], Refuse, &HEADER),
    row(MESSAGE, ["5xx", "5.6.11", ""], Refuse, &BARE_LINE_FEED),
    row(MESSAGE, ["552|554", "5.3.4", ""], Refuse, &MICROSOFT_TOO_LARGE),
    row(MESSAGE, ["5xx", "", "maxsubmissionexceeded"], Refuse, &MICROSOFT_TOO_LARGE),
    row(ANY, ["500", "5.3.3", ""], Ours, &REPORT),
];
