//! Messages whose app has gone and hears no reply: of what is refused its sender gets a bounce.

use super::{
    Relay,
    notices::{Fate, Subject},
    routing::gone,
};
use crate::{
    listener::{Host, Submission},
    mail::{Recipient, bounce::Kind},
    queue::{Message, Number, Refused},
    smtp::Reply,
    store::Body,
};
use std::{sync::Arc, time::SystemTime};

impl Relay {
    /// Takes the message for its recipients without those that are `refused`, and tells its sender of these, and of all where the
    /// message itself is refused. The reply is positive once that is done. Else nobody was sent anything: `4xx` where it can be tried
    /// again, the refusal where there is nobody who could be told.
    pub async fn message_or_bounce(self: &Arc<Self>, mut submission: Submission, mut refused: Vec<(Recipient, Reply)>) -> Reply {
        submission.envelope.recipients.retain(|recipient| refused.iter().all(|(other, _)| other != recipient));
        let mut taken = None;
        if !submission.envelope.recipients.is_empty() {
            let reply = Host::message(self.clone(), submission.clone()).await;
            if reply.is_positive() {
                taken = Some(reply);
            } else if reply.code < 500 || reply == gone() {
                return reply;
            } else {
                refused.extend(submission.envelope.recipients.iter().map(|recipient| (recipient.clone(), reply.clone())));
            }
        }
        let Some((_, first)) = refused.first().cloned() else { return taken.unwrap_or(first_of_none()) };
        let (now, app) = (SystemTime::now(), submission.app.clone());
        // A bounce alone is a message of the app, too.
        if taken.is_none()
            && let Err(reply) = self.usage.count(&app, now)
        {
            return reply;
        }
        let told = self.bounce(&submission, &refused, taken.is_none(), now).await;
        let (id, client, count) = (submission.id, &submission.peer, refused.len());
        if taken.is_none() && !matches!(told, Ok(true)) {
            self.usage.give_back(&app.name, now);
        }
        match (told, taken) {
            (Ok(true), taken) => {
                tracing::warn!(event = "message.refused", %id, app = %app.name, %client, recipients = count, reply = %first.text(),
                    "refused, and its sender gets a bounce");
                taken.unwrap_or_else(|| Reply::new(250, Some((0, 0)), format!("{id} refused, its sender gets a bounce")))
            }
            (Ok(false), Some(taken)) => {
                tracing::error!(event = "message.refused", %id, app = %app.name, %client, recipients = count, reply = %first.text(),
                    "refused for some recipients, and there is nobody who could be told");
                taken
            }
            (Err(why), Some(taken)) => {
                tracing::error!(event = "message.refused", %id, app = %app.name, %client, recipients = count, reply = %first.text(),
                    error = %why, "refused for some recipients, and the bounce for its sender could not be kept");
                taken
            }
            (Ok(false), None) => first,
            (Err(why), None) => self.no_room(&why, id),
        }
    }

    /// Keeps a bounce about these recipients; false where nobody is to be told.
    async fn bounce(
        &self,
        submission: &Submission,
        refused: &[(Recipient, Reply)],
        is_all: bool,
        now: SystemTime,
    ) -> Result<bool, Refused> {
        let Ok(Some(mailbox)) = self.likely_mailbox(&submission.app, submission.envelope.sender.as_ref()) else {
            return Ok(false);
        };
        let mut about = submission.clone();
        about.envelope.recipients = refused.iter().map(|(recipient, _)| recipient.clone()).collect();
        let new = self.new_message(&about, &mailbox, now);
        let message = Message::of(&new, Number::default(), submission.body.len());
        let subject = Subject { mailbox: &mailbox, message: &message, body: Some(&submission.body), now };
        let fates: Vec<Fate> = refused.iter().map(|(recipient, reply)| Fate::refused(recipient, reply.to_string())).collect();
        let Some((mut notice, octets)) = self.written(subject, Kind::Failed, &fates).await else { return Ok(false) };
        if is_all {
            // By this the message is known to be done with.
            notice.client = submission.peer.to_string();
        }
        self.queue.accept(notice, Body::Memory(octets.into())).await?;
        self.lanes.of(&mailbox.name).look();
        Ok(true)
    }
}

/// No session ends a message without a recipient.
fn first_of_none() -> Reply {
    Reply::new(554, Some((5, 1)), "no recipients")
}
