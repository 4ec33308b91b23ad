//! One row for each reply that is known of Google and Microsoft, with the text as their servers send it, and the rules of any
//! server.

use super::*;
use crate::smtp::Enhanced;
use Outcome::{Delivered, RefuseMessage, RefuseRecipient, Renew, RetryMailbox, RetryMessage, SplitRecipients};
use proptest::prelude::*;
use std::collections::HashSet;

const GOOGLE: Provider = Provider::Google;
const MICROSOFT: Provider = Provider::Microsoft;
const CUSTOM: Provider = Provider::Custom;
const HOLD: Outcome = Outcome::Hold(Hold::Mailbox);
const QUOTA: Outcome = Outcome::Hold(Hold::Quota);
const SENDER: Outcome = Outcome::Hold(Hold::Sender);

/// Provider, step, the reply as it comes over the wire (lines separated by `\n`), outcome, name of the advice.
type Example = (Provider, Step, &'static str, Outcome, &'static str);

const GOOGLE_REPLIES: &[Example] = &[
    (
        GOOGLE,
        Step::Greeting,
        "421 4.3.0 Temporary System Problem. Try again later (10). x12 - gsmtp",
        RetryMailbox,
        "server-busy",
    ),
    (GOOGLE, Step::Body, "421 4.7.0 Temporary System Problem. Try again later (WS). x12 - gsmtp", RetryMailbox, "server-busy"),
    (GOOGLE, Step::Mail, "421 4.7.0 Try again later, closing connection. (EHLO) x12 - gsmtp", RetryMailbox, "server-busy"),
    (GOOGLE, Step::Ehlo, "421 4.4.5 Server busy, try again later. x12 - gsmtp", RetryMailbox, "server-busy"),
    (GOOGLE, Step::Mail, "421 4.7.0 Connection expired, try reconnecting. x12 - gsmtp", RetryMailbox, "server-busy"),
    (
        GOOGLE,
        Step::Rcpt,
        "421 4.7.0 IP not in whitelist for RCPT domain, closing connection. x12 - gsmtp",
        RetryMessage,
        "recipient-policy",
    ),
    (
        GOOGLE,
        Step::Rcpt,
        "421 4.7.0 TLS required for RCPT domain, closing connection. x12 - gsmtp",
        RetryMessage,
        "recipient-policy",
    ),
    (
        GOOGLE,
        Step::Body,
        "421-4.7.28 [192.0.2.1] Our system has detected an unusual rate of\n421-4.7.28 unsolicited mail originating from \
         your IP address.\n421 4.7.28 x12 - gsmtp",
        RetryMailbox,
        "google-rate",
    ),
    (
        GOOGLE,
        Step::Body,
        "421-4.7.28 This mail has exceeded its quota for sending messages with the same\n421 4.7.28 Message-ID. x12 - gsmtp",
        RetryMessage,
        "google-same-message-id",
    ),
    (
        GOOGLE,
        Step::Rcpt,
        "450-4.2.1 The user you are trying to contact is receiving mail too quickly.\n450 4.2.1 Please resend your message \
         at a later time. x12 - gsmtp",
        RetryMessage,
        "recipient-busy",
    ),
    (GOOGLE, Step::Body, "450 4.2.1 Peak SMTP relay limit exceeded for customer. x12 - gsmtp", RetryMailbox, "google-rate"),
    (GOOGLE, Step::Data, "451 4.4.2 Timeout - closing connection. x12 - gsmtp", RetryMessage, "connection-timed-out"),
    (GOOGLE, Step::Auth, "451 4.4.2 Timeout - closing connection. x12 - gsmtp", RetryMailbox, "connection-timed-out"),
    (GOOGLE, Step::Rcpt, "452 4.5.3 Your message has too many recipients. x12 - gsmtp", SplitRecipients, "too-many-recipients"),
    (
        GOOGLE,
        Step::Body,
        "452 4.5.3 Domain policy size per transaction exceeded, please try this recipient in a separate transaction. x12 - gsmtp",
        SplitRecipients,
        "too-many-recipients",
    ),
    (
        GOOGLE,
        Step::Rcpt,
        "452-4.2.2 The recipient's inbox is out of storage space and inactive.\n452 4.2.2 x12 - gsmtp",
        RetryMessage,
        "recipient-full",
    ),
    (
        GOOGLE,
        Step::Rcpt,
        "552-5.2.2 The email account that you tried to reach is over quota.\n552 5.2.2 x12 - gsmtp",
        RefuseRecipient,
        "recipient-full",
    ),
    (GOOGLE, Step::Body, "552 5.2.2 The recipient's inbox is out of storage space. x12 - gsmtp", RefuseMessage, "recipient-full"),
    (
        GOOGLE,
        Step::Auth,
        "454 4.7.0 Too many login attempts, please try again later. x12 - gsmtp",
        RetryMailbox,
        "google-too-many-logins",
    ),
    (
        GOOGLE,
        Step::Auth,
        "454 4.7.0 Cannot authenticate due to a temporary system problem. Try again later. x12 - gsmtp",
        RetryMailbox,
        "server-busy",
    ),
    (GOOGLE, Step::Auth, "501 5.5.2 Cannot Decode response. x12 - gsmtp", HOLD, "report-this"),
    (
        GOOGLE,
        Step::Mail,
        "530-5.5.1 Authentication Required. For more information, go to\n530 5.5.1 \
         https://support.google.com/mail/?p=WantAuthError x12 - gsmtp",
        HOLD,
        "login-skipped",
    ),
    (
        GOOGLE,
        Step::Mail,
        "530-5.7.0 Authentication Required. For more information, go to\n530 5.7.0 \
         https://support.google.com/mail/?p=WantAuthError x12 - gsmtp",
        HOLD,
        "login-skipped",
    ),
    (GOOGLE, Step::Mail, "530 5.7.0 Must issue a STARTTLS command first. x12 - gsmtp", HOLD, "tls-mode"),
    (
        GOOGLE,
        Step::Auth,
        "534-5.7.14 <https://accounts.google.com/signin/continue?x=y> Please log in with your web browser and then try \
         again.\n534 5.7.14 x12 - gsmtp",
        HOLD,
        "google-browser-login",
    ),
    (
        GOOGLE,
        Step::Auth,
        "534-5.7.9 Please log in with your web browser and then try again.\n534 5.7.9 x12 - gsmtp",
        HOLD,
        "google-browser-login",
    ),
    (
        GOOGLE,
        Step::Auth,
        "534-5.7.9 Application-specific password required. For more information, go to\n534 5.7.9 \
         https://support.google.com/mail/?p=InvalidSecondFactor x12 - gsmtp",
        HOLD,
        "google-password",
    ),
    (GOOGLE, Step::Auth, "535 5.7.9 Application-specific password required. x12 - gsmtp", HOLD, "google-password"),
    (
        GOOGLE,
        Step::Auth,
        "535-5.7.8 Username and Password not accepted. For more information, go to\n535 5.7.8 \
         https://support.google.com/mail/?p=BadCredentials x12 - gsmtp",
        Renew,
        "google-token-refused",
    ),
    (
        GOOGLE,
        Step::Body,
        "550-5.4.5 Daily user sending limit exceeded. For more information on Gmail\n550-5.4.5 sending limits go to\n550 \
         5.4.5 https://support.google.com/a/answer/166852 x12 - gsmtp",
        QUOTA,
        "google-quota",
    ),
    (
        GOOGLE,
        Step::Mail,
        "550 5.4.5 Daily SMTP relay sending limit exceeded for this customer. x12 - gsmtp",
        QUOTA,
        "google-quota",
    ),
    (GOOGLE, Step::Mail, "550 5.7.1 Daily SMTP relay limit exceeded for user. x12 - gsmtp", QUOTA, "google-quota"),
    (
        GOOGLE,
        Step::Body,
        "550-5.7.1 The user has exceeded the daily\n550 5.7.1 sending quota. x12 - gsmtp",
        QUOTA,
        "google-quota",
    ),
    (GOOGLE, Step::Mail, "550 5.7.0 Mail relay denied. x12 - gsmtp", HOLD, "google-sending-denied"),
    (
        GOOGLE,
        Step::Body,
        "550 5.7.0 Mail Sending denied. This error occurs if the sender account is disabled. x12 - gsmtp",
        HOLD,
        "google-sending-denied",
    ),
    (
        GOOGLE,
        Step::Mail,
        "550-5.7.1 Invalid credentials for relay [192.0.2.1]. The IP address\n550 5.7.1 you've registered doesn't match the \
         domain. x12 - gsmtp",
        HOLD,
        "google-relay-credentials",
    ),
    (
        GOOGLE,
        Step::Body,
        "550-5.7.1 [192.0.2.1] Our system has detected that this message is\n550-5.7.1 likely unsolicited mail. To reduce \
         the amount of spam sent to Gmail,\n550 5.7.1 this message has been blocked. x12 - gsmtp",
        RefuseMessage,
        "looks-like-spam",
    ),
    (
        GOOGLE,
        Step::Body,
        "550 5.7.1 Messages missing a valid address in From: header, or having no From: header, are not accepted. x12 - gsmtp",
        RefuseMessage,
        "message-header",
    ),
    (
        GOOGLE,
        Step::Body,
        "550 5.7.1 Messages with multiple addresses in From: header are not accepted. x12 - gsmtp",
        RefuseMessage,
        "message-header",
    ),
    (
        GOOGLE,
        Step::Body,
        "550 5.7.1 Messages missing a valid Message-ID header are not accepted. x12 - gsmtp",
        RefuseMessage,
        "message-header",
    ),
    (
        GOOGLE,
        Step::Body,
        "550-5.7.1 This message is not RFC 5322 compliant, the issue is:\n550 5.7.1 duplicate headers. x12 - gsmtp",
        RefuseMessage,
        "message-header",
    ),
    (
        GOOGLE,
        Step::Body,
        "550 5.7.1 The user or domain that you are sending to (or from) has a policy that prohibited the mail that you \
         sent. x12 - gcdp",
        RefuseMessage,
        "google-compliance-rule",
    ),
    (GOOGLE, Step::Rcpt, "550 5.5.3 Too many recipients for this sender. x12 - gsmtp", SplitRecipients, "too-many-recipients"),
    (
        GOOGLE,
        Step::Body,
        "552-5.2.3 Your message exceeded Google's message size limits. Visit\n552 5.2.3 \
         https://support.google.com/mail/?p=MaxSizeError x12 - gsmtp",
        RefuseMessage,
        "too-large",
    ),
    (
        GOOGLE,
        Step::Mail,
        "552-5.3.4 Your message exceeded Google's message size limits.\n552 5.3.4 x12 - gsmtp",
        RefuseMessage,
        "too-large",
    ),
    (GOOGLE, Step::Body, "552 5.3.4 Message header size exceeds limit. x12 - gsmtp", RefuseMessage, "too-large"),
    (
        GOOGLE,
        Step::Body,
        "552 5.3.4 The number of attachments (501) exceeds Google's limit of 500 attachments. x12 - gsmtp",
        RefuseMessage,
        "too-large",
    ),
    (
        GOOGLE,
        Step::Body,
        "552-5.7.0 This message was blocked because its content presents a potential\n552 5.7.0 security issue. x12 - gsmtp",
        RefuseMessage,
        "attachment",
    ),
    (
        GOOGLE,
        Step::Body,
        "552 5.7.0 Our system detected an illegal attachment on your message. x12 - gsmtp",
        RefuseMessage,
        "attachment",
    ),
    (
        GOOGLE,
        Step::Rcpt,
        "553-5.1.2 We weren't able to find the recipient domain.\n553 5.1.2 x12 - gsmtp",
        RefuseRecipient,
        "address-syntax",
    ),
    (
        GOOGLE,
        Step::Rcpt,
        "553-5.1.3 The recipient address <a@b..c> is not a valid RFC 5321 address.\n553 5.1.3 x12 - gsmtp",
        RefuseRecipient,
        "address-syntax",
    ),
    (
        GOOGLE,
        Step::Mail,
        "553-5.1.7 The sender address <a@b..c> is not a valid RFC 5321 address.\n553 5.1.7 x12 - gsmtp",
        RefuseMessage,
        "address-syntax",
    ),
    (
        GOOGLE,
        Step::Body,
        "554 5.4.6 Message exceeded 50 hops, this may indicate a mail loop. x12 - gsmtp",
        RefuseMessage,
        "mail-loop",
    ),
    (GOOGLE, Step::Auth, "555-5.5.2 Syntax error, command line too long. x12 - gsmtp\n555 5.5.2 goodbye", HOLD, "report-this"),
    (GOOGLE, Step::Mail, "555 5.5.2 Syntax error. x12 - gsmtp", RetryMessage, "report-this"),
    // The dialogue.
    (
        GOOGLE,
        Step::Tls,
        "454 4.5.0 SMTP protocol violation, no commands allowed to pipeline after STARTTLS. x12 - gsmtp",
        HOLD,
        "report-this",
    ),
    (
        GOOGLE,
        Step::Tls,
        "525 5.7.10 SMTP protocol violation, no commands allowed to pipeline after STARTTLS. x12 - gsmtp",
        HOLD,
        "report-this",
    ),
    (
        GOOGLE,
        Step::Ehlo,
        "501-5.5.4 HELO/EHLO argument MYSERVER_1 invalid, closing connection.\n501 5.5.4 x12 - gsmtp",
        HOLD,
        "ehlo-name",
    ),
    (GOOGLE, Step::Ehlo, "501 5.5.4 Empty HELO/EHLO argument not allowed, closing connection. x12 - gsmtp", HOLD, "ehlo-name"),
    (GOOGLE, Step::Auth, "503 5.7.0 No identity changes permitted. x12 - gsmtp", RetryMailbox, "report-this"),
    (
        GOOGLE,
        Step::Rcpt,
        "550-5.1.1 The email account that you tried to reach does not exist.\n550 5.1.1 x12 - gsmtp",
        RefuseRecipient,
        "no-such-recipient",
    ),
];

