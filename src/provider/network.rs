//! Failures on the way to the provider: names, networks, proxies, TLS. None of them is a reply, so there is no code to judge by; what
//! is typed where it happens has its variant, and for the rest the texts of resolvers, sockets, rustls and of other programs are told
//! apart by fragments.

mod advice;
mod texts;

use super::AdviceEntry;
use advice::*;

/// Advice about failures on the way.
pub(super) use advice::ALL as ADVICE;

/// What failed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkFault {
    /// The name server knows no such name, or no address of it.
    NoSuchName,
    /// No name server answered.
    NameServerSilent,
    /// Nobody listens there.
    Refused,
    /// No answer to the connection.
    ConnectTimedOut,
    /// No way leads there.
    Unreachable,
    /// This machine itself does not let the connection out.
    NotPermitted,
    /// The connection was broken.
    Reset,
    /// The server closed it without a word.
    Closed,
    /// Connected, but no answer in time.
    Silent,
    /// The certificate's issuer is not known here.
    UntrustedIssuer,
    /// The certificate is not signed by the issuer that is known here.
    BadSignature,
    /// The certificate has ended.
    Expired,
    /// The certificate has not begun.
    NotYetValid,
    /// The certificate is of another name.
    WrongName,
    /// `ca-file` or the system's trust store cannot be read.
    NoTrust,
    /// A CA's own certificate is used as the server's.
    CaAsServer,
    /// The certificate was revoked.
    Revoked,
    /// The port does not speak TLS.
    NoTls,
    /// The server offers no STARTTLS.
    NoStartTls,
    /// Both sides speak TLS, but have no version or cipher in common.
    NoCommonTls,
    /// TLS failed in another way.
    TlsFailed,
    /// The server spoke, but not SMTP.
    NotSmtp,
    /// The proxy wants user and password.
    ProxyPassword,
    /// The proxy does not let the connection through.
    ProxyRefused,
    /// The proxy itself cannot be reached.
    ProxyUnreachable,
    /// HTTP, but no answer of a token endpoint.
    NotAnEndpoint,
    /// This process may open no more files.
    TooManyFiles,
}

impl NetworkFault {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::NoSuchName,
        Self::NameServerSilent,
        Self::Refused,
        Self::ConnectTimedOut,
        Self::Unreachable,
        Self::NotPermitted,
        Self::Reset,
        Self::Closed,
        Self::Silent,
        Self::UntrustedIssuer,
        Self::BadSignature,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongName,
        Self::NoTrust,
        Self::CaAsServer,
        Self::Revoked,
        Self::NoTls,
        Self::NoStartTls,
        Self::NoCommonTls,
        Self::TlsFailed,
        Self::NotSmtp,
        Self::ProxyPassword,
        Self::ProxyRefused,
        Self::ProxyUnreachable,
        Self::NotAnEndpoint,
        Self::TooManyFiles,
    ];

    /// Reads what a resolver, a socket, rustls or another program said. The first row that fits wins.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        texts::ROWS
            .iter()
            .find(|row| row.all.iter().all(|any| any.split('|').any(|part| text.contains(part))))
            .map(|row| row.fault)
    }

    /// What to do about it.
    pub fn advice(self) -> &'static AdviceEntry {
        match self {
            Self::NoSuchName => &NO_SUCH_NAME,
            Self::NameServerSilent => &NAME_SERVER_SILENT,
            Self::Refused => &REFUSED,
            Self::ConnectTimedOut => &CONNECT_TIMED_OUT,
            Self::Unreachable => &UNREACHABLE,
            Self::NotPermitted => &NOT_PERMITTED,
            Self::Reset => &RESET,
            Self::Closed => &CLOSED,
            Self::Silent => &SILENT,
            Self::UntrustedIssuer => &UNTRUSTED_ISSUER,
            Self::BadSignature => &BAD_SIGNATURE,
            Self::Expired => &EXPIRED,
            Self::NotYetValid => &NOT_YET_VALID,
            Self::WrongName => &WRONG_NAME,
            Self::NoTrust => &NO_TRUST,
            Self::CaAsServer => &CA_AS_SERVER,
            Self::Revoked => &REVOKED,
            Self::NoTls => &NO_TLS,
            Self::NoStartTls => &NO_STARTTLS,
            Self::NoCommonTls => &NO_COMMON_TLS,
            Self::TlsFailed => &TLS_FAILED,
            Self::NotSmtp => &NOT_SMTP,
            Self::ProxyPassword => &PROXY_PASSWORD,
            Self::ProxyRefused => &PROXY_REFUSED,
            Self::ProxyUnreachable => &PROXY_UNREACHABLE,
            Self::NotAnEndpoint => &NOT_AN_ENDPOINT,
            Self::TooManyFiles => &TOO_MANY_FILES,
        }
    }
}

