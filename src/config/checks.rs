//! What can only be seen when all tables are read.

use super::{
    entrance,
    listener::reaches_out,
    queue::late_warning,
    settings::{App, Auth, Bind, ClientCertificate, DomainMailbox, Listener, Queue, UnixUser},
    table::{Reader, Wrong},
    words,
};
use crate::mail::Name;
use ipnet::IpNet;
use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Arc};

/// Two apps that cannot be told apart.
pub(super) fn apps(reader: &Reader<'_>, apps: &BTreeMap<Name, Arc<App>>) {
    let mut users: BTreeMap<&str, &Name> = BTreeMap::new();
    let mut networks: BTreeMap<IpNet, &Name> = BTreeMap::new();
    let mut certificates: BTreeMap<&ClientCertificate, &Name> = BTreeMap::new();
    let mut unix_users: BTreeMap<u32, &Name> = BTreeMap::new();
    for app in apps.values() {
        if let Some(first) = users.insert(&app.user, &app.name) {
            let hint = "user names are compared without case; give one of them another `user`";
            reader.fault(
                &["app", app.name.as_str(), "user"],
                Wrong::new(format!("app `{first}` has the user name `{}`, too", app.user), hint),
            );
        }
        for certificate in &app.certificates {
            if let Some(first) = certificates.insert(certificate, &app.name).filter(|first| *first != &app.name) {
                let message = format!("app `{first}` has the same certificate");
                let hint = "one certificate proves one app; give each its own";
                reader.fault(&["app", app.name.as_str(), "certificate"], Wrong::new(message, hint));
            }
        }
        for UnixUser { name, uid } in &app.unix_users {
            if let Some(first) = uid.and_then(|uid| unix_users.insert(uid, &app.name)).filter(|first| *first != &app.name) {
                let message = format!("app `{first}` has the user `{name}`, too");
                reader.fault(&["app", app.name.as_str(), "unix-user"], Wrong::new(message, "one user is one app"));
            }
        }
        for network in &app.networks {
            if let Some(first) = networks.insert(*network, &app.name).filter(|first| *first != &app.name) {
                let hint = "the most specific network wins, but these are equal; name each device's own address";
                reader.fault(
                    &["app", app.name.as_str(), "networks"],
                    Wrong::new(format!("app `{first}` has the network {network}, too"), hint),
                );
            }
        }
    }
}

/// Who may send as everybody in a domain has to be told whom it may send as.
pub(super) fn domains(reader: &Reader<'_>, domains: &BTreeMap<Name, Arc<DomainMailbox>>, apps: &BTreeMap<Name, Arc<App>>) {
    for app in apps.values().filter(|app| app.allowed_from.is_none()) {
        if let Some(domain) = app.mailbox.named().iter().find_map(|name| domains.get(name)) {
            let message = format!(
                "`{}` sends as every address of {}: the app has to name those that it may use",
                domain.common().name,
                domain.domain
            );
            let hint = format!("write allowed-from = [\"scanner@{0}\"], or [\"*@{0}\"] for all", domain.domain);
            reader.fault(&["app", app.name.as_str(), "allowed-from"], Wrong::new(message, hint));
        }
    }
}

/// Apps that want a warning after the bounce. One that inherits the queue's warning and expires sooner has just none.
pub(super) fn warnings(reader: &Reader<'_>, queue: &Queue, apps: &BTreeMap<Name, Arc<App>>) {
    for app in apps.values() {
        let expire_after = app.expire_after.unwrap_or(queue.expire_after);
        if let Some(wrong) = app.warn_after.and_then(|warn_after| late_warning(warn_after, expire_after)) {
            reader.fault(&["app", app.name.as_str(), "warn-after"], wrong);
        }
    }
}

