//! The examination of one mailbox: a token is asked for while its server is greeted, then login, sender, and on wish a message.

use super::{
    Doctor, Means,
    claims::{Claims, Login},
    endpoint::Endpoint,
    finding::{Finding, Of},
    server::{self, Server},
    settings,
    words::Names,
};
use crate::{
    config::{Link, Mailbox},
    mail::{Address, State},
    provider::{Grant, advice_named},
    relay::{Freed, Held, Relay, span},
    tokens::{AccessToken, Unavailable},
    upstream::{Failure, Met, Slot},
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{sync::OnceCell, time::timeout};

/// For a new access token.
const TOKEN: Duration = Duration::from_secs(6);

/// For a login: Exchange lets those wait some seconds whom it refuses.
const LOGIN: Duration = Duration::from_secs(15);

/// For MAIL, and for RSET.
const COMMAND: Duration = Duration::from_secs(8);

/// For the verdict on a message.
const VERDICT: Duration = Duration::from_secs(30);

/// The last checks, in their order.
const LAST: [&str; 2] = ["login", "sender"];

/// A new token, or why there is none; and how long that took.
type Asked = (Result<AccessToken, Unavailable>, Duration);

/// What mailboxes of one link share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Arc<Link>,
    pub(super) endpoint: OnceCell<Endpoint>,
    /// The link's own token: asked for once, however many mailboxes use it.
    token: OnceCell<Asked>,
}

impl Shared {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, endpoint: OnceCell::new(), token: OnceCell::new() }
    }
}

/// A message to be sent: to whom, and from whom.
#[derive(Debug, Clone)]
pub(super) struct Test {
    pub(super) to: Address,
    pub(super) from: Option<Address>,
}

/// One mailbox, and what was found.
pub(super) struct Visit<'a> {
    doctor: &'a Doctor,
    mailbox: Arc<Mailbox>,
    link: Arc<Link>,
    of: Of,
    names: Names,
    findings: Vec<Finding>,
}

/// Examines `mailbox` of the link in `shared`.
pub(super) async fn examine(doctor: &Doctor, mailbox: Arc<Mailbox>, shared: &Shared, test: Option<&Test>) -> Vec<Finding> {
    let link = shared.link.clone();
    let of = Of { link: Some(link.name.to_string()), mailbox: Some(mailbox.name.to_string()) };
    let names = Names::of(&link, Some(&mailbox));
    let findings = settings::mailbox(&of, &mailbox).into_iter().collect();
    let mut visit = Visit { doctor, mailbox, link, of, names, findings };
    visit.run(shared, test).await;
    visit.findings
}