/// What to do about a failure of which only the text is known.
pub fn network_advice(text: &str) -> Option<&'static AdviceEntry> {
    NetworkFault::read(text).map(NetworkFault::advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// Texts as they come, and what they mean.
    const TEXTS: &[(&str, NetworkFault)] = &[
        (
            "connect at smtp.contoso.example:587: cannot look up the name: failed to lookup address information: Name or service \
             not known",
            NetworkFault::NoSuchName,
        ),
        ("failed to lookup address information: No address associated with hostname", NetworkFault::NoSuchName),
        ("getaddrinfo ENOTFOUND smtp.gmial.com", NetworkFault::NoSuchName),
        ("java.net.UnknownHostException: smtp.gmial.com", NetworkFault::NoSuchName),
        (
            "could not be asked: error sending request: client error (Connect): dns error: failed to lookup address information: \
             Temporary failure in name resolution",
            NetworkFault::NameServerSilent,
        ),
        ("connect: cannot look up the name: no answer in time", NetworkFault::NameServerSilent),
        (
            "Host or domain name not found. Name service error for name=smtp.gmail.com type=A: Host not found, try again",
            NetworkFault::NameServerSilent,
        ),
        ("127.0.0.1:1: Connection refused (os error 111)", NetworkFault::Refused),
        ("connect ECONNREFUSED 10.0.0.1:587", NetworkFault::Refused),
        ("connect to smtp.office365.com[52.98.1.2]:587: Connection timed out", NetworkFault::ConnectTimedOut),
        ("tcp connect error: deadline has elapsed", NetworkFault::ConnectTimedOut),
        ("[2603:1026::2]:587: Network is unreachable (os error 101)", NetworkFault::Unreachable),
        ("192.0.2.1:587: No route to host (os error 113)", NetworkFault::Unreachable),
        ("[::1]:587: Cannot assign requested address (os error 99)", NetworkFault::Unreachable),
        ("[::1]:587: Address family not supported by protocol (os error 97)", NetworkFault::Unreachable),
        ("52.98.1.2:587: Permission denied (os error 13)", NetworkFault::NotPermitted),
        ("52.98.1.2:587: Operation not permitted (os error 1)", NetworkFault::NotPermitted),
        ("Connection reset by peer (os error 104)", NetworkFault::Reset),
        ("Broken pipe (os error 32)", NetworkFault::Reset),
        ("greeting at smtp.example.com:25: the server closed the connection", NetworkFault::Closed),
        ("lost connection with smtp.office365.com[1.2.3.4] while receiving the initial server greeting", NetworkFault::Closed),
        ("greeting at smtp.example.com:465: no answer in time", NetworkFault::Silent),
        ("did not answer within 30 seconds", NetworkFault::Silent),
        ("invalid peer certificate: UnknownIssuer", NetworkFault::UntrustedIssuer),
        (
            "SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate",
            NetworkFault::UntrustedIssuer,
        ),
        ("PKIX path building failed: unable to find valid certification path to requested target", NetworkFault::UntrustedIssuer),
        ("self-signed certificate in certificate chain", NetworkFault::UntrustedIssuer),
        ("invalid peer certificate: BadSignature", NetworkFault::BadSignature),
        ("invalid peer certificate: Expired", NetworkFault::Expired),
        (
            "invalid peer certificate: certificate expired: verification time 1764000000 (UNIX), but certificate is not valid \
             after 1700000000 (64000000 seconds ago)",
            NetworkFault::Expired,
        ),
        ("certificate has expired", NetworkFault::Expired),
        (
            "invalid peer certificate: certificate not valid yet: verification time 1 (UNIX), but certificate is not valid \
             before 1764000000 (1763999999 seconds in future)",
            NetworkFault::NotYetValid,
        ),
        (
            "invalid peer certificate: certificate not valid for name \"smtp.contoso.com\"; certificate is only valid for \
             DnsName(\"smtp.example.com\")",
            NetworkFault::WrongName,
        ),
        ("invalid peer certificate: NotValidForName", NetworkFault::WrongName),
        ("Hostname/IP does not match certificate's altnames", NetworkFault::WrongName),
        ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", NetworkFault::CaAsServer),
        ("cannot read certificates from /etc/outlink/ca.pem: No such file or directory (os error 2)", NetworkFault::NoTrust),
        ("the server's host is no name that a certificate can carry", NetworkFault::WrongName),
        ("invalid peer certificate: Revoked", NetworkFault::Revoked),
        ("received corrupt message of type InvalidContentType", NetworkFault::NoTls),
        ("error:0A00010B:SSL routines::wrong version number", NetworkFault::NoTls),
        ("tls handshake eof", NetworkFault::NoTls),
        (
            "TLS at smtp.example.com:25: the server does not offer STARTTLS, and no token is sent without TLS",
            NetworkFault::NoStartTls,
        ),
        ("STARTTLS extension not supported by server.", NetworkFault::NoStartTls),
        ("peer is incompatible: ServerDoesNotSupportTls12Or13", NetworkFault::NoCommonTls),
        ("received fatal alert: ProtocolVersion", NetworkFault::NoCommonTls),
        ("received fatal alert: HandshakeFailure", NetworkFault::NoCommonTls),
        ("received fatal alert: InternalError", NetworkFault::TlsFailed),
        ("invalid peer certificate: BadEncoding", NetworkFault::TlsFailed),
        (
            "greeting at smtp.example.com:80: a line of the reply does not begin with a code; check that `server` is an SMTP server",
            NetworkFault::NotSmtp,
        ),
        (
            "could not be asked through the proxy http://proxy:3128: client error (Connect): tunnel error: proxy authorization \
             required",
            NetworkFault::ProxyPassword,
        ),
        ("the proxy http://proxy:3128 lets nobody through without the right user and password", NetworkFault::ProxyPassword),
        ("could not be asked through the proxy http://proxy:3128: tunnel error: unsuccessful", NetworkFault::ProxyRefused),
        ("curl: (56) CONNECT tunnel failed, response 403", NetworkFault::ProxyRefused),
        (
            "could not be asked through the proxy http://proxy:3128: client error (Connect): tcp connect error: Connection \
             refused (os error 111)",
            NetworkFault::ProxyUnreachable,
        ),
        (
            "could not be asked through the proxy http://proxy.corp:3128: dns error: failed to lookup",
            NetworkFault::ProxyUnreachable,
        ),
        (
            "could not be asked through the proxy http://p:1: invalid peer certificate: UnknownIssuer",
            NetworkFault::UntrustedIssuer,
        ),
        ("https://login.example.com/token answered 200 without an OAuth error", NetworkFault::NotAnEndpoint),
        ("answered 200 with what is no token: the body is empty or not application/json", NetworkFault::NotAnEndpoint),
        ("<!DOCTYPE html><html><head><title>Sign in to the network</title>", NetworkFault::NotAnEndpoint),
        ("answered more than 256 KiB", NetworkFault::NotAnEndpoint),
        ("Too many open files (os error 24)", NetworkFault::TooManyFiles),
    ];

    #[test]
    fn every_text_means_what_it_says() {
        for &(text, fault) in TEXTS {
            assert_eq!(NetworkFault::read(text), Some(fault), "{text}");
            assert_eq!(network_advice(text), Some(fault.advice()), "{text}");
        }
    }

    #[test]
    fn every_row_of_texts_is_reached_and_every_fault_is_known_by_a_text() {
        for row in texts::ROWS {
            let fits = |text: &str| row.all.iter().all(|any| any.split('|').any(|part| text.contains(part)));
            assert!(TEXTS.iter().any(|(text, fault)| *fault == row.fault && fits(&text.to_ascii_lowercase())), "{:?}", row.all);
            assert!(!row.all.concat().bytes().any(|b| b.is_ascii_uppercase()), "{:?} can never match", row.all);
        }
        for fault in NetworkFault::ALL {
            assert!(TEXTS.iter().any(|(_, known)| *known == fault), "{fault:?}");
        }
    }

    #[test]
    fn every_fault_has_advice_of_its_own() {
        let names: HashSet<&str> = NetworkFault::ALL.iter().map(|fault| fault.advice().name).collect();
        assert_eq!(names.len(), NetworkFault::ALL.len());
        assert_eq!(names, ADVICE.iter().map(|entry| entry.name).collect());
    }

    #[test]
    fn what_speaks_of_no_network_is_none_of_these() {
        for text in [
            "",
            "550 5.1.1 no such user",
            "invalid_grant: Token has been expired or revoked.",
            "token expired",
            "250 2.0.0 OK",
            "answered 503 without an OAuth error",
        ] {
            assert_eq!(NetworkFault::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = network_advice(&text);
        }
    }
}
