//! `outlink app add`: everything that has to be typed into an application or device, on one screen.

use super::super::{
    Config, Exit, Failed, Outcome,
    change::{self, Subject},
    check,
    out::say,
    question::{self, Person},
};
use crate::{
    config::{
        App, Auth, Bind, Listener, ListenerTls, Settings,
        write::{self, Kind},
    },
    mail::Name,
    secret::{PasswordHash, Secret},
};
use anyhow::Context;
use clap::Args;
use ipnet::IpNet;
use serde_json::json;

/// Digits of a made password (RFC 4648 §6, in lower case): every device can type them, none is taken for another.
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Characters of a made password: what the strictest devices take. Five bits each, 80 in all.
const LENGTH: usize = 16;

/// `outlink app add`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Add {
    /// Its name
    #[arg(value_name = "NAME", value_parser = Name::parse)]
    name: Option<Name>,
    /// The mailbox that it sends through
    #[arg(long, value_name = "MAILBOX", value_parser = Name::parse)]
    mailbox: Option<Name>,
    /// An address or network that proves it without a password; may be given more than once
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<String>,
    /// A client certificate that proves it: sha256:FINGERPRINT or a name in it; may be given more than once
    #[arg(long = "certificate", value_name = "CERTIFICATE")]
    certificates: Vec<String>,
    /// A user of this machine whose processes it is, over a Unix socket; may be given more than once
    #[arg(long = "unix-user", value_name = "USER")]
    unix_users: Vec<String>,
    /// Make a password although another proof is given
    #[arg(long)]
    password: bool,
    /// Its user name, where it is not the app's name: some devices insist on an address
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// What a 250 promises to it: queue, direct or direct-then-queue; by default as its listener has it
    #[arg(long, value_name = "CONTRACT")]
    delivery: Option<String>,
    /// Where its bounces go, where it is not the envelope sender
    #[arg(long, value_name = "ADDRESS")]
    bounce_to: Option<String>,
    /// Write an app anew that a command wrote before; it gets another password
    #[arg(long)]
    replace: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

/// Adds an app.
pub(super) fn add(mut add: Add) -> Outcome {
    let subject = Subject::read(&add.config, Kind::App)?;
    let (settings, _) = check::load(&add.config)?;
    if settings.mailboxes.is_empty() {
        return Err(Failed(Exit::Findings, format!("there is no mailbox yet; `{}` comes first", subject.command("mailbox add"))));
    }
    if let Some(name) = &add.name {
        subject.place(name, add.replace)?;
    }
    let missing = add.missing();
    if !missing.is_empty() {
        add.ask(question::person_for("this", &missing)?, &settings)?;
    }
    let (Some(name), Some(mailbox)) = (&add.name, &add.mailbox) else {
        return Err(Failed(Exit::Usage, format!("this needs {}", add.missing().join(", "))));
    };
    let place = subject.place(name, add.replace)?;
    let password = (!add.has_other_proof() || add.password).then(make).transpose()?;
    let written = write::App {
        user: add.user.clone(),
        password: password.as_ref().map(hash).transpose()?,
        networks: add.networks.clone(),
        certificate: add.certificates.clone(),
        unix_user: add.unix_users.clone(),
        mailbox: mailbox.clone(),
        delivery: add.delivery.clone(),
        bounce_to: add.bounce_to.clone(),
    };
    let done = change::carry_out(&subject, &place, name, Some(written.document(name).as_str()))?;
    let app = Typed::new(&done.settings, name, password.as_ref().map_or(Password::None, Password::Made));
    if add.json {
        done.lines.iter().for_each(|line| eprintln!("{line}"));
        say(app.json(place.file()));
    } else {
        done.lines.iter().for_each(say);
        app.lines().iter().for_each(say);
    }
    Ok(Exit::Good)
}

impl Add {
    fn has_other_proof(&self) -> bool {
        [&self.networks, &self.certificates, &self.unix_users].iter().any(|given| !given.is_empty())
    }

