//! One login step by step, with what the server shows of itself, over a place below the mailbox's limit of connections.
//!
//! For `doctor`: the same dialogue as a message's, with shorter waits, and nothing is sent but MAIL and RSET.

use super::{
    connect::{Secured, capabilities, plain_reason, tls_reason},
    failure::{Failure, Reason},
    session::Session,
    slot::Slot,
    wire::Wire,
};
use crate::{
    provider::TlsMode,
    secret::Secret,
    smtp::{Reply, Step, client::Mechanism},
    tls::{self, Certificate, Seen},
};
use mail_send::SmtpClient;
use rustls::ClientConfig;
use smtp_proto::EhloResponse;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    net::TcpStream,
    time::{error::Elapsed, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What a server showed before a login.
#[derive(Debug, Default, Clone)]
pub struct Shown {
    /// The first line of its greeting.
    pub greeting: Option<String>,
    /// The version of TLS that was agreed on.
    pub tls: Option<&'static str>,
    /// Its certificate, trusted or not.
    pub certificate: Option<Certificate>,
    /// How long TLS took.
    pub tls_took: Duration,
    /// Octets of a message that it takes.
    pub size: Option<u64>,
    /// How we would log in.
    pub mechanism: Option<&'static str>,
    /// How long the EHLO took that counts.
    pub ehlo_took: Duration,
}

/// A connection after EHLO, not logged in.
#[derive(Debug)]
pub struct Met(Secured);

impl Slot {
    /// The name that EHLO says.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Greets the server at the other end of `tcp`; each exchange ends `within` this time. What it showed is told in `shown`, also
    /// when it fails.
    pub async fn meet(&self, tcp: TcpStream, within: Duration, shown: &mut Shown) -> Result<Met, Failure> {
        let mailbox = &self.pool.mailbox;
        let fail = |step, reason| Failure::new(step, &mailbox.server, reason);
        let ca_file = mailbox.ca_file.clone();
        let made = tokio::task::spawn_blocking(move || tls::watching_config(ca_file.as_deref())).await;
        let (config, seen) = match made {
            Ok(made) => made.map_err(|why| fail(Step::Tls, Reason::Tls(why.to_string())))?,
            Err(why) => return Err(fail(Step::Tls, Reason::Tls(why.to_string()))),
        };
        let meeting = Meeting { slot: self, within, config, shown: &mut *shown };
        let met = meeting.run(tcp).await.map_err(|(step, reason)| fail(step, reason));
        shown.certificate = Seen::certificate(&seen);
        met
    }

    /// Logs in over that connection, and keeps it as this place's own.
    pub async fn enter(&mut self, met: Met, token: (&Secret, SystemTime), within: Duration) -> Result<(), Failure> {
        let mailbox = self.pool.mailbox.clone();
        self.close();
        // What is forgotten from here on is this connection too.
        self.generation = self.pool.generation();
        let login = met.0.login(mailbox.clone(), token.0, token.1);
        let late = |_: Elapsed| Err(Failure::new(Step::Auth, &mailbox.server, Reason::TimedOut));
        self.session = Some(timeout(within, login).await.unwrap_or_else(late)?);
        Ok(())
    }

    /// Asks whether the mailbox may send as itself, and takes that back.
    pub async fn ask_sender(&mut self, within: Duration) -> Result<Reply, Failure> {
        let mailbox = self.pool.mailbox.clone();
        let fail = |step, reason: Reason| Failure::new(step, &mailbox.server, reason);
        let Some(mut session) = self.session.take() else {
            return Err(fail(Step::Auth, Reason::Local("not logged in".into())));
        };
        let address = mailbox.address.as_str();
        let utf8 = if address.is_ascii() { "" } else { " SMTPUTF8" };
        let reply = ask(&mut session, &format!("MAIL FROM:<{address}>{utf8}\r\n"), within).await;
        let reply = reply.map_err(|reason| fail(Step::Mail, reason))?;
        if !reply.is_positive() {
            session.leave();
            return Err(fail(Step::Mail, Reason::Reply(reply)));
        }
        let reset = ask(&mut session, "RSET\r\n", within).await.map_err(|reason| fail(Step::Other, reason))?;
        match reset.is_positive() {
            true => self.session = Some(session),
            false => session.leave(),
        }
        Ok(reply)
    }
}

async fn ask(session: &mut Session, line: &str, within: Duration) -> Result<Reply, Reason> {
    let reply = session.wire.ask(line.as_bytes(), within).await?;
    session.last_heard = tokio::time::Instant::now();
    Ok(reply)
}

struct Meeting<'a> {
    slot: &'a Slot,
    within: Duration,
    config: Arc<ClientConfig>,
    shown: &'a mut Shown,
}

