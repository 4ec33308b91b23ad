//! `[mailbox.NAME]`: one sending identity, filled up from the preset of its link.

use super::{
    settings::{Allowed, DomainMailbox, Link, Mailbox, Server, WhenFromDiffers},
    table::{Table, Wrong},
    words,
};
use crate::{
    mail::{Address, Name},
    provider::{self, Chunking, Grant, Limits, NullSender, Provider, TlsMode},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The word that stands for "by sender" where an app names its mailbox.
pub(super) const BY_SENDER: &str = "by-sender";

/// Addresses that a mailbox for a whole domain sends for at the same time.
const ADDRESSES: i64 = 1000;
/// The most that can be configured: each has its own connections, limits and state in memory.
const MOST_ADDRESSES: i64 = 10_000;

/// One address, or all of a domain.
pub(super) enum Found {
    One(Arc<Mailbox>),
    Domain(Arc<DomainMailbox>),
}

/// What the key `address` says.
enum Addresses {
    One(Address),
    Domain(String),
}

/// Reads one; `declared` are all links that the text has, `links` those without a fault.
pub(super) fn read(
    name: Name,
    table: &mut Table<'_>,
    links: &BTreeMap<Name, Arc<Link>>,
    declared: &BTreeSet<Name>,
) -> Option<Found> {
    for (key, hint) in [("link", "name the link that authorises it"), ("address", "write address = \"alerts@example.com\"")] {
        if !table.has(key) {
            table.missing(key, hint);
        }
    }
    if name.as_str() == BY_SENDER {
        table.fault_here("this name means something else where an app names its mailbox");
    }
    let link = table.text("link").and_then(|link| reference(table, "link", &link, declared));
    let address = table.parsed("address", |text| match words::whole_domain(text) {
        Some(domain) => Ok(Addresses::Domain(domain)),
        None => words::address(text).map(Addresses::One),
    });
    let addresses = take_addresses(table, address.as_ref());
    let xoauth2_user = table.parsed("xoauth2-user", words::word);
    let account = table.parsed("account", words::address);
    let server_given = table.has("server");
    let server = table.parsed("server", words::server);
    let tls = table.choice("tls", &[("starttls", TlsMode::Starttls), ("implicit", TlsMode::Implicit)]);
    let chunking = table.choice("chunking", &[("auto", Chunking::Auto), ("off", Chunking::Off)]);
    let null_sender = table.choice("null-sender", &[("keep", NullSender::Keep), ("mailbox", NullSender::Mailbox)]);
    let limits = table.table("limits").map(|mut limits| read_limits(&mut limits)).unwrap_or_default();
    let allowed_from = table.list("allowed-from", words::sender_pattern);
    let when_from_differs = take_when_from_differs(table);
    table.finish();

    let (link_name, address) = (link?, address?);
    let link = links.get(&link_name)?;
    let (address, domain) = match address {
        Addresses::One(address) => (address, None),
        Addresses::Domain(domain) => (Address::parse(&format!("*@{domain}")).ok()?, Some(domain)),
    };
    if domain.is_some() && !matches!(link.grant, Grant::ClientCredentials | Grant::ServiceAccount) {
        let message = format!("`{address}` stands for many addresses, and a grant of `{}` is for one", link.grant);
        let hint = "write one address, or use a link with grant = \"client-credentials\" or \"service-account\"";
        table.fault("address", Wrong::new(message, hint));
        return None;
    }
    let preset = provider::preset(link.provider, link.cloud, link.tenant.as_deref(), link.grant, address.as_str());
    let tls = tls.unwrap_or_else(|| usual_tls(server.as_ref(), preset.tls));
    let preset_server = preset.server.as_deref().and_then(|server| words::server(server).ok());
    let server = if server_given { server } else { preset_server };
    if server.is_none() && !server_given {
        table.missing("server", "write host and port, such as server = \"smtp.example.com:587\"");
    }
    let server = server?;
    check_port(table, link.provider, &server, tls);
    let own_alone = Allowed::new(vec![address.as_str().to_ascii_lowercase()]);
    let allowed_from = allowed_from.map(Allowed::new);
    let mailbox = Mailbox {
        name,
        link: link_name,
        provider: link.provider,
        xoauth2_user: xoauth2_user.unwrap_or_else(|| address.as_str().to_owned()),
        account,
        server,
        tls,
        chunking: chunking.unwrap_or(preset.chunking),
        limits: limits.over(preset.limits),
        null_sender: null_sender.unwrap_or(preset.null_sender),
        allowed_from: allowed_from.clone().unwrap_or(own_alone),
        when_from_differs,
        ca_file: link.ca_file.clone(),
        address,
    };
    Some(match domain {
        None => Found::One(mailbox.into()),
        Some(domain) => Found::Domain(DomainMailbox { common: mailbox, domain, allowed_from, addresses: addresses? }.into()),
    })
}

/// `addresses`, and the keys that make no sense for a whole domain.
fn take_addresses(table: &mut Table<'_>, address: Option<&Addresses>) -> Option<usize> {
    let is_domain = matches!(address, Some(Addresses::Domain(_)));
    if is_domain {
        for key in ["xoauth2-user", "account"] {
            if table.has(key) {
                table.fault(
                    key,
                    Wrong::new("this is one user, and the mailbox stands for many", "leave it out: each address is its own user"),
                );
            }
        }
    } else if address.is_some() && table.has("addresses") {
        table.fault(
            "addresses",
            Wrong::new("this mailbox has one address", "leave the key out, or write address = \"*@example.com\""),
        );
    }
    match table.has("addresses") {
        true => table.number("addresses", 1..=MOST_ADDRESSES),
        false => usize::try_from(ADDRESSES).ok(),
    }
}

/// The name of something that the configuration has to declare, or a fault with the nearest that it does.
pub(super) fn reference(table: &Table<'_>, key: &str, text: &str, declared: &BTreeSet<Name>) -> Option<Name> {
    let name = Name::parse(text).ok().filter(|name| declared.contains(name));
    if name.is_none() {
        let known: Vec<_> = declared.iter().map(|name| format!("`{name}`")).collect();
        let kind = if key == "fallback" { "mailbox" } else { key };
        let hint = match known.is_empty() {
            true => format!("add a table [{kind}.{text}]"),
            false => format!("configured are {}; or add a table [{kind}.{text}]", known.join(", ")),
        };
        table.fault(key, Wrong::new(format!("there is no {kind} `{text}`"), hint));
    }
    name
}

fn take_when_from_differs(table: &mut Table<'_>) -> WhenFromDiffers {
    let words = [("keep", WhenFromDiffers::Keep), ("rewrite", WhenFromDiffers::Rewrite), ("refuse", WhenFromDiffers::Refuse)];
    table.choice("when-from-differs", &words).unwrap_or(WhenFromDiffers::Keep)
}

/// Port 465 is TLS from the first byte everywhere (RFC 8314 §3.3), 587 and 25 are STARTTLS; without a server of its own the
/// mailbox takes the preset's.
fn usual_tls(server: Option<&Server>, preset: TlsMode) -> TlsMode {
    match server {
        Some(server) if server.port == 465 => TlsMode::Implicit,
        Some(server) if matches!(server.port, 25 | 587) => TlsMode::Starttls,
        _ => preset,
    }
}

/// Pairs of port and TLS that hang until a time-out.
fn check_port(table: &Table<'_>, provider: Provider, server: &Server, tls: TlsMode) {
    let usual = usual_tls(Some(server), tls);
    if usual != tls {
        let word = if usual == TlsMode::Implicit { "implicit" } else { "starttls" };
        table.note("tls", format!("servers on port {} usually want tls = \"{word}\"", server.port));
    }
    if provider == Provider::Microsoft && server.port == 465 {
        table.note("server", "Exchange Online does not offer port 465, only 587 with STARTTLS");
    }
}

/// What the table of limits says.
#[derive(Default)]
struct GivenLimits {
    connections: Option<u32>,
    messages_per_connection: Option<u32>,
    messages_per_minute: Option<u32>,
    messages_per_day: Option<u32>,
    recipients_per_day: Option<u32>,
    recipients_per_message: Option<u32>,
}

impl GivenLimits {
    fn over(self, preset: Limits) -> Limits {
        Limits {
            connections: self.connections.unwrap_or(preset.connections),
            messages_per_connection: self.messages_per_connection.unwrap_or(preset.messages_per_connection),
            messages_per_minute: self.messages_per_minute.unwrap_or(preset.messages_per_minute),
            messages_per_day: self.messages_per_day.unwrap_or(preset.messages_per_day),
            recipients_per_day: self.recipients_per_day.unwrap_or(preset.recipients_per_day),
            recipients_per_message: self.recipients_per_message.unwrap_or(preset.recipients_per_message),
        }
    }
}

fn read_limits(table: &mut Table<'_>) -> GivenLimits {
    /// Beyond what any provider gives.
    const MOST: i64 = 100_000_000;
    let limits = GivenLimits {
        connections: table.number("connections", 0..=1000),
        messages_per_connection: table.number("messages-per-connection", 0..=MOST),
        messages_per_minute: table.number("messages-per-minute", 0..=MOST),
        messages_per_day: table.number("messages-per-day", 0..=MOST),
        recipients_per_day: table.number("recipients-per-day", 0..=MOST),
        recipients_per_message: table.number("recipients-per-message", 0..=100_000),
    };
    table.finish();
    limits
}
