//! What can be seen of a link and a mailbox without asking anybody: values that look like something else, and ends that are near.
//! Pure.

use super::{
    claims::is_guid,
    finding::{Finding, Of},
    words::Names,
};
use crate::{
    config::{Evidence, Link, Mailbox},
    provider::{Grant, Provider, TlsMode, advice_named},
};
use chrono::{DateTime, NaiveDate, Utc};
use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

/// The check of what proves the client.
pub(super) const CLIENT: &str = "client";

/// The check of a mailbox's own keys.
pub(super) const SETTINGS: &str = "settings";

/// The check of the name in EHLO.
pub(super) const HOSTNAME: &str = "hostname";

/// An end is told this long before.
const SOON: Duration = Duration::from_secs(60 * 24 * 3600);

/// What is odd about the link's client; `evidence` is what proves it.
pub(super) fn client(of: &Of, link: &Link, evidence: &Evidence, now: SystemTime) -> Finding {
    let names = Names::of(link, None);
    match evidence {
        Evidence::Secret { secret, .. } if link.provider == Provider::Microsoft && is_guid(secret.expose()) => {
            let finding = of.warning(CLIENT, "the client secret has the form of an id, which no secret of Microsoft has");
            match advice_named("microsoft-secret-wrong") {
                Some(entry) => names.explain(finding, entry, None),
                None => finding,
            }
        }
        Evidence::Secret { .. } => secret_end(of, link, today(now)),
        Evidence::Identity(identity) => match identity.certificate() {
            Some(certificate) => certificate_end(of, link, (certificate.not_before, certificate.not_after), now),
            None => of.good(CLIENT, "the private key can be read"),
        },
        Evidence::ServiceAccount(account) => of.good(CLIENT, format!("the key of service account {} can be read", account.email)),
        Evidence::Assertion(_) => of.good(CLIENT, "the federated token can be read"),
        Evidence::None if link.grant == Grant::ClientCredentials => of.warning(CLIENT, "client credentials without a proof"),
        Evidence::None => of.good(CLIENT, "a public client: its id alone counts"),
    }
}

fn secret_end(of: &Of, link: &Link, today: NaiveDate) -> Finding {
    let Some(end) = link.client_secret_expires else { return of.good(CLIENT, "the client secret can be read") };
    let left = (end - today).num_days();
    let renew = format!(
        "make a new secret for {} at the provider, give it to link {}, and set client-secret-expires",
        link.client_id, link.name
    );
    match left {
        ..0 => of.warning(CLIENT, format!("client-secret-expires says that the secret ended on {end}")).fix(renew),
        0..=60 => of.warning(CLIENT, format!("the client secret ends on {end}, in {left} days")).fix(renew),
        _ => of.good(CLIENT, format!("the client secret can be read, and counts until {end}")),
    }
}

fn certificate_end(of: &Of, link: &Link, (first, last): (SystemTime, SystemTime), now: SystemTime) -> Finding {
    let day = |time| DateTime::<Utc>::from(time).format("%Y-%m-%d");
    let renew =
        format!("make a new certificate, upload it for {} at the provider, and give it to link {}", link.client_id, link.name);
    if now < first {
        let fix = "compare this machine's clock with the true time; else make a certificate that counts now";
        of.warning(CLIENT, format!("the client's certificate counts only from {}", day(first))).fix(fix)
    } else if now > last {
        of.warning(CLIENT, format!("the client's certificate ended on {}", day(last))).fix(renew)
    } else if now + SOON > last {
        of.warning(CLIENT, format!("the client's certificate ends on {}", day(last))).fix(renew)
    } else {
        of.good(CLIENT, format!("the client's certificate can be read, and counts until {}", day(last)))
    }
}

fn today(now: SystemTime) -> NaiveDate {
    DateTime::<Utc>::from(now).date_naive()
}

/// What does not fit together in a mailbox; `None` where nothing is odd.
pub(super) fn mailbox(of: &Of, mailbox: &Mailbox) -> Option<Finding> {
    let host = mailbox.server.host.to_ascii_lowercase();
    let is_google = host.ends_with("gmail.com") || host.ends_with("google.com");
    let is_microsoft = host.contains("office365") || host.ends_with("outlook.com") || host.ends_with("outlook.cn");
    let other = match mailbox.provider {
        Provider::Google if is_microsoft => Some("Microsoft"),
        Provider::Microsoft if is_google => Some("Google"),
        _ => None,
    };
    if let Some(other) = other {
        let what = format!("`server` is {}, which is {other}'s, and the link's provider is {}", mailbox.server, mailbox.provider);
        return Some(of.warning(SETTINGS, what).fix("leave `server` of the mailbox out: the provider's own is filled in"));
    }
    let wanted = match (mailbox.server.port, mailbox.tls) {
        (465, TlsMode::Starttls) => "implicit",
        (587 | 25, TlsMode::Implicit) => "starttls",
        _ => return None,
    };
    let what = format!("`tls` does not fit port {}", mailbox.server.port);
    Some(of.warning(SETTINGS, what).fix(format!("set tls = \"{wanted}\" of mailbox {}", mailbox.name)))
}

