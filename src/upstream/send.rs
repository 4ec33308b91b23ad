//! Sends one message over a session: writes what the transaction wants, the body piece by piece, and hears replies meanwhile.

use super::{
    failure::{Failure, Reason},
    limits,
    progress::Progress,
    session::Session,
    wire::{Broken, Listen, Written},
};
use crate::{
    config::Mailbox,
    mail::Envelope,
    provider::Chunking,
    smtp::{
        Reply, Step,
        client::{Awaited, Framing, Malformed, Message, Next, Policy, Sent, Stuffing, Transaction},
    },
    store::{Body, BodyReader},
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How much of the outgoing buffer an idle session keeps.
const KEPT: usize = 16 * 1024;

/// One message on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) body: &'a Body,
    pub(super) policy: Policy,
    pub(super) progress: &'a Progress,
    /// Whether BDAT was found wanting at this server.
    pub(super) data_only: bool,
}

/// What became of a message, and of the session it went over.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) result: Result<Sent, Failure>,
    /// Whether another message may follow over the session.
    pub(super) reusable: bool,
    /// The server offered BDAT and did not know it.
    pub(super) bdat_unknown: bool,
}

impl Session {
    /// Sends one message.
    pub(super) async fn send(&mut self, order: Order<'_>) -> Report {
        let (offered, begun) = (self.offered, Instant::now());
        let doubtful = self.is_doubtful();
        let message = Message {
            envelope: order.envelope,
            length: order.body.len(),
            policy: order.policy,
            chunking: self.mailbox.chunking == Chunking::Auto && !order.data_only,
            grouped: !doubtful,
        };
        let transaction = match Transaction::new(message, &offered) {
            Ok(transaction) => transaction,
            Err(verdict) => return Report { result: Ok(*verdict), reusable: true, bdat_unknown: false },
        };
        let mut sending =
            Sending { transaction, order, warm: self.messages > 0, doubtful, committed: false, mailbox: self.mailbox.clone() };
        let ended = self.run(&mut sending).await;
        self.messages += 1;
        self.out.clear();
        self.out.shrink_to(KEPT);
        let report = sending.report(ended);
        self.log(&report, begun);
        report
    }

    async fn run(&mut self, sending: &mut Sending<'_>) -> Result<(), End> {
        loop {
            self.out.clear();
            let next = sending.transaction.next(&mut self.out);
            match next {
                Next::Done => return Ok(()),
                Next::Body(framing) => self.write_body(framing, sending).await?,
                Next::Read(awaited) => {
                    let within = sending.patience(awaited);
                    if !self.out.is_empty() {
                        // Cut: the server answered commands that it cannot have read.
                        if self.wire.write(&self.out, sending, within).await.map_err(End::Broken)? == Written::Cut {
                            return Err(End::Broken(Broken::Malformed(Malformed::Unasked)));
                        }
                    }
                    // Replies may have come while writing.
                    if !sending.transaction.is_answered() {
                        self.wire.hear(sending, within).await.map_err(End::Broken)?;
                    }
                }
            }
            self.last_heard = Instant::now();
        }
    }

    /// Writes what is in `out` and the message after it.
    async fn write_body(&mut self, framing: Framing, sending: &mut Sending<'_>) -> Result<(), End> {
        let mut pieces = Pieces::open(sending.order.body).await.map_err(End::Local)?;
        let mut stuffing = Stuffing::default();
        loop {
            let (piece, is_last) = pieces.next().await.map_err(End::Local)?;
            let bytes = match framing {
                // Nothing before it and nothing to change: no copy.
                Framing::Octets if self.out.is_empty() => &piece,
                Framing::Octets => {
                    self.out.extend_from_slice(&piece);
                    &self.out[..]
                }
                Framing::Dots => {
                    stuffing.push(&piece, &mut self.out);
                    if is_last {
                        stuffing.finish(&mut self.out);
                    }
                    &self.out[..]
                }
            };
            let may_go_on = if is_last { sending.order.progress.try_commit() } else { !sending.order.progress.is_aborted() };
            if !may_go_on {
                return Err(End::Aborted);
            }
            sending.committed |= is_last;
            match self.wire.write(bytes, sending, limits::PIECE).await.map_err(End::Broken)? {
                Written::Whole if is_last => return Ok(()),
                Written::Whole => self.out.clear(),
                Written::Cut => return Err(End::Early),
            }
            // A verdict between two pieces came too early as well.
            if sending.transaction.is_answered() {
                return Err(End::Early);
            }
        }
    }

