//! Which words tell which failure: of resolvers and sockets (Linux), of rustls, hyper and reqwest, of outlink itself, and of the
//! programs whose output people paste beside ours (OpenSSL, curl, Postfix, Java, Python, Node).

use super::NetworkFault::{self, *};

/// One row: a text with at least one part of each of `all`.
pub(super) struct Row {
    /// Alternatives, in lower case, separated by `|`.
    pub(super) all: &'static [&'static str],
    pub(super) fault: NetworkFault,
}

const fn row(all: &'static [&'static str], fault: NetworkFault) -> Row {
    Row { all, fault }
}

/// The particular before the general: a proxy's trouble is told in the same words as the server's.
pub(super) static ROWS: &[Row] = &[
    row(&["proxy authorization required|proxy authentication required|lets nobody through"], ProxyPassword),
    row(&["tunnel error: unsuccessful|connect tunnel failed|proxy connect aborted"], ProxyRefused),
    row(
        &[
            "through the proxy",
            "connection refused|dns error|cannot look up|timed out|deadline has elapsed|unreachable|no route to host",
        ],
        ProxyUnreachable,
    ),
    // The certificate.
    row(&["cannot read certificates from|cannot set up certificate verification"], NoTrust),
    row(&["causedasendentity|ca used as end entity"], CaAsServer),
    row(
        &[
            "unknownissuer|unable to get local issuer|unable to get issuer|self-signed certificate|self signed certificate|pkix path building",
        ],
        UntrustedIssuer,
    ),
    row(&["invalid peer certificate: badsignature|invalid peer certificate: invalidsignature"], BadSignature),
    row(&["certificate not valid yet|invalid peer certificate: notvalidyet|certificate is not yet valid"], NotYetValid),
    row(&["certificate expired|invalid peer certificate: expired|certificate has expired|cert_has_expired"], Expired),
    row(
        &[
            "notvalidforname|certificate not valid for name|does not match certificate's altnames|hostname mismatch|altname_invalid|no name that a certificate",
        ],
        WrongName,
    ),
    row(&["invalid peer certificate: revoked|certificate revoked|received fatal alert: certificaterevoked"], Revoked),
    // TLS.
    row(&["invalidcontenttype|wrong version number|wrong_version_number|tls handshake eof|not an ssl/tls record"], NoTls),
    row(&["offer starttls|starttls extension not supported|starttls is required, but was not offered"], NoStartTls),
    row(
        &[
            "peer is incompatible|received fatal alert: protocolversion|received fatal alert: handshakefailure|unsupported protocol",
        ],
        NoCommonTls,
    ),
    row(&["invalid peer certificate|received fatal alert|received corrupt message|no trusted tls connection"], TlsFailed),
    // Names.
    row(
        &["temporary failure in name resolution|eai_again|host not found, try again|cannot look up the name: no answer in time"],
        NameServerSilent,
    ),
    row(
        &["name or service not known|no address associated|enotfound|unknownhostexception|no such host|it has no address"],
        NoSuchName,
    ),
    // The connection.
    row(&["too many open files|os error 24)"], TooManyFiles),
    row(&["connection refused|econnrefused|os error 111)"], Refused),
    row(
        &[
            "network is unreachable|no route to host|enetunreach|ehostunreach|os error 101)|os error 113)|cannot assign requested \
             address|address family not supported",
        ],
        Unreachable,
    ),
    row(&["permission denied (os error 13)|operation not permitted (os error 1)"], NotPermitted),
    row(&["connection timed out|connect timed out|etimedout|os error 110)|connect error: deadline has elapsed"], ConnectTimedOut),
    row(&["connection reset|econnreset|os error 104)|broken pipe|os error 32)"], Reset),
    row(&["closed the connection|lost connection with|connection closed unexpectedly"], Closed),
    row(&["no answer in time|did not answer within|operation timed out"], Silent),
    // What answers is not what it should be.
    row(&["does not begin with a code|have different codes|the reply is too long|answers no command|is an smtp server"], NotSmtp),
    // A 429 or 5xx without an OAuth error is an ill service, not another one.
    row(
        &[
            "without an oauth error",
            "answered 2|answered 3|answered 400|answered 401|answered 403|answered 404|answered 405|answered 410",
        ],
        NotAnEndpoint,
    ),
    row(&["with what is no token|<!doctype html|<html|answered more than"], NotAnEndpoint),
];
