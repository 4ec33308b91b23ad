//! `[app.NAME]`: a legacy application, how it proves itself and where its mail goes.

use super::{
    queue, route,
    settings::{Allowed, AllowedRecipients, App, AppLimits, ClientCertificate, UnixUser},
    table::{Table, Wrong},
    words,
};
use crate::{
    mail::{Address, Name},
    secret::{InvalidHash, PasswordHash},
};
use ipnet::IpNet;
use std::collections::BTreeSet;

/// Passwords of one app: two while rotating, some to spare; each costs a verification.
const MOST_PASSWORDS: usize = 8;

/// The keys of which an app needs one.
const PROOFS: [&str; 4] = ["password", "networks", "certificate", "unix-user"];
/// Where the system names its users (passwd(5)).
const USERS: &str = "/etc/passwd";
/// Stars of one pattern: more are a slip.
const MOST_STARS: usize = 4;

/// Reads one.
pub(super) fn read(name: Name, table: &mut Table<'_>, mailboxes: &BTreeSet<Name>) -> Option<App> {
    let has_proof = PROOFS.iter().any(|key| table.has(key));
    let empty: Vec<_> = PROOFS.into_iter().filter(|key| table.has_empty_list(key)).collect();
    let closed: Vec<_> = ["allowed-from", "allowed-recipients"].into_iter().filter(|key| table.has_empty_list(key)).collect();
    let user = table.parsed("user", words::word).unwrap_or_else(|| name.as_str().to_owned());
    let passwords = table.list("password", password).unwrap_or_default();
    let networks = table.list("networks", words::network).unwrap_or_default();
    let certificates = table.list("certificate", certificate).unwrap_or_default();
    let users = std::fs::read_to_string(USERS).unwrap_or_default();
    let unix_users = table.list("unix-user", |text| unix_user(text, &users)).unwrap_or_default();
    let enabled = table.boolean("enabled").unwrap_or(true);
    let limits = table.table("limits").map_or_else(AppLimits::default, |mut limits| read_limits(&mut limits));
    let allowed_recipients = table.list("allowed-recipients", recipient_pattern).map(AllowedRecipients::new);
    let mailbox = route::read(table, mailboxes);
    let delivery = table.choice("delivery", &words::DELIVERIES);
    let direct_wait = table.duration("direct-wait", words::DIRECT_WAIT);
    let expire_after = table.duration("expire-after", queue::EXPIRY);
    let warn_after = table.duration("warn-after", queue::EXPIRY);
    let repair = table.choice("repair", &words::REPAIRS);
    let bounce_to = table.parsed("bounce-to", words::address);
    let allowed_from = table.list("allowed-from", words::sender_pattern).map(Allowed::new);
    table.finish();

    if !has_proof {
        let hint =
            "add password = \"$argon2id…\" (`outlink app hash` makes one), networks = [\"10.1.2.3\"], certificate or unix-user";
        table.fault_here(Wrong::new("this app has no way to prove itself", hint));
    }
    for key in empty {
        let hint = match key {
            "password" | "networks" => "add a hash or a network, or leave the key out",
            _ => "add what proves the app, or leave the key out",
        };
        table.fault(key, Wrong::new("an empty list proves nothing", hint));
    }
    for key in closed {
        table.fault(key, Wrong::new("an empty list allows nothing", "write enabled = false, or leave the key out to allow all"));
    }
    for (index, user) in unix_users.iter().enumerate().filter(|(_, user)| user.uid.is_none()) {
        let wrong =
            Wrong::new(format!("there is no user `{}` on this machine", user.name), "nobody proves the app by it until a reload");
        table.note_in("unix-user", index, wrong);
    }
    if passwords.len() > MOST_PASSWORDS {
        table.fault("password", format!("an app has at most {MOST_PASSWORDS} passwords"));
    }
    check_networks(table, &networks);
    Some(App {
        name,
        user: user.to_lowercase(),
        enabled,
        passwords,
        networks,
        certificates,
        unix_users,
        limits,
        allowed_from,
        allowed_recipients,
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

fn check_networks(table: &Table<'_>, networks: &[IpNet]) {
    for (index, network) in networks.iter().enumerate() {
        if let Some(least) = words::too_wide(network) {
            let hint = "name the device's address; whoever has one of these addresses could send as this app";
            table.fault_in(
                "networks",
                index,
                Wrong::new(format!("{network} is wider than /{least}: that is an open relay"), hint),
            );
        }
    }
}

/// Reads `sha256:` and a fingerprint as openssl prints it, or a name in the certificate.
fn certificate(text: &str) -> Result<ClientCertificate, Wrong> {
    let hint = "`openssl x509 -in FILE -noout -fingerprint -sha256` prints it";
    if let Some((kind, digits)) = text.split_once(':').filter(|(kind, _)| kind.to_ascii_lowercase().starts_with("sha")) {
        let digits: String = digits.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
        let is_whole = kind.eq_ignore_ascii_case("sha256") && digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        return match is_whole {
            true => Ok(ClientCertificate::Fingerprint(digits)),
            false => Err(Wrong::new(format!("`{text}` is no SHA-256 fingerprint"), hint)),
        };
    }
    match words::word(text)? {
        name if name.contains('*') => {
            Err(Wrong::new(format!("`{name}` stands for many names"), "write one name of the certificate"))
        }
        name => Ok(ClientCertificate::Name(name.to_lowercase())),
    }
}

/// Reads a user's name or number; `users` is the text of /etc/passwd.
fn unix_user(text: &str, users: &str) -> Result<UnixUser, Wrong> {
    let name = words::word(text)?;
    if name.contains(':') {
        return Err(Wrong::new(
            format!("`{name}` is no name of a user"),
            "write a user of this machine, such as \"www-data\", or its number",
        ));
    }
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name.as_str())).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    Ok(UnixUser { uid: named.or_else(|| name.parse().ok()), name })
}

/// Reads a pattern of recipients. A star in a domain stands only for all that is below it: elsewhere it would match more than it seems to.
fn recipient_pattern(text: &str) -> Result<String, Wrong> {
    let hint = "write an address, \"*@example.com\", \"*@*.example.com\", \"team-*@example.com\" or \"*\"";
    let wrong = || Wrong::new(format!("`{text}` is no pattern of recipients"), hint);
    let domain = text.rsplit_once('@').map(|(_, domain)| domain.strip_prefix("*.").unwrap_or(domain));
    let probe = text.replace("@*.", "@").replace('*', "x");
    let is_whole = Address::parse(&probe).is_ok() && domain.is_none_or(|domain| !domain.contains('*'));
    let bare_star = !text.contains('@') && text.contains('*') && text != "*";
    match is_whole && !bare_star && text.matches('*').count() <= MOST_STARS {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(wrong()),
    }
}

fn read_limits(table: &mut Table<'_>) -> AppLimits {
    let limits = AppLimits {
        messages_per_minute: table.number("messages-per-minute", 1..=1_000_000),
        messages_per_day: table.number("messages-per-day", 1..=1_000_000_000),
        recipients: table.number("recipients", 1..=100_000),
        message_size: table.size("message-size", 1 << 10..=1 << 31),
    };
    table.finish();
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_a_fingerprint_or_a_name() {
        let digits = "0123456789abcdef".repeat(4);
        let colons: String = digits.to_uppercase().as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair) + ":").collect();
        for text in [format!("sha256:{digits}"), format!("SHA256:{}", colons.trim_end_matches(':'))] {
            assert_eq!(certificate(&text).unwrap(), ClientCertificate::Fingerprint(digits.clone()), "{text}");
        }
        assert_eq!(certificate("Scanner.Contoso.com").unwrap(), ClientCertificate::Name("scanner.contoso.com".to_owned()));
        for text in ["", "sha256:", "sha256:0123", "sha1:0123", &format!("sha256:{}", "g".repeat(64)), "*.contoso.com"] {
            assert!(certificate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_user_is_found_by_name_or_number() {
        let users = "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nbroken:x\n7:x:1007:7::/:/bin/sh\n";
        let uid = |text: &str| unix_user(text, users).map(|user| user.uid).ok();
        for (text, found) in [
            ("www-data", Some(Some(33))),
            ("1234", Some(Some(1234))),
            ("7", Some(Some(1007))),
            ("nobody-here", Some(None)),
            ("broken", Some(None)),
            ("", None),
            ("a:b", None),
        ] {
            assert_eq!(uid(text), found, "{text}");
        }
    }

    #[test]
    fn patterns_of_recipients_keep_their_stars_in_check() {
        for text in ["*", "a@b.example", "*@b.example", "*@*.b.example", "team-*@b.example", "root", "A*@B.example"] {
            assert_eq!(recipient_pattern(text).unwrap(), text.to_lowercase());
        }
        for text in
            ["", "*@*", "*@b*", "*@b.*", "*@*b.example", "@b.example", "b*", "*****@b.example", "a b@c.example", "*@*.*.b"]
        {
            assert!(recipient_pattern(text).is_err(), "{text}");
        }
    }
}
