//! What to do about replies. Lines between backquotes are commands: of outlink, or of Exchange Online PowerShell.

use crate::provider::advice::advice;

advice! {
    // Any server.
    REPORT = "report-this",
        "the server found an error in the dialogue, which outlink should not have made",
        "no mail is lost: it waits and is tried again; please report the log line to outlink's authors";
    EHLO_NAME = "ehlo-name",
        "the server does not accept the host name that outlink gives in EHLO",
        "set `hostname` in the configuration to a full name such as relay.example.com that belongs to you";
    TLS_MODE = "tls-mode",
        "the server and the configuration disagree about TLS",
        "check `server` and `tls` of the mailbox: port 465 wants `implicit`, port 587 wants `starttls`";
    LOGIN_SKIPPED = "login-skipped",
        "the server says that nobody has logged in on this connection",
        "check that `server` is the provider's submission server with port 465 or 587, and that no firewall or proxy \
         changes SMTP on the way";
    TOKEN_REFUSED = "token-refused",
        "the server did not accept the access token for {address}",
        "outlink renews the token once by itself; if that does not help, check the scopes of link {link} and that the \
         consent was given for this very address";
    NO_XOAUTH2 = "no-xoauth2",
        "the server does not know the login method XOAUTH2",
        "check that `server` is a submission server that takes OAuth 2.0";
    LOGIN_REFUSED = "login-refused",
        "the server refused the login for a reason that outlink does not know",
        "read the server's own text in the log line; mail waits until the login works";
    ADDRESS_BLOCKED = "address-blocked",
        "the server refuses connections from this machine's address",
        "ask the server's administrator to allow the address, or check whether it stands on a block list";
    NO_SERVICE = "no-service",
        "the server gives no service at the moment",
        "check that `server` is right; mail waits and is tried again";
    SENDER_DENIED = "sender-denied",
        "the server does not let {address} send with this sender address",
        "permit the sender address at the provider, or let the application send from {address}";
    RELAY_DENIED = "relay-denied",
        "the server does not relay mail to other domains for this login",
        "check that `server` is the submission server (port 465 or 587) and not one for incoming mail, and that {address} \
         may send to outside";
    QUOTA = "quota",
        "the provider's sending limit for {address} is reached",
        "mail waits until the limit resets, 24 hours at most; set the mailbox's limits to spread the mail";
    SERVER_BUSY = "server-busy",
        "the provider is busy or slows this mailbox down",
        "nothing to do: mail waits and goes out by itself; if it lasts for hours, look at the provider's status page";
    TEMPORARY = "temporary-refusal",
        "the server asks to come again later, for a reason of its own",
        "nothing to do: it is tried again by itself; read the server's own text if it lasts for hours";
    CONNECTION_TIMED_OUT = "connection-timed-out",
        "the server ended the connection because it took too long",
        "nothing to do: outlink connects again; if it happens often, check the network for losses";
    TOO_MANY_RECIPIENTS = "too-many-recipients",
        "the message has more recipients than the server takes at a time",
        "lower `recipients-per-message` of the mailbox to what the server takes";
    ADDRESS_SYNTAX = "address-syntax",
        "the server does not accept the form of a mail address",
        "correct the address in the application that sent the message";
    NO_SUCH_RECIPIENT = "no-such-recipient",
        "the recipient's address does not exist",
        "correct the address in the application that sent the message";
    RECIPIENT_FULL = "recipient-full",
        "the recipient's mailbox is full",
        "the recipient must make room";
    RECIPIENT_BUSY = "recipient-busy",
        "the recipient gets more mail than the provider allows in a short time",
        "nothing to do: the message is tried again; send this recipient less mail if it happens often";
    RECIPIENT_POLICY = "recipient-policy",
        "the recipient's domain does not take this mail at the moment, by its own rules",
        "the message is tried again; ask the recipient's administrator if it lasts";
    RECIPIENT_REFUSED = "recipient-refused",
        "the server refused this recipient for good",
        "read the server's own text; it says why";
    TOO_LARGE = "too-large",
        "the message is larger than the provider takes",
        "send smaller attachments, or a link to them";
    ATTACHMENT = "attachment",
        "the provider does not let this attachment pass",
        "do not send programs, scripts or archives with a password; send a link to them";
    CONTENT_REFUSED = "content-refused",
        "the server does not accept how the message is made",
        "read the server's own text, and correct the application that made the message";
    SPAM = "looks-like-spam",
        "the provider takes the message for unsolicited mail",
        "check text, links and recipients of the message, and SPF, DKIM and DMARC of the sender's domain";
    HEADER = "message-header",
        "the message's header is not as RFC 5322 wants it, most often a From that is missing, broken or there twice",
        "correct the application that made the message";
    BARE_LINE_FEED = "bare-line-feed",
        "the server found line feeds without carriage returns in the message",
        "outlink normally mends these; please report the log line to outlink's authors";
    LOOP = "mail-loop",
        "the message has passed too many servers, so it runs in a circle",
        "look at its Received lines and end the forwarding that leads back";
    POLICY = "policy",
        "the server refuses mail from {address} by a policy that outlink does not know",
        "read the server's own text in the log line; mail waits until the policy is changed";
    MESSAGE_REFUSED = "message-refused",
        "the server refused this message for good",
        "read the server's own text; it says why";

    // Google.
    GOOGLE_TOKEN_REFUSED = "google-token-refused",
        "Google did not accept the token for {address}",
        "check that the scope is exactly https://mail.google.com/ and that the consent was given while signed in as \
         {address}, not as another account or an alias; outlink renews the token once by itself";
    GOOGLE_TOO_MANY_LOGINS = "google-too-many-logins",
        "Google counts too many logins of {address}",
        "nothing to do: outlink waits and logs in less often; check whether another program logs in to the same account";
    GOOGLE_PASSWORD = "google-password",
        "Google asks for an application-specific password, so the login was made with a password instead of a token",
        "check that `server` points to smtp.gmail.com and that nothing between changes the login";
    GOOGLE_BROWSER = "google-browser-login",
        "Google wants {address} to sign in with a browser first",
        "sign in once as {address} at https://mail.google.com, answer the security questions shown there, then wait: mail \
         goes out by itself";
    GOOGLE_QUOTA = "google-quota",
        "Google's daily sending limit for {address} is reached (2,000 messages in Workspace, 500 for gmail.com)",
        "mail waits until Google resets the limit, 24 hours at most; spread the mail over several mailboxes if it happens often";
    GOOGLE_RATE = "google-rate",
        "Google sees more mail from this account in a short time than it allows",
        "nothing to do: outlink slows down; set `messages-per-minute` of the mailbox if it happens often";
    GOOGLE_SAME_MESSAGE_ID = "google-same-message-id",
        "Google counts too many mails with the same Message-ID",
        "let the application give each message a Message-ID of its own, and send to fewer recipients at a time";
    GOOGLE_SENDING_DENIED = "google-sending-denied",
        "Google does not let {address} send mail",
        "in the Admin console see whether the account is suspended; with smtp-relay.gmail.com also whether this machine's \
         address is registered under Apps, Gmail, Routing, SMTP relay service";
    GOOGLE_RELAY = "google-relay-credentials",
        "smtp-relay.gmail.com does not recognise this machine as yours",
        "set `hostname` in the configuration to a name in your own domain, and allow this machine's address under Apps, \
         Gmail, Routing, SMTP relay service";
    GOOGLE_COMPLIANCE = "google-compliance-rule",
        "a rule of your own Google Workspace refused the message",
        "look at the compliance and routing rules in the Admin console under Apps, Gmail";

    // Microsoft.
    MICROSOFT_SMTP_AUTH_TENANT = "microsoft-smtp-auth-disabled-tenant",
        "SMTP AUTH is switched off for the whole organisation, and that stops logins with OAuth too",
        "in Exchange Online PowerShell allow this mailbox with `Set-CASMailbox -Identity {'address'} \
         -SmtpClientAuthenticationDisabled $false`, or all with `Set-TransportConfig -SmtpClientAuthenticationDisabled \
         $false`; it works within about an hour, then waiting mail goes out by itself";
    MICROSOFT_SMTP_AUTH_MAILBOX = "microsoft-smtp-auth-disabled-mailbox",
        "SMTP AUTH is switched off for the mailbox {address}, and that stops logins with OAuth too",
        "in Exchange Online PowerShell run `Set-CASMailbox -Identity {'address'} -SmtpClientAuthenticationDisabled $false`; \
         it works within about an hour, then waiting mail goes out by itself";
    MICROSOFT_SIGN_IN_BLOCKED = "microsoft-sign-in-blocked",
        "Microsoft's sign-in rules do not let {address} in: Conditional Access, security defaults, or a disabled user",
        "find the failed sign-in of {address} in the Entra admin centre under Monitoring, Sign-in logs; it names the rule \
         that has to make an exception";
    MICROSOFT_PASSWORD = "microsoft-password",
        "Microsoft saw a login with a password, not with a token",
        "check that `server` is Microsoft's own and that no other program uses {address} with a password";
    MICROSOFT_TOKEN_REFUSED = "microsoft-token-refused",
        "Exchange Online did not accept the token for {address}",
        "check the scopes of link {link} and the address; with client credentials the app must be known to Exchange by the \
         object id that Entra shows under Enterprise applications (not App registrations): `New-ServicePrincipal -AppId \
         {'client-id'} -ObjectId <that object id>`, then `Add-MailboxPermission -Identity {'address'} -User <that object id> \
         -AccessRights FullAccess`; outlink renews the token once by itself";
    MICROSOFT_AUTH_DATA = "microsoft-auth-data",
        "Exchange Online could not read the login",
        "check that the address of mailbox {mailbox} has no stray characters, and that `server` takes OAuth for this kind \
         of mailbox";
    MICROSOFT_MAILBOX_LOGON = "microsoft-mailbox-logon",
        "the app has no right to open the mailbox {address}",
        "in Exchange Online PowerShell run `Add-MailboxPermission -Identity {'address'} -User <object id of the app under \
         Enterprise applications> -AccessRights FullAccess`, or give the app the role `Application SMTP.SendAsApp` for this \
         mailbox; it takes minutes to hours, then waiting mail goes out by itself";
    MICROSOFT_SEND_AS = "microsoft-send-as-denied",
        "{address} may not send with this From address",
        "in Exchange Online PowerShell run `Add-RecipientPermission -Identity <the From address> -Trustee {'address'} \
         -AccessRights SendAs` (with client credentials the trustee is the app's service principal), or let the application \
         send from {address}";
    MICROSOFT_QUOTA = "microsoft-quota",
        "the mailbox {address} has reached Exchange Online's limit of 10,000 recipients in 24 hours",
        "mail waits until the limit resets, 24 hours at most; spread the mail over several mailboxes if it happens often";
    MICROSOFT_TENANT_QUOTA = "microsoft-tenant-quota",
        "the organisation has reached its limit of outside recipients in 24 hours",
        "mail waits until the limit resets, 24 hours at most; the Exchange admin centre shows the limit under Reports, Mail flow";
    MICROSOFT_MAILBOX_FULL = "microsoft-mailbox-full",
        "the sending mailbox {address} is full: Exchange keeps a copy of each message in Sent Items",
        "empty Sent Items of {address}, or let a retention policy do it; then waiting mail goes out by itself";
    MICROSOFT_RESTRICTED = "microsoft-restricted-sender",
        "Microsoft has restricted {address} for sending what looked like spam",
        "find out what was sent, then release {address} in the Defender portal under Email & collaboration, Review, \
         Restricted entities";
    MICROSOFT_BANNED = "microsoft-banned-sender",
        "Microsoft has stopped mail from this sender because of abuse",
        "find out what was sent, then ask Microsoft's support to lift the stop";
    MICROSOFT_TENANT_BLOCKED = "microsoft-tenant-blocked",
        "Microsoft does not take mail from this organisation at the moment: too much suspicious mail, or a domain or \
         address that it does not know",
        "check that the sender's domain is an accepted domain of the organisation, then open a ticket with Microsoft's support";
    MICROSOFT_CONNECTIONS = "microsoft-connections",
        "the mailbox {address} sends over more connections at a time than Exchange Online allows (3)",
        "nothing to do: outlink slows down; if another program sends as {address} too, lower `connections` of the mailbox";
    MICROSOFT_INTERNAL_ONLY = "microsoft-internal-only",
        "a High Volume Email account sends only to recipients inside the organisation",
        "send outside mail through an ordinary mailbox";
    MICROSOFT_TOO_LARGE = "microsoft-too-large",
        "the message is larger than the mailbox {address} may send (35 MB unless changed)",
        "send smaller attachments, or raise the limit: `Set-Mailbox -Identity {'address'} -MaxSendSize 150MB`";
}
