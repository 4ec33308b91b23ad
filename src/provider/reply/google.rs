//! Replies of smtp.gmail.com and smtp-relay.gmail.com.

use super::{ANY, AUTH, CONTENT, MESSAGE, Means::*, Row, advice::*, row};

/// Account and quota before content: both speak through `550 5.7.1`, only the text tells them apart.
pub(super) static ROWS: &[Row] = &[
    // The dialogue.
    row(ANY, ["454|525", "4.5.0|5.7.10", "pipeline after starttls"], Ours, Some(&REPORT)),
    row(ANY, ["501", "5.5.4", "helo"], Hold, Some(&EHLO_NAME)),
    row(ANY, ["503", "5.7.0", "identity change"], Slow, Some(&REPORT)),
    row(ANY, ["501|555", "5.5.2", ""], Ours, Some(&REPORT)),
    // The login.
    row(AUTH, ["454", "4.7.0", "too many login"], Slow, Some(&GOOGLE_TOO_MANY_LOGINS)),
    row(AUTH, ["454", "4.7.0", ""], Slow, Some(&SERVER_BUSY)),
    row(ANY, ["530", "5.7.0", "starttls"], Hold, Some(&TLS_MODE)),
    row(ANY, ["530", "5.5.1|5.7.0", ""], Hold, Some(&LOGIN_SKIPPED)),
    row(ANY, ["534|535", "5.7.9", "application-specific password"], Hold, Some(&GOOGLE_PASSWORD)),
    row(ANY, ["534", "5.7.9|5.7.14", ""], Hold, Some(&GOOGLE_BROWSER)),
    row(AUTH, ["535", "", ""], Renew, Some(&GOOGLE_TOKEN_REFUSED)),
    // The account and its quota.
    row(ANY, ["550", "5.4.5", ""], Quota, Some(&GOOGLE_QUOTA)),
    row(
        ANY,
        ["550", "5.7.1", "daily user sending|daily smtp relay|daily sending|sending quota|email quota"],
        Quota,
        Some(&GOOGLE_QUOTA),
    ),
    row(ANY, ["550", "5.7.0|5.7.1", "mail relay denied|mail sending denied"], Hold, Some(&GOOGLE_SENDING_DENIED)),
    row(ANY, ["550", "5.7.1", "invalid credentials for relay"], Hold, Some(&GOOGLE_RELAY)),
    // The pace.
    row(MESSAGE, ["421", "4.7.0", "whitelist for|tls required for"], Retry, Some(&RECIPIENT_POLICY)),
    row(MESSAGE, ["421", "4.7.28", "message-id"], Retry, Some(&GOOGLE_SAME_MESSAGE_ID)),
    row(ANY, ["421", "4.7.28", ""], Slow, Some(&GOOGLE_RATE)),
    row(ANY, ["421", "4.3.0|4.7.0|4.4.5", ""], Slow, Some(&SERVER_BUSY)),
    // The customer's limit, where the row below speaks of one recipient's.
    row(ANY, ["450", "4.2.1", "relay limit"], Slow, Some(&GOOGLE_RATE)),
    row(MESSAGE, ["450", "4.2.1", ""], Retry, Some(&RECIPIENT_BUSY)),
    row(ANY, ["451", "4.4.2", ""], Retry, Some(&CONNECTION_TIMED_OUT)),
    // The recipients.
    row(MESSAGE, ["452|550", "4.5.3|5.5.3", ""], Split, Some(&TOO_MANY_RECIPIENTS)),
    row(MESSAGE, ["452", "4.2.2", ""], Retry, Some(&RECIPIENT_FULL)),
    row(MESSAGE, ["552", "5.2.2", ""], Refuse, Some(&RECIPIENT_FULL)),
    row(MESSAGE, ["553", "5.1.2|5.1.3|5.1.7", ""], Refuse, Some(&ADDRESS_SYNTAX)),
    // The message. `gcdp` ends a refusal that a rule of the customer's own made.
    row(MESSAGE, ["5xx", "", "- gcdp"], Refuse, Some(&GOOGLE_COMPLIANCE)),
    row(CONTENT, ["550", "5.7.1", "unsolicited"], Refuse, Some(&SPAM)),
    row(CONTENT, ["550", "5.7.1", "rfc 5322|rfc-5322|from: header|message-id|duplicate header"], Refuse, Some(&HEADER)),
    row(MESSAGE, ["552", "5.2.3|5.3.4", ""], Refuse, Some(&TOO_LARGE)),
    row(CONTENT, ["552", "5.7.0", ""], Refuse, Some(&ATTACHMENT)),
    row(MESSAGE, ["554", "5.4.6", ""], Refuse, Some(&LOOP)),
];