    fn missing(&self) -> Vec<&'static str> {
        let flags = [("NAME", self.name.is_none()), ("--mailbox", self.mailbox.is_none())];
        flags.into_iter().filter_map(|(flag, is_missing)| is_missing.then_some(flag)).collect()
    }

    fn ask(&mut self, person: Person, settings: &Settings) -> Result<(), Failed> {
        if self.name.is_none() {
            let fault = |answer: &str| match Name::parse(answer) {
                Err(error) => Some(error.to_string()),
                Ok(name) => settings.apps.contains_key(&name).then(|| format!("there is an app {name} already")),
            };
            self.name = person.text("Name", None, fault)?.and_then(|answer| Name::parse(&answer).ok());
        }
        if self.mailbox.is_none() {
            let mailboxes: Vec<&Name> = settings.mailboxes.keys().collect();
            self.mailbox = Some(mailboxes[person.choose("Mailbox", &mailboxes, 0)?].clone());
        }
        if self.user.is_none() {
            let name = self.name.as_ref().map(Name::as_str);
            self.user = person.text("User name", name, |_| None)?.filter(|user| Some(user.as_str()) != name);
        }
        if !self.has_other_proof() {
            let prompt = "Addresses or networks that need no password (empty: none)";
            let answer = person.text(prompt, None, |_| None)?.unwrap_or_default();
            self.networks = answer.split([' ', ',']).filter(|it| !it.is_empty()).map(str::to_owned).collect();
        }
        Ok(())
    }
}

/// A new password.
pub(in crate::cli) fn make() -> Result<Secret, Failed> {
    let mut octets = [0; LENGTH];
    aws_lc_rs::rand::fill(&mut octets).ok().context("the system gives no random bytes")?;
    // 256 is a multiple of 32: every digit is as likely as another.
    Ok(Secret::new(octets.map(|octet| char::from(DIGITS[usize::from(octet % 32)])).iter().collect()))
}

pub(in crate::cli) fn hash(password: &Secret) -> Result<PasswordHash, Failed> {
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).ok().context("the system gives no random bytes")?;
    Ok(PasswordHash::make(password, &salt).context("cannot hash the password")?)
}

/// How an app proves itself by a password.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum Password<'a> {
    /// It does not.
    None,
    /// By one that was made just now.
    Made(&'a Secret),
    /// By the one that the application has already.
    Kept,
}

/// What is to be typed into the application.
pub(in crate::cli) struct Typed<'a> {
    name: &'a Name,
    user: String,
    /// What proves it where it has no password.
    shown: &'static str,
    password: Password<'a>,
    doors: Vec<Door>,
}

/// A listener as an application sees it.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
struct Door {
    listener: String,
    /// A name or address; where there is no port, what the listener is bound to.
    host: String,
    port: Option<u16>,
    encryption: &'static str,
}

impl<'a> Typed<'a> {
    pub(in crate::cli) fn new(settings: &Settings, name: &'a Name, password: Password<'a>) -> Self {
        let app = settings.apps.get(name);
        let has_password = !matches!(password, Password::None);
        let doors = settings.listeners.values().filter(|it| app.is_some_and(|app| lets_in(it, has_password, app)));
        Self {
            shown: app.map_or("", |app| shown(app)),
            name,
            user: app.map(|app| app.user.clone()).unwrap_or_default(),
            password,
            doors: doors.map(|listener| door(listener, settings)).collect(),
        }
    }

    pub(in crate::cli) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("\nto type into {}:", self.name)];
        for door in &self.doors {
            match door.port {
                Some(port) => {
                    lines.push(format!("  host        {}", door.host));
                    lines.push(format!("  port        {port}"));
                }
                None => lines.push(format!("  socket      {}", door.host)),
            }
            lines.push(format!("  encryption  {}", door.encryption));
        }
        if self.doors.is_empty() {
            let text = "  no listener lets it in: it needs one that it can reach ([listener.NAME] in docs/reference.md)";
            lines.push(text.to_owned());
        }
        match self.password {
            Password::Made(password) => {
                lines.push(format!("  user name   {}", self.user));
                lines.push(format!("  password    {}", password.expose()));
                lines.push("\nthe password is shown this once".to_owned());
            }
            Password::Kept => {
                lines.push(format!("  user name   {}", self.user));
                lines.push("  password    the one that it has".to_owned());
            }
            Password::None => lines.push(format!("  no user name, no password: it is known by {}", self.shown)),
        }
        lines
    }

    pub(in crate::cli) fn json(&self, file: &std::path::Path) -> serde_json::Value {
        let password = if let Password::Made(password) = self.password { Some(password.expose()) } else { None };
        let user = if let Password::None = self.password { None } else { Some(&self.user) };
        json!({"app": self.name.as_str(), "user": user, "password": password, "listeners": self.doors, "file": file})
    }
}

