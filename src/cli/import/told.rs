//! What an import did, for people and for programs. No secret but the passwords of new apps, which are shown once.

use super::{
    super::out::{plain, say},
    Arguments, Subjects,
};
use crate::{import::Program, mail::Address};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Became {
    Taken,
    Planned,
    There,
    Left,
}

/// One thing.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Item {
    pub(super) kind: &'static str,
    /// Its name in the configuration, or what the old program called it.
    pub(super) name: String,
    pub(super) became: Became,
    /// Of a mailbox or an account.
    pub(super) address: Option<String>,
    /// What it is.
    pub(super) what: Option<String>,
    pub(super) file: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) step: Option<String>,
}

impl Item {
    pub(super) fn new(kind: &'static str, name: &str, became: Became) -> Self {
        Self { kind, name: name.to_owned(), became, address: None, what: None, file: None, reason: None, step: None }
    }

    pub(super) fn left(kind: &'static str, name: &str, reason: impl Into<String>, step: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), step: Some(step.into()), ..Self::new(kind, name, Became::Left) }
    }

    pub(super) fn what(self, what: impl Into<String>) -> Self {
        Self { what: Some(what.into()), ..self }
    }

    pub(super) fn address(self, address: &Address) -> Self {
        Self { address: Some(address.to_string()), ..self }
    }

    pub(super) fn file(self, file: &Path) -> Self {
        Self { file: Some(file.display().to_string()), ..self }
    }

    pub(super) fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    fn print(&self) {
        let kind = if self.kind == "grant" { "grant of mailbox" } else { self.kind };
        let told = [self.address.as_deref(), self.what.as_deref()];
        let told = told.into_iter().flatten().filter(|told| *told != self.name).collect::<Vec<_>>().join(", ");
        let what = if told.is_empty() { String::new() } else { format!(" ({told})") };
        let file = self.file.as_ref().map(|file| format!(": {file}")).unwrap_or_default();
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        say(format_args!("  {kind} {}", plain(&format!("{}{what}{file}{reason}", self.name))));
        if let Some(step) = self.step.as_ref().filter(|step| !step.is_empty()) {
            say(format_args!("    {}", plain(step)));
        }
    }
}

/// Everything.
pub(super) struct Report {
    dry_run: bool,
    pub(super) programs: Vec<Program>,
    pub(super) items: Vec<Item>,
    pub(super) notes: Vec<String>,
    /// What is to be typed into applications, ready to print, and as JSON.
    pub(super) apps: Vec<(Vec<String>, Value)>,
    /// Mailboxes that need a person's consent, and those without an app.
    pub(super) consents: Vec<String>,
    pub(super) without_app: Vec<String>,
    /// Listeners were written, and no daemon runs that listens there already.
    pub(super) start: bool,
}

impl Report {
    pub(super) fn new(dry_run: bool) -> Self {
        let (programs, items, notes, apps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { dry_run, programs, items, notes, apps, consents: Vec::new(), without_app: Vec::new(), start: false }
    }

    /// What something becomes that is not there yet.
    pub(super) fn became(&self) -> Became {
        if self.dry_run { Became::Planned } else { Became::Taken }
    }

    pub(super) fn add(&mut self, item: Item) {
        self.items.push(item);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.items.iter().all(|item| item.became != Became::Left)
    }

    /// Tells all of it.
    pub(super) fn finish(&self, arguments: &Arguments, subjects: &Subjects) {
        let next = self.next(subjects);
        if arguments.json {
            let programs: Vec<&str> = self.programs.iter().map(|program| program.name()).collect();
            let apps: Vec<&Value> = self.apps.iter().map(|(_, app)| app).collect();
            let value = json!({
                "dry_run": self.dry_run, "programs": programs, "complete": self.is_complete(), "items": self.items, "apps": apps,
                "notes": self.notes, "next": next,
            });
            return say(value);
        }
        for (became, head) in [
            (Became::Planned, "would be taken:"),
            (Became::Taken, "taken:"),
            (Became::There, "already there, and unchanged:"),
            (Became::Left, "not taken:"),
        ] {
            let mut items = self.items.iter().filter(|item| item.became == became).peekable();
            if items.peek().is_some() {
                say(head);
                items.for_each(Item::print);
            }
        }
        for (lines, _) in &self.apps {
            lines.iter().for_each(say);
        }
        if !self.notes.is_empty() {
            say("to know:");
            self.notes.iter().for_each(|note| say(format_args!("  {}", plain(note))));
        }
        if !next.is_empty() {
            say(if self.dry_run { "afterwards:" } else { "next:" });
            next.iter().enumerate().for_each(|(index, step)| say(format_args!("  {}. {}", index + 1, plain(step))));
        }
    }

    /// What a person has to do.
    fn next(&self, subjects: &Subjects) -> Vec<String> {
        let mut next = Vec::new();
        if self.items.iter().all(|item| item.became == Became::Left) {
            return next;
        }
        for program in &self.programs {
            next.push(match program {
                Program::EmailOauth2Proxy => {
                    "stop email-oauth2-proxy for good, before outlink renews a token: two programs on a refresh token that works once lose it"
                        .to_owned()
                }
                Program::SaslXoauth2 => {
                    "let Postfix hand its mail to outlink: an app for it (outlink app add postfix --mailbox NAME), then relayhost = \
                     [127.0.0.1]:2525 with that user and password in sasl_passwd, smtp_sasl_mechanism_filter = plain, and no TLS to it \
                     (smtp_tls_security_level = may)"
                        .to_owned()
                }
                Program::MuttOauth2 => {
                    "let mutt send to outlink: set smtp_url = \"smtp://USER@127.0.0.1:2525\", smtp_authenticators = \"plain\", ssl_starttls = no"
                        .to_owned()
                }
            });
        }
        for mailbox in &self.consents {
            next.push(subjects.mailboxes.command(&format!("authorize {mailbox}")));
        }
        for mailbox in &self.without_app {
            next.push(format!(
                "{} (or this again with --app)",
                subjects.apps.command(&format!("app add NAME --mailbox {mailbox}"))
            ));
        }
        if !self.apps.is_empty() {
            next.push("point the applications to outlink, with what stands above".to_owned());
        }
        if self.start {
            next.push(
                "when the old program has stopped, start outlink (systemctl start outlink): it listens there from then on"
                    .to_owned(),
            );
        }
        next.push(subjects.mailboxes.command("doctor"));
        next
    }
}
