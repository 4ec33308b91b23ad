//! From a host name to a verified TLS connection whose server's offers are known.
//!
//! No credential is near this file: [`Secured`] is what a login needs, and only a verified handshake makes one.

use super::{
    failure::{Failure, Reason, STARTTLS},
    limits,
    trust::Trust,
    wire::Wire,
};
use crate::{
    config::{Mailbox, Server},
    provider::TlsMode,
    smtp::{Enhanced, Reply, Step, client::Capabilities},
};
use mail_send::SmtpClient;
use smtp_proto::EhloResponse;
use std::{collections::VecDeque, io, net::SocketAddr, time::Instant};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A connection to a server whose certificate was verified, after EHLO; not logged in.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) wire: Wire<TlsStream<TcpStream>>,
    pub(super) offered: Capabilities,
}

/// Connects to the mailbox's server and greets it as `hostname`.
pub(super) async fn connect(mailbox: &Mailbox, hostname: &str, trust: &Trust) -> Result<Secured, Failure> {
    let server = &mailbox.server;
    let fail = |step, reason| Failure::new(step, server, reason);
    let config = trust.config(mailbox.ca_file.as_deref()).await.map_err(|why| fail(Step::Tls, Reason::Tls(why)))?;
    let connector = TlsConnector::from(config);
    let begun = Instant::now();
    let tcp = reach(server).await.map_err(|reason| fail(Step::Connect, reason))?;
    tracing::debug!(mailbox = %mailbox.name, %server, ms = begun.elapsed().as_millis() as u64, "connected");
    let client = SmtpClient { stream: tcp, timeout: limits::HANDSHAKE };
    let secured = |why| fail(Step::Tls, tls_reason(why));
    let tls = match mailbox.tls {
        TlsMode::Implicit => {
            let tls = client.into_tls(&connector, &server.host).await.map_err(secured)?;
            greeted(tls.stream).await.map_err(|reason| fail(Step::Greeting, reason))?
        }
        TlsMode::Starttls => {
            let stream = greeted(client.stream).await.map_err(|reason| fail(Step::Greeting, reason))?;
            let mut client = SmtpClient { stream, timeout: limits::HANDSHAKE };
            let offered = client.ehlo(hostname).await.map_err(|why| fail(Step::Ehlo, plain_reason(why)))?;
            if offered.capabilities & smtp_proto::EXT_START_TLS == 0 {
                return Err(fail(Step::Tls, Reason::Unsupported(STARTTLS)));
            }
            client.start_tls(&connector, &server.host).await.map_err(secured)?.stream
        }
    };
    // RFC 3207 §4.2: what was said before TLS counts for nothing; so EHLO is said (again).
    let mut client = SmtpClient { stream: tls, timeout: limits::HANDSHAKE };
    let offered = client.ehlo(hostname).await.map_err(|why| fail(Step::Ehlo, plain_reason(why)))?;
    tracing::debug!(mailbox = %mailbox.name, %server, ms = begun.elapsed().as_millis() as u64, "secured");
    Ok(Secured { wire: Wire::new(client.stream), offered: capabilities(&offered) })
}

/// Waits for a positive greeting.
async fn greeted<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<S, Reason> {
    let mut wire = Wire::new(stream);
    let greeting = wire.reply(limits::GREETING).await?;
    match greeting.is_positive() {
        true => wire.into_stream().ok_or_else(|| Reason::Malformed("the server spoke on after its greeting".into())),
        false => Err(Reason::Reply(greeting)),
    }
}

/// Looks the host up and connects to the first address that answers.
async fn reach(server: &Server) -> Result<TcpStream, Reason> {
    let looked_up = tokio::time::timeout(limits::LOOKUP, tokio::net::lookup_host((server.host.as_str(), server.port)));
    let addresses: Vec<SocketAddr> = match looked_up.await {
        Err(_) => return Err(Reason::Name(None)),
        Ok(Err(why)) => return Err(Reason::Name(Some(why.to_string()))),
        Ok(Ok(found)) => found.collect(),
    };
    if addresses.is_empty() {
        return Err(Reason::Name(Some("it has no address".into())));
    }
    match tokio::time::timeout(limits::CONNECT, race(interleaved(addresses))).await {
        Err(_) => Err(Reason::TimedOut),
        Ok(Err(why)) => Err(Reason::Io(why.to_string())),
        Ok(Ok(tcp)) => Ok(tcp),
    }
}

