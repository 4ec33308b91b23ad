//! Replies of smtp.gmail.com and smtp-relay.gmail.com.

use super::{ANY, AUTH, CONTENT, MESSAGE, Means::*, Row, advice::*, row};

/// Account and quota before content: both speak through `550 5.7.1`, only the text tells them apart.
pub(super) static ROWS: &[Row] = &[
    // The dialogue.
    row(ANY, ["454|525", "4.5.0|5.7.10", "pipeline after starttls"], Ours, &REPORT),
    row(ANY, ["501", "5.5.4", "helo"], Hold, &EHLO_NAME),
    row(ANY, ["503", "5.7.0", "identity change"], Slow, &REPORT),
    row(ANY, ["501|555", "5.5.2", ""], Ours, &REPORT),
    // The login.
    row(AUTH, ["454", "4.7.0", "too many login"], Slow, &GOOGLE_TOO_MANY_LOGINS),
    row(AUTH, ["454", "4.7.0", ""], Slow, &SERVER_BUSY),
    row(ANY, ["530", "5.7.0", "starttls"], Hold, &TLS_MODE),
    row(ANY, ["530", "5.5.1|5.7.0", ""], Hold, &LOGIN_SKIPPED),
    row(ANY, ["534|535", "5.7.9", "application-specific password"], Hold, &GOOGLE_PASSWORD),
    row(ANY, ["534", "5.7.9|5.7.14", ""], Hold, &GOOGLE_BROWSER),
    row(AUTH, ["535", "5.7.8", ""], Renew, &GOOGLE_TOKEN_REFUSED),
    row(AUTH, ["535", "", ""], Renew, &GOOGLE_TOKEN_REFUSED),
    // The account and its quota.
    row(ANY, ["550", "5.4.5", ""], Quota, &GOOGLE_QUOTA),
    row(
        ANY,
        ["550", "5.7.1", "daily user sending|daily smtp relay|daily sending|sending quota|email quota"],
        Quota,
        &GOOGLE_QUOTA,
    ),
    row(ANY, ["550", "5.7.0|5.7.1", "mail relay denied|mail sending denied"], Hold, &GOOGLE_SENDING_DENIED),
    row(ANY, ["550", "5.7.1", "invalid credentials for relay"], Hold, &GOOGLE_RELAY),
    // The pace.
    row(MESSAGE, ["421", "4.7.0", "whitelist for|tls required for"], Retry, &RECIPIENT_POLICY),
    row(MESSAGE, ["421", "4.7.28", "message-id"], Retry, &GOOGLE_SAME_MESSAGE_ID),
    row(ANY, ["421", "4.7.28", ""], Slow, &GOOGLE_RATE),
    row(ANY, ["421", "4.3.0|4.7.0|4.4.5", ""], Slow, &SERVER_BUSY),
    // The customer's limit, where the row below speaks of one recipient's.
    row(ANY, ["450", "4.2.1", "relay limit"], Slow, &GOOGLE_RATE),
    row(MESSAGE, ["450", "4.2.1", ""], Retry, &RECIPIENT_BUSY),
    row(ANY, ["451", "4.4.2", ""], Retry, &CONNECTION_TIMED_OUT),
    // The recipients.
    row(MESSAGE, ["452|550", "4.5.3|5.5.3", ""], Split, &TOO_MANY_RECIPIENTS),
    row(MESSAGE, ["452", "4.2.2", ""], Retry, &RECIPIENT_FULL),
    row(MESSAGE, ["552", "5.2.2", ""], Refuse, &RECIPIENT_FULL),
    row(MESSAGE, ["553", "5.1.2|5.1.3|5.1.7", ""], Refuse, &ADDRESS_SYNTAX),
    // The message. `gcdp` ends a refusal that a rule of the customer's own made.
    row(MESSAGE, ["5xx", "", "- gcdp"], Refuse, &GOOGLE_COMPLIANCE),
    row(CONTENT, ["550", "5.7.1", "unsolicited"], Refuse, &SPAM),
    row(CONTENT, ["550", "5.7.1", "rfc 5322|rfc-5322|from: header|message-id|duplicate header"], Refuse, &HEADER),
    row(MESSAGE, ["552", "5.2.3|5.3.4", ""], Refuse, &TOO_LARGE),
    row(CONTENT, ["552", "5.7.0", ""], Refuse, &ATTACHMENT),
    row(MESSAGE, ["554", "5.4.6", ""], Refuse, &LOOP),
];