    fn log(&self, report: &Report, begun: Instant) {
        let (mailbox, server) = (&self.mailbox.name, &self.mailbox.server);
        let ms = begun.elapsed().as_millis() as u64;
        match &report.result {
            Ok(sent) => {
                let reply = sent.message.as_ref().unwrap_or(&sent.mail);
                tracing::debug!(%mailbox, %server, ms, %reply, delivered = sent.is_delivered(), "sent");
            }
            Err(why) => tracing::debug!(%mailbox, %server, ms, %why, stale = why.stale, unknown = why.unknown, "not sent"),
        }
    }
}

/// Why a dialogue ended before its end.
enum End {
    Broken(Broken),
    /// A verdict came while the message was still being written.
    Early,
    /// The waiter gave up.
    Aborted,
    /// The body could not be read.
    Local(std::io::Error),
}

struct Sending<'a> {
    transaction: Transaction<'a>,
    order: Order<'a>,
    warm: bool,
    doubtful: bool,
    committed: bool,
    mailbox: Arc<Mailbox>,
}

impl Listen for Sending<'_> {
    fn hear(&mut self, reply: Reply) -> Result<(), Malformed> {
        let text = tracing::enabled!(tracing::Level::DEBUG).then(|| reply.to_string());
        let answered = self.transaction.answer(reply)?;
        if let Some(reply) = text {
            let Mailbox { name, server, .. } = &*self.mailbox;
            tracing::debug!(mailbox = %name, %server, step = %answered.step(), reply, "answered");
        }
        Ok(())
    }

    fn is_content(&self) -> bool {
        self.transaction.is_answered()
    }
}

impl Sending<'_> {
    /// How long to wait for a reply.
    fn patience(&self, awaited: Awaited) -> Duration {
        if self.transaction.is_closing() {
            return limits::CLOSING;
        }
        match awaited {
            Awaited::Mail if self.doubtful => limits::FIRST_REPLY,
            Awaited::Mail | Awaited::Rcpt => limits::COMMAND,
            Awaited::Data => limits::DATA,
            Awaited::Body => limits::VERDICT,
            Awaited::LoneDot | Awaited::Rset => limits::CLOSING,
        }
    }

    fn report(mut self, ended: Result<(), End>) -> Report {
        let reusable = ended.is_ok() && !self.transaction.is_closing();
        let result = self.result(ended);
        Report { result, reusable, bdat_unknown: self.transaction.is_bdat_unknown() }
    }

    fn result(&mut self, ended: Result<(), End>) -> Result<Sent, Failure> {
        let step = self.transaction.awaiting();
        let unanswered = self.warm && self.transaction.is_unanswered();
        let open = self.committed && self.transaction.is_body_awaited();
        let closed_at_mail = self.warm && self.transaction.is_closed_at_mail();
        let (sent, reason) = match ended {
            Ok(()) => (self.transaction.sent(), Reason::Closed),
            Err(End::Broken(why)) => (self.transaction.ended(self.committed), why.into()),
            Err(End::Early) => return self.early(),
            Err(End::Aborted) => return Err(self.failure(step, Reason::Aborted)),
            Err(End::Local(why)) => {
                let why = format!("cannot read the message from the spool: {why}; check the state directory");
                return Err(self.failure(step, Reason::Local(why)));
            }
        };
        match sent {
            // A 421 in the place of MAIL's reply ended the connection while it was idle.
            Some(sent) if closed_at_mail => Err(Failure { stale: true, ..self.failure(Step::Mail, Reason::Reply(sent.mail)) }),
            Some(sent) => Ok(sent),
            None => {
                let stale = !open && (unanswered || self.transaction.is_bdat_unknown());
                Err(Failure { stale, unknown: open, ..self.failure(step, reason) })
            }
        }
    }

    /// The verdict on a message of which the server did not want to read the rest. A promise for such a message is none.
    fn early(&mut self) -> Result<Sent, Failure> {
        match self.transaction.ended(self.committed) {
            Some(sent) if !sent.is_delivered() => Ok(sent),
            Some(_) => {
                let reason = Reason::Malformed("the server accepted a message before its end".into());
                Err(Failure { unknown: true, ..self.failure(Step::Body, reason) })
            }
            None => Err(Failure { stale: true, ..self.failure(Step::Body, Reason::Unsupported("BDAT, though it said so")) }),
        }
    }

    fn failure(&self, step: Step, reason: Reason) -> Failure {
        Failure::new(step, &self.mailbox.server, reason)
    }
}

/// A body's pieces, each with the word whether it is the last.
struct Pieces {
    reader: BodyReader,
    left: u64,
}

impl Pieces {
    async fn open(body: &Body) -> std::io::Result<Self> {
        Ok(Self { reader: body.reader().await?, left: body.len() })
    }

    async fn next(&mut self) -> std::io::Result<(Bytes, bool)> {
        let mut piece = self.reader.next().await?;
        if piece.is_empty() && self.left > 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        // Never more octets than were announced.
        piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= piece.len() as u64;
        Ok((piece, self.left == 0))
    }
}
