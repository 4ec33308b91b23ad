//! The dispatcher: a lane for each mailbox, in which its waiting messages go out as fast as its gate lets them, or one by one as
//! probes while it is in trouble.

use super::{
    Relay,
    attempt::{Unsent, try_login},
    gate::{Closed, Pass},
    health::{May, Probe},
    judge::Case,
    lanes::Handle,
    own, reroute,
    work::Work,
};
use crate::{
    config::{Link, Mailbox},
    mail::{Envelope, Id, Name},
    queue::{Claimed, Fill, Wanted},
};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::watch, task::JoinSet, time::Instant};

/// How long a probe keeps the others out at most: a login with its token, or a message's first replies.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest sleep of a lane: then it looks whether it missed something.
const LOOK: Duration = Duration::from_secs(60);

/// The pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// How often messages are looked for that were held for too long.
const HELD_LOOK: Duration = Duration::from_secs(600);

impl Relay {
    /// Delivers what is kept until `stop` says so (or its sender is gone); what is under way then goes on, see [`Relay::drained`].
    pub async fn dispatch(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut running = HashSet::new();
        let mut lanes = JoinSet::new();
        let mut held = tokio::time::interval(HELD_LOOK);
        loop {
            for name in self.settings().mailboxes.keys() {
                if running.insert(name.clone()) {
                    lanes.spawn(self.clone().run_lane(self.lanes.of(name), stop.clone()));
                }
            }
            enum Next {
                Fit,
                Look,
                Begin,
            }
            let next = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.configured.notified() => Next::Fit,
                _ = held.tick() => Next::Look,
                () = self.added.notified() => Next::Begin,
                Some(Ok(ended)) = lanes.join_next() => {
                    running.remove(&ended);
                    Next::Begin
                }
            };
            match next {
                Next::Fit => self.fit_to_settings().await,
                Next::Look => {
                    self.fail_held().await;
                    self.tend_addresses(SystemTime::now()).await;
                }
                Next::Begin => {}
            }
        }
        while lanes.join_next().await.is_some() {}
    }

    /// Until the end, or until its mailbox is no more; says whose lane it was.
    async fn run_lane(self: Arc<Self>, handle: Arc<Handle>, mut stop: watch::Receiver<bool>) -> Name {
        while !handle.is_closed() {
            let now = SystemTime::now();
            let next = self.pump(&handle, now).await;
            let pause = next.map_or(LOOK, |next| next.duration_since(now).unwrap_or_default().min(LOOK));
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = handle.woken() => {}
                () = tokio::time::sleep(pause) => {
                    if pause == LOOK {
                        handle.look_by(SystemTime::UNIX_EPOCH);
                    }
                }
            }
        }
        self.give_back(&handle).await;
        handle.name().clone()
    }

    /// Sends what may be sent now; says when to look again.
    async fn pump(self: &Arc<Self>, handle: &Arc<Handle>, now: SystemTime) -> Option<SystemTime> {
        let Some((mailbox, link)) = self.mailbox(handle.name()) else {
            self.give_back(handle).await;
            return None;
        };
        let earliest = |one: Option<SystemTime>, other: Option<SystemTime>| one.into_iter().chain(other).min();
        let looks = match handle.is_time_to_look(now) {
            Ok(()) => {
                self.look(handle).await;
                handle.next_look()
            }
            Err(later) => later,
        };
        let may = self.board().may(&mailbox.name, now);
        let other_way = self.find_other_way(handle, may, now).await;
        match may {
            May::Wait(until) | May::Probing(until) => {
                self.give_back(handle).await;
                return earliest(Some(until), other_way);
            }
            May::Probe(Probe::Login) => {
                self.give_back(handle).await;
                if !self.board().probe(&mailbox.name, now, PATIENCE) {
                    return Some(now);
                }
                self.attempts.spawn(self.clone().probe_login(handle.clone(), mailbox, link));
                return None;
            }
            May::Probe(Probe::Message) | May::Go => {}
        }
        self.probe_sender(handle, (&mailbox, &link), now).await;
        let next = match self.send_ready(handle, (&mailbox, &link), may == May::Go, now) {
            Some(Closed::TooMuch(wait)) => Some(wait.until),
            Some(Closed::Busy) | None => None,
        };
        [looks, next, self.board().next_sender(&mailbox.name), other_way].into_iter().flatten().min()
    }

    /// Moves what another mailbox may take, where this one is out of work; says when to look for that again.
    async fn find_other_way(&self, handle: &Handle, may: May, now: SystemTime) -> Option<SystemTime> {
        if !self.wants_reroute(handle.name(), may, now) {
            return None;
        }
        if let Err(later) = handle.is_time_to_reroute(now) {
            return Some(later);
        }
        if may != May::Go {
            // What is at hand moves with the others.
            self.give_back(handle).await;
        }
        self.reroute(handle, now).await;
        Some(now + reroute::PAUSE)
    }

    /// Hands messages out as long as the gate is open; one alone as a probe.
    fn send_ready(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        (mailbox, link): (&Arc<Mailbox>, &Arc<Link>),
        all: bool,
        now: SystemTime,
    ) -> Option<Closed> {
        let gate = handle.gate(self, mailbox);
        loop {
            self.refill(handle);
            let (recipients, end) = {
                let lane = handle.lane();
                let message = lane.peek()?;
                (message.envelope.recipients.len(), self.end_of(&mailbox.name, message, false, now))
            };
            if let Some(end) = end {
                // What does not go out takes nobody's place.
                let claimed = handle.lane().take()?;
                self.attempts.spawn(self.work(handle, (mailbox, link), claimed).end(end, now));
                continue;
            }
            let pass = match gate.try_enter(recipients.min(gate.recipients(now)), now) {
                Ok(pass) => pass,
                Err(closed) => return Some(closed),
            };
            let claimed = handle.lane().take()?;
            if !all && !self.board().probe(&mailbox.name, now, PATIENCE) {
                // An app's message under `direct` probes already; this one waits for what it finds.
                handle.lane().put_back(claimed);
                return None;
            }
            self.send(handle, (mailbox, link), (claimed, pass), false);
            if !all {
                return None;
            }
        }
    }

    fn send(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        (mailbox, link): (&Arc<Mailbox>, &Arc<Link>),
        (claimed, pass): (Claimed, Pass),
        probes_sender: bool,
    ) {
        let work = Work { probes_sender, ..self.work(handle, (mailbox, link), claimed) };
        self.attempts.spawn(work.run(pass));
    }

    fn work(self: &Arc<Self>, handle: &Arc<Handle>, (mailbox, link): (&Arc<Mailbox>, &Arc<Link>), claimed: Claimed) -> Work {
        let (relay, handle, mailbox, link) = (self.clone(), handle.clone(), mailbox.clone(), link.clone());
        Work { relay, handle, mailbox, link, claimed, probes_sender: false }
    }

    /// Fetches more messages of an app beside what is being sent.
    fn refill(self: &Arc<Self>, handle: &Arc<Handle>) {
        while let Some(fill) = { handle.lane().wanted() } {
            self.attempts.spawn(self.clone().fetch(handle.clone(), fill));
        }
    }

    async fn fetch(self: Arc<Self>, handle: Arc<Handle>, fill: Fill) {
        let now = SystemTime::now();
        let wanted = Wanted { mailbox: handle.name().clone(), app: fill.app.clone(), author: None, most: fill.most };
        match self.queue.claim(wanted, now).await {
            Ok(messages) => {
                let is_all = handle.lane().filled(&fill, messages);
                if is_all {
                    self.look(&handle).await;
                }
            }
            Err(error) => {
                tracing::warn!(mailbox = %handle.name(), %error, "waiting messages cannot be fetched; tried again");
                tokio::time::sleep(STORE_PAUSE).await;
                handle.lane().not_filled(&fill);
            }
        }
        handle.wake();
    }

    /// Looks which apps have messages that are due, and when the next will be.
    async fn look(&self, handle: &Handle) {
        let now = SystemTime::now();
        match self.queue.due(handle.name()).await {
            Ok(all) => {
                for due in all {
                    if due.at <= now { handle.lane().stored(&due.app) } else { handle.look_by(due.at) }
                }
            }
            Err(error) => {
                tracing::warn!(mailbox = %handle.name(), %error, "waiting messages cannot be looked for; tried again");
                handle.look_by(now + STORE_PAUSE);
            }
        }
    }

    /// What is at hand goes back to the store: an operator may work on it there, and it costs no memory while nothing goes out.
    pub(super) async fn give_back(&self, handle: &Handle) {
        let claims = handle.lane().drain();
        if claims.is_empty() {
            return;
        }
        if let Err(error) = self.queue.unclaim(claims).await {
            tracing::warn!(mailbox = %handle.name(), %error, "messages stay claimed until their lease ends");
        }
    }

    /// Logs in to find out whether trouble is over.
    async fn probe_login(self: Arc<Self>, handle: Arc<Handle>, mailbox: Arc<Mailbox>, link: Arc<Link>) {
        let result = try_login(&self, &mailbox, Instant::now() + PATIENCE).await;
        let now = SystemTime::now();
        let envelope = Envelope::from(None);
        let case = Case::of(Id::from_u128(0), (&mailbox, &link), &envelope);
        match result {
            Ok(()) => self.note_works(&mailbox, now),
            Err(Unsent::Failed(failure)) => self.note_trouble(&mailbox, &case.failed(&failure), now),
            Err(Unsent::NoToken(unavailable)) => self.note_trouble(&mailbox, &case.without_token(&unavailable), now),
        }
        handle.wake();
    }

    /// Sends one message of a sender that was denied, if it is time.
    async fn probe_sender(self: &Arc<Self>, handle: &Arc<Handle>, route: (&Arc<Mailbox>, &Arc<Link>), now: SystemTime) {
        let (mailbox, _) = route;
        let due = self.board().sender_to_probe(&mailbox.name, now, PATIENCE);
        let Some(author) = due else { return };
        let claimed = match self.queue.claim_held(&mailbox.name, &author, now).await {
            Ok(Some(claimed)) => claimed,
            // None of its messages is left: the next one finds out.
            Ok(None) => return self.free_sender(&mailbox.name, &author, now).await,
            Err(error) => {
                tracing::warn!(mailbox = %mailbox.name, %error, "a held message cannot be fetched; tried again");
                return self.board().sender_given_up(&mailbox.name, &author, now);
            }
        };
        let recipients = claimed.message.envelope.recipients.len();
        let gate = handle.gate(self, mailbox);
        match gate.try_enter(recipients.min(gate.recipients(now)), now) {
            Ok(pass) => {
                handle.lane().begun();
                self.send(handle, route, (claimed, pass), true);
            }
            Err(_) => {
                self.board().sender_put_off(&mailbox.name, &author, now);
                let _ = self.queue.unclaim(vec![(claimed.message.number, claimed.claim)]).await;
            }
        }
    }

    /// The sender may send: its messages wait no longer.
    pub(super) async fn free_sender(&self, mailbox: &Name, author: &str, now: SystemTime) {
        if !self.board().sender_worked(mailbox, author) {
            return;
        }
        let clock = self.board().clock(mailbox, now);
        match self.queue.release_sender(mailbox, author, (now, clock)).await {
            Ok(0) => {}
            Ok(messages) => {
                tracing::info!(event = "sender.changed", %mailbox, state = "free", from = author, messages,
                    "the sender may use this mailbox: its messages go out");
            }
            Err(error) => {
                tracing::warn!(%mailbox, from = author, %error, "messages of a sender stay held; `outlink queue release` frees them")
            }
        }
        self.keeper.notify_one();
        self.lanes.of(mailbox).look();
    }

    /// Frees messages that are held for a sender who is not held, or no longer: the hold ended while a message was being held for it,
    /// or was not written when the process was killed. Nobody else would ever look at them.
    pub(super) async fn free_stray(&self, mailbox: &Name, author: &str, now: SystemTime) {
        if self.board().sender_held(mailbox, author).is_some() {
            return;
        }
        let clock = self.board().clock(mailbox, now);
        if let Err(error) = self.queue.release_sender(mailbox, author, (now, clock)).await {
            tracing::warn!(%mailbox, from = author, %error, "messages of a sender stay held; `outlink queue release` frees them");
        }
        self.lanes.of(mailbox).look();
    }

    /// Holds what is not configured any more, frees what is again, and wakes all lanes.
    pub async fn fit_to_settings(&self) {
        for handle in self.lanes.all() {
            self.give_back(&handle).await;
        }
        let now = SystemTime::now();
        self.tend_addresses(now).await;
        let settings = self.settings();
        let mailboxes: Vec<Name> = settings.mailboxes.keys().cloned().collect();
        let apps: Vec<Name> = settings.apps.keys().cloned().chain([own::app()]).collect();
        let clock = |mailbox: &Name| self.board().clock(mailbox, now);
        if let Err(error) = self.queue.fit_to(&mailboxes, &apps, now, clock).await {
            tracing::error!(%error, "messages of apps and mailboxes that are not configured cannot be held; reload to try again");
        }
        for mailbox in self.mailboxes_with_mail().await {
            self.free_strays(&mailbox, now).await;
        }
        self.lanes.all().iter().for_each(|handle| handle.look());
    }

    async fn fail_held(&self) {
        let now = SystemTime::now();
        for mailbox in self.mailboxes_with_mail().await {
            let (since, clock) = {
                let board = self.board();
                (board.held(&mailbox).map(|(since, _)| since), board.clock(&mailbox, now))
            };
            self.free_strays(&mailbox, now).await;
            match self.queue.fail_held(&mailbox, since, (now, clock)).await {
                Ok(0) => {}
                Ok(messages) => tracing::warn!(event = "message.failed", %mailbox, messages,
                    "messages were held for longer than queue.keep-held and are kept as failed; `outlink queue retry` tries them again"),
                Err(error) => tracing::warn!(%mailbox, %error, "cannot look for messages held too long"),
            }
        }
    }

    /// As [`Relay::free_stray`], for every sender of a mailbox for whom messages are held.
    async fn free_strays(&self, mailbox: &Name, now: SystemTime) {
        match self.queue.held_senders(mailbox).await {
            Ok(senders) => {
                for author in senders {
                    self.free_stray(mailbox, &author, now).await;
                }
            }
            Err(error) => tracing::warn!(%mailbox, %error, "cannot look for the senders of held messages; tried again"),
        }
    }

    /// The mailboxes through which mail waits or is held, those that are no longer configured too.
    async fn mailboxes_with_mail(&self) -> Vec<Name> {
        self.queue.mailboxes_with_mail().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look for mailboxes with mail; tried again");
            Vec::new()
        })
    }
}