impl Visit<'_> {
    async fn run(&mut self, shared: &Shared, test: Option<&Test>) {
        let relay = self.doctor.relay().cloned();
        let greeted = server::examine(self.doctor, &self.of, &self.names, &self.mailbox);
        let (asked, server) = tokio::join!(self.ask(shared), greeted);
        let token = self.token(asked);
        let claims = token.as_ref().and_then(|token| Claims::of(token.secret.expose()));
        self.names.object_id = claims.as_ref().and_then(Claims::object_id);
        let at = self.findings.len();
        let Server { findings, ready } = server;
        self.findings.extend(findings);
        let hold = relay.as_ref().and_then(|relay| relay.held(&self.mailbox.name));
        let login = match (token, ready, relay) {
            (Some(token), Some(ready), Some(relay)) => self.enter(&relay, hold.as_ref(), ready, &token).await,
            (None, ..) => self.skip("there is no access token"),
            _ => self.skip("there is no connection to the server"),
        };
        // Only now it is known what the claims mean; they are told behind the token that they stand in.
        let told = claims.map(|claims| self.claims(&claims, login)).unwrap_or_default();
        self.findings.splice(at..at, told);
        self.last(login, hold, test).await;
    }

    fn skip(&mut self, why: &str) -> Login {
        self.findings.extend(self.of.all_skipped(&LAST, why));
        Login::NotTried
    }

    /// A new token; `Err` says why none was asked for.
    async fn ask(&self, shared: &Shared) -> Result<Asked, String> {
        let endpoint = self.doctor.endpoint(shared).await;
        if !endpoint.answers {
            return Err("the token endpoint cannot be asked".to_owned());
        }
        let relay = match &self.doctor.means {
            Means::Relay(relay) => relay,
            Means::WithoutStore { why, .. } => return Err(why.clone()),
        };
        Ok(match self.link.grant {
            Grant::ClientCredentials => shared.token.get_or_init(|| self.renew(relay)).await.clone(),
            Grant::AuthorizationCode | Grant::DeviceCode | Grant::ServiceAccount => self.renew(relay).await,
        })
    }

    async fn renew(&self, relay: &Relay) -> Asked {
        let begun = Instant::now();
        let reason = || {
            let host = self.link.token_endpoint.host_str().unwrap_or_default();
            format!("the token endpoint at {host} did not answer within {} seconds", TOKEN.as_secs())
        };
        let renewed = timeout(TOKEN, relay.renew(&self.mailbox.name)).await;
        (renewed.unwrap_or_else(|_| Err(Unavailable::Transient { reason: reason(), advice: None })), begun.elapsed())
    }

    fn token(&mut self, asked: Result<Asked, String>) -> Option<AccessToken> {
        let (finding, token) = match asked {
            Err(why) => (self.of.skipped("token", why), None),
            Ok((Err(unavailable), took)) => (self.names.unavailable((&self.of, "token"), &unavailable).took(took), None),
            Ok((Ok(token), took)) => {
                let left = span(token.expires.duration_since(SystemTime::now()).unwrap_or_default());
                (self.of.good("token", format!("a new access token, good for {left}")).took(took), Some(token))
            }
        };
        self.findings.push(finding);
        token
    }

    fn claims(&self, claims: &Claims, login: Login) -> Vec<Finding> {
        let clock = claims.ahead(SystemTime::now()).map(|ahead| {
            let what = format!("the access token was made {} ahead of this machine's clock", span(ahead));
            let finding = self.of.warning("clock", what);
            match advice_named("clock") {
                Some(entry) => self.names.explain(finding, entry, None),
                None => finding,
            }
        });
        let reading = claims.read(&self.link, &self.mailbox);
        let read = reading.map(|reading| self.names.ids(reading.finding(&self.of, &self.link, &self.mailbox, login)));
        read.into_iter().chain(clock).collect()
    }

    /// Logs in and asks whether the mailbox may send; whatever that shows counts for the mail that waits.
    async fn enter(
        &mut self,
        relay: &Arc<Relay>,
        hold: Option<&Held>,
        (mut slot, met): (Slot, Met),
        token: &AccessToken,
    ) -> Login {
        if let Some(hold) = hold.filter(|hold| hold.counts_logins) {
            self.findings.push(self.held("the provider counts logins, so none is made now", hold));
            return self.skip("the provider counts logins of this mailbox");
        }
        let Some(turn) = self.doctor.paces.turn(&self.mailbox.name).await else {
            return self.skip("another examination logs in to this mailbox now");
        };
        let begun = Instant::now();
        if let Err(failure) = slot.enter(met, (&token.secret, token.expires), LOGIN).await {
            turn.refused();
            self.findings.push(self.refused(relay, "login", &failure).took(begun.elapsed()));
            self.findings.extend(self.of.all_skipped(&LAST[1..], "the step before failed"));
            return Login::Refused;
        }
        let user = &self.mailbox.xoauth2_user;
        self.findings.push(self.of.good("login", format!("{} lets {user} in", self.mailbox.server)).took(begun.elapsed()));
        let begun = Instant::now();
        match slot.ask_sender(COMMAND).await {
            Ok(reply) => {
                let what = format!("MAIL FROM:<{}> is answered by {reply}", self.mailbox.address);
                self.findings.push(self.of.good("sender", what).took(begun.elapsed()));
                Login::Worked
            }
            Err(failure) => {
                turn.refused();
                self.findings.push(self.refused(relay, "sender", &failure).took(begun.elapsed()));
                Login::Refused
            }
        }
    }

    fn refused(&self, relay: &Relay, check: &str, failure: &Failure) -> Finding {
        relay.found_refused(&self.mailbox, &self.link, failure);
        self.names.failure((&self.of, check), &self.mailbox, failure)
    }

    /// What becomes of mail that waits, and the message that shows the rest.
    async fn last(&mut self, login: Login, hold: Option<Held>, test: Option<&Test>) {
        let others = "sending-as-others";
        let (Login::Worked, Some(relay)) = (login, self.doctor.relay().cloned()) else {
            self.findings.push(self.of.skipped(others, "the mailbox does not log in"));
            return;
        };
        if let Some(test) = test {
            self.send(&relay, test).await;
        }
        let freed = relay.found_working(&self.mailbox);
        if let Some(hold) = hold {
            self.findings.push(self.freed(&hold, freed));
        }
        if test.is_none() {
            let (name, address) = (&self.mailbox.name, &self.mailbox.address);
            let what = format!("whether {address} may send as other addresses shows only after a whole message");
            let fix = format!("`outlink doctor --mailbox {name} --send YOU@example.org --from OTHER@example.org` sends one");
            self.findings.push(self.of.skipped(others, what).fix(fix));
        }
    }

    fn freed(&self, hold: &Held, freed: Freed) -> Finding {
        let since = span(SystemTime::now().duration_since(hold.standing.since).unwrap_or_default());
        let reason = hold.standing.reason.as_deref().unwrap_or("without a reason");
        match freed {
            _ if hold.standing.state == State::Paused => {
                let finding = self.of.warning("hold", format!("an operator holds the mailbox for {since}: its mail waits"));
                finding.fix(hold.standing.advice.as_ref().map_or("", |advice| &advice.text))
            }
            Freed::Waits => self.held("its login works, but its mail waits until the quota resets", hold),
            Freed::One => {
                let what = format!("it was held for {since} ({reason}); one message finds out now whether that is over");
                self.of.good("hold", what)
            }
            Freed::All | Freed::Nothing => {
                let what = format!("it was held for {since} ({reason}); it works again, and its mail is let go");
                self.of.good("hold", what)
            }
        }
    }

    fn held(&self, what: &str, hold: &Held) -> Finding {
        let next = hold.standing.next.and_then(|next| next.duration_since(SystemTime::now()).ok());
        let next = next.map(|left| format!("; tried again in {}", span(left))).unwrap_or_default();
        let finding = self.of.failed("hold", format!("{what}{next}"));
        let reason = hold.standing.reason.clone().unwrap_or_default();
        match &hold.standing.advice {
            Some(advice) => self.names.advise(finding, advice, Some(&reason)),
            None => finding.why(reason).fix("nothing to do: it is tried again by itself"),
        }
    }

    async fn send(&mut self, relay: &Arc<Relay>, test: &Test) {
        let from = test.from.as_ref().unwrap_or(&self.mailbox.address);
        let tested = relay.send_test(&self.mailbox.name, (from, &test.to), VERDICT).await;
        let finding = match tested.taken {
            true => self.of.good("delivery", format!("a message from {from} to {} was taken: {}", test.to, tested.reason)),
            false => {
                let finding = self.of.failed("delivery", format!("a message from {from} to {} was not taken", test.to));
                match &tested.advice {
                    Some(advice) => self.names.advise(finding, advice, Some(&tested.reason)),
                    None => finding.why(tested.reason.clone()).fix("read the server's own text; it says why"),
                }
            }
        };
        self.findings.push(finding.took(tested.took));
    }
}
