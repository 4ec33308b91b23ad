//! Replies of any server, by RFC 5321, 4954 and 3463; asked after the provider's own rows. The last rows are what holds when
//! nothing else is known.

use super::{ANY, AUTH, CONTENT, MAIL, MESSAGE, Means::*, RCPT, Row, advice::*, row};
use crate::smtp::Step;

/// From the account through the pace and the recipients to the message, then the rest, step by step.
pub(super) static ROWS: &[Row] = &[
    // The login (RFC 4954 §6). A server that wants TLS first also says 530.
    row(ANY, ["530|538", "", "starttls|tls"], Hold, &TLS_MODE),
    row(ANY, ["530|538", "", ""], Hold, &LOGIN_SKIPPED),
    row(AUTH, ["535", "", ""], Renew, &TOKEN_REFUSED),
    row(AUTH, ["5xx", "5.7.8", ""], Renew, &TOKEN_REFUSED),
    row(AUTH, ["504", "", ""], Hold, &NO_XOAUTH2),
    row(AUTH, ["500|501|503|555", "", ""], Ours, &REPORT),
    row(AUTH, ["5xx", "", ""], Hold, &LOGIN_REFUSED),
    row(MESSAGE, ["535", "", ""], Hold, &LOGIN_REFUSED),
    row(MESSAGE, ["5xx", "", "authentication required|authentication is required|not authenticated"], Hold, &LOGIN_SKIPPED),
    // The connection: no 5xx here has seen a message.
    row(&[Step::Greeting], ["5xx", "5.7.*", ""], Hold, &ADDRESS_BLOCKED),
    row(&[Step::Ehlo], ["501|504|550|553|554", "", ""], Hold, &EHLO_NAME),
    row(&[Step::Tls], ["5xx", "", ""], Hold, &TLS_MODE),
    row(&[Step::Connect, Step::Greeting, Step::Ehlo, Step::Other], ["5xx", "", ""], Slow, &NO_SERVICE),
    // Rights of login and sender. They come as 550, 553 or 554 at MAIL, RCPT or after the message.
    row(
        MESSAGE,
        ["5xx", "", "sender address rejected|not owned by|to send as|not allowed to send from|on behalf of"],
        Sender,
        &SENDER_DENIED,
    ),
    row(
        MESSAGE,
        ["5xx", "", "relay access denied|relaying denied|unable to relay|permitted to relay|relay not permitted"],
        Hold,
        &RELAY_DENIED,
    ),
    row(MESSAGE, ["5xx", "", "sending limit|sending quota|hourly limit|daily limit|sent too many"], Quota, &QUOTA),
    // The recipients. RFC 5321 §4.5.3.1.10: old servers say 552 where they mean 452.
    row(MESSAGE, ["4xx|5xx", "4.5.3|5.5.3", ""], Split, &TOO_MANY_RECIPIENTS),
    row(RCPT, ["452|552", "", "too many recipients|number of recipients|recipient limit"], Split, &TOO_MANY_RECIPIENTS),
    row(MESSAGE, ["5xx", "5.1.3|5.1.7", ""], Refuse, &ADDRESS_SYNTAX),
    row(RCPT, ["5xx", "5.1.*", ""], Refuse, &NO_SUCH_RECIPIENT),
    row(RCPT, ["5xx", "5.2.2", ""], Refuse, &RECIPIENT_FULL),
    row(MESSAGE, ["4xx", "4.2.2", ""], Retry, &RECIPIENT_FULL),
    // The message.
    row(MESSAGE, ["5xx", "5.3.4|5.2.3", ""], Refuse, &TOO_LARGE),
    row(CONTENT, ["552", "", ""], Refuse, &TOO_LARGE),
    row(MESSAGE, ["5xx", "5.6.*", ""], Refuse, &CONTENT_REFUSED),
    row(MESSAGE, ["5xx", "5.4.6|5.4.14", ""], Refuse, &LOOP),
    // Syntax and sequence are ours: a relay that speaks wrongly must not bounce mail for it. A malformed address in an app's own
    // envelope also comes out here, where the server gives no 5.1.x; it ends when the message expires.
    row(MESSAGE, ["500|501|502|503|504|555", "", ""], Ours, &REPORT),
    row(MESSAGE, ["5xx", "5.5.1|5.5.2|5.5.4|5.5.6", ""], Ours, &REPORT),
    // What no row knows. At MAIL a matter of policy is the account's, anything else the sender's.
    row(MAIL, ["5xx", "5.7.*", ""], Hold, &POLICY),
    row(MAIL, ["5xx", "", ""], Sender, &SENDER_DENIED),
    row(RCPT, ["5xx", "", ""], Refuse, &RECIPIENT_REFUSED),
    row(MESSAGE, ["5xx", "", ""], Refuse, &MESSAGE_REFUSED),
    row(ANY, ["4xx", "", ""], Retry, &TEMPORARY),
];