/// What an app is known by that gives no password.
fn shown(app: &App) -> &'static str {
    match (app.certificates.is_empty(), app.unix_users.is_empty()) {
        (false, _) => "its certificate",
        (true, false) => "its user on this machine",
        (true, true) => "its address",
    }
}

/// Whether an app that proves itself so can send there.
fn lets_in(listener: &Listener, has_password: bool, app: &App) -> bool {
    let meets = |network: &IpNet| listener.networks.iter().any(|allowed| allowed.contains(network) || network.contains(allowed));
    let is_near = |network: &IpNet| network.addr().is_loopback();
    // What is bound to loopback is reached from this machine alone.
    let reaches = |network: &IpNet| meets(network) && (!listener.bind.is_local() || is_near(network));
    let by_certificate = !app.certificates.is_empty() && listener.tls.files().is_some_and(|files| files.client_ca.is_some());
    let by_user = !app.unix_users.is_empty() && matches!(listener.bind, Bind::Unix(_) | Bind::Passed(_));
    let is_known = app.networks.iter().any(reaches) || by_certificate || by_user;
    has_password && listener.auth != Auth::None || listener.auth != Auth::Required && is_known
}

fn door(listener: &Listener, settings: &Settings) -> Door {
    let machine = || settings.hostname.clone().or_else(|| Some(hostname::get().ok()?.to_string_lossy().into_owned()));
    let (host, port) = match &listener.bind {
        Bind::Tcp(address) if address.ip().is_unspecified() => (machine(), Some(address.port())),
        Bind::Tcp(address) => (Some(address.ip().to_string()), Some(address.port())),
        Bind::Unix(_) | Bind::Passed(_) => (None, None),
    };
    Door {
        listener: listener.name.to_string(),
        host: host.unwrap_or_else(|| listener.bind.to_string()),
        port,
        encryption: match listener.tls {
            ListenerTls::Off => "none",
            ListenerTls::Starttls(_) => "STARTTLS",
            ListenerTls::Implicit(_) => "SSL/TLS",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Variables};

    #[test]
    fn a_made_password_has_sixteen_characters_that_every_device_can_type() {
        let made: Vec<String> = (0..200).map(|_| make().unwrap().expose().to_owned()).collect();
        for password in &made {
            assert!(password.len() == 16 && password.bytes().all(|b| DIGITS.contains(&b)), "{password}");
        }
        assert!(DIGITS.iter().all(|digit| made.concat().as_bytes().contains(digit)), "some digit never comes");
        assert!(made.iter().collect::<std::collections::BTreeSet<_>>().len() == made.len());
    }

    #[test]
    fn only_listeners_that_let_it_in_are_told() {
        let text = "hostname = \"relay.example.com\"\n\
                    [listener.local]\nauth = \"required\"\n\
                    [listener.office]\nbind = \"0.0.0.0:25\"\nauth = \"none\"\nnetworks = [\"10.0.0.0/8\"]\n\
                    [app.scanner]\nnetworks = [\"10.1.2.3\"]\nmailbox = \"m\"\n\
                    [mailbox.m]\nlink = \"l\"\naddress = \"m@example.com\"\n\
                    [link.l]\nprovider = \"google\"\ngrant = \"authorization-code\"\nclient-id = \"c\"\n";
        let (settings, _) = config::parse(text, &Variables::new()).unwrap();
        let told = |password: bool, networks: &[&str]| {
            let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
            let app = App { networks, ..App::clone(settings.apps.values().next().unwrap()) };
            let doors = settings.listeners.values().filter(|it| lets_in(it, password, &app)).map(|it| door(it, &settings));
            doors.map(|door| format!("{}:{}", door.host, door.port.unwrap_or_default())).collect::<Vec<_>>()
        };
        assert_eq!(told(true, &[]), ["127.0.0.1:2525"]);
        assert_eq!(told(false, &["10.1.2.3/32"]), ["relay.example.com:25"]);
        assert_eq!(told(false, &["192.0.2.1/32"]), [] as [&str; 0]);
        assert_eq!(told(true, &["10.1.2.3/32"]), ["127.0.0.1:2525", "relay.example.com:25"]);
    }
}
