//! What an attempt means for a kept message, recipient by recipient. Pure.

use super::judge::{Judgement, shortened};
use crate::{
    mail::{Hold, Outcome},
    queue::{HeldBy, Message, Next, RecipientState, Report, due_after},
};
use std::time::{Duration, SystemTime};

/// The shortest pause before an attempt, whatever the schedule and the end of the message's time say.
const BREATH: Duration = Duration::from_secs(1);

/// An attempt on the first recipients of a message, summed up.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// The recipients that are settled by it.
    pub(super) reports: Vec<Report>,
    /// Whether it counts as one of the message's attempts: its provider has seen it, and neither took nor refused it.
    pub(super) is_spent: bool,
    /// The judgement that speaks of the mailbox or its link.
    pub(super) trouble: Option<Judgement>,
    /// The judgement that speaks of the message's From.
    pub(super) sender: Option<Judgement>,
    /// Recipients that the provider took before it said that there are too many.
    pub(super) too_many: Option<usize>,
    /// Why the others still wait.
    pub(super) reason: String,
}

/// When a message is tried again, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) retry: &'a [Duration],
    pub(super) now: SystemTime,
    /// What the mailbox's clock shows.
    pub(super) clock: SystemTime,
    /// A number from 0 to 1.
    pub(super) chance: f64,
}

impl Tried {
    /// Sums up: one judgement for each of the message's first recipients.
    pub(super) fn sum_up(message: &Message, judgements: Vec<Judgement>) -> Self {
        let mut tried = Self::default();
        let (alone, mut named, mut split) = (judgements.len() == 1, 0, false);
        for (index, judgement) in judgements.into_iter().enumerate() {
            let Some(position) = message.positions.get(index).copied() else { break };
            // Whatever became of the message then, so many recipients were not too many.
            named += usize::from(!matches!(judgement.outcome, Outcome::SplitRecipients | Outcome::RefuseRecipient));
            match judgement.outcome {
                Outcome::Delivered => {
                    tried.reports.push(report(position, RecipientState::Delivered, &judgement));
                }
                Outcome::RefuseRecipient | Outcome::RefuseMessage => {
                    tried.reports.push(report(position, RecipientState::Refused, &judgement));
                }
                Outcome::SplitRecipients if !alone => {
                    split = true;
                    tried.say(&judgement);
                }
                Outcome::RetryMessage | Outcome::SplitRecipients => {
                    tried.is_spent = true;
                    tried.say(&judgement);
                }
                Outcome::Hold(Hold::Sender) => {
                    tried.say(&judgement);
                    tried.sender.get_or_insert(judgement);
                }
                Outcome::RetryMailbox | Outcome::Renew | Outcome::Hold(Hold::Mailbox | Hold::Quota | Hold::Link) => {
                    tried.say(&judgement);
                    tried.trouble.get_or_insert(judgement);
                }
            }
        }
        tried.too_many = split.then_some(named);
        tried
    }

    /// The sender cannot be held: its message is tried like others that fail for now.
    pub(super) fn hold_nobody(&mut self) {
        (self.sender, self.is_spent) = (None, true);
    }

    /// Whether the provider took the message for anybody.
    pub(super) fn is_delivered(&self) -> bool {
        self.reports.iter().any(|report| report.state == RecipientState::Delivered)
    }

    fn say(&mut self, judgement: &Judgement) {
        if self.reason.is_empty() {
            self.reason.clone_from(&judgement.reason);
        }
    }

    /// How a message stands whose recipients are not all settled.
    pub(super) fn next(&self, message: &Message, plan: Plan<'_>) -> Next {
        let attempts = message.attempts + u32::from(self.is_spent);
        if self.sender.is_some() {
            let (by, since) = (HeldBy::Sender, plan.clock);
            // The probe counts, so that the next one takes another message.
            return Next::Held { by, reason: self.reason.clone(), since, attempts: attempts + 1 };
        }
        let due_at = match self.is_spent {
            true => {
                let due = due_after(plan.retry, attempts, plan.now, plan.chance);
                // Its end is told when it comes, not at the next attempt after it.
                let left = message.expires_at.duration_since(plan.clock).unwrap_or_default();
                due.min(plan.now + left).max(plan.now + BREATH)
            }
            // It waits for its mailbox, or goes on with its other recipients.
            false => plan.now,
        };
        Next::Waits { due_at, attempts, reason: self.reason.clone(), warn_at: message.warn_at }
    }
}

fn report(position: usize, state: RecipientState, judgement: &Judgement) -> Report {
    Report {
        position,
        state,
        code: judgement.said.as_ref().map(|reply| reply.code),
        reply: judgement.said.as_ref().map_or_else(|| judgement.reason.clone(), |reply| shortened(&reply.to_string())),
        advice: judgement.advice.as_ref().map(ToString::to_string),
    }
}

