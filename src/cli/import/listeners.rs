//! The ports on which email-oauth2-proxy took SMTP: taken over on demand where outlink can do the same, else told with what to write.

use super::{
    super::{
        Failed,
        change::{self, Subject},
    },
    Arguments,
    told::{Became, Item, Report},
};
use crate::{
    config::{
        Bind, Settings,
        write::{Kind, Listener},
    },
    import::Door,
    mail::Name,
};
use std::net::{IpAddr, SocketAddr};

/// What there is without any listener in the configuration: with the first one that is written it would go.
const LOCAL: &str = "local";

/// Takes over what makes sense; why it ended early, if it did.
pub(super) fn take_over(arguments: &Arguments, settings: &Settings, doors: &[Door], report: &mut Report) -> Option<Failed> {
    if let Some(door) = doors.iter().find(|door| !door.is_smtp) {
        let note =
            format!("[{}] and its like carried IMAP or POP, which outlink does not: mail is not read through it", door.section);
        report.notes.push(note);
    }
    let smtp: Vec<&Door> = doors.iter().filter(|door| door.is_smtp).collect();
    let has = |door: &Door| loopback(door).is_some_and(|bind| settings.listeners.values().any(|it| it.bind == Bind::Tcp(bind)));
    for door in smtp.iter().filter(|door| !has(door)) {
        tell(door, arguments.listeners, report);
    }
    let wanted: Vec<(String, SocketAddr)> =
        smtp.iter().filter_map(|door| Some((door.section.to_lowercase(), loopback(door)?))).collect();
    if !arguments.listeners || wanted.is_empty() {
        return None;
    }
    write(arguments, settings, &wanted, report).err()
}

/// Where outlink could listen in its place: on loopback without TLS.
fn loopback(door: &Door) -> Option<SocketAddr> {
    let ip = match door.address {
        None => IpAddr::from([127, 0, 0, 1]),
        Some(ip) => Some(ip).filter(|ip| ip.to_canonical().is_loopback())?,
    };
    (!door.tls).then_some(SocketAddr::new(ip, door.port))
}

fn tell(door: &Door, taken: bool, report: &mut Report) {
    let Door { section, address, port, tls, .. } = door;
    let name = section.to_lowercase();
    let note = match (tls, address) {
        (true, _) => format!(
            "[{section}] spoke TLS to its applications: write [listener.{name}] with tls, certificate and key by hand, or let them come to \
             another listener"
        ),
        (false, Some(ip)) if !ip.to_canonical().is_loopback() => format!(
            "[{section}] listened on {ip}, open to other machines. For applications there write [listener.{name}] with bind = \"{}\", \
             networks = [\"…\"] and allow-plaintext-auth = true",
            SocketAddr::new(*ip, *port)
        ),
        (false, None) if taken => format!(
            "[{section}] listened on all addresses; it is taken over for this machine alone. For applications on other machines write \
             bind = \"0.0.0.0:{port}\", networks = [\"…\"] and allow-plaintext-auth = true into [listener.{name}]"
        ),
        (false, _) if taken => return,
        (false, address) => {
            let ip = address.unwrap_or([127, 0, 0, 1].into());
            format!(
                "[{section}] took SMTP at {}; with --listeners outlink does so, and applications stay as they are",
                SocketAddr::new(ip, *port)
            )
        }
    };
    report.notes.push(note);
}

fn write(arguments: &Arguments, settings: &Settings, wanted: &[(String, SocketAddr)], report: &mut Report) -> Result<(), Failed> {
    let subject = Subject::read(&arguments.config, Kind::Listener)?;
    let names = subject.definitions.names(Kind::Listener);
    let local = settings.listeners.values().find(|it| names.is_empty() && it.name.as_str() == LOCAL);
    let kept = local.and_then(|listener| match &listener.bind {
        Bind::Tcp(bind) => Some((LOCAL.to_owned(), *bind)),
        Bind::Unix(_) | Bind::Passed(_) => None,
    });
    let is_there =
        |bind: &SocketAddr| settings.listeners.values().find(|it| it.bind == Bind::Tcp(*bind)).map(|it| it.name.clone());
    let new: Vec<_> = wanted.iter().filter(|(_, bind)| is_there(bind).is_none()).collect();
    // With nothing else to write, what is there by itself stays so; else it comes first, so that a running daemon never closes it.
    for (name, bind) in kept.iter().filter(|_| !new.is_empty()).chain(new.iter().copied()) {
        let what = bind.to_string();
        let Ok(parsed) = Name::parse(name) else { continue };
        if arguments.dry_run {
            report.add(Item::new("listener", name, Became::Planned).what(what));
            continue;
        }
        let carried = subject.place(&parsed, false).and_then(|place| {
            let text = Listener { bind: *bind }.document(&parsed);
            let done = change::carry_out(&subject, &place, &parsed, Some(text.as_str()))?;
            Ok((place, done))
        });
        match carried {
            Ok((place, done)) => {
                report.add(Item::new("listener", name, Became::Taken).what(what).file(place.file()));
                report.start |= !done.is_taken_up;
            }
            Err(Failed(exit @ (super::Exit::Permission | super::Exit::Temporary), text)) => return Err(Failed(exit, text)),
            Err(Failed(super::Exit::Unavailable, reason)) => {
                let step = "stop the old program, then run this again";
                report.add(Item::left("listener", name, reason, step));
            }
            Err(Failed(_, reason)) => {
                report.add(Item::left("listener", name, reason, "write it by hand, or point its applications to another port"));
            }
        }
    }
    for (_, bind) in wanted {
        if let Some(name) = is_there(bind) {
            report.add(Item::new("listener", name.as_str(), Became::There).what(bind.to_string()));
        }
    }
    Ok(())
}
