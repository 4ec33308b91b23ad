//! Each step of an app's message against the app's own rules, as they are configured now, and its limits.

use super::{Relay, access, log, routing::gone, rules};
use crate::{
    config::{App, Listener},
    listener::Submission,
    mail::{Address, Recipient},
    queue::Seen,
    smtp::Reply,
};
use std::{sync::Arc, time::SystemTime};

impl Relay {
    /// Whether `app` may begin a message from `sender`.
    pub(super) fn admit_sender(&self, listener: &Listener, app: &App, sender: Option<&Address>) -> Result<(), Reply> {
        let app = self.current(app)?;
        let allowed = rules::enabled(&app).and_then(|()| rules::sender(&app, sender));
        allowed.and_then(|()| self.usage.check(&app, SystemTime::now())).inspect_err(|reply| log::refused(&app, listener, reply))
    }

    /// Whether it may send to `recipient`, too.
    pub(super) fn admit_recipient(&self, listener: &Listener, app: &App, accepted: usize, to: &Recipient) -> Result<(), Reply> {
        let app = self.current(app)?;
        rules::recipient(&app, accepted, &to.address).inspect_err(|reply| log::refused(&app, listener, reply))
    }

    /// Counts a whole message against the limits, if it may be sent; [`Relay::answered`] has to follow.
    pub(super) fn admit_message(&self, submission: &Submission) -> Result<Seen, Reply> {
        let (app, at) = (self.current(&submission.app)?, SystemTime::now());
        let allowed = rules::enabled(&app).and_then(|()| rules::from(&app, submission.findings.from.as_deref()));
        allowed.and_then(|()| self.usage.count(&app, at)).map_err(|reply| {
            log::refused(&app, &submission.listener, &reply);
            Reply { lines: vec![format!("{} {}", submission.id, reply.text())], ..reply }
        })?;
        let (client, listener) = (submission.peer.to_string(), submission.listener.name.to_string());
        Ok(Seen {
            app: app.name.clone(),
            at,
            client,
            listener,
            encrypted: submission.peer.encrypted,
            proof: access::proof(submission),
        })
    }

    /// What was not taken does not count.
    pub(super) fn answered(&self, arrival: Seen, reply: &Reply) {
        match reply.is_positive() {
            true => self.usage.saw(arrival),
            false => self.usage.give_back(&arrival.app, arrival.at),
        }
    }

    fn current(&self, app: &App) -> Result<Arc<App>, Reply> {
        self.settings().apps.get(&app.name).cloned().ok_or_else(gone)
    }
}