const MICROSOFT_REPLIES: &[Example] = &[
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

const ANY_REPLIES: &[Example] = &[
    (CUSTOM, Step::Body, "250 2.0.0 queued as 1A2B", Delivered, ""),
    (CUSTOM, Step::Mail, "530 5.7.0 Must issue a STARTTLS command first", HOLD, "tls-mode"),
    (CUSTOM, Step::Mail, "530 Authentication required", HOLD, "login-skipped"),
    (CUSTOM, Step::Auth, "535 5.7.8 Error: authentication failed", Renew, "token-refused"),
    (CUSTOM, Step::Auth, "535 Incorrect authentication data", Renew, "token-refused"),
    (CUSTOM, Step::Auth, "554 5.7.8 authentication failed", Renew, "token-refused"),
    (CUSTOM, Step::Auth, "504 5.5.4 Unrecognized authentication type", HOLD, "no-xoauth2"),
    (CUSTOM, Step::Auth, "501 5.5.2 invalid base64", HOLD, "report-this"),
    (CUSTOM, Step::Auth, "550 5.7.1 account suspended", HOLD, "login-refused"),
    (CUSTOM, Step::Auth, "454 4.7.0 temporary authentication failure", RetryMailbox, ""),
    (CUSTOM, Step::Mail, "535 5.7.8 not logged in", HOLD, "login-refused"),
    (CUSTOM, Step::Rcpt, "550 SMTP AUTH: authentication is required to relay", HOLD, "login-skipped"),
    (CUSTOM, Step::Greeting, "554 5.7.1 192.0.2.1 is on a block list", HOLD, "address-blocked"),
    (CUSTOM, Step::Greeting, "554 No SMTP service here", RetryMailbox, "no-service"),
    (CUSTOM, Step::Greeting, "421 too many connections", RetryMailbox, ""),
    (CUSTOM, Step::Ehlo, "550 5.7.1 Helo command rejected: need fully-qualified hostname", HOLD, "ehlo-name"),
    (CUSTOM, Step::Ehlo, "502 Command not implemented", RetryMailbox, "no-service"),
    (CUSTOM, Step::Tls, "502 5.5.1 STARTTLS not available", HOLD, "tls-mode"),
    (CUSTOM, Step::Other, "500 5.5.2 RSET?", RetryMailbox, "no-service"),
    (
        CUSTOM,
        Step::Mail,
        "553 5.7.1 <boss@example.com>: Sender address rejected: not owned by user robot",
        SENDER,
        "sender-denied",
    ),
    (CUSTOM, Step::Rcpt, "554 5.7.1 <a@example.net>: Relay access denied", HOLD, "relay-denied"),
    (CUSTOM, Step::Body, "550 5.7.1 hourly limit of 500 messages reached", QUOTA, "quota"),
    (CUSTOM, Step::Rcpt, "452 4.5.3 Error: too many recipients", SplitRecipients, "too-many-recipients"),
    (CUSTOM, Step::Rcpt, "552 too many recipients", SplitRecipients, "too-many-recipients"),
    (CUSTOM, Step::Rcpt, "501 5.1.3 Bad recipient address syntax", RefuseRecipient, "address-syntax"),
    (CUSTOM, Step::Rcpt, "550 5.1.1 <a@example.net>: User unknown", RefuseRecipient, "no-such-recipient"),
    (CUSTOM, Step::Rcpt, "552 5.2.2 Mailbox full", RefuseRecipient, "recipient-full"),
    (CUSTOM, Step::Rcpt, "452 4.2.2 Mailbox full", RetryMessage, "recipient-full"),
    (CUSTOM, Step::Mail, "552 5.3.4 Message size exceeds fixed limit", RefuseMessage, "too-large"),
    (CUSTOM, Step::Body, "552 Message size exceeds maximum permitted", RefuseMessage, "too-large"),
    (CUSTOM, Step::Mail, "550 5.6.7 SMTPUTF8 required", RefuseMessage, "content-refused"),
    (CUSTOM, Step::Body, "554 5.4.6 Too many hops", RefuseMessage, "mail-loop"),
    (CUSTOM, Step::Data, "503 5.5.1 Error: need RCPT command", RetryMessage, "report-this"),
    (CUSTOM, Step::Mail, "555 5.5.4 Unsupported option: ENVID", RetryMessage, "report-this"),
    (CUSTOM, Step::Body, "554 5.5.1 sequence", RetryMessage, "report-this"),
    (CUSTOM, Step::Mail, "550 5.7.999 no", HOLD, "policy"),
    (CUSTOM, Step::Mail, "550 no", SENDER, "sender-denied"),
    (CUSTOM, Step::Rcpt, "550 no", RefuseRecipient, "recipient-refused"),
    (CUSTOM, Step::Data, "554 no", RefuseMessage, "message-refused"),
    (CUSTOM, Step::Body, "554 5.7.1 virus found", RefuseMessage, "message-refused"),
    (CUSTOM, Step::Body, "451 try later", RetryMessage, ""),
    (CUSTOM, Step::Rcpt, "450 4.2.0 greylisted", RetryMessage, ""),
    (CUSTOM, Step::Mail, "421 4.3.2 shutting down", RetryMessage, ""),
    // No reply that makes sense here is still no reason to lose mail.
    (CUSTOM, Step::Body, "354 go on", RetryMessage, ""),
];

fn examples() -> impl Iterator<Item = Example> {
    [GOOGLE_REPLIES, MICROSOFT_REPLIES, ANY_REPLIES].into_iter().flatten().copied()
}

/// A reply as the client reads it.
fn read(wire: &str) -> Reply {
    let code = wire[..3].parse().unwrap();
    let mut enhanced = None;
    let line = |line: &str| {
        let (first, rest) = line[4..].split_once(' ').unwrap_or((&line[4..], ""));
        match Enhanced::parse(first) {
            Some(found) => {
                enhanced = enhanced.or(Some(found));
                rest.to_owned()
            }
            None => line[4..].to_owned(),
        }
    };
    let lines = wire.lines().map(line).collect();
    Reply { code, enhanced, lines }
}

#[test]
fn every_known_reply_is_judged_and_explained() {
    for (provider, step, wire, outcome, advice) in examples() {
        let verdict = classify(provider, step, &read(wire));
        let name = verdict.advice.map_or("", |advice| advice.name);
        assert_eq!((verdict.outcome, name), (outcome, advice), "{provider} after {step}: {wire}");
    }
}

#[test]
fn every_row_of_the_tables_has_its_example() {
    let met: Vec<&Row> = examples().filter_map(|(provider, step, wire, ..)| find(provider, step, &read(wire))).collect();
    for row in [google::ROWS, microsoft::ROWS, any::ROWS].into_iter().flatten() {
        let pattern = (row.code, row.enhanced, row.text);
        assert!(met.iter().any(|met| std::ptr::eq(*met, row)), "no example reaches {pattern:?} {:?}", row.steps);
        assert!(!row.text.bytes().any(|b| b.is_ascii_uppercase()), "{pattern:?} can never match");
    }
}

#[test]
fn every_advice_is_reached_by_a_reply() {
    let reached: HashSet<&str> = examples().map(|(.., advice)| advice).collect();
    for advice in ADVICE {
        assert!(reached.contains(advice.name), "{}", advice.name);
    }
}

/// The tables hold no such row today; the type sees to it that none can do harm.
#[test]
fn no_row_could_refuse_a_message_before_mail() {
    use Means::*;
    for means in [Retry, Slow, Split, Renew, Hold, Quota, Sender, Refuse, Ours] {
        for step in ANY.iter().filter(|step| step.is_before_mail() || **step == Step::Other) {
            let outcome = means.outcome(*step);
            assert!(!outcome.is_final_refusal() && outcome != RetryMessage && outcome != SplitRecipients, "{means:?} {step}");
        }
    }
}

#[test]
fn patterns_know_digits_and_rests() {
    for (pattern, value, expected) in [
        ("550", "550", true),
        ("5xx", "599", true),
        ("5xx", "5", false),
        ("5.7.*", "5.7.139", true),
        ("5.7.*", "5.71.1", false),
        ("4.7.5xx", "4.7.500", true),
        ("4.7.5xx", "4.7.50", false),
        ("5.7.1", "5.7.139", false),
    ] {
        assert_eq!(fits(pattern, value), expected, "{pattern} {value}");
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop::sample::select(ANY)
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let fragments: Vec<String> = [google::ROWS, microsoft::ROWS, any::ROWS]
        .into_iter()
        .flatten()
        .flat_map(|row| row.text.split('|'))
        .map(String::from)
        .collect();
    let text = prop_oneof![prop::sample::select(fragments), any::<String>()];
    let enhanced = prop::option::of((prop::sample::select(vec![2u8, 4, 5]), 0u16..9, 0u16..999));
    (200u16..600, enhanced, prop::collection::vec(text, 1..3)).prop_map(|(code, enhanced, lines)| {
        let enhanced = enhanced.map(|(class, subject, detail)| Enhanced { class, subject, detail });
        Reply { code, enhanced, lines }
    })
}

proptest! {
    #[test]
    fn nothing_before_mail_ever_refuses_a_message(
        provider in prop::sample::select(vec![GOOGLE, MICROSOFT, CUSTOM]),
        step in any_step(),
        reply in any_reply(),
    ) {
        let outcome = classify(provider, step, &reply).outcome;
        if step.is_before_mail() || step == Step::Other {
            prop_assert!(!outcome.is_final_refusal(), "{outcome:?}");
            prop_assert!(!matches!(outcome, RetryMessage | SplitRecipients), "{outcome:?}");
        }
        prop_assert!(outcome != Renew || step == Step::Auth);
        prop_assert_eq!(outcome == Delivered, reply.is_positive());
        if reply.is_transient() {
            prop_assert!(!outcome.is_final_refusal(), "{outcome:?}");
        }
    }
}
