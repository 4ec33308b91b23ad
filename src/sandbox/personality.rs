//! How each provider speaks, as data: what it announces and what it says.
//!
//! In a text `{name}` is filled in and a line feed divides the lines of one reply. `{id}` is an id of the transaction, `{unix}`
//! the time in seconds, `{host}` the server's name.

use crate::provider::Provider;
use memchr::memchr2;

/// One provider's SMTP server.
pub(super) struct Personality {
    pub(super) host: &'static str,
    /// TLS from the first byte; else STARTTLS.
    pub(super) implicit_tls: bool,
    pub(super) size: u64,
    /// What EHLO lists besides SIZE, AUTH, STARTTLS and CHUNKING.
    pub(super) extensions: &'static [&'static str],
    /// AUTH mechanisms, announced under TLS only.
    pub(super) mechanisms: &'static str,
    /// Longest AUTH line with an initial response, octets with CRLF.
    pub(super) longest_inline_auth: usize,
    /// Whether a refused token is explained by a 334 with JSON first.
    pub(super) challenges: bool,
    pub(super) limits: Limits,
    pub(super) say: Texts,
}

/// What the provider allows one mailbox; 0 is no limit. Enforced only when asked.
pub(super) struct Limits {
    pub(super) recipients_per_message: usize,
    pub(super) connections: u64,
    pub(super) messages_per_minute: u64,
    pub(super) messages_per_day: u64,
    pub(super) recipients_per_day: u64,
    /// Octets that are really taken, where fewer than announced.
    pub(super) message: u64,
}

/// The replies.
pub(super) struct Texts {
    pub(super) greeting: &'static str,
    pub(super) hello: &'static str,
    pub(super) starttls: &'static str,
    pub(super) authenticated: &'static str,
    pub(super) token_refused: &'static str,
    pub(super) token_malformed: &'static str,
    pub(super) password_refused: &'static str,
    pub(super) auth_cancelled: &'static str,
    pub(super) auth_twice: &'static str,
    pub(super) auth_too_long: &'static str,
    pub(super) mechanism_unknown: &'static str,
    pub(super) smtp_auth_disabled: &'static str,
    pub(super) too_many_connections: &'static str,
    pub(super) too_many_logins: &'static str,
    pub(super) authentication_required: &'static str,
    pub(super) tls_required: &'static str,
    pub(super) sender_ok: &'static str,
    pub(super) recipient_ok: &'static str,
    pub(super) go_ahead: &'static str,
    pub(super) chunk_ok: &'static str,
    pub(super) accepted: &'static str,
    pub(super) reset: &'static str,
    pub(super) noop: &'static str,
    pub(super) quit: &'static str,
    pub(super) unknown_command: &'static str,
    pub(super) syntax: &'static str,
    pub(super) bad_sequence: &'static str,
    pub(super) no_recipients: &'static str,
    pub(super) too_large: &'static str,
    pub(super) too_large_after_all: &'static str,
    pub(super) too_many_recipients: &'static str,
    pub(super) recipient_refused: &'static str,
    pub(super) recipient_deferred: &'static str,
    pub(super) busy: &'static str,
    pub(super) quota: &'static str,
    pub(super) rate: &'static str,
    pub(super) send_as_denied: &'static str,
    pub(super) logon_failure: &'static str,
}

/// The personality of `provider`.
pub(super) fn personality(provider: Provider) -> &'static Personality {
    match provider {
        Provider::Google => &GOOGLE,
        Provider::Microsoft => &MICROSOFT,
        Provider::Custom => &CUSTOM,
    }
}

/// Appends `text` as a reply, names filled in. A value can hold no line end.
pub(super) fn write(out: &mut Vec<u8>, text: &str, value: impl Fn(&str, &mut Vec<u8>)) {
    let mut rest = text;
    while let Some(at) = memchr2(b'{', b'\n', rest.as_bytes()) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        if rest.as_bytes()[at] == b'\n' {
            out.extend_from_slice(b"\r\n");
            rest = &rest[at + 1..];
            continue;
        }
        let Some((name, after)) = rest[at + 1..].split_once('}') else { break };
        let before = out.len();
        value(name, out);
        out[before..].iter_mut().filter(|b| b.is_ascii_control()).for_each(|b| *b = b' ');
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out.extend_from_slice(b"\r\n");
}