/// Alternates the families, beginning with the resolver's first choice (RFC 8305 §4).
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = VecDeque::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

/// Tries the addresses one after the other without waiting on a dead one; the first connection wins, the others are dropped.
pub(super) async fn race(mut addresses: VecDeque<SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = addresses.pop_front() {
            attempts.spawn(async move {
                let tcp =
                    TcpStream::connect(address).await.map_err(|why| io::Error::new(why.kind(), format!("{address}: {why}")))?;
                // Small writes wait for each other's acknowledgement otherwise: 40 ms for each message.
                tcp.set_nodelay(true)?;
                Ok::<_, io::Error>(tcp)
            });
        }
        let ended = match addresses.is_empty() {
            true => attempts.join_next().await,
            false => match tokio::time::timeout(limits::NEXT_ADDRESS, attempts.join_next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            },
        };
        match ended {
            None => return Err(last),
            Some(Ok(Ok(tcp))) => return Ok(tcp),
            Some(Ok(Err(why))) => last = why,
            Some(Err(why)) => last = io::Error::other(why),
        }
    }
}

pub(super) fn capabilities(offered: &EhloResponse<String>) -> Capabilities {
    let has = |extension| offered.capabilities & extension != 0;
    let mechanism = |bit| has(smtp_proto::EXT_AUTH) && offered.auth_mechanisms & bit != 0;
    Capabilities {
        pipelining: has(smtp_proto::EXT_PIPELINING),
        chunking: has(smtp_proto::EXT_CHUNKING),
        size: has(smtp_proto::EXT_SIZE),
        eight_bit_mime: has(smtp_proto::EXT_8BIT_MIME),
        smtputf8: has(smtp_proto::EXT_SMTP_UTF8),
        dsn: has(smtp_proto::EXT_DSN),
        xoauth2: mechanism(smtp_proto::AUTH_XOAUTH2),
        oauthbearer: mechanism(smtp_proto::AUTH_OAUTHBEARER),
    }
}

/// What went wrong in an exchange of mail-send.
pub(super) fn plain_reason(why: mail_send::Error) -> Reason {
    match why {
        mail_send::Error::Timeout => Reason::TimedOut,
        mail_send::Error::Io(why) => Reason::Io(why.to_string()),
        mail_send::Error::Tls(why) => Reason::Tls(why.to_string()),
        mail_send::Error::UnexpectedReply(reply) => Reason::Reply(own_reply(&reply)),
        other => Reason::Malformed(other.to_string()),
    }
}

/// The same while TLS is agreed on.
pub(super) fn tls_reason(why: mail_send::Error) -> Reason {
    match why {
        // mail-send keeps no words of the system's errors, but their kind.
        mail_send::Error::Io(why) => Reason::Tls(format!("{}: {why}", why.kind())),
        mail_send::Error::InvalidTLSName => Reason::Tls("the server's host is no name that a certificate can carry".into()),
        other => plain_reason(other),
    }
}

fn own_reply(reply: &smtp_proto::Response<String>) -> Reply {
    let [class, subject, detail] = reply.esc;
    let enhanced = (class != 0).then_some(Enhanced { class, subject: subject.into(), detail: detail.into() });
    let line = reply.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim_end().to_owned();
    Reply { code: reply.code, enhanced, lines: vec![line] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate() {
        let all = ["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1"].map(|text| text.parse::<SocketAddr>().unwrap());
        let expected = ["[::1]:1", "1.0.0.1:1", "[::2]:1", "[::3]:1"].map(|text| text.parse::<SocketAddr>().unwrap());
        assert_eq!(interleaved(all.to_vec()), expected);
    }
}
