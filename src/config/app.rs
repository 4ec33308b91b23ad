//! `[app.NAME]`: a legacy application, how it proves itself and where its mail goes.

use super::{
    mailbox::{BY_SENDER, reference},
    queue,
    settings::App,
    table::{Table, Wrong},
    words,
};
use crate::{
    mail::Name,
    secret::{InvalidHash, PasswordHash},
};
use ipnet::IpNet;
use std::collections::BTreeSet;

/// Widest network that proves an app: a whole company's 10.0.0.0/8; and its like in IPv6, a provider's allocation.
const WIDEST: (u8, u8) = (8, 32);
/// Passwords of one app: two while rotating, some to spare; each costs a verification.
const MOST_PASSWORDS: usize = 8;

/// Reads one.
pub(super) fn read(name: Name, table: &mut Table<'_>, mailboxes: &BTreeSet<Name>) -> Option<App> {
    let (has_password, has_networks) = (table.has("password"), table.has("networks"));
    let has_senders = table.has("allowed-from");
    let empty: Vec<_> = ["password", "networks"].into_iter().filter(|key| table.has_empty_list(key)).collect();
    if !table.has("mailbox") {
        table.missing("mailbox", "name the mailbox that it sends through");
    }
    let user = table.parsed("user", words::word).unwrap_or_else(|| name.as_str().to_owned());
    let passwords = table.list("password", password).unwrap_or_default();
    let networks = table.list("networks", words::network).unwrap_or_default();
    let mailbox = table.text("mailbox").and_then(|mailbox| route(table, &mailbox, mailboxes, has_senders));
    let delivery = table.choice("delivery", &words::DELIVERIES);
    let direct_wait = table.duration("direct-wait", words::DIRECT_WAIT);
    let expire_after = table.duration("expire-after", queue::EXPIRY);
    let warn_after = table.duration("warn-after", queue::EXPIRY);
    let repair = table.choice("repair", &words::REPAIRS);
    let bounce_to = table.parsed("bounce-to", words::address);
    let _ = table.list("allowed-from", words::sender_pattern);
    table.finish();

    if !has_password && !has_networks {
        let hint = "add password = \"$argon2id…\" (`outlink app hash` makes one) or networks = [\"10.1.2.3\"]";
        table.fault_here(Wrong::new("this app has no way to prove itself", hint));
    }
    for key in empty {
        table.fault(key, Wrong::new("an empty list proves nothing", "add a hash or a network, or leave the key out"));
    }
    if passwords.len() > MOST_PASSWORDS {
        table.fault("password", format!("an app has at most {MOST_PASSWORDS} passwords"));
    }
    check_networks(table, &networks);
    if has_senders {
        table.note(
            "allowed-from",
            "this comes in a later version; `outlink run` refuses this; the mailbox's allowed-from is obeyed",
        );
    }
    Some(App {
        name,
        user: user.to_lowercase(),
        passwords,
        networks,
        mailbox: mailbox?,
        delivery,
        direct_wait,
        expire_after,
        warn_after,
        bounce_to,
        repair,
    })
}

/// A hash, never a password in clear. What it says must not repeat the value.
fn password(text: &str) -> Result<PasswordHash, Wrong> {
    PasswordHash::parse(text).map_err(|error| {
        let hint = match error {
            InvalidHash::Clear => "run `outlink app hash`, which asks for the password, and put what it prints here",
            _ => "run `outlink app hash` and put what it prints here",
        };
        Wrong::new(error.to_string(), hint)
    })
}

fn route(table: &Table<'_>, mailbox: &str, mailboxes: &BTreeSet<Name>, has_senders: bool) -> Option<Name> {
    if mailbox != BY_SENDER {
        return reference(table, "mailbox", mailbox, mailboxes);
    }
    table.note("mailbox", "routing by sender comes in a later version; `outlink run` refuses this");
    if !has_senders {
        table.missing("allowed-from", "an app that is routed by sender has to name the senders that it may use");
    }
    Name::parse(mailbox).ok()
}

/// Almost everybody is nobody in particular.
fn check_networks(table: &Table<'_>, networks: &[IpNet]) {
    for (index, network) in networks.iter().enumerate() {
        let least = if matches!(network, IpNet::V4(_)) { WIDEST.0 } else { WIDEST.1 };
        if network.prefix_len() < least {
            let hint = "name the device's address; whoever has one of these addresses could send as this app";
            table.fault_in(
                "networks",
                index,
                Wrong::new(format!("{network} is wider than /{least}: that is an open relay"), hint),
            );
        }
    }
}
