//! Each step of an app's message against the app's own rules, as they are configured now, and its limits.

use super::{Relay, access, log, routing::gone, rules};
use crate::{
    config::{App, Listener},
    listener::Submission,
    mail::{Address, Change, Name, Recipient},
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
        let (app, settings) = (self.current(app)?, self.settings());
        let meant = settings.aliases.of(&to.address);
        rules::recipient(&app, accepted, (&to.address, meant)).inspect_err(|reply| log::refused(&app, listener, reply))
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

    /// What was not taken does not count, and neither do its repairs.
    pub(super) fn answered(&self, arrival: Seen, repairs: &[Change], reply: &Reply) {
        match reply.is_positive() {
            true => {
                self.usage.changed(&arrival.app, repairs);
                self.usage.saw(arrival);
            }
            false => self.usage.give_back(&arrival.app, arrival.at),
        }
    }

    /// Counts what went out otherwise than it is kept. `settled` of the message's recipients were settled before: it counts at its
    /// first delivery alone.
    pub(super) fn sent_with(&self, app: &Name, changes: &[Change], settled: usize) {
        if settled == 0 {
            self.usage.changed(app, changes);
        }
    }

    fn current(&self, app: &App) -> Result<Arc<App>, Reply> {
        self.settings().apps.get(&app.name).cloned().ok_or_else(gone)
    }
}