impl Meeting<'_> {
    async fn run(mut self, tcp: TcpStream) -> Result<Met, (Step, Reason)> {
        let (mailbox, hostname) = (self.slot.pool.mailbox.clone(), self.slot.hostname.clone());
        let connector = TlsConnector::from(self.config.clone());
        let timeout = self.within;
        let tls = match mailbox.tls {
            TlsMode::Implicit => {
                let begun = Instant::now();
                let client = SmtpClient { stream: tcp, timeout };
                let tls = client.into_tls(&connector, &mailbox.server.host).await.map_err(unsecured)?.stream;
                self.secured(&tls, begun);
                self.greeted(Wire::new(tls)).await?
            }
            TlsMode::Starttls => {
                let stream = self.greeted(Wire::new(tcp)).await?;
                let mut client = SmtpClient { stream, timeout };
                let offered = client.ehlo(&hostname).await.map_err(unanswered)?;
                if offered.capabilities & smtp_proto::EXT_START_TLS == 0 {
                    return Err((Step::Tls, Reason::Unsupported(super::failure::STARTTLS)));
                }
                let begun = Instant::now();
                let tls = client.start_tls(&connector, &mailbox.server.host).await.map_err(unsecured)?.stream;
                self.secured(&tls, begun);
                tls
            }
        };
        let begun = Instant::now();
        let mut client = SmtpClient { stream: tls, timeout };
        let offered = client.ehlo(&hostname).await.map_err(unanswered)?;
        self.shown.ehlo_took = begun.elapsed();
        self.offered(&offered);
        Ok(Met(Secured { wire: Wire::new(client.stream), offered: capabilities(&offered) }))
    }

    async fn greeted<S>(&mut self, mut wire: Wire<S>) -> Result<S, (Step, Reason)>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let fail = |reason| (Step::Greeting, reason);
        let greeting = wire.reply(self.within).await.map_err(|why| fail(why.into()))?;
        self.shown.greeting = greeting.lines.first().cloned();
        match greeting.is_positive() {
            true => wire.into_stream().ok_or_else(|| fail(Reason::Malformed("the server spoke on after its greeting".into()))),
            false => Err(fail(Reason::Reply(greeting))),
        }
    }

    fn secured(&mut self, tls: &TlsStream<TcpStream>, begun: Instant) {
        self.shown.tls_took = begun.elapsed();
        self.shown.tls = match tls.get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => Some("TLS 1.2"),
            Some(rustls::ProtocolVersion::TLSv1_3) => Some("TLS 1.3"),
            _ => None,
        };
    }

    fn offered(&mut self, offered: &EhloResponse<String>) {
        self.shown.size = u64::try_from(offered.size).ok().filter(|size| *size > 0);
        self.shown.mechanism = Mechanism::choose(&capabilities(offered)).map(Mechanism::name);
    }
}

fn unsecured(why: mail_send::Error) -> (Step, Reason) {
    (Step::Tls, tls_reason(why))
}

fn unanswered(why: mail_send::Error) -> (Step, Reason) {
    (Step::Ehlo, plain_reason(why))
}
