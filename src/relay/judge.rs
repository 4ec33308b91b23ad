//! What the provider's answer means: for an app that waits, for each recipient, for the mailbox and for the log. Pure.
//!
//! The app hears the provider's own words when they are a verdict on its message. Trouble of ours, of the link or of a quota is
//! `451` with a bland text, whatever code the provider used for it: an app that hears `535` or `5xx` gives up or deletes.

use super::health::{Kind, Probe, Trouble};
use crate::{
    config::{Link, Mailbox},
    mail::{Advice, Envelope, Hold, Id, Outcome},
    provider::{Verdict, classify},
    smtp::{Reply, Step},
    tokens::Unavailable,
    upstream::{Failure, Reason, Sent},
};

/// Longest text of a provider's reply that is passed on to an app, in characters: with codes and id it stays below the
/// 512 octets of a reply line (RFC 5321 §4.5.3.1.5).
const LONGEST_TEXT: usize = 440;

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    /// What the app hears.
    pub(super) reply: Reply,
    /// What it means.
    pub(super) outcome: Outcome,
    /// The trouble that the mailbox is in, if any.
    pub(super) trouble: Option<Kind>,
    /// What would show that it is over.
    pub(super) probe: Probe,
    /// The provider's reply, if this is about one.
    pub(super) said: Option<Reply>,
    /// Why, in the provider's or the system's words; for the log.
    pub(super) reason: String,
    /// What to do about it; for the log.
    pub(super) advice: Option<Advice>,
}

impl Judgement {
    /// What to do, in words.
    pub(super) fn advice_text(&self) -> Option<&str> {
        self.advice.as_ref().map(|advice| advice.text.as_str())
    }

    /// The name of what to do.
    pub(super) fn advice_name(&self) -> Option<&str> {
        self.advice.as_ref().and_then(Advice::name)
    }

    /// The trouble in words, if there is any.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let (reason, advice) = (self.reason.clone(), self.advice.clone());
        self.trouble.map(|kind| Trouble { kind, probe: self.probe, reason, advice })
    }

    /// Whether the provider said that too many do this at once (`432`), or too often (`454`): fewer connections help.
    pub(super) fn wants_fewer_connections(&self) -> bool {
        self.said.as_ref().is_some_and(|reply| matches!(reply.code, 432 | 454))
    }

    /// Whether the provider was never asked: neither that the mailbox works nor that it does not.
    pub(super) fn says_nothing(&self) -> bool {
        self.outcome == Outcome::RetryMailbox && self.trouble.is_none()
    }
}

/// What is being judged, for texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) id: Id,
    pub(super) mailbox: &'a Mailbox,
    /// The link's client id and tenant, for the advice.
    pub(super) client_id: &'a str,
    pub(super) tenant: &'a str,
    pub(super) envelope: &'a Envelope,
}

impl<'a> Case<'a> {
    /// What is being judged.
    pub(super) fn of(id: Id, (mailbox, link): (&'a Mailbox, &'a Link), envelope: &'a Envelope) -> Self {
        let tenant = link.tenant.as_deref().unwrap_or("your tenant");
        Self { id, mailbox, client_id: &link.client_id, tenant, envelope }
    }
}

