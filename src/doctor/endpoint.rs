//! A link's token endpoint, as far as it can be seen without a credential: name, ways, proxy, certificate, and its clock.

use super::{
    finding::{Finding, Of},
    network::{found, look_up, reach},
    words::Names,
};
use crate::{
    config::Link,
    mail::Advice,
    provider::advice_named,
    tls::{self, Certificate, Proxy},
};
use chrono::{DateTime, Utc};
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// The checks of a token endpoint, in their order.
pub(super) const CHECKS: [&str; 5] = ["endpoint-name", "endpoint-route", "proxy", "endpoint-tls", "clock"];

/// For one answer; token endpoints need less than a second.
const ANSWER: Duration = Duration::from_secs(5);

/// A clock that is off by so much makes what is signed look wrong soon.
const SKEW: Duration = Duration::from_secs(60);

/// By so much it does: Microsoft and Google allow five minutes.
const TOO_MUCH: Duration = Duration::from_secs(300);

/// What was found, and whether a token can be asked for there.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) findings: Vec<Finding>,
    pub(super) answers: bool,
}

/// Examines the token endpoint of `link`, to which `way` leads.
pub(super) async fn examine(of: &Of, link: &Link, way: Result<Proxy, (String, Advice)>) -> Endpoint {
    let names = Names::of(link, None);
    let proxy = match way {
        Ok(proxy) => proxy,
        Err((reason, advice)) => {
            let finding =
                names.advise(of.failed("proxy", "the proxy cannot be used as it is configured"), &advice, Some(&reason));
            return Endpoint { findings: vec![finding], answers: false };
        }
    };
    let look = Look { of, names, link, endpoint: &link.token_endpoint, findings: Vec::new() };
    look.run(&proxy).await
}

struct Look<'a> {
    of: &'a Of,
    names: Names,
    link: &'a Link,
    endpoint: &'a Url,
    findings: Vec<Finding>,
}

