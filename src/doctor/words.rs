//! From what went wrong to the words of a finding: cause and step out of the provider's tables, with the names and ids of the case.

use super::finding::{Finding, Of};
use crate::{
    config::{Link, Mailbox},
    mail::Advice,
    provider::{AdviceEntry, Cloud, advice_named, classify, cloud_names, network_advice},
    tokens::Unavailable,
    upstream::{Failure, Reason},
};

/// Where the tables leave a place for the object id, which only an access token tells.
const OBJECT_IDS: [&str; 2] = ["<that object id>", "<object id of the app under Enterprise applications>"];

/// The names that advice speaks of.
#[derive(Debug, Clone)]
pub(super) struct Names {
    mailbox: String,
    address: String,
    link: String,
    client_id: String,
    tenant: String,
    cloud: Cloud,
    /// Of the app's service principal, once a token has told it.
    pub(super) object_id: Option<String>,
}

impl Names {
    pub(super) fn of(link: &Link, mailbox: Option<&Mailbox>) -> Self {
        let (name, address) =
            mailbox.map_or(("NAME", "the mailbox"), |mailbox| (mailbox.name.as_str(), mailbox.address.as_str()));
        Self {
            mailbox: name.to_owned(),
            address: address.to_owned(),
            link: link.name.to_string(),
            client_id: link.client_id.clone(),
            tenant: link.tenant.clone().unwrap_or_else(|| "common".to_owned()),
            cloud: link.cloud,
            object_id: None,
        }
    }

    fn fill(&self, name: &'static str, text: &'static str) -> String {
        let [entra, exchange] = cloud_names(self.cloud);
        let names = [
            ("mailbox", self.mailbox.as_str()),
            ("address", &self.address),
            ("link", &self.link),
            ("client-id", &self.client_id),
            ("tenant", &self.tenant),
            entra,
            exchange,
        ];
        // An entry is filled as a whole; one without a step ends in the mark between both.
        let mut filled = AdviceEntry { name, cause: text, step: "" }.fill(&names);
        filled.truncate(filled.trim_end_matches("; ").len());
        self.with_object_id(filled)
    }

    fn with_object_id(&self, text: String) -> String {
        match &self.object_id {
            Some(id) => OBJECT_IDS.iter().fold(text, |text, place| text.replace(place, id)),
            None => text,
        }
    }

    /// Puts the object id where a finding's fix has left its place.
    pub(super) fn ids(&self, mut finding: Finding) -> Finding {
        finding.fix = finding.fix.map(|fix| self.with_object_id(fix));
        finding
    }

    /// Adds cause and step; `said` is what the other side said.
    pub(super) fn explain(&self, finding: Finding, entry: &'static AdviceEntry, said: Option<&str>) -> Finding {
        let cause = self.fill(entry.name, entry.cause);
        let why = said.map_or_else(|| cause.clone(), |said| format!("{cause} ({said})"));
        finding.why(why).fix(self.fill(entry.name, entry.step)).named(entry.name)
    }

    /// The same from advice that was given already.
    pub(super) fn advise(&self, finding: Finding, advice: &Advice, said: Option<&str>) -> Finding {
        match advice.name().and_then(advice_named) {
            // Some advice has a step of its own for the case, and its reason says the cause.
            Some(entry) if is_told_whole(entry, &advice.text) => self.explain(finding, entry, said),
            _ => {
                let finding = said.map_or(finding.clone(), |said| finding.why(said));
                finding.fix(advice.text.clone()).named(&advice.name)
            }
        }
    }

    /// A failure of the network, by the words that tell it; `otherwise` is the step where no table knows them.
    pub(super) fn network(&self, finding: Finding, said: &str, otherwise: &str) -> Finding {
        match network_advice(said) {
            Some(entry) => self.explain(finding, entry, Some(said)),
            None => finding.why(said).fix(otherwise),
        }
    }

    /// A dialogue that failed.
    pub(super) fn failure(&self, (of, check): (&Of, &str), mailbox: &Mailbox, failure: &Failure) -> Finding {
        let server = &mailbox.server;
        match &failure.reason {
            Reason::Reply(reply) => {
                let finding = of.failed(check, format!("{server} answered {} with {reply}", failure.step));
                let said = failure.challenge.as_ref().map(|challenge| format!("after the challenge {challenge}"));
                match classify(mailbox.provider, failure.step, reply).advice {
                    Some(entry) => self.explain(finding, entry, said.as_deref()),
                    None => finding.why(said.unwrap_or_else(|| reply.to_string())).fix("read the server's own text; it says why"),
                }
            }
            reason => {
                let finding = of.failed(check, format!("{} with {server} failed", failure.step));
                let said = reason.to_string();
                match failure.advice() {
                    Some(entry) => self.explain(finding, entry, Some(&said)),
                    None => self.network(finding, &said, "check `server` and `tls` of the mailbox, and what stands between"),
                }
            }
        }
    }

    /// No access token.
    pub(super) fn unavailable(&self, (of, check): (&Of, &str), unavailable: &Unavailable) -> Finding {
        let finding = |what: &str| of.failed(check, what);
        match unavailable {
            Unavailable::Transient { reason, .. } => {
                let otherwise = "nothing to do if it passes: the token is asked for again by itself";
                self.network(finding("no access token for now"), reason, otherwise)
            }
            Unavailable::NeedsConsent { reason, advice } => {
                self.advise(finding("no access token without a new consent"), advice, Some(reason))
            }
            Unavailable::NeedsRepair { reason, advice, .. } => {
                self.advise(finding("no access token before this is mended"), advice, Some(reason))
            }
        }
    }
}

/// Whether `text` is cause and step of `entry`, and not other words under its name.
fn is_told_whole(entry: &AdviceEntry, text: &str) -> bool {
    text.starts_with(entry.cause.split('{').next().unwrap_or_default())
}