const GOOGLE: Personality = Personality {
    host: "smtp.gmail.com",
    implicit_tls: true,
    size: 35_882_577,
    extensions: &["8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING", "SMTPUTF8"],
    mechanisms: "LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH",
    // RFC 5321 §4.5.3.1.4; Google holds AUTH to it.
    longest_inline_auth: 512,
    challenges: true,
    limits: Limits {
        recipients_per_message: 100,
        connections: 10,
        messages_per_minute: 0,
        messages_per_day: 2000,
        recipients_per_day: 10_000,
        message: 0,
    },
    say: Texts {
        greeting: "220 smtp.gmail.com ESMTP {id} - gsmtp",
        hello: "smtp.gmail.com at your service, [127.0.0.1]",
        starttls: "220 2.0.0 Ready to start TLS",
        authenticated: "235 2.7.0 Accepted",
        token_refused: "535-5.7.8 Username and Password not accepted. For more information, go to\n\
            535 5.7.8  https://support.google.com/mail/?p=BadCredentials {id} - gsmtp",
        token_malformed: "501 5.5.2 Cannot Decode response {id} - gsmtp",
        password_refused: "535-5.7.8 Username and Password not accepted. For more information, go to\n\
            535 5.7.8  https://support.google.com/mail/?p=BadCredentials {id} - gsmtp",
        auth_cancelled: "501 5.7.0 Authentication canceled {id} - gsmtp",
        auth_twice: "503 5.7.0 No identity changes permitted. {id} - gsmtp",
        auth_too_long: "555-5.5.2 Syntax error, command line too long. For more information, go to\n\
            555 5.5.2  https://support.google.com/a/answer/3221692 {id} - gsmtp",
        mechanism_unknown: "504 5.7.4 Unrecognized Authentication Type {id} - gsmtp",
        smtp_auth_disabled: "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the \
            Mailbox. {id} - gsmtp",
        too_many_connections: "421 4.7.0 Too many concurrent connections, closing connection. {id} - gsmtp",
        too_many_logins: "454 4.7.0 Too many login attempts, please try again later. {id} - gsmtp",
        authentication_required: "530-5.7.0 Authentication Required. For more information, go to\n\
            530 5.7.0  https://support.google.com/accounts/troubleshooter/2402620. {id} - gsmtp",
        tls_required: "530 5.7.0 Must issue a STARTTLS command first. {id} - gsmtp",
        sender_ok: "250 2.1.0 OK {id} - gsmtp",
        recipient_ok: "250 2.1.5 OK {id} - gsmtp",
        go_ahead: "354 Go ahead {id} - gsmtp",
        chunk_ok: "250 2.0.0 OK {id} - gsmtp",
        accepted: "250 2.0.0 OK  {unix} {id} - gsmtp",
        reset: "250 2.1.5 Flushed {id} - gsmtp",
        noop: "250 2.0.0 OK {id} - gsmtp",
        quit: "221 2.0.0 closing connection {id} - gsmtp",
        unknown_command: "502 5.5.1 Unrecognized command. {id} - gsmtp",
        syntax: "555 5.5.2 Syntax error, goodbye. {id} - gsmtp",
        bad_sequence: "503 5.5.1 Bad sequence of commands. {id} - gsmtp",
        no_recipients: "503 5.5.1 RCPT first. {id} - gsmtp",
        too_large: "552-5.3.4 Your message exceeded Google's message size limits. To view our message\n\
            552 5.3.4  size guidelines, go to https://support.google.com/mail/?p=MaxSizeError {id} - gsmtp",
        too_large_after_all: "552 5.3.4 Your message exceeded Google's message size limits. {id} - gsmtp",
        too_many_recipients: "452-4.5.3 Your message has too many recipients. For more information, go to\n\
            452 4.5.3  https://support.google.com/mail/answer/22839 {id} - gsmtp",
        recipient_refused: "550-5.1.1 The email account that you tried to reach does not exist. Please try\n\
            550 5.1.1  double-checking the recipient's email address {recipient} {id} - gsmtp",
        recipient_deferred: "450-4.2.1 The user you are trying to contact is receiving mail at a rate that\n\
            450-4.2.1 prevents additional messages from being delivered. For more information, please\n\
            450 4.2.1  visit https://support.google.com/mail/?p=ReceivingRate {id} - gsmtp",
        busy: "421 4.7.0 Try again later, closing connection. {id} - gsmtp",
        quota: "550-5.4.5 Daily user sending limit exceeded. For more information on Gmail\n\
            550 5.4.5  sending limits go to https://support.google.com/a/answer/166852 {id} - gsmtp",
        rate: "421 4.7.28 Our system has detected an unusual rate of mail. Try again later. {id} - gsmtp",
        send_as_denied: "550 5.7.1 The sender {from} is not allowed for {user}. {id} - gsmtp",
        logon_failure: "421 4.7.0 Temporary System Problem. Try again later. {id} - gsmtp",
    },
};

