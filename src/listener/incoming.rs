//! A message on its way from the session into the spool, prepared as it passes.

use super::{
    Peer,
    received::{Arrival, date},
};
use crate::{
    mail::{Case, Change, Encoder, Envelope, Findings, Id, Preparation},
    smtp::server::Session,
    store::{Body, Receiving, Spool},
};
use memchr::memmem;
use std::{io, time::SystemTime};

/// How far a text is searched for the mark of a signature, in octets.
const LOOKED_AT: usize = 256 * 1024;

/// A message that is arriving.
pub(super) struct Incoming {
    pub(super) id: Id,
    preparation: Preparation,
    kept: Kept,
    spool: Spool,
}

/// What was kept of it.
struct Kept {
    receiving: Receiving,
    /// The first failure; what comes after it is not kept.
    failure: Option<io::Error>,
}

impl Incoming {
    /// Begins a message of `session` now.
    pub(super) fn begin(
        session: &Session,
        (envelope, case): (&Envelope, Case),
        (peer, tls): (&Peer, Option<&'static str>),
        (hostname, spool): (&str, &Spool),
    ) -> Self {
        let mut random = [0; 10];
        if aws_lc_rs::rand::fill(&mut random).is_err() {
            // The id stays valid, and unique to the millisecond.
            tracing::error!("the system gives no random octets");
        }
        let id = Id::new(SystemTime::now(), random);
        let (hello, is_authenticated) = (session.hello(), session.is_authenticated());
        let arrival = Arrival { id, peer, tls, hello, is_authenticated, envelope, hostname };
        let date = date(chrono::Local::now());
        let preparation = Preparation::new(arrival.field(&date), date, format!("<{id}@{hostname}>"), case).recognising(hostname);
        Self { id, preparation, kept: Kept { receiving: spool.receive(), failure: None }, spool: spool.clone() }
    }

    /// Takes clean octets; `scratch` is used and left empty.
    pub(super) async fn push(&mut self, octets: &[u8], scratch: &mut Vec<u8>) {
        self.preparation.push(octets, scratch);
        self.kept.add(scratch).await;
    }

    /// Ends the message.
    pub(super) async fn finish(mut self, scratch: &mut Vec<u8>) -> io::Result<(Body, Findings)> {
        let mut findings = self.preparation.finish(scratch);
        self.kept.add(scratch).await;
        if let Some(error) = self.kept.failure {
            return Err(error);
        }
        let body = self.kept.receiving.finish().await?;
        if !findings.encode_body {
            return Ok((body, findings));
        }
        let encoded = encoded(&body, &self.spool).await?;
        findings.changes.push(if encoded.is_some() { Change::EncodedBody } else { Change::PassedLongLines });
        Ok((encoded.unwrap_or(body), findings))
    }
}

/// A message whose lines are too long, with another encoding of its body. `None`: its text is signed (RFC 9580 §7).
async fn encoded(body: &Body, spool: &Spool) -> io::Result<Option<Body>> {
    if memmem::find(&body.beginning(LOOKED_AT).await?, b"-----BEGIN PGP ").is_some() {
        return Ok(None);
    }
    let (mut encoder, mut reader, mut receiving, mut out) =
        (Encoder::default(), body.reader().await?, spool.receive(), Vec::new());
    loop {
        let piece = reader.next().await?;
        if piece.is_empty() {
            break;
        }
        encoder.push(&piece, &mut out);
        receiving.write(&out).await?;
        out.clear();
    }
    encoder.finish(&mut out);
    receiving.write(&out).await?;
    receiving.finish().await.map(Some)
}

impl Kept {
    async fn add(&mut self, prepared: &mut Vec<u8>) {
        if self.failure.is_none()
            && let Err(error) = self.receiving.write(prepared).await
        {
            self.failure = Some(error);
        }
        prepared.clear();
    }
}
