//! Replies of Exchange Online, as its servers send them.

use super::*;

pub(super) const MICROSOFT_REPLIES: &[Example] = &[
    (
        MICROSOFT,
        Step::Auth,
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit \
         https://aka.ms/smtp_auth_disabled for more information. [AM0PR01CA0101.eurprd01.prod.exchangelabs.com \
         2026-11-23T10:00:00.000Z 08DE]",
        HOLD,
        "microsoft-smtp-auth-disabled-tenant",
    ),
    (
        MICROSOFT,
        Step::Auth,
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit \
         https://aka.ms/smtp_auth_disabled for more information. [AM0PR01CA0101.eurprd01.prod.exchangelabs.com]",
        HOLD,
        "microsoft-smtp-auth-disabled-mailbox",
    ),
    (
        MICROSOFT,
        Step::Auth,
        "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. \
         Contact your administrator. [AM0PR01CA0101.eurprd01.prod.exchangelabs.com]",
        HOLD,
        "microsoft-sign-in-blocked",
    ),
    (
        MICROSOFT,
        Step::Auth,
        "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. \
         [AM0PR01CA0101.eurprd01.prod.exchangelabs.com]",
        HOLD,
        "microsoft-password",
    ),
    (
        MICROSOFT,
        Step::Auth,
        "535 5.7.139 Authentication unsuccessful, user credentials were incorrect. \
         [AM0PR01CA0101.eurprd01.prod.exchangelabs.com]",
        HOLD,
        "microsoft-password",
    ),
    (
        MICROSOFT,
        Step::Auth,
        "535 5.7.3 Authentication unsuccessful [AM0PR01CA0101.eurprd01.prod.exchangelabs.com]",
        Renew,
        "microsoft-token-refused",
    ),
    (MICROSOFT, Step::Auth, "535 5.7.0 Authentication failed", Renew, "microsoft-token-refused"),
    (MICROSOFT, Step::Auth, "501 5.5.124 Invalid XOAUTH2 auth data", HOLD, "microsoft-auth-data"),
    (
        MICROSOFT,
        Step::Mail,
        "530 5.7.57 Client not authenticated to send mail. [AM0PR01CA0101.eurprd01.prod.exchangelabs.com]",
        HOLD,
        "login-skipped",
    ),
    (
        MICROSOFT,
        Step::Mail,
        "550 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
        HOLD,
        "login-skipped",
    ),
    (
        MICROSOFT,
        Step::Body,
        "550 5.7.30 Basic authentication is not supported for Client Submission.",
        HOLD,
        "microsoft-password",
    ),
    (
        MICROSOFT,
        Step::Body,
        "554 5.2.252 SendAsDenied; alerts@contoso.com not allowed to send as boss@contoso.com; \
         STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a \
         permanent exception with message [BeginDiagnosticData]Cannot submit message. 0.35250:0A00AD81[EndDiagnosticData] \
         [Hostname=AM0PR01MB0001.eurprd01.prod.exchangelabs.com]",
        SENDER,
        "microsoft-send-as-denied",
    ),
    (
        MICROSOFT,
        Step::Body,
        "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message \
         due to a permanent exception",
        SENDER,
        "microsoft-send-as-denied",
    ),
    (
        MICROSOFT,
        Step::Mail,
        "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
        SENDER,
        "microsoft-send-as-denied",
    ),
    (
        MICROSOFT,
        Step::Auth,
        "430 4.2.0 STOREDRV; mailbox logon failure; failed to process message due to a transient exception with message \
         Cannot open mailbox. 16.55847:MapiExceptionLogonFailed",
        HOLD,
        "microsoft-mailbox-logon",
    ),
    (
        MICROSOFT,
        Step::Body,
        "430 4.2.0 STOREDRV; mailbox logon failure; MapiExceptionLogonFailed: Unable to open message store.",
        HOLD,
        "microsoft-mailbox-logon",
    ),
    (
        MICROSOFT,
        Step::Body,
        "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
        RetryMailbox,
        "microsoft-connections",
    ),
    (
        MICROSOFT,
        Step::Body,
        "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information.",
        RetryMailbox,
        "microsoft-connections",
    ),
    (
        MICROSOFT,
        Step::Greeting,
        "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel",
        RetryMailbox,
        "server-busy",
    ),
    (
        MICROSOFT,
        Step::Body,
        "421 4.4.1 Connection timed out. Total session duration: 00:20:00",
        RetryMessage,
        "connection-timed-out",
    ),
    (
        MICROSOFT,
        Step::Mail,
        "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719) [AM0PR01]",
        RetryMailbox,
        "server-busy",
    ),
    (
        MICROSOFT,
        Step::Rcpt,
        "451 4.7.651 The mail server [192.0.2.1] has been temporarily rate limited.",
        RetryMailbox,
        "server-busy",
    ),
    (MICROSOFT, Step::Mail, "451 4.7.700 Access denied, message rate exceeded", RetryMailbox, "server-busy"),
    (MICROSOFT, Step::Mail, "451 4.7.850 Access denied, please try again later", RetryMailbox, "server-busy"),
    (MICROSOFT, Step::Mail, "452 4.3.1 Insufficient system resources", RetryMailbox, "server-busy"),
    (MICROSOFT, Step::Body, "451 4.3.2 Temporary server error. Please try again later", RetryMailbox, "server-busy"),
    (MICROSOFT, Step::Rcpt, "452 4.5.3 Too many recipients (AS780090) [AM0PR01]", SplitRecipients, "too-many-recipients"),
    (MICROSOFT, Step::Body, "550 5.5.3 RESOLVER.ADR.RecipLimit; too many recipients", SplitRecipients, "too-many-recipients"),
    (
        MICROSOFT,
        Step::Body,
        "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a \
         permanent exception with message The message can't be submitted because the sender's submission quota was exceeded.",
        QUOTA,
        "microsoft-quota",
    ),
    (
        MICROSOFT,
        Step::Body,
        "554 5.2.2 Submission quota exceeded; STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
        QUOTA,
        "microsoft-quota",
    ),
    (
        MICROSOFT,
        Step::Body,
        "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
        QUOTA,
        "microsoft-quota",
    ),
    (
        MICROSOFT,
        Step::Body,
        "550 5.7.232 Your message can't be sent because your trial tenant has exceeded its daily limit for sending email to \
         external recipients",
        QUOTA,
        "microsoft-tenant-quota",
    ),
    (
        MICROSOFT,
        Step::Body,
        "550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit for sending email to external \
         recipients",
        QUOTA,
        "microsoft-tenant-quota",
    ),
    (
        MICROSOFT,
        Step::Body,
        "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded; \
         Failed to process message",
        HOLD,
        "microsoft-mailbox-full",
    ),
    (MICROSOFT, Step::Rcpt, "554 5.2.2 mailbox full", RefuseRecipient, "recipient-full"),
    (
        MICROSOFT,
        Step::Body,
        "550 5.1.8 Access denied, bad outbound sender AS(42003) [AM0PR01]",
        HOLD,
        "microsoft-restricted-sender",
    ),
    (MICROSOFT, Step::Body, "550 5.7.501 Access denied, spam abuse detected", HOLD, "microsoft-banned-sender"),
    (MICROSOFT, Step::Mail, "550 5.7.502 Access denied, banned sender", HOLD, "microsoft-banned-sender"),
    (MICROSOFT, Step::Body, "550 5.7.503 Access denied, banned sender", HOLD, "microsoft-banned-sender"),
    (MICROSOFT, Step::Body, "550 5.7.705 Access denied, tenant has exceeded threshold", HOLD, "microsoft-tenant-blocked"),
    (
        MICROSOFT,
        Step::Body,
        "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP. For more information please go \
         to http://go.microsoft.com/fwlink/?LinkId=526653 AS(7230)",
        HOLD,
        "microsoft-tenant-blocked",
    ),
    (
        MICROSOFT,
        Step::Mail,
        "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains",
        HOLD,
        "microsoft-tenant-blocked",
    ),
    (
        MICROSOFT,
        Step::Body,
        "550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant",
        RefuseMessage,
        "message-header",
    ),
    (
        MICROSOFT,
        Step::Body,
        "550 5.1.20 Multiple From addresses are not allowed without Sender address",
        RefuseMessage,
        "message-header",
    ),
    (
        MICROSOFT,
        Step::Body,
        "550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds, which cannot be sent via DATA",
        RefuseMessage,
        "bare-line-feed",
    ),
    (MICROSOFT, Step::Mail, "552 5.3.4 Message size exceeds fixed maximum message size", RefuseMessage, "microsoft-too-large"),
    (MICROSOFT, Step::Body, "554 5.3.4 Message size exceeds fixed maximum message size", RefuseMessage, "microsoft-too-large"),
    (
        MICROSOFT,
        Step::Body,
        "554 5.2.0 STOREDRV.Submission.Exception:MessageTooLargeException.MapiExceptionMaxSubmissionExceeded; Failed to \
         process message",
        RefuseMessage,
        "microsoft-too-large",
    ),
    (MICROSOFT, Step::Rcpt, "550 5.5.105 External recipients are not allowed", RefuseRecipient, "microsoft-internal-only"),
    (MICROSOFT, Step::Mail, "500 5.3.3 Unrecognized command 'BDAT' [AM0PR01]", RetryMessage, "report-this"),
    (MICROSOFT, Step::Auth, "500 5.3.3 Unrecognized command [AM0PR01]", HOLD, "report-this"),
    // RFC 8689's meaning of 5.7.30 is not the one of passwords.
    (MICROSOFT, Step::Body, "550 5.7.30 REQUIRETLS support required", RefuseMessage, "message-refused"),
    (MICROSOFT, Step::Mail, "550 5.7.64 TenantAttribution; Relay Access Denied SMTP", HOLD, "relay-denied"),
];
