//! What waits for a mailbox that is out of work goes through another one where its app names one, as new messages do; nothing whose
//! last attempt ended without a verdict, and nothing that the other one may not send.

use super::{
    Relay,
    health::May,
    lanes::Handle,
    route::{self, Mailboxes, Senders},
};
use crate::{
    config::{App, Settings},
    mail::Name,
    queue::{Movable, Number},
    store,
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Messages looked at together.
const PAGE: usize = 500;

/// Pages of one app in a row; the rest comes with the next look.
const PAGES: usize = 20;

/// How long nobody looks again for what may be moved out of a mailbox.
pub(super) const PAUSE: Duration = Duration::from_secs(15);

impl Relay {
    /// Whether there may be something to move out of `mailbox`: it is out of work, or some of its senders are held.
    pub(super) fn wants_reroute(&self, mailbox: &Name, may: May, now: SystemTime) -> bool {
        let is_concerned = self.board().holds_senders(mailbox) || may != May::Go && self.is_held(mailbox, None, now);
        is_concerned && self.settings().apps.values().any(|app| app.mailbox.has_choice())
    }

    /// Moves what may be moved out of the mailbox of `handle`.
    pub(super) async fn reroute(&self, handle: &Handle, now: SystemTime) {
        let settings = self.settings();
        let from = handle.name();
        let mut targets = BTreeSet::new();
        for app in settings.apps.values().filter(|app| app.mailbox.has_choice()) {
            if let Err(error) = self.reroute_app((&settings, app), from, now, &mut targets).await {
                tracing::warn!(mailbox = %from, app = %app.name, %error, "messages that could go through another mailbox wait on; tried again");
            }
        }
        targets.iter().for_each(|target| self.lanes.of(target).look());
    }

    async fn reroute_app(
        &self,
        (settings, app): (&Settings, &Arc<App>),
        from: &Name,
        now: SystemTime,
        targets: &mut BTreeSet<Name>,
    ) -> Result<(), store::Error> {
        let mut after = Number::default();
        for _ in 0..PAGES {
            let page = self.queue.movable(from, &app.name, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            let is_last = page.len() < PAGE;
            after = last.number;
            let mut moves = Vec::new();
            for message in &page {
                if let Some((to, why)) = self.other_way((settings, app), (from, message), now) {
                    moves.push((message.number, to, why));
                }
            }
            let moved = match moves.is_empty() {
                true => Vec::new(),
                false => self.queue.move_all(from, moves.clone(), now, |mailbox| self.board().clock(mailbox, now)).await?,
            };
            for (number, to, why) in moves.into_iter().filter(|(number, ..)| moved.contains(number)) {
                let Some(message) = page.iter().find(|message| message.number == number) else { continue };
                tracing::info!(event = "message.rerouted", id = %message.id, app = %app.name, mailbox = %to, before = %from, reason = why,
                    "a waiting message goes through another mailbox");
                targets.insert(to);
            }
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The mailbox through which a message that waits for `from` should rather go, and why.
    fn other_way(
        &self,
        (settings, app): (&Settings, &App),
        (from, message): (&Name, &Movable),
        now: SystemTime,
    ) -> Option<(Name, String)> {
        let senders = Senders { author: Some(&message.author), sender: message.sender.as_ref() };
        let candidates = route::candidates(Mailboxes::of(settings), &app.mailbox, senders);
        let is_held = |mailbox: &Name| self.is_held(mailbox, Some(&message.author), now);
        // Who was moved here by hand stays, and so does who is only a moment late.
        if !candidates.iter().any(|mailbox| mailbox.name == *from) || !is_held(from) {
            return None;
        }
        let chosen = route::choose(&candidates, senders, is_held).ok()?;
        if chosen.name == *from || is_held(&chosen.name) || self.take_in(chosen, now).is_err() {
            return None;
        }
        let board = self.board();
        let author = message.author.as_str().to_ascii_lowercase();
        let reason = board.held(from).map(|(_, reason)| reason.to_owned()).or_else(|| board.sender_held(from, &author));
        Some((
            chosen.name.clone(),
            format!("from mailbox {from} to {}: {}", chosen.name, reason.unwrap_or_else(|| "it does not work".to_owned())),
        ))
    }
}