impl Look<'_> {
    async fn run(mut self, proxy: &Proxy) -> Endpoint {
        let through = proxy.before(self.endpoint.as_str());
        let answers = match &through {
            Some(through) => self.ways_to(through, ("proxy", "proxy"), "check `proxy` of the link, or HTTPS_PROXY").await,
            None => {
                let (host, port) =
                    (self.endpoint.host_str().unwrap_or_default(), self.endpoint.port_or_known_default().unwrap_or(443));
                let checks = ("endpoint-name", "endpoint-route");
                self.ways_to(&format!("{host}:{port}"), checks, "let this machine out to that host and port").await
            }
        };
        let answers = answers && self.ask(proxy, through.as_deref()).await;
        Endpoint { findings: self.findings, answers }
    }

    /// The name and every way to it.
    async fn ways_to(&mut self, to: &str, (name_check, route_check): (&str, &str), step: &str) -> bool {
        let (of, begun) = (self.of, Instant::now());
        let Some((host, port)) = to.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) else {
            return true;
        };
        let is_proxy = name_check == route_check;
        let said = |why: &str| if is_proxy { format!("through the proxy {to}: {why}") } else { why.to_owned() };
        let addresses = match look_up(host, port).await {
            Ok(addresses) => addresses,
            Err(why) => {
                let finding = of.failed(name_check, format!("{host} cannot be looked up"));
                self.findings.push(self.names.network(finding, &said(&why), "check the name, and this machine's name servers"));
                return false;
            }
        };
        if !is_proxy {
            self.findings.push(of.good(name_check, found(host, &addresses)).took(begun.elapsed()));
        }
        let ways = reach(&addresses).await;
        let finding = match (ways.open.first(), ways.dead.is_empty()) {
            (Some((address, _, took)), true) => of.good(route_check, format!("{to} answers at {address}")).took(*took),
            (Some((address, _, took)), false) => {
                partly(of, route_check, &ways.dead_in_words(), (&address.to_string(), ways.is_only_v6_dead())).took(*took)
            }
            (None, _) => {
                let finding = of.failed(route_check, format!("{}{to} does not answer", if is_proxy { "the proxy " } else { "" }));
                self.names.network(finding, &said(&ways.dead_in_words()), step)
            }
        };
        let good = !finding.is_failed();
        // A proxy that answers is told once more with what it does.
        if !(is_proxy && good) {
            self.findings.push(finding);
        }
        good
    }

    /// One request without a credential: what counts is who answers, and what time it is there.
    async fn ask(&mut self, proxy: &Proxy, through: Option<&str>) -> bool {
        let of = self.of;
        let (client, seen) = match tls::watching_client(self.link.ca_file.as_deref(), proxy, ANSWER) {
            Ok(made) => made,
            Err(why) => {
                let finding = of.failed("endpoint-tls", "no HTTPS client can be made");
                self.findings.push(self.names.network(finding, &why.to_string(), "mend what the reason names"));
                return false;
            }
        };
        let begun = Instant::now();
        let answer = client.get(self.endpoint.clone()).send().await;
        let took = begun.elapsed();
        let certificate = seen.certificate();
        match answer {
            Err(error) => {
                let is_tls =
                    certificate.is_some() || through.is_none() && self.endpoint.scheme() == "https" && error.is_connect();
                let said = chain(&error.without_url());
                self.findings.push(match (is_tls, through) {
                    (true, _) => self.untrusted(&said, certificate.as_ref()),
                    (false, Some(through)) => self.refused_by(through, &said),
                    (false, None) => {
                        let finding = of.failed("endpoint-route", format!("{} does not answer HTTP", host_of(self.endpoint)));
                        self.names.network(finding, &said, "check `token-endpoint` of the link, and who answers there")
                    }
                });
                false
            }
            Ok(answer) if answer.status() == reqwest::StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                let through = through.unwrap_or("a proxy");
                self.findings.push(self.refused_by(through, "proxy authentication required"));
                false
            }
            Ok(answer) => {
                if let Some(through) = through {
                    self.findings
                        .push(of.good("proxy", format!("the proxy {through} leads to {}", host_of(self.endpoint))).took(took));
                }
                if let Some(certificate) = &certificate {
                    self.findings.push(of.good("endpoint-tls", trusted(certificate)).took(took));
                }
                let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
                self.findings.extend(self.clock(date, SystemTime::now()));
                true
            }
        }
    }

    fn untrusted(&self, said: &str, certificate: Option<&Certificate>) -> Finding {
        let shown = certificate.map(|certificate| format!("; {}", in_words(certificate))).unwrap_or_default();
        let finding = self.of.failed("endpoint-tls", format!("no trusted TLS connection to {}{shown}", host_of(self.endpoint)));
        self.names.network(finding, said, "name the issuer's certificate as `ca-file` of the link, if it is yours")
    }

    fn refused_by(&self, proxy: &str, said: &str) -> Finding {
        let finding = self.of.failed("proxy", format!("the proxy {proxy} does not lead to {}", host_of(self.endpoint)));
        let said = format!("could not be asked through the proxy {proxy}: {said}");
        self.names.network(finding, &said, "set proxy-user and proxy-password of the link, or let the proxy allow this host")
    }

    fn clock(&self, date: Option<&str>, now: SystemTime) -> Option<Finding> {
        let theirs: SystemTime = DateTime::parse_from_rfc2822(date?).ok()?.into();
        let (apart, word) = match now.duration_since(theirs) {
            Ok(ahead) => (ahead, "ahead of"),
            Err(behind) => (behind.duration(), "behind"),
        };
        // The header knows only whole seconds, and the answer was on its way.
        if apart <= SKEW {
            return Some(self.of.good("clock", format!("within {} s of {}'s", apart.as_secs() + 1, host_of(self.endpoint))));
        }
        let what =
            format!("this machine's clock is {} {word} the clock of {}", crate::relay::span(apart), host_of(self.endpoint));
        let finding = if apart > TOO_MUCH { self.of.failed("clock", what) } else { self.of.warning("clock", what) };
        let times = |time| DateTime::<Utc>::from(time).format("%Y-%m-%d %H:%M:%S UTC");
        let said = format!("here it is {}, there {}", times(now), times(theirs));
        Some(match advice_named("clock") {
            Some(entry) => self.names.explain(finding, entry, Some(&said)),
            None => finding.why(said),
        })
    }
}

/// Some addresses are dead, which costs mail no more than a moment.
pub(super) fn partly(of: &Of, check: &str, dead: &str, (open, only_v6): (&str, bool)) -> Finding {
    let (what, fix) = match only_v6 {
        true => (
            format!("IPv6 is dead, IPv4 works: {open} answers"),
            "nothing to do: every address of a name is tried; to be rid of it, take this machine's IPv6 addresses away or mend its route \
             (`ip -6 route`)",
        ),
        false => (
            format!("some addresses are dead, {open} answers"),
            "nothing to do unless it lasts: every address of a name is tried",
        ),
    };
    of.warning(check, what).why(dead).fix(fix)
}

/// A certificate that was trusted.
pub(super) fn trusted(certificate: &Certificate) -> String {
    format!("trusted: {}", in_words(certificate))
}

/// Whose, by whom, until when.
pub(super) fn in_words(Certificate { names, issuer, not_before, not_after }: &Certificate) -> String {
    let day = |time: &SystemTime| DateTime::<Utc>::from(*time).format("%Y-%m-%d");
    let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
    format!("certificate for {names}, issued by {issuer}, valid from {} to {}", day(not_before), day(not_after))
}

fn host_of(endpoint: &Url) -> &str {
    endpoint.host_str().unwrap_or("the endpoint")
}

/// The error with its causes: what helps is at the end of the chain.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