/// Whether providers take `hostname` in EHLO.
pub(super) fn hostname(hostname: &str) -> Finding {
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let inside = hostname.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = inside.is_some_and(|text| text.strip_prefix("IPv6:").unwrap_or(text).parse::<IpAddr>().is_ok());
    let is_full = hostname.split('.').count() > 1 && hostname.split('.').all(is_label);
    let is_local = hostname == "localhost" || hostname.ends_with(".localdomain") || hostname == "[127.0.0.1]";
    let of = Of::default();
    match (is_full || is_address) && !is_local {
        true => of.good(HOSTNAME, format!("EHLO says {hostname}")),
        false => of
            .warning(HOSTNAME, format!("EHLO says {hostname}, which is no full name of a host; providers refuse such names"))
            .fix("set `hostname` in the configuration to a full name such as relay.example.com that belongs to you")
            .named("ehlo-name"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Status, *};
    use crate::{config::SecretMethod, secret::Secret};
    use std::sync::Arc;

    fn parts(provider: &str, link: &str, mailbox: &str) -> (Arc<Link>, Arc<Mailbox>) {
        let text = format!(
            "[link.l]\nprovider = \"{provider}\"\ngrant = \"authorization-code\"\nclient-id = \"id\"\n\
             client-secret = {{ env = \"S\" }}\n{link}\n[mailbox.m]\nlink = \"l\"\naddress = \"m@b.example\"\n{mailbox}"
        );
        let variables = [("S".to_owned(), "x".to_owned())].into();
        let (settings, _) = crate::config::parse(&text, &variables).unwrap_or_else(|faults| panic!("{faults:?}"));
        (settings.links.values().next().unwrap().clone(), settings.mailboxes.values().next().unwrap().clone())
    }

    #[test]
    fn a_secret_that_is_an_id_and_ends_that_are_near_are_told() {
        let now = SystemTime::from(DateTime::parse_from_rfc3339("2026-11-24T12:00:00Z").unwrap());
        let id = "5c2fbd39-7a3c-4f0e-9d9a-2f2f0f6b8a11";
        let rows = [
            ("microsoft", "", id, Status::Warning, "form of an id"),
            ("google", "", id, Status::Ok, "can be read"),
            ("microsoft", "", "aB8~secret", Status::Ok, "can be read"),
            ("microsoft", "client-secret-expires = 2026-11-23", "aB8~secret", Status::Warning, "ended on 2026-11-23"),
            ("microsoft", "client-secret-expires = 2026-12-24", "aB8~secret", Status::Warning, "in 30 days"),
            ("microsoft", "client-secret-expires = 2027-12-24", "aB8~secret", Status::Ok, "2027-12-24"),
        ];
        for (provider, lines, secret, status, what) in rows {
            let tenant = if provider == "microsoft" { "tenant = \"b.example\"\n" } else { "" };
            let (link, _) = parts(provider, &format!("{tenant}{lines}"), "");
            let evidence = Evidence::Secret { secret: Secret::new(secret.into()), method: SecretMethod::Post };
            let finding = client(&Of::default(), &link, &evidence, now);
            assert!(finding.status == status && finding.what.contains(what), "{lines} {finding:?}");
            assert!(!format!("{finding:?}").contains(secret));
        }
    }

    #[test]
    fn servers_and_names_that_do_not_fit_are_told() {
        let rows = [
            ("google", "", None),
            ("google", "server = \"smtp.gmail.com:587\"\ntls = \"starttls\"", None),
            ("google", "server = \"smtp.gmail.com:465\"\ntls = \"starttls\"", Some("implicit")),
            ("google", "server = \"smtp.gmail.com:587\"\ntls = \"implicit\"", Some("starttls")),
            ("google", "server = \"smtp.office365.com:587\"\ntls = \"starttls\"", Some("leave `server`")),
            ("google", "server = \"127.0.0.1:4711\"\ntls = \"implicit\"", None),
        ];
        for (provider, lines, fix) in rows {
            let found = mailbox(&Of::default(), &parts(provider, "", lines).1);
            let told = found.as_ref().and_then(|finding| finding.fix.as_deref());
            assert!(
                told.is_some() == fix.is_some() && told.unwrap_or_default().contains(fix.unwrap_or_default()),
                "{lines}: {found:?}"
            );
        }
        for (name, status) in [
            ("relay.example.com", Status::Ok),
            ("[192.0.2.1]", Status::Ok),
            ("[IPv6:2001:db8::1]", Status::Ok),
            ("localhost", Status::Warning),
            ("printer", Status::Warning),
            ("my_host.example.com", Status::Warning),
            ("[127.0.0.1]", Status::Warning),
            ("host.localdomain", Status::Warning),
        ] {
            assert_eq!(hostname(name).status, status, "{name}");
        }
    }
}