const MICROSOFT: Personality = Personality {
    host: "smtp.office365.com",
    implicit_tls: false,
    size: 157_286_400,
    extensions: &["PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "8BITMIME", "BINARYMIME", "SMTPUTF8"],
    mechanisms: "LOGIN XOAUTH2",
    longest_inline_auth: 12_288,
    challenges: false,
    limits: Limits {
        recipients_per_message: 500,
        connections: 3,
        messages_per_minute: 30,
        messages_per_day: 0,
        recipients_per_day: 10_000,
        message: 36_700_160,
    },
    say: Texts {
        greeting: "220 SANDBOX01.outlook.office365.com Microsoft ESMTP MAIL Service ready at {date}",
        hello: "SANDBOX01.outlook.office365.com Hello [127.0.0.1]",
        starttls: "220 2.0.0 SMTP server ready",
        authenticated: "235 2.7.0 Authentication successful",
        token_refused: "535 5.7.3 Authentication unsuccessful [SANDBOX01.outlook.office365.com {id}]",
        token_malformed: "501 5.5.124 Invalid XOAUTH2 auth data",
        password_refused: "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. \
            [SANDBOX01.outlook.office365.com {id}]",
        auth_cancelled: "501 5.7.0 Authentication cancelled",
        auth_twice: "503 5.5.2 Send hello first or already authenticated",
        auth_too_long: "500 5.5.6 Authentication line too long",
        mechanism_unknown: "504 5.7.4 Unrecognized authentication type",
        smtp_auth_disabled: "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the \
            Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information. [SANDBOX01.outlook.office365.com {id}]",
        too_many_connections: "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending \
            for more information. [Hostname={host}]",
        too_many_logins: "454 4.7.0 Temporary authentication failure [{host}]",
        authentication_required: "530 5.7.57 Client not authenticated to send mail. [{host} {id}]",
        tls_required: "530 5.7.57 Client not authenticated to send mail. [{host} {id}]",
        sender_ok: "250 2.1.0 Sender OK",
        recipient_ok: "250 2.1.5 Recipient OK",
        go_ahead: "354 Start mail input; end with <CRLF>.<CRLF>",
        chunk_ok: "250 2.0.0 CHUNK received OK",
        accepted: "250 2.0.0 OK <{id}@sandbox.prod.outlook.com> [Hostname=sandbox.prod.outlook.com]",
        reset: "250 2.0.0 Resetting",
        noop: "250 2.0.0 OK",
        quit: "221 2.0.0 Service closing transmission channel",
        unknown_command: "500 5.3.3 Unrecognized command '{command}'",
        syntax: "501 5.5.4 Invalid arguments",
        bad_sequence: "503 5.5.2 Bad sequence of commands",
        no_recipients: "503 5.5.2 Need rcpt command",
        too_large: "552 5.3.4 Message size exceeds fixed maximum message size",
        too_large_after_all: "554 5.2.3 \
            STOREDRV.Submission.Exception:MessageTooLargeException.MapiExceptionMaxSubmissionExceeded; Failed to process \
            message due to a permanent exception with message [BeginDiagnosticData]Cannot submit message. \
            {diagnostics}[EndDiagnosticData] [Hostname=sandbox.prod.outlook.com]",
        too_many_recipients: "452 4.5.3 Too many recipients",
        recipient_refused: "550 5.1.1 The recipient {recipient} does not exist [{host}]",
        recipient_deferred: "450 4.2.1 The recipient {recipient} cannot take messages now, please try later [{host}]",
        busy: "421 4.3.2 Service not available, closing transmission channel",
        quota: "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to \
            a permanent exception with message The message can't be submitted because the sender's submission quota was \
            exceeded. [BeginDiagnosticData]{diagnostics}[EndDiagnosticData] [Hostname=sandbox.prod.outlook.com]",
        rate: "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded [Hostname=sandbox.prod.outlook.com]",
        send_as_denied: "554 5.2.252 SendAsDenied; {user} not allowed to send as {from}; \
            STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due \
            to a permanent exception with message [BeginDiagnosticData]Cannot submit message. \
            {diagnostics}[EndDiagnosticData] [Hostname=sandbox.prod.outlook.com]",
        logon_failure: "430 4.2.0 STOREDRV; mailbox logon failure; \
            STOREDRV.Submission.Exception:ConnectionFailedTransientException.MapiExceptionLogonFailed; Failed to process \
            message due to a transient exception with message [BeginDiagnosticData]Cannot open mailbox. \
            {diagnostics}[EndDiagnosticData] [Hostname=sandbox.prod.outlook.com]",
    },
};

const CUSTOM: Personality = Personality {
    host: "smtp.sandbox.example",
    implicit_tls: false,
    size: 52_428_800,
    extensions: &["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8"],
    mechanisms: "XOAUTH2 OAUTHBEARER",
    longest_inline_auth: 12_288,
    challenges: true,
    limits: Limits {
        recipients_per_message: 1000,
        connections: 0,
        messages_per_minute: 0,
        messages_per_day: 0,
        recipients_per_day: 0,
        message: 0,
    },
    say: Texts {
        greeting: "220 {host} ESMTP",
        hello: "{host}",
        starttls: "220 2.0.0 go ahead with TLS",
        authenticated: "235 2.7.0 authenticated",
        token_refused: "535 5.7.8 access token not accepted",
        token_malformed: "501 5.5.2 cannot decode the response",
        password_refused: "535 5.7.8 password not accepted",
        auth_cancelled: "501 5.7.0 authentication cancelled",
        auth_twice: "503 5.5.1 already authenticated",
        auth_too_long: "500 5.5.6 authentication line too long",
        mechanism_unknown: "504 5.5.4 mechanism not offered",
        smtp_auth_disabled: "535 5.7.139 SMTP AUTH is disabled for this mailbox",
        too_many_connections: "421 4.7.0 too many connections for this mailbox",
        too_many_logins: "454 4.7.0 too many logins, try again later",
        authentication_required: "530 5.7.0 authentication required",
        tls_required: "530 5.7.0 STARTTLS first",
        sender_ok: "250 2.1.0 sender taken",
        recipient_ok: "250 2.1.5 recipient taken",
        go_ahead: "354 end with a single dot",
        chunk_ok: "250 2.0.0 chunk taken",
        accepted: "250 2.0.0 taken as {id}",
        reset: "250 2.0.0 reset",
        noop: "250 2.0.0 still here",
        quit: "221 2.0.0 goodbye",
        unknown_command: "500 5.5.1 unknown command",
        syntax: "501 5.5.4 syntax error",
        bad_sequence: "503 5.5.1 not now",
        no_recipients: "503 5.5.1 no recipients",
        too_large: "552 5.3.4 message too large",
        too_large_after_all: "552 5.3.4 message too large",
        too_many_recipients: "452 4.5.3 too many recipients",
        recipient_refused: "550 5.1.1 no such recipient {recipient}",
        recipient_deferred: "450 4.2.1 try later for {recipient}",
        busy: "421 4.3.2 busy, try again later",
        quota: "550 5.4.5 daily limit of this mailbox exceeded",
        rate: "451 4.7.1 too many messages, slow down",
        send_as_denied: "550 5.7.1 {user} may not send as {from}",
        logon_failure: "430 4.2.0 mailbox cannot be opened",
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_in_value_cannot_end_a_line() {
        let mut out = Vec::new();
        write(&mut out, "550-a {x}\n550 b", |_, out| out.extend_from_slice(b"1\r\n2"));
        assert_eq!(out, b"550-a 1  2\r\n550 b\r\n");
    }
}