impl Case<'_> {
    /// Judges a dialogue that came to its end.
    pub(super) fn sent(&self, sent: &Sent) -> Judgement {
        if !sent.mail.is_positive() {
            return self.replied(Step::Mail, &sent.mail, None);
        }
        if let Some(message) = &sent.message {
            return self.replied(sent.step, message, None);
        }
        // Nothing was sent because a recipient was refused: a final refusal counts before a temporary one.
        let refused = |want: fn(&Reply) -> bool| (0..sent.recipients.len()).find(|index| want(&sent.recipients[*index]));
        match refused(Reply::is_permanent).or_else(|| refused(|reply| !reply.is_positive())) {
            Some(index) => {
                let address = self.envelope.recipients.get(index).map(|recipient| recipient.address.as_str());
                self.replied(Step::Rcpt, &sent.recipients[index], address)
            }
            None => self.later(Outcome::RetryMessage, "the provider gave no verdict".to_owned(), None),
        }
    }

    /// Judges a dialogue that came to its end, for each recipient.
    pub(super) fn each(&self, sent: &Sent) -> Vec<Judgement> {
        let of = |(index, reply): (usize, &Reply)| {
            if !sent.mail.is_positive() {
                return self.replied(Step::Mail, &sent.mail, None);
            }
            let address = self.envelope.recipients.get(index).map(|recipient| recipient.address.as_str());
            match &sent.message {
                _ if !reply.is_positive() => self.replied(Step::Rcpt, reply, address),
                Some(message) => self.replied(sent.step, message, None),
                None => self.later(Outcome::RetryMessage, "the provider gave no verdict".to_owned(), None),
            }
        };
        sent.recipients.iter().enumerate().map(of).collect()
    }

    /// Judges a dialogue that broke.
    pub(super) fn failed(&self, failure: &Failure) -> Judgement {
        if failure.unknown {
            return Judgement { reply: unknown(self.id), ..self.later(Outcome::RetryMessage, failure.to_string(), None) };
        }
        let advice = || failure.advice().map(|advice| advice.advise(&self.names()));
        match &failure.reason {
            Reason::Reply(reply) => Judgement { reason: failure.to_string(), ..self.replied(failure.step, reply, None) },
            Reason::Unfit(reply) => {
                let reply = Reply { lines: vec![format!("{} {}", self.id, reply.text())], ..reply.clone() };
                Judgement { reply, ..self.later(Outcome::RefuseMessage, failure.to_string(), None) }
            }
            // No place among the connections: the mailbox is busy, not in trouble.
            Reason::Busy(_) | Reason::Aborted => {
                Judgement { trouble: None, ..self.later(Outcome::RetryMailbox, failure.to_string(), None) }
            }
            _ if failure.step.is_before_mail() => {
                Judgement { probe: Probe::Login, ..self.later(Outcome::RetryMailbox, failure.to_string(), advice()) }
            }
            _ => self.later(Outcome::RetryMessage, failure.to_string(), advice()),
        }
    }

    /// Judges a reply to `step`; `address` is the recipient that it speaks of.
    fn replied(&self, step: Step, reply: &Reply, address: Option<&str>) -> Judgement {
        let Verdict { outcome, advice } = classify(self.mailbox.provider, step, reply);
        let advice = advice.map(|advice| advice.advise(&self.names()));
        let reason = format!("{} answered {step} with {}", self.mailbox.server, shortened(&reply.to_string()));
        let subject = address.map(|address| format!("<{address}> ")).unwrap_or_default();
        let said = |reply: &Reply| format!("{} {subject}{}", self.id, shortened(&reply.text()));
        let (code, enhanced) = (reply.code, reply.enhanced.map(|e| (e.subject, e.detail)));
        let for_app = match outcome {
            Outcome::Delivered => Reply::new(250, enhanced.or(Some((0, 0))), said(reply)),
            Outcome::RefuseRecipient | Outcome::RefuseMessage => {
                Reply::new(final_code(code), enhanced.or(Some((0, 0))), said(reply))
            }
            Outcome::Hold(Hold::Sender) => {
                let advice =
                    advice.as_ref().map_or("the provider does not let this mailbox send as this sender", |advice| &advice.text);
                Reply::new(550, Some((7, 1)), format!("{} {}", self.id, shortened(advice)))
            }
            Outcome::RetryMessage | Outcome::SplitRecipients if reply.is_transient() => {
                // `421` would say that we close the connection; it was the provider that closed its own.
                let code = if code == 421 { 451 } else { code };
                Reply::new(code, enhanced.or(Some((0, 0))), said(reply))
            }
            _ => {
                let judgement = self.later(outcome, reason, advice);
                // `454` after AUTH: the provider counts logins.
                let trouble = if step == Step::Auth && code == 454 { Some(Kind::Logins) } else { judgement.trouble };
                let probe = if step.is_before_mail() { Probe::Login } else { Probe::Message };
                return Judgement { trouble, probe, said: Some(reply.clone()), ..judgement };
            }
        };
        Judgement { reply: for_app, outcome, trouble: None, probe: Probe::Message, said: Some(reply.clone()), reason, advice }
    }

    /// A judgement that asks the app to come again, in bland words.
    fn later(&self, outcome: Outcome, reason: String, advice: Option<Advice>) -> Judgement {
        let trouble = match outcome {
            Outcome::Hold(Hold::Quota) => Some(Kind::Quota),
            Outcome::Hold(_) | Outcome::Renew => Some(Kind::Account),
            Outcome::RetryMailbox => Some(Kind::Passing),
            Outcome::Delivered
            | Outcome::RetryMessage
            | Outcome::SplitRecipients
            | Outcome::RefuseRecipient
            | Outcome::RefuseMessage => None,
        };
        Judgement { reply: bland(Some(self.id)), outcome, trouble, probe: Probe::Message, said: None, reason, advice }
    }

    /// Judges that there was no access token.
    pub(super) fn without_token(&self, unavailable: &Unavailable) -> Judgement {
        let (outcome, advice) = match unavailable {
            Unavailable::Transient { advice, .. } => (Outcome::RetryMailbox, advice.clone()),
            Unavailable::NeedsConsent { advice, .. } => (Outcome::Hold(Hold::Mailbox), Some(advice.clone())),
            Unavailable::NeedsRepair { advice, of_link: true, .. } => (Outcome::Hold(Hold::Link), Some(advice.clone())),
            Unavailable::NeedsRepair { advice, of_link: false, .. } => (Outcome::Hold(Hold::Mailbox), Some(advice.clone())),
        };
        let (trouble, probe) = (Some(Kind::Token), Probe::Login);
        Judgement { trouble, probe, ..self.later(outcome, unavailable.to_string(), advice) }
    }

    fn names(&self) -> [(&'static str, &str); 5] {
        let Mailbox { name, address, link, .. } = self.mailbox;
        let [mailbox, address, link] = [name.as_str(), address.as_str(), link.as_str()];
        [("mailbox", mailbox), ("address", address), ("link", link), ("client-id", self.client_id), ("tenant", self.tenant)]
    }
}