/// The reports by which all that still wait have expired.
pub(super) fn expired(message: &Message, reason: &str) -> Vec<Report> {
    let of = |position: &usize| Report {
        position: *position,
        state: RecipientState::Expired,
        code: None,
        reply: reason.to_owned(),
        advice: None,
    };
    message.positions.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::health::Probe, *};
    use crate::{
        mail::{Address, Envelope, Id, Name, Recipient},
        queue::Number,
        smtp::Reply,
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn message(recipients: usize) -> Message {
        let mut envelope = Envelope::from(None);
        let address = |n: usize| Address::parse(&format!("{n}@example.com")).unwrap();
        envelope.recipients = (0..recipients).map(|n| Recipient::to(address(n))).collect();
        Message {
            number: Number::default(),
            id: Id::new(at(0), [0; 10]),
            app: Name::parse("crowd").unwrap(),
            mailbox: Name::parse("alerts").unwrap(),
            client: String::new(),
            envelope,
            positions: (0..recipients).map(|n| n + 10).collect(),
            settled: 0,
            author: String::new(),
            bounce_of: None,
            size: 1,
            message_id: String::new(),
            subject: None,
            accepted_at: at(0),
            attempts: 2,
            expires_at: at(7200),
            warn_at: None,
        }
    }

    fn judgement(outcome: Outcome) -> Judgement {
        let reply = Reply::new(550, None, "x");
        let (reason, said) = (format!("{outcome:?}"), Some(reply.clone()));
        Judgement { reply, outcome, trouble: None, probe: Probe::Message, said, reason, advice: None }
    }

    fn plan(retry: &[Duration]) -> Plan<'_> {
        Plan { retry, now: at(100), clock: at(100), chance: 0.5 }
    }

    const HOUR: [Duration; 1] = [Duration::from_secs(3600)];

    #[test]
    fn each_outcome_has_its_consequence() {
        use Outcome::*;
        // Settled recipients; spent; due after seconds, or held.
        let rows = [
            (RetryMessage, 0, true, Some(3600)),
            (SplitRecipients, 0, true, Some(3600)),
            (RetryMailbox, 0, false, Some(0)),
            (Renew, 0, false, Some(0)),
            (Hold(super::Hold::Mailbox), 0, false, Some(0)),
            (Hold(super::Hold::Quota), 0, false, Some(0)),
            (Hold(super::Hold::Link), 0, false, Some(0)),
            (Hold(super::Hold::Sender), 0, false, None),
            (Delivered, 1, false, Some(0)),
            (RefuseRecipient, 1, false, Some(0)),
            (RefuseMessage, 1, false, Some(0)),
        ];
        for (outcome, settled, spent, due) in rows {
            let message = message(1);
            let tried = Tried::sum_up(&message, vec![judgement(outcome)]);
            assert_eq!((tried.reports.len(), tried.is_spent), (settled, spent), "{outcome:?}");
            match (tried.next(&message, plan(&HOUR)), due) {
                (Next::Waits { due_at, attempts, .. }, Some(seconds)) => {
                    assert_eq!((due_at, attempts), (at(100 + seconds), 2 + u32::from(spent)), "{outcome:?}");
                }
                (Next::Held { by: HeldBy::Sender, since, .. }, None) => assert_eq!(since, at(100)),
                (other, _) => panic!("{outcome:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn recipients_are_settled_one_by_one_at_their_places() {
        use Outcome::*;
        let all = [Delivered, RefuseRecipient, RetryMessage, Delivered].map(judgement).into();
        let tried = Tried::sum_up(&message(6), all);
        let settled: Vec<_> = tried.reports.iter().map(|report| (report.position, report.state)).collect();
        assert_eq!(settled, [(10, RecipientState::Delivered), (11, RecipientState::Refused), (13, RecipientState::Delivered)]);
        assert!(tried.is_spent && tried.too_many.is_none());
    }

    #[test]
    fn too_many_recipients_at_once_cost_no_attempt() {
        use Outcome::*;
        let tried = Tried::sum_up(&message(3), [Delivered, Delivered, SplitRecipients].map(judgement).into());
        assert_eq!((tried.too_many, tried.is_spent), (Some(2), false));
        assert!(matches!(tried.next(&message(3), plan(&HOUR)), Next::Waits { due_at, attempts: 2, .. } if due_at == at(100)));
    }

    #[test]
    fn what_became_of_the_message_does_not_change_how_many_were_too_many() {
        use Outcome::*;
        let all = [RetryMessage, RefuseRecipient, RetryMessage, SplitRecipients].map(judgement).into();
        assert_eq!(Tried::sum_up(&message(4), all).too_many, Some(2));
    }

    #[test]
    fn a_sender_beyond_those_that_can_be_held_is_tried_by_the_schedule() {
        let mut tried = Tried::sum_up(&message(1), vec![judgement(Outcome::Hold(Hold::Sender))]);
        tried.hold_nobody();
        assert!(matches!(tried.next(&message(1), plan(&HOUR)), Next::Waits { attempts: 3, .. }));
    }

    #[test]
    fn the_last_pause_ends_with_the_messages_time() {
        let mut message = message(1);
        message.expires_at = at(400);
        let tried = Tried::sum_up(&message, vec![judgement(Outcome::RetryMessage)]);
        assert!(matches!(tried.next(&message, plan(&HOUR)), Next::Waits { due_at, .. } if due_at == at(400)));
        message.expires_at = at(50);
        assert!(matches!(tried.next(&message, plan(&HOUR)), Next::Waits { due_at, .. } if due_at == at(101)));
    }

    #[test]
    fn what_still_waits_expires_together() {
        let reports = expired(&message(2), "too old");
        assert!(reports.iter().all(|report| report.state == RecipientState::Expired && report.reply == "too old"));
        assert_eq!(reports.len(), 2);
    }
}
