//! `outlink app add`: everything that has to be typed into an application or device, on one screen.

use super::{
    super::{
        Config, Exit, Failed, Outcome,
        change::{self, Subject},
        check,
        out::say,
        question::{self, Person},
    },
    typed::{Password, Typed},
};
use crate::{
    config::{
        Settings,
        write::{self, AppLimits, Kind},
    },
    mail::Name,
    secret::{PasswordHash, Secret},
};
use anyhow::Context;
use clap::Args;

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
    /// The mailbox that it sends through; given again, the next one while those before are held; or by-sender
    #[arg(long = "mailbox", value_name = "MAILBOX")]
    mailboxes: Vec<String>,
    /// The last mailbox: while the others are held, and for senders to whom none belongs
    #[arg(long, value_name = "MAILBOX")]
    fallback: Option<String>,
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
    /// A sender that it may use, or a pattern such as "*@example.com"; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    allowed_from: Vec<String>,
    /// To whom it may send, or a pattern such as "*@example.com"; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    allowed_recipients: Vec<String>,
    /// Messages in any minute
    #[arg(long, value_name = "COUNT")]
    messages_per_minute: Option<u64>,
    /// Messages in any 24 hours
    #[arg(long, value_name = "COUNT")]
    messages_per_day: Option<u64>,
    /// Recipients of a message
    #[arg(long, value_name = "COUNT")]
    recipients: Option<u64>,
    /// Size of a message, such as "10 MiB"
    #[arg(long, value_name = "SIZE")]
    message_size: Option<String>,
    /// What a 250 promises to it: queue, direct or direct-then-queue; by default as its listener has it
    #[arg(long, value_name = "CONTRACT")]
    delivery: Option<String>,
    /// How long it waits for the provider's verdict, where it does
    #[arg(long, value_name = "TIME")]
    direct_wait: Option<String>,
    /// What is repaired of its headers: none, standard or legacy; by default as its listener has it
    #[arg(long, value_name = "WHAT")]
    repair: Option<String>,
    /// How long its messages are tried
    #[arg(long, value_name = "TIME")]
    expire_after: Option<String>,
    /// When its senders hear that a message is late
    #[arg(long, value_name = "TIME")]
    warn_after: Option<String>,
    /// Where its bounces go, where it is not the envelope sender
    #[arg(long, value_name = "ADDRESS")]
    bounce_to: Option<String>,
    /// Write it switched off
    #[arg(long)]
    disabled: bool,
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
    let Some(name) = add.name.as_ref().filter(|_| add.missing().is_empty()) else {
        return Err(Failed(Exit::Usage, format!("this needs {}", add.missing().join(", "))));
    };
    let place = subject.place(name, add.replace)?;
    let password = (!add.has_other_proof() || add.password).then(make).transpose()?;
    let written = add.written(password.as_ref().map(hash).transpose()?);
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

    fn written(&self, password: Option<PasswordHash>) -> write::App {
        write::App {
            user: self.user.clone(),
            password,
            disabled: self.disabled,
            networks: self.networks.clone(),
            certificate: self.certificates.clone(),
            unix_user: self.unix_users.clone(),
            mailbox: self.mailboxes.clone(),
            fallback: self.fallback.clone(),
            allowed_from: self.allowed_from.clone(),
            allowed_recipients: self.allowed_recipients.clone(),
            delivery: self.delivery.clone(),
            direct_wait: self.direct_wait.clone(),
            repair: self.repair.clone(),
            expire_after: self.expire_after.clone(),
            warn_after: self.warn_after.clone(),
            bounce_to: self.bounce_to.clone(),
            limits: AppLimits {
                messages_per_minute: self.messages_per_minute,
                messages_per_day: self.messages_per_day,
                recipients: self.recipients,
                message_size: self.message_size.clone(),
            },
        }
    }

    fn missing(&self) -> Vec<&'static str> {
        let flags = [("NAME", self.name.is_none()), ("--mailbox", self.mailboxes.is_empty())];
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
        if self.mailboxes.is_empty() {
            let mailboxes: Vec<&Name> = settings.mailboxes.keys().collect();
            self.mailboxes = vec![mailboxes[person.choose("Mailbox", &mailboxes, 0)?].to_string()];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_password_has_sixteen_characters_that_every_device_can_type() {
        let made: Vec<String> = (0..200).map(|_| make().unwrap().expose().to_owned()).collect();
        for password in &made {
            assert!(password.len() == 16 && password.bytes().all(|b| DIGITS.contains(&b)), "{password}");
        }
        assert!(DIGITS.iter().all(|digit| made.concat().as_bytes().contains(digit)), "some digit never comes");
        assert!(made.iter().collect::<std::collections::BTreeSet<_>>().len() == made.len());
    }
}
