//! A message as its mailbox sends it: with the envelope and the author that the mailbox may use (`when-from-differs = "rewrite"`).
//!
//! Done at each attempt and never to what is kept, so that another mailbox can send the same message in its own way.

use super::judge;
use crate::{
    config::{Mailbox, WhenFromDiffers},
    mail::{Address, Change, Envelope, Findings, Header, Name, rewrite},
    provider::NullSender,
    smtp::Reply,
    store::Body,
};
use std::{borrow::Cow, io};

/// How much of a message is read for its header at first, in octets: more than nearly all have.
const USUAL_HEADER: usize = 128 * 1024;

/// Longest header that is rewritten, in octets: twelve times what a message's preparation keeps of one, as encoded words take up to twelve
/// times the octets. A message with a longer one does not go out where its author would have to be rewritten.
const LONGEST_HEADER: usize = 1024 * 1024;

/// Why a message does not go out.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOutgoing {
    #[error("the message cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It would go out with the author as it is.
    #[error("the header is longer than 1 MiB, and mailbox {0} rewrites From: send it with a shorter header")]
    LongHeader(Name),
}

impl NotOutgoing {
    /// What an app hears of a message that could never be sent (RFC 3463 §3.7: X.6.0, the content is what fails).
    pub(super) fn reply(&self) -> Reply {
        match self {
            Self::Unreadable(_) => judge::bland(None),
            Self::LongHeader(_) => Reply::new(554, Some((6, 0)), self.to_string()),
        }
    }
}

/// Whether `mailbox` can send a message with these findings: asked before it is accepted, as it would be refused later.
pub(super) async fn check(mailbox: &Mailbox, findings: &Findings, body: &Body) -> Result<(), NotOutgoing> {
    let rewrites = mailbox.when_from_differs == WhenFromDiffers::Rewrite;
    match rewrites && findings.changes.contains(&Change::PassedLongHeader) {
        true => header(mailbox, body).await.map(drop),
        false => Ok(()),
    }
}

/// The header of a message that is rewritten, and its octets.
async fn header(mailbox: &Mailbox, body: &Body) -> Result<(Header, usize), NotOutgoing> {
    for most in [USUAL_HEADER, LONGEST_HEADER] {
        let (header, octets) = Header::of(&body.beginning(most).await?);
        // A header that reaches to the end of what was read may go on.
        if octets < most {
            return Ok((header, octets));
        }
    }
    Err(NotOutgoing::LongHeader(mailbox.name.clone()))
}

/// What goes to the provider.
pub(super) struct Outgoing<'a> {
    pub(super) envelope: Cow<'a, Envelope>,
    pub(super) body: Cow<'a, Body>,
    /// What is other than in the message that is kept.
    pub(super) changes: Vec<Change>,
}

impl<'a> Outgoing<'a> {
    /// The message as `mailbox` sends it.
    pub(super) async fn of(mailbox: &Mailbox, envelope: &'a Envelope, body: &'a Body) -> Result<Self, NotOutgoing> {
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

    async fn rewrite(&mut self, mailbox: &Mailbox) -> Result<(), NotOutgoing> {
        let (mut header, octets) = header(mailbox, &self.body).await?;
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

    #[tokio::test]
    async fn a_long_header_is_rewritten_or_the_message_does_not_go_out() {
        let (mut mailbox, envelope) = parts("microsoft");
        mailbox.when_from_differs = WhenFromDiffers::Rewrite;
        let pad = format!("X-Pad: {}\r\n", "x".repeat(900));
        for (lines, goes) in [(1, true), (150, true), (1000, true), (1200, false)] {
            let text = format!("{}From: ceo@evil.example\r\nSender: ceo@evil.example\r\n\r\nbody\r\n", pad.repeat(lines));
            let body = Body::Memory(text.into());
            let findings = Findings { changes: vec![Change::PassedLongHeader], ..Findings::default() };
            let checked = check(&mailbox, &findings, &body).await.map_err(|why| why.reply().code);
            assert_eq!(checked, if goes { Ok(()) } else { Err(554) }, "{lines}");
            match Outgoing::of(&mailbox, &envelope, &body).await {
                Ok(outgoing) => {
                    assert_eq!(outgoing.changes, [Change::AddedReplyTo, Change::RewroteFrom, Change::RemovedSender], "{lines}");
                    let sent = outgoing.body.beginning(usize::MAX).await.unwrap();
                    assert!(goes && sent.ends_with(b"\r\n\r\nbody\r\n"), "{lines}");
                }
                Err(why) => assert!(!goes && why.to_string().contains("longer than 1 MiB"), "{why}"),
            }
            mailbox.when_from_differs = WhenFromDiffers::Keep;
            assert!(check(&mailbox, &findings, &body).await.is_ok() && Outgoing::of(&mailbox, &envelope, &body).await.is_ok());
            mailbox.when_from_differs = WhenFromDiffers::Rewrite;
        }
    }
}
