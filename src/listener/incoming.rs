//! A message on its way from the session into the spool, prepared as it passes.

use super::{
    Peer,
    received::{Arrival, date},
};
use crate::{
    mail::{Envelope, Findings, Id, Preparation},
    smtp::server::Session,
    store::{Body, Receiving, Spool},
};
use std::{io, time::SystemTime};

/// A message that is arriving.
pub(super) struct Incoming {
    pub(super) id: Id,
    preparation: Preparation,
    kept: Kept,
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
        envelope: &Envelope,
        peer: &Peer,
        tls: Option<&'static str>,
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
        let preparation = Preparation::new(arrival.field(&date), date, format!("<{id}@{hostname}>")).recognising(hostname);
        Self { id, preparation, kept: Kept { receiving: spool.receive(), failure: None } }
    }

    /// Takes clean octets; `scratch` is used and left empty.
    pub(super) async fn push(&mut self, octets: &[u8], scratch: &mut Vec<u8>) {
        self.preparation.push(octets, scratch);
        self.kept.add(scratch).await;
    }

    /// Ends the message.
    pub(super) async fn finish(mut self, scratch: &mut Vec<u8>) -> io::Result<(Body, Findings)> {
        let findings = self.preparation.finish(scratch);
        self.kept.add(scratch).await;
        match self.kept.failure {
            Some(error) => Err(error),
            None => Ok((self.kept.receiving.finish().await?, findings)),
        }
    }
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