/// Listeners that take each other's port, and those that nobody or everybody could use.
pub(super) fn listeners(reader: &Reader<'_>, listeners: &BTreeMap<Name, Arc<Listener>>, apps: &BTreeMap<Name, Arc<App>>) {
    let all: Vec<_> = listeners.values().collect();
    for (index, listener) in all.iter().enumerate() {
        if let Some(first) = all[..index].iter().find(|first| collide(first, listener)) {
            let hint = match listener.bind {
                Bind::Tcp(_) => "give one of them another port",
                Bind::Unix(_) | Bind::Passed(_) => "give one of them another socket",
            };
            let message = format!("listener `{}` is bound to {}, too", first.name, first.bind);
            reader.fault(&["listener", listener.name.as_str(), "bind"], Wrong::new(message, hint));
        }
        // Who may use a Unix socket is said by its mode; who has a client certificate, by who issues them.
        let has_certificates = listener.tls.files().is_some_and(|files| files.client_ca.is_some());
        let by_certificate = has_certificates && apps.values().any(|app| !app.certificates.is_empty());
        if listener.auth == Auth::None && !matches!(listener.bind, Bind::Unix(_)) && !by_certificate {
            without_passwords(reader, listener, apps);
        }
    }
}

/// Apps that no listener lets in. Those that are switched off need none, and a listener may come: so it is no fault.
pub(super) fn ways_in(
    reader: &Reader<'_>,
    listeners: &BTreeMap<Name, Arc<Listener>>,
    apps: &BTreeMap<Name, Arc<App>>,
    drop: &Path,
) {
    for app in apps.values().filter(|app| app.enabled) {
        let leaves_files = !app.unix_users.is_empty() && drop.is_dir();
        let shown = entrance::shown(app, !app.passwords.is_empty());
        let takes = |listener: &Arc<Listener>| shown.iter().any(|shown| entrance::lets_in(listener, *shown).is_ok());
        if leaves_files || listeners.values().any(takes) {
            continue;
        }
        let (key, hint) = match () {
            () if !app.passwords.is_empty() => ("password", "write auth = \"required\" or \"optional\" at a listener"),
            () if !app.networks.is_empty() => {
                ("networks", "add a listener with auth = \"optional\" whose `bind` and `networks` these addresses reach")
            }
            () if !app.certificates.is_empty() => {
                ("certificate", "add a listener with `tls`, `client-ca` and auth = \"optional\"")
            }
            () => ("unix-user", "add a listener with bind = \"unix:/run/outlink/smtp.sock\" and auth = \"optional\""),
        };
        let message = "this app cannot send: no listener lets it in by what proves it";
        reader.note(&["app", app.name.as_str(), key], Wrong::new(message, hint));
    }
}

/// Whether the second `bind` would fail. An unspecified address takes the port on all addresses of its kind.
fn collide(left: &Listener, right: &Listener) -> bool {
    let (left, right) = match (&left.bind, &right.bind) {
        (Bind::Tcp(left), Bind::Tcp(right)) => (left, right),
        (left, right) => return left == right,
    };
    let takes_all = |ip: IpAddr| ip.is_unspecified();
    let same_kind = left.is_ipv4() == right.is_ipv4();
    left.port() != 0
        && left.port() == right.port()
        && (left.ip() == right.ip() || same_kind && (takes_all(left.ip()) || takes_all(right.ip())))
}

/// Where AUTH is not offered, only an app's own networks tell who is who.
fn without_passwords(reader: &Reader<'_>, listener: &Listener, apps: &BTreeMap<Name, Arc<App>>) {
    let path = ["listener", listener.name.as_str(), "auth"];
    let mut own = apps.values().flat_map(|app| &app.networks);
    let overlap =
        |network: &IpNet| listener.networks.iter().any(|allowed| allowed.contains(network) || network.contains(allowed));
    let known: Vec<_> = own.by_ref().filter(|network| overlap(network)).collect();
    let outside = listener.networks.iter().filter(|network| !words::is_loopback(network));
    let open: Vec<_> = outside
        .filter(|allowed| {
            let meets = |network: &IpNet| network.contains(*allowed) || allowed.contains(network);
            !known.iter().any(|network| !words::is_loopback(network) && meets(network))
        })
        .map(IpNet::to_string)
        .collect();
    if reaches_out(listener) && !open.is_empty() {
        let message =
            format!("this listener is open to {} without a password, and no app has networks of its own there", open.join(", "));
        let hint =
            "write auth = \"required\", or give the apps their `networks`, or allow only loopback in the listener's `networks`";
        reader.fault(&path, Wrong::new(message, hint));
    } else if known.is_empty() {
        let hint = "write auth = \"required\", or give an app `networks` that this listener lets in";
        reader.note(&path, Wrong::new("nobody can send here: AUTH is not offered and no app has networks of its own", hint));
    }
}
