//! How long is waited for what, and how long a connection is kept. Beside each number why that number.

use std::time::Duration;

/// For the name lookup: two tries of the system's resolver take 10 s.
pub(super) const LOOKUP: Duration = Duration::from_secs(15);

/// For one TCP connection over all addresses: SYN is repeated at 1, 3, 7 and 15 s; later ones find nobody.
pub(super) const CONNECT: Duration = Duration::from_secs(20);

/// Before the next address is tried beside one that has not answered (RFC 8305 §5).
pub(super) const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// For STARTTLS with its handshake, and for EHLO: mail-send knows one wait for each exchange.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(60);

/// For the greeting (RFC 5321 §4.5.3.2.1).
pub(super) const GREETING: Duration = Duration::from_secs(5 * 60);

/// For each reply of a login: RFC 4954 names none; a provider that checks a token elsewhere needs some time.
pub(super) const LOGIN: Duration = Duration::from_secs(2 * 60);

/// For the reply to MAIL and to each RCPT (RFC 5321 §4.5.3.2.2, §4.5.3.2.3).
pub(super) const COMMAND: Duration = Duration::from_secs(5 * 60);

/// For the reply to DATA (RFC 5321 §4.5.3.2.4).
pub(super) const DATA: Duration = Duration::from_secs(2 * 60);

/// For a piece of the message to be taken (RFC 5321 §4.5.3.2.5).
pub(super) const PIECE: Duration = Duration::from_secs(3 * 60);

/// For the verdict after the last octet (RFC 5321 §4.5.3.2.6): who waits less sends messages twice.
pub(super) const VERDICT: Duration = Duration::from_secs(10 * 60);

/// For the reply to RSET, and for whatever follows a 421: the app's verdict stands and waits for it.
pub(super) const CLOSING: Duration = Duration::from_secs(5);

/// For the first reply over a connection that was idle for longer than [`TRUSTED_IDLE`]: a forgotten NAT entry answers
/// never, and a
/// fresh connection is the faster way to find out. Well below `direct-wait`.
pub(super) const FIRST_REPLY: Duration = Duration::from_secs(15);

/// A connection that answered this recently is taken to be alive: its body goes out with its envelope. After a longer rest the
/// envelope goes first, so that a dead peer leaves nothing open.
pub(super) const TRUSTED_IDLE: Duration = Duration::from_secs(5);

/// Longest life: Exchange ends sessions after some 20 minutes.
pub(super) const AGE: Duration = Duration::from_secs(15 * 60);

/// Longest rest: below the shortest idle time-outs seen (Exchange 5 minutes, some gateways 100 s).
pub(super) const IDLE: Duration = Duration::from_secs(80);

/// How often idle connections are looked at.
pub(super) const SWEEP: Duration = Duration::from_secs(5);

/// A connection is retired this long before its token ends, or a tenth of the token's life if that is less.
pub(super) const TOKEN_MARGIN: Duration = Duration::from_secs(60);

/// Connections of a mailbox whose configuration names no limit.
pub(super) const CONNECTIONS: u32 = 50;
