//! What a server offered in its reply to EHLO, as far as sending needs it.

/// The offers of one server, after TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// SIZE (RFC 1870).
    pub size: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// AUTH XOAUTH2.
    pub xoauth2: bool,
    /// AUTH OAUTHBEARER (RFC 7628).
    pub oauthbearer: bool,
}
