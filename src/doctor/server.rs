//! A mailbox's SMTP server up to EHLO: name, ways, certificate, greeting, offers; over a place below the mailbox's limit of
//! connections.

use super::{
    Doctor,
    endpoint::{in_words, partly, trusted},
    finding::{Finding, Of},
    network::{found, look_up, reach},
    words::Names,
};
use crate::{
    config::Mailbox,
    provider::advice_named,
    smtp::Step,
    upstream::{Failure, Met, Reason, Shown, Slot},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// The checks of a server, in their order; `greeting` is told only when it fails.
pub(super) const CHECKS: [&str; 4] = ["server-name", "server-route", "server-tls", "ehlo"];

/// For a place among the connections. They are busy with mail, so the mailbox works.
const PLACE: Duration = Duration::from_secs(5);

/// For each exchange before the login.
const EXCHANGE: Duration = Duration::from_secs(5);

/// What was found, and a connection that is ready for a login.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) findings: Vec<Finding>,
    pub(super) ready: Option<(Slot, Met)>,
}

/// Examines the server of `mailbox`.
pub(super) async fn examine(doctor: &Doctor, of: &Of, names: &Names, mailbox: &Arc<Mailbox>) -> Server {
    let mut look = Look { of, names, mailbox, findings: Vec::new() };
    let ready = look.run(doctor).await;
    let mut findings = look.findings;
    if ready.is_none() {
        let seen = |check: &&&str| !findings.iter().any(|finding| finding.check == ***check);
        let left: Vec<&str> = CHECKS.iter().filter(seen).copied().collect();
        findings.extend(of.all_skipped(&left, "the step before failed"));
    }
    Server { findings, ready }
}

struct Look<'a> {
    of: &'a Of,
    names: &'a Names,
    mailbox: &'a Arc<Mailbox>,
    findings: Vec<Finding>,
}

impl Look<'_> {
    async fn run(&mut self, doctor: &Doctor) -> Option<(Slot, Met)> {
        let (of, server, begun) = (self.of, &self.mailbox.server, Instant::now());
        let addresses = match look_up(&server.host, server.port).await {
            Ok(addresses) => addresses,
            Err(why) => {
                let finding = of.failed("server-name", format!("{} cannot be looked up", server.host));
                self.findings.push(self.names.network(finding, &why, "check `server`, and this machine's name servers"));
                return None;
            }
        };
        self.findings.push(of.good("server-name", found(&server.host, &addresses)).took(begun.elapsed()));
        let slot = match doctor.place(self.mailbox, PLACE).await {
            Ok(slot) => slot,
            Err(Failure { reason: Reason::Busy(limit), .. }) => {
                let busy = format!("all {limit} connections of the mailbox are busy with mail, so it works");
                self.findings.push(of.skipped("server-route", busy));
                return None;
            }
            Err(failure) => {
                self.findings.push(self.names.failure((of, "server-route"), self.mailbox, &failure));
                return None;
            }
        };
        let mut ways = reach(&addresses).await;
        let dead = ways.dead_in_words();
        if ways.open.is_empty() {
            let finding = of.failed("server-route", format!("{server} does not answer"));
            let step = "let this machine out to that host and port";
            self.findings.push(self.names.network(finding, &dead, step));
            return None;
        }
        let only_v6 = ways.is_only_v6_dead();
        let (address, tcp, took) = ways.open.swap_remove(0);
        // The others were only to be seen.
        drop(ways);
        self.findings.push(match dead.is_empty() {
            true => of.good("server-route", format!("{server} answers at {address}")).took(took),
            false => partly(of, "server-route", &dead, (&address.to_string(), only_v6)).took(took),
        });
        let met = self.meet(&slot, tcp).await?;
        Some((slot, met))
    }

    async fn meet(&mut self, slot: &Slot, tcp: TcpStream) -> Option<Met> {
        // Small writes wait for each other's acknowledgement otherwise.
        let _ = tcp.set_nodelay(true);
        let mut shown = Shown::default();
        let met = slot.meet(tcp, EXCHANGE, &mut shown).await;
        let (of, server) = (self.of, &self.mailbox.server);
        if let Some(version) = shown.tls {
            let certificate = shown.certificate.as_ref().map(|certificate| format!(", {}", trusted(certificate)));
            self.findings
                .push(of.good("server-tls", format!("{version}{}", certificate.unwrap_or_default())).took(shown.tls_took));
        }
        let failure = match met {
            Ok(met) => return self.offers(&shown, slot.hostname()).then_some(met),
            Err(failure) => failure,
        };
        let check = match failure.step {
            Step::Tls => "server-tls",
            Step::Greeting => "greeting",
            _ => "ehlo",
        };
        let mut finding = self.names.failure((of, check), self.mailbox, &failure);
        if let Some(certificate) = shown.certificate.filter(|_| failure.step == Step::Tls) {
            finding.what = format!("no trusted TLS connection to {server}; {}", in_words(&certificate));
        }
        if failure.step == Step::Ehlo {
            finding.what = format!("{} (EHLO {})", finding.what, slot.hostname());
        }
        self.findings.push(finding);
        None
    }

    /// Whether what the server offers is enough.
    fn offers(&mut self, shown: &Shown, hostname: &str) -> bool {
        let (of, server) = (self.of, &self.mailbox.server);
        let Some(mechanism) = shown.mechanism else {
            let finding = of.failed("ehlo", format!("{server} offers neither AUTH XOAUTH2 nor OAUTHBEARER"));
            self.findings.push(match advice_named("no-xoauth2") {
                Some(entry) => self.names.explain(finding, entry, None),
                None => finding,
            });
            return false;
        };
        let size = shown.size.map(|size| format!(", messages up to {} MiB", size >> 20)).unwrap_or_default();
        let told = format!("takes EHLO {hostname}, offers AUTH {mechanism}{size}");
        self.findings.push(of.good("ehlo", told).took(shown.ehlo_took));
        true
    }
}
