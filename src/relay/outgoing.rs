//! A message as its mailbox sends it: with the envelope and the author that the mailbox may use (`when-from-differs = "rewrite"`).
//!
//! Done at each attempt and never to what is kept, so that another mailbox can send the same message in its own way.

use crate::{
    config::{Mailbox, WhenFromDiffers},
    mail::{Address, Change, Envelope, Header, rewrite},
    provider::NullSender,
    store::Body,
};
use std::{borrow::Cow, io};

/// Longest header that is rewritten, in octets: what a message's preparation keeps of one, and what it adds.
const LONGEST_HEADER: usize = 128 * 1024;

/// What goes to the provider.
pub(super) struct Outgoing<'a> {
    pub(super) envelope: Cow<'a, Envelope>,
    pub(super) body: Cow<'a, Body>,
    /// What is other than in the message that is kept.
    pub(super) changes: Vec<Change>,
}

impl<'a> Outgoing<'a> {
    /// The message as `mailbox` sends it.
    pub(super) async fn of(mailbox: &Mailbox, envelope: &'a Envelope, body: &'a Body) -> io::Result<Self> {
        let mut outgoing = Self { envelope: Cow::Borrowed(envelope), body: Cow::Borrowed(body), changes: Vec::new() };
        if envelope.sender.is_none() && mailbox.null_sender == NullSender::Mailbox {
            outgoing.set_sender(&mailbox.address);
        }
        if mailbox.when_from_differs == WhenFromDiffers::Rewrite {
            let passes = |sender: &Address| sender.is_same(&mailbox.address) || mailbox.allowed_from.matches(sender);
            if envelope.sender.as_ref().is_some_and(|sender| !passes(sender)) {
                outgoing.set_sender(&mailbox.address);
                outgoing.changes.push(Change::RewroteSender);
            }
            outgoing.rewrite(mailbox).await?;
        }
        Ok(outgoing)
    }

    fn set_sender(&mut self, sender: &Address) {
        self.envelope.to_mut().sender = Some(sender.clone());
    }

    async fn rewrite(&mut self, mailbox: &Mailbox) -> io::Result<()> {
        let beginning = self.body.beginning(LONGEST_HEADER).await?;
        let (mut header, octets) = Header::of(&beginning);
        if octets == LONGEST_HEADER {
            self.changes.push(Change::PassedLongHeader);
            return Ok(());
        }
        let changes = rewrite(&mut header, &mailbox.address, |address| mailbox.allowed_from.matches(address));
        if !changes.is_empty() {
            let mut head = Vec::with_capacity(octets + 256);
            header.write(&mut head);
            self.body = Cow::Owned(self.body.with_head(head, octets as u64).await?);
            self.changes.extend(changes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::judge::parts, *};

    #[tokio::test]
    async fn a_message_goes_out_as_the_mailbox_may_send_it_and_its_body_keeps_its_octets() {
        let (mut mailbox, mut envelope) = parts("microsoft");
        mailbox.when_from_differs = WhenFromDiffers::Rewrite;
        envelope.sender = Some(Address::parse("root").unwrap());
        let text = "Subject: x\r\nFrom: root (Cron Daemon)\r\n\r\nFrom: body\r\n";
        let outgoing = Outgoing::of(&mailbox, &envelope, &Body::Memory(text.into()))
            .await
            .map(|it| (it.envelope.into_owned(), it.body.into_owned(), it.changes));
        let (sent, body, changes) = outgoing.unwrap();
        assert_eq!(sent.sender.as_ref(), Some(&mailbox.address));
        assert_eq!(changes, [Change::RewroteSender, Change::RewroteFrom]);
        let expected = format!("Subject: x\r\nFrom: \"Cron Daemon\" <{}>\r\n\r\nFrom: body\r\n", mailbox.address);
        assert_eq!(body.beginning(1000).await.unwrap(), expected.as_bytes());
        assert_eq!(body.len(), expected.len() as u64);
        let again = Outgoing::of(&mailbox, &sent, &body).await.unwrap();
        assert_eq!(again.changes, []);
    }
}