/// What an app hears of trouble that is not its own.
pub(super) fn bland(id: Option<Id>) -> Reply {
    let id = id.map(|id| format!("{id} ")).unwrap_or_default();
    Reply::new(451, Some((3, 0)), format!("{id}the mail system cannot deliver now, try again later"))
}

/// What an app hears when the provider may have taken the message.
pub(super) fn unknown(id: Id) -> Reply {
    Reply::new(451, Some((4, 7)), format!("{id} no verdict from the provider in time, the message may have been delivered"))
}

/// The provider's code, if it is one that an app understands as final.
fn final_code(code: u16) -> u16 {
    if (550..=559).contains(&code) { code } else { 550 }
}

/// A reply's text as it is passed on and kept.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A mailbox as configuration makes it, and an envelope to two recipients.
#[cfg(test)]
pub(super) fn parts(provider: &str) -> (Mailbox, Envelope) {
    let text = format!(
        "[link.l]\nprovider = \"{provider}\"\ngrant = \"client-credentials\"\nclient-id = \"id\"\nclient-secret = {{ env = \"S\" }}\n\
         tenant = \"contoso.com\"\nscopes = [\"https://outlook.office365.com/.default\"]\n\
         token-endpoint = \"https://login.example.com/token\"\n\
         [mailbox.alerts]\nlink = \"l\"\naddress = \"alerts@contoso.com\"\nserver = \"smtp.example.com:587\"\n"
    );
    let variables = [("S".to_owned(), "x".to_owned())].into();
    let (settings, _) = crate::config::parse(&text, &variables).unwrap_or_else(|faults| panic!("{faults:?}"));
    let mailbox = settings.mailboxes.values().next().expect("one mailbox");
    let mut envelope = Envelope::from(None);
    envelope.recipients =
        ["a@example.com", "b@example.com"].map(|a| crate::mail::Recipient::to(crate::mail::Address::parse(a).unwrap())).into();
    ((**mailbox).clone(), envelope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::Enhanced;
    use std::time::SystemTime;

    fn reply(text: &str) -> Reply {
        let (code, rest) = text.split_once(' ').unwrap();
        let (first, after) = rest.split_once(' ').unwrap_or((rest, ""));
        match Enhanced::parse(first) {
            Some(enhanced) => Reply { code: code.parse().unwrap(), enhanced: Some(enhanced), lines: vec![after.to_owned()] },
            None => Reply { code: code.parse().unwrap(), enhanced: None, lines: vec![rest.to_owned()] },
        }
    }

    /// The dialogue's replies: MAIL, both RCPT, and the message's, if it was sent.
    fn sent(mail: &str, recipients: [&str; 2], message: Option<&str>) -> Sent {
        Sent {
            mail: reply(mail),
            recipients: recipients.map(reply).into(),
            message: message.map(reply),
            step: Step::Body,
            dsn: false,
        }
    }

    fn judge(provider: &str, judged: impl Fn(&Case<'_>) -> Judgement) -> Judgement {
        let (mailbox, envelope) = parts(provider);
        let id = Id::new(SystemTime::UNIX_EPOCH, [0; 10]);
        judged(&Case { id, mailbox: &mailbox, client_id: "id", tenant: "contoso.com", envelope: &envelope })
    }

    #[test]
    fn the_app_hears_the_providers_verdict_and_nothing_of_its_troubles() {
        const OK: &str = "250 2.1.0 ok";
        let table = [
            ("delivered", sent(OK, [OK, OK], Some("250 2.0.0 OK")), "250 2.0.0", None),
            ("content refused", sent(OK, [OK, OK], Some("552 5.3.4 too large")), "552 5.3.4", None),
            ("quota", sent(OK, [OK, OK], Some("554 5.2.0 SubmissionQuotaExceededException")), "451 4.3.0", Some(Kind::Quota)),
            ("send as", sent(OK, [OK, OK], Some("554 5.2.252 SendAsDenied; a not allowed")), "550 5.7.1", None),
            ("one refused", sent(OK, [OK, "550 5.1.1 no such user"], None), "550 5.1.1", None),
            ("final before temporary", sent(OK, ["450 4.2.1 slow", "550 5.1.1 no such user"], None), "550 5.1.1", None),
            ("all temporary", sent(OK, ["450 4.2.1 slow", OK], None), "450 4.2.1", None),
            ("provider closes", sent(OK, [OK, OK], Some("421 4.4.1 Connection timed out")), "451 4.4.1", None),
            ("login skipped", sent("530 5.7.57 not authenticated", [OK, OK], None), "451 4.3.0", Some(Kind::Account)),
            ("threads", sent("432 4.3.2 thread limit exceeded", [OK, OK], None), "451 4.3.0", Some(Kind::Passing)),
            ("no verdict", sent(OK, [OK, OK], None), "451 4.3.0", None),
            ("utf-8 address", sent("550 5.6.7 needs SMTPUTF8", [OK, OK], None), "550 5.6.7", None),
        ];
        for (name, sent, expected, trouble) in table {
            let judgement = judge("microsoft", |case| case.sent(&sent));
            assert!(judgement.reply.to_string().starts_with(expected), "{name}: {}", judgement.reply);
            assert_eq!(judgement.trouble, trouble, "{name}");
        }
        let refused = judge("microsoft", |case| case.sent(&sent(OK, [OK, "550 5.1.1 no such user"], None)));
        assert!(refused.reply.to_string().contains("<b@example.com>"), "the address is named: {}", refused.reply);
    }

    #[test]
    fn a_broken_dialogue_never_refuses_a_message() {
        let failure = |step, reason| Failure {
            step,
            reason,
            server: "smtp.example.com:587".into(),
            stale: false,
            unknown: false,
            challenge: None,
        };
        let table = [
            ("refused login", failure(Step::Auth, Reason::Reply(reply("535 5.7.3 no"))), "451 4.3.0", Some(Kind::Account)),
            (
                "smtp auth off",
                failure(Step::Auth, Reason::Reply(reply("535 5.7.139 disabled for the Tenant"))),
                "451 4.3.0",
                Some(Kind::Account),
            ),
            (
                "logins counted",
                failure(Step::Auth, Reason::Reply(reply("454 4.7.0 Too many login attempts"))),
                "451 4.3.0",
                Some(Kind::Logins),
            ),
            ("greeting", failure(Step::Greeting, Reason::Reply(reply("554 5.7.1 go away"))), "451 4.3.0", Some(Kind::Account)),
            ("connect", failure(Step::Connect, Reason::Io("refused".into())), "451 4.3.0", Some(Kind::Passing)),
            ("busy", failure(Step::Connect, Reason::Busy(3)), "451 4.3.0", None),
            ("cut", failure(Step::Data, Reason::Closed), "451 4.3.0", None),
        ];
        for (name, failure, expected, trouble) in table {
            let judgement = judge("microsoft", |case| case.failed(&failure));
            assert!(judgement.reply.to_string().starts_with(expected), "{name}: {}", judgement.reply);
            assert_eq!(judgement.trouble, trouble, "{name}");
        }
        let unknown = Failure { unknown: true, ..failure(Step::Body, Reason::TimedOut) };
        assert!(judge("microsoft", |case| case.failed(&unknown)).reply.to_string().starts_with("451 4.4.7"));
    }

    #[test]
    fn advice_names_the_mailbox() {
        let auth_off = |case: &Case<'_>| case.replied(Step::Auth, &reply("535 5.7.139 disabled for the Mailbox"), None);
        let advice = judge("microsoft", auth_off).advice.expect("there is advice").text;
        assert!(advice.contains("Set-CASMailbox") && advice.contains("alerts@contoso.com"), "{advice}");
    }

    #[test]
    fn a_long_reply_is_shortened_for_the_app() {
        let long = format!("550 5.1.1 {}", "\u{e4}".repeat(5000));
        let judgement = judge("custom", |case| case.replied(Step::Rcpt, &reply(&long), Some("a@example.com")));
        assert!(judgement.reply.text().chars().count() < 500);
    }

    #[test]
    fn only_a_message_that_reached_the_provider_speaks_of_the_mailbox() {
        let failed = |step, reason: Reason| {
            let (server, challenge) = ("smtp.example.com:587".into(), None);
            let failure = Failure { step, reason, server, stale: false, unknown: false, challenge };
            judge("microsoft", |case| case.failed(&failure)).says_nothing()
        };
        assert!(failed(Step::Connect, Reason::Busy(3)));
        assert!(failed(Step::Body, Reason::Aborted));
        assert!(!failed(Step::Connect, Reason::TimedOut));
        assert!(!failed(Step::Auth, Reason::Reply(reply("535 5.7.8 no"))));
        assert!(!failed(Step::Body, Reason::Closed));
        const OK: &str = "250 2.1.0 ok";
        assert!(!judge("microsoft", |case| case.sent(&sent(OK, [OK, OK], Some("250 2.0.0 OK")))).says_nothing());
    }
}
