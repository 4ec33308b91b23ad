//! What to do about failures on the way to the provider.

use crate::provider::advice::advice;

advice! {
    // Names.
    NO_SUCH_NAME = "dns-no-such-name",
        "the name server knows no such name, so there is nobody to connect to",
        "check `server` of the mailbox, or the endpoints of link {link}, for a slip; `getent hosts NAME` shows what this machine \
         finds";
    NAME_SERVER_SILENT = "dns-no-answer",
        "no name server answered this machine",
        "check the name servers in /etc/resolv.conf (`resolvectl status`) and that a firewall lets port 53 out; mail waits";

    // The connection.
    REFUSED = "connection-refused",
        "nobody listens at that address and port, or a firewall says so in its place",
        "check host and port of `server` (465 or 587), or of the endpoint; if they are right, let the firewall pass this machine";
    CONNECT_TIMED_OUT = "connect-timed-out",
        "there is no answer from that address and port: mostly a firewall that drops the packets",
        "let this machine out to port 587 or 465 of the mail server and to port 443 of the sign-in service; many networks and \
         cloud providers block ports for mail (25, sometimes 587) until asked";
    UNREACHABLE = "network-unreachable",
        "no way leads from this machine to that address; with an IPv6 address: it has the address, but no route for IPv6",
        "check this machine's network (`ip route`, `ip -6 route`); where there is no IPv6, take its addresses from the interface, \
         or prefer IPv4 in /etc/gai.conf; outlink tries every address of a name";
    NOT_PERMITTED = "connect-not-permitted",
        "this machine itself does not let outlink out: a local firewall, SELinux, or a limit of its systemd unit",
        "look at the rules for outgoing connections (`nft list ruleset`), and at IPAddressDeny and RestrictAddressFamilies in \
         `systemctl cat outlink`";
    RESET = "connection-reset",
        "the connection was cut from outside in its midst",
        "nothing to do if it happens now and then: outlink connects again; if it happens each time, look for a firewall or a \
         proxy that changes or ends SMTP or TLS on the way";
    CLOSED = "connection-closed",
        "the server closed the connection without a word",
        "check that `tls` fits the port of `server`: implicit belongs to 465, starttls to 587; if it does, the server may be \
         busy or not want this machine's address";
    SILENT = "server-silent",
        "the connection stands, but no answer came in time",
        "it is busy, or something on the way holds packets back: mail waits and is tried again; where a mail server does not even \
         greet, check that `tls` fits the port of `server` (on port 465 a server waits for TLS, where starttls waits for its greeting)";
    TOO_MANY_FILES = "too-many-open-files",
        "this process may open no more files and connections",
        "raise LimitNOFILE of the service (`systemctl edit outlink`), or lower the limits of listeners and mailboxes";

    // Certificates.
    UNTRUSTED_ISSUER = "tls-untrusted-issuer",
        "the certificate comes from an issuer that this machine does not trust: a private CA, or a proxy that opens TLS",
        "give the issuer's certificate (PEM) as `ca-file` of link {link}, or add it to the system's trust store; with Google or \
         Microsoft something on the way opens the connection: find out what before you trust it";
    BAD_SIGNATURE = "tls-bad-signature",
        "the certificate is not signed by the key of its issuer as this machine knows it",
        "`ca-file` of link {link} holds an older CA of the same name: replace it with the present one";
    EXPIRED = "tls-certificate-expired",
        "the server's certificate has expired, or this machine's clock is ahead",
        "compare `date` with the true time; if it is right, the server's administrator must renew the certificate";
    NOT_YET_VALID = "tls-certificate-not-yet-valid",
        "the server's certificate is not valid yet: mostly this machine's clock is behind",
        "set the clock right and keep it so with NTP (`timedatectl` shows the state)";
    WRONG_NAME = "tls-wrong-name",
        "the certificate belongs to another name than the one that was asked for",
        "write `server`, or the endpoint, with the name that stands in the certificate, not with an alias or an address";
    NO_TRUST = "tls-ca-file",
        "the certificates that outlink is to trust cannot be read: `ca-file` of link {link}, or the system's trust store",
        "let the service's user read a file with PEM certificates there; on Debian the package ca-certificates brings the trust store";
    CA_AS_SERVER = "tls-ca-as-server",
        "the server shows a CA's own certificate (self-signed with CA:TRUE) as its own",
        "give the server a certificate that is signed by that CA, or one with CA:FALSE, and name it as `ca-file` of link {link}";
    REVOKED = "tls-certificate-revoked",
        "the certificate was revoked by its issuer",
        "the server's administrator must install a new certificate";

    // TLS.
    NO_TLS = "tls-not-spoken",
        "what answers at that port does not speak TLS there",
        "check `tls` of the mailbox: implicit belongs to port 465, starttls to 587 and 25; an endpoint must be https";
    NO_STARTTLS = "tls-no-starttls",
        "the server does not offer STARTTLS, and no token is sent without TLS",
        "check `server`: it must be the submission server; a firewall that inspects SMTP may also take STARTTLS out: switch that \
         off for this machine";
    NO_COMMON_TLS = "tls-no-common-version",
        "the server speaks no TLS version or cipher that outlink accepts (1.2 or 1.3)",
        "the server's administrator must switch on TLS 1.2; with Google or Microsoft an old proxy stands between";
    TLS_FAILED = "tls-failed",
        "TLS could not be agreed on, or the certificate cannot be read",
        "read the reason in the log line; `openssl s_client -connect HOST:PORT` (with -starttls smtp for port 587) shows what the \
         server presents";

    // Who answers.
    NOT_SMTP = "not-smtp",
        "something answers at that port, but it does not speak SMTP",
        "check host and port of `server`, and that `tls` fits the port: implicit belongs to 465, starttls to 587";
    NOT_AN_ENDPOINT = "not-a-token-endpoint",
        "what answered is no token endpoint: a page of a proxy or of a network that wants a login, or another address of the provider",
        "check `token-endpoint` of link {link} (Google and Microsoft need none), and open it with `curl -v` from this machine to \
         see who answers";

    // Proxies.
    PROXY_PASSWORD = "proxy-password",
        "the proxy lets nobody through without the right user and password",
        "set `proxy-user` and `proxy-password` of link {link}, or those in HTTPS_PROXY of the service's environment";
    PROXY_REFUSED = "proxy-refused",
        "the proxy does not let outlink through to the sign-in service",
        "let the proxy's administrator allow the host of the token endpoint, port 443 (login.microsoftonline.com, \
         oauth2.googleapis.com); only HTTPS goes through the proxy, SMTP does not";
    PROXY_UNREACHABLE = "proxy-unreachable",
        "the proxy itself cannot be reached",
        "check host and port in `proxy` of link {link}, or HTTPS_PROXY in the service's environment; `proxy = \"none\"` goes without";
}
